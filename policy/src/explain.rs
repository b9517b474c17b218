//! Why a caller sees what it sees of a field, and what it lacks for clear sight.
//!
//! What is seen is Casbin's answer, out of the matrix. The rules and the ways to clear sight are read from the policy here, to
//! be understood by a person; nothing is ever decided by them.

use std::collections::{BTreeSet, VecDeque};

use serde::Serialize;

use crate::field::Field;
use crate::matrix::{Act, Matrix, Reach, Sight, View};
use crate::rule::{Policy, Rule};

/// The answer to "why do I see this?" for one caller, field and purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The field; serialised as its key.
    pub field: Field,
    /// The caller's roles as given.
    pub roles: Vec<String>,
    /// The purpose that the caller declared.
    pub purpose: Option<String>,
    /// One for each of own, department and all, in this order.
    pub scopes: Vec<InScope>,
    /// Purposes with which these roles would see more rows in the clear, sorted.
    pub purposes_for_clear: Vec<Way>,
    /// Roles that would, added to the caller's, show more rows in the clear for this purpose, sorted.
    pub roles_for_clear: Vec<Way>,
}

/// What is seen in the rows of one scope, and by which rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InScope {
    /// How the row stands to the caller.
    pub scope: Reach,
    /// What comes when clear is asked for.
    pub clear: Sight,
    /// What comes when masked is asked for.
    pub masked: Sight,
    /// The rules on reading that match the caller, the scope and the purpose, in the order of the policy.
    pub rules: Vec<Counted>,
}

/// A rule that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// The rule as a line of the policy.
    pub rule: String,
    /// False for a deny rule, which beats every permission for its act.
    pub allow: bool,
    /// From one of the caller's roles to the rule's role by inheritance, both included: `["sales_manager", "sales", "staff"]`.
    pub path: Vec<String>,
}

/// A purpose or a role that would give clear sight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Way {
    /// The purpose code or the role.
    pub name: String,
    /// The scopes which are not clear now and would be.
    pub scopes: Vec<Reach>,
}

/// Explains a decision. `matrix` is that of the same policy, roles and purpose.
#[must_use]
pub fn explain(policy: &Policy, matrix: &Matrix, roles: &[&str], field: Field, purpose: Option<&str>) -> Explanation {
    let (ancestry, _) = policy.ancestry(roles);
    let scopes = Reach::ALL.iter().map(|reach| InScope {
        scope: *reach,
        clear: matrix.sight(field, *reach, View::Clear),
        masked: matrix.sight(field, *reach, View::Masked),
        rules: counted(policy, roles, &ancestry, (field, *reach, purpose)),
    });
    let unclear: Vec<Reach> = Reach::ALL.iter().copied().filter(|reach| matrix.sight(field, *reach, View::Clear) < Sight::Clear).collect();
    let way = |name: &str, ancestry: &BTreeSet<&str>, purpose| {
        let scopes: Vec<Reach> = unclear.iter().copied().filter(|reach| gives_clear(policy, ancestry, (field, *reach, purpose))).collect();
        (!scopes.is_empty()).then(|| Way { name: name.to_owned(), scopes })
    };
    let others = policy.roles().into_iter().filter(|role| !ancestry.contains(role));
    Explanation {
        field,
        roles: roles.iter().copied().map(str::to_owned).collect(),
        purpose: purpose.map(str::to_owned),
        scopes: scopes.collect(),
        purposes_for_clear: policy.purposes().into_iter().filter_map(|other| way(other, &ancestry, Some(other))).collect(),
        roles_for_clear: others.filter_map(|role| way(role, &policy.ancestry(&[roles, &[role]].concat()).0, purpose)).collect(),
    }
}

/// What is looked at: a field, in rows of a scope, for a purpose.
type Looked<'a> = (Field, Reach, Option<&'a str>);

