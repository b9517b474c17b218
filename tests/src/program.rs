//! The program itself, as a user runs it.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

/// The built binary.
pub static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
    let here = std::env::current_exe().unwrap();
    // A test stands in `deps`; a bench beside the program, which was built with it. As part of the workspace it is built as the tests
    // were, and nothing twice.
    let dir = here.parent().unwrap();
    if !dir.ends_with("deps") {
        return dir.join("panorama");
    }
    let profile = dir.parent().unwrap().to_owned();
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--workspace", "--bin", "panorama"]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    // What cargo says of this package makes build scripts that look at it run again, and most of the program be built again.
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))) {
        build.env_remove(name);
    }
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "the program does not build");
    profile.join("panorama")
});

/// A run of the program.
pub struct Program(Command);

/// `panorama` with these arguments, without the environment's settings.
pub fn program(arguments: &[&str]) -> Program {
    let mut command = Command::new(&*BINARY);
    command.args(arguments).env_remove("PANORAMA_CONFIG").stdin(Stdio::null());
    Program(command)
}

impl Program {
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    pub fn current_dir(mut self, dir: &std::path::Path) -> Self {
        self.0.current_dir(dir);
        self
    }

    /// Starts it, silent.
    pub fn spawn(mut self) -> Child {
        self.0.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Runs to the end.
    pub fn output(mut self) -> Output {
        self.0.output().unwrap()
    }

    /// Runs to the end, which must be a refusal of one line; returns the line.
    pub fn refusal(self) -> String {
        let output = self.output();
        let lines: Vec<String> = String::from_utf8_lossy(&output.stderr).lines().filter(|line| line.starts_with("panorama: ")).map(str::to_owned).collect();
        assert!(!output.status.success() && lines.len() == 1, "{output:?}");
        lines.into_iter().next().unwrap()
    }

    /// Starts it and returns it when a line of its standard error holds the word.
    pub fn until(mut self, word: &str) -> (Serving, String) {
        let mut child = self.0.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.map_while(Result::ok).find(|line| line.contains(word));
        let serving = Serving { child, log: None };
        (serving, line.unwrap_or_else(|| panic!("it stopped before it said '{word}'")))
    }

    /// Starts it and returns it with the first line of its standard output.
    pub fn serving(mut self) -> (Serving, String) {
        let mut child = self.0.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let mut errors = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = errors.read_to_string(&mut text);
            text
        });
        (Serving { child, log: Some(log) }, line)
    }
}

/// A running program; killed when dropped.
pub struct Serving {
    child: Child,
    log: Option<std::thread::JoinHandle<String>>,
}

impl Serving {
    /// Stops it and returns what it wrote to standard error.
    pub fn stop(mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.log.take().unwrap().join().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
