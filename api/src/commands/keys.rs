//! Keys at the terminal: what names which, rotation, destruction. Nothing here reads anybody's data, and every step is in the
//! log of its tenant.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use entity::keys::{self, Epoch, Progress};
use entity::vault::Kek;
use entity::{Change, House, Operation, Session, Unaccounted};
use serde_json::json;

use super::{print, say};
use crate::config::{Config, login};
use crate::error::Stop;
use crate::home::{self, Exchange};

/// Keys: count what names them, rotate them, destroy old ones.
#[derive(Subcommand)]
pub enum Keys {
    /// The epochs of each key, which key-encryption key wraps them, and how many rows name each.
    Status {
        #[command(flatten)]
        whose: Whose,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Rotate a key. Cut off, a rotation goes on when it is run again.
    #[command(subcommand)]
    Rotate(Rotate),
    /// Destroy an epoch of a tenant's data key that no row names: what a backup holds under it opens no more.
    Destroy {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// The epoch.
        #[arg(long)]
        epoch: u32,
    },
}

/// Of one tenant or of all.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Whose {
    /// Short name of the tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Of all tenants.
    #[arg(long)]
    all: bool,
}

/// Which key.
#[derive(Subcommand)]
pub enum Rotate {
    /// The key-encryption key: wraps the keys of all tenants anew, at once.
    Kek {
        /// The new key; made when it is not there.
        #[arg(long, value_name = "FILE")]
        new_key_file: PathBuf,
    },
    /// A tenant's data key: wraps the keys of its rows anew while others read and write.
    Tenant {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// A tenant's index key: computes anew what rows are found by. Imports, merges and pins are refused meanwhile.
    Index {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
}

impl Keys {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        let house = home::open(config).await?;
        match self {
            Self::Status { whose, json } => show(&house, whose.tenant.as_deref(), json).await,
            Self::Rotate(Rotate::Kek { new_key_file }) => kek(&house, config, &new_key_file).await,
            Self::Rotate(Rotate::Tenant { tenant }) => {
                let operator = house.keeper(house.tenant(&tenant).await?.id, &login());
                let (epoch, rows) = keys::rotate_data(&house, &operator, &mut tell).await?;
                print(&format!("tenant {tenant} has epoch {epoch} of its data key; {rows} rows were wrapped anew\n{}", named(&house, &tenant, "data").await?))
            }
            Self::Rotate(Rotate::Index { tenant }) => {
                let operator = house.keeper(house.tenant(&tenant).await?.id, &login());
                let (epoch, rows) = keys::rotate_index(&house, &operator, &mut tell).await?;
                print(&format!("tenant {tenant} has epoch {epoch} of its index key; {rows} rows were rewritten\n{}", named(&house, &tenant, "index").await?))
            }
            Self::Destroy { tenant, epoch } => {
                let operator = house.keeper(house.tenant(&tenant).await?.id, &login());
                let destroyed = Change::run(&house, &operator, Operation::new("command", "Keys.destroy"), async |change| {
                    keys::destroy(change, epoch).await.map_err(Unaccounted::Failed)
                });
                destroyed.await?;
                print(&format!("epoch {epoch} of the data key of {tenant} is destroyed\n"))
            }
        }
    }
}

async fn status(house: &House, tenant: &str) -> Result<Vec<Epoch>, Stop> {
    let operator = house.keeper(house.tenant(tenant).await?.id, &login());
    Ok(Session::run(house, &operator, Operation::new("command", "Keys.status"), async |session| keys::status(&session).await).await??)
}

async fn show(house: &House, tenant: Option<&str>, as_json: bool) -> Result<(), Stop> {
    let tenants = match tenant {
        Some(slug) => vec![house.tenant(slug).await?],
        None => house.tenants().await?.into_iter().filter(|tenant| !tenant.destroyed).collect(),
    };
    let mut all = BTreeMap::new();
    for tenant in tenants {
        let epochs = status(house, &tenant.slug).await?;
        all.insert(tenant.slug, epochs);
    }
    if as_json {
        return print(&format!("{}\n", json!(all)));
    }
    let mut out = format!("{:<16} {:<8} {:>5}  {:<20} {:<16} {:>12}\n", "tenant", "purpose", "epoch", "created", "wrapped by", "rows");
    for (tenant, epochs) in &all {
        for epoch in epochs {
            let rows = if matches!(epoch.purpose.as_str(), "data" | "index") { epoch.named().to_string() } else { "-".to_owned() };
            let created = epoch.created_at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
            let _ = writeln!(out, "{tenant:<16} {:<8} {:>5}  {created:<20} {:<16} {rows:>12}", epoch.purpose, epoch.epoch, epoch.kek);
        }
    }
    print(&out)
}

/// How many rows name each epoch of a key.
async fn named(house: &House, tenant: &str, purpose: &str) -> Result<String, Stop> {
    let epochs = status(house, tenant).await?;
    Ok(epochs
        .iter()
        .filter(|epoch| epoch.purpose == purpose)
        .map(|epoch| format!("epoch {}: {} rows\n", epoch.epoch, epoch.named()))
        .collect::<Vec<_>>()
        .concat())
}

fn tell(progress: Progress) {
    match progress {
        Progress::New(epoch) => say(&format!("epoch {epoch} was made")),
        Progress::GoesOn(epoch) => say(&format!("the rotation to epoch {epoch} had been cut off, or rows were written with an older one; it goes on")),
        Progress::Waits(seconds) => say(&format!("waiting {seconds} s, until every running server knows the new key")),
        Progress::Begins => say("rewriting"),
        Progress::Rewritten(table, rows, all) => say(&format!("{table}: {rows} rows, {all} in all")),
    }
}

async fn kek(house: &House, config: &Config, file: &Path) -> Result<(), Stop> {
    let exchange = Exchange::begin(config).await?;
    let old = house.kek_id()?;
    if let Some(exchange) = &exchange
        && exchange.current()? != old
    {
        return Err(Stop::new("the key file was exchanged meanwhile; nothing was changed, run it again"));
    }
    let new = if file.exists() { Kek::read(file)? } else { Kek::create(file, false)? };
    if let Some(exchange) = &exchange {
        exchange.prepare(file)?;
    }
    let keys = keys::rotate_kek(house, &login(), &new).await?;
    let Some(exchange) = exchange else {
        return print(&format!("{keys} keys are wrapped with {}; from now on start with --key-file {0}\n", file.display()));
    };
    let kept = exchange.finish(&old, &new.id()?)?;
    drop(exchange);
    // Read again from the disk: only a key file that opens lets another one go.
    home::open(config).await?.close().await;
    print(&format!(
        "{keys} keys are wrapped with the new key, which is the data directory's key file now and opens them; the old one is {}, for older backups. Keep {} safe, or delete it\n",
        kept.display(),
        file.display()
    ))
}
