//! The store owns the connection and lends scopes: one tenant, one transaction.

mod pool;
mod tx;
mod wal;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{IntoCondition, SimpleExpr};
use sea_orm::{DbBackend, DeriveValueType, QueryFilter, QueryTrait, Select, Statement};
use tokio::sync::{Mutex, OwnedMutexGuard};

use pool::{READER_PAGES, WRITER_PAGES, pool, readers};
use tx::Tx;
pub use wal::Settling;
use wal::{Copier, file};

use crate::Error;
use crate::audit::cells::{self, Written};
use crate::copy::{self, Copy};

/// A company that shares the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, DeriveValueType)]
pub struct TenantId(pub Uuid);

/// A table whose rows each belong to one tenant.
pub(crate) trait Tenanted: EntityTrait {
    /// The column that says whose.
    const TENANT: Self::Column;
}

/// The most bound values of one statement that both databases take.
pub(crate) const BIND_LIMIT: usize = 32_000;

/// How a transaction begins on either database.
#[derive(Clone, Copy)]
struct Begin {
    postgres: &'static str,
    sqlite: &'static str,
}

const BEGIN_READER: Begin = Begin { postgres: "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;", sqlite: "BEGIN" };

/// Whoever writes looks rows up by their keys. Tables grow from nothing meanwhile, and a plan made for the few rows of a moment
/// ago would read a table whole: PostgreSQL is told not to.
const BEGIN_WRITER: Begin = Begin {
    postgres: "BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;",
    sqlite: "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
};

/// As [`BEGIN_WRITER`]; SQLite's commit does not wait for the disk.
const BEGIN_AHEAD: Begin = Begin { sqlite: "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE", ..BEGIN_WRITER };

const BEGIN_LOG: Begin = Begin { postgres: "BEGIN;", sqlite: "BEGIN IMMEDIATE" };

/// How long whoever writes waits for others who do.
const BUSY: Duration = Duration::from_secs(5);

/// The connection pools; private, so that nothing reaches a table but through a [`Scope`].
///
/// What is written beside a session has pools of its own (`log` its event, `side` its search budget): a session that holds a connection
/// and waits for a second one of the same pool would wait for ever under load. SQLite has one writer, and one connection for it, whose pages
/// stay in memory from one transaction to the next.
#[derive(Clone, Debug)]
pub struct Store {
    db: DatabaseConnection,
    writer: DatabaseConnection,
    side: DatabaseConnection,
    log: DatabaseConnection,
    /// SQLite lets one write at a time, and whom it lets in next is chance: here they come in the order in which they asked, so
    /// that an import does not keep the log waiting for more than a batch.
    turn: Option<Arc<Mutex<()>>>,
    /// Copies SQLite's write-ahead log.
    copier: Option<Arc<Copier>>,
    admissions: Arc<AtomicU64>,
}

/// What a transaction that writes waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The disk.
    Synced,
    /// Nothing: it is one of many, and SQLite does the next while the disk takes this one up. On PostgreSQL, the disk.
    Ahead,
}

/// One tenant's view of the store, in one transaction.
pub struct Scope {
    tenant: TenantId,
    tx: Tx,
    /// Whether what it takes away must not be found in the database's files either.
    shreds: AtomicBool,
    /// Counts when it changes who is let in.
    admissions: Arc<AtomicU64>,
    /// Whether it does.
    readmits: AtomicBool,
    /// The rows whose sealed cells it wrote, for the log.
    written: Written,
    /// The writer's turn, until the transaction ends.
    turn: Option<OwnedMutexGuard<()>>,
    copier: Option<Arc<Copier>>,
}

/// What the login on PostgreSQL may do beside row-level security.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wall {
    /// Row-level security holds, or the database is SQLite, which has none.
    Stands,
    /// The login is a superuser or may bypass it.
    Bypassed,
}

