//! What the data steward looks at: imports, sources, the duplicates queue, merges, samples and reviews.

use async_graphql::{ID, Object, Result, SimpleObject};
use chrono::{DateTime, Utc};
use entity::import::{self, Tally};
use entity::{merge, pair, quality, signoff, source};
use policy::mapping::{Mapping as Meaning, Proposal};

use super::customer::Customer;
use super::id::{self, Kind};
use super::page::Page;

/// What became of a file.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct ImportReport {
    id: ID,
    source: String,
    file: String,
    /// running, interrupted, paused, cancelled, done, failed, undoing or undone.
    state: String,
    /// Who ran it.
    actor: String,
    /// The version of the source's mapping that read it.
    mapping_version: i32,
    started_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    /// read = created + updated + unchanged + duplicate + rejected.
    read: i32,
    created: i32,
    updated: i32,
    unchanged: i32,
    duplicate: i32,
    rejected: i32,
    /// Cells that could not be read; the rows were kept.
    warnings: i32,
    /// Rejected rows by reason.
    reasons: Vec<Count>,
    /// Filled cells by field, of the rows that were kept.
    filled: Vec<Count>,
    /// Unreadable cells by field.
    unreadable: Vec<Count>,
    /// Cells that each cleaning rule changed.
    rules: Vec<Count>,
    /// What linking made of the records.
    customers: CustomersTouched,
}

/// How often something was.
#[derive(SimpleObject)]
#[graphql(serial)]
struct Count {
    what: String,
    times: i32,
}

/// What linking did.
#[derive(SimpleObject)]
#[graphql(serial)]
struct CustomersTouched {
    created: i32,
    updated: i32,
    merged: i32,
}

impl ImportReport {
    pub fn of(report: import::Report) -> Self {
        let (counts, Tally { reasons, filled, warnings, rules, linked }) = (report.counts, report.tally);
        let list = |counts: std::collections::BTreeMap<String, i32>| counts.into_iter().map(|(what, times)| Count { what, times }).collect();
        Self {
            id: id::of(Kind::Import, report.id),
            source: report.source,
            file: report.file,
            state: report.state,
            actor: report.actor,
            mapping_version: report.mapping_version,
            started_at: report.started_at,
            finished_at: report.finished_at,
            read: counts.read,
            created: counts.created,
            updated: counts.updated,
            unchanged: counts.unchanged,
            duplicate: counts.duplicate,
            rejected: counts.rejected,
            warnings: counts.warnings,
            reasons: list(reasons),
            filled: list(filled),
            unreadable: list(warnings),
            rules: list(rules),
            customers: CustomersTouched { created: linked.created, updated: linked.updated, merged: linked.merged },
        }
    }
}

/// One customer as a page of its own.
pub fn alone(customer: entity::customer::Customer) -> Customer {
    Customer::at(&Page::alone(customer), 0)
}

/// Two customers that are probably one.
pub struct Duplicate(pub pair::Duplicate);

/// Two customers that are probably one.
#[Object(serial)]
impl Duplicate {
    async fn id(&self) -> ID {
        id::of(Kind::Pair, self.0.id)
    }
    /// How probably they are one, 0 to 1.
    async fn score(&self) -> f64 {
        self.0.score
    }
    /// What speaks for and against it.
    async fn evidence(&self) -> Vec<Evidence> {
        let said = self.0.evidence.iter();
        said.map(|said| Evidence { attribute: said.attribute.clone(), agrees: said.agrees.clone(), bits: said.bits }).collect()
    }
    /// open, linked, merged or dismissed.
    async fn state(&self) -> &str {
        &self.0.state
    }
    async fn found_at(&self) -> DateTime<Utc> {
        self.0.found_at
    }
    /// The one.
    async fn one(&self) -> Customer {
        alone(self.0.one.clone())
    }
    /// The other.
    async fn other(&self) -> Customer {
        alone(self.0.other.clone())
    }
}

/// What one attribute says about a pair. Holds no values.
#[derive(SimpleObject)]
#[graphql(serial)]
struct Evidence {
    attribute: String,
    /// How well it agrees, in words.
    agrees: String,
    /// Its weight: positive speaks for one person.
    bits: f64,
}

