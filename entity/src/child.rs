//! What hangs on customers: the newest few of each of a whole page's customers in one statement.

use std::cmp::Ordering;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use policy::Field;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Alias, ExprTrait, NullOrdering, Query};
use sea_orm::{Condition, Order, QueryOrder, QuerySelect, QueryTrait, Select};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::customer::Customer;
use crate::guard::{Open, Reaching};
use crate::store::Tenanted;
use crate::{Error, Session, contact, customer, order, record, ticket};

/// A table whose rows belong to customers and have a time.
pub(crate) trait Child: Tenanted {
    /// The key.
    const ID: Self::Column;
    /// Whose.
    const CUSTOMER: Self::Column;
    /// By which right its number is told.
    const FIELD: Field;
    /// Newest first by this.
    const AT: Self::Column;
    /// Its number among what hangs on a customer.
    const KIND: u8;
    /// Reads the customer's key.
    fn customer(row: &Self::Model) -> Option<Uuid>;
    /// Reads its time and key.
    fn at(row: &Self::Model) -> (Option<DateTime<Utc>>, Uuid);
}

impl Child for order::table::Entity {
    const KIND: u8 = 0;
    const ID: Self::Column = order::table::Column::Id;
    const FIELD: Field = Field::OrderNumber;
    const CUSTOMER: Self::Column = order::table::Column::CustomerId;
    const AT: Self::Column = order::table::Column::OrderedAt;
    fn customer(row: &Self::Model) -> Option<Uuid> {
        row.customer_id
    }
    fn at(row: &Self::Model) -> (Option<DateTime<Utc>>, Uuid) {
        (row.ordered_at, row.id)
    }
}
impl Child for contact::table::Entity {
    const KIND: u8 = 1;
    const ID: Self::Column = contact::table::Column::Id;
    const FIELD: Field = Field::ContactAt;
    const CUSTOMER: Self::Column = contact::table::Column::CustomerId;
    const AT: Self::Column = contact::table::Column::At;
    fn customer(row: &Self::Model) -> Option<Uuid> {
        row.customer_id
    }
    fn at(row: &Self::Model) -> (Option<DateTime<Utc>>, Uuid) {
        (Some(row.at), row.id)
    }
}
impl Child for ticket::table::Entity {
    const KIND: u8 = 2;
    const ID: Self::Column = ticket::table::Column::Id;
    const FIELD: Field = Field::TicketNumber;
    const CUSTOMER: Self::Column = ticket::table::Column::CustomerId;
    const AT: Self::Column = ticket::table::Column::OpenedAt;
    fn customer(row: &Self::Model) -> Option<Uuid> {
        row.customer_id
    }
    fn at(row: &Self::Model) -> (Option<DateTime<Utc>>, Uuid) {
        (row.opened_at, row.id)
    }
}
impl Child for record::table::Entity {
    const KIND: u8 = 3;
    const ID: Self::Column = record::table::Column::Id;
    const FIELD: Field = Field::Sources;
    const CUSTOMER: Self::Column = record::table::Column::CustomerId;
    const AT: Self::Column = record::table::Column::ImportedAt;
    fn customer(row: &Self::Model) -> Option<Uuid> {
        row.customer_id
    }
    fn at(row: &Self::Model) -> (Option<DateTime<Utc>>, Uuid) {
        (Some(row.imported_at), row.id)
    }
}

/// Where a row stands among all that hangs on its customer: newest first, at the same time one kind behind the other, and in each
/// the greater key first. Rows without a time come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    kind: u8,
    at: Option<DateTime<Utc>>,
    id: Uuid,
}

/// A connection of a customer, to which cursors are bound.
#[derive(Clone, Copy)]
pub struct Connection<'c> {
    /// The customer.
    pub customer: &'c Customer,
    /// What it is called.
    pub name: &'static str,
}

impl Connection<'_> {
    fn query(&self, session: &Session) -> Uuid {
        let hash = Sha256::digest(format!("{}\n{}\n{}", session.principal().subject(), self.customer.id(), self.name));
        Uuid::from_slice(&hash[..16]).unwrap_or_default()
    }

    /// The cursor of a place, good for this caller, customer and connection.
    ///
    /// # Errors
    /// The cipher refuses.
    pub fn cursor(&self, session: &Session, place: Place) -> Result<Vec<u8>, Error> {
        let place = serde_json::to_vec(&place).map_err(|_| Error::Invalid("cursor".to_owned()))?;
        Ok(session.keyring().seal_cursor(self.query(session), &place)?)
    }

    /// The place of a cursor.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that was made for something else.
    pub fn place(&self, session: &Session, cursor: &[u8]) -> Result<Place, Error> {
        let stale = || Error::Invalid("after: not a cursor of this connection; start again without it".to_owned());
        let place = session.keyring().open_cursor(self.query(session), cursor).map_err(|_| stale())?;
        serde_json::from_slice(&place).map_err(|_| stale())
    }
}

