//! The steward's other work at the terminal: mappings, words, finished imports, reviews. Everything runs in the same session
//! and is logged like a request.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use entity::import::{self, Report, Wanted, undo};
use entity::{Change, quality, reference, source};
use policy::clean::{Addition, ReferenceKind};
use policy::mapping::{Mapping as Meaning, Source as Described, propose};
use uuid::Uuid;

use super::desk::Desk;
use super::rejects::Rejects;
use super::rows::{Whole, write_whole};
use super::{print, say};
use crate::config::Config;
use crate::error::Stop;
use crate::intake::read;

/// Mappings of source systems: what the columns of a file mean.
#[derive(Subcommand)]
pub enum Mapping {
    /// Look at a file and propose a mapping, each column with confidence and reason.
    Propose {
        /// CSV or XLSX, as it is or packed as .gz.
        file: PathBuf,
        /// Write the mapping here, to be edited.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Give a source system a mapping; a new name makes a new source, the same name a new version.
    Set {
        /// A mapping as TOML or JSON.
        file: PathBuf,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// The source system.
        #[arg(long)]
        source: String,
        /// What people call it.
        #[arg(long)]
        label: Option<String>,
    },
    /// Print the mapping of a source system as TOML.
    Show {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// The source system.
        #[arg(long)]
        source: String,
    },
    /// List the source systems.
    List {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
}

/// Words that a tenant adds to what cleaning knows.
#[derive(Subcommand)]
pub enum Words {
    /// List them.
    List {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Add one, or give it another meaning.
    Add {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// What it adds to.
        kind: Kind,
        /// What a cell says.
        word: String,
        /// What that means.
        #[arg(default_value = "")]
        meaning: String,
    },
    /// Take one away.
    Remove {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// What it adds to.
        kind: Kind,
        /// What a cell says.
        word: String,
    },
}

/// What a word adds to.
#[derive(Clone, Copy, ValueEnum)]
pub enum Kind {
    /// 3 to 5 digits to mobile, mvno, data_card, …
    MobileSegment,
    /// A word to an industry code such as I65.
    IndustryAlias,
    /// A division's name to its parents.
    Division,
    /// A word to a status.
    StatusWord,
    /// A word to a channel.
    ChannelWord,
    /// A number of 11 digits that stands for no number.
    PlaceholderPhone,
}

impl From<Kind> for ReferenceKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::MobileSegment => Self::MobileSegment,
            Kind::IndustryAlias => Self::IndustryAlias,
            Kind::Division => Self::Division,
            Kind::StatusWord => Self::StatusWord,
            Kind::ChannelWord => Self::ChannelWord,
            Kind::PlaceholderPhone => Self::PlaceholderPhone,
        }
    }
}

