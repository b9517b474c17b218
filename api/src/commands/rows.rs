//! What became of every imported row, as CSV.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use entity::Session;
use entity::fate::{self, Facts};
use policy::clean::{amount, industry};
use policy::{Pii, View};

use super::desk::Desk;
use super::say;
use crate::config::Config;
use crate::error::Stop;
use crate::intake::defused;

/// What became of every imported row.
#[derive(Args)]
pub struct Rows {
    /// Short name of the tenant.
    #[arg(long)]
    tenant: String,
    /// Where to write.
    #[arg(long)]
    out: PathBuf,
}

impl Rows {
    /// Does it, window by window: each is written when its access is recorded.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        let desk = Desk::steward(config, &self.tenant).await?;
        let broken = |problem: csv::Error| Stop::new(format!("file {}: {problem}", self.out.display()));
        let mut out = csv::Writer::from_writer(Whole::begin(&self.out)?);
        out.write_record(COLUMNS).map_err(broken)?;
        for told in desk.look("Rows.export", async |session| fate::standing(&session).await).await? {
            for window in told.windows() {
                let rows = async |session: std::sync::Arc<Session>| {
                    let fates = fate::of(&session, &told, window).await?;
                    fates.into_iter().map(|fate| cells(&session, fate)).collect::<Result<Vec<_>, entity::Error>>()
                };
                for row in desk.look("Rows.export", rows).await? {
                    out.write_record(row.map(|cell| defused(&cell))).map_err(broken)?;
                }
            }
        }
        out.into_inner().map_err(|problem| Stop::new(format!("file {}: {}", self.out.display(), problem.error())))?.finish()?;
        say(&format!("{} holds personal data in the clear; keep it safe and delete it when done", self.out.display()));
        Ok(())
    }
}

/// A file that only its owner may read. It appears whole or not at all; a device is written to as it is.
pub struct Whole {
    path: PathBuf,
    /// Where it is until it is whole.
    partial: Option<PathBuf>,
    file: BufWriter<File>,
}

impl Whole {
    /// Begins it.
    pub fn begin(path: &Path) -> Result<Self, Stop> {
        let partial = (path.is_file() || !path.exists()).then(|| path.with_extension("partial"));
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(partial.as_deref().unwrap_or(path)).map_err(|problem| failed(path, &problem))?;
        Ok(Self { path: path.to_owned(), partial, file: BufWriter::new(file) })
    }

    /// Goes on with it.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.file.write_all(bytes).map_err(|problem| failed(&self.path, &problem))
    }

    /// It is whole.
    pub fn finish(mut self) -> Result<(), Stop> {
        self.file.flush().map_err(|problem| failed(&self.path, &problem))?;
        match self.partial.take() {
            Some(partial) => std::fs::rename(partial, &self.path).map_err(|problem| failed(&self.path, &problem)),
            None => Ok(()),
        }
    }
}

fn failed(path: &Path, problem: &std::io::Error) -> Stop {
    Stop::new(format!("file {}: {}", path.display(), problem.kind()))
}

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            let _ = std::fs::remove_file(partial);
        }
    }
}

/// Writes such a file at once.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Stop> {
    let mut whole = Whole::begin(path)?;
    whole.add(bytes)?;
    whole.finish()
}

const COLUMNS: [&str; 12] = ["row_id", "customer_id", "rejected", "reject_reason", "flags", "name", "phone", "email", "date", "industry", "address", "amount"];

fn cells(session: &Session, fate: fate::Fate) -> Result<[String; 12], entity::Error> {
    let (mut date, mut code, mut fen) = (String::new(), String::new(), String::new());
    if let Some(Facts { date: on, industry, amount_fen }) = fate.facts() {
        date = session.tell(on).flatten().map(|date| date.to_string()).unwrap_or_default();
        code = session.tell(industry).flatten().unwrap_or_else(|| industry::UNKNOWN.to_owned());
        fen = session.tell(amount_fen).flatten().map(amount::yuan).unwrap_or_default();
    }
    let record = fate.record.as_ref();
    let [name, phone, email, address] = [
        show(session, record.map(entity::record::Record::name))?,
        show(session, record.map(entity::record::Record::phone))?,
        show(session, record.map(entity::record::Record::email))?,
        show(session, record.map(entity::record::Record::address))?,
    ];
    let customer = fate.customer.and_then(|number| session.tell(number)).unwrap_or_default();
    let rejected = if fate.reason.is_some() { "1" } else { "0" }.to_owned();
    Ok([fate.row_id, customer, rejected, fate.reason.unwrap_or_default(), fate.flags.join(";"), name, phone, email, date, code, address, fen])
}

/// A personal value of a row, as clear as the steward may see it.
fn show<K: Pii>(session: &Session, value: Option<entity::Guarded<K>>) -> Result<String, entity::Error> {
    let shown = value.map(|value| session.show(&value, View::Clear)).transpose()?;
    Ok(shown.flatten().unwrap_or_default())
}
