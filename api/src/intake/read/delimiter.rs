//! What stands between the cells.

use super::csv::{Begins, Scanner};

/// In the order in which they win a draw.
const CANDIDATES: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How many rows are looked at.
const ROWS: usize = 50;

/// The delimiter by which most rows of the beginning of a file have the same width, the first of them early and wide. `whole` says that
/// nothing comes behind the beginning.
pub(super) fn find(begin: &[u8], whole: bool) -> u8 {
    let rank = |delimiter: &u8| {
        let widths = widths(begin, *delimiter, whole);
        let count = |width: usize| widths.iter().filter(|other| **other == width).count();
        let usual = widths.iter().copied().filter(|width| *width >= 2).max_by_key(|width| (count(*width), *width))?;
        let first = widths.iter().position(|width| *width == usual)?;
        // A few ragged rows decide nothing.
        let tenths = count(usual) * 10 / widths.len();
        Some((tenths, std::cmp::Reverse(first), usual))
    };
    // The last of equals wins.
    CANDIDATES.iter().rev().max_by_key(|delimiter| rank(delimiter)).copied().unwrap_or(b',')
}

/// How many cells the first rows have.
fn widths(begin: &[u8], delimiter: u8, whole: bool) -> Vec<usize> {
    let (mut scanner, mut rest, mut widths) = (Scanner::new(delimiter), begin, Vec::with_capacity(ROWS));
    while widths.len() < ROWS && !rest.is_empty() {
        let length = match scanner.scan(rest, 1, whole) {
            Ok(Begins::Row(length, _)) => {
                widths.push(scanner.cells.len());
                length
            }
            Ok(Begins::Blank(length)) => length,
            Ok(Begins::More) | Err(_) => break,
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    widths
}
