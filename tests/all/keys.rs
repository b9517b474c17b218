//! Keys rotate under load, are destroyed when nothing names them, and tenants leave.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use api::intake::{self, File, Options};
use entity::keys::{self, Progress};
use entity::{Change, Operation, Unaccounted};
use serde_json::{Value, json};
use tests::{Engine, Home, Raw, homes};

/// Rows that name each epoch of a key of acme.
fn named(home: &Home, purpose: &str) -> Vec<(u64, i64)> {
    let status: Value = serde_json::from_str(&home.run(&["keys", "status", "--tenant", "acme", "--json"])).unwrap();
    let epochs = status["acme"].as_array().unwrap().iter().filter(|epoch| epoch["purpose"] == purpose);
    epochs.map(|epoch| (epoch["epoch"].as_u64().unwrap(), epoch["rows"].as_object().unwrap().values().map(|n| n.as_i64().unwrap()).sum())).collect()
}

const CLEAR: &str = "{ customers(first: 20) { nodes { id number name(view: CLEAR) phone(view: CLEAR) tickets(first: 2) { nodes { body(view: CLEAR) } } } } }";

async fn clear(home: &Home) -> Value {
    home.tenant("acme").persona("support").purpose("customer_service").query(CLEAR).await.data()["customers"]["nodes"].clone()
}

