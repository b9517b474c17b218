//! What is followed is told at once, as clear as the caller may see it at that moment, and to nobody who is not let in any more.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tests::{Engine, Home, homes};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Server-sent events of a subscription.
struct Events {
    answer: reqwest::Response,
    text: String,
}

impl Events {
    async fn of(home: &Home, persona: &str, purpose: &str, query: &str, variables: Value) -> Self {
        let token = home.tenant("globex").persona(persona).token().await;
        let body = json!({ "query": query, "variables": variables }).to_string();
        let request = reqwest::Client::new().post(format!("{}/graphql/stream", home.url)).header("content-type", "application/json");
        let answer = request.header("accept", "text/event-stream").header("x-purpose", purpose).bearer_auth(token).body(body).send().await.unwrap();
        Self { answer, text: String::new() }
    }

    /// The next event: its name and data. Comments are passed over.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n").map(|(event, rest)| (event.to_owned(), rest.to_owned())) {
                self.text = rest;
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
                if !event.starts_with(':') {
                    return (field("event:"), serde_json::from_str(&field("data:")).unwrap_or_default());
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.answer.chunk()).await.expect("an event within 20 s").unwrap();
            self.text += std::str::from_utf8(&chunk.expect("the stream goes on")).unwrap();
        }
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn socket(home: &Home, protocol: &str) -> Socket {
    let mut request = format!("{}/graphql/ws", home.url.replacen("http", "ws", 1)).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    connect_async(request).await.unwrap().0
}

async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

