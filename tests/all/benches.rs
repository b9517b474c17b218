//! Benches ask what they say, and time nothing here.

#[tokio::test(flavor = "multi_thread")]
async fn the_questions_that_are_timed_are_answered_rightly() {
    tests::questions::ask(640, 0, &[]).await;
}
