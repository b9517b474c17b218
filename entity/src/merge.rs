//! Merging and its undoing. A merge re-points records and redirects the customer that went up; nothing is lost, so it can
//! be undone at any time, also after later edits and later merges. What a person decides is written on the records
//! (`held_for`), and linking keeps to it.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use policy::Verb;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, IntoCondition};
use sea_orm::{QueryOrder, QuerySelect};
use serde_json::json;

use crate::customer::{self, Customer};
use crate::link::{self, Touched, Why};
use crate::record;
use crate::store::Tenanted;
use crate::{Change, Error, Scope, Session, rights, tag};

mod part;

pub(crate) use part::part;

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "merge_journal")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub at: ChronoDateTimeUtc,
        pub actor: String,
        pub winner_id: Uuid,
        pub loser_id: Uuid,
        pub records: Json,
        pub reason: String,
        pub kind: String,
        pub carried: Option<Json>,
        pub undone_at: Option<ChronoDateTimeUtc>,
        pub undone_by: Option<String>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use table::{Column, Entity, Model};

impl Tenanted for Entity {
    const TENANT: Column = Column::TenantId;
}

/// A customer whose records all went to another.
pub(crate) struct Merged {
    pub winner: Uuid,
    pub loser: Uuid,
    pub records: Vec<Uuid>,
}

/// An entry of the merge journal.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key, by which it is undone.
    pub id: Uuid,
    /// When.
    pub at: DateTime<Utc>,
    /// By whom.
    pub actor: String,
    /// `linked` by a rule, `merged` by a person.
    pub kind: String,
    /// Why, in words.
    pub reason: String,
    /// Who stayed.
    pub winner: Uuid,
    /// Who went up.
    pub loser: Uuid,
    /// How many records moved.
    pub records: usize,
    /// When it was undone.
    pub undone_at: Option<DateTime<Utc>>,
}

impl From<Model> for Entry {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            at: row.at,
            actor: row.actor,
            kind: row.kind,
            reason: row.reason,
            winner: row.winner_id,
            loser: row.loser_id,
            records: ids(&row.records).len(),
            undone_at: row.undone_at,
        }
    }
}

fn ids(json: &Json) -> Vec<Uuid> {
    json.as_array().into_iter().flatten().filter_map(|id| id.as_str()?.parse().ok()).collect()
}

/// Tables of which rows that no import made move with their customer.
const CARRIED: [&str; 3] = ["customer_order", "contact_record", "ticket"];

/// Redirects those that went up, carries what was made by hand, and writes the journal.
pub(crate) async fn redirect(change: &Change, merged: &[Merged], why: Why<'_>) -> Result<(), Error> {
    use customer::table::{Column as Of, Entity as Customers};
    let scope = change.scope();
    let mut rows = Vec::with_capacity(merged.len());
    for merge in merged {
        scope.update_where::<Customers>(Of::Id.eq(merge.loser), vec![(Of::MergedInto, Expr::value(merge.winner))]).await?;
        let mut carried = serde_json::Map::new();
        for table in CARRIED {
            let by_hand = format!("SELECT id FROM {table} WHERE tenant_id = $1 AND customer_id = $2{BY_HAND}");
            let ids = scope.ids(&by_hand, [merge.loser.into()]).await?;
            scope.point(table, "id", &ids.iter().map(|id| (*id, merge.winner)).collect::<Vec<_>>()).await?;
            carried.insert(table.to_owned(), json!(ids));
        }
        rows.push(table::ActiveModel {
            id: Set(Uuid::now_v7()),
            at: Set(change.now()),
            actor: Set(change.principal().subject().to_owned()),
            winner_id: Set(merge.winner),
            loser_id: Set(merge.loser),
            records: Set(json!(merge.records)),
            reason: Set(why.reason.to_owned()),
            kind: Set(why.kind.to_owned()),
            carried: Set(Some(carried.into())),
            undone_at: Set(None),
            undone_by: Set(None),
            ..Default::default()
        });
    }
    scope.insert(rows).await?;
    // What one of them has closed is closed for all.
    for chunk in merged.chunks(5_000) {
        let losers = scope.find::<Customers>().filter(scope.among(Of::Id, chunk.iter().map(|merge| merge.loser)));
        let losers = losers.filter(Of::RestrictedAt.is_not_null().or(Of::ClosedPurposes.is_not_null())).select_only().column(Of::MergedInto);
        for winner in losers.into_tuple::<Option<Uuid>>().all(scope.tx()).await?.into_iter().flatten() {
            rights::close(scope, winner).await?;
        }
    }
    Ok(())
}

