//! The log can be proven, and whoever changes it is found out by the server and by the commands.

use entity::audit::{self, Verifier, tree};
use entity::{Change, House, Operation, Session, Settings, Unaccounted};
use serde_json::{Value, json};
use tests::{Engine, Home, Raw, homes};

use crate::bundles::verified;

/// Looks at two customers so many times; returns the id and number of the first.
pub async fn looks(home: &Home, times: usize) -> (Value, String) {
    let mut first = Value::Null;
    for _ in 0..times {
        let query = "query Look { customers(first: 2) { nodes { id number phone(view: CLEAR) } } }";
        let page = home.tenant("acme").persona("support").purpose("customer_service").query(query).await;
        first = page.data()["customers"]["nodes"][0].clone();
    }
    (first["id"].clone(), first["number"].as_str().unwrap().to_owned())
}

async fn auditor(home: &Home, query: &str, variables: Value) -> Value {
    home.tenant("acme").persona("auditor").ask(query, variables).await.data()["audit"].clone()
}

fn bytes(hex: &Value) -> tree::Hash {
    let hex = hex.as_str().unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

fn hashes(list: &Value) -> Vec<tree::Hash> {
    list.as_array().unwrap().iter().map(bytes).collect()
}

/// Changes the log as somebody with the database's password does, who first removes what is in the way.
async fn by_hand(home: &Home, statement: &str) -> u64 {
    let raw = home.raw().await;
    raw.as_tenant(home.engine, "acme").await;
    let triggers: &[&str] = match home.engine {
        Engine::Sqlite => &["DROP TRIGGER IF EXISTS audit_event_kept_as_is", "DROP TRIGGER IF EXISTS audit_event_kept"],
        Engine::Postgres => &["ALTER TABLE audit_event DISABLE TRIGGER audit_event_append_only"],
    };
    for trigger in triggers {
        raw.run(trigger).await.unwrap();
    }
    raw.run(statement).await.unwrap()
}

async fn acme(raw: &Raw, home: &Home, sql: &str) -> i64 {
    raw.as_tenant(home.engine, "acme").await;
    raw.number(&sql.replace("@acme", "(SELECT id FROM tenant WHERE slug = 'acme')")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_proven_under_a_checkpoint_and_checkpoints_continue_each_other() {
    for home in homes().await {
        looks(&home, 3).await;
        home.house.checkpoint().await.unwrap();
        let state = "{ audit { checkpoint { events note key problem installation { index hashes checkpoint } } } }";
        let before = auditor(&home, state, json!({})).await["checkpoint"].clone();
        let key = Verifier::parse(before["key"].as_str().unwrap()).unwrap();
        assert_eq!(key.to_string(), home.house.log_key().await.unwrap().to_string());
        let old = key.open(before["note"].as_str().unwrap()).unwrap();
        looks(&home, 3).await;
        let event =
            auditor(&home, "{ audit { events(first: 1, filter: {operation: \"Look\"}) { nodes { id sequence intact sentence body } } } }", json!({})).await;
        let event = event["events"]["nodes"][0].clone();
        assert_eq!(event["intact"], Value::Null, "not under a checkpoint yet");
        assert!(
            event["sentence"].as_str().unwrap().contains("saw Customer.number, Customer.phone clear of 2 customers for customer_service, by Look"),
            "{event}"
        );
        home.house.checkpoint().await.unwrap();
        let query = "query($e: ID!) { audit { proof(event: $e) { index leaf size hashes checkpoint } } }";
        let proof = auditor(&home, query, json!({ "e": event["id"] })).await["proof"].clone();
        let now = key.open(proof["checkpoint"].as_str().unwrap()).unwrap();
        let (index, leaf) = (proof["index"].as_u64().unwrap(), bytes(&proof["leaf"]));
        assert_eq!((Some(index), leaf), (event["sequence"].as_u64(), tree::leaf(event["body"].as_str().unwrap().as_bytes())));
        assert!(tree::includes(&now.root, now.size, index, leaf, &hashes(&proof["hashes"])));
        let query = "query($from: Int!) { audit { consistency(from: $from) { from to hashes } } }";
        let continued = auditor(&home, query, json!({ "from": old.size })).await["consistency"].clone();
        assert_eq!((&continued["from"], &continued["to"]), (&before["note"], &proof["checkpoint"]));
        assert!(old.size < now.size && tree::continues(old.size, &old.root, now.size, &now.root, &hashes(&continued["hashes"])));
        // The installation's log holds it.
        let after = auditor(&home, state, json!({})).await["checkpoint"].clone();
        let listed = key.open(after["installation"]["checkpoint"].as_str().unwrap()).unwrap();
        let leaf = tree::leaf(after["note"].as_str().unwrap().as_bytes());
        let at = after["installation"]["index"].as_u64().unwrap();
        assert!(tree::includes(&listed.root, listed.size, at, leaf, &hashes(&after["installation"]["hashes"])));
        assert_eq!(after["problem"], Value::Null);
        // Others get nothing of it.
        let refused = home.tenant("acme").persona("support").ask("query($e: ID!) { audit { proof(event: $e) { index } } }", json!({ "e": event["id"] })).await;
        assert_eq!(refused.code(), "FORBIDDEN");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_edited_by_hand_is_named_by_verify_fsck_and_the_server() {
    for home in homes().await {
        looks(&home, 4).await;
        home.house.checkpoint().await.unwrap();
        let raw = home.raw().await;
        let at_place = acme(&raw, &home, "SELECT max(sequence) FROM audit_event WHERE operation = 'Look' AND tenant_id = @acme").await;
        assert!(home.run(&["audit", "verify", "--tenant", "acme"]).starts_with("verified: "));
        assert!(home.run(&["audit", "fsck", "--tenant", "acme"]).starts_with("verified: "));
        // Only what it is found by: the tree stands, fsck finds it.
        let hide = format!("UPDATE audit_event SET actor = 'nobody' WHERE sequence = {at_place} AND tenant_id = (SELECT id FROM tenant WHERE slug = 'acme')");
        assert_eq!(by_hand(&home, &hide).await, 1);
        home.run(&["audit", "verify", "--tenant", "acme"]);
        let found = home.program(&["audit", "fsck", "--tenant", "acme"]).refusal();
        assert!(found.contains(&format!("event {at_place}: column actor")), "{found}");
        by_hand(&home, &hide.replace("nobody", "support")).await;
        home.run(&["audit", "fsck", "--tenant", "acme"]);
        // The event itself.
        let body = if home.engine == Engine::Sqlite {
            "CAST(replace(CAST(body AS text), 'customer_service', 'sales_follow_up') AS blob)"
        } else {
            "convert_to(replace(convert_from(body, 'UTF8'), 'customer_service', 'sales_follow_up'), 'UTF8')"
        };
        let edit = format!("UPDATE audit_event SET body = {body} WHERE sequence = {at_place} AND tenant_id = (SELECT id FROM tenant WHERE slug = 'acme')");
        assert_eq!(by_hand(&home, &edit).await, 1);
        let found = home.program(&["audit", "verify", "--tenant", "acme"]).refusal();
        assert!(found.contains(&format!("not verified: event {at_place}: it is not the one that was logged")), "{found}");
        let events = "{ audit { events(filter: {operation: \"Look\"}, first: 3) { nodes { sequence intact } } checkpoint { problem } } }";
        let seen = auditor(&home, events, json!({})).await;
        let intact: Vec<&Value> = seen["events"]["nodes"].as_array().unwrap().iter().map(|node| &node["intact"]).collect();
        assert_eq!(intact, [&json!(false), &json!(true), &json!(true)], "{seen}");
        // The tenants take turns.
        home.house.checkpoint().await.unwrap();
        home.house.checkpoint().await.unwrap();
        let problem = auditor(&home, events, json!({})).await["checkpoint"]["problem"].clone();
        assert_eq!(problem, json!(format!("event {at_place} is not the one that was logged")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_that_contradicts_what_was_signed() {
    for home in homes().await {
        looks(&home, 2).await;
        let notes = home.house.checkpoint().await.unwrap();
        assert!(notes.len() >= 2 && home.house.checkpoint().await.unwrap().is_empty(), "nothing new, nothing signed");
        let key = home.house.log_key().await.unwrap();
        let sizes = async || -> i64 {
            let raw = home.raw().await;
            acme(&raw, &home, "SELECT max(size) FROM audit_checkpoint WHERE tenant_id = @acme").await
        };
        let before = sizes().await;
        // The last events are taken away, with the tiles and the checkpoint over them: a fork, as a restored backup makes one.
        let cut = before - 2;
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "acme").await;
        let triggers: &[&str] = match home.engine {
            Engine::Sqlite => &["DROP TRIGGER audit_checkpoint_kept", "DROP TRIGGER audit_checkpoint_kept_as_is"],
            Engine::Postgres => &["ALTER TABLE audit_checkpoint DISABLE TRIGGER audit_checkpoint_append_only"],
        };
        for trigger in triggers {
            raw.run(trigger).await.unwrap();
        }
        let mine = "tenant_id = (SELECT id FROM tenant WHERE slug = 'acme')";
        by_hand(&home, &format!("DELETE FROM audit_event WHERE sequence >= {cut} AND {mine}")).await;
        raw.run(&format!("DELETE FROM audit_subject WHERE sequence >= {cut} AND {mine}")).await.unwrap();
        raw.run(&format!("UPDATE audit_head SET size = {cut} WHERE {mine}")).await.unwrap();
        raw.run(&format!("DELETE FROM audit_checkpoint WHERE {mine}")).await.unwrap();
        raw.run(&format!("DELETE FROM audit_tile WHERE {mine}")).await.unwrap();
        looks(&home, 5).await;
        home.house.checkpoint().await.unwrap();
        let acme = home.house.tenant("acme").await.unwrap().id;
        assert!(home.house.damage(acme).unwrap().contains("was signed"), "{:?}", home.house.damage(acme));
        raw.as_tenant(home.engine, "acme").await;
        assert_eq!(raw.number(&format!("SELECT count(*) FROM audit_checkpoint WHERE {mine}")).await, 0);
        // A process that was just started knows it from the installation's log, or from what was published.
        let found = home.program(&["audit", "verify", "--tenant", "acme"]).refusal();
        assert!(found.contains("was signed and is gone"), "{found}");
        let fresh = api::home::open(&home.config).await.unwrap();
        fresh.remember(&notes).await.unwrap();
        fresh.checkpoint().await.unwrap();
        assert!(fresh.damage(acme).is_some());
        assert!(notes.iter().all(|note| key.open(note).is_ok()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_many_is_one_event_and_found_by_each_person() {
    for home in homes().await {
        let raw = home.raw().await;
        let before = acme(&raw, &home, "SELECT size FROM audit_head WHERE tenant_id = @acme").await;
        let query = "query Page { customers(first: 50) { nodes { id phone } } }";
        let page = home.tenant("acme").persona("support").query(query).await;
        let last = page.data()["customers"]["nodes"][49]["id"].clone();
        assert_eq!(acme(&raw, &home, "SELECT size FROM audit_head WHERE tenant_id = @acme").await, before + 1);
        let who = "query($c: ID!) { audit { subjectAccess(customer: $c, first: 5) { nodes { level seen { field level } event { operation actor } } } } }";
        let seen = async || auditor(&home, who, json!({ "c": last })).await["subjectAccess"]["nodes"][0].clone();
        let first = seen().await;
        assert_eq!((&first["event"]["operation"], &first["level"]), (&json!("Page"), &json!("masked")), "{first}");
        while entity::audit::index_wide(&home.house).await.unwrap() {}
        assert_eq!(acme(&raw, &home, "SELECT count(*) FROM audit_wide WHERE tenant_id = @acme").await, 0);
        assert_eq!(seen().await, first);
        home.run(&["audit", "fsck", "--tenant", "acme"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_asked_by_all_that_it_says_and_pages_are_stable() {
    for home in homes().await {
        let (customer, _) = looks(&home, 7).await;
        home.tenant("acme").persona("bi").query("query Masked { customers(first: 1) { nodes { phone } } }").await.data();
        let count = async |filter: Value| {
            let query = "query($f: AuditFilter) { audit { events(filter: $f, first: 100) { nodes { operation actor } } } }";
            auditor(&home, query, json!({ "f": filter })).await["events"]["nodes"].as_array().unwrap().len()
        };
        assert_eq!(count(json!({ "role": "support", "operation": "Look" })).await, 7);
        assert_eq!(count(json!({ "role": "auditor", "operation": "Look" })).await, 0);
        assert_eq!(count(json!({ "role": "%", "operation": "Look" })).await, 0);
        assert_eq!(count(json!({ "field": "Customer.phone", "level": "CLEAR", "purpose": "customer_service" })).await, 7);
        assert_eq!(count(json!({ "field": "Customer.phone", "level": "MASKED", "operation": "Masked" })).await, 1);
        assert_eq!(count(json!({ "field": "Customer.phone", "level": "CLEAR", "operation": "Masked" })).await, 0);
        assert_eq!(count(json!({ "customer": customer, "field": "Customer.phone", "level": "CLEAR" })).await, 7);
        assert_eq!(count(json!({ "address": "127.0.0.1", "operation": "Look" })).await, 7);
        assert_eq!(count(json!({ "operation": "Look", "until": "2020-01-01T00:00:00Z" })).await, 0);
        assert_eq!(count(json!({ "operation": "Look", "since": "2020-01-01T00:00:00Z" })).await, 7);
        assert_eq!(count(json!({ "operation": "Look", "clear": false })).await, 0);
        let query =
            "query($f: AuditFilter, $a: ID) { audit { events(filter: $f, first: 3, after: $a) { nodes { sequence } pageInfo { hasNextPage endCursor } } } }";
        let (mut after, mut sequences) = (Value::Null, Vec::new());
        loop {
            let page = auditor(&home, query, json!({ "f": { "operation": "Look" }, "a": after })).await["events"].clone();
            sequences.extend(page["nodes"].as_array().unwrap().iter().map(|node| node["sequence"].as_u64().unwrap()));
            // What comes meanwhile comes in front.
            looks(&home, 1).await;
            if page["pageInfo"]["hasNextPage"] == json!(false) {
                break;
            }
            after = page["pageInfo"]["endCursor"].clone();
        }
        assert!(sequences.len() == 7 && sequences.is_sorted_by(|a, b| a > b), "{sequences:?}");
        let wrong = home.tenant("acme").persona("auditor").ask(query, json!({ "f": { "field": "Customer.secret" }, "a": null })).await;
        assert_eq!(wrong.code(), "BAD_USER_INPUT");
    }
}

/// So many events that say nothing.
pub async fn noise(home: &Home, events: usize) {
    let acme = home.house.tenant("acme").await.unwrap().id;
    let nobody = home.house.operator(acme, "noise", "auditor", None);
    for n in 0..events {
        Session::run(&home.house, &nobody, Operation::new("command", format!("Noise{n}")), async |_| ()).await.unwrap();
    }
}

/// In four years the time of what is logged today is over.
fn later() -> chrono::DateTime<chrono::Utc> {
    api::clock::now() + chrono::Duration::days(4 * 365)
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_when_their_time_is_over_and_two_persons_want_it_and_proofs_still_hold() {
    for home in homes().await {
        noise(&home, 300).await;
        home.house.checkpoint().await.unwrap();
        let acme = home.house.tenant("acme").await.unwrap().id;
        let kek = entity::vault::Kek::read(&home.config.data_dir.join("keys/kek.key")).unwrap();
        let house = House::open(Settings { url: home.config.url(), kek, clock: later }).await.unwrap();
        let ask = async |house: &House, before| {
            let admin = house.operator(acme, "wang", "admin", None);
            Change::run(house, &admin, Operation::new("command", "Audit.prune"), async |change| {
                audit::ask_pruning(change, before).await.map_err(Unaccounted::Failed)
            })
            .await
        };
        let approve = async |login: &str| {
            let auditor = house.operator(acme, login, "auditor", None);
            Change::run(&house, &auditor, Operation::new("command", "Audit.prune"), async |change| {
                audit::approve_pruning(change).await.map_err(Unaccounted::Failed)
            })
            .await
        };
        let now = api::clock::now();
        assert!(ask(&home.house, now).await.unwrap_err().to_string().contains("kept for 1095 days"));
        assert!(approve("zhao").await.is_err(), "nobody has asked");
        let asked = ask(&house, now).await.unwrap();
        assert!(asked.below >= 256 && asked.below.is_multiple_of(256) && asked.approved_by.is_none());
        assert!(approve("wang").await.unwrap_err().to_string().contains("second person"));
        // The database itself lets nothing go that is not approved, and nobody approve their own.
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "acme").await;
        let mine = "tenant_id = (SELECT id FROM tenant WHERE slug = 'acme')";
        assert!(raw.run(&format!("DELETE FROM audit_event WHERE sequence = 0 AND {mine}")).await.unwrap_err().contains("append-only"));
        assert!(raw.run(&format!("UPDATE audit_pruning SET approved_by = asked_by WHERE {mine}")).await.is_err());
        let done = approve("zhao").await.unwrap();
        assert_eq!((done.below, done.approved_by.as_deref()), (asked.below, Some("operator:zhao")));
        assert!(raw.run(&format!("DELETE FROM audit_event WHERE sequence = {} AND {mine}", asked.below)).await.unwrap_err().contains("append-only"));
        let said = home.run(&["audit", "verify", "--tenant", "acme"]);
        assert!(said.contains(&format!("the hashes of {} that are pruned", asked.below)), "{said}");
        home.run(&["audit", "fsck", "--tenant", "acme"]);
        let dir = tempfile::tempdir().unwrap();
        let key = home.run(&["audit", "key"]).trim().to_owned();
        let bundle = dir.path().join("whole");
        home.run(&["audit", "export", "--tenant", "acme", "--out", bundle.to_str().unwrap()]);
        assert!(verified(&bundle, &key));
        let last = auditor(&home, "{ audit { events(first: 1, filter: {operation: \"Noise299\"}) { nodes { id intact } } } }", json!({})).await;
        let last = &last["events"]["nodes"][0];
        assert_eq!(last["intact"], json!(true));
        auditor(&home, "query($e: ID!) { audit { proof(event: $e) { index } } }", json!({ "e": last["id"] })).await;
        // It can be kept longer and never shorter.
        home.run(&["audit", "retention", "--tenant", "acme", "--days", "1200"]);
        assert!(home.program(&["audit", "retention", "--tenant", "acme", "--days", "1100"]).refusal().contains("only be made longer"));
    }
}
