//! Files as people really keep them: what a row is, whose it is, and what is told of it.

use api::intake::{self, File, Options, Report};
use serde_json::{Value, json};
use tests::{Home, homes};

const SALES: &str = "序号,客户姓名,手机,邮箱,公司,来源渠道,首次跟进时间,客户状态\n";
const ORDERS: &str = "订单编号,买家昵称,收货人手机,邮箱,商品名称,实付金额,下单时间\n";

async fn import(home: &Home, source: &str, bytes: impl Into<Vec<u8>>) -> Report {
    let tenant = home.house.tenant("globex").await.unwrap();
    let steward = home.house.operator(tenant.id, "test", "steward", Some("data_quality"));
    intake::run(&home.house, &steward, &[File::of(source, "a.csv", bytes.into())], &Options::default(), &mut |_| {}).await.unwrap()
}

/// Created, updated, unchanged.
fn counts(report: &Report) -> (i32, i32, i32) {
    let counts = report.files[0].counts;
    (counts.created, counts.updated, counts.unchanged)
}

async fn found(home: &Home, by: &str, fields: &str) -> Value {
    let query = format!("{{ findCustomer(by: {{{by}}}) {{ {fields} }} }}");
    home.tenant("globex").persona("privacy").purpose("privacy_request").query(&query).await.data()["findCustomer"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_counts_rows_names_nobody_in_the_next_file() {
    for home in homes().await {
        let january = format!("{SALES}90001,刘一二,13600010001,,,,,潜在客户\n90002,陈三四,13600010002,,,,,潜在客户\n");
        let february = format!("{SALES}90001,周五六,13600010003,,,,,潜在客户\n90002,陈三四,13600010009,,,,,成交客户\n");
        assert_eq!(counts(&import(&home, "sales", january.clone()).await), (2, 0, 0));
        // The second row is the same person's with another number: it changes.
        assert_eq!(counts(&import(&home, "sales", february.clone()).await), (1, 1, 0));
        assert_eq!(found(&home, "phone: \"13600010001\"", "name(view: CLEAR)").await["name"], "刘一二");
        assert_eq!(found(&home, "phone: \"13600010003\"", "name(view: CLEAR)").await["name"], "周五六");
        assert_eq!(found(&home, "phone: \"13600010009\"", "name(view: CLEAR) status").await, json!({"name": "陈三四", "status": "WON"}));
        assert_eq!(counts(&import(&home, "sales", february).await), (0, 0, 2), "the same file again");
        assert_eq!(counts(&import(&home, "sales", january).await), (0, 1, 1), "and the one before: what was changed is changed back, nobody else");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_on_several_rows_is_a_record_each_and_the_same_again_changes_nothing() {
    for home in homes().await {
        let tickets = "工单号,提交时间,联系人,联系电话,邮箱,公司,问题类型,问题描述,处理人,工单状态,满意度\n\
            K90001,2024-05-01,赵一一,13600010101,,,咨询,一,,已关闭,5分\nK90001,2024-05-02,孙二二,13600010102,,,咨询,二,,已关闭,非常满意\n";
        let first = import(&home, "ticket", tickets).await;
        assert_eq!(counts(&first), (2, 0, 0));
        assert_eq!(first.files[0].tally.warnings.get("satisfaction"), Some(&1), "a word is no mark");
        assert_eq!(counts(&import(&home, "ticket", tickets).await), (0, 0, 2));
        for (phone, mark) in [("13600010101", json!(5)), ("13600010102", Value::Null)] {
            let found = found(&home, &format!("phone: \"{phone}\""), "tickets(first: 3) { nodes { number satisfaction } }").await;
            assert_eq!(found["tickets"]["nodes"], json!([{"number": "K90001", "satisfaction": mark}]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_one_word_in_place_of_ids_takes_every_row_once() {
    for home in homes().await {
        let rows = |id: &str| (0..230).map(|n| format!("{id},沈{}同,1360002{n:04},,鞋,70,2024-05-02\n", ["一", "二", "三"][n % 3])).collect::<String>();
        // A word for nothing is no id; any other word is everybody's.
        for id in ["-", "Q90001"] {
            let file = format!("{ORDERS}{}", rows(id).replace(",鞋,", &format!(",鞋{},", id.len())));
            assert_eq!(counts(&import(&home, "ecom", file.clone()).await), (230, 0, 0), "{id}");
            assert_eq!(counts(&import(&home, "ecom", file).await), (0, 0, 230), "{id} again");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_called_by_its_buyers_number_has_several_items() {
    for home in homes().await {
        for own in ["13600010203", "li@example.com"] {
            let order = |hat: &str| {
                format!("{ORDERS}{own},赵一一,13600010203,li@example.com,鞋,70,2024-05-02\n{own},赵一一,13600010203,li@example.com,帽,{hat},2024-05-02\n")
            };
            let (a, b) = (order("80"), order("85"));
            assert_eq!(counts(&import(&home, "ecom", a.clone()).await), (2, 0, 0));
            for file in [&b, &a, &b] {
                assert_eq!(counts(&import(&home, "ecom", file.clone()).await), (0, 1, 1));
                assert_eq!(counts(&import(&home, "ecom", file.clone()).await), (0, 0, 2));
            }
        }
        let orders = found(&home, "phone: \"13600010203\"", "orders(first: 9) { totalCount nodes { number } }").await["orders"].clone();
        assert_eq!(orders["totalCount"], 4);
        assert!(!orders.to_string().contains("13600010203") && !orders.to_string().contains('@'), "{orders}");
        // An address of mail is somebody's, whoever else the row names.
        import(&home, "ecom", format!("{ORDERS}other@example.com,孙一一,13600010204,,鞋,70,2024-05-02\n")).await;
        let orders = found(&home, "phone: \"13600010204\"", "orders(first: 9) { nodes { number } }").await;
        assert!(!orders.to_string().contains("other@"), "{orders}");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_stored_under_an_address_of_mail_are_known_under_its_hash() {
    for home in homes().await {
        let tickets = |second: &str| {
            format!(
                "工单号,提交时间,联系人,联系电话,邮箱,公司,问题类型,问题描述,处理人,工单状态,满意度\n\
                 other@example.com,2024-05-01,赵一一,13600010251,,,咨询,一,,已关闭,5\nother@example.com,2024-05-01,赵一一,13600010251,,,咨询,{second},,已关闭,5\n"
            )
        };
        assert_eq!(counts(&import(&home, "ticket", tickets("二")).await), (2, 0, 0));
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        for (row, name) in [(1, "other@example.com"), (2, "other@example.com#2")] {
            let newest = "imported_at = (SELECT max(imported_at) FROM source_record WHERE external_id LIKE '~%' OR external_id LIKE 'other@%')";
            raw.run(&format!("UPDATE source_record SET external_id = '{name}' WHERE row_number = {row} AND {newest}")).await.unwrap();
        }
        assert_eq!(counts(&import(&home, "ticket", tickets("二")).await), (0, 0, 2));
        assert_eq!(counts(&import(&home, "ticket", tickets("三")).await), (0, 1, 1));
        assert_eq!(counts(&import(&home, "ticket", tickets("三")).await), (0, 0, 2));
        assert_eq!(counts(&import(&home, "ticket", tickets("二")).await), (0, 1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_masked_or_says_nobody_links_nobody() {
    for home in homes().await {
        let orders = format!(
            "{ORDERS}M90001,张伟,13600010301,***@qq.com,鞋,70,2024-05-02\nM90002,张伟,13600010302,***@qq.com,鞋,70,2024-05-02\n\
             M90003,未知,13600010303,,鞋,70,2024-05-02\nM90004,未知,\"13600010304,1234\",,鞋,70,2024-05-02\nM90005,李关联,400-800-8888,,鞋,70,2024-05-02\n"
        );
        let report = import(&home, "ecom", orders).await;
        let file = &report.files[0];
        assert_eq!((file.counts.created, file.counts.rejected, report.linked().created), (5, 0, 5), "{:?}", file.tally);
        assert_eq!(file.tally.warnings.get("email"), Some(&2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_no_customers_and_companies_that_are_called_so_are() {
    for home in homes().await {
        let sums = ["合 计,2,,,,,,200", "本页小计,2,,,,,,200", "Grand Total,2,,,,,,200", ",合计,,,,,,共2人", "总计：2人,,,,,,,x"];
        let sums: String = sums.iter().map(|sum| format!("{sum}\n")).collect();
        let kept = "90401,刘一三,13600010401,,Total Energies China Ltd,,,潜在客户\n总计科技有限公司,刘一四,13600010402,,总计科技有限公司,,,潜在客户\n";
        let report = import(&home, "sales", format!("{SALES}{sums}{kept}")).await;
        assert_eq!((report.files[0].counts.created, report.files[0].tally.reasons.get("not_a_record")), (2, Some(&5)), "{:?}", report.files[0].tally);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_found_by_every_number_that_was_theirs() {
    for home in homes().await {
        let rows = format!(
            "{SALES}90501,钱五一,13600010501,qian@example.com,,,2024-01-01,潜在客户\n90502,钱五一,13600010502,qian@example.com,,,2024-02-01,潜在客户\n\
             90503,冯六六,13600010503,,,,2024-02-01,潜在客户\n"
        );
        assert_eq!(import(&home, "sales", rows).await.linked().created, 2);
        let of = async |by: &str| found(&home, by, "id number phone(view: CLEAR)").await;
        let (older, newer) = (of("phone: \"13600010501\"").await, of("phone: \"13600010502\"").await);
        assert!(older["id"].is_string());
        assert_eq!(older, newer);
        let other = of("phone: \"13600010503\"").await;
        let merge = "mutation($w: ID!, $l: ID!) { mergeCustomers(winner: $w, loser: $l, reason: \"r\") { result { id } userErrors { message } } }";
        let steward = home.tenant("globex").persona("steward").purpose("data_quality");
        steward.ask(merge, json!({"w": older["id"], "l": other["id"]})).await.data();
        assert_eq!(of("phone: \"13600010503\"").await["id"], older["id"], "the number of who was merged");
        let number = format!("number: {}", other["number"]);
        assert_eq!(of(&number).await["id"], older["id"], "and the customer number");
        // The log tells by what was searched.
        let log = home.tenant("globex").persona("auditor").query("{ audit { events(first: 40) { nodes { body } } } }").await;
        assert!(log.data().to_string().contains(r#"\"facts\":{\"searched\":[\"Customer.phone\"]}"#), "{}", log.data());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_type_that_a_source_states_is_the_customers() {
    for home in homes().await {
        let mapping = r#"{source: "club", tells: "membership", columns: [{header: "会员号", to: "external_id"}, {header: "姓名", to: "name"}, {header: "手机", to: "phone"},
            {header: "类型", to: "customer_type"}, {header: "单位", to: "company"}]}"#;
        let set = format!("mutation {{ setMapping(input: {mapping}) {{ userErrors {{ message }} }} }}");
        let steward = home.tenant("globex").persona("steward").purpose("data_quality");
        assert_eq!(steward.query(&set).await.data()["setMapping"]["userErrors"], json!([]));
        let rows = "会员号,姓名,手机,类型,单位\nC90001,周九一,13600010601,企业,甲公司\nC90002,周九二,13600010602,2,\nC90003,周九三,13600010603,个人,\nC90004,周九四,13600010604,,\n";
        assert_eq!(counts(&import(&home, "club", rows).await), (4, 0, 0));
        for (phone, kind) in [("13600010601", "COMPANY"), ("13600010602", "COMPANY"), ("13600010603", "PERSON"), ("13600010604", "PERSON")] {
            assert_eq!(found(&home, &format!("phone: \"{phone}\""), "type").await["type"], kind, "{phone}");
        }
        let changed = rows.replace("C90003,周九三,13600010603,个人", "C90003,周九三,13600010603,企业");
        assert_eq!(counts(&import(&home, "club", changed).await), (0, 1, 3));
        let why = found(&home, "phone: \"13600010603\"", "type provenance { field source }").await;
        assert_eq!(why["type"], "COMPANY");
        assert!(why["provenance"].as_array().unwrap().contains(&json!({"field": "Customer.type", "source": "club"})), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mended_rejects_leave_their_source_known_by_its_header() {
    for home in homes().await {
        let file = format!("{SALES}90701,刘七一,13600010701,,,,,潜在客户\n");
        import(&home, "sales", file.clone()).await;
        let header = format!("{},{}\n", SALES.trim_end(), "拒绝原因/reason,说明/detail,建议/suggestion");
        import(&home, "sales", format!("{header}90702,刘七二,13600010702,,,,,潜在客户,invalid_phone,x,y\n")).await;
        let tenant = home.house.tenant("globex").await.unwrap();
        let steward = home.house.operator(tenant.id, "test", "steward", Some("data_quality"));
        let mut unnamed = File::of("sales", "b.csv", file.into_bytes());
        unnamed.source = None;
        let report = intake::run(&home.house, &steward, &[unnamed], &Options::default(), &mut |_| {}).await.unwrap();
        assert_eq!((report.files[0].source.as_str(), counts(&report)), ("sales", (0, 0, 1)));
        let token = home.tenant("globex").persona("steward").token().await;
        let form = reqwest::Client::new().post(format!("{}/api/v1/imports?source=sales", home.url)).bearer_auth(token);
        let refused = form.header("content-type", "multipart/form-data; boundary=b").body("--b\r\n\r\nx\r\n--b--").send().await.unwrap();
        assert_eq!(refused.status().as_u16(), 415, "a form is no file");
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(json.matches("\"warnings\":").count(), 1, "{json}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_hand_over_learns_nothing_of_who_is_there() {
    for home in homes().await {
        for persona in ["bi", "marketing", "auditor", "support"] {
            for (from, to) in [("liuyang", "wulei"), ("nosuch", "wulei"), ("liuyang", "nosuch")] {
                let ask = format!("mutation {{ handOver(from: \"{from}\", to: \"{to}\", reason: \"r\") {{ result userErrors {{ message }} }} }}");
                assert_eq!(home.tenant("acme").persona(persona).query(&ask).await.code(), "FORBIDDEN", "{persona} {from} {to}");
            }
        }
        let filter = |industry: &str| format!("{{ customers(first: 1, filter: {{industry: \"{industry}\"}}) {{ totalCount }} }}");
        for wild in ["%", "_"] {
            assert_eq!(home.tenant("acme").persona("bi").query(&filter(wild)).await.code(), "BAD_USER_INPUT");
        }
        home.tenant("acme").persona("bi").query(&filter("I")).await.data();
        let merges = home.tenant("acme").persona("steward").purpose("data_quality").query("{ merges(first: 1) { winner loser } }").await;
        assert!(merges.data()["merges"].is_array());
    }
}
