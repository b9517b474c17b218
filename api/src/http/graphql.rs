//! GraphQL over HTTP (the specification of September 2026): a handler of our own, because the shipped one answers 200 to nearly
//! everything, runs mutations over GET and shows any error's text.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use async_graphql::parser::types::OperationType;
use entity::{Principal, document};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::perform::{Asked, Done, perform};
use super::{Shared, admit};
use crate::auth::NotAdmitted;
use crate::error;

const GRAPHQL_JSON: &str = "application/graphql-response+json";
const JSON: &str = "application/json";

/// The members of a request; others are passed over.
#[derive(Deserialize)]
pub struct Body {
    #[serde(default)]
    query: Option<String>,
    #[serde(default, rename = "documentId")]
    document_id: Option<String>,
    #[serde(default, rename = "operationName")]
    operation_name: Option<String>,
    #[serde(default)]
    variables: Option<serde_json::Map<String, Value>>,
    #[serde(default, rename = "extensions")]
    _extensions: Option<serde_json::Map<String, Value>>,
}

/// What a request has to have.
const MEMBERS: &str = "a request has a string `query` or a `documentId`, and perhaps a string `operationName` and objects `variables` and `extensions`";

impl Body {
    /// What is asked, in a request of this id; a registered document by its hash.
    ///
    /// # Errors
    /// The refusal: there is no such document, or the tenant or the caller's token takes registered ones only.
    pub async fn asked(self, shared: &Shared, principal: &Principal, id: &str) -> Result<Asked, Done> {
        let tenant = principal.tenant();
        let refused = |code, message: &str| Done::Refused(StatusCode::UNPROCESSABLE_ENTITY, code, message.to_owned());
        let unavailable = |error: entity::Error| {
            tracing::error!(%error, "the registered documents cannot be read");
            Done::Refused(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "not available at the moment; try again".to_owned())
        };
        let text = async |hash: [u8; 32]| document::text(&shared.house, tenant, &hash).await.map_err(unavailable);
        let query = match (self.query, self.document_id) {
            (Some(query), None) => {
                let registered = principal.registered_only() || shared.required(tenant).await.map_err(unavailable)?;
                if registered && text(document::hash(&query)).await?.is_none() {
                    return Err(refused("FORBIDDEN", "registered documents only are answered here: send a documentId"));
                }
                query
            }
            (None, Some(named)) => {
                let found = match document::read(&named) {
                    Some(hash) => text(hash).await?,
                    None => None,
                };
                found.ok_or_else(|| refused("NOT_FOUND", "documentId: no such document is registered"))?
            }
            _ => return Err(refused("BAD_USER_INPUT", MEMBERS)),
        };
        let variables = self.variables.unwrap_or_default();
        // PostgreSQL stores it in no text, so nobody may send it.
        if query.contains('\0') || query.contains("\\u0000") || variables.values().any(holds_nul) {
            return Err(refused("BAD_USER_INPUT", "a text holds the character U+0000; leave it out"));
        }
        Ok(Asked { query, operation_name: self.operation_name, variables, request: id.to_owned(), key: None })
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

/// One request on its way: its id, the media type of its answer, and the trace that it is part of.
pub struct Exchange {
    pub id: String,
    media: &'static str,
    trace: String,
}

impl Exchange {
    /// A request that came. Its trace goes on when it is part of one (W3C Trace Context).
    pub fn of(http: &HttpRequest, media: &'static str) -> Self {
        let id = Uuid::now_v7();
        let part = http.headers().get("traceparent").and_then(|value| value.to_str().ok()).and_then(trace);
        let (trace, flags) = part.unwrap_or_else(|| (id.simple().to_string(), "00"));
        let span = &Uuid::new_v4().simple().to_string()[..16];
        Self { id: id.to_string(), media, trace: format!("00-{trace}-{span}-{flags}") }
    }

    /// An answer with all headers that belong to each.
    pub fn builder(&self, status: StatusCode, media: &str) -> actix_web::HttpResponseBuilder {
        let mut answer = HttpResponse::build(status);
        answer
            .insert_header((header::CONTENT_TYPE, media))
            .insert_header(("X-Request-Id", self.id.as_str()))
            .insert_header(("traceparent", self.trace.as_str()))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::VARY, "Accept, Authorization"))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .insert_header((header::X_FRAME_OPTIONS, "DENY"))
            .insert_header((header::REFERRER_POLICY, "no-referrer"))
            .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'"));
        answer
    }

    /// An answer of the exchange's media type.
    pub fn answer(&self, status: StatusCode, body: &impl serde::Serialize) -> HttpResponse {
        self.told(status, serde_json::to_vec(body).unwrap_or_default())
    }

    fn told(&self, status: StatusCode, body: Vec<u8>) -> HttpResponse {
        self.builder(status, &format!("{}; charset=utf-8", self.media)).body(body)
    }

