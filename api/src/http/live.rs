//! Following what happens: the hub tells what each tenant's log says is new, and each subscription runs its operation once for
//! each occasion, with the caller, policy, mask and log of that moment.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::web;
use async_graphql::parser::types::ExecutableDocument;
use entity::audit::feed::{self, Happened};
use entity::{Error, House, Principal, Session, TenantId, Unaccounted};
use futures_util::StreamExt;
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::graphql::too_many;
use super::perform::{Asked, Done, Ready, disclosure};
use super::{Caller, Shared};
use crate::graphql::subscription::{Interest, Interests, Occasion};

/// How often there is a look at the log.
const SOON: Duration = Duration::from_millis(200);
/// How often there is a look whether the caller is still let in.
const AGAIN: Duration = Duration::from_secs(3);
/// How many events a slow follower may be behind; then it is dropped.
const BEHIND: usize = 1_024;
/// How many events are read at once.
const MOST: u64 = 500;

/// What is new in the logs that somebody follows.
#[derive(Default)]
pub struct Hub(Mutex<HashMap<TenantId, Sender<Arc<Happened>>>>);

/// How many subscriptions run their operation at once: requests come first.
static RUNNING: Semaphore = Semaphore::const_new(4);

impl Hub {
    /// From now on.
    async fn follow(shared: &web::Data<Shared>, tenant: TenantId) -> Result<Receiver<Arc<Happened>>, Error> {
        let from = feed::size(&shared.house, tenant).await?;
        let mut followed = shared.hub.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = followed.get(&tenant) {
            return Ok(sender.subscribe());
        }
        let (sender, receiver) = broadcast::channel(BEHIND);
        followed.insert(tenant, sender.clone());
        tokio::spawn(tell(shared.clone(), tenant, from, sender));
        Ok(receiver)
    }
}

/// Tells what is new as long as anybody listens.
async fn tell(shared: web::Data<Shared>, tenant: TenantId, mut next: u64, sender: Sender<Arc<Happened>>) {
    loop {
        tokio::time::sleep(SOON).await;
        {
            let mut followed = shared.hub.0.lock().unwrap_or_else(PoisonError::into_inner);
            if sender.receiver_count() == 0 {
                followed.remove(&tenant);
                return;
            }
        }
        match news(&shared.house, tenant, next).await {
            Ok(happened) => {
                for one in happened {
                    next = one.sequence + 1;
                    let _ = sender.send(Arc::new(one));
                }
            }
            Err(error) => tracing::error!(%error, "what is new in a log cannot be read"),
        }
    }
}

async fn news(house: &House, tenant: TenantId, next: u64) -> Result<Vec<Happened>, Error> {
    if feed::size(house, tenant).await? <= next { Ok(Vec::new()) } else { feed::happened(house, tenant, next, MOST).await }
}

/// Why a subscription is over.
pub enum Over {
    /// The caller is not let in any more.
    Unauthorized,
    /// It did not take what happened fast enough.
    TooSlow,
    /// The server cannot tell any more.
    Unavailable,
}

/// A subscription that goes on.
pub struct Live {
    shared: web::Data<Shared>,
    caller: Caller,
    principal: Arc<Principal>,
    admitted: Instant,
    asked: Asked,
    document: ExecutableDocument,
    name: String,
    interests: Vec<Interest>,
    happened: Receiver<Arc<Happened>>,
    waiting: VecDeque<Occasion>,
    _place: OwnedSemaphorePermit,
}