fn orders(dir: &Path, from: usize, count: usize) -> PathBuf {
    let mut text = "订单编号,买家昵称,收货人手机,邮箱,商品名称,数量,实付金额,下单时间,收货地址,订单状态,买家留言\n".to_owned();
    for n in from..from + count {
        text += &format!("K{n},王{n},1371{n:07},,保温杯,1,9.90,2024-05-01 10:00:00,浙江省杭州市西湖区文三路{n}号,交易成功,\n");
    }
    let path = dir.join(format!("orders-{from}.csv"));
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_key_rotates_under_load() {
    for home in homes().await {
        let home = Arc::new(home);
        let acme = home.house.tenant("acme").await.unwrap().id;
        let before = clear(&home).await;
        let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let reader = tokio::spawn({
            let (home, stop, looks) = (Arc::clone(&home), Arc::clone(&stop), Arc::clone(&looks));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(clear(&home).await.as_array().unwrap().len(), 20);
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let importer = std::thread::spawn({
            let (home, stop, runtime) = (Arc::clone(&home), Arc::clone(&stop), tokio::runtime::Handle::current());
            move || {
                let steward = home.house.operator(acme, "test", "steward", Some("data_quality"));
                let mut from = 0;
                while !stop.load(Ordering::Relaxed) {
                    let path = orders(&home.config.data_dir, from, 300);
                    runtime.block_on(intake::run(&home.house, &steward, &[File::at("ecom", &path)], &Options::default(), &mut |_| ())).unwrap();
                    from += 300;
                    std::thread::sleep(std::time::Duration::from_millis(200));
                }
                from
            }
        });
        let admin = home.house.operator(acme, "test", "admin", None);
        let mut waited = false;
        let (epoch, rows) = keys::rotate_data(&home.house, &admin, &mut |now| waited |= matches!(now, Progress::Waits(_))).await.unwrap();
        stop.store(true, Ordering::Relaxed);
        reader.await.unwrap();
        let imported = tokio::task::spawn_blocking(|| importer.join().unwrap()).await.unwrap();
        assert!(epoch == 2 && rows > 5_000 && waited && imported > 0, "{epoch} {rows} {imported}");
        assert!(looks.load(Ordering::Relaxed) > 5);
        let named = named(&home, "data");
        assert!(named[0] == (1, 0) && named[1].1 >= i64::try_from(rows).unwrap(), "{named:?}");
        assert_eq!(clear(&home).await, before, "cells are what they were");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_rotation_goes_on_and_destruction_kills_backups() {
    for home in homes().await {
        let acme = home.house.tenant("acme").await.unwrap().id;
        let nodes = clear(&home).await;
        let id = nodes.as_array().unwrap().iter().find(|node| node["phone"].is_string()).unwrap()["id"].as_str().unwrap().to_owned();
        let ask = async |home: &Home| {
            let query = "query($id: ID!) { customer(id: $id) { phone(view: CLEAR) } }";
            home.tenant("acme").persona("support").purpose("customer_service").ask(query, json!({ "id": id })).await
        };
        assert!(ask(&home).await.data()["customer"]["phone"].is_string());
        let backup = home.config.data_dir.join("backup.db");
        if home.engine == Engine::Sqlite {
            home.raw().await.run(&format!("VACUUM INTO '{}'", backup.display())).await.unwrap();
        }
        let privacy = home.house.operator(acme, "test", "privacy", Some("privacy_request"));
        let uuid = decoded(&home, &nodes, &id).await;
        Change::run(&home.house, &privacy, Operation::new("command", "Erase"), async |change| {
            entity::erasure::erase(change, uuid, "asked for").await.map_err(Unaccounted::Failed)
        })
        .await
        .unwrap();
        // Killed behind the first table.
        let (rotating, _) = home.program(&["keys", "rotate", "tenant", "--tenant", "acme"]).until("customer:");
        drop(rotating);
        let refused = home.program(&["keys", "destroy", "--tenant", "acme", "--epoch", "1"]).refusal();
        assert!(refused.contains("rows name it") || named(&home, "data")[0].1 == 0, "{refused}");
        let again = home.program(&["keys", "rotate", "tenant", "--tenant", "acme"]).output();
        assert!(again.status.success() && String::from_utf8_lossy(&again.stderr).contains("goes on"), "{again:?}");
        assert_eq!((named(&home, "data").len(), named(&home, "data")[0]), (2, (1, 0)));
        let newest = home.program(&["keys", "destroy", "--tenant", "acme", "--epoch", "2"]).refusal();
        assert!(newest.contains("in use"), "{newest}");
        home.run(&["keys", "destroy", "--tenant", "acme", "--epoch", "1"]);
        assert!(home.program(&["keys", "destroy", "--tenant", "acme", "--epoch", "1"]).refusal().contains("there is none"));
        let certificates = entity::Session::run(&home.house, &privacy, Operation::new("command", "Certificates"), async |session| {
            entity::erasure::certificates(&session, None).await
        });
        assert!(certificates.await.unwrap().unwrap()[0].backups_dead_at.is_none(), "the index key and the key-encryption key of then stand");
        assert_eq!(clear(&home).await.as_array().unwrap().len(), 20, "everybody else opens");
        if home.engine == Engine::Sqlite {
            let raw = Raw::connect(&format!("sqlite://{}", backup.display())).await;
            let still =
                raw.number(&format!("SELECT count(*) FROM customer WHERE hex(id) = '{}' AND phone IS NOT NULL AND record_key IS NOT NULL", hex(uuid))).await;
            assert_eq!(still, 1, "the backup holds the person");
            raw.run(&format!("ATTACH '{}' AS live", home.file().display())).await.unwrap();
            raw.run("DELETE FROM tenant_key; INSERT INTO tenant_key SELECT * FROM live.tenant_key").await.unwrap();
            drop(raw);
            let config = api::config::Config { database_url: Some(format!("sqlite://{}", backup.display())), ..home.config.clone() };
            let old = api::home::open(&config).await.unwrap();
            let admin = old.operator(acme, "test", "support", Some("customer_service"));
            let shown = entity::Session::run(&old, &admin, Operation::new("command", "Look"), async |session| {
                let customer = entity::customer::get(&session, uuid).await.unwrap().unwrap();
                session.show(&customer.phone(), policy::View::Clear)
            });
            assert_eq!(shown.await.unwrap(), Err(entity::vault::Unreadable::Epoch));
        }
    }
}

/// The key behind an id of the API.
async fn decoded(home: &Home, nodes: &Value, id: &str) -> uuid::Uuid {
    let number = nodes.as_array().unwrap().iter().find(|node| node["id"] == id).unwrap()["number"].as_str().unwrap().to_owned();
    let raw = home.raw().await;
    raw.as_tenant(home.engine, "acme").await;
    let hex = if home.engine == Engine::Sqlite { "hex(id)" } else { "replace(id::text, '-', '')" };
    raw.text(&format!("SELECT {hex} FROM customer WHERE number = '{number}' AND tenant_id = (SELECT id FROM tenant WHERE slug = 'acme')"))
        .await
        .parse()
        .unwrap()
}

fn hex(id: uuid::Uuid) -> String {
    id.simple().to_string().to_uppercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_index_rotation_goes_on_and_search_finds_in_both_halves() {
    for home in homes().await {
        let nodes = clear(&home).await;
        let phones: Vec<String> = nodes.as_array().unwrap().iter().filter_map(|node| node["phone"].as_str().map(str::to_owned)).collect();
        let found = async || {
            let mut found = Vec::new();
            for phone in &phones {
                let query = "query($phone: String!) { findCustomer(by: {phone: $phone}) { number } }";
                found.push(home.tenant("acme").persona("support").ask(query, json!({ "phone": phone })).await.data()["findCustomer"]["number"].clone());
            }
            found
        };
        let before = found().await;
        assert!(before.len() > 5 && before.iter().all(Value::is_string), "{before:?}");
        // Killed behind the customers, when no record is done yet.
        let (rotating, _) = home.program(&["keys", "rotate", "index", "--tenant", "acme"]).until("customer:");
        drop(rotating);
        assert_eq!(found().await, before, "half rotated");
        let path = orders(&home.config.data_dir, 0, 10).display().to_string();
        let import = ["import", &path, "--tenant", "acme", "--source", "ecom"];
        assert!(home.program(&import).refusal().contains("index keys are being rotated"), "nobody links by half an index");
        let again = home.program(&["keys", "rotate", "index", "--tenant", "acme"]).output();
        assert!(again.status.success() && String::from_utf8_lossy(&again.stderr).contains("goes on"), "{again:?}");
        assert_eq!(named(&home, "index").iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [2]);
        assert_eq!(found().await, before);
        home.run(&import);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_key_rotates_and_search_goes_on() {
    for home in homes().await {
        let home = Arc::new(home);
        let acme = home.house.tenant("acme").await.unwrap().id;
        let nodes = clear(&home).await;
        let phone = nodes.as_array().unwrap().iter().find_map(|node| node["phone"].as_str()).unwrap().to_owned();
        let find = async |persona: &str, phone: &str| {
            let query = "query($phone: String!) { findCustomer(by: {phone: $phone}) { number } }";
            home.tenant("acme").persona(persona).ask(query, json!({ "phone": phone })).await
        };
        let found = find("support", &phone).await.data().clone();
        assert!(found["findCustomer"]["number"].is_string());
        for middle in 0..5 {
            find("sales", &format!("138{middle:04}5000")).await;
        }
        assert_eq!(find("sales", "13800095000").await.code(), "SEARCH_BUDGET_EXCEEDED");
        let admin = home.house.operator(acme, "test", "admin", None);
        let rotation = tokio::spawn({
            let home = Arc::clone(&home);
            async move { keys::rotate_index(&home.house, &admin, &mut |_| ()).await.unwrap() }
        });
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let path = orders(&home.config.data_dir, 0, 10).display().to_string();
        let import = ["import", &path, "--tenant", "acme", "--source", "ecom"];
        let refused = home.program(&import).refusal();
        assert!(refused.contains("index keys are being rotated"), "{refused}");
        while !rotation.is_finished() {
            assert_eq!(*find("support", &phone).await.data(), found);
        }
        let (epoch, rows) = rotation.await.unwrap();
        assert!(epoch == 2 && rows > 3_000, "{rows}");
        assert_eq!(*find("support", &phone).await.data(), found);
        assert_eq!(find("sales", "13800095000").await.code(), "SEARCH_BUDGET_EXCEEDED", "the budget is not given back");
        assert_eq!(named(&home, "index").iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [2]);
        // What comes is linked with what was there.
        let number = found["findCustomer"]["number"].as_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap().replacen("13710000000", &phone, 1);
        std::fs::write(&path, text).unwrap();
        home.run(&import);
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "acme").await;
        let linked = format!(
            "SELECT count(*) FROM customer_order o JOIN customer c ON c.tenant_id = o.tenant_id AND c.id = o.customer_id WHERE o.number = 'K0' AND c.number = '{number}'"
        );
        assert_eq!(raw.number(&linked).await, 1, "by its new index");
        assert!(raw.number("SELECT count(*) FROM block_key").await > 100, "the second pass has made its keys anew");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_encryption_key_is_exchanged_even_when_cut_off() {
    for home in homes().await {
        let keys = home.config.data_dir.join("keys");
        let (key, new) = (keys.join("kek.key"), home.config.data_dir.join("fresh.key"));
        let old = std::fs::read(&key).unwrap();
        let before = clear(&home).await;
        let said = home.run(&["keys", "rotate", "kek", "--new-key-file", new.to_str().unwrap()]);
        assert!(said.contains("8 keys"), "{said}");
        assert_ne!(std::fs::read(&key).unwrap(), old);
        assert_eq!(std::fs::read(&key).unwrap(), std::fs::read(&new).unwrap());
        let kept =
            std::fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.display().to_string().contains("kek.key.old-")).unwrap();
        assert_eq!(std::fs::read(&kept).unwrap(), old);
        assert!(!keys.join("kek.key.new").exists());
        #[cfg(unix)]
        for path in [&key, &new, &kept] {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(clear(&home).await, before, "the running server goes on");
        home.run(&["keys", "status", "--all"]);
        // The same key again, and the old one.
        let same = home.program(&["keys", "rotate", "kek", "--new-key-file", new.to_str().unwrap()]).refusal();
        assert!(same.contains("key in use"), "{same}");
        let wrong = home.program(&["keys", "status", "--all", "--key-file", kept.to_str().unwrap()]).refusal();
        assert!(wrong.contains("not the one"), "{wrong}");
        // Cut off between the commit and the rename: the next start brings it to its end.
        std::fs::rename(&key, keys.join("kek.key.new")).unwrap();
        std::fs::rename(&kept, &key).unwrap();
        let mended = home.program(&["tenant", "list"]).output();
        assert!(mended.status.success() && String::from_utf8_lossy(&mended.stderr).contains("had been cut off"), "{mended:?}");
        assert!(kept.exists() && !keys.join("kek.key.new").exists());
        assert_eq!(std::fs::read(&key).unwrap(), std::fs::read(&new).unwrap());
        // A server that runs learns of keys that are wrapped with the new one.
        home.run(&["keys", "rotate", "tenant", "--tenant", "acme"]);
        assert_eq!(clear(&home).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_is_suspended_exported_and_destroyed() {
    for home in homes().await {
        let phones: Vec<String> = clear(&home).await.as_array().unwrap().iter().filter_map(|node| node["phone"].as_str().map(str::to_owned)).collect();
        let ask = async || home.tenant("acme").persona("support").query("{ me { subject } }").await;
        home.run(&["tenant", "suspend", "--slug", "acme"]);
        assert_eq!(ask().await.code(), "UNAUTHENTICATED");
        assert!(home.program(&["tenant", "suspend", "--slug", "acme"]).refusal().contains("already"));
        home.run(&["tenant", "resume", "--slug", "acme"]);
        ask().await.data();
        let out = home.config.data_dir.join("acme.ndjson.gz");
        let said = home.run(&["tenant", "export", "acme", "--out", out.to_str().unwrap()]);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(std::fs::File::open(&out).unwrap()), &mut text).unwrap();
        let mut lines = text.lines();
        let manifest: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        let tables = manifest["tables"].as_object().unwrap();
        let total: u64 = tables.values().map(|rows| rows.as_u64().unwrap()).sum();
        assert!(said.starts_with(&format!("{total} rows")) && lines.count() as u64 == total && tables["customer"].as_u64().unwrap() > 2_000, "{manifest}");
        assert!(!phones.is_empty() && phones.iter().all(|phone| !text.contains(phone)));
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "acme").await;
        if home.engine == Engine::Postgres {
            let all = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'tenant_id' AND table_schema = 'public'";
            assert_eq!(raw.number(all).await, i64::try_from(entity::departure::TABLES.len()).unwrap());
        }
        assert!(home.program(&["tenant", "destroy", "acme", "--confirm", "acm"]).refusal().contains("nothing was destroyed"));
        home.run(&["tenant", "destroy", "acme", "--confirm", "acme"]);
        for table in entity::departure::TABLES {
            let rows = raw.number(&format!("SELECT count(*) FROM {table} WHERE tenant_id = (SELECT id FROM tenant WHERE slug = 'acme')")).await;
            let log = ["audit_event", "audit_head", "audit_subject"].contains(&table);
            // Whether there is a checkpoint already, time tells.
            assert!(rows > 0 || !log, "{table}: {rows}");
            assert!(rows == 0 || table.starts_with("audit_"), "{table}: {rows}");
        }
        assert_eq!(raw.number("SELECT count(*) FROM audit_event WHERE operation = 'Tenant.destroy'").await, 1);
        assert_eq!(ask().await.code(), "UNAUTHENTICATED");
        assert!(home.run(&["tenant", "list"]).contains("destroyed"));
        assert!(home.program(&["tenant", "create", "acme"]).refusal().contains("already"), "its name stays");
        assert!(home.program(&["keys", "status", "--tenant", "acme"]).refusal().contains("was destroyed"));
        home.run(&["keys", "status", "--all"]);
        home.tenant("globex").persona("support").query("{ me { subject } }").await.data();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_ever_shown() {
    let home = Home::of(Engine::Sqlite).await;
    let key = home.config.data_dir.join("keys/kek.key");
    let hex = std::fs::read_to_string(&key).unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let raw: Vec<u8> = (0..64).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let new = home.config.data_dir.join("fresh.key").display().to_string();
    let damaged = home.config.data_dir.join("damaged.key");
    std::fs::write(&damaged, format!("panorama-kek-v1 {}\n", &hex[..62])).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&damaged, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let damaged = damaged.display().to_string();
    for arguments in [
        &["config"][..],
        &["keys", "status", "--all"],
        &["keys", "status", "--all", "--key-file", &damaged],
        &["keys", "destroy", "--tenant", "acme", "--epoch", "1"],
        &["tenant", "create", "acme"],
        &["keys", "rotate", "kek", "--new-key-file", &new],
        &["keys", "status", "--all"],
    ] {
        let output = home.program(&[arguments, &["--log", "trace"]].concat()).output();
        for bytes in [&output.stdout, &output.stderr] {
            let lower = String::from_utf8_lossy(bytes).to_lowercase();
            assert!(!lower.contains(&hex[..62]) && !bytes.windows(32).any(|window| window == raw), "{arguments:?}");
        }
    }
}
