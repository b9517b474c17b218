//! Whether a mapping can be used: every fault at once, so that a person mends a mapping in one go and not in ten.

use std::collections::HashMap;

use super::{Mapping, Target, header_key};

/// How many columns a mapping may have.
pub const MOST_COLUMNS: usize = 200;
/// How many characters a header may have.
pub const LONGEST_HEADER: usize = 200;

/// What is wrong with a mapping, and how it is mended. Headers are named; they are not personal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Several columns go to a target that one column may have.
    #[error("the columns {} all go to {}; keep one of them and leave the others out", list(.headers), .target.word())]
    SameTarget {
        /// The target.
        target: Target,
        /// The columns.
        headers: Vec<String>,
    },
    /// A value is mapped as a whole and in parts.
    #[error("the columns {} hold {} in parts and '{}' holds it whole; leave out the parts, or the whole", list(.parts), .whole.word(), short(.header))]
    WholeAndParts {
        /// The target of the whole.
        whole: Target,
        /// The column of the whole.
        header: String,
        /// The columns of the parts.
        parts: Vec<String>,
    },
    /// One header stands in several columns.
    #[error("the header '{}' stands {times} times; headers are compared without case, spaces and marks, so name each column once", short(.header))]
    SameHeader {
        /// The header, as it stands first.
        header: String,
        /// How often it stands.
        times: usize,
    },
    /// A column has no header.
    #[error("column {position} has no header; write the header of the file, or take the column out")]
    NoHeader {
        /// The position, from 1.
        position: usize,
    },
    /// A header is longer than [`LONGEST_HEADER`].
    #[error("the header of column {position} ('{}') has {length} characters; shorten it to {LONGEST_HEADER} in the file and here", short(.header))]
    LongHeader {
        /// The position, from 1.
        position: usize,
        /// The header.
        header: String,
        /// How many characters it has.
        length: usize,
    },
    /// A column goes nowhere.
    #[error("the column '{}' has neither a field nor a comparator; give it 'to' or 'compare', or take it out", short(.header))]
    Idle {
        /// The header.
        header: String,
    },
    /// There are more than [`MOST_COLUMNS`] columns.
    #[error("the mapping has {count} columns; keep the {MOST_COLUMNS} or fewer that are needed, the rest stays in the raw row")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// Nothing tells rows apart.
    #[error("no column tells rows apart or says who a row is about; map one to name, surname, phone, email, company or external_id")]
    NoIdentity,
}

