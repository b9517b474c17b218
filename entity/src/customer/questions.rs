//! The questions that find customers. The caller's reach is in every WHERE.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use policy::field::kinds::{Email, Phone};
use policy::{Act, Field, Pii, Reach, Sight, Verb, View};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{IntoCondition, SimpleExpr};
use sea_orm::{Condition, ConnectionTrait, PaginatorTrait, QueryOrder, QueryResult, QuerySelect, QueryTrait, Select};
use sha2::{Digest, Sha256};

use super::table::{Column, Entity};
use super::{Asked, Columns, Customer, Row, closed};
use crate::guard::{Closed, Vaulted};
use crate::{Error, Session, order, record, tag};

/// Which customers. Personal fields are not filtered by: they are found by exact value only, with [`find`].
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Filter {
    /// With this status.
    pub status: Option<i16>,
    /// Of this value tier.
    pub value_tier: Option<i16>,
    /// From this channel.
    pub channel: Option<i16>,
    /// Of this industry: a section (`I`) or a division (`I65`).
    pub industry: Option<String>,
    /// Person or company.
    pub customer_type: Option<i16>,
    /// With this tag.
    pub tag: Option<String>,
    /// Looked after by the caller.
    pub mine: Option<bool>,
    /// Changed at or after.
    pub updated_since: Option<DateTime<Utc>>,
}

impl Filter {
    /// The fields that it names.
    fn fields(&self) -> Vec<Field> {
        let named = [
            (Field::Status, self.status.is_some()),
            (Field::ValueTier, self.value_tier.is_some()),
            (Field::Channel, self.channel.is_some()),
            (Field::Industry, self.industry.is_some()),
            (Field::CustomerType, self.customer_type.is_some()),
            (Field::Tags, self.tag.is_some()),
            (Field::Owner, self.mine.is_some()),
            (Field::UpdatedAt, self.updated_since.is_some()),
        ];
        named.into_iter().filter(|(_, is)| *is).map(|(field, _)| field).collect()
    }
}

/// What customers are ordered by, ties broken by key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub enum Order {
    /// By human number.
    #[default]
    Number,
    /// By last change.
    UpdatedAt,
    /// By first follow-up; customers without one are left out.
    FirstFollowUp,
}

/// A page of customers.
pub struct Page {
    /// The customers, in order.
    pub customers: Vec<Customer>,
    /// Whether there are more in the direction that was read.
    pub more: bool,
    /// How they are gone on from.
    pub cursors: Cursors,
}

/// Makes the cursors of a page.
#[derive(Clone, Copy)]
pub struct Cursors {
    query: Uuid,
    order: Order,
}

impl Cursors {
    /// The cursor behind a customer of the page.
    ///
    /// # Errors
    /// The cipher refuses.
    pub fn behind(&self, session: &Session, customer: &Customer) -> Result<Vec<u8>, Error> {
        let key = match self.order {
            Order::Number => customer.row(Asked::Number).number.clone(),
            Order::UpdatedAt => customer.row(Asked::UpdatedAt).updated_at.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true),
            Order::FirstFollowUp => customer.row(Asked::FirstFollowUp).first_follow_up.map(|date| date.to_string()).unwrap_or_default(),
        };
        let position = serde_json::to_vec(&(key, customer.id())).map_err(|_| Error::Invalid("cursor".to_owned()))?;
        Ok(session.keyring().seal_cursor(self.query, &position)?)
    }
}

/// How a page is cut.
#[derive(Clone, Debug)]
pub struct Cut {
    /// How many.
    pub most: u64,
    /// Behind this cursor.
    pub after: Option<Vec<u8>>,
    /// In front of this one.
    pub before: Option<Vec<u8>>,
    /// The last of them, and not the first.
    pub last: bool,
    /// Greatest first.
    pub descending: bool,
}

/// The customer of this key, or the one that it was merged into; `None` when it is missing, another tenant's or beyond
/// the caller's reach: one and the same answer.
///
/// # Errors
/// The database cannot be reached.
pub async fn get(session: &Session, id: Uuid) -> Result<Option<Customer>, Error> {
    some(session, id, Columns::ALL).await
}

