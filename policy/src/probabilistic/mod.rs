//! Probabilistic record linkage whose weights are learned from the data itself, without labels.
//!
//! Two records are compared attribute by attribute; each comparison falls into one of a few levels. How often a level
//! occurs among pairs of one entity (m) and among unrelated pairs (u) gives its weight, log2(m/u), and the sum of the
//! weights the probability that two records are one entity (Fellegi and Sunter, A Theory for Record Linkage, JASA 1969).
//! m and the share of matches are learned by expectation-maximisation and u from random pairs (Winkler, String Comparator
//! Metrics and Enhanced Decision Rules, 1990; Enamorado, Fifield and Imai, APSR 2019; Linacre et al., Splink, IJPDS 2022).
//!
//! Everything here is a pure function of its input: no clock, no chance, no files, and no dependence on the order of the
//! records. The steps are [`Profile::of`] each record, [`candidates`], [`Model::learn`], [`Model::score`] each candidate
//! pair and [`clusters`] with [`THRESHOLD`].

mod blocking;
mod cluster;
mod compare;
mod estimate;
mod frequency;
mod level;
mod model;
mod profile;
mod similarity;
mod text;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use blocking::{blocking_keys, candidates};
pub use cluster::{Link, clusters};
pub use level::{Level, Vector};
pub use model::{Evidence, Model, Score, THRESHOLD};
pub use profile::Profile;

/// How the values of an attribute are compared.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[serde(rename_all = "snake_case")]
pub enum Comparator {
    /// A person's name, whole or a part of it.
    Name,
    /// The name of a company, an institution or a branch of one.
    Organisation,
    /// An address or other free text of a few words.
    Words,
    /// A telephone number, a postcode, a number of an identity card.
    Digits,
    /// A calendar day.
    Date,
    /// What agrees or does not, but for a slip in a long one: an e-mail address, a code.
    Exact,
}

/// One attribute of the schema; the values of a record are given in the schema's order.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Attribute {
    /// The name shown to people.
    pub name: String,
    /// How two values are compared.
    pub comparator: Comparator,
}
