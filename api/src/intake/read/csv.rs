//! Rows of delimited text.

use std::io::{self, Read};

use encoding_rs::UTF_8;

use super::text::{Utf8, line_breaks};
use super::{CELL_BYTES, COLUMNS, LINE_BREAKS, RECORD_BYTES, Row, Unreadable};

/// Bytes held at first; more only while a row does not fit.
const WINDOW: usize = 1 << 18;

/// What a stretch of bytes begins with.
pub(super) enum Begins {
    /// A row of this many bytes and line breaks; its cells are in [`Scanner::cells`].
    Row(usize, u64),
    /// An empty line of this many bytes.
    Blank(usize),
    /// Nothing that is whole yet.
    More,
}

/// How a cell is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Plain,
    Quoted,
    /// Quoted with quotes inside or text behind.
    Odd,
}

/// Where a cell is in its row, quotes included.
pub(super) struct Span {
    from: usize,
    to: usize,
    written: Written,
}

impl Span {
    /// The cell's text, out of the text of its row.
    pub(super) fn text(&self, row: &str) -> String {
        let raw = row.get(self.from..self.to).unwrap_or_default();
        match self.written {
            Written::Plain => raw.to_owned(),
            Written::Quoted => raw.get(1..raw.len() - 1).unwrap_or_default().to_owned(),
            Written::Odd => unquote(raw),
        }
    }

    fn is_empty(&self) -> bool {
        self.to - self.from <= if self.written == Written::Plain { 0 } else { 2 }
    }
}

/// Takes rows apart. A quote opens a cell only at its beginning, and two quotes stand for one, as in RFC 4180; text behind a
/// closing quote belongs to the cell, unless a line break is between the quotes: then the first was never closed.
pub(super) struct Scanner {
    delimiter: u8,
    ends: [bool; 256],
    /// The cells of the last row.
    pub(super) cells: Vec<Span>,
}

impl Scanner {
    pub(super) fn new(delimiter: u8) -> Self {
        let mut ends = [false; 256];
        for byte in [delimiter, b'\n', b'\r'] {
            ends[usize::from(byte)] = true;
        }
        Self { delimiter, ends, cells: Vec::new() }
    }

    /// Finds the first row of bytes that begin at `line`; `last` when nothing comes behind them.
    ///
    /// # Errors
    /// A quote that is not closed, a cell too long, too many columns.
    pub(super) fn scan(&mut self, bytes: &[u8], line: u64, last: bool) -> Result<Begins, Unreadable> {
        self.cells.clear();
        let (mut at, mut lines) = (0, 0);
        loop {
            let from = at;
            let column = self.cells.len() + 1;
            if column > COLUMNS {
                return Err(Unreadable::Columns { line });
            }
            let mut written = Written::Plain;
            if bytes.get(at) == Some(&b'"') {
                let opens = Unreadable::Quote { line: line + lines, column };
                let Some((to, inner_quotes)) = closing(bytes, at, last) else {
                    let (breaks, _) = line_breaks(&bytes[at..], false);
                    let hopeless = last || bytes.len() - at > CELL_BYTES || breaks > LINE_BREAKS;
                    return if hopeless { Err(opens) } else { Ok(Begins::More) };
                };
                let (breaks, _) = line_breaks(&bytes[at..to], false);
                let text_behind = bytes.get(to).is_some_and(|byte| !self.ends[usize::from(*byte)]);
                let behind = bytes[to..].iter().find(|byte| **byte != b' ');
                if breaks > LINE_BREAKS || breaks > 0 && behind.is_some_and(|byte| !self.ends[usize::from(*byte)]) {
                    return Err(opens);
                }
                written = if inner_quotes || text_behind { Written::Odd } else { Written::Quoted };
                lines += breaks;
                at = to;
            }
            let rest = &bytes[at..];
            let length = rest.iter().position(|byte| self.ends[usize::from(*byte)]);
            at += length.unwrap_or(rest.len());
            if at - from > CELL_BYTES {
                return Err(Unreadable::Cell { line, column });
            }
            if length.is_none() && !last {
                return Ok(Begins::More);
            }
            self.cells.push(Span { from, to: at, written });
            let end = bytes.get(at).copied();
            if end == Some(self.delimiter) {
                at += 1;
                continue;
            }
            let breaks = match (end, bytes.get(at + 1)) {
                (Some(b'\r'), Some(b'\n')) => 2,
                (Some(b'\r'), None) if !last => return Ok(Begins::More),
                (Some(_), _) => 1,
                (None, _) => 0,
            };
            let blank = at == 0;
            return Ok(if blank { Begins::Blank(breaks) } else { Begins::Row(at + breaks, lines + 1) });
        }
    }
}