/// The same, of whom only these columns are told.
///
/// # Errors
/// The database cannot be reached.
pub async fn some(session: &Session, id: Uuid, columns: Columns) -> Result<Option<Customer>, Error> {
    if let Some(found) = unmerged(session, &[id], columns).await?.pop() {
        return Ok(Some(found));
    }
    match session.scope().ids(HEIR, [id.into()]).await?.into_iter().next() {
        Some(heir) if heir != id => Ok(unmerged(session, &[heir], columns).await?.pop()),
        _ => Ok(None),
    }
}

/// Where the customer `$2` went, however often it was merged.
const HEIR: &str = "WITH RECURSIVE up (id, merged_into) AS (SELECT id, merged_into FROM customer WHERE tenant_id = $1 AND id = $2 \
    UNION SELECT c.id, c.merged_into FROM up JOIN customer c ON c.tenant_id = $1 AND c.id = up.merged_into) SELECT id FROM up WHERE merged_into IS NULL";

/// The customers of these keys that the caller may see; merged ones are left out.
///
/// # Errors
/// The database cannot be reached.
pub async fn of_keys(session: &Session, ids: &[Uuid]) -> Result<Vec<Customer>, Error> {
    unmerged(session, ids, Columns::ALL).await
}

async fn unmerged(session: &Session, ids: &[Uuid], columns: Columns) -> Result<Vec<Customer>, Error> {
    let Some(select) = visible(session) else { return Ok(vec![]) };
    let rows = read(select.filter(Column::Id.is_in(ids.iter().copied())).filter(Column::MergedInto.is_null()), session, columns).await?;
    Ok(rows.into_iter().map(|row| handed(session, row)).collect())
}

/// The customers of these keys, whatever the caller's reach: for an import's report, whose readers see all of its rows.
pub(crate) async fn any_of(session: &Session, ids: impl IntoIterator<Item = Uuid>) -> Result<Vec<Customer>, Error> {
    let rows = read(session.scope().find::<Entity>().filter(Column::Id.is_in(ids)), session, Columns::ALL).await?;
    Ok(rows.into_iter().map(|row| Customer::of(session, row)).collect())
}

/// What customers are read as.
async fn read(select: Select<Entity>, session: &Session, columns: Columns) -> Result<Vec<Row>, Error> {
    let tx = session.scope().tx();
    let mut rows = Vec::new();
    let take = |row: QueryResult| {
        rows.push(Row::read(&row, columns)?);
        Ok(())
    };
    tx.each(select.select_only().columns(Row::columns(columns)).build(tx.get_database_backend()), take).await?;
    Ok(rows)
}

/// A customer on its way to a caller: from here on the event names it, whatever is read of it.
fn handed(session: &Session, row: Row) -> Customer {
    session.met(row.id);
    Customer::of(session, row)
}

/// Customers and all that were merged into them, each with the one that it went up in.
pub(crate) async fn heirs(scope: &crate::Scope, customers: &[Uuid]) -> Result<HashMap<Uuid, Uuid>, Error> {
    let mut heirs: HashMap<Uuid, Uuid> = customers.iter().map(|id| (*id, *id)).collect();
    let mut newest = customers.to_vec();
    while !newest.is_empty() {
        let mut merged: Vec<(Uuid, Uuid)> = Vec::new();
        for chunk in newest.chunks(5_000) {
            let select = scope.find::<Entity>().filter(Column::MergedInto.is_in(chunk.iter().copied())).select_only().columns([Column::Id, Column::MergedInto]);
            merged.extend(select.into_tuple::<(Uuid, Uuid)>().all(scope.tx()).await?);
        }
        newest.clear();
        for (id, into) in merged {
            if let (false, Some(heir)) = (heirs.contains_key(&id), heirs.get(&into).copied()) {
                heirs.insert(id, heir);
                newest.push(id);
            }
        }
    }
    Ok(heirs)
}

/// A customer's key with those of all that were merged into it: what was seen of them was seen of it.
pub(crate) async fn with_merged(scope: &crate::Scope, id: Uuid) -> Result<Vec<Uuid>, Error> {
    Ok(heirs(scope, &[id]).await?.into_keys().collect())
}

