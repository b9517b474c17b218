//! The steward's work at the terminal: importing, and asking what became of every row.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use entity::fate::{self, Facts};
use entity::{House, Operation, Session};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use policy::clean::{amount, industry};
use policy::{Pii, View};

use super::{print, say};
use crate::config::{Config, login};
use crate::error::Stop;
use crate::home;
use crate::intake::{self, File, Imported, Progress, Report};

/// Import files of one source system.
#[derive(Args)]
pub struct Import {
    /// CSV files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Short name of the tenant.
    #[arg(long)]
    tenant: String,
    /// The source system: sales, shop, ticket, ecom.
    #[arg(long)]
    source: String,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
}

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

impl Import {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        let files: Vec<File<'_>> = self.files.iter().map(|path| File::open(&self.source, path)).collect::<Result<_, _>>()?;
        let house = home::open(config).await?;
        let report = import(&house, &self.tenant, &files, self.json).await?;
        if self.json {
            return print(&format!("{}\n", serde_json::to_string(&report).unwrap_or_default()));
        }
        print(&table(&self.tenant, &report))
    }
}

/// Imports with a bar on a terminal, plain lines elsewhere.
pub async fn import(house: &House, tenant: &str, files: &[File<'_>], quiet: bool) -> Result<Report, Stop> {
    let tenant = house.tenant(tenant).await?;
    let steward = house.operator(tenant.id, &login(), "steward", Some("data_quality"));
    let terminal = std::io::stderr().is_terminal() && !quiet;
    let bar = ProgressBar::with_draw_target(None, if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
    if let Ok(style) = ProgressStyle::with_template("{prefix:>28} {bar:30} {pos}/{len} rows {elapsed}") {
        bar.set_style(style);
    }
    let mut show = |progress: Progress<'_>| match progress {
        Progress::Read(file, rows) => {
            bar.set_length(rows as u64);
            bar.set_position(0);
            bar.set_prefix(file.to_owned());
            if !terminal && !quiet {
                say(&format!("{}: {file}: {rows} rows", tenant.slug));
            }
        }
        Progress::Loaded(_, rows) => bar.inc(rows as u64),
        Progress::Linking => bar.set_prefix("linking"),
    };
    let report = intake::run(house, &steward, files, &mut show).await?;
    bar.finish_and_clear();
    Ok(report)
}

/// The report as a table.
pub fn table(tenant: &str, report: &Report) -> String {
    use std::fmt::Write;
    let mut out = format!(
        "\n{tenant}\n  {:<24} {:<8} {:>6} {:>8} {:>8} {:>10} {:>10} {:>9} {:>9}\n",
        "file", "encoding", "read", "created", "updated", "unchanged", "duplicate", "rejected", "warnings"
    );
    for Imported { file, encoding, counts, .. } in &report.files {
        let _ = writeln!(
            out,
            "  {file:<24} {encoding:<8} {:>6} {:>8} {:>8} {:>10} {:>10} {:>9} {:>9}",
            counts.read, counts.created, counts.updated, counts.unchanged, counts.duplicate, counts.rejected, counts.warnings
        );
    }
    for Imported { file, reasons, .. } in report.files.iter().filter(|file| !file.reasons.is_empty()) {
        let why: Vec<String> = reasons.iter().map(|(reason, times)| format!("{reason} {times}")).collect();
        let _ = writeln!(out, "  rejected in {file}: {}", why.join(", "));
    }
    let linked = report.linked;
    let _ = writeln!(
        out,
        "  {} source records are {} customers ({} new, {} updated, {} merged)",
        linked.records, linked.customers, linked.created, linked.updated, linked.merged
    );
    out
}

impl Rows {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        let house = home::open(config).await?;
        let tenant = house.tenant(&self.tenant).await?;
        let steward = house.operator(tenant.id, &login(), "steward", Some("data_quality"));
        let csv = Session::run(&house, &steward, Operation::new("command", "Rows.export"), async |session| rows(&session).await).await??;
        // The file appears whole or not at all; a device is written to as it is.
        let failed = |problem: std::io::Error| Stop::new(format!("file {}: {}", self.out.display(), problem.kind()));
        let partial = self.out.with_extension("partial");
        let whole = self.out.is_file() || !self.out.exists();
        let target = if whole { &partial } else { &self.out };
        if let Err(problem) = write(target, &csv) {
            if whole {
                let _ = std::fs::remove_file(&partial);
            }
            return Err(failed(problem));
        }
        if whole {
            std::fs::rename(&partial, &self.out).map_err(failed)?;
        }
        say(&format!("{} holds personal data in the clear; keep it safe and delete it when done", self.out.display()));
        Ok(())
    }
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
    for fate in fate::all(session).await? {
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
        let rejected = if fate.reason.is_some() { "1" } else { "0" };
        let reason = fate.reason.unwrap_or_default();
        let flags = fate.flags.join(";");
        let cells = [&fate.row_id, &customer, rejected, &reason, &flags, &name, &phone, &email, &date, &code, &address, &fen].map(defused);
        out.write_record(&cells).map_err(broken)?;
    }
    out.into_inner().map_err(|_| Stop::new("the rows cannot be written"))
}

/// A personal value of a row, as clear as the steward may see it.
fn show<K: Pii>(session: &Session, value: Option<entity::Guarded<K>>) -> Result<String, Stop> {
    let shown = value.map(|value| session.show(&value, View::Clear)).transpose().map_err(entity::Error::from)?;
    Ok(shown.flatten().unwrap_or_default())
}

/// A cell that a spreadsheet would take for a formula gets an apostrophe in front.
fn defused(cell: &str) -> String {
    let number = cell.strip_prefix('-').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && !number { format!("'{cell}") } else { cell.to_owned() }
}
