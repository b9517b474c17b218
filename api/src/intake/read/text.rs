//! Text in the encoding it came in, as UTF-8.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, GB18030, UTF_8};

use super::{RECORD_BYTES, Unreadable, sniff};

/// Bytes read at a time.
const CHUNK: usize = 1 << 18;

/// The least room that [`Utf8::read`] can write to: the longest character.
const ROOM: usize = 4;

/// A file as UTF-8 without its byte-order mark.
pub(super) struct Utf8<R> {
    inner: R,
    /// None for UTF-8, which is passed on as it is.
    decoder: Option<Decoder>,
    raw: Vec<u8>,
    from: usize,
    ended: bool,
}

impl<R: Read> Utf8<R> {
    /// Reads `inner` from its first byte, mark included.
    pub(super) fn new(mut inner: R, encoding: &'static Encoding) -> io::Result<Self> {
        let mut raw = fill(&mut inner, sniff::HEAD)?;
        let from = sniff::mark(&raw).map_or(0, |(_, length)| length);
        let decoder = (encoding != UTF_8).then(|| encoding.new_decoder_without_bom_handling());
        if decoder.is_some() {
            raw.reserve(CHUNK);
        }
        Ok(Self { inner, decoder, raw, from, ended: false })
    }

    /// Writes the next bytes to `out`, which has room for at least four; 0 at the end.
    ///
    /// # Errors
    /// The storage fails, or `InvalidData` where the encoding is broken.
    pub(super) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        debug_assert!(out.len() >= ROOM);
        let Some(decoder) = &mut self.decoder else {
            let head = self.raw.get(self.from..).unwrap_or_default();
            if head.is_empty() {
                return retry(&mut self.inner, out);
            }
            let count = head.len().min(out.len());
            out[..count].copy_from_slice(&head[..count]);
            self.from += count;
            return Ok(count);
        };
        loop {
            if self.from == self.raw.len() && !self.ended {
                self.raw.resize(CHUNK, 0);
                let count = retry(&mut self.inner, &mut self.raw)?;
                self.raw.truncate(count);
                self.from = 0;
            }
            let flush = self.from == self.raw.len();
            if flush && self.ended {
                return Ok(0);
            }
            let (result, read, written) = decoder.decode_to_utf8_without_replacement(&self.raw[self.from..], out, flush);
            self.from += read;
            self.ended = flush && result == DecoderResult::InputEmpty;
            if matches!(result, DecoderResult::Malformed(..)) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if written > 0 {
                return Ok(written);
            }
        }
    }
}

