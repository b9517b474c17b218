//! Connections to what hangs on a customer, newest first, and how many there are in all when that is asked for.

use std::sync::Arc;

use async_graphql::{Context, Object, OutputType, Result, SimpleObject};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::{Error, Place};

use super::hanging::{Contact, Order, Ticket, TimelineEntry};
use super::page::{After, Hanging, Page};
use super::session;

/// Which part of what hangs on a customer is asked for.
pub struct Part {
    page: Arc<Page>,
    at: usize,
    name: &'static str,
    most: usize,
    after: Option<Place>,
}

impl Part {
    /// The `first` of a connection of the customer at a place of a page, behind a cursor.
    pub fn of(ctx: &Context<'_>, page: &Arc<Page>, at: usize, name: &'static str, first: Option<i32>, after: Option<String>) -> Result<Self, Error> {
        let most = usize::try_from(at_most(first, 20)?).unwrap_or(100);
        let after = after.map(|cursor| {
            let cursor = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Error::Invalid("after: not a cursor".to_owned()))?;
            entity::Connection { customer: &page.customers[at], name }.place(session(ctx), &cursor)
        });
        Ok(Self { page: Arc::clone(page), at, name, most, after: after.transpose()? })
    }

    /// How many rows to fetch: one more tells that there are more.
    pub const fn limit(&self) -> u64 {
        self.most as u64 + 1
    }

    /// Behind which.
    pub fn after(&self) -> After {
        self.after.map(|place| (self.at, place))
    }

    /// The connection of these rows.
    pub fn connection<T>(self, rows: impl IntoIterator<Item = (Place, T)>, counted: &'static [Hanging]) -> Connection<T> {
        let mut rows: Vec<_> = rows.into_iter().collect();
        let more = rows.len() > self.most;
        rows.truncate(self.most);
        let (places, nodes) = rows.into_iter().unzip();
        Connection { part: self, nodes, places, more, counted }
    }
}

/// Some of something.
pub struct Connection<T> {
    part: Part,
    nodes: Vec<T>,
    places: Vec<Place>,
    more: bool,
    counted: &'static [Hanging],
}

impl<T> Connection<T> {
    fn cursor(&self, ctx: &Context<'_>, place: Place) -> Result<String, Error> {
        let of = entity::Connection { customer: &self.part.page.customers[self.part.at], name: self.part.name };
        Ok(URL_SAFE_NO_PAD.encode(of.cursor(session(ctx), place)?))
    }
}

/// Some of something, newest first.
#[expect(clippy::unused_async, reason = "resolvers are asynchronous, whether they wait or not")]
#[Object(
    concrete(name = "OrderConnection", params(Order)),
    concrete(name = "ContactConnection", params(Contact)),
    concrete(name = "TicketConnection", params(Ticket)),
    concrete(name = "TimelineConnection", params(TimelineEntry))
)]
impl<T: OutputType + Clone> Connection<T>
where
    Edge<T>: OutputType,
{
    /// Each with its cursor, newest first.
    async fn edges(&self, ctx: &Context<'_>) -> Result<Vec<Edge<T>>> {
        let edge = |(node, place): (&T, &Place)| Ok(Edge { cursor: self.cursor(ctx, *place)?, node: node.clone() });
        self.nodes.iter().zip(&self.places).map(edge).collect()
    }

    /// Newest first.
    async fn nodes(&self) -> &[T] {
        &self.nodes
    }

    /// Whether there is more, and from where.
    async fn page_info(&self, ctx: &Context<'_>) -> Result<PageInfo> {
        let cursor = |place: Option<&Place>| place.map(|place| self.cursor(ctx, *place)).transpose();
        Ok(PageInfo {
            has_next_page: self.more,
            has_previous_page: self.part.after.is_some(),
            start_cursor: cursor(self.places.first())?,
            end_cursor: cursor(self.places.last())?,
        })
    }

    /// How many there are in all; null where that may not be told.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<Option<i64>> {
        let mut total = None;
        for what in self.counted {
            if let Some(count) = self.part.page.count(session(ctx), *what, self.part.page.customers[self.part.at].id()).await? {
                total = Some(total.unwrap_or(0) + count);
            }
        }
        Ok(total)
    }
}

/// One of a connection.
#[derive(SimpleObject)]
#[graphql(concrete(name = "OrderEdge", params(Order)))]
#[graphql(concrete(name = "ContactEdge", params(Contact)))]
#[graphql(concrete(name = "TicketEdge", params(Ticket)))]
#[graphql(concrete(name = "TimelineEdge", params(TimelineEntry)))]
pub struct Edge<T: OutputType> {
    /// Sealed; good for this caller and connection only.
    cursor: String,
    node: T,
}

/// Whether there is more, and from where.
#[derive(SimpleObject)]
pub struct PageInfo {
    pub has_next_page: bool,
    pub has_previous_page: bool,
    pub start_cursor: Option<String>,
    pub end_cursor: Option<String>,
}

/// How many of a page were asked for: 1 to 100.
pub fn at_most(asked: Option<i32>, default: u64) -> Result<u64, entity::Error> {
    match asked {
        None => Ok(default),
        Some(n) => within(n, 100).ok_or_else(|| entity::Error::Invalid("first: a number from 1 to 100".to_owned())),
    }
}

/// A number of rows, if it is one.
pub fn within(asked: i32, most: u64) -> Option<u64> {
    u64::try_from(asked).ok().filter(|n| (1..=most).contains(n))
}

/// What a page of something costs.
pub fn cost(first: Option<i32>, default: usize, each: usize) -> usize {
    first.map_or(default, |n| usize::try_from(n).unwrap_or(0).min(1_000)) * each.max(1)
}
