//! Endpoints are told what changes, signed, in order, as clear as their token sees it, until they take it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tests::{Home, Taker, homes};

async fn admin(home: &Home, query: &str, variables: Value) -> Value {
    home.tenant("globex").persona("admin").ask(query, variables).await.data().clone()
}

async fn token(home: &Home, name: &str) {
    let query = "mutation($name: String!) { issueToken(name: $name, roles: [\"bi\"]) { userErrors { message } } }";
    assert_eq!(admin(home, query, json!({ "name": name })).await["issueToken"]["userErrors"], json!([]));
}

const SET: &str = "mutation($name: String!, $url: String!, $token: String!, $query: String!) {
    setWebhook(name: $name, url: $url, token: $token, query: $query) { result userErrors { field message code } } }";
const TOLD: &str = "subscription { customerChanged { id name phone(view: CLEAR) company } }";

/// Sets a webhook and returns its secret.
async fn set(home: &Home, name: &str, url: &str, query: &str) -> Vec<u8> {
    token(home, "erp").await;
    let done = admin(home, SET, json!({ "name": name, "url": url, "token": "erp", "query": query })).await["setWebhook"].clone();
    assert_eq!(done["userErrors"], json!([]));
    STANDARD.decode(done["result"].as_str().unwrap().strip_prefix("whsec_").unwrap()).unwrap()
}

async fn customer(home: &Home, phone: &str) -> Value {
    let query = "mutation($phone: String!) { createCustomer(input: {name: \"司徒乙一\", phone: $phone}) { result { id } userErrors { message } } }";
    let made = home.tenant("globex").persona("sales").purpose("sales_follow_up").ask(query, json!({ "phone": phone })).await;
    made.data()["createCustomer"]["result"]["id"].clone()
}

async fn correct(home: &Home, id: &Value, company: &str) {
    let query = "mutation($id: ID!, $company: String!) { updateCustomer(id: $id, set: {company: $company}, reason: \"called\") { userErrors { message } } }";
    let done = home.tenant("globex").persona("sales").purpose("sales_follow_up").ask(query, json!({ "id": id, "company": company })).await;
    assert_eq!(done.data()["updateCustomer"]["userErrors"], json!([]));
}

async fn restrict(home: &Home, id: &Value, restricted: bool) {
    let query = "mutation($id: ID!, $restricted: Boolean!) { restrictCustomer(customer: $id, restricted: $restricted, reason: \"asked for\") { userErrors { message } } }";
    let done = home.tenant("globex").persona("privacy").purpose("privacy_request").ask(query, json!({ "id": id, "restricted": restricted })).await;
    assert_eq!(done.data()["restrictCustomer"]["userErrors"], json!([]));
}

/// As a receiver verifies it, by the text of the standard.
fn signed(secret: &[u8], posted: &tests::Posted) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(format!("{}.{}.{}", posted.header("webhook-id"), posted.header("webhook-timestamp"), posted.body).as_bytes());
    posted.header("webhook-signature") == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

