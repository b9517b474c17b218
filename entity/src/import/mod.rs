//! Imports: what was read, what became of every row, and whether it adds up. A run goes on in whole batches, so it can be
//! paused, cut off, resumed and undone.

mod heir;
pub mod load;
pub mod reject;
mod report;
pub mod seal;
pub mod undo;

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Duration, Utc};
use policy::Verb;
use policy::field::kinds::Raw;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, IntoCondition, LockType, SimpleExpr};
use sea_orm::{Condition, QueryOrder, QuerySelect};
use serde_json::json;

use load::SoFar;
pub(crate) use report::standing;
pub use report::{Counts, Report, Tally, report, reports};
use report::{counts, tally};

use crate::guard::Vaulted;
use crate::source::Source;
use crate::store::Tenanted;
use crate::vault::{Keyring, Wrapped};
use crate::{Change, Error, House, TenantId, source};

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
        pub actor: String,
        pub header: Option<Json>,
        pub report: Option<Json>,
        pub scored: i32,
        pub runner: Option<String>,
        pub alive_at: Option<ChronoDateTimeUtc>,
        pub wanted: Option<String>,
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

/// A running import, and what it needs to seal rows away from the database.
#[derive(Clone)]
pub struct Import {
    tenant: TenantId,
    pub(crate) id: Uuid,
    pub(crate) source: Source,
    /// The keys that seal its rows: they follow those of the sessions that load them, for an import may outlive an epoch.
    keys: Arc<RwLock<Arc<Keyring>>>,
    runner: String,
}

impl Import {
    /// The key.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// The keys that seal its rows now.
    pub(crate) fn keys(&self) -> Arc<Keyring> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on with the keys of a session.
    fn follow(&self, change: &Change) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = change.keyring_arc();
    }

    /// Its row, as long as this run has it.
    fn mine(&self) -> Condition {
        let mine = table::Column::Id.eq(self.id).and(table::Column::Runner.eq(self.runner.as_str()));
        mine.and(table::Column::State.eq("running")).into_condition()
    }
}

/// The file of an import.
pub struct File<'f> {
    /// Its name.
    pub name: &'f str,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// Its header.
    pub header: &'f [String],
    /// The fingerprint of its header, by which the source's next file is known.
    pub shape: &'f str,
}

/// An import that begins, or goes on where it was cut off.
pub struct Begun {
    /// The import.
    pub import: Import,
    /// What was counted so far.
    pub counts: Counts,
    /// And tallied.
    pub tally: Tally,
}

/// A row that was refused: where, why, and what to do.
pub struct Reject {
    /// Counted from 1 behind the header.
    pub row_number: i32,
    /// Line of the file.
    pub line: i32,
    /// `invalid_phone`, `mostly_empty`, `not_a_record` or `too_long`.
    pub reason: &'static str,
    /// In words; never the value.
    pub detail: String,
    /// The row as it came, sealed with the report.
    pub raw: Raw,
}

/// How long a run may be silent before another may take it over.
const SILENCE: Duration = Duration::seconds(10);

