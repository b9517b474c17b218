//! The log: every access is in it, nothing leaves without it, nothing in it can be changed.

use serde_json::{Value, json};
use tests::{Engine, homes};

const EVENTS: &str = "query($f: AuditFilter) { audit { events(filter: $f, first: 100) { nodes { at actor operation outcome purpose clear masked withheld body fields { field clear masked withheld } } } } }";

#[tokio::test(flavor = "multi_thread")]
async fn the_auditor_sees_each_access_with_fields_levels_and_purpose() {
    for home in homes().await {
        let page = home
            .tenant("acme")
            .persona("sales")
            .purpose("sales_follow_up")
            .query("query Mine { customers(first: 3, filter: {mine: true}) { nodes { id phone(view: CLEAR) name remarks } } }")
            .await;
        let id = page.data()["customers"]["nodes"][0]["id"].clone();
        home.tenant("acme").persona("bi").ask("query Other($id: ID!) { customer(id: $id) { phone remarks } }", json!({ "id": id })).await;
        let log = home.tenant("acme").persona("auditor").ask(EVENTS, json!({ "f": { "customer": id } })).await;
        let events = log.data()["audit"]["events"]["nodes"].as_array().unwrap().clone();
        let of = |operation: &str| events.iter().find(|event| event["operation"] == operation).unwrap_or_else(|| panic!("no event {operation}"));
        let mine = of("Mine");
        assert_eq!((&mine["actor"], &mine["purpose"], &mine["outcome"]), (&json!("sales"), &json!("sales_follow_up"), &json!("ok")));
        assert_eq!(mine["clear"], 3);
        let field = |event: &Value, name: &str| event["fields"].as_array().unwrap().iter().find(|field| field["field"] == name).cloned();
        assert_eq!(field(mine, "Customer.name").unwrap()["masked"], 3);
        let other = of("Other");
        assert_eq!((&other["masked"], other["clear"].as_i64()), (&json!(1), Some(0)));
        // Canonical, and without any personal value.
        let body: Value = serde_json::from_str(mine["body"].as_str().unwrap()).unwrap();
        assert_eq!(body.to_string(), mine["body"].as_str().unwrap(), "canonical: members in the order of their names, nothing between");
        assert_eq!(
            body["sights"].as_array().unwrap().iter().map(|group| group["subjects"].as_array().unwrap().len()).sum::<usize>(),
            3,
            "all subjects of the page"
        );
        for node in page.data()["customers"]["nodes"].as_array().unwrap() {
            assert!(!mine["body"].as_str().unwrap().contains(node["phone"].as_str().unwrap_or("never")));
        }
        // Reading the log is in the log, and a refused reader too.
        let refused = home.tenant("acme").persona("bi").ask(EVENTS, json!({ "f": null })).await;
        assert_eq!(refused.code(), "FORBIDDEN");
        let log = home.tenant("acme").persona("auditor").ask(EVENTS, json!({ "f": { "outcome": "denied" } })).await;
        assert!(log.data().to_string().contains("Audit read"));
        let log = home.tenant("acme").persona("auditor").ask(EVENTS, json!({ "f": { "actor": "auditor" } })).await;
        assert!(log.data()["audit"]["events"]["nodes"].as_array().unwrap().len() >= 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_the_audit_store_stops_the_answers() {
    for home in homes().await {
        let ask = async || home.tenant("acme").persona("sales").query("{ customers(first: 1) { nodes { name } } }").await;
        assert_eq!(ask().await.status, 200);
        let raw = home.raw().await;
        raw.run("ALTER TABLE audit_event RENAME TO audit_gone").await.unwrap();
        let withheld = ask().await;
        assert_eq!((withheld.status, withheld.code()), (503, "UNAVAILABLE"));
        assert!(withheld.body.get("data").is_none());
        assert_eq!(reqwest::get(format!("{}/readyz", home.url)).await.unwrap().status(), 503);
        // A write is not acknowledged either, and leaves nothing.
        let tenant = home.house.tenant("acme").await.unwrap();
        let admin = home.house.operator(tenant.id, "test", "admin", None);
        let added = entity::Change::run(&home.house, &admin, entity::Operation::new("command", "User.add"), async |change| {
            entity::people::add(change, "late", "Late", None, &["admin"]).await.map_err(entity::Unaccounted::Failed)
        });
        assert!(added.await.is_err());
        raw.run("ALTER TABLE audit_gone RENAME TO audit_event").await.unwrap();
        assert_eq!(ask().await.status, 200);
        assert_eq!(home.tenant("acme").persona("late").query("{ me { subject } }").await.code(), "UNAUTHENTICATED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_can_be_added_to_and_not_changed() {
    for home in homes().await {
        home.tenant("acme").persona("sales").query("{ customers(first: 1) { nodes { name } } }").await.data();
        home.house.checkpoint().await.unwrap();
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "acme").await;
        for attempt in
            ["UPDATE audit_event SET actor = 'nobody'", "DELETE FROM audit_event", "DELETE FROM audit_checkpoint", "UPDATE audit_checkpoint SET note = note"]
        {
            let refused = raw.run(attempt).await.unwrap_err();
            assert!(refused.contains("append-only"), "{attempt}: {refused}");
        }
        if home.engine == Engine::Postgres {
            assert!(raw.run("TRUNCATE audit_event CASCADE").await.unwrap_err().contains("append-only"));
        }
        assert!(raw.number("SELECT count(*) FROM audit_event").await > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_at_once_each_leave_their_event() {
    for home in homes().await {
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "acme").await;
        let before = raw.number("SELECT count(*) FROM audit_event").await;
        let token = home.tenant("acme").persona("support").token().await;
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        let body = json!({ "query": "{ customers(first: 5) { nodes { name phone } } }" }).to_string();
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let request = reqwest::Client::new()
                .post(format!("{}/graphql", home.url))
                .header(headers[0].0, headers[0].1)
                .header(headers[1].0, headers[1].1)
                .body(body.clone());
            running.spawn(request.send());
        }
        let answered = running.join_all().await.into_iter().filter(|answer| answer.as_ref().unwrap().status() == 200).count();
        assert_eq!(answered, 64);
        assert_eq!(raw.number("SELECT count(*) FROM audit_event").await - before, 64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_that_was_only_found_is_in_the_log_too() {
    for home in homes().await {
        let page = home.tenant("acme").persona("steward").purpose("data_quality").query("{ customers(first: 1) { nodes { id phone(view: CLEAR) } } }").await;
        let node = &page.data()["customers"]["nodes"][0];
        let found = home
            .tenant("acme")
            .persona("support")
            .ask("query Probe($p: String!) { findCustomer(by: {phone: $p}) { id } }", json!({ "p": node["phone"] }))
            .await;
        assert_eq!(found.data()["findCustomer"]["id"], node["id"]);
        let log = home.tenant("acme").persona("auditor").ask(EVENTS, json!({ "f": { "customer": node["id"] } })).await;
        assert!(log.data().to_string().contains("Probe"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disclosure_does_not_tell_whether_a_withheld_value_exists() {
    for home in homes().await {
        let page = home.tenant("acme").persona("bi").query("{ customers(first: 50) { nodes { remarks } } }").await;
        assert_eq!(page.body["extensions"]["disclosure"], json!([{ "field": "Customer.remarks", "clear": 0, "masked": 0, "withheld": 50 }]));
        let why = home.tenant("acme").persona("admin").query("{ customers(first: 50) { nodes { provenance { field } } } }").await;
        assert!(!why.data().to_string().contains("Customer.remarks") && why.data().to_string().contains("Customer.phone"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_events_too() {
    for home in homes().await {
        home.tenant("acme").persona("support").query("query Broken { findCustomer(by: {phone: \"1\"}) { id } }").await;
        let log = home.tenant("acme").persona("auditor").ask(EVENTS, json!({ "f": { "outcome": "failed" } })).await;
        assert!(log.data().to_string().contains("Broken"));
        // Who may not manage the tenant mints nothing.
        let tenant = home.house.tenant("acme").await.unwrap();
        let steward = home.house.operator(tenant.id, "test", "steward", Some("data_quality"));
        let minted = entity::Change::run(&home.house, &steward, entity::Operation::new("command", "Token.service"), async |change| {
            entity::token::issue(change, "x", entity::token::Terms { roles: &["admin"], purpose: None, days: 1, registered_only: false })
                .await
                .map_err(entity::Unaccounted::Failed)
        });
        assert!(minted.await.is_err());
        let log = home.tenant("acme").persona("auditor").ask(EVENTS, json!({ "f": { "outcome": "denied" } })).await;
        assert!(log.data().to_string().contains("Tenant manage"));
    }
}