fn said(posted: &tests::Posted) -> Value {
    serde_json::from_str(&posted.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_told_signed_and_masked_until_it_is_taken() {
    for home in homes().await {
        let taker = Taker::answering(|nth| if nth == 1 { 500 } else { 204 }).await;
        let secret = set(&home, "erp", &taker.url, TOLD).await;
        let id = customer(&home, "13612397001").await;
        let first = taker.next().await;
        assert!(signed(&secret, &first) && !signed(&[0; 32], &first), "{first:?}");
        let told = said(&first);
        assert_eq!((&told["type"], &told["data"]["id"], &told["data"]["phone"]), (&json!("customer.changed"), &id, &json!("136****7001")), "{told}");
        assert!(!first.body.contains("13612397001"));
        // What was refused comes again, by the same name.
        let again = taker.next().await;
        assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
        assert!(signed(&secret, &again));
        correct(&home, &id, "司徒商贸").await;
        let changed = taker.next().await;
        assert_ne!(changed.header("webhook-id"), first.header("webhook-id"));
        assert_eq!(said(&changed)["data"]["company"], "司徒商贸");
        // Who may see it no more is told so once, and hears nothing of what becomes of it.
        restrict(&home, &id, true).await;
        let gone = said(&taker.next().await);
        assert_eq!((&gone["type"], &gone["data"]), (&json!("customer.gone"), &json!({ "id": id })));
        restrict(&home, &id, true).await;
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        assert!(taker.taken().is_empty());
        restrict(&home, &id, false).await;
        assert_eq!(said(&taker.next().await)["type"], "customer.changed");
        let erase = "mutation($id: ID!) { erasePerson(customer: $id, reason: \"asked for\") { userErrors { message } } }";
        let erased = home.tenant("globex").persona("privacy").purpose("privacy_request").ask(erase, json!({ "id": id })).await;
        assert_eq!(erased.data()["erasePerson"]["userErrors"], json!([]));
        let gone = said(&taker.next().await);
        assert_eq!((&gone["type"], &gone["data"]), (&json!("customer.gone"), &json!({ "id": id })));
        let doing = admin(&home, "{ webhooks { name host token waiting dead failure toldAt } }", json!({})).await["webhooks"][0].clone();
        assert_eq!((&doing["host"], &doing["waiting"], &doing["dead"], &doing["failure"]), (&json!("127.0.0.1"), &json!(0), &json!(0), &Value::Null));
        let read = "{ audit { events(first: 5, filter: {actor: \"token:erp\"}) { nodes { operation } } } }";
        let log = home.tenant("globex").persona("auditor").query(read).await.data()["audit"]["events"]["nodes"].clone();
        assert!(
            log.as_array().unwrap().iter().any(|event| event["operation"].as_str().is_some_and(|operation| operation.contains("erp"))),
            "what was told is in the log: {log}"
        );
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_a_dead_letter_until_it_is_replayed() {
    for home in homes().await {
        let taker = Taker::answering(|nth| if nth == 1 { 410 } else { 200 }).await;
        set(&home, "crm", &taker.url, TOLD).await;
        let id = customer(&home, "13612397002").await;
        taker.next().await;
        let doing = async || admin(&home, "{ webhooks { waiting dead failure toldAt } }", json!({})).await["webhooks"][0].clone();
        let mut dead = doing().await;
        for _ in 0..100 {
            if dead["dead"] == 1 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            dead = doing().await;
        }
        assert_eq!((&dead["waiting"], &dead["dead"], &dead["toldAt"]), (&json!(0), &json!(1), &Value::Null), "{dead}");
        assert!(dead["failure"].as_str().unwrap().contains("410"));
        let replayed = admin(&home, "mutation { replayWebhook(name: \"crm\") { result } }", json!({})).await;
        assert_eq!(replayed["replayWebhook"]["result"], 1);
        assert_eq!(said(&taker.next().await)["data"]["id"], id);
        // Who is not let in any more is told nothing, and what happened meanwhile waits.
        admin(&home, "mutation { revokeToken(name: \"erp\") { result } }", json!({})).await;
        correct(&home, &id, "司徒贸易").await;
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        assert!(taker.taken().is_empty());
        assert_eq!(doing().await["waiting"], 1);
        token(&home, "erp").await;
        assert_eq!(said(&taker.next().await)["data"]["company"], "司徒贸易");
        admin(&home, "mutation { removeWebhook(name: \"crm\") { result } }", json!({})).await;
        assert_eq!(admin(&home, "{ webhooks { name } }", json!({})).await["webhooks"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_would_see_more_or_nothing_is_not_set() {
    for home in homes().await {
        token(&home, "erp").await;
        let good = json!({ "name": "erp", "url": "https://example.com/hook", "token": "erp", "query": TOLD });
        let with = |key: &str, value: &str| {
            let mut variables = good.clone();
            variables[key] = value.into();
            variables
        };
        let queries = [
            "{ me { name } }",
            "subscription { auditEvent { id } }",
            "subscription { customerChanged { id } again: customerChanged { id } }",
            "subscription($id: ID) { customerChanged(id: $id) { id } }",
            "subscription { customerChanged { nothing } }",
            "subscription { customerChanged { id }",
        ];
        let wrong = [("url", "ftp://example.com/"), ("url", "https://me:secret@example.com/"), ("url", "x"), ("token", "nobody"), ("name", "")];
        for variables in wrong.into_iter().chain(queries.map(|query| ("query", query))) {
            let done = admin(&home, SET, with(variables.0, variables.1)).await["setWebhook"].clone();
            assert_eq!((&done["result"], &done["userErrors"][0]["field"]), (&Value::Null, &json!(variables.0)), "{variables:?} {done}");
            assert!(!done.to_string().contains("secret"));
        }
        // A token to whom two people gave clear sight is not for one to send elsewhere.
        home.run(&["token", "service", "--tenant", "globex", "--name", "clear", "--role", "sales_manager", "--days", "1"]);
        let done = admin(&home, SET, with("token", "clear")).await["setWebhook"].clone();
        assert!(done["userErrors"][0]["message"].as_str().is_some_and(|message| message.contains("two people")), "{done}");
        for persona in ["sales", "steward", "auditor"] {
            let refused = home.tenant("globex").persona(persona).ask(SET, good.clone()).await;
            assert_eq!(refused.code(), "FORBIDDEN");
            assert_eq!(home.tenant("globex").persona(persona).query("{ webhooks { name } }").await.code(), "FORBIDDEN");
        }
        assert_eq!(admin(&home, "{ webhooks { name } }", json!({})).await["webhooks"], json!([]));
    }
}
