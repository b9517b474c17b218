//! A transaction that begins with its first statement: whoever asks nothing of the database waits for nothing.
//!
//! On PostgreSQL it is begun, and told whose rows it may see, in one round trip, where the ORM takes one for each. The ORM would also copy
//! all values of each statement.

use std::borrow::Cow;

use futures_util::TryStreamExt;
use sea_orm::sqlx::{self, AssertSqlSafe, Executor, Postgres, Sqlite};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, TryGetableMany};
use sea_query_sqlx::SqlxValues;
use tokio::sync::{Mutex, MutexGuard};

use crate::Error;
use crate::bulk::Rows;

/// A transaction. One that is dropped leaves nothing.
pub(crate) struct Tx {
    db: DatabaseConnection,
    begin: Cow<'static, str>,
    begun: Mutex<Option<Begun>>,
}

enum Begun {
    Postgres(sqlx::Transaction<'static, Postgres>),
    Sqlite(sqlx::Transaction<'static, Sqlite>),
}

impl Tx {
    /// Begins by these statements, the last of which begins it on SQLite.
    pub fn new(db: &DatabaseConnection, begin: Cow<'static, str>) -> Self {
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
            let failed = |error: sqlx::Error| DbErr::Conn(RuntimeErr::SqlxError(error.into()));
            let sql = AssertSqlSafe(self.begin.to_string());
            *begun = Some(if self.get_database_backend() == DbBackend::Postgres {
                let pool = self.db.get_postgres_connection_pool().clone();
                // In a task of its own: who asked may be gone before it is answered, and the driver only rolls back what it knows to have
                // begun. A connection must not go back with a transaction that nobody ends.
                let begun = tokio::spawn(async move { pool.begin_with(sql).await }).await;
                Begun::Postgres(begun.map_err(|_| DbErr::Custom("the transaction did not begin".to_owned()))?.map_err(failed)?)
            } else {
                Begun::Sqlite(self.db.get_sqlite_connection_pool().begin_with(sql).await.map_err(failed)?)
            });
        }
        MutexGuard::try_map(begun, Option::as_mut).map_err(|_| DbErr::Custom("the transaction did not begin".to_owned()))
    }

    /// Hands the rows of a statement over as they come.
    pub async fn each(&self, statement: Statement, mut take: impl FnMut(QueryResult) -> Result<(), Error> + Send) -> Result<(), Error> {
        match &mut *self.begun().await? {
            Begun::Postgres(tx) => {
                let mut rows = tx.fetch(query(statement));
                while let Some(row) = rows.try_next().await.map_err(query_failed)? {
                    take(row.into())?;
                }
            }
            Begun::Sqlite(tx) => {
                let mut rows = tx.fetch(query(statement));
                while let Some(row) = rows.try_next().await.map_err(query_failed)? {
                    take(row.into())?;
                }
            }
        }
        Ok(())
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
            Some(Begun::Postgres(tx)) => tx.commit().await.map_err(exec_failed),
            Some(Begun::Sqlite(tx)) => tx.commit().await.map_err(exec_failed),
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
fn query<D: sqlx::Database>(statement: Statement) -> sqlx::query::Query<'static, D, SqlxValues>
where
    SqlxValues: sqlx::IntoArguments<D>,
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
        match &mut *self.begun().await? {
            Begun::Postgres(tx) => tx.execute(query(statement)).await.map(Into::into).map_err(exec_failed),
            Begun::Sqlite(tx) => tx.execute(query(statement)).await.map(Into::into).map_err(exec_failed),
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match &mut *self.begun().await? {
            Begun::Postgres(tx) => tx.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(Into::into).map_err(exec_failed),
            Begun::Sqlite(tx) => tx.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.map(Into::into).map_err(exec_failed),
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match &mut *self.begun().await? {
            Begun::Postgres(tx) => tx.fetch_optional(query(statement)).await.map(|row| row.map(Into::into)).map_err(query_failed),
            Begun::Sqlite(tx) => tx.fetch_optional(query(statement)).await.map(|row| row.map(Into::into)).map_err(query_failed),
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match &mut *self.begun().await? {
            Begun::Postgres(tx) => tx.fetch_all(query(statement)).await.map(|rows| rows.into_iter().map(Into::into).collect()).map_err(query_failed),
            Begun::Sqlite(tx) => tx.fetch_all(query(statement)).await.map(|rows| rows.into_iter().map(Into::into).collect()).map_err(query_failed),
        }
    }
}
