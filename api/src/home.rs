//! The data directory: the database file and the keys. Made whole or not at all.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use entity::vault::Kek;
use entity::{House, Settings};

use crate::auth::Issuer;
use crate::clock;
use crate::config::{Config, Profile};
use crate::error::Stop;

/// Opens what `config` names: keys, database, house.
///
/// # Errors
/// [`Stop`]: one line with the place and the remedy.
pub async fn open(config: &Config) -> Result<House, Stop> {
    let kek = kek(config)?;
    if config.profile == Profile::Production && matches!(kek, Kek::File { demo: true, .. }) {
        return Err(Stop::new("the key file was made by the demo; make a data directory of your own with `panorama migrate`, or use --profile development"));
    }
    let url = config.url();
    if !migration::current(&url).await? {
        return Err(Stop::new("the database is not up to date; run `panorama migrate`"));
    }
    house(config, kek).await
}

/// Makes what is missing of keys and tables, then opens. Returns the number of migrations that ran, too.
///
/// # Errors
/// [`Stop`]: one line with the place and the remedy.
pub async fn make(config: &Config, demo: bool) -> Result<(House, usize), Stop> {
    make_dir(&config.data_dir)?;
    let database = config.data_dir.join("panorama.db");
    let path = key_path(config);
    let kek = if config.key_command.is_some() || path.exists() {
        kek(config)?
    } else if (config.database_url.is_some() || database.exists()) && entity::Store::occupied(&config.url()).await? {
        // A new key would make the data unreadable for good.
        return Err(entity::vault::BadKek::Missing(path).into());
    } else {
        if let Some(parent) = path.parent() {
            make_dir(parent)?;
        }
        Kek::create(&path, demo)?
    };
    let ran = migration::up(&config.url()).await?;
    Ok((house(config, kek).await?, ran))
}

async fn house(config: &Config, kek: Kek) -> Result<House, Stop> {
    Ok(House::open(Settings { url: config.url(), kek, clock: clock::now }).await?)
}

fn kek(config: &Config) -> Result<Kek, Stop> {
    match &config.key_command {
        Some(program) => Ok(Kek::Command(program.clone())),
        None => Ok(Kek::read(&key_path(config))?),
    }
}

fn key_path(config: &Config) -> PathBuf {
    config.key_file.clone().unwrap_or_else(|| config.data_dir.join("keys/kek.key"))
}

/// The issuer of signed tokens, with its key from the data directory; made on first use.
///
/// # Errors
/// The key file cannot be read or made.
pub fn issuer(config: &Config) -> Result<Issuer, Stop> {
    let path = config.data_dir.join("keys/issuer.key");
    if !path.exists() {
        make_dir(&config.data_dir.join("keys"))?;
        Kek::create(&path, false)?;
    }
    match Kek::read(&path)? {
        Kek::File { key, .. } => Issuer::of(&key, &config.issuer, &config.audience),
        Kek::Command(_) => Err(Stop::new("the issuer's key is a file")),
    }
}

fn make_dir(path: &Path) -> Result<(), Stop> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "cannot be written; choose another with --data-dir",
            ErrorKind::StorageFull => "is on a full disk",
            _ => "cannot be made",
        };
        Stop::new(format!("data directory {} {remedy}", path.display()))
    })
}
