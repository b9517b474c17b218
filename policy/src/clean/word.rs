//! The words of a source for codes of the dictionary.

use super::{Cleaned, Reference, Rule, Rules, text};
use crate::code::{Channel, CustomerType, Status};

/// The status that a cell names by code, label or word.
#[must_use]
pub fn status(raw: &str, reference: &Reference) -> Cleaned<Option<Status>> {
    let mut rules = Rules::NONE;
    let text = text::noting(raw, &mut rules);
    let status = reference.status(&text).or_else(|| Status::of_number(&text));
    rules.add_if(status.is_some_and(|status| *text != *status.zh() && Status::of_number(&text) != Some(status)), Rule::StatusAlias);
    Cleaned::read(status, rules)
}

/// The channel that a cell names by code, label or word.
#[must_use]
pub fn channel(raw: &str, reference: &Reference) -> Cleaned<Option<Channel>> {
    let mut rules = Rules::NONE;
    let text = text::noting(raw, &mut rules);
    let channel = reference.channel(&text).or_else(|| Channel::of_number(&text));
    rules.add_if(channel.is_some_and(|channel| *text != *channel.zh() && Channel::of_number(&text) != Some(channel)), Rule::ChannelAlias);
    Cleaned::read(channel, rules)
}

/// The type of customer that a cell names by code, label or word.
#[must_use]
pub fn customer_type(raw: &str) -> Cleaned<Option<CustomerType>> {
    let mut rules = Rules::NONE;
    let text = text::noting(raw, &mut rules);
    let kind = CustomerType::of_word(&text);
    rules.add_if(kind.is_some_and(|kind| *text != *kind.zh() && CustomerType::of_number(&text) != Some(kind)), Rule::TypeAlias);
    Cleaned::read(kind, rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn examples() {
        let standard = Reference::standard();
        for (raw, want) in [("成交客户", Some(Status::Won)), (" 2 ", Some(Status::Won)), ("已流失", Some(Status::Lost)), ("无所谓", None), ("", None)]
        {
            assert_eq!(status(raw, standard).value, want, "{raw}");
        }
        for (raw, want) in [("转介绍", Some(Channel::Referral)), ("５", Some(Channel::Exhibition)), ("9", None), ("电视", None)] {
            assert_eq!(channel(raw, standard).value, want, "{raw}");
        }
        for (raw, want) in [("企业", Some(CustomerType::Company)), ("1", Some(CustomerType::Person)), ("公司", Some(CustomerType::Company)), ("其他", None)]
        {
            assert_eq!(customer_type(raw).value, want, "{raw}");
        }
    }

    proptest! {
        #[test]
        fn a_label_stays(raw in "\\PC{0,8}|[1-9]|(意向|会展|电销|已成交) ?") {
            let standard = Reference::standard();
            if let Some(value) = status(&raw, standard).value {
                prop_assert_eq!(status(value.zh(), standard), Cleaned { value: Some(value), rules: Rules::NONE });
            }
            if let Some(value) = channel(&raw, standard).value {
                prop_assert_eq!(channel(value.zh(), standard), Cleaned { value: Some(value), rules: Rules::NONE });
            }
        }
    }
}