/// A customer of whom nothing is known any more.
pub(crate) const BLANK: &str = "UPDATE customer SET record_key = NULL, name = NULL, name_index = NULL, phone = NULL, phone_index = NULL, phone_tail_index = NULL, \
    landline = NULL, email = NULL, email_index = NULL, address = NULL, remarks = NULL, company = NULL, industry = NULL, channel = NULL, first_follow_up = NULL, \
    status = NULL, owner_id = NULL, department_id = NULL, provenance = '[]', completeness = 0, score = 0, issues = '[\"no_records\"]', digest = NULL, \
    version = version + 1 WHERE tenant_id = $1 AND id = $2";

/// What may refer to a customer that has no records any more, and keep it: the table, the column, and which of its rows. What a record
/// tells of is where its record is.
const REFERRING: [(&str, &str, &str); 8] = [
    ("source_record", "customer_id", ""),
    ("customer_order", "customer_id", BY_HAND),
    ("contact_record", "customer_id", BY_HAND),
    ("ticket", "customer_id", BY_HAND),
    ("consent", "customer_id", ""),
    ("relation", "customer_id", ""),
    ("relation", "other_id", ""),
    ("pin", "customer_id", ""),
];

/// Rows that no import made.
pub(crate) const BY_HAND: &str = " AND record_id IS NULL";

/// Customers without records go, and those that went up in them, with what the journal says of them. Where something else still
/// refers to one of them they stay, empty.
pub(crate) async fn vacate(scope: &Scope, customers: &[Uuid]) -> Result<(), Error> {
    use customer::table::{Column as Of, Entity as Customers};
    for chunk in customers.chunks(1_000) {
        let heirs = customer::heirs(scope, chunk).await?;
        let family: Vec<Uuid> = heirs.keys().copied().collect();
        let mut stay: HashSet<Uuid> = HashSet::new();
        for part in family.chunks(5_000) {
            for (table, column, which) in REFERRING {
                let (these, values) = scope.named(column, part, 2);
                let referred = scope.ids(&format!("SELECT DISTINCT {column} AS id FROM {table} WHERE tenant_id = $1 AND {these}{which}"), values).await?;
                stay.extend(referred.iter().filter_map(|id| heirs.get(id)));
            }
        }
        for id in &stay {
            scope.delete_where::<tag::tagged::Entity>(tag::tagged::Column::CustomerId.eq(*id)).await?;
            scope.run(BLANK, [(*id).into()]).await?;
        }
        let gone: Vec<Uuid> = heirs.iter().filter(|(_, heir)| !stay.contains(heir)).map(|(id, _)| *id).collect();
        for part in gone.chunks(5_000) {
            let these = || part.iter().copied();
            scope.delete_where::<tag::tagged::Entity>(scope.among(tag::tagged::Column::CustomerId, these())).await?;
            scope.delete_where::<Entity>(scope.among(Column::WinnerId, these())).await?;
            scope.delete_where::<Entity>(scope.among(Column::LoserId, these())).await?;
            scope.update_where::<Customers>(scope.among(Of::Id, these()), vec![(Of::MergedInto, Expr::value(None::<Uuid>))]).await?;
        }
        for part in gone.chunks(5_000) {
            scope.delete_where::<Customers>(scope.among(Of::Id, part.iter().copied())).await?;
        }
    }
    Ok(())
}

