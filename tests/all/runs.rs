//! Runs of imports: what stops them, what undoing leaves, what comes back out of them.

use std::time::{Duration, Instant};

use api::intake::{self, File, Options, Progress, Report};
use entity::{Change, Operation, Unaccounted};
use serde_json::{Value, json};
use tests::{Engine, Home, Raw, homes, program};

const HEADER: &str = "序号,客户姓名,手机,邮箱,公司,客户状态,负责人\n";

async fn import_while(home: &Home, source: &str, name: &str, file: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Report, String> {
    let tenant = home.house.tenant("globex").await.unwrap();
    let steward = home.house.operator(tenant.id, "test", "steward", Some("data_quality"));
    let files = [File::of(source, name, file.as_bytes().to_vec())];
    intake::run(&home.house, &steward, &files, &Options::default(), progress).await.map_err(|stop| stop.to_string())
}

async fn import(home: &Home, name: &str, rows: &str) -> Report {
    import_while(home, "sales", name, &format!("{HEADER}{rows}"), &mut |_| {}).await.unwrap()
}

async fn ask(home: &Home, query: &str) -> Value {
    home.tenant("globex").persona("steward").purpose("data_quality").query(query).await.data().clone()
}

async fn raw(home: &Home) -> Raw {
    let raw = home.raw().await;
    raw.as_tenant(home.engine, "globex").await;
    raw
}

/// The import of a file: its id and state.
async fn of_file(home: &Home, name: &str) -> (String, String) {
    let imports = ask(home, "{ imports(first: 50) { id file state } }").await;
    let of_name = imports["imports"].as_array().unwrap().iter().find(|import| import["file"] == name).unwrap().clone();
    (of_name["id"].as_str().unwrap().to_owned(), of_name["state"].as_str().unwrap().to_owned())
}

async fn undo(home: &Home, name: &str) {
    let tenant = home.house.tenant("globex").await.unwrap();
    let steward = home.house.operator(tenant.id, "test", "steward", Some("data_quality"));
    let batch = async || {
        let operation = Operation::new("command", "Imports.undo");
        Change::run(&home.house, &steward, operation, async |change| {
            let reports = entity::import::reports(change, 50).await?;
            let of_name = reports.iter().find(|report| report.file == name).ok_or(entity::Error::NotFound)?;
            entity::import::undo::batch(change, of_name.id).await.map_err(Unaccounted::Failed)
        })
        .await
    };
    while batch().await.unwrap() {}
    assert_eq!(of_file(home, name).await.1, "undone");
}

async fn with_phone(home: &Home, phone: &str) -> Value {
    let query = format!("{{ findCustomer(by: {{phone: \"{phone}\"}}) {{ id status tags {{ name category }} sources {{ externalId line }} }} }}");
    ask(home, &query).await["findCustomer"].clone()
}

async fn total(home: &Home) -> i64 {
    ask(home, "{ customers(first: 1) { totalCount } }").await["customers"]["totalCount"].as_i64().unwrap()
}

/// `n` persons who share nothing.
fn persons(from: usize, n: usize) -> String {
    (from..from + n).map(|n| format!("{},欧阳测试,136{:08},,,成交客户,李经理\n", 90_000 + n, 10_000_000 + n * 37)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_undone_while_it_was_slow_writes_nothing_more() {
    for home in homes().await {
        let (raw, before) = (raw(&home).await, total(&home).await);
        let mut batches = 0;
        let file = format!("{HEADER}{}", persons(1, 11_000));
        let ended = import_while(&home, "sales", "slow.csv", &file, &mut |progress| {
            if !matches!(progress, Progress::Loaded(..)) {
                return;
            }
            batches += 1;
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    // Silent for long; again where it said in between that it is there.
                    while of_file(&home, "slow.csv").await.1 != "cancelled" {
                        let silent = "UPDATE import SET alive_at = '2020-01-01T00:00:00+00:00', wanted = NULL WHERE file_name = 'slow.csv'";
                        raw.run(silent).await.unwrap();
                        let (id, _) = of_file(&home, "slow.csv").await;
                        ask(&home, &format!("mutation {{ cancelImport(id: \"{id}\") {{ result {{ state }} }} }}")).await;
                    }
                    undo(&home, "slow.csv").await;
                })
            });
        })
        .await;
        assert!(ended.as_ref().is_err_and(|problem| problem.contains("stopped or undone")), "{ended:?}");
        assert_eq!((batches, of_file(&home, "slow.csv").await.1.as_str(), total(&home).await), (1, "undone", before));
        assert_eq!(raw.number("SELECT count(*) FROM source_record WHERE import_id = (SELECT id FROM import WHERE file_name = 'slow.csv')").await, 0);
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_says_that_it_is_there() {
    for home in homes().await.into_iter().filter(|home| home.engine == Engine::Postgres) {
        let (raw, other) = (raw(&home).await, raw(&home).await);
        let began = tokio::sync::Notify::new();
        let file = format!("{HEADER}{}", persons(1, 5_010));
        let mut hold = |progress: Progress<'_>| {
            if matches!(progress, Progress::Loaded(5_000, _)) {
                // Another work of the tenant holds its row from now on.
                let sql = "BEGIN; SELECT id FROM tenant WHERE slug = 'globex' FOR NO KEY UPDATE; UPDATE tenant SET name = name WHERE slug = 'globex'";
                tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(other.run(sql))).unwrap();
                began.notify_one();
            }
        };
        let import = import_while(&home, "sales", "waits.csv", &file, &mut hold);
        let watched = async {
            began.notified().await;
            raw.run("UPDATE import SET alive_at = '2020-01-01T00:00:00+00:00' WHERE file_name = 'waits.csv'").await.unwrap();
            let begun = Instant::now();
            while of_file(&home, "waits.csv").await.1 != "running" {
                assert!(begun.elapsed() < Duration::from_secs(8), "it seems to be cut off");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            other.run("COMMIT").await.unwrap();
        };
        let (done, ()) = tokio::join!(import, watched);
        assert_eq!(done.unwrap().files[0].counts.created, 5_010);
        let log = home.tenant("globex").persona("auditor").query("{ audit { events(first: 100) { nodes { operation } } } }").await;
        assert!(!log.data().to_string().to_lowercase().contains("beat") && log.data().to_string().contains("Import.batch"), "no event for each sign of life");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_import_holds_too_stays_when_the_earlier_is_undone() {
    for home in homes().await {
        let (raw, before) = (raw(&home).await, total(&home).await);
        let one = persons(1, 3);
        import(&home, "a.csv", &one).await;
        let both = import(&home, "b.csv", &format!("{one}{}", persons(4, 2))).await.files[0].counts;
        assert_eq!((both.unchanged, both.created), (3, 2));
        undo(&home, "a.csv").await;
        assert_eq!(total(&home).await, before + 5);
        let named = |name: &str| format!("(SELECT id FROM import WHERE file_name = '{name}')");
        assert_eq!(raw.number(&format!("SELECT count(*) FROM source_record WHERE import_id = {}", named("b.csv"))).await, 5);
        assert_eq!(raw.number(&format!("SELECT count(*) FROM import_row WHERE import_id = {}", named("b.csv"))).await, 0, "told once");
        undo(&home, "b.csv").await;
        assert_eq!(total(&home).await, before);
        // A version in the middle: what an import met of it comes back when the one above goes.
        let status = |status: &str| format!("90010,欧阳测试,13600000010,,,{status},李经理\n");
        for (name, word) in [("c.csv", "潜在客户"), ("d.csv", "成交客户"), ("e.csv", "成交客户"), ("f.csv", "流失客户")] {
            // A line more, so that each file is its own.
            import(&home, name, &format!("{}合计,,{name},,,,\n", status(word))).await;
        }
        undo(&home, "d.csv").await;
        assert_eq!(with_phone(&home, "13600000010").await["status"], "LOST");
        undo(&home, "f.csv").await;
        assert_eq!(with_phone(&home, "13600000010").await["status"], "WON", "as e.csv has it");
        undo(&home, "e.csv").await;
        assert_eq!(with_phone(&home, "13600000010").await["status"], "PROSPECT");
        undo(&home, "c.csv").await;
        assert!(with_phone(&home, "13600000010").await.is_null());
        for table in ["source_record_past", "customer_order_past", "contact_record_past", "ticket_past"] {
            assert_eq!(raw.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
        }
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_back_is_compared_again() {
    for home in homes().await {
        let raw = raw(&home).await;
        let scored = "SELECT CAST(scored AS bigint) FROM import WHERE file_name = 'a.csv'";
        import(&home, "a.csv", &persons(1, 10)).await;
        raw.run("UPDATE import SET scored = rows_read").await.unwrap();
        import(&home, "b.csv", &persons(5, 1).replace("成交客户", "流失客户")).await;
        undo(&home, "b.csv").await;
        assert_eq!(raw.number(scored).await, 4, "from the fifth row on");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_that_an_import_made_and_joined_go_with_it() {
    for home in homes().await {
        let (raw, before) = (raw(&home).await, total(&home).await);
        // Two that stand already.
        import(&home, "two.csv", "90001,欧阳甲一,13600000001,,甲公司,成交客户,李经理\n90002,欧阳甲一,13600000002,,丙公司,成交客户,李经理\n").await;
        let (one, other) = (with_phone(&home, "13600000001").await, with_phone(&home, "13600000002").await);
        assert_ne!(one["id"], other["id"]);
        let journal = raw.number("SELECT count(*) FROM merge_journal").await;
        // Five thousand rows make a batch: what the second one joins within the import was two customers before.
        let bridge = "90101,诸葛乙二,13600000101,,乙公司,成交客户,李经理\n90102,诸葛乙二,,z@example.com,丁公司,成交客户,李经理\n";
        let last = "90103,诸葛乙二,13600000101,z@example.com,乙公司,成交客户,李经理\n90003,欧阳甲一,13600000001,y@example.com,甲公司,成交客户,李经理\n90004,欧阳甲一,13600000002,y@example.com,丙公司,成交客户,李经理\n";
        let joined = import(&home, "joins.csv", &format!("{bridge}{}{last}", persons(1_000, 5_000))).await;
        assert!(joined.linked().merged >= 2, "{joined:?}");
        let now = ask(&home, &format!("{{ customer(id: {}) {{ sources {{ externalId }} }} }}", one["id"])).await;
        assert_eq!(now["customer"]["sources"].as_array().unwrap().len(), 4, "{now}");
        undo(&home, "joins.csv").await;
        assert_eq!(total(&home).await, before + 2);
        let (again, other_again) = (with_phone(&home, "13600000001").await, with_phone(&home, "13600000002").await);
        assert_eq!((&again["id"], &other_again["id"]), (&one["id"], &other["id"]), "each is itself again");
        let left = "SELECT count(*) FROM customer WHERE NOT EXISTS (SELECT 1 FROM source_record WHERE source_record.customer_id = customer.id) AND merged_into IS NULL";
        assert_eq!(raw.number(left).await, 0, "no empty customer");
        let standing = raw.number("SELECT count(*) FROM merge_journal WHERE undone_at IS NULL").await;
        assert!(standing <= journal, "{standing} entries of an import that is undone");
        undo(&home, "two.csv").await;
        assert_eq!(total(&home).await, before);
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_goes_with_the_record_that_said_it() {
    for home in homes().await {
        let shop = |level: &str| format!("会员号,姓名,手机,等级,门店\n91001,欧阳甲一,13600000001,{level},西湖店\n");
        let mapping = "mutation { setMapping(input: {source: \"club\", label: \"会员\", columns: [{header: \"会员号\", to: \"external_id\"}, {header: \"姓名\", to: \"name\"}, {header: \"手机\", to: \"phone\"}, {header: \"等级\", to: \"level\"}, {header: \"门店\", to: \"place\"}]}) { result { name } userErrors { message } } }";
        assert_eq!(ask(&home, mapping).await["setMapping"]["result"]["name"], "club");
        import_while(&home, "club", "a.csv", &shop("金卡"), &mut |_| {}).await.unwrap();
        let raw = raw(&home).await;
        // By hand.
        let (tenant, customer) = ("(SELECT id FROM tenant WHERE slug = 'globex')", "(SELECT customer_id FROM source_record WHERE external_id = '91001')");
        let id = if home.engine == Engine::Sqlite { "randomblob(16)" } else { "gen_random_uuid()" };
        raw.run(&format!("INSERT INTO tag (tenant_id, id, name, category) VALUES ({tenant}, {id}, '老友', '手工')")).await.unwrap();
        raw.run(&format!("INSERT INTO customer_tag (tenant_id, customer_id, tag_id) VALUES ({tenant}, {customer}, (SELECT id FROM tag WHERE name = '老友'))"))
            .await
            .unwrap();
        let tags = async || {
            let mut names: Vec<String> = with_phone(&home, "13600000001").await["tags"].as_array().unwrap().iter().map(|tag| tag["name"].to_string()).collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(tags().await, "\"老友\" \"西湖店\" \"金卡\"");
        import_while(&home, "club", "b.csv", &shop(""), &mut |_| {}).await.unwrap();
        assert_eq!(tags().await, "\"老友\" \"西湖店\"", "the record says no level any more");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_nobody_is_refused_before_it_is_sent() {
    use std::io::{Read, Write};
    let home = Home::of(Engine::Sqlite).await;
    let token = home.tenant("globex").persona("steward").token().await;
    let begin = |authorization: String| {
        let mut socket = std::net::TcpStream::connect(home.url.trim_start_matches("http://")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        write!(socket, "POST /api/v1/imports?source=sales HTTP/1.1\r\nHost: x\r\n{authorization}Content-Length: 50000000\r\n\r\n").unwrap();
        socket.write_all(&[b'x'; 10_000]).unwrap();
        let mut head = [0; 12];
        socket.read_exact(&mut head).map(|()| String::from_utf8_lossy(&head).into_owned())
    };
    let answers = tokio::task::block_in_place(|| [begin(String::new()), begin(format!("Authorization: Bearer {token}\r\nX-Purpose: data_quality\r\n"))]);
    assert_eq!(answers[0].as_ref().unwrap(), "HTTP/1.1 401");
    assert!(answers[1].is_err(), "who is admitted is waited for");
    let post = |body: Vec<u8>| {
        reqwest::Client::new()
            .post(format!("{}/api/v1/imports?source=sales&name=up.csv", home.url))
            .bearer_auth(&token)
            .header("x-purpose", "data_quality")
            .body(body)
            .send()
    };
    let small = post(format!("{HEADER}{}", persons(1, 2)).into_bytes()).await.unwrap();
    assert_eq!((small.status().as_u16(), small.json::<Value>().await.unwrap()["files"][0]["created"].clone()), (200, json!(2)));
    assert_eq!(post(vec![b'x'; home.config.limits.upload + 1]).await.map(|answer| answer.status().as_u16()).unwrap_or(413), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_of_every_standing_import_is_told() {
    for home in homes().await {
        let rows = format!("{}90009,欧阳测试,1360000,,,成交客户,李经理\n", persons(1, 2));
        import(&home, "main.csv", &rows).await;
        // The reject is mended in a file of its own, and a row changes.
        import(&home, "mended.csv", &format!("90009,欧阳测试,13600000009,,,成交客户,李经理\n{}", persons(2, 1).replace("成交客户", "流失客户"))).await;
        let out = home.config.data_dir.join("rows.csv");
        let (data, url) = (home.config.data_dir.display().to_string(), home.config.url());
        let written =
            program(&["rows", "--tenant", "globex", "--out", out.to_str().unwrap(), "--profile", "development", "--data-dir", &data, "--database-url", &url])
                .output();
        assert!(written.status.success(), "{written:?}");
        let text = std::fs::read_to_string(&out).unwrap();
        let told: Vec<Vec<String>> = csv::Reader::from_reader(text.as_bytes()).records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
        let imports =
            ask(&home, "{ imports(first: 50) { source } }").await["imports"].as_array().unwrap().iter().filter(|import| import["source"] == "sales").count();
        let of = |number: usize| if number == 1 { "sales:".to_owned() } else { format!("sales#{number}:") };
        let lines = |number: usize| -> Vec<&Vec<String>> { told.iter().filter(|row| row[0].starts_with(&of(number))).collect() };
        let (main, mended) = (lines(imports - 1), lines(imports));
        assert_eq!(main.iter().map(|row| row[2].as_str()).collect::<Vec<_>>(), ["0", "0", "1"], "{main:?}");
        assert_eq!(mended.iter().map(|row| row[2].as_str()).collect::<Vec<_>>(), ["0", "0"]);
        assert_eq!((main[1][1].is_empty(), &main[1][1]), (false, &mended[1][1]), "the replaced row and the one that replaced it");
        // No event names more than a window of customers.
        let log = home
            .tenant("globex")
            .persona("auditor")
            .query("{ audit { events(filter: {operation: \"Rows.export\"}, first: 50) { nodes { operation } } } }")
            .await;
        assert!(log.data()["audit"]["events"]["nodes"].as_array().unwrap().len() > imports);
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_go_out_defused_and_come_back_as_they_were() {
    for home in homes().await {
        let mapping = "mutation { setMapping(input: {source: \"chat\", label: \"聊天\", columns: [{header: \"=昵称\", to: \"name\"}, {header: \"手机\", to: \"phone\"}, {header: \"备注\", to: \"remarks\"}]}) { result { name } userErrors { message } } }";
        assert_eq!(ask(&home, mapping).await["setMapping"]["result"]["name"], "chat");
        let file: String = (1..=1_200).map(|n| format!("欧阳测试,136{n},@wechat{n}\n")).collect();
        import_while(&home, "chat", "chat.csv", &format!("=昵称,手机,备注\n{file}"), &mut |_| {}).await.unwrap();
        let (id, _) = of_file(&home, "chat.csv").await;
        let token = home.tenant("globex").persona("steward").token().await;
        let get = reqwest::Client::new().get(format!("{}/api/v1/imports/{id}/rejects.csv", home.url)).header("x-purpose", "data_quality").bearer_auth(token);
        let csv = get.send().await.unwrap().text().await.unwrap();
        assert!(csv.starts_with("'=昵称,手机,备注") && csv.contains("'@wechat7,"), "{csv:.200}");
        assert_eq!(csv.lines().count(), 1_201, "all windows");
        let mended: String = csv.lines().map(|line| line.replacen(",1367,", ",13600000007,", 1) + "\n").collect();
        let again = import_while(&home, "chat", "mended.csv", &mended, &mut |_| {}).await.unwrap().files[0].counts;
        assert_eq!((again.created, again.rejected), (1, 1_199));
        let plain = import_while(&home, "chat", "plain.csv", "=昵称,手机,备注\n欧阳测试,13600000007,@wechat7\n", &mut |_| {}).await.unwrap().files[0].counts;
        assert_eq!(plain.unchanged, 1, "the same without the apostrophe");
        home.sound().await;
    }
}
