//! Counts of customers by group, with a floor: a group of few says something about each of them.

use chrono::{Months, NaiveDate, NaiveTime, Utc};
use policy::{Act, Field};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Asterisk, ExprTrait, Func};
use sea_orm::{DbBackend, JoinType, QueryFilter, QueryOrder, QuerySelect, QueryTrait};

use super::questions::{Filter, filtered, require, within};
use super::table::{Column, Entity};
use crate::order::table as order;
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

/// The orders of a month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Month {
    /// `2026-11`, in Chinese time.
    pub month: String,
    /// How many, and their sum in fen; `None` where fewer than five customers ordered.
    pub orders: Option<(i64, i64)>,
}

/// Orders of the customers within the caller's reach, month by month. Whole months only: of two times that end a day apart the
/// difference would be the orders of a day. (Whoever asks about the running month every day can subtract as well, as with any
/// count of what grows.) Those of restricted customers are in no month.
///
/// # Errors
/// [`Error::Denied`] to whom may not aggregate amounts by time.
pub async fn orders_by_month(session: &Session, from: Option<&str>, to: Option<&str>) -> Result<Vec<Month>, Error> {
    let reach = require(session, Act::Aggregate, Field::OrderedAt)?.min(require(session, Act::Aggregate, Field::OrderAmount)?);
    let begins = |argument: &str, month: Option<&str>| {
        let day = month.map(|month| {
            NaiveDate::parse_from_str(&format!("{month}-01"), "%Y-%m-%d")
                .ok()
                .filter(|_| month.len() == 7)
                .ok_or_else(|| Error::Invalid(format!("{argument}: a month as 2026-11")))
        });
        day.transpose()
    };
    let begun = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_local_timezone(policy::clean::date::zone()).single().map(|at| at.with_timezone(&Utc));
    let (from, to) = (begins("from", from)?.and_then(begun), begins("to", to)?.and_then(|day| begun(day.checked_add_months(Months::new(1))?)));
    let Some(select) = filtered(session, &Filter::default())? else { return Ok(vec![]) };
    let month = match session.scope().tx().get_database_backend() {
        DbBackend::Postgres => "to_char(customer_order.ordered_at AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM')",
        _ => "strftime('%Y-%m', customer_order.ordered_at, '+8 hours')",
    };
    let theirs: RelationDef =
        Entity::belongs_to(order::Entity).from((Column::TenantId, Column::Id)).to((order::Column::TenantId, order::Column::CustomerId)).into();
    let select = select.join(JoinType::InnerJoin, theirs).filter(within(session, reach)).filter(Column::RestrictedAt.is_null());
    let select = select.filter(order::Column::OrderedAt.is_not_null());
    let select = select.apply_if(from, |select, from| select.filter(order::Column::OrderedAt.gte(from)));
    let select = select.apply_if(to, |select, to| select.filter(order::Column::OrderedAt.lt(to)));
    let select = select.select_only().expr_as(Expr::cust(month), "month").expr_as(Func::count(Expr::col(Asterisk)), "orders");
    let select = select.expr_as(Expr::cust("CAST(COALESCE(SUM(customer_order.amount_fen), 0) AS bigint)"), "fen");
    let select = select.expr_as(Expr::cust("COUNT(DISTINCT customer_order.customer_id)"), "customers");
    let select = select.group_by(Expr::cust(month)).order_by_asc(Expr::cust(month));
    // SQLite knows no month for the last hours of the year 9999.
    let rows: Vec<(Option<String>, i64, i64, i64)> = select.into_tuple().all(session.scope().tx()).await?;
    let told =
        |(month, orders, fen, customers): (Option<String>, i64, i64, i64)| Some(Month { month: month?, orders: (customers >= FLOOR).then_some((orders, fen)) });
    Ok(rows.into_iter().filter_map(told).collect())
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
