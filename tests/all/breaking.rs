//! What clients build on stays: nothing of the released schema goes or changes its meaning, unless the changelog says so.

use std::collections::BTreeMap;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{FieldDefinition, InputValueDefinition, TypeKind, TypeSystemDefinition};

/// Everything of a schema that a client can name, with what is promised of it. What is asked of clients (`<`) may become less,
/// what they are given (`>`) may become more.
fn promises(schema: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for definition in parse_schema(schema).unwrap().definitions {
        let TypeSystemDefinition::Type(definition) = definition else { continue };
        let name = definition.node.name.node.to_string();
        let mut given = |of: &[async_graphql::Positioned<FieldDefinition>]| {
            for field in of {
                let place = format!("{name}.{}", field.node.name.node);
                asked(&mut all, &place, field.node.arguments.iter().map(|argument| &argument.node));
                all.insert(place, format!("> {}", field.node.ty.node));
            }
        };
        let kind = match &definition.node.kind {
            TypeKind::Object(object) => {
                given(&object.fields);
                "object"
            }
            TypeKind::Interface(interface) => {
                given(&interface.fields);
                "interface"
            }
            TypeKind::InputObject(input) => {
                asked(&mut all, &name, input.fields.iter().map(|field| &field.node));
                "input"
            }
            TypeKind::Enum(values) => {
                all.extend(values.values.iter().map(|value| (format!("{name}.{}", value.node.value.node), "value".to_owned())));
                "enum"
            }
            TypeKind::Union(union) => {
                all.extend(union.members.iter().map(|member| (format!("{name}.{}", member.node), "member".to_owned())));
                "union"
            }
            TypeKind::Scalar => "scalar",
        };
        all.insert(name, kind.to_owned());
    }
    all
}

fn asked<'a>(all: &mut BTreeMap<String, String>, of: &str, values: impl Iterator<Item = &'a InputValueDefinition>) {
    for value in values {
        let optional = if value.default_value.is_some() || value.ty.node.nullable { "optional" } else { "required" };
        all.insert(format!("{of}({})", value.name.node), format!("< {optional} {}", value.ty.node));
    }
}

/// What of the old promises does not hold.
fn broken(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (promises(old), promises(new));
    let core = |promise: &str| promise.trim_start_matches("< optional ").trim_start_matches("< required ").trim_end_matches('!').to_owned();
    let holds = |was: &str, is: &str| {
        let given = was.starts_with('>') && is.strip_suffix('!') == Some(was);
        let asked = was.starts_with('<') && core(was) == core(is) && !(was.starts_with("< optional") && is.starts_with("< required"));
        was == is || given || (asked && (was.ends_with('!') || !is.ends_with('!')))
    };
    let gone = old.iter().filter(|(place, was)| !new.get(*place).is_some_and(|is| holds(was, is))).map(|(place, _)| place.clone());
    let new_duties = new.iter().filter(|(place, is)| {
        let of = place.split('(').next().unwrap_or_default();
        is.starts_with("< required") && !old.contains_key(*place) && old.contains_key(of)
    });
    gone.chain(new_duties.map(|(place, _)| place.clone())).collect()
}

#[test]
fn nothing_that_clients_build_on_goes_unsaid() {
    let changelog = include_str!("../../CHANGELOG.md");
    let said = changelog.split("### Breaking").nth(1).map(|rest| rest.split("\n#").next().unwrap_or_default()).unwrap_or_default();
    let unsaid: Vec<String> = broken(include_str!("../../docs/schema.released.graphql"), &api::docs::schema())
        .into_iter()
        .filter(|place| !said.contains(&format!("`{place}`")))
        .collect();
    assert!(unsaid.is_empty(), "this breaks clients: keep it, deprecate it, or name each under '### Breaking' in CHANGELOG.md: {unsaid:?}");
}

#[test]
fn a_broken_promise_is_found() {
    let old = "type Q { a(x: Int, y: Int! = 1): String b: E } enum E { A B } input I { n: Int }";
    let breaks = |new: &str| broken(old, new);
    assert_eq!(breaks(old), Vec::<String>::new());
    assert_eq!(
        breaks("type Q { a(x: Int, y: Int! = 1, z: Int): String! b: E c: Int } enum E { A B C } input I { n: Int m: Int } type N { a: Int }"),
        Vec::<String>::new()
    );
    assert_eq!(breaks("type Q { a(x: Int, y: Int = 1): String b: E } enum E { A B } input I { n: Int }"), Vec::<String>::new());
    assert_eq!(breaks("type Q { a(y: Int! = 1): Int } enum E { A } input I { n: Int! m: Int! }"), ["E.B", "I(n)", "Q.a", "Q.a(x)", "Q.b", "I(m)"]);
    assert_eq!(breaks("type Q { a(x: Int, y: Int!, z: Int!): String b: E } enum E { A B } scalar I"), ["I", "I(n)", "Q.a(y)", "Q.a(z)"]);
}
