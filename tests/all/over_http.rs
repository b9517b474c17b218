//! Bad requests: each gets an answer of the right shape, and none an answer that repeats what was sent.

use serde_json::json;
use tests::{Engine, Home};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread")]
async fn only_valid_tokens_are_let_in() {
    let home = Home::of(Engine::Sqlite).await;
    let body = json!({ "query": "{ me { subject } }" }).to_string();
    let good = home.tenant("acme").persona("sales").token().await;
    let service = home.tenant("acme").persona("bi").token().await;
    let refused = async |authorization: &str| {
        let (status, answer) = home.post(&[JSON, ("authorization", authorization)], body.clone()).await;
        assert_eq!((status, answer["errors"][0]["extensions"]["code"].as_str()), (401, Some("UNAUTHENTICATED")), "{authorization}");
        assert!(answer.get("data").is_none());
    };
    assert_eq!(home.post(&[JSON], body.clone()).await.0, 401);
    for bad in [
        "",
        "Bearer",
        "Bearer x",
        "Basic eDp5",
        "Digest a",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
        "Bearer pano_x_y",
        "Bearer pano_00000000000000000000000000000000_0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        refused(bad).await;
    }
    refused(&format!("Bearer {}x", good)).await;
    let mut other = service.clone();
    other.replace_range(other.len() - 1.., if service.ends_with('0') { "1" } else { "0" });
    refused(&format!("Bearer {other}")).await;
    assert_eq!(home.post(&[JSON, ("authorization", &format!("Bearer {good}"))], body.clone()).await.0, 200);
    assert_eq!(home.post(&[JSON, ("authorization", &format!("Bearer {service}"))], body.clone()).await.0, 200);
    // A service token under another tenant's id is no token at all.
    let globex = home.house.tenant("globex").await.unwrap().id.0.simple().to_string();
    refused(&format!("Bearer pano_{globex}_{}", service.rsplit('_').next().unwrap())).await;
    // Revoked, and the person gone.
    let acme = home.house.tenant("acme").await.unwrap();
    let admin = home.house.operator(acme.id, "test", "admin", None);
    let name = format!("bi-{}", std::process::id());
    let revoked = entity::Change::run(&home.house, &admin, entity::Operation::new("command", "Token.revoke"), async |change| {
        entity::token::revoke(change, &name).await.map_err(entity::Unaccounted::Failed)
    })
    .await;
    assert_eq!(revoked.unwrap(), 1);
    refused(&format!("Bearer {service}")).await;
    home.raw().await.run("UPDATE app_user SET disabled_at = '2026-01-01T00:00:00+00:00' WHERE subject = 'sales'").await.unwrap();
    refused(&format!("Bearer {good}")).await;
    let log = home.tenant("acme").persona("auditor").query("{ audit { events(filter: {operation: \"login\"}) { nodes { actor outcome } } } }").await;
    assert_eq!(
        log.data()["audit"]["events"]["nodes"],
        json!([{ "actor": "sales", "outcome": "denied" }, { "actor": format!("token:{name}"), "outcome": "denied" }]),
        "refused logins are in the log; made-up tokens are not"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_the_wrong_form_are_refused() {
    let home = Home::of(Engine::Sqlite).await;
    let authorization = format!("Bearer {}", home.tenant("acme").persona("support").token().await);
    let auth = ("authorization", authorization.as_str());
    let good = json!({ "query": "{ me { subject } }" }).to_string();
    for (status, headers, body) in [
        (415, vec![auth], good.clone()),
        (415, vec![auth, ("content-type", "text/plain")], good.clone()),
        (415, vec![auth, ("content-type", "application/x-www-form-urlencoded")], "query=x".into()),
        (415, vec![auth, ("content-type", "application/json; charset=latin1")], good.clone()),
        (406, vec![auth, JSON, ("accept", "text/html")], good.clone()),
        (400, vec![auth, JSON], "{\"query\"".into()),
        (400, vec![auth, JSON], json!({ "query": "{ me { " }).to_string()),
        (422, vec![auth, JSON], json!({ "query": 1 }).to_string()),
        (422, vec![auth, JSON], json!([{ "query": "{ me { subject } }" }]).to_string()),
        (422, vec![auth, JSON], json!({ "query": "{ me { subject } }", "variables": [1] }).to_string()),
        (422, vec![auth, JSON], json!({ "query": "{ nothing }" }).to_string()),
        (422, vec![auth, JSON], json!({ "query": "{ me { subject } }", "extensions": 1 }).to_string()),
        (422, vec![auth, JSON], json!({ "query": "query A { me { subject } } query B { me { subject } }", "operationName": "C" }).to_string()),
        (422, vec![auth, JSON], json!({ "query": "mutation { x }" }).to_string()),
        (413, vec![auth, JSON], json!({ "query": "#".repeat(300_000) }).to_string()),
        (400, vec![auth, JSON, ("x-purpose", "spying")], good.clone()),
        (422, vec![auth, JSON], json!({ "query": format!("{{ {} }}", (0..30).map(|i| format!("a{i}: me {{ subject }} ")).collect::<String>()) }).to_string()),
        (
            422,
            vec![auth, JSON],
            json!({ "query": "{ customers(first: 100) { nodes { orders(first: 100) { nodes { number amount status } } } } }" }).to_string(),
        ),
    ] {
        let (got, answer) = home.post(&headers, body.clone()).await;
        assert_eq!(got, status, "{body:.120} {answer}");
        assert!(
            answer["errors"][0]["message"].is_string() && answer["errors"][0]["extensions"]["code"].is_string() && answer.get("data").is_none(),
            "{answer}"
        );
    }
    let put = reqwest::Client::new().put(format!("{}/graphql", home.url)).send().await.unwrap();
    assert_eq!((put.status().as_u16(), put.headers()["allow"].to_str().unwrap()), (405, "GET, POST"));
    // Standard introspection works within the limits.
    let introspection = "{ __schema { types { kind name fields(includeDeprecated: true) { name args { name type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } } type { kind name ofType { kind name } } } } } }";
    home.tenant("acme").persona("support").query(introspection).await.data();
    for url in ["/healthz", "/readyz"] {
        assert_eq!(reqwest::get(format!("{}{url}", home.url)).await.unwrap().status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_never_repeat_what_was_sent() {
    let home = Home::of(Engine::Sqlite).await;
    for (query, variables) in [
        ("query($p: String!) { findCustomer(by: {phone: $p}) { id } }", json!({ "p": "1381234canary" })),
        ("query($p: String!) { findCustomer(by: {email: $p}) { id } }", json!({ "p": "canary#example.com" })),
        ("{ findCustomer(by: {phone: \"canary13812\"}) { id } }", json!({})),
        ("query($s: Status) { customers(filter: {status: $s}) { totalCount } }", json!({ "s": "canary" })),
        ("query($n: Int) { customers(first: $n) { totalCount } }", json!({ "n": "canary" })),
        ("query($d: DateTime) { customers(filter: {updatedSince: $d}) { totalCount } }", json!({ "d": "canary" })),
        ("query($a: String) { customers(after: $a) { totalCount } }", json!({ "a": "canary" })),
        ("{ customers(first: \"canary\") { totalCount } }", json!({})),
        ("{ customer(id: {canary: \"canary\"}) { number } }", json!({})),
        ("query($f: CustomerFilter) { customers(filter: $f) { totalCount } }", json!({ "f": { "canary": "canary" } })),
    ] {
        let answer = home.tenant("acme").persona("support").ask(query, variables).await;
        assert!(answer.status != 200, "{query}");
        let text = answer.body["errors"].to_string();
        let named_in_document = query.contains("{canary:");
        assert!(!text.contains("canary") || named_in_document, "{query}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_come_by_address_too_and_only_with_a_header_that_browsers_ask_about() {
    let home = Home::of(Engine::Sqlite).await;
    let token = home.tenant("acme").persona("support").token().await;
    let get = async |query: &[(&str, &str)], preflight: bool| {
        let mut request = reqwest::Client::new().get(reqwest::Url::parse_with_params(&format!("{}/graphql", home.url), query).unwrap()).bearer_auth(&token);
        if preflight {
            request = request.header("graphql-require-preflight", "1");
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap())
    };
    let (status, answer) = get(&[("query", "query A { me { subject } }"), ("operationName", "A"), ("variables", "{}")], true).await;
    assert_eq!((status, &answer["data"]["me"]["subject"]), (200, &json!("support")), "{answer}");
    assert_eq!(get(&[("query", "{ me { subject } }")], false).await.0, 400);
    assert_eq!(get(&[("query", "mutation { addWords(words: []) { result } }")], true).await.0, 405);
    assert_eq!(get(&[("query", "{ me { subject } }"), ("variables", "[1]")], true).await.0, 422);
    assert_eq!(get(&[("query", "{ me { subject } }"), ("extensions", "no")], true).await.0, 422);
    assert_eq!(get(&[("q", "{ me { subject } }")], true).await.0, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_headers_that_belong_to_it() {
    let home = Home::of(Engine::Sqlite).await;
    let token = home.tenant("acme").persona("support").token().await;
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let ask = async |body: &'static str| {
        let request = reqwest::Client::new().post(format!("{}/graphql", home.url)).bearer_auth(&token).header("content-type", "application/json");
        request.header("traceparent", format!("00-{id}-00f067aa0ba902b7-01")).header("accept-encoding", "gzip").body(body).send().await.unwrap()
    };
    for body in ["{\"query\": \"{ customers(first: 100) { nodes { name phone email address } } }\"}", "nonsense", "{\"query\": \"{ nothing }\"}"] {
        let answer = ask(body).await;
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        assert!(header("traceparent").starts_with(&format!("00-{id}-")) && !header("traceparent").contains("00f067aa0ba902b7"), "the trace goes on");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(header("vary").contains("Authorization") && header("x-request-id").len() == 36);
        assert!(header("ratelimit").starts_with("\"default\";r=") && header("ratelimit-policy").starts_with("\"default\";q="), "{:?}", answer.headers());
    }
    assert_eq!(ask("{\"query\": \"{ customers(first: 100) { nodes { name phone email address } } }\"}").await.headers()["content-encoding"], "gzip");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_stand_in_the_order_in_which_they_were_asked_for() {
    let home = Home::of(Engine::Sqlite).await;
    let token = home.tenant("acme").persona("sales_manager").token().await;
    let query = "{ customers(first: 2) { totalCount pageInfo { endCursor hasNextPage } nodes { tags { category name } orders(first: 1) { totalCount nodes { status number } } \
        ...some status number quality { score } name } edges { node { phone id } cursor } } me { subject name } } fragment some on Customer { sources { line system } address }";
    let request = reqwest::Client::new().post(format!("{}/graphql", home.url)).header("content-type", "application/json").bearer_auth(token);
    let text = request.body(json!({ "query": query }).to_string()).send().await.unwrap().text().await.unwrap();
    let mut at = 0;
    for key in [
        "data",
        "customers",
        "totalCount",
        "pageInfo",
        "endCursor",
        "hasNextPage",
        "nodes",
        "tags",
        "orders",
        "totalCount",
        "nodes",
        "sources",
        "address",
        "status",
        "number",
        "quality",
        "score",
        "name",
        "edges",
        "node",
        "phone",
        "id",
        "cursor",
        "me",
        "subject",
        "name",
    ] {
        let next = text[at..].find(&format!("\"{key}\":"));
        at += next.unwrap_or_else(|| panic!("{key} behind {at}: {text}"));
    }
}
