//! Which source record's value becomes the golden one: a rule per field, standard ones that a tenant may change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Field;

/// How one value is chosen among those that a customer's records state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Survives {
    /// That of the record that its source changed last.
    Newest,
    /// That of the earliest record; of dates the earliest.
    Earliest,
    /// That of the most trusted source, the newest there.
    MostTrusted,
    /// The one that most records state; of equally frequent ones that of the most trusted source.
    MostFrequent,
}

impl Survives {
    /// As provenance tells it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Earliest => "earliest",
            Self::MostTrusted => "most trusted source, newest",
            Self::MostFrequent => "most frequent, then most trusted source",
        }
    }
}

/// The rules of a tenant: what it changed, over the standard ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survivorship(BTreeMap<String, Survives>);

impl Survivorship {
    /// The fields that are chosen by a rule, with the standard ones.
    pub const STANDARD: [(Field, Survives); 13] = [
        (Field::Name, Survives::MostFrequent),
        (Field::Phone, Survives::Newest),
        (Field::Landline, Survives::Newest),
        (Field::Email, Survives::Newest),
        (Field::Address, Survives::Newest),
        (Field::Remarks, Survives::Newest),
        (Field::Company, Survives::MostTrusted),
        (Field::CustomerType, Survives::MostTrusted),
        (Field::Industry, Survives::MostTrusted),
        (Field::Channel, Survives::Earliest),
        (Field::FirstFollowUp, Survives::Earliest),
        (Field::Status, Survives::MostTrusted),
        (Field::Owner, Survives::MostTrusted),
    ];

    /// The rule of a field.
    #[must_use]
    pub fn rule(&self, field: Field) -> Survives {
        let standard = || Self::STANDARD.iter().find(|(known, _)| *known == field).map_or(Survives::Newest, |(_, rule)| *rule);
        self.0.get(field.entry().key).copied().unwrap_or_else(standard)
    }

    /// The same with another rule for a field.
    ///
    /// # Errors
    /// The field is not chosen by a rule; the words list those that are.
    pub fn with(mut self, field: &str, rule: Survives) -> Result<Self, String> {
        if !Self::STANDARD.iter().any(|(known, _)| known.entry().key == field) {
            let known: Vec<&str> = Self::STANDARD.iter().map(|(field, _)| field.entry().key).collect();
            return Err(format!("'{field}' is not chosen by a rule; these are: {}", known.join(", ")));
        }
        self.0.insert(field.to_owned(), rule);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_changes_a_rule() {
        let rules = Survivorship::default().with("Customer.phone", Survives::MostTrusted).unwrap();
        assert_eq!((rules.rule(Field::Phone), rules.rule(Field::Name)), (Survives::MostTrusted, Survives::MostFrequent));
        assert!(Survivorship::default().with("Customer.number", Survives::Newest).unwrap_err().contains("Customer.phone"));
    }
}
