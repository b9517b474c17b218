//! Tenants, users and tokens from the terminal.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use chrono::Duration;
use clap::Subcommand;
use entity::{Change, House, Operation, Session, Unaccounted, departure, people, tenant, token};

use super::print;
use crate::config::{Config, login};
use crate::error::Stop;
use crate::home;

/// Create, list, suspend, export and destroy tenants; add users.
#[derive(Subcommand)]
pub enum Tenant {
    /// Create a tenant with its keys, the standard policy and the standard sources.
    Create {
        /// Short name.
        slug: String,
        /// What it is called.
        #[arg(long)]
        name: Option<String>,
    },
    /// List the tenants.
    List,
    /// Suspend a tenant: its tokens are refused, its data stays.
    Suspend {
        /// Short name.
        #[arg(long)]
        slug: String,
    },
    /// Let a suspended tenant go on.
    Resume {
        /// Short name.
        #[arg(long)]
        slug: String,
    },
    /// Write all rows of a tenant to a file: sealed cells stay sealed, wrapped keys stay wrapped.
    Export {
        /// Short name.
        slug: String,
        /// Where to write: lines of JSON, packed with gzip.
        #[arg(long)]
        out: PathBuf,
    },
    /// Destroy a tenant for good: its keys and all its rows but the log and the certificates of erasures.
    Destroy {
        /// Short name.
        slug: String,
        /// The short name once more.
        #[arg(long)]
        confirm: String,
    },
    /// Add a user.
    User {
        /// Short name of the tenant.
        slug: String,
        /// The `sub` of the user's tokens.
        #[arg(long)]
        subject: String,
        /// What the user is called.
        #[arg(long)]
        name: String,
        /// The user's department.
        #[arg(long)]
        department: Option<String>,
        /// The user's roles.
        #[arg(long = "role", required = true)]
        roles: Vec<String>,
    },
}

/// Issue or revoke tokens.
#[derive(Subcommand)]
pub enum Token {
    /// A signed token for a user.
    Person {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// The user's subject.
        #[arg(long)]
        user: String,
        /// What for, when the caller declares nothing.
        #[arg(long)]
        purpose: Option<String>,
        /// How long it lasts.
        #[arg(long, default_value_t = 12)]
        hours: i64,
    },
    /// A service token for a machine, in place of an older one of the same name. Shown once.
    Service {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// What it is for.
        #[arg(long)]
        name: String,
        /// Its roles.
        #[arg(long = "role", required = true)]
        roles: Vec<String>,
        /// What for, when the caller declares nothing.
        #[arg(long)]
        purpose: Option<String>,
        /// How long it lasts.
        #[arg(long, default_value_t = 90)]
        days: i64,
        /// It is answered registered documents only.
        #[arg(long)]
        registered_only: bool,
    },
    /// Revoke a service token.
    Revoke {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Its name.
        #[arg(long)]
        name: String,
    },
}

impl Tenant {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        let house = home::open(config).await?;
        match self {
            Self::Create { slug, name } => {
                let tenant = house.create_tenant(&slug, name.as_deref().unwrap_or(&slug)).await?;
                print(&format!("tenant {} created\n", tenant.slug))
            }
            Self::List => {
                let lines: Vec<String> = house
                    .tenants()
                    .await?
                    .iter()
                    .map(|tenant| {
                        let standing = if tenant.destroyed {
                            "\tdestroyed"
                        } else if tenant.suspended {
                            "\tsuspended"
                        } else {
                            ""
                        };
                        format!("{}\t{}{standing}\n", tenant.slug, tenant.name)
                    })
                    .collect();
                print(&lines.concat())
            }
            Self::Suspend { slug } => {
                write(&house, &slug, "Tenant.suspend", async |change| tenant::suspend(change, true).await).await?;
                print(&format!("tenant {slug} is suspended: its tokens are refused\n"))
            }
            Self::Resume { slug } => {
                write(&house, &slug, "Tenant.resume", async |change| tenant::suspend(change, false).await).await?;
                print(&format!("tenant {slug} goes on\n"))
            }
            Self::Export { slug, out } => {
                let rows = export(&house, &slug, &out).await?;
                print(&format!("{rows} rows of tenant {slug} are in {}\n", out.display()))
            }
            Self::Destroy { slug, confirm } => {
                if confirm != slug {
                    return Err(Stop::new(format!("--confirm: say {slug} once more; nothing was destroyed")));
                }
                let rows = write(&house, &slug, "Tenant.destroy", async |change| departure::destroy(change).await).await?;
                print(&format!("tenant {slug} is destroyed: its keys are gone, and {rows} rows; its log stays\n"))
            }
            Self::User { slug, subject, name, department, roles } => {
                let tenant = house.tenant(&slug).await?;
                let operator = house.operator(tenant.id, &login(), "admin", None);
                let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
                let added = Change::run(&house, &operator, Operation::new("command", "User.add"), async |change| {
                    people::add(change, &subject, &name, department.as_deref(), &roles).await.map_err(Unaccounted::Failed)
                });
                if !added.await? {
                    return Err(Stop::new(format!("tenant {slug} has a user '{subject}' already; nothing was changed")));
                }
                print(&format!("user {subject} of {slug} added\n"))
            }
        }
    }
}

