//! Columns of a file to standard fields, by the source's mapping.

use std::collections::HashMap;

use policy::mapping::{Mapping, Target, header_key};

/// Where everything stands in a row.
pub struct Columns {
    /// Positions by target; only parts of an address have several.
    at: HashMap<Target, Vec<usize>>,
    /// Positions whose cells are filled only in the first row of a group.
    pub fill_down: Vec<usize>,
    /// Positions of the cells that are compared, with the name of the attribute.
    pub traits: Vec<(usize, String)>,
    /// Positions of all columns that go to a field.
    pub mapped: Vec<usize>,
    /// Positions of the columns that rejects carry: they are not part of the row.
    pub report: Vec<usize>,
}

/// The columns that a rejects file has behind those of the source.
pub const REPORT_COLUMNS: [&str; 3] = ["拒绝原因/reason", "说明/detail", "建议/suggestion"];

/// Whether a header is that of a rejects file, whose cells were defused.
pub fn of_rejects(header: &[String]) -> bool {
    let report = REPORT_COLUMNS.map(header_key);
    header.iter().any(|cell| report.contains(&header_key(cell)))
}

/// The fingerprint of a header without the columns of a rejects file: mended rejects are of the source that they came from.
pub fn shape(header: &[String]) -> String {
    let report = REPORT_COLUMNS.map(header_key);
    let own: Vec<String> = header.iter().filter(|cell| !report.contains(&header_key(cell))).cloned().collect();
    policy::mapping::shape(&own)
}

impl Columns {
    /// Finds the mapping's columns in a header.
    ///
    /// # Errors
    /// A column without which rows cannot be told apart is missing, or one stands twice.
    pub fn find(header: &[String], mapping: &Mapping) -> Result<Self, String> {
        let keys: Vec<String> = header.iter().map(|cell| header_key(cell)).collect();
        let report = REPORT_COLUMNS.map(header_key);
        let report = (0..keys.len()).filter(|&at| report.contains(&keys[at])).collect();
        let mut columns = Self { at: HashMap::new(), fill_down: Vec::new(), traits: Vec::new(), mapped: Vec::new(), report };
        for column in &mapping.columns {
            let key = header_key(&column.header);
            let places: Vec<usize> = (0..keys.len()).filter(|&at| keys[at] == key).collect();
            let at = match places[..] {
                [at] => at,
                [] if column.to.is_some_and(needed) => {
                    return Err(format!("the column '{}' of this source's mapping is missing; rename it in the file, or change the mapping", column.header));
                }
                [] => continue,
                _ => {
                    let places: Vec<String> = places.iter().map(|at| (at + 1).to_string()).collect();
                    return Err(format!("the header '{}' stands in columns {}; rename all but the one that is meant", column.header, places.join(" and ")));
                }
            };
            if let Some(to) = column.to {
                columns.at.entry(to).or_default().push(at);
                columns.mapped.push(at);
            }
            if column.fill_down {
                columns.fill_down.push(at);
            }
            if column.compare.is_some() {
                columns.traits.push((at, column.attribute()));
            }
        }
        for places in columns.at.values_mut() {
            places.sort_unstable();
        }
        Ok(columns)
    }

    /// The cell of a target; empty where the file has none.
    pub fn cell<'c>(&self, cells: &'c [String], target: Target) -> &'c str {
        self.cells(cells, target).next().unwrap_or_default()
    }

    /// The cells of a target that several columns may have.
    pub fn cells<'c>(&self, cells: &'c [String], target: Target) -> impl Iterator<Item = &'c str> {
        let places = self.at.get(&target).map_or(&[][..], Vec::as_slice).to_vec();
        places.into_iter().filter_map(|at| cells.get(at)).map(String::as_str)
    }

    /// The targets and where they stand.
    pub fn targets(&self) -> impl Iterator<Item = (Target, &[usize])> {
        self.at.iter().map(|(target, places)| (*target, places.as_slice()))
    }
}

/// Without these rows cannot be told apart.
const fn needed(target: Target) -> bool {
    matches!(target, Target::Name | Target::Phone | Target::ExternalId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::mapping::{Column, Tells};

    fn mapping() -> Mapping {
        let column = |header: &str, to| Column { header: header.to_owned(), to: Some(to), fill_down: false, compare: None };
        Mapping { tells: Tells::Membership, columns: vec![column("姓名", Target::Name), column("手机", Target::Phone), column("备注", Target::Remarks)] }
    }

    fn header(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_found_by_name() {
        let columns = Columns::find(&header(&["手机*", "x", "姓名", REPORT_COLUMNS[0]]), &mapping()).unwrap();
        let cells = header(&["1", "2", "3", "4"]);
        assert_eq!((columns.cell(&cells, Target::Phone), columns.cell(&cells, Target::Name), columns.cell(&cells, Target::Remarks)), ("1", "3", ""));
        assert_eq!(columns.report, [3]);
    }

    #[test]
    fn what_is_missing_or_stands_twice_is_named() {
        assert!(Columns::find(&header(&["姓名"]), &mapping()).err().unwrap().contains("'手机'"));
        let twice = Columns::find(&header(&["姓名", "手机", " 手机*"]), &mapping()).err().unwrap();
        assert!(twice.contains("columns 2 and 3"), "{twice}");
    }
}
