//! What departments write: each field is decided, each value cleaned, and each request is one transaction with one event.

use serde_json::{Value, json};
use tests::{Answer, Home, homes};

async fn ask(home: &Home, persona: &str, purpose: &'static str, query: &str, variables: Value) -> Answer {
    home.tenant("globex").persona(persona).purpose(purpose).ask(query, variables).await
}

async fn sell(home: &Home, query: &str, variables: Value) -> Answer {
    ask(home, "sales", "sales_follow_up", query, variables).await
}

const CREATE: &str = "mutation($input: CustomerInput!) { createCustomer(input: $input) { result { id number version name(view: CLEAR) phone(view: CLEAR) status owner { name } \
    sources { system } } userErrors { field message code } } }";

async fn made(home: &Home, name: &str, phone: &str) -> Value {
    let input = json!({ "name": name, "phone": phone, "status": "潜在客户" });
    let made = sell(home, CREATE, json!({ "input": input })).await.data()["createCustomer"].clone();
    assert_eq!(made["userErrors"], json!([]), "{made}");
    made["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_made_linked_and_corrected() {
    for home in homes().await {
        let customer = made(&home, "司徒甲一", " +86 136-1239-5001 ").await;
        assert_eq!((&customer["phone"], &customer["status"], &customer["sources"][0]["system"]), (&json!("13612395001"), &json!("PROSPECT"), &json!("desk")));
        assert!(customer["owner"]["name"].is_string(), "it is the writer's: {customer}");
        // The same person again is the same customer.
        assert_eq!(made(&home, "司徒甲一", "13612395001").await["id"], customer["id"]);
        let bad = json!({ "name": "司徒甲一", "phone": "13612395", "email": "no-address", "status": "nonsense" });
        let refused = sell(&home, CREATE, json!({ "input": bad })).await.data()["createCustomer"].clone();
        let fields: Vec<&str> = refused["userErrors"].as_array().unwrap().iter().map(|fault| fault["field"].as_str().unwrap()).collect();
        assert_eq!(fields, ["Customer.phone", "Customer.email", "Customer.status"], "all faults at once");
        assert!(refused["result"].is_null() && !refused.to_string().contains("13612395") && !refused.to_string().contains("no-address"), "{refused}");
        let empty = sell(&home, CREATE, json!({ "input": { "status": "潜在客户" } })).await.data()["createCustomer"].clone();
        assert_eq!(empty["userErrors"][0]["code"], "BAD_USER_INPUT");

        let update = "mutation($id: ID!, $version: Int, $set: CustomerInput!) { updateCustomer(id: $id, version: $version, set: $set, reason: \"called\") { \
            result { version phone(view: CLEAR) remarks(view: CLEAR) provenance { field rule } } userErrors { field code } } }";
        let version =
            sell(&home, "query($id: ID!) { customer(id: $id) { version } }", json!({ "id": customer["id"] })).await.data()["customer"]["version"].clone();
        let set = json!({ "phone": "13612395002", "remarks": "周末再打" });
        let done = sell(&home, update, json!({ "id": customer["id"], "version": version, "set": set })).await.data()["updateCustomer"].clone();
        assert_eq!((&done["result"]["phone"], &done["result"]["remarks"]), (&json!("13612395002"), &json!("周末再打")), "{done}");
        let late =
            sell(&home, update, json!({ "id": customer["id"], "version": version, "set": { "phone": "13612395003" } })).await.data()["updateCustomer"].clone();
        assert_eq!((&late["result"], &late["userErrors"][0]["code"]), (&json!(null), &json!("CONFLICT")), "somebody was faster");
        // Nobody writes without the purpose, nor what is not theirs.
        let other = home.tenant("globex").persona("sales").ask(CREATE, json!({ "input": { "name": "司徒乙二" } })).await;
        assert_eq!(other.code(), "FORBIDDEN");
        let denied = ask(&home, "marketing", "sales_follow_up", update, json!({ "id": customer["id"], "set": { "phone": "13612395004" } })).await;
        assert_eq!(denied.code(), "FORBIDDEN");
        let elsewhere = home.tenant("acme").persona("sales").purpose("sales_follow_up").ask(update, json!({ "id": customer["id"], "set": set })).await;
        assert_eq!(elsewhere.data()["updateCustomer"]["userErrors"][0]["code"], "NOT_FOUND");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_over_or_joins_whom_they_may_not_write_by_making_a_customer() {
    for home in homes().await {
        let input = json!({ "name": "诸葛辛八", "phone": "13612395051", "email": "xin8@example.com", "company": "辛八科技有限公司" });
        let theirs = ask(&home, "sales_manager", "sales_follow_up", CREATE, json!({ "input": input })).await.data()["createCustomer"]["result"].clone();
        let mine = made(&home, "司徒壬九", "13612395052").await;
        let before =
            home.tenant("globex").persona("admin").ask("query($id: ID!) { customer(id: $id) { version owner { name } } }", json!({ "id": theirs["id"] })).await;
        for attempt in [
            json!({ "phone": "13612395051" }),
            json!({ "name": "诸葛辛八", "company": "辛八科技有限公司" }),
            json!({ "phone": "13612395052", "email": "xin8@example.com" }),
            json!({ "phone": "13612395051", "remarks": "mine now", "owner": "sales" }),
        ] {
            let refused = sell(&home, CREATE, json!({ "input": attempt })).await;
            if refused.body.get("errors").is_some() {
                assert_eq!(refused.code(), "FORBIDDEN", "{attempt}");
                continue;
            }
            let refused = &refused.data()["createCustomer"];
            assert!(refused["result"].is_null() && refused["userErrors"][0]["message"].as_str().unwrap().contains("somebody is known"), "{attempt} {refused}");
        }
        let after =
            home.tenant("globex").persona("admin").ask("query($id: ID!) { customer(id: $id) { version owner { name } } }", json!({ "id": theirs["id"] })).await;
        assert_eq!(before.data(), after.data());
        let mine_still = sell(&home, "query($id: ID!) { customer(id: $id) { id phone(view: CLEAR) } }", json!({ "id": mine["id"] })).await;
        assert_eq!(mine_still.data()["customer"], json!({ "id": mine["id"], "phone": "13612395052" }));
        // Who is restricted is known like anybody else.
        let restrict = "mutation($id: ID!) { restrictCustomer(customer: $id, restricted: true, reason: \"asked\") { userErrors { message } } }";
        ask(&home, "privacy", "privacy_request", restrict, json!({ "id": theirs["id"] })).await.data();
        let refused = sell(&home, CREATE, json!({ "input": { "phone": "13612395051" } })).await.data()["createCustomer"].clone();
        assert!(refused["userErrors"][0]["message"].as_str().unwrap().contains("somebody is known"), "{refused}");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_not_guessed_by_making_customers_either() {
    for home in homes().await {
        let guess = async |middle: u32, spoiled: bool| {
            // Spoiled, the request fails in part and nothing of it is kept: the guess counts all the same.
            let spoil = if spoiled { "b: createCustomer(input: {phone: \"1\"}) { userErrors { field } }" } else { "" };
            let query =
                format!("mutation($phone: String!) {{ a: createCustomer(input: {{phone: $phone}}) {{ result {{ number }} userErrors {{ field }} }} {spoil} }}");
            sell(&home, &query, json!({ "phone": format!("136{middle:04}7777") })).await
        };
        for middle in 0..5 {
            guess(middle, middle % 2 == 0).await.data();
        }
        for middle in 5..9 {
            assert_eq!(guess(middle, middle % 2 == 0).await.code(), "SEARCH_BUDGET_EXCEEDED", "{middle}");
        }
        let searched = sell(&home, "{ findCustomer(by: {phone: \"13600097777\"}) { id } }", json!({})).await;
        assert_eq!(searched.code(), "SEARCH_BUDGET_EXCEEDED", "it is one budget");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contacts_tickets_orders_tags_and_relations_are_written() {
    for home in homes().await {
        let (one, two) = (made(&home, "司徒丙三", "13612395011").await, made(&home, "司徒丁四", "13612395012").await);
        let contact = "mutation($id: ID!, $input: ContactInput!) { addContact(customer: $id, input: $input) { \
            result { contacts(first: 5) { totalCount nodes { id channel summary(view: CLEAR) result by } } } userErrors { field message } } }";
        let input = json!({ "channel": "phone", "summary": "客户问价", "result": "再联系" });
        let done = sell(&home, contact, json!({ "id": one["id"], "input": input })).await.data()["addContact"]["result"].clone();
        let node = &done["contacts"]["nodes"][0];
        assert_eq!((&node["channel"], &node["summary"], &node["result"]), (&json!("phone"), &json!("客户问价"), &json!("再联系")), "{done}");
        assert!(node["by"].is_string() && done["contacts"]["totalCount"] == 1);
        let faults = sell(&home, contact, json!({ "id": one["id"], "input": { "channel": "", "at": "2999-01-01T00:00:00Z" } })).await;
        assert_eq!(faults.data()["addContact"]["userErrors"].as_array().unwrap().len(), 2);
        let order = "mutation($id: ID!, $input: OrderInput!) { addOrder(customer: $id, input: $input) { result { orders(first: 1) { nodes { id number amount } } } userErrors { message } } }";
        let done = sell(&home, order, json!({ "id": one["id"], "input": { "number": "D-1", "amount": "199.50" } })).await.data()["addOrder"].clone();
        assert_eq!(done["result"]["orders"]["nodes"][0]["amount"], "199.50", "{done}");
        let wrong = sell(&home, order, json!({ "id": one["id"], "input": { "number": "D-2", "amount": "a lot" } })).await.data()["addOrder"].clone();
        assert_eq!(wrong["userErrors"][0]["message"], "amount: a decimal such as 199.00");
        let tag = "mutation($id: ID!, $c: String!, $n: String!) { tagCustomer(customer: $id, category: $c, name: $n) { result { tags { name category } } userErrors { field } } }";
        let done = sell(&home, tag, json!({ "id": one["id"], "c": "活动", "n": "双十一" })).await.data()["tagCustomer"].clone();
        assert!(done["result"]["tags"].to_string().contains("双十一"), "{done}");
        let untag = tag.replace("tagCustomer", "untagCustomer");
        let done = sell(&home, &untag, json!({ "id": one["id"], "c": "活动", "n": "双十一" })).await.data()["untagCustomer"].clone();
        assert!(!done["result"]["tags"].to_string().contains("双十一"), "{done}");
        let relate = "mutation($a: ID!, $b: ID!) { relateCustomers(customer: $a, other: $b, kind: HOUSEHOLD) { result { relations { kind customer { id } } } userErrors { message } } }";
        let done = sell(&home, relate, json!({ "a": one["id"], "b": two["id"] })).await.data()["relateCustomers"].clone();
        assert_eq!(done["result"]["relations"][0]["customer"]["id"], two["id"], "{done}");
        let same = sell(&home, relate, json!({ "a": one["id"], "b": one["id"] })).await.data()["relateCustomers"].clone();
        assert_eq!(same["userErrors"][0]["message"], "other: it is the same customer");
        let ticket = "mutation($id: ID!) { openTicket(customer: $id, input: {type: \"退货\", body: \"包装破损\"}) { result { tickets(first: 1) { nodes { id status body(view: CLEAR) } } } userErrors { message } } }";
        assert_eq!(sell(&home, ticket, json!({ "id": one["id"] })).await.code(), "FORBIDDEN", "tickets are support's");
        let done = ask(&home, "support", "customer_service", ticket, json!({ "id": one["id"] })).await.data()["openTicket"]["result"].clone();
        let node = &done["tickets"]["nodes"][0];
        assert_eq!((&node["status"], &node["body"]), (&json!("open"), &json!("包装破损")), "{done}");
        let close =
            "mutation($id: ID!) { setTicketStatus(ticket: $id, status: \"closed\") { result { tickets(first: 1) { nodes { status } } } userErrors { code } } }";
        let done = ask(&home, "support", "customer_service", close, json!({ "id": node["id"] })).await.data()["setTicketStatus"].clone();
        assert_eq!(done["result"]["tickets"]["nodes"][0]["status"], "closed");
        // By their ids they are found again, and by nobody of another tenant.
        let nodes = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Customer { number } ... on Ticket { status } } }";
        let ids = json!([one["id"], node["id"], "bm90aGluZw"]);
        let found = ask(&home, "support", "", nodes, json!({ "ids": ids })).await.data()["nodes"].clone();
        assert_eq!((&found[0]["__typename"], &found[1]["status"], &found[2]), (&json!("Customer"), &json!("closed"), &json!(null)), "{found}");
        let foreign = home.tenant("acme").persona("support").ask(nodes, json!({ "ids": ids })).await;
        assert_eq!(foreign.data()["nodes"], json!([null, null, null]));
        // Of a mutation that fails in part nothing is kept.
        let both = "mutation($id: ID!) { a: addContact(customer: $id, input: {channel: \"visit\"}) { userErrors { field } } b: addContact(customer: $id, input: {channel: \"\"}) { userErrors { field } } }";
        sell(&home, both, json!({ "id": one["id"] })).await.data();
        let count = "query($id: ID!) { customer(id: $id) { contacts { totalCount } } }";
        assert_eq!(sell(&home, count, json!({ "id": one["id"] })).await.data()["customer"]["contacts"]["totalCount"], 1);
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_customers_of_a_leaver_pass_to_another_in_one_call() {
    for home in homes().await {
        let mine = made(&home, "司徒戊五", "13612395021").await;
        let me = home.tenant("globex").persona("sales").query("{ me { subject } }").await.data()["me"]["subject"].as_str().unwrap().to_owned();
        let manager = home.tenant("globex").persona("sales_manager").query("{ me { subject } }").await.data()["me"]["subject"].as_str().unwrap().to_owned();
        let hand =
            "mutation($from: String!, $to: String!) { handOver(from: $from, to: $to, reason: \"leaves in June\") { result userErrors { field message } } }";
        let denied = sell(&home, hand, json!({ "from": me, "to": manager })).await;
        assert_eq!(denied.code(), "FORBIDDEN");
        let done = ask(&home, "steward", "data_quality", hand, json!({ "from": me, "to": manager })).await.data()["handOver"].clone();
        assert!(done["result"].as_i64().unwrap() >= 1, "{done}");
        let look = "query($id: ID!) { customer(id: $id) { phone(view: CLEAR) contacts(first: 1) { nodes { channel } } } }";
        let seen = sell(&home, look, json!({ "id": mine["id"] })).await.data()["customer"].clone();
        assert_eq!(
            (&seen["phone"], &seen["contacts"]["nodes"][0]["channel"]),
            (&json!("136****5021"), &json!("handover")),
            "it is not theirs any more: {seen}"
        );
        let nobody = ask(&home, "steward", "data_quality", hand, json!({ "from": "nobody-here", "to": manager })).await.data()["handOver"].clone();
        assert_eq!(nobody["userErrors"][0]["field"], "from");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_wrote_of_a_merged_customer_shows_and_goes_back_with_it() {
    for home in homes().await {
        let (one, two) = (made(&home, "司徒己六", "13612395031").await, made(&home, "诸葛庚七", "13612395032").await);
        let contact = "mutation($id: ID!) { addContact(customer: $id, input: {channel: \"visit\", summary: \"见过面\"}) { userErrors { message } } }";
        sell(&home, contact, json!({ "id": two["id"] })).await.data();
        let merge = "mutation($a: ID!, $b: ID!) { mergeCustomers(winner: $a, loser: $b, reason: \"the same\") { result { contacts { totalCount nodes { channel } } } userErrors { message } } }";
        let merged = ask(&home, "steward", "data_quality", merge, json!({ "a": one["id"], "b": two["id"] })).await.data()["mergeCustomers"].clone();
        assert_eq!(
            (&merged["result"]["contacts"]["totalCount"], &merged["result"]["contacts"]["nodes"][0]["channel"]),
            (&json!(1), &json!("visit")),
            "{merged}"
        );
        let journal = ask(&home, "steward", "data_quality", "query($id: ID!) { merges(customer: $id) { id } }", json!({ "id": one["id"] })).await;
        let undo = "mutation($id: ID!) { undoMerge(id: $id) { userErrors { message } } }";
        ask(&home, "steward", "data_quality", undo, json!({ "id": journal.data()["merges"][0]["id"] })).await.data();
        let count = "query($id: ID!) { customer(id: $id) { contacts { totalCount } } }";
        assert_eq!(sell(&home, count, json!({ "id": one["id"] })).await.data()["customer"]["contacts"]["totalCount"], 0);
        assert_eq!(sell(&home, count, json!({ "id": two["id"] })).await.data()["customer"]["contacts"]["totalCount"], 1);
        home.sound().await;
    }
}
