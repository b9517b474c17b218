//! What a change of the policy gives and takes: the preview that its author and its approver read.
//!
//! It compares roles one by one, as [`Table`] does. A deny rule also takes away what a caller's other roles allow; dropping
//! one can therefore widen the sight of callers with several roles without a cell here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::field::Field;
use crate::matrix::{Act, Matrix, Reach, Verb};
use crate::rule::{Policy, Rule};
use crate::table::Table;

/// The purpose of a cell that differs for callers who declare no purpose, or one that neither policy names, but not for
/// everybody. No rule can name it.
pub const NO_PURPOSE: &str = "-";

/// One permission of one role that a change gives or takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// The role, on its own.
    pub role: String,
    /// A field's key (`Customer.phone`), or the object of a [`Verb`] (`Policy`).
    pub object: String,
    /// The act's word (`read.clear`), or that of the verb (`approve`).
    pub act: &'static str,
    /// `own`, `department` or `all`; where the narrower scopes differ alike it stands for them too.
    pub scope: &'static str,
    /// A purpose code, [`NO_PURPOSE`], or none: it differs in the same way with every purpose and without.
    pub purpose: Option<String>,
    /// Allowed now and not before; otherwise it is lost.
    pub granted: bool,
}

impl Cell {
    /// Whether somebody will see personal data in the clear who does not now: such a change needs a second person.
    #[must_use]
    pub fn opens_clear(&self) -> bool {
        self.granted && self.act == Act::ReadClear.word() && Field::of_key(&self.object).is_some_and(Field::personal)
    }

    /// Whether a role will have a permission to govern that it does not have now: that needs a second person too.
    #[must_use]
    pub fn gives_power(&self) -> bool {
        self.granted && Verb::of_words(&self.object, self.act).is_some_and(Verb::governs)
    }

    /// What matters most comes first.
    fn order(&self) -> impl Ord + '_ {
        (!self.granted, self.act != Act::ReadClear.word(), &self.role, &self.object, self.act, Reach::of_word(self.scope), &self.purpose)
    }
}

/// `+ sales may read.clear Customer.phone of department for sales_follow_up`; `-` for what is lost.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, object, act, scope, .. } = self;
        write!(f, "{} {role} may {act} {object}", if self.granted { '+' } else { '-' })?;
        if Field::of_key(object).is_some() {
            write!(f, " of {scope}")?;
        }
        match self.purpose.as_deref() {
            None => f.write_str(" for any purpose"),
            Some(NO_PURPOSE) => f.write_str(" without a purpose"),
            Some(purpose) => write!(f, " for {purpose}"),
        }
    }
}

/// Whether a role loses a denial of clear sight or of a permission to govern. Whoever holds it together with another role may see more then, though no cell
/// of a role on its own says so.
#[must_use]
pub fn lifts_denial(before: &Policy, after: &Policy) -> bool {
    let (denied, still) = (denials(before), denials(after));
    denied.iter().any(|(role, rules)| !rules.is_subset(still.get(role).unwrap_or(&BTreeSet::new())))
}

/// Per role the objects, acts, scopes and purposes in which it, or a role that it inherits from, denies what needs two people.
fn denials(policy: &Policy) -> BTreeMap<&str, BTreeSet<[&str; 4]>> {
    let of = |role| {
        let (ancestry, _) = policy.ancestry(&[role]);
        let theirs = policy.rules().iter().filter_map(|rule| match rule {
            Rule::Permit { role, object, act, scope, purpose, allow: false } if weighty(object, act) && ancestry.contains(role.as_str()) => {
                Some([object.as_str(), act, scope, purpose])
            }
            _ => None,
        });
        theirs.collect()
    };
    policy.roles().into_iter().map(|role| (role, of(role))).collect()
}

/// Whether a rule speaks of clear sight or of a permission to govern.
pub(crate) fn weighty(object: &str, act: &str) -> bool {
    act == Act::ReadClear.word() || Verb::of_words(object, act).is_some_and(Verb::governs)
}

/// The matrices of one role before and after, for one purpose.
struct Column<'t> {
    purpose: Option<&'t str>,
    before: Matrix,
    after: Matrix,
}

