//! `panorama`: the program.

/// Rows are many small pieces; this allocator is about a third faster at them than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    api::commands::main()
}