async fn both(change: &Change, one: Uuid, other: Uuid) -> Result<(Customer, Customer), Error> {
    change.permit(Verb::CustomerMerge)?;
    crate::tenant::lock(change.scope()).await?;
    let (one, other) = (customer::get(change, one).await?.ok_or(Error::NotFound)?, customer::get(change, other).await?.ok_or(Error::NotFound)?);
    Ok((one, other))
}

/// Merges a customer into another, which stays.
///
/// # Errors
/// [`Error::Denied`]; [`Error::NotFound`]; [`Error::Invalid`] when they are one already.
pub async fn merge(change: &Change, winner: Uuid, loser: Uuid, reason: &str) -> Result<Customer, Error> {
    let (winner, loser) = both(change, winner, loser).await?;
    if winner.id() == loser.id() {
        return Err(Error::Invalid("these are one customer already".to_owned()));
    }
    let scope = change.scope();
    hold(scope, record::Column::CustomerId.is_in([winner.id(), loser.id()]).into_condition(), winner.id()).await?;
    let why = Why { kind: "merged", reason };
    relink(change, vec![winner.id(), loser.id()], why).await?;
    let redirected = customer::get(change, loser.id()).await?;
    if redirected.is_some_and(|now| now.id() == loser.id()) {
        redirect(change, &[Merged { winner: winner.id(), loser: loser.id(), records: vec![] }], why).await?;
    }
    customer::get(change, winner.id()).await?.ok_or(Error::NotFound)
}

