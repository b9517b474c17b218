//! The schema as clients see it, and operations that are made up from it.

use std::collections::HashMap;

use serde_json::Value;

use crate::Home;

const INTROSPECTION: &str = "{ __schema { queryType { name } mutationType { name } types { kind name enumValues { name } inputFields { name type { ...T } }
    fields { name args { name type { ...T } } type { ...T } } } } }
    fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } }";

/// What introspection tells.
pub struct Schema {
    types: HashMap<String, Value>,
}

/// A field of a root.
pub struct Root<'s> {
    /// `query` or `mutation`.
    pub operation: &'static str,
    /// Its name.
    pub name: &'s str,
    field: &'s Value,
}

impl Schema {
    /// What a persona of globex is told.
    pub async fn told_to(home: &Home, persona: &'static str, purpose: &'static str) -> Self {
        let desk = home.tenant("globex").persona(persona);
        let desk = if purpose.is_empty() { desk } else { desk.purpose(purpose) };
        let told = desk.query(INTROSPECTION).await;
        let types = told.data()["__schema"]["types"].as_array().unwrap().iter();
        Self { types: types.map(|kind| (kind["name"].as_str().unwrap().to_owned(), kind.clone())).collect() }
    }

    /// What all of these personas are told together.
    pub async fn told_to_all(home: &Home, personas: &[(&'static str, &'static str)]) -> Self {
        let mut all = Self { types: HashMap::new() };
        for (persona, purpose) in personas {
            for (name, kind) in Self::told_to(home, persona, purpose).await.types {
                let known = all.types.entry(name).or_insert_with(|| kind.clone());
                let Some(fields) = known["fields"].as_array_mut() else { continue };
                for field in kind["fields"].as_array().unwrap() {
                    if !fields.iter().any(|known| known["name"] == field["name"]) {
                        fields.push(field.clone());
                    }
                }
            }
        }
        all
    }

    /// The fields of the roots.
    pub fn roots(&self) -> Vec<Root<'_>> {
        let of = |(operation, name): (&'static str, &str)| {
            let fields = self.types[name]["fields"].as_array().unwrap();
            fields.iter().map(move |field| Root { operation, name: field["name"].as_str().unwrap(), field }).collect::<Vec<_>>()
        };
        [("query", "Query"), ("mutation", "Mutation")].into_iter().flat_map(of).collect()
    }

    /// Each field of a type that can be asked for without arguments (a view need not be said), with what can be asked below it to this depth, where each selection
    /// begins with this.
    pub fn each(&self, kind: &str, depth: u8, first: &str) -> Vec<(&str, String)> {
        let fields = self.types[kind]["fields"].as_array().unwrap().iter();
        let free = |argument: &Value| argument["type"]["kind"] != "NON_NULL" || named(&argument["type"])["name"] == "View";
        let free = fields.filter(|field| field["args"].as_array().unwrap().iter().all(free));
        let text = |field: &Value| {
            let (name, below) = (field["name"].as_str().unwrap(), named(&field["type"])["name"].as_str().unwrap());
            if self.types[below]["fields"].is_null() {
                return Some(name.to_owned());
            }
            let below: Vec<String> = if depth > 0 { self.each(below, depth - 1, first).into_iter().map(|(_, text)| text).collect() } else { Vec::new() };
            (!below.is_empty()).then(|| format!("{name} {{ {first} {} }}", below.join(" ")))
        };
        free.filter_map(|field| Some((field["name"].as_str().unwrap(), text(field)?))).collect()
    }

    /// Whether there is a field of a type.
    pub fn has(&self, kind: &str, field: &str) -> bool {
        self.types.get(kind).is_some_and(|kind| kind["fields"].as_array().is_some_and(|fields| fields.iter().any(|known| known["name"] == field)))
    }

    /// Whether an id is asked for somewhere.
    pub fn takes_id(&self, root: &Root<'_>) -> bool {
        root.field["args"].as_array().unwrap().iter().any(|argument| mentions_id(&self.types, &argument["type"], 0))
    }

    /// An operation of this root alone, with anything that fits its types and much that does not; `pick` chooses one of so many.
    pub fn anything(&self, root: &Root<'_>, id: &str, pick: &mut dyn FnMut(usize) -> usize) -> String {
        let arguments = root.field["args"].as_array().unwrap().iter();
        let mut given = Vec::new();
        for argument in arguments {
            if argument["type"]["kind"] == "NON_NULL" || pick(3) > 0 {
                given.push(format!("{}: {}", argument["name"].as_str().unwrap(), anything(&self.types, &argument["type"], id, pick, 0)));
            }
        }
        let given = if given.is_empty() { String::new() } else { format!("({})", given.join(", ")) };
        format!("{} {{ {}{given} {} }}", root.operation, root.name, selection(&self.types, &root.field["type"], 1))
    }

    /// An operation of this root alone, in which every id is this one.
    pub fn operation(&self, root: &Root<'_>, id: &str) -> String {
        let arguments = root.field["args"].as_array().unwrap().iter();
        let given = arguments.filter_map(|argument| Some(format!("{}: {}", argument["name"].as_str()?, literal(&self.types, &argument["type"], id, 0)?)));
        let given = given.collect::<Vec<_>>().join(", ");
        let given = if given.is_empty() { given } else { format!("({given})") };
        format!("{} {{ {}{given} {} }}", root.operation, root.name, selection(&self.types, &root.field["type"], 0))
    }
}

