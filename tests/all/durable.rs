//! What was acknowledged is in the log, also when the program is killed in the middle of everything.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use entity::audit;
use entity::{Operation, Session};
use tests::{Home, homes, program};

/// How often the program is killed on each database: ten times, or as `KILLS` says.
#[expect(clippy::disallowed_methods, reason = "how long to try is no setting of the program")]
fn kills() -> u64 {
    std::env::var("KILLS").map_or(10, |kills| kills.parse().unwrap())
}

/// A name for each number, in letters: the log tells no name of many digits, which could be somebody's.
fn named(number: u64) -> String {
    number.to_string().bytes().fold("Asked".to_owned(), |mut name, digit| {
        name.push(char::from(digit - b'0' + b'A'));
        name
    })
}

/// Asks until the server is gone; what was answered is noted.
async fn ask(url: String, token: String, numbers: Arc<AtomicU64>, answered: Arc<Mutex<BTreeSet<String>>>) {
    let client = reqwest::Client::new();
    loop {
        let name = named(numbers.fetch_add(1, Ordering::Relaxed));
        let body = serde_json::json!({ "query": format!("query {name} {{ customers(first: 1) {{ nodes {{ phone }} }} }}") }).to_string();
        let request = client.post(format!("{url}/graphql")).header("content-type", "application/json").bearer_auth(&token).body(body);
        let Ok(answer) = request.send().await else { return };
        if answer.status() == 200 && answer.text().await.is_ok_and(|text| text.contains("nodes")) {
            answered.lock().unwrap().insert(name);
        }
    }
}

/// Kills this many servers on one database at once.
async fn killed(home: &Home, servers: u64, after: Duration, numbers: &Arc<AtomicU64>, answered: &Arc<Mutex<BTreeSet<String>>>) {
    let (data, url) = (home.config.data_dir.display().to_string(), home.config.url());
    let arguments = ["serve", "--bind", "127.0.0.1:0", "--profile", "development", "--data-dir", &data, "--database-url", &url];
    let serving: Vec<_> = (0..servers).map(|_| program(&arguments).env("NO_COLOR", "1").until("serving")).collect();
    let urls = serving.iter().map(|(_, line)| line.split_once("url=").unwrap().1.split_whitespace().next().unwrap().trim_matches('"').to_owned());
    let urls: Vec<String> = urls.collect();
    let token = home.tenant("acme").persona("support").token().await;
    let asking: Vec<_> =
        urls.iter().cycle().take(8).map(|url| tokio::spawn(ask(url.clone(), token.clone(), Arc::clone(numbers), Arc::clone(answered)))).collect();
    tokio::time::sleep(after).await;
    drop(serving);
    for task in asking {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_missing_after_a_kill() {
    for home in homes().await {
        let (numbers, answered) = (Arc::default(), Arc::<Mutex<BTreeSet<String>>>::default());
        for round in 0..kills() {
            killed(&home, 1 + round % 3, Duration::from_millis(150 + 70 * (round % 10)), &numbers, &answered).await;
            // A server that is started again finds its log in order, and signs it.
            home.house.checkpoint().await.unwrap();
        }
        let answered = std::mem::take(&mut *answered.lock().unwrap());
        assert!(answered.len() > 50, "{} answers", answered.len());
        let acme = home.house.tenant("acme").await.unwrap().id;
        let auditor = home.house.operator(acme, "test", "auditor", None);
        let checked = Session::run(&home.house, &auditor, Operation::new("command", "Audit.verify"), async |session| {
            let mut logged = BTreeSet::new();
            let (filter, mut before) = (audit::Filter { actor: Some("support".to_owned()), ..audit::Filter::default() }, None);
            loop {
                let page = audit::events(&session, &filter, 500, before).await.unwrap();
                logged.extend(page.events.into_iter().map(|event| event.operation));
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            let missing: Vec<&String> = answered.difference(&logged).collect();
            assert!(missing.is_empty(), "{} of {} answers are not in the log", missing.len(), answered.len());
            audit::verify(&session, None, &mut |_| {}).await.unwrap()
        });
        let checked = checked.await.unwrap();
        assert!(checked.findings.is_empty() && checked.events >= answered.len() as u64, "{checked:?}");
    }
}
