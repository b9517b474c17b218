//! What a person's rights leave behind, and what they do not: erasure, restriction and withdrawn consent under all that goes on.

use api::intake::{self, File, Options, Progress, Report};
use entity::{Change, Operation, Unaccounted};
use serde_json::{Value, json};
use tests::{Engine, Home, Raw, homes, program};

const HEADER: &str = "序号,客户姓名,手机,邮箱,公司,行业,客户状态,负责人\n";

async fn run(home: &Home, source: &str, name: &str, text: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Report {
    let tenant = home.house.tenant("globex").await.unwrap();
    let steward = home.house.operator(tenant.id, "test", "steward", Some("data_quality"));
    let files = [File::of(source, name, text.as_bytes().to_vec())];
    intake::run(&home.house, &steward, &files, &Options::default(), progress).await.map_err(|stop| stop.to_string()).unwrap()
}

async fn import(home: &Home, name: &str, text: &str) -> Report {
    run(home, "sales", name, &format!("{HEADER}{text}"), &mut |_| {}).await
}

/// Tickets, whose numbers name the same ticket in every file: number, name, telephone and company of each.
async fn tickets(home: &Home, name: &str, rows: &[[&str; 4]]) -> Report {
    let mut text = "工单号,提交时间,联系人,联系电话,邮箱,公司,问题类型,问题描述,处理人,工单状态,满意度\n".to_owned();
    for [number, person, phone, company] in rows {
        text += &format!("{number},2024-05-01,{person},{phone},,{company},咨询,问,,已关闭,4\n");
    }
    run(home, "ticket", name, &text, &mut |_| {}).await
}

async fn ask(home: &Home, persona: &str, purpose: &str, query: &str, variables: Value) -> Value {
    home.tenant("globex").persona(persona).purpose(purpose).ask(query, variables).await.data().clone()
}

/// What of a mutation's payload came out.
async fn done(home: &Home, persona: &str, purpose: &str, query: &str, variables: Value) -> Value {
    let data = ask(home, persona, purpose, query, variables).await;
    let (name, payload) = data.as_object().unwrap().iter().next().unwrap();
    assert!(payload["result"] != Value::Null, "{name}: {payload}");
    payload["result"].clone()
}

/// The customer with this phone, as somebody sees it.
async fn found(home: &Home, persona: &str, purpose: &str, phone: &str) -> Value {
    let query = "query($phone: String!) { findCustomer(by: {phone: $phone}) { id number name(view: CLEAR) phone(view: CLEAR) sources { id externalId } } }";
    ask(home, persona, purpose, query, json!({ "phone": phone })).await["findCustomer"].clone()
}

async fn with_phone(home: &Home, phone: &str) -> Value {
    found(home, "privacy", "privacy_request", phone).await
}

async fn erase(home: &Home, phone: &str) -> Value {
    let id = with_phone(home, phone).await["id"].clone();
    let query = "mutation($id: ID!) { erasePerson(customer: $id, reason: \"asked for\") { result { number rows { table rows } backupsDeadAt } userErrors { message } } }";
    done(home, "privacy", "privacy_request", query, json!({ "id": id })).await
}

async fn undo(home: &Home, file: &str) -> Value {
    let imports = ask(home, "steward", "data_quality", "{ imports { id file } }", json!({})).await;
    let id = imports["imports"].as_array().unwrap().iter().find(|import| import["file"] == file).unwrap()["id"].clone();
    let query = "mutation($id: ID!) { undoImport(id: $id) { result { state } userErrors { message } } }";
    done(home, "steward", "data_quality", query, json!({ "id": id })).await
}

async fn raw(home: &Home) -> Raw {
    let raw = home.raw().await;
    raw.as_tenant(home.engine, "globex").await;
    raw
}

fn refused(report: &Report) -> (i32, i32) {
    (report.files[0].tally.reasons.get("erased_person").copied().unwrap_or(0), report.files[0].counts.created)
}

#[tokio::test(flavor = "multi_thread")]
async fn learning_comparing_and_undoing_go_on_after_an_erasure() {
    for home in homes().await {
        import(&home, "a1.csv", "90101,司徒甲一,13690000101,jia@example.com,甲公司,,成交客户,李经理\n").await;
        erase(&home, "13690000101").await;
        let raw = raw(&home).await;
        // As behind a doubling of the records, and behind a rotation of the index key.
        raw.run("DELETE FROM match_model").await.unwrap();
        import(&home, "a2.csv", "90102,司徒乙二,13690000102,,乙公司,,成交客户,李经理\n").await;
        raw.run("DELETE FROM block_key; UPDATE import SET scored = 0").await.unwrap();
        let compared = import(&home, "a3.csv", "90103,司徒丙三,13690000103,,丙公司,,成交客户,李经理\n").await;
        assert!(compared.probable.records > 100, "{compared:?}");
        assert_eq!(undo(&home, "a1.csv").await["state"], "undone");
        assert_eq!(raw.number("SELECT count(*) FROM source_record WHERE external_id LIKE '~erased-%'").await, 0);
        assert_eq!(raw.number("SELECT count(*) FROM erasure").await, 1, "the certificate stays");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_anothers_by_now_is_not_shredded() {
    for home in homes().await {
        let first = |numbers: [&'static str; 2]| numbers.map(|number| [number, "司徒甲一", "13690000201", "甲公司"]);
        tickets(&home, "b1.csv", &first(["T90201", "T90202"])).await;
        tickets(&home, "b2.csv", &[["T90201", "诸葛乙二", "13690000202", "乙公司"]]).await;
        let other = with_phone(&home, "13690000202").await;
        erase(&home, "13690000201").await;
        assert_eq!(with_phone(&home, "13690000202").await, other, "the record tells of somebody else now");
        let raw = raw(&home).await;
        assert_eq!(
            raw.number("SELECT count(*) FROM source_record_past WHERE record_key IS NOT NULL AND (external_id LIKE 'T9020%' OR external_id LIKE '~%')").await,
            0,
            "its older version is gone"
        );
        assert_eq!(raw.number("SELECT count(*) FROM source_record WHERE external_id LIKE '~erased-%' AND record_key IS NULL").await, 1);
        assert_eq!(refused(&tickets(&home, "b3.csv", &first(["T90211", "T90212"])).await), (2, 0));
        // What the import had replaced is the erased person's: it does not come back.
        assert_eq!(undo(&home, "b2.csv").await["state"], "undone");
        assert!(with_phone(&home, "13690000202").await.is_null() && with_phone(&home, "13690000201").await.is_null());
        assert_eq!(raw.number("SELECT count(*) FROM source_record WHERE external_id = 'T90201'").await, 0);
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_does_not_come_back_by_anything_it_was_known_by() {
    for home in homes().await {
        import(&home, "c1.csv", "90301,司徒甲一,13690000301,,甲公司,,成交客户,李经理\n").await;
        import(&home, "c2.csv", "90301,司徒甲一,13690000302,,甲公司,,成交客户,李经理\n90302,司徒甲一,021-62345678,,甲公司,,成交客户,李经理\n").await;
        tickets(&home, "c0.csv", &[["T90301", "司徒甲一", "13690000301", "甲公司"]]).await;
        let id = with_phone(&home, "13690000302").await["id"].clone();
        let pin = "mutation($id: ID!) { pinField(customer: $id, field: \"Customer.email\", value: \"jia@example.com\", reason: \"called\") { result { id } userErrors { message } } }";
        done(&home, "steward", "data_quality", pin, json!({ "id": id })).await;
        import(&home, "c3.csv", "90303,司徒甲一,13690000301x99,,,,,\n").await;
        erase(&home, "13690000302").await;
        let raw = raw(&home).await;
        assert_eq!(
            raw.number("SELECT count(*) FROM import_row WHERE raw IS NOT NULL AND import_id IN (SELECT id FROM import WHERE file_name = 'c3.csv')").await,
            0
        );
        for (how, row) in [
            ("an older number", "90311,司徒甲一,13690000301,,,,成交客户,李经理\n"),
            ("a pinned address", "90312,司徒甲,,jia@example.com,丁公司,,成交客户,李经理\n"),
            ("name and landline", "90313,司徒甲一,021-62345678,,,,成交客户,李经理\n"),
            ("name and company", "90314,司徒甲一,13690000319,,甲公司,,成交客户,李经理\n"),
            ("an older number in a row that is refused anyway", "90315,司徒某,１３６-9000-0301x99,,,,,\n"),
        ] {
            let report = import(&home, &format!("{}.csv", &row[..5]), row).await;
            assert_eq!((refused(&report), report.files[0].counts.rejected, report.files[0].tally.reasons.len()), ((1, 0), 1, 1), "{how}: {report:?}");
        }
        assert_eq!(raw.number("SELECT count(*) FROM import_row WHERE reason = 'erased_person' AND raw IS NOT NULL").await, 0);
        let named = tickets(&home, "c8.csv", &[["T90301", "司徒甲壹", "13690000318", "丁公司"]]).await;
        assert_eq!(refused(&named), (1, 0), "what its source calls the row: {named:?}");
        let counted = import(&home, "c7.csv", "90301,诸葛甲壹,13690000317,,丁公司,,成交客户,李经理\n").await;
        assert_eq!(refused(&counted), (0, 1), "the first row of a file is somebody else's in the next: {counted:?}");
        let colleague =
            import(&home, "c9.csv", "90319,诸葛乙二,13690000309,,甲公司,,成交客户,李经理\n90320,诸葛丙三,021-62345678,,甲公司,,成交客户,李经理\n").await;
        assert_eq!(refused(&colleague), (0, 2), "others at the company and its switchboard: {colleague:?}");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_in_the_middle_of_an_import_is_seen_by_the_next_batch() {
    for home in homes().await {
        let row = "91900,司徒甲一,13690000401,,甲公司,,成交客户,李经理\n";
        import(&home, "d1.csv", row).await;
        let mut text = HEADER.to_owned();
        for n in 0..5_000 {
            text += &format!("{},司徒庚七,1366{n:07},,,,潜在客户,李经理\n", 92_000 + n);
        }
        text += &row.replace("91900", "99900");
        let mut erased = false;
        let handle = tokio::runtime::Handle::current();
        let mut between = |progress: Progress<'_>| {
            if matches!(progress, Progress::Loaded(..)) && !std::mem::replace(&mut erased, true) {
                tokio::task::block_in_place(|| handle.block_on(erase(&home, "13690000401")));
            }
        };
        let report = run(&home, "sales", "d2.csv", &text, &mut between).await;
        assert!(erased && refused(&report).0 == 1, "{:?}", report.files[0].counts);
        assert!(with_phone(&home, "13690000401").await.is_null());
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_told_of_an_erased_person_is_left() {
    for home in homes().await {
        import(&home, "e1.csv", "90501,司徒甲一,13690000501,,甲公司,,成交客户,李经理\n90502,诸葛乙二,13690000502,,乙公司,,成交客户,李经理\n").await;
        let orders = |state: &str| {
            format!(
                "订单编号,买家昵称,收货人手机,邮箱,商品名称,数量,实付金额,下单时间,收货地址,订单状态,买家留言\nE905,司徒甲一,13690000501,,助听器,1,9.90,2024-05-01 10:00:00,浙江省杭州市西湖区文三路5号,{state},\n"
            )
        };
        run(&home, "ecom", "e2.csv", &orders("已发货"), &mut |_| {}).await;
        run(&home, "ecom", "e3.csv", &orders("交易成功"), &mut |_| {}).await;
        let (one, other) = (with_phone(&home, "13690000501").await["id"].clone(), with_phone(&home, "13690000502").await["id"].clone());
        let merge = "mutation($one: ID!, $other: ID!) { mergeCustomers(winner: $one, loser: $other, reason: \"司徒甲一 is the wife\") { result { id } userErrors { message } } }";
        done(&home, "steward", "data_quality", merge, json!({ "one": one, "other": other })).await;
        let raw = raw(&home).await;
        let counts = [
            ("orders", "SELECT count(*) FROM customer_order WHERE number = 'E905' AND (items IS NOT NULL OR status IS NOT NULL)"),
            ("older orders", "SELECT count(*) FROM customer_order_past WHERE number = 'E905' AND (items IS NOT NULL OR status IS NOT NULL)"),
            ("reasons", "SELECT count(*) FROM merge_journal WHERE reason LIKE '%wife%'"),
            (
                "blocking keys",
                "SELECT count(*) FROM block_key WHERE record_id IN (SELECT id FROM source_record WHERE record_key IS NULL OR external_id LIKE '90501%' OR external_id LIKE '90502%' OR external_id LIKE 'E905/%')",
            ),
        ];
        for (what, sql) in counts {
            assert!(raw.number(sql).await > 0, "{what} before");
        }
        erase(&home, "13690000501").await;
        for (what, sql) in counts {
            assert_eq!(raw.number(sql).await, 0, "{what} behind");
        }
        assert_eq!(raw.number("SELECT count(*) FROM customer_order WHERE number = 'E905' AND amount_fen = 990").await, 1, "the books add up");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shredded_keys_are_not_in_the_files_either() {
    let home = Home::of(Engine::Sqlite).await;
    import(&home, "f.csv", "90601,司徒甲一,13690000601,,甲公司,,成交客户,李经理\n").await;
    let raw = raw(&home).await;
    let hex = raw.text("SELECT hex(record_key) FROM source_record WHERE external_id LIKE '90601%'").await;
    let key: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let stands = || {
        let files = ["panorama.db", "panorama.db-wal"].map(|file| std::fs::read(home.config.data_dir.join(file)).unwrap_or_default());
        files.iter().any(|bytes| bytes.windows(key.len()).any(|window| window == key))
    };
    assert!(stands());
    erase(&home, "13690000601").await;
    assert!(!stands(), "neither in free pages nor in the write-ahead log");
}

const CONSENT: &str = "mutation($id: ID!, $given: Boolean!) { recordConsent(customer: $id, purpose: \"customer_service\", version: \"1\", given: $given) { result { id } userErrors { message } } }";
const RESTRICT: &str = "mutation($id: ID!, $restricted: Boolean!) { restrictCustomer(customer: $id, restricted: $restricted, reason: \"asked for\") { result { id } userErrors { message } } }";

async fn withdraw(home: &Home, id: &Value) {
    done(home, "privacy", "privacy_request", CONSENT, json!({ "id": id, "given": false })).await;
}

async fn restrict(home: &Home, id: &Value, restricted: bool) {
    done(home, "privacy", "privacy_request", RESTRICT, json!({ "id": id, "restricted": restricted })).await;
}

/// What of the customer is seen for a purpose of customer service.
async fn seen(home: &Home, id: &Value) -> Value {
    let query = "query($id: ID!) { customer(id: $id) { phone(view: CLEAR) number } }";
    ask(home, "support", "customer_service", query, json!({ "id": id })).await["customer"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_customer_closed_goes_with_its_records() {
    for home in homes().await {
        // Split off.
        import(&home, "g1.csv", "90701,司徒甲一,13690000701,,甲公司,,成交客户,李经理\n90702,司徒甲一,13690000701,,甲公司,,潜在客户,李经理\n").await;
        let both = with_phone(&home, "13690000701").await;
        withdraw(&home, &both["id"]).await;
        let split = "mutation($id: ID!, $record: ID!) { splitCustomer(id: $id, records: [$record]) { result { id } userErrors { message } } }";
        let new = done(&home, "steward", "data_quality", split, json!({ "id": both["id"], "record": both["sources"][0]["id"] })).await["id"].clone();
        assert_ne!(new, both["id"]);
        assert!(seen(&home, &new).await["phone"].is_null() && seen(&home, &both["id"]).await["phone"].is_null());
        // It holds by itself: what is said of the new customer later counts for it.
        done(&home, "privacy", "privacy_request", CONSENT, json!({ "id": new, "given": true })).await;
        assert!(seen(&home, &new).await["phone"].is_string() && seen(&home, &both["id"]).await["phone"].is_null());

        // Said of the winner between a merge and its undoing.
        import(&home, "g2.csv", "90703,诸葛乙二,13690000703,,乙公司,,成交客户,李经理\n90704,诸葛丙三,13690000704,,丙公司,,潜在客户,李经理\n").await;
        let (one, other) = (with_phone(&home, "13690000703").await["id"].clone(), with_phone(&home, "13690000704").await["id"].clone());
        let merge =
            "mutation($one: ID!, $other: ID!) { mergeCustomers(winner: $one, loser: $other, reason: \"one\") { result { id } userErrors { message } } }";
        done(&home, "steward", "data_quality", merge, json!({ "one": one, "other": other })).await;
        withdraw(&home, &one).await;
        let journal = ask(&home, "steward", "data_quality", "query($id: ID!) { merges(customer: $id, first: 1) { id } }", json!({ "id": one })).await;
        let unmerge = "mutation($id: ID!) { undoMerge(id: $id) { result { id } userErrors { message } } }";
        done(&home, "steward", "data_quality", unmerge, json!({ "id": journal["merges"][0]["id"] })).await;
        for id in [&one, &other] {
            assert!(seen(&home, id).await["number"].is_string() && seen(&home, id).await["phone"].is_null());
        }

        // Moved away by a corrected file.
        import(&home, "g3.csv", "90705,欧阳丁四,13690000705,,丁公司,,成交客户,李经理\n90706,欧阳丁四,13690000705,,戊公司,,成交客户,李经理\n").await;
        let id = with_phone(&home, "13690000705").await["id"].clone();
        restrict(&home, &id, true).await;
        import(&home, "g4.csv", "90706,欧阳丁四,13690000706,,戊公司,,成交客户,李经理\n").await;
        let moved = with_phone(&home, "13690000706").await["id"].clone();
        assert!(moved.is_string() && moved != id);
        assert!(seen(&home, &moved).await.is_null() && seen(&home, &id).await.is_null(), "storage only, under whatever number");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restriction_is_lifted_of_all_that_went_up_in_a_customer() {
    for home in homes().await {
        import(&home, "h1.csv", "90801,司徒甲一,13690000801,,甲公司,,成交客户,李经理\n90802,司徒甲一,,jia8@example.com,乙公司,,成交客户,李经理\n90803,司徒甲一,13690000801,,丙公司,,成交客户,李经理\n").await;
        let query = "{ findCustomer(by: {email: \"jia8@example.com\"}) { id } }";
        let mailed = ask(&home, "privacy", "privacy_request", query, json!({})).await["findCustomer"]["id"].clone();
        restrict(&home, &mailed, true).await;
        // Number and address are one person's: the restricted customer goes up in the other.
        import(&home, "h2.csv", "90804,司徒甲一,13690000801,jia8@example.com,甲公司,,成交客户,李经理\n").await;
        let heir = with_phone(&home, "13690000801").await["id"].clone();
        assert_ne!(heir, mailed);
        assert!(seen(&home, &heir).await.is_null());
        restrict(&home, &heir, false).await;
        assert!(seen(&home, &heir).await["phone"].is_string());
        done(&home, "privacy", "privacy_request", CONSENT, json!({ "id": heir, "given": true })).await;
        assert!(seen(&home, &heir).await["phone"].is_string(), "what was lifted does not come back");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_wait_for_whoever_holds_the_tenant() {
    for home in homes().await.into_iter().filter(|home| home.engine == Engine::Postgres) {
        import(&home, "i.csv", "90901,司徒甲一,13690000901,,甲公司,,成交客户,李经理\n").await;
        let id = with_phone(&home, "13690000901").await["id"].clone();
        let raw = raw(&home).await;
        for query in [CONSENT, RESTRICT] {
            raw.run("BEGIN").await.unwrap();
            raw.run("SELECT 1 FROM tenant WHERE slug = 'globex' FOR NO KEY UPDATE").await.unwrap();
            let variables = json!({ "id": id, "given": false, "restricted": true });
            let desk = home.tenant("globex").persona("privacy").purpose("privacy_request");
            let asked = desk.ask(query, variables);
            let mut asked = std::pin::pin!(asked);
            assert!(tokio::time::timeout(std::time::Duration::from_secs(1), asked.as_mut()).await.is_err(), "a merge that runs is waited for");
            raw.run("COMMIT").await.unwrap();
            asked.await.data();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_purpose_finds_nobody_by_phone_or_address() {
    for home in homes().await {
        import(&home, "j.csv", "91001,司徒甲一,13690001001,jia10@example.com,甲公司,,成交客户,李经理\n").await;
        let customer = with_phone(&home, "13690001001").await;
        withdraw(&home, &customer["id"]).await;
        for by in ["{phone: \"13690001001\"}", "{email: \"jia10@example.com\"}"] {
            let query = format!("{{ findCustomer(by: {by}) {{ id }} }}");
            assert!(ask(&home, "support", "customer_service", &query, json!({})).await["findCustomer"].is_null(), "{by}");
            assert_eq!(ask(&home, "privacy", "privacy_request", &query, json!({})).await["findCustomer"]["id"], customer["id"], "another purpose: {by}");
        }
        let query = format!("{{ findCustomer(by: {{number: {}}}) {{ id }} }}", customer["number"]);
        assert_eq!(ask(&home, "support", "customer_service", &query, json!({})).await["findCustomer"]["id"], customer["id"], "a number is not personal");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_purpose_serves_no_token_and_comes_back_only_where_it_opens_nothing() {
    for home in homes().await {
        let globex = home.house.tenant("globex").await.unwrap().id;
        let admin = home.house.operator(globex, "test", "admin", None);
        let issue = async |purpose: &str| {
            let issued = Change::run(&home.house, &admin, Operation::new("command", "Token.service"), async |change| {
                entity::token::issue(change, "robot", entity::token::Terms { roles: &["support"], purpose: Some(purpose), days: 1, registered_only: false })
                    .await
                    .map_err(Unaccounted::Failed)
            });
            issued.await.map(|token| token.to_string()).map_err(|error| error.to_string())
        };
        assert!(issue("spying").await.unwrap_err().contains("not one of this tenant's"));
        let token = issue("customer_service").await.unwrap();
        let ask_with = async || {
            let authorization = format!("Bearer {token}");
            let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
            home.post(&headers, json!({ "query": "{ me { subject } }" }).to_string()).await
        };
        assert_eq!(ask_with().await.0, 200);
        let put = async |code: &str, retired: bool| {
            let query = "mutation($code: String!, $retired: Boolean!) { putPurpose(code: $code, label: \"x\", retired: $retired) { result { code } userErrors { message } } }";
            home.tenant("globex").persona("admin").ask(query, json!({ "code": code, "retired": retired })).await.data()["putPurpose"].clone()
        };
        put("customer_service", true).await;
        let (status, body) = ask_with().await;
        assert!(status == 400 && body.to_string().contains("purpose"), "{status} {body}");
        let back = put("customer_service", false).await;
        assert!(back["userErrors"][0]["message"].as_str().unwrap().contains("use a new code"), "{back}");
        for retired in [false, true, false] {
            assert_eq!(put("annual_survey", retired).await["result"]["code"], "annual_survey", "no rule names it");
        }
        home.sound().await;
    }
}

fn panorama(home: &Home, arguments: &[&str]) {
    let (data, url) = (home.config.data_dir.display().to_string(), home.config.url());
    let settings = ["--profile", "development", "--data-dir", &data, "--database-url", &url];
    let output = program(&[arguments, &settings].concat()).output();
    assert!(output.status.success(), "{arguments:?} {output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_are_dead_only_when_all_three_keys_are_gone() {
    for home in homes().await {
        import(&home, "k.csv", "91101,司徒甲一,13690001101,,甲公司,,成交客户,李经理\n").await;
        erase(&home, "13690001101").await;
        let dead = async || {
            let list = ask(&home, "privacy", "privacy_request", "{ erasures { backupsDeadAt } }", json!({})).await;
            list["erasures"][0]["backupsDeadAt"].is_string()
        };
        panorama(&home, &["keys", "rotate", "tenant", "--tenant", "globex"]);
        panorama(&home, &["keys", "destroy", "--tenant", "globex", "--epoch", "1"]);
        assert!(!dead().await, "a backup holds the number under the index key");
        panorama(&home, &["keys", "rotate", "index", "--tenant", "globex"]);
        assert!(!dead().await, "a backup holds both keys under the key-encryption key");
        let new = home.config.data_dir.join("fresh.key");
        panorama(&home, &["keys", "rotate", "kek", "--new-key-file", new.to_str().unwrap()]);
        assert!(dead().await);
        home.sound().await;
    }
}
