//! An endpoint that takes what is posted to it.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What was posted.
#[derive(Clone, Debug)]
pub struct Posted {
    head: String,
    pub body: String,
}

impl Posted {
    /// A header of it.
    pub fn header(&self, name: &str) -> &str {
        let of = |line: &'_ str| line.split_once(": ").is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| of(line)).map(|line| line.split_once(": ").unwrap().1).unwrap_or_default()
    }
}

/// An endpoint on this machine.
pub struct Taker {
    pub url: String,
    taken: Arc<Mutex<Vec<Posted>>>,
}

impl Taker {
    /// It answers each request with what `status` says of the how many-th it is, from 1 on.
    pub async fn answering(status: impl Fn(usize) -> u16 + Send + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, taken) = (format!("http://{}/taken", listener.local_addr().unwrap()), Arc::<Mutex<Vec<Posted>>>::default());
        let sent = Arc::clone(&taken);
        tokio::spawn(async move {
            for nth in 1.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                loop {
                    let mut part = [0; 4096];
                    let read = stream.read(&mut part).await.unwrap();
                    request.extend_from_slice(&part[..read]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()).unwrap_or(0);
                    if body.len() >= length || read == 0 {
                        sent.lock().unwrap().push(Posted { head: head.to_owned(), body: body.to_owned() });
                        break;
                    }
                }
                let status = status(nth);
                stream.write_all(format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
            }
        });
        Self { url, taken }
    }

    /// What was posted since the last time.
    pub fn taken(&self) -> Vec<Posted> {
        std::mem::take(&mut *self.taken.lock().unwrap())
    }

    /// The next thing that is posted, within 30 seconds.
    pub async fn next(&self) -> Posted {
        for _ in 0..300 {
            {
                let mut taken = self.taken.lock().unwrap();
                if !taken.is_empty() {
                    return taken.remove(0);
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("nothing was posted within 30 s");
    }
}
