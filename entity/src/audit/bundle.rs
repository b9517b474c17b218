//! Bundles: a log, or an answer from it, with all that is needed to check it elsewhere. `docs/audit-format.md` describes them.

use std::io::{BufRead, BufReader};
use std::path::Path;

use policy::Verb;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::checkpoint::{last, tiles};
use super::note::{BadNote, Checkpoint, Verifier};
use super::proof::{Listed, damaged, included, listed, read};
use super::prune::pruned;
use super::question::{Event, Filter, aliases, events, events_of};
use super::table::event;
use super::tree::{self, Frontier, Hash};
use super::verify::{Checked, Finding};
use crate::vault::{hex, unhex};
use crate::{Error, Session};

const FORMAT: &str = "panorama-audit-bundle/1";

/// The files of a bundle.
const MANIFEST: &str = "manifest.json";
const EVENTS: &str = "events.ndjson";
const PROOFS: &str = "proofs.ndjson";
const CHECKPOINT: &str = "checkpoint";
const INSTALLED: &str = "installation.checkpoint";
const INSTALLED_PROOF: &str = "installation.proof.json";

/// What a bundle says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// `panorama-audit-bundle/1`.
    pub format: String,
    /// `whole` or `selection`.
    pub kind: String,
    /// The name of the log.
    pub origin: String,
    /// The key that checks its checkpoints. Who checks compares it with the one they were given.
    pub key: String,
    /// How many events the checkpoint holds.
    pub size: u64,
    /// Of a whole log: the place of the first event; those before are pruned.
    pub first: u64,
    /// How many events the bundle holds.
    pub count: u64,
    /// Of a whole log: the roots of the full subtrees of the pruned events, largest first, in hex.
    pub frontier: Vec<String>,
    /// SHA-256 of the events' file, in hex.
    pub events_sha256: String,
    /// Of an answer about a customer: what the log calls them.
    pub subject: Option<Vec<String>>,
    /// When it was made.
    pub exported_at: String,
    /// Who made it.
    pub exported_by: String,
}

/// An inclusion proof as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    index: u64,
    hashes: Vec<String>,
}

impl Written {
    fn of(index: u64, hashes: &[Hash]) -> Self {
        Self { index, hashes: hashes.iter().map(|hash| hex(hash).as_str().to_owned()).collect() }
    }

    fn hashes(&self) -> Option<Vec<Hash>> {
        self.hashes.iter().map(|hash| unhex(hash)?.try_into().ok()).collect()
    }
}

/// A piece of a bundle.
pub enum Piece<'p> {
    /// An event, with the line of its proof if it has one of its own.
    Event(&'p Event, Option<String>),
    /// A file beside the events: its name and its text.
    File(&'static str, String),
}

/// Who takes the pieces of a bundle, in order.
pub type Taker<'t> = dyn FnMut(Piece<'_>) -> Result<(), Error> + Send + 't;

/// Events read at once.
const CHUNK: u64 = 2_000;

/// Hands the whole log over, up to its last checkpoint.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the log; [`Error::Invalid`] when there is no checkpoint yet; the error of `take`.
pub async fn whole(session: &Session, take: &mut Taker<'_>) -> Result<Manifest, Error> {
    session.permit(Verb::AuditRead)?;
    let scope = session.scope();
    let (note, signed) = signed(session).await?;
    let first = pruned(scope).await?;
    let frontier = tiles(scope, &tree::root_needs(first)).await?.frontier(first).map_err(damaged)?;
    let (mut hash, mut next) = (Sha256::new(), first);
    while next < signed.size {
        let between = event::Column::Sequence.between(next.cast_signed(), (signed.size - 1).cast_signed());
        let rows = scope.find::<event::Entity>().filter(between).order_by_asc(event::Column::Sequence).limit(CHUNK).all(scope.tx()).await?;
        let events = events_of(scope, rows).await?;
        for event in &events {
            line(&mut hash, event);
            take(Piece::Event(event, None))?;
        }
        // What is missing is not made up for: whoever checks the bundle finds it.
        let Some(last) = events.last() else { break };
        next = last.sequence + 1;
    }
    let frontier = frontier.full().iter().map(|hash| hex(hash).as_str().to_owned()).collect();
    let manifest = Manifest { first, frontier, ..manifest(session, "whole", &signed, signed.size - first, hash).await? };
    rest(session, &manifest, note, signed.size, take).await?;
    Ok(manifest)
}

