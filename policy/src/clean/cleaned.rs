//! What comes out of a cleaning function: the value, and the rules that made it.

use serde::{Serialize, Serializer};

use super::Rule;

/// A cleaned cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cleaned<T> {
    /// What the cell holds.
    pub value: T,
    /// What was done to it. Empty where the cell was standard already, and where nothing could be read.
    pub rules: Rules,
}

impl<T> Cleaned<T> {
    /// The same rules with another form of the value.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Cleaned<U> {
        Cleaned { value: form(self.value), rules: self.rules }
    }
}

impl<T> Cleaned<Option<T>> {
    /// A value where one could be read. What did not lead to a value is not told.
    pub(super) fn read(value: Option<T>, rules: Rules) -> Self {
        let rules = if value.is_some() { rules } else { Rules::NONE };
        Self { value, rules }
    }

    /// Nothing, and the rule that left nothing.
    pub(super) const fn nothing(rule: Rule) -> Self {
        Self { value: None, rules: Rules::of(rule) }
    }
}

/// A set of rules: one bit each, in the order of [`Rule::ALL`]. The bits are of this build; what is stored are the keys.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Rules(u64);

const _: () = assert!(Rule::ALL.len() <= 64, "one bit each");

impl Rules {
    /// No rule.
    pub const NONE: Self = Self(0);

    /// One rule.
    #[must_use]
    pub const fn of(rule: Rule) -> Self {
        Self(1 << rule as u8)
    }

    /// Adds a rule.
    pub const fn add(&mut self, rule: Rule) {
        self.0 |= Self::of(rule).0;
    }

    /// Adds a rule where it changed something.
    pub(super) const fn add_if(&mut self, changed: bool, rule: Rule) {
        if changed {
            self.add(rule);
        }
    }

    /// The rules of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `rule` is among them.
    #[must_use]
    pub const fn contains(self, rule: Rule) -> bool {
        self.0 & Self::of(rule).0 != 0
    }

    /// Whether nothing was changed.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The rules in their order.
    pub fn iter(self) -> impl Iterator<Item = Rule> {
        Rule::ALL.iter().copied().filter(move |rule| self.contains(*rule))
    }

    /// The keys of the rules in their order.
    pub fn keys(self) -> impl Iterator<Item = &'static str> {
        self.iter().map(Rule::key)
    }
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.keys()).finish()
    }
}

/// As the list of their keys.
impl Serialize for Rules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.keys())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_tells_its_keys() {
        let mut rules = Rules::of(Rule::PhoneLabel);
        rules.add(Rule::TextFullWidth);
        rules.add(Rule::PhoneLabel);
        assert_eq!(serde_json::to_string(&rules).unwrap(), r#"["text.full_width","phone.label"]"#);
        assert!(rules.contains(Rule::PhoneLabel) && !rules.contains(Rule::ChannelAlias) && !rules.is_empty());
        assert_eq!(Rule::ALL.iter().fold(Rules::NONE, |all, rule| all.with(Rules::of(*rule))).iter().count(), Rule::ALL.len());
    }
}
