//! The audit log at the terminal: verify, check, export, prune.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::Subcommand;
use entity::audit::{self, Checked, Event, Filter, Manifest, Piece, Verifier, verify_bundle};
use entity::customer::{By, Columns, find};

use super::desk::Desk;
use super::{print, say};
use crate::config::Config;
use crate::error::Stop;
use crate::home;
use crate::intake::defused;
use crate::keeper::Published;

/// The audit log.
#[derive(Subcommand)]
pub enum Audit {
    /// Print the public key that checks this installation's checkpoints. Hand it to auditors once, by a way they trust.
    Key,
    /// Sign what has grown now, and print the checkpoints. A server does so every ten seconds.
    Checkpoint,
    /// Verify a tenant's log in the database, or a bundle. Names the first bad place; exit status 1 when there is one.
    Verify {
        /// Short name of the tenant.
        #[arg(long, required_unless_present = "bundle")]
        tenant: Option<String>,
        /// A bundle that was exported; needs no database.
        #[arg(long, conflicts_with = "tenant", requires = "key")]
        bundle: Option<PathBuf>,
        /// The public key to trust, or a file that holds it; of a database its own unless given.
        #[arg(long)]
        key: Option<String>,
        /// A file with an older checkpoint that the bundle's log must continue.
        #[arg(long, requires = "bundle")]
        since: Option<PathBuf>,
    },
    /// Check that events are found by what they say.
    Fsck {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Write the log, or an answer from it, to a new directory, with all that is needed to check it elsewhere.
    Export {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// The directory; it must not be there yet.
        #[arg(long)]
        out: PathBuf,
        /// Only events about the customer of this number.
        #[arg(long)]
        customer: Option<String>,
        /// Only events of this actor.
        #[arg(long)]
        actor: Option<String>,
        /// Only events not before this instant.
        #[arg(long)]
        since: Option<DateTime<Utc>>,
        /// Only events before this instant.
        #[arg(long)]
        until: Option<DateTime<Utc>>,
    },
    /// What an auditor would want to look at: unusual volume, new addresses, customers opened in order, night work, large exports.
    Hints {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// From this instant; the last day unless given.
        #[arg(long)]
        since: Option<DateTime<Utc>>,
    },
    /// Let events go whose time is over. One person asks with --before, another approves; their hashes stay.
    Prune {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Ask that events before this instant go.
        #[arg(long, required_unless_present = "approve", conflicts_with = "approve")]
        before: Option<DateTime<Utc>>,
        /// Approve what somebody else has asked for, and do it.
        #[arg(long)]
        approve: bool,
    },
    /// Keep the log longer than the three years that it is kept; never shorter.
    Retention {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Days.
        #[arg(long)]
        days: u32,
    },
}

impl Audit {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        match self {
            Self::Key => print(&format!("{}\n", home::open(config).await?.log_key().await?)),
            Self::Checkpoint => {
                let notes = Published::of(config)?.round(&home::open(config).await?).await?;
                print(&notes.join("\n"))
            }
            Self::Verify { bundle: Some(dir), key, since, .. } => {
                let key = key.as_deref().map(trusted).transpose()?.ok_or_else(|| Stop::new("--key is needed"))?;
                let since = since.as_deref().map(read).transpose()?;
                let checked = verify_bundle(&dir, &key, since.as_deref(), &mut |events| say(&format!("{events} events")));
                told(&checked.map_err(|problem| Stop::unread(format!("bundle {}: {}", dir.display(), problem.kind())))?)
            }
            Self::Verify { tenant, key, .. } => {
                let key = key.as_deref().map(trusted).transpose()?;
                let desk = Desk::auditor(config, &tenant.unwrap_or_default()).await?;
                let verify = desk.look("Audit.verify", async |session| audit::verify(&session, key.as_ref(), &mut progress()).await);
                told(&verify.await?)
            }
            Self::Fsck { tenant } => {
                let desk = Desk::auditor(config, &tenant).await?;
                told(&desk.look("Audit.fsck", async |session| audit::fsck(&session, &mut progress()).await).await?)
            }
            Self::Export { tenant, out, customer, actor, since, until } => {
                let desk = Desk::auditor(config, &tenant).await?;
                Published::of(config)?.round(desk.house()).await?;
                let manifest = desk
                    .look("Audit.export", async |session| {
                        let mut filter = Filter { actor, since, until, ..Filter::default() };
                        if let Some(number) = customer {
                            filter.customer = Some(find(&session, By::Number(number), Columns::ALL).await?.ok_or(entity::Error::NotFound)?.id());
                        }
                        let selects = filter.customer.is_some() || filter.actor.is_some() || filter.since.is_some() || filter.until.is_some();
                        let mut bundle = Bundle::new(&out, selects)?;
                        let mut take = |piece: Piece<'_>| bundle.take(&piece);
                        let manifest = if selects { audit::answer(&session, &filter, &mut take).await } else { audit::whole(&session, &mut take).await }?;
                        bundle.close()?;
                        Ok::<Manifest, entity::Error>(manifest)
                    })
                    .await?;
                print(&format!("{}: {} events, {}, under a checkpoint of {}\n", out.display(), manifest.count, manifest.kind, manifest.size))
            }
            Self::Hints { tenant, since } => {
                let desk = Desk::auditor(config, &tenant).await?;
                let look = async |session: std::sync::Arc<entity::Session>| {
                    let until = session.now();
                    audit::hints(&session, since.unwrap_or(until - chrono::Duration::days(1)), until).await
                };
                let hints = desk.look("Audit.hints", look).await?;
                let line = |hint: &audit::Hint| format!("{}\t{}\t{}\t{}", hint.at.format("%Y-%m-%d %H:%M"), hint.rule, hint.actor, hint.why);
                let lines: Vec<String> = hints.iter().map(line).collect();
                print(&if lines.is_empty() { String::new() } else { format!("{}\n", lines.join("\n")) })
            }
            Self::Prune { tenant, before: Some(before), .. } => {
                let asked = Desk::admin(config, &tenant).await?.write("Audit.prune", async |change| audit::ask_pruning(change, before).await).await?;
                print(&format!("events before place {} go when a second person approves\n", asked.below))
            }
            Self::Prune { tenant, .. } => {
                let done = Desk::auditor(config, &tenant).await?.write("Audit.prune", audit::approve_pruning).await?;
                print(&format!("events before place {} are gone; their hashes stay\n", done.below))
            }
            Self::Retention { tenant, days } => {
                Desk::admin(config, &tenant).await?.write("Audit.retention", async |change| audit::set_retention(change, days).await).await?;
                print(&format!("the log is kept for {days} days\n"))
            }
        }
    }
}

