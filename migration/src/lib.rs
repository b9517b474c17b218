//! How the tables came to be. Frozen history: a migration that has landed is never edited, and none knows an entity.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr, Statement};

mod m20261121_000001_graph;
mod m20261122_000002_intake;
mod m20261122_000003_lean;
mod m20261122_000004_governance;
mod m20261122_000005_keys;
mod m20261122_000006_references;
mod m20261122_000007_erasure;
mod m20261122_000008_governors;
mod m20261122_000009_undo;
mod m20261122_000010_linking;
mod m20261122_000011_log;
mod m20261122_000012_cells;
mod m20261122_000013_documents;
mod m20261122_000014_webhooks;
mod m20261122_000015_idempotency;
mod m20261122_000016_registered_only;
mod m20261122_000017_statistics;
mod m20261123_000018_references;
mod m20261123_000019_customer_type;
mod m20261130_000020_repeats;
mod m20261130_000021_orders;
mod sql;

/// Why the tables could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The database could not be opened.
    #[error("the database cannot be opened: {}", plain(.0))]
    Connect(#[source] DbErr),
    /// The database knows a migration that this program does not.
    #[error("the database was made by a newer version of panorama (migration '{0}'); install that version or restore an older backup")]
    Newer(String),
    /// A migration did not run; nothing of it is left on PostgreSQL.
    #[error("a migration failed: {}", plain(.0))]
    Migrate(#[source] DbErr),
}

/// One line, without the chain of wrappers.
fn plain(error: &DbErr) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Brings the database at `url` to the newest version. Returns how many migrations ran.
///
/// # Errors
/// [`Failed`]: not to be opened, newer than this program, or a migration that failed.
pub async fn up(url: &str) -> Result<usize, Failed> {
    let db = connect(url).await?;
    refuse_newer(&db).await?;
    let pending = Migrator::get_pending_migrations(&db).await.map_err(Failed::Migrate)?.len();
    Migrator::up(&db, None).await.map_err(Failed::Migrate)?;
    db.close().await.map_err(Failed::Migrate)?;
    Ok(pending)
}

/// Whether every migration has run, and none that is unknown here.
///
/// # Errors
/// [`Failed`], as [`up`].
pub async fn current(url: &str) -> Result<bool, Failed> {
    let db = connect(url).await?;
    refuse_newer(&db).await?;
    let pending = Migrator::get_pending_migrations_read_only(&db).await.map_err(Failed::Migrate)?;
    Ok(pending.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "migrations run before the store is opened, on a connection of their own")]
async fn connect(url: &str) -> Result<DatabaseConnection, Failed> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false).record_stmt_in_spans(false);
    let db = Database::connect(options).await.map_err(Failed::Connect)?;
    if db.get_database_backend() == DbBackend::Sqlite {
        db.execute_unprepared("PRAGMA journal_mode = WAL").await.map_err(Failed::Connect)?;
    }
    Ok(db)
}

async fn refuse_newer(db: &DatabaseConnection) -> Result<(), Failed> {
    if !SchemaManager::new(db).has_table("seaql_migrations").await.map_err(Failed::Connect)? {
        return Ok(());
    }
    let known: Vec<String> = Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    let statement = Statement::from_string(db.get_database_backend(), "SELECT version FROM seaql_migrations ORDER BY version");
    for row in db.query_all_raw(statement).await.map_err(Failed::Migrate)? {
        let version: String = row.try_get("", "version").map_err(Failed::Migrate)?;
        if !known.contains(&version) {
            return Err(Failed::Newer(version));
        }
    }
    Ok(())
}

struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_graph::Migration),
            Box::new(m20261122_000002_intake::Migration),
            Box::new(m20261122_000003_lean::Migration),
            Box::new(m20261122_000004_governance::Migration),
            Box::new(m20261122_000005_keys::Migration),
            Box::new(m20261122_000006_references::Migration),
            Box::new(m20261122_000007_erasure::Migration),
            Box::new(m20261122_000008_governors::Migration),
            Box::new(m20261122_000009_undo::Migration),
            Box::new(m20261122_000010_linking::Migration),
            Box::new(m20261122_000011_log::Migration),
            Box::new(m20261122_000012_cells::Migration),
            Box::new(m20261122_000013_documents::Migration),
            Box::new(m20261122_000014_webhooks::Migration),
            Box::new(m20261122_000015_idempotency::Migration),
            Box::new(m20261122_000016_registered_only::Migration),
            Box::new(m20261122_000017_statistics::Migration),
            Box::new(m20261123_000018_references::Migration),
            Box::new(m20261123_000019_customer_type::Migration),
            Box::new(m20261130_000020_repeats::Migration),
            Box::new(m20261130_000021_orders::Migration),
        ]
    }
}
