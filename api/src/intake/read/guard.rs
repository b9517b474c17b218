//! Workbooks are unpacked once, in passing, before anything is read from them.

use std::io::{self, Read, Seek};

use zip::ZipArchive;
use zip::result::ZipError;

use super::{Limits, RECORD_BYTES, Unreadable};

/// The most parts of a workbook.
const PARTS: u64 = 10_000;

/// The most bytes of a part that is not XML, such as a picture.
const OTHER_BYTES: u64 = 64 << 20;

/// The most bytes between two XML tags or in one.
const TOKEN_BYTES: usize = 2 * RECORD_BYTES;

/// The most tags of the part that lists the styles.
const STYLE_TAGS: u64 = 1_000_000;

const RESAVE: &str = "open it in a spreadsheet program, save it again as .xlsx or CSV";
const DAMAGED: Unreadable = Unreadable::Damaged { what: "the workbook", remedy: RESAVE };

/// Checks a workbook of `stored` bytes whose directory lists at most `parts` parts: the sizes that the parts declare and those that they have, and that no part makes its reader hold much in memory.
///
/// # Errors
/// It is no .xlsx workbook, encrypted, cut off, damaged or larger than the limits.
pub(super) fn check(file: &mut (impl Read + Seek), stored: u64, parts: u64, limits: &Limits) -> Result<(), Unreadable> {
    if parts > PARTS {
        return Err(DAMAGED);
    }
    let mut archive = ZipArchive::new(file).map_err(zip_problem)?;
    let names: Vec<String> = archive.file_names().filter_map(Result::ok).map(|name| name.replace('\\', "/").to_ascii_lowercase()).collect();
    kind(&names)?;
    let too_large = Unreadable::TooLarge { what: "the unpacked workbook", limit: limits.workbook_bytes, remedy: "save the sheet as CSV" };
    let declared = (0..archive.len()).try_fold(0_u64, |sum, at| archive.by_index_data(at).map(|part| sum.saturating_add(part.size())));
    if declared.map_err(zip_problem)? > limits.workbook_bytes {
        return Err(too_large);
    }
    let mut total = 0;
    for at in 0..archive.len() {
        let part = archive.by_index(at).map_err(zip_problem)?;
        let name = part.name().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        let limit = limits.workbook_bytes - total;
        let found = Part::read(part.take(limit + 1), name.ends_with("sharedstrings.xml"))?;
        total += found.bytes;
        if total > limits.workbook_bytes {
            return Err(too_large);
        }
        if total > stored.saturating_mul(limits.ratio).max(64 << 20) {
            return Err(Unreadable::Bomb { ratio: limits.ratio });
        }
        found.check(&name, limits)?;
    }
    Ok(())
}

/// Names what has the form of a workbook and is none.
fn kind(names: &[String]) -> Result<(), Unreadable> {
    let has = |begin: &str| names.iter().any(|name| name.starts_with(begin));
    let (what, remedy) = match () {
        () if has("xl/workbook.bin") => ("an .xlsb workbook", "save it as .xlsx or CSV"),
        () if has("word/") || has("ppt/") => ("a document or presentation", "export the table itself as .xlsx or CSV"),
        () if has("content.xml") && has("mimetype") => ("an OpenDocument file", "save it as .xlsx or CSV"),
        () if !has("[content_types].xml") => ("a ZIP archive", "unpack it and import the table in it"),
        () => return Ok(()),
    };
    Err(Unreadable::NotATable { what, remedy })
}

fn zip_problem(problem: ZipError) -> Unreadable {
    match problem {
        ZipError::Io(problem) => inflate_problem(problem),
        ZipError::UnsupportedArchive(text) if text == ZipError::PASSWORD_REQUIRED => {
            Unreadable::NotATable { what: "a ZIP archive with a password", remedy: "unpack it and import the table in it" }
        }
        ZipError::InvalidArchive(_) | ZipError::FileNotFound => Unreadable::CutOff,
        _ => DAMAGED,
    }
}

fn inflate_problem(problem: io::Error) -> Unreadable {
    match problem.kind() {
        io::ErrorKind::UnexpectedEof => Unreadable::CutOff,
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => DAMAGED,
        _ => problem.into(),
    }
}

/// What was found in a part.
#[derive(Default)]
struct Part {
    bytes: u64,
    xml: Xml,
    foreign: bool,
    claimed_strings: u64,
}

impl Part {
    fn read(mut from: impl Read, strings: bool) -> Result<Self, Unreadable> {
        let mut part = Self::default();
        let (mut chunk, mut held) = (vec![0; 1 << 16], 0);
        loop {
            let count = from.read(&mut chunk[held..]).map_err(inflate_problem)?;
            if count == 0 {
                return Ok(part);
            }
            let fresh = &chunk[held..held + count];
            if part.bytes == 0 {
                part.foreign = foreign(fresh);
            }
            part.bytes += count as u64;
            part.xml.feed(fresh);
            if strings {
                let seen = &chunk[..held + count];
                part.claimed_strings = part.claimed_strings.max(claimed(seen));
                // A claim may lie across the end.
                let keep = seen.len().min(128);
                chunk.copy_within(held + count - keep..held + count, 0);
                held = keep;
            }
        }
    }

