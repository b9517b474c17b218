//! Verification of a log in the database: every event against the tree, the tree against every signed checkpoint, the
//! checkpoints against the installation's log; and of what is found by against what was logged.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use policy::Verb;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::cells::{self, Told};
use super::checkpoint::{INSTALLATION, bodies, leaves, origin, tiles};
use super::index::subjects;
use super::note::{Checkpoint, Verifier};
use super::prune::pruned;
use super::question::spaced;
use super::table::{checkpoint, event, installation, subject, wide};
use super::tree::{self, Frontier};
use crate::vault::hex;
use crate::{Error, Scope, Session};

/// Something that is not as it was logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where, such as `event 17`.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Finding {
    pub(super) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}

/// What was checked, and what is wrong, in the order of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Events whose bytes were hashed.
    pub events: u64,
    /// Events that are pruned, of which the hashes are left.
    pub pruned: u64,
    /// How many events the last checkpoint holds.
    pub signed: u64,
    /// Checkpoints whose signature and root were checked.
    pub checkpoints: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Events read at once.
const CHUNK: u64 = 5_000;
/// Findings after which a check gives up.
const ENOUGH: usize = 100;

/// The key of the installation, as the database has it.
pub(super) async fn key(session: &Session) -> Result<Option<Verifier>, Error> {
    let row = session.scope().rows("SELECT name, public_key FROM log_signer WHERE id = 1 AND $1 = $1", []).await?;
    let Some(row) = row.first() else { return Ok(None) };
    let (name, key): (String, Vec<u8>) = (row.try_get("", "name")?, row.try_get("", "public_key")?);
    Ok(Verifier::of(&name, &key).ok())
}

/// Verifies the tenant's log. `given` is the key to trust; without one that of the database. `progress` is told how many events
/// were checked.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the log; the database cannot be reached. What is wrong with the log is no error.
pub async fn verify(session: &Session, given: Option<&Verifier>, progress: &mut (dyn FnMut(u64) + Send)) -> Result<Checked, Error> {
    session.permit(Verb::AuditRead)?;
    let scope = session.scope();
    let mut checked = Checked { pruned: pruned(scope).await?, ..Checked::default() };
    let key = match given {
        Some(key) => Some(key.clone()),
        None => key(session).await?,
    };
    let Some(key) = key else {
        checked.findings.push(Finding::new("the signing key", "there is none; no checkpoint was ever signed"));
        return Ok(checked);
    };
    let origin = origin(&key, scope.tenant());
    let notes = scope.find::<checkpoint::Entity>().order_by_asc(checkpoint::Column::Size).all(scope.tx()).await?;
    let mut checkpoints: BTreeMap<u64, Checkpoint> = BTreeMap::new();
    for row in &notes {
        let place = format!("checkpoint of {} events", row.size);
        match key.open(&row.note) {
            Err(bad) => checked.findings.push(Finding::new(place, bad.to_string())),
            Ok(opened) if opened.size != row.size.unsigned_abs() || opened.origin != origin => {
                checked.findings.push(Finding::new(place, "it is another log's, or of another size"));
            }
            Ok(opened) => {
                checkpoints.insert(opened.size, opened);
            }
        }
    }
    checked.signed = checkpoints.last_key_value().map_or(0, |(size, _)| *size);
    let head = scope.number("SELECT size AS n FROM audit_head WHERE tenant_id = $1", []).await?.unsigned_abs();
    if head < checked.signed {
        checked.findings.push(Finding::new("the log's end", format!("{} events were signed, and there are places for {head}", checked.signed)));
    }
    let mut frontier = match tiles(scope, &tree::root_needs(checked.pruned)).await?.frontier(checked.pruned) {
        Ok(frontier) => frontier,
        Err(missing) => {
            checked.findings.push(Finding::new("the tree", missing.to_string()));
            return Ok(checked);
        }
    };
    let end = head.max(checked.signed);
    compare(&checkpoints, &frontier, &mut checked);
    while frontier.size() < end && checked.findings.len() < ENOUGH {
        let first = frontier.size();
        let rows = bodies(scope, first, CHUNK).await?;
        let tiles = leaves(scope, &(first..first + CHUNK).step_by(256).chain([first + CHUNK - 1]).collect::<Vec<_>>()).await?;
        let mut rows = rows.into_iter().peekable();
        for sequence in first..end.min(first + CHUNK) {
            let stored = rows.next_if(|(at, _)| at.unsigned_abs() == sequence);
            let hash = stored.map(|(_, body)| tree::leaf(&body));
            let known = tiles.leaf(sequence).filter(|_| sequence < checked.signed);
            match (hash, known) {
                (None, _) => checked.findings.push(Finding::new(format!("event {sequence}"), "it is missing")),
                (Some(hash), Some(known)) if hash != known => {
                    checked.findings.push(Finding::new(format!("event {sequence}"), "it is not the one that was logged"));
                }
                (Some(_), None) if sequence < checked.signed => {
                    checked.findings.push(Finding::new(format!("event {sequence}"), "its hash is not in the tree"));
                }
                _ => {}
            }
            checked.events += u64::from(hash.is_some());
            // Behind a bad place the tree as it is kept is followed, so that only what is wrong is named.
            frontier.push(known.or(hash).unwrap_or_default());
            compare(&checkpoints, &frontier, &mut checked);
        }
        progress(frontier.size());
    }
    if end == head && !bodies(scope, head, 1).await?.is_empty() {
        checked.findings.push(Finding::new(format!("event {head}"), "it has a place that was never given away"));
    }
    installed(session, &key, &notes, &mut checked).await?;
    Ok(checked)
}

