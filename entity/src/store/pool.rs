//! Pools of connections, and how each is set up.

use std::time::Duration;

use sea_orm::entity::prelude::*;
use sea_orm::sqlx::Connection;
use sea_orm::{ConnectOptions, Database};

use super::BUSY;

/// A connection that nobody used for so long is asked whether it stands before it is used.
const IDLE: Duration = Duration::from_secs(10);

/// Pages of 4 KiB that a connection to SQLite keeps: those who read, and the one who writes.
pub(super) const READER_PAGES: u32 = 500;
pub(super) const WRITER_PAGES: u32 = 48_000;

/// How many may read at once. SQLite reads in this process's own threads, of which more than a few for each core are in each
/// other's way and keep pages and statements of their own; PostgreSQL's processes wait for messages as long as they work.
pub(super) fn readers(url: &str) -> u32 {
    let cores = std::thread::available_parallelism().map_or(2, |cores| u32::try_from(cores.get()).unwrap_or(32));
    if url.starts_with("sqlite") { (2 * cores).clamp(4, 16) } else { (4 * cores).clamp(16, 32) }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub(super) async fn pool(url: &str, connections: u32, pages: u32) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options.sqlx_logging(false).record_stmt_in_spans(false).max_connections(connections).acquire_timeout(Duration::from_secs(5));
    options.test_before_acquire_if_idle_for(IDLE);
    options.map_sqlx_sqlite_opts(move |options| {
        use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
        options
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // What a statement sets aside stays in memory; fewer, larger checkpoints.
            .pragma("cache_size", pages.to_string())
            .pragma("temp_store", "MEMORY")
            // A list of rows to change is walked and each looked up by its key; with an index made for the occasion over the list,
            // SQLite would walk the whole table instead.
            .pragma("automatic_index", "OFF")
            // What is deleted is overwritten.
            .pragma("secure_delete", "ON")
            // Who copies the log beside may not keep up.
            .pragma("wal_autocheckpoint", "160000")
    });
    // A commit that failed may leave a connection that counts a transaction which is none: nobody gets it again.
    options.map_sqlx_sqlite_pool_opts(|options| options.before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) })));
    Database::connect(options).await
}
