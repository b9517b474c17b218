//! The program as it is served to benches: a process of its own, asked over loopback as cheaply as can be.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

fn program(settings: &[String], arguments: &[&str]) -> Command {
    let mut command = Command::new(&*crate::program::BINARY);
    command.args(arguments).args(settings);
    command
}

/// What the program says.
pub fn command(settings: &[String], arguments: &[&str]) -> String {
    let output = program(settings, arguments).stderr(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A server, alone on this machine, without limits of rate.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts it and waits until it answers.
    pub fn start(settings: &[String]) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = program(settings, &["serve", "--bind", &free.to_string(), "--log", "warn"]);
        command.env("PANORAMA_LIMITS__RATE", "1000000").env("PANORAMA_LIMITS__CONCURRENCY", "1000").env("PANORAMA_LIMITS__STREAMS", "5000");
        let server = Self { child: command.stdout(Stdio::null()).spawn().unwrap(), address: free };
        for _ in 0..600 {
            if TcpStream::connect(free).is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the server does not answer");
    }

    /// A request as it goes over the wire.
    pub fn request(&self, token: &str, purpose: Option<&str>, query: &str, variables: &Value) -> Vec<u8> {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let purpose = purpose.map(|purpose| format!("X-Purpose: {purpose}\r\n")).unwrap_or_default();
        let head = format!(
            "POST /graphql HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n{purpose}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head, body].concat().into_bytes()
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Peak and present memory in MiB.
    pub fn memory(&self) -> (u64, u64) {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let of = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) >> 10;
        (of("VmHWM:"), of("VmRSS:"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that stays.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::with_capacity(1 << 16, stream))
    }

    /// The status and the body.
    pub fn ask(&mut self, request: &[u8], body: &mut Vec<u8>) -> u16 {
        self.0.get_mut().write_all(request).unwrap();
        let (mut line, mut status, mut length) = (String::new(), 0, 0);
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            match line.trim_end().split_once(' ') {
                Some(("HTTP/1.1", rest)) => status = rest[..3].parse().unwrap(),
                Some((name, value)) if name.eq_ignore_ascii_case("content-length:") => length = value.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        body.resize(length, 0);
        self.0.read_exact(body).unwrap();
        status
    }
}
