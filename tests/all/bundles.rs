//! What leaves as a bundle is verified by two programs, of which one is not ours, and whatever is changed in it is found by both.

use std::path::Path;
use std::process::Command;

use entity::audit::{self, Verifier, tree, verify_bundle};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::{Engine, Home, homes, program};

use crate::proof::{looks, noise};

const VERIFIER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/verify_audit.py");

/// Each event of a log changed, one at a time, the manifest with it; in one process, for a thousand of them take their time.
const EDITS: &str = r#"
import hashlib, json, os, sys
sys.path.insert(0, sys.argv[1])
import verify_audit as v
bundle, key = sys.argv[2], v.key_of(sys.argv[3])
path, manifest = os.path.join(bundle, "events.ndjson"), os.path.join(bundle, "manifest.json")
lines, described = open(path, "rb").read().splitlines(True), json.load(open(manifest))
for n, line in enumerate(lines):
    at = line.index(b'"time":"20') + 10
    edited = lines[:n] + [line[:at] + bytes([line[at] ^ 1]) + line[at + 1:]] + lines[n + 1:]
    open(path, "wb").write(b"".join(edited))
    json.dump(dict(described, events_sha256=hashlib.sha256(b"".join(edited)).hexdigest()), open(manifest, "w"))
    try:
        v.verify(bundle, key, None)
        sys.exit(f"event {n} was edited, and nobody noticed")
    except v.Problem as problem:
        assert "root" in str(problem), problem
print(len(lines))
"#;

fn python(bundle: &Path, key: &str, more: &[&str]) -> (Option<i32>, String) {
    let ran = Command::new("python3").args([VERIFIER, bundle.to_str().unwrap(), "--key", key]).args(more).output().unwrap();
    (ran.status.code(), String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned())
}

