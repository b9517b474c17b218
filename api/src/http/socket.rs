//! Subscriptions, queries and mutations over a web socket, by the protocol `graphql-transport-ws`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{CloseCode, CloseReason, Message, MessageStream};
use async_graphql::parser::types::OperationType;
use entity::Principal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::graphql::{Body, Exchange, too_many};
use super::live::{Live, Over};
use super::perform::{Done, perform};
use super::{Caller, Shared};

const PROTOCOL: &str = "graphql-transport-ws";
/// How long a client may take to introduce itself.
const INTRODUCED: Duration = Duration::from_secs(10);
/// How often a client is asked whether it is there.
const ALIVE: Duration = Duration::from_secs(20);
/// How many operations may run on one socket.
const OPERATIONS: usize = 50;
/// How many messages may wait for a slow client.
const WAITING: usize = 64;
/// How long one message may take to go out.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Said {
    ConnectionInit {
        #[serde(default)]
        payload: Option<Value>,
    },
    Ping {},
    Pong {},
    Subscribe {
        id: String,
        payload: Body,
    },
    Complete {
        id: String,
    },
}

/// What it is told.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Told<'t> {
    ConnectionAck,
    Pong,
    Error { id: &'t str, payload: Value },
    Complete { id: &'t str },
}

/// What an operation hands on.
enum Out {
    /// A message, with the operation that it ends.
    Message(String, Option<String>),
    /// The socket is closed for this reason.
    Close(u16, &'static str),
}

/// `GET /graphql/ws`.
pub async fn open(http: HttpRequest, shared: web::Data<Shared>, payload: web::Payload) -> Result<HttpResponse, actix_web::Error> {
    let offered = http.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let known = offered.split(',').any(|name| name.trim() == PROTOCOL);
    let caller = Caller::of(&http);
    let Some(stranger) = shared.stranger() else { return Ok(Exchange::of(&http, "application/json").done(&too_many())) };
    let (mut answer, session, messages) = actix_ws::handle(&http, payload)?;
    let most = shared.limits.body;
    if known {
        answer.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, header::HeaderValue::from_static(PROTOCOL));
    }
    actix_web::rt::spawn(async move {
        let (code, why) = if known {
            Socket { shared, caller, session: session.clone(), principal: None, place: stranger, running: HashMap::new() }
                .serve(messages.max_frame_size(most))
                .await
        } else {
            (4406, "Subprotocol not acceptable")
        };
        let _ = session.close(Some(CloseReason { code: CloseCode::Other(code), description: Some(why.to_owned()) })).await;
    });
    Ok(answer)
}

struct Socket {
    shared: web::Data<Shared>,
    caller: Caller,
    session: actix_ws::Session,
    principal: Option<Arc<Principal>>,
    /// A place among strangers, and then among the caller's sockets, held until it is closed.
    place: OwnedSemaphorePermit,
    running: HashMap<String, JoinHandle<()>>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.running.values().for_each(JoinHandle::abort);
    }
}