/// Hands over the events that meet the filter, as far as they are under the last checkpoint, each with its proof.
///
/// # Errors
/// As [`whole`].
pub async fn answer(session: &Session, filter: &Filter, take: &mut Taker<'_>) -> Result<Manifest, Error> {
    session.permit(Verb::AuditRead)?;
    let (note, signed) = signed(session).await?;
    let (mut hash, mut count, mut before) = (Sha256::new(), 0, Some(signed.size));
    while before.is_some() {
        let page = events(session, filter, 500, before).await?;
        for event in &page.events {
            let proof = Written::of(event.sequence, &included(session.scope(), event.sequence, signed.size).await?);
            line(&mut hash, event);
            take(Piece::Event(event, Some(text(&proof)?)))?;
            count += 1;
        }
        before = page.next;
    }
    let subject = match filter.customer {
        Some(customer) => Some(aliases(session, customer).await?.iter().map(|alias| hex(alias).as_str().to_owned()).collect()),
        None => None,
    };
    let manifest = Manifest { subject, ..manifest(session, "selection", &signed, count, hash).await? };
    rest(session, &manifest, note, signed.size, take).await?;
    Ok(manifest)
}

fn line(hash: &mut Sha256, event: &Event) {
    hash.update(&event.body);
    hash.update(b"\n");
}

fn text(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Invalid(error.to_string()))
}

async fn signed(session: &Session) -> Result<(String, Checkpoint), Error> {
    let early = || Error::Invalid("nothing is under a signed checkpoint yet; try again in ten seconds".to_owned());
    let note = last(session.scope()).await?.ok_or_else(early)?;
    let signed = read(&note)?;
    Ok((note, signed))
}

async fn manifest(session: &Session, kind: &str, signed: &Checkpoint, count: u64, hash: Sha256) -> Result<Manifest, Error> {
    session.note("exported_events", count);
    session.note("exported_kind", kind);
    Ok(Manifest {
        format: FORMAT.to_owned(),
        kind: kind.to_owned(),
        origin: signed.origin.clone(),
        key: super::verify::key(session).await?.map(|key| key.to_string()).unwrap_or_default(),
        size: signed.size,
        first: 0,
        count,
        frontier: Vec::new(),
        events_sha256: hex(&hash.finalize()).as_str().to_owned(),
        subject: None,
        exported_at: session.now().to_rfc3339(),
        exported_by: session.principal().subject().to_owned(),
    })
}

/// The files beside the events.
async fn rest(session: &Session, manifest: &Manifest, note: String, size: u64, take: &mut Taker<'_>) -> Result<(), Error> {
    take(Piece::File(CHECKPOINT, note))?;
    if let Some(Listed { index, hashes, checkpoint }) = listed(session, size).await? {
        take(Piece::File(INSTALLED, checkpoint))?;
        take(Piece::File(INSTALLED_PROOF, format!("{}\n", text(&Written::of(index, &hashes))?)))?;
    }
    let manifest = serde_json::to_string_pretty(manifest).map_err(|error| Error::Invalid(error.to_string()))?;
    take(Piece::File(MANIFEST, format!("{manifest}\n")))
}