/// Imports that ran or run.
#[derive(Subcommand)]
pub enum Imports {
    /// List them, newest first.
    List {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Write the rejected rows of an import, in the source's columns, each with reason and suggestion. Clear values: logged.
    Rejects {
        /// The import.
        id: Uuid,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Where to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Stop a run behind its batch; importing the file again goes on.
    Pause {
        /// The import.
        id: Uuid,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Stop a run for good.
    Cancel {
        /// The import.
        id: Uuid,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Undo an import: what it created goes, what it replaced comes back.
    Undo {
        /// The import.
        id: Uuid,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Review the quality of every source, for this month.
    Review {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
}

impl Mapping {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        match self {
            Self::Propose { file, out } => proposed(&file, out.as_deref()),
            Self::Set { file, tenant, source, label } => {
                let (label_of_file, mapping) = described(&file)?;
                let label = label.or(label_of_file);
                let set = async |change: &Change| source::set_mapping(change, &source, label.as_deref(), mapping).await;
                let set = Desk::steward(config, &tenant).await?.write("Mapping.set", set).await?;
                print(&format!("source {source} has version {} of its mapping\n", set.mapping_version))
            }
            Self::Show { tenant, source } => {
                let source = Desk::steward(config, &tenant).await?.look("Mapping.show", async |session| source::named(&session, &source).await).await?;
                let shown = Described { name: source.name, label: source.label, mapping: source.mapping };
                print(&shown.to_toml().map_err(|problem| Stop::new(problem.to_string()))?)
            }
            Self::List { tenant } => {
                let sources = Desk::steward(config, &tenant).await?.look("Mapping.list", async |session| source::all(&session).await).await?;
                let line = |source: &source::Source| {
                    format!("{}\t{}\tversion {}\t{} columns\n", source.name, source.label, source.mapping_version, source.mapping.columns.len())
                };
                print(&sources.iter().map(line).collect::<String>())
            }
        }
    }
}

/// A mapping file: a mapping, or a source with its mapping; TOML or JSON.
fn described(path: &std::path::Path) -> Result<(Option<String>, Meaning), Stop> {
    let in_file = |problem: String| Stop::new(format!("file {}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|problem| in_file(read::Unreadable::from(problem).to_string()))?;
    let json = text.trim_start().starts_with('{');
    if let Ok(source) = if json { Described::from_json(&text) } else { Described::from_toml(&text) } {
        return Ok((Some(source.label), source.mapping));
    }
    let mapping = if json { Meaning::from_json(&text) } else { Meaning::from_toml(&text) };
    mapping.map(|mapping| (None, mapping)).map_err(|problem| in_file(problem.to_string()))
}

/// From this confidence on a column is proposed.
const CONFIDENT: f64 = 0.7;

fn proposed(path: &std::path::Path, out: Option<&std::path::Path>) -> Result<(), Stop> {
    let in_file = |problem: String| Stop::new(format!("file {}: {problem}", path.display()));
    let limits = read::Limits::default();
    let mut file = std::fs::File::open(path).map_err(|problem| in_file(read::Unreadable::from(problem).to_string()))?;
    let seen = read::look(&mut file, None, &limits).map_err(|problem| in_file(problem.to_string()))?;
    let rows =
        read::rows(&seen, file, &limits).and_then(|rows| rows.take(1_000).collect::<Result<Vec<_>, _>>()).map_err(|problem| in_file(problem.to_string()))?;
    let first = &rows[..rows.len().min(read::TITLE_ROWS)];
    let header = read::header(first, None).ok_or_else(|| in_file("none of the first lines looks like a header; add one".to_owned()))?;
    let sample: Vec<Vec<String>> = rows[header + 1..].iter().map(|row| row.cells.clone()).collect();
    let proposal = propose(&rows[header].cells, &sample);
    for column in &proposal.columns {
        let to = column.to.map_or("-", |to| to.word());
        say(&format!("{:>4.0} %  {:<20} {to:<16} {}", column.confidence * 100.0, column.header, column.reason));
    }
    let toml = proposal.mapping(CONFIDENT).to_toml().map_err(|problem| Stop::new(problem.to_string()))?;
    match out {
        Some(out) => write_whole(out, toml.as_bytes()),
        None => print(&toml),
    }
}

impl Words {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        match self {
            Self::List { tenant } => {
                let words = Desk::steward(config, &tenant).await?.look("Words.list", async |session| reference::additions(&session).await).await?;
                let line = |word: &Addition| format!("{}\t{}\t{}\n", serde_json::json!(word.kind).as_str().unwrap_or_default(), word.key, word.value);
                print(&words.iter().map(line).collect::<String>())
            }
            Self::Add { tenant, kind, word, meaning } => {
                let addition = Addition { kind: kind.into(), key: word, value: meaning };
                Desk::steward(config, &tenant).await?.write("Words.add", async |change| reference::add(change, &[addition]).await).await
            }
            Self::Remove { tenant, kind, word } => {
                Desk::steward(config, &tenant).await?.write("Words.remove", async |change| reference::remove(change, kind.into(), &word).await).await
            }
        }
    }
}

fn line(report: &Report) -> String {
    let counts = report.counts;
    format!(
        "{}\t{}\t{}\t{}\tread {} created {} updated {} unchanged {} duplicate {} rejected {}\n",
        report.id, report.source, report.file, report.state, counts.read, counts.created, counts.updated, counts.unchanged, counts.duplicate, counts.rejected
    )
}

impl Imports {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        match self {
            Self::List { tenant } => {
                let reports = Desk::steward(config, &tenant).await?.look("Imports.list", async |session| import::reports(&session, 100).await).await?;
                print(&reports.iter().map(line).collect::<String>())
            }
            Self::Rejects { id, tenant, out } => {
                let desk = Desk::steward(config, &tenant).await?;
                let (mut rejects, header) = desk.look("Imports.rejects", async |session| Rejects::begin(&session, id).await).await?;
                let mut file = Whole::begin(&out)?;
                file.add(&header)?;
                while let Some(csv) = desk.look("Imports.rejects", async |session| rejects.next(&session).await).await? {
                    file.add(&csv)?;
                }
                file.finish()?;
                say(&format!("{} holds personal data in the clear; keep it safe, mend it, import it, delete it", out.display()));
                Ok(())
            }
            Self::Pause { id, tenant } => {
                let report = Desk::steward(config, &tenant).await?.write("Imports.pause", async |change| import::stop(change, id, Wanted::Pause).await).await?;
                print(&line(&report))
            }
            Self::Cancel { id, tenant } => {
                let report =
                    Desk::steward(config, &tenant).await?.write("Imports.cancel", async |change| import::stop(change, id, Wanted::Cancel).await).await?;
                print(&line(&report))
            }
            Self::Undo { id, tenant } => {
                let desk = Desk::steward(config, &tenant).await?;
                while desk.write("Imports.undo", async |change| undo::batch(change, id).await).await? {}
                let report = desk.look("Imports.list", async |session| import::report(&session, id).await).await?;
                print(&line(&report))
            }
            Self::Review { tenant } => {
                let reviews = Desk::steward(config, &tenant).await?.write("Quality.review", async |change| quality::review(change).await).await?;
                let mut out = format!(
                    "{:<8} {:<12} {:>8} {:>13} {:>9} {:>11} {:>12} {:>11}\n",
                    "month", "source", "records", "completeness", "validity", "uniqueness", "consistency", "timeliness"
                );
                for review in reviews {
                    let [complete, valid, unique, consistent, timely] = review.measures.map(|share| format!("{:.1} %", share * 100.0));
                    let (month, source, records) = (review.month, review.source, review.records);
                    let _ = writeln!(out, "{month:<8} {source:<12} {records:>8} {complete:>13} {valid:>9} {unique:>11} {consistent:>12} {timely:>11}");
                }
                print(&out)
            }
        }
    }
}