/// The numbers of all customers, for whoever looks for patterns in the log.
pub(crate) async fn numbers(scope: &crate::Scope) -> Result<Vec<(Uuid, String)>, Error> {
    let select = scope.find::<Entity>().select_only().columns([Column::Id, Column::Number]);
    Ok(select.into_tuple().all(scope.tx()).await?)
}

/// The most customers of a page: more for whoever may take them out in bulk.
#[must_use]
pub fn page_most(session: &Session) -> u64 {
    let bulk = session.matrix().allows(Field::Number, Act::Export, Reach::All);
    if bulk { 1_000 } else { 100 }
}

/// A page of the customers that meet the filter, of whom only these columns are told.
///
/// # Errors
/// [`Error::Denied`] when a field that is filtered or ordered by may not be; [`Error::Invalid`] for a cursor that was
/// not made for this caller and query.
pub async fn page(session: &Session, filter: &Filter, order: Order, cut: &Cut, columns: Columns) -> Result<Page, Error> {
    let (column, field, place) = match order {
        Order::Number => (Column::Number, Field::Number, Asked::Number),
        Order::UpdatedAt => (Column::UpdatedAt, Field::UpdatedAt, Asked::UpdatedAt),
        Order::FirstFollowUp => (Column::FirstFollowUp, Field::FirstFollowUp, Asked::FirstFollowUp),
    };
    let columns = columns.and(Columns::one(place));
    let sorted = require(session, Act::Sort, field)?;
    let query = query_id(session, filter, order, cut.descending)?;
    let cursors = Cursors { query, order };
    let Some(mut select) = filtered(session, filter)? else { return Ok(Page { customers: vec![], more: false, cursors }) };
    select = select.filter(column.is_not_null()).filter(within(session, sorted));
    for (name, cursor, up) in [("after", &cut.after, !cut.descending), ("before", &cut.before, cut.descending)] {
        let Some(cursor) = cursor else { continue };
        let stale = || Error::Invalid(format!("{name}: not a cursor of this query; start again without it"));
        let position = session.keyring().open_cursor(query, cursor).map_err(|_| stale())?;
        let (key, id): (String, Uuid) = serde_json::from_slice(&position).map_err(|_| stale())?;
        let value: Value = match order {
            Order::Number => key.into(),
            Order::UpdatedAt => DateTime::parse_from_rfc3339(&key).map_err(|_| stale())?.to_utc().into(),
            Order::FirstFollowUp => key.parse::<NaiveDate>().map_err(|_| stale())?.into(),
        };
        let (beyond, tie) = if up { (column.gt(value.clone()), Column::Id.gt(id)) } else { (column.lt(value.clone()), Column::Id.lt(id)) };
        select = select.filter(Condition::any().add(beyond).add(Condition::all().add(column.eq(value)).add(tie)));
    }
    // The last ones are found from the end.
    let direction = if cut.descending == cut.last { sea_orm::Order::Asc } else { sea_orm::Order::Desc };
    let mut rows = read(select.order_by(column, direction.clone()).order_by(Column::Id, direction).limit(cut.most + 1), session, columns).await?;
    let limit = usize::try_from(cut.most).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    if cut.last {
        rows.reverse();
    }
    let customers = rows.into_iter().map(|row| handed(session, row)).collect();
    Ok(Page { customers, more, cursors })
}

/// How many customers meet the filter, of those that the caller may see. Where the filter names a field that the caller does not
/// see, a number below [`FLOOR`](super::FLOOR) would tell it of each of them: `None`.
///
/// # Errors
/// As [`page`].
pub async fn count(session: &Session, filter: &Filter) -> Result<Option<u64>, Error> {
    let Some(select) = filtered(session, filter)? else { return Ok(Some(0)) };
    let count = select.count(session.scope().tx()).await?;
    let unseen = |field: &Field| session.matrix().sight(*field, Reach::All, View::Masked) == Sight::Withheld;
    let few = i64::try_from(count).is_ok_and(|count| count < super::FLOOR);
    Ok(if few && filter.fields().iter().any(unseen) { None } else { Some(count) })
}