/// A merge, by a rule or by hand.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct Merge {
    id: ID,
    at: DateTime<Utc>,
    actor: String,
    /// linked by a rule, merged by a person.
    kind: String,
    reason: String,
    /// Who stayed.
    winner: ID,
    /// Who went up; the id redirects.
    loser: ID,
    /// How many records moved.
    records: usize,
    undone_at: Option<DateTime<Utc>>,
}

impl Merge {
    pub fn of(entry: merge::Entry) -> Self {
        Self {
            id: id::of(Kind::Merge, entry.id),
            at: entry.at,
            actor: entry.actor,
            kind: entry.kind,
            reason: entry.reason,
            winner: id::of_customer(entry.winner),
            loser: id::of_customer(entry.loser),
            records: entry.records,
            undone_at: entry.undone_at,
        }
    }
}

/// A source system.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct Source {
    name: String,
    label: String,
    /// How trusted: 0 most.
    position: i32,
    mapping_version: i32,
    mapping: Mapping,
}

/// What the rows and columns of a source mean.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct Mapping {
    /// follow_up, order, ticket or membership.
    tells: String,
    columns: Vec<MappedColumn>,
    /// The same as a TOML file.
    toml: String,
}

/// One column of a mapping.
#[derive(SimpleObject)]
#[graphql(serial)]
struct MappedColumn {
    header: String,
    /// The field that it goes to.
    to: Option<String>,
    /// How it is compared, if it takes part in probabilistic matching.
    compare: Option<String>,
    /// Whether a cell is filled only in the first row of a group.
    fill_down: bool,
}

/// A word as serde writes it.
fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Mapping {
    pub fn of(mapping: &Meaning) -> Self {
        let columns = mapping.columns.iter().map(|column| MappedColumn {
            header: column.header.clone(),
            to: column.to.map(word),
            compare: column.compare.map(word),
            fill_down: column.fill_down,
        });
        Self { tells: word(mapping.tells), columns: columns.collect(), toml: mapping.to_toml().unwrap_or_default() }
    }
}

impl Source {
    pub fn of(source: source::Source) -> Self {
        let mapping = Mapping::of(&source.mapping);
        Self { name: source.name, label: source.label, position: source.position, mapping_version: source.mapping_version, mapping }
    }
}

/// A version of a mapping.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct MappingVersion {
    version: i32,
    author: String,
    created_at: DateTime<Utc>,
    mapping: Mapping,
}

impl MappingVersion {
    pub fn of(version: &source::Version) -> Self {
        let mapping = Mapping::of(&version.mapping);
        Self { version: version.version, author: version.author.clone(), created_at: version.created_at, mapping }
    }
}

/// A mapping that was proposed from a header and some rows.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct MappingProposal {
    /// The source whose last file had this header, if there is one: it needs no new mapping.
    source: Option<String>,
    /// follow_up, order, ticket or membership.
    tells: String,
    columns: Vec<ProposedColumn>,
    /// The mapping of the columns that are sure enough, as a TOML file to edit.
    toml: String,
}

/// What one column probably holds.
#[derive(SimpleObject)]
#[graphql(serial)]
struct ProposedColumn {
    header: String,
    to: Option<String>,
    compare: Option<String>,
    fill_down: bool,
    /// 0 to 1.
    confidence: f64,
    reason: String,
}

/// From this confidence on a column is proposed.
pub const CONFIDENT: f64 = 0.7;

impl MappingProposal {
    pub fn of(proposal: &Proposal, source: Option<source::Source>) -> Self {
        let columns = proposal.columns.iter().map(|column| ProposedColumn {
            header: column.header.clone(),
            to: column.to.map(word),
            compare: column.compare.map(word),
            fill_down: column.fill_down,
            confidence: column.confidence,
            reason: column.reason.clone(),
        });
        Self {
            source: source.map(|source| source.name),
            tells: word(proposal.tells),
            columns: columns.collect(),
            toml: proposal.mapping(CONFIDENT).to_toml().unwrap_or_default(),
        }
    }
}

