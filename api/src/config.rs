//! Configuration: defaults < file < environment < flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

/// Everything that can be set.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the database file and the keys are.
    pub data_dir: PathBuf,
    /// `postgres://…` or `sqlite://…`; a SQLite file in the data directory when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_url: Option<String>,
    /// The key-encryption key; `keys/kek.key` in the data directory when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// A program that wraps and unwraps keys, in place of a key file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_command: Option<PathBuf>,
    /// Address and port to listen on; port 0 picks one.
    pub bind: String,
    /// `production` refuses the demo's key; `development` does not.
    pub profile: Profile,
    /// Who issues the tokens that are accepted.
    pub issuer: String,
    /// A file with the key set (JWKS) of an identity provider whose tokens are accepted too, under the same issuer and audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// Or the address of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<String>,
    /// Whom tokens are for.
    pub audience: String,
    /// A file to which every signed checkpoint of the audit log is added: kept elsewhere, it shows a log that was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_file: Option<PathBuf>,
    /// An address to which every signed checkpoint is posted, for the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_url: Option<String>,
    /// Whether webhooks may be addresses of private networks, and without TLS.
    pub webhook_private: bool,
    /// What is logged, in the words of `RUST_LOG`.
    pub log: String,
    /// What a request may cost.
    pub limits: Limits,
}

/// How careful to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Real data.
    Production,
    /// Invented data.
    Development,
}

/// What a request may cost. Checked before anything runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a request body.
    pub body: usize,
    /// Bytes of an uploaded file, which is held in memory.
    pub upload: usize,
    /// Streams of one caller that go on at once; and so many sockets.
    pub streams: usize,
    /// Sockets that are open and whose clients have not introduced themselves yet.
    pub strangers: usize,
    /// Tokens of a document.
    pub tokens: usize,
    /// Nesting of a document, fragments expanded.
    pub depth: usize,
    /// Aliases, fragments expanded.
    pub aliases: usize,
    /// Fields at the root, fragments expanded.
    pub root_fields: usize,
    /// Directives, fragments expanded.
    pub directives: usize,
    /// Fragment spreads, expanded.
    pub spreads: usize,
    /// Complexity as the schema prices it.
    pub complexity: usize,
    /// The same for roles that may ask for more, or for less.
    pub complexity_of: BTreeMap<String, usize>,
    /// Seconds that a request may run.
    pub seconds: u64,
    /// Requests per second of one caller.
    pub rate: u32,
    /// Requests of one caller that run at once.
    pub concurrency: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 256 * 1024,
            upload: 64 * 1024 * 1024,
            streams: 100,
            strangers: 1_000,
            tokens: 2_000,
            depth: 15,
            aliases: 30,
            root_fields: 20,
            directives: 50,
            spreads: 1_000,
            complexity: 20_000,
            complexity_of: BTreeMap::from([("bi".to_owned(), 100_000)]),
            seconds: 10,
            rate: 200,
            concurrency: 16,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("panorama-data"),
            database_url: None,
            key_file: None,
            key_command: None,
            checkpoint_file: None,
            checkpoint_url: None,
            bind: "127.0.0.1:8080".to_owned(),
            profile: Profile::Production,
            issuer: "panorama".to_owned(),
            audience: "panorama".to_owned(),
            jwks_file: None,
            jwks_url: None,
            webhook_private: false,
            log: "info".to_owned(),
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// Reads the layers. `flags` are what the command line set.
    ///
    /// # Errors
    /// One line that names the setting and where it was set.
    pub fn read(file: Option<&Path>, flags: impl Serialize) -> Result<Self, String> {
        let mut layers = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            if !file.is_file() {
                return Err(format!("configuration file {} is missing", file.display()));
            }
            layers = layers.merge(Toml::file_exact(file));
        }
        // PANORAMA_BIND, PANORAMA_LIMITS__DEPTH
        let layers = layers.merge(Env::prefixed("PANORAMA_").ignore(&["config"]).split("__")).merge(Serialized::defaults(flags));
        layers.extract().map_err(|error| {
            let place = error.metadata.as_ref().map(|data| format!(" in {}", data.name)).unwrap_or_default();
            let path = if error.path.is_empty() { String::new() } else { format!("{}: ", error.path.join(".")) };
            // The kind may quote a value, and a value may be a secret: only its name is told.
            let problem = match &error.kind {
                figment::error::Kind::UnknownField(field, known) => format!("there is no setting '{field}'; there are {}", known.join(", ")),
                figment::error::Kind::InvalidType(_, expected) | figment::error::Kind::InvalidValue(_, expected) => format!("expected {expected}"),
                _ => "not a valid setting".to_owned(),
            };
            format!("configuration: {path}{problem}{place}")
        })
    }

    /// The database that is meant.
    #[must_use]
    pub fn url(&self) -> String {
        self.database_url.clone().unwrap_or_else(|| format!("sqlite://{}?mode=rwc", self.data_dir.join("panorama.db").display()))
    }

    /// As TOML, with secrets starred.
    #[must_use]
    pub fn starred(&self) -> String {
        let mut shown = self.clone();
        shown.database_url = shown.database_url.map(|url| star(&url));
        toml::to_string(&shown).unwrap_or_default()
    }
}

/// Who is at the terminal, as the log will call them.
#[expect(clippy::disallowed_methods, reason = "configuration is read here")]
#[must_use]
pub fn login() -> String {
    std::env::var("USER").or_else(|_| std::env::var("USERNAME")).ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "operator".to_owned())
}

/// A URL without its password, wherever that stands.
#[must_use]
pub fn star(url: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let mut out = match (base.split_once("://"), base.rfind('@')) {
        (Some((scheme, rest)), Some(at)) => format!("{scheme}://{}:***{}", rest.split([':', '@']).next().unwrap_or_default(), &base[at..]),
        _ => base.to_owned(),
    };
    if let Some(query) = query {
        let shown = query.split('&').map(|pair| if pair.to_ascii_lowercase().starts_with("password=") { "password=***" } else { pair });
        out = format!("{out}?{}", shown.collect::<Vec<_>>().join("&"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_starred() {
        assert_eq!(star("postgres://me:se@cret@host/db"), "postgres://me:***@host/db");
        assert_eq!(star("sqlite://x.db?mode=rwc"), "sqlite://x.db?mode=rwc");
        assert_eq!(star("postgres://host/db?user=me&password=secret"), "postgres://host/db?user=me&password=***");
        let config = Config { database_url: Some("postgres://me:secret@host/db".into()), ..Config::default() };
        assert!(!config.starred().contains("secret"));
    }

    #[test]
    fn a_wrong_setting_is_named_and_not_quoted() {
        let error = Config::read(None, serde_json::json!({ "limits": { "depth": "s3cret" } })).unwrap_err();
        assert!(error.contains("limits.depth") && !error.contains("s3cret"), "{error}");
        let error = Config::read(None, serde_json::json!({ "colour": 1 })).unwrap_err();
        assert!(error.contains("colour"), "{error}");
    }
}
