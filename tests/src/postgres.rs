//! A throw-away PostgreSQL cluster of this process, on a socket of its own. Never one that is found, never as root.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::Raw;

struct Cluster {
    dir: PathBuf,
    port: u16,
    _keeper: Child,
}

static PROGRAMS: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    debian.chain(on_path).find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists())
});
static CLUSTER: LazyLock<Cluster> = LazyLock::new(start);
static CREATING: LazyLock<tokio::sync::Mutex<()>> = LazyLock::new(tokio::sync::Mutex::default);
static COUNT: AtomicU32 = AtomicU32::new(0);
/// Whether the cluster is a bench's: it syncs to disk, which tests need not, and has the memory and the log's length that PostgreSQL's
/// manual advises. Set before the first database is made.
pub static BENCH: AtomicBool = AtomicBool::new(false);

pub fn installed() -> bool {
    PROGRAMS.is_some()
}

/// A shell command as a user that PostgreSQL runs under.
fn unprivileged(script: &str) -> Command {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let mut command = if root { Command::new("setpriv") } else { Command::new("sh") };
    if root {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "sh"]);
    }
    command.args(["-c", script]);
    command
}

fn start() -> Cluster {
    let bin = PROGRAMS.as_ref().unwrap();
    // Below /tmp whatever TMPDIR says: a socket's path must be short, and its user must reach it.
    let dir = PathBuf::from(format!("/tmp/panorama-test-{}", std::process::id()));
    let port = u16::try_from(20_000 + std::process::id() % 20_000).unwrap();
    let made = unprivileged(&format!(
        "umask 077; mkdir {d} && LC_ALL=C {b}/initdb -D {d}/data -U root_of_tests -A trust -E UTF8 --no-sync >{d}/initdb.log 2>&1",
        d = dir.display(),
        b = bin.display()
    ));
    assert!(run(made), "initdb failed; see {}/initdb.log", dir.display());
    // The keeper ends the cluster and removes it when this process, at the other end of its standard input, is gone.
    let keeper = format!(
        "chmod 711 {d}; {b}/postgres -D {d}/data -k {d} -p {port} -c listen_addresses=127.0.0.1 {settings} -c max_connections=400 >{d}/log 2>&1 & read _; kill -INT $!; wait $!; rm -rf {d}",
        settings = if BENCH.load(Ordering::Relaxed) { "-c shared_buffers=2GB -c max_wal_size=4GB" } else { "-c fsync=off" },
        d = dir.display(),
        b = bin.display()
    );
    let child = unprivileged(&keeper).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let ready = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        run(unprivileged(&format!(
            "{}/psql -h 127.0.0.1 -p {port} -U root_of_tests -d postgres -qc 'CREATE ROLE panorama LOGIN' >/dev/null 2>&1",
            bin.display()
        )))
    });
    let cluster = Cluster { dir, port, _keeper: child };
    assert!(ready, "PostgreSQL did not start; see {}/log", cluster.dir.display());
    cluster
}

fn run(mut command: Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

/// What the cluster has logged.
pub fn log() -> String {
    String::from_utf8_lossy(&std::fs::read(CLUSTER.dir.join("log")).unwrap()).into_owned()
}

/// Runs a command of psql, as this user.
pub fn psql(url: &str, command: &str) -> bool {
    let bin = PROGRAMS.as_ref().unwrap();
    Command::new(bin.join("psql")).args([url, "-qc", command]).stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Makes a database owned by a plain user, perhaps as a copy of another, and returns its URL.
pub async fn create(template: Option<&str>) -> String {
    let cluster = tokio::task::spawn_blocking(|| &*CLUSTER).await.unwrap();
    let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let _one_at_a_time = CREATING.lock().await;
    let raw = Raw::connect(&format!("postgres://root_of_tests@127.0.0.1:{}/postgres", cluster.port)).await;
    let from = template.map(|template| format!(" TEMPLATE {template}")).unwrap_or_default();
    raw.run(&format!("CREATE DATABASE {name} OWNER panorama{from}")).await.unwrap_or_else(|error| panic!("{error}; see {}", cluster.dir.display()));
    format!("postgres://panorama@127.0.0.1:{}/{name}", cluster.port)
}

/// The same database as its owner, for whom row-level security does not hold.
pub fn as_owner(url: &str) -> String {
    let (_, rest) = url.split_once('@').unwrap();
    format!("postgres://root_of_tests@{rest}")
}

/// Statements per second of one prepared statement, of which `:n` is a row of `sampled`, at random.
pub fn pgbench(url: &str, dir: &std::path::Path, sql: &str, clients: u64, seconds: u64) -> f64 {
    let script = dir.join("reference.sql");
    std::fs::write(&script, format!("\\set n random(1, :rows)\n{sql};\n")).unwrap();
    let rows = Command::new(PROGRAMS.as_ref().unwrap().join("psql")).args([url, "-Atc", "SELECT count(*) FROM sampled"]).output().unwrap();
    let rows = format!("rows={}", String::from_utf8_lossy(&rows.stdout).trim());
    let (clients, seconds) = (clients.to_string(), seconds.to_string());
    let mut pgbench = Command::new(PROGRAMS.as_ref().unwrap().join("pgbench"));
    pgbench.args(["-n", "-M", "prepared", "-c", &clients, "-j", "1", "-T", &seconds, "-D", &rows, "-f"]).arg(&script).arg(url);
    let output = pgbench.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok());
    rate.unwrap_or_else(|| panic!("pgbench: {said} {}", String::from_utf8_lossy(&output.stderr)))
}
