//! `panorama`: the program.

/// Rows are many small pieces, in Rust and in SQLite; both take them from this allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    api::commands::main()
}
