//! Workbooks.

use std::io::{Cursor, Write};

use rust_xlsxwriter::{ExcelDateTime, Format as Style, Formula, Workbook};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::super::{Format, Limits, look, rows};
use super::{gzip, lines, read, read_within, row};

fn sales(rows: u32) -> Vec<u8> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.set_name("封面").unwrap().write(0, 0, "说明").unwrap();
    book.add_worksheet().set_name("旧").unwrap().set_hidden(true).write_row(0, 0, ["姓名", "手机"]).unwrap();
    let (day, moment) = (Style::new().set_num_format("yyyy-mm-dd"), Style::new().set_num_format("yyyy/m/d h:mm"));
    let date = |text| ExcelDateTime::parse_from_str(text).unwrap();
    let sheet = book.add_worksheet();
    sheet.set_name("台账").unwrap().merge_range(0, 0, 0, 3, "销售台账2024", &Style::new()).unwrap();
    sheet.write_row(2, 0, ["姓名", "手机", "金额", "日期", "时间", "有效", "错误", "合计"]).unwrap();
    for at in 3..3 + rows {
        sheet.write(at, 0, "张三").unwrap().write(at, 1, 13_812_345_678_i64).unwrap().write(at, 2, 217.54).unwrap();
        sheet.write_with_format(at, 3, date("2024-05-01"), &day).unwrap().write_with_format(at, 4, date("2024-05-01 16:09:59"), &moment).unwrap();
        sheet.write(at, 5, true).unwrap().write_formula(at, 6, Formula::new("NA()").set_result("#N/A")).unwrap();
        sheet.write_formula(at, 7, Formula::new("1+1").set_result("2")).unwrap().write_blank(at, 9, &day).unwrap();
    }
    book.save_to_buffer().unwrap()
}

#[test]
fn cells_come_as_text() {
    let book = sales(2);
    for (bytes, packed) in [(book.clone(), false), (gzip(&book), true)] {
        let (look, rows) = read(&bytes).unwrap();
        assert_eq!((look.format, look.gzip), (Format::Xlsx { sheet: "台账".to_owned(), others: Vec::new() }, packed));
        assert_eq!(lines(&rows), [1, 2, 3, 4, 5]);
        assert_eq!(rows[0], row(1, &["销售台账2024"]));
        assert_eq!(rows[1], row(2, &[]));
        assert_eq!(rows[3], row(4, &["张三", "13812345678", "217.54", "2024-05-01", "2024-05-01 16:09:59", "TRUE", "", "2"]));
    }
    let known = ["姓名", "手机"].map(str::to_owned).into_iter().collect();
    assert_eq!(read_within(&book, Some(&known), &Limits::default()).unwrap().1.len(), 5);
}

#[test]
fn numbers_have_neither_exponent_nor_noise() {
    let cases = [
        (0.1 + 0.2, "0.3"),
        (-0.0, "0"),
        (1e21, "1000000000000000000000"),
        (2_024_010_112_345_678.0, "2024010112345678"),
        (1.5e-7, "0.00000015"),
        (-89.8, "-89.8"),
    ];
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    for (at, (number, _)) in (0..).zip(cases) {
        sheet.write(at, 0, number).unwrap().write(at, 1, "x").unwrap();
    }
    let (_, rows) = read(&book.save_to_buffer().unwrap()).unwrap();
    for (row, (_, expected)) in rows.iter().zip(cases) {
        assert_eq!(row.cells[0], expected);
    }
}

#[test]
fn many_rows_come_in_order_and_may_be_dropped() {
    let book = sales(3_000);
    let (_, all) = read(&book).unwrap();
    assert_eq!(lines(&all), (1..=3_003).collect::<Vec<_>>());
    let found = look(&mut Cursor::new(&book), None, &Limits::default()).unwrap();
    assert_eq!(rows(&found, Cursor::new(book), &Limits::default()).unwrap().take(2).count(), 2);
}

/// The workbook with one part put in place of another or added.
pub(super) fn with_part(book: &[u8], name: &str, content: &[u8]) -> Vec<u8> {
    let mut old = ZipArchive::new(Cursor::new(book)).unwrap();
    let mut new = ZipWriter::new(Cursor::new(Vec::new()));
    for at in 0..old.len() {
        let part = old.by_index_raw(at).unwrap();
        if part.name().unwrap() != name {
            new.raw_copy_file(part).unwrap();
        }
    }
    new.start_file(name, SimpleFileOptions::default()).unwrap();
    new.write_all(content).unwrap();
    new.finish().unwrap().into_inner()
}

fn sheet(cells: &str) -> Vec<u8> {
    let xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><worksheet><sheetData>{cells}</sheetData></worksheet>");
    with_part(&sales(1), "xl/worksheets/sheet3.xml", xml.as_bytes())
}

