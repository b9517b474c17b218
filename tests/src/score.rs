//! Scores what became of every row against the known truth of the bundled sample.

use std::collections::HashMap;
use std::path::Path;

/// How good the intake was.
#[derive(Debug, Default)]
pub struct Score {
    pub rows: usize,
    pub rejection_f1: f64,
    pub right_reason: f64,
    pub linking_f1: f64,
    pub over_merged: usize,
    pub exhibition_f1: f64,
    pub standardised: HashMap<&'static str, f64>,
}

type Row = HashMap<String, String>;

fn read(path: &Path) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

fn f1(tp: usize, fp: usize, fn_: usize) -> f64 {
    if tp == 0 { 0.0 } else { 2.0 * tp as f64 / (2 * tp + fp + fn_) as f64 }
}

/// Pairs of rows of one person that are in one cluster, against pairs that should be.
fn linking(pairs: &[(String, String)]) -> (f64, usize) {
    let count = |keys: Vec<String>| {
        let mut times: HashMap<String, usize> = HashMap::new();
        keys.into_iter().for_each(|key| *times.entry(key).or_default() += 1);
        times.values().map(|n| n * (n - 1) / 2).sum::<usize>()
    };
    let truth = count(pairs.iter().map(|(person, _)| person.clone()).collect());
    let found = count(pairs.iter().map(|(_, cluster)| cluster.clone()).collect());
    let both = count(pairs.iter().map(|(person, cluster)| format!("{person} {cluster}")).collect());
    let mut persons: HashMap<&str, Vec<&str>> = HashMap::new();
    for (person, cluster) in pairs {
        let of = persons.entry(cluster).or_default();
        if !of.contains(&person.as_str()) {
            of.push(person);
        }
    }
    (f1(both, found - both, truth - both), persons.values().filter(|of| of.len() > 1).count())
}

pub fn score(truth: &Path, system: &Path) -> Score {
    let system: HashMap<String, Row> = read(system).into_iter().map(|row| (row["row_id"].clone(), row)).collect();
    let (mut tp, mut fp, mut missed, mut right) = (0, 0, 0, 0);
    let (mut xtp, mut xfp, mut xfn) = (0, 0, 0);
    let (mut linkable, mut exact) = (Vec::new(), HashMap::<&'static str, (usize, usize)>::new());
    for truth in read(truth) {
        let Some(row) = system.get(&truth["row_id"]) else { continue };
        let (rejected, expected) = (row["rejected"] == "1", truth["expected"].as_str());
        match (expected, rejected) {
            ("reject", true) => {
                tp += 1;
                right += usize::from(row["reject_reason"] == truth["reject_reason"]);
            }
            ("reject", false) => missed += 1,
            ("keep", true) => fp += 1,
            _ => {}
        }
        if expected == "reject" {
            continue;
        }
        if truth["source"] == "sales" {
            let (want, have) = (truth["flags"].contains("exhibition"), row["flags"].contains("exhibition"));
            xtp += usize::from(want && have);
            xfp += usize::from(have && !want);
            xfn += usize::from(want && !have);
        }
        if truth["linkable"] == "1" && !truth["person_id"].is_empty() {
            let cluster = if rejected || row["customer_id"].is_empty() { truth["row_id"].clone() } else { row["customer_id"].clone() };
            linkable.push((truth["person_id"].clone(), cluster));
        }
        for field in ["name", "phone", "email", "date", "industry", "address", "amount"] {
            let want = &truth[&format!("exp_{field}")];
            let concerns = match field {
                "name" => !want.is_empty(),
                "address" => !want.is_empty() && ["ecom", "shop"].contains(&truth["source"].as_str()),
                "amount" => ["ecom", "shop"].contains(&truth["source"].as_str()),
                "industry" => truth["source"] == "sales",
                _ => true,
            };
            if concerns && !rejected {
                let close = |a: &str, b: &str| matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if (a - b).abs() < 0.06);
                let equal = row[field] == *want || (field == "amount" && close(&row[field], want));
                let slot = exact.entry(field).or_default();
                *slot = (slot.0 + usize::from(equal), slot.1 + 1);
            }
        }
    }
    let (linking_f1, over_merged) = linking(&linkable);
    Score {
        rows: system.len(),
        rejection_f1: f1(tp, fp, missed),
        right_reason: right as f64 / tp.max(1) as f64,
        linking_f1,
        over_merged,
        exhibition_f1: f1(xtp, xfp, xfn),
        standardised: exact.into_iter().map(|(field, (equal, all))| (field, equal as f64 / all as f64)).collect(),
    }
}
