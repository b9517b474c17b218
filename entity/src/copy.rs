//! Copies of a SQLite database on which imports are rehearsed: everybody's data once more, so nobody but the owner reads them, they
//! go with whoever made them, and what a killed process left is swept away.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the name of a copy has behind that of the database.
const MARK: &str = ".rehearsal-";

/// A copy without a lock was made by an older version: after this long its process is taken for gone.
const STALE: Duration = Duration::from_hours(24);

/// A copy that goes with its owner.
pub(crate) struct Copy {
    path: PathBuf,
    /// Locked as long as the owner lives; the system lets go of it when the process is killed.
    #[cfg_attr(not(test), expect(dead_code, reason = "held"))]
    lock: File,
}

impl Copy {
    /// An empty file beside the database for SQLite to copy into; what SQLite puts beside it has the same mode.
    pub fn beside(database: &Path) -> io::Result<Self> {
        let mut name = database.as_os_str().to_owned();
        name.push(format!("{MARK}{}", uuid::Uuid::now_v7()));
        let path = PathBuf::from(name);
        let lock = private(&locks(&path))?;
        lock.try_lock()?;
        let copy = Self { path, lock };
        private(&copy.path)?;
        Ok(copy)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// A new file that only its owner reads.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true).create_new(true).open(path)
}

fn locks(copy: &Path) -> PathBuf {
    beside(copy, "-lock")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The lock goes last: without it a copy would be taken for an older version's.
fn remove(copy: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal", "-lock"] {
        if let Err(problem) = std::fs::remove_file(beside(copy, suffix))
            && problem.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(kind = %problem.kind(), "a rehearsal's copy of the database could not be removed");
        }
    }
}

/// Removes the copies beside a database whose process is gone.
pub(crate) fn sweep(database: &Path) {
    let (Some(dir), Some(name)) = (database.parent(), database.file_name()) else { return };
    let begins = format!("{}{MARK}", name.to_string_lossy());
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let Some(id) = file.to_str().and_then(|file| file.strip_prefix(&begins)).and_then(|rest| rest.get(..36)) else { continue };
        let copy = dir.join(format!("{begins}{id}"));
        if left(&copy) {
            remove(&copy);
        }
    }
}

/// Whether nobody holds a copy any more.
fn left(copy: &Path) -> bool {
    match File::open(locks(copy)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(_) => copy.metadata().and_then(|found| found.modified()).is_ok_and(|at| at.elapsed().is_ok_and(|age| age > STALE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_is_in_use_stays() {
        let dir = std::env::temp_dir().join(format!("panorama-copy-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&dir).unwrap();
        let database = dir.join("panorama.db");
        let used = Copy::beside(&database).unwrap();
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&used.path().metadata().unwrap().permissions()) & 0o777, 0o600);
        // As if killed: the lock is let go, the files stay.
        let killed = Copy::beside(&database).unwrap();
        let path = killed.path().to_owned();
        let bare = dir.join("panorama.db.rehearsal-01890000-0000-7000-8000-000000000000");
        std::fs::write(beside(&path, "-wal"), "x").unwrap();
        std::fs::write(&bare, "x").unwrap();
        killed.lock.unlock().unwrap();
        std::mem::forget(killed);
        sweep(&database);
        assert!(used.path().exists() && bare.exists(), "in use, and young without a lock");
        assert!(!path.exists() && !beside(&path, "-wal").exists() && !locks(&path).exists());
        drop(used);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
