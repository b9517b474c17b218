//! Scores the second pass on a file whose truth is known: `matching FILE TRUTH-COLUMN MAPPING`.
//!
//! The file is imported as a user would, with a mapping of its own and no labels; then the pairs of rows that became one
//! customer are compared with the pairs that the truth column says are one.

use std::collections::HashMap;
use std::path::Path;

use tests::program;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, truth, mapping] = &arguments[..] else {
        eprintln!("usage: matching FILE TRUTH-COLUMN MAPPING");
        std::process::exit(2);
    };
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("data").display().to_string(), dir.path().join("rows.csv").display().to_string());
    let run = |arguments: &[&str]| {
        let output = program(&[arguments, &["--data-dir", &data]].concat()).output();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["migrate"]);
    run(&["tenant", "create", "score"]);
    run(&["mapping", "set", mapping, "--tenant", "score", "--source", "scored"]);
    print!("{}", run(&["import", file, "--tenant", "score", "--source", "scored"]));
    run(&["rows", "--tenant", "score", "--out", &out]);

    let truths: Vec<String> = column(Path::new(file), truth);
    let numbers: HashMap<usize, String> = column(Path::new(&out), "row_id")
        .into_iter()
        .zip(column(Path::new(&out), "customer_id"))
        .filter_map(|(row, customer)| Some((row.split_once(':')?.1.parse().ok()?, customer)))
        .collect();
    let systems: Vec<String> = (1..=truths.len()).map(|n| numbers.get(&n).cloned().filter(|id| !id.is_empty()).unwrap_or_else(|| format!("row {n}"))).collect();
    let both: Vec<String> = truths.iter().zip(&systems).map(|(truth, system)| format!("{truth}\n{system}")).collect();
    let (real, found, right) = (pairs(&truths), pairs(&systems), pairs(&both));
    let (precision, recall) = (right / found.max(1.0), right / real.max(1.0));
    println!("precision {precision:.4}  recall {recall:.4}  F1 {:.4}  ({} rows)", 2.0 * precision * recall / (precision + recall).max(1e-9), truths.len());
}

fn column(path: &Path, name: &str) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path).unwrap();
    let at = reader.byte_headers().unwrap().iter().position(|header| header == name.as_bytes()).unwrap_or_else(|| panic!("no column '{name}'"));
    reader.byte_records().map(|row| String::from_utf8_lossy(row.unwrap().get(at).unwrap_or_default()).into_owned()).collect()
}

/// Pairs of rows with an equal value.
fn pairs(values: &[String]) -> f64 {
    let mut times: HashMap<&str, f64> = HashMap::new();
    values.iter().for_each(|value| *times.entry(value).or_default() += 1.0);
    times.values().map(|n| n * (n - 1.0) / 2.0).sum()
}
