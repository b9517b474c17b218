//! `cargo bench --bench questions -- [CUSTOMERS] [SECONDS] [QUESTION…]`: two hundred thousand customers, five seconds and all questions by
//! default; every event synced to disk. See [`tests::questions`].

#[tokio::main]
async fn main() {
    tests::benched();
    // Cargo adds a flag of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number = |at: usize, default: u64| arguments.get(at).map_or(default, |n| n.parse().expect("a number"));
    tests::questions::ask(number(0, 200_000), number(1, 5), arguments.get(2..).unwrap_or_default()).await;
}
