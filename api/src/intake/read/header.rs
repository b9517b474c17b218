//! Where the header is.

use std::collections::BTreeSet;

use policy::mapping::header_key;

use super::Row;

/// How many rows may be looked at for the header.
pub const TITLE_ROWS: usize = 20;

/// The longest text that may name a column, in characters.
const LONGEST_LABEL: usize = 40;

/// Finds the header among the first [`TITLE_ROWS`] rows; tells its index.
///
/// With `known`, the keys (see [`header_key`]) of the columns that a source has, it is the row that knows most of them, at least
/// two. Without, it is the first row that looks like one: different short texts, two at least, about as wide as the rows.
#[must_use]
pub fn header(first_rows: &[Row], known: Option<&BTreeSet<String>>) -> Option<usize> {
    let rows = &first_rows[..first_rows.len().min(TITLE_ROWS)];
    let widest = rows.iter().map(filled).max().unwrap_or(0);
    let score = |row: &Row| match known {
        Some(known) => keys(&row.cells).intersection(known).count(),
        None if filled(row) * 2 > widest => likeness(row),
        None => 0,
    };
    let scores: Vec<usize> = rows.iter().map(score).collect();
    let best = scores.iter().copied().max().filter(|score| *score >= 2)?;
    // A row of data may be all text, but it comes behind the header.
    let enough = if known.is_some() { best } else { (best * 2).div_ceil(3) };
    scores.iter().position(|score| *score >= enough.max(2))
}

fn filled(row: &Row) -> usize {
    row.cells.iter().filter(|cell| !cell.trim().is_empty()).count()
}

fn keys<'c>(cells: impl IntoIterator<Item = &'c String>) -> BTreeSet<String> {
    cells.into_iter().map(|cell| header_key(cell)).collect()
}

/// How many different cells may name columns, less twice those that cannot.
fn likeness(row: &Row) -> usize {
    let cells = row.cells.iter().filter(|cell| !cell.trim().is_empty());
    let (labels, others): (Vec<&String>, Vec<&String>) = cells.partition(|cell| is_label(cell));
    keys(labels).len().saturating_sub(2 * others.len())
}

/// Whether a text may name a column: short, more letters than digits, no e-mail address.
fn is_label(cell: &str) -> bool {
    let (mut letters, mut digits, mut length) = (0, 0, 0);
    for c in cell.chars().take(LONGEST_LABEL + 1) {
        length += 1;
        digits += usize::from(c.is_numeric());
        letters += usize::from(c.is_alphabetic());
    }
    length <= LONGEST_LABEL && letters > digits && !cell.contains(['@', '＠'])
}
