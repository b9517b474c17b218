//! Intake: read → map → standardise → validate → load → reconcile, file by file, and link in the end.

mod map;
mod read;
mod standardise;

use std::path::Path;
use std::sync::Arc;

use entity::import::{self, Counts};
use entity::link::{self, Linked};
use entity::load::{self, Met};
use entity::{Change, House, Operation, Principal, Session, Unaccounted, people, source};
use serde::Serialize;

use crate::error::Stop;

/// The most rows of one transaction.
const BATCH: usize = 5_000;

/// A file to import: its source system, its name and its bytes.
pub struct File<'f> {
    /// The source system.
    pub source: &'f str,
    /// What the report calls it.
    pub name: String,
    /// What it holds.
    pub bytes: std::borrow::Cow<'f, [u8]>,
}

impl File<'_> {
    /// Reads a file whole.
    ///
    /// # Errors
    /// It is missing or cannot be read.
    pub fn open<'s>(source: &'s str, path: &Path) -> Result<File<'s>, Stop> {
        let bytes = std::fs::read(path).map_err(|problem| Stop::new(format!("file {}: {}", path.display(), problem.kind())))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(File { source, name, bytes: bytes.into() })
    }
}

/// What became of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// The source system.
    pub source: String,
    /// The file.
    pub file: String,
    /// The encoding that was found.
    pub encoding: &'static str,
    /// What became of its rows.
    #[serde(flatten)]
    pub counts: Counts,
    /// How many rows were rejected for each reason.
    pub reasons: std::collections::BTreeMap<&'static str, usize>,
}

/// What became of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// File by file.
    pub files: Vec<Imported>,
    /// What linking did.
    pub linked: Linked,
}

/// Something that happens while a run goes on.
pub enum Progress<'p> {
    /// A file was read.
    Read(&'p str, usize),
    /// Rows of it were loaded.
    Loaded(&'p str, usize),
    /// All files are loaded, records are being linked.
    Linking,
}

/// Imports files of a tenant and links what they hold. Each batch is a transaction with its own event; a run that stops
/// leaves whole batches, and running it again goes on.
///
/// # Errors
/// One line that names the file, the place and the remedy.
pub async fn run(house: &House, principal: &Arc<Principal>, files: &[File<'_>], progress: &mut dyn FnMut(Progress<'_>)) -> Result<Report, Stop> {
    let mut imported = Vec::new();
    for file in files {
        imported.push(one(house, principal, file, progress).await?);
    }
    progress(Progress::Linking);
    let linked = Change::run(house, principal, Operation::new("command", "Import.link"), async |change| link::run(change).await.map_err(Failed::from))
        .await
        .map_err(|failed| failed.0)?;
    Ok(Report { files: imported, linked })
}

/// The error of a batch.
struct Failed(Stop);

impl From<Unaccounted> for Failed {
    fn from(error: Unaccounted) -> Self {
        Self(error.into())
    }
}

impl From<entity::Error> for Failed {
    fn from(error: entity::Error) -> Self {
        Self(error.into())
    }
}

async fn one(house: &House, principal: &Arc<Principal>, file: &File<'_>, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Imported, Stop> {
    let in_file = |problem: String| Stop::new(format!("file {}: {problem}", file.name));
    let known = Session::run(house, principal, Operation::new("command", "Import.prepare"), async |session| {
        Ok::<_, entity::Error>((source::named(&session, file.source).await?, people::by_name(&session).await?))
    });
    let (source, people) = known.await??;
    let table = read::table(&file.bytes, &source.mapping).map_err(in_file)?;
    let columns = map::columns(&table.header, &source.mapping).map_err(in_file)?;
    progress(Progress::Read(&file.name, table.rows.len()));

    let operation = |name: &str| Operation::new("command", name);
    let begun = Change::run(house, principal, operation("Import.begin"), async |change| {
        import::begin(change, &source, &file.name, &file.bytes).await.map_err(Failed::from)
    });
    let import = begun.await.map_err(|failed| failed.0)?;
    let (mut total, mut met, mut reasons) = (Counts::default(), Met::default(), std::collections::BTreeMap::new());
    let mut carried = standardise::Carried::default();
    for batch in table.rows.chunks(BATCH) {
        let standardised = standardise::rows(batch, &table.header, &columns, source.mapping.tells, &people, &mut carried);
        for reject in &standardised.rejects {
            *reasons.entry(reject.reason).or_default() += 1;
        }
        let (drafts, rejects, warnings) = (standardised.drafts, standardised.rejects, standardised.warnings);
        let loaded = Change::run(house, principal, operation("Import.batch"), async |change| {
            let counts = load::batch(change, &import, drafts, rejects, warnings, &mut met).await?;
            if usize::try_from(counts.read) != Ok(batch.len()) || !counts.reconciles() {
                return Err(Failed(in_file("the counts of a batch do not add up; nothing of it was loaded".to_owned())));
            }
            Ok(counts)
        });
        let counts = loaded.await.map_err(|failed| failed.0)?;
        total.add(&counts);
        progress(Progress::Loaded(&file.name, batch.len()));
    }
    Change::run(house, principal, operation("Import.finish"), async |change| import::finish(change, &import, &total).await.map_err(Failed::from))
        .await
        .map_err(|failed| failed.0)?;
    Ok(Imported { source: source.name, file: file.name.clone(), encoding: table.encoding, counts: total, reasons })
}
