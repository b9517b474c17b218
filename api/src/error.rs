//! Errors become answers here and nowhere else: one line on the terminal, a coded error over GraphQL. What is not known
//! to be harmless is not said; the log has it.

use async_graphql::{Response, ServerError};
use entity::Unaccounted;
use entity::vault::Unreadable;

/// Why a command stops: one line, with the place and the remedy.
#[derive(Debug)]
pub struct Stop {
    line: String,
    status: u8,
}

impl Stop {
    /// A line.
    pub fn new(line: impl Into<String>) -> Self {
        Self { line: line.into(), status: 1 }
    }

    /// Of whoever compares: nothing was found to be wrong, for a file cannot be read.
    pub fn unread(line: impl Into<String>) -> Self {
        Self { line: line.into(), status: 2 }
    }

    /// The exit status.
    #[must_use]
    pub const fn status(&self) -> u8 {
        self.status
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line)
    }
}

impl From<entity::Error> for Stop {
    fn from(error: entity::Error) -> Self {
        match &error {
            entity::Error::Database(problem) => {
                let text = problem.to_string();
                let remedy = [
                    ("full", "the disk is full; nothing of the last step was written; free space and start again"),
                    ("readonly", "the database is read-only; make its file and directory writable"),
                    ("unable to open", "the database file cannot be opened; check the path and its permissions"),
                    ("not a database", "the database file is not a database; name the right one, or restore a backup"),
                    ("malformed", "the database file is damaged; restore a backup"),
                    ("no such table", "the database has no tables; run `panorama migrate`"),
                    ("locked", "the database is in use by another process; stop that first"),
                    ("authentication failed", "PostgreSQL refuses this user and password; check --database-url"),
                    ("imed out", "the database does not answer; check --database-url and that it runs"),
                    ("onnection refused", "PostgreSQL does not answer; check --database-url and that it runs"),
                ];
                let known = remedy.iter().find(|(sign, _)| text.contains(sign)).map(|(_, line)| (*line).to_owned());
                tracing::error!(error = %text, "database");
                Self::new(known.unwrap_or_else(|| "the database refused; the log (--log debug) says why".to_owned()))
            }
            entity::Error::Denied => Self::new("not permitted to this role".to_owned()),
            _ => Self::new(error.to_string()),
        }
    }
}

impl From<Unaccounted> for Stop {
    fn from(error: Unaccounted) -> Self {
        match error {
            Unaccounted::Failed(error) => error.into(),
            other => Self::new(other.to_string()),
        }
    }
}

impl From<migration::Failed> for Stop {
    fn from(error: migration::Failed) -> Self {
        match error {
            migration::Failed::Newer(_) => Self::new(error.to_string()),
            migration::Failed::Connect(source) | migration::Failed::Migrate(source) => entity::Error::Database(source).into(),
        }
    }
}

impl From<entity::vault::BadKek> for Stop {
    fn from(error: entity::vault::BadKek) -> Self {
        Self::new(error.to_string())
    }
}

/// A code that clients may rely on.
pub type Code = &'static str;

/// Names that messages may quote: those of the schema, and those that stand in the document as names.
pub type Names<'n> = std::collections::HashSet<&'n str>;

/// Makes the errors of an answer fit to leave: a code, a harmless message, at most ten of them.
pub fn finish(response: &mut Response, document_names: &Names<'_>, request: &str) {
    response.errors.truncate(10);
    for error in &mut response.errors {
        let (code, message) = judge(error, document_names, request);
        error.message = message;
        error.source = None;
        error.extensions.get_or_insert_default().set("code", code);
    }
}

fn judge(error: &ServerError, names: &Names<'_>, request: &str) -> (Code, String) {
    if let Some(problem) = error.source::<entity::Error>() {
        return of_entity(problem, request);
    }
    if let Some(problem) = error.source::<Unreadable>() {
        tracing::error!(request, %problem, "a sealed value does not open");
        return internal(request);
    }
    if error.source.is_some() {
        // Not its text: what is not foreseen may quote what the client sent.
        tracing::error!(request, path = ?error.path, "an error of an unforeseen kind");
        return internal(request);
    }
    if error.message.starts_with("Query is too") || error.message.contains("recursion depth") {
        return ("QUERY_TOO_COMPLEX", "the query is too complex; ask for less at once".to_owned());
    }
    let code = if error.path.is_empty() { "GRAPHQL_VALIDATION_FAILED" } else { "BAD_USER_INPUT" };
    (code, unquoted(&error.message, names))
}

fn of_entity(problem: &entity::Error, request: &str) -> (Code, String) {
    match problem {
        entity::Error::Denied => ("FORBIDDEN", "not permitted".to_owned()),
        entity::Error::NotFound => ("NOT_FOUND", "not found".to_owned()),
        entity::Error::Conflict => ("CONFLICT", problem.to_string()),
        entity::Error::Faults(_) => ("BAD_USER_INPUT", problem.to_string()),
        entity::Error::Invalid(message) => ("BAD_USER_INPUT", message.clone()),
        entity::Error::PurposeRequired => ("PURPOSE_REQUIRED", problem.to_string()),
        entity::Error::SearchBudget => {
            ("SEARCH_BUDGET_EXCEEDED", "too many different values were searched for; try again tomorrow, or ask the data steward".to_owned())
        }
        other => {
            tracing::error!(request, error = %other, "failed");
            internal(request)
        }
    }
}

fn internal(request: &str) -> (Code, String) {
    ("INTERNAL_SERVER_ERROR", format!("something went wrong; request {request}"))
}

/// A validation message may quote what the client sent, and that may be personal. Word by word: what is neither a name of the
/// schema or document nor a word of such messages is left out.
fn unquoted(message: &str, names: &Names<'_>) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(c) = rest.chars().next() {
        let width = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if width == 0 {
            out.push(if c.is_ascii() { c } else { '…' });
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let word = &rest[..width];
        out.push_str(if names.contains(word) || WORDS.contains(&word.to_ascii_lowercase().as_str()) { word } else { "…" });
        rest = &rest[width..];
    }
    out
}

/// The words of validation messages.
const WORDS: [&str; 66] = [
    "a",
    "all",
    "already",
    "an",
    "and",
    "are",
    "argument",
    "arguments",
    "as",
    "at",
    "be",
    "but",
    "by",
    "can",
    "cannot",
    "circular",
    "conflict",
    "contain",
    "contains",
    "default",
    "defined",
    "directive",
    "does",
    "duplicate",
    "enumeration",
    "exactly",
    "expected",
    "field",
    "fields",
    "for",
    "found",
    "fragment",
    "fragments",
    "has",
    "have",
    "in",
    "input",
    "invalid",
    "is",
    "it",
    "mandatory",
    "must",
    "name",
    "never",
    "no",
    "not",
    "null",
    "of",
    "on",
    "one",
    "only",
    "operation",
    "or",
    "provided",
    "required",
    "schema",
    "selection",
    "subfields",
    "the",
    "there",
    "to",
    "type",
    "unknown",
    "value",
    "variable",
    "with",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn messages_keep_names_and_lose_values() {
        let names = HashSet::from(["phone", "Customer"]);
        assert_eq!(unquoted("Unknown field \"phone\" on type \"Customer\".", &names), "Unknown field \"phone\" on type \"Customer\".");
        assert_eq!(unquoted("does not contain the value \"13812345678\"", &names), "does not contain the value \"…\"");
        assert_eq!(unquoted("Invalid value 13812345678 王明", &names), "Invalid value … …");
        assert_eq!(unquoted("the value \"x\" Mary Lee\"", &names), "the value \"…\" … …\"");
    }
}
