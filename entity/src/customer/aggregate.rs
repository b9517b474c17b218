//! Counts of customers by group, with a floor: a group of few says something about each of them.

use policy::{Act, Field};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Asterisk, ExprTrait, Func};
use sea_orm::{QueryFilter, QuerySelect};

use super::questions::{Filter, filtered, require, within};
use super::table::Column;
use crate::{Error, Session};

/// A group of fewer is not told, and where only one is not told, the next smallest is not told either, for the total would
/// tell it.
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
    /// All of them; `None` when there are fewer than [`FLOOR`].
    pub total: Option<i64>,
    /// By code; `None` is the group of those who have none. A count of `None` is not told.
    pub groups: Vec<(Option<String>, Option<i64>)>,
}

/// Counts the customers that meet a filter, group by group, the largest first. Restricted customers are in no group.
///
/// # Errors
/// [`Error::Denied`] to whom may not aggregate by the field.
pub async fn counts(session: &Session, filter: &Filter, by: Group) -> Result<Counts, Error> {
    let (column, field) = by.of();
    let reach = require(session, Act::Aggregate, field)?;
    let Some(select) = filtered(session, filter)? else { return Ok(Counts { total: None, groups: vec![] }) };
    let select = select.filter(within(session, reach)).filter(Column::RestrictedAt.is_null());
    let select = select.select_only().expr_as(Expr::col(column).cast_as("text"), "code").expr_as(Func::count(Expr::col(Asterisk)), "n").group_by(column);
    let mut groups: Vec<(Option<String>, i64)> = select.into_tuple().all(session.scope().tx()).await?;
    groups.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    Ok(told(groups))
}

/// What may be told of groups that are sorted, the largest first.
fn told(groups: Vec<(Option<String>, i64)>) -> Counts {
    let total: i64 = groups.iter().map(|(_, n)| n).sum();
    let mut shown = groups.iter().take_while(|(_, n)| *n >= FLOOR).count();
    if shown + 1 == groups.len() {
        shown = shown.saturating_sub(1);
    }
    let groups = groups.into_iter().enumerate().map(|(at, (code, n))| (code, (at < shown).then_some(n))).collect();
    Counts { total: (total >= FLOOR).then_some(total), groups }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whoever subtracts what is told from the total learns of no group of fewer than the floor.
        #[test]
        fn what_is_not_told_cannot_be_computed(mut sizes in prop::collection::vec(1_i64..40, 0..8)) {
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            let groups: Vec<_> = sizes.iter().enumerate().map(|(at, n)| (Some(at.to_string()), *n)).collect();
            let counts = told(groups);
            let hidden: Vec<usize> = (0..sizes.len()).filter(|at| counts.groups[*at].1.is_none()).collect();
            for (at, n) in sizes.iter().enumerate() {
                prop_assert!(*n >= FLOOR || counts.groups[at].1.is_none());
            }
            prop_assert!(hidden.len() != 1 || counts.total.is_none() || sizes.len() == 1 && counts.total.is_none());
        }
    }
}
