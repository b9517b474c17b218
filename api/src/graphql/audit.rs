//! The audit log over GraphQL.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use chrono::{DateTime, Utc};

use super::connection::{at_most, cost};
use super::{id, session};

/// The audit log. Reading it is logged too.
pub struct Audit;

/// Which events.
#[derive(InputObject, Default)]
pub struct AuditFilter {
    /// Of this actor.
    actor: Option<String>,
    /// Of this operation, by its name.
    operation: Option<String>,
    /// With this outcome: ok, denied, failed.
    outcome: Option<String>,
    /// For this purpose.
    purpose: Option<String>,
    /// Not before.
    since: Option<DateTime<Utc>>,
    /// Before.
    until: Option<DateTime<Utc>>,
    /// Whether a personal value was shown clear.
    clear: Option<bool>,
    /// About this customer.
    customer: Option<ID>,
}

/// Which events, and how many.
#[Object]
impl Audit {
    /// Events, newest first. For those who may read the log.
    #[graphql(complexity = "cost(first, 20, child_complexity)")]
    async fn events(&self, ctx: &Context<'_>, filter: Option<AuditFilter>, first: Option<i32>, after: Option<ID>) -> Result<AuditEventConnection> {
        let filter = filter.unwrap_or_default();
        let wrong = |argument: &str| entity::Error::Invalid(format!("{argument}: not an id"));
        let customer = filter.customer.map(|id| id::customer(&id).ok_or_else(|| wrong("filter.customer"))).transpose()?;
        let before = after.map(|id| id::event(&id).ok_or_else(|| wrong("after"))).transpose()?;
        let filter = entity::audit::Filter {
            actor: filter.actor,
            operation: filter.operation,
            outcome: filter.outcome,
            purpose: filter.purpose,
            since: filter.since,
            until: filter.until,
            clear: filter.clear,
            customer,
        };
        let limit = at_most(first, 20)?;
        let mut events = entity::audit::events(session(ctx), &filter, limit + 1, before).await?;
        let has_next_page = events.len() as u64 > limit;
        events.truncate(usize::try_from(limit).unwrap_or(100));
        let nodes: Vec<AuditEvent> = events.into_iter().map(AuditEvent::of).collect();
        let end_cursor = nodes.last().map(|event| event.id.clone());
        Ok(AuditEventConnection { nodes, page_info: AuditPageInfo { has_next_page, end_cursor } })
    }
}

/// A page of events.
#[derive(SimpleObject)]
pub struct AuditEventConnection {
    nodes: Vec<AuditEvent>,
    page_info: AuditPageInfo,
}

/// Whether there are older events, and from where.
#[derive(SimpleObject)]
pub struct AuditPageInfo {
    has_next_page: bool,
    end_cursor: Option<ID>,
}

/// One event.
#[derive(SimpleObject)]
pub struct AuditEvent {
    id: ID,
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
    /// The canonical JSON of the event (RFC 8785).
    body: String,
}

/// How many values of a field were clear, masked and withheld.
#[derive(SimpleObject)]
pub struct FieldSeen {
    field: String,
    clear: i64,
    masked: i64,
    withheld: i64,
}

impl AuditEvent {
    fn of(event: entity::audit::Event) -> Self {
        let fields = event.fields().into_iter().map(|(field, [clear, masked, withheld])| FieldSeen { field, clear, masked, withheld }).collect();
        Self {
            id: id::of_event(event.id),
            at: event.at,
            actor: event.actor,
            operation: event.operation,
            outcome: event.outcome,
            purpose: event.purpose,
            clear: event.clear,
            masked: event.masked,
            withheld: event.withheld,
            fields,
            body: event.body,
        }
    }
}
