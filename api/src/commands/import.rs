//! Importing files at the terminal.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use entity::House;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{print, say};
use crate::config::{Config, login};
use crate::error::Stop;
use crate::home;
use crate::intake::{self, File, Imported, Options, Progress, Report};

/// Import files of one source system.
#[derive(Args)]
pub struct Import {
    /// CSV or XLSX files, as they are or packed as .gz.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Short name of the tenant.
    #[arg(long)]
    tenant: String,
    /// The source system: sales, shop, ticket, ecom, or one that was given a mapping. Without it, the one whose last file had
    /// the same header.
    #[arg(long)]
    source: Option<String>,
    /// Do everything, show what would come of it, and keep nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do what the dry run with this plan hash showed, or do not begin.
    #[arg(long, value_name = "HASH", conflicts_with = "dry_run")]
    plan: Option<String>,
    /// The report as JSON.
    #[arg(long)]
    json: bool,
}

impl Import {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        let files: Vec<File<'_>> = self.files.iter().map(|path| File::at(self.source.as_deref(), path)).collect();
        let house = home::open(config).await?;
        let options = Options { dry_run: self.dry_run, plan: self.plan, uploaded: false };
        let report = run(&house, &self.tenant, &files, &options, self.json).await?;
        if self.json {
            return print(&format!("{}\n", serde_json::to_string(&report).unwrap_or_default()));
        }
        print(&table(&self.tenant, &report))
    }
}

/// Imports with a bar on a terminal, plain lines elsewhere.
pub async fn run(house: &House, tenant: &str, files: &[File<'_>], options: &Options, quiet: bool) -> Result<Report, Stop> {
    let tenant = house.tenant(tenant).await?;
    let steward = house.operator(tenant.id, &login(), "steward", Some("data_quality"));
    let terminal = std::io::stderr().is_terminal() && !quiet;
    let bar = ProgressBar::with_draw_target(None, if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {elapsed}") {
        bar.set_style(style);
    }
    let (mut total, mut behind, mut last, mut said) = (0, 0, 0, 0);
    let mut show = |progress: Progress<'_>| match progress {
        Progress::Read(file, bytes) => {
            total += bytes;
            bar.set_length(total);
            if !terminal && !quiet {
                say(&format!("{}: {file}: {bytes} bytes", tenant.slug));
            }
        }
        Progress::Loaded(rows, at) => {
            if at < last {
                behind += last;
            }
            last = at;
            bar.set_position(behind + at);
            bar.set_message(format!("{rows} rows"));
            if !terminal && !quiet && rows / 100_000 != said {
                said = rows / 100_000;
                say(&format!("{}: {rows} rows", tenant.slug));
            }
        }
        Progress::Compared(records) => bar.set_message(format!("{records} records compared")),
    };
    let report = intake::run(house, &steward, files, options, &mut show).await;
    bar.finish_and_clear();
    report
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
    let listed = |of: &std::collections::BTreeMap<String, i32>| of.iter().map(|(word, times)| format!("{word} {times}")).collect::<Vec<_>>().join(", ");
    for Imported { file, counts, tally, state, import, other_sheets, .. } in &report.files {
        let _ = writeln!(out, "  {file}: {} new, {} updated and {} merged customers", tally.linked.created, tally.linked.updated, tally.linked.merged);
        if !tally.reasons.is_empty() {
            let _ = writeln!(
                out,
                "    rejected: {}; `panorama imports rejects {import} --tenant {tenant} --out rejects.csv` writes them with what to do",
                listed(&tally.reasons)
            );
        }
        if !other_sheets.is_empty() {
            let _ = writeln!(out, "    not read: the sheets {}; save each as a file of its own", other_sheets.join(", "));
        }
        if !tally.warnings.is_empty() {
            let _ = writeln!(out, "    not readable: {}", listed(&tally.warnings));
        }
        let kept = f64::from((counts.read - counts.rejected).max(1));
        let rates: Vec<String> = tally.filled.iter().map(|(field, filled)| format!("{field} {:.0} %", 100.0 * f64::from(*filled) / kept)).collect();
        let _ = writeln!(out, "    filled: {}", rates.join(", "));
        if state != "done" {
            let _ = writeln!(out, "    {state}; importing the file again goes on");
        }
    }
    let _ = writeln!(out, "  loaded in {:.1} s", report.loading);
    let probable = report.probable;
    if probable.records > 0 {
        let _ = writeln!(
            out,
            "  compared in {:.1} s: {} records with those near them; {} pairs linked by probability, {} came into the duplicates queue",
            report.comparing, probable.records, probable.joined, probable.queued
        );
    }
    if let Some(plan) = &report.plan {
        let _ = writeln!(out, "  a dry run: nothing was kept. Bind the real run to it with --plan {plan}");
    }
    out
}
