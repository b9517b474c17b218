//! The key-encryption key: a local file, or an external command in front of any key service.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::envelope::{self, Cipher, Place};

/// How long the external command may take.
const LIMIT: Duration = Duration::from_secs(10);

const HEADER: &str = "panorama-kek-v1";

/// Wraps and unwraps tenant keys. Debug shows nothing of the key.
pub enum Kek {
    /// A key of 32 bytes from a file of mode 0600.
    File {
        /// Where it was read.
        path: PathBuf,
        /// The key itself.
        key: Zeroizing<[u8; 32]>,
        /// Whether it was made by the demo; a production profile refuses it.
        demo: bool,
    },
    /// A program that is run as `PROGRAM wrap|unwrap CONTEXT`, reads bytes in hex from standard input and answers in hex.
    Command(PathBuf),
}

impl std::fmt::Debug for Kek {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kek(***)")
    }
}

/// What is wrong with the key-encryption key.
#[derive(Debug, thiserror::Error)]
pub enum BadKek {
    /// No such file.
    #[error("key file {0} is missing; restore it from your backup, or name the right one with --key-file")]
    Missing(PathBuf),
    /// Not to be read or written.
    #[error("key file {0}: {1}")]
    Io(PathBuf, #[source] std::io::Error),
    /// Others can read it.
    #[error("key file {0} can be read by others; set its mode to 0600")]
    Open(PathBuf),
    /// It does not look like a key file.
    #[error("key file {0} is not a key file of panorama")]
    Format(PathBuf),
    /// It is not the key that wrapped the keys of this database.
    #[error("the key-encryption key is not the one that this database was made with; name the right key file with --key-file")]
    Wrong,
    /// The right key, but what it wrapped is damaged.
    #[error("a tenant key in the database is damaged; restore the tenant_key table from a backup")]
    Damaged,
    /// The external command failed.
    #[error("key command {0} failed")]
    Command(PathBuf),
    /// The external command did not come to its end.
    #[error("key command {0} did not answer within 10 s and was stopped; see whether its key service answers")]
    Slow(PathBuf),
    /// No randomness.
    #[error("the system gives no random bytes")]
    Random,
}

impl Kek {
    /// Reads a key file.
    ///
    /// # Errors
    /// [`BadKek`]: missing, readable by others, or not a key file.
    pub fn read(path: &Path) -> Result<Self, BadKek> {
        let io = |error: std::io::Error| if error.kind() == ErrorKind::NotFound { BadKek::Missing(path.into()) } else { BadKek::Io(path.into(), error) };
        let mut file = std::fs::File::open(path).map_err(io)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            if file.metadata().map_err(io)?.permissions().mode() & 0o077 != 0 {
                return Err(BadKek::Open(path.into()));
            }
        }
        let mut text = Zeroizing::new(String::new());
        (&mut file).take(4096).read_to_string(&mut text).map_err(io)?;
        let mut words = text.split_whitespace();
        let (header, hex, mark) = (words.next(), words.next().unwrap_or_default(), words.next());
        let bytes = Zeroizing::new(unhex(hex).unwrap_or_default());
        match (header, <[u8; 32]>::try_from(bytes.as_slice())) {
            (Some(HEADER), Ok(key)) => Ok(Self::File { path: path.into(), key: Zeroizing::new(key), demo: mark == Some("demo") }),
            _ => Err(BadKek::Format(path.into())),
        }
    }

    /// Makes a new key file; never over an old one.
    ///
    /// # Errors
    /// [`BadKek`]: no randomness, or the file cannot be made.
    pub fn create(path: &Path, demo: bool) -> Result<Self, BadKek> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice()).map_err(|_| BadKek::Random)?;
        write(path, &key, demo)?;
        Ok(Self::File { path: path.into(), key, demo })
    }

    /// Writes the key to another file, in place of what is there: never into it, for it may be open to others. Of a command there
    /// is nothing to write.
    ///
    /// # Errors
    /// [`BadKek`]: the file cannot be made.
    pub fn copy(&self, path: &Path) -> Result<(), BadKek> {
        let Self::File { key, demo, .. } = self else { return Ok(()) };
        match std::fs::remove_file(path) {
            Err(problem) if problem.kind() != ErrorKind::NotFound => Err(BadKek::Io(path.into(), problem)),
            _ => write(path, key, *demo),
        }
    }

    /// The key file as it is now: it may have been exchanged since it was read. `None` of a command, which follows by itself.
    ///
    /// # Errors
    /// As [`Kek::read`].
    pub fn again(&self) -> Result<Option<Self>, BadKek> {
        match self {
            Self::File { path, .. } => Self::read(path).map(Some),
            Self::Command(_) => Ok(None),
        }
    }

    /// Which key this is, for the rows that it wraps: 16 characters that tell a wrong key from damaged data, and nothing of the key.
    ///
    /// # Errors
    /// None that is known.
    pub fn id(&self) -> Result<String, BadKek> {
        match self {
            Self::File { key, .. } => {
                let mut mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).map_err(|_| BadKek::Wrong)?;
                mac.update(b"panorama key-encryption key");
                Ok(hex(&mac.finalize().into_bytes()[..8]).as_str().to_owned())
            }
            Self::Command(_) => Ok("command".to_owned()),
        }
    }

    pub(crate) async fn wrap(&self, place: Place, key: &[u8; 32]) -> Result<Vec<u8>, BadKek> {
        match self {
            Self::File { key: kek, .. } => envelope::seal(&Cipher::of(kek), None, place, key).map_err(|_| BadKek::Random),
            Self::Command(program) => ask(program, "wrap", place, key).await.map(|bytes| bytes.to_vec()),
        }
    }

    pub(crate) async fn unwrap(&self, place: Place, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, BadKek> {
        let bytes = match self {
            Self::File { key: kek, .. } => envelope::open(&Cipher::of(kek), place, wrapped).map_err(|_| BadKek::Damaged)?,
            Self::Command(program) => ask(program, "unwrap", place, wrapped).await?,
        };
        <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new).map_err(|_| BadKek::Damaged)
    }
}