#[test]
fn workbooks_that_are_refused() {
    let book = sales(20);
    let limits = Limits { workbook_bytes: 16 << 20, strings_bytes: 1 << 20, buffer_bytes: 4 << 10, ..Limits::default() };
    let cell = |at: &str, text: &str| format!("<row r=\"2\"><c r=\"{at}\" t=\"inlineStr\"><is><t>{text}</t></is></c></row>");
    let strings = |count: &str| format!("<sst uniqueCount=\"{count}\"><si><t>secret</t></si></sst>").into_bytes();
    let mut other = ZipWriter::new(Cursor::new(Vec::new()));
    other.start_file("secret.csv", SimpleFileOptions::default()).unwrap();
    let header = "<row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>名</t></is></c><c r=\"B1\" t=\"inlineStr\"><is><t>号</t></is></c></row>";
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (book[..book.len() - 40].to_vec(), &["cut off", "copy it again"]),
        (book[..200].to_vec(), &["cut off"]),
        (b"PK\x03\x04xxxx".to_vec(), &["cut off"]),
        (other.finish().unwrap().into_inner(), &["ZIP archive", "unpack"]),
        (with_part(&book, "xl/workbook.bin", b"secret"), &[".xlsb", "CSV"]),
        (with_part(&book, "xl/media/a.xml", &vec![b' '; 17 << 20]), &["16 MiB", "CSV"]),
        (with_part(&book, "xl/sharedStrings.xml", &vec![b'<'; 2 << 20]), &["text of the workbook", "1 MiB"]),
        (with_part(&book, "xl/sharedStrings.xml", &strings("99999999999")), &["damaged", "save it again"]),
        (with_part(&book, "xl/workbook.xml", b"\xff\xfe<\0s\0"), &["damaged"]),
        (with_part(&book, "xl/workbook.xml", b"<!DOCTYPE x [<!ENTITY a \"secret\">]><workbook/>"), &["damaged"]),
        (with_part(&book, "xl/workbook.xml", b"<?xml version='1.0' encoding='gbk'?><workbook/>"), &["damaged"]),
        (with_part(&book, "xl/workbook.xml", b"<workbook><sheets></sheets></workbook>"), &["no such visible sheet"]),
        (gzip(&book), &[".gz", "unpack it"]),
        (sheet(&format!("{header}{}", cell("BXY2", "x"))), &["line 2", "2000 columns"]),
        (sheet(&format!("{header}{}", cell("C2", &"13812345678".repeat(20_000)))), &["line 2", "column 3", "128 KiB"]),
        (sheet(&format!("{header}<row r=\"2\"><c r=\"A2\" t=\"s\"><v>99</v></c></row>")), &["row 1", "damaged"]),
        (sheet(&format!("{header}<row r=\"2\"><c r=\"ZZZZZZZZZZ2\"><v>1</v></c></row>")), &["damaged", "save it again"]),
        (with_part(&book, "xl/worksheets/sheet3.xml", b"<worksheet><sheetData><row r=\"1\"><c r=\"A1\"><v>13812345678</v></c>"), &["row 1", "damaged"]),
    ];
    for (bytes, words) in cases {
        let problem = read_within(&bytes, None, &limits).map(|(look, rows)| (look, rows.len())).unwrap_err().to_string();
        assert!(words.iter().all(|word| problem.contains(word)), "{words:?}: {problem}");
        assert!(!["13812345678", "secret", "张三"].iter().any(|cell| problem.contains(cell)), "{problem}");
    }
    let bomb = with_part(&book, "xl/media/a.xml", &vec![b' '; 70 << 20]);
    assert!(read(&bomb).unwrap_err().to_string().contains("200 times"));
}

#[test]
fn gaps_and_dates_of_all_kinds() {
    let header = "<row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>名</t></is></c><c r=\"B1\" t=\"inlineStr\"><is><t>号</t></is></c></row>";
    let blank = "<row r=\"3\"><c r=\"A3\" s=\"0\"/></row>";
    let cells = "<row r=\"5\"><c r=\"A5\" t=\"d\"><v>2024-05-01T00:00:00.000Z</v></c><c r=\"C5\" t=\"d\"><v>2024-05-01T10:20:30Z</v></c><c r=\"D5\" t=\"e\"><v>#SPILL!</v></c></row>\
                 <row r=\"9000\"><c r=\"B9000\"><v>1</v></c></row>";
    let (_, rows) = read(&sheet(&format!("{header}{blank}{cells}"))).unwrap();
    assert_eq!(rows[4], row(5, &["2024-05-01", "", "2024-05-01 10:20:30"]));
    assert_eq!((rows.len(), rows[5].clone()), (6, row(9_000, &["", "1"])));
}
