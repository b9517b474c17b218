//! Linking and recognising over time: what is joined stays joined for as long as it is probable, what a person said holds, and
//! a row is known again by what it says.

use api::intake::{self, File, Options, Report};
use entity::import::Counts;
use serde_json::{Value, json};
use tests::{Engine, Home, Raw, homes};

const SALES: &str = "序号,客户姓名,手机,邮箱,公司,行业,客户状态,负责人\n";
const ORDERS: &str = "订单编号,买家昵称,收货人手机,邮箱,商品名称,数量,实付金额,下单时间,收货地址,订单状态,买家留言\n";
const REGISTER: &str = "id,given,surname,born,street,town\n";

async fn import(home: &Home, source: &str, text: &str) -> Report {
    let tenant = home.house.tenant("globex").await.unwrap();
    let steward = home.house.operator(tenant.id, "test", "steward", Some("data_quality"));
    let files = [File::of(source, "a.csv", text.as_bytes().to_vec())];
    intake::run(&home.house, &steward, &files, &Options::default(), &mut |_| {}).await.map_err(|stop| stop.to_string()).unwrap()
}

async fn counts(home: &Home, source: &str, text: &str) -> Counts {
    import(home, source, text).await.files[0].counts
}

async fn ask(home: &Home, query: &str) -> Value {
    home.tenant("globex").persona("steward").purpose("data_quality").query(query).await.data().clone()
}

async fn raw(home: &Home) -> Raw {
    let raw = home.raw().await;
    raw.as_tenant(home.engine, "globex").await;
    raw
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} of {value}"))
}

/// A source that says what is compared.
async fn register(home: &Home) {
    let columns = [
        ("id", "to: \"external_id\""),
        ("given", "to: \"given_name\", compare: \"name\""),
        ("surname", "to: \"surname\", compare: \"name\""),
        ("born", "compare: \"date\""),
        ("street", "compare: \"words\""),
        ("town", "compare: \"exact\""),
    ];
    let columns: Vec<String> = columns.iter().map(|(header, what)| format!("{{header: \"{header}\", {what}}}")).collect();
    ask(home, &format!("mutation {{ setMapping(input: {{source: \"register\", columns: [{}]}}) {{ userErrors {{ message }} }} }}", columns.join(", "))).await;
}

async fn thresholds(home: &Home, link: f64, review: f64) {
    ask(home, &format!("mutation {{ setThresholds(link: {link}, review: {review}) {{ result }} }}")).await;
}

/// Persons `a…`, every sixth of them a second time with slips as `b…`.
fn people(from: usize, to: usize) -> String {
    let given = ["anna", "bela", "carlo", "dora", "emil", "frieda", "georg", "hanna", "igor", "jana"];
    let family = ["mueller", "novak", "rossi", "smirnov", "tanaka", "weber", "yilmaz", "zhang", "okafor", "larsen", "moreau", "santos"];
    let mut rows = String::new();
    for n in from..to {
        let (first, last) = (given[n % 10], family[(n / 10 + n) % 12]);
        let (born, house, town) = (format!("19{:02}-0{}-{:02}", 30 + n % 60, 1 + n % 9, 1 + n % 27), 3 + n * 7, n % 7);
        rows += &format!("a{n},{first},{last},{born},{house} long road,town{town}\n");
        if n % 6 == 0 {
            rows += &format!("b{n},{first},{},{born},{house} long rd,town{town}\n", last.replace('a', "e"));
        }
    }
    rows
}

