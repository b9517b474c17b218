//! What lies in the database: nothing in the clear, nothing that opens elsewhere, nothing across tenants.

use serde_json::json;
use tests::{Engine, Home, homes};

/// Two customers with phones; the other tenant has customers of these numbers too.
const NUMBERED: &str = "{ customers(first: 2) { nodes { id number phone } } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_of_the_file_finds_no_person() {
    let home = Home::of(Engine::Sqlite).await;
    let page = home
        .tenant("acme")
        .persona("support")
        .purpose("customer_service")
        .query("{ customers(first: 30) { nodes { name(view: CLEAR) phone(view: CLEAR) email(view: CLEAR) } } }")
        .await;
    let mut canaries = Vec::new();
    for node in page.data()["customers"]["nodes"].as_array().unwrap() {
        canaries.extend(["name", "phone", "email"].iter().filter_map(|field| node[field].as_str().map(str::to_owned)));
    }
    assert!(canaries.len() > 50);
    home.raw().await.run("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
    let bytes = std::fs::read(home.file()).unwrap();
    // Users of the tenant have names too; the customers' must not be there.
    let found: Vec<_> =
        canaries.iter().filter(|canary| canary.chars().count() > 2 && bytes.windows(canary.len()).any(|window| window == canary.as_bytes())).collect();
    assert!(found.is_empty(), "{} of {} found in the file", found.len(), canaries.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_or_damaged_cell_does_not_open() {
    for home in homes().await {
        let page = home.tenant("acme").persona("support").query(NUMBERED).await;
        let nodes = page.data()["customers"]["nodes"].as_array().unwrap().clone();
        let number = |node: usize| nodes[node]["number"].as_str().unwrap().to_owned();
        let raw = home.raw().await;
        let sqlite = home.engine == Engine::Sqlite;
        // Cells as an operator with the database password reads and writes them.
        let cell = async |tenant: &str, number: &str, column: &str| {
            raw.as_tenant(home.engine, tenant).await;
            let hex = if sqlite { format!("hex({column})") } else { format!("encode({column}, 'hex')") };
            raw.text(&format!("SELECT {hex} FROM customer WHERE number = '{number}' AND tenant_id = (SELECT id FROM tenant WHERE slug = '{tenant}')")).await
        };
        let write = async |column: &str, hex: &str| {
            raw.as_tenant(home.engine, "acme").await;
            let literal = if sqlite { format!("X'{hex}'") } else { format!("'\\x{hex}'::bytea") };
            let changed = raw
                .run(&format!(
                    "UPDATE customer SET {column} = {literal} WHERE number = '{}' AND tenant_id = (SELECT id FROM tenant WHERE slug = 'acme')",
                    number(0)
                ))
                .await;
            assert_eq!(changed.unwrap(), 1);
        };
        let (phone, key) = (cell("acme", &number(0), "phone").await, cell("acme", &number(0), "record_key").await);
        let flipped = format!("{}{}", &phone[..phone.len() - 1], if phone.ends_with('0') { "1" } else { "0" });
        let attacks = [
            ("a cell of another row", cell("acme", &number(1), "phone").await, key.clone()),
            ("a cell of another row with its key", cell("acme", &number(1), "phone").await, cell("acme", &number(1), "record_key").await),
            ("a cell of another column", cell("acme", &number(0), "name").await, key.clone()),
            ("a cell of another tenant", cell("globex", &number(0), "phone").await, key.clone()),
            ("a cell of another tenant with its key", cell("globex", &number(0), "phone").await, cell("globex", &number(0), "record_key").await),
            ("a flipped bit", flipped, key.clone()),
            ("nonsense", "00".to_owned(), key.clone()),
            ("a key that is nonsense", phone.clone(), "ffff".to_owned()),
        ];
        let ask = async || {
            home.tenant("acme").persona("support").ask("query($id: ID!) { customer(id: $id) { number phone } }", json!({ "id": nodes[0]["id"] })).await
        };
        for (attack, bad_phone, bad_key) in attacks {
            write("phone", &bad_phone).await;
            write("record_key", &bad_key).await;
            let answer = ask().await;
            assert_eq!((answer.status, answer.code()), (294, "INTERNAL_SERVER_ERROR"), "{attack}");
            assert_eq!(answer.body["data"]["customer"], json!({ "number": number(0), "phone": null }), "{attack}");
        }
        write("phone", &phone).await;
        write("record_key", &key).await;
        assert_eq!(ask().await.data()["customer"]["phone"], nodes[0]["phone"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_links_across_tenants() {
    for home in homes().await {
        let raw = home.raw().await;
        let sqlite = home.engine == Engine::Sqlite;
        if sqlite {
            raw.run("PRAGMA foreign_keys = ON").await.unwrap();
        }
        raw.as_tenant(home.engine, "globex").await;
        let hex = if sqlite { "hex(id)" } else { "id::text" };
        let theirs = raw.text(&format!("SELECT {hex} FROM app_user WHERE tenant_id = (SELECT id FROM tenant WHERE slug = 'globex') LIMIT 1")).await;
        raw.as_tenant(home.engine, "acme").await;
        let literal = if sqlite { format!("X'{theirs}'") } else { format!("'{theirs}'") };
        let refused =
            raw.run(&format!("UPDATE customer SET owner_id = {literal} WHERE tenant_id = (SELECT id FROM tenant WHERE slug = 'acme')")).await.unwrap_err();
        assert!(refused.to_lowercase().contains("foreign key"), "{refused}");

        raw.as_tenant(home.engine, "globex").await;
        let theirs = raw.text(&format!("SELECT {hex} FROM customer WHERE tenant_id = (SELECT id FROM tenant WHERE slug = 'globex') LIMIT 1")).await;
        raw.as_tenant(home.engine, "acme").await;
        let (theirs, fresh) = if sqlite { (format!("X'{theirs}'"), "randomblob(16)") } else { (format!("'{theirs}'"), "gen_random_uuid()") };
        let acme = "(SELECT id FROM tenant WHERE slug = 'acme')";
        let by_hand =
            |customer: &str| format!("INSERT INTO customer_order (tenant_id, id, customer_id, number) VALUES ({acme}, {fresh}, {customer}, 'by hand')");
        let owned = "(SELECT customer_id FROM customer_order WHERE number = 'by hand')";
        raw.run("BEGIN").await.unwrap();
        raw.run(&by_hand(&format!("(SELECT id FROM customer WHERE tenant_id = {acme} LIMIT 1)"))).await.unwrap();
        for statement in [
            format!("UPDATE customer_order SET customer_id = {theirs} WHERE tenant_id = {acme} AND number = 'by hand'"),
            format!("UPDATE customer_order SET customer_id = {theirs} WHERE tenant_id = {acme} AND record_id IS NOT NULL"),
            by_hand(&theirs),
            format!("DELETE FROM customer WHERE tenant_id = {acme} AND id = {owned}"),
        ] {
            raw.run("SAVEPOINT before").await.unwrap();
            let refused = raw.run(&statement).await.expect_err(&statement);
            assert!(["foreign key", "refers to"].iter().any(|why| refused.to_lowercase().contains(why)), "{statement}: {refused}");
            raw.run("ROLLBACK TO before").await.unwrap();
        }
        raw.run("ROLLBACK").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_level_security_is_the_second_wall() {
    for home in homes().await.into_iter().filter(|home| home.engine == Engine::Postgres) {
        // Without PostgreSQL there is nothing to test here; CI requires it.
        assert_eq!(home.house.store().wall().await.unwrap(), entity::store::Wall::Stands);
        let raw = home.raw().await;
        let tables = "SELECT count(*) FROM information_schema.columns c JOIN pg_class p ON p.relname = c.table_name WHERE c.column_name = 'tenant_id' AND c.table_schema = 'public'";
        assert_eq!(raw.number(tables).await, 57);
        assert_eq!(
            raw.number(&format!("{tables} AND NOT (p.relrowsecurity AND p.relforcerowsecurity)")).await,
            0,
            "a table of tenants without row-level security"
        );
        for table in ["customer", "tenant_key", "audit_event", "app_user"] {
            assert_eq!(raw.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table} without a tenant");
        }
        raw.as_tenant(home.engine, "globex").await;
        let globex = raw.number("SELECT count(*) FROM customer").await;
        raw.as_tenant(home.engine, "acme").await;
        let acme = raw.number("SELECT count(*) FROM customer").await;
        assert!(globex > 100 && acme > 2_000 && raw.number("SELECT count(DISTINCT tenant_id) FROM customer").await == 1);
    }
}