/// By what one customer is found: exact values only.
#[derive(Clone, Debug)]
pub enum By {
    /// A mobile number.
    Phone(String),
    /// An e-mail address.
    Email(String),
    /// The human number.
    Number(String),
    /// The number of an order.
    OrderNumber(String),
}

/// Finds customers by an exact value, within the caller's search budget for personal values: whose golden value it is, else one of
/// whose source records states it; by a number that a merged customer had, the one that it went up in. By a personal value nobody
/// is found who has closed the caller's purpose. Only these columns are told.
///
/// # Errors
/// [`Error::Invalid`] names the argument whose value is malformed, never the value; [`Error::Denied`] to whom may not
/// search; [`Error::SearchBudget`] when too many values were tried.
pub async fn find(session: &Session, by: By, columns: Columns) -> Result<Option<Customer>, Error> {
    let personal = matches!(by, By::Phone(_) | By::Email(_));
    let (reach, condition, otherwise) = match by {
        By::Phone(raw) => {
            let reach = require(session, Act::Search, Field::Phone)?;
            let phone = Phone::parse(&raw).map_err(|problem| Error::Invalid(format!("phone: {problem}")))?;
            session.spend_guess(&phone).await?;
            let stated = record::Column::PhoneIndex.is_in(session.keyring().indexes(record::Model::TABLE, &phone)?);
            (reach, Column::PhoneIndex.is_in(session.keyring().indexes(Row::TABLE, &phone)?), Some(Otherwise::Stated(stated)))
        }
        By::Email(raw) => {
            let reach = require(session, Act::Search, Field::Email)?;
            let email = Email::parse(&raw).map_err(|problem| Error::Invalid(format!("email: {problem}")))?;
            session.spend_guess(&email).await?;
            let stated = record::Column::EmailIndex.is_in(session.keyring().indexes(record::Model::TABLE, &email)?);
            (reach, Column::EmailIndex.is_in(session.keyring().indexes(Row::TABLE, &email)?), Some(Otherwise::Stated(stated)))
        }
        By::Number(number) => {
            let reach = require(session, Act::Search, Field::Number)?;
            (reach, Column::Number.eq(number.trim()), Some(Otherwise::Merged(number)))
        }
        By::OrderNumber(number) => {
            let reach = require(session, Act::Search, Field::OrderNumber)?;
            match order::customer_of(session, number.trim()).await? {
                Some(id) => (reach, Column::Id.eq(id), None),
                None => return Ok(None),
            }
        }
    };
    let Some(select) = visible(session) else { return Ok(None) };
    let select = select.filter(within(session, reach)).filter(Column::MergedInto.is_null()).order_by_asc(Column::Number);
    let mut found = read(select.clone().filter(condition), session, columns).await?;
    if found.is_empty()
        && let Some(otherwise) = otherwise
    {
        let condition = match otherwise {
            Otherwise::Stated(stated) => {
                let records = session.scope().find::<record::Entity>().filter(stated).filter(record::Column::Repeats.is_null());
                let records = records.filter(record::Column::CustomerId.is_not_null());
                Column::Id.in_subquery(records.select_only().column(record::Column::CustomerId).into_query())
            }
            Otherwise::Merged(number) => Column::Id.is_in(session.scope().ids(HEIR_OF_NUMBER, [number.trim().into()]).await?),
        };
        found = read(select.filter(condition), session, columns).await?;
    }
    // To search by a personal value is to use it: for a purpose that the customer has closed nobody does.
    let purpose = session.principal().purpose();
    Ok(found.into_iter().find(|row| !personal || closed(row, purpose) != Closed::Personal).map(|row| handed(session, row)))
}

/// How a customer is found whose golden value is another.
enum Otherwise {
    /// A source record states it.
    Stated(SimpleExpr),
    /// A merged customer had this number.
    Merged(String),
}

/// Where the customers of the number `$2` went.
const HEIR_OF_NUMBER: &str = "WITH RECURSIVE up (id, merged_into) AS (SELECT id, merged_into FROM customer WHERE tenant_id = $1 AND number = $2 \
    UNION SELECT c.id, c.merged_into FROM up JOIN customer c ON c.tenant_id = $1 AND c.id = up.merged_into) SELECT id FROM up WHERE merged_into IS NULL";

