//! Undoing a whole import: what it created goes, what it replaced comes back, and the customers are what they would be
//! without it. In batches, so that it can be cut off and go on.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use policy::Verb;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QueryOrder, QuerySelect};

use super::heir::{self, Version};
use super::load::{forget_told, kept};
use super::{Report, ended, report, row, table};
use crate::erasure::{self, Told};
use crate::link::{Member, Reader, Run, Touched, Why, blocking, settle};
use crate::record::{Column, Entity};
use crate::{Change, Error, Scope, merge, pair};

/// The most records of one transaction.
const BATCH: u64 = 5_000;

/// Undoes a batch of an import. Returns whether there is more to do.
///
/// # Errors
/// [`Error::Denied`]; [`Error::NotFound`]; [`Error::Invalid`] when the import runs.
pub async fn batch(change: &Change, import: Uuid) -> Result<bool, Error> {
    change.permit(Verb::ImportRun)?;
    let scope = change.scope();
    crate::tenant::lock(scope).await?;
    let now = report(change, import).await?;
    if now.state == "running" {
        return Err(Error::Invalid("this import runs; cancel it first".to_owned()));
    }
    change.note("import", import.to_string());
    let select = scope.find::<Entity>().filter(Column::ImportId.eq(import)).order_by_asc(Column::RowNumber).limit(BATCH);
    let written: Vec<(Uuid, DateTime<Utc>)> = select.select_only().columns([Column::Id, Column::ImportedAt]).into_tuple().all(scope.tx()).await?;
    if written.is_empty() {
        let more = superseded(scope, import).await?;
        state(change, import, if more { "undoing" } else { "undone" }).await?;
        return Ok(more);
    }
    state(change, import, "undoing").await?;
    let versions: Vec<Version> = written.iter().map(|(record, since)| Version { record: *record, since: *since, until: None }).collect();
    let inherited = heir::inherit(scope, "source_record", import, &versions).await?;
    let written: Vec<Uuid> = written.into_iter().map(|(id, _)| id).filter(|id| !inherited.contains(id)).collect();
    let mut run = Run::of(scope).await?;
    let gone = Reader { scope, keys: change.keyring(), sources: &run.sources }.these(&written).await?;
    let replaced = replaced(change, &run, import, &written).await?;
    let (replaced, created): (Vec<Uuid>, Vec<Uuid>) = written.iter().partition(|id| replaced.contains(id));
    forget_told(scope, &written).await?;
    blocking::forget(change, &run, &gone).await?;
    remove(scope, &created).await?;
    restore(scope, import, &replaced).await?;
    compare_again(scope, &replaced).await?;
    // What came back is stored; it is linked like what came.
    let back = Reader { scope, keys: change.keyring(), sources: &run.sources }.these(&replaced).await?;
    let mut customers: HashSet<Uuid> = gone.iter().chain(&back).filter_map(|member| member.customer).collect();
    customers.extend(merge::part(change, &customers, now.started_at).await?);
    let touched = Touched {
        keys: gone.iter().chain(&back).flat_map(Member::keys).collect(),
        customers: customers.into_iter().collect(),
        industries: gone.iter().filter_map(|member| Some((member.company_key?, Some(member.industry.clone()?)))).collect(),
        fresh: Vec::new(),
    };
    settle(change, &mut run, touched, Why { kind: "linked", reason: "after an import was undone" }).await?;
    Ok(true)
}

async fn state(change: &Change, import: Uuid, state: &str) -> Result<Report, Error> {
    change.scope().update_where::<table::Entity>(table::Column::Id.eq(import), ended(state, change.now())).await?;
    report(change, import).await
}

/// Those of these records of which the import replaced an earlier version that may come back: not that of an erased person.
async fn replaced(change: &Change, run: &Run, import: Uuid, records: &[Uuid]) -> Result<HashSet<Uuid>, Error> {
    let scope = change.scope();
    let (these, values) = scope.named("id", records, 3);
    let which = format!("replaced_by = $2 AND {these}");
    let values = std::iter::once(import.into()).chain(values);
    let versions = Reader { scope, keys: change.keyring(), sources: &run.sources }.past(&which, values).await?;
    let names = if run.erased { erasure::names_of(scope, records).await? } else { HashMap::new() };
    let told = versions.iter().filter(|_| run.erased).map(|version| Told::by_member(version, names.get(&version.id)).marks(change.keyring()));
    let erased = erasure::erased(scope, told).await?;
    Ok(versions.into_iter().enumerate().filter(|(at, _)| !erased.contains(at)).map(|(_, version)| version.id).collect())
}

/// Records that the import created, or of which no earlier version comes back, go with all that refers to them.
async fn remove(scope: &Scope, records: &[Uuid]) -> Result<(), Error> {
    if records.is_empty() {
        return Ok(());
    }
    let (these, values) = scope.named("record_id", records, 2);
    scope.run(&format!("DELETE FROM signoff_row WHERE tenant_id = $1 AND {these}"), values).await?;
    for column in [pair::table::Column::RecordA, pair::table::Column::RecordB] {
        scope.delete_where::<pair::table::Entity>(scope.among(column, records.iter().copied())).await?;
    }
    scope
        .update_where::<row::Entity>(scope.among(row::Column::RecordId, records.iter().copied()), vec![(row::Column::RecordId, Expr::value(None::<Uuid>))])
        .await?;
    for (table, key, _) in kept() {
        let (these, values) = scope.named(key, records, 2);
        scope.run(&format!("DELETE FROM {table}_past WHERE tenant_id = $1 AND {these}"), values).await?;
    }
    scope.delete_where::<Entity>(scope.among(Column::Id, records.iter().copied())).await?;
    Ok(())
}

