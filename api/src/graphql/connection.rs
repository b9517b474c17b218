//! Connections to what hangs on a customer, newest first, and how many there are in all when that is asked for.

use std::sync::Arc;

use async_graphql::resolver_utils::ContainerType;
use async_graphql::{Context, Object, Result, SelectionField, SimpleObject};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::{Error, Hanging, Open, Place, Stretch, Wanted};
use uuid::Uuid;

use super::hanging::{Contact, Order, Ticket, TimelineEntry};
use super::page::{Counted, Page};
use super::rows::{Plain, Row, Rows};
use super::session;

/// The connection of what happened, which holds nothing without a time. Looked at from its end, what has none would be in the way.
pub const TIMELINE: &str = "timeline";

/// Which part of what hangs on a customer is asked for.
pub struct Part {
    page: Arc<Page>,
    at: usize,
    name: &'static str,
    most: usize,
    /// How many rows are fetched.
    fetched: u64,
    stretch: Stretch,
}

/// The arguments of a connection, as Relay has them.
pub struct Asked {
    pub first: Option<i32>,
    pub after: Option<String>,
    pub last: Option<i32>,
    pub before: Option<String>,
}

impl Part {
    /// What is asked of a connection of the customer at a place of a page.
    pub fn of(ctx: &Context<'_>, page: &Arc<Page>, at: usize, name: &'static str, asked: Asked) -> Result<Self, Error> {
        let Asked { first, after, last, before } = asked;
        if first.is_some() && last.is_some() {
            return Err(Error::Invalid("first, last: one of them, not both".to_owned()));
        }
        let named = if last.is_some() { "last" } else { "first" };
        let most = within(first.or(last).unwrap_or(20), 100).ok_or_else(|| Error::Invalid(format!("{named}: a number from 1 to 100")))?;
        let place = |argument: &str, cursor: Option<String>| {
            let of = entity::Connection { customer: &page.customers[at], name };
            let open = |cursor: String| {
                let cursor = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Error::Invalid(format!("{argument}: not a cursor")))?;
                of.place(session(ctx), &cursor)
                    .map_err(|error| if let Error::Invalid(why) = error { Error::Invalid(format!("{argument}: {why}")) } else { error })
            };
            cursor.map(open).transpose()
        };
        let stretch =
            Stretch { after: place("after", after)?, before: place("before", before)?, last: last.is_some(), timed: last.is_some() && name == TIMELINE };
        Ok(Self { page: Arc::clone(page), at, name, most: usize::try_from(most).unwrap_or(100), fetched: fetched(&ctx.field(), most), stretch })
    }

    /// Fetches what is wanted, given how many rows to fetch.
    pub async fn fetch(&self, ctx: &Context<'_>, wanted: impl FnOnce(Option<u64>) -> Wanted) -> Result<Arc<Hanging>, Error> {
        self.page.hanging(session(ctx), wanted(Some(self.fetched)), self.at, self.stretch).await
    }

    /// The key of the customer.
    pub fn customer(&self) -> Uuid {
        self.page.customers[self.at].id()
    }

    /// The connection of these rows, of which there are so many in all, if that is known.
    pub fn connection<T>(self, rows: impl IntoIterator<Item = (Place, T)>, total: Option<Open<i64>>, counted: &'static [Counted]) -> Connection<T> {
        let mut rows: Vec<_> = rows.into_iter().collect();
        let more = rows.len() > self.most;
        if self.stretch.last {
            rows.drain(..rows.len().saturating_sub(self.most));
        }
        rows.truncate(self.most);
        let (places, nodes) = rows.into_iter().unzip();
        Connection { part: self, nodes, places, more, total, counted }
    }
}

/// Some of something.
pub struct Connection<T> {
    part: Part,
    nodes: Vec<T>,
    places: Vec<Place>,
    more: bool,
    total: Option<Open<i64>>,
    counted: &'static [Counted],
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
    serial,
    concrete(name = "OrderConnection", params(Order)),
    concrete(name = "ContactConnection", params(Contact)),
    concrete(name = "TicketConnection", params(Ticket)),
    concrete(name = "TimelineConnection", params(TimelineEntry))
)]
impl<T: Plain + Clone> Connection<T>
where
    Edge<T>: Plain,
{
    /// Each with its cursor, newest first.
    async fn edges(&self, ctx: &Context<'_>) -> Result<Rows<Edge<T>>> {
        let edge = |(node, place): (&T, &Place)| Ok(Edge { cursor: self.cursor(ctx, *place)?, node: Row(node.clone()) });
        Ok(Rows(self.nodes.iter().zip(&self.places).map(edge).collect::<Result<_>>()?))
    }

    /// Newest first.
    async fn nodes(&self) -> Rows<T> {
        Rows(self.nodes.clone())
    }

    /// Whether there is more, and from where.
    async fn page_info(&self, ctx: &Context<'_>) -> Result<PageInfo> {
        let cursor = |place: Option<&Place>| place.map(|place| self.cursor(ctx, *place)).transpose();
        Ok(PageInfo {
            has_next_page: if self.part.stretch.last { self.part.stretch.before.is_some() } else { self.more },
            has_previous_page: if self.part.stretch.last { self.more } else { self.part.stretch.after.is_some() },
            start_cursor: cursor(self.places.first())?,
            end_cursor: cursor(self.places.last())?,
        })
    }

    /// How many there are in all; null where that may not be told.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<Option<i64>> {
        if let Some(total) = &self.total {
            return Ok(session(ctx).tell(total.clone()));
        }
        let mut total = None;
        for what in self.counted {
            if let Some(count) = self.part.page.count(session(ctx), *what, self.part.customer()).await? {
                total = Some(total.unwrap_or(0) + count);
            }
        }
        Ok(total)
    }
}

/// None of its fields is told at once.
impl<T> Plain for Connection<T> where Self: ContainerType {}

/// One of a connection.
#[derive(SimpleObject)]
#[graphql(serial)]
#[graphql(concrete(name = "OrderEdge", params(Order)))]
#[graphql(concrete(name = "ContactEdge", params(Contact)))]
#[graphql(concrete(name = "TicketEdge", params(Ticket)))]
#[graphql(concrete(name = "TimelineEdge", params(TimelineEntry)))]
pub struct Edge<T: Plain> {
    /// Sealed; good for this caller and connection only.
    cursor: String,
    node: Row<T>,
}

impl<T: Plain> Plain for Edge<T> where Self: ContainerType {}

/// Whether there is more, and from where.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct PageInfo {
    pub has_next_page: bool,
    pub has_previous_page: bool,
    pub start_cursor: Option<String>,
    pub end_cursor: Option<String>,
}

/// How many rows a connection fetches of which so many are asked for: one more tells that there are more, where that is asked.
pub fn fetched(connection: &SelectionField<'_>, most: u64) -> u64 {
    most + u64::from(connection.selection_set().any(|field| ["pageInfo", "totalCount"].contains(&field.name())))
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