/// Customers within the caller's reach; the reach is in the WHERE. `None` when there is none.
fn visible(session: &Session) -> Option<Select<Entity>> {
    let widest = session.matrix().widest()?;
    let select = session.scope().find::<Entity>().filter(Column::ErasedAt.is_null()).filter(within(session, widest));
    // Restricted: only who may lift it finds the customer, and sees nothing of it but that.
    Some(if session.matrix().may(Verb::PersonRights) { select } else { select.filter(Column::RestrictedAt.is_null()) })
}

/// Rows of at most this reach to the caller.
pub(super) fn within(session: &Session, reach: Reach) -> Condition {
    let principal = session.principal();
    let own = principal.user.map(|user| Column::OwnerId.eq(user));
    let department = principal.department.map(|department| Column::DepartmentId.eq(department));
    // A condition of no alternatives would let everything through: nobody's key is null.
    let nothing = Condition::any().add(Column::Id.is_null());
    match reach {
        Reach::All => Condition::all(),
        Reach::Department => nothing.add_option(own).add_option(department),
        Reach::Own => nothing.add_option(own),
    }
}

pub(super) fn filtered(session: &Session, filter: &Filter) -> Result<Option<Select<Entity>>, Error> {
    let Some(mut select) = visible(session) else { return Ok(None) };
    select = select.filter(Column::MergedInto.is_null());
    let mut narrow = |field: Field, condition: Option<Condition>| -> Result<(), Error> {
        if let Some(condition) = condition {
            let reach = require(session, Act::Search, field)?;
            select = select.clone().filter(condition).filter(within(session, reach));
        }
        Ok(())
    };
    let code = |column: Column, code: Option<i16>| code.map(|code| column.eq(code).into_condition());
    narrow(Field::Status, code(Column::Status, filter.status))?;
    narrow(Field::ValueTier, code(Column::ValueTier, filter.value_tier))?;
    narrow(Field::Channel, code(Column::Channel, filter.channel))?;
    narrow(Field::CustomerType, code(Column::CustomerType, filter.customer_type))?;
    if filter.industry.as_deref().is_some_and(|code| code.len() == 1 && !code.as_bytes()[0].is_ascii_uppercase()) {
        return Err(Error::Invalid("filter.industry: a section is one letter such as I, a division such as I65".to_owned()));
    }
    let section = filter.industry.as_ref().map(|code| if code.len() == 1 { Column::Industry.starts_with(code) } else { Column::Industry.eq(code.as_str()) });
    narrow(Field::Industry, section.map(IntoCondition::into_condition))?;
    let mine = filter.mine.map(|mine| {
        let user = session.principal().user.unwrap_or_default();
        if mine { Column::OwnerId.eq(user).into_condition() } else { Condition::any().add(Column::OwnerId.ne(user)).add(Column::OwnerId.is_null()) }
    });
    narrow(Field::Owner, mine)?;
    narrow(Field::UpdatedAt, filter.updated_since.map(|since| Column::UpdatedAt.gte(since).into_condition()))?;
    let tagged = filter.tag.as_ref().map(|name| Column::Id.in_subquery(tag::customers_with(session, name)).into_condition());
    narrow(Field::Tags, tagged)?;
    Ok(Some(select))
}

/// The widest reach in which the caller may do this with a field; refused where there is none.
pub(super) fn require(session: &Session, act: Act, field: Field) -> Result<Reach, Error> {
    let widest = Reach::ALL.iter().rev().copied().find(|reach| session.matrix().allows(field, act, *reach));
    widest.ok_or_else(|| {
        session.deny(field.entry().key);
        Error::Denied
    })
}

/// What a cursor is bound to: the caller and everything that shapes the sequence.
fn query_id(session: &Session, filter: &Filter, order: Order, descending: bool) -> Result<Uuid, Error> {
    let shape = serde_json::to_vec(&(session.principal().subject(), filter, order, descending)).map_err(|_| Error::Invalid("filter".to_owned()))?;
    let hash = Sha256::digest(shape);
    Ok(Uuid::from_slice(&hash[..16]).unwrap_or_default())
}