/// Behind the quote that closes the one at `open`, and whether there are doubled quotes between them.
fn closing(bytes: &[u8], open: usize, last: bool) -> Option<(usize, bool)> {
    let (mut at, mut doubled) = (open + 1, false);
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == b'"')? + 1;
        match bytes.get(at) {
            Some(b'"') => (at, doubled) = (at + 1, true),
            None if !last => return None,
            _ => return Some((at, doubled)),
        }
    }
}

/// The text of a cell that begins with a quote: doubled quotes are one, and what is behind the closing quote stays as it is.
fn unquote(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw.get(1..).unwrap_or_default();
    while let Some((before, behind)) = rest.split_once('"') {
        text.push_str(before);
        let Some(inner) = behind.strip_prefix('"') else {
            text.push_str(behind);
            return text;
        };
        text.push('"');
        rest = inner;
    }
    text.push_str(rest);
    text
}

/// The rows of a text file.
pub(super) struct Rows<R> {
    text: Utf8<R>,
    scanner: Scanner,
    window: Vec<u8>,
    from: usize,
    to: usize,
    line: u64,
    read_all: bool,
    failed: bool,
}

impl<R: Read> Rows<R> {
    pub(super) fn new(text: Utf8<R>, delimiter: u8) -> Self {
        Self { text, scanner: Scanner::new(delimiter), window: vec![0; WINDOW], from: 0, to: 0, line: 1, read_all: false, failed: false }
    }

    fn step(&mut self) -> Result<Option<Row>, Unreadable> {
        loop {
            let bytes = &self.window[self.from..self.to];
            if self.read_all && bytes.is_empty() {
                return Ok(None);
            }
            let line = self.line;
            match self.scanner.scan(bytes, line, self.read_all)? {
                Begins::More => self.refill()?,
                Begins::Blank(length) => {
                    self.from += length;
                    self.line += 1;
                }
                Begins::Row(length, _) if length > RECORD_BYTES => return Err(Unreadable::Record { line }),
                Begins::Row(length, lines) => {
                    let row = UTF_8.decode_without_bom_handling_and_without_replacement(&bytes[..length]).ok_or(Unreadable::Encoding { line })?;
                    let filled = self.scanner.cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |at| at + 1);
                    let cells = self.scanner.cells[..filled].iter().map(|cell| cell.text(&row)).collect();
                    self.from += length;
                    self.line += lines;
                    return Ok(Some(Row { line, cells }));
                }
            }
        }
    }

    /// Fills the window behind what is not done with.
    fn refill(&mut self) -> Result<(), Unreadable> {
        let line = self.line;
        if self.to - self.from > RECORD_BYTES {
            return Err(Unreadable::Record { line });
        }
        self.window.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        if self.to > self.window.len() / 2 {
            self.window.resize(self.window.len() * 2, 0);
        }
        while self.window.len() - self.to >= 64 && !self.read_all {
            let count = self.text.read(&mut self.window[self.to..]).map_err(|problem| match problem.kind() {
                io::ErrorKind::InvalidData => Unreadable::Encoding { line },
                _ => problem.into(),
            })?;
            self.to += count;
            self.read_all = count == 0;
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Rows<R> {
    type Item = Result<Row, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = self.step().transpose();
        self.failed = !matches!(row, Some(Ok(_)));
        row
    }
}
