//! A change that is asked for twice with one key is done once.

use serde_json::{Value, json};
use tests::{Home, homes};

const MAKE: &str = "mutation($phone: String!) { createCustomer(input: {name: \"司徒丙一\", phone: $phone}) { result { id } userErrors { message } } }";
const SHOW: &str =
    "mutation($phone: String!) { createCustomer(input: {name: \"司徒丙一\", phone: $phone}) { result { id phone(view: CLEAR) } userErrors { message } } }";

async fn ask(home: &Home, persona: &str, key: &str, query: &str, variables: Value) -> (u16, Value) {
    let token = home.tenant("globex").persona(persona).token().await;
    let token = format!("Bearer {token}");
    let headers = [("authorization", token.as_str()), ("content-type", "application/json"), ("x-purpose", "sales_follow_up"), ("idempotency-key", key)];
    home.post(&headers, json!({ "query": query, "variables": variables }).to_string()).await
}

async fn customers(home: &Home) -> i64 {
    let raw = home.raw().await;
    raw.as_tenant(home.engine, "globex").await;
    raw.number("SELECT count(*) FROM customer").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_twice_is_done_once_and_answered_alike() {
    for home in homes().await {
        let before = customers(&home).await;
        let variables = json!({ "phone": "13612398001" });
        let asked = (0..8).map(|_| ask(&home, "sales", "\"one\"", MAKE, variables.clone()));
        let answers = futures_util::future::join_all(asked).await;
        let first = &answers[0];
        assert!(first.0 == 200 && first.1["data"]["createCustomer"]["result"]["id"].is_string(), "{first:?}");
        assert!(answers.iter().all(|answer| answer == first), "{answers:?}");
        assert_eq!(customers(&home).await, before + 1);
        // Sent to where streams are, it is the same request.
        let token = home.tenant("globex").persona("sales").token().await;
        let streamed = reqwest::Client::new().post(format!("{}/graphql/stream", home.url)).bearer_auth(&token).header("content-type", "application/json");
        let streamed = streamed.header("x-purpose", "sales_follow_up").header("idempotency-key", "one");
        let told = streamed.body(json!({ "query": MAKE, "variables": variables }).to_string()).send().await.unwrap().text().await.unwrap();
        assert!(told.contains(first.1["data"]["createCustomer"]["result"]["id"].as_str().unwrap()), "{told}");
        assert_eq!(customers(&home).await, before + 1);
        // The key stands for that request of that caller.
        let (status, other) = ask(&home, "sales", "one", MAKE, json!({ "phone": "13612398002" })).await;
        assert_eq!((status, &other["errors"][0]["extensions"]["code"]), (422, &json!("BAD_USER_INPUT")), "{other}");
        let (status, _) = ask(&home, "sales", &"k".repeat(256), MAKE, variables.clone()).await;
        assert_eq!(status, 400);
        assert_eq!(customers(&home).await, before + 1);
        let (status, theirs) = ask(&home, "sales_manager", "one", MAKE, json!({ "phone": "13612398003" })).await;
        assert_eq!((status, customers(&home).await), (200, before + 2), "{theirs}");
        // Where something of a person was seen, or a secret told, nothing is kept, and nothing is done again.
        let variables = json!({ "phone": "13612398005" });
        let (_, shown) = ask(&home, "sales", "seen", SHOW, variables.clone()).await;
        assert_eq!(shown["data"]["createCustomer"]["result"]["phone"], "13612398005", "{shown}");
        let (status, again) = ask(&home, "sales", "seen", SHOW, variables).await;
        assert!(status == 409 && !again.to_string().contains("13612398005"), "{again}");
        assert_eq!(customers(&home).await, before + 3);
        let issue = "mutation { issueToken(name: \"once\", roles: [\"bi\"]) { result } }";
        let (_, issued) = ask(&home, "admin", "token", issue, json!({})).await;
        assert!(issued["data"]["issueToken"]["result"].as_str().is_some_and(|token| token.starts_with("pano_")), "{issued}");
        assert_eq!(ask(&home, "admin", "token", issue, json!({})).await.0, 409);
        // What was kept is sealed, and what failed is not kept.
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        let plain = if home.engine == tests::Engine::Sqlite { "CAST(answer AS TEXT)" } else { "encode(answer, 'escape')" };
        assert_eq!(raw.number(&format!("SELECT count(*) FROM idempotency WHERE {plain} LIKE '%13612398001%' OR {plain} LIKE '%createCustomer%'")).await, 0);
        let (_, failed) = ask(&home, "sales", "two", MAKE, json!({ "phone": "1" })).await;
        assert!(failed["data"]["createCustomer"]["userErrors"][0].is_object(), "{failed}");
        let (_, again) = ask(&home, "sales", "two", MAKE, json!({ "phone": "13612398004" })).await;
        assert!(again["data"]["createCustomer"]["result"].is_object(), "{again}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_about_somebody_whose_rights_stand_against_it_is_not_given_again() {
    for home in homes().await {
        let variables = json!({ "phone": "13612398011" });
        let (_, made) = ask(&home, "sales", "three", MAKE, variables.clone()).await;
        let id = made["data"]["createCustomer"]["result"]["id"].clone();
        let before = customers(&home).await;
        let restrict = "mutation($id: ID!) { restrictCustomer(customer: $id, restricted: true, reason: \"asked for\") { userErrors { message } } }";
        let done = home.tenant("globex").persona("privacy").purpose("privacy_request").ask(restrict, json!({ "id": id })).await;
        assert_eq!(done.data()["restrictCustomer"]["userErrors"], json!([]));
        let (status, again) = ask(&home, "sales", "three", MAKE, variables.clone()).await;
        assert_eq!((status, &again["errors"][0]["extensions"]["code"]), (409, &json!("CONFLICT")), "{again}");
        assert!(!again.to_string().contains("13612398011"));
        assert_eq!(customers(&home).await, before, "and it is not done again");
    }
}
