//! Compressed files, unpacked while they are read.

use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::{Limits, Unreadable};

/// How much may be unpacked before the ratio counts: short files of equal rows pack very well.
const RATIO_FROM: u64 = 64 << 20;

/// Unpacks one or more gzip members, within limits.
pub(super) struct Inflate<R> {
    members: MultiGzDecoder<BufReader<Counted<R>>>,
    unpacked: u64,
    limits: Limits,
}

impl<R: Read> Inflate<R> {
    pub(super) fn new(packed: R, limits: &Limits) -> Self {
        let packed = BufReader::with_capacity(1 << 16, Counted { inner: packed, bytes: 0 });
        Self { members: MultiGzDecoder::new(packed), unpacked: 0, limits: limits.clone() }
    }

    /// Unpacks all of it into memory, at most `limits.buffer_bytes`.
    pub(super) fn whole(self) -> Result<Vec<u8>, Unreadable> {
        let limit = self.limits.buffer_bytes;
        let mut whole = Vec::new();
        self.take(limit + 1).read_to_end(&mut whole)?;
        if whole.len() as u64 > limit {
            return Err(Unreadable::TooLarge { what: "the workbook in this .gz file", limit, remedy: "unpack it and import the .xlsx itself" });
        }
        Ok(whole)
    }
}

impl<R: Read> Read for Inflate<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.members.read(out).map_err(|problem| match problem.kind() {
            io::ErrorKind::UnexpectedEof => Unreadable::CutOff.into(),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Unreadable::Damaged { what: "the .gz file", remedy: "copy it again, or unpack it and import the table in it" }.into()
            }
            _ => problem,
        })?;
        self.unpacked += count as u64;
        let Limits { inflated_bytes, ratio, .. } = self.limits;
        if self.unpacked > inflated_bytes {
            return Err(Unreadable::TooLarge { what: "the unpacked file", limit: inflated_bytes, remedy: "split it and import the parts" }.into());
        }
        if self.unpacked > RATIO_FROM && self.unpacked > self.members.get_ref().get_ref().bytes.saturating_mul(ratio) {
            return Err(Unreadable::Bomb { ratio }.into());
        }
        Ok(count)
    }
}

/// Counts what was read.
struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(out)?;
        self.bytes += count as u64;
        Ok(count)
    }
}
