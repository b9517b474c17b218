//! How fast files become durable sealed rows: `bench [ROWS]`, a million by default, on SQLite and PostgreSQL. With
//! `bench keys [ROWS]`, a hundred thousand by default: how fast their keys are rotated. With `bench log [EVENTS]`, two hundred
//! thousand by default: how fast events become durable under 64 writers, how fast the log is verified and asked; with
//! `bench log EVENTS GROWN`, who saw a customer is asked again on PostgreSQL when copies have made so many of them. With
//! `bench cells`: what a thousand cells cost that are decided, opened and noted, against opening as many with the cipher alone.
//!
//! Makes a file of orders of ROWS × 2/5 persons, imports it with the program, and reports rows per second until everything
//! is durable, sealed and linked by the rules, the second pass apart, the peak memory, the pace of the last hundred
//! thousand rows against the first, and the ratio to loading the same rows unsealed and unmatched in the same run: by `COPY` on PostgreSQL, by
//! prepared inserts on SQLite.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::{Engine, Raw, engines};

#[tokio::main]
async fn main() {
    tests::benched();
    if std::env::args().nth(1).as_deref() == Some("keys") {
        return keys(std::env::args().nth(2).map_or(100_000, |rows| rows.parse().expect("a number of rows"))).await;
    }
    if std::env::args().nth(1).as_deref() == Some("log") {
        let number = |at: usize| std::env::args().nth(at).map(|events| events.parse().expect("a number of events"));
        return log(number(2).unwrap_or(200_000), number(3)).await;
    }
    if std::env::args().nth(1).as_deref() == Some("cells") {
        return cells().await;
    }
    let rows: u64 = std::env::args().nth(1).map_or(1_000_000, |rows| rows.parse().expect("a number of rows"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orders.csv");
    generate(&file, rows);
    println!("{rows} rows, {} MiB", std::fs::metadata(&file).unwrap().len() >> 20);
    for engine in engines() {
        let data = dir.path().join(format!("{engine:?}"));
        let url = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(tests::database().await),
        };
        let reference = reference(engine, url.as_deref(), &file, dir.path()).await;
        let mut settings = vec!["--data-dir".to_owned(), data.display().to_string()];
        settings.extend(url.iter().flat_map(|url| ["--database-url".to_owned(), url.clone()]));
        let program = std::env::current_exe().unwrap().with_file_name("panorama");
        let run = |arguments: &[&str]| {
            assert!(Command::new(&program).args(arguments).args(&settings).stdout(Stdio::null()).status().unwrap().success(), "{arguments:?}")
        };
        run(&["migrate"]);
        run(&["tenant", "create", "bench"]);
        let begun = Instant::now();
        let mut child = Command::new(&program)
            .args(["import", file.to_str().unwrap(), "--tenant", "bench", "--source", "ecom"])
            .args(&settings)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", child.id());
        let watch = std::thread::spawn(move || {
            let mut most = 0;
            while let Ok(text) = std::fs::read_to_string(&status) {
                let line = text.lines().find(|line| line.starts_with("VmHWM:"));
                let Some(now) = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()) else { break };
                most = most.max(now);
                std::thread::sleep(Duration::from_millis(100));
            }
            most
        });
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let marks: Vec<Duration> = lines.filter(|line| line.ends_with(" rows")).map(|_| begun.elapsed()).collect();
        let mut report = String::new();
        child.stdout.take().unwrap().read_to_string(&mut report).unwrap();
        assert!(child.wait().unwrap().success(), "{report}");
        let memory = watch.join().unwrap() >> 10;
        let seconds = |word: &str| report.split_once(word).and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(f64::NAN);
        let (loading, comparing) = (seconds("loaded in "), seconds("compared in "));
        println!("{engine:?}: {:.0} rows/s until durable and linked, {comparing:.0} s of comparing behind it, {memory} MiB", rows as f64 / loading);
        println!("  {:.3} of loading the rows as they are ({:.0} rows/s)", reference / loading, rows as f64 / reference);
        if let [first, .., before, last] = marks[..] {
            println!("  the last 100,000 rows at {:.2} of the pace of the first", first.as_secs_f64() / (last - before).as_secs_f64());
        }
    }
}

