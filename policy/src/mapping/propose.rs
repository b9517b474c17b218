//! A first mapping for a file that nobody has mapped yet: what each column seems to hold, how certain that is, and why.

use serde::Serialize;

use super::candidate::{Candidate, Context, candidates};
use super::check::{LONGEST_HEADER, MOST_COLUMNS};
use super::look::Look;
use super::settle;
use super::{Column, Comparator, Mapping, Target, Tells, header_key};

/// A mapping as the program would make it, for a person to confirm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proposal {
    /// What a row tells of.
    pub tells: Tells,
    /// Every column of the file, in its order.
    pub columns: Vec<Proposed>,
}

/// What one column seems to be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Proposed {
    /// Its position in the file, from 0.
    pub position: usize,
    /// Its header, as the file writes it.
    pub header: String,
    /// The field it goes to, if any.
    pub to: Option<Target>,
    /// How it is compared in probabilistic matching, if it is.
    pub compare: Option<Comparator>,
    /// Whether its cells are filled only in the first row of a group.
    pub fill_down: bool,
    /// How certain this is, 0 to 1; 0 where nothing is proposed.
    pub confidence: f64,
    /// Why, in words. Names headers and counts cells, never quotes a cell.
    pub reason: String,
}

impl Proposal {
    /// The mapping of the columns that are at least this certain. Without columns when they would identify nobody.
    #[must_use]
    pub fn mapping(&self, least: f64) -> Mapping {
        let certain = self.columns.iter().filter(|column| column.confidence >= least && (column.to.is_some() || column.compare.is_some()));
        let columns = certain.take(MOST_COLUMNS).map(|column| Column {
            header: column.header.clone(),
            to: column.to,
            fill_down: column.fill_down,
            compare: column.compare,
        });
        let mapping = Mapping { tells: self.tells, columns: columns.collect() };
        if mapping.check().is_ok() { mapping } else { Mapping { columns: Vec::new(), ..mapping } }
    }
}

/// Proposes a mapping from a file's header and some rows below it, by what headers mean and what cells look like.
#[must_use]
pub fn propose(header: &[String], sample: &[Vec<String>]) -> Proposal {
    let context = Context::of(header);
    let mut looks: Vec<Look> = (0..header.len()).map(|position| Look::at(position, sample)).collect();
    let may_be: Vec<Result<Vec<Candidate>, &'static str>> = (0..header.len())
        .map(|position| unusable(header, position).map_or_else(|| Ok(candidates(&header[position], &mut looks[position], &context)), Err))
        .collect();
    let mut columns = settle::assign(header, &may_be);
    settle::whole_or_parts(&mut columns, &mut looks);
    settle::compare(&mut columns, &may_be, &looks);
    settle::fill_down(&mut columns, &looks);
    let follow_up = columns.iter().any(|column| column.to == Some(Target::FirstFollowUp));
    let tells = if context.tells == Tells::FollowUp && !follow_up { Tells::Membership } else { context.tells };
    Proposal { tells, columns }
}

/// Why a mapping cannot name the column at a position.
fn unusable(header: &[String], position: usize) -> Option<&'static str> {
    let key = header_key(&header[position]);
    if key.is_empty() {
        Some("the column has no header")
    } else if header[position].chars().count() > LONGEST_HEADER {
        Some("the header is too long; shorten it in the file")
    } else if header[..position].iter().any(|before| header_key(before) == key) {
        Some("an earlier column has the same header; rename one of them in the file")
    } else {
        None
    }
}
