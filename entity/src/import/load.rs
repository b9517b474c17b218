//! Loading: sealed rows, batch by batch, each recognised, linked and accounted for in one transaction.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, SubsecRound, Utc};
use policy::{Verb, link};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{FromQueryResult, IdenStatic, Iterable, QuerySelect};

use super::seal::{self, Batch, Row};
use super::{Counts, Import, Tally, keep, row};
use crate::bulk::Existing;
use crate::erasure::{self, Told};
use crate::link::{Run, Settled, Shared, Touched, Why, settle};
use crate::record::{Column, Entity};
use crate::vault::{BlindIndex, hex};
use crate::{Change, Error, Scope, contact, keys, order, ticket};
use policy::field::kinds::{Email, Phone};

/// What a linking run needs to know, for the batches to come.
///
/// # Errors
/// [`Error::Denied`] to whom may not import.
pub async fn prepare(change: &Change) -> Result<Run, Error> {
    change.permit(Verb::ImportRun)?;
    Run::of(change.scope()).await
}

/// What has been counted behind a batch.
#[derive(Clone, Debug, Default)]
pub struct SoFar {
    /// What became of the rows.
    pub counts: Counts,
    /// And what else.
    pub tally: Tally,
}

/// Loads a batch in the transaction of `change`. `tally` is what cleaning counted in it. Returns the counts with it.
///
/// # Errors
/// The database refuses, the caller may not import, another process has taken the import over, or the counts of the batch
/// do not add up: nothing of the batch is kept.
pub async fn batch(change: &Change, run: &mut Run, import: &Import, mut batch: Batch, mut tally: Tally, so_far: &SoFar) -> Result<SoFar, Error> {
    change.permit(Verb::ImportRun)?;
    let scope = change.scope();
    let begun = std::time::Instant::now();
    crate::tenant::lock(scope).await?;
    run.renew(scope).await?;
    // Behind the wait: what other imports met of a version is told by the times.
    let at = now(change, begun);
    scope.plan_for_any().await?;
    scope.count_grown(&["source_record", "customer", "customer_order", "contact_record", "ticket"], false).await?;
    import.follow(change);
    if !keys::hold(scope, &batch.keys).await? {
        return Err(Error::Invalid("the keys that sealed this batch are gone; import the file again, it goes on where it stopped".to_owned()));
    }
    if run.erased {
        refuse_erased(change, import, &mut batch, &mut tally).await?;
    }
    let mut counts = Counts { read: size(batch.read()), rejected: size(batch.rejects.len()), warnings: tally.warnings.values().sum(), ..Counts::default() };
    let mut load = Load::of(scope, import, batch, &mut counts).await?;
    load.forget(scope, import).await?;
    let recognised = begun.elapsed();
    let touched = load.touched(import);
    let settled = settle(change, run, touched, Why { kind: "linked", reason: "by the rules, at an import" }).await?;
    let linked = begun.elapsed();
    load.store(scope, &settled, at).await?;
    tracing::debug!(?recognised, ?linked, stored = ?begun.elapsed(), "a batch, from its beginning");
    if !counts.reconciles() {
        return Err(Error::Invalid("the counts of a batch do not add up; nothing of it was loaded".to_owned()));
    }
    let mut after = so_far.clone();
    after.counts.add(&counts);
    after.tally.add(&tally);
    after.tally.linked.add(&settled.linked);
    keep(change, import, &after, "running", now(change, begun)).await?;
    change.note("import", import.id.to_string());
    change.note("counts", serde_json::to_value(counts).unwrap_or_default());
    Ok(after)
}

/// The time now, of a session that waited or worked since `begun`.
fn now(change: &Change, begun: std::time::Instant) -> DateTime<Utc> {
    (change.now() + begun.elapsed()).trunc_subsecs(6)
}

