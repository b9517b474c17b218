//! The server: what every worker shares, and where each request goes.

mod explorer;
mod graphql;
mod live;
mod perform;
mod socket;
mod stream;
pub(crate) mod webhook;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::middleware::Compress;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use async_graphql::parser::types::ExecutableDocument;
use entity::{House, Principal, TenantId, document};
use governor::middleware::StateInformationMiddleware;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::auth::{self, Issuer, NotAdmitted};
use crate::config::{Config, Limits};
use crate::error::Stop;
use crate::graphql::Schemas;
use crate::keeper::Published;
use crate::outbound::Guarded;
use crate::{keeper, uploads};

pub(crate) use graphql::Exchange;
use live::Hub;

/// What every worker shares.
pub struct Shared {
    house: Arc<House>,
    issuer: Issuer,
    schemas: Schemas,
    /// The names of the schema, which messages may quote.
    names: HashSet<String>,
    limits: Limits,
    /// Documents that were within the limits, by their text.
    documents: Cache<String, Arc<ExecutableDocument>>,
    rate: DefaultKeyedRateLimiter<String, StateInformationMiddleware>,
    /// How many requests of one caller run.
    running: Places,
    /// How many streams of one caller go on.
    streams: Places,
    /// How many sockets of one caller are open.
    sockets: Places,
    /// How many sockets are open whose clients nobody knows yet.
    strangers: Arc<Semaphore>,
    hub: Hub,
    /// Whether tenants require registered documents, and since when that is known.
    required: Mutex<HashMap<TenantId, (Instant, bool)>>,
}

/// So many places for each caller. Callers are users and tokens of the tenants, so the map stays small.
struct Places {
    most: usize,
    of: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Places {
    fn new(most: usize) -> Self {
        Self { most, of: Mutex::default() }
    }

    fn take(&self, caller: &str) -> Option<OwnedSemaphorePermit> {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let places = of.entry(caller.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.most)));
        Arc::clone(places).try_acquire_owned().ok()
    }
}

/// What a caller is known by.
fn called(principal: &Principal) -> String {
    format!("{} {}", principal.tenant().0, principal.subject())
}

/// How many documents are kept.
const DOCUMENTS: u64 = 500;
/// One that nobody asked for so long is forgotten: somebody may have written a person's number into it.
const ASKED: Duration = Duration::from_mins(1);

/// How long it is known whether a tenant requires registered documents.
const KNOWN: Duration = Duration::from_secs(3);

/// A place to run in, until it is dropped.
struct Place {
    _running: OwnedSemaphorePermit,
    /// How many requests there may be in a second.
    policy: String,
    /// How many are left of them.
    left: u32,
}

impl Shared {
    /// The house that is served.
    pub fn house(&self) -> &House {
        &self.house
    }

    /// The most bytes of an uploaded file.
    pub const fn upload(&self) -> usize {
        self.limits.upload
    }

    /// A place for a request of a caller that takes its time.
    pub fn slot(&self, principal: &Principal) -> Option<OwnedSemaphorePermit> {
        self.running.take(&called(principal))
    }

    /// Whether a tenant requires registered documents, as of the last few seconds.
    async fn required(&self, tenant: TenantId) -> Result<bool, entity::Error> {
        let known = self.required.lock().unwrap_or_else(PoisonError::into_inner).get(&tenant).copied();
        if let Some((_, required)) = known.filter(|(read, _)| read.elapsed() < KNOWN) {
            return Ok(required);
        }
        let required = document::required(&self.house, tenant).await?;
        self.required.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant, (Instant::now(), required));
        Ok(required)
    }

    /// A place for one more stream of a caller.
    fn stream(&self, principal: &Principal) -> Option<OwnedSemaphorePermit> {
        self.streams.take(&called(principal))
    }

    /// A place for one more socket of a caller.
    fn socket(&self, principal: &Principal) -> Option<OwnedSemaphorePermit> {
        self.sockets.take(&called(principal))
    }

    /// A place for somebody who has not been introduced yet.
    fn stranger(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.strangers).try_acquire_owned().ok()
    }

    /// A place for a request of a caller; without one, how many there may be in a second.
    fn place(&self, principal: &Principal) -> Result<Place, String> {
        let policy = format!("\"default\";q={};w=1", self.limits.rate.max(1));
        let Some(running) = self.slot(principal) else { return Err(policy) };
        match self.rate.check_key(&called(principal)) {
            Ok(state) => Ok(Place { _running: running, policy, left: state.remaining_burst_capacity() }),
            Err(_) => Err(policy),
        }
    }
}

/// A server that listens, and where.
pub struct Listening {
    /// The server; serve by awaiting it.
    pub server: actix_web::dev::Server,
    /// `http://127.0.0.1:8080`.
    pub url: String,
}

