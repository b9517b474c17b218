//! Keeps house while a server runs: makes events about many persons findable, signs checkpoints and publishes them, sweeps, and
//! reviews the sources once a month.

use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use entity::{Error, House, audit, idempotency, quality};

use crate::config::Config;
use crate::error::Stop;
use crate::outbound::Address;

/// How often there is a look whether the logs have grown.
const ROUND: Duration = Duration::from_secs(10);
/// How often events about many persons are made findable.
const SOON: Duration = Duration::from_secs(1);
/// How often what has had its day is swept away, and it is looked whether a month's review is due.
const SWEPT: Duration = Duration::from_mins(10);

/// How long whoever takes checkpoints may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Checkpoints that nobody took are kept, the newest so many.
const UNSENT: usize = 1_000;

/// Where signed checkpoints go beside the database.
pub struct Published {
    file: Option<PathBuf>,
    address: Option<Address>,
    unsent: VecDeque<String>,
}

impl Published {
    /// As the configuration says.
    ///
    /// # Errors
    /// The address is none.
    pub fn of(config: &Config) -> Result<Self, Stop> {
        let address = config.checkpoint_url.as_deref().map(|url| Address::of("checkpoint_url", url, PATIENCE)).transpose()?;
        Ok(Self { file: config.checkpoint_file.clone(), address, unsent: VecDeque::new() })
    }

    /// Signs what has grown and publishes it. What was published before is looked at first: nothing that contradicts it is
    /// signed.
    ///
    /// # Errors
    /// The database cannot be reached, the file cannot be read or written, or the address does not take what is posted: it is
    /// posted again in the next round.
    pub async fn round(&mut self, house: &House) -> Result<Vec<String>, Stop> {
        if let Some(path) = &self.file {
            house.remember(&read(path)?).await?;
        }
        let notes = house.checkpoint().await.map_err(|error: Error| Stop::from(error))?;
        if self.address.is_some() {
            self.unsent.extend(notes.iter().cloned());
        }
        if let Some(path) = &self.file {
            add(path, &notes).map_err(|problem| Stop::new(format!("checkpoint file {}: {}", path.display(), problem.kind())))?;
        }
        if let Some(address) = &self.address {
            let old = self.unsent.len().saturating_sub(UNSENT);
            self.unsent.drain(..old);
            if !self.unsent.is_empty() {
                let refused = |said: String| Stop::new(format!("checkpoint_url: {said}; the checkpoints are posted again"));
                address.post(together(&self.unsent)).await.map_err(refused)?;
                self.unsent.clear();
            }
        }
        Ok(notes)
    }
}

/// Keeps the house as long as it stands.
pub fn keep(house: &Arc<House>, mut published: Published) {
    let house = Arc::downgrade(house);
    tokio::spawn(review(Weak::clone(&house)));
    tokio::spawn(async move {
        let (mut signed, mut swept) = (Instant::now(), Instant::now());
        while let Some(held) = Weak::upgrade(&house) {
            let begun = Instant::now();
            let more = audit::index_wide(&held).await.unwrap_or_else(|error| {
                tracing::error!(%error, "events about many persons could not be made findable");
                false
            });
            // Requests come first: no more than a third of the time goes into this.
            let pause = if more { begun.elapsed() * 2 } else { SOON };
            if signed.elapsed() >= ROUND {
                signed = Instant::now();
                if let Err(stop) = published.round(&held).await {
                    tracing::error!(%stop, "the audit log is not under a new checkpoint, or it is not published");
                }
            }
            if swept.elapsed() >= SWEPT {
                swept = Instant::now();
                if let Err(error) = idempotency::sweep(&held).await {
                    tracing::error!(%error, "idempotency keys that have had their day could not be taken away");
                }
            }
            drop(held);
            tokio::time::sleep(pause).await;
        }
    });
}

/// Reviews the sources when it is time. Counting takes a while, so checkpoints do not wait for it.
async fn review(house: Weak<House>) {
    loop {
        tokio::time::sleep(SWEPT).await;
        let Some(held) = Weak::upgrade(&house) else { return };
        if let Err(error) = quality::monthly(&held).await {
            tracing::error!(%error, "the sources could not be reviewed");
        }
    }
}

/// The notes of the file, each behind an empty line of its own.
fn read(path: &Path) -> Result<Vec<String>, Stop> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.split("\n\n\n").map(|note| format!("{}\n", note.trim_matches('\n'))).filter(|note| note.len() > 1).collect()),
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(problem) => Err(Stop::new(format!("checkpoint file {}: {}", path.display(), problem.kind()))),
    }
}

fn add(path: &Path, notes: &[String]) -> std::io::Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(together(notes).as_bytes())?;
    file.sync_data()
}

/// Notes one behind the other, each with two empty lines behind it.
fn together<'n>(notes: impl IntoIterator<Item = &'n String>) -> String {
    notes.into_iter().flat_map(|note| [note.as_str(), "\n\n"]).collect()
}
