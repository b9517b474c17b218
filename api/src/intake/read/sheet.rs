//! Sheets of workbooks, and their cells as text.

use std::collections::BTreeSet;
use std::io::{BufReader, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use calamine::{DataRef, ExcelDateTime, ExcelDateTimeType, Reader as _, SheetType, SheetVisible, Xlsx, XlsxError};

use super::header::{TITLE_ROWS, header};
use super::{CELL_BYTES, COLUMNS, RECORD_BYTES, Row, Unreadable};

/// How many rows, or bytes of them, are handed over at a time.
const BATCH_ROWS: usize = 256;
const BATCH_BYTES: usize = RECORD_BYTES;

/// The most blank rows in a row that are handed over: of more, somebody only formatted the cells.
const BLANK_ROWS: u64 = 1_000;

/// Behind this serial number, 9999-12-31, there are no dates.
const LAST_DATE: f64 = 2_958_466.0;

/// Below this, numbers without a fraction are exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The first visible sheet with a header that is known, else the first with any, else the first with a row; and the others that have a
/// header.
///
/// # Errors
/// There is none, or it cannot be read.
pub(super) fn choose(file: impl Read + Seek, known: Option<&BTreeSet<String>>) -> Result<(String, Vec<String>), Unreadable> {
    guarded(|| {
        let mut book = open(file)?;
        let visible = |sheet: &&calamine::Sheet| sheet.typ == SheetType::WorkSheet && sheet.visible == SheetVisible::Visible;
        let names: Vec<String> = book.sheets_metadata().iter().filter(visible).map(|sheet| sheet.name.clone()).collect();
        let (mut fitting, mut like, mut filled) = (None, Vec::new(), None);
        for name in &names {
            let mut rows = Vec::new();
            let read = stream(&mut book, name, |row| {
                rows.push(row);
                rows.len() < TITLE_ROWS
            });
            // What is wrong with a sheet that is not read does not matter.
            match read {
                Ok(()) => {}
                Err(_) if fitting.is_some() => continue,
                Err(problem) => return Err(problem),
            }
            fitting = fitting.or_else(|| known.and_then(|_| header(&rows, known)).map(|_| name.clone()));
            like.extend(header(&rows, None).map(|_| name.clone()));
            filled = filled.or_else(|| (!rows.is_empty()).then(|| name.clone()));
        }
        let chosen = fitting.or_else(|| like.first().cloned()).or(filled).ok_or(if names.is_empty() { Unreadable::NoSheet } else { Unreadable::Empty })?;
        like.retain(|name| *name != chosen);
        Ok((chosen, like))
    })
}

/// The rows of a sheet, read by a thread of its own that ends soon after the rows are dropped.
pub(super) struct Rows {
    batches: Option<Receiver<Result<Vec<Row>, Unreadable>>>,
    batch: std::vec::IntoIter<Row>,
}

impl Rows {
    pub(super) fn new(file: impl Read + Seek + Send + 'static, sheet: String) -> Result<Self, Unreadable> {
        let (send, batches) = sync_channel(2);
        let read = move || {
            if let Err(problem) = guarded(|| send_all(file, &sheet, &send)) {
                // Nobody may be left to tell.
                let _ = send.send(Err(problem));
            }
        };
        thread::Builder::new().name("sheet".to_owned()).spawn(read)?;
        Ok(Self { batches: Some(batches), batch: Vec::new().into_iter() })
    }
}

impl Iterator for Rows {
    type Item = Result<Row, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.batch.next() {
                return Some(Ok(row));
            }
            match self.batches.as_ref()?.recv() {
                Ok(Ok(batch)) => self.batch = batch.into_iter(),
                Ok(Err(problem)) => {
                    self.batches = None;
                    return Some(Err(problem));
                }
                Err(_) => self.batches = None,
            }
        }
    }
}

fn send_all(file: impl Read + Seek, sheet: &str, send: &SyncSender<Result<Vec<Row>, Unreadable>>) -> Result<(), Unreadable> {
    let (mut batch, mut bytes) = (Vec::with_capacity(BATCH_ROWS), 0);
    let outcome = stream(&mut open(file)?, sheet, |row| {
        bytes += row.cells.iter().map(|cell| cell.len() + size_of::<String>()).sum::<usize>();
        batch.push(row);
        if batch.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            return true;
        }
        bytes = 0;
        send.send(Ok(std::mem::replace(&mut batch, Vec::with_capacity(BATCH_ROWS)))).is_ok()
    });
    // The rows before a problem are good.
    let _ = send.send(Ok(batch));
    outcome
}

/// A broken workbook must not bring the program down, whatever the library makes of it.
fn guarded<T>(read: impl FnOnce() -> Result<T, Unreadable>) -> Result<T, Unreadable> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(Unreadable::Sheet { row: 0 }))
}

