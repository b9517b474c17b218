//! Why a file cannot be read.

use std::io;

use super::{CELL_BYTES, COLUMNS, LINE_BREAKS, RECORD_BYTES};

/// What is wrong with a file, where, and what to do about it; never what a cell holds. Lines, rows and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No row at all.
    #[error("the file has no rows; export it again")]
    Empty,
    /// Another kind of file, known by its first bytes.
    #[error("this is {what}, not a table; {remedy}")]
    NotATable {
        /// What it is.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A NUL byte.
    #[error("line {line} holds a NUL byte, so that this is no text file or a damaged one; export it again as CSV in UTF-8, or as .xlsx")]
    Binary {
        /// Where the byte is.
        line: u64,
    },
    /// Bytes that mean nothing in any encoding that is read.
    #[error("line {line} is neither UTF-8 nor GB18030; save the file as CSV in UTF-8")]
    Encoding {
        /// The first such line.
        line: u64,
    },
    /// Lines in two encodings.
    #[error(
        "line {line} is not {above}, unlike the lines above it: it is damaged or two files were joined; correct it, or save all parts as UTF-8 and join them again"
    )]
    Mixed {
        /// The first line that differs.
        line: u64,
        /// What the lines above it are in.
        above: &'static str,
    },
    /// The file ends within a character.
    #[error("the file is cut off within a character of line {line}; copy it again")]
    CutCharacter {
        /// The last line.
        line: u64,
    },
    /// A quote without its partner.
    #[error(
        "the quote that opens in line {line}, column {column} is not closed within {LINE_BREAKS} lines and {limit} KiB, or text follows it; close or remove it; if the file ends there it is cut off, copy it again",
        limit = CELL_BYTES / 1024
    )]
    Quote {
        /// Where the quote opens.
        line: u64,
        /// In which cell.
        column: usize,
    },
    /// A cell of more than 128 KiB.
    #[error("line {line}, column {column} holds more than {limit} KiB; shorten it, or check that the file is a table", limit = CELL_BYTES / 1024)]
    Cell {
        /// Where the row begins.
        line: u64,
        /// In which cell.
        column: usize,
    },
    /// A row of more than 1 MiB.
    #[error("the row of line {line} holds more than {limit} KiB; shorten it, or check that the file is a table", limit = RECORD_BYTES / 1024)]
    Record {
        /// Where the row begins.
        line: u64,
    },
    /// A row of more than 2,000 columns.
    #[error("line {line} has more than {COLUMNS} columns; remove columns, or check that its line breaks were not lost")]
    Columns {
        /// Where the row begins.
        line: u64,
    },
    /// A compressed file or a workbook that ends too early.
    #[error("the file is cut off; copy it again")]
    CutOff,
    /// A compressed file or a workbook whose inside is broken.
    #[error("{what} is damaged; {remedy}")]
    Damaged {
        /// What is damaged.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A workbook whose sheet is broken.
    #[error("the sheet is damaged at or behind row {row}; open it in a spreadsheet program, save it again as .xlsx or CSV")]
    Sheet {
        /// The last row that could be read; 0 before the first.
        row: u64,
    },
    /// A workbook without the sheet that was asked for, or without any visible one.
    #[error("the workbook has no such visible sheet; choose another or unhide it")]
    NoSheet,
    /// More than a limit allows.
    #[error("{what} is more than {limit} MiB; {remedy}", limit = limit / 1_048_576)]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit in bytes.
        limit: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// It unpacks to suspiciously much.
    #[error("the file unpacks to more than {ratio} times its size, like a file made to fill a disk; unpack it yourself and import the table in it")]
    Bomb {
        /// The limit.
        ratio: u64,
    },
    /// The storage failed.
    #[error("{}", stored(*.0))]
    Io(io::ErrorKind),
}

fn stored(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::NotFound => "there is no such file; check the path".to_owned(),
        io::ErrorKind::IsADirectory => "this is a directory; name the files in it".to_owned(),
        io::ErrorKind::PermissionDenied => "it may not be read; check its permissions".to_owned(),
        other => format!("the file cannot be read from where it is stored ({other}); try again"),
    }
}

impl From<io::Error> for Unreadable {
    fn from(problem: io::Error) -> Self {
        let kind = problem.kind();
        problem.downcast::<Self>().unwrap_or(Self::Io(kind))
    }
}

impl From<Unreadable> for io::Error {
    fn from(problem: Unreadable) -> Self {
        Self::other(problem)
    }
}