impl Store {
    /// Opens the pool. SQLite waits for other writers, keeps foreign keys, syncs every commit and overwrites what is deleted.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let db = pool(url, readers(url), READER_PAGES).await?;
        let (side, log) = (pool(url, 2, READER_PAGES).await?, pool(url, 1, READER_PAGES).await?);
        if db.get_database_backend() == DbBackend::Postgres {
            return Ok(Self { writer: db.clone(), db, side, log, turn: None, copier: None, admissions: Arc::default() });
        }
        let file = file(&db).await?;
        copy::sweep(&file);
        let copier = Copier::over(pool(url, 1, READER_PAGES).await?, &file);
        Ok(Self {
            db,
            writer: pool(url, 1, WRITER_PAGES).await?,
            side,
            log,
            turn: Some(Arc::default()),
            copier: Some(Arc::new(copier)),
            admissions: Arc::default(),
        })
    }

    /// One tenant's rows in a consistent snapshot, to read: that of the first statement.
    pub(crate) fn read(&self, tenant: TenantId) -> Scope {
        self.scope(&self.db, tenant, BEGIN_READER)
    }

    fn scope(&self, db: &DatabaseConnection, tenant: TenantId, begin: Begin) -> Scope {
        let postgres = db.get_database_backend() == DbBackend::Postgres;
        let begin = if postgres { format!("{} {}", begin.postgres, whose(tenant)).into() } else { begin.sqlite.into() };
        Scope {
            tenant,
            tx: Tx::new(db, begin),
            shreds: AtomicBool::new(false),
            admissions: Arc::clone(&self.admissions),
            readmits: AtomicBool::new(false),
            written: Written::default(),
            turn: None,
            copier: self.copier.clone(),
        }
    }

    /// How often it changed who is let in, as far as this process did it.
    pub(crate) fn admissions(&self) -> u64 {
        self.admissions.load(Ordering::Acquire)
    }

    /// One tenant's rows, to write. SQLite takes the writer's place at once instead of failing half-way.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub(crate) async fn write(&self, tenant: TenantId) -> Result<Scope, Error> {
        self.write_at(tenant, Pace::Synced).await
    }

    /// As [`Store::write`], at a pace.
    pub(crate) async fn write_at(&self, tenant: TenantId, pace: Pace) -> Result<Scope, Error> {
        let begin = if pace == Pace::Ahead { BEGIN_AHEAD } else { BEGIN_WRITER };
        self.written_by(&self.writer, tenant, begin).await
    }

    /// As [`Store::read`], for what a session that is open has to look up elsewhere.
    pub(crate) fn read_beside(&self, tenant: TenantId) -> Scope {
        self.scope(&self.side, tenant, BEGIN_READER)
    }

    /// As [`Store::write`], for the search budget of a session that is open.
    pub(crate) async fn write_beside(&self, tenant: TenantId) -> Result<Scope, Error> {
        self.written_by(&self.side, tenant, BEGIN_WRITER).await
    }

    /// As [`Store::write`], for the ledger alone.
    pub(crate) async fn write_log(&self, tenant: TenantId) -> Result<Scope, Error> {
        self.written_by(&self.log, tenant, BEGIN_LOG).await
    }

    /// A store on which an import can be rehearsed without anything staying: on SQLite, which has one writer, a copy that
    /// goes when it is dropped; on PostgreSQL the store itself, in a transaction that is not committed. Whoever writes to the
    /// tenant waits for its end, for it writes the rows that they would; whoever reads does not.
    pub(crate) async fn rehearsal(&self) -> Result<Rehearsal, Error> {
        if self.db.get_database_backend() == DbBackend::Postgres {
            return Ok(Rehearsal { store: self.clone(), copy: None });
        }
        let copy = Copy::beside(&file(&self.db).await?).map_err(|problem| DbErr::Custom(format!("no room for a copy to rehearse on: {}", problem.kind())))?;
        let path = copy.path().display().to_string();
        self.db.execute_raw(Statement::from_sql_and_values(DbBackend::Sqlite, "VACUUM INTO $1", [path.as_str().into()])).await?;
        let writer = pool(&format!("sqlite://{path}?mode=rw"), 1, WRITER_PAGES).await?;
        Ok(Rehearsal { store: Self { writer, turn: Some(Arc::default()), ..self.clone() }, copy: Some(copy) })
    }

    async fn written_by(&self, db: &DatabaseConnection, tenant: TenantId, begin: Begin) -> Result<Scope, Error> {
        let turn = match &self.turn {
            Some(turn) => {
                let waited = tokio::time::timeout(BUSY, Arc::clone(turn).lock_owned()).await;
                Some(waited.map_err(|_| DbErr::Custom("the database is locked".to_owned()))?)
            }
            None => None,
        };
        let scope = self.scope(db, tenant, begin);
        scope.tx.start().await?;
        Ok(Scope { turn, ..scope })
    }

    pub(crate) async fn close(&self) {
        let mut closed = Vec::new();
        if let Some(copier) = &self.copier {
            closed.push(copier.close().await);
        }
        for pool in [&self.db, &self.writer, &self.side, &self.log] {
            closed.push(pool.close_by_ref().await);
        }
        for error in closed.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "the database did not close");
        }
    }

    /// The registry of tenants, the one table that belongs to none.
    pub(crate) fn registry(&self) -> &DatabaseConnection {
        &self.db
    }

    /// Whether the database holds tenants, whose keys some key-encryption key has wrapped.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn occupied(url: &str) -> Result<bool, Error> {
        let db = pool(url, 1, READER_PAGES).await?;
        let held = crate::tenant::any(&db).await;
        db.close().await?;
        Ok(held)
    }

    /// Whether the database login leaves row-level security standing.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn wall(&self) -> Result<Wall, Error> {
        if self.db.get_database_backend() != DbBackend::Postgres {
            return Ok(Wall::Stands);
        }
        let statement = Statement::from_string(DbBackend::Postgres, "SELECT rolsuper OR rolbypassrls AS bypass FROM pg_roles WHERE rolname = current_user");
        let row = self.db.query_one_raw(statement).await?;
        let bypass = row.map(|row| row.try_get::<bool>("", "bypass")).transpose()?.unwrap_or(true);
        Ok(if bypass { Wall::Bypassed } else { Wall::Stands })
    }
}