    /// A request error: no `data`.
    pub fn refuse(&self, status: StatusCode, code: error::Code, message: &str) -> HttpResponse {
        self.done(&Done::Refused(status, code, message.to_owned()))
    }

    /// Somebody who is not let in.
    pub fn not_admitted(&self, refusal: NotAdmitted) -> HttpResponse {
        match refusal {
            NotAdmitted::Unauthenticated => {
                let mut answer = self.refuse(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", "send a valid token: Authorization: Bearer …");
                answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"panorama\""));
                answer
            }
            NotAdmitted::Purpose(message) => self.refuse(StatusCode::BAD_REQUEST, "BAD_USER_INPUT", &message),
            NotAdmitted::Unavailable => self.refuse(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", "not available at the moment; try again"),
        }
    }

    /// What came of an operation.
    pub fn done(&self, done: &Done) -> HttpResponse {
        match done {
            Done::Refused(status, ..) | Done::Unexecuted(status, ..) => self.told(*status, done.json()),
            Done::Answered(response, _) => {
                let partial = !response.errors.is_empty() && self.media == GRAPHQL_JSON;
                self.told(if partial { StatusCode::from_u16(294).unwrap_or(StatusCode::OK) } else { StatusCode::OK }, done.json())
            }
        }
    }
}

/// The id of a trace, and its flags.
fn trace(parent: &str) -> Option<(String, &'static str)> {
    let mut parts = parent.split('-');
    let (version, id, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let real = |text: &str| text.bytes().any(|b| b != b'0');
    let whole = hex(version, 2) && version != "ff" && hex(id, 32) && real(id) && hex(span, 16) && real(span) && hex(flags, 2);
    let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
    whole.then(|| (id.to_owned(), if sampled { "01" } else { "00" }))
}

/// Says what the caller may send within a second, and what is left of it (the RateLimit header fields of the IETF's draft).
fn limited(answer: &mut HttpResponse, policy: &str, left: u32) {
    for (name, text) in [("ratelimit-policy", policy.to_owned()), ("ratelimit", format!("\"default\";r={left};t=1"))] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            answer.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
}

/// Answers an exchange whose media type, caller and place are in order.
async fn admitted(http: &HttpRequest, shared: &Shared, work: impl AsyncFnOnce(&Exchange, &Arc<Principal>) -> HttpResponse) -> HttpResponse {
    let Some(media) = accepted(http.headers().get(header::ACCEPT)) else {
        let said = "Accept: this answers application/graphql-response+json and application/json";
        return Exchange::of(http, JSON).refuse(StatusCode::NOT_ACCEPTABLE, "BAD_USER_INPUT", said);
    };
    let exchange = Exchange::of(http, media);
    if http.method() == Method::GET {
        if !PREFLIGHT.iter().any(|name| http.headers().contains_key(*name)) {
            let said = "GET: send the header GraphQL-Require-Preflight too, with any value; or use POST";
            return exchange.refuse(StatusCode::BAD_REQUEST, "BAD_USER_INPUT", said);
        }
    } else if !is_json(http.headers().get(header::CONTENT_TYPE)) {
        return exchange.refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "BAD_USER_INPUT", "Content-Type: this takes application/json in UTF-8");
    }
    let principal = match admit(http, shared).await {
        Ok(principal) => Arc::new(principal),
        Err(refusal) => return exchange.not_admitted(refusal),
    };
    match shared.place(&principal) {
        Ok(place) => {
            let mut answer = work(&exchange, &principal).await;
            limited(&mut answer, &place.policy, place.left);
            answer
        }
        Err(policy) => {
            let mut answer = exchange.done(&too_many());
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            limited(&mut answer, &policy, 0);
            answer
        }
    }
}

