//! What is read, what is refused, and that nothing brings the reader down.

mod any_bytes;
mod books;
mod refusals;
mod texts;

use std::collections::BTreeSet;
use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Format, Limits, Look, Row, Unreadable, look, rows};

/// A look and all rows.
fn read(bytes: &[u8]) -> Result<(Look, Vec<Row>), Unreadable> {
    read_within(bytes, None, &Limits::default())
}

fn read_within(bytes: &[u8], known: Option<&BTreeSet<String>>, limits: &Limits) -> Result<(Look, Vec<Row>), Unreadable> {
    let look = look(&mut Cursor::new(bytes), known, limits)?;
    let rows = rows(&look, Cursor::new(bytes.to_vec()), limits)?.collect::<Result<_, _>>()?;
    Ok((look, rows))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn delimiter(look: &Look) -> char {
    let Format::Csv { delimiter } = look.format else { panic!("not CSV") };
    char::from(delimiter)
}

fn lines(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|row| row.line).collect()
}

fn row(line: u64, cells: &[&str]) -> Row {
    Row { line, cells: cells.iter().map(|cell| (*cell).to_owned()).collect() }
}
