//! What roles give together that nobody gives alone: clear sight of persons, and the permissions to govern.

use std::collections::BTreeSet;

use crate::field::Field;
use crate::matrix::{Act, Asked, Reach, Undecided, Verb};
use crate::rule::{Policy, Rule};

/// An object, an act, a scope and a purpose; none for what is had without one.
pub type Power = (&'static str, &'static str, Reach, Option<String>);

/// The powers of somebody who holds all these roles, for any purpose that the policy names, and without.
///
/// # Errors
/// Casbin could not build or run the policy.
pub async fn powers(policy: &Policy, roles: &[&str]) -> Result<BTreeSet<Power>, Undecided> {
    let (ancestry, _) = policy.ancestry(roles);
    let callers: Vec<(&str, &str)> = roles.iter().collect::<BTreeSet<_>>().into_iter().map(|role| (Asked::CALLER, *role)).collect();
    let fields = Field::ALL.iter().filter(|field| field.personal()).map(|field| (field.entry().key, Act::ReadClear.word(), Reach::ALL));
    let verbs = Verb::ALL.iter().filter(|verb| verb.governs()).map(|verb| {
        let (object, act) = verb.object_and_act();
        (object, act, &[Reach::All][..])
    });
    let mut powers = BTreeSet::new();
    for (object, act, reaches) in fields.chain(verbs) {
        let of_them = |role: &str, other: &str, does: &str| other == object && does == act && ancestry.contains(role);
        let Some(casbin) = Asked::about(policy, &callers, of_them).await? else { continue };
        let purposes = purposes(policy, object, act);
        for purpose in std::iter::once(None).chain(purposes.into_iter().map(Some)) {
            for reach in reaches {
                if casbin.allows(Asked::CALLER, object, act, *reach, purpose)? {
                    powers.insert((object, act, *reach, purpose.map(str::to_owned)));
                }
            }
        }
    }
    Ok(powers)
}

/// The purposes that rules name of an object and act.
fn purposes<'p>(policy: &'p Policy, object: &str, act: &str) -> BTreeSet<&'p str> {
    let named = policy.rules().iter().filter_map(|rule| match rule {
        Rule::Permit { object: of, act: does, purpose, .. } if of == object && does == act && purpose != "*" => Some(purpose.as_str()),
        _ => None,
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::difference::weighty;
    use crate::matrix::Matrix;
    use crate::matrix::tests::{rules, wait};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn powers_are_what_the_matrices_say(rules in rules(), roles in prop::sample::subsequence(vec!["a", "b", "c"], 0..4)) {
            let policy = Policy::checked(rules).unwrap();
            let powers = wait(powers(&policy, &roles)).unwrap();
            for purpose in [None, Some("care"), Some("sell")] {
                let matrix = wait(Matrix::of(&policy, &roles, purpose)).unwrap();
                // A purpose that no rule of the act names is as good as none.
                let has = |object, act, reach| {
                    let named = purpose.filter(|purpose| purposes(&policy, object, act).contains(purpose));
                    powers.contains(&(object, act, reach, named.map(str::to_owned)))
                };
                for reach in Reach::ALL {
                    prop_assert_eq!(matrix.allows(Field::Phone, Act::ReadClear, *reach), has("Customer.phone", "read.clear", *reach));
                }
                prop_assert_eq!(matrix.may(Verb::PolicyApprove), has("Policy", "approve", Reach::All));
                prop_assert_eq!(matrix.may(Verb::PersonRights), has("Person", "rights", Reach::All));
            }
            prop_assert!(powers.iter().all(|(object, act, ..)| weighty(object, act)));
        }
    }
}
