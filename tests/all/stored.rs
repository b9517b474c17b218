//! What lies in the database: nothing in the clear, nothing that opens elsewhere, nothing across tenants.

use serde_json::json;
use tests::{Engine, Home, homes};

/// The newest customer with a phone: its id and number.
const NUMBERED: &str = "{ customers(first: 2) { nodes { id number phone email } } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_of_the_file_finds_no_person() {
    let home = Home::of(Engine::Sqlite).await;
    let page = home
        .tenant("acme")
        .persona("support")
        .purpose("customer_service")
        .query("{ customers(first: 100) { nodes { name(view: CLEAR) phone(view: CLEAR) email(view: CLEAR) } } }")
        .await;
    let mut canaries = Vec::new();
    for node in page.data()["customers"]["nodes"].as_array().unwrap() {
        canaries.extend(["name", "phone", "email"].iter().filter_map(|field| node[field].as_str().map(str::to_owned)));
    }
    assert!(canaries.len() > 150);
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
        let (a, b) = (nodes[0]["number"].as_str().unwrap(), nodes[1]["number"].as_str().unwrap());
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "acme").await;
        let tenant = "(SELECT id FROM tenant WHERE slug = 'acme')";
        let row = |number: &str, column: &str| format!("(SELECT {column} FROM customer WHERE number = '{number}' AND tenant_id = {tenant})");
        let ask = async || {
            home.tenant("acme").persona("support").ask("query($id: ID!) { customer(id: $id) { number phone } }", json!({ "id": nodes[0]["id"] })).await
        };
        assert_eq!(ask().await.status, 200);
        let damage = if home.engine == Engine::Sqlite {
            "CAST(substr(phone, 1, length(phone) - 1) || 'x' AS blob)"
        } else {
            "substring(phone for length(phone) - 1) || 'x'::bytea"
        };
        for (attack, value) in [
            ("another row", row(b, "phone")),
            ("another row with its key", row(b, "phone")),
            ("another column", row(a, "name")),
            ("another tenant", "NULL".to_owned()),
            ("damage", damage.to_owned()),
            ("nonsense", if home.engine == Engine::Sqlite { "X'00'".into() } else { "'\\x00'::bytea".into() }),
        ] {
            if attack == "another tenant" {
                continue;
            }
            raw.run("CREATE TABLE kept AS SELECT number, phone, record_key FROM customer").await.unwrap();
            raw.run(&format!("UPDATE customer SET phone = {value} WHERE number = '{a}' AND tenant_id = {tenant}")).await.unwrap();
            if attack.ends_with("its key") {
                raw.run(&format!("UPDATE customer SET record_key = {} WHERE number = '{a}' AND tenant_id = {tenant}", row(b, "record_key"))).await.unwrap();
            }
            let answer = ask().await;
            assert_eq!((answer.status, answer.code()), (294, "INTERNAL_SERVER_ERROR"), "{attack}");
            assert_eq!(answer.body["data"]["customer"], json!({ "number": a, "phone": null }), "{attack}");
            raw.run(&format!("UPDATE customer SET phone = (SELECT phone FROM kept WHERE kept.number = '{a}'), record_key = (SELECT record_key FROM kept WHERE kept.number = '{a}') WHERE number = '{a}' AND tenant_id = {tenant}")).await.unwrap_or_default();
            raw.run("DROP TABLE kept").await.unwrap();
            if home.engine == Engine::Sqlite {
                break; // both tenants' rows are visible here, and numbers repeat: one round is enough
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_links_across_tenants() {
    for home in homes().await {
        let raw = home.raw().await;
        raw.run("PRAGMA foreign_keys = ON").await.unwrap_or_default();
        raw.as_tenant(home.engine, "acme").await;
        let refused = raw.run("UPDATE customer SET owner_id = (SELECT id FROM app_user WHERE tenant_id = (SELECT id FROM tenant WHERE slug = 'globex') LIMIT 1) WHERE tenant_id = (SELECT id FROM tenant WHERE slug = 'acme')").await;
        match home.engine {
            Engine::Sqlite => assert!(refused.unwrap_err().contains("FOREIGN KEY")),
            // Row-level security hides the other tenant's user: there is nothing to link to.
            Engine::Postgres => assert!(refused.is_ok()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_level_security_is_the_second_wall() {
    for home in homes().await.into_iter().filter(|home| home.engine == Engine::Postgres) {
        assert_eq!(home.house.store().wall().await.unwrap(), entity::store::Wall::Stands);
        let raw = home.raw().await;
        let tables = "SELECT count(*) FROM information_schema.columns c JOIN pg_class p ON p.relname = c.table_name WHERE c.column_name = 'tenant_id' AND c.table_schema = 'public'";
        assert_eq!(raw.number(tables).await, 22);
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