/// Reads at most `out.len()` bytes, again where a signal came between.
fn retry(inner: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    loop {
        match inner.read(out) {
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The next `count` bytes, fewer at the end.
pub(super) fn fill(inner: &mut impl Read, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(count);
    inner.take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What was found in a whole text.
pub(super) struct Survey {
    /// The encoding's name.
    pub(super) encoding: &'static str,
    /// How the text begins, as UTF-8.
    pub(super) begin: Vec<u8>,
    /// Whether that is all of it.
    pub(super) whole: bool,
}

/// Finds the encoding of a whole file, line by line, and the beginning of its text for a look at its cells.
///
/// # Errors
/// The file is in no encoding that is read, or in two, or holds a NUL byte.
pub(super) fn survey(mut inner: impl Read, first: &[u8]) -> Result<Survey, Unreadable> {
    let marked = sniff::mark(first).map(|(encoding, _)| encoding);
    let mut scan = Scan { seen: if marked.is_some() { Seen::Utf8 } else { Seen::Both }, ..Scan::default() };
    let wide = marked.filter(|encoding| *encoding != UTF_8);
    // Without a mark the bytes are looked at as they are.
    let mut text = Utf8::new(&mut inner, wide.unwrap_or(UTF_8))?;
    let (mut window, mut held, mut begin) = (vec![0; 2 * CHUNK], 0, Vec::new());
    loop {
        if window.len() - held < CHUNK {
            if held > RECORD_BYTES {
                return Err(Unreadable::Record { line: scan.line });
            }
            window.resize(held + 2 * CHUNK, 0);
        }
        let count = text.read(&mut window[held..]).map_err(|problem| match problem.kind() {
            io::ErrorKind::InvalidData if wide.is_some() => Unreadable::Encoding { line: scan.line },
            _ => problem.into(),
        })?;
        if begin.len() < CHUNK {
            begin.extend_from_slice(&window[held..held + count]);
        }
        held += count;
        let done = scan.feed(&window[..held], count == 0)?;
        if count == 0 {
            break;
        }
        window.copy_within(done..held, 0);
        held -= done;
    }
    if scan.blank {
        return Err(Unreadable::Empty);
    }
    let whole = begin.len() < CHUNK;
    if scan.seen == Seen::Gb {
        let begin = GB18030.decode_without_bom_handling(&begin).0.into_owned().into_bytes();
        return Ok(Survey { encoding: "GB18030", begin, whole });
    }
    Ok(Survey { encoding: wide.map_or("UTF-8", Encoding::name), begin, whole })
}

/// What the lines so far can be in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Either.
    Both,
    /// A byte-order mark, or a line that can be nothing else.
    Utf8,
    /// A line that is not UTF-8.
    Gb,
}

/// What is known of the lines so far.
struct Scan {
    /// The line of the next byte.
    line: u64,
    seen: Seen,
    /// The first line that is valid UTF-8 and not GB18030.
    not_gb: Option<u64>,
    /// Whether nothing but white space was seen.
    blank: bool,
    /// Whether the byte before was a carriage return.
    returned: bool,
}

impl Default for Scan {
    fn default() -> Self {
        Self { line: 1, seen: Seen::Both, not_gb: None, blank: true, returned: false }
    }
}

impl Scan {
    /// Looks at bytes that begin where the last call ended, and tells how many of them are done with.
    fn feed(&mut self, bytes: &[u8], last: bool) -> Result<usize, Unreadable> {
        if bytes.contains(&0) {
            let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
            return Err(Unreadable::Binary { line: self.line_at(text) });
        }
        self.blank = self.blank && bytes.iter().all(u8::is_ascii_whitespace);
        let mut done = 0;
        if self.seen != Seen::Utf8 && bytes.is_ascii() {
            done = bytes.len();
            self.pass(bytes);
        }
        while self.seen != Seen::Utf8 && done < bytes.len() {
            let rest = &bytes[done..];
            let length = match rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
                Some(at) => at + 1,
                None if last => rest.len(),
                None => return Ok(done),
            };
            self.judge(&rest[..length])?;
            self.pass(&rest[..length]);
            done += length;
        }
        if self.seen == Seen::Utf8 {
            let rest = &bytes[done..];
            let valid = Encoding::utf8_valid_up_to(rest);
            if let Some(problem) = std::str::from_utf8(&rest[valid..]).err() {
                let line = self.line_at(&rest[..valid]);
                match problem.error_len() {
                    Some(_) => return Err(Unreadable::Mixed { line, above: "UTF-8" }),
                    None if last => return Err(Unreadable::CutCharacter { line }),
                    None => {}
                }
            }
            self.pass(&rest[..valid]);
            done += valid;
        }
        Ok(done)
    }

    /// Whether a line is UTF-8 or GB18030, while it is not certain that the file is UTF-8.
    fn judge(&mut self, line: &[u8]) -> Result<(), Unreadable> {
        if line.is_ascii() {
            return Ok(());
        }
        let number = self.line_at(&[]);
        let gb = GB18030.decode_without_bom_handling_and_without_replacement(line).is_some();
        match (std::str::from_utf8(line), self.seen == Seen::Gb) {
            (Ok(text), true) if !gb || surely_utf8(text) => return Err(Unreadable::Mixed { line: number, above: "GB18030" }),
            (Ok(_), true) => {}
            (Ok(text), false) if surely_utf8(text) => self.seen = Seen::Utf8,
            (Ok(_), false) if gb => {}
            (Ok(_), false) => self.not_gb = self.not_gb.or(Some(number)),
            (Err(_), _) if !gb => return Err(Unreadable::Encoding { line: number }),
            (Err(_), _) if self.not_gb.is_some() => return Err(Unreadable::Mixed { line: number, above: "UTF-8" }),
            (Err(_), _) => self.seen = Seen::Gb,
        }
        Ok(())
    }

    /// The line of the byte behind `bytes`.
    fn line_at(&self, bytes: &[u8]) -> u64 {
        let (count, returned) = line_breaks(bytes, self.returned);
        self.line + count + u64::from(returned)
    }

    /// Counts the lines that end in bytes.
    fn pass(&mut self, bytes: &[u8]) {
        let (count, returned) = line_breaks(bytes, self.returned);
        self.line += count;
        self.returned = returned;
    }
}

/// Counts line breaks: LF, CR LF or CR alone. A CR at the end counts with what comes behind it; so `returned` says whether one
/// came before, and the answer whether one is left.
pub(super) fn line_breaks(bytes: &[u8], returned: bool) -> (u64, bool) {
    let (Some(first), Some(end)) = (bytes.first(), bytes.last()) else { return (0, returned) };
    let count = |wanted: u8| bytes.iter().map(|byte| usize::from(*byte == wanted)).sum::<usize>();
    let (feeds, returns) = (count(b'\n'), count(b'\r'));
    let both = if returns == 0 { 0 } else { bytes.windows(2).filter(|pair| *pair == b"\r\n").count() };
    let left = *end == b'\r';
    let breaks = feeds + returns + usize::from(returned && *first != b'\n') - both - usize::from(left);
    (breaks as u64, left)
}

/// Whether valid UTF-8 can be nothing else: at least two characters of three bytes or more, and not, read as GB2312 (which
/// nearly all Chinese text keeps to), common characters by chance.
fn surely_utf8(text: &str) -> bool {
    let long = text.chars().filter(|c| c.len_utf8() >= 3).take(2).count();
    let (mut bytes, mut gb2312) = (text.bytes(), true);
    while let Some(lead) = bytes.next() {
        if lead >= 0x80 {
            gb2312 &= (0xa1..=0xf7).contains(&lead) && bytes.next().is_some_and(|trail| (0xa1..=0xfe).contains(&trail));
        }
    }
    long == 2 && !gb2312
}