type Types = HashMap<String, Value>;

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

/// A literal of a type, or nearly.
fn anything(types: &Types, kind: &Value, id: &str, pick: &mut dyn FnMut(usize) -> usize, depth: u8) -> String {
    let long = "长".repeat(3_000);
    let pool: &[&str] = match (kind["kind"].as_str().unwrap(), kind["name"].as_str()) {
        ("NON_NULL", _) => return anything(types, &kind["ofType"], id, pick, depth),
        _ if pick(12) == 0 => return "null".to_owned(),
        ("LIST", _) => {
            let items: Vec<String> = (0..pick(4)).map(|_| anything(types, &kind["ofType"], id, pick, depth)).collect();
            return format!("[{}]", items.join(", "));
        }
        ("ENUM", Some(name)) => {
            let values = types[name]["enumValues"].as_array().unwrap();
            return values[pick(values.len())]["name"].as_str().unwrap().to_owned();
        }
        ("INPUT_OBJECT", Some(name)) => {
            let mut cells = Vec::new();
            for field in types[name]["inputFields"].as_array().unwrap() {
                if depth < 4 && (field["type"]["kind"] == "NON_NULL" || pick(2) > 0) {
                    cells.push(format!("{}: {}", field["name"].as_str().unwrap(), anything(types, &field["type"], id, pick, depth + 1)));
                }
            }
            return format!("{{{}}}", cells.join(", "));
        }
        (_, Some("Int")) => return ["0", "1", "-1", "7", "100", "2147483647", "-2147483648", "4294967296"][pick(8)].to_owned(),
        (_, Some("Float")) => return ["0", "0.5", "1", "-1.5", "1e308", "1e-308"][pick(6)].to_owned(),
        (_, Some("Boolean")) => return ["true", "false"][pick(2)].to_owned(),
        (_, Some("ID")) => &[id, id, "", "x", "YwGiBQHxFHNMjgRelZQhRAA"],
        (_, Some("DateTime")) => &[
            "2026-11-21T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "+262142-12-31T23:59:59Z",
            "-262143-01-01T00:00:00Z",
            "x",
        ],
        _ => &["", "x", "Customer.phone", "2026-11", "9999-12", "0000-00", "客户", "13612390001", "a@b.cn", "\u{0}", "\u{1f600}\n\"'%_", "sales", "bi", &long],
    };
    Value::from(pool[pick(pool.len())]).to_string()
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
