//! How fast questions are answered, on PostgreSQL and SQLite.
//!
//! Makes four tenants with so many customers in all, each with 5 contact records, 4 orders, a ticket and 2 tags, out of 11 source
//! records; serves them with the program, everything governed, and every event synced to disk; checks that the answers are those
//! of the tables; and asks over loopback with 1, 16 and 64 clients at once. Each figure stands beside that of the same run's
//! reference on PostgreSQL: one prepared SQL statement that makes the same tree of JSON out of the same tables, ungoverned and
//! sealed as it is, asked by pgbench with as many clients.
//!
//! * Q1: the 360 of one random customer. Q2: a page of 50 by status, each with 3 orders and its tags. Q3: 1,000 customers with 10
//!   fields, of them 4 personal. Q4: orders by month. Q5: a customer by phone. Q6: Q1 with the phone in the clear. W1: a contact record is added.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::served::{Client, Server, command};
use crate::{Engine, Raw, engines};
use serde_json::{Value, json};

const TENANTS: u64 = 4;

const CARD: &str = "number name phone email address type company status valueTier tags { name category }";
const HANGING: &str = "orders(first: 10) { nodes { number amount orderedAt status } totalCount } contacts(first: 10) { nodes { at channel summary } } \
    tickets(first: 5) { nodes { number type status } } sources { system externalId line }";

/// What is asked, and of whom.
struct Question {
    name: &'static str,
    role: &'static str,
    purpose: Option<&'static str>,
    query: String,
    /// The same tree as one statement; `:n` is one of `sampled`.
    reference: Option<String>,
}

