//! What a served program refuses, and how fast; and how many may listen to it: `siege [SUBSCRIBERS] [PER_SECOND] [SECONDS]`, a
//! thousand subscribers, a hundred changes in each of ten seconds by default.
//!
//! Abusive requests are sent a few times each over connections of their own; the time is that from the last byte sent to the first
//! byte of the answer, which must be a refusal. Then as many clients as are asked for follow one customer each
//! (`customerChanged`, server-sent events), somebody adds contact records at an even pace, and it is measured how long after the
//! change was sent its follower hears of it. On both databases.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::served::{Client, Server, command};
use tests::{Engine, engines};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};

const AGAIN: usize = 5;
/// How many clients change things at once.
const CHANGING: u64 = 4;

#[tokio::main]
async fn main() {
    tests::benched();
    let number = |at: usize, default: u64| std::env::args().nth(at).map_or(default, |n| n.parse().expect("a number"));
    let (subscribers, rate, seconds) = (number(1, 1_000), number(2, 100), number(3, 10));
    let dir = tempfile::tempdir().unwrap();
    for engine in engines() {
        let url = if engine == Engine::Postgres { Some(tests::database().await) } else { None };
        let mut settings =
            vec!["--profile".to_owned(), "development".to_owned(), "--data-dir".to_owned(), dir.path().join(format!("{engine:?}")).display().to_string()];
        settings.extend(url.iter().flat_map(|url| ["--database-url".to_owned(), url.clone()]));
        let token = fill(dir.path(), &settings, subscribers);
        let server = Server::start(&settings);
        println!("{engine:?}");
        refusals(&server, &token);
        strangers(&server);
        listeners(&server, &token, subscribers, rate, seconds).await;
        let (peak, now) = server.memory();
        println!("  memory of the server: {peak} MiB at most, {now} MiB now");
    }
}

/// A tenant with so many customers; a token for them.
fn fill(dir: &std::path::Path, settings: &[String], customers: u64) -> String {
    command(settings, &["migrate"]);
    command(settings, &["tenant", "create", "siege"]);
    let file = dir.join("sales.csv");
    let rows = (0..customers).fold("序号,客户姓名,手机,来源渠道,客户状态\n".to_owned(), |mut rows, n| {
        let _ = writeln!(rows, "{n},王小明,138{:08},门店,潜在客户", 10_000_000 + n * 4_099 % 89_999_999);
        rows
    });
    std::fs::write(&file, rows).unwrap();
    command(settings, &["import", file.to_str().unwrap(), "--tenant", "siege", "--source", "sales"]);
    command(settings, &["token", "service", "--tenant", "siege", "--name", "siege", "--role", "support", "--days", "1"]).trim().to_owned()
}

