//! Who governs is governed too: nobody gives power alone, no tenant stands in the way of the installation, and what runs at once
//! loses nothing.

use std::time::{Duration, Instant};

use api::home::Exchange;
use api::intake::{self, File, Options};
use entity::people::{self, Assigned, Holder};
use entity::vault::Kek;
use entity::{Change, Operation, Unaccounted, tenant, token};
use serde_json::{Value, json};
use tests::{Engine, Home, homes};

/// Work of the operator at the terminal, as globex's administrator.
async fn operated<T>(home: &Home, work: impl AsyncFnOnce(&Change) -> Result<T, entity::Error>) -> T {
    let admin = home.house.operator(home.house.tenant("globex").await.unwrap().id, "test", "admin", None);
    let done = Change::run(&home.house, &admin, Operation::new("command", "Test"), async |change| work(change).await.map_err(Unaccounted::Failed));
    done.await.unwrap()
}

async fn user(home: &Home, subject: &str, department: Option<&str>, roles: &[&str]) {
    assert!(operated(home, async |change| people::add(change, subject, subject, department, roles).await).await);
}

async fn service(home: &Home, name: &str, roles: &[&str]) -> String {
    operated(home, async |change| token::issue(change, name, token::Terms { roles, purpose: None, days: 1, registered_only: false }).await).await.to_string()
}

async fn ask(home: &Home, persona: &str, query: &str, variables: Value) -> Value {
    home.tenant("globex").persona(persona).ask(query, variables).await.data().clone()
}

