//! SQLite's write-ahead log: copied into the database beside those who write, and emptied where what was taken away must not be
//! found in it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::BUSY;
use crate::{Error, copy};

/// So many pages are copied at once: a page that many transactions write is copied once for all of them.
const OWED: i64 = 64_000;

/// So many when few are added: whoever reads looks for its pages in the log first, the longer the log the longer.
const QUIET: i64 = 8_000;
const FEW: i64 = 1_000;

/// How often it is looked at most how much there is to copy, and whether another process is done with copying.
const PAUSE: Duration = Duration::from_millis(50);

/// How long is waited for readers, and for other processes that copy, until the log can be emptied.
const PATIENCE: Duration = Duration::from_secs(1);

/// Copies the log of a database while others write to it, as long as somebody has it.
#[derive(Debug)]
pub(super) struct Copier {
    db: DatabaseConnection,
    committed: mpsc::Sender<()>,
    copying: Arc<Mutex<()>>,
    log: PathBuf,
}

impl Copier {
    /// Over a connection of its own to the database in this file.
    pub fn over(db: DatabaseConnection, database: &Path) -> Self {
        let (committed, mut commits) = mpsc::channel(1);
        let copying = Arc::new(Mutex::new(()));
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let copier = Self { db: db.clone(), committed, copying: Arc::clone(&copying), log: log.into() };
        tokio::spawn(async move {
            let mut before = 0;
            while commits.recv().await.is_some() {
                {
                    let _alone = copying.lock().await;
                    match copy_stretch(&db, before).await {
                        Ok(left) => before = left,
                        Err(error) => tracing::warn!(%error, "the write-ahead log could not be copied; whoever writes copies it"),
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        copier
    }

    /// Something was committed.
    pub fn committed(&self) {
        // When it is told already it looks anyway.
        let _ = self.committed.try_send(());
    }

    /// Has what was committed written to disk, beside whoever called.
    pub fn sync(&self) -> JoinHandle<io::Result<()>> {
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || File::open(log)?.sync_data())
    }

    /// Empties the log and sweeps away left copies of the database. Whoever calls has the writer's turn and a connection; readers that
    /// still look at what was before are waited for a second. Returns whether it is empty.
    pub async fn empty(&self, db: &DatabaseConnection) -> Result<bool, DbErr> {
        let _alone = self.copying.lock().await;
        copy::sweep(&file(db).await?);
        db.execute_unprepared(&format!("PRAGMA busy_timeout = {}", PATIENCE.as_millis())).await?;
        let begun = Instant::now();
        let mut done = truncate(db).await;
        while matches!(done, Ok(false)) && begun.elapsed() < PATIENCE {
            tokio::time::sleep(PAUSE).await;
            done = truncate(db).await;
        }
        db.execute_unprepared(&format!("PRAGMA busy_timeout = {}", BUSY.as_millis())).await?;
        done
    }

    /// Lets go of its connection.
    pub async fn close(&self) -> Result<(), DbErr> {
        self.db.close_by_ref().await
    }
}

/// Copies what there is, if it is enough; there were so many pages `before`. Returns how many are left.
async fn copy_stretch(db: &DatabaseConnection, before: i64) -> Result<i64, DbErr> {
    let pages = owed(db).await?;
    if pages < OWED && (pages < QUIET || pages - before > FEW) {
        return Ok(pages);
    }
    db.execute_unprepared("PRAGMA wal_checkpoint(PASSIVE)").await?;
    owed(db).await
}

/// What was committed and is on its way to the disk. Everybody sees it, and whoever commits after it waits for it too: it can only be
/// lost with all that follows.
#[must_use]
#[derive(Default)]
pub struct Settling(pub(super) Option<JoinHandle<io::Result<()>>>);

impl Settling {
    /// Whether it is known to be durable.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        self.0.is_none()
    }

    /// Waits until it is durable.
    ///
    /// # Errors
    /// It may not be.
    pub async fn durable(self) -> Result<(), Error> {
        let Some(sync) = self.0 else { return Ok(()) };
        let failed = |problem: String| DbErr::Custom(format!("the database's log was not written to disk: {problem}"));
        let synced = sync.await.map_err(|error| failed(error.to_string()))?;
        Ok(synced.map_err(|problem| failed(problem.kind().to_string()))?)
    }
}

async fn truncate(db: &DatabaseConnection) -> Result<bool, DbErr> {
    let row = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, "PRAGMA wal_checkpoint(TRUNCATE)")).await?;
    Ok(row.is_some_and(|row| row.try_get_by_index::<i32>(0).is_ok_and(|busy| busy == 0)))
}

/// The file of a SQLite database.
pub(super) async fn file(db: &DatabaseConnection) -> Result<PathBuf, DbErr> {
    let files = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, "SELECT file FROM pragma_database_list WHERE name = 'main'")).await?;
    Ok(files.map(|row| row.try_get::<String>("", "file")).transpose()?.unwrap_or_default().into())
}