impl Mapping {
    /// Whether this mapping can be used.
    ///
    /// # Errors
    /// Every fault, each with its column and its remedy.
    pub fn check(&self) -> Result<(), Vec<Fault>> {
        let mut faults = self.faulty_headers();
        faults.extend(self.faulty_targets());
        if self.columns.len() > MOST_COLUMNS {
            faults.push(Fault::TooMany { count: self.columns.len() });
        }
        if !self.columns.iter().filter_map(|column| column.to).any(identifies) {
            faults.push(Fault::NoIdentity);
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn faulty_headers(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut times: HashMap<String, usize> = HashMap::new();
        for (position, column) in (1..).zip(&self.columns) {
            let key = header_key(&column.header);
            let length = column.header.chars().count();
            if key.is_empty() {
                faults.push(Fault::NoHeader { position });
                continue;
            }
            if length > LONGEST_HEADER {
                faults.push(Fault::LongHeader { position, header: column.header.clone(), length });
            }
            if column.to.is_none() && column.compare.is_none() {
                faults.push(Fault::Idle { header: column.header.clone() });
            }
            *times.entry(key).or_default() += 1;
        }
        for column in &self.columns {
            if let Some(times) = times.remove(&header_key(&column.header)).filter(|times| *times > 1) {
                faults.push(Fault::SameHeader { header: column.header.clone(), times });
            }
        }
        faults
    }

    fn faulty_targets(&self) -> Vec<Fault> {
        let of = |targets: &[Target]| -> Vec<String> {
            self.columns.iter().filter(|column| column.to.is_some_and(|to| targets.contains(&to))).map(|column| column.header.clone()).collect()
        };
        let mut faults = Vec::new();
        for target in Target::ALL.into_iter().filter(|target| *target != Target::AddressPart) {
            let headers = of(&[target]);
            if headers.len() > 1 {
                faults.push(Fault::SameTarget { target, headers });
            }
        }
        for (whole, parts) in [(Target::Name, &[Target::GivenName, Target::Surname][..]), (Target::Address, &[Target::AddressPart])] {
            if let (Some(header), parts) = (of(&[whole]).into_iter().next(), of(parts))
                && !parts.is_empty()
            {
                faults.push(Fault::WholeAndParts { whole, header, parts });
            }
        }
        faults
    }
}

/// Whether a column of this target tells rows apart, or says who a row is about.
const fn identifies(target: Target) -> bool {
    matches!(target, Target::ExternalId | Target::Name | Target::GivenName | Target::Surname | Target::Phone | Target::Email | Target::Company)
}

fn list(headers: &[String]) -> String {
    headers.iter().map(|header| format!("'{}'", short(header))).collect::<Vec<_>>().join(", ")
}

/// The beginning of a header: enough to find it.
pub(super) fn short(header: &str) -> String {
    let mut out: String = header.chars().take(60).collect();
    if out.len() < header.len() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Column, Comparator, Tells};

    fn mapping(columns: &[(&str, Option<Target>)]) -> Mapping {
        let columns = columns.iter().map(|(header, to)| Column { header: (*header).to_owned(), to: *to, fill_down: false, compare: None }).collect();
        Mapping { tells: Tells::Membership, columns }
    }

    fn faults(columns: &[(&str, Option<Target>)]) -> Vec<String> {
        mapping(columns).check().err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_column_and_remedy() {
        let long = "长".repeat(201);
        let told = faults(&[
            ("手机", Some(Target::Phone)),
            ("电话", Some(Target::Phone)),
            (" 手机*", Some(Target::Remarks)),
            (" ", Some(Target::Level)),
            (&long, None),
        ]);
        assert_eq!(told.len(), 5, "{told:#?}");
        for (fault, words) in told.iter().zip([
            &["column 4", "no header"][..],
            &["column 5", "201 characters", "shorten"],
            &["neither a field nor a comparator", "take it out"],
            &["'手机' stands 2 times"],
            &["'手机', '电话'", "phone", "keep one"],
        ]) {
            assert!(words.iter().all(|word| fault.contains(word)), "{fault} {words:?}");
        }
    }

    #[test]
    fn a_row_needs_someone_it_is_about() {
        assert_eq!(mapping(&[("备注", Some(Target::Remarks))]).check(), Err(vec![Fault::NoIdentity]));
        assert_eq!(mapping(&[]).check(), Err(vec![Fault::NoIdentity]));
        for target in [Target::Name, Target::Surname, Target::Phone, Target::Email, Target::Company, Target::ExternalId] {
            assert_eq!(mapping(&[("x", Some(target))]).check(), Ok(()));
        }
    }

    #[test]
    fn address_parts_are_many_but_not_beside_the_whole() {
        let parts = [("姓名", Some(Target::Name)), ("省", Some(Target::AddressPart)), ("市", Some(Target::AddressPart))];
        assert_eq!(mapping(&parts).check(), Ok(()));
        let both = faults(&[parts[0], parts[1], ("地址", Some(Target::Address)), ("姓", Some(Target::Surname))]);
        assert_eq!(both.len(), 2, "{both:?}");
        assert!(both[0].contains("'姓' hold name in parts and '姓名' holds it whole"), "{both:?}");
    }

    #[test]
    fn two_hundred_columns_are_enough() {
        let mut mapping = mapping(&[("姓名", Some(Target::Name))]);
        for n in 1..MOST_COLUMNS {
            mapping.columns.push(Column { header: format!("c{n}"), to: None, fill_down: false, compare: Some(Comparator::Exact) });
        }
        assert_eq!(mapping.check(), Ok(()));
        mapping.columns.push(Column { header: "one more".to_owned(), to: Some(Target::Remarks), fill_down: false, compare: None });
        assert_eq!(mapping.check(), Err(vec![Fault::TooMany { count: 201 }]));
    }
}