/// Sends each request that must be refused, and tells the slowest refusal.
fn refusals(server: &Server, token: &str) {
    let query = |query: String| server.request(token, None, &query, &json!({}));
    let nested = (0..500).fold("id".to_owned(), |inner, _| format!("relations {{ customer {{ {inner} }} }}"));
    let fan = (0..20).fold("fragment f20 on Customer { id } ".to_owned(), |out, n| format!("{out} fragment f{n} on Customer {{ ...f{0} ...f{0} }}", n + 1));
    let aliases = (0..1_000).map(|n| format!("a{n}: me {{ subject }} ")).collect::<String>();
    let pages = (0..25).map(|n| format!("a{n}: customers(first: 100) {{ nodes {{ name orders(first: 100) {{ nodes {{ number }} }} }} }} ")).collect::<String>();
    let header = |length: usize| {
        format!("POST /graphql HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
    };
    let abuse: Vec<(&str, Vec<u8>)> = vec![
        ("500 levels", query(format!("{{ customers {{ nodes {{ {nested} }} }} }}"))),
        ("10,000 fields", query(format!("{{ me {{ {} }} }}", "subject ".repeat(10_000)))),
        ("1,000 aliases", query(format!("{{ {aliases} }}"))),
        ("25 pages of 100 with 100 orders each", query(format!("{{ {pages} }}"))),
        ("fragments in a circle", query("{ customers { nodes { ...a } } } fragment a on Customer { ...b } fragment b on Customer { ...a }".to_owned())),
        ("fragments that fan out to 2^20", query(format!("{{ customers {{ nodes {{ ...f0 }} }} }} {fan}"))),
        ("10,000 directives", query(format!("{{ me {} {{ subject }} }}", "@include(if: true) ".repeat(10_000)))),
        ("10,000 brackets", query("[".repeat(10_000))),
        ("a body of 10 MB", [header(10_000_000).into_bytes(), vec![b' '; 10_000_000]].concat()),
        ("a body that says 1 TB", header(1 << 40).into_bytes()),
        ("a header of 1 MB", format!("GET /graphql HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)).into_bytes()),
        ("a wrong token", header(2).replace(token, "nobody").into_bytes().into_iter().chain(*b"{}").collect()),
    ];
    for (name, request) in abuse {
        let mut slowest = Duration::ZERO;
        let mut said = String::new();
        for _ in 0..AGAIN {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.set_nodelay(true).unwrap();
            // It may answer and close before everything is sent.
            let sent = stream.write_all(&request).is_ok();
            let asked = Instant::now();
            let mut head = [0; 12];
            let answered = stream.read_exact(&mut head).is_ok();
            slowest = slowest.max(asked.elapsed());
            said = String::from_utf8_lossy(&head).into_owned();
            assert!((answered && head[9] == b'4') || !sent, "{name}: {said}");
            let _ = stream.shutdown(Shutdown::Both);
        }
        println!("  refused in {:6.2} ms at most: {name} ({})", slowest.as_secs_f64() * 1e3, said.trim_start_matches("HTTP/1.1 ").trim_end_matches('\0'));
    }
    let (peak, _) = server.memory();
    println!("  memory after that: {peak} MiB at most");
}

/// Ten thousand sockets of nobody, all kept as long as they are let.
fn strangers(server: &Server) {
    let upgrade = "GET /graphql/ws HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n";
    let (mut open, mut refused, mut slowest) = (Vec::new(), 0, Duration::ZERO);
    for _ in 0..10_000 {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let asked = Instant::now();
        stream.write_all(upgrade.as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        if &head[9..] == b"101" {
            open.push(stream);
        } else {
            assert_eq!(&head[9..], b"429");
            refused += 1;
            slowest = slowest.max(asked.elapsed());
        }
    }
    let (peak, _) = server.memory();
    println!(
        "  of 10,000 sockets {} were opened to wait for an introduction, {refused} refused in {:.2} ms at most; memory {peak} MiB at most",
        open.len(),
        slowest.as_secs_f64() * 1e3
    );
}

async fn listeners(server: &Server, token: &str, subscribers: u64, rate: u64, seconds: u64) {
    let mut ids = Vec::new();
    let (mut body, mut after) = (Vec::new(), Value::Null);
    let mut client = Client::new(server.address);
    while ids.len() < usize::try_from(subscribers).unwrap() {
        let page = "query($after: String) { customers(first: 100, after: $after) { nodes { id } pageInfo { endCursor } } }";
        assert_eq!(client.ask(&server.request(token, None, page, &json!({ "after": after })), &mut body), 200);
        let page: Value = serde_json::from_slice(&body).unwrap();
        let page = &page["data"]["customers"];
        ids.extend(page["nodes"].as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap().to_owned()));
        after = page["pageInfo"]["endCursor"].clone();
    }
    let told: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let lags: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let mut following = tokio::task::JoinSet::new();
    // So many begin at once.
    let beginning = Arc::new(tokio::sync::Semaphore::new(100));
    for id in &ids {
        let begins = Arc::clone(&beginning).acquire_owned().await.unwrap();
        let body = json!({ "query": "subscription($id: ID) { customerChanged(id: $id) { id name } }", "variables": { "id": id } }).to_string();
        let request = format!(
            "POST /graphql/stream HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let (id, told, lags) = (id.clone(), Arc::clone(&told), Arc::clone(&lags));
        following.spawn(async move {
            let mut lines = tokio::io::BufReader::new(stream).lines();
            let mut begins = Some(begins);
            while let Ok(Some(line)) = lines.next_line().await {
                assert!(!line.starts_with("HTTP/1.1 ") || line.contains(" 200"), "{line}");
                if line == ":" {
                    drop(begins.take());
                }
                if line.starts_with("event: next")
                    && let Some(changed) = told.lock().unwrap().remove(&id)
                {
                    lags.lock().unwrap().push(changed.elapsed());
                }
            }
        });
    }
    let _all = beginning.acquire_many(100).await.unwrap();
    let add = "mutation($id: ID!) { addContact(customer: $id, input: {channel: \"电话\", summary: \"问了发货\"}) { userErrors { message } } }";
    let requests: Vec<Vec<u8>> = ids.iter().map(|id| server.request(token, Some("customer_service"), add, &json!({ "id": id }))).collect();
    let (address, total) = (server.address, rate * seconds);
    let begun = Instant::now();
    // Several change, so that one that waits does not hold up the next.
    std::thread::scope(|scope| {
        for first in 0..CHANGING {
            let (ids, requests, told) = (&ids, &requests, &told);
            scope.spawn(move || {
                let (mut client, mut body) = (Client::new(address), Vec::new());
                for n in (first..total).step_by(usize::try_from(CHANGING).unwrap()) {
                    std::thread::sleep((begun + Duration::from_nanos(1_000_000_000 * n / rate)).saturating_duration_since(Instant::now()));
                    let at = usize::try_from(n).unwrap() % ids.len();
                    told.lock().unwrap().insert(ids[at].clone(), Instant::now());
                    assert_eq!(client.ask(&requests[at], &mut body), 200, "{}", String::from_utf8_lossy(&body));
                }
            });
        }
    });
    let took = begun.elapsed();
    tokio::time::sleep(Duration::from_secs(3)).await;
    following.abort_all();
    let mut lags = lags.lock().unwrap().clone();
    lags.sort_unstable();
    let at = |part: usize| lags[(lags.len() - 1) * part / 100].as_secs_f64() * 1e3;
    println!(
        "  {subscribers} subscribers, {:.0} changes/s: {} of {total} told; after p50 {:.1} ms, p99 {:.1} ms, counted from when the change was sent",
        total as f64 / took.as_secs_f64(),
        lags.len(),
        at(50),
        at(99)
    );
}