/// The next message, or the code that it was closed with.
async fn hear(socket: &mut Socket) -> Result<Value, u16> {
    loop {
        match tokio::time::timeout(Duration::from_secs(20), socket.next()).await.expect("an answer within 20 s") {
            Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
            Some(Ok(Message::Close(Some(frame)))) => return Err(frame.code.into()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn introduced(home: &Home, persona: &str, purpose: &str) -> Socket {
    let mut socket = socket(home, "graphql-transport-ws").await;
    let token = home.tenant("globex").persona(persona).token().await;
    say(&mut socket, json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {token}"), "x-purpose": purpose } })).await;
    assert_eq!(hear(&mut socket).await, Ok(json!({ "type": "connection_ack" })));
    socket
}

async fn some_customer(home: &Home) -> Value {
    let query = "mutation { createCustomer(input: {name: \"司徒甲一\", phone: \"13612396001\"}) { result { id } userErrors { message } } }";
    home.tenant("globex").persona("sales").purpose("sales_follow_up").query(query).await.data()["createCustomer"]["result"]["id"].clone()
}

async fn correct(home: &Home, id: &Value, phone: &str) {
    let query = "mutation($id: ID!, $phone: String!) { updateCustomer(id: $id, set: {phone: $phone}, reason: \"called\") { userErrors { message } } }";
    let done = home.tenant("globex").persona("sales").purpose("sales_follow_up").ask(query, json!({ "id": id, "phone": phone })).await;
    assert_eq!(done.data()["updateCustomer"]["userErrors"], json!([]));
}

const CHANGED: &str = "subscription($id: ID) { customerChanged(id: $id) { id phone(view: CLEAR) } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_as_clear_as_each_may_see_it() {
    for home in homes().await {
        let id = some_customer(&home).await;
        let mut mine = Events::of(&home, "sales", "sales_follow_up", CHANGED, json!({ "id": id })).await;
        assert_eq!(mine.answer.headers()["content-type"], "text/event-stream");
        let mut theirs = introduced(&home, "bi", "").await;
        say(&mut theirs, json!({ "id": "1", "type": "subscribe", "payload": { "query": CHANGED, "variables": { "id": id } } })).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        correct(&home, &id, "13612396002").await;
        let (event, told) = mine.next().await;
        assert_eq!((event.as_str(), &told["data"]["customerChanged"]["phone"]), ("next", &json!("13612396002")), "{told}");
        let told = hear(&mut theirs).await.unwrap();
        assert_eq!(
            (&told["type"], &told["id"], &told["payload"]["data"]["customerChanged"]["phone"]),
            (&json!("next"), &json!("1"), &json!("136****6002")),
            "{told}"
        );
        // What was told is in the log, event by event.
        let log = "{ audit { events(filter: {operation: \"anonymous\"}, first: 20) { nodes { operation masked clear } } } }";
        let log = home.tenant("globex").persona("auditor").query(log).await.data()["audit"]["events"]["nodes"].to_string();
        assert!(log.contains("\"clear\":1") && log.contains("\"masked\":1"), "{log}");
        // Two live beside each other; one that is complete hears nothing more.
        say(&mut theirs, json!({ "id": "2", "type": "subscribe", "payload": { "query": "{ me { name } }" } })).await;
        assert_eq!(hear(&mut theirs).await.unwrap()["payload"]["data"]["me"]["name"].as_str().map(str::is_empty), Some(false));
        assert_eq!(hear(&mut theirs).await, Ok(json!({ "type": "complete", "id": "2" })));
        say(&mut theirs, json!({ "id": "1", "type": "complete" })).await;
        say(&mut theirs, json!({ "type": "ping" })).await;
        assert_eq!(hear(&mut theirs).await, Ok(json!({ "type": "pong" })));
        correct(&home, &id, "13612396003").await;
        assert_eq!(mine.next().await.1["data"]["customerChanged"]["phone"], "13612396003");
        say(&mut theirs, json!({ "type": "ping" })).await;
        assert_eq!(hear(&mut theirs).await, Ok(json!({ "type": "pong" })), "nothing came between");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_and_a_steward_follow_what_happens() {
    for home in homes().await {
        let mut log = Events::of(&home, "auditor", "", "subscription { auditEvent { operation actor } }", json!({})).await;
        let denied = Events::of(&home, "sales", "", "subscription { auditEvent { operation } }", json!({})).await;
        assert_eq!(denied.answer.status(), 200);
        let refused: Value = denied.answer.json().await.unwrap();
        assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN", "{refused}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        home.tenant("globex").persona("support").query("query Counted { customers(first: 1) { nodes { number } } }").await.data();
        loop {
            let (_, told) = log.next().await;
            if told["data"]["auditEvent"]["operation"] == "Counted" {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_any_more_hears_nothing_more() {
    for home in homes().await {
        let id = some_customer(&home).await;
        let mut socket = introduced(&home, "bi", "").await;
        say(&mut socket, json!({ "id": "1", "type": "subscribe", "payload": { "query": CHANGED, "variables": { "id": id } } })).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        correct(&home, &id, "13612396012").await;
        assert!(hear(&mut socket).await.is_ok());
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        assert!(raw.run("UPDATE service_token SET revoked_at = created_at").await.unwrap() > 0);
        assert_eq!(hear(&mut socket).await, Err(4403), "within seconds");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_is_kept() {
    for home in homes().await {
        let init = json!({ "type": "connection_init", "payload": {} });
        let subscribe = json!({ "id": "1", "type": "subscribe", "payload": { "query": "subscription { customerChanged { id } }" } });
        let closed = async |protocol: &str, messages: &[&Value]| {
            let mut socket = socket(&home, protocol).await;
            for message in messages {
                let _ = socket.send(Message::text(message.to_string())).await;
            }
            loop {
                match hear(&mut socket).await {
                    Ok(_) => {}
                    Err(code) => return code,
                }
            }
        };
        assert_eq!(closed("graphql-transport-ws", &[&subscribe]).await, 4401);
        assert_eq!(closed("graphql-transport-ws", &[&init]).await, 4403, "without a token");
        assert_eq!(closed("graphql-transport-ws", &[&json!({ "type": "nonsense" })]).await, 4400);
        assert_eq!(closed("graphql-transport-ws", &[&json!([1, 2])]).await, 4400);
        assert_eq!(closed("graphql-transport-ws", &[]).await, 4408, "who says nothing");
        let mut twice = introduced(&home, "bi", "").await;
        say(&mut twice, subscribe.clone()).await;
        say(&mut twice, subscribe.clone()).await;
        assert_eq!(hear(&mut twice).await, Err(4409));
        let mut again = introduced(&home, "bi", "").await;
        say(&mut again, init.clone()).await;
        assert_eq!(hear(&mut again).await, Err(4429));
        let mut wrong = introduced(&home, "bi", "").await;
        say(&mut wrong, json!({ "id": "1", "type": "subscribe", "payload": { "query": "subscription { nothing }" } })).await;
        let told = hear(&mut wrong).await.unwrap();
        assert_eq!((&told["type"], &told["payload"][0]["extensions"]["code"]), (&json!("error"), &json!("GRAPHQL_VALIDATION_FAILED")), "{told}");
        let posted = home.tenant("globex").persona("bi").query("subscription { customerChanged { id } }").await;
        assert_eq!((posted.status, posted.code()), (422, "BAD_USER_INPUT"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_not_open_without_end() {
    for home in homes().await {
        // Those who do not say who they are get so many places, and one is free again when somebody is known or goes.
        let mut known = introduced(&home, "bi", "").await;
        let mut strangers = Vec::new();
        for _ in 0..20 {
            strangers.push(socket(&home, "graphql-transport-ws").await);
        }
        let refused = connect_async(format!("{}/graphql/ws", home.url.replacen("http", "ws", 1))).await.unwrap_err();
        assert!(matches!(&refused, tokio_tungstenite::tungstenite::Error::Http(answer) if answer.status() == 429), "{refused}");
        say(&mut known, json!({ "type": "ping" })).await;
        assert_eq!(hear(&mut known).await, Ok(json!({ "type": "pong" })), "who is known goes on");
        drop(strangers.pop());
        // The server hears of it in its own time.
        let mut more = Vec::new();
        for _ in 0..100 {
            let mut request = format!("{}/graphql/ws", home.url.replacen("http", "ws", 1)).into_client_request().unwrap();
            request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
            if let Ok((socket, _)) = connect_async(request).await {
                more.push(socket);
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(more.len(), 1, "a place that was given up is free");
        drop((strangers, more));
        // One caller has so many sockets.
        let mut sockets = vec![known];
        loop {
            let mut socket = socket(&home, "graphql-transport-ws").await;
            let token = home.tenant("globex").persona("bi").token().await;
            say(&mut socket, json!({ "type": "connection_init", "payload": { "authorization": format!("Bearer {token}") } })).await;
            match hear(&mut socket).await {
                Ok(_) => sockets.push(socket),
                Err(code) => break assert_eq!((code, sockets.len()), (4429, 20)),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_off_leaves_no_transaction_open() {
    for home in homes().await.into_iter().filter(|home| home.engine == Engine::Postgres) {
        let mut socket = introduced(&home, "bi", "").await;
        let ask = |id: usize| json!({ "id": id.to_string(), "type": "subscribe", "payload": { "query": "{ customers(first: 1) { nodes { number } } }" } });
        for id in 0..300 {
            say(&mut socket, ask(id)).await;
            if id % 3 > 0 {
                tokio::time::sleep(Duration::from_micros(150 * (id as u64 % 17))).await;
            }
            say(&mut socket, json!({ "id": id.to_string(), "type": "complete" })).await;
        }
        let raw = home.raw().await;
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%' \
            AND state_change < clock_timestamp() - interval '1 second'";
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(raw.number(open).await, 0);
        say(&mut socket, ask(1_000)).await;
        loop {
            let told = hear(&mut socket).await.unwrap();
            if told["id"] == "1000" {
                break assert!(told["payload"]["data"]["customers"]["nodes"][0]["number"].is_string(), "{told}");
            }
        }
    }
}
