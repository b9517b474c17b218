//! What hangs on a customer is paged through whole: nothing twice, nothing left out, whatever comes in between.

use serde_json::{Value, json};
use tests::{Home, homes};

async fn ask(home: &Home, query: &str, variables: Value) -> Value {
    home.tenant("globex").persona("sales").purpose("sales_follow_up").ask(query, variables).await.data().clone()
}

async fn customer(home: &Home, phone: &str) -> Value {
    let query = "mutation($phone: String!) { createCustomer(input: {name: \"司徒丁一\", phone: $phone}) { result { id } } }";
    ask(home, query, json!({ "phone": phone })).await["createCustomer"]["result"]["id"].clone()
}

async fn contact(home: &Home, id: &Value, at: &str, result: &str) {
    let query = "mutation($id: ID!, $at: DateTime!, $result: String!) {
        addContact(customer: $id, input: {channel: \"电话\", at: $at, result: $result}) { userErrors { message } } }";
    assert_eq!(ask(home, query, json!({ "id": id, "at": at, "result": result })).await["addContact"]["userErrors"], json!([]));
}

async fn order(home: &Home, id: &Value, at: &str, number: &str) {
    let query =
        "mutation($id: ID!, $at: DateTime!, $number: String!) { addOrder(customer: $id, input: {number: $number, orderedAt: $at}) { userErrors { message } } }";
    assert_eq!(ask(home, query, json!({ "id": id, "at": at, "number": number })).await["addOrder"]["userErrors"], json!([]));
}

const CONTACTS: &str = "query($id: ID!, $after: String) { customer(id: $id) { contacts(first: 2, after: $after) {
    edges { cursor node { result } } nodes { result } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } } }";
const TIMELINE: &str = "query($id: ID!, $first: Int, $after: String) { customer(id: $id) { timeline(first: $first, after: $after) {
    nodes { at kind title } pageInfo { hasNextPage endCursor } } } }";

