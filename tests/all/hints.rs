//! Hints for auditors: each rule says why, and says nothing about what is usual.

use chrono::{DateTime, Duration, TimeZone, Utc};
use serde_json::{Value, json};
use tests::{Engine, Home, Raw, homes};

/// Events as they would stand in the log; for hints only what they are found by counts.
struct Made<'h> {
    home: &'h Home,
    raw: Raw,
    count: u32,
}

impl Made<'_> {
    async fn event(&mut self, actor: &str, address: &str, at: DateTime<Utc>, clear: u32, masked: u32) {
        self.count += 1;
        let hex = format!("{:032x}", 0x99_0000 + self.count);
        let id = if self.home.engine == Engine::Sqlite { format!("x'{hex}'") } else { format!("'{hex}'") };
        let at = at.format("%Y-%m-%dT%H:%M:%S%.6f+00:00");
        let sql = format!(
            "INSERT INTO audit_event SELECT tenant_id, {}, {id}, '{at}', '{actor}', roles, '{address}', request, 'Made', outcome, purpose, {clear}, {masked}, 0, body \
             FROM audit_event WHERE sequence = 0 AND tenant_id = (SELECT id FROM tenant WHERE slug = 'globex')",
            100_000 + self.count
        );
        assert_eq!(self.raw.run(&sql).await.unwrap(), 1);
    }
}

async fn hints(home: &Home, since: DateTime<Utc>, until: DateTime<Utc>) -> Vec<Value> {
    let query = "query($since: DateTime!, $until: DateTime!) { audit { anomalies(since: $since, until: $until) { rule actor at why } } }";
    let answer = home.tenant("globex").persona("auditor").ask(query, json!({ "since": since, "until": until })).await;
    answer.data()["audit"]["anomalies"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_says_why_and_the_usual_says_nothing() {
    for home in homes().await {
        // A Wednesday, ten in the morning in China; far from what the demo logged.
        let day = Utc.with_ymd_and_hms(2026, 6, 17, 2, 0, 0).unwrap();
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        let mut made = Made { home: &home, raw, count: 0 };
        for back in 1..=10 {
            made.event("steady", "10.0.0.1", day - Duration::days(back), 0, 300).await;
            made.event("curious", "10.0.0.2", day - Duration::days(back), 5, 35).await;
        }
        made.event("steady", "10.0.0.1", day, 0, 350).await;
        made.event("curious", "10.0.0.2", day + Duration::minutes(1), 20, 500).await;
        made.event("steady", "203.0.113.9", day + Duration::minutes(2), 0, 1).await;
        made.event("newcomer", "203.0.113.9", day + Duration::minutes(3), 0, 1).await;
        made.event("owl", "10.0.0.3", day + Duration::hours(15), 3, 0).await;
        made.event("weekender", "10.0.0.4", day + Duration::days(3), 1, 0).await;
        made.event("taker", "10.0.0.5", day + Duration::minutes(4), 0, 2_000).await;
        made.event("reader", "10.0.0.6", day + Duration::minutes(5), 0, 1_999).await;
        let found = hints(&home, day - Duration::hours(1), day + Duration::hours(20)).await;
        let told: Vec<(&str, &str)> = found.iter().map(|hint| (hint["actor"].as_str().unwrap(), hint["rule"].as_str().unwrap())).collect();
        assert_eq!(told, [("curious", "volume"), ("steady", "new_address"), ("taker", "large_export"), ("owl", "off_hours")], "{found:?}");
        let why = |actor: &str| found.iter().find(|hint| hint["actor"] == actor).unwrap()["why"].as_str().unwrap();
        assert_eq!(why("curious"), "saw 520 personal values in 21 hours; usual is about 40 a day");
        assert_eq!(why("steady"), "came from 203.0.113.9 for the first time in 90 days");
        assert_eq!(why("taker"), "took 0 clear and 2000 masked values at once, by Made");
        assert_eq!(why("owl"), "saw 3 personal values in the clear outside of working hours (from 7 to 21 on working days)");
        let saturday = hints(&home, day + Duration::days(2), day + Duration::days(4)).await;
        assert_eq!(
            saturday.iter().map(|hint| hint["rule"].as_str().unwrap()).collect::<Vec<_>>(),
            ["off_hours"],
            "a new actor is not a known one: {saturday:?}"
        );
        let long = "{ audit { anomalies(since: \"2026-01-01T00:00:00Z\", until: \"2026-03-01T00:00:00Z\") { rule } } }";
        assert_eq!(home.tenant("globex").persona("auditor").query(long).await.code(), "BAD_USER_INPUT");
        assert_eq!(home.tenant("globex").persona("support").query("{ audit { anomalies { rule } } }").await.code(), "FORBIDDEN");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_one_customer_after_the_other_is_told_of() {
    for home in homes().await {
        let list =
            home.tenant("globex").persona("support").query("{ customers(first: 60, orderBy: {field: NUMBER, direction: ASC}) { nodes { id number } } }").await;
        let nodes = list.data()["customers"]["nodes"].as_array().unwrap().clone();
        let number = |node: &Value| node["number"].as_str().unwrap().trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap();
        let begins = (0..nodes.len() - 12).find(|&from| (1..12).all(|n| number(&nodes[from + n]) == number(&nodes[from]) + n as u64)).unwrap();
        let open = async |persona: &str, node: &Value| {
            let query = "query($id: ID!) { customer(id: $id) { phone } }";
            home.tenant("globex").persona(persona).ask(query, json!({ "id": node["id"] })).await;
        };
        for node in &nodes[begins..begins + 12] {
            open("marketing", node).await;
        }
        // As many, but not in order.
        for node in nodes[begins..begins + 12].iter().rev() {
            open("support", node).await;
        }
        let now = home.house.now();
        let found = hints(&home, now - Duration::hours(1), now + Duration::hours(1)).await;
        let told: Vec<_> =
            found.iter().filter(|hint| hint["rule"] == "sequence").map(|hint| (hint["actor"].as_str().unwrap(), hint["why"].as_str().unwrap())).collect();
        assert_eq!(told, [("marketing", "opened 12 customers in the order of their numbers")], "{found:?}");
    }
}
