//! What is refused, where it says so, and that it never quotes.

use encoding_rs::GB18030;

use super::super::{Limits, look, rows};
use super::{gzip, read, read_within};

#[test]
fn texts_that_are_no_tables() {
    let long = format!("手机,b\n1,{}\n", "13812345678".repeat(20_000));
    let wide = format!("手机,b\n{}\n", "1,".repeat(1_000_000));
    let row_too_long = format!("手机,b\n{}\n", format!("{},", "13812345678".repeat(10_000)).repeat(12));
    let mixed = |first: &[u8], second: &[u8]| [first, second].concat();
    let gb = |text: &str| GB18030.encode(text).0.into_owned();
    let unclosed = "1,x,13812345678,y\n".repeat(400);
    let csv = gzip(b"secret,b\n13812345678,2\n");
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (vec![], &["no rows", "export"]),
        (b"\xef\xbb\xbf \r\n\n".to_vec(), &["no rows"]),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1secret".to_vec(), &["password", ".xlsx or CSV"]),
        (b"%PDF-1.7 secret".to_vec(), &["PDF", "export"]),
        (b" \n<!DOCTYPE html><p>13812345678".to_vec(), &["web page"]),
        (b"\xef\xbb\xbf<html>secret".to_vec(), &["web page"]),
        (b"<table><tr><td>secret".to_vec(), &["web page"]),
        (b"<?xml version='1.0'?><Workbook>secret".to_vec(), &["XML"]),
        (b"{\"phone\": \"13812345678\"}".to_vec(), &["JSON"]),
        (b"[ {\"phone\": 13812345678}]".to_vec(), &["JSON"]),
        (b"a,b\n1,sec\0ret\n".to_vec(), &["line 2", "NUL"]),
        (b"\xff\xfe\x00\x00".to_vec(), &["line 1", "NUL"]),
        (b"\xff\xff\xff,\xff\n".to_vec(), &["line 1", "neither"]),
        (b"\xff\xfe\x00\xd8a\0".to_vec(), &["line 1", "neither"]),
        (mixed("姓名,城市\n张三,北京\n".as_bytes(), &gb("李四,上海\n")), &["line 3", "not UTF-8"]),
        (mixed(&gb("姓名,城市\n张三,北京\n"), "李四,上海\n".as_bytes()), &["line 3", "not GB18030"]),
        ("姓名,城市\n张三,北".as_bytes()[.."姓名,城市\n张三,北".len() - 1].to_vec(), &["line 2", "cut off"]),
        (format!("序号,客户姓名,手机\n1,\"张三,13812345678,x\n{unclosed}").into_bytes(), &["line 2", "column 2", "quote", "close"]),
        (b"a,b\n1,\"secret\n2,x\n3,y\n".to_vec(), &["line 2", "column 2", "copy it again"]),
        (b"a,b\n1,\"x\n2\",\"secret,13812345678\n3,\"y\",1\n".to_vec(), &["line 3", "column 3", "quote"]),
        (long.into_bytes(), &["line 2", "column 2", "128 KiB"]),
        (wide.into_bytes(), &["line 2", "2000 columns"]),
        (row_too_long.into_bytes(), &["line 2", "1024 KiB"]),
        (gzip(b""), &["no rows"]),
        (gzip(&csv), &["in a .gz"]),
        (csv[..csv.len() - 9].to_vec(), &["cut off", "copy it again"]),
        (csv[..12].to_vec(), &["cut off", "copy it again"]),
        (mixed(&csv, b"secret behind"), &["damaged", "copy it again"]),
        (gzip(b"a,b\n1,\0\n"), &["line 2", "NUL"]),
    ];
    for (bytes, words) in cases {
        let problem = read(&bytes).map(|(look, rows)| (look, rows.len())).unwrap_err().to_string();
        assert!(words.iter().all(|word| problem.contains(word)), "{words:?}: {problem}");
        assert!(!["13812345678", "secret", "张三", "李四"].iter().any(|cell| problem.contains(cell)), "{problem}");
    }
}

#[test]
fn rows_before_a_problem_come_and_none_behind() {
    let bytes = b"a,b\n1,2\n3,\"4\n5,6\n".to_vec();
    let mut file = std::io::Cursor::new(bytes);
    let limits = Limits::default();
    let found = look(&mut file, None, &limits).unwrap();
    let mut rows = rows(&found, file, &limits).unwrap();
    assert!(rows.next().unwrap().is_ok() && rows.next().unwrap().is_ok());
    assert!(rows.next().unwrap().is_err());
    assert!(rows.next().is_none() && rows.next().is_none());
}

#[test]
fn bombs_are_refused() {
    let bomb = gzip(&b"a,b,c\n1,2,3\n".repeat(8_000_000));
    let problem = read(&bomb).map(|(look, _)| look).unwrap_err().to_string();
    assert!(problem.contains("200 times"), "{problem}");
    let one_line = gzip(&vec![b'x'; 100 << 20]);
    assert!(read(&one_line).is_err());
    let limits = Limits { inflated_bytes: 1 << 20, ..Limits::default() };
    let problem = read_within(&gzip(&b"a,b,c\n".repeat(1 << 18)), None, &limits).unwrap_err().to_string();
    assert!(problem.contains("1 MiB") && problem.contains("split"), "{problem}");
}
