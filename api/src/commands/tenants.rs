//! Tenants, users and tokens from the terminal.

use chrono::Duration;
use clap::Subcommand;
use entity::{Change, Operation, Unaccounted, people, token};

use super::print;
use crate::config::{Config, login};
use crate::error::Stop;
use crate::home;

/// Create and list tenants, add users.
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
                    .map(|tenant| format!("{}\t{}{}\n", tenant.slug, tenant.name, if tenant.suspended { "\tsuspended" } else { "" }))
                    .collect();
                print(&lines.concat())
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
                    entity::Session::run(&house, &operator, Operation::new("command", "Token.person"), async |session| people::exists(&session, &user).await)
                        .await??;
                if !known {
                    return Err(Stop::new(format!("tenant {} has no user '{user}'; add one with `panorama tenant user`", tenant.slug)));
                }
                let lasts = Duration::try_hours(hours).filter(|_| (1..=8_760).contains(&hours)).ok_or_else(|| Stop::new("--hours: a number from 1 to 8760"))?;
                print(&format!("{}\n", home::issuer(config)?.issue(tenant.id, &user, purpose.as_deref(), lasts)?))
            }
            Self::Service { tenant, name, roles, purpose, days } => {
                let tenant = house.tenant(&tenant).await?;
                let operator = house.operator(tenant.id, &login(), "admin", None);
                let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
                let issued = Change::run(&house, &operator, Operation::new("command", "Token.service"), async |change| {
                    token::issue(change, &name, &roles, purpose.as_deref(), days).await.map_err(Unaccounted::Failed)
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
