//! From what each column may be to what the columns of a file are together.

use std::collections::HashMap;

use super::candidate::Candidate;
use super::check::short;
use super::look::{Look, Sort};
use super::{Proposed, Target};

/// Below this nothing is proposed.
const LEAST: f64 = 0.3;
/// The share of filled cells from which a telephone number or e-mail address tells who the rows are.
const TELLS_WHO: f64 = 0.1;
/// The share of filled cells from which a column is no longer filled only at the head of groups.
const EVERY_ROW: f64 = 0.5;
/// How many rows it takes to see groups.
const GROUP_ROWS: u32 = 4;

/// Gives each target to the column that is most certain to hold it; the others keep what else they may be, or nothing.
pub(super) fn assign(header: &[String], may_be: &[Result<Vec<Candidate>, &'static str>]) -> Vec<Proposed> {
    let mut order: Vec<(usize, &Candidate)> =
        may_be.iter().enumerate().flat_map(|(position, found)| found.iter().flatten().map(move |candidate| (position, candidate))).collect();
    order.retain(|(_, candidate)| candidate.confidence >= LEAST);
    order.sort_by(|a, b| b.1.confidence.total_cmp(&a.1.confidence));
    let mut holder: HashMap<Target, usize> = HashMap::new();
    let mut chosen: Vec<Option<&Candidate>> = vec![None; header.len()];
    for (position, candidate) in order {
        let free = candidate.to.is_none_or(|to| to == Target::AddressPart || !holder.contains_key(&to));
        if chosen[position].is_none() && free {
            chosen[position] = Some(candidate);
            holder.extend(candidate.to.map(|to| (to, position)));
        }
    }
    let columns = chosen.into_iter().zip(may_be).enumerate();
    columns
        .map(|(position, (chosen, found))| {
            let column =
                Proposed { position, header: header[position].clone(), to: None, compare: None, fill_down: false, confidence: 0.0, reason: String::new() };
            match (chosen, found) {
                (Some(is), _) => {
                    let compare = if is.to.is_none() { is.compare } else { None };
                    Proposed { to: is.to, compare, confidence: is.confidence, reason: is.reason.clone(), ..column }
                }
                (None, Err(why)) => Proposed { reason: (*why).to_owned(), ..column },
                (None, Ok(found)) => Proposed { reason: unmapped(found, header, &holder), ..column },
            }
        })
        .collect()
}

/// Why a column that can be named goes nowhere.
fn unmapped(found: &[Candidate], header: &[String], holder: &HashMap<Target, usize>) -> String {
    let Some(best) = found.iter().max_by(|a, b| a.confidence.total_cmp(&b.confidence)) else {
        return "neither the header nor the cells say what it holds; it stays in the raw row".to_owned();
    };
    let Some(to) = best.to.filter(|_| best.confidence >= LEAST) else {
        return format!("{}; too uncertain to propose", best.reason);
    };
    let other = holder.get(&to).map(|at| short(&header[*at])).unwrap_or_default();
    format!("{}; the column '{other}' is more certain to hold {}", best.reason, to.zh())
}

/// A value is mapped as a whole or in parts, never both.
pub(super) fn whole_or_parts(columns: &mut [Proposed], looks: &mut [Look]) {
    let place = |columns: &[Proposed], target| columns.iter().position(|column| column.to == Some(target));
    if let Some(name) = place(columns, Target::Name) {
        let parts: Vec<usize> = [Target::Surname, Target::GivenName].into_iter().filter_map(|part| place(columns, part)).collect();
        let certain = parts.iter().map(|at| columns[*at].confidence).fold(1.0, f64::min);
        if parts.len() == 2 && certain > columns[name].confidence {
            leave_out(&mut columns[name], "the name is kept in its parts");
        } else {
            for at in parts {
                leave_out(&mut columns[at], "another column holds the whole name");
            }
        }
    }
    let Some(address) = place(columns, Target::Address) else { return };
    if place(columns, Target::AddressPart).is_none() {
        return;
    }
    if looks[address].filled > 0 && looks[address].share(Sort::WholeAddress) >= 0.5 {
        for column in columns.iter_mut().filter(|column| column.to == Some(Target::AddressPart)) {
            leave_out(column, "another column holds the whole address");
        }
    } else {
        columns[address].to = Some(Target::AddressPart);
        columns[address].reason.push_str("; other columns hold the rest of the address");
    }
}

fn leave_out(column: &mut Proposed, why: &str) {
    column.to = None;
    column.confidence = 0.0;
    column.reason = format!("{}; but {why}", column.reason);
}

/// Where no telephone number and no e-mail address tells who the rows are, names and addresses are compared.
pub(super) fn compare(columns: &mut [Proposed], may_be: &[Result<Vec<Candidate>, &'static str>], looks: &[Look]) {
    let told = columns.iter().any(|column| {
        let look = &looks[column.position];
        matches!(column.to, Some(Target::Phone | Target::Email)) && (look.rows == 0 || f64::from(look.filled) >= f64::from(look.rows) * TELLS_WHO)
    });
    if told {
        return;
    }
    for column in columns {
        let Some(to) = column.to else { continue };
        let special = may_be[column.position].iter().flatten().find(|candidate| candidate.to == Some(to)).and_then(|candidate| candidate.compare);
        column.compare = special.or(to.comparator());
        if column.compare.is_some() {
            column.reason.push_str("; compared, because no telephone number or e-mail address tells who a row is about");
        }
    }
}

/// Finds the columns that are filled only in the first row of a group, such as the shop of a list of members.
pub(super) fn fill_down(columns: &mut [Proposed], looks: &[Look]) {
    let mut left = true;
    for (column, look) in columns.iter_mut().zip(looks) {
        let sparse = look.rows >= GROUP_ROWS && look.filled > 0 && f64::from(look.filled) <= f64::from(look.rows) * EVERY_ROW;
        let names_groups = match column.to {
            Some(Target::Place) => true,
            // Elsewhere than on the left a column is mostly empty because few rows have a value.
            Some(Target::Company | Target::Industry | Target::Channel | Target::Exhibition | Target::Owner | Target::Level | Target::Tags) => left,
            _ => false,
        };
        if names_groups && sparse && look.heads_groups {
            column.fill_down = true;
            column.reason.push_str("; filled only in the first row of a group");
        }
        left = left && (column.fill_down || look.filled == 0);
    }
}
