//! The command line.

mod audit;
mod curate;
pub mod demo;
mod desk;
mod import;
mod keys;
mod person;
mod policy;
mod rejects;
mod rows;
mod steward;
mod tenants;

pub use rejects::Rejects;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::config::{Config, Profile};
use crate::error::Stop;
use crate::{docs, home, http};

/// Panorama (全景): one governed golden record per customer, over GraphQL.
#[derive(Parser)]
#[command(
    name = "panorama",
    version,
    about,
    after_help = "Settings: defaults < --config FILE < PANORAMA_… environment < flags. `panorama config` prints what is in force."
)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: Command,
}

/// Settings that every command takes.
#[derive(Args)]
struct Settings {
    /// Configuration file (TOML).
    #[arg(long, global = true, env = "PANORAMA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// What the flags set; what they leave out comes from the environment, the file or the defaults.
#[derive(Args, Serialize)]
struct Flags {
    /// Where the database file and the keys are [default: ./panorama-data].
    #[arg(long, global = true, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data_dir: Option<PathBuf>,
    /// postgres://… or sqlite://… [default: a SQLite file in the data directory].
    #[arg(long, global = true, value_name = "URL", hide_env_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    database_url: Option<String>,
    /// The key-encryption key [default: keys/kek.key in the data directory].
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    key_file: Option<PathBuf>,
    /// A program that wraps and unwraps keys, in place of a key file.
    #[arg(long, global = true, value_name = "PROGRAM")]
    #[serde(skip_serializing_if = "Option::is_none")]
    key_command: Option<PathBuf>,
    /// Address and port; port 0 picks one [default: 127.0.0.1:8080].
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    bind: Option<String>,
    /// production or development [default: production].
    #[arg(long, global = true, value_name = "PROFILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    /// What is logged to standard error: error, warn, info, debug, trace.
    #[arg(long, global = true, value_name = "LEVEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Make two tenants, import the bundled messy exports, print a token and a request per persona, and serve.
    #[command(after_help = "Example:\n  panorama demo --data-dir /tmp/pano --bind 127.0.0.1:0")]
    Demo {
        /// One line of JSON on standard output when ready, and nothing else there.
        #[arg(long)]
        json: bool,
    },
    /// Serve.
    #[command(after_help = "Example:\n  panorama serve --bind 0.0.0.0:8080 --database-url postgres://panorama@db/panorama")]
    Serve,
    /// Make or update keys and tables.
    Migrate,
    /// Issue or revoke tokens.
    #[command(
        subcommand,
        after_help = "Examples:\n  panorama token person --tenant acme --user li --hours 12\n  panorama token service --tenant acme --name grafana --role bi --days 90"
    )]
    Token(tenants::Token),
    /// Create, list, suspend, export and destroy tenants; add users.
    #[command(
        subcommand,
        after_help = "Examples:\n  panorama tenant create acme --name '极光商贸'\n  panorama tenant user acme --subject li --name 李经理 --department 华东销售部 --role sales"
    )]
    Tenant(tenants::Tenant),
    /// Keys: count what names them, rotate them, destroy old ones.
    #[command(
        subcommand,
        after_help = "Examples:\n  panorama keys status --all\n  panorama keys rotate tenant --tenant acme\n  panorama keys rotate kek --new-key-file new.key"
    )]
    Keys(keys::Keys),
    /// Import files of one source system into a tenant.
    #[command(
        after_help = "Examples:\n  panorama import sales.csv --tenant acme --source sales --dry-run\n  panorama import sales.csv --tenant acme --source sales --plan HASH"
    )]
    Import(import::Import),
    /// Imports that ran or run: list, write rejects, pause, cancel, undo, review their quality.
    #[command(subcommand, after_help = "Examples:\n  panorama imports list --tenant acme\n  panorama imports rejects ID --tenant acme --out rejects.csv")]
    Imports(steward::Imports),
    /// The duplicates queue: list it, merge or dismiss its pairs.
    #[command(
        subcommand,
        after_help = "Examples:\n  panorama duplicates list --tenant acme\n  panorama duplicates dismiss PAIR --tenant acme --note 'father and son'"
    )]
    Duplicates(curate::Duplicates),
    /// Customers: merge, undo a merge, split, pin and unpin values.
    #[command(
        subcommand,
        after_help = "Examples:\n  panorama customers merge C20261121001 C20261121007 --tenant acme --reason 'one shop'\n  panorama customers pin C20261121001 Customer.status 流失客户 --tenant acme --reason 'called her'"
    )]
    Customers(curate::Customers),
    /// Settings of intake: thresholds of linking, survivorship rules.
    #[command(
        subcommand,
        after_help = "Examples:\n  panorama settings thresholds --tenant acme --link 0.98 --review 0.6\n  panorama settings survivorship Customer.phone most-trusted --tenant acme"
    )]
    Settings(curate::Settings),
    /// Sign an import off: draw a sample, compare it with the source, sign.
    #[command(
        subcommand,
        after_help = "Examples:\n  panorama signoff draw IMPORT --tenant acme\n  panorama signoff judge SAMPLE RECORD right --tenant acme\n  panorama signoff sign SAMPLE --tenant acme"
    )]
    Signoff(curate::Sample),
    /// Mappings: what the columns of a source's files mean.
    #[command(
        subcommand,
        after_help = "Examples:\n  panorama mapping propose crm.xlsx --out crm.toml\n  panorama mapping set crm.toml --tenant acme --source crm"
    )]
    Mapping(steward::Mapping),
    /// Policies: show, draft, compare, test, approve and activate them; explain who sees what.
    #[command(
        subcommand,
        after_help = "Examples:\n  panorama policy show --tenant acme --out policy.csv\n  panorama policy draft policy.csv --tenant acme --reason 'support sees addresses'\n  panorama policy explain Customer.phone --tenant acme --user li"
    )]
    Policy(policy::Policy),
    /// The rights of a person: a copy, consents, restriction, erasure.
    #[command(
        subcommand,
        after_help = "Examples:\n  panorama person copy C20261121001 --tenant acme --out copy.json\n  panorama person erase C20261121001 --tenant acme --reason 'request of 21 November'"
    )]
    Person(person::Person),
    /// The audit log: verify, export, check, prune.
    #[command(
        subcommand,
        after_help = "Examples:\n  panorama audit verify --tenant acme\n  panorama audit export --tenant acme --customer C20261121001 --out answer\n  panorama audit verify --bundle answer --key panorama.key"
    )]
    Audit(audit::Audit),
    /// Words that a tenant adds to what cleaning knows: number segments, industry and status words, divisions.
    #[command(subcommand, after_help = "Example:\n  panorama words add --tenant acme status-word 跟进中 潜在客户")]
    Words(steward::Words),
    /// What became of every imported row, as CSV. Shows clear values: for the data steward, and logged.
    #[command(after_help = "Example:\n  panorama rows --tenant acme --out result.csv")]
    Rows(rows::Rows),
    /// Print the GraphQL schema.
    Schema,
    /// Print the data dictionary.
    Dictionary,
    /// Print the role × field matrix of the standard policy, as Casbin decides it.
    Matrix,
    /// Print the configuration in force, secrets starred.
    Config,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    // What a crash leaves behind would hold keys.
    #[cfg(unix)]
    let cores = rlimit::Resource::CORE.set(0, 0);
    let cli = Cli::parse();
    let stopped = |stop: Stop| {
        say(&format!("panorama: {stop}"));
        ExitCode::from(stop.status())
    };
    let config = match Config::read(cli.settings.config.as_deref(), &cli.settings.flags) {
        Ok(config) => config,
        Err(problem) => return stopped(Stop::new(problem)),
    };
    start_log(&config.log);
    #[cfg(unix)]
    if let Err(problem) = cores {
        tracing::warn!(kind = %problem.kind(), "core dumps cannot be switched off; a dump would hold keys");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => return stopped(Stop::new(format!("no threads: {problem}"))),
    };
    match runtime.block_on(run(cli.command, config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => stopped(stop),
    }
}