fn open<R: Read + Seek>(file: R) -> Result<Xlsx<BufReader<R>>, Unreadable> {
    Xlsx::new(BufReader::with_capacity(1 << 16, file)).map_err(|problem| unreadable(problem, 0))
}

fn unreadable(problem: XlsxError, row: u64) -> Unreadable {
    match problem {
        XlsxError::Io(problem) if !matches!(problem.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof) => problem.into(),
        XlsxError::Password => Unreadable::NotATable { what: "a workbook with a password", remedy: "remove the password and save it as .xlsx or CSV" },
        XlsxError::WorksheetNotFound(_) | XlsxError::NotAWorksheet(_) => Unreadable::NoSheet,
        _ => Unreadable::Sheet { row },
    }
}

/// Hands over the rows up to the last that holds something, one by one, until `take` says no.
fn stream<R: Read + Seek>(book: &mut Xlsx<R>, sheet: &str, mut take: impl FnMut(Row) -> bool) -> Result<(), Unreadable> {
    let mut cells = book.worksheet_cells_reader(sheet).map_err(|problem| unreadable(problem, 0))?;
    let (mut row, mut bytes) = (Row { line: 0, cells: Vec::new() }, 0);
    loop {
        let cell = match cells.next_cell() {
            Ok(Some(cell)) => cell,
            Ok(None) => break,
            // A kind of error value that the library does not know.
            Err(XlsxError::CellError(_)) => continue,
            Err(problem) => return Err(unreadable(problem, row.line)),
        };
        let (line, column) = (u64::from(cell.get_position().0) + 1, cell.get_position().1 as usize);
        if line < row.line {
            return Err(Unreadable::Sheet { row: row.line });
        }
        let text = text(cell.get_value());
        if text.is_empty() {
            continue;
        }
        if line > row.line {
            let full = std::mem::replace(&mut row, Row { line, cells: Vec::new() });
            let blank = full.line + 1..line;
            bytes = 0;
            if !full.cells.is_empty() && !take(full) {
                return Ok(());
            }
            if blank.end - blank.start <= BLANK_ROWS && !blank.into_iter().all(|line| take(Row { line, cells: Vec::new() })) {
                return Ok(());
            }
        }
        bytes += text.len();
        if column >= COLUMNS {
            return Err(Unreadable::Columns { line });
        }
        if text.len() > CELL_BYTES {
            return Err(Unreadable::Cell { line, column: column + 1 });
        }
        if bytes > RECORD_BYTES {
            return Err(Unreadable::Record { line });
        }
        if row.cells.len() <= column {
            row.cells.resize(column + 1, String::new());
        }
        row.cells[column] = text;
    }
    if !row.cells.is_empty() {
        take(row);
    }
    Ok(())
}

/// A cell as text: numbers in plain decimals, dates as `YYYY-MM-DD` with the time if there is any, errors as nothing.
fn text(value: &DataRef) -> String {
    match value {
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => decimal(*number),
        DataRef::String(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(yes) => if *yes { "TRUE" } else { "FALSE" }.to_owned(),
        DataRef::DateTime(moment) => date(moment),
        DataRef::DateTimeIso(text) => iso_date(text),
        DataRef::Error(_) | DataRef::Empty => String::new(),
    }
}

/// A number as a spreadsheet shows it when the cell is wide enough: 15 digits, but whole numbers as they are.
fn decimal(number: f64) -> String {
    if !number.is_finite() {
        return String::new();
    }
    let exact = number.fract() == 0.0 && number.abs() < EXACT;
    let number = if exact { number } else { format!("{number:.14e}").parse().unwrap_or(number) };
    // Not "-0".
    (number + 0.0).to_string()
}

fn date(moment: &ExcelDateTime) -> String {
    let serial = moment.as_f64();
    if !(0.0..LAST_DATE).contains(&serial) {
        return decimal(serial);
    }
    let since_1904 = *moment == ExcelDateTime::new(serial, ExcelDateTimeType::DateTime, true);
    let seconds = (serial * 86_400.0).round();
    let (year, month, day, hour, minute, second, _) = ExcelDateTime::new(seconds / 86_400.0, ExcelDateTimeType::DateTime, since_1904).to_ymd_hms_milli();
    if moment.is_duration() {
        let hours = (seconds / 3_600.0).floor();
        return format!("{hours}:{minute:02}:{second:02}");
    }
    match (seconds < 86_400.0, hour, minute, second) {
        (true, ..) => format!("{hour:02}:{minute:02}:{second:02}"),
        (_, 0, 0, 0) => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"),
    }
}

/// `2024-05-01T10:00:00.000Z` as `2024-05-01 10:00:00`, without a time of midnight.
fn iso_date(text: &str) -> String {
    let Some((day, time)) = text.split_once('T') else { return text.to_owned() };
    let time = time.split(['.', 'Z', '+']).next().unwrap_or_default();
    if time.chars().all(|c| matches!(c, '0' | ':')) { day.to_owned() } else { format!("{day} {time}") }
}
