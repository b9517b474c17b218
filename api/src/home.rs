//! The data directory: the database file and the keys. Made whole or not at all.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use entity::vault::{BadKek, Kek};
use entity::{House, Settings};

use crate::auth::Issuer;
use crate::clock;
use crate::config::{Config, Profile};
use crate::error::Stop;
use crate::jwks::Keys;

/// Opens what `config` names: keys, database, house.
///
/// # Errors
/// [`Stop`]: one line with the place and the remedy.
pub async fn open(config: &Config) -> Result<House, Stop> {
    let kek = kek(config)?;
    let url = config.url();
    if !migration::current(&url).await? {
        return Err(Stop::new("the database is not up to date; run `panorama migrate`"));
    }
    let demo = matches!(kek, Kek::File { demo: true, .. });
    let (house, exchanged) = house(config, kek).await?;
    if config.profile == Profile::Production && demo && !exchanged {
        return Err(Stop::new("the key file was made by the demo; make a data directory of your own with `panorama migrate`, or use --profile development"));
    }
    Ok(house)
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
        return Err(BadKek::Missing(path).into());
    } else {
        if let Some(parent) = path.parent() {
            make_dir(parent)?;
        }
        Kek::create(&path, demo)?
    };
    let ran = migration::up(&config.url()).await?;
    Ok((house(config, kek).await?.0, ran))
}

/// Opens the house. An exchange of the key file that was cut off is brought to its end; says whether there was one.
async fn house(config: &Config, kek: Kek) -> Result<(House, bool), Stop> {
    let settings = |kek| Settings { url: config.url(), kek, clock: clock::now };
    let old = kek.id()?;
    let wrong = match House::open(settings(kek)).await {
        Ok(house) => return Ok((house, false)),
        Err(error @ entity::Error::Kek(BadKek::Wrong)) => error,
        Err(error) => return Err(error.into()),
    };
    let unchanged = self::kek(config)?.id()? == old;
    if unchanged && !beside(&key_path(config), "new").exists() {
        return Err(wrong.into());
    }
    let Some(exchange) = Exchange::begin(config).await? else { return Err(wrong.into()) };
    // Whoever held it may have brought its exchange to its end meanwhile.
    if Kek::read(&exchange.key)?.id()? != old {
        return Ok((House::open(settings(Kek::read(&exchange.key)?)).await?, true));
    }
    if !exchange.new.exists() {
        return Err(wrong.into());
    }
    let kek = Kek::read(&exchange.new)?;
    let new = kek.id()?;
    match House::open(settings(kek)).await {
        Ok(house) => house.close().await,
        Err(entity::Error::Kek(BadKek::Wrong)) => return Err(wrong.into()),
        Err(error) => return Err(error.into()),
    }
    exchange.finish(&old, &new)?;
    tracing::warn!("a rotation of the key-encryption key had been cut off; {} is the new key now", exchange.key.display());
    Ok((House::open(settings(Kek::read(&exchange.key)?)).await?, true))
}

/// The exchange of the data directory's key file for another: one at a time.
pub struct Exchange {
    key: PathBuf,
    new: PathBuf,
    /// Held until this is dropped, or its process is gone.
    _lock: File,
}

impl Exchange {
    /// Waits for whoever exchanges it right now, five seconds at most. `None` where the key is not the data directory's own.
    ///
    /// # Errors
    /// Another exchange takes longer; the lock file cannot be made.
    pub async fn begin(config: &Config) -> Result<Option<Self>, Stop> {
        if config.key_file.is_some() || config.key_command.is_some() {
            return Ok(None);
        }
        let key = key_path(config);
        let path = beside(&key, "lock");
        let failed = |problem: &std::io::Error| Stop::new(format!("lock file {}: {}; make its directory writable", path.display(), problem.kind()));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lock = options.open(&path).map_err(|problem| failed(&problem))?;
        for _ in 0..50 {
            match lock.try_lock() {
                Ok(()) => return Ok(Some(Self { new: beside(&key, "new"), key, _lock: lock })),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(TryLockError::Error(problem)) => return Err(failed(&problem)),
            }
        }
        Err(Stop::new(format!("key file {}: another rotation of it runs; wait for its end", key.display())))
    }

    /// Which key the key file holds now.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn current(&self) -> Result<String, Stop> {
        Ok(Kek::read(&self.key)?.id()?)
    }

    /// Puts a copy of the new key beside the old one, so that it is there whatever happens when the keys have been wrapped with it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn prepare(&self, file: &Path) -> Result<(), Stop> {
        if file == self.new {
            return Ok(());
        }
        Kek::read(file)?.copy(&self.new)?;
        Ok(sync_dir(&self.new)?)
    }

    /// The new key takes the old one's place at once; the old one is kept under its id.
    ///
    /// # Errors
    /// The key that lies ready is not the new one; the directory cannot be written.
    pub fn finish(&self, old: &str, new: &str) -> Result<PathBuf, Stop> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |problem: std::io::Error| Stop::new(format!("key file {path}: {}; make its directory writable and start again", problem.kind()))
        };
        if Kek::read(&self.new)?.id()? != new {
            return Err(Stop::new(format!(
                "key file {}: not the key that wraps the tenants' keys now; put that one there and start again",
                self.new.display()
            )));
        }
        let kept = beside(&self.key, &format!("old-{old}"));
        match std::fs::hard_link(&self.key, &kept) {
            Err(problem) if problem.kind() != ErrorKind::AlreadyExists => {
                std::fs::copy(&self.key, &kept).map_err(failed(&kept))?;
            }
            _ => {}
        }
        std::fs::rename(&self.new, &self.key).map_err(failed(&self.key))?;
        sync_dir(&self.key)?;
        Ok(kept)
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// A rename is durable when its directory is.
fn sync_dir(file: &Path) -> Result<(), BadKek> {
    let dir = file.parent().unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|problem| BadKek::Io(dir.into(), problem))
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
        Kek::File { key, .. } => Ok(Issuer::of(&key, &config.issuer, &config.audience)?.beside(Keys::of(config)?)),
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
