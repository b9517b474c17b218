//! Mappings and sources as text that people write: TOML and JSON, with errors that say where and what instead.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Mapping, Source};

/// Why a text is no mapping: where it goes wrong and what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    /// The line, from 1.
    pub line: usize,
    /// The key whose value is wrong, where one is.
    pub key: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for FileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { line, key, what } = self;
        match key {
            Some(key) => write!(f, "line {line}, '{key}': {what}"),
            None => write!(f, "line {line}: {what}"),
        }
    }
}

impl std::error::Error for FileError {}

impl Mapping {
    /// Reads a mapping from TOML. It is not [checked](Self::check).
    ///
    /// # Errors
    /// The line, the key and what is wrong.
    pub fn from_toml(text: &str) -> Result<Self, FileError> {
        read_toml(text)
    }

    /// Reads a mapping from JSON. It is not [checked](Self::check).
    ///
    /// # Errors
    /// The line, the key and what is wrong.
    pub fn from_json(text: &str) -> Result<Self, FileError> {
        read_json(text)
    }

    /// Writes the mapping as TOML.
    ///
    /// # Errors
    /// None for a mapping: everything in it can be written.
    pub fn to_toml(&self) -> Result<String, FileError> {
        write_toml(self)
    }

    /// Writes the mapping as JSON.
    ///
    /// # Errors
    /// None for a mapping: everything in it can be written.
    pub fn to_json(&self) -> Result<String, FileError> {
        write_json(self)
    }
}

impl Source {
    /// Reads a source with its mapping from TOML.
    ///
    /// # Errors
    /// The line, the key and what is wrong.
    pub fn from_toml(text: &str) -> Result<Self, FileError> {
        read_toml(text)
    }

    /// Reads a source with its mapping from JSON.
    ///
    /// # Errors
    /// The line, the key and what is wrong.
    pub fn from_json(text: &str) -> Result<Self, FileError> {
        read_json(text)
    }

    /// Writes the source as TOML.
    ///
    /// # Errors
    /// None for a source: everything in it can be written.
    pub fn to_toml(&self) -> Result<String, FileError> {
        write_toml(self)
    }

    /// Writes the source as JSON.
    ///
    /// # Errors
    /// None for a source: everything in it can be written.
    pub fn to_json(&self) -> Result<String, FileError> {
        write_json(self)
    }
}

fn read_toml<T: DeserializeOwned>(text: &str) -> Result<T, FileError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        FileError { line: before.matches('\n').count() + 1, key: key_before(before, '='), what: one_line(error.message()) }
    })
}

fn read_json<T: DeserializeOwned>(text: &str) -> Result<T, FileError> {
    serde_json::from_str(text).map_err(|error| {
        let start: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let before = text.get(..start + error.column()).unwrap_or_default();
        // The error stands behind the value, here a string; the key stands before it.
        let value = before.strip_suffix('"').and_then(|open| open.rfind('"'));
        let what = error.to_string();
        let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what);
        FileError { line: error.line().max(1), key: value.and_then(|at| key_before(&before[..at], ':')), what: one_line(what) }
    })
}

fn write_toml(value: &impl Serialize) -> Result<String, FileError> {
    toml::to_string(value).map_err(|error| FileError { line: 1, key: None, what: error.to_string() })
}

fn write_json(value: &impl Serialize) -> Result<String, FileError> {
    serde_json::to_string_pretty(value).map_err(|error| FileError { line: 1, key: None, what: error.to_string() })
}

/// The key that stands, with `sign`, right before a value.
fn key_before(before: &str, sign: char) -> Option<String> {
    let key = before.trim_end().strip_suffix(sign)?.trim_end().trim_end_matches(['"', '\'']);
    let start = key.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').map_or(0, |at| at + key[at..].chars().next().map_or(1, char::len_utf8));
    Some(key[start..].to_owned()).filter(|key| !key.is_empty())
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Column, Comparator, Target, Tells, standard};
    use proptest::prelude::*;

    const TOML: &str = r#"
tells = "membership"

[[columns]]
header = "门店"
to = "place"
fill_down = true

[[columns]]
header = "手机"
to = "phone"

