//! Customers counted by group, and orders summed up by month.

use async_graphql::{Enum, SimpleObject};
use entity::customer::{Counts, Month};
use policy::clean::amount;

/// By what customers are counted.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "entity::customer::Group")]
pub enum CustomerGroup {
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

/// Customers by group.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct CustomerCounts {
    /// Null when there are fewer than five.
    total: Option<i64>,
    /// The largest first.
    groups: Vec<GroupCount>,
}

impl CustomerCounts {
    pub fn of(counts: Counts) -> Self {
        Self { total: counts.total, groups: counts.groups.into_iter().map(|(code, count)| GroupCount { code, count }).collect() }
    }
}

/// The orders of a month.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct OrderMonth {
    /// `2026-11`, in Chinese time.
    month: String,
    /// How many; null where it is not told.
    orders: Option<i64>,
    /// Their sum, a decimal with two places; null where it is not told.
    amount: Option<String>,
}

impl OrderMonth {
    pub fn of(month: Month) -> Self {
        let (orders, fen) = month.orders.unzip();
        Self { month: month.month, orders, amount: fen.map(amount::yuan) }
    }
}

/// One group.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct GroupCount {
    /// The code, as it is stored; null for those who have none.
    code: Option<String>,
    /// Null when it is not told.
    count: Option<i64>,
}
