//! Whatever the bytes, there are rows or a problem, never a panic.

use std::io::{Cursor, Read};

use proptest::prelude::*;
use rust_xlsxwriter::Workbook;
use zip::ZipArchive;

use super::super::{CELL_BYTES, COLUMNS};
use super::books::with_part;
use super::{Row, gzip, read};

fn samples() -> Vec<Vec<u8>> {
    let csv = "标题,,\n姓名,手机,备注\n张三,13812345678,\"两行\n备注\"\n\"李\"\"四\",13912345679,x\r\n";
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.write_row(0, 0, ["name", "phone"]).unwrap().write_row(1, 0, ["Li", "13812345678"]).unwrap().write(2, 0, 45_000.5).unwrap();
    let book = book.save_to_buffer().unwrap();
    let gb = encoding_rs::GB18030.encode(csv).0.into_owned();
    vec![csv.as_bytes().to_vec(), gb, gzip(csv.as_bytes()), gzip(&book), book]
}

fn sound(rows: &[Row]) -> bool {
    let in_order = rows.windows(2).all(|two| two[0].line < two[1].line);
    in_order
        && rows.iter().all(|row| {
            row.cells.len() <= COLUMNS && row.cells.last().is_none_or(|cell| !cell.is_empty()) && row.cells.iter().all(|cell| cell.len() <= CELL_BYTES)
        })
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let magic: [&[u8]; 4] = [b"", b"\x1f\x8b\x08\0", b"PK\x03\x04", b"\xff\xfe"];
        for begin in magic {
            if let Ok((_, rows)) = read(&[begin, &bytes].concat()) {
                prop_assert!(sound(&rows));
            }
        }
    }

    #[test]
    fn mutated_samples(which in 0_usize..5, changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0_u8..4), 1..8)) {
        let mut bytes = samples().swap_remove(which);
        for (at, byte, how) in changes {
            let at = at.index(bytes.len().max(1));
            if bytes.is_empty() {
                break;
            }
            match how {
                0 => bytes[at] = byte,
                1 => { bytes.remove(at); }
                2 => bytes.insert(at, byte),
                _ => bytes.truncate(at + 1),
            }
        }
        if let Ok((_, rows)) = read(&bytes) {
            prop_assert!(sound(&rows));
        }
    }

    #[test]
    fn mutated_parts(which in 0_usize..4, changes in proptest::collection::vec((any::<proptest::sample::Index>(), "[<>/A-Za-z0-9=\" ]{0,4}"), 1..4)) {
        let book = samples().pop().unwrap_or_default();
        let name = ["xl/worksheets/sheet1.xml", "xl/sharedStrings.xml", "xl/styles.xml", "xl/workbook.xml"][which];
        let mut part = String::new();
        ZipArchive::new(Cursor::new(&book)).unwrap().by_name(name).unwrap().read_to_string(&mut part).unwrap();
        for (at, text) in changes {
            let at = at.index(part.len());
            part.replace_range(at..(at + text.len()).min(part.len()), &text);
        }
        if let Ok((_, rows)) = read(&with_part(&book, name, part.as_bytes())) {
            prop_assert!(sound(&rows));
        }
    }

    #[test]
    fn texts_give_what_the_csv_crate_gives(text in "([a-c,\"\n张]|\r\n){0,60}") {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let theirs: Vec<(u64, Vec<String>)> = reader.records().map(|record| {
            let record = record.unwrap();
            let at = record.position().unwrap();
            // Behind a line that ended in CR LF their reader stands between the two, and before empty lines that it passes over.
            let skipped = text[usize::try_from(at.byte()).unwrap()..].bytes().take_while(|byte| matches!(byte, b'\r' | b'\n')).filter(|byte| *byte == b'\n').count();
            let mut cells: Vec<String> = record.iter().map(str::to_owned).collect();
            cells.truncate(cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |at| at + 1));
            (at.line() + skipped as u64, cells)
        }).collect();
        // We refuse quotes that are not closed, and look for the delimiter.
        if let Ok((look, ours)) = read(text.as_bytes()) && super::delimiter(&look) == ',' {
            prop_assert_eq!(ours.into_iter().map(|row| (row.line, row.cells)).collect::<Vec<_>>(), theirs);
        }
    }
}
