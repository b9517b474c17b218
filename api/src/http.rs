//! GraphQL over HTTP: a handler of our own, because the shipped one answers 200 to nearly everything, runs mutations over
//! GET and shows any error's text.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use async_graphql::{Request, Response, Variables};
use entity::{Change, House, Operation, Principal, Session, Unaccounted};
use governor::{DefaultKeyedRateLimiter, Quota};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::auth::{self, Issuer, NotAdmitted};
use crate::config::{Config, Limits};
use crate::error::{self, Stop};
use crate::graphql::mutation::Refused;
use crate::graphql::{self, Schema};
use crate::keeper::Published;
use crate::{keeper, limits, uploads};

/// What every worker shares.
pub struct Shared {
    house: Arc<House>,
    issuer: Issuer,
    schema: Schema,
    /// The names of the schema, which messages may quote.
    names: HashSet<String>,
    limits: Limits,
    rate: DefaultKeyedRateLimiter<String>,
    /// How many requests of one caller run.
    running: Mutex<HashMap<String, Arc<Semaphore>>>,
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

    /// The places for requests of one caller. Callers are users and tokens of the tenants, so the map stays small.
    pub fn slot(&self, caller: &str) -> Arc<Semaphore> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(running.entry(caller.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.limits.concurrency))))
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
    let rate = NonZeroU32::new(config.limits.rate.max(1)).unwrap_or(NonZeroU32::MIN);
    let schema = graphql::schema(&config.limits);
    let names = schema.sdl().split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned).collect();
    let shared = web::Data::new(Shared {
        house,
        issuer,
        schema,
        names,
        limits: config.limits.clone(),
        rate: DefaultKeyedRateLimiter::keyed(Quota::per_second(rate)),
        running: Mutex::default(),
    });
    let body = config.limits.body;
    let factory = move || {
        App::new()
            .app_data(shared.clone())
            .app_data(web::PayloadConfig::new(body))
            .route("/graphql", web::post().to(post))
            .route("/graphql", web::to(not_post))
            .service(web::resource("/api/v1/imports").route(web::post().to(uploads::import)))
            .route("/api/v1/imports/{id}/rejects.csv", web::get().to(uploads::rejected))
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

const GRAPHQL_JSON: &str = "application/graphql-response+json";
const JSON: &str = "application/json";

#[derive(Deserialize)]
struct Body {
    query: String,
    #[serde(default, rename = "operationName")]
    operation_name: Option<String>,
    #[serde(default)]
    variables: Option<serde_json::Map<String, Value>>,
}

/// One request on its way: its id and the media type of its answer.
struct Exchange {
    id: String,
    media: &'static str,
}

impl Exchange {
    fn answer(&self, status: StatusCode, body: &impl serde::Serialize) -> HttpResponse {
        let mut answer = HttpResponse::build(status);
        answer
            .insert_header((header::CONTENT_TYPE, format!("{}; charset=utf-8", self.media)))
            .insert_header(("X-Request-Id", self.id.as_str()))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::VARY, "Accept, Authorization"))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((header::X_FRAME_OPTIONS, "DENY"))
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'"));
        answer.body(serde_json::to_vec(body).unwrap_or_default())
    }

    /// A request error: no `data`.
    fn refuse(&self, status: StatusCode, code: error::Code, message: &str) -> HttpResponse {
        self.answer(status, &json!({ "errors": [{ "message": message, "extensions": { "code": code } }] }))
    }
}

async fn post(http: HttpRequest, shared: web::Data<Shared>, payload: Result<web::Bytes, actix_web::Error>) -> HttpResponse {
    let media = accepted(http.headers().get(header::ACCEPT));
    let exchange = Exchange { id: Uuid::now_v7().to_string(), media: media.unwrap_or(JSON) };
    if media.is_none() {
        return exchange.refuse(StatusCode::NOT_ACCEPTABLE, "BAD_USER_INPUT", "Accept: this answers application/graphql-response+json and application/json");
    }
    if !is_json(http.headers().get(header::CONTENT_TYPE)) {
        return exchange.refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "BAD_USER_INPUT", "Content-Type: this takes application/json in UTF-8");
    }
    let principal = match admit(&http, &shared).await {
        Ok(principal) => Arc::new(principal),
        Err(refusal) => return refused(&exchange, refusal),
    };
    let caller = format!("{} {}", principal.tenant().0, principal.subject());
    let permit = shared.slot(&caller).try_acquire_owned();
    if permit.is_err() || shared.rate.check_key(&caller).is_err() {
        let mut answer = exchange.refuse(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", "too many requests at once; try again in a second");
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return answer;
    }
    let Ok(bytes) = payload else {
        let most = shared.limits.body;
        return exchange.refuse(StatusCode::PAYLOAD_TOO_LARGE, "BAD_USER_INPUT", &format!("the body is larger than {most} bytes, or did not arrive whole"));
    };
    let value: Value = match serde_json::from_slice(&bytes) {
        Ok(value) => value,
        Err(problem) => {
            return exchange.refuse(
                StatusCode::BAD_REQUEST,
                "BAD_USER_INPUT",
                &format!("the body is not JSON at line {}, column {}", problem.line(), problem.column()),
            );
        }
    };
    let Ok(body) = serde_json::from_value::<Body>(value) else {
        return exchange.refuse(
            StatusCode::UNPROCESSABLE_ENTITY,
            "BAD_USER_INPUT",
            "the body is an object with a string `query`, and perhaps `operationName` and an object `variables`",
        );
    };
    execute(&exchange, &shared, &principal, body).await
}

