//! The policy at the terminal: read, draft, review, test, approve, activate, explain.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use entity::Session;
use entity::people::{self, Holder};
use entity::policy_version::{self as versions, Review};
use policy::{Field, fixtures_from_toml};

use super::desk::Desk;
use super::rows::write_whole;
use super::{print, say};
use crate::config::Config;
use crate::error::Stop;

/// The policy of a tenant: who may see and do what.
#[derive(Subcommand)]
pub enum Policy {
    /// Print the rules of a version, or write them to a file to be edited.
    Show {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// The version; the one in force unless another is named.
        #[arg(long)]
        version: Option<i32>,
        /// Write them here.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// List the versions, newest first.
    Versions {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Write down a new version and say what it would change.
    Draft {
        /// A file of `p` and `g` lines.
        file: PathBuf,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// What activating a version would change, and what keeps it from being activated.
    Diff {
        /// The version.
        version: i32,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Run tests against a version without keeping them; or keep them, so that every version has to pass them.
    Test {
        /// A file of `[[test]]` tables; without one the tenant's own tests run.
        file: Option<PathBuf>,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Keep the tests of the file.
        #[arg(long)]
        keep: bool,
        /// Take the test of this name away, so that what it guarded can change.
        #[arg(long, value_name = "NAME")]
        remove: Option<String>,
    },
    /// Approve a version that opens clear sight or gives a permission to govern, as the second person.
    Approve {
        /// The version.
        version: i32,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Put a version in force, be it new or old.
    Activate {
        /// The version.
        version: i32,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Why a user sees a field as they do.
    Explain {
        /// The field, such as Customer.phone.
        field: String,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// The user's subject.
        #[arg(long)]
        user: String,
        /// For this purpose.
        #[arg(long)]
        purpose: Option<String>,
    },
    /// Who could see a field in the clear, now or at a moment.
    Who {
        /// The field, such as Customer.phone.
        field: String,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// An instant such as 2026-11-21T12:00:00Z.
        #[arg(long)]
        at: Option<DateTime<Utc>>,
    },
    /// Give a user, a department or a service token other roles.
    Assign {
        /// What it is.
        kind: Kind,
        /// Its subject or name.
        name: String,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Its roles; none takes all away.
        #[arg(long = "role")]
        roles: Vec<String>,
    },
}

/// Who can hold roles.
#[derive(Clone, Copy, ValueEnum)]
pub enum Kind {
    /// By subject.
    User,
    /// By name.
    Department,
    /// By name.
    Token,
}

fn field(key: &str) -> Result<Field, Stop> {
    Field::of_key(key).ok_or_else(|| Stop::new(format!("there is no field '{key}'; `panorama dictionary` lists them")))
}

fn read(path: &Path) -> Result<String, Stop> {
    std::fs::read_to_string(path).map_err(|problem| Stop::new(format!("file {}: {}", path.display(), problem.kind())))
}

/// What a review says, in lines.
fn told(review: &Review) -> String {
    let mut out = format!("version {} against version {}, which is in force\n", review.version, review.base);
    for cell in &review.cells {
        let _ = writeln!(out, "  {cell}");
    }
    if review.cells.is_empty() {
        out.push_str("  changes nothing for any role on its own\n");
    }
    for problem in &review.failing {
        let _ = writeln!(out, "  keeps it from being activated: {problem}");
    }
    if review.needs_approval {
        let by = if review.approved_by.is_empty() { "nobody yet".to_owned() } else { review.approved_by.join(", ") };
        let _ = writeln!(out, "  opens clear sight or gives a permission to govern: a second person has to approve it (approved by {by})");
    }
    out
}

impl Policy {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        match self {
            Self::Show { tenant, version, out } => {
                let (version, text) = Desk::admin(config, &tenant).await?.look("Policy.show", async |session| versions::text(&session, version).await).await?;
                match out {
                    Some(out) => {
                        write_whole(&out, text.as_bytes())?;
                        say(&format!("version {version} is in {}", out.display()));
                        Ok(())
                    }
                    None => print(&text),
                }
            }
            Self::Versions { tenant } => {
                let all = Desk::admin(config, &tenant).await?.look("Policy.versions", async |session| versions::versions(&session).await).await?;
                let line = |version: &versions::Version| {
                    let mark = if version.active { "in force" } else { "" };
                    format!("{}\t{}\t{}\t{}\t{mark}\n", version.version, version.created_at.format("%Y-%m-%d %H:%M"), version.author, version.reason)
                };
                print(&all.iter().map(line).collect::<String>())
            }
            Self::Draft { file, tenant, reason } => {
                let text = read(&file)?;
                let review = Desk::admin(config, &tenant).await?.write("Policy.draft", async |change| versions::draft(change, &text, &reason).await).await;
                print(&told(&review.map_err(|stop| Stop::new(format!("file {}: {stop}", file.display())))?))
            }
            Self::Diff { version, tenant } => {
                print(&told(&Desk::admin(config, &tenant).await?.look("Policy.diff", async |session| versions::review(&session, version).await).await?))
            }
            Self::Test { file, tenant, keep, remove } => test(config, &tenant, file.as_deref(), keep, remove.as_deref()).await,
            Self::Approve { version, tenant } => {
                print(&told(&Desk::admin(config, &tenant).await?.write("Policy.approve", async |change| versions::approve(change, version).await).await?))
            }
            Self::Activate { version, tenant, reason } => {
                Desk::admin(config, &tenant).await?.write("Policy.activate", async |change| versions::activate(change, version, &reason).await).await?;
                print(&format!("version {version} is in force; running servers follow within five seconds\n"))
            }
            Self::Explain { field: key, tenant, user, purpose } => {
                let field = field(&key)?;
                let explain = async |session: Arc<Session>| versions::explain(&session, field, Some(&user), purpose.as_deref(), None).await;
                let explained = Desk::admin(config, &tenant).await?.look("Policy.explain", explain).await?;
                let json = serde_json::json!({ "version": explained.version, "explanation": explained.explanation });
                print(&format!("{json:#}\n"))
            }
            Self::Who { field: key, tenant, at } => {
                let field = field(&key)?;
                let (version, sees) = Desk::admin(config, &tenant)
                    .await?
                    .look("Policy.who", async |session| {
                        let at = at.unwrap_or_else(|| session.now());
                        versions::who(&session, field, at).await
                    })
                    .await?;
                let line = |sees: &versions::Sees| {
                    let (kind, name) = (sees.holder.kind(), sees.holder.name());
                    format!("{kind}\t{name}\t{}\tfor {}\tin {}\n", sees.roles.join(","), sees.purpose, sees.scope.word())
                };
                print(&format!("version {version}\n{}", sees.iter().map(line).collect::<String>()))
            }
            Self::Assign { kind, name, tenant, roles } => {
                let holder = match kind {
                    Kind::User => Holder::User(name),
                    Kind::Department => Holder::Department(name),
                    Kind::Token => Holder::Token(name),
                };
                let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
                Desk::admin(config, &tenant).await?.write("Roles.assign", async |change| people::assign(change, &holder, &roles).await).await.map(drop)
            }
        }
    }
}

async fn test(config: &Config, tenant: &str, file: Option<&Path>, keep: bool, remove: Option<&str>) -> Result<(), Stop> {
    if let Some(name) = remove {
        return Desk::admin(config, tenant).await?.write("Policy.test", async |change| versions::remove_test(change, name).await).await;
    }
    let fixtures = match file {
        Some(file) => fixtures_from_toml(&read(file)?).map_err(|problem| Stop::new(format!("file {}: {problem}", file.display())))?,
        None => Desk::admin(config, tenant).await?.look("Policy.tests", async |session| versions::tests(&session).await).await?,
    };
    if keep {
        let kept = fixtures.len();
        Desk::admin(config, tenant).await?.write("Policy.test", async |change| versions::put_tests(change, fixtures).await).await?;
        return print(&format!("{kept} tests kept\n"));
    }
    let failing = Desk::admin(config, tenant).await?.look("Policy.test", async |session| versions::run_tests(&session, &fixtures).await).await?;
    for problem in &failing {
        say(problem);
    }
    if failing.is_empty() {
        print(&format!("{} tests passed\n", fixtures.len()))
    } else {
        Err(Stop::new(format!("{} of {} tests failed", failing.len(), fixtures.len())))
    }
}