impl Place {
    /// Which rows of a kind come behind it.
    fn behind(&self, kind: u8) -> Behind {
        let tie = match kind.cmp(&self.kind) {
            Ordering::Less => Tie::Nothing,
            Ordering::Equal => Tie::Below(self.id),
            Ordering::Greater => Tie::All,
        };
        Behind { at: self.at, tie }
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at).then(self.kind.cmp(&other.kind)).then(other.id.cmp(&self.id))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Rows to go on with.
struct Behind {
    at: Option<DateTime<Utc>>,
    tie: Tie,
}

/// What is left of one and the same time.
enum Tie {
    All,
    Nothing,
    Below(Uuid),
}

impl Behind {
    fn condition<E: Child>(&self) -> Condition {
        let earlier = self.at.map(|at| Condition::any().add(E::AT.lt(at)).add(E::AT.is_null()));
        let same = match self.at {
            Some(at) => E::AT.eq(at),
            None => E::AT.is_null(),
        };
        let tie = match self.tie {
            Tie::All => Some(same),
            Tie::Nothing => None,
            Tie::Below(id) => Some(same.and(E::ID.lt(id))),
        };
        // A condition of no alternatives would let everything through: nobody's key is null.
        Condition::any().add(E::ID.is_null()).add_option(earlier).add_option(tie)
    }
}

/// Rows by the customer they belong to.
pub type Children<M> = HashMap<Uuid, Vec<Reaching<M>>>;

/// The newest `limit` rows of each customer, all or those behind one.
///
/// # Errors
/// The database cannot be reached.
pub(crate) async fn newest<E: Child>(session: &Session, customers: &[Customer], limit: u64, after: Option<Place>) -> Result<Children<E::Model>, Error>
where
    E::Model: Sync,
{
    let scope = session.scope();
    let ids = customers.iter().map(Customer::id);
    let theirs = scope.find::<E>().filter(E::CUSTOMER.is_in(ids)).filter(after.map_or_else(Condition::all, |place| place.behind(E::KIND).condition::<E>()));
    if customers.len() == 1 {
        // Whoever asks for one's rows walks an index to its limit.
        let rows = newest_first(theirs).limit(limit).all(scope.tx()).await?;
        return Ok(Reaching::by_customer(customers, rows, E::customer));
    }
    let mut ranked = theirs.select_only().column(E::ID).into_query();
    let place = format!("ROW_NUMBER() OVER (PARTITION BY {} ORDER BY {} DESC NULLS LAST, {} DESC)", E::CUSTOMER.as_str(), E::AT.as_str(), E::ID.as_str());
    ranked.expr_as(Expr::cust(place), Alias::new("place"));
    let few = Query::select()
        .column(Alias::new(E::ID.as_str()))
        .from_subquery(ranked, Alias::new("ranked"))
        .and_where(Expr::col(Alias::new("place")).lte(limit))
        .to_owned();
    let rows = newest_first(scope.find::<E>().filter(E::ID.in_subquery(few))).all(scope.tx()).await?;
    Ok(Reaching::by_customer(customers, rows, E::customer))
}

fn newest_first<E: Child>(select: Select<E>) -> Select<E> {
    select.order_by_with_nulls(E::AT, Order::Desc, NullOrdering::Last).order_by_desc(E::ID)
}

/// Where a row stands.
pub(crate) fn place<E: Child>(row: &E::Model) -> Place {
    let (at, id) = E::at(row);
    Place { kind: E::KIND, at, id }
}

/// A row, with the customer that it belongs to, if the caller may see that one.
pub(crate) async fn get<E: Child>(session: &Session, id: Uuid) -> Result<Option<(Customer, Reaching<E::Model>)>, Error>
where
    E::Model: Sync,
{
    let scope = session.scope();
    let Some(row) = scope.find::<E>().filter(E::ID.eq(id)).one(scope.tx()).await? else { return Ok(None) };
    let Some(of) = E::customer(&row) else { return Ok(None) };
    let customer = customer::get(session, of).await?;
    Ok(customer.map(|customer| {
        let child = Reaching::new(customer.whose(), row);
        (customer, child)
    }))
}

/// How many rows each customer has.
pub(crate) async fn counts<E: Child>(session: &Session, customers: &[Customer]) -> Result<HashMap<Uuid, Open<i64>>, Error> {
    let scope = session.scope();
    let ids = customers.iter().map(Customer::id);
    let select = scope.find::<E>().filter(E::CUSTOMER.is_in(ids)).select_only().column(E::CUSTOMER).column_as(E::ID.count(), "n").group_by(E::CUSTOMER);
    let counted: HashMap<Uuid, i64> = select.into_tuple::<(Uuid, i64)>().all(scope.tx()).await?.into_iter().collect();
    let open = |customer: &Customer| Open { whose: customer.whose(), field: E::FIELD, value: counted.get(&customer.id()).copied().unwrap_or(0) };
    Ok(customers.iter().map(|customer| (customer.id(), open(customer))).collect())
}