/// How many pages of the log are not copied yet.
async fn owed(db: &DatabaseConnection) -> Result<i64, DbErr> {
    let row = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, "PRAGMA wal_checkpoint(NOOP)")).await?;
    let Some(row) = row else { return Ok(0) };
    Ok(row.try_get_by_index::<i64>(1)? - row.try_get_by_index::<i64>(2)?)
}

#[cfg(test)]
mod tests {
    use super::super::{Pace, Store, TenantId};
    use super::*;

    /// A store on an empty database, with a table to write to.
    async fn store(dir: &Path) -> Store {
        std::fs::create_dir(dir).unwrap();
        let store = Store::connect(&format!("sqlite://{}?mode=rwc", dir.join("one.db").display())).await.unwrap();
        let scope = store.write(TenantId(Uuid::nil())).await.unwrap();
        scope.tx().execute_unprepared("CREATE TABLE page (body blob)").await.unwrap();
        scope.commit().await.unwrap();
        store
    }

    fn dir() -> PathBuf {
        std::env::temp_dir().join(format!("panorama-wal-{}", Uuid::now_v7()))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_whose_transaction_ended_behind_the_driver_s_back_is_handed_to_nobody() {
        let dir = dir();
        let store = store(&dir).await;
        for _ in 0..3 {
            let scope = store.write(TenantId(Uuid::nil())).await.unwrap();
            scope.tx().execute_unprepared("INSERT INTO page VALUES (x'00')").await.unwrap();
            // As SQLite does it by itself where there is no room.
            scope.tx().execute_unprepared("ROLLBACK").await.unwrap();
            assert!(scope.commit().await.is_err());
        }
        let scope = store.write(TenantId(Uuid::nil())).await.unwrap();
        assert_eq!(scope.number("SELECT count(*) AS n FROM page WHERE $1 IS NOT NULL", []).await.unwrap(), 0);
        drop(scope);
        store.close().await;
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_log_is_copied_beside_and_emptied_when_it_must_be() {
        let dir = dir();
        let store = store(&dir).await;
        let copier = store.copier.clone().unwrap();
        let mut most = 0;
        for _ in 0..40 {
            let scope = store.write_at(TenantId(Uuid::nil()), Pace::Ahead).await.unwrap();
            let pages = "INSERT INTO page WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT randomblob(4000) FROM n";
            scope.tx().execute_unprepared(pages).await.unwrap();
            scope.commit_ahead().await.unwrap().durable().await.unwrap();
            most = most.max(owed(&store.side).await.unwrap());
        }
        assert!((OWED..3 * OWED).contains(&most), "{most} pages were not copied at most");
        let mut left = most;
        for _ in 0..100 {
            let scope = store.write(TenantId(Uuid::nil())).await.unwrap();
            scope.tx().execute_unprepared("INSERT INTO page VALUES (x'00')").await.unwrap();
            scope.commit().await.unwrap();
            tokio::time::sleep(PAUSE).await;
            left = owed(&store.side).await.unwrap();
            if left < QUIET {
                break;
            }
        }
        assert!(left < QUIET, "{left} pages are left though little is written");
        let scope = store.write(TenantId(Uuid::nil())).await.unwrap();
        scope.shreds();
        scope.tx().execute_unprepared("DELETE FROM page").await.unwrap();
        scope.commit().await.unwrap();
        assert_eq!(std::fs::metadata(&copier.log).unwrap().len(), 0);
        store.close().await;
        assert!(!copier.log.exists(), "the last one to close the database takes its log along");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