/// Rotates the data key and the index key behind an import of so many rows; the wait for running servers is not counted.
async fn keys(rows: u64) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("orders.csv");
    generate(&file, rows);
    for engine in engines() {
        let mut settings = vec!["--data-dir".to_owned(), dir.path().join(format!("{engine:?}")).display().to_string()];
        if engine == Engine::Postgres {
            settings.extend(["--database-url".to_owned(), tests::database().await]);
        }
        let program = std::env::current_exe().unwrap().with_file_name("panorama");
        let run = |arguments: &[&str]| {
            assert!(
                Command::new(&program).args(arguments).args(&settings).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success(),
                "{arguments:?}"
            )
        };
        run(&["migrate"]);
        run(&["tenant", "create", "bench"]);
        run(&["import", file.to_str().unwrap(), "--tenant", "bench", "--source", "ecom"]);
        for key in ["tenant", "index"] {
            let mut child = Command::new(&program)
                .args(["keys", "rotate", key, "--tenant", "bench"])
                .args(&settings)
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let (mut begun, mut ended, mut rewritten) = (Instant::now(), Instant::now(), 0_u64);
            for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
                if line == "rewriting" {
                    begun = Instant::now();
                }
                // "customer: 5000 rows, 5000 in all"
                if let Some(all) = line.strip_suffix(" in all").and_then(|line| line.rsplit(' ').next()?.parse().ok()) {
                    (ended, rewritten) = (Instant::now(), all);
                }
            }
            assert!(child.wait().unwrap().success());
            println!("{engine:?}: keys rotate {key}: {rewritten} rows at {:.0} rows/s", rewritten as f64 / (ended - begun).as_secs_f64());
        }
    }
}

/// A thousand sealed cells of 250 customers, each decided, opened, rendered and noted for the log.
async fn cells() {
    use aes_gcm::aead::{Aead, KeyInit};
    use entity::{Operation, Session};
    let dir = tempfile::tempdir().unwrap();
    let config = api::config::Config { data_dir: dir.path().to_owned(), profile: api::config::Profile::Development, ..Default::default() };
    let (house, _) = api::home::make(&config, true).await.unwrap();
    api::commands::demo::prepare(&house, true).await.unwrap();
    let support = house.operator(house.tenant("acme").await.unwrap().id, "bench", "support", Some("customer_service"));
    for view in [policy::View::Masked, policy::View::Clear] {
        let mut times = Vec::new();
        for _ in 0..20 {
            let took = Session::run(&house, &support, Operation::new("query", "Cells"), async |session| {
                let cut = entity::customer::Cut { most: 500, after: None, before: None, last: false, descending: false };
                let page = entity::customer::page(&session, &Default::default(), entity::customer::Order::Number, &cut, entity::customer::Columns::ALL)
                    .await
                    .unwrap()
                    .customers;
                let begun = Instant::now();
                let mut shown = 0;
                for customer in &page {
                    shown += usize::from(session.show(&customer.name(), view).unwrap().is_some());
                    shown += usize::from(session.show(&customer.phone(), view).unwrap().is_some());
                    shown += usize::from(session.show(&customer.email(), view).unwrap().is_some());
                    shown += usize::from(session.show(&customer.address(), view).unwrap().is_some());
                    if shown >= 1_000 {
                        break;
                    }
                }
                assert!(shown >= 1_000, "{shown}");
                begun.elapsed() * 1_000 / u32::try_from(shown).unwrap()
            });
            times.push(took.await.unwrap());
        }
        times.sort_unstable();
        println!("1,000 cells, {view:?}: median {:?}, slowest {:?} of {}", times[times.len() / 2], times[times.len() - 1], times.len());
    }
    let cipher = aes_gcm::Aes256Gcm::new(&[7; 32].into());
    let sealed = cipher.encrypt(&[1; 12].into(), &b"13812345678"[..]).unwrap();
    let begun = Instant::now();
    for _ in 0..1_000 {
        std::hint::black_box(cipher.decrypt(&[1; 12].into(), std::hint::black_box(&sealed[..])).unwrap());
    }
    println!("1,000 cells of 11 bytes under one key with the cipher alone: {:?}", begun.elapsed());
}

