//! Casbin decides; the matrix remembers.
//!
//! One `enforce` of Casbin walks every rule through a script engine: milliseconds. So the answers for one set of roles and
//! one purpose are taken from Casbin once and kept as bits; a field's decision is then an array look-up. To keep that
//! one time short, Casbin is asked about each object with only the rules of that object loaded: no other rule can match.

use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};
use serde::{Deserialize, Serialize};

use crate::field::Field;
use crate::rule::{MODEL, Policy, Rule};

/// How a row stands to the caller. Serialised as its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// The caller owns it.
    Own,
    /// The caller's department owns it.
    Department,
    /// Anybody's.
    All,
}

/// What may be done with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// See it masked; an open field: see it.
    ReadMasked,
    /// See it in the clear.
    ReadClear,
    /// Find rows by its exact value.
    Search,
    /// Order rows by it.
    Sort,
    /// Group and sum by it.
    Aggregate,
    /// Take it out in bulk.
    Export,
    /// Change it.
    Write,
}

/// What may be done with a whole thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Read the audit log.
    AuditRead,
    /// Import files.
    ImportRun,
    /// Read import reports.
    ImportRead,
    /// Read the policy.
    PolicyRead,
    /// Change the policy.
    PolicyChange,
    /// Issue and revoke tokens, create users.
    TenantManage,
    /// Merge customers, undo merges, decide duplicates.
    CustomerMerge,
    /// Change mappings, reference data and the settings of matching.
    SourceManage,
    /// Approve a draft that widens clear sight, or who governs.
    PolicyApprove,
    /// Copy, restrict and erase a person.
    PersonRights,
}

/// How much of a field a caller sees. Ordered: more is greater. Serialised as its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sight {
    /// Nothing.
    Withheld,
    /// The mask; of an open field the value.
    Masked,
    /// The value.
    Clear,
}

/// What a caller asks for. Masked unless asked otherwise, whatever the rights. Serialised as `masked` or `clear`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// The mask.
    #[default]
    Masked,
    /// The value, where policy and purpose allow; else the mask.
    Clear,
}

macro_rules! words {
    ($name:ident { $($variant:ident $word:literal,)+ }) => {
        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// The word that rules use.
            #[must_use]
            pub const fn word(self) -> &'static str { match self { $(Self::$variant => $word,)+ } }
            /// The value of a word.
            #[must_use]
            pub fn of_word(word: &str) -> Option<Self> { Self::ALL.iter().copied().find(|v| v.word() == word) }
        }
    };
}
words!(Reach { Own "own", Department "department", All "all", });
words!(Act { ReadMasked "read.masked", ReadClear "read.clear", Search "search", Sort "sort", Aggregate "aggregate", Export "export", Write "write", });
words!(Verb { AuditRead "Audit read", ImportRun "Import run", ImportRead "Import read", PolicyRead "Policy read", PolicyChange "Policy change", TenantManage "Tenant manage", CustomerMerge "Customer merge", SourceManage "Source manage", PolicyApprove "Policy approve", PersonRights "Person rights", });
words!(Sight { Withheld "withheld", Masked "masked", Clear "clear", });

impl Verb {
    /// The verb of a rule's object and act.
    #[must_use]
    pub fn of_words(object: &str, act: &str) -> Option<Self> {
        Self::of_word(&format!("{object} {act}"))
    }

    /// Whether it rules over what others may: nobody gives it to anybody alone.
    #[must_use]
    pub const fn governs(self) -> bool {
        matches!(self, Self::PolicyChange | Self::PolicyApprove | Self::TenantManage | Self::PersonRights)
    }

    /// The object and the act that rules use: `Policy` and `approve`.
    #[must_use]
    pub fn object_and_act(self) -> (&'static str, &'static str) {
        self.word().split_once(' ').unwrap_or((self.word(), ""))
    }
}

/// Everything that one set of roles may do for one purpose. Bits: act × reach per field, and verbs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    fields: [[u8; 3]; Field::ALL.len()],
    verbs: u16,
}