impl Token {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        let house = home::open(config).await?;
        match self {
            Self::Person { tenant, user, purpose, hours } => {
                let tenant = house.tenant(&tenant).await?;
                let operator = house.operator(tenant.id, &login(), "admin", None);
                let known =
                    Session::run(&house, &operator, Operation::new("command", "Token.person"), async |session| people::exists(&session, &user).await).await??;
                if !known {
                    return Err(Stop::new(format!("tenant {} has no user '{user}'; add one with `panorama tenant user`", tenant.slug)));
                }
                let lasts = Duration::try_hours(hours).filter(|_| (1..=8_760).contains(&hours)).ok_or_else(|| Stop::new("--hours: a number from 1 to 8760"))?;
                print(&format!("{}\n", home::issuer(config)?.issue(tenant.id, &user, purpose.as_deref(), lasts)?))
            }
            Self::Service { tenant, name, roles, purpose, days, registered_only } => {
                let tenant = house.tenant(&tenant).await?;
                let operator = house.operator(tenant.id, &login(), "admin", None);
                let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
                let terms = token::Terms { roles: &roles, purpose: purpose.as_deref(), days, registered_only };
                let issued = Change::run(&house, &operator, Operation::new("command", "Token.service"), async |change| {
                    token::issue(change, &name, terms).await.map_err(Unaccounted::Failed)
                });
                print(&format!("{}\n", issued.await?.as_str()))
            }
            Self::Revoke { tenant, name } => {
                let tenant = house.tenant(&tenant).await?;
                let operator = house.operator(tenant.id, &login(), "admin", None);
                let revoked = Change::run(&house, &operator, Operation::new("command", "Token.revoke"), async |change| {
                    token::revoke(change, &name).await.map_err(Unaccounted::Failed)
                })
                .await?;
                print(&format!("{revoked} tokens revoked\n"))
            }
        }
    }
}

/// Writes in the tenant's bracket, as the operator who keeps the installation.
async fn write<T>(house: &House, slug: &str, name: &str, work: impl AsyncFnOnce(&Change) -> Result<T, entity::Error>) -> Result<T, Stop> {
    let tenant = house.tenant(slug).await?;
    let operator = house.keeper(tenant.id, &login());
    let done = Change::run(house, &operator, Operation::new("command", name), async |change| work(change).await.map_err(Unaccounted::Failed));
    Ok(done.await?)
}

/// Streams a tenant into a file that appears whole or not at all.
async fn export(house: &House, slug: &str, out: &Path) -> Result<u64, Stop> {
    let failed = |problem: &std::io::Error| format!("file {}: {}", out.display(), problem.kind());
    let tenant = house.tenant(slug).await?;
    let operator = house.keeper(tenant.id, &login());
    let mut partial = out.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&partial).map_err(|problem| Stop::new(failed(&problem)))?;
    let mut packed = flate2::write::GzEncoder::new(BufWriter::new(file), flate2::Compression::default());
    let exported = Session::run(house, &operator, Operation::new("command", "Tenant.export"), async |session| {
        let mut take = |line: &str| writeln!(packed, "{line}").map_err(|problem| entity::Error::Invalid(failed(&problem)));
        departure::export(&session, &mut take).await
    });
    let exported = match exported.await {
        Ok(Ok(rows)) => {
            let whole = packed.finish().and_then(|buffer| buffer.into_inner().map_err(std::io::IntoInnerError::into_error)).and_then(|file| file.sync_all());
            whole.and_then(|()| std::fs::rename(&partial, out)).map(|()| rows).map_err(|problem| Stop::new(failed(&problem)))
        }
        Ok(Err(error)) => Err(error.into()),
        Err(error) => Err(error.into()),
    };
    if exported.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    exported
}