impl Live {
    /// Begins, or says what is wrong with the operation.
    ///
    /// # Errors
    /// What is to be answered instead.
    pub async fn begin(shared: &web::Data<Shared>, caller: Caller, principal: Arc<Principal>, asked: Asked, ready: Ready) -> Result<Self, Done> {
        let Ready { document, name, .. } = ready;
        let Some(place) = shared.stream(&principal) else { return Err(too_many()) };
        let unavailable = |error: Error| {
            tracing::error!(%error, "a subscription cannot begin");
            asked.withheld(&error.into())
        };
        let happened = Hub::follow(shared, principal.tenant()).await.map_err(unavailable)?;
        let interests = Interests::default();
        let request = asked.request(document.clone()).data(interests.clone());
        let begun = Session::run(&shared.house, &principal, asked.operation(shared, "subscription", &name), async |session| {
            let first = shared.schemas.of_caller(&principal).execute_stream(request.data(Arc::clone(&session))).next().await;
            if first.as_ref().is_some_and(|response| !response.errors.is_empty()) {
                session.fail();
            }
            first
        });
        match begun.await {
            Err(unaccounted) => Err(asked.withheld(&unaccounted)),
            Ok(Some(response)) => Err(asked.answered(shared, response, vec![])),
            Ok(None) => {
                let (shared, interests) = (shared.clone(), interests.taken());
                Ok(Self {
                    shared,
                    caller,
                    principal,
                    admitted: Instant::now(),
                    asked,
                    document,
                    name,
                    interests,
                    happened,
                    waiting: VecDeque::new(),
                    _place: place,
                })
            }
        }
    }

    /// What is to be told next; `None` when nothing has happened until then.
    ///
    /// # Errors
    /// Why there is nothing more.
    pub async fn next(&mut self, until: Instant) -> Result<Option<Done>, Over> {
        loop {
            if self.admitted.elapsed() > AGAIN {
                self.principal = Arc::new(self.caller.admitted(&self.shared).await.map_err(|_| Over::Unauthorized)?);
                self.admitted = Instant::now();
            }
            if let Some(occasion) = self.waiting.pop_front() {
                if let Some(done) = self.run(occasion).await? {
                    return Ok(Some(done));
                }
                continue;
            }
            match tokio::time::timeout_at(until.min(Instant::now() + AGAIN), self.happened.recv()).await {
                Err(_) if Instant::now() >= until => return Ok(None),
                Err(_) => {}
                Ok(Ok(happened)) => self.waiting.extend(self.interests.iter().flat_map(|interest| occasions(*interest, &happened))),
                Ok(Err(RecvError::Lagged(_))) => return Err(Over::TooSlow),
                Ok(Err(RecvError::Closed)) => return Err(Over::Unavailable),
            }
        }
    }

    /// Runs the operation on an occasion. Nothing is told of what the caller may not see.
    async fn run(&self, occasion: Occasion) -> Result<Option<Done>, Over> {
        let done = on(&self.shared, &self.principal, &self.asked, self.document.clone(), ("subscription", &self.name), occasion);
        done.await.map_err(|_| Over::Unavailable)
    }
}

/// Runs a subscription's operation on an occasion. `None` when there is nothing that the caller may see.
///
/// # Errors
/// It could not be read or recorded; the server's own log says why.
pub async fn on(
    shared: &Shared,
    principal: &Arc<Principal>,
    asked: &Asked,
    document: ExecutableDocument,
    (kind, name): (&'static str, &str),
    occasion: Occasion,
) -> Result<Option<Done>, Unaccounted> {
    let _turn = RUNNING.acquire().await;
    let request = asked.request(document).data(occasion);
    let done = Session::run(&shared.house, principal, asked.operation(shared, kind, name), async |session| {
        let response = shared.schemas.of_caller(principal).execute_stream(request.data(Arc::clone(&session))).next().await;
        let disclosure = disclosure(&session);
        response.map(|response| (response, disclosure))
    });
    let done = done.await.inspect_err(|unaccounted| tracing::error!(request = %asked.request, error = %unaccounted, "nothing is told"))?;
    Ok(done.map(|(response, disclosure)| asked.answered(shared, response, disclosure)))
}

/// What of an event concerns an interest.
fn occasions(interest: Interest, happened: &Happened) -> Vec<Occasion> {
    match interest {
        Interest::Customers(None) => happened.customers.iter().copied().map(Occasion::Customer).collect(),
        Interest::Customers(Some(one)) => happened.customers.iter().filter(|id| **id == one).copied().map(Occasion::Customer).collect(),
        Interest::Import(import) => happened.import.filter(|id| *id == import).map(Occasion::Import).into_iter().collect(),
        Interest::Events if happened.quiet => vec![],
        Interest::Events => vec![Occasion::Event(happened.event)],
    }
}