/// Casbin could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("Casbin refused the policy")]
pub struct Undecided(#[from] casbin::Error);

impl Matrix {
    /// Nothing is allowed.
    pub const NOTHING: Self = Self { fields: [[0; 3]; Field::ALL.len()], verbs: 0 };

    /// Takes the answers from Casbin.
    ///
    /// `purpose` is what the caller declared, if anything.
    ///
    /// # Errors
    /// Casbin could not build or run the policy; the caller gets nothing then.
    pub async fn of(policy: &Policy, roles: &[&str], purpose: Option<&str>) -> Result<Self, Undecided> {
        let mut matrix = Self::NOTHING;
        let (ancestry, _) = policy.ancestry(roles);
        let caller = Asked::CALLER;
        let callers: Vec<(&str, &str)> = roles.iter().map(|role| (caller, *role)).collect();
        for field in Field::ALL {
            let key = field.entry().key;
            let Some(casbin) = Asked::about(policy, &callers, |role, object, _| object == key && ancestry.contains(role)).await? else { continue };
            for act in Act::ALL {
                for reach in Reach::ALL {
                    if casbin.allows(caller, key, act.word(), *reach, purpose)? {
                        matrix.grant(*field, *act, *reach);
                    }
                }
            }
        }
        let Some(casbin) = Asked::about(policy, &callers, |role, object, _| Field::of_key(object).is_none() && ancestry.contains(role)).await? else {
            return Ok(matrix);
        };
        for verb in Verb::ALL {
            let (object, act) = verb.object_and_act();
            if casbin.allows(caller, object, act, Reach::All, purpose)? {
                matrix.grant_verb(*verb);
            }
        }
        Ok(matrix)
    }

    /// Remembers that Casbin allowed an act.
    pub(crate) const fn grant(&mut self, field: Field, act: Act, reach: Reach) {
        self.fields[field as usize][reach as usize] |= 1 << act as u8;
    }

    /// Remembers that Casbin allowed a verb.
    pub(crate) const fn grant_verb(&mut self, verb: Verb) {
        self.verbs |= 1 << verb as u8;
    }

    /// Whether an act on a field is allowed for a row of this reach.
    #[must_use]
    pub const fn allows(&self, field: Field, act: Act, reach: Reach) -> bool {
        self.fields[field as usize][reach as usize] & (1 << act as u8) != 0
    }

    /// Whether a verb is allowed.
    #[must_use]
    pub const fn may(&self, verb: Verb) -> bool {
        self.verbs & (1 << verb as u8) != 0
    }

    /// How much of a field is seen in a row of this reach, when `view` is asked for.
    #[must_use]
    pub fn sight(&self, field: Field, reach: Reach, view: View) -> Sight {
        let clear = self.allows(field, Act::ReadClear, reach);
        match view {
            View::Clear if clear => Sight::Clear,
            _ if clear || self.allows(field, Act::ReadMasked, reach) => Sight::Masked,
            _ => Sight::Withheld,
        }
    }

    /// What either allows.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (mine, theirs) in both.fields.iter_mut().flatten().zip(other.fields.iter().flatten()) {
            *mine |= theirs;
        }
        both.verbs |= other.verbs;
        both
    }

    /// The same with nothing allowed of personal fields.
    #[must_use]
    pub fn impersonal(&self) -> Self {
        let mut matrix = self.clone();
        for field in Field::ALL.iter().filter(|field| field.personal()) {
            matrix.fields[*field as usize] = [0; 3];
        }
        matrix
    }

    /// The widest reach in which the caller may see any field of a customer; rows beyond it are not fetched.
    #[must_use]
    pub fn widest(&self) -> Option<Reach> {
        Reach::ALL.iter().rev().copied().find(|reach| Field::ALL.iter().any(|field| self.sight(*field, *reach, View::Masked) > Sight::Withheld))
    }
}

/// Casbin with the rules that concern a question, and no others.
pub(crate) struct Asked(Enforcer);

impl Asked {
    /// Not a word that a role could be called, so that no rule of a policy ever speaks of it.
    pub(crate) const CALLER: &str = "#caller";
    const DOMAIN: &str = "tenant";

    /// `callers` pairs each caller with a role granted to it; `concerns` chooses rules by role, object and act.
    ///
    /// `None` when no rule is chosen: Casbin is never asked with an empty policy, which it would allow.
    pub(crate) async fn about(policy: &Policy, callers: &[(&str, &str)], concerns: impl Fn(&str, &str, &str) -> bool) -> Result<Option<Self>, Undecided> {
        let lines: Vec<Vec<String>> = policy
            .rules()
            .iter()
            .filter_map(|rule| match rule {
                Rule::Permit { role, object, act, scope, purpose, allow } if concerns(role, object, act) => {
                    Some([role.as_str(), Self::DOMAIN, object, act, scope, purpose, if *allow { "allow" } else { "deny" }].map(str::to_owned).to_vec())
                }
                _ => None,
            })
            .collect();
        if lines.is_empty() {
            return Ok(None);
        }
        let inherits = policy.rules().iter().filter_map(|rule| match rule {
            Rule::Inherit { role, from } => Some((role.as_str(), from.as_str())),
            Rule::Permit { .. } => None,
        });
        let grants: Vec<Vec<String>> =
            inherits.chain(callers.iter().copied()).map(|(role, from)| [role, from, Self::DOMAIN].map(str::to_owned).to_vec()).collect();
        let mut enforcer = Enforcer::new(DefaultModel::from_str(MODEL).await?, MemoryAdapter::default()).await?;
        enforcer.add_policies(lines).await?;
        if !grants.is_empty() {
            enforcer.add_grouping_policies(grants).await?;
        }
        Ok(Some(Self(enforcer)))
    }

