//! Every role of a policy at once, for no purpose and for every purpose that the policy names: what a preview compares.
//!
//! [`Matrix::of`] answers for one caller. Asked for every role and purpose in turn it would build Casbin anew each time,
//! so here one Casbin per object and act serves all roles, and it is asked only where its answer can differ from one already
//! known: for the purposes and at the reaches that the rules of the role tell apart.

use std::collections::{BTreeMap, BTreeSet};

use crate::field::Field;
use crate::matrix::{Act, Asked, Matrix, Reach, Undecided, Verb};
use crate::rule::{Policy, Rule};

/// What each role of a policy may do on its own.
///
/// A caller with several roles is not in it: a deny rule of one role takes away what another allows, so ask [`Matrix::of`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Sorted.
    purposes: Vec<String>,
    /// By role: the matrix for no purpose, then one for each of `purposes`.
    roles: BTreeMap<String, Vec<Matrix>>,
}

/// A role while the table is being filled.
struct Row<'p> {
    role: &'p str,
    /// Whom Casbin is asked about. Not a word that a role could be called, so that no rule speaks of it.
    caller: String,
    ancestry: BTreeSet<&'p str>,
    matrices: Vec<Matrix>,
}

/// Something that an act of a rule's object stands for.
#[derive(Clone, Copy)]
enum Permission {
    Field(Field, Act),
    Verb(Verb),
}

impl Permission {
    fn of(object: &str, act: &str) -> Option<Self> {
        match Field::of_key(object) {
            Some(field) => Act::of_word(act).map(|act| Self::Field(field, act)),
            None => Verb::of_words(object, act).map(Self::Verb),
        }
    }

    /// The reaches that are asked for; a verb has no rows.
    const fn reaches(self) -> &'static [Reach] {
        match self {
            Self::Field(..) => Reach::ALL,
            Self::Verb(_) => &[Reach::All],
        }
    }

    const fn grant(self, matrix: &mut Matrix, reach: Reach) {
        match self {
            Self::Field(field, act) => matrix.grant(field, act, reach),
            Self::Verb(verb) => matrix.grant_verb(verb),
        }
    }
}

impl Table {
    /// Takes the answers from Casbin. The work is all computing: a few tenths of a second for a dozen roles.
    ///
    /// # Errors
    /// Casbin could not build or run the policy; there is no table then.
    pub async fn of(policy: &Policy) -> Result<Self, Undecided> {
        let purposes: Vec<&str> = policy.purposes().into_iter().collect();
        let mut rows: Vec<Row> = policy
            .roles()
            .into_iter()
            .map(|role| Row { role, caller: format!("#{role}"), ancestry: policy.ancestry(&[role]).0, matrices: vec![Matrix::NOTHING; 1 + purposes.len()] })
            .collect();
        for ((object, act), rules) in &questions(policy) {
            let Some(permission) = Permission::of(object, act) else { continue };
            let callers: Vec<(&str, &str)> = rows.iter().map(|row| (row.caller.as_str(), row.role)).collect();
            let Some(casbin) = Asked::about(policy, &callers, |_, other, verb| other == *object && verb == *act).await? else { continue };
            for row in &mut rows {
                row.ask(&casbin, (object, act), permission, rules, &purposes)?;
            }
        }
        let roles = rows.into_iter().map(|row| (row.role.to_owned(), row.matrices)).collect();
        Ok(Self { purposes: purposes.into_iter().map(str::to_owned).collect(), roles })
    }

    /// The roles of the policy, sorted.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.keys().map(String::as_str)
    }

    /// The purposes that the policy names, sorted.
    #[must_use]
    pub fn purposes(&self) -> &[String] {
        &self.purposes
    }

    /// What a role alone may do for a purpose. A purpose unknown to the policy answers as none does; an unknown role may nothing.
    #[must_use]
    pub fn matrix(&self, role: &str, purpose: Option<&str>) -> Matrix {
        let column = purpose.and_then(|purpose| self.purposes.binary_search_by(|known| known.as_str().cmp(purpose)).ok()).map_or(0, |known| known + 1);
        self.roles.get(role).and_then(|matrices| matrices.get(column)).cloned().unwrap_or(Matrix::NOTHING)
    }
}