/// Checks a bundle, with nothing but the key. `since` is an older checkpoint that a whole log must continue.
///
/// # Errors
/// A file is not there or cannot be read. What is wrong with the log is no error.
pub fn verify_bundle(dir: &Path, key: &Verifier, since: Option<&str>, progress: &mut dyn FnMut(u64)) -> std::io::Result<Checked> {
    let mut checked = Checked::default();
    let wrong = |place: &str, problem: &str| Finding::new(place, problem);
    let bad = |place: &str, bad: BadNote| Finding::new(place, bad.to_string());
    let manifest: Manifest = match serde_json::from_str(&std::fs::read_to_string(dir.join(MANIFEST))?) {
        Ok(manifest) => manifest,
        Err(_) => return Ok(found(checked, wrong(MANIFEST, "not a manifest"))),
    };
    let note = std::fs::read_to_string(dir.join(CHECKPOINT))?;
    let signed = match key.open(&note) {
        Ok(signed) => signed,
        Err(problem) => return Ok(found(checked, bad(CHECKPOINT, problem))),
    };
    let known = manifest.format == FORMAT && signed.origin == manifest.origin && signed.size == manifest.size;
    if !known || !signed.origin.starts_with(&format!("{}/", key.name())) {
        return Ok(found(checked, wrong(MANIFEST, "it is of another format, or not about this checkpoint")));
    }
    checked.signed = signed.size;
    checked.checkpoints = 1;
    if let Err(problem) = installed(dir, key, &note)? {
        checked.findings.push(problem);
    }
    let since = match since.map(|note| key.open(note)).transpose() {
        Ok(since) => since,
        Err(problem) => return Ok(found(checked, bad("the older checkpoint", problem))),
    };
    if since.as_ref().is_some_and(|since| since.origin != signed.origin || since.size > signed.size || since.size < manifest.first) {
        return Ok(found(checked, wrong("the older checkpoint", "it is another log's, newer, or older than what is pruned")));
    }
    let lines = Lines::open(&dir.join(EVENTS))?;
    match manifest.kind.as_str() {
        "whole" => check_whole(lines, &manifest, &signed, since.as_ref(), &mut checked, progress)?,
        "selection" if since.is_some() => checked.findings.push(wrong("the older checkpoint", "only a whole log can be compared with it")),
        "selection" => check_selection(lines, Lines::open(&dir.join(PROOFS))?, &manifest, &signed, &mut checked)?,
        _ => checked.findings.push(wrong(MANIFEST, "kind is neither whole nor selection")),
    }
    Ok(checked)
}

fn found(mut checked: Checked, finding: Finding) -> Checked {
    checked.findings.push(finding);
    checked
}

/// Lines of a file, each ended by a line feed, and the hash of what was read.
struct Lines(BufReader<std::fs::File>, Vec<u8>, Sha256);

impl Lines {
    fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self(BufReader::with_capacity(1 << 20, std::fs::File::open(path)?), Vec::new(), Sha256::new()))
    }

    fn next(&mut self) -> std::io::Result<Option<&[u8]>> {
        self.1.clear();
        self.0.read_until(b'\n', &mut self.1)?;
        self.2.update(&self.1);
        Ok(if self.1.is_empty() { None } else { Some(self.1.strip_suffix(b"\n").unwrap_or(&self.1)) })
    }
}

fn check_whole(
    mut lines: Lines,
    manifest: &Manifest,
    signed: &Checkpoint,
    since: Option<&Checkpoint>,
    checked: &mut Checked,
    progress: &mut dyn FnMut(u64),
) -> std::io::Result<()> {
    let full: Option<Vec<Hash>> = manifest.frontier.iter().map(|hash| unhex(hash)?.try_into().ok()).collect();
    let Some(mut frontier) = full.and_then(|full| Frontier::of(manifest.first, full)) else {
        checked.findings.push(Finding::new(MANIFEST, "the frontier does not fit the pruned events"));
        return Ok(());
    };
    checked.pruned = manifest.first;
    let agrees = |frontier: &Frontier, checked: &mut Checked| {
        if since.is_some_and(|since| since.size == frontier.size() && since.root != frontier.root()) {
            checked.findings.push(Finding::new("the older checkpoint", "this log does not continue it"));
        }
    };
    agrees(&frontier, checked);
    while let Some(line) = lines.next()? {
        frontier.push(tree::leaf(line));
        checked.events += 1;
        agrees(&frontier, checked);
        if checked.events.is_multiple_of(10_000) {
            progress(checked.events);
        }
    }
    if let Some(problem) = file(checked, manifest, lines) {
        checked.findings.push(problem);
    } else if frontier.size() != signed.size {
        let problem = format!("{} events were signed, and there are {} with the pruned ones", signed.size, frontier.size());
        checked.findings.push(Finding::new(EVENTS, problem));
    } else if frontier.root() != signed.root {
        checked.findings.push(Finding::new(EVENTS, "the events are not those that were signed"));
    }
    Ok(())
}

