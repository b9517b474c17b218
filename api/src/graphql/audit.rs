//! The audit log over GraphQL. Reading it is logged too.

use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject};
use chrono::{DateTime, Duration, Utc};
use entity::audit::{self, Filter, Level};
use policy::Field;

use super::connection::{at_most, cost};
use super::values::Moment;
use super::{id, session};

/// The audit log. Reading it is logged too.
pub struct Audit;

/// How much of a value was seen.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub enum SeenLevel {
    /// The value.
    Clear,
    /// The masked value.
    Masked,
    /// Nothing.
    Withheld,
}

/// Which events.
#[derive(InputObject, Default)]
pub struct AuditFilter {
    /// Of this actor.
    actor: Option<String>,
    /// Of somebody with this role.
    role: Option<String>,
    /// From this address.
    address: Option<String>,
    /// Of the request with this id.
    request: Option<String>,
    /// Of this operation, by its name.
    operation: Option<String>,
    /// With this outcome: ok, denied, failed.
    outcome: Option<String>,
    /// For this purpose.
    purpose: Option<String>,
    /// Not before.
    since: Option<Moment>,
    /// Before.
    until: Option<Moment>,
    /// Whether a personal value was shown clear.
    clear: Option<bool>,
    /// In which this field was asked for, such as Customer.phone.
    field: Option<String>,
    /// In which the field, or any personal field, was seen at this level.
    level: Option<SeenLevel>,
    /// About this customer.
    customer: Option<ID>,
}

impl AuditFilter {
    fn read(self) -> Result<Filter, entity::Error> {
        let wrong = |argument: &str, what: &str| entity::Error::Invalid(format!("{argument}: {what}"));
        let level = |level| match level {
            SeenLevel::Clear => Level::Clear,
            SeenLevel::Masked => Level::Masked,
            SeenLevel::Withheld => Level::Withheld,
        };
        Ok(Filter {
            actor: self.actor,
            role: self.role,
            address: self.address,
            request: self.request,
            operation: self.operation,
            outcome: self.outcome,
            purpose: self.purpose,
            since: self.since.map(|at| at.0),
            until: self.until.map(|at| at.0),
            clear: self.clear,
            field: self.field.map(|field| Field::of_key(&field).ok_or_else(|| wrong("filter.field", "not a field of the data dictionary"))).transpose()?,
            level: self.level.map(level),
            customer: self.customer.map(|id| id::customer(&id).ok_or_else(|| wrong("filter.customer", "not an id"))).transpose()?,
        })
    }
}

fn place(after: Option<ID>) -> Result<Option<u64>, entity::Error> {
    after.map(|id| id::place(&id).ok_or_else(|| entity::Error::Invalid("after: not a cursor of the log".to_owned()))).transpose()
}

#[Object(serial)]
impl Audit {
    /// Events, newest first. For those who may read the log, as everything here. Where no index leads to what is asked for, a page
    /// can be short although there are more.
    #[graphql(complexity = "cost(first, 20, child_complexity)")]
    async fn events(&self, ctx: &Context<'_>, filter: Option<AuditFilter>, first: Option<i32>, after: Option<ID>) -> Result<AuditEventConnection> {
        let page = audit::events(session(ctx), &filter.unwrap_or_default().read()?, at_most(first, 20)?, place(after)?).await?;
        Ok(AuditEventConnection { nodes: page.events.into_iter().map(AuditEvent::of).collect(), page_info: AuditPageInfo::of(page.next) })
    }

    /// Who has seen a customer, and those merged into it: newest first, with what they saw of it.
    #[graphql(complexity = "cost(first, 20, child_complexity)")]
    async fn subject_access(
        &self,
        ctx: &Context<'_>,
        customer: ID,
        filter: Option<AuditFilter>,
        first: Option<i32>,
        after: Option<ID>,
    ) -> Result<SubjectAccessConnection> {
        let key = id::customer(&customer).ok_or(entity::Error::NotFound)?;
        let filter = filter.unwrap_or_default().read()?;
        let (looks, next) = audit::access(session(ctx), key, &filter, at_most(first, 20)?, place(after)?).await?;
        Ok(SubjectAccessConnection { nodes: looks.into_iter().map(SubjectAccess::of).collect(), page_info: AuditPageInfo::of(next) })
    }

