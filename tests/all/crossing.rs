//! No way leads from one tenant to another: every argument of every operation is tried.

use serde_json::Value;
use tests::{Home, homes};

#[tokio::test(flavor = "multi_thread")]
async fn no_id_of_another_tenant_is_worth_more_than_a_made_up_one() {
    for home in homes().await {
        let schema = home
            .tenant("globex")
            .persona("admin")
            .query("{ __schema { queryType { name } mutationType { name } types { kind name enumValues { name } inputFields { name type { ...T } } fields { name args { name type { ...T } } type { ...T } } } } } fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } }")
            .await;
        let schema = schema.data()["__schema"].clone();
        let types: std::collections::HashMap<String, Value> =
            schema["types"].as_array().unwrap().iter().map(|kind| (kind["name"].as_str().unwrap().to_owned(), kind.clone())).collect();
        let foreign = foreign_ids(&home).await;
        let mut tried = 0;
        for root in ["queryType", "mutationType"] {
            let name = schema[root]["name"].as_str().unwrap();
            for field in types[name]["fields"].as_array().unwrap() {
                let takes_id = field["args"].as_array().unwrap().iter().any(|argument| mentions_id(&types, &argument["type"], 0));
                if !takes_id {
                    continue;
                }
                for id in &foreign {
                    let of = async |id: &str, persona: &'static str, purpose: &'static str| {
                        let arguments: Vec<String> = field["args"]
                            .as_array()
                            .unwrap()
                            .iter()
                            .filter_map(|argument| Some(format!("{}: {}", argument["name"].as_str()?, literal(&types, &argument["type"], id, 0)?)))
                            .collect();
                        let operation = if root == "queryType" { "query" } else { "mutation" };
                        let query =
                            format!("{operation} {{ {}({}) {} }}", field["name"].as_str().unwrap(), arguments.join(", "), selection(&types, &field["type"], 0));
                        let answer = home.tenant("globex").persona(persona).purpose(purpose).query(&query).await;
                        let mut body = answer.body.clone();
                        body.as_object_mut().unwrap().remove("extensions");
                        (query, answer.status, body.to_string().replace(id, "ID"))
                    };
                    let mut made_up = id.clone();
                    // Another key of the same kind.
                    let tail = if made_up.ends_with('A') { "E" } else { "A" };
                    made_up.replace_range(made_up.len() - 2.., &format!("{tail}{tail}"));
                    for (persona, purpose) in
                        [("steward", "data_quality"), ("privacy", "privacy_request"), ("auditor", "privacy_request"), ("admin", "data_quality")]
                    {
                        let (query, status, answer) = of(id, persona, purpose).await;
                        let (_, other_status, other) = of(&made_up, persona, purpose).await;
                        assert_eq!((status, &answer), (other_status, &other), "{persona}: {query}");
                        tried += 1;
                    }
                }
            }
        }
        assert!(tried > 300, "{tried} attempts");
    }
}

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

type Types = std::collections::HashMap<String, Value>;

fn named(kind: &Value) -> &Value {
    if kind["ofType"].is_object() { named(&kind["ofType"]) } else { kind }
}

fn mentions_id(types: &Types, kind: &Value, depth: u8) -> bool {
    let kind = named(kind);
    let fields = || types[kind["name"].as_str().unwrap()]["inputFields"].as_array().cloned().unwrap_or_default();
    kind["name"] == "ID" || (depth < 4 && kind["kind"] == "INPUT_OBJECT" && fields().iter().any(|field| mentions_id(types, &field["type"], depth + 1)))
}

/// A value of a type: every id is the one that is tried.
fn literal(types: &Types, kind: &Value, id: &str, depth: u8) -> Option<String> {
    match kind["kind"].as_str()? {
        "NON_NULL" => literal(types, &kind["ofType"], id, depth),
        "LIST" => Some(format!("[{}]", literal(types, &kind["ofType"], id, depth)?)),
        "ENUM" => Some(types[kind["name"].as_str()?]["enumValues"][0]["name"].as_str()?.to_owned()),
        "INPUT_OBJECT" if depth < 4 => {
            let fields = types[kind["name"].as_str()?]["inputFields"].as_array()?.clone();
            let given = fields.iter().filter(|field| field["type"]["kind"] == "NON_NULL" || mentions_id(types, &field["type"], depth + 1));
            let cells: Vec<String> =
                given.filter_map(|field| Some(format!("{}: {}", field["name"].as_str()?, literal(types, &field["type"], id, depth + 1)?))).collect();
            Some(format!("{{{}}}", cells.join(", ")))
        }
        "SCALAR" => Some(match kind["name"].as_str()? {
            "ID" => format!("\"{id}\""),
            "Int" => "1".to_owned(),
            "Float" => "0.5".to_owned(),
            "Boolean" => "true".to_owned(),
            "DateTime" => "\"2026-11-21T00:00:00Z\"".to_owned(),
            _ => "\"Customer.phone\"".to_owned(),
        }),
        _ => None,
    }
}

/// What can be selected of a type without arguments, two levels deep.
fn selection(types: &Types, kind: &Value, depth: u8) -> String {
    let kind = named(kind);
    let Some(fields) = types[kind["name"].as_str().unwrap()]["fields"].as_array() else { return String::new() };
    let free = fields.iter().filter(|field| field["args"].as_array().is_some_and(|args| args.iter().all(|arg| arg["type"]["kind"] != "NON_NULL")));
    let chosen: Vec<String> = free
        .filter(|field| depth < 2 || types[named(&field["type"])["name"].as_str().unwrap()]["fields"].is_null())
        .map(|field| format!("{} {}", field["name"].as_str().unwrap(), selection(types, &field["type"], depth + 1)))
        .collect();
    format!("{{ __typename {} }}", chosen.join(" "))
}