/// Begins an import of a file, or goes on with one of the same file, source and mapping that was paused or cut off.
///
/// # Errors
/// [`Error::Denied`] to whom may not import; [`Error::Invalid`] when the same file is being imported right now.
pub async fn begin(change: &Change, source: &Source, file: &File<'_>) -> Result<Begun, Error> {
    change.permit(Verb::ImportRun)?;
    crate::tenant::lock(change.scope()).await?;
    crate::keys::indexed_alike(change.scope()).await?;
    let digest = change.keyring().digest("file", &file.digest)?.to_vec();
    let runner = Uuid::now_v7().to_string();
    let tenant = change.scope().tenant();
    let import = |id: Uuid| Import { tenant, id, source: source.clone(), keys: Arc::new(RwLock::new(change.keyring_arc())), runner: runner.clone() };
    change.note("source", source.name.as_str());
    source::seen(change.scope(), source, file.shape).await?;
    let unfinished = change
        .scope()
        .find::<table::Entity>()
        .filter(table::Column::SourceId.eq(source.id))
        .filter(table::Column::FileDigest.eq(digest.clone()))
        .filter(table::Column::MappingVersion.eq(source.mapping_version))
        .filter(table::Column::State.is_in(["running", "paused"]));
    if let Some(row) = unfinished.order_by_desc(table::Column::Id).lock(LockType::NoKeyUpdate).one(change.scope().tx()).await? {
        if alive(&row, change.now()) {
            return Err(Error::Invalid(format!(
                "{}: this file is being imported right now, or its run was cut off less than {} seconds ago; wait, then try again",
                file.name,
                SILENCE.num_seconds()
            )));
        }
        change.note("import", row.id.to_string());
        change.note("resumed_at_row", row.rows_read);
        let values = vec![
            (table::Column::State, Expr::value("running")),
            (table::Column::Runner, Expr::value(runner.as_str())),
            (table::Column::AliveAt, Expr::value(change.now())),
            (table::Column::Wanted, Expr::value(None::<String>)),
        ];
        change.scope().update_where::<table::Entity>(table::Column::Id.eq(row.id), values).await?;
        return Ok(Begun { import: import(row.id), counts: counts(&row), tally: tally(&row) });
    }
    let id = Uuid::now_v7();
    change.note("import", id.to_string());
    let row = table::ActiveModel {
        id: Set(id),
        source_id: Set(source.id),
        file_name: Set(file.name.to_owned()),
        file_digest: Set(digest),
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
        actor: Set(change.principal().subject().to_owned()),
        header: Set(Some(json!(file.header))),
        report: Set(None),
        scored: Set(0),
        runner: Set(Some(runner.clone())),
        alive_at: Set(Some(change.now())),
        wanted: Set(None),
        ..Default::default()
    };
    change.scope().insert(vec![row]).await?;
    Ok(Begun { import: import(id), counts: Counts::default(), tally: Tally::default() })
}

/// A record that a person wrote, sealed and not stored yet.
pub(crate) struct ByHand {
    pub id: Uuid,
    pub member: crate::link::Member,
    pub record: crate::record::table::ActiveModel,
}

/// Makes a record of what a person wrote: an import of one row, from the desk.
pub(crate) async fn by_hand(change: &Change, draft: crate::record::Draft) -> Result<ByHand, Error> {
    crate::keys::indexed_alike(change.scope()).await?;
    let source = source::desk(change).await?;
    let import =
        Import { tenant: change.scope().tenant(), id: Uuid::now_v7(), source, keys: Arc::new(RwLock::new(change.keyring_arc())), runner: String::new() };
    let row = table::ActiveModel {
        id: Set(import.id),
        source_id: Set(import.source.id),
        file_name: Set("by hand".to_owned()),
        file_digest: Set(Vec::new()),
        mapping_version: Set(import.source.mapping_version),
        state: Set("done".to_owned()),
        rows_read: Set(1),
        created: Set(1),
        updated: Set(0),
        unchanged: Set(0),
        duplicate: Set(0),
        rejected: Set(0),
        warnings: Set(0),
        started_at: Set(change.now()),
        finished_at: Set(Some(change.now())),
        actor: Set(change.principal().subject().to_owned()),
        header: Set(None),
        report: Set(None),
        scored: Set(0),
        runner: Set(None),
        alive_at: Set(None),
        wanted: Set(None),
        ..Default::default()
    };
    change.scope().insert(vec![row]).await?;
    change.note("import", import.id.to_string());
    let mut row = import.row(draft, Uuid::now_v7())?;
    Ok(ByHand { id: row.id, member: row.member(&import.source, None, None), record: *row.record })
}

fn alive(row: &table::Model, now: DateTime<Utc>) -> bool {
    row.state == "running" && row.alive_at.is_some_and(|at| now - at < SILENCE)
}

/// How often a run says that it is there: a few times before its silence would be long.
const BEAT: std::time::Duration = std::time::Duration::from_secs(2);

/// Says again and again that a run is there, though it loads nothing: it waits, or skips what was loaded before. Beside its
/// sessions and without an event, as guesses are spent. To be run as a task of its own until the run ends.
pub fn beat(house: &House, import: &Import) -> impl Future<Output = Infallible> + Send + 'static {
    let (store, clock, import) = (house.store().clone(), house.clock(), import.clone());
    async move {
        loop {
            tokio::time::sleep(BEAT).await;
            let alive = async {
                let scope = store.write_beside(import.tenant).await?;
                scope.update_where::<table::Entity>(import.mine(), vec![(table::Column::AliveAt, Expr::value(clock()))]).await?;
                scope.commit().await
            };
            if let Err(error) = alive.await {
                tracing::debug!(%error, import = %import.id, "a run could not say that it is there");
            }
        }
    }
}