#[tokio::test(flavor = "multi_thread")]
async fn contacts_are_paged_through_by_cursor() {
    for home in homes().await {
        let id = customer(&home, "13612399001").await;
        // Four of one moment.
        for (at, result) in [("09", "a"), ("10", "b"), ("10", "c"), ("10", "d"), ("10", "e"), ("11", "f")] {
            contact(&home, &id, &format!("2026-11-20T{at}:00:00Z"), result).await;
        }
        let (mut seen, mut after, mut pages) = (Vec::new(), Value::Null, 0);
        loop {
            let page = ask(&home, CONTACTS, json!({ "id": id, "after": after })).await["customer"]["contacts"].clone();
            let nodes: Vec<String> = page["nodes"].as_array().unwrap().iter().map(|node| node["result"].as_str().unwrap().to_owned()).collect();
            assert_eq!(page["pageInfo"]["hasPreviousPage"], json!(pages > 0));
            assert_eq!(page["edges"][0]["node"]["result"], json!(nodes[0]));
            seen.extend(nodes);
            pages += 1;
            // Somebody writes in between: newer ones come in front of what was read, and are not met.
            contact(&home, &id, &format!("2026-11-21T0{pages}:00:00Z"), "new").await;
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == json!(false) {
                break;
            }
        }
        assert_eq!((seen.len(), pages), (6, 3), "{seen:?}");
        let mut sorted = seen.clone();
        sorted.sort();
        assert_eq!((sorted.concat().as_str(), seen[0].as_str(), seen[5].as_str()), ("abcdef", "f", "a"));
        // A cursor is good for its caller, customer and connection only.
        let other = customer(&home, "13612399002").await;
        let orders = "query($id: ID!, $after: String) { customer(id: $id) { orders(after: $after) { nodes { number } } } }";
        for (query, id, after) in [(CONTACTS, &other, &after), (orders, &id, &after), (CONTACTS, &id, &json!("AAAA")), (CONTACTS, &id, &json!("?"))] {
            let refused = home.tenant("globex").persona("sales").purpose("sales_follow_up").ask(query, json!({ "id": id, "after": after })).await;
            assert_eq!(refused.code(), "BAD_USER_INPUT");
        }
        let theirs = home.tenant("globex").persona("sales_manager").purpose("sales_follow_up").ask(CONTACTS, json!({ "id": id, "after": after })).await;
        assert_eq!(theirs.code(), "BAD_USER_INPUT");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_in_pages_is_the_timeline() {
    for home in homes().await {
        let id = customer(&home, "13612399003").await;
        for hour in ["08", "09", "09", "10"] {
            let at = format!("2026-11-20T{hour}:00:00Z");
            contact(&home, &id, &at, "x").await;
            order(&home, &id, &at, &format!("T-{hour}-{}", uuid::Uuid::now_v7())).await;
        }
        let whole = ask(&home, TIMELINE, json!({ "id": id, "first": 100 })).await["customer"]["timeline"].clone();
        assert_eq!((whole["nodes"].as_array().unwrap().len(), &whole["pageInfo"]["hasNextPage"]), (9, &json!(false)), "{whole}");
        for first in [1, 2, 3, 4, 9] {
            let (mut seen, mut after) = (Vec::new(), Value::Null);
            loop {
                let page = ask(&home, TIMELINE, json!({ "id": id, "first": first, "after": after })).await["customer"]["timeline"].clone();
                seen.extend(page["nodes"].as_array().unwrap().clone());
                after = page["pageInfo"]["endCursor"].clone();
                if page["pageInfo"]["hasNextPage"] == json!(false) {
                    break;
                }
            }
            assert_eq!(json!(seen), whole["nodes"], "in pages of {first}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_on_a_customer_is_paged_backwards_too() {
    for home in homes().await {
        let id = customer(&home, "13612399005").await;
        for hour in ["08", "09", "09", "10", "11"] {
            let at = format!("2026-11-20T{hour}:00:00Z");
            contact(&home, &id, &at, hour).await;
            order(&home, &id, &at, &format!("B-{hour}-{}", uuid::Uuid::now_v7())).await;
        }
        // Of these nobody knows when they were: they are the last of all orders, and not in the timeline.
        for n in 0..3 {
            let query = "mutation($id: ID!, $number: String!) { addOrder(customer: $id, input: {number: $number}) { userErrors { message } } }";
            assert_eq!(ask(&home, query, json!({ "id": id, "number": format!("B-{n}") })).await["addOrder"]["userErrors"], json!([]));
        }
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        assert_eq!(raw.run("UPDATE customer_order SET ordered_at = NULL WHERE number LIKE 'B-_'").await, Ok(3));
        for connection in ["contacts", "orders", "timeline"] {
            let node = if connection == "timeline" { "title" } else { "id" };
            let query = format!(
                "query($id: ID!, $first: Int, $after: String, $last: Int, $before: String) {{ customer(id: $id) {{
                 {connection}(first: $first, after: $after, last: $last, before: $before) {{
                 nodes {{ {node} }} pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} totalCount }} }} }}"
            );
            let page = async |variables: Value| {
                let mut all = variables;
                all["id"] = id.clone();
                ask(&home, &query, all).await["customer"][connection].clone()
            };
            let whole = page(json!({ "first": 100 })).await;
            let all = whole["nodes"].as_array().unwrap().clone();
            let untimed = if connection == "timeline" { 3 } else { 0 };
            assert!(all.len() >= 5 && whole["totalCount"] == json!(all.len() + untimed), "{whole}");
            for last in [1, 2, 3, 100] {
                let (mut seen, mut before, mut pages) = (Vec::new(), Value::Null, 0);
                loop {
                    let part = page(json!({ "last": last, "before": before })).await;
                    assert_eq!(part["pageInfo"]["hasNextPage"], json!(pages > 0));
                    assert_eq!(part["totalCount"], whole["totalCount"]);
                    seen.splice(0..0, part["nodes"].as_array().unwrap().clone());
                    before = part["pageInfo"]["startCursor"].clone();
                    pages += 1;
                    if part["pageInfo"]["hasPreviousPage"] == json!(false) {
                        break;
                    }
                }
                assert_eq!(seen, all, "{connection}, {last} at a time");
            }
            // Between two cursors.
            let (head, tail) = (page(json!({ "first": 1 })).await, page(json!({ "last": 1 })).await);
            let between = json!({ "first": 100, "after": head["pageInfo"]["endCursor"], "before": tail["pageInfo"]["startCursor"] });
            assert_eq!(page(between).await["nodes"].as_array().unwrap(), &all[1..all.len() - 1]);
            for wrong in [json!({ "first": 1, "last": 1 }), json!({ "last": 0 }), json!({ "last": 101 }), json!({ "last": 1, "before": "AAAA" })] {
                let mut variables = wrong;
                variables["id"] = id.clone();
                let refused = home.tenant("globex").persona("sales").purpose("sales_follow_up").ask(&query, variables).await;
                assert_eq!(refused.code(), "BAD_USER_INPUT");
            }
        }
        // The last of each of a page's customers.
        let query = "{ customers(first: 100, filter: {mine: true}) { nodes { id orders(last: 1) { nodes { number } } } } }";
        for node in ask(&home, query, json!({})).await["customers"]["nodes"].as_array().unwrap() {
            let alone = "query($id: ID!) { customer(id: $id) { id orders(last: 1) { nodes { number } } } }";
            assert_eq!(ask(&home, alone, json!({ "id": node["id"] })).await["customer"], *node);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_together_is_answered_as_if_asked_apart() {
    for home in homes().await {
        let (one, two) = (customer(&home, "13612399003").await, customer(&home, "13612399004").await);
        for (id, numbers) in [(&one, ["P1", "P2", "P3", "P4"]), (&two, ["Q1", "Q2", "Q3", "Q4"])] {
            for (day, number) in (10..).zip(numbers) {
                order(&home, id, &format!("2026-10-{day}T08:00:00Z"), number).await;
            }
            contact(&home, id, "2026-10-12T08:00:00Z", "spoke").await;
        }
        // The same twice in different measure, in a fragment, under directives, by a variable, and with others beside it.
        let query = "query($ids: [ID!]!, $few: Int!, $not: Boolean!) { nodes(ids: $ids) { ... on Customer {
            few: orders(first: $few) { nodes { number } totalCount } ...all timeline(first: 3) { nodes { title } totalCount }
            orders @skip(if: $not) { totalCount } contacts(first: 1) { nodes { result } totalCount } tickets { nodes { number } totalCount } tags { name } sources { system } } } }
            fragment all on Customer { all: orders(first: 100) { nodes { number } } }";
        let nodes = ask(&home, query, json!({ "ids": [one, two], "few": 2, "not": true })).await["nodes"].clone();
        for (node, name) in nodes.as_array().unwrap().iter().zip(["P", "Q"]) {
            let numbers = |list: &Value| list["nodes"].as_array().unwrap().iter().map(|order| order["number"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
            assert_eq!(numbers(&node["few"]), [format!("{name}4"), format!("{name}3")]);
            assert_eq!(numbers(&node["all"]), [4, 3, 2, 1].map(|n| format!("{name}{n}")));
            assert_eq!((&node["few"]["totalCount"], &node["contacts"]["totalCount"], &node["tickets"]["totalCount"]), (&json!(4), &json!(1), &json!(0)));
            // Writing a customer down was the first, and is the newest.
            assert_eq!((&node["timeline"]["nodes"][1]["title"], &node["timeline"]["totalCount"]), (&json!(format!("{name}4")), &json!(6)));
            assert_eq!((node.get("orders"), &node["tags"], node["sources"].as_array().unwrap().len()), (None, &json!([]), 1), "{node}");
        }
        // A page of many, each with its own.
        let query = "{ customers(first: 100, filter: {mine: true}) { nodes { id orders(first: 3) { nodes { number } } contacts(first: 2) { nodes { result } } tags { name category } } } }";
        let page = ask(&home, query, json!({})).await["customers"]["nodes"].clone();
        for node in page.as_array().unwrap() {
            let alone = "query($id: ID!) { customer(id: $id) { id orders(first: 3) { nodes { number } } contacts(first: 2) { nodes { result } } tags { name category } } }";
            assert_eq!(ask(&home, alone, json!({ "id": node["id"] })).await["customer"], *node);
        }
        assert!(page.as_array().unwrap().len() > 1);
    }
}
