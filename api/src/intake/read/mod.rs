//! Reads tables as people export them: CSV in several encodings and .xlsx workbooks, either one also as .gz.
//!
//! A first look over the whole file tells what it is; then its rows come one by one. Memory does not grow with the file: it
//! takes a few MiB, and for workbooks also what their shared texts take (see [`Limits::strings_bytes`]) and, if packed as .gz,
//! the packed workbook (see [`Limits::buffer_bytes`]).
//!
//! Rows never end with an empty cell. An empty line is no row; a line of delimiters is one without cells, and so is a blank row of
//! a sheet, unless more than 1,000 of them come together or nothing comes behind them.

mod csv;
mod delimiter;
mod error;
mod guard;
mod gzip;
mod header;
mod sheet;
mod sniff;
mod stored;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::{Cursor, Read, Seek, SeekFrom};

use encoding_rs::Encoding;

pub use error::Unreadable;
pub use header::{TITLE_ROWS, header};

use gzip::Inflate;
use sniff::Kind;
use stored::Stored;

/// The most columns of a row.
pub const COLUMNS: usize = 2_000;

/// The most bytes of a cell as UTF-8; a spreadsheet's cell holds 32,767 characters.
pub const CELL_BYTES: usize = 128 << 10;

/// The most bytes of a row as UTF-8.
pub const RECORD_BYTES: usize = 1 << 20;

/// The most line breaks within the quotes of a cell.
pub const LINE_BREAKS: u64 = 200;

/// A row and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Counted from 1: the line of a CSV file, the row of a sheet.
    pub line: u64,
    /// The cells as text, without empty ones at the end.
    pub cells: Vec<String>,
}

/// What holds the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Delimited text.
    Csv {
        /// A comma, semicolon, tab or `|`.
        delimiter: u8,
    },
    /// A workbook.
    Xlsx {
        /// The sheet that is read; another may be put here, hidden or not.
        sheet: String,
        /// The other visible sheets that have a header, which are not read.
        others: Vec<String>,
    },
}

/// What the first look over a whole file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// How to read it.
    pub format: Format,
    /// Whether it is packed.
    pub gzip: bool,
    /// `UTF-8`, `GB18030`, `UTF-16LE` or `UTF-16BE`; that of workbooks is `UTF-8`.
    pub encoding: &'static str,
    /// SHA-256 of the bytes as stored.
    pub digest: [u8; 32],
    /// How many they are.
    pub bytes: u64,
}

/// How much a file may unpack to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that a .gz may unpack to.
    pub inflated_bytes: u64,
    /// How many times its stored size a file may unpack to, once that is more than 64 MiB.
    pub ratio: u64,
    /// Bytes that a workbook may have as stored.
    pub stored_workbook_bytes: u64,
    /// Bytes that all parts of a workbook may unpack to.
    pub workbook_bytes: u64,
    /// Bytes that the texts of a workbook may unpack to; they are held in memory, and take up to about 2.5 times as much there
    /// (five times in a file made for that).
    pub strings_bytes: u64,
    /// Bytes of a workbook in a .gz, which is held in memory.
    pub buffer_bytes: u64,
}

impl Default for Limits {
    /// 64 GiB, 200 times, 256 MiB, 4 GiB, 256 MiB and 64 MiB.
    fn default() -> Self {
        Self {
            inflated_bytes: 64 << 30,
            ratio: 200,
            stored_workbook_bytes: 256 << 20,
            workbook_bytes: 4 << 30,
            strings_bytes: 256 << 20,
            buffer_bytes: 64 << 20,
        }
    }
}