/// Why the socket is closed.
type Closed = (u16, &'static str);

impl Socket {
    async fn serve(mut self, mut messages: MessageStream) -> Closed {
        let (out, mut waiting) = mpsc::channel(WAITING);
        let introduced = tokio::time::sleep(INTRODUCED);
        tokio::pin!(introduced);
        let mut alive = tokio::time::interval(ALIVE);
        let mut answered = true;
        alive.tick().await;
        loop {
            let done = tokio::select! {
                message = messages.recv() => match message {
                    Some(Ok(Message::Text(text))) => { answered = true; self.hear(&text, &out).await }
                    Some(Ok(Message::Ping(bytes))) => { answered = true; self.session.pong(&bytes).await.map_err(|_| (1006, "gone")) }
                    Some(Ok(Message::Pong(_))) => { answered = true; Ok(()) }
                    Some(Ok(Message::Close(_))) | None => Err((1000, "closed")),
                    Some(Ok(_) | Err(_)) => Err((4400, "Invalid message")),
                },
                Some(next) = waiting.recv() => match next {
                    Out::Message(text, over) => {
                        if let Some(id) = over {
                            self.running.remove(&id);
                        }
                        self.tell(text).await
                    }
                    Out::Close(code, why) => Err((code, why)),
                },
                () = &mut introduced, if self.principal.is_none() => Err((4408, "Connection initialisation timeout")),
                _ = alive.tick() => if std::mem::take(&mut answered) {
                    self.session.ping(b"").await.map_err(|_| (1006, "gone"))
                } else {
                    Err((1001, "no answer"))
                },
            };
            if let Err(closed) = done {
                return closed;
            }
        }
    }

    async fn tell(&mut self, text: String) -> Result<(), Closed> {
        match tokio::time::timeout(PATIENCE, self.session.text(text)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err((1006, "gone")),
            Err(_) => Err((4429, "Too slow")),
        }
    }

    async fn hear(&mut self, text: &str, out: &mpsc::Sender<Out>) -> Result<(), Closed> {
        let said: Said = serde_json::from_str(text).map_err(|_| (4400, "Invalid message"))?;
        match said {
            Said::ConnectionInit { .. } if self.principal.is_some() => Err((4429, "Too many initialisation requests")),
            Said::ConnectionInit { payload } => {
                self.caller.introduced(payload.as_ref());
                let principal = self.caller.admitted(&self.shared).await.map_err(|_| (4403, "Forbidden"))?;
                self.place = self.shared.socket(&principal).ok_or((4429, "Too many sockets"))?;
                self.principal = Some(Arc::new(principal));
                self.tell(word(&Told::ConnectionAck)).await
            }
            Said::Ping {} => self.tell(word(&Told::Pong)).await,
            Said::Pong {} => Ok(()),
            Said::Complete { id } => {
                if let Some(task) = self.running.remove(&id) {
                    task.abort();
                }
                Ok(())
            }
            Said::Subscribe { id, payload } => {
                if self.principal.is_none() {
                    return Err((4401, "Unauthorized"));
                }
                if self.running.contains_key(&id) {
                    return Err((4409, "Subscriber already exists"));
                }
                if self.running.len() >= OPERATIONS {
                    return Err((4429, "Too many operations"));
                }
                // The token may have been revoked since.
                let principal = Arc::new(self.caller.admitted(&self.shared).await.map_err(|_| (4403, "Forbidden"))?);
                let (shared, caller, out, name) = (self.shared.clone(), self.caller.clone(), out.clone(), id.clone());
                let task = actix_web::rt::spawn(async move {
                    let last = operate(&shared, caller, principal, payload, &name, &out).await;
                    let _ = out.send(last).await;
                });
                self.running.insert(id, task);
                Ok(())
            }
        }
    }
}

/// Runs an operation to its end; returns what is to be said then.
async fn operate(shared: &web::Data<Shared>, caller: Caller, principal: Arc<Principal>, body: Body, id: &str, out: &mpsc::Sender<Out>) -> Out {
    let failed = |done: &Done| {
        let errors = serde_json::from_slice::<Value>(&done.json()).map(|done| done["errors"].clone()).unwrap_or_default();
        Out::Message(word(&Told::Error { id, payload: errors }), Some(id.to_owned()))
    };
    let Ok(place) = shared.place(&principal) else { return failed(&too_many()) };
    let asked = match body.asked(shared, &principal, &Uuid::now_v7().to_string()).await {
        Ok(asked) => asked,
        Err(refusal) => return failed(&refusal),
    };
    let ready = match asked.ready(shared) {
        Ok(ready) => ready,
        Err(refusal) => return failed(&refusal),
    };
    let complete = || Out::Message(word(&Told::Complete { id }), Some(id.to_owned()));
    if ready.kind != OperationType::Subscription {
        let done = perform(shared, &principal, asked).await;
        drop(place);
        if !matches!(done, Done::Answered(..)) {
            return failed(&done);
        }
        let _ = out.send(Out::Message(next(id, &done), None)).await;
        return complete();
    }
    drop(place);
    let mut live = match Live::begin(shared, caller, principal, asked, ready).await {
        Ok(live) => live,
        Err(refusal) => return failed(&refusal),
    };
    loop {
        match live.next(Instant::now() + ALIVE).await {
            Ok(None) => {}
            Ok(Some(done)) => {
                let told = Out::Message(next(id, &done), None);
                match tokio::time::timeout(PATIENCE, out.send(told)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return complete(),
                    Err(_) => return Out::Close(4429, "Too slow"),
                }
            }
            Err(Over::Unauthorized) => return Out::Close(4403, "Forbidden"),
            Err(Over::TooSlow) => return Out::Close(4429, "Too slow"),
            Err(Over::Unavailable) => return complete(),
        }
    }
}

fn word(told: &Told<'_>) -> String {
    serde_json::to_string(told).unwrap_or_default()
}

/// What came of an operation, whose JSON is written already.
fn next(id: &str, done: &Done) -> String {
    format!(r#"{{"type":"next","id":{},"payload":{}}}"#, Value::from(id), String::from_utf8_lossy(&done.json()))
}
