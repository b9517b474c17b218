# What there is to do here. Each recipe is one line of what CI does too.

# the demo, on http://127.0.0.1:8080
run:
    cargo run --release -- demo

# every test; PostgreSQL where its programs are installed
test:
    cargo test --workspace

# what CI refuses
lint:
    cargo fmt --all -- --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo deny check bans licenses sources

# write the generated files: schema, data dictionary, policy matrix
generate:
    cargo run --quiet -- schema > docs/schema.graphql
    cargo run --quiet -- dictionary > docs/data-dictionary.md
    cargo run --quiet -- matrix > docs/policy-matrix.md
    GENERATE=1 cargo test --workspace -p tests --test all -- plans::what_is_asked_lies_on_one_shard

# how fast questions are answered on both databases, against one SQL statement that makes the same tree
bench customers="200000" seconds="5":
    cargo bench --workspace --bench questions -- {{customers}} {{seconds}}

# how fast files become durable sealed rows, on both databases, against loading them as they are
bench-import rows="1000000":
    cargo build --release -p api -p tests --bins
    cargo run --release -p tests --bin bench -- {{rows}}

# how fast events become durable, and the log is verified and asked, on both databases, synced to disk
bench-log events="200000" grown="":
    cargo build --release -p api -p tests --bins
    cargo run --release -p tests --bin bench -- log {{events}} {{grown}}

# kills servers under load, so many times on each database, and looks for what was acknowledged and is missing
bench-kills kills="100":
    KILLS={{kills}} cargo test --release --workspace -p tests --test all -- durable::

# what is refused, and how fast; how many may listen
siege subscribers="1000":
    cargo build --release -p api -p tests --bins
    cargo run --release -p tests --bin siege -- {{subscribers}}

# what a thousand sealed cells cost that are decided, opened and noted
bench-cells:
    cargo build --release -p api -p tests --bins
    cargo run --release -p tests --bin bench -- cells

# clients that others wrote and a fuzzer of schemas, against a demo of their own; needs node, npm and python3
clients:
    cargo build
    tests/clients/run target/debug/panorama

# how well the second pass finds duplicates in a file of which a column knows the truth: just match febrl3.csv true_id tests/data/febrl.mapping.toml
match file truth mapping:
    cargo build --release -p api -p tests --bins
    cargo run --release -p tests --bin matching -- {{file}} {{truth}} {{mapping}}
