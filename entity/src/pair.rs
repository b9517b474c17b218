//! Pairs of records that are probably one person's: linked above the tenant's threshold, else the duplicates queue, where
//! a person decides with the evidence at hand.

use chrono::{DateTime, Utc};
use policy::Verb;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, SelectStatement, SimpleExpr};
use sea_orm::{QueryOrder, QuerySelect, QueryTrait};
use std::collections::{HashMap, HashSet};

use crate::customer::{self, Customer};
use crate::store::Tenanted;
use crate::{Change, Error, Scope, Session, merge, record, setting, tenant};

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
/// Two persons, said one who looked: never joined by probability, nor asked again.
pub(crate) const DISMISSED: &str = "dismissed";

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
    // Words that a plan without values knows too: there are hardly any of these among all that wait.
    let any = format!("SELECT COUNT(*) AS n FROM (SELECT 1 FROM match_pair WHERE tenant_id = $1 AND state IN ('{LINKED}', '{STALE}') LIMIT 1) AS one");
    Ok(scope.number(&any, []).await? > 0)
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

/// The joined pairs of which an end was written by these rows of an import.
pub(crate) async fn joined_by(scope: &Scope, import: Uuid, behind: i32, through: i32) -> Result<Vec<Model>, Error> {
    let rows = record::Column::ImportId.eq(import).and(record::Column::RowNumber.gt(behind)).and(record::Column::RowNumber.lte(through));
    let (mut pairs, mut seen) = (Vec::new(), HashSet::new());
    for column in [Column::RecordA, Column::RecordB] {
        let written = ids(scope, rows.clone());
        let found = scope.find::<Entity>().filter(Column::State.eq(LINKED)).filter(column.in_subquery(written)).all(scope.tx()).await?;
        pairs.extend(found.into_iter().filter(|row| seen.insert(row.id)));
    }
    Ok(pairs)
}

fn ids(scope: &Scope, which: impl sea_orm::sea_query::IntoCondition) -> SelectStatement {
    scope.find::<record::Entity>().filter(which.into_condition()).select_only().column(record::Column::Id).into_query()
}

/// Customers that a person keeps apart, the lesser key first.
pub(crate) async fn apart(scope: &Scope) -> Result<HashSet<(Uuid, Uuid)>, Error> {
    let rows = scope.rows(&dismissed(), []).await?;
    rows.into_iter().map(|row| Ok((row.try_get("", "one")?, row.try_get("", "other")?))).collect()
}

fn dismissed() -> String {
    format!("SELECT DISTINCT {COUPLE} FROM {WHOSE} AND p.state = '{DISMISSED}' AND a.customer_id <> b.customer_id")
}

/// Pairs with the records of both ends.
const WHOSE: &str = "match_pair AS p JOIN source_record AS a ON a.tenant_id = p.tenant_id AND a.id = p.record_a \
    JOIN source_record AS b ON b.tenant_id = p.tenant_id AND b.id = p.record_b WHERE p.tenant_id = $1";

/// The customers of both ends, the lesser key first.
const COUPLE: &str = "CASE WHEN a.customer_id < b.customer_id THEN a.customer_id ELSE b.customer_id END AS one, \
    CASE WHEN a.customer_id < b.customer_id THEN b.customer_id ELSE a.customer_id END AS other";

/// How many couples of customers wait by a pair that was found after `since` (a key tells the time): open, probable enough for
/// a person to look at, and still two customers whom nobody keeps apart.
pub(crate) async fn waiting_since(scope: &Scope, since: Uuid) -> Result<u64, Error> {
    let review = setting::thresholds_of(scope).await?.review;
    let couples = format!("SELECT DISTINCT {COUPLE} FROM {WHOSE} AND p.state = '{OPEN}' AND p.score >= $2 AND p.id > $3 AND a.customer_id <> b.customer_id");
    let waiting = scope.number(&format!("SELECT COUNT(*) AS n FROM ({couples} EXCEPT {}) AS couple", dismissed()), [review.into(), since.into()]).await?;
    Ok(waiting.unsigned_abs())
}

/// The duplicates queue, most probable first: pairs that wait, probable enough for a person to look at, whose customers are
/// still two; of each two customers the most probable.
///
/// # Errors
/// [`Error::Denied`] to whom may not merge.
pub async fn queue(session: &Session, limit: u64) -> Result<Vec<Duplicate>, Error> {
    session.permit(Verb::CustomerMerge)?;
    let scope = session.scope();
    let review = setting::thresholds_of(scope).await?.review;
    // Whom a person keeps apart is not asked about again, through whatever record.
    let (mut found, mut seen, mut offset) = (Vec::new(), apart(scope).await?, 0);
    loop {
        let waiting = scope.find::<Entity>().filter(Column::State.eq(OPEN)).filter(Column::Score.gte(review));
        let select = waiting.order_by_desc(Column::Score).order_by_desc(Column::Id);
        let rows = select.offset(offset).limit(limit * 2).all(scope.tx()).await?;
        offset += limit * 2;
        if rows.is_empty() {
            return Ok(found);
        }
        for duplicate in of_rows(session, rows).await? {
            let (one, other) = (duplicate.one.id(), duplicate.other.id());
            if one != other && seen.insert((Ord::min(one, other), Ord::max(one, other))) {
                found.push(duplicate);
            }
            if found.len() as u64 == limit {
                return Ok(found);
            }
        }
    }
}

/// How many couples of customers wait in the queue.
///
/// # Errors
/// [`Error::Denied`] to whom may not read import reports.
pub async fn waiting(session: &Session) -> Result<u64, Error> {
    session.permit(Verb::ImportRead)?;
    waiting_since(session.scope(), Uuid::nil()).await
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
    // Before the first write: learning holds the tenant and takes pairs away.
    tenant::lock(scope).await?;
    let row = scope.find::<Entity>().filter(Column::Id.eq(id)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    if row.state != OPEN {
        return Err(Error::Invalid(format!("this pair is {} already", row.state)));
    }
    let pair = of_rows(change, vec![row]).await?.pop().ok_or(Error::NotFound)?;
    let (one, other) = (pair.one.id(), pair.other.id());
    if one == other && decision == Decision::Dismiss {
        return Err(Error::Invalid("these are one customer by now; split it if they are two".to_owned()));
    }
    let state = if decision == Decision::Merge { "merged" } else { DISMISSED };
    let decided = vec![
        (Column::State, Expr::value(state)),
        (Column::DecidedBy, Expr::value(change.principal().subject())),
        (Column::DecidedAt, Expr::value(change.now())),
        (Column::Note, Expr::value(note)),
    ];
    let open = |which: SimpleExpr| which.and(Column::State.eq(OPEN));
    if scope.update_where::<Entity>(open(Column::Id.eq(id)), decided.clone()).await? == 0 {
        return Err(Error::Invalid("somebody has decided this pair meanwhile; look at the queue again".to_owned()));
    }
    change.note("pair", id.to_string());
    change.note("decision", state);
    match decision {
        Decision::Merge if one != other => Ok(vec![merge::merge(change, one, other, note).await?]),
        Decision::Merge => Ok(vec![pair.one]),
        Decision::Dismiss => {
            // Other records of the two ask the same question.
            let of = |customer: Uuid| ids(scope, record::Column::CustomerId.eq(customer));
            for (a, b) in [(one, other), (other, one)] {
                let between = Column::RecordA.in_subquery(of(a)).and(Column::RecordB.in_subquery(of(b)));
                scope.update_where::<Entity>(open(between), decided.clone()).await?;
            }
            Ok(vec![pair.one, pair.other])
        }
    }
}
