//! Cleaning: pure functions from the cell of an export to a standard value, each with a table of examples.
//!
//! A cleaning function never guesses: what it cannot read it refuses with a word that says why.

pub mod address;
pub mod amount;
pub mod company;
pub mod date;
pub mod email;
pub mod industry;
pub mod name;
pub mod phone;
pub mod text;

/// The rows of a bundled reference table: comma-separated, `#` comments and the header left out.
pub(crate) fn rows(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    table.lines().filter(|line| !line.starts_with('#')).skip(1).map(|line| line.split_once(',').unwrap_or((line, "")))
}
