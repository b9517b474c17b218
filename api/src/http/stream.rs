//! Subscriptions as server-sent events: the distinct connections mode of graphql-sse.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use async_graphql::parser::types::OperationType;
use futures_util::stream;
use tokio::time::Instant;

use super::graphql::{Exchange, asked, is_json, too_many};
use super::live::Live;
use super::perform::{Done, perform};
use super::{Caller, Shared};

/// How often something is sent, so that nobody on the way takes the stream for dead.
const ALIVE: Duration = Duration::from_secs(12);

/// `POST /graphql/stream`: an operation whose answers are events, `next` for each and `complete` behind the last.
pub async fn post(http: HttpRequest, shared: web::Data<Shared>, payload: Result<web::Bytes, actix_web::Error>) -> HttpResponse {
    let exchange = Exchange::of(&http, "application/json");
    let takes = http.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if !takes.is_none_or(|accept| accept.contains("text/event-stream") || accept.contains("*/*")) {
        return exchange.refuse(StatusCode::NOT_ACCEPTABLE, "BAD_USER_INPUT", "Accept: this answers text/event-stream");
    }
    if !is_json(http.headers().get(header::CONTENT_TYPE)) {
        return exchange.refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "BAD_USER_INPUT", "Content-Type: this takes application/json in UTF-8");
    }
    let caller = Caller::of(&http);
    let principal = match caller.admitted(&shared).await {
        Ok(principal) => Arc::new(principal),
        Err(refusal) => return exchange.not_admitted(refusal),
    };
    let Ok(place) = shared.place(&principal) else { return exchange.done(&too_many()) };
    let asked = match asked(&http, &shared, &principal, &exchange.id, payload).await {
        Ok(asked) => asked,
        Err(refusal) => return exchange.done(&refusal),
    };
    let ready = match asked.ready(&shared) {
        Ok(ready) => ready,
        Err(refusal) => return exchange.done(&refusal),
    };
    let live = if ready.kind == OperationType::Subscription {
        match Live::begin(&shared, caller, principal, asked, ready).await {
            Ok(live) => Ok(live),
            Err(refusal) => return exchange.done(&refusal),
        }
    } else {
        Err(perform(&shared, &principal, asked).await)
    };
    let events = stream::unfold(State::of(live), async |state| state.next().await);
    drop(place);
    exchange.builder(StatusCode::OK, "text/event-stream").insert_header(("x-accel-buffering", "no")).streaming(events)
}

enum State {
    Begins(Live),
    Goes(Live),
    /// The one answer of a query or mutation.
    Once(Done),
    Completes,
    Ended,
}

type Event = Result<web::Bytes, std::convert::Infallible>;

impl State {
    fn of(live: Result<Live, Done>) -> Self {
        live.map_or_else(Self::Once, Self::Begins)
    }

    async fn next(self) -> Option<(Event, Self)> {
        let (text, then) = match self {
            Self::Ended => return None,
            // At once, so that whoever asked knows that it goes on.
            Self::Begins(live) => (":\n\n".to_owned(), Self::Goes(live)),
            Self::Goes(mut live) => match live.next(Instant::now() + ALIVE).await {
                Ok(None) => (":\n\n".to_owned(), Self::Goes(live)),
                Ok(Some(done)) => (event(&done), Self::Goes(live)),
                Err(_) => ("event: complete\ndata:\n\n".to_owned(), Self::Ended),
            },
            Self::Once(done) => (event(&done), Self::Completes),
            Self::Completes => ("event: complete\ndata:\n\n".to_owned(), Self::Ended),
        };
        Some((Ok(text.into()), then))
    }
}

fn event(done: &Done) -> String {
    format!("event: next\ndata: {}\n\n", String::from_utf8_lossy(&done.json()))
}