/// Makes a key file that only its owner reads; never over an old one.
fn write(path: &Path, key: &[u8; 32], demo: bool) -> Result<(), BadKek> {
    let io = |error| BadKek::Io(path.into(), error);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let text = Zeroizing::new(format!("{HEADER} {}{}\n", hex(key).as_str(), if demo { " demo" } else { "" }));
    let mut file = options.open(path).map_err(io)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
}

/// Asks the external command, beside those who serve requests.
async fn ask(program: &Path, act: &'static str, place: Place, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadKek> {
    let (own, input) = (program.to_owned(), hex(input));
    let context = format!("{}/{}", place.tenant.0, place.column);
    let answered = tokio::task::spawn_blocking(move || run(&own, [act, &context], input, LIMIT)).await;
    answered.map_err(|_| BadKek::Command(program.into()))?
}

/// Runs the external command, for at most so long.
fn run(program: &Path, arguments: [&str; 2], input: Zeroizing<String>, limit: Duration) -> Result<Zeroizing<Vec<u8>>, BadKek> {
    let failed = || BadKek::Command(program.into());
    let until = Instant::now() + limit;
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(|_| failed())?;
    let (mut stdin, stdout) = (child.stdin.take().ok_or_else(failed)?, child.stdout.take().ok_or_else(failed)?);
    let (tell, told) = mpsc::channel();
    // On a thread of its own, which a program that keeps its output open cannot make anybody wait for.
    std::thread::spawn(move || {
        let mut text = Zeroizing::new(String::new());
        let written = stdin.write_all(input.as_bytes());
        drop(stdin);
        let read = written.and_then(|()| stdout.take(65_536).read_to_string(&mut text));
        let _ = tell.send(read.map(|_| text));
    });
    let text = told.recv_timeout(limit);
    let status = loop {
        match child.try_wait() {
            Ok(None) if text.is_ok() && Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
            Ok(Some(status)) => break status,
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(BadKek::Slow(program.into()));
            }
        }
    };
    let text = text.map_err(|_| BadKek::Slow(program.into()))?.map_err(|_| failed())?;
    match unhex(text.trim()) {
        Some(bytes) if status.success() => Ok(Zeroizing::new(bytes)),
        _ => Err(failed()),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let digit = |half: u8| char::from(b"0123456789abcdef"[usize::from(half)]);
    let mut out = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    out
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn tool(name: &str, script: &str) -> std::io::Result<PathBuf> {
        let path = std::env::temp_dir().join(format!("panorama-{name}-{}", std::process::id()));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        Ok(path)
    }

    #[test]
    fn a_key_command_that_hangs_is_stopped() {
        for (name, script) in
            [("sleeps", "exec sleep 60"), ("keeps-its-output-open", "sleep 60 & wait"), ("answers-and-stays", "echo 00; exec >&-; exec sleep 60")]
        {
            let (path, begun) = (tool(name, script).unwrap(), Instant::now());
            let stopped = run(&path, ["wrap", "x"], hex(&[1; 32]), Duration::from_millis(300));
            assert!(matches!(stopped, Err(BadKek::Slow(_))) && begun.elapsed() < Duration::from_secs(5), "{name}: {stopped:?}");
            std::fs::remove_file(path).unwrap();
        }
    }

    #[tokio::test]
    async fn others_are_served_while_a_key_command_thinks() {
        let path = tool("thinks", "read line; sleep 0.5; printf %s \"$line\"").unwrap();
        let kek = Kek::Command(path.clone());
        let place = Place { tenant: crate::TenantId(Uuid::nil()), table: "tenant_key", column: "data", row: Uuid::nil() };
        let begun = Instant::now();
        let served = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            begun.elapsed()
        };
        let (wrapped, served) = tokio::join!(kek.wrap(place, &[7; 32]), served);
        assert_eq!(wrapped.unwrap(), [7; 32]);
        assert!(served < Duration::from_millis(400), "{served:?}");
        std::fs::remove_file(path).unwrap();
    }
}
