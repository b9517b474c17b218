//! Imports: what was read, what became of every row, and whether it adds up.

use chrono::{DateTime, Utc};
use policy::Verb;
use policy::field::kinds::Raw;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QueryOrder, QuerySelect};

use crate::guard::Vaulted;
use crate::source::Source;
use crate::store::Tenanted;
use crate::vault::Wrapped;
use crate::{Change, Error, Session, source};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "import")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub source_id: Uuid,
        pub file_name: String,
        pub file_digest: Vec<u8>,
        pub mapping_version: i32,
        pub state: String,
        pub rows_read: i32,
        pub created: i32,
        pub updated: i32,
        pub unchanged: i32,
        pub duplicate: i32,
        pub rejected: i32,
        pub warnings: i32,
        pub started_at: ChronoDateTimeUtc,
        pub finished_at: Option<ChronoDateTimeUtc>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod row {
    use crate::TenantId;
    use crate::vault::Sealed;
    use policy::field::kinds::Raw;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "import_row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub import_id: Uuid,
        pub row_number: i32,
        pub line: i32,
        pub outcome: String,
        pub reason: Option<String>,
        pub detail: Option<String>,
        pub record_id: Option<Uuid>,
        pub record_key: Option<Vec<u8>>,
        pub key_epoch: i32,
        pub raw: Option<Sealed<Raw>>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}
impl Tenanted for row::Entity {
    const TENANT: row::Column = row::Column::TenantId;
}
impl Vaulted for row::Model {
    const TABLE: &'static str = "import_row";
    fn row(&self) -> Uuid {
        self.id
    }
    fn record_key(&self) -> Wrapped<'_> {
        Wrapped(self.record_key.as_deref())
    }
}

/// What became of the rows of a batch or a file. It adds up, or the import fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
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

/// A running import.
#[derive(Clone, Debug)]
pub struct Import {
    pub(crate) id: Uuid,
    pub(crate) source: Source,
}

/// A row that was refused: where, why, and what to do.
pub struct Reject {
    /// Counted from 1 behind the header.
    pub row_number: i32,
    /// Line of the file.
    pub line: i32,
    /// `invalid_phone`, `mostly_empty` or `not_a_record`.
    pub reason: &'static str,
    /// In words; never the value.
    pub detail: String,
    /// The row as it came, sealed with the report.
    pub raw: Raw,
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
    /// `running`, `done` or `failed`.
    pub state: String,
    /// What became of its rows.
    pub counts: Counts,
    /// When it began.
    pub started_at: DateTime<Utc>,
}

/// Begins an import of a file.
///
/// # Errors
/// [`Error::Denied`] to whom may not import.
pub async fn begin(change: &Change, source: &Source, file_name: &str, file: &[u8]) -> Result<Import, Error> {
    change.permit(Verb::ImportRun)?;
    // One of this source that still runs was cut off.
    let cut_off = table::Column::SourceId.eq(source.id).and(table::Column::State.eq("running"));
    change
        .scope()
        .update_where::<table::Entity>(cut_off, vec![(table::Column::State, Expr::value("failed")), (table::Column::FinishedAt, Expr::value(change.now()))])
        .await?;
    let id = Uuid::now_v7();
    change.note("import", id.to_string());
    change.note("source", source.name.as_str());
    let row = table::ActiveModel {
        id: Set(id),
        source_id: Set(source.id),
        file_name: Set(file_name.to_owned()),
        file_digest: Set(change.keyring().digest("file", file)?.to_vec()),
        mapping_version: Set(source.mapping_version),
        state: Set("running".to_owned()),
        rows_read: Set(0),
        created: Set(0),
        updated: Set(0),
        unchanged: Set(0),
        duplicate: Set(0),
        rejected: Set(0),
        warnings: Set(0),
        started_at: Set(change.now()),
        finished_at: Set(None),
        ..Default::default()
    };
    change.scope().insert(vec![row]).await?;
    Ok(Import { id, source: source.clone() })
}

/// Ends an import: `done` when its counts reconcile, else `failed`.
///
/// # Errors
/// The counts do not add up.
pub async fn finish(change: &Change, import: &Import, counts: &Counts) -> Result<(), Error> {
    change.permit(Verb::ImportRun)?;
    let state = if counts.reconciles() { "done" } else { "failed" };
    let values = [
        (table::Column::RowsRead, counts.read),
        (table::Column::Created, counts.created),
        (table::Column::Updated, counts.updated),
        (table::Column::Unchanged, counts.unchanged),
        (table::Column::Duplicate, counts.duplicate),
        (table::Column::Rejected, counts.rejected),
        (table::Column::Warnings, counts.warnings),
    ];
    let mut values: Vec<_> = values.into_iter().map(|(column, n)| (column, Expr::value(n))).collect();
    values.extend([(table::Column::State, Expr::value(state)), (table::Column::FinishedAt, Expr::value(change.now()))]);
    change.scope().update_where::<table::Entity>(table::Column::Id.eq(import.id), values).await?;
    change.note("counts", serde_json::to_value(counts).unwrap_or_default());
    if counts.reconciles() {
        Ok(())
    } else {
        Err(Error::Invalid(format!("import {}: the counts do not add up; nothing after this batch was loaded", import.id)))
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
    Ok(rows
        .into_iter()
        .map(|row| Report {
            id: row.id,
            source: sources.iter().find(|source| source.id == row.source_id).map(|source| source.name.clone()).unwrap_or_default(),
            file: row.file_name,
            state: row.state,
            counts: Counts {
                read: row.rows_read,
                created: row.created,
                updated: row.updated,
                unchanged: row.unchanged,
                duplicate: row.duplicate,
                rejected: row.rejected,
                warnings: row.warnings,
            },
            started_at: row.started_at,
        })
        .collect())
}
