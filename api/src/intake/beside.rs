//! Work that blocks, on a thread of its own, a step ahead of whoever takes what it makes.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::Stop;

/// What such work makes, one after the other. Its end is not taken on trust: work that broke off is an error.
pub struct Beside<T> {
    made: mpsc::Receiver<T>,
    /// Until it was waited for.
    work: Option<JoinHandle<Result<(), Stop>>>,
    file: String,
}

/// Where it puts what it made.
pub struct Out<T>(mpsc::Sender<T>);

/// Nobody wants any more.
pub struct Unwanted;

impl<T> Out<T> {
    /// Waits until there is room.
    pub fn send(&self, made: T) -> Result<(), Unwanted> {
        self.0.blocking_send(made).map_err(|_| Unwanted)
    }
}

impl<T: Send + 'static> Beside<T> {
    /// Begins work on a file.
    pub fn run(file: String, work: impl FnOnce(Out<T>) -> Result<(), Stop> + Send + 'static) -> Self {
        let (out, made) = mpsc::channel(1);
        Self { made, work: Some(tokio::task::spawn_blocking(move || work(Out(out)))), file }
    }

    /// What is made next; `None` when the work came to its end.
    ///
    /// # Errors
    /// The work failed or broke off.
    pub async fn next(&mut self) -> Result<Option<T>, Stop> {
        if let Some(made) = self.made.recv().await {
            return Ok(Some(made));
        }
        let Some(work) = self.work.take() else { return Ok(None) };
        let ended =
            work.await.map_err(|_| Stop::new(format!("file {}: reading it broke off; its rows so far are loaded, report this as a defect", self.file)))?;
        ended.map(|()| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_broke_off_has_not_ended() {
        let mut whole = Beside::run("a.csv".to_owned(), |out| out.send(1).map_err(|_| Stop::new("unwanted")));
        assert_eq!((whole.next().await.unwrap(), whole.next().await.unwrap(), whole.next().await.unwrap()), (Some(1), None, None));
        let mut broken = Beside::run("a.csv".to_owned(), |out| {
            let _ = out.send(1);
            panic!("a defect")
        });
        assert_eq!(broken.next().await.unwrap(), Some(1));
        assert!(broken.next().await.unwrap_err().to_string().contains("a.csv"));
        let mut failed = Beside::<i32>::run("a.csv".to_owned(), |_| Err(Stop::new("line 3")));
        assert_eq!(failed.next().await.unwrap_err().to_string(), "line 3");
    }
}
