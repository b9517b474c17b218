//! What can be followed. An operation runs once for each occasion, in a session of its own: policy, mask and log are those of
//! the moment.

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{Context, ID, Result, Subscription};
use entity::{Error, audit, import};
use futures_util::stream::{self, Stream};
use policy::Verb;
use uuid::Uuid;

use super::audit::AuditEvent;
use super::customer::Customer;
use super::id::{self, Kind};
use super::page::Page;
use super::session;
use super::steward::ImportReport;

/// What can be followed.
pub struct Following;

/// What a subscription wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// One customer, or every one.
    Customers(Option<Uuid>),
    /// An import.
    Import(Uuid),
    /// Every event of the log.
    Events,
}

/// Why an operation runs now.
#[derive(Clone, Copy, Debug)]
pub enum Occasion {
    /// A customer was written.
    Customer(Uuid),
    /// An import went on.
    Import(Uuid),
    /// An event was logged.
    Event(Uuid),
}

/// Collects what a subscription wants to hear of, when it begins.
#[derive(Clone, Default)]
pub struct Interests(Arc<Mutex<Vec<Interest>>>);

impl Interests {
    /// What was collected.
    pub fn taken(&self) -> Vec<Interest> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, interest: Interest) {
        let mut interests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !interests.contains(&interest) {
            interests.push(interest);
        }
    }
}

/// The occasion; when there is none, the interest is collected.
fn occasion(ctx: &Context<'_>, interest: Interest) -> Option<Occasion> {
    if let Some(interests) = ctx.data_opt::<Interests>() {
        interests.add(interest);
    }
    ctx.data_opt::<Occasion>().copied()
}

/// What can be followed.
#[Subscription(name = "Subscription")]
impl Following {
    /// A customer as it is now, whenever it was written; of every customer that the caller may see, if no id is given.
    async fn customer_changed(&self, ctx: &Context<'_>, id: Option<ID>) -> Result<impl Stream<Item = Customer> + use<>> {
        let wanted = match id {
            Some(id) => {
                let key = id::customer(&id).ok_or(Error::NotFound)?;
                // The one that it was merged into, whose changes these are.
                Some(entity::customer::get(session(ctx), key).await?.map_or(key, |customer| customer.id()))
            }
            None => None,
        };
        let changed = match occasion(ctx, Interest::Customers(wanted)) {
            Some(Occasion::Customer(key)) if wanted == Some(key) => entity::customer::get(session(ctx), key).await?,
            // One that was merged into another is that other's change.
            Some(Occasion::Customer(key)) if wanted.is_none() => entity::customer::get(session(ctx), key).await?.filter(|customer| customer.id() == key),
            _ => None,
        };
        Ok(stream::iter(changed.map(|customer| Customer::at(&Page::of(ctx, &[&[]], vec![customer]), 0))))
    }

    /// An import's report, whenever it has gone on.
    async fn import_progress(&self, ctx: &Context<'_>, id: ID) -> Result<impl Stream<Item = ImportReport> + use<>> {
        let wanted = id::key(Kind::Import, &id).ok_or(Error::NotFound)?;
        let now = ImportReport::of(import::report(session(ctx), wanted).await?);
        let went_on = matches!(occasion(ctx, Interest::Import(wanted)), Some(Occasion::Import(key)) if key == wanted);
        Ok(stream::iter(went_on.then_some(now)))
    }

    /// Every event of the log, as it is logged. For those who may read the log; their own reading of it is left out.
    async fn audit_event(&self, ctx: &Context<'_>) -> Result<impl Stream<Item = AuditEvent> + use<>> {
        session(ctx).permit(Verb::AuditRead)?;
        let event = match occasion(ctx, Interest::Events) {
            Some(Occasion::Event(key)) => audit::event(session(ctx), key).await?,
            _ => None,
        };
        Ok(stream::iter(event.map(AuditEvent::of)))
    }
}
