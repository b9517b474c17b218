//! What a document may cost, checked before anything runs: first by a plain scan of its tokens, which no nesting can hurt,
//! then over the parsed document with its fragments expanded.

use std::collections::HashSet;

use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet};

use crate::config::Limits;

/// The names in a document, for telling names from values in messages.
///
/// # Errors
/// The limit that the document exceeds.
pub fn scan<'d>(document: &'d str, limits: &Limits) -> Result<HashSet<&'d str>, String> {
    let bytes = document.as_bytes();
    let (mut i, mut tokens, mut nesting) = (0, 0, 0_usize);
    let mut names = HashSet::new();
    while i < bytes.len() {
        let start = i;
        match bytes[i] {
            b'#' => {
                while i < bytes.len() && !matches!(bytes[i], b'\n' | b'\r') {
                    i += 1;
                }
                continue;
            }
            b' ' | b'\t' | b'\r' | b'\n' | b',' => {
                i += 1;
                continue;
            }
            b'"' if document[i..].starts_with("\"\"\"") => i = block_end(document, i + 3)?,
            b'"' => {
                i += 1;
                while i < bytes.len() && bytes[i] != b'"' {
                    if matches!(bytes[i], b'\n' | b'\r') {
                        return Err("a string of the document does not end".to_owned());
                    }
                    i += if bytes[i] == b'\\' { 2 } else { 1 };
                }
                i += 1;
            }
            b'{' | b'[' | b'(' => {
                nesting += 1;
                if nesting > limits.depth * 3 {
                    return Err(format!("the document nests more than {} levels", limits.depth));
                }
                i += 1;
            }
            b'}' | b']' | b')' => {
                nesting = nesting.saturating_sub(1);
                i += 1;
            }
            b if b.is_ascii_alphabetic() || b == b'_' => {
                while i < bytes.len() && (bytes[i].is_ascii_alphanumeric() || bytes[i] == b'_') {
                    i += 1;
                }
                names.insert(&document[start..i]);
            }
            _ => {
                i += 1;
                while i < bytes.len() && !document.is_char_boundary(i) {
                    i += 1;
                }
            }
        }
        tokens += 1;
        if tokens > limits.tokens {
            return Err(format!("the document has more than {} tokens", limits.tokens));
        }
    }
    Ok(names)
}

/// Behind the block string that begins at `start`; an escaped `\"""` does not end it.
fn block_end(document: &str, start: usize) -> Result<usize, String> {
    let mut at = start;
    while let Some(found) = document[at..].find("\"\"\"") {
        let quotes = at + found;
        if document.as_bytes()[quotes - 1] == b'\\' && quotes > start {
            at = quotes + 3;
        } else {
            return Ok(quotes + 3);
        }
    }
    Err("a string of the document does not end".to_owned())
}

/// What was counted of one operation, fragments expanded.
#[derive(Default)]
struct Spent {
    aliases: usize,
    directives: usize,
    spreads: usize,
    root_fields: usize,
}

/// Checks every operation of a parsed document.
///
/// # Errors
/// The limit that an operation exceeds, or a circle of fragments.
pub fn check(document: &ExecutableDocument, limits: &Limits) -> Result<(), String> {
    for operation in operations(document) {
        let mut spent = Spent { directives: operation.directives.len(), ..Spent::default() };
        walk(document, &operation.selection_set.node, limits, &mut spent, &mut Vec::new(), Depth { levels: 1, lists: None })?;
    }
    Ok(())
}

/// Checks that every subscription of a parsed document that is within its limits asks for one thing (GraphQL, Single Root Field).
///
/// # Errors
/// One asks for several.
pub fn single_root(document: &ExecutableDocument) -> Result<(), String> {
    for operation in operations(document).into_iter().filter(|operation| operation.ty == OperationType::Subscription) {
        let mut names = HashSet::new();
        roots(document, &operation.selection_set.node, &mut names);
        if names.len() > 1 {
            return Err("a subscription asks for one field".to_owned());
        }
    }
    Ok(())
}

fn roots<'d>(document: &'d ExecutableDocument, set: &'d SelectionSet, names: &mut HashSet<&'d str>) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => {
                names.insert(field.node.alias.as_ref().unwrap_or(&field.node.name).node.as_str());
            }
            Selection::InlineFragment(fragment) => roots(document, &fragment.node.selection_set.node, names),
            Selection::FragmentSpread(spread) => {
                if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) {
                    roots(document, &fragment.node.selection_set.node, names);
                }
            }
        }
    }
}

fn operations(document: &ExecutableDocument) -> Vec<&OperationDefinition> {
    match &document.operations {
        DocumentOperations::Single(one) => vec![&one.node],
        DocumentOperations::Multiple(many) => many.values().map(|one| &one.node).collect(),
    }
}

/// How deep a selection is.
#[derive(Clone, Copy)]
struct Depth {
    levels: usize,
    /// Inside of an introspection: how many lists of the schema, each of which leads to all others.
    lists: Option<usize>,
}

impl Depth {
    fn within(self, field: &str) -> Result<Self, String> {
        let lists = match field {
            "__schema" | "__type" => Some(0),
            "fields" | "interfaces" | "possibleTypes" | "inputFields" => self.lists.map(|lists| lists + 1),
            _ => self.lists,
        };
        if lists.is_some_and(|lists| lists > LISTS) {
            return Err("the query follows the schema in circles".to_owned());
        }
        // What clients ask to know a type goes down nine of these, each with one below.
        let level = usize::from(lists.is_none() || field != "ofType");
        Ok(Self { levels: self.levels + level, lists })
    }
}

/// The most lists of the schema within one another, as GraphQL.js has it.
const LISTS: usize = 2;

