//! What the log is asked: events, and who has seen a person.

use chrono::{DateTime, Duration, Utc};
use policy::Verb;
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, DbBackend, QueryOrder, QuerySelect, QueryTrait};
use serde_json::Value;

use super::checkpoint::leaves;
use super::table::{event, subject, wide};
use super::tree;
use crate::customer::Customer;
use crate::guard::Open;
use crate::vault::hex;
use crate::{Error, Scope, Session};

/// One event of the log, with its canonical bytes.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the log, counted from 0.
    pub sequence: u64,
    /// The key.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// What was done.
    pub operation: String,
    /// `ok`, `denied` or `failed`.
    pub outcome: String,
    /// What for.
    pub purpose: Option<String>,
    /// How many personal values were shown clear.
    pub clear: i32,
    /// How many were masked.
    pub masked: i32,
    /// How many were withheld.
    pub withheld: i32,
    /// The canonical JSON.
    pub body: String,
    /// Whether it is the event whose hash is in the tree; `None` while it is under no checkpoint.
    pub intact: Option<bool>,
}

impl Event {
    /// The body, parsed.
    #[must_use]
    pub fn parsed(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Per field how many values were clear, masked and withheld.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, [i64; 3])> {
        let body = self.parsed();
        let count = |counts: &Value, key: &str| counts[key].as_i64().unwrap_or_default();
        body["fields"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, counts)| (key.clone(), ["clear", "masked", "withheld"].map(|level| count(counts, level))))
            .collect()
    }

    /// The event in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let body = self.parsed();
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let roles: Vec<String> = body["actor"]["roles"].as_array().into_iter().flatten().map(word).collect();
        let who = format!("{} ({}, as {})", word(&body["actor"]["name"]), self.actor, if roles.is_empty() { "nobody".to_owned() } else { roles.join(" and ") });
        let why = self.purpose.as_ref().map(|purpose| format!(" for {purpose}")).unwrap_or_default();
        let about = body["sights"].as_array().into_iter().flatten().filter_map(|group| group["subjects"].as_array()).map(Vec::len).sum::<usize>();
        let told = [("clear", 0), ("masked", 1), ("withheld", 2)].into_iter().filter_map(|(level, slot)| {
            let fields: Vec<String> = self.fields().into_iter().filter(|(_, counts)| counts[slot] > 0).map(|(field, _)| field).collect();
            (!fields.is_empty()).then(|| format!("{} {level}", fields.join(", ")))
        });
        let told: Vec<String> = told.collect();
        let persons = match about {
            0 => String::new(),
            1 => " of one customer".to_owned(),
            more => format!(" of {more} customers"),
        };
        match self.outcome.as_str() {
            "ok" if told.is_empty() => format!("{who} did {}{persons}{why}", self.operation),
            "ok" => format!("{who} saw {}{persons}{why}, by {}", told.join("; "), self.operation),
            "denied" => format!("{who} was refused {}{why}: {}", self.operation, word(&body["facts"]["denied"])),
            _ => format!("{who} tried {}{persons}{why} and it failed{}", self.operation, if told.is_empty() { "" } else { "; something was seen" }),
        }
    }
}

/// How much of a value was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Withheld,
    /// The masked value.
    Masked,
    /// The value.
    Clear,
}

impl Level {
    /// As the log has it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Withheld => "withheld",
            Self::Masked => "masked",
            Self::Clear => "clear",
        }
    }
}

/// Which events.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this actor.
    pub actor: Option<String>,
    /// Of somebody with this role.
    pub role: Option<String>,
    /// From this address.
    pub address: Option<String>,
    /// Of this request.
    pub request: Option<String>,
    /// Of this operation.
    pub operation: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// For this purpose.
    pub purpose: Option<String>,
    /// Not before.
    pub since: Option<DateTime<Utc>>,
    /// Before.
    pub until: Option<DateTime<Utc>>,
    /// In which a personal value was shown clear.
    pub clear: Option<bool>,
    /// In which this field was asked for.
    pub field: Option<policy::Field>,
    /// In which it, or any field, was seen at this level.
    pub level: Option<Level>,
    /// About this customer.
    pub customer: Option<Uuid>,
}

/// A page of events, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The events.
    pub events: Vec<Event>,
    /// Where older ones begin; `None` when there are no more.
    pub next: Option<u64>,
}

