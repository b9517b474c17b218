//! Whatever is sent, the answer has the right shape: never a fault of the server, never silence.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use tests::schema::Schema;
use tests::{Home, homes};

/// How often each is tried; the environment asks for more.
#[expect(clippy::disallowed_methods, reason = "a run of this by itself may take longer")]
fn cases() -> usize {
    std::env::var("GARBAGE").ok().and_then(|cases| cases.parse().ok()).unwrap_or(150)
}

/// The same garbage each time.
fn runner() -> TestRunner {
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]))
}

fn some<T>(runner: &mut TestRunner, of: &impl Strategy<Value = T>) -> T {
    of.new_tree(runner).unwrap().current()
}

/// Text out of the words of the language and of the schema, and anything else.
fn document() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => proptest::sample::select(vec![
            "{", "}", "(", ")", "[", "]", ":", "$", "@", "!", "=", "...", "query", "mutation", "subscription", "fragment", "on", "Customer", "customers", "customer", "node",
            "nodes", "id", "name", "phone", "first", "after", "view", "CLEAR", "me", "subject", "audit", "events", "findCustomer", "by", "addContact", "skip", "if", "true", "null",
            "\"x\"", "\"\"\"x\"\"\"", "-1", "1e999", "99999999999999999999", "#", "\n", ",", "__schema", "__type", "types", "fields",
        ])
        .prop_map(str::to_owned),
        1 => "\\PC{0,8}",
    ];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.join(" "))
}

/// Ids and cursors: none that was made here.
fn opaque() -> impl Strategy<Value = String> {
    prop_oneof!["[A-Za-z0-9_-]{0,60}", "[YciedpmrontsAB][A-Za-z0-9_-]{22}", "\\PC{0,20}"]
}

/// A request error: a code, and no data.
fn refused(body: &Value) -> bool {
    body["errors"][0]["extensions"]["code"].is_string() && body.get("data").is_none()
}