[[columns]]
header = "出生日期"
compare = "date"
"#;

    #[test]
    fn a_mapping_reads_from_toml_and_json() {
        let mapping = Mapping::from_toml(TOML).unwrap();
        assert_eq!(mapping.columns.len(), 3);
        assert_eq!(mapping.columns[0], Column { header: "门店".to_owned(), to: Some(Target::Place), fill_down: true, compare: None });
        assert_eq!(mapping.columns[2].compare, Some(Comparator::Date));
        assert_eq!(Mapping::from_json(&mapping.to_json().unwrap()), Ok(mapping.clone()));
        for source in standard().unwrap() {
            assert_eq!(Source::from_toml(&source.to_toml().unwrap()), Ok(source.clone()));
            assert_eq!(Source::from_json(&source.to_json().unwrap()), Ok(source));
        }
    }

    #[test]
    fn a_field_that_does_not_exist_is_named_with_its_line_and_the_nearest() {
        let toml = Mapping::from_toml(&TOML.replace("\"phone\"", "\"fone\"")).unwrap_err();
        assert_eq!((toml.line, toml.key.as_deref()), (11, Some("to")), "{toml}");
        let inline = Mapping::from_toml("tells = \"order\"\ncolumns = [{ header = \"a = b\", to = \"mobil\" }]").unwrap_err();
        assert_eq!((inline.line, inline.key.as_deref()), (2, Some("to")), "{inline}");
        let json = Mapping::from_json("{\"tells\": \"order\",\n \"columns\": [\n  {\"header\": \"手机\",\n   \"to\" : \"fone\"\n\n}\n]}").unwrap_err();
        assert_eq!((json.line, json.key.as_deref()), (4, Some("to")), "{json}");
        for error in [toml, json] {
            let told = error.to_string();
            assert!(told.contains("'fone' is no standard field; did you mean 'phone'?") && told.contains("external_id, name, given_name"), "{told}");
        }
    }

    #[test]
    fn other_mistakes_are_told_with_their_line() {
        for (text, line, words) in [
            (TOML.replace("fill_down", "fil_down"), 7, "fil_down"),
            (TOML.replace("\"date\"", "\"dates\""), 15, "`date`"),
            (TOML.replace("membership", "nothing"), 2, "`follow_up`"),
            (TOML.replace("header = \"手机\"", "header = 5"), 10, "expected a string"),
            (TOML.replace("header = \"手机\"\n", ""), 9, "header"),
            (TOML.replace("[[columns]]", "[[columns]"), 4, ""),
            ("columns = []".to_owned(), 1, "tells"),
            (String::new(), 1, "tells"),
        ] {
            let error = Mapping::from_toml(&text).unwrap_err();
            assert!(error.line == line && error.what.contains(words), "{error}");
        }
        for (text, line, words) in [
            ("", 1, "EOF"),
            ("{\n\"tells\": \"order\"\n}", 3, "columns"),
            ("{\"tells\": \"order\",\n\"columns\": [{\"header\": \"x\", \"too\": \"phone\"}]}", 2, "too"),
            ("{\"tells\": \"order\",\n\"columns\": [{\"header\": \"x\", \"to\": 5}]}", 2, "name of a standard field"),
        ] {
            let error = Mapping::from_json(text).unwrap_err();
            assert!(error.line == line && error.what.contains(words), "{error}");
        }
    }

    fn column() -> impl Strategy<Value = Column> {
        let compare = [Comparator::Name, Comparator::Organisation, Comparator::Words, Comparator::Digits, Comparator::Date, Comparator::Exact];
        ("(?s).{0,20}", prop::option::of(prop::sample::select(Target::ALL.to_vec())), any::<bool>(), prop::option::of(prop::sample::select(compare.to_vec())))
            .prop_map(|(header, to, fill_down, compare)| Column { header, to, fill_down, compare })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(columns in prop::collection::vec(column(), 0..8), tells in prop::sample::select(vec![Tells::Order, Tells::FollowUp])) {
            let mapping = Mapping { tells, columns };
            prop_assert_eq!(Mapping::from_toml(&mapping.to_toml().unwrap()), Ok(mapping.clone()));
            prop_assert_eq!(Mapping::from_json(&mapping.to_json().unwrap()), Ok(mapping));
        }

        #[test]
        fn any_text_gets_an_answer(text in "(?s).{0,60}", key in "[\"']?[a-zé名_]{0,4}[\"']? ?[=:] ?[\"']?[a-zé名]{0,4}[\"'\\n}]*") {
            for text in [&text, &key, &format!("{{\"tells\": \"order\", {key}")] {
                prop_assert!(Mapping::from_toml(text).is_err());
                prop_assert!(Mapping::from_json(text).is_err());
            }
        }
    }
}