/// Rows of persons who were erased are rejected, and nothing of them is kept, not even for the report; nor of rows that were
/// rejected anyway.
async fn refuse_erased(change: &Change, import: &Import, batch: &mut Batch, tally: &mut Tally) -> Result<(), Error> {
    let keys = change.keyring();
    let raws = batch.rejects.iter().map(|reject| {
        let (record_key, raw) = (reject.record_key.as_ref().as_deref(), reject.raw.as_ref().as_ref());
        erasure::opened(keys, *reject.id.as_ref(), record_key, raw)?.map_or_else(|| Ok(Vec::new()), |clear| erasure::in_raw(keys, &clear))
    });
    for at in erasure::erased(change.scope(), raws).await? {
        let reject = &mut batch.rejects[at];
        if let Some(times) = reject.reason.as_ref().as_ref().and_then(|reason| tally.reasons.get_mut(reason)) {
            *times -= 1;
        }
        *tally.reasons.entry(ERASED.to_owned()).or_default() += 1;
        (reject.record_key, reject.raw) = (Set(None), Set(None));
        (reject.reason, reject.detail) = (Set(Some(ERASED.to_owned())), Set(Some(DETAIL.to_owned())));
    }
    tally.reasons.retain(|_, times| *times > 0);
    let people = batch.rows.iter().map(|row| {
        let mut marks = Told::by_draft(&row.draft, import.source.id, &row.external_id).marks(keys)?;
        if let Some(former) = row.former.as_ref().filter(|_| !row.draft.counted_id) {
            marks.extend(Told { row: Some((import.source.id, former)), ..Told::default() }.marks(keys)?);
        }
        Ok(marks)
    });
    let erased = erasure::erased(change.scope(), people).await?;
    if erased.is_empty() {
        return Ok(());
    }
    *tally.reasons.entry(ERASED.to_owned()).or_default() += size(erased.len());
    let (gone, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut batch.rows).into_iter().enumerate().partition(|(at, _)| erased.contains(at));
    batch.rows = kept.into_iter().map(|(_, row)| row).collect();
    batch.rejects.extend(gone.into_iter().map(|(_, row)| {
        let mut fate = import.fate(row.draft.row_number, row.draft.line, "rejected", None);
        fate.reason = Set(Some(ERASED.to_owned()));
        fate.detail = Set(Some(DETAIL.to_owned()));
        fate
    }));
    Ok(())
}

const ERASED: &str = "erased_person";
const DETAIL: &str = "a person of this number, address, name at this company or row was erased on request; take the row out at its source";

/// A record that is stored already.
#[derive(FromQueryResult)]
struct Known {
    id: Uuid,
    external_id: String,
    digest: Vec<u8>,
    customer_id: Option<Uuid>,
    held_for: Option<Uuid>,
    import_id: Uuid,
    row_number: i32,
    line: i32,
    phone_index: Option<BlindIndex<Phone>>,
    email_index: Option<BlindIndex<Email>>,
    person_index: Option<Vec<u8>>,
}

impl Known {
    fn keys(&self) -> impl Iterator<Item = Shared> {
        let key = |bytes: Option<&[u8]>| bytes.and_then(|bytes| link::Key::try_from(bytes).ok());
        [
            key(self.phone_index.as_ref().map(BlindIndex::bytes)).map(Shared::Phone),
            key(self.email_index.as_ref().map(BlindIndex::bytes)).map(Shared::Email),
            key(self.person_index.as_deref()).map(Shared::Person),
        ]
        .into_iter()
        .flatten()
    }
}

/// A record to be written, and what is stored of it.
struct Fresh {
    row: Row,
    known: Option<Known>,
}

/// What a batch writes.
struct Load {
    fresh: Vec<Fresh>,
    fates: Vec<row::ActiveModel>,
}