/// A line for each further hundred thousand events.
fn progress() -> impl FnMut(u64) + Send {
    let mut told = 0;
    move |events| {
        if events / 100_000 > told {
            told = events / 100_000;
            say(&format!("{events} events"));
        }
    }
}

fn read(path: &Path) -> Result<String, Stop> {
    std::fs::read_to_string(path).map_err(|problem| Stop::unread(format!("file {}: {}", path.display(), problem.kind())))
}

/// A key as text, or from a file.
fn trusted(key: &str) -> Result<Verifier, Stop> {
    let text = if Path::new(key).is_file() { read(Path::new(key))? } else { key.to_owned() };
    Verifier::parse(&text).map_err(|bad| Stop::unread(format!("--key: {bad}")))
}

/// Says what came out, and stops when something is wrong.
fn told(checked: &Checked) -> Result<(), Stop> {
    for finding in checked.findings.iter().skip(1) {
        say(&format!("  also {}: {}", finding.place, finding.problem));
    }
    if let Some(first) = checked.findings.first() {
        return Err(Stop::new(format!("not verified: {}: {}", first.place, first.problem)));
    }
    let pruned = if checked.pruned > 0 { format!(" and the hashes of {} that are pruned", checked.pruned) } else { String::new() };
    print(&format!("verified: {} events{pruned}, {} signed, {} checkpoints\n", checked.events, checked.signed, checked.checkpoints))
}

/// A bundle that is being written: beside its place, so that it appears whole or not at all.
struct Bundle {
    place: PathBuf,
    partial: PathBuf,
    events: BufWriter<File>,
    proofs: Option<BufWriter<File>>,
    csv: csv::Writer<File>,
}

impl Bundle {
    fn new(place: &Path, selects: bool) -> Result<Self, entity::Error> {
        if place.exists() {
            return Err(entity::Error::Invalid(format!("--out: {} is there already; name a new directory", place.display())));
        }
        let partial = place.with_extension("partial");
        let _ = std::fs::remove_dir_all(&partial);
        std::fs::create_dir_all(&partial).map_err(|problem| unwritten(&partial, &problem))?;
        let file = |name: &str| File::create(partial.join(name)).map_err(|problem| unwritten(&partial, &problem));
        let (events, proofs) = (BufWriter::new(file("events.ndjson")?), if selects { Some(BufWriter::new(file("proofs.ndjson")?)) } else { None });
        let mut csv = csv::Writer::from_writer(file("events.csv")?);
        let header = ["sequence", "time", "actor", "operation", "outcome", "purpose", "clear", "masked", "withheld", "sentence"];
        csv.write_record(header).map_err(|_| unwritten(&partial, &std::io::ErrorKind::Other.into()))?;
        Ok(Self { place: place.into(), partial, events, proofs, csv })
    }

    fn take(&mut self, piece: &Piece<'_>) -> Result<(), entity::Error> {
        let failed = |problem: std::io::Error| unwritten(&self.partial, &problem);
        match piece {
            Piece::Event(event, proof) => {
                writeln!(self.events, "{}", event.body).map_err(failed)?;
                if let (Some(proofs), Some(proof)) = (&mut self.proofs, proof) {
                    writeln!(proofs, "{proof}").map_err(failed)?;
                }
                self.csv.write_record(row(event)).map_err(|_| unwritten(&self.partial, &std::io::ErrorKind::Other.into()))
            }
            Piece::File(name, text) => std::fs::write(self.partial.join(name), text).map_err(failed),
        }
    }

    fn close(mut self) -> Result<(), entity::Error> {
        let mut flush = || {
            self.events.flush()?;
            self.proofs.as_mut().map_or(Ok(()), Write::flush)?;
            self.csv.flush()?;
            std::fs::rename(&self.partial, &self.place)
        };
        flush().map_err(|problem| unwritten(&self.partial, &problem))
    }
}

fn unwritten(place: &Path, problem: &std::io::Error) -> entity::Error {
    entity::Error::Invalid(format!("directory {}: {}", place.display(), problem.kind()))
}

fn row(event: &Event) -> [String; 10] {
    [
        event.sequence.to_string(),
        event.at.to_rfc3339(),
        defused(&event.actor),
        defused(&event.operation),
        event.outcome.clone(),
        event.purpose.clone().unwrap_or_default(),
        event.clear.to_string(),
        event.masked.to_string(),
        event.withheld.to_string(),
        defused(&event.sentence()),
    ]
}
