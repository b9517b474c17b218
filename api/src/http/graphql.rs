//! GraphQL over HTTP (the specification of September 2026): a handler of our own, because the shipped one answers 200 to nearly
//! everything, runs mutations over GET and shows any error's text.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use entity::Principal;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::perform::{Asked, Done, perform};
use super::{Place, Shared, admit};
use crate::auth::NotAdmitted;
use crate::error;

const GRAPHQL_JSON: &str = "application/graphql-response+json";
const JSON: &str = "application/json";

/// The members of a request; others are passed over.
#[derive(Deserialize)]
pub struct Body {
    query: String,
    #[serde(default, rename = "operationName")]
    operation_name: Option<String>,
    #[serde(default)]
    variables: Option<serde_json::Map<String, Value>>,
    #[serde(default, rename = "extensions")]
    _extensions: Option<serde_json::Map<String, Value>>,
}

impl Body {
    /// What is asked, in a request of this id.
    pub fn asked(self, id: &str) -> Asked {
        Asked { query: self.query, operation_name: self.operation_name, variables: self.variables.unwrap_or_default(), request: id.to_owned() }
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

    fn answer(&self, status: StatusCode, body: &impl serde::Serialize) -> HttpResponse {
        self.builder(status, &format!("{}; charset=utf-8", self.media)).body(serde_json::to_vec(body).unwrap_or_default())
    }

    /// A request error: no `data`.
    pub fn refuse(&self, status: StatusCode, code: error::Code, message: &str) -> HttpResponse {
        self.answer(status, &json!({ "errors": [{ "message": message, "extensions": { "code": code } }] }))
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
            Done::Refused(status, ..) | Done::Unexecuted(status, ..) => self.answer(*status, done),
            Done::Answered { response, .. } => {
                let partial = !response.errors.is_empty() && self.media == GRAPHQL_JSON;
                self.answer(if partial { StatusCode::from_u16(294).unwrap_or(StatusCode::OK) } else { StatusCode::OK }, done)
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

/// A place to run in, or the refusal.
fn place(exchange: &Exchange, shared: &Shared, principal: &Principal) -> Result<Place, HttpResponse> {
    shared.place(principal).map_err(|policy| {
        let mut answer = exchange.refuse(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", "too many requests at once; try again in a second");
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        limited(&mut answer, &policy, 0);
        answer
    })
}

/// Says what the caller may send within a second, and what is left of it (the RateLimit header fields of the IETF's draft).
fn limited(answer: &mut HttpResponse, policy: &str, left: u32) {
    for (name, text) in [("ratelimit-policy", policy.to_owned()), ("ratelimit", format!("\"default\";r={left};t=1"))] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            answer.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
}

/// The media type, or the refusal.
fn negotiated(http: &HttpRequest) -> Result<Exchange, HttpResponse> {
    match accepted(http.headers().get(header::ACCEPT)) {
        Some(media) => Ok(Exchange::of(http, media)),
        None => {
            let said = "Accept: this answers application/graphql-response+json and application/json";
            Err(Exchange::of(http, JSON).refuse(StatusCode::NOT_ACCEPTABLE, "BAD_USER_INPUT", said))
        }
    }
}

/// `POST /graphql`.
pub async fn post(http: HttpRequest, shared: web::Data<Shared>, payload: Result<web::Bytes, actix_web::Error>) -> HttpResponse {
    let exchange = match negotiated(&http) {
        Ok(exchange) => exchange,
        Err(refusal) => return refusal,
    };
    if !is_json(http.headers().get(header::CONTENT_TYPE)) {
        return exchange.refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "BAD_USER_INPUT", "Content-Type: this takes application/json in UTF-8");
    }
    let principal = match admit(&http, &shared).await {
        Ok(principal) => Arc::new(principal),
        Err(refusal) => return exchange.not_admitted(refusal),
    };
    let place = match place(&exchange, &shared, &principal) {
        Ok(place) => place,
        Err(refusal) => return refusal,
    };
    let mut answer = match read(&exchange, &shared, payload) {
        Ok(body) => exchange.done(&perform(&shared, &principal, body.asked(&exchange.id)).await),
        Err(refusal) => refusal,
    };
    limited(&mut answer, &place.policy, place.left);
    answer
}

/// The members of a body, or the refusal.
pub fn read(exchange: &Exchange, shared: &Shared, payload: Result<web::Bytes, actix_web::Error>) -> Result<Body, HttpResponse> {
    let refuse = |status, message: &str| Err(exchange.refuse(status, "BAD_USER_INPUT", message));
    let Ok(bytes) = payload else {
        let most = shared.limits.body;
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("the body is larger than {most} bytes, or did not arrive whole"));
    };
    let value: Value = match serde_json::from_slice(&bytes) {
        Ok(value) => value,
        Err(problem) => return refuse(StatusCode::BAD_REQUEST, &format!("the body is not JSON at line {}, column {}", problem.line(), problem.column())),
    };
    serde_json::from_value::<Body>(value).or_else(|_| {
        refuse(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the body is an object with a string `query`, and perhaps a string `operationName` and objects `variables` and `extensions`",
        )
    })
}

/// The parameters of a query by address.
#[derive(Deserialize)]
pub struct Parameters {
    query: Option<String>,
    #[serde(rename = "operationName")]
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
}

/// Headers that no page of another site can send without asking first.
const PREFLIGHT: [&str; 2] = ["graphql-require-preflight", "apollo-require-preflight"];

/// `GET /graphql`: queries only, and only with a header that browsers ask about first.
pub async fn get(http: HttpRequest, shared: web::Data<Shared>, parameters: Result<web::Query<Parameters>, actix_web::Error>) -> HttpResponse {
    let exchange = match negotiated(&http) {
        Ok(exchange) => exchange,
        Err(refusal) => return refusal,
    };
    if !PREFLIGHT.iter().any(|name| http.headers().contains_key(*name)) {
        return exchange.refuse(StatusCode::BAD_REQUEST, "BAD_USER_INPUT", "GET: send the header GraphQL-Require-Preflight too, with any value; or use POST");
    }
    let principal = match admit(&http, &shared).await {
        Ok(principal) => Arc::new(principal),
        Err(refusal) => return exchange.not_admitted(refusal),
    };
    let place = match place(&exchange, &shared, &principal) {
        Ok(place) => place,
        Err(refusal) => return refusal,
    };
    let object = |text: Option<String>| -> Result<serde_json::Map<String, Value>, ()> {
        text.filter(|text| !text.is_empty()).map_or(Ok(serde_json::Map::new()), |text| serde_json::from_str(&text).map_err(|_| ()))
    };
    let read = parameters.map_err(|_| ()).and_then(|web::Query(parameters)| {
        object(parameters.extensions)?;
        let query = parameters.query.ok_or(())?;
        Ok(Asked { query, operation_name: parameters.operation_name, variables: object(parameters.variables)?, request: exchange.id.clone() })
    });
    let Ok(asked) = read else {
        let said = "the address has a `query`, and perhaps an `operationName` and JSON objects as `variables` and `extensions`";
        return exchange.refuse(StatusCode::UNPROCESSABLE_ENTITY, "BAD_USER_INPUT", said);
    };
    let mut answer = if asked.writes() {
        let mut answer = exchange.refuse(StatusCode::METHOD_NOT_ALLOWED, "BAD_USER_INPUT", "send mutations with POST");
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        answer
    } else {
        exchange.done(&perform(&shared, &principal, asked).await)
    };
    limited(&mut answer, &place.policy, place.left);
    answer
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
        for bad in ["", "00", &format!("ff-{id}-00f067aa0ba902b7-01"), &format!("00-{zeros}-00f067aa0ba902b7-01"), &format!("00-{id}-00F067AA0BA902B7-01"), "00-x-y-01\r\nset-cookie: a"] {
            assert_eq!(trace(bad), None, "{bad}");
        }
    }
}