    pub(crate) fn allows(&self, caller: &str, object: &str, act: &str, reach: Reach, purpose: Option<&str>) -> Result<bool, Undecided> {
        Ok(self.0.enforce((caller, Self::DOMAIN, object, act, reach.word(), purpose.unwrap_or("-")))?)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Reach::{All, Department, Own};
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn personas_see_what_they_should() {
        let policy = Policy::standard().unwrap();
        let sight = |role: &str, purpose: Option<&str>, field, reach, view| wait(Matrix::of(&policy, &[role], purpose)).unwrap().sight(field, reach, view);
        assert_eq!(sight("bi", None, Field::Phone, All, View::Clear), Sight::Masked);
        assert_eq!(sight("bi", None, Field::Remarks, All, View::Masked), Sight::Withheld);
        assert_eq!(sight("sales", Some("sales_follow_up"), Field::Phone, Own, View::Clear), Sight::Clear);
        assert_eq!(sight("sales", Some("sales_follow_up"), Field::Phone, Own, View::Masked), Sight::Masked);
        assert_eq!(sight("sales", None, Field::Phone, Own, View::Clear), Sight::Masked);
        assert_eq!(sight("sales", Some("sales_follow_up"), Field::Phone, Department, View::Clear), Sight::Masked);
        assert_eq!(sight("sales_manager", Some("sales_follow_up"), Field::Phone, Department, View::Clear), Sight::Clear);
        assert_eq!(sight("sales_manager", Some("sales_follow_up"), Field::Phone, All, View::Clear), Sight::Masked);
        assert_eq!(sight("auditor", None, Field::Phone, All, View::Clear), Sight::Withheld);
        assert_eq!(sight("nobody", None, Field::Number, All, View::Clear), Sight::Withheld);
        assert!(wait(Matrix::of(&policy, &["auditor"], None)).unwrap().may(Verb::AuditRead));
        assert!(!wait(Matrix::of(&policy, &["admin"], None)).unwrap().may(Verb::AuditRead));
    }

    #[test]
    fn an_empty_policy_allows_nothing() {
        let empty = Policy::checked(vec![]).unwrap();
        assert_eq!(wait(Matrix::of(&empty, &[], None)).unwrap(), Matrix::NOTHING);
        assert_eq!(Matrix::NOTHING.widest(), None);
    }

    pub(crate) fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let role = || prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned);
        let permit = (
            role(),
            prop_oneof![
                6 => (prop::sample::select(vec!["Customer.phone", "Customer.status", "Ticket.body"]), prop::sample::select(vec!["read.masked", "read.clear", "search"])),
                1 => prop::sample::select(vec![("Policy", "read"), ("Policy", "approve"), ("Person", "rights")]),
            ],
            prop::sample::select(vec!["own", "department", "all"]),
            prop::sample::select(vec!["*", "care", "sell"]),
            prop::bool::weighted(0.7),
        )
            .prop_map(|(role, (object, act), scope, purpose, allow)| {
                (role, object, act, scope, if act == "read.clear" && purpose == "*" { "care" } else { purpose }, allow)
            })
            .prop_map(|(role, object, act, scope, purpose, allow)| Rule::Permit {
                role,
                object: object.into(),
                act: act.into(),
                scope: scope.into(),
                purpose: purpose.into(),
                allow,
            });
        let inherit = (role(), role()).prop_filter("another", |(a, b)| a < b).prop_map(|(role, from)| Rule::Inherit { role, from });
        prop::collection::vec(prop_oneof![8 => permit, 1 => inherit], 1..14)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// The matrix, built object by object, says what Casbin says with the whole policy loaded at once.
        #[test]
        fn the_matrix_is_casbin(rules in rules(), roles in prop::sample::subsequence(vec!["a", "b", "c"], 1..3), purpose in prop::option::of(prop::sample::select(vec!["care", "sell"]))) {
            let policy = Policy::checked(rules).unwrap();
            let matrix = wait(Matrix::of(&policy, &roles, purpose)).unwrap();
            let callers: Vec<_> = roles.iter().map(|role| (Asked::CALLER, *role)).collect();
            let Some(casbin) = wait(Asked::about(&policy, &callers, |_, _, _| true)).unwrap() else { return Ok(()) };
            for field in [Field::Phone, Field::Status, Field::Body, Field::Name] {
                for act in [Act::ReadMasked, Act::ReadClear, Act::Search, Act::Write] {
                    for reach in Reach::ALL {
                        prop_assert_eq!(matrix.allows(field, act, *reach), casbin.allows(Asked::CALLER, field.entry().key, act.word(), *reach, purpose).unwrap());
                    }
                }
            }
            for verb in Verb::ALL {
                let (object, act) = verb.object_and_act();
                prop_assert_eq!(matrix.may(*verb), casbin.allows(Asked::CALLER, object, act, All, purpose).unwrap());
            }
        }
    }
}