/// Looks over a whole file, from its beginning: once, or three times for a workbook. A workbook's sheet is the first visible one with
/// a header that `known` knows (see [`header`]), else the first with any header, else the first with a row.
///
/// # Errors
/// The file is no table, is damaged or exceeds a limit; all that can be seen without taking the rows apart.
pub fn look(file: &mut (impl Read + Seek), known: Option<&BTreeSet<String>>, limits: &Limits) -> Result<Look, Unreadable> {
    file.seek(SeekFrom::Start(0))?;
    let mut stored = Stored::new(&mut *file);
    let head = text::fill(&mut stored, sniff::HEAD)?;
    let kind = sniff::kind(&head)?;
    let mut packed = None;
    let mut found = None;
    match kind {
        Kind::Text => found = Some(look_at_text(Cursor::new(&head).chain(&mut stored), &head)?),
        Kind::Zip => {}
        Kind::Gzip => {
            let mut inflate = Inflate::new(Cursor::new(&head).chain(&mut stored), limits);
            let inner = text::fill(&mut inflate, sniff::HEAD)?;
            match sniff::kind(&inner)? {
                Kind::Gzip => return Err(Unreadable::NotATable { what: "a .gz file in a .gz file", remedy: "unpack it once and import what is in it" }),
                Kind::Text => found = Some(look_at_text(Cursor::new(&inner).chain(inflate), &inner)?),
                Kind::Zip => packed = Some([inner, inflate.whole()?].concat()),
            }
        }
    }
    let (digest, bytes, parts) = stored.finish()?;
    let (format, encoding) = match (found, packed) {
        (Some(found), _) => found,
        (None, Some(book)) => {
            let parts = stored::parts(&book);
            (look_at_book(&mut Cursor::new(&book), book.len() as u64, parts, known, limits)?, "UTF-8")
        }
        (None, None) => (look_at_book(file, bytes, parts, known, limits)?, "UTF-8"),
    };
    Ok(Look { format, gzip: kind == Kind::Gzip, encoding, digest, bytes })
}

fn look_at_text(file: impl Read, head: &[u8]) -> Result<(Format, &'static str), Unreadable> {
    let text::Survey { encoding, begin, whole } = text::survey(file, head)?;
    Ok((Format::Csv { delimiter: delimiter::find(&begin, whole) }, encoding))
}

fn look_at_book(file: &mut (impl Read + Seek), bytes: u64, parts: u64, known: Option<&BTreeSet<String>>, limits: &Limits) -> Result<Format, Unreadable> {
    let limit = limits.stored_workbook_bytes;
    if bytes > limit {
        return Err(Unreadable::TooLarge { what: "the workbook", limit, remedy: "save the sheet as CSV" });
    }
    file.seek(SeekFrom::Start(0))?;
    guard::check(file, bytes, parts, limits)?;
    file.seek(SeekFrom::Start(0))?;
    let (sheet, others) = sheet::choose(file, known)?;
    Ok(Format::Xlsx { sheet, others })
}

/// The rows of a file, titles and header included, until its end or the first problem.
pub type Rows = Box<dyn Iterator<Item = Result<Row, Unreadable>> + Send>;

/// Streams the rows of a file that was looked over, from its beginning. May be dropped at any time; a sheet's reader is dropped by
/// its own thread soon after.
///
/// # Errors
/// The storage fails at once. Problems of the file come with the rows and end them.
pub fn rows(look: &Look, mut file: impl Read + Seek + Send + 'static, limits: &Limits) -> Result<Rows, Unreadable> {
    file.seek(SeekFrom::Start(0))?;
    let encoding = Encoding::for_label(look.encoding.as_bytes()).unwrap_or(encoding_rs::UTF_8);
    Ok(match (&look.format, look.gzip) {
        (Format::Csv { delimiter }, false) => Box::new(csv::Rows::new(text::Utf8::new(file, encoding)?, *delimiter)),
        (Format::Csv { delimiter }, true) => Box::new(csv::Rows::new(text::Utf8::new(Inflate::new(file, limits), encoding)?, *delimiter)),
        (Format::Xlsx { sheet, .. }, false) => Box::new(sheet::Rows::new(file, sheet.clone())?),
        (Format::Xlsx { sheet, .. }, true) => Box::new(sheet::Rows::new(Cursor::new(Inflate::new(file, limits).whole()?), sheet.clone())?),
    })
}
