//! What a file is, by its first bytes.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::Unreadable;

/// How many bytes tell what a file is.
pub(super) const HEAD: usize = 4096;

/// What holds the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gzip,
    Zip,
    Text,
}

const AS_TABLE: &str = "save it as .xlsx or CSV";
const UNPACK: &str = "unpack it and import the table in it";

/// Beginnings of what is no table.
const OTHERS: [(&[u8], &str, &str); 12] = [
    (b"\xd0\xcf\x11\xe0", "an old .xls workbook or one with a password", "open it in a spreadsheet program, remove the password and save it as .xlsx or CSV"),
    (b"\x09\x08\x10\x00", "a very old .xls workbook", AS_TABLE),
    (b"%PDF", "a PDF", "export the table itself as .xlsx or CSV"),
    (b"{\\rtf", "a text document (RTF)", "export the table itself as .xlsx or CSV"),
    (b"\x89PNG", "a picture", "export the table itself as .xlsx or CSV"),
    (b"\xff\xd8\xff", "a picture", "export the table itself as .xlsx or CSV"),
    (b"Rar!", "a RAR archive", UNPACK),
    (b"7z\xbc\xaf", "a 7-Zip archive", UNPACK),
    (b"\xfd7zXZ", "an XZ archive", UNPACK),
    (b"BZh91AY", "a bzip2 archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", UNPACK),
    (b"SQLite format 3", "a database", "export the table from it as CSV"),
];

/// Tells by at most the first [`HEAD`] bytes.
///
/// # Errors
/// It is empty or known to be no table.
pub(super) fn kind(head: &[u8]) -> Result<Kind, Unreadable> {
    if head.is_empty() {
        return Err(Unreadable::Empty);
    }
    if head.starts_with(b"\x1f\x8b") {
        return Ok(Kind::Gzip);
    }
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Ok(Kind::Zip);
    }
    if let Some((_, what, remedy)) = OTHERS.iter().find(|(begin, ..)| head.starts_with(begin)) {
        return Err(Unreadable::NotATable { what, remedy });
    }
    let (encoding, mark) = Encoding::for_bom(head).unwrap_or((UTF_8, 0));
    let (text, _) = encoding.decode_without_bom_handling(head.get(mark..).unwrap_or_default());
    markup(text.trim_start())?;
    Ok(Kind::Text)
}

/// The encoding that a byte-order mark gives, with the length of the mark.
pub(super) fn mark(head: &[u8]) -> Option<(&'static Encoding, usize)> {
    Encoding::for_bom(head).filter(|(encoding, _)| [UTF_8, UTF_16LE, UTF_16BE].contains(encoding))
}

/// Refuses web pages, XML and JSON.
fn markup(text: &str) -> Result<(), Unreadable> {
    let lower: String = text.chars().take(512).collect::<String>().to_ascii_lowercase();
    if lower.starts_with('<') && lower[1..].starts_with(|next: char| next.is_ascii_alphabetic() || "!?".contains(next)) {
        let page = ["<!doctype", "<html", "<table", "<head", "<meta", "<body"].iter().any(|tag| lower.contains(tag));
        let what = if page { "a web page (HTML)" } else { "an XML file" };
        return Err(Unreadable::NotATable {
            what,
            remedy: "open it in a spreadsheet program and save it as .xlsx or CSV; if it is a login page, export again",
        });
    }
    let next = lower.get(1..).unwrap_or_default().trim_start();
    let object = lower.starts_with('{') && next.starts_with(['"', '}']);
    if object || lower.starts_with('[') && next.starts_with(['{', '[', '"', ']']) {
        return Err(Unreadable::NotATable { what: "a JSON file", remedy: "export the table as .xlsx or CSV" });
    }
    Ok(())
}