impl Load {
    /// Recognises the rows of a batch.
    async fn of(scope: &Scope, import: &Import, batch: Batch, counts: &mut Counts) -> Result<Self, Error> {
        let mut known = known(scope, import, &batch.rows).await?;
        let mut met = met(scope, import, &known).await?;
        let mut load = Self { fresh: Vec::with_capacity(batch.rows.len()), fates: batch.rejects };
        let mut places: HashMap<String, usize> = HashMap::new();
        let said: HashSet<Vec<u8>> = batch.rows.iter().map(|row| row.digest.clone()).collect();
        for mut row in batch.rows {
            if row.draft.external_id.is_some() {
                let taken = |old: &Known| old.import_id == import.id || met.contains(&old.id) || said.contains(&old.digest);
                let name = load.name(&row, &places, &known, taken);
                row.call(name);
            }
            let (number, line) = (row.draft.row_number, row.draft.line);
            if let Some(&at) = places.get(&row.external_id) {
                let earlier = &mut load.fresh[at];
                if earlier.row.digest == row.digest {
                    counts.duplicate += 1;
                    load.fates.push(import.fate(number, line, "duplicate", Some(earlier.row.id)));
                } else {
                    counts.updated += 1;
                    let (number, line) = (earlier.row.draft.row_number, earlier.row.draft.line);
                    load.fates.push(import.fate(number, line, "updated", Some(earlier.row.id)));
                    earlier.row = import.row(row.draft, earlier.row.id)?;
                }
                continue;
            }
            match known.remove(&row.external_id) {
                Some(old) if old.digest == row.digest => {
                    let again = old.import_id == import.id || !met.insert(old.id);
                    *(if again { &mut counts.duplicate } else { &mut counts.unchanged }) += 1;
                    load.fates.push(import.fate(number, line, if again { "duplicate" } else { "unchanged" }, Some(old.id)));
                    known.insert(row.external_id, old);
                }
                Some(old) => {
                    counts.updated += 1;
                    if old.import_id == import.id {
                        load.fates.push(import.fate(old.row_number, old.line, "updated", Some(old.id)));
                    }
                    places.insert(row.external_id, load.fresh.len());
                    let row = import.row(row.draft, old.id)?;
                    load.fresh.push(Fresh { row, known: Some(old) });
                }
                None => {
                    counts.created += 1;
                    places.insert(row.external_id.clone(), load.fresh.len());
                    load.fresh.push(Fresh { row, known: None });
                }
            }
        }
        Ok(load)
    }

    /// Which of those that its source calls alike a row is: the one that is equal; else the first that no row of this file is, which
    /// it changes; else a new one.
    fn name(&self, row: &Row, places: &HashMap<String, usize>, known: &HashMap<String, Known>, taken: impl Fn(&Known) -> bool) -> String {
        let mut free = None;
        for name in (1..=ALIKE).map(|n| nth(&row.external_id, n)).chain([by_content(row)]) {
            match (places.get(&name), known.get(&name)) {
                (Some(&at), _) if self.fresh[at].row.digest == row.digest => return name,
                (None, Some(old)) if old.digest == row.digest => return name,
                (None, Some(old)) if free.is_none() && !taken(old) => free = Some(name),
                (None, None) => return free.unwrap_or(name),
                _ => {}
            }
        }
        free.unwrap_or_else(|| by_content(row))
    }

    /// Records that are about to be written anew: what they were is kept for undoing, what they told of goes.
    async fn forget(&self, scope: &Scope, import: &Import) -> Result<(), Error> {
        let known: Vec<&Known> = self.fresh.iter().filter_map(|fresh| fresh.known.as_ref()).collect();
        let replaced: Vec<Uuid> = known.iter().filter(|known| known.import_id != import.id).map(|known| known.id).collect();
        remember(scope, &replaced, import.id).await?;
        let rewritten: Vec<Uuid> = known.iter().map(|known| known.id).collect();
        forget_told(scope, &rewritten).await
    }

    fn touched(&mut self, import: &Import) -> Touched {
        let keys = self.fresh.iter().filter_map(|fresh| fresh.known.as_ref()).flat_map(Known::keys).collect();
        let fresh = self
            .fresh
            .iter_mut()
            .map(|fresh| {
                let (customer, held) = fresh.known.as_ref().map_or((None, None), |known| (known.customer_id, known.held_for));
                fresh.row.member(&import.source, customer, held)
            })
            .collect();
        Touched { fresh, keys, ..Touched::default() }
    }