/// Compares the root with that of the checkpoint of this size.
fn compare(checkpoints: &BTreeMap<u64, Checkpoint>, frontier: &Frontier, checked: &mut Checked) {
    let Some(signed) = checkpoints.get(&frontier.size()).filter(|signed| signed.size > 0) else { return };
    checked.checkpoints += 1;
    if signed.root != frontier.root() {
        let place = format!("checkpoint of {} events", signed.size);
        checked.findings.push(Finding::new(place, "the events up to here are not those that were signed"));
    }
}

/// Every checkpoint of the tenant is a leaf of the installation's log, every leaf about the tenant is one of its checkpoints,
/// and the installation's log is the one that was signed.
async fn installed(session: &Session, key: &Verifier, notes: &[checkpoint::Model], checked: &mut Checked) -> Result<(), Error> {
    let tenant = session.scope().tenant();
    let scope = session.store().read_beside(INSTALLATION);
    let mut missing: BTreeSet<&str> = notes.iter().map(|row| row.note.as_str()).collect();
    let mut frontier = Frontier::default();
    let signed = scope.find::<checkpoint::Entity>().order_by_asc(checkpoint::Column::Size).all(scope.tx()).await?;
    let mut signed: BTreeMap<u64, Checkpoint> =
        signed.iter().filter_map(|row| key.open(&row.note).ok()).filter(|signed| signed.origin == key.name()).map(|signed| (signed.size, signed)).collect();
    let last = signed.last_key_value().map_or(0, |(size, _)| *size);
    loop {
        let select = scope.find::<installation::Entity>().filter(installation::Column::Sequence.gte(frontier.size().cast_signed()));
        let rows = select.order_by_asc(installation::Column::Sequence).limit(CHUNK).all(scope.tx()).await?;
        for row in &rows {
            if row.sequence.unsigned_abs() != frontier.size() {
                checked.findings.push(Finding::new(format!("leaf {} of the installation's log", frontier.size()), "it is missing"));
                return Ok(());
            }
            frontier.push(tree::leaf(row.note.as_bytes()));
            if row.whose == tenant.0 && !missing.remove(row.note.as_str()) {
                checked.findings.push(Finding::new(format!("checkpoint of {} events", row.size), "it was signed and is gone, or was signed twice"));
            }
            if let Some(signed) = signed.remove(&frontier.size())
                && signed.root != frontier.root()
            {
                let place = format!("the installation's checkpoint of {} leaves", signed.size);
                checked.findings.push(Finding::new(place, "the leaves up to here are not those that were signed"));
                return Ok(());
            }
        }
        if (rows.len() as u64) < CHUNK {
            break;
        }
    }
    if frontier.size() != last {
        checked.findings.push(Finding::new("the installation's log", format!("{last} leaves were signed, and there are {}", frontier.size())));
    }
    for note in missing {
        checked.findings.push(Finding::new("the installation's log", format!("a checkpoint is not in it: {}", note.lines().nth(1).unwrap_or_default())));
    }
    Ok(())
}