/// Whether the events' file is the one that the manifest speaks of.
fn file(checked: &Checked, manifest: &Manifest, read: Lines) -> Option<Finding> {
    let same = checked.events == manifest.count && hex(&read.2.finalize()).as_str() == manifest.events_sha256;
    (!same).then(|| Finding::new(EVENTS, "it is not the file that the manifest speaks of"))
}

fn check_selection(mut lines: Lines, mut proofs: Lines, manifest: &Manifest, signed: &Checkpoint, checked: &mut Checked) -> std::io::Result<()> {
    let mut before = signed.size;
    while let Some(line) = lines.next()? {
        checked.events += 1;
        let place = format!("line {} of {EVENTS}", checked.events);
        let proof = proofs.next()?.and_then(|proof| serde_json::from_slice::<Written>(proof).ok());
        let hashes = proof.as_ref().and_then(|proof| Some((proof.index, proof.hashes()?)));
        let Some((index, hashes)) = hashes else {
            checked.findings.push(Finding::new(place, "it has no proof"));
            continue;
        };
        if index >= before {
            checked.findings.push(Finding::new(place.clone(), "it does not come before the one in front of it"));
        }
        before = index;
        if !tree::includes(&signed.root, signed.size, index, tree::leaf(line), &hashes) {
            checked.findings.push(Finding::new(place, format!("it is not event {index} of the log that was signed")));
        } else if !about(line, manifest.subject.as_deref()) {
            checked.findings.push(Finding::new(place, "it is not about the person of this answer"));
        }
    }
    if proofs.next()?.is_some() {
        checked.findings.push(Finding::new(PROOFS, "there are more proofs than events"));
    }
    checked.findings.extend(file(checked, manifest, lines));
    Ok(())
}

fn about(line: &[u8], names: Option<&[String]>) -> bool {
    let Some(names) = names else { return true };
    let body: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
    let subjects = body["sights"].as_array().into_iter().flatten().filter_map(|group| group["subjects"].as_array()).flatten();
    subjects.filter_map(|subject| subject.as_str()).any(|subject| names.iter().any(|name| name == subject))
}

/// The tenant's checkpoint is a leaf of the installation's log.
fn installed(dir: &Path, key: &Verifier, note: &str) -> std::io::Result<Result<(), Finding>> {
    let checkpoint = std::fs::read_to_string(dir.join(INSTALLED))?;
    let proof = std::fs::read_to_string(dir.join(INSTALLED_PROOF))?;
    let opened = key.open(&checkpoint).map_err(|bad| Finding::new(INSTALLED, bad.to_string()));
    let proof = serde_json::from_str::<Written>(&proof).ok().and_then(|proof| Some((proof.index, proof.hashes()?)));
    Ok(opened.and_then(|opened| {
        let (index, hashes) = proof.ok_or_else(|| Finding::new(INSTALLED_PROOF, "not a proof"))?;
        let holds = opened.origin == key.name() && tree::includes(&opened.root, opened.size, index, tree::leaf(note.as_bytes()), &hashes);
        if holds { Ok(()) } else { Err(Finding::new(INSTALLED_PROOF, "the checkpoint is not in the installation's log")) }
    }))
}
