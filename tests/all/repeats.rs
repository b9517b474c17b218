//! Records that say what another of their customer's records says: one stands for all, and when it goes another does.

use api::intake::{self, File, Options};
use entity::{Change, Operation, Unaccounted};
use serde_json::{Value, json};
use tests::{Home, homes};
use uuid::Uuid;

const ORDERS: &str = "订单编号,买家昵称,收货人手机,邮箱,商品名称,数量,实付金额,下单时间,收货地址,订单状态,买家留言\n";
const PHONE: &str = "13912340077";

fn order(id: &str, name: &str, house: u32) -> String {
    format!("{id},{name},{PHONE},,保温杯,1,10.00,2024-05-0{} 10:00:00,浙江省杭州市西湖区文三路{house}号,交易成功,\n", 1 + house % 9)
}

/// Returns the import's id.
async fn import(home: &Home, rows: &str) -> Uuid {
    let tenant = home.house.tenant("globex").await.unwrap();
    let steward = home.house.operator(tenant.id, "test", "steward", Some("data_quality"));
    let files = [File::of("ecom", "orders.csv", format!("{ORDERS}{rows}").into_bytes())];
    let report = intake::run(&home.house, &steward, &files, &Options::default(), &mut |_| {}).await.map_err(|stop| stop.to_string()).unwrap();
    report.files[0].import
}

async fn ask(home: &Home, persona: &str, purpose: &str, query: &str, variables: Value) -> Value {
    home.tenant("globex").persona(persona).purpose(purpose).ask(query, variables).await.data().clone()
}

/// How many records stand for others, and how many are stood for. Whoever is stood for is so by one that says the same.
async fn standing(home: &Home, orders: &str) -> (i64, i64) {
    let raw = home.raw().await;
    raw.as_tenant(home.engine, "globex").await;
    let orphans = "SELECT count(*) FROM source_record r WHERE r.repeats IS NOT NULL AND (r.held_for IS NOT NULL OR NOT EXISTS (SELECT 1 FROM source_record s \
        WHERE s.tenant_id = r.tenant_id AND s.customer_id = r.customer_id AND s.likeness = r.likeness AND s.repeats IS NULL))";
    assert_eq!(raw.number(orphans).await, 0, "{:?}: nobody stands for some", home.engine);
    // SQLite finds orders through their records.
    let elsewhere = "SELECT count(*) FROM customer_order o JOIN source_record r ON r.tenant_id = o.tenant_id AND r.id = o.record_id \
        WHERE o.customer_id IS DISTINCT FROM r.customer_id";
    assert_eq!(raw.number(elsewhere).await, 0, "{:?}: an order is another's than its record", home.engine);
    let count = |which: &str| format!("SELECT count(*) FROM source_record WHERE external_id LIKE '{orders}%' AND repeats IS {which}");
    (raw.number(&count("NULL")).await, raw.number(&count("NOT NULL")).await)
}

/// The number of the customer of the phone, and how many orders it has.
async fn found(home: &Home) -> (Value, Value) {
    let query = "query($phone: String!) { findCustomer(by: {phone: $phone}) { number orders(first: 1) { totalCount } } }";
    let customer = ask(home, "support", "customer_service", query, json!({ "phone": PHONE })).await["findCustomer"].clone();
    (customer["number"].clone(), customer["orders"]["totalCount"].clone())
}

async fn undo(home: &Home, import: Uuid) {
    let tenant = home.house.tenant("globex").await.unwrap();
    let steward = home.house.operator(tenant.id, "test", "steward", Some("data_quality"));
    loop {
        let batch = async |change: &Change| entity::import::undo::batch(change, import).await.map_err(Unaccounted::Failed);
        if !Change::run(&home.house, &steward, Operation::new("command", "Imports.undo"), batch).await.unwrap() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_what_stands_for_others_goes_another_does() {
    for home in homes().await {
        let first = import(&home, &[order("R1", "吕秋白", 7), order("R2", "吕秋白", 7)].concat()).await;
        assert_eq!(standing(&home, "R").await, (1, 1), "of one batch");
        import(&home, &[order("R3", "吕秋白", 7), order("R4", "吕秋白", 7)].concat()).await;
        assert_eq!(standing(&home, "R").await, (1, 3), "of a later one");
        let (number, orders) = found(&home).await;
        assert_eq!(orders, 4);

        // The row that stands for the others moves house.
        import(&home, &order("R1", "吕秋白", 8)).await;
        let (speaking, _) = standing(&home, "R").await;
        assert!(speaking >= 2, "{speaking}");
        assert_eq!(found(&home).await, (number.clone(), json!(4)));
        // Who comes now is known by it.
        import(&home, &order("R5", "吕秋白", 7)).await;
        assert_eq!(found(&home).await, (number.clone(), json!(5)));
        standing(&home, "R").await;

        undo(&home, first).await;
        standing(&home, "R").await;
        let (now, orders) = found(&home).await;
        assert_eq!((&now, orders), (&number, json!(4)), "R2 is gone, R1 was written anew since");
        import(&home, &order("R6", "吕秋白", 7)).await;
        assert_eq!(found(&home).await.1, json!(5));
        standing(&home, "R").await;
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_parted_merged_or_erased_stands_for_nobody_else() {
    for home in homes().await {
        import(&home, &[order("P1", "吕秋白", 7), order("P2", "吕秋白", 7), order("P3", "吕秋白", 7)].concat()).await;
        assert_eq!(standing(&home, "P").await, (1, 2));
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        // Whoever moves one by itself: the database makes others stand.
        let another = "(SELECT id FROM customer WHERE tenant_id = source_record.tenant_id AND merged_into IS NULL AND id <> source_record.customer_id ORDER BY number LIMIT 1)";
        let moved = |which: &str| format!("UPDATE source_record SET customer_id = {another} WHERE external_id LIKE '{which}%'");
        raw.run("BEGIN").await.unwrap();
        raw.run(&moved("P1")).await.unwrap();
        let stood = "SELECT count(*) FROM source_record WHERE (external_id LIKE 'P2%' OR external_id LIKE 'P3%') AND repeats IS NULL";
        assert_eq!(raw.number(stood).await, 2, "{:?}", home.engine);
        raw.run("ROLLBACK").await.unwrap();
        raw.run("BEGIN").await.unwrap();
        raw.run(&moved("P2")).await.unwrap();
        assert_eq!(raw.number(stood).await, 1, "{:?}: who went stands for itself", home.engine);
        raw.run("UPDATE source_record SET held_for = customer_id WHERE external_id LIKE 'P3%'").await.unwrap();
        assert_eq!(raw.number(stood).await, 2, "{:?}: who is held stands for itself", home.engine);
        raw.run("ROLLBACK").await.unwrap();
        let (number, _) = found(&home).await;
        let query = "query($n: String!) { findCustomer(by: {number: $n}) { id } }";
        let id = ask(&home, "privacy", "privacy_request", query, json!({ "n": number })).await["findCustomer"]["id"].clone();
        let erase = "mutation($id: ID!) { erasePerson(customer: $id, reason: \"on request\") { userErrors { message } } }";
        let done = ask(&home, "privacy", "privacy_request", erase, json!({ "id": id })).await;
        assert!(done.to_string().contains("\"userErrors\":[]"), "{done}");
        assert_eq!(found(&home).await, (Value::Null, Value::Null));
        let left = "SELECT count(*) FROM source_record WHERE likeness IS NULL AND phone_index IS NOT NULL";
        assert_eq!(raw.number(left).await, 0);
    }
}