    async fn store(self, scope: &Scope, settled: &Settled, at: DateTime<Utc>) -> Result<(), Error> {
        let (mut new, mut changed, mut said) = (Vec::with_capacity(self.fresh.len()), Vec::new(), HashSet::new());
        let (mut orders, mut contacts, mut tickets) = (Vec::new(), Vec::new(), Vec::new());
        for Fresh { row, known } in self.fresh {
            let customer = Set(settled.customers.get(&row.id).copied());
            let mut record = row.record;
            record.customer_id = customer.clone();
            record.imported_at = Set(at);
            if let Some(known) = known {
                record.held_for = Set(known.held_for);
                changed.push(*record);
            } else {
                let says = (record.customer_id.as_ref().to_owned(), record.likeness.as_ref().clone());
                let repeats = settled.alike.contains(&row.id) || !said.insert(says);
                record.repeats = Set(repeats.then_some(true));
                new.push(record);
            }
            match row.told {
                seal::Told::Nothing => {}
                seal::Told::Order(told) => orders.push(order::table::ActiveModel { customer_id: customer, ..told }),
                seal::Told::Contact(told) => contacts.push(contact::table::ActiveModel { customer_id: customer, ..told }),
                seal::Told::Ticket(told) => tickets.push(ticket::table::ActiveModel { customer_id: customer, ..told }),
            }
        }
        scope.put_each(new.into_iter().map(|record| Ok(*record)), Existing::Refuse).await?;
        let written: Vec<Column> = Column::iter().filter(|column| !matches!(column, Column::TenantId | Column::Id)).collect();
        scope.put(changed, Existing::Overwrite(&written)).await?;
        scope.insert(orders).await?;
        scope.insert(contacts).await?;
        scope.insert(tickets).await?;
        scope.insert(self.fates).await
    }
}

/// How many rows that their source calls alike are told apart by their order; the others by what they say, so that a column of
/// one and the same word is not searched from end to end for each row.
const ALIKE: usize = 100;

/// The name of a row of which there are more than [`ALIKE`].
fn by_content(row: &Row) -> String {
    format!("{}#{}", row.external_id, hex(&row.digest).as_str())
}

/// The name of the nth row that its source calls alike.
fn nth(line: &str, n: usize) -> String {
    if n == 1 { line.to_owned() } else { format!("{line}#{n}") }
}

async fn known(scope: &Scope, import: &Import, rows: &[Row]) -> Result<HashMap<String, Known>, Error> {
    let mut known = HashMap::new();
    let columns = [
        Column::Id,
        Column::ExternalId,
        Column::Digest,
        Column::CustomerId,
        Column::HeldFor,
        Column::ImportId,
        Column::RowNumber,
        Column::Line,
        Column::PhoneIndex,
        Column::EmailIndex,
        Column::PersonIndex,
    ];
    let mut names: Vec<String> = rows.iter().flat_map(|row| [Some(row.external_id.clone()), row.former.clone()]).flatten().collect();
    let mut lines: HashSet<&str> = rows.iter().filter(|row| row.draft.external_id.is_some()).map(|row| row.external_id.as_str()).collect();
    // Ids that are kept as a keyed hash by now, and what they were stored as.
    let formers: HashMap<&str, &str> =
        rows.iter().filter(|row| row.draft.personal_id).filter_map(|row| Some((row.external_id.as_str(), row.former.as_deref()?))).collect();
    let mut n = 1;
    while !names.is_empty() {
        for chunk in names.chunks(5_000) {
            let these = scope.among(Column::ExternalId, chunk.iter().cloned());
            let select = scope.find::<Entity>().filter(Column::SourceId.eq(import.source.id)).filter(these);
            let found = select.select_only().columns(columns).into_model::<Known>().all(scope.tx()).await?;
            known.extend(found.into_iter().map(|row| (row.external_id.clone(), row)));
        }
        for (id, former) in &formers {
            if !known.contains_key(&nth(id, n))
                && let Some(old) = known.remove(&nth(former, n))
            {
                known.insert(nth(id, n), old);
            }
        }
        // Where there is one that is called so there may be another.
        lines.retain(|line| n > ALIKE || known.contains_key(&nth(line, n)));
        n += 1;
        names = match n.cmp(&(ALIKE + 1)) {
            Ordering::Less => lines.iter().flat_map(|line| [Some(*line), formers.get(line).copied()]).flatten().map(|name| nth(name, n)).collect(),
            Ordering::Equal => rows.iter().filter(|row| lines.contains(row.external_id.as_str())).map(by_content).collect(),
            Ordering::Greater => Vec::new(),
        };
    }
    for row in rows {
        if let Some(former) = &row.former
            && !known.contains_key(&row.external_id)
            && known.get(former).is_some_and(|old| !row.draft.counted_id || old.digest == row.digest)
            && let Some(old) = known.remove(former)
        {
            known.insert(row.external_id.clone(), old);
        }
    }
    Ok(known)
}