/// Binds the address and prepares the server.
///
/// # Errors
/// The address is in use or not this machine's.
pub fn listen(config: &Config, house: Arc<House>, issuer: Issuer) -> Result<Listening, Stop> {
    keeper::keep(&house, Published::of(config)?);
    let guarded = Guarded::new(webhook::PATIENCE, config.webhook_private)?;
    let rate = NonZeroU32::new(config.limits.rate.max(1)).unwrap_or(NonZeroU32::MIN);
    let names = crate::docs::schema().split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned).collect();
    let shared = web::Data::new(Shared {
        house,
        issuer,
        schemas: Schemas::of(config),
        names,
        limits: config.limits.clone(),
        documents: Cache::builder().max_capacity(DOCUMENTS).time_to_idle(ASKED).build(),
        rate: RateLimiter::keyed(Quota::per_second(rate)).with_middleware(),
        running: Places::new(config.limits.concurrency),
        hub: Hub::default(),
        required: Mutex::default(),
        streams: Places::new(config.limits.streams),
        sockets: Places::new(config.limits.streams),
        strangers: Arc::new(Semaphore::new(config.limits.strangers)),
    });
    webhook::tell(&shared, guarded);
    let body = config.limits.body;
    let factory = move || {
        App::new()
            .app_data(shared.clone())
            .app_data(web::PayloadConfig::new(body))
            .wrap(Compress::default())
            .route("/graphql", web::post().to(graphql::post))
            .route("/graphql", web::get().to(graphql::get))
            .route("/graphql", web::to(graphql::other))
            .route("/graphql/stream", web::post().to(stream::post))
            .route("/graphql/ws", web::get().to(socket::open))
            .service(web::resource("/api/v1/imports").route(web::post().to(uploads::import)))
            .route("/api/v1/imports/{id}/rejects.csv", web::get().to(uploads::rejected))
            .configure(explorer::routes)
            .route("/healthz", web::get().to(async || HttpResponse::Ok().body("ok\n")))
            .route("/readyz", web::get().to(ready))
    };
    let refused = |problem: std::io::Error| {
        let why = match problem.kind() {
            std::io::ErrorKind::AddrInUse => "is in use; choose another with --bind, or port 0 for any",
            std::io::ErrorKind::PermissionDenied => "needs rights that this user does not have; choose a port above 1023",
            _ => "cannot be listened on; --bind takes ADDRESS:PORT of this machine",
        };
        Stop::new(format!("address {} {why}", config.bind))
    };
    let server = HttpServer::new(factory).client_request_timeout(Duration::from_secs(10)).shutdown_timeout(5).bind(&config.bind).map_err(refused)?;
    let address = server.addrs().first().copied().ok_or_else(|| Stop::new(format!("address {} is none of this machine", config.bind)))?;
    Ok(Listening { server: server.run(), url: format!("http://{address}") })
}

/// What a caller says of itself; it is asked again while something goes on.
#[derive(Clone)]
struct Caller {
    authorization: Option<String>,
    purpose: Option<String>,
    address: String,
}

impl Caller {
    fn of(http: &HttpRequest) -> Self {
        let text = |name: &str| http.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let address = http.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
        Self { authorization: text("Authorization"), purpose: text("X-Purpose"), address }
    }

    /// Takes what the first message of a socket says: browsers send no headers with it.
    fn introduced(&mut self, payload: Option<&serde_json::Value>) {
        let said = |name: &str| {
            let members = payload?.as_object()?;
            members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).and_then(|(_, value)| value.as_str()).map(str::to_owned)
        };
        self.authorization = said("Authorization").or(self.authorization.take());
        self.purpose = said("X-Purpose").or(self.purpose.take());
    }

    async fn admitted(&self, shared: &Shared) -> Result<Principal, NotAdmitted> {
        let purpose = self.purpose.as_deref().map(str::trim).filter(|purpose| !purpose.is_empty()).map(str::to_owned);
        auth::admit(&shared.house, &shared.issuer, self.authorization.as_deref(), self.address.clone(), purpose).await
    }
}

/// Who asks, and what for.
///
/// # Errors
/// The token or the purpose does not admit, or that cannot be looked up.
pub async fn admit(http: &HttpRequest, shared: &Shared) -> Result<Principal, NotAdmitted> {
    Caller::of(http).admitted(shared).await
}

async fn ready(shared: web::Data<Shared>) -> HttpResponse {
    match shared.house.ready().await {
        Ok(()) => HttpResponse::Ok().body("ready\n"),
        Err(error) => {
            tracing::error!(%error, "not ready");
            HttpResponse::ServiceUnavailable().body("not ready\n")
        }
    }
}