/// The rules on one act that match, each with whether it allows.
fn matching<'p>(policy: &'p Policy, ancestry: &BTreeSet<&str>, (field, reach, declared): Looked, read: Act) -> impl Iterator<Item = (&'p Rule, bool)> {
    policy.rules().iter().filter_map(move |rule| match rule {
        Rule::Permit { role, object, act, scope, purpose, allow }
            if object == field.entry().key
                && act == read.word()
                && ancestry.contains(role.as_str())
                && (purpose == "*" || Some(purpose.as_str()) == declared)
                && Reach::of_word(scope) >= Some(reach) =>
        {
            Some((rule, *allow))
        }
        _ => None,
    })
}

/// Some rule allows it and none denies it.
fn gives_clear(policy: &Policy, ancestry: &BTreeSet<&str>, looked: Looked) -> bool {
    let effects: BTreeSet<bool> = matching(policy, ancestry, looked, Act::ReadClear).map(|(_, allow)| allow).collect();
    effects.contains(&true) && !effects.contains(&false)
}

fn counted(policy: &Policy, roles: &[&str], ancestry: &BTreeSet<&str>, looked: Looked) -> Vec<Counted> {
    let mut found: Vec<(&Rule, bool)> = [Act::ReadMasked, Act::ReadClear].iter().flat_map(|act| matching(policy, ancestry, looked, *act)).collect();
    found.sort_unstable();
    let path = |rule: &Rule| match rule {
        Rule::Permit { role, .. } | Rule::Inherit { role, .. } => role_path(policy, roles, role),
    };
    found.into_iter().map(|(rule, allow)| Counted { rule: rule.to_string(), allow, path: path(rule) }).collect()
}

