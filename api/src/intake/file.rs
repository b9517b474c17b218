//! The files of a run: where their bytes come from, and how far reading has come.

use std::borrow::Cow;
use std::io::{Cursor, Read, Result, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A file to import.
pub struct File<'f> {
    /// The source system; without one, it is the one whose last file had this header.
    pub source: Option<&'f str>,
    /// What the report calls it.
    pub name: String,
    content: Content,
}

enum Content {
    Path(PathBuf),
    Bytes(Held),
}

/// Bytes in memory, the same ones however often they are opened.
#[derive(Clone)]
struct Held(Arc<Cow<'static, [u8]>>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes that can be read twice.
pub trait Bytes: Read + Seek + Send {}
impl<T: Read + Seek + Send> Bytes for T {}

impl<'f> File<'f> {
    /// A file on disk.
    #[must_use]
    pub fn at(source: impl Into<Option<&'f str>>, path: &Path) -> Self {
        let name = path.file_name().map_or(Cow::Borrowed("-"), |name| name.to_string_lossy()).into_owned();
        Self { source: source.into(), name, content: Content::Path(path.to_owned()) }
    }

    /// A file in memory.
    #[must_use]
    pub fn of(source: impl Into<Option<&'f str>>, name: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        Self { source: source.into(), name: name.to_owned(), content: Content::Bytes(Held(Arc::new(bytes.into()))) }
    }

    /// Opens it.
    ///
    /// # Errors
    /// It is missing or cannot be read.
    pub(super) fn open(&self) -> Result<(Counted, Position)> {
        let bytes: Box<dyn Bytes> = match &self.content {
            Content::Path(path) => Box::new(std::fs::File::open(path)?),
            Content::Bytes(bytes) => Box::new(Cursor::new(bytes.clone())),
        };
        let position = Position::default();
        Ok((Counted { bytes, position: position.clone() }, position))
    }
}

/// How far reading has come, in bytes.
#[derive(Clone, Default)]
pub struct Position(Arc<AtomicU64>);

impl Position {
    /// The byte.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes that tell how far they were read.
pub struct Counted {
    bytes: Box<dyn Bytes>,
    position: Position,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.position.0.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let at = self.bytes.seek(to)?;
        self.position.0.store(at, Ordering::Relaxed);
        Ok(at)
    }
}