fn questions() -> Vec<Question> {
    let of = |name, role, purpose, query: String, reference: Option<&str>| Question { name, role, purpose, query, reference: reference.map(str::to_owned) };
    let tags = "(SELECT json_agg(json_build_object('name', t.name, 'category', t.category)) FROM customer_tag AS ct \
        JOIN tag AS t ON t.tenant_id = ct.tenant_id AND t.id = ct.tag_id WHERE ct.tenant_id = c.tenant_id AND ct.customer_id = c.id)";
    let card = "'number', c.number, 'name', encode(c.name, 'base64'), 'phone', encode(c.phone, 'base64'), 'email', encode(c.email, 'base64'), \
         'address', encode(c.address, 'base64'), 'type', c.customer_type, 'company', c.company, 'status', c.status, 'valueTier', c.value_tier";
    let newest = |table: &str, columns: &str, at: &str, most: u32| {
        format!(
            "(SELECT json_agg(x) FROM (SELECT {columns} FROM {table} AS h WHERE h.tenant_id = c.tenant_id AND h.customer_id = c.id \
             ORDER BY h.{at} DESC NULLS LAST, h.id DESC LIMIT {most}) AS x)"
        )
    };
    let q1 = format!(
        "SELECT json_build_object({card}, 'tags', {tags}, 'orders', {}, 'totalCount', (SELECT count(*) FROM customer_order AS h WHERE h.tenant_id = c.tenant_id \
         AND h.customer_id = c.id), 'contacts', {}, 'tickets', {}, 'sources', (SELECT json_agg(json_build_object('system', s.name, 'externalId', r.external_id, \
         'line', r.line)) FROM source_record AS r JOIN source_system AS s ON s.tenant_id = r.tenant_id AND s.id = r.source_id WHERE r.tenant_id = c.tenant_id \
         AND r.customer_id = c.id)) FROM sampled AS b JOIN customer AS c ON c.tenant_id = b.tenant_id AND c.id = b.id WHERE b.n = :n",
        newest("customer_order", "h.number, h.amount_fen, h.ordered_at, h.status", "ordered_at", 10),
        newest("contact_record", "h.at, h.channel, encode(h.summary, 'base64') AS summary", "at", 10),
        newest("ticket", "h.number, h.kind, h.status", "opened_at", 5),
    );
    let q2 = format!(
        "SELECT json_agg(json_build_object('number', c.number, 'status', c.status, 'tags', {tags}, 'orders', {})) FROM (SELECT * FROM customer AS c \
         WHERE c.tenant_id = (SELECT tenant_id FROM sampled WHERE n = :n) AND c.status = 2 AND c.merged_into IS NULL AND c.erased_at IS NULL \
         AND c.restricted_at IS NULL ORDER BY c.number LIMIT 50) AS c",
        newest("customer_order", "h.number, h.amount_fen, h.ordered_at", "ordered_at", 3)
    );
    let q3 = format!(
        "SELECT json_agg(json_build_object({card})) FROM (SELECT * FROM customer AS c WHERE c.tenant_id = (SELECT tenant_id FROM sampled WHERE n = :n) \
         AND c.merged_into IS NULL AND c.erased_at IS NULL AND c.restricted_at IS NULL ORDER BY c.number LIMIT 1000) AS c"
    );
    let q4 = "SELECT json_agg(x) FROM (SELECT to_char(h.ordered_at AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM') AS month, count(*) AS orders, sum(h.amount_fen) AS fen \
        FROM customer_order AS h WHERE h.tenant_id = (SELECT tenant_id FROM sampled WHERE n = :n) GROUP BY 1 ORDER BY 1) AS x";
    let by_key = "SELECT json_build_object('number', c.number, 'name', encode(c.name, 'base64')) FROM sampled AS b JOIN customer AS c \
        ON c.tenant_id = b.tenant_id AND c.phone_index = b.phone_index WHERE b.n = :n AND c.merged_into IS NULL";
    let one = |fields: &str| format!("query One($id: ID!) {{ customer(id: $id) {{ {fields} }} }}");
    let ten = "number name phone email address type status valueTier updatedAt company";
    vec![
        of("Q1", "privacy", Some("privacy_request"), one(&format!("{CARD} {HANGING}")), Some(&q1)),
        of("Q2", "support", None, "{ customers(first: 50, filter: {status: WON}) { nodes { number status tags { name category } orders(first: 3) { nodes { number amount orderedAt } } } } }".to_owned(), Some(&q2)),
        of("Q3", "bi", None, format!("{{ customers(first: 1000) {{ nodes {{ {ten} }} }} }}"), Some(&q3)),
        of("Q4", "bi", None, "{ ordersByMonth { month orders amount } }".to_owned(), Some(q4)),
        of("Q5", "support", None, "query($phone: String!) { findCustomer(by: {phone: $phone}) { number name } }".to_owned(), Some(by_key)),
        of("Q6", "privacy", Some("privacy_request"), one(&format!("{} {HANGING}", CARD.replace("phone", "phone(view: CLEAR)"))), Some(&q1)),
        of("W1", "support", Some("customer_service"), "mutation($id: ID!) { addContact(customer: $id, input: {channel: \"电话\", summary: \"问了发货\"}) { result { id } userErrors { message } } }".to_owned(), None),
    ]
}

/// What is asked: its name, by whom, for what purpose, and the document.
#[must_use]
pub fn asked() -> Vec<(&'static str, &'static str, Option<&'static str>, String)> {
    questions().into_iter().map(|question| (question.name, question.role, question.purpose, question.query)).collect()
}

/// Asks these questions, or all when none is named, of so many customers, each for so many seconds; with none, it is only looked
/// whether the answers are right.
pub async fn ask(customers: u64, seconds: u64, named: &[String]) {
    let dir = tempfile::tempdir().unwrap();
    for engine in engines().into_iter().rev() {
        let url = if engine == Engine::Postgres { Some(crate::database().await) } else { None };
        let mut settings =
            vec!["--profile".to_owned(), "development".to_owned(), "--data-dir".to_owned(), dir.path().join(format!("{engine:?}")).display().to_string()];
        settings.extend(url.iter().flat_map(|url| ["--database-url".to_owned(), url.clone()]));
        let begun = Instant::now();
        fill(dir.path(), &settings, customers);
        println!("{engine:?}: {customers} customers out of {} source records in {:.0} s", customers * 11, begun.elapsed().as_secs_f64());
        let server = Server::start(&settings);
        measure(&server, &settings, url.as_deref(), dir.path(), customers, seconds, named).await;
    }
}

