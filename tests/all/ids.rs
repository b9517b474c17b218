//! Ids: those of customers lead on, those of sources are kept as they are only where they are nobody's.

use api::intake::Options;
use serde_json::json;
use tests::homes;

use crate::steward::{ask, import, run, text, with_phone};

#[tokio::test(flavor = "multi_thread")]
async fn an_id_leads_on_however_often_its_customer_was_merged() {
    for home in homes().await {
        let name = |n: usize| ["甲", "乙", "丙", "丁", "戊", "己", "庚", "辛"][n % 8];
        let rows: String = (0..24).map(|n| format!("{},欧阳{}{},136123971{n:02},,甲公司,,成交客户,李经理\n", 91_000 + n, name(n), name(n / 8))).collect();
        import(&home, &rows).await;
        let mut ids = Vec::new();
        for n in 0..24 {
            ids.push(text(&with_phone(&home, &format!("136123971{n:02}")).await, "id").to_owned());
        }
        for pair in ids.windows(2) {
            let merge =
                format!("mutation {{ mergeCustomers(winner: \"{}\", loser: \"{}\", reason: \"one\") {{ userErrors {{ message }} }} }}", pair[1], pair[0]);
            assert_eq!(ask(&home, &merge).await["mergeCustomers"]["userErrors"], json!([]));
        }
        let redirected = ask(&home, &format!("{{ customer(id: \"{}\") {{ id }} }}", ids[0])).await;
        assert_eq!(text(&redirected["customer"], "id"), ids[23]);
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_a_telephone_number_or_an_address_is_not_stored_as_it_is() {
    for home in homes().await {
        let rows = |status: &str| {
            format!("13612397200,欧阳甲一,13612397200,,甲公司,,{status},李经理\na.b@example.com,欧阳乙二,13612397201,,乙公司,,{status},李经理\n")
        };
        let counts = import(&home, &rows("成交客户")).await.files[0].counts;
        assert_eq!((counts.created, counts.rejected), (2, 0), "{counts:?}");
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        let clear = "SELECT count(*) FROM source_record WHERE external_id LIKE '%13612397200%' OR external_id LIKE '%example.com%'";
        assert_eq!(raw.number(clear).await, 0);
        // It is known again all the same.
        let again = import(&home, &rows("成交客户")).await.files[0].counts;
        assert_eq!((again.unchanged, again.created), (2, 0), "{again:?}");
        let changed = import(&home, &rows("流失客户")).await.files[0].counts;
        assert_eq!((changed.updated, changed.created), (2, 0), "{changed:?}");
        let sources = ask(&home, "{ findCustomer(by: {phone: \"13612397200\"}) { sources { externalId } } }").await;
        assert_eq!(sources["findCustomer"]["sources"][0]["externalId"], "row 1", "{sources}");
        // As are rows that were stored when ids were stored as they were.
        let formerly = "UPDATE source_record SET external_id = '13612397200' WHERE external_id LIKE '~%' AND row_number = 1 AND imported_at = \
            (SELECT max(imported_at) FROM source_record WHERE external_id LIKE '~%')";
        assert_eq!(raw.run(formerly).await, Ok(1));
        let known = import(&home, &rows("流失客户")).await.files[0].counts;
        assert_eq!((known.unchanged, known.created), (2, 0), "{known:?}");
        let back = import(&home, &rows("成交客户")).await.files[0].counts;
        assert_eq!((back.updated, back.created, raw.number(clear).await), (2, 0, 0), "{back:?}");
        // The number of an order may look like one that can be called, and is not.
        let header = "订单编号,买家昵称,收货人手机,邮箱,商品名称,数量,实付金额,下单时间,收货地址,订单状态,买家留言\n";
        let orders = ["19060500123", "SO19060500124", "13612397200"];
        let text: String = orders.iter().map(|n| format!("{n},欧阳甲一,13612397200,,保温杯,1,9.90,2024-05-01 10:00:00,,交易成功,\n")).collect();
        run(&home, "ecom", "orders.csv", format!("{header}{text}").as_bytes(), &Options::default()).await.unwrap();
        let shown = ask(&home, "{ findCustomer(by: {phone: \"13612397200\"}) { orders { nodes { number } } } }").await;
        let mut numbers: Vec<&str> =
            shown["findCustomer"]["orders"]["nodes"].as_array().unwrap().iter().map(|order| order["number"].as_str().unwrap()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, ["", "19060500123", "SO19060500124"]);
    }
}