/// Events that are looked through for one page where no index leads: a page may be short, and the next goes on behind it.
const LOOKED_THROUGH: u64 = 200_000;
/// How much longer than its first moment a piece of work may take until it is in the log.
const LONGEST: Duration = Duration::minutes(30);

impl Filter {
    fn condition(&self, scope: &Scope) -> Condition {
        use event::Column;
        let mut all = Condition::all();
        for (column, value) in [
            (Column::Actor, &self.actor),
            (Column::Address, &self.address),
            (Column::Request, &self.request),
            (Column::Operation, &self.operation),
            (Column::Outcome, &self.outcome),
            (Column::Purpose, &self.purpose),
        ] {
            all = all.add_option(value.as_ref().map(|value| column.eq(value.as_str())));
        }
        all = all.add_option(self.role.as_ref().map(|role| holds(scope, Column::Roles, format!(" {role} "))));
        all = all.add_option(self.since.map(|since| Column::At.gte(since)));
        all = all.add_option(self.until.map(|until| Column::At.lt(until)));
        all = all.add_option(self.clear.map(|clear| if clear { Column::Clear.gt(0) } else { Column::Clear.eq(0) }));
        let column = |level: Level| match level {
            Level::Clear => Column::Clear,
            Level::Masked => Column::Masked,
            Level::Withheld => Column::Withheld,
        };
        match (self.field, self.level) {
            (None, None) => all,
            (None, Some(level)) => all.add(column(level).gt(0)),
            (Some(field), None) => all.add(within(scope, &format!("\"{}\":{{\"clear\":", field.entry().key))),
            (Some(field), Some(level)) => all.add(column(level).gt(0)).add(within(scope, &format!("\"{}\":\"{}\"", field.entry().key, level.word()))),
        }
    }

    /// Whether an index, or nothing but the order, leads to what is asked for.
    fn led(&self) -> bool {
        let refused = self.outcome.as_deref().is_none_or(|outcome| outcome != "ok");
        let texts = [&self.role, &self.address, &self.request, &self.operation, &self.purpose];
        let levels = self.clear != Some(false) && self.level.is_none_or(|level| level == Level::Clear) && self.field.is_none();
        refused && levels && texts.into_iter().all(Option::is_none)
    }

    /// Whether a look at a person is one that the filter wants.
    fn wants(&self, look: &Look) -> bool {
        look.seen
            .iter()
            .any(|(field, level)| self.field.is_none_or(|wanted| wanted.entry().key == field) && self.level.is_none_or(|wanted| wanted.word() == level))
            || (self.field.is_none() && self.level.is_none())
    }
}

/// Whether the canonical bytes of an event hold a text.
fn within(scope: &Scope, text: &str) -> sea_orm::sea_query::SimpleExpr {
    holds(scope, event::Column::Body, text.as_bytes().to_vec())
}

/// Whether a column holds a part.
fn holds(scope: &Scope, column: event::Column, part: impl Into<sea_orm::Value>) -> sea_orm::sea_query::SimpleExpr {
    let (name, postgres) = (column.to_string(), scope.tx().get_database_backend() == DbBackend::Postgres);
    let sql = if postgres { format!("position($1 in audit_event.{name}) > 0") } else { format!("instr(audit_event.{name}, ?) > 0") };
    Expr::cust_with_values(sql, [part])
}

/// Roles as they are found: each between spaces.
pub(crate) fn spaced(roles: &[String]) -> String {
    if roles.is_empty() { String::new() } else { format!(" {} ", roles.join(" ")) }
}

