//! Connections to what hangs on a customer: the newest few, and how many there are in all when that is asked for.

use std::sync::Arc;

use async_graphql::{Context, Object, OutputType, Result};
use uuid::Uuid;

use super::hanging::{Contact, Order, Ticket, TimelineEntry};
use super::page::{Hanging, Page};
use super::session;

/// The newest few of something.
pub struct Connection<T> {
    /// The few.
    pub nodes: Vec<T>,
    /// Of which page, to count with.
    pub page: Arc<Page>,
    /// Of which customer.
    pub customer: Uuid,
    /// What is counted.
    pub counted: &'static [Hanging],
}

/// The newest few, newest first.
#[Object(
    concrete(name = "OrderConnection", params(Order)),
    concrete(name = "ContactConnection", params(Contact)),
    concrete(name = "TicketConnection", params(Ticket)),
    concrete(name = "TimelineConnection", params(TimelineEntry))
)]
impl<T: OutputType> Connection<T> {
    /// The newest few, newest first.
    async fn nodes(&self) -> &[T] {
        &self.nodes
    }

    /// How many there are in all; null where that may not be told.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<Option<i64>> {
        let mut total = None;
        for what in self.counted {
            if let Some(count) = self.page.count(session(ctx), *what, self.customer).await? {
                total = Some(total.unwrap_or(0) + count);
            }
        }
        Ok(total)
    }
}

/// How many of a page were asked for: 1 to 100.
pub fn at_most(asked: Option<i32>, default: u64) -> Result<u64, entity::Error> {
    match asked {
        None => Ok(default),
        Some(n) => u64::try_from(n).ok().filter(|n| (1..=100).contains(n)).ok_or_else(|| entity::Error::Invalid("first: a number from 1 to 100".to_owned())),
    }
}

/// What a page of something costs.
pub fn cost(first: Option<i32>, default: usize, each: usize) -> usize {
    first.map_or(default, |n| usize::try_from(n).unwrap_or(0).min(100)) * each.max(1)
}
