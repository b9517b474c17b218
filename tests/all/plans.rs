//! How PostgreSQL finds what is asked for among many rows, by the plans of the very statements that the program sends.

use serde_json::json;
use tests::{Engine, Home, Raw, engines};

/// Ten copies of each customer with all that hangs on them; nobody can open their cells. Other references of theirs are not
/// checked meanwhile.
const COPIES: &str = "SET session_replication_role = replica;
    CREATE TEMP TABLE copy ON COMMIT DROP AS SELECT c.tenant_id, c.id AS was, gen_random_uuid() AS now, n FROM customer c, generate_series(1, 10) AS n;
    INSERT INTO customer SELECT (jsonb_populate_record(c, jsonb_build_object('id', now, 'number', 'Z' || n || '/' || c.number, 'merged_into', NULL,
        'phone_index', '\\x' || md5(random()::text) || md5(random()::text)))).* FROM copy JOIN customer c ON c.tenant_id = copy.tenant_id AND c.id = was;
    INSERT INTO customer_tag SELECT t.tenant_id, now, tag_id FROM copy JOIN customer_tag t ON t.tenant_id = copy.tenant_id AND t.customer_id = was;";
const HANGING: [&str; 4] = ["customer_order", "contact_record", "ticket", "source_record"];

/// Copies of the rows of a table that hang on customers.
fn hanging(table: &str) -> String {
    let called = if table == "source_record" { "'external_id', n || '/' || h.external_id" } else { "'record_id', NULL" };
    format!(
        "INSERT INTO {table} SELECT (jsonb_populate_record(h, jsonb_build_object('id', gen_random_uuid(), 'customer_id', now, {called}))).* \
         FROM copy JOIN {table} h ON h.tenant_id = copy.tenant_id AND h.customer_id = was;"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_among_many_is_found_by_indexes() {
    if !engines().contains(&Engine::Postgres) {
        return;
    }
    let home = Home::of(Engine::Postgres).await;
    let owner = Raw::connect(&tests::as_owner(&home.config.url())).await;
    let counted = ["customer", "customer_tag"].into_iter().chain(HANGING).map(|table| format!("ANALYZE {table};")).collect::<String>();
    owner.run(&format!("{COPIES} {} {counted}", HANGING.map(hanging).concat())).await.unwrap();
    assert!(owner.number("SELECT count(*) FROM customer").await > 10_000);
    let database = owner.text("SELECT current_database()::text").await;
    for setting in ["session_preload_libraries = 'auto_explain'", "auto_explain.log_min_duration = 0"] {
        owner.run(&format!("ALTER DATABASE {database} SET {setting}")).await.unwrap();
    }
    // Its connections are new.
    let served = home.again().await;
    let desk = |persona| served.tenant("acme").persona(persona).purpose("customer_service");
    let own = desk("support").query("{ customers(first: 1) { nodes { id } } }").await.data()["customers"]["nodes"][0]["id"].clone();

    let card = "query($id: ID!) { customer(id: $id) { name phone tags { name } orders(first: 10) { nodes { number } } contacts(first: 10) { nodes { at } } \
        tickets(first: 5) { nodes { number } } sources { system } } }";
    let page = "query($id: ID) { customers(first: 5, filter: {status: WON}) { nodes { number tags { name } orders(first: 3) { nodes { number } } } } node(id: $id) { id } }";
    let by_phone = "query($id: ID) { findCustomer(by: {phone: \"13812345678\"}) { number } node(id: $id) { id } }";
    for (question, indexes) in [
        (
            card,
            &[
                ("customer_pkey", "id"),
                ("order_customer", "customer_id"),
                ("contact_customer", "customer_id"),
                ("ticket_customer", "customer_id"),
                ("source_record_customer", "customer_id"),
                ("customer_tag_pkey", "customer_id"),
            ][..],
        ),
        (page, &[("customer_tenant_id_number_key", "tenant_id"), ("order_customer", "customer_id"), ("customer_tag_pkey", "customer_id")]),
        (by_phone, &[("customer_phone", "phone_index")]),
    ] {
        let before = tests::postgres_log().len();
        desk("support").ask(&question.replace("query($id: ID)", "query($id: ID!)"), json!({ "id": own })).await.data();
        let plans = tests::postgres_log()[before..].to_owned();
        for table in ["customer", "customer_tag"].into_iter().chain(HANGING) {
            assert!(!plans.contains(&format!("Seq Scan on {table} ")), "{table} is read whole for {question}: {plans}");
        }
        for (index, column) in indexes {
            let used: Vec<&str> = plans.split(&format!(" using {index} on ")).skip(1).collect();
            assert!(!used.is_empty(), "{index} is not used for {question}: {plans}");
            // Not walked from end to end, but down to where its key is.
            let down = |scan: &&str| scan.lines().nth(1).is_some_and(|line| line.contains("Index Cond: ") && line.contains(&format!("({column} = ")));
            assert!(used.iter().all(down), "{index} is not asked by {column} for {question}: {plans}");
        }
    }
}