    /// The proof that an event is under the last signed checkpoint (RFC 6962).
    async fn proof(&self, ctx: &Context<'_>, event: ID) -> Result<InclusionProof> {
        let key = id::event(&event).ok_or(entity::Error::NotFound)?;
        let proof = audit::proof(session(ctx), key).await?;
        Ok(InclusionProof {
            index: proof.index,
            leaf: audit::hex(&proof.leaf),
            size: proof.size,
            hashes: proof.hashes.iter().map(audit::hex).collect(),
            checkpoint: proof.checkpoint,
        })
    }

    /// The proof that the checkpoint of `to` events, or the last, continues that of `from` events (RFC 6962).
    async fn consistency(&self, ctx: &Context<'_>, from: u64, to: Option<u64>) -> Result<ConsistencyProof> {
        let proof = audit::consistency(session(ctx), from, to).await?;
        Ok(ConsistencyProof { from: proof.from, to: proof.to, hashes: proof.hashes.iter().map(audit::hex).collect() })
    }

    /// How the log stands: its last signed checkpoint, and what the server has found to be wrong.
    async fn checkpoint(&self, ctx: &Context<'_>) -> Result<AuditCheckpoint> {
        let state = audit::state(session(ctx)).await?;
        let listed = |listed: audit::Listed| InstallationProof {
            index: listed.index,
            hashes: listed.hashes.iter().map(audit::hex).collect(),
            checkpoint: listed.checkpoint,
        };
        Ok(AuditCheckpoint { events: state.size, note: state.checkpoint, installation: state.listed.map(listed), key: state.key, problem: state.damage })
    }

    /// What an auditor would want to look at, and why: plain rules over at most 31 days, the last day unless another time is
    /// asked for.
    #[graphql(complexity = "500 + child_complexity")]
    async fn anomalies(&self, ctx: &Context<'_>, since: Option<Moment>, until: Option<Moment>) -> Result<Vec<Anomaly>> {
        let until = until.map_or_else(|| session(ctx).now(), |at| at.0);
        let hints = audit::hints(session(ctx), since.map_or(until - Duration::days(1), |at| at.0), until).await?;
        Ok(hints.into_iter().map(|hint| Anomaly { rule: hint.rule.to_owned(), actor: hint.actor, at: hint.at, why: hint.why }).collect())
    }

    /// Prunings that were asked for or done.
    async fn prunings(&self, ctx: &Context<'_>) -> Result<Vec<AuditPruning>> {
        Ok(audit::prunings(session(ctx)).await?.into_iter().map(AuditPruning::of).collect())
    }
}

/// A page of events.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct AuditEventConnection {
    nodes: Vec<AuditEvent>,
    page_info: AuditPageInfo,
}

/// Whether there are older events, and from where.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct AuditPageInfo {
    has_next_page: bool,
    end_cursor: Option<ID>,
}

impl AuditPageInfo {
    fn of(next: Option<u64>) -> Self {
        Self { has_next_page: next.is_some(), end_cursor: next.map(id::of_place) }
    }
}

/// A page of looks at a customer.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct SubjectAccessConnection {
    nodes: Vec<SubjectAccess>,
    page_info: AuditPageInfo,
}

/// One look at a customer.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct SubjectAccess {
    event: AuditEvent,
    /// The most that was seen of this customer: clear, masked, withheld; open when nothing personal was asked for.
    level: String,
    /// Per personal field what was seen of this customer.
    seen: Vec<SeenField>,
}

impl SubjectAccess {
    fn of(look: audit::Look) -> Self {
        let level = look.level().to_owned();
        let seen = look.seen.into_iter().map(|(field, level)| SeenField { field, level }).collect();
        Self { event: AuditEvent::of(look.event), level, seen }
    }
}