/// A store to rehearse on. Nothing that is done there stays.
pub(crate) struct Rehearsal {
    pub store: Store,
    copy: Option<Copy>,
}

impl Rehearsal {
    pub async fn close(self) {
        if self.copy.is_some()
            && let Err(error) = self.store.writer.close_by_ref().await
        {
            tracing::warn!(%error, "the rehearsal's database did not close");
        }
    }
}

/// Tells PostgreSQL whose rows these are, for row-level security, until the transaction ends.
fn whose(tenant: TenantId) -> String {
    format!("SET LOCAL app.tenant = '{}'", tenant.0)
}

impl Scope {
    /// Whose rows these are.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The same transaction for another tenant: the ledger commits many tenants' events at once.
    pub(crate) async fn turn_to(&mut self, tenant: TenantId) -> Result<(), Error> {
        if self.tenant == tenant {
            return Ok(());
        }
        self.tenant = tenant;
        if self.tx.get_database_backend() == DbBackend::Postgres {
            self.tx.execute_unprepared(&whose(tenant)).await?;
        }
        Ok(())
    }

    /// A query narrowed to this tenant.
    pub(crate) fn find<E: Tenanted>(&self) -> Select<E> {
        E::find().filter(E::TENANT.eq(self.tenant))
    }

    /// The transaction, for running what [`Scope::find`] made.
    pub(crate) const fn tx(&self) -> &Tx {
        &self.tx
    }

    /// Changes all rows of this tenant that meet a condition. Returns how many.
    pub(crate) async fn update_where<E: Tenanted>(&self, condition: impl IntoCondition, values: Vec<(E::Column, SimpleExpr)>) -> Result<u64, Error> {
        let update = values.into_iter().fold(E::update_many(), |update, (column, value)| update.col_expr(column, value));
        let update = update.filter(E::TENANT.eq(self.tenant)).filter(condition.into_condition());
        self.execute(update.build(self.tx.get_database_backend())).await
    }

