//! A transaction that begins with its first statement: whoever asks nothing of the database waits for nothing.
//!
//! It is begun, and PostgreSQL told whose rows it may see, in one round trip, where the ORM takes one for each; and statements take
//! their values along, where the ORM copies them.

use futures_util::TryStreamExt;
use sea_orm::sqlx::{self, AssertSqlSafe, Database, Executor, IntoArguments, Postgres, Sqlite};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, TryGetableMany};
use sea_query_sqlx::SqlxValues;
use tokio::sync::{Mutex, MutexGuard};

use crate::Error;
use crate::bulk::Rows;

/// When what a transaction wrote withstands a loss of power. A killed process loses nothing either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Durable {
    /// When it is committed.
    #[default]
    AtOnce,
    /// With the next commit that is durable at once, whosever: the databases' logs keep their order. Whoever reads it is answered when
    /// their own event is durable, and with that so is what they read.
    WithNext,
}

impl Durable {
    /// How a transaction that writes begins on SQLite.
    pub const fn sqlite(self) -> &'static str {
        match self {
            Self::AtOnce => "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
            Self::WithNext => "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
        }
    }
}

/// A transaction. One that is dropped leaves nothing.
pub(crate) struct Tx {
    db: DatabaseConnection,
    begin: String,
    begun: Mutex<Option<Begun>>,
}

enum Begun {
    Postgres(sqlx::Transaction<'static, Postgres>),
    Sqlite(sqlx::Transaction<'static, Sqlite>),
}

/// The same of either database.
macro_rules! either {
    ($begun:expr, $tx:ident => $done:expr) => {
        match $begun {
            Begun::Postgres($tx) => $done,
            Begun::Sqlite($tx) => $done,
        }
    };
}

impl Tx {
    /// A transaction that begins with these statements.
    pub fn new(db: &DatabaseConnection, begin: String) -> Self {
        Self { db: db.clone(), begin, begun: Mutex::default() }
    }

    /// Where the transaction is.
    pub const fn db(&self) -> &DatabaseConnection {
        &self.db
    }

    /// Begins, whatever is asked first.
    pub async fn start(&self) -> Result<(), DbErr> {
        self.begun().await.map(drop)
    }

    /// The transaction, begun now if it was not yet.
    async fn begun(&self) -> Result<impl std::ops::DerefMut<Target = Begun>, DbErr> {
        let mut begun = self.begun.lock().await;
        if begun.is_none() {
            let (db, sql) = (self.db.clone(), AssertSqlSafe(self.begin.clone()));
            // In a task of its own: who asked may be gone before it is answered, and the driver only rolls back what it knows to have
            // begun. A connection must not go back with a transaction that nobody ends.
            let beginning = tokio::spawn(async move {
                Ok(match db.get_database_backend() {
                    DbBackend::Postgres => Begun::Postgres(db.get_postgres_connection_pool().begin_with(sql).await?),
                    _ => Begun::Sqlite(db.get_sqlite_connection_pool().begin_with(sql).await?),
                })
            });
            let beginning = beginning.await.map_err(|_| DbErr::Custom("the transaction did not begin".to_owned()))?;
            *begun = Some(beginning.map_err(|error: sqlx::Error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))?);
        }
        MutexGuard::try_map(begun, Option::as_mut).map_err(|_| DbErr::Custom("the transaction did not begin".to_owned()))
    }

    /// Hands the rows of a statement over as they come.
    pub async fn each(&self, statement: Statement, mut take: impl FnMut(QueryResult) -> Result<(), Error> + Send) -> Result<(), Error> {
        either!(&mut *self.begun().await?, tx => {
            let mut rows = tx.fetch(query(statement));
            while let Some(row) = rows.try_next().await.map_err(query_failed)? {
                take(row.into())?;
            }
            Ok(())
        })
    }

    /// The rows of a statement, decoded as they come.
    pub async fn tuples<T: TryGetableMany + Send>(&self, statement: Statement) -> Result<Vec<T>, Error> {
        let mut tuples = Vec::new();
        let decode = |row: QueryResult| {
            tuples.push(T::try_get_many_by_index(&row).map_err(DbErr::from)?);
            Ok(())
        };
        self.each(statement, decode).await?;
        Ok(tuples)
    }

    /// Runs a statement of PostgreSQL's whose one parameter is an array of rows.
    pub async fn put(&self, sql: &str, rows: Rows) -> Result<(), DbErr> {
        match &mut *self.begun().await? {
            Begun::Postgres(tx) => tx.execute(sqlx::query(AssertSqlSafe(sql)).bind(rows)).await.map(drop).map_err(exec_failed),
            Begun::Sqlite(_) => Err(DbErr::BackendNotSupported { db: "SQLite", ctx: "arrays of rows" }),
        }
    }

    /// Makes what was written durable.
    pub async fn commit(self) -> Result<(), DbErr> {
        match self.begun.into_inner() {
            None => Ok(()),
            Some(begun) => either!(begun, tx => tx.commit().await.map_err(exec_failed)),
        }
    }
}

fn query_failed(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

fn exec_failed(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

/// A statement with its values, which it takes along.
fn query<D: Database>(statement: Statement) -> sqlx::query::Query<'static, D, SqlxValues>
where
    SqlxValues: IntoArguments<D>,
{
    let values = statement.values.unwrap_or_else(|| sea_orm::Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values))
}

#[async_trait::async_trait]
impl ConnectionTrait for Tx {
    fn get_database_backend(&self) -> DbBackend {
        self.db.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        either!(&mut *self.begun().await?, tx => tx.execute(query(statement)).await.map(Into::into).map_err(exec_failed))
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        either!(&mut *self.begun().await?, tx => tx.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(Into::into).map_err(exec_failed))
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        either!(&mut *self.begun().await?, tx => tx.fetch_optional(query(statement)).await.map(|row| row.map(Into::into)).map_err(query_failed))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        either!(&mut *self.begun().await?, tx => {
            tx.fetch_all(query(statement)).await.map(|rows| rows.into_iter().map(Into::into).collect()).map_err(query_failed)
        })
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait, DbBackend, Statement};

    use super::Durable;
    use crate::{Store, TenantId};

    #[tokio::test]
    async fn who_does_not_wait_for_the_disk_leaves_the_next_to_wait() {
        let file = std::env::temp_dir().join(format!("panorama-tx-{}.db", uuid::Uuid::now_v7()));
        let store = Store::connect(&format!("sqlite://{}?mode=rwc", file.display())).await.unwrap();
        for (durable, synchronous) in [(Durable::WithNext, 1), (Durable::AtOnce, 2), (Durable::WithNext, 1), (Durable::AtOnce, 2)] {
            let scope = store.write(TenantId(uuid::Uuid::nil()), durable).await.unwrap();
            let row = scope.tx().query_one_raw(Statement::from_string(DbBackend::Sqlite, "PRAGMA synchronous")).await.unwrap().unwrap();
            assert_eq!(row.try_get_by_index::<i32>(0).unwrap(), synchronous, "{durable:?}");
            scope.commit().await.unwrap();
        }
        store.close().await;
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", file.display()));
        }
    }
}
