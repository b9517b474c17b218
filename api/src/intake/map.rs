//! Columns of a file to standard fields, by the source's mapping.

use std::collections::HashMap;

use policy::mapping::{Mapping, Target, header_key};

/// Where each target stands in a row, and which columns are filled down.
pub struct Columns {
    /// Position by target.
    pub at: HashMap<Target, usize>,
    /// Positions whose cells are filled only in the first row of a group.
    pub fill_down: Vec<usize>,
}

/// Finds the mapping's columns in a header.
///
/// # Errors
/// A column without which rows cannot be told apart is missing.
pub fn columns(header: &[String], mapping: &Mapping) -> Result<Columns, String> {
    let keys: Vec<String> = header.iter().map(|cell| header_key(cell)).collect();
    let mut columns = Columns { at: HashMap::new(), fill_down: Vec::new() };
    for column in &mapping.columns {
        match keys.iter().position(|key| *key == header_key(&column.header)) {
            Some(at) => {
                columns.at.insert(column.to, at);
                if column.fill_down {
                    columns.fill_down.push(at);
                }
            }
            None if matches!(column.to, Target::Name | Target::Phone | Target::ExternalId) => {
                return Err(format!("the column '{}' of this source's mapping is missing; rename it in the file, or change the mapping", column.header));
            }
            None => {}
        }
    }
    Ok(columns)
}
