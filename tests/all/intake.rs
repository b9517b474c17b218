//! Intake on the bundled sample and on files that are not as they should be.

use std::path::Path;

use api::intake::{self, File, Options, Report};
use tests::{Engine, Home, homes, program, score};

async fn import(home: &Home, tenant: &str, source: &str, name: &str, bytes: &[u8]) -> Result<Report, String> {
    let tenant = home.house.tenant(tenant).await.unwrap();
    let steward = home.house.operator(tenant.id, "test", "steward", Some("data_quality"));
    intake::run(&home.house, &steward, &[File::of(source, name, bytes.to_vec())], &Options::default(), &mut |_| {}).await.map_err(|stop| stop.to_string())
}

const SALES: &[u8] = include_bytes!("../../api/demo/acme/sales_ledger.csv");

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_scores_as_it_should() {
    for home in homes().await {
        let out = home.config.data_dir.join("result.csv");
        let mut arguments =
            vec!["rows", "--tenant", "acme", "--profile", "development", "--out", out.to_str().unwrap(), "--data-dir", home.config.data_dir.to_str().unwrap()];
        let url = home.config.url();
        arguments.extend(["--database-url", &url]);
        let output = program(&arguments).output();
        assert!(output.status.success(), "{output:?}");
        let score = score::score(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/acme_truth.csv"), &out);
        assert_eq!(score.rows, 5_204);
        assert!(score.rejection_f1 >= 0.99 && score.right_reason >= 0.98, "{score:?}");
        assert!(score.linking_f1 >= 0.985 && score.over_merged <= 8, "{score:?}");
        assert!(score.exhibition_f1 > 0.999, "{score:?}");
        for (field, exact) in &score.standardised {
            assert!(*exact >= 0.99, "{field}: {score:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_again_changes_nothing_and_a_corrected_row_only_itself() {
    for home in homes().await {
        let before = home.tenant("acme").persona("bi").query("{ customers(first: 1) { totalCount } }").await;
        let again = import(&home, "acme", "sales", "sales_ledger.csv", SALES).await.unwrap();
        let counts = again.files[0].counts;
        assert_eq!((counts.created, counts.updated, counts.unchanged + counts.duplicate), (0, 0, counts.read - counts.rejected));
        assert_eq!((again.linked().created, again.linked().updated, again.linked().merged), (0, 0, 0));
        let after = home.tenant("acme").persona("bi").query("{ customers(first: 1) { totalCount } }").await;
        assert_eq!(before.data(), after.data());
        // Row 20 was rejected for a digit too many; mended, it alone is new.
        let mended = String::from_utf8(SALES.to_vec()).unwrap().replace("136193389441", "13619338944");
        let mended = import(&home, "acme", "sales", "sales_ledger.csv", mended.as_bytes()).await.unwrap();
        assert_eq!((mended.files[0].counts.created, mended.files[0].counts.updated), (1, 0));
        // A changed status is an update of one record and one customer.
        let changed = String::from_utf8(SALES.to_vec()).unwrap().replacen("潜在客户", "流失客户", 1);
        let changed = import(&home, "acme", "sales", "sales_ledger.csv", changed.as_bytes()).await.unwrap();
        assert_eq!((changed.files[0].counts.created, changed.files[0].counts.updated, changed.linked().updated), (0, 1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_persons_records_from_many_systems_are_one_customer() {
    for home in homes().await {
        let sales = "序号,客户姓名,手机,邮箱,公司,客户状态,负责人\n90001,欧阳测试,+86 138-1234-5670,TEST.O@Example.com,测试有限公司,成交客户,李经理\n";
        let ecom = "订单编号,买家昵称,收货人手机,邮箱,商品名称,数量,实付金额,下单时间,收货地址,订单状态,买家留言\nX1,欧阳测式,１３８１２３４５６７０,,茶杯,2,\"¥1,020.50\",2026-01-02 10:00:00,浙江杭州西湖区文三路1号,交易成功,\nX2,tb123,,test.o@example.com,茶壶,1,9.90,2026-01-03,,交易成功,\n";
        let first = import(&home, "globex", "sales", "a.csv", sales.as_bytes()).await.unwrap();
        assert_eq!((first.linked().created, first.files[0].counts.created), (1, 1));
        let second = import(&home, "globex", "ecom", "b.csv", ecom.as_bytes()).await.unwrap();
        assert_eq!(second.files[0].counts.created, 2);
        let answer = home.tenant("globex").persona("sales").purpose("sales_follow_up").query("{ findCustomer(by: {phone: \"13812345670\"}) { name(view: CLEAR) address(view: CLEAR) orders(first: 5) { totalCount nodes { number amount items } } sources { system externalId line } } }").await;
        let customer = &answer.data()["findCustomer"];
        assert_eq!(customer["name"], "欧阳测试", "equally frequent, so the more trusted source");
        assert_eq!(customer["address"], "浙江省|杭州市|西湖区|文三路1号");
        // The order of the nickname is hers too: its e-mail is known, and it names nobody else.
        let orders = &customer["orders"];
        assert_eq!(
            (&orders["totalCount"], &orders["nodes"][1]["amount"], &orders["nodes"][1]["items"]),
            (&serde_json::json!(2), &serde_json::json!("1020.50"), &serde_json::json!("茶杯 ×2")),
            "{customer}"
        );
        assert_eq!(customer["sources"].as_array().unwrap().len(), 3);
        let log =
            home.tenant("globex").persona("auditor").query("{ audit { events(filter: {operation: \"Import.batch\"}, first: 2) { nodes { body } } } }").await;
        assert!(!log.data().to_string().contains("13812345670"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_are_refused_whole_in_one_line() {
    let home = Home::of(Engine::Sqlite).await;
    for (bytes, word) in [
        (&b"\xff\xff\xff\xff,\xff"[..], "neither UTF-8 nor GB18030"),
        (b"PK\x03\x04 spreadsheet", "cut off"),
        (b"", "no rows"),
        ("姓名,电话\n张三,13812345678\n".as_bytes(), "header"),
        ("序号,客户姓名,备注\n1,张三,13812345678\n".as_bytes(), "column '手机'"),
    ] {
        let problem = import(&home, "acme", "sales", "bad.csv", bytes).await.unwrap_err();
        assert!(problem.contains(word) && problem.contains("bad.csv") && !problem.contains("13812345678") && !problem.contains("张三"), "{problem}");
    }
    let problem = import(&home, "acme", "crm", "x.csv", b"").await.unwrap_err();
    assert!(problem.contains("sales, shop, ticket, ecom"), "{problem}");
    let reports = home.tenant("acme").persona("steward").query("{ imports { file state } }").await;
    assert!(!reports.data().to_string().contains("bad.csv"), "nothing half-written");
    let tenant = home.house.tenant("acme").await.unwrap();
    let bi = home.house.operator(tenant.id, "test", "bi", None);
    let denied = intake::run(&home.house, &bi, &[File::of("sales", "sales.csv", SALES)], &Options::default(), &mut |_| {}).await;
    assert!(denied.unwrap_err().to_string().contains("not permitted"));
}

/// What `support` finds under a phone: number, owner and sources.
async fn found(home: &Home, phone: &str) -> serde_json::Value {
    let query = format!("{{ findCustomer(by: {{phone: \"{phone}\"}}) {{ id number company sources {{ externalId }} tags {{ name }} }} }}");
    home.tenant("globex").persona("steward").query(&query).await.data()["findCustomer"].clone()
}

const HEADER: &str = "序号,客户姓名,手机,邮箱,公司,客户状态,负责人\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_row_leaves_nothing_of_itself_behind() {
    for home in homes().await {
        // Tickets, whose numbers name the same ticket in every file.
        let row = |ticket: &str, phone: &str, company: &str| format!("{ticket},2024-05-01,欧阳测试,{phone},,{company},咨询,问,,已关闭,4\n");
        let header = "工单号,提交时间,联系人,联系电话,邮箱,公司,问题类型,问题描述,处理人,工单状态,满意度\n";
        let rows = |second: &str| format!("{header}{}{}", row("T90001", "13812345670", "甲乙有限公司"), row("T90002", second, "丙丁有限公司"));
        import(&home, "globex", "ticket", "a.csv", rows("13812345670").as_bytes()).await.unwrap();
        let both = found(&home, "13812345670").await;
        assert_eq!(both["sources"].as_array().unwrap().len(), 2);
        // The second record turns out to be somebody else's: the first customer forgets it.
        let second = rows("13912345671").replace("T90002,2024-05-01,欧阳测试", "T90002,2024-05-01,诸葛旁人");
        import(&home, "globex", "ticket", "a.csv", second.as_bytes()).await.unwrap();
        let (first, other) = (found(&home, "13812345670").await, found(&home, "13912345671").await);
        assert_eq!((&first["id"], first["sources"].as_array().unwrap().len(), &first["company"]), (&both["id"], 1, &"甲乙有限公司".into()));
        assert_eq!((other["sources"].as_array().unwrap().len(), &other["company"]), (1, &"丙丁有限公司".into()));
        // Both changed to a new number: nobody is found under the old one.
        import(&home, "globex", "ticket", "a.csv", rows("13912345671").replace("13812345670", "13712345672").as_bytes()).await.unwrap();
        assert!(found(&home, "13812345670").await.is_null());
        assert_eq!(found(&home, "13712345672").await["id"], both["id"], "ids stay");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_met_twice_keeps_its_customer() {
    for home in homes().await {
        import(&home, "globex", "sales", "a.csv", format!("{HEADER}90001,欧阳测试,13812345670,,,成交客户,李经理\n").as_bytes()).await.unwrap();
        let before = found(&home, "13812345670").await;
        let twice = format!("{HEADER}90001,欧阳测试,13812345670,,,成交客户,李经理\n90001,欧阳测试,13812345670,,,流失客户,李经理\n");
        let report = import(&home, "globex", "sales", "a.csv", twice.as_bytes()).await.unwrap();
        assert_eq!((report.files[0].counts.unchanged, report.files[0].counts.created, report.linked().created), (1, 1, 0));
        assert_eq!(found(&home, "13812345670").await["id"], before["id"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_several_items_keeps_them_all() {
    for home in homes().await {
        let orders = "订单编号,买家昵称,收货人手机,邮箱,商品名称,数量,实付金额,下单时间,收货地址,订单状态,买家留言\nX1,欧阳测试,13812345670,,茶杯,2,20.50,2026-01-02,,交易成功,\nX1,欧阳测试,13812345670,,茶壶,1,9.90,2026-01-02,,交易成功,\nX1,欧阳测试,13812345670,,茶杯,2,20.50,2026-01-02,,交易成功,\n";
        let first = import(&home, "globex", "ecom", "o.csv", orders.as_bytes()).await.unwrap().files[0].counts;
        assert_eq!((first.created, first.duplicate), (2, 1));
        let again = import(&home, "globex", "ecom", "o.csv", orders.as_bytes()).await.unwrap().files[0].counts;
        assert_eq!((again.unchanged, again.duplicate, again.updated), (2, 1, 0));
        let answer = home
            .tenant("globex")
            .persona("support")
            .query("{ findCustomer(by: {orderNumber: \"X1\"}) { orders(first: 5) { nodes { number amount } } } }")
            .await;
        let nodes = answer.data()["findCustomer"]["orders"]["nodes"].as_array().unwrap().clone();
        assert!(nodes.len() == 2 && nodes.iter().all(|node| node["number"] == "X1"), "{nodes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cut_off_goes_on_where_it_was() {
    for home in homes().await {
        let row = |n: usize| format!("{},欧阳测试,136{:08},,,成交客户,李经理\n", 100_000 + n, 10_000_000 + n * 37);
        let file: String = std::iter::once(HEADER.to_owned()).chain((1..=12_000).map(row)).collect();
        let whole = import(&home, "globex", "sales", "big.csv", file.as_bytes()).await.unwrap().files[0].clone();
        assert_eq!((whole.counts.read, whole.counts.created), (12_000, 12_000));
        // As if the process had died behind the first batch.
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        raw.run("DELETE FROM customer_order WHERE record_id IN (SELECT id FROM source_record WHERE row_number > 5000 AND line > 5000)").await.unwrap();
        raw.run("UPDATE import SET state = 'running', rows_read = 5000, created = 5000, alive_at = '2020-01-01T00:00:00+00:00' WHERE file_name = 'big.csv'")
            .await
            .unwrap();
        let again = import(&home, "globex", "sales", "big.csv", file.as_bytes()).await.unwrap().files[0].clone();
        assert_eq!((again.import, again.counts.read, again.counts.created, again.counts.duplicate), (whole.import, 12_000, 5_000, 7_000));
        assert!(again.counts.reconciles());
        let reports = home.tenant("globex").persona("steward").query("{ imports(first: 1) { file state read } }").await;
        assert_eq!(reports.data()["imports"][0]["state"], "done");
    }
}

/// Which rows are one customer's: the sorted groups of row ids.
fn partition(home: &Home, tenant: &str) -> Vec<Vec<String>> {
    let out = home.config.data_dir.join(format!("{tenant}.csv"));
    let (data, url) = (home.config.data_dir.display().to_string(), home.config.url());
    let output =
        program(&["rows", "--tenant", tenant, "--out", out.to_str().unwrap(), "--profile", "development", "--data-dir", &data, "--database-url", &url])
            .output();
    assert!(output.status.success(), "{output:?}");
    let mut groups: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    for row in csv::Reader::from_path(&out).unwrap().records().map(Result::unwrap).filter(|row| !row[1].is_empty()) {
        groups.entry(row[1].to_owned()).or_default().push(row[0].to_owned());
    }
    let mut groups: Vec<Vec<String>> = groups.into_values().collect();
    groups.iter_mut().for_each(|group| group.sort());
    groups.sort();
    groups
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_the_files_changes_nothing() {
    for home in homes().await {
        home.house.create_tenant("turned", "倒序").await.unwrap();
        let files: [(&str, &str, &[u8]); 4] = [
            ("shop", "shop_register.csv", include_bytes!("../../api/demo/acme/shop_register.csv")),
            ("ticket", "support_tickets.csv", include_bytes!("../../api/demo/acme/support_tickets.csv")),
            ("ecom", "ecommerce_orders.csv", include_bytes!("../../api/demo/acme/ecommerce_orders.csv")),
            ("sales", "sales_ledger.csv", SALES),
        ];
        for (source, name, bytes) in files {
            import(&home, "turned", source, name, bytes).await.unwrap();
        }
        let (straight, turned) = (partition(&home, "acme"), partition(&home, "turned"));
        assert!(straight.len() > 2_000 && straight == turned, "{} customers and {}", straight.len(), turned.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_loses_nothing_and_goes_on() {
    for home in homes().await {
        let file = home.config.data_dir.join("killed.csv");
        let rows: String = (1..=20_000).map(|n| format!("{},欧阳测试,136{:08},,,成交客户,李经理\n", 100_000 + n, 10_000_000 + n * 37)).collect();
        std::fs::write(&file, format!("{HEADER}{rows}")).unwrap();
        let (data, url) = (home.config.data_dir.display().to_string(), home.config.url());
        let arguments = [
            "import",
            file.to_str().unwrap(),
            "--tenant",
            "globex",
            "--source",
            "sales",
            "--profile",
            "development",
            "--data-dir",
            &data,
            "--database-url",
            &url,
        ];
        let raw = home.raw().await;
        raw.as_tenant(home.engine, "globex").await;
        let loaded = "SELECT CAST(COALESCE(max(rows_read), 0) AS bigint) FROM import WHERE file_name = 'killed.csv'";
        let mut child = program(&arguments).spawn();
        while raw.number(loaded).await < 5_000 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // Whole batches, and each of their rows has its customer.
        let stands = raw.number(loaded).await;
        assert!(stands % 5_000 == 0 && stands < 20_000, "{stands}");
        let records = "SELECT count(*) FROM source_record WHERE line > 1 AND import_id = (SELECT id FROM import WHERE file_name = 'killed.csv')";
        assert_eq!(raw.number(records).await, stands);
        assert_eq!(raw.number(&format!("{records} AND customer_id IS NULL")).await, 0);
        // Another run at once is told to wait; a little later it goes on with the same import.
        let early = program(&arguments).refusal();
        assert!(early.contains("killed.csv") && early.contains("wait"), "{early}");
        raw.run("UPDATE import SET alive_at = '2020-01-01T00:00:00+00:00' WHERE file_name = 'killed.csv'").await.unwrap();
        let again = program(&arguments).output();
        assert!(again.status.success(), "{again:?}");
        assert_eq!(raw.number("SELECT count(*) FROM import WHERE file_name = 'killed.csv'").await, 1);
        assert_eq!((raw.number(loaded).await, raw.number(records).await), (20_000, 20_000));
    }
}