/// Whether a bundle is verified; both verifiers must say the same.
pub fn verified(bundle: &Path, key: &str) -> bool {
    let checked = verify_bundle(bundle, &Verifier::parse(key).unwrap(), None, &mut |_| {});
    let ours = checked.as_ref().is_ok_and(|checked| checked.findings.is_empty());
    let (code, said) = python(bundle, key, &[]);
    assert_eq!(code == Some(0), ours, "{said} {checked:?}");
    ours
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_and_a_whole_log_are_verified_elsewhere_and_every_change_is_found() {
    for home in homes().await {
        let (_, number) = looks(&home, 5).await;
        let dir = tempfile::tempdir().unwrap();
        let key = home.run(&["audit", "key"]).trim().to_owned();
        let bundle = |name: &str| dir.path().join(name);
        home.run(&["audit", "export", "--tenant", "acme", "--customer", &number, "--out", bundle("answer").to_str().unwrap()]);
        home.run(&["audit", "export", "--tenant", "acme", "--out", bundle("whole").to_str().unwrap()]);
        assert!(home.program(&["audit", "export", "--tenant", "acme", "--out", bundle("whole").to_str().unwrap()]).refusal().contains("there already"));
        for name in ["answer", "whole"] {
            assert!(verified(&bundle(name), &key), "{name}");
            let said = program(&["audit", "verify", "--bundle", bundle(name).to_str().unwrap(), "--key", &key]).output();
            assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).starts_with("verified: "), "{said:?}");
        }
        let missing = program(&["audit", "verify", "--bundle", bundle("nowhere").to_str().unwrap(), "--key", &key]).output();
        assert_eq!(missing.status.code(), Some(2), "what cannot be read is not found to be wrong: {missing:?}");
        let answer = std::fs::read_to_string(bundle("answer").join("events.ndjson")).unwrap();
        assert_eq!(answer.lines().filter(|line| line.contains("\"name\":\"Look\"")).count(), 5);
        let csv = std::fs::read_to_string(bundle("answer").join("events.csv")).unwrap();
        assert!(csv.contains("Customer.phone clear of 2 customers for customer_service"), "{csv}");
        // A wrong key, and one thing after the other changed.
        let other = "panorama/1+d1d9e5a5+AQFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQQ==";
        assert_ne!(python(&bundle("whole"), other, &[]).0, Some(0));
        let changed = |name: &str, file: &str, change: &dyn Fn(&str) -> String| {
            let copied = bundle("changed");
            let _ = std::fs::remove_dir_all(&copied);
            std::fs::create_dir(&copied).unwrap();
            tests::copy(&bundle(name), &copied);
            let text = std::fs::read_to_string(copied.join(file)).unwrap();
            let new = change(&text);
            assert_ne!(text, new, "{name} {file}");
            std::fs::write(copied.join(file), new).unwrap();
            assert!(!verified(&copied, &key), "{name} {file}");
        };
        for name in ["answer", "whole"] {
            changed(name, "events.ndjson", &|text| text.replacen("customer_service", "sales_follow_up", 1));
            changed(name, "events.ndjson", &|text| text.split_inclusive('\n').skip(1).collect());
            changed(name, "events.ndjson", &|text| text.split_inclusive('\n').rev().collect());
            changed(name, "events.ndjson", &|text| format!("{text}{}\n", text.lines().next().unwrap()));
            changed(name, "checkpoint", &|text| text.replacen("panorama/", "panorama/1", 1));
            changed(name, "installation.proof.json", &|text| text.replace("\"index\":", "\"index\":1"));
            changed(name, "manifest.json", &|text| text.replace("\"size\": ", "\"size\": 1"));
        }
        changed("answer", "proofs.ndjson", &|text| text.split_inclusive('\n').rev().collect());
        changed("answer", "manifest.json", &|text| {
            text.replacen("\"subject\": [\n    \"", "\"subject\": [\n    \"f", 1).replace("\"count\": ", "\"count\": 1")
        });
        // It continues an older checkpoint, and says so when it does not.
        looks(&home, 2).await;
        home.run(&["audit", "export", "--tenant", "acme", "--out", bundle("later").to_str().unwrap()]);
        let since = bundle("whole").join("checkpoint");
        assert_eq!(python(&bundle("later"), &key, &["--since", since.to_str().unwrap()]).0, Some(0));
        let ours = |bundle: &Path| {
            let note = std::fs::read_to_string(&since).unwrap();
            verify_bundle(bundle, &Verifier::parse(&key).unwrap(), Some(&note), &mut |_| {}).unwrap().findings.is_empty()
        };
        assert!(ours(&bundle("later")) && !ours(&bundle("answer")));
        assert_eq!(python(&bundle("answer"), &key, &["--since", since.to_str().unwrap()]).0, Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_single_edit_of_a_thousand_events_is_found_by_both_verifiers() {
    let home = Home::of(Engine::Sqlite).await;
    noise(&home, 1_000).await;
    let dir = tempfile::tempdir().unwrap();
    let key = home.run(&["audit", "key"]).trim().to_owned();
    let bundle = dir.path().join("whole");
    home.run(&["audit", "export", "--tenant", "acme", "--out", bundle.to_str().unwrap()]);
    assert!(verified(&bundle, &key));
    let lines = std::fs::read(bundle.join("events.ndjson")).unwrap();
    let lines: Vec<&[u8]> = lines.split_inclusive(|byte| *byte == b'\n').collect();
    assert!(lines.len() > 1_000);
    let manifest: Value = serde_json::from_slice(&std::fs::read(bundle.join("manifest.json")).unwrap()).unwrap();
    let verifier = Verifier::parse(&key).unwrap();
    for at in 0..lines.len() {
        let mut edited = lines.clone();
        let mut line = lines[at].to_vec();
        line[20] ^= 1;
        edited[at] = &line;
        let text = edited.concat();
        let mut described = manifest.clone();
        let digest: [u8; 32] = Sha256::digest(&text).into();
        described["events_sha256"] = json!(audit::hex(&digest));
        std::fs::write(bundle.join("events.ndjson"), text).unwrap();
        std::fs::write(bundle.join("manifest.json"), described.to_string()).unwrap();
        let checked = verify_bundle(&bundle, &verifier, None, &mut |_| {}).unwrap();
        assert_eq!(checked.findings.first().map(|finding| finding.problem.as_str()), Some("the events are not those that were signed"), "event {at}");
    }
    std::fs::write(bundle.join("events.ndjson"), lines.concat()).unwrap();
    std::fs::write(bundle.join("manifest.json"), manifest.to_string()).unwrap();
    let ran = Command::new("python3").args(["-B", "-c", EDITS, env!("CARGO_MANIFEST_DIR"), bundle.to_str().unwrap(), &key]).output().unwrap();
    assert!(ran.status.success() && String::from_utf8_lossy(&ran.stdout).trim() == lines.len().to_string(), "{ran:?}");
}

#[test]
fn roots_and_proofs_are_those_of_another_implementation() {
    let mut theirs = ct_merkle::mem_backed_tree::MemoryBackedTree::<Sha256, Vec<u8>>::new();
    let (mut ours, mut frontier) = (tree::Tiles::default(), tree::Frontier::default());
    for size in 1..=600_u64 {
        let event = size.to_be_bytes().to_vec();
        ours.push(size - 1, tree::leaf(&event), &mut std::collections::BTreeSet::new());
        frontier.push(tree::leaf(&event));
        theirs.push(event);
        let root = ours.root(size).unwrap();
        assert_eq!((root.as_slice(), frontier.root()), (theirs.root().as_bytes().as_slice(), root), "{size}");
        for index in [0, size / 3, size / 2, size - 1] {
            assert_eq!(ours.inclusion(index, size).unwrap().concat(), theirs.prove_inclusion(usize::try_from(index).unwrap()).as_bytes(), "{index} of {size}");
        }
        for old in [1, size / 3, size / 2].into_iter().filter(|old| (1..size).contains(old)) {
            let added = usize::try_from(size - old).unwrap();
            assert_eq!(ours.consistency(old, size).unwrap().concat(), theirs.prove_consistency(added).as_bytes(), "{old} to {size}");
        }
    }
}