/// Which of these records the import has met before without writing them.
async fn met(scope: &Scope, import: &Import, known: &HashMap<String, Known>) -> Result<HashSet<Uuid>, Error> {
    let others: Vec<Uuid> = known.values().filter(|known| known.import_id != import.id).map(|known| known.id).collect();
    let mut met = HashSet::new();
    for chunk in others.chunks(5_000) {
        let select = scope.find::<row::Entity>().filter(row::Column::ImportId.eq(import.id)).filter(scope.among(row::Column::RecordId, chunk.iter().copied()));
        met.extend(select.select_only().column(row::Column::RecordId).into_tuple::<Uuid>().all(scope.tx()).await?);
    }
    Ok(met)
}

/// Columns of a table as SQL.
pub(super) fn columns<C: Iterable + IdenStatic>() -> String {
    C::iter().map(|column| column.as_str().to_owned()).collect::<Vec<_>>().join(", ")
}

/// The tables whose rows are kept when an import replaces them: the records, and what they tell of.
pub(super) fn kept() -> [(&'static str, &'static str, String); 4] {
    [
        ("source_record", "id", columns::<Column>()),
        ("customer_order", "record_id", columns::<order::table::Column>()),
        ("contact_record", "record_id", columns::<contact::table::Column>()),
        ("ticket", "record_id", columns::<ticket::table::Column>()),
    ]
}

/// Keeps records as they are, as replaced by an import.
async fn remember(scope: &Scope, records: &[Uuid], import: Uuid) -> Result<(), Error> {
    for chunk in records.chunks(5_000) {
        for (table, key, columns) in kept() {
            let marks = marks(chunk.len(), 3);
            let sql =
                format!("INSERT INTO {table}_past ({columns}, replaced_by) SELECT {columns}, $2 FROM {table} WHERE tenant_id = $1 AND {key} IN ({marks})");
            scope.run(&sql, std::iter::once(import.into()).chain(chunk.iter().map(|id| (*id).into()))).await?;
        }
    }
    Ok(())
}

/// `$from, …`.
pub(crate) fn marks(count: usize, from: usize) -> String {
    (from..from + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

/// What records tell of goes.
pub(super) async fn forget_told(scope: &Scope, records: &[Uuid]) -> Result<(), Error> {
    for chunk in records.chunks(5_000) {
        scope.delete_where::<order::table::Entity>(scope.among(order::table::Column::RecordId, chunk.iter().copied())).await?;
        scope.delete_where::<contact::table::Entity>(scope.among(contact::table::Column::RecordId, chunk.iter().copied())).await?;
        scope.delete_where::<ticket::table::Entity>(scope.among(ticket::table::Column::RecordId, chunk.iter().copied())).await?;
    }
    Ok(())
}

fn size(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