/// How many of the twice written persons are one customer.
async fn whole(home: &Home) -> i64 {
    let couples = "SELECT count(*) FROM source_record a JOIN source_record b ON b.tenant_id = a.tenant_id AND b.source_id = a.source_id \
        AND b.external_id = 'b' || substr(a.external_id, 2) AND b.customer_id = a.customer_id WHERE a.external_id LIKE 'a%'";
    raw(home).await.number(couples).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_joined_by_probability_outlives_the_model_and_not_the_reason() {
    for home in homes().await {
        register(&home).await;
        thresholds(&home, 0.9, 0.5).await;
        import(&home, "register", &format!("{REGISTER}{}", people(0, 120))).await;
        let before = whole(&home).await;
        assert!(before >= 10, "{before}");
        let learned = "SELECT CAST(max(records) AS bigint) FROM match_model";
        let first = raw(&home).await.number(learned).await;
        // So many more that the model is learned again.
        import(&home, "register", &format!("{REGISTER}{}", people(200, 200 + usize::try_from(first).unwrap() + 50).replace('b', "z"))).await;
        assert!(raw(&home).await.number(learned).await > first, "learned anew");
        assert!(whole(&home).await * 10 >= before * 9, "{} of {before} left", whole(&home).await);
        assert_eq!(raw(&home).await.number("SELECT count(*) FROM match_pair WHERE state = 'stale'").await, 0);
        // The second record of a person turns out to be somebody else's.
        let now = whole(&home).await;
        let joined = "SELECT substr(min(b.external_id), 2) FROM source_record a JOIN source_record b ON b.tenant_id = a.tenant_id AND b.source_id = a.source_id \
            AND b.external_id = 'b' || substr(a.external_id, 2) AND b.customer_id = a.customer_id WHERE a.external_id LIKE 'a%'";
        let n = raw(&home).await.text(joined).await;
        let changed = counts(&home, "register", &format!("{REGISTER}b{n},walter,quint,1999-12-31,1 other street,elsewhere\n")).await;
        assert_eq!((changed.updated, whole(&home).await), (1, now - 1));
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_whom_a_person_keeps_apart_are_not_joined_through_a_third() {
    for home in homes().await {
        register(&home).await;
        thresholds(&home, 1.0, 0.5).await;
        let report = import(&home, "register", &format!("{REGISTER}{}", people(0, 120))).await;
        let queue = ask(&home, "{ duplicates(first: 50) { id score one { id } other { id } } }").await["duplicates"].as_array().unwrap().clone();
        // The report, the list and the count mean the same.
        assert!(queue.len() >= 15, "{queue:?}");
        assert_eq!(report.probable.queued, queue.len());
        let bar = queue[5]["score"].as_f64().unwrap();
        thresholds(&home, 1.0, bar).await;
        let fewer = ask(&home, "{ duplicates(first: 50) { score } }").await["duplicates"].as_array().unwrap().clone();
        assert!(fewer.len() >= 6 && fewer.iter().all(|pair| pair["score"].as_f64() >= Some(bar)), "{fewer:?}");
        let decide = |pair: &Value, decision: &str| {
            format!("mutation {{ decideDuplicate(id: \"{}\", decision: {decision}) {{ result {{ id }} userErrors {{ message }} }} }}", text(pair, "id"))
        };
        // Two stewards at once: one decides, the other is told.
        let (merge, other) = (decide(&queue[0], "MERGE"), decide(&queue[0], "MERGE"));
        let (one, other) = tokio::join!(ask(&home, &merge), ask(&home, &other));
        let told = [&one, &other].map(|answer| answer["decideDuplicate"]["userErrors"].to_string().contains("already"));
        assert!(told[0] != told[1], "{one} {other}");
        thresholds(&home, 1.0, 0.5).await;
        let couples: Vec<(String, String)> =
            queue[1..].iter().map(|pair| (text(&pair["one"], "id").to_owned(), text(&pair["other"], "id").to_owned())).collect();
        for pair in &queue[1..] {
            ask(&home, &decide(pair, "DISMISS")).await;
        }
        assert_eq!(ask(&home, "{ duplicates(first: 50) { id } }").await["duplicates"], json!([]));
        let before = whole(&home).await;
        // A third register, near to both.
        thresholds(&home, 0.9, 0.5).await;
        let third: String = people(0, 120).lines().filter(|line| line.starts_with('a')).map(|line| format!("c{}\n", &line[1..])).collect();
        let linked = import(&home, "register", &format!("{REGISTER}{third}")).await;
        assert!(linked.probable.joined >= 30, "{:?}", linked.probable);
        assert_eq!(whole(&home).await, before, "kept apart");
        let queue = ask(&home, "{ duplicates(first: 50) { one { id } other { id } } }").await["duplicates"].as_array().unwrap().clone();
        let asked =
            |(a, b): &(String, String)| queue.iter().any(|pair| [text(&pair["one"], "id"), text(&pair["other"], "id")].iter().all(|id| id == a || id == b));
        assert!(!couples.iter().any(asked), "not asked again");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_does_not_wait_for_whoever_writes() {
    for home in homes().await.into_iter().filter(|home| home.engine == Engine::Postgres) {
        counts(&home, "sales", &format!("{SALES}95001,欧阳甲一,13612345670,,甲公司,,成交客户,李经理\n")).await;
        // As an import or a rehearsal holds the tenant for its length.
        let writer = raw(&home).await;
        writer.run("BEGIN").await.unwrap();
        writer.run("SELECT 1 FROM tenant WHERE slug = 'globex' FOR NO KEY UPDATE").await.unwrap();
        let search = ask(&home, "{ findCustomer(by: {phone: \"13612345670\"}) { id } }");
        let found = tokio::time::timeout(std::time::Duration::from_secs(5), search).await.expect("the search waits");
        assert!(found["findCustomer"].is_object(), "{found}");
        writer.run("ROLLBACK").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_one_order_and_item_are_each_kept() {
    for home in homes().await {
        let line = |amount: &str| format!("E95001,欧阳测试,13612345670,,保温杯,1,{amount},2026-01-02,,交易成功,\n");
        let file = |amounts: &[&str]| amounts.iter().fold(ORDERS.to_owned(), |file, amount| file + line(amount).as_str());
        let worth = async || raw(&home).await.number("SELECT CAST(sum(amount_fen) AS bigint) FROM customer_order WHERE number = 'E95001'").await;
        let of = |counts: Counts| (counts.created, counts.updated, counts.unchanged, counts.duplicate);
        assert_eq!(of(counts(&home, "ecom", &file(&["100.00", "0.00", "100.00"])).await), (2, 0, 0, 1));
        assert_eq!(worth().await, 10_000);
        assert_eq!(of(counts(&home, "ecom", &file(&["100.00", "0.00", "100.00"])).await), (0, 0, 2, 1), "the same file");
        assert_eq!(of(counts(&home, "ecom", &file(&["0.00", "100.00"])).await), (0, 0, 2, 0), "in another order");
        assert_eq!(of(counts(&home, "ecom", &file(&["90.00", "0.00"])).await), (0, 1, 1, 0), "corrected");
        assert_eq!(worth().await, 9_000);
        assert_eq!(of(counts(&home, "ecom", &file(&["90.00", "0.00", "5.00"])).await), (1, 0, 2, 0), "one more");
        assert_eq!(worth().await, 9_500);
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_for_an_index_is_refused_with_its_column() {
    for home in homes().await {
        let long = "9".repeat(6_000);
        let report = import(
            &home,
            "ecom",
            &format!(
                "{ORDERS}{long},欧阳测试,13612345670,,保温杯,1,1.00,2026-01-02,,交易成功,\nE95002,欧阳测试,13612345670,,保温杯,1,1.00,2026-01-02,,交易成功,\n"
            ),
        )
        .await;
        assert_eq!((report.files[0].counts.created, report.files[0].tally.reasons.get("too_long")), (1, Some(&1)));
        let detail = raw(&home).await.text("SELECT detail FROM import_row WHERE reason = 'too_long'").await;
        assert!(detail.contains("'订单编号'") && detail.contains("500") && !detail.contains("999"), "{detail}");
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_known_again_wherever_its_columns_stand() {
    for home in homes().await {
        let columns = "{header: \"客户姓名\", to: \"name\"}, {header: \"手机\", to: \"phone\"}, {header: \"状态\", to: \"status\"}, {header: \"跟进日期\", to: \"first_follow_up\"}";
        for (source, more) in [("crm", ""), ("named", ", {header: \"编号\", to: \"external_id\"}")] {
            ask(&home, &format!("mutation {{ setMapping(input: {{source: \"{source}\", columns: [{columns}{more}]}}) {{ userErrors {{ message }} }} }}")).await;
        }
        let of = |counts: Counts| (counts.created, counts.updated, counts.unchanged);
        for source in ["crm", "named"] {
            let phone = if source == "crm" { "13612345670" } else { "13612345671" };
            let first = format!("编号,客户姓名,手机,状态,跟进日期\n95001,欧阳甲一,{phone},跟进ing,2026/1/2\n");
            assert_eq!(of(counts(&home, source, &first).await), (1, 0, 0));
            let moved = format!("区域,跟进日期,手机,状态,客户姓名,编号\n华东,2026-01-02,{phone},跟进ing,欧阳甲一,95001\n");
            assert_eq!(of(counts(&home, source, &moved).await), (0, 0, 1), "{source}: columns moved, one more, a date written otherwise");
            let word = "mutation { addWords(words: [{kind: STATUS_WORD, word: \"跟进ing\", meaning: \"潜在客户\"}]) { result userErrors { message } } }";
            assert_eq!(ask(&home, word).await["addWords"]["result"], true);
            assert_eq!(of(counts(&home, source, &first).await), (0, 1, 0), "{source}: read anew with the new word");
            let remove = "mutation { removeWord(kind: STATUS_WORD, word: \"跟进ing\") { result userErrors { message } } }";
            assert_eq!(ask(&home, remove).await["removeWord"]["result"], true);
        }
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_checked_with_those_that_are_there() {
    for home in homes().await {
        let add = |word: &str, meaning: &str| {
            format!("mutation {{ addWords(words: [{{kind: DIVISION, word: \"{word}\", meaning: \"{meaning}\"}}]) {{ result userErrors {{ message }} }} }}")
        };
        let orphan = ask(&home, &add("东岛区", "浙江省|新海市")).await;
        assert!(text(&orphan["addWords"]["userErrors"][0], "message").contains("addition 1"), "{orphan}");
        assert_eq!(ask(&home, &add("新海市", "浙江省")).await["addWords"]["result"], true);
        let district = ask(&home, &add("东岛区", "浙江省|新海市")).await;
        assert_eq!(district["addWords"]["result"], true, "its city is there: {district}");
        let remove = |word: &str| format!("mutation {{ removeWord(kind: DIVISION, word: \"{word}\") {{ result userErrors {{ message }} }} }}");
        let needed = ask(&home, &remove("新海市")).await;
        assert!(text(&needed["removeWord"]["userErrors"][0], "message").contains("need this one"), "{needed}");
        counts(&home, "sales", &format!("{SALES}95001,欧阳甲一,13612345670,,甲公司,,成交客户,李经理\n")).await;
        for word in ["东岛区", "新海市"] {
            assert_eq!(ask(&home, &remove(word)).await["removeWord"]["result"], true);
        }
        home.sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switchboard_of_very_many_joins_nobody_in_a_later_file_either() {
    for home in homes().await {
        let given = |n: u32| [0, 1].map(|i| char::from_u32(0x5000 + 2 * n + i).unwrap()).into_iter().collect::<String>();
        let row = |id: u32, name: u32| format!("{id},王{},13612345670,,甲公司,,成交客户,李经理\n", given(name));
        let first: String = (0..1_100).map(|n| row(96_000 + n, n)).collect();
        assert_eq!(counts(&home, "sales", &format!("{SALES}{first}")).await.created, 1_100);
        let together = "SELECT count(*) - count(DISTINCT customer_id) FROM source_record WHERE external_id LIKE '96___~%' OR external_id LIKE '97___~%' OR external_id LIKE '98___~%'";
        assert_eq!(raw(&home).await.number(together).await, 0);
        let more = import(&home, "sales", &format!("{SALES}{}{}", row(98_001, 2_000), row(98_002, 2_001))).await;
        assert_eq!(more.files[0].counts.created, 2, "{more:?}");
        assert_eq!(raw(&home).await.number(together).await, 0);
        home.sound().await;
    }
}