/// Events of the size of a 360 query's, about one person each, from 64 writers; then the log is signed, verified and asked.
async fn log(events: u64, grown: Option<u64>) {
    use entity::audit::{self, Filter};
    use entity::{Operation, Session};
    const WRITERS: u64 = 64;
    for engine in engines() {
        let dir = tempfile::tempdir().unwrap();
        let database_url = if engine == Engine::Postgres { Some(tests::database().await) } else { None };
        let config = api::config::Config { data_dir: dir.path().to_owned(), database_url, profile: api::config::Profile::Development, ..Default::default() };
        let (house, _) = api::home::make(&config, true).await.unwrap();
        api::commands::demo::prepare(&house, true).await.unwrap();
        let house = std::sync::Arc::new(house);
        let acme = house.tenant("acme").await.unwrap().id;
        let support = house.operator(acme, "bench", "support", Some("customer_service"));
        let customers = Session::run(&house, &support, Operation::new("query", "Some"), async |session| {
            let cut = entity::customer::Cut { most: 100, after: None, before: None, last: false, descending: false };
            entity::customer::page(&session, &Default::default(), entity::customer::Order::Number, &cut, entity::customer::Columns::ALL)
                .await
                .unwrap()
                .customers
        })
        .await
        .unwrap();
        let customers = std::sync::Arc::new(customers);
        let one = |session: &Session, customer: &entity::customer::Customer| {
            // What a 360 shows of the person.
            for _ in 0..3 {
                session.show(&customer.name(), policy::View::Masked).unwrap();
                session.show(&customer.phone(), policy::View::Masked).unwrap();
                session.show(&customer.email(), policy::View::Masked).unwrap();
                session.show(&customer.address(), policy::View::Masked).unwrap();
            }
        };
        // The same looks, each with its event, and with one event for each writer's looks: what the log costs.
        let looks = async |each: u64, looks: u64| {
            let begun = Instant::now();
            let mut writers = tokio::task::JoinSet::new();
            for writer in 0..WRITERS {
                let (house, support, customers) = (house.clone(), support.clone(), customers.clone());
                writers.spawn(async move {
                    let mut waits = Vec::new();
                    for first in (0..looks / WRITERS).step_by(usize::try_from(each).unwrap()) {
                        let operation = Operation::new("query", "Customer360")
                            .of_document("{ the document }", b"variables".to_vec())
                            .in_request("0193f0aa-0000-7000-8000-000000000000");
                        let asked = Instant::now();
                        let work = async |session: std::sync::Arc<Session>| {
                            for n in first..first + each {
                                one(&session, &customers[((writer * 7 + n) % customers.len() as u64) as usize]);
                                tokio::task::yield_now().await;
                            }
                        };
                        Session::run(&house, &support, operation, work).await.unwrap();
                        waits.push(asked.elapsed());
                    }
                    waits
                });
            }
            let mut waits: Vec<Duration> = writers.join_all().await.into_iter().flatten().collect();
            waits.sort_unstable();
            (begun.elapsed().as_secs_f64(), waits)
        };
        let few = (events / 10).next_multiple_of(WRITERS * 1_000);
        let (unlogged, _) = looks(1_000, few).await;
        let (took, waits) = looks(1, events).await;
        let percentile = |part: usize| waits[(waits.len() - 1) * part / 100].as_secs_f64() * 1e3;
        let rate = waits.len() as f64 / took;
        println!(
            "{engine:?}: {rate:.0} events/s durable, one look at a customer each; p50 {:.1} ms, p99 {:.1} ms; {:.1} % of the rate of the same looks with one event for a thousand of them",
            percentile(50),
            percentile(99),
            rate / (few as f64 / unlogged) * 100.0
        );
        let begun = Instant::now();
        house.checkpoint().await.unwrap();
        println!("  hashed and signed in {:.2} s", begun.elapsed().as_secs_f64());
        if engine == Engine::Postgres {
            // What was just written is swept and counted now, and not while it is asked.
            let raw = tests::Raw::connect(&tests::as_owner(&config.url())).await;
            raw.run("VACUUM ANALYZE").await.unwrap();
            raw.run("CHECKPOINT").await.unwrap();
        }
        let auditor = house.operator(acme, "bench", "auditor", None);
        let someone = customers[0].id();
        let told = Session::run(&house, &auditor, Operation::new("command", "Ask"), async |session| {
            let begun = Instant::now();
            let checked = audit::verify(&session, None, &mut |_| {}).await.unwrap();
            let verified = begun.elapsed();
            assert!(checked.findings.is_empty(), "{checked:?}");
            let begun = Instant::now();
            let (looks, _) = audit::access(&session, someone, &Filter::default(), 100, None).await.unwrap();
            let asked = begun.elapsed();
            let mut proven = Vec::new();
            for look in &looks {
                let begun = Instant::now();
                audit::proof(&session, look.event.id).await.unwrap();
                proven.push(begun.elapsed());
            }
            proven.sort_unstable();
            (checked.events, verified, looks.len(), asked, (proven[proven.len() / 2], proven[proven.len() - 1]), looks[0].event.body.len())
        });
        let (checked, verified, looks, asked, proven, size) = told.await.unwrap();
        println!("  verified {checked} events of {size} bytes in {:.2} s", verified.as_secs_f64());
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        println!(
            "  who saw a customer, the last {looks}: {:.1} ms; a proof: median {:.2} ms, slowest {:.2} ms",
            milliseconds(asked),
            milliseconds(proven.0),
            milliseconds(proven.1)
        );
        if let Some(grown) = grown.filter(|_| engine == Engine::Postgres) {
            grow(&config, grown).await;
            let mut times = Vec::new();
            for customer in customers.iter() {
                let asked = Session::run(&house, &auditor, Operation::new("command", "Ask"), async |session| {
                    let begun = Instant::now();
                    let (looks, _) = audit::access(&session, customer.id(), &Filter::default(), 20, None).await.unwrap();
                    assert!(!looks.is_empty());
                    begun.elapsed()
                });
                times.push(asked.await.unwrap());
            }
            times.sort_unstable();
            println!(
                "  among {grown} events: median {:.1} ms, slowest {:.1} ms of {}",
                times[times.len() / 2].as_secs_f64() * 1e3,
                times[times.len() - 1].as_secs_f64() * 1e3,
                times.len()
            );
        }
    }
}

