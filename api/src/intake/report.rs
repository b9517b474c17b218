//! What became of a run, file by file.

use entity::import::{Counts, Tally};
use entity::link::Linked;
use entity::link::probable::Passed;
use serde::Serialize;

/// What became of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// The source system.
    pub source: String,
    /// The file.
    pub file: String,
    /// The key of the import; of a dry run nothing of this key stays.
    pub import: uuid::Uuid,
    /// `done`, or `paused` or `cancelled` where somebody wanted that.
    pub state: String,
    /// The encoding that was found.
    pub encoding: &'static str,
    /// What became of its rows.
    #[serde(flatten)]
    pub counts: Counts,
    /// What else was counted.
    #[serde(flatten, serialize_with = "told")]
    pub tally: Tally,
    /// Of a workbook the sheets that have a header too and were not read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub other_sheets: Vec<String>,
}

/// The tally beside the counts, of which one is called `warnings` too: cells by field are called as GraphQL calls them.
fn told<S: serde::Serializer>(Tally { reasons, filled, warnings, rules, linked }: &Tally, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeMap;
    let mut map = serializer.serialize_map(None)?;
    for (name, counts) in [("reasons", reasons), ("filled", filled), ("unreadable", warnings), ("rules", rules)] {
        map.serialize_entry(name, counts)?;
    }
    map.serialize_entry("linked", linked)?;
    map.end()
}

/// What became of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// File by file.
    pub files: Vec<Imported>,
    /// What the second pass did: records compared, pairs linked by probability, pairs queued for a person.
    pub probable: Passed,
    /// Seconds until all rows were durable, sealed and linked by the rules.
    pub loading: f64,
    /// Seconds of the second pass.
    pub comparing: f64,
    /// Of a dry run: the hash of the plan, to which the real run can be bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

impl Report {
    /// What linking did, over all files.
    #[must_use]
    pub fn linked(&self) -> Linked {
        self.files.iter().fold(Linked::default(), |mut sum, file| {
            sum.add(&file.tally.linked);
            sum
        })
    }
}
