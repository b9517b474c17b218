//! What the documentation shows to those who build clients runs as it stands there.

use std::process::Command;

use tests::homes;

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_api_runs() {
    let page = include_str!("../../docs/api.md");
    for home in homes().await {
        let token = home.tenant("globex").persona("sales").token().await;
        let mut ran = 0;
        for block in page.split("```").skip(1).step_by(2) {
            let (language, text) = block.split_once('\n').unwrap();
            let mut command = match language {
                "sh" if text.starts_with("export ") => continue,
                "sh" => Command::new("bash"),
                "python" => Command::new("python3"),
                "graphql" => continue,
                // With generated types, by tests/clients/run.
                "typescript" => continue,
                other => panic!("nobody runs {other}"),
            };
            command.args([if language == "sh" { "-ec" } else { "-c" }, text]).env("URL", &home.url).env("TOKEN", &token);
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && !said.contains("\"errors\"") && !said.contains("\"message\""), "{text}\n{output:?}");
            ran += 1;
        }
        assert_eq!(ran, 5, "docs/api.md lost its examples");
    }
}