fn fill(dir: &Path, settings: &[String], customers: u64) {
    command(settings, &["migrate"]);
    for tenant in 0..TENANTS {
        let slug = format!("bench{tenant}");
        command(settings, &["tenant", "create", &slug]);
        for (source, header, rows) in FILES {
            let file = dir.join(format!("{source}.csv"));
            let mut out = std::io::BufWriter::new(std::fs::File::create(&file).unwrap());
            writeln!(out, "{header}").unwrap();
            for n in 0..customers / TENANTS {
                rows(&mut out, tenant * (customers / TENANTS) + n);
            }
            out.flush().unwrap();
            command(settings, &["import", file.to_str().unwrap(), "--tenant", &slug, "--source", source]);
        }
    }
}

type Rows = fn(&mut dyn Write, u64);

/// Of each source: its name, its header, and the rows of a customer.
const FILES: [(&str, &str, Rows); 4] = [
    (
        "sales",
        "序号,客户姓名,手机,邮箱,公司,行业,来源渠道,展会名称,展会日期,首次跟进时间,客户状态,负责人,最后更新时间,备注",
        |out, n| {
            for nth in 0..5 {
                writeln!(
                    out,
                    "{n}-{nth},{},{},u{n}@example.com,,零售,门店,,,2024-{:02}-{:02},{},,2025-01-0{},第{nth}次联系，问了价格",
                    name(n),
                    phone(n),
                    1 + nth,
                    1 + n % 28,
                    ["潜在客户", "意向客户", "已成交"][(n % 3) as usize],
                    1 + nth
                )
                .unwrap();
            }
        },
    ),
    (
        "ecom",
        "订单编号,买家昵称,收货人手机,邮箱,商品名称,数量,实付金额,下单时间,收货地址,订单状态,买家留言",
        |out, n| {
            for nth in 0..4 {
                writeln!(
                    out,
                    "E{n}-{nth},{},{},,保温杯,1,{}.50,2024-0{}-{:02} 10:00:00,浙江省杭州市西湖区文三路{}号,交易成功,",
                    name(n),
                    phone(n),
                    20 + n % 800,
                    1 + nth,
                    1 + n % 28,
                    n % 900
                )
                .unwrap();
            }
        },
    ),
    ("ticket", "工单号,提交时间,联系人,联系电话,邮箱,公司,问题类型,问题描述,处理人,工单状态,满意度", |out, n| {
        writeln!(out, "T{n},2025-05-{:02} 12:42:09,{},{},,,安装服务,安装师傅没有按约上门,,已关闭,4", 1 + n % 28, name(n), phone(n)).unwrap();
    }),
    ("shop", "门店,姓名*,联系方式,地址,办卡日期,会员等级,累计消费,备注", |out, n| {
        writeln!(out, "西湖店,{},{},浙江省杭州市西湖区文三路{}号,2023-08-11,金卡,89.80,", name(n), phone(n), n % 900).unwrap();
    }),
];

fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n ^ (n >> 27)
}

fn name(n: u64) -> String {
    const FAMILY: [char; 16] = ['王', '李', '张', '刘', '陈', '杨', '赵', '黄', '周', '吴', '徐', '孙', '胡', '朱', '高', '林'];
    const GIVEN: [char; 16] = ['伟', '芳', '娜', '秀', '英', '敏', '静', '丽', '强', '磊', '军', '洋', '勇', '艳', '杰', '娟'];
    let pick = |of: [char; 16], part: u64| of[(mixed(n * 4 + part) >> 20) as usize % 16];
    [pick(FAMILY, 0), pick(GIVEN, 1), pick(GIVEN, 2)].iter().collect()
}

/// No two customers have one number.
fn phone(n: u64) -> String {
    format!("{}{:08}", ["138", "139", "150", "186"][(n % 4) as usize], 10_000_000 + n * 4_099 % 89_999_999)
}

/// Seconds of CPU that each of the wanted processes has used.
fn cpu(wanted: impl Fn(u32, &str) -> bool) -> HashMap<u32, f64> {
    let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ticks = all.filter_map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, rest) = stat.rsplit_once(')')?;
        let fields: Vec<u64> = rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        wanted(pid, head.split_once('(')?.1).then(|| (pid, (fields[11] + fields[12]) as f64 / 100.0))
    });
    ticks.collect()
}

