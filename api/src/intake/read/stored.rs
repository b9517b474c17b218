//! The bytes of a file as they are stored.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// How a part is announced in a ZIP file's directory.
const PART: &[u8; 4] = b"PK\x01\x02";

/// Passes bytes on, and keeps their digest and number.
pub(super) struct Stored<R> {
    inner: R,
    digest: Sha256,
    bytes: u64,
    zip: bool,
    parts: u64,
    /// The last three bytes.
    before: [u8; 3],
}

impl<R: Read> Stored<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, digest: Sha256::new(), bytes: 0, zip: false, parts: 0, before: [0; 3] }
    }

    /// Reads to the end, and gives the SHA-256 of all bytes, their number, and how many parts a ZIP file of them can have.
    pub(super) fn finish(mut self) -> io::Result<([u8; 32], u64, u64)> {
        let mut rest = vec![0; 1 << 16];
        while self.read(&mut rest)? > 0 {}
        Ok((self.digest.finalize().into(), self.bytes, self.parts))
    }
}

impl<R: Read> Read for Stored<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        let bytes = &out[..count];
        self.digest.update(bytes);
        self.zip |= self.bytes == 0 && bytes.first() == Some(&b'P');
        self.bytes += count as u64;
        if !self.zip {
            return Ok(count);
        }
        let seam = [&self.before[..], &bytes[..count.min(3)]].concat();
        self.parts += parts(&seam) + parts(bytes);
        if let Some(end) = [&self.before[..], &bytes[count.saturating_sub(3)..]].concat().last_chunk() {
            self.before = *end;
        }
        Ok(count)
    }
}

/// How often a part is announced in bytes.
pub(super) fn parts(bytes: &[u8]) -> u64 {
    bytes.windows(4).filter(|four| four == PART).count() as u64
}
