//! Who else holds what an import wrote. An import that met a record as it stood holds it too: when the one that wrote it is undone,
//! the record is its own.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use super::load::kept;
use super::row;
use crate::{Error, Scope};

/// A version of a record, and the time for which it stood.
pub(super) struct Version {
    pub record: Uuid,
    pub since: DateTime<Utc>,
    pub until: Option<DateTime<Utc>>,
}

impl Version {
    /// Whether a row of a report was written while this version stood. Keys tell the time.
    fn met_by(&self, row: Uuid) -> bool {
        let Some((seconds, nanos)) = row.get_timestamp().map(|at| at.to_unix()) else { return false };
        let millis = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000).saturating_add(i64::from(nanos / 1_000_000));
        millis >= self.since.timestamp_millis() && self.until.is_none_or(|until| millis < until.timestamp_millis())
    }
}

/// Gives versions that an import wrote, in `table`, to the newest of the other standing imports that met them. Returns the records
/// of which there is one.
pub(super) async fn inherit(scope: &Scope, table: &str, import: Uuid, versions: &[Version]) -> Result<HashSet<Uuid>, Error> {
    let mut inherited = HashSet::new();
    for chunk in versions.chunks(500) {
        let records: Vec<Uuid> = chunk.iter().map(|version| version.record).collect();
        let (these, values) = scope.named("met.record_id", &records, 3);
        let sql = format!(
            "SELECT met.id, met.record_id, met.import_id FROM import_row AS met JOIN import ON import.tenant_id = met.tenant_id AND import.id = met.import_id \
             WHERE met.tenant_id = $1 AND met.import_id <> $2 AND met.outcome IN ('unchanged', 'duplicate') \
             AND import.state NOT IN ('undoing', 'undone') AND {these}"
        );
        let of: HashMap<Uuid, &Version> = chunk.iter().map(|version| (version.record, version)).collect();
        let mut newest: HashMap<Uuid, (Uuid, Uuid)> = HashMap::new();
        for found in scope.rows(&sql, std::iter::once(import.into()).chain(values)).await? {
            let (row, record, heir): (Uuid, Uuid, Uuid) = (found.try_get("", "id")?, found.try_get("", "record_id")?, found.try_get("", "import_id")?);
            if of.get(&record).is_some_and(|version| version.met_by(row)) {
                let best = newest.entry(record).or_insert((row, heir));
                *best = (*best).max((row, heir));
            }
        }
        hand_over(scope, table, import, &newest).await?;
        inherited.extend(newest.into_keys());
    }
    Ok(inherited)
}

/// Each record goes to the import that met it in a row of its file. What the version had replaced is what that one replaced.
async fn hand_over(scope: &Scope, table: &str, import: Uuid, newest: &HashMap<Uuid, (Uuid, Uuid)>) -> Result<(), Error> {
    let rows: Vec<Uuid> = newest.values().map(|(row, _)| *row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let (these, values) = scope.named("id", &rows, 3);
    let sql = format!(
        "UPDATE {table} SET import_id = met.import_id, row_number = met.row_number, line = met.line FROM \
         (SELECT record_id, import_id, row_number, line FROM import_row WHERE tenant_id = $1 AND {these}) AS met \
         WHERE {table}.tenant_id = $1 AND {table}.id = met.record_id AND {table}.import_id = $2"
    );
    scope.run(&sql, std::iter::once(import.into()).chain(values)).await?;
    let mut by_heir: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    for (record, (_, heir)) in newest {
        by_heir.entry(*heir).or_default().push(*record);
    }
    for (heir, records) in by_heir {
        for (table, key, _) in kept() {
            replaced_by(scope, table, key, &records, import, heir).await?;
        }
    }
    scope.delete_where::<row::Entity>(scope.among(row::Column::Id, rows)).await?;
    Ok(())
}

/// What an import replaced of these records is now what another replaced.
pub(super) async fn replaced_by(scope: &Scope, table: &str, key: &str, records: &[Uuid], import: Uuid, heir: Uuid) -> Result<(), Error> {
    let (these, values) = scope.named(key, records, 4);
    let sql = format!("UPDATE {table}_past SET replaced_by = $2 WHERE tenant_id = $1 AND replaced_by = $3 AND {these}");
    scope.run(&sql, [heir.into(), import.into()].into_iter().chain(values)).await?;
    Ok(())
}
