//! The explorer comes from the server alone, and what it offers to try works.

use serde_json::Value;
use tests::homes;

#[tokio::test(flavor = "multi_thread")]
async fn the_page_needs_nothing_from_elsewhere_and_its_examples_run() {
    for home in homes().await {
        let get = async |path: &str| reqwest::get(format!("{}{path}", home.url)).await.unwrap();
        for (path, media) in [("/", "text/html"), ("/graphiql", "text/html"), ("/graphiql/page.css", "text/css"), ("/graphiql/page.js", "text/javascript")] {
            let answer = get(path).await;
            let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
            assert!(header("content-type").starts_with(media) && header("content-security-policy").starts_with("default-src 'none'"), "{path}");
            assert!(!header("content-security-policy").contains("unsafe"));
            let text = answer.text().await.unwrap();
            assert!(!text.contains("//cdn") && !text.contains("https://") && !text.contains("style=") && !text.contains("onclick"), "{path}");
        }
        let examples: Vec<Value> = get("/graphiql/examples.json").await.json().await.unwrap();
        assert_eq!(examples.len(), 9);
        for example in examples {
            let desk = home.tenant("acme").persona(example["persona"].as_str().unwrap());
            let desk = match example["purpose"].as_str() {
                Some(purpose) => desk.purpose(purpose),
                None => desk,
            };
            assert!(desk.query(example["query"].as_str().unwrap()).await.data().is_object(), "{example}");
        }
    }
}
