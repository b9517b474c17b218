//! Cleaning: pure functions from the cell of an export to a standard value, each with a table of examples.
//!
//! A cleaning function never guesses: what it cannot read it refuses. It tells the [rules](Rule) that it applied, which are
//! part of the value's lineage, and it knows the world by a [`Reference`], which a tenant may extend.

pub mod address;
pub mod amount;
mod cleaned;
pub mod company;
pub mod date;
mod division;
pub mod email;
pub mod industry;
pub mod name;
pub mod phone;
mod reference;
mod rule;
mod segment;
pub mod text;
pub mod word;

pub use cleaned::{Cleaned, Rules};
pub use reference::{Addition, Fault, Reference, ReferenceKind};
pub use rule::Rule;

/// The rows of a bundled reference table: comma-separated, `#` comments and the header left out.
fn rows(table: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    table.lines().filter(|line| !line.starts_with('#')).skip(1).map(|line| line.split_once(',').unwrap_or((line, "")))
}

/// Whether a text is somebody's mobile number, without a word beside it, or e-mail address, wherever it stands.
#[must_use]
pub fn is_personal(text: &str) -> bool {
    (!text.contains(char::is_alphabetic) && phone::mobile(text).is_ok()) || email::address(text).is_ok()
}