/// What was seen of a field.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct SeenField {
    field: String,
    /// clear, masked or withheld.
    level: String,
}

/// One event.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct AuditEvent {
    id: ID,
    /// Its place in the log, counted from 0.
    sequence: u64,
    at: DateTime<Utc>,
    actor: String,
    operation: String,
    /// ok, denied or failed.
    outcome: String,
    purpose: Option<String>,
    /// How many personal values were shown clear.
    clear: i32,
    /// How many were masked.
    masked: i32,
    /// How many were withheld.
    withheld: i32,
    /// Per field.
    fields: Vec<FieldSeen>,
    /// The event in a sentence.
    sentence: String,
    /// The canonical JSON of the event (RFC 8785).
    body: String,
    /// Whether it is the event whose hash is in the tree; null while it is under no checkpoint.
    intact: Option<bool>,
}

/// How many values of a field were clear, masked and withheld.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct FieldSeen {
    field: String,
    clear: i64,
    masked: i64,
    withheld: i64,
}

impl AuditEvent {
    pub fn of(event: audit::Event) -> Self {
        let fields = event.fields().into_iter().map(|(field, [clear, masked, withheld])| FieldSeen { field, clear, masked, withheld }).collect();
        Self {
            id: id::of_event(event.id),
            sequence: event.sequence,
            at: event.at,
            sentence: event.sentence(),
            actor: event.actor,
            operation: event.operation,
            outcome: event.outcome,
            purpose: event.purpose,
            clear: event.clear,
            masked: event.masked,
            withheld: event.withheld,
            fields,
            body: event.body,
            intact: event.intact,
        }
    }
}

/// That an event is under a checkpoint. Hashes are in hex.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct InclusionProof {
    /// The event's place, counted from 0.
    index: u64,
    /// SHA-256 of a zero byte and the event's canonical JSON.
    leaf: String,
    /// How many events the checkpoint holds.
    size: u64,
    /// The siblings, from the leaf upwards.
    hashes: Vec<String>,
    /// The signed checkpoint.
    checkpoint: String,
}

/// That one checkpoint continues another. Hashes are in hex.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct ConsistencyProof {
    /// The older checkpoint.
    from: String,
    /// The newer one.
    to: String,
    /// The proof.
    hashes: Vec<String>,
}

/// How the log stands.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct AuditCheckpoint {
    /// How many events there are, signed or not.
    events: u64,
    /// The last signed checkpoint (C2SP tlog-checkpoint).
    note: Option<String>,
    /// That the installation's log holds it.
    installation: Option<InstallationProof>,
    /// The public key, as the server has it. Who checks compares it with the one they were given.
    key: Option<String>,
    /// What the server has found to be wrong with the log.
    problem: Option<String>,
}

/// That the installation's log holds a checkpoint. Hashes are in hex.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct InstallationProof {
    /// The place of the checkpoint in the installation's log, counted from 0.
    index: u64,
    /// The siblings, from the leaf upwards.
    hashes: Vec<String>,
    /// The installation's signed checkpoint.
    checkpoint: String,
}

/// Something to look at.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct Anomaly {
    /// volume, new_address, sequence, off_hours or large_export.
    rule: String,
    actor: String,
    /// The first such event.
    at: DateTime<Utc>,
    /// In words.
    why: String,
}

/// A pruning that was asked for, or done.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct AuditPruning {
    /// Events before this place go, or are gone.
    below: u64,
    asked_by: String,
    asked_at: DateTime<Utc>,
    /// Who approved and so did it.
    approved_by: Option<String>,
    approved_at: Option<DateTime<Utc>>,
}

impl AuditPruning {
    pub fn of(pruning: audit::Pruning) -> Self {
        let audit::Pruning { below, asked_by, asked_at, approved_by, approved_at } = pruning;
        Self { below, asked_by, asked_at, approved_by, approved_at }
    }
}