/// What came of asking for a while.
struct Load {
    rate: f64,
    p50: Duration,
    p99: Duration,
    server: f64,
    database: f64,
}

fn load(server: &Server, requests: &Arc<Vec<Vec<u8>>>, clients: u64, seconds: u64) -> Load {
    let used = || (cpu(|pid, _| pid == server.id()), cpu(|_, name| name == "postgres"));
    let (before, begun) = (used(), Instant::now());
    let threads: Vec<_> = (0..clients)
        .map(|client| {
            let (requests, address) = (Arc::clone(requests), server.address);
            std::thread::spawn(move || {
                let (mut connection, mut body, mut waits) = (Client::new(address), Vec::new(), Vec::new());
                let mut at = mixed(client + 1);
                while begun.elapsed() < Duration::from_secs(seconds) {
                    at = mixed(at.wrapping_add(0x9e37_79b9_7f4a_7c15));
                    let asked = Instant::now();
                    let status = connection.ask(&requests[(at >> 17) as usize % requests.len()], &mut body);
                    waits.push(asked.elapsed());
                    assert!(status == 200, "{status} {}", String::from_utf8_lossy(&body));
                }
                waits
            })
        })
        .collect();
    let mut waits: Vec<Duration> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let (took, after) = (begun.elapsed().as_secs_f64(), used());
    waits.sort_unstable();
    // Of those that are there at the end: others came and went for the reference.
    let each = |before: &HashMap<u32, f64>, after: &HashMap<u32, f64>| {
        after.iter().map(|(pid, used)| used - before.get(pid).unwrap_or(&0.0)).sum::<f64>() * 1e6 / waits.len() as f64
    };
    Load {
        rate: waits.len() as f64 / took,
        p50: waits[waits.len() / 2],
        p99: waits[waits.len() * 99 / 100],
        server: each(&before.0, &after.0),
        database: each(&before.1, &after.1),
    }
}

async fn measure(server: &Server, settings: &[String], url: Option<&str>, dir: &Path, customers: u64, seconds: u64, named: &[String]) {
    // Of each tenant a token for each role, and some customers.
    let mut some = Vec::new();
    for tenant in 0..TENANTS {
        let slug = format!("bench{tenant}");
        let token = |role: &str| command(settings, &["token", "service", "--tenant", &slug, "--name", role, "--role", role, "--days", "1"]).trim().to_owned();
        let tokens = [token("support"), token("bi"), token("privacy")];
        let (mut body, mut after) = (Vec::new(), Value::Null);
        loop {
            let page = "query($after: String) { customers(first: 1000, after: $after) { nodes { id number } pageInfo { hasNextPage endCursor } } }";
            assert_eq!(Client::new(server.address).ask(&server.request(&tokens[1], None, page, &json!({ "after": after })), &mut body), 200);
            let page: Value = serde_json::from_slice(&body).unwrap();
            let page = &page["data"]["customers"];
            for node in page["nodes"].as_array().unwrap() {
                some.push((tokens.clone(), node["id"].as_str().unwrap().to_owned(), node["number"].as_str().unwrap().to_owned()));
            }
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == json!(false) {
                break;
            }
        }
    }
    if let Some(url) = url {
        let raw = Raw::connect(&crate::as_owner(url)).await;
        raw.run("CREATE TABLE sampled AS SELECT row_number() OVER () AS n, c.tenant_id, c.id, c.phone_index FROM customer AS c JOIN tenant AS t ON t.id = c.tenant_id WHERE t.slug LIKE 'bench%' AND c.merged_into IS NULL").await.unwrap();
        raw.run("CREATE UNIQUE INDEX sampled_n ON sampled (n)").await.unwrap();
        raw.run("VACUUM ANALYZE").await.unwrap();
    }
    for question in questions().into_iter().filter(|question| named.is_empty() || named.iter().any(|name| name == question.name)) {
        let requests: Vec<Vec<u8>> = some
            .iter()
            .enumerate()
            .map(|(at, (tokens, id, _))| {
                let token = &tokens[["support", "bi", "privacy"].iter().position(|role| *role == question.role).unwrap()];
                // One number for each tenant: guesses have a budget.
                let phone = phone((at as u64 * TENANTS / some.len() as u64) * (customers / TENANTS) + customers / TENANTS / 2);
                server.request(token, question.purpose, &question.query, &json!({ "id": id, "phone": phone }))
            })
            .collect();
        let asked: Vec<Asked<'_>> = some
            .iter()
            .zip(&requests)
            .map(|((tokens, _, number), request)| Asked { request, number, among: some.iter().filter(|(others, ..)| others == tokens).count() })
            .step_by(requests.len() / 8)
            .collect();
        check(server, &question, &asked);
        if seconds == 0 {
            continue;
        }
        let requests = Arc::new(requests);
        load(server, &requests, 16, 1);
        for clients in [1, 16, 64] {
            let Load { rate, p50, p99, server: ours, database } = load(server, &requests, clients, seconds);
            let reference = match (url, &question.reference) {
                (Some(url), Some(sql)) => Some(crate::pgbench(&crate::as_owner(url), dir, sql, clients, seconds)),
                _ => None,
            };
            let ratio = reference.map(|sql| format!("{:5.1} % of SQL's {sql:.0}/s", rate / sql * 100.0)).unwrap_or_default();
            println!(
                "  {} ×{clients:<2} {rate:7.0}/s  p50 {:6.2} ms  p99 {:6.2} ms  CPU: server {ours:5.0} µs, PostgreSQL {database:5.0} µs  {ratio}",
                question.name,
                p50.as_secs_f64() * 1e3,
                p99.as_secs_f64() * 1e3
            );
        }
    }
    let (peak, now) = server.memory();
    println!("  memory of the server: {peak} MiB at most, {now} MiB now");
}

