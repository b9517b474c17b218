//! Pairs of records that are probably one person's: linked above the tenant's threshold, else the duplicates queue, where
//! a person decides with the evidence at hand.

use chrono::{DateTime, Utc};
use policy::Verb;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use std::collections::HashMap;

use crate::customer::{self, Customer};
use crate::record;
use crate::store::Tenanted;
use crate::{Change, Error, Scope, Session, merge};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "match_pair")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub record_a: Uuid,
        pub record_b: Uuid,
        pub rule: String,
        pub score: f64,
        pub evidence: Json,
        pub state: String,
        pub found_at: ChronoDateTimeUtc,
        pub decided_by: Option<String>,
        pub decided_at: Option<ChronoDateTimeUtc>,
        pub note: Option<String>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use table::{Column, Entity, Model};

impl Tenanted for Entity {
    const TENANT: Column = Column::TenantId;
}

/// Waits for a person.
pub(crate) const OPEN: &str = "open";
/// Joined by probability.
pub(crate) const LINKED: &str = "linked";
/// Joined by a model that was learned anew since: stands until it was compared again.
pub(crate) const STALE: &str = "stale";

/// Two customers that are near each other.
pub struct Duplicate {
    /// The key of the pair.
    pub id: Uuid,
    /// How probably they are one, 0 to 1.
    pub score: f64,
    /// What speaks for and against: attribute, how well it agrees, weight in bits. Holds no values.
    pub evidence: Vec<Evidence>,
    /// `open`, `linked`, `merged` or `dismissed`.
    pub state: String,
    /// When it was found.
    pub found_at: DateTime<Utc>,
    /// The one.
    pub one: Customer,
    /// The other.
    pub other: Customer,
}

/// What one attribute says about a pair.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Evidence {
    /// The attribute.
    pub attribute: String,
    /// How well it agrees, in words.
    pub agrees: String,
    /// Its weight: positive speaks for one person.
    pub bits: f64,
}

/// What a person says of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// They are one: the second goes up in the first.
    Merge,
    /// They are not; the pair is not asked again.
    Dismiss,
}

/// Whether the second pass has joined anything of this tenant.
pub(crate) async fn any_joined(scope: &Scope) -> Result<bool, Error> {
    Ok(scope.find::<Entity>().filter(Column::State.is_in([LINKED, STALE])).one(scope.tx()).await?.is_some())
}

/// The joined pairs of which an end is among these records.
pub(crate) async fn joined(scope: &Scope, records: &[Uuid]) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let mut pairs = Vec::new();
    for chunk in records.chunks(2_000) {
        let ends = |column: Column| scope.among(column, chunk.iter().copied());
        for column in [Column::RecordA, Column::RecordB] {
            let select = scope
                .find::<Entity>()
                .filter(Column::State.is_in([LINKED, STALE]))
                .filter(ends(column))
                .select_only()
                .columns([Column::RecordA, Column::RecordB]);
            pairs.extend(select.into_tuple::<(Uuid, Uuid)>().all(scope.tx()).await?);
        }
    }
    Ok(pairs)
}

/// The duplicates queue, most probable first: pairs that wait and whose customers are still two.
///
/// # Errors
/// [`Error::Denied`] to whom may not merge.
pub async fn queue(session: &Session, limit: u64) -> Result<Vec<Duplicate>, Error> {
    session.permit(Verb::CustomerMerge)?;
    let scope = session.scope();
    let (mut found, mut seen, mut offset) = (Vec::new(), std::collections::HashSet::new(), 0);
    loop {
        let select = scope.find::<Entity>().filter(Column::State.eq(OPEN)).order_by_desc(Column::Score).order_by_desc(Column::Id);
        let rows = select.offset(offset).limit(limit * 2).all(scope.tx()).await?;
        offset += limit * 2;
        if rows.is_empty() {
            return Ok(found);
        }
        for duplicate in of_rows(session, rows).await? {
            let (one, other) = (duplicate.one.id(), duplicate.other.id());
            if one != other && seen.insert((one.min(other), one.max(other))) {
                found.push(duplicate);
            }
            if found.len() as u64 == limit {
                return Ok(found);
            }
        }
    }
}

/// How many pairs wait.
///
/// # Errors
/// [`Error::Denied`] to whom may not read import reports.
pub async fn waiting(session: &Session) -> Result<u64, Error> {
    session.permit(Verb::ImportRead)?;
    Ok(session.scope().find::<Entity>().filter(Column::State.eq(OPEN)).count(session.scope().tx()).await?)
}

async fn of_rows(session: &Session, rows: Vec<Model>) -> Result<Vec<Duplicate>, Error> {
    let scope = session.scope();
    let ends: Vec<Uuid> = rows.iter().flat_map(|row| [row.record_a, row.record_b]).collect();
    let select = scope.find::<record::Entity>().filter(record::Column::Id.is_in(ends)).select_only().columns([record::Column::Id, record::Column::CustomerId]);
    let customers: HashMap<Uuid, Uuid> =
        select.into_tuple::<(Uuid, Option<Uuid>)>().all(scope.tx()).await?.into_iter().filter_map(|(id, customer)| Some((id, customer?))).collect();
    let keys: Vec<Uuid> = customers.values().copied().collect();
    let by: HashMap<Uuid, Customer> = customer::of_keys(session, &keys).await?.into_iter().map(|customer| (customer.id(), customer)).collect();
    let of = |record: Uuid| customers.get(&record).and_then(|id| by.get(id)).cloned();
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            Some(Duplicate {
                id: row.id,
                score: row.score,
                evidence: serde_json::from_value(row.evidence).unwrap_or_default(),
                state: row.state,
                found_at: row.found_at,
                one: of(row.record_a)?,
                other: of(row.record_b)?,
            })
        })
        .collect())
}

/// Decides a pair of the queue. Returns the customers as they are now: one when they were merged.
///
/// # Errors
/// [`Error::Denied`]; [`Error::NotFound`]; [`Error::Invalid`] when the pair is decided already.
pub async fn decide(change: &Change, id: Uuid, decision: Decision, note: &str) -> Result<Vec<Customer>, Error> {
    change.permit(Verb::CustomerMerge)?;
    let scope = change.scope();
    let row = scope.find::<Entity>().filter(Column::Id.eq(id)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    if row.state != OPEN {
        return Err(Error::Invalid(format!("this pair is {} already", row.state)));
    }
    let pair = of_rows(change, vec![row]).await?.pop().ok_or(Error::NotFound)?;
    let state = if decision == Decision::Merge { "merged" } else { "dismissed" };
    let decided = vec![
        (Column::State, Expr::value(state)),
        (Column::DecidedBy, Expr::value(change.principal().subject())),
        (Column::DecidedAt, Expr::value(change.now())),
        (Column::Note, Expr::value(note)),
    ];
    scope.update_where::<Entity>(Column::Id.eq(id), decided).await?;
    change.note("pair", id.to_string());
    change.note("decision", state);
    match decision {
        Decision::Merge if pair.one.id() != pair.other.id() => Ok(vec![merge::merge(change, pair.one.id(), pair.other.id(), note).await?]),
        Decision::Merge => Ok(vec![pair.one]),
        Decision::Dismiss => Ok(vec![pair.one, pair.other]),
    }
}