/// Fills a log with copies of its events, about as many persons, until it has so many. They are not hashed: it is only asked.
/// The indexes are made anew behind it, and what is made is not logged by the database, for it is thrown away.
async fn grow(config: &api::config::Config, events: u64) {
    const SECOND: &str = "FROM pg_indexes WHERE tablename = 'audit_event' AND indexname NOT IN (SELECT conname FROM pg_constraint)";
    let raw = Raw::connect(&tests::as_owner(&config.url())).await;
    let acme = "(SELECT id FROM tenant WHERE slug = 'acme')";
    let size = raw.number(&format!("SELECT size FROM audit_head WHERE tenant_id = {acme}")).await.unsigned_abs();
    let indexes = raw.text(&format!("SELECT string_agg(indexdef, '; ') {SECOND}")).await;
    let without = raw.text(&format!("SELECT string_agg('DROP INDEX ' || indexname, '; ') {SECOND}")).await;
    raw.run(&without).await.unwrap();
    for table in ["audit_event", "audit_subject"] {
        raw.run(&format!("ALTER TABLE {table} SET UNLOGGED")).await.unwrap();
    }
    for from in (size..events).step_by(1_000_000) {
        let to = (from + 999_999).min(events - 1);
        for statement in [
            format!(
                "INSERT INTO audit_event SELECT e.tenant_id, n, gen_random_uuid(), e.at, e.actor, e.roles, e.address, e.request, e.operation, e.outcome, e.purpose, \
                 e.clear, e.masked, e.withheld, e.body FROM generate_series({from}, {to}) AS n JOIN audit_event AS e ON e.tenant_id = {acme} AND e.sequence = n % {size}"
            ),
            format!(
                "INSERT INTO audit_subject SELECT s.tenant_id, s.alias, n FROM generate_series({from}, {to}) AS n \
                 JOIN audit_subject AS s ON s.tenant_id = {acme} AND s.sequence = n % {size}"
            ),
        ] {
            raw.run(&statement).await.unwrap();
        }
        println!("  copied up to {}", to + 1);
    }
    raw.run(&indexes).await.unwrap();
    raw.run(&format!("UPDATE audit_head SET size = {events} WHERE tenant_id = {acme}")).await.unwrap();
    for statement in ["VACUUM ANALYZE audit_event", "VACUUM ANALYZE audit_subject", "CHECKPOINT"] {
        raw.run(statement).await.unwrap();
    }
}