/// The permissions that differ: granted before lost, clear sight before everything else.
///
/// A change that is the same for every purpose and without one is one cell, and so is one that is the same in a scope and all
/// narrower ones.
#[must_use]
pub fn difference(before: &Table, after: &Table) -> Vec<Cell> {
    let roles: BTreeSet<&str> = before.roles().chain(after.roles()).collect();
    let named: BTreeSet<&str> = before.purposes().iter().chain(after.purposes()).map(String::as_str).collect();
    let mut cells = Vec::new();
    for role in roles {
        let columns: Vec<Column> = std::iter::once(None)
            .chain(named.iter().copied().map(Some))
            .map(|purpose| Column { purpose, before: before.matrix(role, purpose), after: after.matrix(role, purpose) })
            .collect();
        if columns.iter().all(|column| column.before == column.after) {
            continue;
        }
        for field in Field::ALL {
            for act in Act::ALL {
                push_cells(&mut cells, &columns, (role, field.entry().key, act.word()), |matrix, reach| matrix.allows(*field, *act, reach));
            }
        }
        for verb in Verb::ALL {
            // A verb has no rows; it is given in the one scope in which it is asked for.
            let (object, act) = verb.object_and_act();
            push_cells(&mut cells, &columns, (role, object, act), |matrix, reach| reach == Reach::All && matrix.may(*verb));
        }
    }
    cells.sort_by(|a, b| a.order().cmp(&b.order()));
    cells
}

