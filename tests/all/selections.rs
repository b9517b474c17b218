//! What is told of a customer depends neither on what else is asked nor on how: columns are read as they are asked for, and fields that
//! wait for nothing are written at once, where each of a selection that asks for something twice is resolved like any other.

use serde_json::Value;
use tests::homes;
use tests::schema::Schema;

/// Cursors are sealed anew each time.
fn without_cursors(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().filter(|(name, _)| !name.to_lowercase().ends_with("cursor")).map(|(name, value)| (name, without_cursors(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_cursors).collect(),
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_is_told_alone_as_with_all_others_and_at_once_as_one_by_one() {
    for home in homes().await {
        for (persona, purpose) in [("steward", "data_quality"), ("privacy", "privacy_request"), ("sales_manager", "sales_follow_up"), ("bi", "data_quality")] {
            let schema = Schema::told_to(&home, persona, purpose).await;
            let ask = async |selection: &str| -> Value {
                let desk = home.tenant("globex").persona(persona).purpose(purpose);
                without_cursors(desk.query(&format!("{{ customers(first: 12) {selection} }}")).await.data()["customers"].clone())
            };
            // What is seen by whom changes with each look.
            let each = |first: &str| schema.each("Customer", 2, first).into_iter().filter(|(name, _)| *name != "seenBy").collect::<Vec<_>>();
            let (fields, slow) = (each("__typename"), each("__typename __typename"));
            assert!(fields.len() > 20, "{persona}: {fields:?}");
            let together = |fields: &[(&str, String)]| fields.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ");
            let whole = ask(&format!("{{ nodes {{ __typename __typename {} }} }}", together(&slow))).await["nodes"].clone();
            assert!(whole.as_array().is_some_and(|customers| customers.len() > 4 && customers.iter().any(|one| one["phone"].is_string())), "{whole}");
            assert_eq!(ask(&format!("{{ nodes {{ __typename {} }} }}", together(&fields))).await["nodes"], whole, "{persona}: written at once");
            let spread = format!("{{ nodes {{ ...on Customer {{ {} }} __typename }} }}", together(&fields));
            assert_eq!(ask(&spread).await["nodes"], whole, "{persona}: in a fragment");
            for (name, text) in &fields {
                let (nodes, edges) = (ask(&format!("{{ nodes {{ {text} }} }}")).await, ask(&format!("{{ edges {{ node {{ {text} }} }} }}")).await);
                for (at, customer) in whole.as_array().unwrap().iter().enumerate() {
                    assert_eq!(nodes["nodes"][at][name], customer[name], "{persona}: {name} alone");
                    assert_eq!(edges["edges"][at]["node"][name], customer[name], "{persona}: {name} alone, by its edge");
                }
            }
        }
    }
}

/// What fragments ask for of one object is put together, wherever it stands.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_in_parts_is_put_together() {
    for home in homes().await {
        let ask = async |query: &str| home.tenant("acme").persona("steward").query(query).await.data().clone();
        let id = ask("{ customers(first: 1) { nodes { id } } }").await["customers"]["nodes"][0]["id"].clone();
        let asked = [
            (
                "{ customer(id: ID) { number status orders(first: 5) { nodes { number amount } pageInfo { hasNextPage } totalCount } tags { name category } } }",
                [
                    "{ customer(id: ID) { number orders(first: 5) { nodes { number } } tags { name } } ...F } \
                     fragment F on Query { customer(id: ID) { status orders(first: 5) { nodes { amount } pageInfo { hasNextPage } totalCount } tags { category } } }",
                    "{ customer(id: ID) { number ...A ...B } } fragment A on Customer { status orders(first: 5) { nodes { number } totalCount } tags { name } } \
                     fragment B on Customer { orders(first: 5) { ... { nodes { amount } } pageInfo { hasNextPage } } tags { category } }",
                ],
            ),
            (
                "{ customers(first: 3) { nodes { number status sources { system line } } pageInfo { hasNextPage } } }",
                [
                    "{ customers(first: 3) { nodes { number sources { system } } nodes { status sources { line } } pageInfo { hasNextPage } } }",
                    "{ customers(first: 3) { nodes { number sources { system line } } } customers(first: 3) { nodes { status } pageInfo { hasNextPage } } }",
                ],
            ),
            (
                "{ node(id: ID) { __typename ... on Customer { id contacts(first: 3) { nodes { id channel } totalCount } } } }",
                [
                    "{ node(id: ID) { __typename id ... on Customer { contacts(first: 3) { nodes { id } totalCount } } ... on Customer { contacts(first: 3) { nodes { channel } } } } }",
                    "{ node(id: ID) { __typename ...C } node(id: ID) { ...D } } fragment C on Customer { id contacts(first: 3) { nodes { id channel } } } \
                     fragment D on Customer { contacts(first: 3) { totalCount } }",
                ],
            ),
        ];
        for (whole, parts) in asked {
            let of = |query: &str| query.replace("ID", &id.to_string());
            let whole = ask(&of(whole)).await;
            for part in parts {
                assert_eq!(ask(&of(part)).await, whole, "{part}");
            }
        }
    }
}