/// The shortest line of inheritance from one of the roles to another role; empty when there is none.
fn role_path(policy: &Policy, roles: &[&str], to: &str) -> Vec<String> {
    let mut waiting: VecDeque<Vec<&str>> = roles.iter().map(|role| vec![*role]).collect();
    let mut seen: BTreeSet<&str> = roles.iter().copied().collect();
    while let Some(path) = waiting.pop_front() {
        let last = path.last().copied().unwrap_or_default();
        if last == to {
            return path.into_iter().map(str::to_owned).collect();
        }
        for rule in policy.rules() {
            if let Rule::Inherit { role, from } = rule
                && role == last
                && seen.insert(from)
            {
                waiting.push_back([path.as_slice(), &[from.as_str()]].concat());
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::tests::{rules, wait};
    use proptest::prelude::*;

    fn explained(policy: &Policy, roles: &[&str], field: Field, purpose: Option<&str>) -> Explanation {
        explain(policy, &wait(Matrix::of(policy, roles, purpose)).unwrap(), roles, field, purpose)
    }

    #[test]
    fn a_manager_learns_why_and_what_is_lacking() {
        let policy = Policy::standard().unwrap();
        let phone = explained(&policy, &["sales_manager"], Field::Phone, Some("sales_follow_up"));
        let [own, department, all] = &phone.scopes[..] else { panic!() };
        assert_eq!((own.clear, own.masked, department.clear, all.clear), (Sight::Clear, Sight::Masked, Sight::Clear, Sight::Masked));
        let rules = |scope: &InScope| scope.rules.iter().map(|counted| (counted.rule.clone(), counted.path.join(">"))).collect::<Vec<_>>();
        let masked = ("p, sales, Customer.phone, read.masked, all, *, allow".to_owned(), "sales_manager>sales".to_owned());
        let of_sales = ("p, sales, Customer.phone, read.clear, own, sales_follow_up, allow".to_owned(), "sales_manager>sales".to_owned());
        let of_manager = ("p, sales_manager, Customer.phone, read.clear, department, sales_follow_up, allow".to_owned(), "sales_manager".to_owned());
        assert_eq!(rules(own), [of_sales, masked.clone(), of_manager.clone()]);
        assert_eq!(rules(department), [masked.clone(), of_manager]);
        assert_eq!(rules(all), [masked]);
        assert_eq!((&phone.purposes_for_clear[..], &phone.roles_for_clear[..]), (&[][..], &[][..]));

        let status = explained(&policy, &["sales_manager"], Field::Status, None);
        assert_eq!(status.scopes[2].rules[0].path, ["sales_manager", "sales", "staff"]);
    }

    #[test]
    fn the_ways_to_clear_sight_name_their_scopes() {
        let policy = Policy::standard().unwrap();
        let way = |name: &str, scopes: &[Reach]| Way { name: name.to_owned(), scopes: scopes.to_vec() };
        let idle = explained(&policy, &["sales"], Field::Phone, None);
        assert_eq!(idle.purposes_for_clear, [way("sales_follow_up", &[Reach::Own])]);
        assert!(idle.roles_for_clear.is_empty());
        let busy = explained(&policy, &["sales"], Field::Phone, Some("sales_follow_up"));
        assert!(busy.purposes_for_clear.is_empty());
        assert_eq!(busy.roles_for_clear, [way("sales_manager", &[Reach::Department])]);
        let json = serde_json::to_value(&busy).unwrap();
        assert_eq!(json["field"], "Customer.phone");
        assert_eq!(json["scopes"][0]["clear"], "clear");
        assert_eq!(json["roles_for_clear"], serde_json::json!([{"name": "sales_manager", "scopes": ["department"]}]));
    }

    #[test]
    fn a_deny_rule_counts_and_blocks_the_ways() {
        let text = "p, sales, Customer.phone, read.clear, all, care, allow
            p, trainee, Customer.phone, read.clear, own, care, deny";
        let policy = Policy::read(text).unwrap();
        let both = explained(&policy, &["trainee", "sales"], Field::Phone, Some("care"));
        assert_eq!((both.scopes[0].clear, both.scopes[1].clear), (Sight::Withheld, Sight::Clear));
        let denied = Counted { rule: "p, trainee, Customer.phone, read.clear, own, care, deny".into(), allow: false, path: vec!["trainee".into()] };
        assert!(both.scopes[0].rules.contains(&denied) && !both.scopes[1].rules.contains(&denied));
        assert!(both.purposes_for_clear.is_empty() && both.roles_for_clear.is_empty());
        let trainee = explained(&policy, &["trainee"], Field::Phone, Some("care"));
        assert_eq!(trainee.roles_for_clear, [Way { name: "sales".into(), scopes: vec![Reach::Department, Reach::All] }]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// What is read from the rules here agrees with Casbin.
        #[test]
        fn the_ways_are_those_of_casbin(rules in rules(), roles in prop::sample::subsequence(vec!["a", "b", "c"], 1..3), purpose in prop::option::of(prop::sample::select(vec!["care", "sell"]))) {
            let policy = Policy::checked(rules).unwrap();
            let explanation = explained(&policy, &roles, Field::Phone, purpose);
            let clear = |roles: &[&str], purpose: Option<&str>, reach| wait(Matrix::of(&policy, roles, purpose)).unwrap().allows(Field::Phone, Act::ReadClear, reach);
            for scope in &explanation.scopes {
                prop_assert_eq!(gives_clear(&policy, &policy.ancestry(&roles).0, (Field::Phone, scope.scope, purpose)), scope.clear == Sight::Clear);
                let told = |ways: &[Way], name: &str| ways.iter().any(|way| way.name == name && way.scopes.contains(&scope.scope));
                for other in policy.purposes() {
                    prop_assert_eq!(told(&explanation.purposes_for_clear, other), scope.clear < Sight::Clear && clear(&roles, Some(other), scope.scope));
                }
                for role in policy.roles() {
                    let more = [&roles[..], &[role]].concat();
                    prop_assert_eq!(told(&explanation.roles_for_clear, role), scope.clear < Sight::Clear && clear(&more, purpose, scope.scope));
                }
                for counted in &scope.rules {
                    prop_assert!(roles.contains(&counted.path[0].as_str()));
                    let of_last = format!("p, {},", counted.path.last().unwrap());
                    prop_assert!(counted.rule.starts_with(&of_last));
                }
            }
        }
    }
}