fn walk<'d>(
    document: &'d ExecutableDocument,
    set: &'d SelectionSet,
    limits: &Limits,
    spent: &mut Spent,
    inside: &mut Vec<&'d str>,
    depth: Depth,
) -> Result<(), String> {
    if depth.levels > limits.depth {
        return Err(format!("the query nests more than {} levels", limits.depth));
    }
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => {
                spent.aliases += usize::from(field.node.alias.is_some());
                spent.directives += field.node.directives.len();
                spent.root_fields += usize::from(depth.levels == 1);
                walk(document, &field.node.selection_set.node, limits, spent, inside, depth.within(&field.node.name.node)?)?;
            }
            Selection::InlineFragment(fragment) => {
                spent.directives += fragment.node.directives.len();
                spent.spreads += 1;
                over(spent, limits)?;
                walk(document, &fragment.node.selection_set.node, limits, spent, inside, depth)?;
            }
            Selection::FragmentSpread(spread) => {
                let name = spread.node.fragment_name.node.as_str();
                spent.directives += spread.node.directives.len();
                spent.spreads += 1;
                over(spent, limits)?;
                if inside.contains(&name) {
                    return Err("fragments form a circle".to_owned());
                }
                if let Some(fragment) = document.fragments.get(name) {
                    inside.push(name);
                    walk(document, &fragment.node.selection_set.node, limits, spent, inside, depth)?;
                    inside.pop();
                }
            }
        }
        over(spent, limits)?;
    }
    Ok(())
}

fn over(spent: &Spent, limits: &Limits) -> Result<(), String> {
    for (count, most, what) in [
        (spent.aliases, limits.aliases, "aliases"),
        (spent.directives, limits.directives, "directives"),
        (spent.spreads, limits.spreads, "fragments"),
        (spent.root_fields, limits.root_fields, "root fields"),
    ] {
        if count > most {
            return Err(format!("the query has more than {most} {what}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::parser::parse_query;

    fn verdict(document: &str) -> Result<(), String> {
        let limits = Limits::default();
        scan(document, &limits)?;
        check(&parse_query(document).map_err(|e| e.to_string())?, &limits)
    }

    #[test]
    fn abusive_documents_are_refused() {
        assert!(verdict("{ me { subject } }").is_ok());
        let deep = format!("{}x{}", "{a".repeat(3_000), "}".repeat(3_000));
        assert!(verdict(&deep).unwrap_err().contains("nests"));
        // The scan and the parser must agree on where comments and strings end.
        for blind in ["#\r", "\"\"\"\\\"\"\" \"\"\"", "# \u{2028}\n", "\"\" "] {
            assert!(verdict(&format!("{blind}{deep}")).unwrap_err().contains("nests"), "{blind:?}");
        }
        for open in ["\"\"\" ", "\"", "{ a(b: \"\"\"abc\" "] {
            assert!(verdict(&format!("{open}\n{deep}")).unwrap_err().contains("does not end"), "{open:?}");
        }
        let nested = format!("{}x{}", "{a".repeat(20), "}".repeat(20));
        assert!(verdict(&nested).unwrap_err().contains("nests"));
        let aliases = (0..40).map(|i| format!("a{i}: subject")).collect::<Vec<_>>().join(" ");
        assert!(verdict(&format!("{{ me {{ {aliases} }} }}")).unwrap_err().contains("aliases"));
        let wide = (0..40).map(|i| format!("f{i}")).collect::<Vec<_>>().join(" ");
        assert!(verdict(&format!("{{ {wide} }}")).unwrap_err().contains("root fields"));
        assert!(verdict(&"a ".repeat(3_000)).unwrap_err().contains("tokens"));
        assert!(verdict("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }").unwrap_err().contains("circle"));
        // 2^20 spreads in a few lines
        let bomb = (0..20).map(|i| format!("fragment F{i} on Query {{ ...F{} ...F{} }}", i + 1, i + 1)).collect::<Vec<_>>().join(" ");
        assert!(verdict(&format!("{{ ...F0 }} {bomb} fragment F20 on Query {{ __typename }}")).is_err());
        let circles = "fields { type { ".repeat(3);
        assert!(verdict(&format!("{{ __schema {{ types {{ {circles} name }} }} }} }} }} }} }} }} }}")).unwrap_err().contains("circles"));
        let named = "ofType { name ".repeat(9);
        assert!(verdict(&format!("{{ __schema {{ types {{ fields {{ args {{ type {{ {named} {} }} }} }} }} }} }}", "}".repeat(9))).is_ok());
        let directives = "@skip(if: false) ".repeat(60);
        assert!(verdict(&format!("{{ me {directives} {{ subject }} }}")).unwrap_err().contains("directives"));
    }

    #[test]
    fn a_subscription_asks_for_one_thing() {
        let verdict = |document: &str| single_root(&parse_query(document).unwrap());
        for one in ["subscription { a { x } }", "subscription { a { x y } ...F } fragment F on S { a { z } }", "{ a b }"] {
            assert_eq!(verdict(one), Ok(()), "{one}");
        }
        for several in [
            "subscription { a b }",
            "subscription { one: a { x } other: a { x } }",
            "subscription { a ...F } fragment F on S { b }",
            "query Q { a } subscription S { ... { a b } }",
        ] {
            assert!(verdict(several).is_err(), "{several}");
        }
    }

    #[test]
    fn strings_are_no_names() {
        let names = scan("{ find(phone: \"secret 13812345678\") { \"\"\"block\"\"\" name } }", &Limits::default()).unwrap();
        assert!(names.contains("phone") && names.contains("name") && !names.contains("secret") && !names.contains("block"));
    }
}
