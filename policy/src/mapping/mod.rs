//! How the columns of a source system map to standard fields. A mapping is tenant data, versioned.
//!
//! A mapping is [proposed](propose()) from a file's header and its first rows, [checked](Mapping::check) before it is saved, written
//! and read as [TOML or JSON](Mapping::from_toml), and found again for the next file by the [shape] of its header.

mod candidate;
mod check;
mod expect;
mod file;
mod look;
mod propose;
#[cfg(test)]
mod propose_tests;
mod settle;
mod synonyms;
mod target;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use check::{Fault, LONGEST_HEADER, MOST_COLUMNS};
pub use file::FileError;
pub use propose::{Proposal, Proposed, propose};
pub use target::{Target, Tells};

pub use crate::probabilistic::Comparator;

/// One column. It goes to a field, takes part in probabilistic matching, or both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The header, as the source writes it.
    pub header: String,
    /// What it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Target>,
    /// Whether a cell is filled only in the first row of a group.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fill_down: bool,
    /// How its cells are compared, if they also take part in probabilistic matching.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<Comparator>,
}

impl Column {
    /// What the column is called where records are compared: its field, so that sources agree on it, else its header.
    #[must_use]
    pub fn attribute(&self) -> String {
        match self.to {
            Some(to) if to != Target::AddressPart => to.word().to_owned(),
            _ => header_key(&self.header),
        }
    }
}

/// A source system as a tenant starts with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The short name: `sales`.
    pub name: String,
    /// What people call it.
    pub label: String,
    /// What its rows and columns mean.
    pub mapping: Mapping,
}

/// What the rows and columns of a source mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// What a row tells of.
    pub tells: Tells,
    /// The columns.
    pub columns: Vec<Column>,
}

/// Headers of columns that count the rows of a file.
const COUNTERS: [&str; 11] = ["序号", "行号", "行次", "no", "no.", "#", "seq", "row", "rownumber", "rowno", "line"];

impl Mapping {
    /// Whether what the source calls a row may only count the rows of a file, as a plain number does there. The next file may begin
    /// again at 1, so such a row is the same as one before only if it is of the same person too.
    #[must_use]
    pub fn counts_rows(&self) -> bool {
        self.columns.iter().any(|column| column.to == Some(Target::ExternalId) && COUNTERS.contains(&header_key(&column.header).as_str()))
    }
}

/// The four source systems that a new tenant starts with, most trusted first.
///
/// # Errors
/// None in a build that passed its tests.
pub fn standard() -> Result<Vec<Source>, serde_json::Error> {
    serde_json::from_str(include_str!("../../standard_sources.json"))
}

/// A header as it is compared: folded, without spaces and required-marks, lower case.
#[must_use]
pub fn header_key(header: &str) -> String {
    crate::clean::text::fold(header).chars().filter(|c| !matches!(c, ' ' | '*' | ':' | '_')).flat_map(char::to_lowercase).collect()
}

/// The fingerprint of a header, by which the next file of the same shape finds its saved mapping: the same whatever the order of
/// the columns, the required-marks and the blank columns at the end.
#[must_use]
pub fn shape(header: &[String]) -> String {
    use std::fmt::Write;
    let mut keys: Vec<String> = header.iter().map(|cell| header_key(cell)).filter(|key| !key.is_empty()).collect();
    keys.sort_unstable();
    // A folded header holds no line break, so two different lists never join to one text.
    Sha256::digest(keys.join("\n").as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn the_standard_sources_read_and_pass_their_check() {
        let sources = standard().unwrap();
        assert_eq!(sources.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["sales", "shop", "ticket", "ecom"]);
        for source in sources {
            assert_eq!(source.mapping.check(), Ok(()), "{}", source.name);
        }
        assert_eq!(header_key(" 联系方式* "), "联系方式");
        let counting: Vec<String> = standard().unwrap().into_iter().filter(|source| source.mapping.counts_rows()).map(|source| source.name).collect();
        assert_eq!(counting, ["sales"]);
    }

    #[test]
    fn a_shape_is_the_set_of_headers() {
        let shop = shape(&header(&["门店", "姓名*", " 联系方式", "地址"]));
        assert_eq!(shop.len(), 64);
        assert_eq!(shop, shape(&header(&["地址", "门店", "联系方式", "姓名", "", " "])));
        assert_ne!(shop, shape(&header(&["地址", "门店", "联系方式"])));
        assert_ne!(shape(&header(&["ab", "c"])), shape(&header(&["a", "bc"])));
        assert_eq!(shape(&[]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    proptest! {
        #[test]
        fn a_shape_does_not_know_the_order(cells in prop::collection::vec("\\PC{0,12}", 0..8)) {
            let mut turned = cells.clone();
            turned.reverse();
            prop_assert_eq!(shape(&cells), shape(&turned));
        }
    }
}