/// A request about a customer of this number, and how many customers its tenant has.
struct Asked<'a> {
    request: &'a [u8],
    number: &'a str,
    among: usize,
}

/// The answers are right before they are timed. Each customer ordered once in each of four months.
fn check(server: &Server, question: &Question, asked: &[Asked<'_>]) {
    let mut client = Client::new(server.address);
    let mut body = Vec::new();
    for Asked { request, number, among } in asked {
        assert_eq!(client.ask(request, &mut body), 200, "{}", String::from_utf8_lossy(&body));
        let answer: Value = serde_json::from_slice(&body).unwrap();
        assert!(answer.get("errors").is_none(), "{answer}");
        let (data, nodes) = (&answer["data"], answer["data"]["customers"]["nodes"].as_array().map_or(0, Vec::len));
        let customer = &data["customer"];
        let right = match question.name {
            "Q1" | "Q6" => {
                let count = |what: &str| customer[what]["nodes"].as_array().map_or(0, Vec::len);
                let clear = customer["phone"].as_str().is_some_and(|phone| phone.contains("****")) == (question.name == "Q1");
                let whole =
                    (count("orders"), count("tickets"), customer["tags"].as_array().map_or(0, Vec::len), customer["sources"].as_array().map_or(0, Vec::len));
                customer["number"] == json!(number)
                    && clear
                    && whole == (4, 1, 2, 11)
                    && count("contacts") >= 5
                    && customer["contacts"]["nodes"][0]["summary"].is_string()
            }
            "Q2" => {
                nodes == 50
                    && data["customers"]["nodes"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .all(|one| one["orders"]["nodes"].as_array().is_some_and(|orders| orders.len() == 3))
            }
            "Q3" => nodes == (*among).min(1_000) && data["customers"]["nodes"][nodes - 1]["phone"].as_str().is_some_and(|phone| phone.contains("****")),
            "Q4" => data["ordersByMonth"].as_array().is_some_and(|months| months.len() == 4 && months.iter().all(|month| month["orders"] == json!(among))),
            "Q5" => data["findCustomer"]["number"].is_string(),
            _ => data["addContact"]["userErrors"] == json!([]),
        };
        assert!(right, "{}: {answer}", question.name);
    }
}