/// Checks that events are found by what they say: actor, roles, time and the rest against the canonical bytes, and the persons
/// that they are about. Then compares the sealed cells of every row with the last event that wrote them: a row that was put
/// back to an earlier state, came, or went without an event is found.
///
/// # Errors
/// As [`verify`].
pub async fn fsck(session: &Session, progress: &mut (dyn FnMut(u64) + Send)) -> Result<Checked, Error> {
    session.permit(Verb::AuditRead)?;
    let scope = session.scope();
    let mut checked = Checked { pruned: pruned(scope).await?, ..Checked::default() };
    let (mut next, mut leading, mut told) = (checked.pruned.cast_signed(), 0, Told::default());
    while checked.findings.len() < ENOUGH {
        let select = scope.find::<event::Entity>().filter(event::Column::Sequence.gte(next)).order_by_asc(event::Column::Sequence).limit(CHUNK);
        let rows = select.all(scope.tx()).await?;
        let Some(last) = rows.last().map(|row| row.sequence) else { break };
        let waiting = scope.find::<wide::Entity>().filter(wide::Column::Sequence.between(next, last)).all(scope.tx()).await?;
        let waiting: BTreeSet<i64> = waiting.into_iter().map(|row| row.sequence).collect();
        let written = lists(scope, &rows).await?;
        let about = |row: &event::Model| if waiting.contains(&row.sequence) { BTreeSet::new() } else { subjects(&row.body) };
        let about: BTreeMap<i64, BTreeSet<[u8; 16]>> = rows.iter().map(|row| (row.sequence, about(row))).collect();
        let found = found_by(scope, about.values().flatten().collect(), next, last).await?;
        for row in &rows {
            let place = || format!("event {}", row.sequence);
            if let Some(column) = mismatch(row) {
                checked.findings.push(Finding::new(place(), format!("column {column} is not what the event says")));
            }
            if !about[&row.sequence].iter().all(|alias| found.contains(&(*alias, row.sequence))) {
                checked.findings.push(Finding::new(place(), "it is not found by the persons that it is about"));
            }
            let mine = written.get(&row.id);
            if !names(row, mine) || mine.is_some_and(|list| told.hear(row.sequence, list).is_none()) {
                checked.findings.push(Finding::new(place(), "the list of the sealed cells that it wrote is not the one that it names"));
            }
        }
        leading += about.values().map(BTreeSet::len).sum::<usize>();
        checked.events += rows.len() as u64;
        progress(checked.events);
        next = last + 1;
    }
    let stored = scope.find::<subject::Entity>().count(scope.tx()).await?;
    if checked.findings.is_empty() && stored != leading as u64 {
        checked.findings.push(Finding::new("what events are found by", format!("persons lead to {stored} events, and {leading} are about persons")));
    }
    if checked.findings.is_empty() {
        let findings = &mut checked.findings;
        let found = |table: &'static str, id: Uuid, by: Option<i64>| {
            let what = by.map_or_else(|| "no event tells of it".to_owned(), |by| format!("its sealed cells are not those that event {by} wrote last"));
            findings.push(Finding::new(format!("{table} {id}"), what));
            findings.len() < ENOUGH
        };
        told.compare(scope, found).await?;
    }
    Ok(checked)
}

/// What these events say that they left in sealed cells.
async fn lists(scope: &Scope, rows: &[event::Model]) -> Result<HashMap<Uuid, Vec<u8>>, Error> {
    let these = scope.among(cells::table::Column::EventId, rows.iter().map(|row| row.id));
    let found = scope.find::<cells::table::Entity>().filter(these).all(scope.tx()).await?;
    Ok(found.into_iter().map(|row| (row.event_id, row.cells)).collect())
}

/// Whether an event names this list, or none where there is none.
fn names(row: &event::Model, list: Option<&Vec<u8>>) -> bool {
    let body: Value = serde_json::from_slice(&row.body).unwrap_or_default();
    match list {
        None => body.get("cells").is_none(),
        Some(list) => body["cells"]["rows"] == cells::rows(list) && body["cells"]["sha256"] == hex(&Sha256::digest(list)).as_str(),
    }
}

async fn found_by(scope: &Scope, aliases: BTreeSet<&[u8; 16]>, first: i64, last: i64) -> Result<HashSet<([u8; 16], i64)>, Error> {
    let mut found = HashSet::new();
    let aliases: Vec<Vec<u8>> = aliases.into_iter().map(|alias| alias.to_vec()).collect();
    for chunk in aliases.chunks(1_000) {
        let select = scope.find::<subject::Entity>().filter(scope.among(subject::Column::Alias, chunk.iter().cloned()));
        let rows = select.filter(subject::Column::Sequence.between(first, last)).all(scope.tx()).await?;
        found.extend(rows.into_iter().filter_map(|row| Some((row.alias.as_slice().try_into().ok()?, row.sequence))));
    }
    Ok(found)
}

/// The first column of an event that does not say what its canonical bytes say.
fn mismatch(row: &event::Model) -> Option<&'static str> {
    let body: Value = serde_json::from_slice(&row.body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let roles: Vec<String> = body["actor"]["roles"].as_array().into_iter().flatten().map(text).collect();
    let personal = |level: &str| -> i64 {
        let fields = body["fields"].as_object().into_iter().flatten();
        fields.filter(|(key, _)| policy::Field::of_key(key).is_some_and(policy::Field::personal)).filter_map(|(_, counts)| counts[level].as_i64()).sum()
    };
    let time = row.at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let agree = [
        ("id", body["id"] == row.id.to_string().as_str()),
        ("at", body["time"] == time.as_str()),
        ("actor", body["actor"]["subject"] == row.actor.as_str()),
        ("roles", spaced(&roles) == row.roles),
        ("address", body["actor"]["address"] == row.address.as_str()),
        ("request", body["operation"]["request"] == row.request.as_str()),
        ("operation", body["operation"]["name"] == row.operation.as_str()),
        ("outcome", body["outcome"] == row.outcome.as_str()),
        ("purpose", body["purpose"].as_str() == row.purpose.as_deref()),
        ("clear", personal("clear") == i64::from(row.clear)),
        ("masked", personal("masked") == i64::from(row.masked)),
        ("withheld", personal("withheld") == i64::from(row.withheld)),
    ];
    agree.into_iter().find(|(_, agrees)| !agrees).map(|(column, _)| column)
}
