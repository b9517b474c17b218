//! The audit log as it is stored and asked.

use chrono::{DateTime, Utc};
use policy::Verb;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect, QueryTrait};
use serde_json::Value;

use crate::guard::Open;
use crate::store::Tenanted;
use crate::vault::hex;
use crate::{Error, Session, customer::Customer};

pub(crate) mod event {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_event")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub at: ChronoDateTimeUtc,
        pub actor: String,
        pub operation: String,
        pub outcome: String,
        pub purpose: Option<String>,
        pub clear: i32,
        pub masked: i32,
        pub withheld: i32,
        pub body: Vec<u8>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod subject {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_subject")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub alias: Vec<u8>,
        #[sea_orm(primary_key, auto_increment = false)]
        pub event_id: Uuid,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for event::Entity {
    const TENANT: event::Column = event::Column::TenantId;
}
impl Tenanted for subject::Entity {
    const TENANT: subject::Column = subject::Column::TenantId;
}

/// One event of the log, with its canonical bytes.
#[derive(Clone, Debug)]
pub struct Event {
    /// The key, ordered by time.
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
}

impl From<event::Model> for Event {
    fn from(row: event::Model) -> Self {
        let body = String::from_utf8_lossy(&row.body).into_owned();
        Self {
            id: row.id,
            at: row.at,
            actor: row.actor,
            operation: row.operation,
            outcome: row.outcome,
            purpose: row.purpose,
            clear: row.clear,
            masked: row.masked,
            withheld: row.withheld,
            body,
        }
    }
}

impl Event {
    /// Per field how many values were clear, masked and withheld.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, [i64; 3])> {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let count = |counts: &Value, key: &str| counts[key].as_i64().unwrap_or_default();
        body["fields"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, counts)| (key.clone(), ["clear", "masked", "withheld"].map(|level| count(counts, level))))
            .collect()
    }
}

/// Which events.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this actor.
    pub actor: Option<String>,
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
    /// About this customer.
    pub customer: Option<Uuid>,
}

/// Events that meet the filter, newest first, older than `before`.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the log.
pub async fn events(session: &Session, filter: &Filter, limit: u64, before: Option<Uuid>) -> Result<Vec<Event>, Error> {
    use event::Column;
    session.permit(Verb::AuditRead)?;
    let scope = session.scope();
    let mut select = scope.find::<event::Entity>();
    for (column, value) in
        [(Column::Actor, &filter.actor), (Column::Operation, &filter.operation), (Column::Outcome, &filter.outcome), (Column::Purpose, &filter.purpose)]
    {
        if let Some(value) = value {
            select = select.filter(column.eq(value.as_str()));
        }
    }
    select = select.apply_if(filter.since, |select, since| select.filter(Column::At.gte(since)));
    select = select.apply_if(filter.until, |select, until| select.filter(Column::At.lt(until)));
    select = select.apply_if(filter.clear, |select, clear| select.filter(if clear { Column::Clear.gt(0) } else { Column::Clear.eq(0) }));
    select = select.apply_if(before, |select, before| select.filter(Column::Id.lt(before)));
    if let Some(customer) = filter.customer {
        let aliases = aliases(session, customer).await?;
        select = select.filter(Column::Id.in_subquery(events_about(session, &aliases)));
    }
    let rows = select.order_by_desc(Column::Id).limit(limit).all(scope.tx()).await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// What the log calls a customer and all that were merged into it.
async fn aliases(session: &Session, customer: Uuid) -> Result<Vec<[u8; 16]>, Error> {
    let keys = crate::customer::with_merged(session.scope(), customer).await?;
    Ok(keys.into_iter().map(|key| session.keyring().alias(key)).collect::<Result<_, _>>()?)
}

fn events_about(session: &Session, aliases: &[[u8; 16]]) -> sea_orm::sea_query::SelectStatement {
    session
        .scope()
        .find::<subject::Entity>()
        .filter(subject::Column::Alias.is_in(aliases.iter().map(|alias| alias.to_vec())))
        .select_only()
        .column(subject::Column::EventId)
        .into_query()
}

/// Fails when the log's table is not there or cannot be written. No event has no key: the statement asks for the right to
/// write and touches nothing.
pub(crate) async fn writable(scope: &crate::Scope) -> Result<(), Error> {
    scope.delete_where::<event::Entity>(event::Column::Id.is_null()).await?;
    Ok(())
}

/// One look at a customer.
#[derive(Clone, Debug)]
pub struct Look {
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// Which personal fields.
    pub fields: Vec<String>,
    /// The most that was seen: `clear`, `masked` or `withheld`; `open` when nothing personal was asked for.
    pub level: String,
    /// What for.
    pub purpose: Option<String>,
}

/// Who has looked at a customer, newest first; decided as the field `Customer.seenBy`.
///
/// # Errors
/// The database cannot be reached.
pub async fn seen_by(session: &Session, customer: &Customer, limit: u64) -> Result<Open<Vec<Look>>, Error> {
    let aliases = aliases(session, customer.id()).await?;
    let scope = session.scope();
    let rows = scope
        .find::<event::Entity>()
        .filter(event::Column::Id.in_subquery(events_about(session, &aliases)))
        .order_by_desc(event::Column::Id)
        .limit(limit)
        .all(scope.tx())
        .await?;
    let names: Vec<String> = aliases.iter().map(|alias| hex(alias).as_str().to_owned()).collect();
    Ok(customer.seen_by(rows.iter().map(|row| look(row, &names)).collect()))
}

fn look(row: &event::Model, names: &[String]) -> Look {
    let body: Value = serde_json::from_slice(&row.body).unwrap_or_default();
    let about =
        |group: &&Value| group["subjects"].as_array().is_some_and(|subjects| subjects.iter().any(|subject| names.iter().any(|name| subject == name.as_str())));
    let group = body["sights"].as_array().into_iter().flatten().find(about).and_then(|group| group["fields"].as_object());
    let fields: Vec<(String, String)> =
        group.into_iter().flatten().map(|(field, level)| (field.clone(), level.as_str().unwrap_or_default().to_owned())).collect();
    let level = ["clear", "masked", "withheld"].into_iter().find(|level| fields.iter().any(|(_, seen)| seen == level)).unwrap_or("open");
    Look {
        at: row.at,
        actor: row.actor.clone(),
        fields: fields.into_iter().map(|(field, _)| field).collect(),
        level: level.to_owned(),
        purpose: row.purpose.clone(),
    }
}
