//! What each persona sees: the promise of the product, asked over HTTP.

use serde_json::{Value, json};
use tests::{Answer, Home, homes};

const ALL_360: &str = include_str!("../data/customer360.graphql");

/// A customer of `sales` that has everything.
async fn own_customer(home: &Home) -> Value {
    let query = "{ customers(first: 100, filter: {mine: true}) { nodes { id number phone email address remarks orders(first: 1) { totalCount } tickets(first: 1) { totalCount } } } }";
    let answer = home.tenant("acme").persona("sales").query(query).await;
    let nodes = answer.data()["customers"]["nodes"].as_array().unwrap().clone();
    let whole = |node: &&Value| ["phone", "email", "address"].iter().all(|field| node[field].is_string()) && node["orders"]["totalCount"].as_i64() > Some(0);
    nodes.iter().find(whole).expect("an own customer with phone, e-mail, address and an order").clone()
}

async fn customer(home: &Home, tenant: &str, persona: &str, purpose: Option<&str>, id: &Value, fields: &str) -> Answer {
    let desk = home.tenant(tenant).persona(persona);
    let desk = if let Some(purpose) = purpose { desk.purpose(purpose) } else { desk };
    desk.ask(&format!("query($id: ID!) {{ customer(id: $id) {{ {fields} }} }}"), json!({ "id": id })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bi_sees_customers_masked_and_no_free_text() {
    for home in homes().await {
        let own = own_customer(&home).await;
        let answer = customer(
            &home,
            "acme",
            "bi",
            None,
            &own["id"],
            "name(view: CLEAR) phone(view: CLEAR) email(view: CLEAR) address(view: CLEAR) remarks(view: CLEAR) status",
        )
        .await;
        let seen = &answer.data()["customer"];
        assert!(seen["name"].as_str().unwrap().starts_with('*'), "{seen}");
        assert_eq!(seen["phone"].as_str().unwrap().find("****"), Some(3), "{seen}");
        assert!(seen["email"].as_str().unwrap().starts_with("***@"), "{seen}");
        assert!(seen["address"].as_str().unwrap().ends_with("|****"), "{seen}");
        assert_eq!(seen["remarks"], Value::Null);
        assert!(seen["status"].is_string());
        let disclosed = answer.body["extensions"]["disclosure"].as_array().unwrap();
        let phone = disclosed.iter().find(|entry| entry["field"] == "Customer.phone").unwrap();
        assert_eq!(phone, &json!({ "field": "Customer.phone", "clear": 0, "masked": 1, "withheld": 0 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_sees_own_customers_clear_for_a_purpose_and_others_masked() {
    for home in homes().await {
        let own = own_customer(&home).await;
        let phone = async |persona: &'static str, purpose: Option<&'static str>, view: &'static str| {
            let answer = customer(&home, "acme", persona, purpose, &own["id"], &format!("phone{view}")).await;
            answer.data()["customer"]["phone"].as_str().unwrap().to_owned()
        };
        let clear = phone("sales", Some("sales_follow_up"), "(view: CLEAR)").await;
        assert!(clear.len() == 11 && clear.bytes().all(|b| b.is_ascii_digit()), "clear");
        let masked = format!("{}****{}", &clear[..3], &clear[7..]);
        assert_eq!(phone("sales", Some("sales_follow_up"), "").await, masked, "masked unless asked for");
        assert_eq!(phone("sales", None, "(view: CLEAR)").await, masked, "no purpose, no clear sight");
        assert_eq!(phone("sales_manager", Some("sales_follow_up"), "(view: CLEAR)").await, clear, "the department's");
        assert_eq!(phone("support", Some("sales_follow_up"), "(view: CLEAR)").await, masked, "another role's purpose");
        assert_eq!(phone("support", Some("customer_service"), "(view: CLEAR)").await, clear);
        // In one page: own clear, a colleague's masked.
        let page = home
            .tenant("acme")
            .persona("sales")
            .purpose("sales_follow_up")
            .query("{ customers(first: 100) { nodes { phone(view: CLEAR) owner { name } } } }")
            .await;
        let nodes = page.data()["customers"]["nodes"].as_array().unwrap().clone();
        let with_phone: Vec<&Value> = nodes.iter().filter(|node| node["phone"].is_string()).collect();
        assert!(with_phone.iter().any(|node| node["owner"]["name"] == "李经理") && with_phone.iter().any(|node| node["owner"]["name"] == "张经理"));
        for node in with_phone {
            assert_eq!(node["phone"].as_str().unwrap().contains("****"), node["owner"]["name"] != "李经理", "{node}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_may_not_see_is_null() {
    for home in homes().await {
        let own = own_customer(&home).await;
        let fields = "number name phone email address remarks status seenBy(first: 1) { nodes { at } } provenance { field } sources { system } tickets(first: 5) { nodes { number body } }";
        let auditor = customer(&home, "acme", "auditor", None, &own["id"], fields).await;
        let seen = &auditor.data()["customer"];
        for field in ["phone", "email", "address", "remarks", "status", "provenance"] {
            assert_eq!(seen[field], Value::Null, "{field}");
        }
        assert_eq!(seen["sources"], json!([]));
        assert!(seen["number"].is_string() && seen["name"].as_str().unwrap().starts_with('*'));
        let marketing = customer(&home, "acme", "marketing", None, &own["id"], fields).await;
        let seen = &marketing.data()["customer"];
        for field in ["phone", "address", "remarks", "seenBy", "provenance"] {
            assert_eq!(seen[field], Value::Null, "{field}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_customer_is_a_missing_customer() {
    for home in homes().await {
        let own = own_customer(&home).await;
        for persona in ["admin", "auditor", "bi", "sales", "sales_manager", "support", "marketing", "steward", "privacy"] {
            let foreign = home.tenant("globex").persona(persona).ask(ALL_360, json!({ "id": own["id"] })).await;
            let missing = home.tenant("globex").persona(persona).ask(ALL_360, json!({ "id": "YwGiAAIlC3Wjq2cL_Ty1yEg" })).await;
            let nonsense = home.tenant("globex").persona(persona).ask(ALL_360, json!({ "id": "x" })).await;
            assert_eq!(foreign.data(), &json!({ "customer": null }), "{persona}");
            assert_eq!(foreign.body, missing.body);
            assert_eq!(foreign.body, nonsense.body);
        }
        let number = own["number"].as_str().unwrap();
        let mine = home.tenant("acme").persona("support").query(&format!("{{ findCustomer(by: {{number: \"{number}\"}}) {{ id }} }}")).await;
        let theirs = home.tenant("globex").persona("support").query(&format!("{{ findCustomer(by: {{number: \"{number}\"}}) {{ id }} }}")).await;
        assert_eq!(mine.data()["findCustomer"]["id"], own["id"]);
        assert_ne!(theirs.data()["findCustomer"]["id"], own["id"], "the same number is another customer there");
        let filtered = home
            .tenant("globex")
            .persona("auditor")
            .ask("query($id: ID!) { audit { events(filter: {customer: $id}) { nodes { at } } } }", json!({ "id": own["id"] }))
            .await;
        assert_eq!(filtered.data()["audit"]["events"]["nodes"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_360_has_its_shape_and_names() {
    for home in homes().await {
        let own = own_customer(&home).await;
        let answer = home.tenant("acme").persona("privacy").purpose("privacy_request").ask(ALL_360, json!({ "id": own["id"] })).await;
        let seen = &answer.data()["customer"];
        assert!(seen["orders"]["totalCount"].as_i64() > Some(0) && seen["orders"]["nodes"][0]["number"].is_string(), "{seen}");
        assert!(seen["sources"].as_array().unwrap().len() > 1, "made of several records: {seen}");
        assert!(seen["provenance"].as_array().unwrap().iter().any(|why| why["field"] == "Customer.phone" && why["rule"] == "newest"));
        assert!(seen["quality"]["score"].is_number());
        let timeline: Vec<&str> = seen["timeline"]["nodes"].as_array().unwrap().iter().map(|entry| entry["at"].as_str().unwrap()).collect();
        assert!(timeline.len() > 2 && timeline.windows(2).all(|pair| pair[0] >= pair[1]), "{timeline:?}");
        assert!(!seen["seenBy"]["nodes"].as_array().unwrap().is_empty());
        // The fields stand in the order in which they were asked for.
        let keys: Vec<&String> = answer.body["data"]["customer"].as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 21);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn searching_has_a_guess_budget() {
    for home in homes().await {
        let own = own_customer(&home).await;
        let clear = customer(&home, "acme", "sales", Some("sales_follow_up"), &own["id"], "phone(view: CLEAR)").await;
        let phone = clear.data()["customer"]["phone"].as_str().unwrap().to_owned();
        let find = async |phone: String| {
            home.tenant("acme").persona("support").ask("query($p: String!) { findCustomer(by: {phone: $p}) { id } }", json!({ "p": phone })).await
        };
        let mut answered = 0;
        // Every middle of the masked number, until the budget is spent; it stays spent.
        for middle in 0..40 {
            let answer = find(format!("{}{middle:04}{}", &phone[..3], &phone[7..])).await;
            if answer.status == 200 {
                answered += 1;
            } else {
                assert_eq!(answer.code(), "SEARCH_BUDGET_EXCEEDED");
            }
        }
        assert_eq!(answered, 5);
        // One more number of another mask is fine, and so is asking for it again.
        assert_eq!(find("13912340001".to_owned()).await.status, 200);
        assert_eq!(find("+86 139-1234-0001".to_owned()).await.status, 200);
        let denied = home.tenant("acme").persona("bi").ask("query($p: String!) { findCustomer(by: {phone: $p}) { id } }", json!({ "p": phone })).await;
        assert_eq!(denied.code(), "FORBIDDEN");
        let log = home.tenant("acme").persona("auditor").query("{ audit { events(filter: {outcome: \"denied\"}, first: 100) { nodes { body } } } }").await;
        let bodies = log.data().to_string();
        assert!(bodies.contains("search budget") && bodies.contains("Customer.phone") && !bodies.contains(&phone));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_stable_and_cursors_are_bound_to_caller_and_query() {
    const PAGE: &str = "query($after: String, $first: Int) { customers(first: $first, after: $after, filter: {status: WON}, orderBy: {field: UPDATED_AT, direction: DESC}) { nodes { id } pageInfo { hasNextPage endCursor } totalCount } }";
    for home in homes().await {
        let (mut after, mut seen) = (Value::Null, std::collections::HashSet::new());
        let total = loop {
            let answer = home.tenant("acme").persona("bi").ask(PAGE, json!({ "after": after, "first": 100 })).await;
            let page = &answer.data()["customers"];
            for node in page["nodes"].as_array().unwrap() {
                assert!(seen.insert(node["id"].to_string()), "twice");
            }
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == false {
                break page["totalCount"].as_u64().unwrap();
            }
        };
        assert_eq!(seen.len() as u64, total);
        let mine = home.tenant("acme").persona("steward").ask(PAGE, json!({ "after": null, "first": 1 })).await;
        let cursor = mine.data()["customers"]["pageInfo"]["endCursor"].clone();
        assert_eq!(home.tenant("acme").persona("sales").ask(PAGE, json!({ "after": cursor, "first": 1 })).await.code(), "BAD_USER_INPUT", "another caller");
        assert_eq!(home.tenant("globex").persona("steward").ask(PAGE, json!({ "after": cursor, "first": 1 })).await.code(), "BAD_USER_INPUT", "another tenant");
        let other = PAGE.replace("WON", "LOST");
        assert_eq!(home.tenant("acme").persona("steward").ask(&other, json!({ "after": cursor, "first": 1 })).await.code(), "BAD_USER_INPUT", "another query");
        assert_eq!(home.tenant("acme").persona("steward").ask(PAGE, json!({ "after": "AQFC", "first": 1 })).await.code(), "BAD_USER_INPUT", "nonsense");
        for first in [0, -1, 101] {
            assert_eq!(home.tenant("acme").persona("steward").ask(PAGE, json!({ "after": null, "first": first })).await.code(), "BAD_USER_INPUT");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_backwards_over_the_same_customers() {
    const FORWARD: &str =
        "query($after: String) { customers(first: 7, after: $after, orderBy: {field: NUMBER, direction: DESC}) { nodes { id } pageInfo { endCursor } } }";
    const BACK: &str = "query($last: Int, $before: String) { customers(last: $last, before: $before, orderBy: {field: NUMBER, direction: DESC}) { nodes { id } edges { cursor } \
        pageInfo { hasNextPage hasPreviousPage startCursor } } }";
    for home in homes().await {
        let ask = async |query: &str, variables: Value| home.tenant("acme").persona("bi").ask(query, variables).await.data()["customers"].clone();
        let first = ask(FORWARD, json!({})).await;
        let second = ask(FORWARD, json!({ "after": first["pageInfo"]["endCursor"] })).await;
        let third = ask(FORWARD, json!({ "after": second["pageInfo"]["endCursor"] })).await;
        // Before the last of the second page stand its other six, and the first page.
        let before = json!({ "last": 6, "before": second["pageInfo"]["endCursor"] });
        let back = ask(BACK, before).await;
        assert_eq!(back["nodes"].as_array().unwrap()[..], second["nodes"].as_array().unwrap()[..6], "in the same order");
        assert_eq!((&back["pageInfo"]["hasNextPage"], &back["pageInfo"]["hasPreviousPage"]), (&json!(true), &json!(true)));
        let begin = ask(BACK, json!({ "last": 7, "before": back["pageInfo"]["startCursor"] })).await;
        assert_eq!((&begin["nodes"], &begin["pageInfo"]["hasPreviousPage"]), (&first["nodes"], &json!(false)));
        let end = ask(BACK, json!({ "last": 3 })).await;
        assert_eq!((end["nodes"].as_array().unwrap().len(), &end["pageInfo"]["hasNextPage"]), (3, &json!(false)));
        assert_ne!(end["nodes"], third["nodes"]);
        let both = "{ customers(first: 1, last: 1) { totalCount } }";
        assert_eq!(home.tenant("acme").persona("bi").query(both).await.code(), "BAD_USER_INPUT");
        for (persona, most) in [("bi", 1_000), ("support", 100)] {
            let ask = async |last| home.tenant("acme").persona(persona).query(&format!("{{ customers(last: {last}) {{ totalCount }} }}")).await;
            ask(most).await.data();
            assert_eq!(ask(most + 1).await.code(), "BAD_USER_INPUT", "{persona}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_fields_are_neither_filtered_nor_ordered_by() {
    for home in homes().await {
        for query in [
            "{ customers(orderBy: {field: PHONE}) { totalCount } }",
            "{ customers(orderBy: {field: NAME}) { totalCount } }",
            "{ customers(filter: {phone: \"138\"}) { totalCount } }",
            "{ customers(filter: {name: \"王\"}) { totalCount } }",
        ] {
            let answer = home.tenant("acme").persona("steward").query(query).await;
            assert_eq!((answer.status, answer.code()), (422, "GRAPHQL_VALIDATION_FAILED"), "{query}");
        }
        // The auditor may not even filter by status.
        let answer = home.tenant("acme").persona("auditor").query("{ customers(filter: {status: WON}) { totalCount } }").await;
        assert_eq!(answer.code(), "FORBIDDEN");
    }
}
