//! The log can be proven, and whoever changes it is found out: by the server, by the commands, and by a program that is not
//! ours.

use std::path::Path;
use std::process::Command;

use entity::audit::{self, Verifier, tree, verify_bundle};
use entity::{Change, House, Operation, Session, Settings, Unaccounted};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::{Engine, Home, Raw, homes, program};

const VERIFIER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/verify_audit.py");

/// Looks at two customers so many times; returns the id and number of the first.
async fn looks(home: &Home, times: usize) -> (Value, String) {
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

fn python(bundle: &Path, key: &str, more: &[&str]) -> (Option<i32>, String) {
    let ran = Command::new("python3").args([VERIFIER, bundle.to_str().unwrap(), "--key", key]).args(more).output().unwrap();
    (ran.status.code(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
}

/// Whether a bundle is verified; both verifiers must say the same.
fn verified(bundle: &Path, key: &str) -> bool {
    let checked = verify_bundle(bundle, &Verifier::parse(key).unwrap(), None, &mut |_| {});
    let ours = checked.as_ref().is_ok_and(|checked| checked.findings.is_empty());
    let (code, said) = python(bundle, key, &[]);
    assert_eq!(code == Some(0), ours, "{said} {checked:?}");
    ours
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
async fn an_answer_and_a_whole_log_are_verified_elsewhere_and_every_change_is_found() {
    for home in homes().await {
        let (_, number) = looks(&home, 5).await;
        let dir = tempfile::tempdir().unwrap();
        let key = home.run(&["audit", "key"]).trim().to_owned();
        let bundle = |name: &str| dir.path().join(name);
        home.run(&["audit", "export", "--tenant", "acme", "--customer", &number, "--out", bundle("answer").to_str().unwrap()]);
        home.run(&["audit", "export", "--tenant", "acme", "--out", bundle("whole").to_str().unwrap()]);
        assert!(home.program(&["audit", "export", "--tenant", "acme", "--out", bundle("whole").to_str().unwrap()]).refusal().contains("there already"));
        for name in ["answer", "whole"] {
            assert!(verified(&bundle(name), &key), "{name}");
            let said = program(&["audit", "verify", "--bundle", bundle(name).to_str().unwrap(), "--key", &key]).output();
            assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).starts_with("verified: "), "{said:?}");
        }
        let answer = std::fs::read_to_string(bundle("answer").join("events.ndjson")).unwrap();
        assert_eq!(answer.lines().filter(|line| line.contains("\"name\":\"Look\"")).count(), 5);
        let csv = std::fs::read_to_string(bundle("answer").join("events.csv")).unwrap();
        assert!(csv.contains("Customer.phone clear of 2 customers for customer_service"), "{csv}");
        // A wrong key, and one thing after the other changed.
        let other = "panorama/1+d1d9e5a5+AQFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQQ==";
        assert_ne!(python(&bundle("whole"), other, &[]).0, Some(0));
        let changed = |name: &str, file: &str, change: &dyn Fn(&str) -> String| {
            let copied = bundle("changed");
            let _ = std::fs::remove_dir_all(&copied);
            std::fs::create_dir(&copied).unwrap();
            tests::copy(&bundle(name), &copied);
            let text = std::fs::read_to_string(copied.join(file)).unwrap();
            let new = change(&text);
            assert_ne!(text, new, "{name} {file}");
            std::fs::write(copied.join(file), new).unwrap();
            assert!(!verified(&copied, &key), "{name} {file}");
        };
        for name in ["answer", "whole"] {
            changed(name, "events.ndjson", &|text| text.replacen("customer_service", "sales_follow_up", 1));
            changed(name, "events.ndjson", &|text| text.split_inclusive('\n').skip(1).collect());
            changed(name, "events.ndjson", &|text| text.split_inclusive('\n').rev().collect());
            changed(name, "events.ndjson", &|text| format!("{text}{}\n", text.lines().next().unwrap()));
            changed(name, "checkpoint", &|text| text.replacen("panorama/", "panorama/1", 1));
            changed(name, "installation.proof.json", &|text| text.replace("\"index\":", "\"index\":1"));
            changed(name, "manifest.json", &|text| text.replace("\"size\": ", "\"size\": 1"));
        }
        changed("answer", "proofs.ndjson", &|text| text.split_inclusive('\n').rev().collect());
        changed("answer", "manifest.json", &|text| {
            text.replacen("\"subject\": [\n    \"", "\"subject\": [\n    \"f", 1).replace("\"count\": ", "\"count\": 1")
        });
        // It continues an older checkpoint, and says so when it does not.
        looks(&home, 2).await;
        home.run(&["audit", "export", "--tenant", "acme", "--out", bundle("later").to_str().unwrap()]);
        let since = bundle("whole").join("checkpoint");
        assert_eq!(python(&bundle("later"), &key, &["--since", since.to_str().unwrap()]).0, Some(0));
        let ours = |bundle: &Path| {
            let note = std::fs::read_to_string(&since).unwrap();
            verify_bundle(bundle, &Verifier::parse(&key).unwrap(), Some(&note), &mut |_| {}).unwrap().findings.is_empty()
        };
        assert!(ours(&bundle("later")) && !ours(&bundle("answer")));
        assert_eq!(python(&bundle("answer"), &key, &["--since", since.to_str().unwrap()]).0, Some(1));
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
async fn noise(home: &Home, events: usize) {
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

/// Each event of a log changed, one at a time, the manifest with it; in one process, for a thousand of them take their time.
const EDITS: &str = r#"
import hashlib, json, os, sys
sys.path.insert(0, sys.argv[1])
import verify_audit as v
bundle, key = sys.argv[2], v.key_of(sys.argv[3])
path, manifest = os.path.join(bundle, "events.ndjson"), os.path.join(bundle, "manifest.json")
lines, described = open(path, "rb").read().splitlines(True), json.load(open(manifest))
for n, line in enumerate(lines):
    at = line.index(b'"time":"20') + 10
    edited = lines[:n] + [line[:at] + bytes([line[at] ^ 1]) + line[at + 1:]] + lines[n + 1:]
    open(path, "wb").write(b"".join(edited))
    json.dump(dict(described, events_sha256=hashlib.sha256(b"".join(edited)).hexdigest()), open(manifest, "w"))
    try:
        v.verify(bundle, key, None)
        sys.exit(f"event {n} was edited, and nobody noticed")
    except v.Problem as problem:
        assert "root" in str(problem), problem
print(len(lines))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_single_edit_of_a_thousand_events_is_found_by_both_verifiers() {
    let home = Home::of(Engine::Sqlite).await;
    noise(&home, 1_000).await;
    let dir = tempfile::tempdir().unwrap();
    let key = home.run(&["audit", "key"]).trim().to_owned();
    let bundle = dir.path().join("whole");
    home.run(&["audit", "export", "--tenant", "acme", "--out", bundle.to_str().unwrap()]);
    assert!(verified(&bundle, &key));
    let lines = std::fs::read(bundle.join("events.ndjson")).unwrap();
    let lines: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
    assert!(lines.len() > 1_000);
    let manifest: Value = serde_json::from_slice(&std::fs::read(bundle.join("manifest.json")).unwrap()).unwrap();
    let verifier = Verifier::parse(&key).unwrap();
    for at in 0..lines.len() {
        let mut edited = lines.clone();
        let mut line = lines[at].to_vec();
        line[20] ^= 1;
        edited[at] = &line;
        let text = edited.concat();
        let mut described = manifest.clone();
        let digest: [u8; 32] = Sha256::digest(&text).into();
        described["events_sha256"] = json!(audit::hex(&digest));
        std::fs::write(bundle.join("events.ndjson"), text).unwrap();
        std::fs::write(bundle.join("manifest.json"), described.to_string()).unwrap();
        let checked = verify_bundle(&bundle, &verifier, None, &mut |_| {}).unwrap();
        assert_eq!(checked.findings.first().map(|finding| finding.problem.as_str()), Some("the events are not those that were signed"), "event {at}");
    }
    std::fs::write(bundle.join("events.ndjson"), lines.concat()).unwrap();
    std::fs::write(bundle.join("manifest.json"), manifest.to_string()).unwrap();
    let ran = Command::new("python3").args(["-B", "-c", EDITS, env!("CARGO_MANIFEST_DIR"), bundle.to_str().unwrap(), &key]).output().unwrap();
    assert!(ran.status.success() && String::from_utf8_lossy(&ran.stdout).trim() == lines.len().to_string(), "{ran:?}");
}

#[test]
fn roots_and_proofs_are_those_of_another_implementation() {
    let mut theirs = ct_merkle::mem_backed_tree::MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let (mut ours, mut frontier) = (tree::Tiles::default(), tree::Frontier::default());
    for size in 1..=600_u64 {
        let event = size.to_be_bytes().to_vec();
        ours.push(size - 1, tree::leaf(&event), &mut std::collections::BTreeSet::new());
        frontier.push(tree::leaf(&event));
        theirs.push(event);
        let root = ours.root(size).unwrap();
        assert_eq!((root.as_slice(), frontier.root()), (theirs.root().as_bytes().as_slice(), root), "{size}");
        for index in [0, size / 3, size / 2, size - 1] {
            assert_eq!(ours.inclusion(index, size).unwrap().concat(), theirs.prove_inclusion(usize::try_from(index).unwrap()).as_bytes(), "{index} of {size}");
        }
        for old in [1, size / 3, size / 2].into_iter().filter(|old| (1..size).contains(old)) {
            let added = usize::try_from(size - old).unwrap();
            assert_eq!(ours.consistency(old, size).unwrap().concat(), theirs.prove_consistency(added).as_bytes(), "{old} to {size}");
        }
    }
}
