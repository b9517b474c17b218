//! Intake: read → map → standardise → validate → seal → load and link → reconcile, file by file.
//!
//! Reading, cleaning and sealing of a batch go on beside the database's work on the batch before it; memory holds a few
//! batches, whatever the size of the file and of its rows.

mod beside;
mod defuse;
mod file;
mod map;
pub mod read;
mod report;
mod standardise;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use entity::import::load::{self, SoFar};
use entity::import::{self, Begun, Import, Tally, seal};
use entity::link::Run;
use entity::link::probable::{self, Passed};
use entity::source::Source;
use entity::{Change, House, Operation, Principal, Session, Settling, Unaccounted, people, plan, reference, source};
use policy::mapping::header_key;
use serde_json::json;
use tokio::task::JoinSet;

pub use defuse::defused;
pub use file::File;
pub use map::REPORT_COLUMNS;
pub use report::{Imported, Report};

use crate::error::Stop;
use beside::Beside;
use map::Columns;
use read::{Limits, Look, Row};
use standardise::{Carried, Standard};

/// The most rows of one transaction.
const BATCH: usize = 5_000;

/// The bytes of cells with which a batch is full, however few its rows.
const BATCH_BYTES: usize = 16 << 20;

/// How a run is to be.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Do everything and keep nothing.
    pub dry_run: bool,
    /// Do what this plan shows, or do not begin.
    pub plan: Option<String>,
    /// The files came over HTTP; the log tells an upload from a command.
    pub uploaded: bool,
}

/// Something that happens while a run goes on.
pub enum Progress<'p> {
    /// A file was looked over; its size in bytes.
    Read(&'p str, u64),
    /// So many rows are loaded, and the reader stands at this byte.
    Loaded(i32, u64),
    /// So many records were compared with those that are near them.
    Compared(usize),
}

