//! What became of every imported row, as CSV.

use std::path::PathBuf;

use clap::Args;
use entity::fate::{self, Facts};
use entity::{Operation, Session};
use policy::clean::{amount, industry};
use policy::{Pii, View};

use super::say;
use crate::config::{Config, login};
use crate::error::Stop;
use crate::home;

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
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        let house = home::open(config).await?;
        let tenant = house.tenant(&self.tenant).await?;
        let steward = house.operator(tenant.id, &login(), "steward", Some("data_quality"));
        let csv = Session::run(&house, &steward, Operation::new("command", "Rows.export"), async |session| rows(&session).await).await??;
        write_whole(&self.out, &csv)?;
        say(&format!("{} holds personal data in the clear; keep it safe and delete it when done", self.out.display()));
        Ok(())
    }
}

/// Writes a file that only its owner may read. It appears whole or not at all; a device is written to as it is.
pub fn write_whole(path: &std::path::Path, bytes: &[u8]) -> Result<(), Stop> {
    let failed = |problem: std::io::Error| Stop::new(format!("file {}: {}", path.display(), problem.kind()));
    let partial = path.with_extension("partial");
    let whole = path.is_file() || !path.exists();
    if let Err(problem) = write(if whole { &partial } else { path }, bytes) {
        if whole {
            let _ = std::fs::remove_file(&partial);
        }
        return Err(failed(problem));
    }
    if whole {
        std::fs::rename(&partial, path).map_err(failed)?;
    }
    Ok(())
}

fn write(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.flush()
}

const COLUMNS: [&str; 12] = ["row_id", "customer_id", "rejected", "reject_reason", "flags", "name", "phone", "email", "date", "industry", "address", "amount"];

async fn rows(session: &Session) -> Result<Vec<u8>, Stop> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let broken = |_| Stop::new("the rows cannot be written");
    out.write_record(COLUMNS).map_err(broken)?;
    for told in fate::newest(session).await? {
        for window in told.windows() {
            for fate in fate::of(session, &told, window).await? {
                out.write_record(cells(session, fate)?.map(|cell| defused(&cell))).map_err(broken)?;
            }
        }
    }
    out.into_inner().map_err(|_| Stop::new("the rows cannot be written"))
}

fn cells(session: &Session, fate: fate::Fate) -> Result<[String; 12], Stop> {
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
fn show<K: Pii>(session: &Session, value: Option<entity::Guarded<K>>) -> Result<String, Stop> {
    let shown = value.map(|value| session.show(&value, View::Clear)).transpose().map_err(entity::Error::from)?;
    Ok(shown.flatten().unwrap_or_default())
}

/// A cell that a spreadsheet would take for a formula gets an apostrophe in front.
pub fn defused(cell: &str) -> String {
    let number = cell.strip_prefix('-').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && !number { format!("'{cell}") } else { cell.to_owned() }
}