/// Undoes an entry of the journal: the records that moved then go back to the customer that they came from, which is
/// itself again; what came later goes where the rules say. Returns the two.
///
/// # Errors
/// [`Error::Denied`]; [`Error::NotFound`]; [`Error::Invalid`] when it is undone already or nothing of it is left.
pub async fn unmerge(change: &Change, entry: Uuid) -> Result<(Customer, Customer), Error> {
    change.permit(Verb::CustomerMerge)?;
    let scope = change.scope();
    crate::tenant::lock(scope).await?;
    let row = scope.find::<Entity>().filter(Column::Id.eq(entry)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    if row.undone_at.is_some() {
        return Err(Error::Invalid("this merge is undone already".to_owned()));
    }
    let winner = customer::get(change, row.winner_id).await?.ok_or(Error::NotFound)?;
    let moved = ids(&row.records);
    let theirs = record::Column::CustomerId.eq(winner.id());
    let left = scope.find::<record::Entity>().filter(theirs.clone()).filter(record::Column::Id.is_in(moved.clone())).count(scope.tx()).await?;
    if left == 0 && !moved.is_empty() {
        return Err(Error::Invalid("none of the records that moved then belong to this customer any more".to_owned()));
    }
    // Keys tell the time: what was there at the merge is kept apart, what came later goes where the rules say.
    let there = record::Column::HeldFor.is_not_null().or(record::Column::Id.lt(entry));
    hold(scope, theirs.clone().and(record::Column::Id.is_not_in(moved.clone())).and(there).into_condition(), winner.id()).await?;
    hold(scope, theirs.and(record::Column::Id.is_in(moved)).into_condition(), row.loser_id).await?;
    for table in CARRIED {
        // What went on from there meanwhile, with an earlier merge that was undone first, stays where it is.
        let still = format!("SELECT id FROM {table} WHERE tenant_id = $1 AND customer_id = $2{BY_HAND}");
        let still = scope.ids(&still, [winner.id().into()]).await?;
        let carried = row.carried.as_ref().map(|carried| ids(&carried[table])).unwrap_or_default();
        let back: Vec<(Uuid, Uuid)> = carried.into_iter().filter(|id| still.contains(id)).map(|id| (id, row.loser_id)).collect();
        scope.point(table, "id", &back).await?;
    }
    {
        use customer::table::{Column, Entity};
        scope.update_where::<Entity>(Column::Id.eq(row.loser_id), vec![(Column::MergedInto, Expr::value(None::<Uuid>))]).await?;
    }
    let undone = vec![(Column::UndoneAt, Expr::value(change.now())), (Column::UndoneBy, Expr::value(change.principal().subject()))];
    scope.update_where::<Entity>(Column::Id.eq(entry), undone).await?;
    for id in [winner.id(), row.loser_id] {
        rights::close(scope, id).await?;
    }
    // What was closed while they were one may have been said by either.
    rights::carry(change, &BTreeSet::from([(winner.id(), row.loser_id)])).await?;
    change.note("unmerged", entry.to_string());
    relink(change, vec![winner.id(), row.loser_id], Why { kind: "linked", reason: "after an unmerge" }).await?;
    let again = customer::get(change, row.loser_id).await?.ok_or(Error::NotFound)?;
    Ok((customer::get(change, winner.id()).await?.ok_or(Error::NotFound)?, again))
}

/// Splits records off a customer; they become a customer of their own. Returns that one.
///
/// # Errors
/// [`Error::Denied`]; [`Error::NotFound`] for a record that is not this customer's; [`Error::Invalid`] when nothing would
/// stay.
pub async fn split(change: &Change, from: Uuid, records: &[Uuid]) -> Result<Customer, Error> {
    change.permit(Verb::CustomerMerge)?;
    let scope = change.scope();
    crate::tenant::lock(scope).await?;
    let from = customer::get(change, from).await?.ok_or(Error::NotFound)?;
    let theirs = record::Column::CustomerId.eq(from.id());
    let select = scope.find::<record::Entity>().filter(theirs.clone()).select_only().column(record::Column::Id);
    let all: HashSet<Uuid> = select.into_tuple::<Uuid>().all(scope.tx()).await?.into_iter().collect();
    let off: HashSet<Uuid> = records.iter().copied().collect();
    if off.is_empty() || !off.is_subset(&all) {
        return Err(Error::NotFound);
    }
    if off.len() == all.len() {
        return Err(Error::Invalid("all records of the customer are named; leave at least one with it".to_owned()));
    }
    let new = Uuid::now_v7();
    let named = record::Column::Id.is_in(off);
    hold(scope, theirs.and(named.clone().not()).into_condition(), from.id()).await?;
    hold(scope, named.into_condition(), new).await?;
    change.note("split", from.id().to_string());
    relink(change, vec![from.id()], Why { kind: "linked", reason: "after a split" }).await?;
    customer::get(change, new).await?.ok_or(Error::NotFound)
}

async fn hold(scope: &Scope, which: sea_orm::Condition, customer: Uuid) -> Result<(), Error> {
    scope.update_where::<record::Entity>(which, vec![(record::Column::HeldFor, Expr::value(customer))]).await?;
    Ok(())
}

async fn relink(change: &Change, customers: Vec<Uuid>, why: Why<'_>) -> Result<(), Error> {
    let mut run = link::Run::of(change.scope()).await?;
    link::settle(change, &mut run, Touched { customers, ..Touched::default() }, why).await?;
    Ok(())
}

/// The merges in which a customer took part, newest first.
///
/// # Errors
/// [`Error::Denied`] to whom may not merge or read import reports.
pub async fn journal(session: &Session, of: Option<Uuid>, limit: u64) -> Result<Vec<Entry>, Error> {
    session.permit(Verb::ImportRead)?;
    let scope = session.scope();
    let mut select = scope.find::<Entity>();
    if let Some(id) = of {
        let Some(customer) = customer::get(session, id).await? else { return Ok(vec![]) };
        let family = customer::with_merged(scope, customer.id()).await?;
        select = select.filter(Column::WinnerId.is_in(family.clone()).or(Column::LoserId.is_in(family)));
    }
    let entries = select.order_by_desc(Column::At).order_by_desc(Column::Id).limit(limit).all(scope.tx()).await?;
    for entry in &entries {
        session.met(entry.winner_id);
        session.met(entry.loser_id);
    }
    Ok(entries.into_iter().map(Entry::from).collect())
}
