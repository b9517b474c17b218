//! What became of a file: counts that add up, and the reports of all imports.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use policy::Verb;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use super::{alive, table};
use crate::link::Linked;
use crate::source::{self, Source};
use crate::{Error, Scope, Session};

/// What became of the rows of a batch or a file. It adds up, or the import fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows behind the header.
    pub read: i32,
    /// New source records.
    pub created: i32,
    /// Changed source records.
    pub updated: i32,
    /// Known and equal.
    pub unchanged: i32,
    /// Equal to an earlier row of the same file.
    pub duplicate: i32,
    /// Refused with a reason.
    pub rejected: i32,
    /// Cells that could not be read; the rows were kept.
    pub warnings: i32,
}

impl Counts {
    /// The reconciliation identity.
    #[must_use]
    pub const fn reconciles(&self) -> bool {
        self.read == self.created + self.updated + self.unchanged + self.duplicate + self.rejected
    }

    /// Adds another batch.
    pub const fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.duplicate += other.duplicate;
        self.rejected += other.rejected;
        self.warnings += other.warnings;
    }
}

/// What else a run counts: how often each reason refused a row, how many cells of each field were filled, and how many
/// could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Rejected rows by reason.
    pub reasons: BTreeMap<String, i32>,
    /// Filled cells by field.
    pub filled: BTreeMap<String, i32>,
    /// Unreadable cells by field; their rows were kept.
    pub warnings: BTreeMap<String, i32>,
    /// Cells that each cleaning rule changed.
    pub rules: BTreeMap<String, i32>,
    /// What linking did.
    pub linked: Linked,
}

impl Tally {
    /// Adds another batch.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in
            [(&mut self.reasons, &other.reasons), (&mut self.filled, &other.filled), (&mut self.warnings, &other.warnings), (&mut self.rules, &other.rules)]
        {
            for (word, times) in theirs {
                *mine.entry(word.clone()).or_default() += times;
            }
        }
        self.linked.add(&other.linked);
    }
}

/// An import as its report shows it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The key.
    pub id: Uuid,
    /// The source system.
    pub source: String,
    /// The file's name.
    pub file: String,
    /// `running`, `interrupted`, `paused`, `cancelled`, `done`, `failed`, `undoing` or `undone`.
    pub state: String,
    /// Who ran it.
    pub actor: String,
    /// The version of the mapping.
    pub mapping_version: i32,
    /// What became of its rows.
    pub counts: Counts,
    /// What else was counted.
    pub tally: Tally,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

pub(super) fn counts(row: &table::Model) -> Counts {
    Counts {
        read: row.rows_read,
        created: row.created,
        updated: row.updated,
        unchanged: row.unchanged,
        duplicate: row.duplicate,
        rejected: row.rejected,
        warnings: row.warnings,
    }
}

pub(super) fn tally(row: &table::Model) -> Tally {
    row.report.clone().and_then(|report| serde_json::from_value(report).ok()).unwrap_or_default()
}

fn reported(row: &table::Model, sources: &[Source], now: DateTime<Utc>) -> Report {
    let interrupted = row.state == "running" && !alive(row, now);
    Report {
        id: row.id,
        source: sources.iter().find(|source| source.id == row.source_id).map(|source| source.name.clone()).unwrap_or_default(),
        file: row.file_name.clone(),
        state: if interrupted { "interrupted".to_owned() } else { row.state.clone() },
        actor: row.actor.clone(),
        mapping_version: row.mapping_version,
        counts: counts(row),
        tally: tally(row),
        started_at: row.started_at,
        finished_at: row.finished_at,
    }
}

/// The tenant's imports, newest first.
///
/// # Errors
/// [`Error::Denied`] to whom may not read import reports.
pub async fn reports(session: &Session, limit: u64) -> Result<Vec<Report>, Error> {
    session.permit(Verb::ImportRead)?;
    let scope = session.scope();
    let sources = source::in_scope(scope).await?;
    let rows = scope.find::<table::Entity>().order_by_desc(table::Column::Id).limit(limit).all(scope.tx()).await?;
    Ok(rows.iter().map(|row| reported(row, &sources, session.now())).collect())
}

/// One import.
///
/// # Errors
/// [`Error::Denied`] to whom may not read import reports; [`Error::NotFound`].
pub async fn report(session: &Session, id: Uuid) -> Result<Report, Error> {
    session.permit(Verb::ImportRead)?;
    let scope = session.scope();
    let sources = source::in_scope(scope).await?;
    let row = scope.find::<table::Entity>().filter(table::Column::Id.eq(id)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    Ok(reported(&row, &sources, session.now()))
}

/// The imports of a source that are not undone, oldest first.
pub(crate) async fn standing(scope: &Scope, source: Uuid) -> Result<Vec<table::Model>, Error> {
    let theirs = scope.find::<table::Entity>().filter(table::Column::SourceId.eq(source)).filter(table::Column::State.is_not_in(["undoing", "undone"]));
    Ok(theirs.order_by_asc(table::Column::Id).all(scope.tx()).await?)
}
