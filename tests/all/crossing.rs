//! No way leads from one tenant to another: every argument of every operation is tried.

use serde_json::Value;
use tests::schema::Schema;
use tests::{Home, homes};

#[tokio::test(flavor = "multi_thread")]
async fn no_id_of_another_tenant_is_worth_more_than_a_made_up_one() {
    for home in homes().await {
        let schema = Schema::told_to_all(&home, &PERSONAS).await;
        let foreign = foreign_ids(&home).await;
        let mut tried = 0;
        for root in schema.roots().iter().filter(|root| schema.takes_id(root)) {
            for id in &foreign {
                let of = async |id: &str, persona: &'static str, purpose: &'static str| {
                    let query = schema.operation(root, id);
                    let answer = home.tenant("globex").persona(persona).purpose(purpose).query(&query).await;
                    let mut body = answer.body.clone();
                    body.as_object_mut().unwrap().remove("extensions");
                    (query, answer.status, body.to_string().replace(id, "ID"))
                };
                let mut made_up = id.clone();
                // Another key of the same kind.
                let tail = if made_up.ends_with('A') { "E" } else { "A" };
                made_up.replace_range(made_up.len() - 2.., &format!("{tail}{tail}"));
                for (persona, purpose) in PERSONAS {
                    let (query, status, answer) = of(id, persona, purpose).await;
                    let (_, other_status, other) = of(&made_up, persona, purpose).await;
                    assert_eq!((status, &answer), (other_status, &other), "{persona}: {query}");
                    tried += 1;
                }
            }
        }
        assert!(tried > 300, "{tried} attempts");
    }
}

/// They may do all that there is to do.
const PERSONAS: [(&str, &str); 4] = [("steward", "data_quality"), ("privacy", "privacy_request"), ("auditor", "privacy_request"), ("admin", "data_quality")];

/// Ids of acme's things, of every kind that an auditor, steward or officer of acme can be shown.
async fn foreign_ids(home: &Home) -> Vec<String> {
    let ask = async |persona: &str, purpose: &str, query: &str| home.tenant("acme").persona(persona).purpose(purpose).query(query).await.data().clone();
    let customers = ask(
        "steward",
        "data_quality",
        "{ customers(first: 1) { nodes { id sources { id } } } imports(first: 1) { id } duplicates(first: 1) { id } merges(first: 1) { id } }",
    )
    .await;
    let events = ask("auditor", "", "{ audit { events(first: 1) { nodes { id } } } }").await;
    let drawn = ask(
        "steward",
        "data_quality",
        &format!("mutation {{ drawSample(import: {}, size: 1, seed: 1) {{ result {{ id }} }} }}", customers["imports"][0]["id"]),
    )
    .await;
    let mut ids = Vec::new();
    for value in [&customers, &events, &drawn] {
        collect(value, &mut ids);
    }
    assert!(ids.len() >= 5, "{ids:?}");
    ids
}

fn collect(value: &Value, ids: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value.as_str() {
            Some(id) if name == "id" => ids.push(id.to_owned()),
            _ => collect(value, ids),
        }),
        Value::Array(items) => items.iter().for_each(|item| collect(item, ids)),
        _ => {}
    }
}
