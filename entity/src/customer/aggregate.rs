//! Counts of customers by group, with a floor: a group of few says something about each of them.

use policy::{Act, Field};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Asterisk, ExprTrait, Func};
use sea_orm::{QueryFilter, QuerySelect};

use super::questions::{Filter, filtered, require, within};
use super::table::Column;
use crate::{Error, Session};

/// A group of fewer is not told, nor are as many of the next larger ones as keep the total from telling it.
pub const FLOOR: i64 = 5;

/// By what customers are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// By status.
    Status,
    /// By industry.
    Industry,
    /// By channel.
    Channel,
    /// By value tier.
    ValueTier,
    /// By person and company.
    CustomerType,
}

impl Group {
    const fn of(self) -> (Column, Field) {
        match self {
            Self::Status => (Column::Status, Field::Status),
            Self::Industry => (Column::Industry, Field::Industry),
            Self::Channel => (Column::Channel, Field::Channel),
            Self::ValueTier => (Column::ValueTier, Field::ValueTier),
            Self::CustomerType => (Column::CustomerType, Field::CustomerType),
        }
    }
}

/// Customers by group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// All of them; `None` where it would tell a group that is not told.
    pub total: Option<i64>,
    /// The largest first, then those that are not told, by code; the code `None` is the group of those who have none.
    pub groups: Vec<(Option<String>, Option<i64>)>,
}

/// Counts the customers that meet a filter, group by group. Restricted customers are in no group.
///
/// # Errors
/// [`Error::Denied`] to whom may not aggregate by the field.
pub async fn counts(session: &Session, filter: &Filter, by: Group) -> Result<Counts, Error> {
    let (column, field) = by.of();
    let reach = require(session, Act::Aggregate, field)?;
    let Some(select) = filtered(session, filter)? else { return Ok(Counts { total: None, groups: vec![] }) };
    let select = select.filter(within(session, reach)).filter(Column::RestrictedAt.is_null());
    let select = select.select_only().expr_as(Expr::col(column).cast_as("text"), "code").expr_as(Func::count(Expr::col(Asterisk)), "n").group_by(column);
    Ok(told(select.into_tuple().all(session.scope().tx()).await?))
}

/// What may be told of groups. Whoever subtracts what is told from the total is left with a sum of several groups, small ones and,
/// where there is one, a larger one: which of them is which, and how far above one each is, stays open. Groups of one size are
/// told or not told together, for who is told must not depend on who is small.
fn told(mut groups: Vec<(Option<String>, i64)>) -> Counts {
    groups.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let total: i64 = groups.iter().map(|(_, n)| n).sum();
    let small = groups.iter().filter(|(_, n)| *n < FLOOR).count();
    let mut shown = groups.len() - small;
    let open = |shown: usize| {
        let hidden = &groups[shown..];
        let sum: i64 = hidden.iter().map(|(_, n)| n).sum();
        hidden.len() > 1 && sum >= FLOOR + i64::try_from(hidden.len()).unwrap_or(i64::MAX - FLOOR)
    };
    while small > 0 && shown > 0 && (shown + small == groups.len() || !open(shown)) {
        let next = groups[shown - 1].1;
        shown = groups.iter().filter(|(_, n)| *n > next).count();
    }
    let total = ((small == 0 && total >= FLOOR) || open(shown)).then_some(total);
    groups[shown..].sort_by(|a, b| a.0.cmp(&b.0));
    let groups = groups.into_iter().enumerate().map(|(at, (code, n))| (code, (at < shown).then_some(n))).collect();
    Counts { total, groups }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn coded(sizes: &[i64]) -> Vec<(Option<String>, i64)> {
        sizes.iter().enumerate().map(|(at, n)| (Some(at.to_string()), *n)).collect()
    }

    /// Every way in which groups of at least one make up a sum.
    fn ways(groups: usize, sum: i64) -> Vec<Vec<i64>> {
        if groups == 1 {
            return if sum > 0 { vec![vec![sum]] } else { vec![] };
        }
        (1..sum)
            .flat_map(|first| {
                ways(groups - 1, sum - first).into_iter().map(move |mut rest| {
                    rest.push(first);
                    rest
                })
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whoever knows all that is told, and how it is decided what is told, is left with at least two sizes of every group that is not.
        #[test]
        fn what_is_not_told_cannot_be_computed(sizes in prop::collection::vec(prop_oneof![1_i64..7, 1_i64..12], 0..5)) {
            let counts = told(coded(&sizes));
            let shown: Vec<(Option<String>, i64)> = counts.groups.iter().filter_map(|(code, n)| n.map(|n| (code.clone(), n))).collect();
            let hidden: Vec<Option<String>> = counts.groups.iter().filter(|(_, n)| n.is_none()).map(|(code, _)| code.clone()).collect();
            prop_assert!(shown.iter().all(|(_, n)| *n >= FLOOR));
            prop_assert!(hidden.is_sorted());
            if hidden.is_empty() {
                return Ok(());
            }
            let rest = shown.iter().map(|(_, n)| n).sum::<i64>();
            let sums = match counts.total {
                Some(total) => total - rest..=total - rest,
                None => 1..=24,
            };
            let possible: Vec<Vec<i64>> = sums.flat_map(|sum| ways(hidden.len(), sum)).filter(|way| {
                let guess = shown.iter().cloned().chain(hidden.iter().cloned().zip(way.iter().copied())).collect();
                told(guess) == counts
            }).collect();
            for at in 0..hidden.len() {
                let sizes: std::collections::BTreeSet<i64> = possible.iter().map(|way| way[at]).collect();
                prop_assert!(sizes.len() > 1, "{:?} is {:?} in {:?}", hidden[at], sizes, counts);
            }
        }
    }

    #[test]
    fn a_total_does_not_tell_groups_of_one() {
        let seen = |sizes: &[i64]| {
            let counts = told(coded(sizes));
            (counts.total, counts.groups.iter().filter_map(|(_, n)| *n).collect::<Vec<_>>())
        };
        assert_eq!(seen(&[10, 1, 1]), (Some(12), vec![]));
        assert_eq!(seen(&[30, 10, 2, 1]), (Some(43), vec![30]));
        assert_eq!(seen(&[5, 1, 1]), (None, vec![]));
        assert_eq!(seen(&[5, 4, 4, 4]), (Some(17), vec![]));
        assert_eq!(seen(&[9, 7, 5]), (Some(21), vec![9, 7, 5]));
        assert_eq!(seen(&[3]), (None, vec![]));
    }
}