/// Who asks, and what for.
///
/// # Errors
/// The token or the purpose does not admit, or that cannot be looked up.
pub async fn admit(http: &HttpRequest, shared: &Shared) -> Result<Principal, NotAdmitted> {
    let text = |name: &str| http.headers().get(name).and_then(|value| value.to_str().ok());
    let address = http.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
    let purpose = text("X-Purpose").map(str::trim).filter(|purpose| !purpose.is_empty()).map(str::to_owned);
    auth::admit(&shared.house, &shared.issuer, text("Authorization"), address, purpose).await
}

fn refused(exchange: &Exchange, refusal: NotAdmitted) -> HttpResponse {
    match refusal {
        NotAdmitted::Unauthenticated => {
            let mut answer = exchange.refuse(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", "send a valid token: Authorization: Bearer …");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"panorama\""));
            answer
        }
        NotAdmitted::Purpose(message) => exchange.refuse(StatusCode::BAD_REQUEST, "BAD_USER_INPUT", &message),
        NotAdmitted::Unavailable => exchange.refuse(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "not available at the moment; try again"),
    }
}

async fn execute(exchange: &Exchange, shared: &Shared, principal: &Arc<Principal>, body: Body) -> HttpResponse {
    let too_much = |message: &str| exchange.refuse(StatusCode::UNPROCESSABLE_ENTITY, "QUERY_TOO_COMPLEX", message);
    let mut names = match limits::scan(&body.query, &shared.limits) {
        Ok(names) => names,
        Err(message) => return too_much(&message),
    };
    names.extend(shared.names.iter().map(String::as_str));
    let document = match async_graphql::parser::parse_query(&body.query) {
        Ok(document) => document,
        Err(problem) => {
            let place = problem.positions().next().map(|at| format!(" at line {}, column {}", at.line, at.column)).unwrap_or_default();
            return exchange.refuse(StatusCode::BAD_REQUEST, "GRAPHQL_PARSE_FAILED", &format!("the document is not GraphQL{place}"));
        }
    };
    if let Err(message) = limits::check(&document, &shared.limits) {
        return too_much(&message);
    }
    let variables = Value::Object(body.variables.unwrap_or_default());
    let writes = is_mutation(body.operation_name.as_ref(), &document);
    let operation = Operation::new(if writes { "mutation" } else { "query" }, operation_name(body.operation_name.as_ref(), &document))
        .of_document(&body.query, variables.to_string().into_bytes())
        .in_request(&exchange.id)
        .within(Duration::from_secs(shared.limits.seconds));
    let mut request = Request::new("").variables(Variables::from_json(variables));
    request.operation_name = body.operation_name;
    request.set_parsed_query(document);
    let done = if writes {
        // One transaction for all of it: when anything fails, nothing is kept.
        Change::lend(&shared.house, principal, operation, async |change| {
            let refused = Arc::new(Refused::default());
            let request = request.data(change.session()).data(Arc::clone(&change)).data(Arc::clone(&refused));
            let response = shared.schema.execute(request).await;
            let kept = response.errors.is_empty() && !refused.any();
            let disclosure = disclosure(&change);
            ((response, disclosure), kept)
        })
        .await
    } else {
        Session::run(&shared.house, principal, operation, async |session| {
            let response = shared.schema.execute(request.data(Arc::clone(&session))).await;
            if !response.errors.is_empty() {
                session.fail();
            }
            let disclosure = disclosure(&session);
            (response, disclosure)
        })
        .await
    };
    match done {
        Err(Unaccounted::TooLong) => exchange.refuse(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the query took too long; ask for less at once"),
        Err(unaccounted) => withheld(exchange, &unaccounted),
        Ok((response, disclosure)) => finish(exchange, response, &disclosure, &names),
    }
}

/// How many values of each field were seen, and how.
fn disclosure(session: &Session) -> Vec<Value> {
    let seen = session.disclosure().into_iter();
    seen.map(|(field, [clear, masked, withheld])| json!({ "field": field, "clear": clear, "masked": masked, "withheld": withheld })).collect()
}

/// Whether the operation that is asked for is a mutation.
fn is_mutation(asked: Option<&String>, document: &async_graphql::parser::types::ExecutableDocument) -> bool {
    use async_graphql::parser::types::OperationType::Mutation;
    let mut named = document.operations.iter().filter(|(name, _)| asked.is_none_or(|asked| name.is_some_and(|name| name.as_str() == asked)));
    named.any(|(_, operation)| operation.node.ty == Mutation)
}

/// What the log calls the operation.
fn operation_name(asked: Option<&String>, document: &async_graphql::parser::types::ExecutableDocument) -> String {
    use async_graphql::parser::types::DocumentOperations::{Multiple, Single};
    let known = match &document.operations {
        Multiple(named) => asked
            .filter(|name| named.contains_key(name.as_str()))
            .cloned()
            .or_else(|| if named.len() == 1 { named.keys().next().map(ToString::to_string) } else { None }),
        Single(_) => None,
    };
    // A name that the client chose goes into the log: one that looks like a number or is long does not.
    let plain = |name: &String| name.len() <= 60 && name.bytes().filter(u8::is_ascii_digit).count() <= 4;
    known.filter(plain).unwrap_or_else(|| "anonymous".to_owned())
}

/// The answer stays inside.
fn withheld(exchange: &Exchange, unaccounted: &Unaccounted) -> HttpResponse {
    tracing::error!(request = %exchange.id, error = %unaccounted, "an answer was withheld");
    exchange.refuse(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "the answer cannot be given, because the access cannot be recorded; try again")
}

fn finish(exchange: &Exchange, mut response: Response, disclosure: &[Value], names: &error::Names<'_>) -> HttpResponse {
    error::finish(&mut response, names, &exchange.id);
    let unexecuted = !response.errors.is_empty() && response.data == async_graphql::Value::Null && response.errors.iter().all(|error| error.path.is_empty());
    if unexecuted {
        return exchange.answer(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "errors": response.errors }));
    }
    let partial = !response.errors.is_empty() && exchange.media == GRAPHQL_JSON;
    let status = if partial { StatusCode::from_u16(294).unwrap_or(StatusCode::OK) } else { StatusCode::OK };
    exchange.answer(status, &Answer { data: &response.data, errors: &response.errors, extensions: json!({ "disclosure": disclosure }) })
}

