//! Checkpoints are published where the database's operators cannot reach: nothing that was signed stays inside.

use std::sync::{Arc, Mutex};

use api::config::Config;
use api::keeper::Published;
use tests::{Home, homes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A taker of checkpoints that refuses the first ones; returns its address and the bodies that it was sent.
async fn taker(refusals: usize) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, taken) = (format!("http://{}/checkpoints", listener.local_addr().unwrap()), Arc::<Mutex<Vec<String>>>::default());
    let sent = Arc::clone(&taken);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            loop {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.unwrap();
                request.extend_from_slice(&part[..read]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()).unwrap_or(0);
                if body.len() >= length || read == 0 {
                    sent.lock().unwrap().push(body.to_owned());
                    break;
                }
            }
            let status = if sent.lock().unwrap().len() > refusals { "204 No Content" } else { "503 Service Unavailable" };
            stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        }
    });
    (url, taken)
}

async fn look(home: &Home) {
    home.tenant("acme").persona("support").query("{ customers(first: 1) { nodes { phone } } }").await.data();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_posted_until_it_is_taken() {
    for home in homes().await {
        let (url, taken) = taker(1).await;
        let mut published = Published::of(&Config { checkpoint_url: Some(url), ..home.config.clone() }).unwrap();
        look(&home).await;
        let refused = published.round(&home.house).await.unwrap_err().to_string();
        assert_eq!(refused, "checkpoint_url: it answered 503; the checkpoints are posted again");
        look(&home).await;
        let notes = published.round(&home.house).await.unwrap();
        let taken = std::mem::take(&mut *taken.lock().unwrap());
        assert_eq!(taken.len(), 2);
        assert!(taken[1].starts_with(&taken[0]), "what was refused comes again, first");
        assert!(!notes.is_empty() && notes.iter().all(|note| taken[1].contains(note.as_str())), "and what is new behind it");
        let key = home.house.log_key().await.unwrap();
        for note in taken[1].split("\n\n\n").filter(|note| !note.trim().is_empty()) {
            key.open(&format!("{}\n", note.trim_matches('\n'))).unwrap();
        }
        let nobody = Published::of(&Config { checkpoint_url: Some("http://127.0.0.1:9/".to_owned()), ..home.config.clone() });
        look(&home).await;
        let refused = nobody.unwrap().round(&home.house).await.unwrap_err().to_string();
        assert!(refused.starts_with("checkpoint_url: ") && !refused.contains("127.0.0.1"), "{refused}");
    }
    assert!(Published::of(&Config { checkpoint_url: Some("ftp://example.com".to_owned()), ..Config::default() }).is_err());
}