/// There is no place to run in.
pub fn too_many() -> Done {
    Done::Refused(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", "too many requests at once; try again in a second".to_owned())
}

/// `POST /graphql`.
pub async fn post(http: HttpRequest, shared: web::Data<Shared>, payload: Result<web::Bytes, actix_web::Error>) -> HttpResponse {
    let answer = async |exchange: &Exchange, principal: &Arc<Principal>| match asked(&http, &shared, principal, &exchange.id, payload).await {
        Ok(asked) => exchange.done(&perform(&shared, principal, asked).await),
        Err(refusal) => exchange.done(&refusal),
    };
    admitted(&http, &shared, answer).await
}

/// What is asked by a body and its headers.
///
/// # Errors
/// The refusal.
pub async fn asked(http: &HttpRequest, shared: &Shared, principal: &Principal, id: &str, payload: Result<web::Bytes, actix_web::Error>) -> Result<Asked, Done> {
    let asked = read(shared, payload)?.asked(shared, principal, id).await?;
    Ok(Asked { key: key(http)?, ..asked })
}

/// The key under which a request is done once.
fn key(http: &HttpRequest) -> Result<Option<String>, Done> {
    let Some(value) = http.headers().get("Idempotency-Key") else { return Ok(None) };
    let key = value.to_str().ok().map(|key| key.trim().trim_matches('"')).filter(|key| (1..=255).contains(&key.len()));
    let refused = || Done::Refused(StatusCode::BAD_REQUEST, "BAD_USER_INPUT", "Idempotency-Key: 1 to 255 characters of ASCII".to_owned());
    key.map(|key| Some(key.to_owned())).ok_or_else(refused)
}

/// The members of a body.
///
/// # Errors
/// The refusal.
pub fn read(shared: &Shared, payload: Result<web::Bytes, actix_web::Error>) -> Result<Body, Done> {
    let refused = |status, message: String| Done::Refused(status, "BAD_USER_INPUT", message);
    let most = shared.limits.body;
    let bytes = payload.map_err(|_| refused(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {most} bytes, or did not arrive whole")))?;
    let not_json =
        |problem: serde_json::Error| refused(StatusCode::BAD_REQUEST, format!("the body is not JSON at line {}, column {}", problem.line(), problem.column()));
    let value: Value = serde_json::from_slice(&bytes).map_err(not_json)?;
    serde_json::from_value::<Body>(value).map_err(|_| refused(StatusCode::UNPROCESSABLE_ENTITY, MEMBERS.to_owned()))
}

/// The parameters of a query by address.
#[derive(Deserialize)]
pub struct Parameters {
    query: Option<String>,
    #[serde(rename = "documentId")]
    document_id: Option<String>,
    #[serde(rename = "operationName")]
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
}

/// Headers that no page of another site can send without asking first.
const PREFLIGHT: [&str; 2] = ["graphql-require-preflight", "apollo-require-preflight"];

/// `GET /graphql`: queries only, and only with a header that browsers ask about first.
pub async fn get(http: HttpRequest, shared: web::Data<Shared>, parameters: Result<web::Query<Parameters>, actix_web::Error>) -> HttpResponse {
    let object = |text: Option<String>| -> Result<serde_json::Map<String, Value>, ()> {
        text.filter(|text| !text.is_empty()).map_or(Ok(serde_json::Map::new()), |text| serde_json::from_str(&text).map_err(|_| ()))
    };
    let answer = async |exchange: &Exchange, principal: &Arc<Principal>| {
        let read = parameters.map_err(|_| ()).and_then(|web::Query(parameters)| {
            let (query, document_id, operation_name) = (parameters.query, parameters.document_id, parameters.operation_name);
            Ok(Body { query, document_id, operation_name, variables: Some(object(parameters.variables)?), _extensions: Some(object(parameters.extensions)?) })
        });
        let Ok(body) = read else { return exchange.refuse(StatusCode::UNPROCESSABLE_ENTITY, "BAD_USER_INPUT", MEMBERS) };
        let asked = match body.asked(&shared, principal, &exchange.id).await {
            Ok(asked) => asked,
            Err(refusal) => return exchange.done(&refusal),
        };
        let writes = match asked.ready(&shared) {
            Ok(ready) => ready.kind == OperationType::Mutation,
            Err(refusal) => return exchange.done(&refusal),
        };
        if writes {
            let mut answer = exchange.refuse(StatusCode::METHOD_NOT_ALLOWED, "BAD_USER_INPUT", "send mutations with POST");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            return answer;
        }
        exchange.done(&perform(&shared, principal, asked).await)
    };
    admitted(&http, &shared, answer).await
}

/// Any other method.
pub async fn other(http: HttpRequest) -> HttpResponse {
    let mut answer = Exchange::of(&http, JSON).refuse(StatusCode::METHOD_NOT_ALLOWED, "BAD_USER_INPUT", "send queries with POST, or with GET");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
    answer
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

/// Whether a body is JSON in UTF-8.
pub fn is_json(content: Option<&HeaderValue>) -> bool {
    let Some(content) = content.and_then(|content| content.to_str().ok()) else { return false };
    let mut parts = content.split(';').map(|part| part.trim().to_ascii_lowercase());
    parts.next().as_deref() == Some(JSON) && parts.all(|part| part.strip_prefix("charset=").is_none_or(|charset| charset.trim_matches('"') == "utf-8"))
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

    #[test]
    fn a_trace_goes_on_only_when_it_is_one() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace(&format!("00-{id}-00f067aa0ba902b7-01")), Some((id.to_owned(), "01")));
        assert_eq!(trace(&format!("01-{id}-00f067aa0ba902b7-02-later")), Some((id.to_owned(), "00")));
        let zeros = "0".repeat(32);
        for bad in [
            "",
            "00",
            &format!("ff-{id}-00f067aa0ba902b7-01"),
            &format!("00-{zeros}-00f067aa0ba902b7-01"),
            &format!("00-{id}-00F067AA0BA902B7-01"),
            "00-x-y-01\r\nset-cookie: a",
        ] {
            assert_eq!(trace(bad), None, "{bad}");
        }
    }
}
