//! Files as they come: encoding, delimiter and header are found by looking.

use policy::mapping::{Mapping, header_key};

/// A row with the line of the file where it begins.
pub struct Row {
    /// Counted from 1.
    pub line: u64,
    /// The cells, as text.
    pub cells: Vec<String>,
}

/// A file, read whole.
pub struct Table {
    /// The encoding that was found.
    pub encoding: &'static str,
    /// The header's cells.
    pub header: Vec<String>,
    /// Everything behind the header, junk included.
    pub rows: Vec<Row>,
}

/// The most bytes of a cell; a spreadsheet's cell holds 32,767 characters.
const LONGEST_CELL: usize = 131_072;

/// How far down the header may be.
const TITLE_LINES: usize = 20;

/// Reads a CSV file whose header is the row, within the first twenty, that knows most columns of the mapping.
///
/// # Errors
/// What is wrong, in words; never a cell.
pub fn table(bytes: &[u8], mapping: &Mapping) -> Result<Table, String> {
    if bytes.starts_with(b"PK\x03\x04") {
        return Err("this is a spreadsheet; save it as CSV".to_owned());
    }
    if bytes.iter().take(4096).filter(|b| **b == 0).count() > 0 {
        return Err("this is not a text file".to_owned());
    }
    let (text, encoding) = decode(bytes)?;
    let mut rows = records(&text, delimiter(&text))?;
    let known: Vec<String> = mapping.columns.iter().map(|column| header_key(&column.header)).collect();
    let matches = |row: &Row| row.cells.iter().filter(|cell| known.contains(&header_key(cell))).count();
    let best = rows.iter().take(TITLE_LINES).enumerate().max_by_key(|(at, row)| (matches(row), std::cmp::Reverse(*at)));
    let at = best.filter(|(_, row)| matches(row) >= 2).map(|(at, _)| at);
    let at = at.ok_or_else(|| {
        format!(
            "none of the first {TITLE_LINES} lines is a header that this source knows ({})",
            mapping.columns.iter().map(|c| c.header.as_str()).collect::<Vec<_>>().join(", ")
        )
    })?;
    let data = rows.split_off(at + 1);
    let header = rows.pop().map(|row| row.cells).unwrap_or_default();
    Ok(Table { encoding, header, rows: data })
}

/// UTF-8, with or without a mark, or GB18030, which holds all of GBK and the four-byte names.
fn decode(bytes: &[u8]) -> Result<(String, &'static str), String> {
    let body = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if let Ok(text) = std::str::from_utf8(body) {
        return Ok((text.to_owned(), "UTF-8"));
    }
    let (text, damaged) = encoding_rs::GB18030.decode_without_bom_handling(body);
    if damaged {
        return Err("it is neither UTF-8 nor GB18030; save it in one of them".to_owned());
    }
    Ok((text.into_owned(), "GB18030"))
}

/// The separator that the first lines have most of.
fn delimiter(text: &str) -> u8 {
    let count = |delimiter: u8| text.lines().take(10).map(|line| line.bytes().filter(|b| *b == delimiter).count()).sum::<usize>();
    [b',', b';', b'\t', b'|'].into_iter().max_by_key(|delimiter| (count(*delimiter), *delimiter == b',')).unwrap_or(b',')
}

fn records(text: &str, delimiter: u8) -> Result<Vec<Row>, String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|problem| format!("line {} is not CSV", problem.position().map_or(0, csv::Position::line)))?;
        // Behind a line that ended in CR LF the reader stands between the two.
        let between = |at: &csv::Position| usize::try_from(at.byte()).is_ok_and(|byte| text.as_bytes().get(byte) == Some(&b'\n'));
        let line = record.position().map_or(0, |at| at.line() + u64::from(between(at)));
        if record.iter().any(|cell| cell.len() > LONGEST_CELL || cell.bytes().filter(|b| *b == b'\n').count() > 200) {
            return Err(format!("line {line}: a quote is not closed, so that the rows behind it run together; close it"));
        }
        rows.push(Row { line, cells: record.iter().map(str::to_owned).collect() });
    }
    if rows.is_empty() { Err("it is empty".to_owned()) } else { Ok(rows) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::mapping::standard;

    fn sales() -> Mapping {
        standard().unwrap().into_iter().find(|source| source.name == "sales").unwrap().mapping
    }

    #[test]
    fn encodings_titles_and_quoted_lines() {
        let csv = "销售台账2024,,\n序号,客户姓名,手机,备注\n1,张三,13812345678,\"两行\n备注\"\n2,𠮷野,13912345679,x\n";
        let plain = table(csv.as_bytes(), &sales()).unwrap();
        assert_eq!((plain.rows.len(), plain.rows[1].line, plain.encoding), (2, 5, "UTF-8"));
        let marked = table(&[b"\xef\xbb\xbf", csv.as_bytes()].concat(), &sales()).unwrap();
        assert_eq!(marked.header[0], "序号");
        let (gb, _, _) = encoding_rs::GB18030.encode(csv);
        let chinese = table(&gb, &sales()).unwrap();
        assert_eq!((chinese.encoding, chinese.rows[1].cells[1].as_str()), ("GB18030", "𠮷野"));
        let windows = table(csv.replace('\n', "\r\n").as_bytes(), &sales()).unwrap();
        assert_eq!((windows.rows[0].line, windows.rows[1].line), (3, 5));
        let tabs = table(csv.replace(',', "\t").as_bytes(), &sales()).unwrap();
        assert_eq!(tabs.rows.len(), 2);
    }

    #[test]
    fn an_unclosed_quote_is_noticed() {
        let rows: String = (0..400).map(|n| format!("{n},x,13812345678,y")).collect::<Vec<_>>().join("\n");
        let problem = table(format!("序号,客户姓名,手机,备注\n1,\"张三,13812345678,x\n{rows}").as_bytes(), &sales()).err().unwrap();
        assert!(problem.contains("line 2") && !problem.contains("138"), "{problem}");
    }

    #[test]
    fn what_is_no_table_is_said_without_its_content() {
        for (bytes, word) in [
            (&b"PK\x03\x04xxxx"[..], "spreadsheet"),
            (b"\xff\xfe\x00\x00", "not a text"),
            (b"", "empty"),
            (b"a,b\nsecret,13812345678\n", "header"),
            (b"\xff\xff\xff,\xff\n", "neither"),
        ] {
            let problem = table(bytes, &sales()).err().unwrap();
            assert!(problem.contains(word) && !problem.contains("13812345678"), "{problem}");
        }
    }
}