/// Imports files of a tenant. Each batch is a transaction with its own event; a run that stops leaves whole batches, and
/// running it again goes on.
///
/// # Errors
/// One line that names the file, the place and the remedy.
pub async fn run(
    house: &House,
    principal: &Arc<Principal>,
    files: &[File<'_>],
    options: &Options,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Report, Stop> {
    let mut opened = Vec::new();
    for file in files {
        opened.push(Opened::of(house, principal, file, options.uploaded).await?);
        progress(Progress::Read(&file.name, opened.last().map_or(0, |opened| opened.look.bytes)));
    }
    let dated: Vec<plan::File> = opened.iter().map(|opened| plan::File { source: opened.source.name.clone(), digest: opened.look.digest }).collect();
    let operation = |name: &str| operation(options.uploaded, name);
    let now = Session::run(house, principal, operation("Import.plan"), async |session| {
        let basis = plan::basis(&session, &dated).await?;
        let promised = if let Some(hash) = &options.plan { Some(plan::promised(&session, hash, &basis).await?) } else { None };
        Ok::<_, entity::Error>((basis, promised))
    });
    let (basis, promised) = now.await??;
    let begun = std::time::Instant::now();
    if options.dry_run {
        let rehearsed = Change::rehearse(house, principal, operation("Import.rehearse"), async |change| {
            let mut imported = Vec::new();
            for opened in opened {
                imported.push(opened.import(&Bracket::One(change), progress).await.map_err(Failed)?);
            }
            let loading = begun.elapsed();
            let probable = compare(&Bracket::One(change), progress).await.map_err(Failed)?;
            Ok::<_, Failed>((imported, probable, loading))
        });
        let (files, probable, loading) = rehearsed.await.map_err(|failed| failed.0)?;
        let kept = Change::run(house, principal, operation("Import.plan"), async |change| {
            plan::keep(change, basis, outcome(&files, probable)).await.map_err(Failed::from)
        });
        let plan = kept.await.map_err(|failed| failed.0)?;
        return Ok(Report {
            files,
            probable,
            loading: loading.as_secs_f64(),
            comparing: begun.elapsed().saturating_sub(loading).as_secs_f64(),
            plan: Some(plan),
        });
    }
    let (bracket, mut imported) = (Bracket::Each(house, principal, options.uploaded), Vec::new());
    for opened in opened {
        imported.push(opened.import(&bracket, progress).await?);
    }
    let loading = begun.elapsed();
    let probable = compare(&bracket, progress).await?;
    if promised.is_some_and(|promised| promised != outcome(&imported, probable)) {
        return Err(Stop::new(
            "the run came out otherwise than its plan, because something else changed meanwhile; look at the report and undo the import if it is wrong",
        ));
    }
    Ok(Report { files: imported, probable, loading: loading.as_secs_f64(), comparing: begun.elapsed().saturating_sub(loading).as_secs_f64(), plan: None })
}

/// What a plan promises.
fn outcome(files: &[Imported], probable: Passed) -> serde_json::Value {
    let files: Vec<serde_json::Value> = files.iter().map(|file| json!({ "counts": file.counts, "tally": file.tally })).collect();
    json!({ "files": files, "probable": probable })
}

/// The second pass over all that was not compared yet.
async fn compare(bracket: &Bracket<'_>, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Passed, Stop> {
    let mut sum = Passed::default();
    let study = bracket.look("Import.study", probable::study).await?;
    let learned = bracket
        .run("Import.learn", async |change| {
            let run = load::prepare(change).await?;
            Ok(probable::learn(change, study).await?.map(|learned| (learned, run)))
        })
        .await?;
    let Some((learned, mut run)) = learned else { return Ok(sum) };
    while let Some(passed) = bracket.run("Import.compare", async |change| probable::batch(change, &mut run, &learned).await).await? {
        sum.add(&passed);
        progress(Progress::Compared(sum.records));
    }
    Ok(sum)
}

fn operation(uploaded: bool, name: &str) -> Operation {
    Operation::new(if uploaded { "upload" } else { "command" }, name)
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

/// A transaction for each step, or one for all when it is a rehearsal.
enum Bracket<'b> {
    Each(&'b House, &'b Arc<Principal>, bool),
    One(&'b Change),
}

impl Bracket<'_> {
    /// Tells the others that an import is being run, until what it returns is dropped. Of a rehearsal they know nothing.
    fn beat(&self, import: &Import) -> JoinSet<Infallible> {
        let mut beats = JoinSet::new();
        if let Self::Each(house, ..) = self {
            beats.spawn(import::beat(house, import));
        }
        beats
    }

    async fn look<T>(&self, name: &str, work: impl AsyncFnOnce(&Session) -> Result<T, entity::Error>) -> Result<T, Stop> {
        match self {
            Self::Each(house, principal, uploaded) => {
                let done = Session::run(house, principal, operation(*uploaded, name), async |session| work(&session).await);
                Ok(done.await??)
            }
            Self::One(change) => Ok(work(change).await?),
        }
    }

    /// As [`Bracket::run`], for one of many that follow each other.
    async fn run_ahead<T>(&self, name: &str, work: impl AsyncFnOnce(&Change) -> Result<T, entity::Error>) -> Result<(T, Settling), Stop> {
        match self {
            Self::Each(house, principal, uploaded) => {
                let done = Change::run_ahead(house, principal, operation(*uploaded, name), async |change| work(change).await.map_err(Failed::from));
                done.await.map_err(|failed| failed.0)
            }
            Self::One(change) => Ok((work(change).await?, Settling::default())),
        }
    }

    async fn run<T>(&self, name: &str, work: impl AsyncFnOnce(&Change) -> Result<T, entity::Error>) -> Result<T, Stop> {
        match self {
            Self::Each(house, principal, uploaded) => {
                let done = Change::run(house, principal, operation(*uploaded, name), async |change| work(change).await.map_err(Failed::from));
                done.await.map_err(|failed| failed.0)
            }
            Self::One(change) => Ok(work(change).await?),
        }
    }
}

/// A file that was looked over, with all that is needed to read its rows.
struct Opened {
    name: String,
    source: Source,
    look: Look,
    standard: Standard,
    /// Rows that were read while the header was looked for.
    ahead: Vec<Row>,
    rows: read::Rows,
    at: file::Position,
}

impl Opened {
    async fn of(house: &House, principal: &Arc<Principal>, file: &File<'_>, uploaded: bool) -> Result<Self, Stop> {
        let in_file = |problem: String| Stop::new(format!("file {}: {problem}", file.name));
        let known = Session::run(house, principal, operation(uploaded, "Import.prepare"), async |session| {
            session.permit(policy::Verb::ImportRun)?;
            let sources = match file.source {
                Some(name) => vec![source::named(&session, name).await?],
                None => source::all(&session).await?,
            };
            Ok::<_, entity::Error>((sources, people::by_name(&session).await?, reference::of(&session).await?))
        });
        let (sources, people, reference) = known.await??;
        let headers: Vec<&str> = sources.iter().flat_map(|source| &source.mapping.columns).map(|column| column.header.as_str()).collect();
        let keys: BTreeSet<String> = headers.iter().map(|header| header_key(header)).collect();
        let (mut content, at) = file.open().map_err(|problem| in_file(read::Unreadable::from(problem).to_string()))?;
        let looked = tokio::task::spawn_blocking(move || {
            let limits = Limits::default();
            let look = read::look(&mut content, Some(&keys), &limits)?;
            let mut rows = read::rows(&look, content, &limits)?;
            let first = rows.by_ref().take(read::TITLE_ROWS).collect::<Result<Vec<_>, _>>()?;
            let header = read::header(&first, Some(&keys));
            Ok::<_, read::Unreadable>((look, rows, first, header))
        });
        let looked = looked.await.map_err(|_| in_file("reading it failed".to_owned()))?;
        let (look, rows, mut first, header) = looked.map_err(|unreadable| in_file(unreadable.to_string()))?;
        let header = header.ok_or_else(|| {
            let names: Vec<String> = sources.iter().map(|source| format!("'{}'", source.name)).collect();
            in_file(format!(
                "none of the first {} lines is a header that the source {} knows ({}); name the right source, or give it a mapping for this file",
                read::TITLE_ROWS,
                names.join(" or "),
                headers.join(", ")
            ))
        })?;
        let ahead = first.split_off(header + 1);
        let mut header = first.pop().map(|row| row.cells).unwrap_or_default();
        if map::of_rejects(&header) {
            defuse::restore(&mut header);
        }
        let source = match file.source {
            Some(_) => sources.into_iter().next(),
            None => Some(source::of_shape(sources, &map::shape(&header)).map_err(|problem| in_file(problem.to_string()))?),
        };
        let source = source.ok_or_else(|| in_file("there is no source".to_owned()))?;
        let columns = Columns::find(&header, &source.mapping).map_err(in_file)?;
        let (tells, counts) = (source.mapping.tells, source.mapping.counts_rows());
        let standard = Standard { header, columns, tells, counts, people, reference };
        Ok(Self { name: file.name.clone(), source, look, standard, ahead, rows, at })
    }

    async fn import(self, bracket: &Bracket<'_>, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Imported, Stop> {
        let (name, source, encoding, at) = (self.name.clone(), self.source.name.clone(), self.look.encoding, self.at.clone());
        let header = self.standard.header.clone();
        let other_sheets = if let read::Format::Xlsx { others, .. } = &self.look.format { others.clone() } else { Vec::new() };
        let (begun, mut run) = bracket
            .run("Import.begin", async |change| {
                let file = import::File { name: &name, digest: self.look.digest, header: &header, shape: &map::shape(&header) };
                Ok((import::begin(change, &self.source, &file).await?, load::prepare(change).await?))
            })
            .await?;
        let Begun { import, counts, tally } = begun;
        let mut so_far = SoFar { counts, tally };
        let beats = bracket.beat(&import);
        let loaded = self.load(bracket, &import, &mut run, &mut so_far, progress, &at).await;
        drop(beats);
        let ended = match loaded {
            Ok(Some(stopped)) => Ok(stopped),
            Ok(None) => {
                let finished = bracket.run("Import.finish", async |change| import::finish(change, &import, &so_far).await).await;
                finished.map(|()| "done".to_owned())
            }
            Err(stop) => Err(stop),
        };
        match ended {
            Ok(state) => Ok(Imported { source, file: name, import: import.id(), state, encoding, counts: so_far.counts, tally: so_far.tally, other_sheets }),
            Err(stop) => {
                // What stopped it may keep this from being written too; running the file again goes on all the same.
                if bracket.run("Import.fail", async |change| import::fail(change, &import, &so_far).await).await.is_err() {
                    tracing::warn!(import = %import.id(), "the import could not be marked as failed");
                }
                Err(stop)
            }
        }
    }

    /// Loads batch after batch. Returns the state in which somebody stopped it.
    async fn load(
        self,
        bracket: &Bracket<'_>,
        import: &Import,
        run: &mut Run,
        so_far: &mut SoFar,
        progress: &mut dyn FnMut(Progress<'_>),
        at: &file::Position,
    ) -> Result<Option<String>, Stop> {
        let mut batches = self.batches(import.clone(), so_far.counts.read);
        let mut settling = Settling::default();
        let stopped = loop {
            let Some((batch, tally)) = batches.next().await? else { break None };
            let (loaded, next) = bracket
                .run_ahead("Import.batch", async |change| match import::stopped(change, import).await? {
                    Some(state) => Ok(Err(state)),
                    None => load::batch(change, run, import, batch, tally, so_far).await.map(Ok),
                })
                .await?;
            let (before, earlier) = (so_far.counts.read, std::mem::replace(&mut settling, next));
            let state = loaded.map(|now| *so_far = now).err();
            earlier.durable().await?;
            if state.is_some() {
                break state;
            }
            // Told of is what is durable: where this batch is not yet, those before it.
            progress(Progress::Loaded(if settling.is_durable() { so_far.counts.read } else { before }, at.bytes()));
        };
        if !settling.is_durable() {
            settling.durable().await?;
            progress(Progress::Loaded(so_far.counts.read, at.bytes()));
        }
        Ok(stopped)
    }

    /// Reads, cleans and seals on a thread of its own, a batch or two ahead. `done` rows were loaded by an earlier run.
    fn batches(self, import: Import, done: i32) -> Beside<(seal::Batch, Tally)> {
        Beside::run(self.name.clone(), move |out| {
            let mut rows = self.ahead.into_iter().map(Ok).chain(self.rows);
            let mut carried = Carried::default();
            let mut skip = usize::try_from(done).unwrap_or(0);
            loop {
                let read = cut(&mut rows, if skip > 0 { skip.min(BATCH) } else { BATCH });
                let mut read = read.map_err(|unreadable| Stop::new(format!("file {}: {unreadable}", self.name)))?;
                if read.is_empty() {
                    return Ok(());
                }
                if !self.standard.columns.report.is_empty() {
                    for row in &mut read {
                        defuse::restore(&mut row.cells);
                    }
                }
                let count = read.len();
                let standardised = self.standard.rows(read, &mut carried);
                if skip > 0 {
                    skip -= count;
                    continue;
                }
                let batch = import.seal(standardised.drafts, standardised.rejects)?;
                if out.send((batch, standardised.tally)).is_err() {
                    return Ok(());
                }
            }
        })
    }
}

/// The next rows of a transaction.
fn cut(rows: &mut impl Iterator<Item = Result<Row, read::Unreadable>>, most: usize) -> Result<Vec<Row>, read::Unreadable> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < most && bytes < BATCH_BYTES {
        let Some(row) = rows.next().transpose()? else { break };
        bytes += row.cells.iter().map(String::len).sum::<usize>();
        batch.push(row);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_by_rows_or_by_bytes() {
        let rows = |wide: usize, many: usize| {
            let mut rows = (0..many).map(move |_| Ok(Row { line: 1, cells: vec!["x".repeat(wide)] }));
            std::iter::from_fn(|| Some(cut(&mut rows, BATCH).unwrap().len()).filter(|count| *count > 0)).collect::<Vec<_>>()
        };
        assert_eq!(rows(10, 12_000), [5_000, 5_000, 2_000]);
        assert_eq!(rows(4 << 20, 10), [4, 4, 2]);
        assert_eq!(rows(40 << 20, 2), [1, 1], "a row that is too large for a batch is one");
    }
}
