//! Whoever puts rows back to what they were, takes them away or brings them in beside the program is found out, although every
//! cell opens.

use api::intake::{self, File, Options};
use serde_json::{Value, json};
use tests::{Engine, Home, homes};

const HEADER: &str = "订单编号,买家昵称,收货人手机,邮箱,商品名称,数量,实付金额,下单时间,收货地址,订单状态,买家留言\n";

async fn import(home: &Home, text: &str) {
    let tenant = home.house.tenant("globex").await.unwrap();
    let steward = home.house.operator(tenant.id, "test", "steward", Some("data_quality"));
    let files = [File::of("ecom", "orders.csv", format!("{HEADER}{text}").into_bytes())];
    intake::run(&home.house, &steward, &files, &Options::default(), &mut |_| ()).await.unwrap();
}

async fn name(home: &Home, phone: &str) -> Value {
    let query = "query($phone: String!) { findCustomer(by: {phone: $phone}) { name(view: CLEAR) } }";
    home.tenant("globex").persona("steward").purpose("data_quality").ask(query, json!({ "phone": phone })).await.data()["findCustomer"]["name"].clone()
}

/// Some statements by hand, on globex's rows.
async fn by_hand(home: &Home, statements: &[&str]) {
    let raw = home.raw().await;
    raw.as_tenant(home.engine, "globex").await;
    for statement in statements {
        raw.run(&statement.replace("@globex", "(SELECT id FROM tenant WHERE slug = 'globex')")).await.unwrap();
    }
}

fn fsck(home: &Home) -> String {
    home.program(&["audit", "fsck", "--tenant", "globex"]).refusal()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_put_back_is_found_although_it_opens() {
    for home in homes().await {
        let row = |name: &str| format!("C90001,{name},13612390001,,保温杯,1,9.90,2024-05-01 10:00:00,浙江省杭州市西湖区文一路1号,交易成功,\n");
        import(&home, &row("司徒甲一")).await;
        let phone = "(SELECT customer_id FROM customer_order WHERE tenant_id = @globex AND number = 'C90001')";
        by_hand(&home, &[&format!("CREATE TABLE aside AS SELECT * FROM customer WHERE tenant_id = @globex AND id = {phone}")]).await;
        import(&home, &row("司徒甲二")).await;
        assert_eq!(name(&home, "13612390001").await, "司徒甲二");
        home.sound().await;
        // Back to what it was: the cells belong together, so they open.
        let cells = ["record_key", "key_epoch", "name", "phone", "address"].map(|column| format!("{column} = aside.{column}")).join(", ");
        by_hand(&home, &["CREATE TABLE ahead AS SELECT * FROM customer WHERE id IN (SELECT id FROM aside)"]).await;
        by_hand(&home, &[&format!("UPDATE customer SET {cells} FROM aside WHERE customer.tenant_id = aside.tenant_id AND customer.id = aside.id")]).await;
        assert_eq!(name(&home, "13612390001").await, "司徒甲一", "nothing shows it");
        let found = fsck(&home);
        assert!(found.contains("not verified: customer ") && found.contains("its sealed cells are not those that event "), "{found}");
        by_hand(&home, &[&format!("UPDATE customer SET {} FROM ahead AS aside WHERE customer.tenant_id = aside.tenant_id AND customer.id = aside.id", cells)])
            .await;
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_came_or_went_by_hand_is_found_and_so_is_an_edited_list() {
    for home in homes().await {
        by_hand(&home, &["CREATE TABLE aside AS SELECT * FROM ticket WHERE tenant_id = @globex ORDER BY id LIMIT 1"]).await;
        by_hand(&home, &["DELETE FROM ticket WHERE id IN (SELECT id FROM aside)"]).await;
        let found = fsck(&home);
        assert!(found.contains("not verified: ticket ") && found.contains("are not those that event "), "{found}");
        by_hand(&home, &["INSERT INTO ticket SELECT * FROM aside"]).await;
        home.sound().await;
        let other = if home.engine == Engine::Sqlite { "x'00112233445566778899aabbccddeeff'" } else { "'00112233-4455-6677-8899-aabbccddeeff'" };
        by_hand(&home, &[&format!("UPDATE aside SET id = {other}"), "INSERT INTO ticket SELECT * FROM aside"]).await;
        assert!(fsck(&home).contains("ticket 00112233-4455-6677-8899-aabbccddeeff: no event tells of it"));
        by_hand(&home, &[&format!("DELETE FROM ticket WHERE id = {other}")]).await;
        // The lists cannot be changed; with the trigger gone, the events name other lists.
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        let forge = "UPDATE audit_cells SET cells = cells";
        let wipe = "DELETE FROM audit_cells";
        for statement in [forge, wipe] {
            assert!(raw.run(statement).await.unwrap_err().contains("append-only"));
        }
        let triggers: &[&str] = match home.engine {
            Engine::Sqlite => &["DROP TRIGGER audit_cells_kept"],
            Engine::Postgres => &["ALTER TABLE audit_cells DISABLE TRIGGER audit_cells_append_only"],
        };
        by_hand(&home, triggers).await;
        by_hand(&home, &["DELETE FROM audit_cells WHERE tenant_id = @globex"]).await;
        assert!(fsck(&home).contains("the list of the sealed cells that it wrote is not the one that it names"));
    }
}