/// Orders as a shop exports them. The same numbers give the same file.
fn generate(file: &Path, rows: u64) {
    const FAMILY: [char; 40] = [
        '王', '李', '张', '刘', '陈', '杨', '赵', '黄', '周', '吴', '徐', '孙', '胡', '朱', '高', '林', '何', '郭', '马', '罗', '梁', '宋', '郑', '谢', '韩',
        '唐', '冯', '于', '董', '萧', '程', '曹', '袁', '邓', '许', '傅', '沈', '曾', '彭', '吕',
    ];
    const GIVEN: [char; 32] = [
        '伟', '芳', '娜', '秀', '英', '敏', '静', '丽', '强', '磊', '军', '洋', '勇', '艳', '杰', '娟', '涛', '明', '超', '兰', '霞', '平', '刚', '桂', '华',
        '建', '国', '志', '红', '玉', '梅', '春',
    ];
    const SEGMENTS: [u64; 16] = [130, 131, 132, 135, 136, 137, 138, 139, 150, 151, 152, 157, 158, 159, 186, 188];
    const PLACES: [&str; 5] = ["浙江省杭州市西湖区", "江苏省南京市鼓楼区", "广东省深圳市南山区", "北京市朝阳区", "四川省成都市武侯区"];
    let mix = |n: u64| {
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    };
    let pick = |seed: u64, from: usize| (mix(seed) % from as u64) as usize;
    let mut out = BufWriter::new(std::fs::File::create(file).unwrap());
    writeln!(out, "订单编号,买家昵称,收货人手机,邮箱,商品名称,数量,实付金额,下单时间,收货地址,订单状态,买家留言").unwrap();
    let mut line = String::new();
    for n in 0..rows {
        let who = mix(n.wrapping_mul(0x9e37_79b9)) % (rows * 2 / 5).max(1);
        let seed = who * 16;
        let phone = format!("{}{:08}", SEGMENTS[pick(seed, 16)], 10_000_000 + mix(seed + 1) % 89_999_999);
        let phone = match mix(n * 3 + 1) % 100 {
            0..10 => format!("+86 {phone}"),
            10..15 => format!("{}-{}-{}", &phone[..3], &phone[3..7], &phone[7..]),
            15..17 => phone[..9].to_owned(),
            _ => phone,
        };
        let email = if mix(seed + 2) % 5 < 2 { format!("u{who}@example.com") } else { String::new() };
        line.clear();
        let _ = write!(
            line,
            "E{},{}{}{},{phone},{email},保温杯,{},{}.{:02},2024-{:02}-{:02} 10:{:02}:00,{}文三路{}号{}幢,交易成功,",
            20_240_000_000_000 + n,
            FAMILY[pick(seed + 3, 40)],
            GIVEN[pick(seed + 4, 32)],
            GIVEN[pick(seed + 5, 32)],
            1 + mix(n * 3 + 2) % 4,
            1 + mix(n * 5) % 899,
            mix(n * 5 + 1) % 100,
            1 + mix(n * 7) % 12,
            1 + mix(n * 7 + 1) % 28,
            mix(n * 7 + 2) % 60,
            PLACES[pick(seed + 6, 5)],
            mix(seed + 7) % 900,
            mix(seed + 8) % 30
        );
        writeln!(out, "{line}").unwrap();
    }
    out.flush().unwrap();
}

/// Seconds that it takes to load the same rows as they are.
async fn reference(engine: Engine, url: Option<&str>, file: &Path, dir: &Path) -> f64 {
    let columns: Vec<String> = (0..11).map(|n| format!("c{n} text")).collect();
    let table = format!("CREATE TABLE plain ({})", columns.join(", "));
    if let (Engine::Postgres, Some(url)) = (engine, url) {
        let raw = Raw::connect(url).await;
        raw.run(&table).await.unwrap();
        let begun = Instant::now();
        let copied = tests::psql(url, &format!("\\copy plain FROM '{}' WITH (FORMAT csv, HEADER true)", file.display()));
        assert!(copied, "COPY failed");
        let seconds = begun.elapsed().as_secs_f64();
        raw.run("DROP TABLE plain").await.unwrap();
        return seconds;
    }
    let raw = Raw::connect(&format!("sqlite://{}?mode=rwc", dir.join("plain.db").display())).await;
    raw.run("PRAGMA journal_mode = WAL").await.unwrap();
    raw.run(&table).await.unwrap();
    let mut reader = csv::Reader::from_path(file).unwrap();
    let begun = Instant::now();
    let mut batch: Vec<csv::StringRecord> = Vec::new();
    let mut records = reader.records();
    loop {
        batch.extend(records.by_ref().take(512).map(Result::unwrap));
        if batch.is_empty() {
            return begun.elapsed().as_secs_f64();
        }
        raw.insert("plain", &batch.drain(..).map(|row| row.iter().map(str::to_owned).collect()).collect::<Vec<Vec<String>>>()).await;
    }
}