/// An answer whose fields stand in the order of the selection.
#[derive(serde::Serialize)]
struct Answer<'r> {
    data: &'r async_graphql::Value,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'r [async_graphql::ServerError],
    extensions: Value,
}

/// The media type to answer with, by the quality values of `Accept`; `None` when neither is accepted.
fn accepted(accept: Option<&HeaderValue>) -> Option<&'static str> {
    let Some(accept) = accept.and_then(|accept| accept.to_str().ok()).filter(|accept| !accept.trim().is_empty()) else { return Some(GRAPHQL_JSON) };
    let quality = |media: &str| {
        let (mut best, mut precise) = (0.0, 0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let precision = if name == media {
                3
            } else if name == "application/*" {
                2
            } else {
                usize::from(name == "*/*")
            };
            let q = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            if precision > precise {
                (best, precise) = (q, precision);
            }
        }
        best
    };
    let (ours, plain) = (quality(GRAPHQL_JSON), quality(JSON));
    if ours > 0.0 && ours >= plain {
        Some(GRAPHQL_JSON)
    } else if plain > 0.0 {
        Some(JSON)
    } else {
        None
    }
}

fn is_json(content: Option<&HeaderValue>) -> bool {
    let Some(content) = content.and_then(|content| content.to_str().ok()) else { return false };
    let mut parts = content.split(';').map(|part| part.trim().to_ascii_lowercase());
    parts.next().as_deref() == Some(JSON) && parts.all(|part| part.strip_prefix("charset=").is_none_or(|charset| charset.trim_matches('"') == "utf-8"))
}

async fn not_post() -> HttpResponse {
    let exchange = Exchange { id: Uuid::now_v7().to_string(), media: JSON };
    let mut answer = exchange.refuse(StatusCode::METHOD_NOT_ALLOWED, "BAD_USER_INPUT", "send queries with POST");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    answer
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_negotiated() {
        let accept = |text: &str| accepted(Some(&HeaderValue::from_str(text).unwrap()));
        assert_eq!(accepted(None), Some(GRAPHQL_JSON));
        assert_eq!(accept("*/*"), Some(GRAPHQL_JSON));
        assert_eq!(accept("application/json"), Some(JSON));
        assert_eq!(accept("application/json;q=0.9, application/graphql-response+json;q=0.2"), Some(JSON));
        assert_eq!(accept("application/graphql-response+json;q=0, */*"), Some(JSON));
        assert_eq!(accept("text/html"), None);
        assert_eq!(accept("application/json;q=0"), None);
        assert!(is_json(Some(&HeaderValue::from_static("application/json; charset=UTF-8"))));
        assert!(!is_json(Some(&HeaderValue::from_static("text/plain"))));
        assert!(!is_json(None));
    }
}