async fn sent(home: &Home, path: &str, headers: &[(&str, String)], body: Vec<u8>) -> (u16, Option<Value>) {
    let client = reqwest::Client::new();
    let request = headers.iter().fold(client.post(format!("{}{path}", home.url)), |request, (name, value)| request.header(*name, value));
    let answer = tokio::time::timeout(std::time::Duration::from_secs(20), request.body(body).send()).await.expect("an answer").unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_bytes_get_an_answer() {
    for home in homes().await {
        let token = home.tenant("acme").persona("steward").token().await;
        let mut runner = runner();
        let known = ("authorization", format!("Bearer {token}"));
        let is_json = ("content-type", "application/json".to_owned());
        for _ in 0..cases() {
            let bytes = some(&mut runner, &proptest::collection::vec(any::<u8>(), 0..300));
            for path in ["/graphql", "/graphql/stream", "/api/v1/imports", "/api/v1/imports?tenant=x", "/nothing"] {
                let (status, body) = sent(&home, path, &[known.clone(), is_json.clone()], bytes.clone()).await;
                assert!((400..500).contains(&status), "{path} {status} {bytes:?}");
                assert!(path != "/graphql" || body.is_some_and(|body| refused(&body)), "{path} {bytes:?}");
            }
            let text = some(&mut runner, &prop_oneof!["\\PC{0,200}", "[{}()\\[\\]a-z\":$!. ]{0,120}"]);
            let (status, body) = sent(&home, "/graphql", &[known.clone(), is_json.clone()], json!({ "query": text }).to_string().into_bytes()).await;
            assert!((400..500).contains(&status) && body.is_some_and(|body| refused(&body)), "{text} {status}");
            let text = some(&mut runner, &"[ -~]{0,80}");
            for headers in [
                vec![("authorization", text.clone()), is_json.clone()],
                vec![known.clone(), ("content-type", text.clone())],
                vec![("authorization", format!("Bearer {text}")), is_json.clone()],
            ] {
                let (status, _) = sent(&home, "/graphql", &headers, b"{\"query\":\"{ me { subject } }\"}".to_vec()).await;
                assert!((400..500).contains(&status) || (status == 200 && headers[0] == known), "{headers:?} {status}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_document_id_and_cursor_gets_an_answer() {
    const WITH: &str = "query($id: ID!, $after: String) { node(id: $id) { id } customer(id: $id) { number orders(after: $after) { nodes { number } } } }";
    const PAGE: &str = "query($after: String) { customers(first: 1, after: $after) { nodes { id } } audit { checkpoint { size } } }";
    for home in homes().await {
        let mut runner = runner();
        for _ in 0..cases() {
            let query = some(&mut runner, &document());
            let (id, after) = (some(&mut runner, &opaque()), some(&mut runner, &opaque()));
            for (query, variables) in [(query.as_str(), json!({})), (WITH, json!({ "id": id, "after": after })), (PAGE, json!({ "after": after }))] {
                let answer = home.tenant("acme").persona("steward").ask(query, variables.clone()).await;
                assert!(matches!(answer.status, 200 | 294 | 400 | 422), "{query} {variables} {answer:?}");
                assert!(answer.body.get("errors").is_none() || answer.code() != "INTERNAL_SERVER_ERROR", "{query} {variables} {answer:?}");
            }
        }
        home.tenant("acme").persona("steward").query("{ me { subject } }").await.data();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_is_refused_however_it_is_written() {
    for home in homes().await {
        let bearer = format!("Bearer {}", home.tenant("globex").persona("steward").token().await);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json"), ("x-purpose", "data_quality")];
        let given = "query($n: String!) { findCustomer(by: {number: $n}) { number } }";
        for body in [
            json!({ "query": "{ findCustomer(by: {number: \"\0\"}) { number } }" }),
            json!({ "query": "{ findCustomer(by: {number: \"\\u0000\"}) { number } }" }),
            json!({ "query": given, "variables": { "n": "a\0b" } }),
        ] {
            let (status, refused) = home.post(&headers, body.to_string()).await;
            assert_eq!((status, &refused["errors"][0]["extensions"]["code"]), (422, &json!("BAD_USER_INPUT")), "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_value_in_any_argument_gets_an_answer() {
    const PERSONAS: [(&str, &str); 5] =
        [("steward", "data_quality"), ("privacy", "privacy_request"), ("auditor", ""), ("admin", ""), ("sales", "sales_follow_up")];
    for home in homes().await {
        let schema = Schema::told_to_all(&home, &PERSONAS).await;
        let id = home.tenant("globex").persona("steward").query("{ customers(first: 1) { nodes { id } } }").await.data()["customers"]["nodes"][0]["id"].clone();
        let (id, mut runner) = (id.as_str().unwrap().to_owned(), runner());
        let mut pick = |of: usize| some(&mut runner, &(0..of));
        for case in 0..cases() / 30 {
            // Who requires registered documents is answered nothing else from then on.
            for root in schema.roots().iter().filter(|root| root.name != "requireRegisteredDocuments") {
                let query = schema.anything(root, &id, &mut pick);
                let (persona, purpose) = PERSONAS[pick(PERSONAS.len())];
                let desk = home.tenant("globex").persona(persona);
                let answer = if purpose.is_empty() { desk.query(&query).await } else { desk.purpose(purpose).query(&query).await };
                let known = [
                    "FORBIDDEN",
                    "NOT_FOUND",
                    "CONFLICT",
                    "BAD_USER_INPUT",
                    "GRAPHQL_VALIDATION_FAILED",
                    "SEARCH_BUDGET_EXCEEDED",
                    "QUERY_TOO_COMPLEX",
                    "PURPOSE_REQUIRED",
                ];
                let errors = answer.body["errors"].as_array().cloned().unwrap_or_default();
                let foreseen = errors.iter().all(|error| known.iter().any(|code| error["extensions"]["code"] == *code));
                assert!(foreseen && [200, 294, 422].contains(&answer.status), "{case}, {persona}: {query} {} {}", answer.status, answer.body);
            }
        }
    }
}
