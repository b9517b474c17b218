//! The program at the terminal: the demo as README shows it, and bad input in one line each.

use serde_json::Value;
use tests::{Engine, Home, program};

fn path(dir: &tempfile::TempDir, name: &str) -> String {
    dir.path().join(name).to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_serves_every_persona_and_finds_its_data_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(&dir, "data");
    let arguments = ["demo", "--json", "--data-dir", &data, "--bind", "127.0.0.1:0", "--log", "trace"];
    let (serving, line) = program(&arguments).serving();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let mut canaries = Vec::new();
    for tenant in ["acme", "globex"] {
        for persona in ["admin", "auditor", "bi", "sales", "sales_manager", "support", "marketing", "steward", "privacy"] {
            let token = ready["tokens"][tenant][persona].as_str().unwrap_or_else(|| panic!("no token for {persona}"));
            let ask = async |query: &str, purpose: Option<&str>| -> Value {
                let mut request = reqwest::Client::new().post(ready["graphql"].as_str().unwrap()).bearer_auth(token).header("content-type", "application/json");
                if let Some(purpose) = purpose {
                    request = request.header("x-purpose", purpose);
                }
                request.body(serde_json::json!({ "query": query }).to_string()).send().await.unwrap().json().await.unwrap()
            };
            assert_eq!(ask("{ me { roles } }", None).await["data"]["me"]["roles"][0], persona);
            canaries.push(token.to_owned());
            if persona == "support" {
                let people =
                    ask("{ customers(first: 50) { nodes { name(view: CLEAR) phone(view: CLEAR) email(view: CLEAR) } } }", Some("customer_service")).await;
                for node in people["data"]["customers"]["nodes"].as_array().unwrap() {
                    canaries.extend(["name", "phone", "email"].iter().filter_map(|field| node[field].as_str().map(str::to_owned)));
                }
                // A value in an argument must not reach the log either.
                ask("{ findCustomer(by: {phone: \"13812345canary\"}) { id } }", None).await;
                canaries.push("12345canary".to_owned());
            }
        }
    }
    let log = serving.stop();
    assert!(log.contains("TRACE"), "the log is at its most talkative");
    let leaked: Vec<&String> = canaries.iter().filter(|canary| canary.chars().count() > 2 && log.contains(canary.as_str())).collect();
    assert!(leaked.is_empty(), "{} canaries in the log", leaked.len());
    // Again: the data is found, nothing is imported.
    let (again, line) = program(&arguments).serving();
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert!(ready["tokens"]["acme"]["sales"].is_string());
    drop(again);
    let refused = program(&["serve", "--data-dir", &data, "--bind", "127.0.0.1:0"]).refusal();
    assert!(refused.contains("made by the demo"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_company_of_ones_own_from_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(&dir, "data");
    let run = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--data-dir", &data]);
        let output = program(&all).output();
        assert!(output.status.success(), "{arguments:?} {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["migrate"]);
    assert!(run(&["migrate"]).starts_with("0 migrations"));
    run(&["tenant", "create", "mine", "--name", "我的公司"]);
    assert_eq!(run(&["tenant", "list"]), "mine\t我的公司\n");
    run(&["tenant", "user", "mine", "--subject", "li", "--name", "李经理", "--department", "销售", "--role", "sales"]);
    let csv = path(&dir, "sales.csv");
    std::fs::write(&csv, "序号,客户姓名,手机,客户状态,负责人\n1,张小三,138 1234 5678,意向客户,李经理\n2,王五,138,潜在客户,李经理\n").unwrap();
    let report = run(&["import", &csv, "--tenant", "mine", "--source", "sales", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        (&report["files"][0]["created"], &report["files"][0]["reasons"]["invalid_phone"], &report["files"][0]["linked"]["created"]),
        (&1.into(), &1.into(), &1.into())
    );
    let again = program(&["tenant", "user", "mine", "--subject", "li", "--name", "x", "--role", "sales", "--data-dir", &data]).refusal();
    assert!(again.contains("already"));
    let unknown = program(&["tenant", "user", "mine", "--subject", "wu", "--name", "x", "--role", "boss", "--data-dir", &data]).refusal();
    assert!(unknown.contains("no role 'boss'") && unknown.contains("sales_manager"));
    let token = run(&["token", "person", "--tenant", "mine", "--user", "li", "--purpose", "sales_follow_up"]);
    let service = run(&["token", "service", "--tenant", "mine", "--name", "grafana", "--role", "bi"]);
    assert!(token.starts_with("eyJ") && service.starts_with("pano_"));
    assert_eq!(run(&["token", "revoke", "--tenant", "mine", "--name", "grafana"]), "1 tokens revoked\n");
    let out = path(&dir, "rows.csv");
    run(&["rows", "--tenant", "mine", "--out", &out]);
    let rows = std::fs::read_to_string(&out).unwrap();
    assert!(rows.contains("sales:1,C") && rows.contains("张小三,13812345678") && rows.contains("sales:2,,1,invalid_phone"), "{rows}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(dir.path().join("data/keys/kek.key")).unwrap().permissions().mode() & 0o777, 0o600);
    }
    for generated in [["schema"], ["dictionary"], ["matrix"], ["config"]] {
        assert!(run(&generated).len() > 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_one_clear_line_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = path(&dir, "data");
    assert!(program(&["migrate", "--data-dir", &data]).output().status.success());
    let refusal = |arguments: &[&str], words: &[&str]| {
        let line = program(arguments).refusal();
        for word in words {
            assert!(line.contains(word), "{arguments:?}: {line}");
        }
    };
    // A port in use, and a nonsense address.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap().to_string();
    refusal(&["serve", "--data-dir", &data, "--bind", &bind], &[&bind, "in use", "--bind"]);
    refusal(&["serve", "--data-dir", &data, "--bind", "nowhere"], &["nowhere", "ADDRESS:PORT"]);
    // Keys: missing, readable by others, not a key, not this database's.
    let key = dir.path().join("data/keys/kek.key");
    let kept = std::fs::read(&key).unwrap();
    assert!(program(&["tenant", "create", "mine", "--data-dir", &data]).output().status.success());
    std::fs::remove_file(&key).unwrap();
    refusal(&["serve", "--data-dir", &data], &["kek.key", "missing", "backup"]);
    refusal(&["migrate", "--data-dir", &data], &["kek.key", "missing"]);
    assert!(!key.exists(), "no new key over data that the old one sealed");
    std::fs::write(&key, &kept).unwrap();
    refusal(&["serve", "--data-dir", &data], &["kek.key", "0600"]);
    let other = path(&dir, "other");
    assert!(program(&["migrate", "--data-dir", &other]).output().status.success());
    let wrong = path(&dir, "other/keys/kek.key");
    refusal(&["serve", "--data-dir", &data, "--key-file", &wrong], &["not the one that this database was made with"]);
    std::fs::write(&wrong, "nonsense").unwrap();
    refusal(&["serve", "--data-dir", &data, "--key-file", &wrong], &["not a key file"]);
    std::fs::copy(path(&dir, "other/keys/issuer.key"), &key).map(drop).unwrap_or_default();
    std::fs::remove_file(&key).unwrap();
    restore(&key, &kept);
    // A database of a newer version, one without tables, and something that is no database.
    let raw = tests::Raw::connect(&format!("sqlite://{data}/panorama.db")).await;
    raw.run("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20991231_000001_future', 0)").await.unwrap();
    refusal(&["serve", "--data-dir", &data], &["newer version", "m20991231_000001_future"]);
    refusal(&["migrate", "--data-dir", &data], &["newer version"]);
    raw.run("DELETE FROM seaql_migrations WHERE version LIKE 'm2099%'").await.unwrap();
    drop(raw);
    refusal(&["serve", "--data-dir", &data, "--database-url", &format!("sqlite://{}?mode=rwc", path(&dir, "empty.db"))], &["not up to date", "migrate"]);
    std::fs::write(path(&dir, "noise.db"), vec![b'x'; 9_000]).unwrap();
    refusal(&["migrate", "--data-dir", &data, "--database-url", &format!("sqlite://{}", path(&dir, "noise.db"))], &["not a database"]);
    refusal(&["serve", "--data-dir", &data, "--database-url", "postgres://nobody:s3cret@127.0.0.1:9/none"], &["does not answer"]);
    // Directories that cannot be made; files that cannot be read or written.
    std::fs::write(path(&dir, "file"), "").unwrap();
    refusal(&["demo", "--data-dir", &path(&dir, "file/data")], &["file/data", "cannot be"]);
    refusal(&["import", &path(&dir, "gone.csv"), "--tenant", "mine", "--source", "sales", "--data-dir", &data], &["gone.csv"]);
    refusal(&["import", &path(&dir, "file"), "--tenant", "mine", "--source", "sales", "--data-dir", &data], &["file", "no rows"]);
    refusal(&["import", &path(&dir, "file"), "--tenant", "yours", "--source", "sales", "--data-dir", &data], &["no tenant 'yours'"]);
    if std::path::Path::new("/dev/full").exists() {
        refusal(&["rows", "--tenant", "mine", "--out", "/dev/full", "--data-dir", &data], &["/dev/full"]);
    }
    refusal(&["rows", "--tenant", "mine", "--out", &path(&dir, "no/where.csv"), "--data-dir", &data], &["no/where.csv"]);
    // Tenants, users, settings.
    refusal(&["tenant", "create", "Bad Name", "--data-dir", &data], &["a-z"]);
    refusal(&["tenant", "create", "mine", "--data-dir", &data], &["already"]);
    refusal(&["token", "person", "--tenant", "mine", "--user", "nobody", "--data-dir", &data], &["no user 'nobody'"]);
    let file = path(&dir, "panorama.toml");
    std::fs::write(&file, "colour = 'red'\n").unwrap();
    refusal(&["config", "--config", &file], &["colour"]);
    refusal(&["config", "--config", &path(&dir, "gone.toml")], &["gone.toml", "missing"]);
}

fn restore(key: &std::path::Path, kept: &[u8]) {
    std::fs::write(key, kept).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn settings_come_from_file_environment_and_flags_in_this_order() {
    let dir = tempfile::tempdir().unwrap();
    let file = path(&dir, "panorama.toml");
    std::fs::write(&file, "bind = '127.0.0.1:1'\nissuer = 'file'\naudience = 'file'\n[limits]\ndepth = 9\n").unwrap();
    let output = program(&["config", "--config", &file, "--bind", "127.0.0.1:3", "--database-url", "postgres://me:s3cret@db/x"])
        .env("PANORAMA_BIND", "127.0.0.1:2")
        .env("PANORAMA_ISSUER", "environment")
        .output();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in ["bind = \"127.0.0.1:3\"", "issuer = \"environment\"", "audience = \"file\"", "depth = 9", "tokens = 2000", "postgres://me:***@db/x"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("s3cret"));
    let by_environment = program(&["config"]).env("PANORAMA_CONFIG", &file).output();
    assert!(String::from_utf8(by_environment.stdout).unwrap().contains("audience = \"file\""));
}

#[test]
fn every_command_explains_itself() {
    for command in [
        "demo",
        "serve",
        "migrate",
        "token",
        "tenant",
        "import",
        "duplicates",
        "customers",
        "settings",
        "signoff",
        "rows",
        "schema",
        "dictionary",
        "matrix",
        "config",
    ] {
        let output = program(&[command, "--help"]).output();
        assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("Usage: panorama"), "{command}");
    }
    assert_eq!(program(&["nonsense"]).output().status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_command_can_hold_the_key() {
    let home = Home::of(Engine::Sqlite).await;
    drop(home);
    let dir = tempfile::tempdir().unwrap();
    let data = path(&dir, "data");
    let tool = path(&dir, "kms");
    // A stand-in for a key service: wrapping is reversing, which is enough to see both directions run.
    std::fs::write(&tool, "#!/bin/sh\nread line\ncase $1 in wrap|unwrap) printf %s \"$line\" | rev;; *) exit 1;; esac\n").unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let run = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--data-dir", &data, "--key-command", &tool]);
        program(&all).output()
    };
    assert!(run(&["migrate"]).status.success());
    let made = run(&["tenant", "create", "mine"]);
    assert!(made.status.success(), "{made:?}");
    assert!(run(&["tenant", "user", "mine", "--subject", "li", "--name", "Li", "--role", "sales"]).status.success());
    assert!(!dir.path().join("data/keys/kek.key").exists());
    std::fs::write(&tool, "#!/bin/sh\nexit 1\n").unwrap();
    let refused = run(&["tenant", "list"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("key command"), "{refused:?}");
}

/// The words of a shell line with single quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_of_the_readme_runs() {
    let readme = include_str!("../../README.md");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sales.csv"), "序号,客户姓名,手机,客户状态,负责人\n1,张小三,138 1234 5678,意向客户,李经理\n").unwrap();
    let mut ran = 0;
    for line in readme.lines().filter(|line| line.starts_with("panorama ")) {
        let words = words(line);
        let mut arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        if arguments[0] == "serve" {
            let port = arguments.iter().position(|word| *word == "127.0.0.1:8080").expect("the README binds the default port");
            arguments[port] = "127.0.0.1:0";
            let (serving, _) = program(&arguments).current_dir(dir.path()).until("serving");
            drop(serving);
        } else {
            let output = program(&arguments).current_dir(dir.path()).output();
            assert!(output.status.success(), "{line}: {output:?}");
        }
        ran += 1;
    }
    assert_eq!(ran, 8, "README lost its commands");
    // And those of the steward's table, on the same tenant.
    std::fs::write(dir.path().join("crm.csv"), "客户姓名,手机,客户状态\n张小三,13812345678,潜在客户\n").unwrap();
    let intake = include_str!("../../docs/intake.md");
    let (mut plan, mut id, mut ran) = (String::new(), String::new(), 0);
    let run = |line: &str| {
        let words = words(line);
        let output = program(&words.iter().map(String::as_str).collect::<Vec<_>>()).current_dir(dir.path()).output();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    // What the commands after it name: the key or number that a command printed first.
    let mut named: std::collections::BTreeMap<&str, String> = std::collections::BTreeMap::new();
    named.insert("PAIR", "00000000-0000-0000-0000-000000000000".to_owned());
    for command in
        intake.lines().filter(|line| line.starts_with("| ")).flat_map(|line| line.split('`').skip(1).step_by(2)).filter(|word| word.starts_with("panorama "))
    {
        if command.starts_with("panorama customers") && !named.contains_key("NUMBER") {
            // One person in two sources.
            run("import sales.csv --tenant mine --source sales");
            run("import crm.csv --tenant mine --source crm");
            named.insert("NUMBER", run("person find --tenant mine --phone 13812345678").trim().to_owned());
            id = run("imports list --tenant mine").split('\t').next().unwrap().to_owned();
        }
        let line = named.iter().fold(command.to_owned(), |line, (name, value)| line.replace(name, value));
        let words = words(&line.replace("HASH", &plan).replace("ID", &id));
        let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let output = program(&arguments).current_dir(dir.path()).output();
        let (out, problem) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        // Nothing runs that could be stopped, and nothing waits that could be decided; all else does what it says.
        let stops = ["pause", "cancel"].iter().any(|word| arguments.contains(word));
        let refused = stops || command.contains("PAIR");
        assert!(output.status.success() != refused && (!stops || problem.contains("only one that runs")), "{command}: {output:?}");
        let first = || out.split(['\t', '\n']).next().unwrap_or_default().to_owned();
        match arguments[..2] {
            ["customers", "records"] | ["signoff", "rows"] => drop(named.insert("RECORD", first())),
            ["customers", "split"] => drop(named.insert("OTHER", first())),
            ["customers", "merges"] => drop(named.insert("ENTRY", first())),
            ["signoff", "draw"] => drop(named.insert("SAMPLE", first())),
            _ => {}
        }
        if let Some((_, hash)) = out.split_once("--plan ") {
            plan = hash.trim().to_owned();
        }
        if arguments[..2] == ["imports", "list"] {
            id = out.split('\t').next().unwrap().to_owned();
        }
        ran += 1;
    }
    assert_eq!(ran, 30, "docs/intake.md lost its commands");
    assert!(readme.contains("cargo run --release -- demo") && readme.contains("cargo test --workspace"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_governance_docs_runs() {
    let dir = tempfile::tempdir().unwrap();
    let run = |line: &str, user: &str| {
        let words = words(line);
        let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let output = program(&arguments).current_dir(dir.path()).env("USER", user).output();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    std::fs::write(dir.path().join("sales.csv"), "序号,客户姓名,手机,客户状态,负责人\n1,张小三,138 1234 5678,意向客户,李经理\n").unwrap();
    for line in [
        "panorama migrate",
        "panorama tenant create mine",
        "panorama tenant user mine --subject li --name 李经理 --role sales",
        "panorama import sales.csv --tenant mine --source sales",
    ] {
        run(line, "wang");
    }
    std::fs::write(
        dir.path().join("tests.toml"),
        "[[test]]\nname = \"no phones for analysts\"\nroles = [\"bi\"]\nfield = \"Customer.phone\"\nscope = \"all\"\nexpect = \"masked\"\n",
    )
    .unwrap();
    let docs = include_str!("../../docs/governance.md");
    let (mut number, mut ran) = (String::new(), 0);
    let commands = docs.lines().filter(|line| line.starts_with("| ")).flat_map(|line| line.split('`').skip(1).step_by(2));
    for command in commands.filter(|word| word.starts_with("panorama policy") || word.starts_with("panorama person")) {
        if command.contains("policy draft") {
            let path = dir.path().join("policy.csv");
            let rules = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, rules + "p, support, Customer.address, read.clear, all, customer_service, allow\n").unwrap();
        }
        // The second person is another one.
        let out = run(&command.replace("NUMBER", &number), if command.contains("approve") { "zhao" } else { "wang" });
        if command.contains("person find") {
            number = out.trim().to_owned();
        }
        if command.contains("copy.json") {
            let copy = std::fs::read_to_string(dir.path().join("copy.json")).unwrap();
            assert!(copy.contains("13812345678") && copy.contains("张小三"), "the copy is whole");
        }
        if command.contains("policy draft") {
            assert!(out.contains("+ support may read.clear Customer.address of all for customer_service") && out.contains("second person"), "{out}");
        }
        ran += 1;
    }
    assert_eq!(ran, 20, "docs/governance.md lost its commands");
    let rest: Vec<&str> = docs.lines().filter(|line| line.starts_with("panorama ")).collect();
    assert_eq!(rest.len(), 9, "docs/governance.md lost its commands for keys and tenants");
    for line in rest {
        run(line, "wang");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_audit_docs_runs() {
    let dir = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        let words = words(line);
        let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let output = program(&arguments).current_dir(dir.path()).output();
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    std::fs::write(dir.path().join("sales.csv"), "序号,客户姓名,手机,客户状态,负责人\n1,张小三,138 1234 5678,意向客户,李经理\n").unwrap();
    for line in ["panorama migrate", "panorama tenant create acme", "panorama import sales.csv --tenant acme --source sales"] {
        run(line);
    }
    let number = run("panorama person find --tenant acme --phone 13812345678");
    let docs = include_str!("../../docs/audit.md");
    let (mut ran, mut checked) = (0, 0);
    for line in docs.lines() {
        if line.starts_with("panorama ") {
            let (line, file) = line.split_once(" > ").map_or((line, None), |(line, file)| (line, Some(file)));
            let out = run(&line.replace("C20261121001", number.trim()));
            if let Some(file) = file {
                std::fs::write(dir.path().join(file), &out).unwrap();
            }
            ran += 1;
        } else if let Some(arguments) = line.strip_prefix("python3 tests/verify_audit.py ") {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/verify_audit.py");
            let output = std::process::Command::new("python3").arg(script).args(arguments.split(' ')).current_dir(dir.path()).output().unwrap();
            assert!(output.status.success() && output.stdout.starts_with(b"verified: "), "{line}: {output:?}");
            checked += 1;
        }
    }
    assert_eq!((ran, checked), (9, 1), "docs/audit.md lost its commands");
}
