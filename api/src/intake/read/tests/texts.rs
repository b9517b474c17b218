//! CSV files as they come.

use std::collections::BTreeSet;

use encoding_rs::GB18030;
use policy::mapping::header_key;

use super::super::header;
use super::{delimiter, gzip, lines, read, row};

const SALES: &str = "销售台账2024,,\n序号,客户姓名,手机,备注\n1,张三,13812345678,\"两行\n备注\"\n2,𠮷野,13912345679,x\n";

fn keys(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| header_key(name)).collect()
}

#[test]
fn encodings_titles_and_quoted_lines() {
    let utf16 = |swap: bool| -> Vec<u8> {
        format!("\u{feff}{SALES}").encode_utf16().flat_map(|unit| if swap { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    };
    let forms = [
        (SALES.as_bytes().to_vec(), "UTF-8"),
        ([b"\xef\xbb\xbf", SALES.as_bytes()].concat(), "UTF-8"),
        (GB18030.encode(SALES).0.into_owned(), "GB18030"),
        (utf16(false), "UTF-16LE"),
        (utf16(true), "UTF-16BE"),
    ];
    for (bytes, encoding) in forms {
        for packed in [false, true] {
            let bytes = if packed { gzip(&bytes) } else { bytes.clone() };
            let (look, rows) = read(&bytes).unwrap();
            assert_eq!((look.encoding, look.gzip, look.bytes), (encoding, packed, bytes.len() as u64));
            assert_eq!(lines(&rows), [1, 2, 3, 5], "{encoding}");
            assert_eq!(rows[0], row(1, &["销售台账2024"]));
            assert_eq!(rows[2].cells, ["1", "张三", "13812345678", "两行\n备注"]);
            assert_eq!(rows[3].cells[1], "𠮷野");
            assert_eq!(header(&rows, None), Some(1));
            assert_eq!(header(&rows, Some(&keys(&["手机 ", "客户姓名*", "邮箱"]))), Some(1));
            assert_eq!(header(&rows, Some(&keys(&["手机", "邮箱"]))), None);
        }
    }
}

#[test]
fn line_breaks_of_all_kinds_are_counted() {
    for (breaks, expected) in [("\r\n", [1, 2, 3, 5]), ("\r", [1, 2, 3, 5]), ("\n", [1, 2, 3, 5])] {
        let (_, rows) = read(SALES.replace('\n', breaks).as_bytes()).unwrap();
        assert_eq!(lines(&rows), expected, "{breaks:?}");
    }
    let (_, rows) = read(b"a,b\r\n\r\n\r\n1,2\n,\n\n3,4").unwrap();
    assert_eq!(rows, [row(1, &["a", "b"]), row(4, &["1", "2"]), row(5, &[]), row(7, &["3", "4"])]);
}

#[test]
fn delimiters_are_found_by_what_they_do() {
    for (text, expected) in [
        ("a,b\n1,2\n", ','),
        ("a;b;c\n1,5;2,5;3,5\n1,5;2,5;3,5\n", ';'),
        ("a\tb\n1,000\t2\n", '\t'),
        ("a|b|c\n1|2|3\n", '|'),
        ("only\none\n", ','),
        ("a,b,c\n\"x;y;z;v;w\",1,2\n\"x;y;z;v;w\",1,2\n", ','),
        ("标题；说明\n名,标签\n张,a|b\n李,c|d\n", ','),
        ("a,b,c\n1,2,3|4\n1,2\n1,2,3|5,,\n1,2,3|6\n", ','),
    ] {
        assert_eq!(delimiter(&read(text.as_bytes()).unwrap().0), expected, "{text}");
    }
}

#[test]
fn quotes_are_read_as_spreadsheets_do() {
    let (_, rows) = read(b"a,b,c\n\"x\",\"say \"\"hi\"\"\",\"\"\n5\" disk,\"ab\"c,\"y\n\" ,\n\"\",\"\"\"\",\"\"\n").unwrap();
    assert_eq!(rows[1].cells, ["x", "say \"hi\""]);
    assert_eq!(rows[2].cells, ["5\" disk", "abc", "y\n "]);
    assert_eq!(rows[3], row(5, &["", "\""]));
}

#[test]
fn rows_agree_with_the_csv_crate() {
    let text = "序号,名\n1,\"a\"\"b\"\n\n,,\n\"x\ny\",z\n q,\"r\"s\"\n\"\"\nlast";
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let theirs: Vec<Vec<String>> = reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect();
    let ours = read(text.as_bytes()).unwrap().1;
    let trimmed = |mut cells: Vec<String>| {
        cells.truncate(cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |at| at + 1));
        cells
    };
    assert_eq!(ours.into_iter().map(|row| row.cells).collect::<Vec<_>>(), theirs.into_iter().map(trimmed).collect::<Vec<_>>());
}

#[test]
fn chance_does_not_decide_the_encoding() {
    // The bytes of these GB18030 texts are valid UTF-8 too.
    let by_chance = b"\xc4\xa3\xcb\xae,\xd2\xbb\n";
    assert!(std::str::from_utf8(by_chance).is_ok());
    let mut file = by_chance.to_vec();
    file.extend_from_slice(&GB18030.encode("姓名,城市\n张三,北京\n").0);
    let (look, rows) = read(&file).unwrap();
    assert_eq!((look.encoding, rows[2].cells[1].as_str()), ("GB18030", "北京"));
    let far = "1,abc,13812345678\n".repeat(60_000);
    let (look, rows) = read(&[far.as_bytes(), &GB18030.encode("1,联通,x\n").0].concat()).unwrap();
    assert_eq!((look.encoding, rows.last().unwrap().cells[1].as_str()), ("GB18030", "联通"));
}

#[test]
fn headers_are_told_from_titles_and_data() {
    let table = |rows: &[&[&str]]| rows.iter().map(|cells| row(1, cells)).collect::<Vec<_>>();
    for (rows, expected) in [
        (&[&["会员登记表（2024年汇总）"][..], &["门店", "姓名*", "联系方式"], &["西湖店", "朱旭建", "18391534181"]][..], Some(1)),
        (&[&["导出时间", "2024-01-01 10:00:00"], &["制表", "王"], &["姓名", "手机", "邮箱", "城市"], &["张三", "13812345678", "a@b.cn", "北京"]], Some(2)),
        (&[&["姓名", "城市", "", "性别"], &["张三", "北京", "东城", "女"]], Some(0)),
        (&[&["1", "2"], &["3", "4"]], None),
        (&[], None),
    ] {
        assert_eq!(header(&table(rows), None), expected, "{rows:?}");
    }
    let first = table(&[&["姓名", "手机"], &["姓名", "手机", "邮箱"], &["姓名", "手机", "邮箱"]]);
    assert_eq!(header(&first, Some(&keys(&["姓名", "手机", "邮箱"]))), Some(1));
}

#[test]
fn several_members_and_long_files_come_whole() {
    let part = (0..50_000).map(|n| format!("{n},\"客户{n}\n第二行\",13812345678\n")).collect::<Vec<_>>().concat();
    let (look, rows) = read(&[gzip(part.as_bytes()), gzip(part.as_bytes())].concat()).unwrap();
    assert_eq!((look.gzip, rows.len(), rows[99_999].line), (true, 100_000, 199_999));
    assert_eq!(rows[77_777].cells[1], "客户27777\n第二行");
}