/// Asks with a service token.
async fn by_token(home: &Home, bearer: &str, query: &str, variables: Value) -> Value {
    let headers = [("authorization", format!("Bearer {bearer}")), ("content-type", "application/json".to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    home.post(&headers, json!({ "query": query, "variables": variables }).to_string()).await.1["data"].clone()
}

const ASSIGN: &str =
    "mutation($holder: HolderInput!, $roles: [String!]!) { assignRoles(holder: $holder, roles: $roles) { result waiting message userErrors { message } } }";
const ACTIVATE: &str = "mutation($version: Int!) { done: activatePolicy(version: $version, reason: \"a test\") { result { base } userErrors { message } } }";
const APPROVE: &str = "mutation($version: Int!) { done: approvePolicy(version: $version) { result { approvedBy } userErrors { message } } }";

async fn assign(home: &Home, persona: &str, kind: &str, name: &str, roles: &[&str]) -> Value {
    ask(home, persona, ASSIGN, json!({ "holder": { "kind": kind, "name": name }, "roles": roles })).await["assignRoles"].clone()
}

fn waits(assigned: &Value) -> bool {
    assert!(assigned["userErrors"].as_array().unwrap().is_empty() && assigned["waiting"] == assigned["message"].is_string(), "{assigned}");
    assert_ne!(assigned["waiting"], assigned["result"]);
    assigned["waiting"] == true
}

async fn draft(home: &Home, more: &str, less: &str) -> Value {
    let text = ask(home, "admin", "{ policy { text } }", json!({})).await["policy"]["text"].as_str().unwrap().to_owned();
    let kept: String = text.lines().filter(|line| less.is_empty() || !line.contains(less)).map(|line| format!("{line}\n")).collect();
    let query = "mutation($text: String!) { draftPolicy(text: $text, reason: \"a test\") { result { version needsApproval } userErrors { message } } }";
    ask(home, "admin", query, json!({ "text": kept + more })).await["draftPolicy"].clone()
}

fn problem(done: &Value) -> &str {
    done["done"]["userErrors"][0]["message"].as_str().unwrap_or_else(|| panic!("{done}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_with_power_are_given_by_two_people() {
    for home in homes().await {
        user(&home, "second", None, &["admin"]).await;
        user(&home, "third", None, &["admin"]).await;
        user(&home, "newcomer", Some("试验部"), &[]).await;
        let robot = service(&home, "robot", &["marketing"]).await;
        let roles = async || by_token(&home, &robot, "{ me { roles } }", json!({})).await["me"]["roles"].clone();
        let waiting = async || ask(&home, "auditor", "{ policy { proposals { kind name roles by } } }", json!({})).await["policy"]["proposals"].clone();
        // Clear sight: the first asks in vain, however often.
        assert!(waits(&assign(&home, "admin", "TOKEN", "robot", &["support"]).await) && waits(&assign(&home, "admin", "TOKEN", "robot", &["support"]).await));
        assert_eq!(roles().await, json!(["marketing"]));
        assert_eq!(waiting().await, json!([{ "kind": "token", "name": "robot", "roles": ["support"], "by": "admin" }]));
        assert!(!waits(&assign(&home, "second", "TOKEN", "robot", &["support"]).await));
        assert_eq!((roles().await, waiting().await), (json!(["support"]), json!([])));
        // What gives nothing, or takes away, is done at once.
        assert!(!waits(&assign(&home, "admin", "TOKEN", "robot", &["marketing", "bi"]).await));
        // Permissions to govern, of a department's people, and of users; other roles are another proposal.
        assert!(waits(&assign(&home, "admin", "DEPARTMENT", "试验部", &["admin"]).await));
        assert!(waits(&assign(&home, "second", "DEPARTMENT", "试验部", &["privacy"]).await));
        assert!(waits(&assign(&home, "admin", "USER", "newcomer", &["sales", "privacy"]).await));
        assert!(!waits(&assign(&home, "second", "USER", "newcomer", &["privacy", "sales"]).await), "in whatever order");
        // A service token is no second person, nor a first one.
        let governor = service(&home, "governor", &["admin"]).await;
        let told = by_token(&home, &governor, ASSIGN, json!({ "holder": { "kind": "DEPARTMENT", "name": "试验部" }, "roles": ["privacy"] })).await;
        assert!(told["assignRoles"]["userErrors"][0]["message"].as_str().unwrap().contains("service token"), "{told}");
        // Who may not manage the tenant any more has proposed nothing; and a proposal lasts seven days.
        assert!(waits(&assign(&home, "third", "TOKEN", "robot", &["steward"]).await));
        let third = Holder::User("third".to_owned());
        assert_eq!(operated(&home, async |change| people::assign(change, &third, &["bi"]).await).await, Assigned::Now);
        assert!(waits(&assign(&home, "admin", "TOKEN", "robot", &["steward"]).await));
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        assert!(raw.run("UPDATE role_proposal SET at = '2026-01-01T00:00:00+00:00' WHERE holder = 'robot'").await.unwrap() == 1);
        assert!(waits(&assign(&home, "second", "TOKEN", "robot", &["steward"]).await));
        assert!(!waits(&assign(&home, "admin", "TOKEN", "robot", &["steward"]).await));
        let refused = home.program(&["tenant", "user", "globex", "--subject", "operator:x", "--name", "x", "--role", "bi"]).refusal();
        assert!(refused.contains("choose another"), "{refused}");
        // The operator holds the keys anyway.
        let robot = Holder::Token("robot".to_owned());
        assert_eq!(operated(&home, async |change| people::assign(change, &robot, &["support"]).await).await, Assigned::Now);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_may_still_approves_for_the_next_activation() {
    for home in homes().await {
        // A permission to govern needs two people, as clear sight does; what only takes away does not.
        assert_eq!(draft(&home, "", "p, bi, Customer.phone").await["result"]["needsApproval"], false);
        let bomb = draft(&home, &format!("p, {}, Customer.phone, read.masked, all, *, allow\n", "{a,b}".repeat(40)), "").await;
        assert!(bomb["userErrors"][0]["message"].as_str().unwrap().contains("at most"), "{bomb}");
        let drafted = draft(&home, "p, steward, Tenant, manage, all, *, allow\n", "").await["result"].clone();
        assert_eq!(drafted["needsApproval"], true);
        let version = json!({ "version": drafted["version"] });
        let robot = service(&home, "robot", &["admin"]).await;
        let refused = by_token(&home, &robot, APPROVE, version.clone()).await;
        assert!(problem(&refused).contains("service token"), "{refused}");
        assert!(problem(&ask(&home, "admin", ACTIVATE, version.clone()).await).contains("second person"));
        // An approver who lost the permission has not approved.
        assert_eq!(ask(&home, "privacy", APPROVE, version.clone()).await["done"]["result"]["approvedBy"], json!(["privacy"]));
        let privacy = Holder::User("privacy".to_owned());
        operated(&home, async |change| people::assign(change, &privacy, &["bi"]).await).await;
        assert!(problem(&ask(&home, "admin", ACTIVATE, version.clone()).await).contains("second person"));
        operated(&home, async |change| people::assign(change, &privacy, &["privacy"]).await).await;
        // A person activates, too.
        let refused = by_token(&home, &robot, ACTIVATE, version.clone()).await;
        assert!(problem(&refused).contains("a person has to activate"), "{refused}");
        assert_eq!(ask(&home, "admin", ACTIVATE, version.clone()).await["done"]["result"]["base"], 1);
        assert_eq!(ask(&home, "admin", ACTIVATE, json!({ "version": 1 })).await["done"]["result"]["base"], drafted["version"]);
        // The approval was for that activation, whatever the clocks say.
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        assert_eq!(raw.run("UPDATE policy_approval SET at = '2099-01-01T00:00:00+00:00'").await.unwrap(), 1);
        assert!(problem(&ask(&home, "admin", ACTIVATE, version).await).contains("second person"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_nobody_manages_does_not_stop_the_installation() {
    for home in homes().await {
        let version = draft(&home, "", "Tenant, manage").await["result"]["version"].clone();
        assert!(ask(&home, "admin", ACTIVATE, json!({ "version": version })).await["done"]["result"].is_object());
        let new = home.config.data_dir.join("fresh.key");
        assert!(home.run(&["keys", "rotate", "kek", "--new-key-file", new.to_str().unwrap()]).contains("and opens them"));
        home.run(&["keys", "status", "--all"]);
        home.run(&["tenant", "suspend", "--slug", "globex"]);
        home.run(&["tenant", "resume", "--slug", "globex"]);
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        let logged = "SELECT count(*) FROM audit_event WHERE tenant_id = (SELECT id FROM tenant WHERE slug = 'globex') AND operation = 'Keys.rotateKek' AND actor LIKE 'operator:%'";
        assert_eq!(raw.number(logged).await, 1);
        let out = home.config.data_dir.join("globex.ndjson.gz");
        home.run(&["tenant", "export", "globex", "--out", out.to_str().unwrap()]);
        home.run(&["tenant", "destroy", "globex", "--confirm", "globex"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_exchanges_of_the_key_file_lose_no_key() {
    for home in homes().await {
        let file = |name: &str| home.config.data_dir.join(name).display().to_string();
        let one = home.program(&["keys", "rotate", "kek", "--new-key-file", &file("one.key")]).spawn();
        let other = home.program(&["keys", "rotate", "kek", "--new-key-file", &file("other.key")]).spawn();
        let ended: Vec<bool> = [one, other].into_iter().map(|mut child| child.wait().unwrap().success()).collect();
        assert!(ended.contains(&true));
        home.run(&["keys", "status", "--all"]);
        // While one holds the key file, nobody else exchanges it.
        let exchange = Exchange::begin(&home.config).await.unwrap().unwrap();
        let refused = home.program(&["keys", "rotate", "kek", "--new-key-file", &file("third.key")]).refusal();
        assert!(refused.contains("another rotation"), "{refused}");
        // What lies ready must be the key that wraps the keys.
        let (third, fourth) = (Kek::create(file("third.key").as_ref(), false).unwrap(), Kek::create(file("fourth.key").as_ref(), false).unwrap());
        let before = exchange.current().unwrap();
        exchange.prepare(file("fourth.key").as_ref()).unwrap();
        let refused = exchange.finish(&before, &third.id().unwrap()).unwrap_err().to_string();
        assert!(refused.contains("kek.key.new") && exchange.current().unwrap() == before, "{refused}");
        exchange.finish(&before, &fourth.id().unwrap()).unwrap();
        assert_eq!(exchange.current().unwrap(), fourth.id().unwrap());
    }
}

/// Whoever suspends a tenant or destroys its keys holds none of their rows while it waits for a rotation of the
/// key-encryption key, which will want them.
#[tokio::test(flavor = "multi_thread")]
async fn the_registry_is_held_before_any_row() {
    for home in homes().await.into_iter().filter(|home| home.engine == Engine::Postgres) {
        let acme = home.house.tenant("acme").await.unwrap().id;
        let raw = home.raw().await;
        for act in 0..3 {
            raw.run("BEGIN; LOCK TABLE tenant IN SHARE ROW EXCLUSIVE MODE").await.unwrap();
            raw.as_tenant(home.engine, "acme").await;
            let keeper = home.house.keeper(acme, "test");
            let acting = Change::run(&home.house, &keeper, Operation::new("command", "Test"), async |change| {
                let done = match act {
                    0 => tenant::suspend(change, true).await,
                    1 => tenant::suspend(change, false).await,
                    _ => entity::departure::destroy(change).await.map(drop),
                };
                done.map_err(Unaccounted::Failed)
            });
            let rows = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                raw.run("SELECT FROM tenant WHERE slug = 'acme' FOR NO KEY UPDATE NOWAIT").await.unwrap();
                raw.run("SELECT FROM tenant_key FOR NO KEY UPDATE NOWAIT").await.unwrap();
                raw.run("COMMIT").await.unwrap();
            };
            let (acted, ()) = tokio::join!(acting, rows);
            acted.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_nobody_who_could_not_come_in() {
    for home in homes().await {
        user(&home, "gone", None, &["support"]).await;
        user(&home, "here", None, &["support"]).await;
        service(&home, "expired", &["support"]).await;
        service(&home, "valid", &["support"]).await;
        let who = async || {
            let told = ask(&home, "auditor", "{ policy { who(field: \"Customer.phone\") { holders { name } } } }", json!({})).await;
            let names = told["policy"]["who"]["holders"].as_array().unwrap().iter().map(|holder| holder["name"].as_str().unwrap().to_owned());
            names.filter(|name| ["gone", "here", "expired", "valid"].contains(&name.as_str())).collect::<Vec<_>>()
        };
        assert_eq!(who().await, ["gone", "here", "expired", "valid"]);
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        raw.run("UPDATE app_user SET disabled_at = '2026-01-01T00:00:00+00:00' WHERE subject = 'gone'").await.unwrap();
        raw.run("UPDATE service_token SET expires_at = '2026-01-01T00:00:00+00:00' WHERE name = 'expired'").await.unwrap();
        assert_eq!(who().await, ["here", "valid"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_by_what_is_not_seen_tells_no_few() {
    for home in homes().await {
        let rules = "p, counter, Customer.number, {read.masked,sort}, all, *, allow\np, counter, Customer.updatedAt, search, all, *, allow\n";
        let drafted = draft(&home, rules, "").await["result"].clone();
        assert!(ask(&home, "admin", ACTIVATE, json!({ "version": drafted["version"] })).await["done"]["result"].is_object());
        let begun = Instant::now();
        while assign(&home, "admin", "USER", "marketing", &["counter"]).await["result"] != true {
            assert!(begun.elapsed() < Duration::from_secs(6));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let since = home.house.now();
        let globex = home.house.tenant("globex").await.unwrap().id;
        let steward = home.house.operator(globex, "test", "steward", Some("data_quality"));
        let text = "序号,客户姓名,手机,客户状态\n96001,司徒辛一,13612396001,成交客户\n96002,司徒辛二,13612396002,成交客户\n";
        let files = [File::of("sales", "few.csv", text.as_bytes())];
        intake::run(&home.house, &steward, &files, &Options::default(), &mut |_| {}).await.map_err(|stop| stop.to_string()).unwrap();
        let query = "query($filter: CustomerFilter) { customers(first: 1, filter: $filter) { totalCount } }";
        let count =
            async |persona: &'static str, filter: Value| ask(&home, persona, query, json!({ "filter": filter })).await["customers"]["totalCount"].clone();
        assert_eq!(count("sales", json!({ "updatedSince": since })).await, 2);
        assert_eq!(count("marketing", json!({ "updatedSince": since })).await, Value::Null);
        assert!(count("marketing", json!({ "updatedSince": "2000-01-01T00:00:00Z" })).await.as_i64() > Some(100));
        assert!(count("marketing", json!({})).await.as_i64() > Some(100));
    }
}
