//! The steward's hand on customers at the terminal: duplicates, merges, pins, settings, sign-offs. In the steward's role, with
//! the steward's purpose, and in the log like a request.

use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use entity::child::hanging;
use entity::customer::{By, Columns, Customer, find};
use entity::pair::{Decision, Duplicate};
use entity::setting::{self, Thresholds};
use entity::signoff::{self, Signoff};
use entity::{Change, Guarded, Session, Stretch, Wanted, merge, pair, pin};
use policy::survivorship::{Survives, Survivorship};
use policy::{Field, Pii, View};
use std::fmt::Write;
use uuid::Uuid;

use super::desk::Desk;
use super::{print, say};
use crate::config::Config;
use crate::error::Stop;

/// The duplicates queue.
#[derive(Subcommand)]
pub enum Duplicates {
    /// List the pairs that wait, most probable first: key, probability, the two numbers, what speaks for and against.
    List {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// How many.
        #[arg(long, default_value_t = 50)]
        first: u64,
    },
    /// They are one: the second goes up in the first.
    Merge {
        /// The pair.
        pair: Uuid,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Why.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// They are two; it is not asked again.
    Dismiss {
        /// The pair.
        pair: Uuid,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Why.
        #[arg(long, default_value = "")]
        note: String,
    },
}

/// Customers as a person decides them.
#[derive(Subcommand)]
pub enum Customers {
    /// Merge a customer into another, which stays.
    Merge {
        /// The number that stays.
        winner: String,
        /// The number that goes up in it.
        loser: String,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// List the merges of a customer, newest first: key, time, by whom, why.
    Merges {
        /// The customer's number.
        number: String,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Undo a merge.
    Unmerge {
        /// The merge.
        merge: Uuid,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// List the source records of a customer: key and where each came from.
    Records {
        /// The customer's number.
        number: String,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Split records off a customer: they become one of their own, whose number is printed.
    Split {
        /// The customer's number.
        number: String,
        /// The records.
        #[arg(required = true)]
        records: Vec<Uuid>,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Pin a value: it wins over what any source says.
    Pin {
        /// The customer's number.
        number: String,
        /// The field, as the data dictionary names it.
        field: String,
        /// The value, cleaned as a cell of an import would be.
        value: String,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Take a pin away: the rules decide again.
    Unpin {
        /// The customer's number.
        number: String,
        /// The field.
        field: String,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
}

/// What a tenant set for its intake.
#[derive(Subcommand)]
pub enum Settings {
    /// Print them.
    Show {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// From which probability on a pair is linked, and from which it waits for a person.
    Thresholds {
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// 1 links nothing; left out, the standard holds.
        #[arg(long)]
        link: Option<f64>,
        /// At least this probable: into the duplicates queue.
        #[arg(long)]
        review: f64,
    },
    /// How the golden value of a field is chosen.
    Survivorship {
        /// The field.
        field: String,
        /// The rule.
        rule: Rule,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
}

/// How a golden value is chosen.
#[derive(Clone, Copy, ValueEnum)]
pub enum Rule {
    /// That of the record that its source changed last.
    Newest,
    /// That of the earliest record; of dates the earliest.
    Earliest,
    /// That of the most trusted source.
    MostTrusted,
    /// The one that most records state.
    MostFrequent,
}

impl From<Rule> for Survives {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::Newest => Self::Newest,
            Rule::Earliest => Self::Earliest,
            Rule::MostTrusted => Self::MostTrusted,
            Rule::MostFrequent => Self::MostFrequent,
        }
    }
}

/// Samples of an import, compared with their source.
#[derive(Subcommand)]
pub enum Sample {
    /// Draw a sample of an import: a tenth of its records, or so many.
    Draw {
        /// The import.
        import: Uuid,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// How many records.
        #[arg(long)]
        size: Option<usize>,
        /// The same seed draws the same rows.
        #[arg(long, default_value_t = 1)]
        seed: i64,
    },
    /// List the records of a sample, as clear as the steward may see them. Logged.
    Rows {
        /// The sample.
        sample: Uuid,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Say of a record whether it is right.
    Judge {
        /// The sample.
        sample: Uuid,
        /// The record.
        record: Uuid,
        /// What it is.
        verdict: Verdict,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Sign a sample of which every record is judged.
    Sign {
        /// The sample.
        sample: Uuid,
        /// Short name of the tenant.
        #[arg(long)]
        tenant: String,
        /// What is to be said of it.
        #[arg(long, default_value = "")]
        note: String,
    },
}

/// What a record is, beside its source.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Verdict {
    /// As its source says.
    Right,
    /// Otherwise.
    Wrong,
}

/// The customer of a number.
async fn of_number(session: &Session, number: &str) -> Result<Customer, entity::Error> {
    find(session, By::Number(number.to_owned()), Columns::ALL).await?.ok_or(entity::Error::NotFound)
}

fn number(session: &Session, customer: &Customer) -> String {
    session.tell(customer.number()).unwrap_or_default()
}

fn field(key: &str) -> Result<Field, Stop> {
    Field::of_key(key).ok_or_else(|| Stop::new(format!("there is no field '{key}'; `panorama dictionary` lists them, such as Customer.name")))
}

impl Duplicates {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        let (tenant, pair, decision, note) = match self {
            Self::List { tenant, first } => {
                let looked = async |session: std::sync::Arc<Session>| {
                    let pairs = pair::queue(&session, first).await?;
                    Ok((pair::waiting(&session).await?, pairs.iter().map(|pair| waiting(&session, pair)).collect::<String>()))
                };
                let (all, lines) = Desk::steward(config, &tenant).await?.look("Duplicates.list", looked).await?;
                say(&format!("{all} wait"));
                return print(&lines);
            }
            Self::Merge { pair, tenant, note } => (tenant, pair, Decision::Merge, note),
            Self::Dismiss { pair, tenant, note } => (tenant, pair, Decision::Dismiss, note),
        };
        let decide = async |change: &Change| {
            let customers = pair::decide(change, pair, decision, &note).await?;
            Ok(customers.iter().map(|customer| number(change, customer)).collect::<Vec<_>>())
        };
        let numbers = Desk::steward(config, &tenant).await?.write("Duplicates.decide", decide).await?;
        print(&format!("{}\n", numbers.join("\t")))
    }
}

fn waiting(session: &Session, pair: &Duplicate) -> String {
    let said: Vec<String> = pair.evidence.iter().map(|said| format!("{} {} {:+.1}", said.attribute, said.agrees, said.bits)).collect();
    format!("{}\t{:.3}\t{}\t{}\t{}\n", pair.id, pair.score, number(session, &pair.one), number(session, &pair.other), said.join("; "))
}

impl Customers {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        match self {
            Self::Merge { winner, loser, tenant, reason } => {
                let merge = async |change: &Change| {
                    let (winner, loser) = (of_number(change, &winner).await?, of_number(change, &loser).await?);
                    let one = merge::merge(change, winner.id(), loser.id(), &reason).await?;
                    Ok(number(change, &one))
                };
                let one = Desk::steward(config, &tenant).await?.write("Customers.merge", merge).await?;
                print(&format!("{one}\n"))
            }
            Self::Merges { number, tenant } => {
                let looked = async |session: std::sync::Arc<Session>| merge::journal(&session, Some(of_number(&session, &number).await?.id()), 100).await;
                let entries = Desk::steward(config, &tenant).await?.look("Customers.merges", looked).await?;
                let line = |entry: &merge::Entry| {
                    let undone = entry.undone_at.map(|at| format!("undone {at}")).unwrap_or_default();
                    format!("{}\t{}\t{}\t{}\t{}\t{} records\t{undone}\n", entry.id, entry.at, entry.kind, entry.actor, entry.reason, entry.records)
                };
                print(&entries.iter().map(line).collect::<String>())
            }
            Self::Unmerge { merge: entry, tenant } => {
                let undo = async |change: &Change| {
                    let (one, other) = merge::unmerge(change, entry).await?;
                    Ok([number(change, &one), number(change, &other)])
                };
                let two = Desk::steward(config, &tenant).await?.write("Customers.unmerge", undo).await?;
                print(&format!("{}\n", two.join("\t")))
            }
            Self::Records { number, tenant } => {
                let looked = async |session: std::sync::Arc<Session>| {
                    let customer = of_number(&session, &number).await?;
                    let wanted = Wanted { lineages: Some(1_000), ..Wanted::default() };
                    let hanging = hanging(&session, std::slice::from_ref(&customer), &wanted, Stretch::default()).await?;
                    Ok(hanging
                        .lineages
                        .mine(customer.id())
                        .iter()
                        .filter_map(|record| session.tell(record.told()))
                        .map(|told| origin(told.record, (told.external_id, told.line, told.imported_at)) + "\n")
                        .collect::<String>())
                };
                print(&Desk::steward(config, &tenant).await?.look("Customers.records", looked).await?)
            }
            Self::Split { number: from, records, tenant } => {
                let split = async |change: &Change| {
                    let new = merge::split(change, of_number(change, &from).await?.id(), &records).await?;
                    Ok(number(change, &new))
                };
                let new = Desk::steward(config, &tenant).await?.write("Customers.split", split).await?;
                print(&format!("{new}\n"))
            }
            Self::Pin { number, field: key, value, tenant, reason } => {
                let field = field(&key)?;
                let set = async |change: &Change| pin::set(change, of_number(change, &number).await?.id(), field, &value, &reason).await.map(drop);
                Desk::steward(config, &tenant).await?.write("Customers.pin", set).await?;
                print(&format!("{number}: {key} is pinned\n"))
            }
            Self::Unpin { number, field: key, tenant } => {
                let field = field(&key)?;
                let remove = async |change: &Change| pin::remove(change, of_number(change, &number).await?.id(), field).await.map(drop);
                Desk::steward(config, &tenant).await?.write("Customers.unpin", remove).await?;
                print(&format!("{number}: {key} is chosen by the rules\n"))
            }
        }
    }
}

/// The key of a record, its source's name for it, and where it stood.
fn origin(record: Uuid, (external_id, line, imported_at): (String, i32, DateTime<Utc>)) -> String {
    format!("{record}\t{external_id}\tline {line}\t{imported_at}")
}

impl Settings {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        match self {
            Self::Show { tenant } => {
                let looked = async |session: std::sync::Arc<Session>| Ok((setting::thresholds(&session).await?, setting::rules(&session).await?));
                let (thresholds, rules) = Desk::steward(config, &tenant).await?.look("Settings.show", looked).await?;
                let link = thresholds.link.map_or_else(|| "0.95 where sources say what is compared, else never".to_owned(), |link| link.to_string());
                let rule = |(field, _): &(Field, Survives)| format!("{}\t{}\n", field.entry().key, rules.rule(*field).words());
                let rules: String = Survivorship::STANDARD.iter().map(rule).collect();
                print(&format!("link\t{link}\nreview\t{}\n{rules}", thresholds.review))
            }
            Self::Thresholds { tenant, link, review } => {
                let set = async |change: &Change| setting::set_thresholds(change, Thresholds { link, review }).await;
                Desk::steward(config, &tenant).await?.write("Settings.thresholds", set).await
            }
            Self::Survivorship { field, rule, tenant } => {
                let set = async |change: &Change| setting::set_survivorship(change, &field, rule.into()).await;
                Desk::steward(config, &tenant).await?.write("Settings.survivorship", set).await
            }
        }
    }
}

impl Sample {
    /// Does it.
    pub async fn run(self, config: &Config) -> Result<(), Stop> {
        let now = match self {
            Self::Draw { import, tenant, size, seed } => {
                Desk::steward(config, &tenant).await?.write("Signoff.draw", async |change| signoff::draw(change, import, size, seed).await).await?
            }
            Self::Rows { sample, tenant } => {
                let looked = async |session: std::sync::Arc<Session>| {
                    let mut lines = String::new();
                    for row in signoff::rows(&session, sample).await? {
                        let Some(origin) = session.tell(row.record.key()).and_then(|key| Some(origin(key, session.tell(row.record.origin())?))) else {
                            continue;
                        };
                        let said = [
                            shown(&session, &row.record.name())?,
                            shown(&session, &row.record.phone())?,
                            shown(&session, &row.record.email())?,
                            shown(&session, &row.record.address())?,
                            row.right.map_or("", |right| if right { "right" } else { "wrong" }).to_owned(),
                        ];
                        let _ = writeln!(lines, "{origin}\t{}", said.join("\t"));
                    }
                    Ok(lines)
                };
                return print(&Desk::steward(config, &tenant).await?.look("Signoff.rows", looked).await?);
            }
            Self::Judge { sample, record, verdict, tenant } => {
                let judge = async |change: &Change| signoff::judge(change, sample, record, verdict == Verdict::Right).await;
                Desk::steward(config, &tenant).await?.write("Signoff.judge", judge).await?
            }
            Self::Sign { sample, tenant, note } => {
                Desk::steward(config, &tenant).await?.write("Signoff.sign", async |change| signoff::sign(change, sample, &note).await).await?
            }
        };
        print(&standing(&now))
    }
}

/// A personal value, as clear as the steward may see it.
fn shown<K: Pii>(session: &Session, value: &Guarded<K>) -> Result<String, entity::Error> {
    Ok(session.show(value, View::Clear)?.unwrap_or_default())
}

fn standing(sample: &Signoff) -> String {
    let accuracy = sample.accuracy.map(|[share, low, high]| format!("{:.1} % right ({:.1}–{:.1} %)", share * 100.0, low * 100.0, high * 100.0));
    let signed = sample.signed.as_ref().map(|(by, at)| format!("signed by {by} at {at}"));
    format!("{}\t{} of {} judged\t{}\t{}\n", sample.id, sample.judged, sample.size, accuracy.unwrap_or_default(), signed.unwrap_or_default())
}
