//! What cells a field expects, and which fields cells suggest by themselves.

use super::look::Sort;
use super::{Comparator, Target};

/// What the cells of a column should look like.
pub(super) struct Expected {
    /// What makes the field more certain.
    pub strong: Option<Sort>,
    /// What is at least compatible with it.
    pub plausible: Sort,
}

/// What a field, or a value that is only compared, expects.
pub(super) const fn expected(to: Option<Target>, compare: Option<Comparator>) -> Expected {
    let Some(target) = to else {
        return match compare {
            Some(Comparator::Date) => same(Sort::Birth),
            Some(Comparator::Digits) => same(Sort::Digits),
            _ => loose(Sort::Text),
        };
    };
    match target {
        Target::ExternalId => loose(Sort::Distinct),
        Target::Name => either(Sort::ChineseName, Sort::NameLike),
        Target::GivenName | Target::Surname => loose(Sort::NameLike),
        Target::Phone => same(Sort::Phone),
        Target::Landline => same(Sort::Landline),
        Target::Email => same(Sort::Email),
        Target::Company => either(Sort::Company, Sort::Letters),
        Target::CustomerType => either(Sort::CustomerType, Sort::SmallSet),
        Target::Industry => either(Sort::Industry, Sort::Letters),
        Target::Channel => either(Sort::Channel, Sort::SmallSet),
        Target::Status => either(Sort::Status, Sort::SmallSet),
        Target::ExhibitionDate | Target::FirstFollowUp | Target::UpdatedAt | Target::OccurredAt => same(Sort::Date),
        Target::Amount => same(Sort::Amount),
        Target::Quantity => same(Sort::Count),
        Target::Satisfaction => same(Sort::Rating),
        Target::Address => either(Sort::Address, Sort::Letters),
        Target::Owner | Target::State | Target::Level | Target::Place | Target::Topic => loose(Sort::SmallSet),
        Target::Exhibition | Target::Items => loose(Sort::Letters),
        Target::AddressPart | Target::Remarks | Target::Body | Target::Tags => loose(Sort::Text),
    }
}

const fn same(sort: Sort) -> Expected {
    Expected { strong: Some(sort), plausible: sort }
}

const fn either(strong: Sort, plausible: Sort) -> Expected {
    Expected { strong: Some(strong), plausible }
}

const fn loose(plausible: Sort) -> Expected {
    Expected { strong: None, plausible }
}

/// What cells mean without a header: the sort, the field or comparator, and how certain all cells of the sort make it.
pub(super) const SUGGESTED: [(Sort, Option<Target>, Option<Comparator>, f64); 8] = [
    (Sort::Email, Some(Target::Email), None, 0.85),
    (Sort::Phone, Some(Target::Phone), None, 0.8),
    (Sort::Address, Some(Target::Address), None, 0.78),
    (Sort::Company, Some(Target::Company), None, 0.78),
    (Sort::NationalId, None, Some(Comparator::Digits), 0.75),
    (Sort::ChineseName, Some(Target::Name), None, 0.72),
    (Sort::Channel, Some(Target::Channel), None, 0.6),
    (Sort::Status, Some(Target::Status), None, 0.6),
];