    /// The number `n` that a statement finds of which `$1` is this tenant; 0 where it finds none.
    pub(crate) async fn number(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<i64, Error> {
        let values: Vec<Value> = std::iter::once(self.tenant.into()).chain(values).collect();
        let row = self.tx.query_one_raw(Statement::from_sql_and_values(self.tx.get_database_backend(), sql, values)).await?;
        Ok(row.map(|row| row.try_get::<Option<i64>>("", "n")).transpose()?.flatten().unwrap_or(0))
    }

    /// The ids that a statement finds of which `$1` is this tenant.
    pub(crate) async fn ids(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<std::collections::HashSet<Uuid>, Error> {
        let values: Vec<Value> = std::iter::once(self.tenant.into()).chain(values).collect();
        let rows = self.tx.query_all_raw(Statement::from_sql_and_values(self.tx.get_database_backend(), sql, values)).await?;
        rows.into_iter().map(|row| row.try_get::<Uuid>("", "id").map_err(Error::from)).collect()
    }

    /// The rows that a statement finds of which `$1` is this tenant.
    pub(crate) async fn rows(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<Vec<sea_orm::QueryResult>, Error> {
        let values: Vec<Value> = std::iter::once(self.tenant.into()).chain(values).collect();
        Ok(self.tx.query_all_raw(Statement::from_sql_and_values(self.tx.get_database_backend(), sql, values)).await?)
    }

    /// Hands the rows over, as they come, that a statement finds of which `$1` is this tenant.
    pub(crate) async fn each(
        &self,
        sql: &str,
        values: impl IntoIterator<Item = Value>,
        take: impl FnMut(sea_orm::QueryResult) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let values: Vec<Value> = std::iter::once(self.tenant.into()).chain(values).collect();
        self.tx.each(Statement::from_sql_and_values(self.tx.get_database_backend(), sql, values), take).await
    }

    /// Runs a statement of which `$1` is this tenant. Returns how many rows it touched.
    pub(crate) async fn run(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> Result<u64, Error> {
        let values: Vec<Value> = std::iter::once(self.tenant.into()).chain(values).collect();
        self.execute(Statement::from_sql_and_values(self.tx.get_database_backend(), sql, values)).await
    }

    /// Runs a statement that writes. Of rows whose sealed cells it writes the log tells.
    async fn execute(&self, mut statement: Statement) -> Result<u64, Error> {
        let Some(table) = cells::written_by(&statement.sql) else { return Ok(self.tx.execute_raw(statement).await?.rows_affected()) };
        statement.sql.extend([" RETURNING ", cells::SEALED[usize::from(table)].0, ".id AS id"]);
        let rows = self.tx.query_all_raw(statement).await?;
        let ids = rows.iter().map(|row| row.try_get::<Uuid>("", "id")).collect::<Result<Vec<_>, _>>()?;
        self.written.these(table, ids);
        Ok(rows.len() as u64)
    }

    /// The rows whose sealed cells it wrote.
    pub(crate) const fn written(&self) -> &Written {
        &self.written
    }

    /// Takes away all of the tenant's rows of a table, of which nobody is told any more. Returns how many.
    pub(crate) async fn empty(&self, table: &str) -> Result<u64, Error> {
        let sql = format!("DELETE FROM {table} WHERE tenant_id = $1");
        let statement = Statement::from_sql_and_values(self.tx.get_database_backend(), sql, [self.tenant.into()]);
        Ok(self.tx.execute_raw(statement).await?.rows_affected())
    }

    /// Deletes rows of this tenant that meet a condition.
    pub(crate) async fn delete_where<E: Tenanted>(&self, condition: impl IntoCondition) -> Result<u64, Error> {
        let delete = E::delete_many().filter(E::TENANT.eq(self.tenant)).filter(condition.into_condition());
        self.execute(delete.build(self.tx.get_database_backend())).await
    }

    /// What this scope takes away is to be gone from the database's files too: SQLite empties its write-ahead log behind the
    /// commit, and copies that a rehearsal left are removed.
    pub(crate) fn shreds(&self) {
        self.shreds.store(true, Ordering::Relaxed);
    }

    /// What this scope writes changes who is let in, or as whom.
    pub(crate) fn readmits(&self) {
        self.readmits.store(true, Ordering::Relaxed);
    }

    /// Commits. After [`Pace::Ahead`] the writes are durable when what is returned says so.
    pub(crate) async fn commit_ahead(self) -> Result<Settling, Error> {
        let copier = self.copier.clone();
        self.commit().await?;
        Ok(Settling(copier.map(|copier| copier.sync())))
    }

    /// Makes the writes of this scope durable. A scope that is dropped leaves nothing.
    pub(crate) async fn commit(self) -> Result<(), Error> {
        let Self { tx, turn, copier, shreds, admissions, readmits, .. } = self;
        let db = tx.db().clone();
        tx.commit().await?;
        if readmits.into_inner() {
            admissions.fetch_add(1, Ordering::AcqRel);
        }
        if let Some(copier) = copier {
            copier.committed();
            if shreds.into_inner() {
                // It is committed: what goes wrong from here on does not undo it.
                match copier.empty(&db).await {
                    Ok(true) => {}
                    Ok(false) => tracing::warn!("readers kept the write-ahead log from being emptied; it is emptied when the program stops"),
                    Err(error) => tracing::warn!(%error, "the write-ahead log could not be emptied; it is emptied when the program stops"),
                }
            }
        }
        drop(turn);
        Ok(())
    }
}

/// Part of composite keys, which no database makes up.
impl sea_orm::TryFromU64 for TenantId {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("TenantId"))
    }
}
