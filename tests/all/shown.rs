//! What a role is shown of the schema, and may ask for.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::homes;
use tests::schema::Schema;

const PERSONAS: [(&str, &str); 9] = [
    ("steward", "data_quality"),
    ("privacy", "privacy_request"),
    ("auditor", "privacy_request"),
    ("admin", "data_quality"),
    ("sales", "sales_follow_up"),
    ("sales_manager", "sales_follow_up"),
    ("support", "customer_service"),
    ("marketing", "sales_follow_up"),
    ("bi", "data_quality"),
];

/// The codes of an answer's errors.
fn codes(body: &Value) -> Vec<&str> {
    let payloads = body["data"].as_object().into_iter().flat_map(|data| data.values()).map(|payload| &payload["userErrors"]);
    let errors = std::iter::once(&body["errors"]).chain(payloads).filter_map(Value::as_array).flatten();
    errors.map(|error| error["extensions"]["code"].as_str().or(error["code"].as_str()).unwrap_or("none")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_shown_a_thing_may_not_do_it_and_who_is_shown_it_may() {
    for home in homes().await {
        let whole = Schema::told_to_all(&home, &PERSONAS).await;
        let mut hidden = BTreeSet::new();
        let mut told = Vec::new();
        for (persona, purpose) in PERSONAS {
            let mine = Schema::told_to(&home, persona, purpose).await;
            for root in whole.roots() {
                if !mine.roots().iter().any(|one| one.operation == root.operation && one.name == root.name) {
                    hidden.insert((root.operation, root.name));
                }
            }
            told.push(mine);
        }
        assert!(hidden.len() > 40, "{hidden:?}");
        let made_up =
            home.tenant("globex").persona("admin").query("{ customers(first: 1) { nodes { id } } }").await.data()["customers"]["nodes"][0]["id"].clone();
        let mut made_up = made_up.as_str().unwrap().to_owned();
        made_up.replace_range(made_up.len() - 2.., if made_up.ends_with('A') { "EE" } else { "AA" });
        let mut early = BTreeSet::new();
        for root in whole.roots().iter().filter(|root| hidden.contains(&(root.operation, root.name))) {
            // Would end the run of all others.
            if root.name == "requireRegisteredDocuments" {
                continue;
            }
            let query = whole.operation(root, &made_up);
            for ((persona, purpose), mine) in PERSONAS.iter().zip(&told) {
                let shown = mine.roots().iter().any(|one| one.operation == root.operation && one.name == root.name);
                let answer = home.tenant("globex").persona(persona).purpose(purpose).query(&query).await;
                let codes = codes(&answer.body);
                if shown {
                    assert!(!codes.contains(&"FORBIDDEN"), "{persona}: {query} {}", answer.body);
                } else if !codes.is_empty() && codes.iter().all(|code| matches!(*code, "NOT_FOUND" | "BAD_USER_INPUT")) {
                    early.insert(root.name);
                } else {
                    assert!(codes.contains(&"FORBIDDEN"), "{persona}: {query} {}", answer.body);
                }
            }
        }
        // What cannot be an id of its kind, a list of tests, a document or an address is refused whoever sent it.
        let by_id = ["cancelImport", "decideDuplicate", "drawSample", "import", "judgeRow", "pauseImport", "personCopy", "sample", "signSample"];
        let others = ["putPolicyTests", "registerDocuments", "setWebhook", "splitCustomer", "undoImport", "undoMerge"];
        // A customer that is not there is missing to everybody, and one of whom nothing is written is no customer.
        let of_nobody = ["addContact", "addOrder", "openTicket", "pinField", "recordConsent", "relateCustomers", "setTicketStatus", "tagCustomer"];
        let of_nothing = ["createCustomer", "customers", "unpinField", "unrelateCustomers", "untagCustomer", "updateCustomer"];
        assert_eq!(early, by_id.into_iter().chain(others).chain(of_nobody).chain(of_nothing).collect());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_is_shown_to_those_who_may_see_it() {
    for home in homes().await {
        let told = async |persona: &'static str, purpose: &'static str| Schema::told_to(&home, persona, purpose).await;
        let (bi, sales, auditor) = (told("bi", "data_quality").await, told("sales", "sales_follow_up").await, told("auditor", "privacy_request").await);
        assert!(bi.has("Customer", "phone") && sales.has("Customer", "phone") && sales.has("Customer", "remarks"));
        assert!(!bi.has("Customer", "remarks") && !bi.has("Contact", "summary"), "free text is not for reports");
        assert!(auditor.has("Query", "audit") && !sales.has("Query", "audit") && !sales.has("Audit", "events") && sales.has("Customer", "id"));
        // Nothing is decided by what is shown: who asks all the same is answered by the policy.
        let asked = home.tenant("globex").persona("bi").query("{ customers(first: 1) { nodes { remarks } } }").await;
        assert_eq!(asked.data()["customers"]["nodes"][0]["remarks"], json!(null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_for_reports_may_ask_for_more_at_once_than_others() {
    for home in homes().await {
        let ask = async |persona: &'static str, first: u32| {
            let query = format!("{{ customers(first: {first}) {{ nodes {{ orders(first: 100) {{ nodes {{ number amount status }} }} }} }} }}");
            home.tenant("globex").persona(persona).purpose("data_quality").query(&query).await
        };
        ask("steward", 20).await.data();
        ask("bi", 100).await.data();
        for (persona, first) in [("steward", 100), ("bi", 1_000)] {
            assert_eq!(ask(persona, first).await.code(), "QUERY_TOO_COMPLEX", "{persona}");
        }
    }
}