async fn run(command: Command, config: Config) -> Result<(), Stop> {
    match command {
        Command::Demo { json } => Box::pin(demo::run(config, json)).await,
        Command::Serve => serve(&config).await,
        Command::Migrate => {
            let (_, ran) = home::make(&config, false).await?;
            print(&format!("{ran} migrations ran; {} is ready\n", crate::config::star(&config.url())))
        }
        Command::Token(token) => token.run(&config).await,
        Command::Tenant(tenant) => tenant.run(&config).await,
        Command::Keys(keys) => keys.run(&config).await,
        Command::Import(import) => import.run(&config).await,
        Command::Imports(imports) => imports.run(&config).await,
        Command::Mapping(mapping) => mapping.run(&config).await,
        Command::Duplicates(duplicates) => duplicates.run(&config).await,
        Command::Customers(customers) => customers.run(&config).await,
        Command::Settings(settings) => settings.run(&config).await,
        Command::Signoff(sample) => sample.run(&config).await,
        Command::Words(words) => words.run(&config).await,
        Command::Policy(policy) => policy.run(&config).await,
        Command::Person(person) => person.run(&config).await,
        Command::Rows(rows) => rows.run(&config).await,
        Command::Audit(audit) => audit.run(&config).await,
        Command::Schema => print(&docs::schema()),
        Command::Dictionary => print(&docs::dictionary()),
        Command::Matrix => print(&docs::matrix().await?),
        Command::Config => print(&config.starred()),
    }
}

async fn serve(config: &Config) -> Result<(), Stop> {
    let house = std::sync::Arc::new(home::open(config).await?);
    if house.store().wall().await? == entity::store::Wall::Bypassed && config.profile == Profile::Production {
        return Err(Stop::new("this PostgreSQL user bypasses row-level security; use one that is neither superuser nor BYPASSRLS, or --profile development"));
    }
    house.ready().await?;
    let listening = http::listen(config, house, home::issuer(config)?)?;
    tracing::info!(url = %listening.url, "serving");
    listening.server.await.map_err(|problem| Stop::new(format!("the server stopped: {}", problem.kind())))
}

/// Structured lines on standard error. SQL and cells are never logged, at any level.
fn start_log(level: &str) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"));
    let quiet =
        ["sqlx=off", "sea_orm=off", "sea_orm_migration=warn"].iter().filter_map(|directive| directive.parse().ok()).fold(filter, EnvFilter::add_directive);
    let _ = tracing_subscriber::fmt().with_env_filter(quiet).with_writer(std::io::stderr).try_init();
}

/// What a command was asked for, on standard output.
fn print(text: &str) -> Result<(), Stop> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|problem| Stop::new(format!("standard output: {}", problem.kind())))
}

/// What is going on, on standard error.
#[expect(clippy::print_stderr, reason = "this is the one place")]
fn say(line: &str) {
    eprintln!("{line}");
}
