//! JSON of answers. Parts of an answer that were written already stand in its tree of values as bytes, which no scalar of the schema is.

use async_graphql::Value;
use serde::Serialize;

/// A value that was written already.
#[must_use]
pub fn written(text: Vec<u8>) -> Value {
    Value::Binary(text.into())
}

/// A value as others read it.
#[must_use]
pub fn read(value: &Value) -> serde_json::Value {
    let mut out = Vec::new();
    write(value, &mut out);
    serde_json::from_slice(&out).unwrap_or_default()
}

/// Writes a value.
pub fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Binary(written) => out.extend_from_slice(written),
        Value::List(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            out.push(b'{');
            for (at, (name, value)) in fields.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                key(name, out);
                write(value, out);
            }
            out.push(b'}');
        }
        leaf => serialize(leaf, out),
    }
}

/// Writes what comes in front of a member's value.
pub fn key(name: &str, out: &mut Vec<u8>) {
    serialize(&name, out);
    out.push(b':');
}

/// Writes anything else.
pub fn serialize(value: &impl Serialize, out: &mut Vec<u8>) {
    let begun = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(begun);
        out.extend_from_slice(b"null");
    }
}

/// Writes null.
pub fn null(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null");
}