/// A sample of an import for sign-off.
pub struct Sample(pub signoff::Signoff);

/// A sample of an import for sign-off, and what is known from it so far.
#[Object(serial)]
impl Sample {
    async fn id(&self) -> ID {
        id::of(Kind::Sample, self.0.id)
    }
    /// The import.
    async fn import(&self) -> ID {
        id::of(Kind::Import, self.0.import)
    }
    /// The same seed draws the same rows.
    async fn seed(&self) -> i64 {
        self.0.seed
    }
    async fn size(&self) -> usize {
        self.0.size
    }
    async fn judged(&self) -> usize {
        self.0.judged
    }
    async fn right(&self) -> usize {
        self.0.right
    }
    /// The share of right rows with its 95 % interval (Wilson): share, low, high.
    async fn accuracy(&self) -> Option<Vec<f64>> {
        self.0.accuracy.map(|shares| shares.to_vec())
    }
    /// Who signed it.
    async fn signed_by(&self) -> Option<&str> {
        self.0.signed.as_ref().map(|(actor, _)| actor.as_str())
    }
    async fn signed_at(&self) -> Option<DateTime<Utc>> {
        self.0.signed.as_ref().map(|(_, at)| *at)
    }
    /// The rows to compare with the source.
    async fn rows(&self, ctx: &async_graphql::Context<'_>) -> Result<Vec<SampledRow>> {
        Ok(signoff::rows(super::session(ctx), self.0.id).await?.into_iter().map(SampledRow).collect())
    }
}

/// A row of a sample.
pub struct SampledRow(signoff::Sampled);

/// A row of a sample.
#[Object(serial)]
impl SampledRow {
    /// The record's id.
    async fn id(&self, ctx: &async_graphql::Context<'_>) -> Option<ID> {
        super::session(ctx).tell(self.0.record.key()).map(|key| id::of(Kind::Record, key))
    }
    /// The line of the file.
    async fn line(&self, ctx: &async_graphql::Context<'_>) -> Option<i32> {
        super::session(ctx).tell(self.0.record.origin()).map(|(_, line, _)| line)
    }
    /// What was said of it.
    async fn right(&self) -> Option<bool> {
        self.0.right
    }
    async fn name(&self, #[graphql(default)] view: super::values::View) -> Option<super::values::Personal<policy::field::kinds::Name>> {
        super::values::Personal::of(self.0.record.name(), view)
    }
    async fn phone(&self, #[graphql(default)] view: super::values::View) -> Option<super::values::Personal<policy::field::kinds::Phone>> {
        super::values::Personal::of(self.0.record.phone(), view)
    }
    async fn email(&self, #[graphql(default)] view: super::values::View) -> Option<super::values::Personal<policy::field::kinds::Email>> {
        super::values::Personal::of(self.0.record.email(), view)
    }
    async fn address(&self, #[graphql(default)] view: super::values::View) -> Option<super::values::Personal<policy::field::kinds::Address>> {
        super::values::Personal::of(self.0.record.address(), view)
    }
    /// The row as it came, a JSON array of cells.
    async fn raw(&self, #[graphql(default)] view: super::values::View) -> Option<super::values::Personal<policy::field::kinds::Raw>> {
        super::values::Personal::of(self.0.record.raw(), view)
    }
}

/// The quality of a source in a month; measures from 0 to 1.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct QualityReview {
    /// 2026-11.
    month: String,
    source: String,
    records: i32,
    /// Filled cells of the identity fields.
    completeness: f64,
    /// Rows that were not refused.
    validity: f64,
    /// Rows that were no repetition.
    uniqueness: f64,
    /// Records whose status and company are those of their golden record.
    consistency: f64,
    /// Records changed or imported within ninety days.
    timeliness: f64,
    at: DateTime<Utc>,
}

impl QualityReview {
    pub fn of(review: quality::Review) -> Self {
        let [completeness, validity, uniqueness, consistency, timeliness] = review.measures;
        Self { month: review.month, source: review.source, records: review.records, completeness, validity, uniqueness, consistency, timeliness, at: review.at }
    }
}