/// The cells of one role, object and act.
fn push_cells(cells: &mut Vec<Cell>, columns: &[Column], (role, object, act): (&str, &str, &'static str), allows: impl Fn(&Matrix, Reach) -> bool) {
    for granted in [true, false] {
        let mut reaches: BTreeMap<Option<&str>, Vec<Reach>> = BTreeMap::new();
        for reach in Reach::ALL {
            let differs = |column: &&Column| allows(&column.after, *reach) == granted && allows(&column.before, *reach) != granted;
            let differing: Vec<&Column> = columns.iter().filter(differs).collect();
            if differing.len() == columns.len() {
                reaches.entry(None).or_default().push(*reach);
            } else {
                for column in differing {
                    reaches.entry(Some(column.purpose.unwrap_or(NO_PURPOSE))).or_default().push(*reach);
                }
            }
        }
        for (purpose, reaches) in reaches {
            for reach in widest(&reaches) {
                let purpose = purpose.map(str::to_owned);
                cells.push(Cell { role: role.to_owned(), object: object.to_owned(), act, scope: reach.word(), purpose, granted });
            }
        }
    }
}

/// One scope for itself and all narrower ones; what does not begin at `own` stays as it is.
fn widest(reaches: &[Reach]) -> &[Reach] {
    match reaches {
        [Reach::Own, Reach::Department, .., widest] => std::slice::from_ref(widest),
        [Reach::Own, Reach::Department] => &reaches[1..],
        _ => reaches,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifted_denial_is_noticed_though_no_cell_says_so() {
        let read = |text: &str| Policy::read(text).unwrap();
        let denied = read("p, sales, Customer.phone, read.clear, own, care, allow\np, trainee, Customer.phone, read.clear, all, care, deny");
        let lifted = read("p, sales, Customer.phone, read.clear, own, care, allow\np, trainee, Customer.number, read.masked, all, *, allow");
        assert!(lifts_denial(&denied, &lifted));
        assert!(!lifts_denial(&lifted, &denied) && !lifts_denial(&denied, &denied));
        let inherited = read("g, junior, trainee\np, trainee, Customer.phone, read.clear, all, care, deny");
        let cut = read("g, junior, staff\np, trainee, Customer.phone, read.clear, all, care, deny");
        assert!(lifts_denial(&inherited, &cut));
        let kept = read("p, clerk, Tenant, manage, all, *, deny\np, clerk, Import, run, all, *, deny");
        assert!(lifts_denial(&kept, &read("p, clerk, Import, run, all, *, deny")) && !lifts_denial(&kept, &read("p, clerk, Tenant, manage, all, *, deny")));
    }
    use crate::matrix::tests::{rules, wait};
    use crate::rule::Policy;
    use proptest::prelude::*;

    fn lines(before: &str, after: &str) -> Vec<String> {
        let table = |text: &str| wait(Table::of(&Policy::read(text).unwrap())).unwrap();
        difference(&table(before), &table(after)).iter().map(Cell::to_string).collect()
    }

    #[test]
    fn what_is_alike_is_said_once_and_clear_sight_first() {
        let before = "p, sales, Customer.phone, read.clear, own, follow_up, allow
            p, sales, Customer.email, {read.masked,search}, all, *, allow
            p, bi, Customer.name, read.masked, all, care, allow
            g, manager, sales";
        let after = "p, sales, Customer.phone, read.clear, department, follow_up, allow
            p, sales, Customer.email, read.masked, own, *, allow
            p, bi, Customer.name, read.masked, all, *, allow
            p, bi, Customer.remarks, read.clear, department, care, allow
            p, bi, Policy, approve, all, *, allow";
        assert_eq!(
            lines(before, after),
            [
                "+ bi may read.clear Customer.remarks of department for care",
                "+ sales may read.clear Customer.phone of department for follow_up",
                "+ bi may read.masked Customer.name of all without a purpose",
                "+ bi may read.masked Customer.name of all for follow_up",
                "+ bi may approve Policy for any purpose",
                "- manager may read.clear Customer.phone of own for follow_up",
                "- manager may read.masked Customer.email of all for any purpose",
                "- manager may search Customer.email of all for any purpose",
                "- sales may read.masked Customer.email of department for any purpose",
                "- sales may read.masked Customer.email of all for any purpose",
                "- sales may search Customer.email of all for any purpose",
            ]
        );
        assert!(lines(before, before).is_empty());
    }

    #[test]
    fn only_personal_fields_open_clear_sight() {
        let cell = |object: &str, act, granted| Cell { role: "sales".into(), object: object.into(), act, scope: "own", purpose: None, granted };
        assert!(cell("Customer.phone", "read.clear", true).opens_clear());
        for other in [cell("Customer.phone", "read.clear", false), cell("Customer.phone", "search", true), cell("Customer.status", "read.clear", true)] {
            assert!(!other.opens_clear(), "{other}");
        }
        assert!(cell("Tenant", "manage", true).gives_power() && cell("Person", "rights", true).gives_power());
        assert!(!cell("Tenant", "manage", false).gives_power() && !cell("Policy", "read", true).gives_power() && !cell("Import", "run", true).gives_power());
        let json = serde_json::to_value(cell("Customer.phone", "read.clear", true)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"role": "sales", "object": "Customer.phone", "act": "read.clear", "scope": "own", "purpose": null, "granted": true})
        );
    }

    /// Where the random policies have rules.
    fn places() -> impl Iterator<Item = (Field, Act, Reach)> {
        let acts = |field| Act::ALL.iter().map(move |act| (field, *act));
        let reaches = |(field, act)| Reach::ALL.iter().map(move |reach| (field, act, *reach));
        [Field::Phone, Field::Status, Field::Body].into_iter().flat_map(acts).flat_map(reaches)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Nothing is left out, nothing is made up: spread out again, the cells are the permissions that differ.
        #[test]
        fn the_cells_are_what_differs(old in rules(), new in rules()) {
            let [before, after] = [old, new].map(|rules| wait(Table::of(&Policy::checked(rules).unwrap())).unwrap());
            let cells = difference(&before, &after);
            let purposes: BTreeSet<&str> = before.purposes().iter().chain(after.purposes()).map(String::as_str).collect();
            let named: Vec<Option<&str>> = std::iter::once(None).chain(purposes.into_iter().map(Some)).collect();
            for role in ["a", "b", "c"] {
                for purpose in &named {
                    let (old, new) = (before.matrix(role, *purpose), after.matrix(role, *purpose));
                    for (field, act, reach) in places() {
                        for granted in [true, false] {
                            let differs = new.allows(field, act, reach) == granted && old.allows(field, act, reach) != granted;
                            let told = cells.iter().any(|cell| {
                                let same = cell.role == role && cell.object == field.entry().key && cell.act == act.word() && cell.granted == granted;
                                let exact = Reach::of_word(cell.scope) == Some(reach);
                                // A wider cell stands for this one only when nothing else changed in between.
                                let within = Reach::of_word(cell.scope) > Some(reach);
                                same && (exact || within) && cell.purpose.as_deref().is_none_or(|told| told == purpose.unwrap_or(NO_PURPOSE))
                            });
                            if differs { prop_assert!(told, "{role} {field:?} {act:?} {reach:?} {purpose:?}"); }
                        }
                    }
                }
            }
            for cell in &cells {
                let purpose = cell.purpose.as_deref().filter(|purpose| *purpose != NO_PURPOSE);
                let may = |table: &Table| {
                    let matrix = table.matrix(&cell.role, purpose);
                    match Field::of_key(&cell.object) {
                        Some(field) => matrix.allows(field, Act::of_word(cell.act).unwrap(), Reach::of_word(cell.scope).unwrap()),
                        None => matrix.may(Verb::of_words(&cell.object, cell.act).unwrap()),
                    }
                };
                prop_assert_eq!((may(&before), may(&after)), (!cell.granted, cell.granted), "{}", cell);
            }
            let alike = |role: &str| named.iter().all(|purpose| before.matrix(role, *purpose) == after.matrix(role, *purpose));
            prop_assert_eq!(cells.is_empty(), before.roles().chain(after.roles()).all(alike));
        }
    }
}
