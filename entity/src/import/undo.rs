//! Undoing a whole import: what it created goes, what it replaced comes back, and the customers are what they would be
//! without it. In batches, so that it can be cut off and go on.

use std::collections::{HashMap, HashSet};

use policy::Verb;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};

use super::load::{forget_told, kept, marks};
use super::{Report, report, row, table};
use crate::erasure::{self, Told};
use crate::link::{Member, Reader, Run, Touched, Why, blocking, settle};
use crate::pair;
use crate::record::{Column, Entity};
use crate::{Change, Error, Scope};

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
    let select = scope.find::<Entity>().filter(Column::ImportId.eq(import)).order_by_asc(Column::Id).limit(BATCH);
    let written: Vec<Uuid> = select.select_only().column(Column::Id).into_tuple().all(scope.tx()).await?;
    if written.is_empty() {
        superseded(scope, import).await?;
        state(change, import, "undone").await?;
        return Ok(false);
    }
    state(change, import, "undoing").await?;
    let mut run = Run::of(scope).await?;
    let gone = Reader { scope, keys: change.keyring(), sources: &run.sources }.these(&written).await?;
    let replaced = replaced(change, &run, import, &written).await?;
    let created: Vec<Uuid> = written.iter().copied().filter(|id| !replaced.contains(id)).collect();
    forget_told(scope, &written).await?;
    blocking::forget(change, &run, &gone).await?;
    remove(scope, &created).await?;
    restore(scope, import, &replaced.iter().copied().collect::<Vec<_>>()).await?;
    // What came back is stored; it is linked like what came.
    let back = Reader { scope, keys: change.keyring(), sources: &run.sources }.these(&replaced.iter().copied().collect::<Vec<_>>()).await?;
    let touched = Touched {
        keys: gone.iter().chain(&back).flat_map(Member::keys).collect(),
        customers: gone.iter().chain(&back).filter_map(|member| member.customer).collect(),
        industries: gone.iter().filter_map(|member| Some((member.company_key?, Some(member.industry.clone()?)))).collect(),
        fresh: Vec::new(),
    };
    settle(change, &mut run, touched, Why { kind: "linked", reason: "after an import was undone" }).await?;
    Ok(true)
}

async fn state(change: &Change, import: Uuid, state: &str) -> Result<Report, Error> {
    let values = vec![(table::Column::State, Expr::value(state)), (table::Column::FinishedAt, Expr::value(change.now()))];
    change.scope().update_where::<table::Entity>(table::Column::Id.eq(import), values).await?;
    report(change, import).await
}

/// Those of these records of which the import replaced an earlier version that may come back: not that of an erased person.
async fn replaced(change: &Change, run: &Run, import: Uuid, records: &[Uuid]) -> Result<HashSet<Uuid>, Error> {
    let scope = change.scope();
    let which = format!("replaced_by = $2 AND id IN ({})", marks(records.len(), 3));
    let values = std::iter::once(import.into()).chain(records.iter().map(|id| (*id).into()));
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
    let these = || records.iter().map(|id| Value::from(*id));
    let marks = marks(records.len(), 2);
    scope.run(&format!("DELETE FROM signoff_row WHERE tenant_id = $1 AND record_id IN ({marks})"), these()).await?;
    for column in [pair::table::Column::RecordA, pair::table::Column::RecordB] {
        scope.delete_where::<pair::table::Entity>(scope.among(column, records.iter().copied())).await?;
    }
    scope
        .update_where::<row::Entity>(scope.among(row::Column::RecordId, records.iter().copied()), vec![(row::Column::RecordId, Expr::value(None::<Uuid>))])
        .await?;
    for (table, key, _) in kept() {
        scope.run(&format!("DELETE FROM {table}_past WHERE tenant_id = $1 AND {key} IN ({marks})"), these()).await?;
    }
    scope.delete_where::<Entity>(scope.among(Column::Id, records.iter().copied())).await?;
    Ok(())
}

/// Earlier versions come back. Their customers are those of today: linking decides anew.
async fn restore(scope: &Scope, import: Uuid, records: &[Uuid]) -> Result<(), Error> {
    if records.is_empty() {
        return Ok(());
    }
    let marks = marks(records.len(), 3);
    let values = || std::iter::once(Value::from(import)).chain(records.iter().map(|id| Value::from(*id)));
    for (table, key, columns) in kept() {
        let these = format!("tenant_id = $1 AND replaced_by = $2 AND {key} IN ({marks})");
        if table == "source_record" {
            let set: Vec<String> =
                columns.split(", ").filter(|c| !matches!(*c, "tenant_id" | "id" | "customer_id" | "held_for")).map(|c| format!("{c} = p.{c}")).collect();
            let sql = format!(
                "UPDATE source_record SET {} FROM (SELECT * FROM source_record_past WHERE {these}) AS p WHERE source_record.tenant_id = p.tenant_id AND source_record.id = p.id",
                set.join(", ")
            );
            scope.run(&sql, values()).await?;
        } else {
            let own: Vec<String> = columns.split(", ").map(|c| if c == "customer_id" { "r.customer_id".to_owned() } else { format!("p.{c}") }).collect();
            let sql = format!(
                "INSERT INTO {table} ({columns}) SELECT {} FROM {table}_past AS p JOIN source_record AS r ON r.tenant_id = p.tenant_id AND r.id = p.record_id \
                 WHERE p.tenant_id = $1 AND p.replaced_by = $2 AND p.{key} IN ({marks})",
                own.join(", ")
            );
            scope.run(&sql, values()).await?;
        }
        scope.run(&format!("DELETE FROM {table}_past WHERE {these}"), values()).await?;
    }
    Ok(())
}

/// Versions that the import wrote and a later one replaced: they go, and what they had replaced is what the later one
/// replaced.
async fn superseded(scope: &Scope, import: Uuid) -> Result<(), Error> {
    let written = "SELECT id FROM source_record_past WHERE tenant_id = $1 AND import_id = $2";
    let told: Vec<Uuid> = scope.ids(written, [import.into()]).await?.into_iter().collect();
    for record in &told {
        let later = scope
            .ids("SELECT replaced_by AS id FROM source_record_past WHERE tenant_id = $1 AND import_id = $2 AND id = $3", [import.into(), (*record).into()]);
        let Some(later) = later.await?.into_iter().next() else { continue };
        for (table, key, _) in kept() {
            scope.run(&format!("DELETE FROM {table}_past WHERE tenant_id = $1 AND replaced_by = $2 AND {key} = $3"), [later.into(), (*record).into()]).await?;
            let heir = format!("UPDATE {table}_past SET replaced_by = $2 WHERE tenant_id = $1 AND replaced_by = $3 AND {key} = $4");
            scope.run(&heir, [later.into(), import.into(), (*record).into()]).await?;
        }
    }
    Ok(())
}