/// Events that meet the filter, newest first, older than `before`. What is under the tree is compared with it.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the log.
pub async fn events(session: &Session, filter: &Filter, limit: u64, before: Option<u64>) -> Result<Page, Error> {
    use event::Column;
    session.permit(Verb::AuditRead)?;
    if let Some(customer) = filter.customer {
        let (looks, next) = looks(session, customer, filter, limit, before).await?;
        return Ok(Page { events: looks.into_iter().map(|look| look.event).collect(), next });
    }
    let scope = session.scope();
    let (oldest, newest) = bounds(scope, filter).await?;
    let mut end = before.map_or(newest, |before| before.min(newest));
    let mut rows: Vec<event::Model> = Vec::new();
    let mut looked = 0;
    let next = loop {
        let begin = if filter.led() { oldest } else { end.saturating_sub(LOOKED_THROUGH / 4).max(oldest) };
        let wanted = limit + 1 - rows.len() as u64;
        let select = scope.find::<event::Entity>().filter(Column::Sequence.gte(begin.cast_signed())).filter(Column::Sequence.lt(end.cast_signed()));
        let found = select.filter(filter.condition(scope)).order_by_desc(Column::Sequence).limit(wanted).all(scope.tx()).await?;
        let whole = found.len() as u64 == wanted;
        rows.extend(found);
        if whole {
            rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            break rows.last().map(|row| row.sequence.unsigned_abs());
        }
        looked += end - begin;
        end = begin;
        if begin <= oldest {
            break None;
        }
        if looked >= LOOKED_THROUGH {
            break Some(begin);
        }
    };
    Ok(Page { events: events_of(scope, rows).await?, next })
}

/// One event of the log.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the log.
pub async fn event(session: &Session, id: Uuid) -> Result<Option<Event>, Error> {
    session.permit(Verb::AuditRead)?;
    let scope = session.scope();
    let rows = scope.find::<event::Entity>().filter(event::Column::Id.eq(id)).all(scope.tx()).await?;
    Ok(events_of(scope, rows).await?.pop())
}

/// Between which places the events of a time are.
async fn bounds(scope: &Scope, filter: &Filter) -> Result<(u64, u64), Error> {
    let mut oldest = 0;
    if let Some(since) = filter.since {
        let sql = "SELECT min(sequence) AS n FROM (SELECT sequence FROM audit_event WHERE tenant_id = $1 AND at >= $2 ORDER BY at LIMIT 1000) AS first";
        oldest = scope.number(sql, [(since - LONGEST).into()]).await?.unsigned_abs();
    }
    let mut newest = scope.number("SELECT size AS n FROM audit_head WHERE tenant_id = $1", []).await?.unsigned_abs();
    if let Some(until) = filter.until {
        let sql = "SELECT max(sequence) + 1 AS n FROM (SELECT sequence FROM audit_event WHERE tenant_id = $1 AND at < $2 ORDER BY at DESC LIMIT 1000) AS last";
        newest = newest.min(scope.number(sql, [(until + LONGEST).into()]).await?.unsigned_abs());
    }
    Ok((oldest, newest))
}

/// Compares events with the hashes in the tree.
pub(super) async fn events_of(scope: &Scope, rows: Vec<event::Model>) -> Result<Vec<Event>, Error> {
    let sequences: Vec<u64> = rows.iter().map(|row| row.sequence.unsigned_abs()).collect();
    let tiles = leaves(scope, &sequences).await?;
    let one = |row: event::Model| {
        let sequence = row.sequence.unsigned_abs();
        let intact = tiles.leaf(sequence).map(|leaf| leaf == tree::leaf(&row.body));
        if intact == Some(false) {
            tracing::error!(tenant = %row.tenant_id.0, sequence, "an event of the audit log is not the one that was logged");
        }
        Event {
            sequence,
            id: row.id,
            at: row.at,
            actor: row.actor,
            operation: row.operation,
            outcome: row.outcome,
            purpose: row.purpose,
            clear: row.clear,
            masked: row.masked,
            withheld: row.withheld,
            body: String::from_utf8_lossy(&row.body).into_owned(),
            intact,
        }
    };
    Ok(rows.into_iter().map(one).collect())
}

/// What the log calls a customer and all that were merged into it.
pub(super) async fn aliases(session: &Session, customer: Uuid) -> Result<Vec<[u8; 16]>, Error> {
    let keys = crate::customer::with_merged(session.scope(), customer).await?;
    Ok(keys.into_iter().map(|key| session.keyring().alias(key)).collect::<Result<_, _>>()?)
}