/// Earlier versions come back. Their customers are those of today: linking decides anew.
async fn restore(scope: &Scope, import: Uuid, records: &[Uuid]) -> Result<(), Error> {
    if records.is_empty() {
        return Ok(());
    }
    for (table, key, columns) in kept() {
        let (named, values) = scope.named(key, records, 3);
        let values = || std::iter::once(Value::from(import)).chain(values.clone());
        let these = format!("tenant_id = $1 AND replaced_by = $2 AND {named}");
        if table == "source_record" {
            let set: Vec<String> = columns
                .split(", ")
                .filter(|c| !matches!(*c, "tenant_id" | "id" | "customer_id" | "held_for" | "repeats"))
                .map(|c| format!("{c} = p.{c}"))
                .collect();
            let sql = format!(
                "UPDATE source_record SET {} FROM (SELECT * FROM source_record_past WHERE {these}) AS p WHERE source_record.tenant_id = p.tenant_id AND source_record.id = p.id",
                set.join(", ")
            );
            scope.run(&sql, values()).await?;
        } else {
            let own: Vec<String> = columns.split(", ").map(|c| if c == "customer_id" { "r.customer_id".to_owned() } else { format!("p.{c}") }).collect();
            let sql = format!(
                "INSERT INTO {table} ({columns}) SELECT {} FROM (SELECT * FROM {table}_past WHERE {these}) AS p \
                 JOIN source_record AS r ON r.tenant_id = p.tenant_id AND r.id = p.record_id",
                own.join(", ")
            );
            scope.run(&sql, values()).await?;
        }
        scope.run(&format!("DELETE FROM {table}_past WHERE {these}"), values()).await?;
    }
    Ok(())
}

/// Records whose earlier versions came back are new to the second pass: it compares them again, and finds anew what they are near.
async fn compare_again(scope: &Scope, records: &[Uuid]) -> Result<(), Error> {
    if records.is_empty() {
        return Ok(());
    }
    let (these, values) = scope.named("id", records, 2);
    let sql = format!(
        "UPDATE import SET scored = back.before FROM \
         (SELECT import_id, MIN(row_number) - 1 AS before FROM source_record WHERE tenant_id = $1 AND {these} GROUP BY import_id) AS back \
         WHERE import.tenant_id = $1 AND import.id = back.import_id AND import.scored > back.before"
    );
    scope.run(&sql, values).await?;
    for column in [pair::table::Column::RecordA, pair::table::Column::RecordB] {
        use pair::table::{Column, Entity};
        let theirs = |state: &str| Column::State.eq(state).and(scope.among(column, records.iter().copied()));
        scope.delete_where::<Entity>(theirs(pair::OPEN)).await?;
        scope.update_where::<Entity>(theirs(pair::LINKED), vec![(Column::State, Expr::value(pair::STALE))]).await?;
    }
    Ok(())
}

/// Versions that the import wrote and a later one replaced, a batch of them: they go, and what they had replaced is what the
/// later one replaced. Returns whether there may be more.
async fn superseded(scope: &Scope, import: Uuid) -> Result<bool, Error> {
    let written = format!(
        "SELECT p.id, p.imported_at, p.replaced_by, now.imported_at AS later, past.imported_at AS past_later FROM \
         (SELECT * FROM source_record_past WHERE tenant_id = $1 AND import_id = $2 ORDER BY row_number LIMIT {BATCH}) AS p \
         LEFT JOIN source_record AS now ON now.tenant_id = p.tenant_id AND now.id = p.id AND now.import_id = p.replaced_by \
         LEFT JOIN source_record_past AS past ON past.tenant_id = p.tenant_id AND past.id = p.id AND past.import_id = p.replaced_by"
    );
    let mut versions = Vec::new();
    let mut later: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    for found in scope.rows(&written, [import.into()]).await? {
        let (record, since): (Uuid, DateTime<Utc>) = (found.try_get("", "id")?, found.try_get("", "imported_at")?);
        let (now, past): (Option<DateTime<Utc>>, Option<DateTime<Utc>>) = (found.try_get("", "later")?, found.try_get("", "past_later")?);
        versions.push(Version { record, since, until: Some(now.or(past).unwrap_or(since)) });
        later.entry(found.try_get("", "replaced_by")?).or_default().push(record);
    }
    let inherited = heir::inherit(scope, "source_record_past", import, &versions).await?;
    for (later, mut records) in later {
        records.retain(|id| !inherited.contains(id));
        if records.is_empty() {
            continue;
        }
        for (table, key, _) in kept() {
            let (these, values) = scope.named(key, &records, 3);
            let sql = format!("DELETE FROM {table}_past WHERE tenant_id = $1 AND replaced_by = $2 AND {these}");
            scope.run(&sql, std::iter::once(later.into()).chain(values)).await?;
            heir::replaced_by(scope, table, key, &records, import, later).await?;
        }
    }
    Ok(versions.len() as u64 >= BATCH)
}
