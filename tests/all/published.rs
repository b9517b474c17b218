//! Checkpoints are published where the database's operators cannot reach: nothing that was signed stays inside.

use api::config::Config;
use api::keeper::Published;
use tests::{Home, Taker, homes};

async fn look(home: &Home) {
    home.tenant("acme").persona("support").query("{ customers(first: 1) { nodes { phone } } }").await.data();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_posted_until_it_is_taken() {
    for home in homes().await {
        let taker = Taker::answering(|nth| if nth > 1 { 204 } else { 503 }).await;
        let mut published = Published::of(&Config { checkpoint_url: Some(taker.url.clone()), ..home.config.clone() }).unwrap();
        look(&home).await;
        let refused = published.round(&home.house).await.unwrap_err().to_string();
        assert_eq!(refused, "checkpoint_url: it answered 503; the checkpoints are posted again");
        look(&home).await;
        let notes = published.round(&home.house).await.unwrap();
        let taken: Vec<String> = taker.taken().into_iter().map(|posted| posted.body).collect();
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