/// The places of the newest events about a customer, older than `before`.
async fn places(scope: &Scope, aliases: &[[u8; 16]], limit: u64, before: i64) -> Result<Vec<i64>, Error> {
    let mut found = Vec::new();
    for alias in aliases {
        let select = scope.find::<subject::Entity>().filter(subject::Column::Alias.eq(alias.to_vec())).filter(subject::Column::Sequence.lt(before));
        let select = select.order_by_desc(subject::Column::Sequence).limit(limit).select_only().column(subject::Column::Sequence);
        found.extend(select.into_tuple::<i64>().all(scope.tx()).await?);
        let waiting = scope.find::<wide::Entity>().select_only().column(wide::Column::Sequence).into_query();
        let select = scope.find::<event::Entity>().filter(event::Column::Sequence.in_subquery(waiting)).filter(event::Column::Sequence.lt(before));
        let select = select.filter(within(scope, hex(alias).as_str())).order_by_desc(event::Column::Sequence).limit(limit);
        found.extend(select.select_only().column(event::Column::Sequence).into_tuple::<i64>().all(scope.tx()).await?);
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.dedup();
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

/// One look at a customer.
#[derive(Clone, Debug)]
pub struct Look {
    /// The event.
    pub event: Event,
    /// Of each personal field that was asked for, the most that was seen: `clear`, `masked` or `withheld`.
    pub seen: Vec<(String, String)>,
}

impl Look {
    fn of(event: Event, names: &[String]) -> Self {
        let body = event.parsed();
        let about = |group: &&Value| {
            group["subjects"].as_array().is_some_and(|subjects| subjects.iter().any(|subject| names.iter().any(|name| subject == name.as_str())))
        };
        let fields = body["sights"].as_array().into_iter().flatten().filter(about).filter_map(|group| group["fields"].as_object()).flatten();
        let seen = fields.map(|(field, level)| (field.clone(), level.as_str().unwrap_or_default().to_owned())).collect();
        Self { event, seen }
    }

    /// The most that was seen: `clear`, `masked` or `withheld`; `open` when nothing personal was asked for.
    #[must_use]
    pub fn level(&self) -> &'static str {
        ["clear", "masked", "withheld"].into_iter().find(|level| self.seen.iter().any(|(_, seen)| seen == level)).unwrap_or("open")
    }
}

/// Looks at a customer that meet the filter, newest first, older than `before`; and where older ones begin.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the log.
pub async fn access(session: &Session, customer: Uuid, filter: &Filter, limit: u64, before: Option<u64>) -> Result<(Vec<Look>, Option<u64>), Error> {
    session.permit(Verb::AuditRead)?;
    looks(session, customer, filter, limit, before).await
}

async fn looks(session: &Session, customer: Uuid, filter: &Filter, limit: u64, before: Option<u64>) -> Result<(Vec<Look>, Option<u64>), Error> {
    let scope = session.scope();
    let aliases = aliases(session, customer).await?;
    let names: Vec<String> = aliases.iter().map(|alias| hex(alias).as_str().to_owned()).collect();
    let mut end = before.map_or(i64::MAX, u64::cast_signed);
    let (mut found, mut looked): (Vec<Look>, u64) = (Vec::new(), 0);
    loop {
        let places = places(scope, &aliases, limit + 1, end).await?;
        let more = places.len() as u64 > limit;
        let select = scope.find::<event::Entity>().filter(event::Column::Sequence.is_in(places.iter().copied())).filter(filter.condition(scope));
        let rows = select.order_by_desc(event::Column::Sequence).all(scope.tx()).await?;
        let looks = events_of(scope, rows).await?.into_iter().map(|event| Look::of(event, &names)).filter(|look| filter.wants(look));
        found.extend(looks);
        looked += places.len() as u64;
        if found.len() as u64 > limit {
            found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            let next = found.last().map(|look| look.event.sequence);
            return Ok((found, next));
        }
        end = places.last().copied().unwrap_or(0);
        if !more {
            return Ok((found, None));
        }
        if looked > LOOKED_THROUGH / 10 {
            return Ok((found, Some(end.unsigned_abs())));
        }
    }
}

/// Who has looked at a customer, newest first; decided as the field `Customer.seenBy`.
///
/// # Errors
/// The database cannot be reached.
pub async fn seen_by(session: &Session, customer: &Customer, limit: u64) -> Result<Open<Vec<Look>>, Error> {
    let (looks, _) = looks(session, customer.id(), &Filter::default(), limit, None).await?;
    Ok(customer.seen_by(looks))
}

/// Fails when the log's table is not there or cannot be written. No event has no key: the statement asks for the right to
/// write and touches nothing.
pub(crate) async fn writable(scope: &Scope) -> Result<(), Error> {
    scope.delete_where::<event::Entity>(event::Column::Id.is_null()).await?;
    Ok(())
}