/// Writes down how far a run has come by `now`. Refuses when it is this run's no more.
async fn keep(change: &Change, import: &Import, SoFar { counts, tally }: &SoFar, state: &str, now: DateTime<Utc>) -> Result<(), Error> {
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
    values.push((table::Column::Report, Expr::value(json!(tally))));
    values.push((table::Column::AliveAt, Expr::value(now)));
    values.push((table::Column::State, Expr::value(state)));
    if state != "running" {
        values.push((table::Column::FinishedAt, Expr::value(now)));
    }
    if change.scope().update_where::<table::Entity>(import.mine(), values).await? == 1 { Ok(()) } else { Err(lost()) }
}

fn lost() -> Error {
    Error::Invalid(
        "this run was silent for too long: its import was stopped or undone, or another process goes on with it; nothing more was loaded here".to_owned(),
    )
}

/// Ends a run that has read its file to the end.
///
/// # Errors
/// The counts do not add up.
pub async fn finish(change: &Change, import: &Import, so_far: &SoFar) -> Result<(), Error> {
    change.permit(Verb::ImportRun)?;
    let counts = so_far.counts;
    if !counts.reconciles() {
        return Err(Error::Invalid(format!("import {}: the counts do not add up", import.id)));
    }
    change.note("import", import.id.to_string());
    change.note("counts", serde_json::to_value(counts).unwrap_or_default());
    keep(change, import, so_far, "done", change.now()).await
}

/// Ends a run that cannot go on: what was loaded stays, and adds up.
///
/// # Errors
/// [`Error::Denied`]; the database cannot be reached.
pub async fn fail(change: &Change, import: &Import, so_far: &SoFar) -> Result<(), Error> {
    change.permit(Verb::ImportRun)?;
    change.note("import", import.id.to_string());
    keep(change, import, so_far, "failed", change.now()).await
}

/// What a person wants of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Stop behind the batch that runs; importing the file again goes on.
    Pause,
    /// Stop for good; what was loaded stays until it is undone.
    Cancel,
}

impl Wanted {
    const fn state(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Cancel => "cancelled",
        }
    }
}

/// Asks a run to stop. It does so behind its batch; one that was cut off is stopped at once, and if it lives after all, it
/// writes nothing more.
///
/// # Errors
/// [`Error::Denied`]; [`Error::NotFound`]; [`Error::Invalid`] when it does not run.
pub async fn stop(change: &Change, id: Uuid, wanted: Wanted) -> Result<Report, Error> {
    change.permit(Verb::ImportRun)?;
    let scope = change.scope();
    let row = scope.find::<table::Entity>().filter(table::Column::Id.eq(id)).lock(LockType::NoKeyUpdate).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    let stoppable = row.state == "running" || (row.state == "paused" && wanted == Wanted::Cancel);
    if !stoppable {
        return Err(Error::Invalid(format!("this import is {}; only one that runs can be stopped", row.state)));
    }
    let values = if alive(&row, change.now()) { vec![(table::Column::Wanted, Expr::value(wanted.state()))] } else { ended(wanted.state(), change.now()) };
    change.note("import", id.to_string());
    change.note("wanted", wanted.state());
    scope.update_where::<table::Entity>(table::Column::Id.eq(id), values).await?;
    report(change, id).await
}

/// A state in which nobody runs the import any more.
fn ended(state: &str, now: DateTime<Utc>) -> Vec<(table::Column, SimpleExpr)> {
    vec![
        (table::Column::State, Expr::value(state)),
        (table::Column::FinishedAt, Expr::value(now)),
        (table::Column::Runner, Expr::value(None::<String>)),
        (table::Column::Wanted, Expr::value(None::<String>)),
    ]
}

/// Stops a run if somebody wants it. Returns the state in which it stopped.
///
/// # Errors
/// [`Error::Invalid`] when it is this run's no more; the database cannot be reached.
pub async fn stopped(change: &Change, import: &Import) -> Result<Option<String>, Error> {
    let scope = change.scope();
    let row = scope.find::<table::Entity>().filter(import.mine()).one(scope.tx()).await?.ok_or_else(lost)?;
    let Some(wanted) = row.wanted else { return Ok(None) };
    scope.update_where::<table::Entity>(import.mine(), ended(&wanted, change.now())).await?;
    Ok(Some(wanted))
}