    fn check(&self, name: &str, limits: &Limits) -> Result<(), Unreadable> {
        let plain = self.xml.begun && self.xml.longest <= TOKEN_BYTES;
        let strings = name.ends_with("sharedstrings.xml");
        if strings && self.bytes > limits.strings_bytes {
            return Err(Unreadable::TooLarge { what: "the text of the workbook", limit: limits.strings_bytes, remedy: "save the sheet as CSV" });
        }
        if !plain && self.bytes > OTHER_BYTES {
            return Err(Unreadable::TooLarge {
                what: "a part of the workbook that is no sheet",
                limit: OTHER_BYTES,
                remedy: "remove its pictures, or save the sheet as CSV",
            });
        }
        let too_many = name.ends_with("styles.xml") && self.xml.tags > STYLE_TAGS;
        if self.foreign || too_many || self.xml.declares || strings && self.claimed_strings > (self.bytes / 4).max(10_000) {
            return Err(DAMAGED);
        }
        Ok(())
    }
}

/// Whether XML begins in an encoding that workbooks don't use.
fn foreign(begin: &[u8]) -> bool {
    if [&b"\xfe\xff"[..], b"\xff\xfe", b"<\0", b"\0<"].iter().any(|mark| begin.starts_with(mark)) {
        return true;
    }
    let head = String::from_utf8_lossy(&begin[..begin.len().min(256)]).to_ascii_lowercase();
    let declaration = head.trim_start_matches('\u{feff}').strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")).map(|(inside, _)| inside.to_owned());
    declaration.is_some_and(|inside| {
        let named = inside.split_once("encoding").map(|(_, value)| value.trim_start_matches([' ', '=', '"', '\'']).to_owned());
        named.is_some_and(|name| !["utf-8", "utf8", "us-ascii"].iter().any(|known| name.starts_with(known)))
    })
}

/// The greatest number of strings that bytes claim: memory is taken for them at once.
fn claimed(bytes: &[u8]) -> u64 {
    let (mut rest, mut most) = (bytes, 0);
    while let Some(at) = rest.iter().position(|byte| *byte == b'u') {
        rest = &rest[at + 1..];
        if let Some(value) = rest.strip_prefix(b"niqueCount") {
            let digits =
                value.iter().skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'=' | b'"' | b'\'')).take_while(|byte| byte.is_ascii_digit());
            most = most.max(digits.fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))));
        }
    }
    most
}

/// Where in XML the next byte is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Text,
    /// Behind `<`.
    Open,
    Tag,
    Quote(u8),
    End,
    /// Behind `<!`.
    Bang,
    Until(u8),
}

/// Measures XML without keeping it: text, tags, comments and the like.
#[derive(Default)]
struct Xml {
    inside: Inside,
    run: usize,
    longest: usize,
    tags: u64,
    /// The two bytes before.
    before: [u8; 2],
    /// Whether the first byte opens a tag.
    begun: bool,
    /// Whether it declares entities, which workbooks don't.
    declares: bool,
    any: bool,
}

impl Xml {
    fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if !self.any {
                self.begun = byte == b'<';
                self.any = !matches!(byte, 0xef | 0xbb | 0xbf | b' ' | b'\t' | b'\r' | b'\n');
            }
            self.run += 1;
            let next = match (self.inside, byte) {
                (Inside::Text, b'<') => Inside::Open,
                (Inside::Open, b'!') => Inside::Bang,
                (Inside::Open, b'?') => Inside::Until(b'?'),
                (Inside::Open, b'/') => Inside::End,
                (Inside::Bang, b'-') => Inside::Until(b'-'),
                (Inside::Bang, b'[') => Inside::Until(b']'),
                (Inside::Bang, _) => {
                    self.declares |= self.begun;
                    Inside::Tag
                }
                (Inside::Open | Inside::Tag | Inside::End, b'>') => Inside::Text,
                (Inside::Until(end), b'>') if self.before[1] == end && (end == b'?' || self.before[0] == end) => Inside::Text,
                (Inside::Open | Inside::Tag, b'"' | b'\'') => Inside::Quote(byte),
                (Inside::Open, _) => Inside::Tag,
                (Inside::Quote(mark), byte) if mark == byte => Inside::Tag,
                (inside, _) => inside,
            };
            if next != self.inside && matches!(next, Inside::Text | Inside::Open) {
                self.longest = self.longest.max(self.run);
                self.run = 0;
                self.tags += u64::from(next == Inside::Open);
                self.before = [0; 2];
            } else if next != self.inside {
                self.before = [0; 2];
            } else {
                self.before = [self.before[1], byte];
            }
            self.inside = next;
        }
        self.longest = self.longest.max(self.run);
    }
}
