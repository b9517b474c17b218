//! How PostgreSQL finds what is asked for among many rows, by the plans of the very statements that the program sends; and that each of them
//! lies on one shard of Citus.

use api::intake::{self, File, Options};
use serde_json::json;
use tests::{Engine, Home, Raw, engines};

use crate::generated;

/// Ten copies of each customer with all that hangs on them; nobody can open their cells. Other references of theirs are not
/// checked meanwhile.
const COPIES: &str = "SET session_replication_role = replica;
    CREATE TEMP TABLE copy ON COMMIT DROP AS SELECT c.tenant_id, c.id AS was, gen_random_uuid() AS now, n FROM customer c, generate_series(1, 10) AS n;
    INSERT INTO customer SELECT (jsonb_populate_record(c, jsonb_build_object('id', now, 'number', 'Z' || n || '/' || c.number, 'merged_into', NULL,
        'phone_index', '\\x' || md5(random()::text) || md5(random()::text)))).* FROM copy JOIN customer c ON c.tenant_id = copy.tenant_id AND c.id = was;
    INSERT INTO customer_tag SELECT t.tenant_id, now, tag_id FROM copy JOIN customer_tag t ON t.tenant_id = copy.tenant_id AND t.customer_id = was;";
const HANGING: [&str; 4] = ["customer_order", "contact_record", "ticket", "source_record"];

/// There is one log of the cluster: whoever reads plans in it is alone.
static LOG: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The same program again, of which the log tells every statement with its plan: its connections are new.
async fn explained(home: &Home, owner: &Raw) -> Home {
    let database = owner.text("SELECT current_database()::text").await;
    for setting in ["session_preload_libraries = 'auto_explain'", "auto_explain.log_min_duration = 0"] {
        owner.run(&format!("ALTER DATABASE {database} SET {setting}")).await.unwrap();
    }
    home.again().await
}

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
    let _alone = LOG.lock().await;
    let home = Home::of(Engine::Postgres).await;
    let owner = Raw::connect(&tests::as_owner(&home.config.url())).await;
    let counted = ["customer", "customer_tag"].into_iter().chain(HANGING).map(|table| format!("ANALYZE {table};")).collect::<String>();
    owner.run(&format!("{COPIES} {} {counted}", HANGING.map(hanging).concat())).await.unwrap();
    assert!(owner.number("SELECT count(*) FROM customer").await > 10_000);
    let served = explained(&home, &owner).await;
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

/// Tables whose rows belong to tenants, of which the benches' questions read.
const READ: [&str; 8] = ["customer", "customer_tag", "tag", "customer_order", "contact_record", "ticket", "source_record", "source_system"];

/// By what the tables of a statement are called in it.
fn called(statement: &str) -> Vec<String> {
    let words: Vec<&str> = statement.split([' ', '(', ')', ',']).filter(|word| !word.is_empty()).collect();
    let bare = |at: usize| words.get(at).map_or("", |word| word.trim_matches('"'));
    let named = words.iter().enumerate().filter(|(_, word)| matches!(**word, "FROM" | "JOIN")).map(|(at, _)| at + 1);
    let tables = named.filter(|at| READ.contains(&bare(*at)));
    tables.map(|at| if bare(at + 1) == "AS" { bare(at + 2) } else { bare(at) }.to_owned()).collect()
}