impl Row<'_> {
    /// Asks about one act on one object, of which `rules` are all the rules.
    fn ask(&mut self, casbin: &Asked, (object, act): (&str, &str), permission: Permission, rules: &[About], purposes: &[&str]) -> Result<(), Undecided> {
        let of_role = || rules.iter().filter(|rule| self.ancestry.contains(rule.role));
        let named: BTreeSet<&str> = of_role().map(|rule| rule.purpose).collect();
        let scopes: BTreeSet<Reach> = of_role().filter_map(|rule| Reach::of_word(rule.scope)).collect();
        // The answer at a scope holds for the narrower reaches down to the next scope that a rule names: the same rules match there.
        let mut unasked = permission.reaches();
        for scope in scopes {
            let (alike, wider) = unasked.split_at(unasked.partition_point(|reach| *reach <= scope));
            unasked = wider;
            if alike.is_empty() {
                continue;
            }
            let without = casbin.allows(&self.caller, object, act, scope, None)?;
            for (purpose, matrix) in std::iter::once(None).chain(purposes.iter().copied().map(Some)).zip(&mut self.matrices) {
                let allowed = match purpose {
                    Some(purpose) if named.contains(purpose) => casbin.allows(&self.caller, object, act, scope, Some(purpose))?,
                    // No rule tells this purpose from none.
                    _ => without,
                };
                if allowed {
                    for reach in alike {
                        permission.grant(matrix, *reach);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What a rule says beside its object, act and effect.
struct About<'p> {
    role: &'p str,
    scope: &'p str,
    purpose: &'p str,
}

/// The rules by object and act.
fn questions(policy: &Policy) -> BTreeMap<(&str, &str), Vec<About<'_>>> {
    let mut questions: BTreeMap<(&str, &str), Vec<About>> = BTreeMap::new();
    for rule in policy.rules() {
        if let Rule::Permit { role, object, act, scope, purpose, .. } = rule {
            questions.entry((object, act)).or_default().push(About { role, scope, purpose });
        }
    }
    questions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::tests::{rules, wait};
    use proptest::prelude::*;

    fn equals_the_matrices(policy: &Policy) {
        let table = wait(Table::of(policy)).unwrap();
        assert_eq!(table.roles().collect::<BTreeSet<_>>(), policy.roles());
        assert_eq!(table.purposes().iter().map(String::as_str).collect::<BTreeSet<_>>(), policy.purposes());
        for role in policy.roles() {
            for purpose in policy.purposes().into_iter().map(Some).chain([None, Some("made_up"), Some("-"), Some("*")]) {
                assert_eq!(table.matrix(role, purpose), wait(Matrix::of(policy, &[role], purpose)).unwrap(), "{role} for {purpose:?} in\n{policy}");
            }
        }
        assert_eq!(table.matrix("nobody", None), Matrix::NOTHING);
    }

    #[test]
    fn the_table_of_the_standard_policy_is_its_matrices() {
        let policy = Policy::standard().unwrap();
        let table = wait(Table::of(&policy)).unwrap();
        for (role, purpose) in [("sales", None), ("sales_manager", Some("sales_follow_up")), ("privacy", Some("privacy_request")), ("bi", Some("data_quality"))]
        {
            assert_eq!(table.matrix(role, purpose), wait(Matrix::of(&policy, &[role], purpose)).unwrap(), "{role}");
        }
        assert!(table.matrix("privacy", None).may(Verb::PersonRights));
        assert!(table.matrix("privacy", None).may(Verb::PolicyApprove) && !table.matrix("privacy", None).may(Verb::PolicyChange));
        assert!(table.matrix("admin", None).may(Verb::PolicyApprove) && !table.matrix("admin", None).may(Verb::PersonRights));
    }

    #[test]
    fn roles_do_not_lend_to_each_other() {
        let text = "p, caller, Policy, read, all, *, allow
            g, caller, boss
            p, boss, Policy, approve, own, *, allow
            p, boss, Policy, change, all, care, allow
            p, clerk, Policy, change, all, *, deny";
        equals_the_matrices(&Policy::read(text).unwrap());
        equals_the_matrices(&Policy::checked(vec![]).unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_table_is_the_matrices(rules in rules()) {
            equals_the_matrices(&Policy::checked(rules).unwrap());
        }
    }
}
