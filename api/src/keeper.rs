//! Keeps the audit log while a server runs: makes events about many persons findable, signs checkpoints and publishes them.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use entity::{Error, House, audit};

use crate::error::Stop;

/// How often there is a look whether the logs have grown.
const ROUND: Duration = Duration::from_secs(10);
/// How often events about many persons are made findable.
const SOON: Duration = Duration::from_secs(1);

/// Keeps the log as long as the house stands.
pub fn keep(house: &Arc<House>, published: Option<&Path>) {
    let (house, published) = (Arc::downgrade(house), published.map(Path::to_path_buf));
    tokio::spawn(async move {
        let mut signed = Instant::now();
        while let Some(held) = Weak::upgrade(&house) {
            let begun = Instant::now();
            match audit::index_wide(&held).await {
                // Requests come first: no more than a third of the time goes into this.
                Ok(true) => {
                    tokio::time::sleep(begun.elapsed() * 2).await;
                    continue;
                }
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "events about many persons could not be made findable"),
            }
            if signed.elapsed() >= ROUND {
                signed = Instant::now();
                if let Err(stop) = round(&held, published.as_deref()).await {
                    tracing::error!(%stop, "the audit log is not under a new checkpoint");
                }
            }
            drop(held);
            tokio::time::sleep(SOON).await;
        }
    });
}

/// Signs what has grown and publishes it. What was published before is looked at first: nothing that contradicts it is signed.
///
/// # Errors
/// The database cannot be reached, or the file cannot be read or written.
pub async fn round(house: &House, published: Option<&Path>) -> Result<Vec<String>, Stop> {
    if let Some(path) = published {
        house.remember(&read(path)?).await?;
    }
    let notes = house.checkpoint().await.map_err(|error: Error| Stop::from(error))?;
    if let Some(path) = published {
        add(path, &notes).map_err(|problem| Stop::new(format!("checkpoint file {}: {}", path.display(), problem.kind())))?;
    }
    Ok(notes)
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
    let text: String = notes.iter().flat_map(|note| [note.as_str(), "\n\n"]).collect();
    file.write_all(text.as_bytes())?;
    file.sync_data()
}