/// Whether all its tables are asked for rows of a tenant that is a parameter, by themselves or by one that is: what Citus sends to one
/// shard as it stands. (All that is bound to a tenant is bound to that of the scope.)
fn of_one_tenant(statement: &str) -> bool {
    let text = statement.replace('"', "");
    let calls = called(statement);
    let mut of: Vec<&String> = calls.iter().filter(|one| text.contains(&format!("{one}.tenant_id = $"))).collect();
    loop {
        let joined = |one: &&String| {
            of.iter()
                .any(|other| text.contains(&format!("{one}.tenant_id = {other}.tenant_id")) || text.contains(&format!("{other}.tenant_id = {one}.tenant_id")))
        };
        let more: Vec<&String> = calls.iter().filter(|one| !of.contains(one)).filter(joined).collect();
        if more.is_empty() {
            return !calls.is_empty() && calls.iter().all(|one| of.contains(&one));
        }
        of.extend(more);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_lies_on_one_shard() {
    assert!(of_one_tenant("SELECT t.name FROM customer_tag AS h JOIN tag AS t ON t.tenant_id = h.tenant_id AND t.id = h.tag_id WHERE h.tenant_id = $1"));
    assert!(!of_one_tenant("SELECT t.name FROM customer_tag AS h JOIN tag AS t ON t.id = h.tag_id WHERE h.tenant_id = $1"));
    assert!(!of_one_tenant("SELECT number FROM customer WHERE id = $1"));
    if !engines().contains(&Engine::Postgres) {
        return;
    }
    let _alone = LOG.lock().await;
    let home = Home::of(Engine::Postgres).await;
    let owner = Raw::connect(&tests::as_owner(&home.config.url())).await;
    let served = explained(&home, &owner).await;
    let own = served.tenant("acme").persona("support").purpose("customer_service").query("{ customers(first: 1) { nodes { id } } }").await.data()["customers"]
        ["nodes"][0]["id"]
        .clone();
    let mut page = "# What PostgreSQL is asked\n\nThe statements by which the questions of the benches are answered, as the program sends them, in a transaction that has begun with\n\
        `BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL app.tenant = '…'`. Each of their tables is asked for rows of one tenant, the same in all of\n\
        them, so that each lies on one shard where they are distributed by `tenant_id` ([scaling](scaling.md)). A test writes this page and holds it to that.\n"
        .to_owned();
    for (name, role, purpose, question) in tests::questions::asked().into_iter().filter(|(name, ..)| !matches!(*name, "Q6" | "W1")) {
        let ask = async || {
            let desk = served.tenant("acme").persona(role);
            let desk = if let Some(purpose) = purpose { desk.purpose(purpose) } else { desk };
            desk.ask(&question, json!({ "id": own, "phone": "13812345678" })).await.data();
        };
        // The second time nothing is looked up that is kept.
        ask().await;
        let before = tests::postgres_log().len();
        ask().await;
        let log = tests::postgres_log()[before..].to_owned();
        let statements: Vec<&str> = log.split("Query Text: ").skip(1).map(|rest| rest.lines().next().unwrap_or_default()).collect();
        let mut asked: Vec<&str> = statements.into_iter().filter(|statement| !called(statement).is_empty()).collect();
        asked.dedup();
        assert!(!asked.is_empty(), "{name}: {log}");
        page.extend(["\n## ", name, "\n\n```graphql\n", &question, "\n```\n"]);
        for statement in asked {
            assert!(of_one_tenant(statement), "{name}: {statement}");
            page.extend(["\n```sql\n", statement, "\n```\n"]);
        }
    }
    generated::check("statements.md", &page);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_tenant_that_nobody_counted_are_found_by_their_ids() {
    if !engines().contains(&Engine::Postgres) {
        return;
    }
    let _alone = LOG.lock().await;
    let home = Home::of(Engine::Postgres).await;
    let owner = Raw::connect(&tests::as_owner(&home.config.url())).await;
    owner.run("ANALYZE source_record").await.unwrap();
    let served = explained(&home, &owner).await;
    let late = served.house.create_tenant("late", "后来者").await.unwrap();
    let steward = served.house.operator(late.id, "test", "steward", Some("data_quality"));
    let mut orders = "订单编号,买家昵称,收货人手机,邮箱,商品名称,数量,实付金额,下单时间,收货地址,订单状态,买家留言\n".to_owned();
    orders.extend((0..11_000).map(|n| format!("L{n},吕秋白,139{:08},,保温杯,1,10.00,2024-05-01 10:00:00,,交易成功,\n", 10_000_000 + n)));
    let before = tests::postgres_log().len();
    let files = [File::of("ecom", "orders.csv", orders.into_bytes())];
    intake::run(&served.house, &steward, &files, &Options::default(), &mut |_| {}).await.map_err(|stop| stop.to_string()).unwrap();
    let log = tests::postgres_log()[before..].to_owned();
    let plans: Vec<&str> = log.split("Query Text: ").filter(|plan| plan.starts_with("SELECT") && plan.contains("\"external_id\" = ANY")).collect();
    assert!(plans.len() >= 3, "{}", plans.len());
    for plan in plans {
        assert!(plan.contains("using source_record_tenant_id_source_id_external_id_key on"), "{plan}");
    }
}
