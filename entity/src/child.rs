//! What hangs on customers: the newest few of each of a whole page's customers in one statement.

use std::collections::HashMap;

use policy::Field;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Alias, ExprTrait, Query};
use sea_orm::{QueryOrder, QuerySelect, QueryTrait};

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
    /// Reads the customer's key.
    fn customer(row: &Self::Model) -> Option<Uuid>;
}

impl Child for order::table::Entity {
    const ID: Self::Column = order::table::Column::Id;
    const FIELD: Field = Field::OrderNumber;
    const CUSTOMER: Self::Column = order::table::Column::CustomerId;
    const AT: Self::Column = order::table::Column::OrderedAt;
    fn customer(row: &Self::Model) -> Option<Uuid> {
        row.customer_id
    }
}
impl Child for contact::table::Entity {
    const ID: Self::Column = contact::table::Column::Id;
    const FIELD: Field = Field::ContactAt;
    const CUSTOMER: Self::Column = contact::table::Column::CustomerId;
    const AT: Self::Column = contact::table::Column::At;
    fn customer(row: &Self::Model) -> Option<Uuid> {
        row.customer_id
    }
}
impl Child for ticket::table::Entity {
    const ID: Self::Column = ticket::table::Column::Id;
    const FIELD: Field = Field::TicketNumber;
    const CUSTOMER: Self::Column = ticket::table::Column::CustomerId;
    const AT: Self::Column = ticket::table::Column::OpenedAt;
    fn customer(row: &Self::Model) -> Option<Uuid> {
        row.customer_id
    }
}
impl Child for record::table::Entity {
    const ID: Self::Column = record::table::Column::Id;
    const FIELD: Field = Field::Sources;
    const CUSTOMER: Self::Column = record::table::Column::CustomerId;
    const AT: Self::Column = record::table::Column::ImportedAt;
    fn customer(row: &Self::Model) -> Option<Uuid> {
        row.customer_id
    }
}

/// Rows by the customer they belong to.
pub type Children<M> = HashMap<Uuid, Vec<Reaching<M>>>;

/// The newest `limit` rows of each customer.
///
/// # Errors
/// The database cannot be reached.
pub(crate) async fn newest<E: Child>(session: &Session, customers: &[Customer], limit: u64) -> Result<Children<E::Model>, Error>
where
    E::Model: Sync,
{
    let scope = session.scope();
    let ids = customers.iter().map(Customer::id);
    let mut ranked = scope.find::<E>().filter(E::CUSTOMER.is_in(ids)).select_only().column(E::ID).into_query();
    let place = format!("ROW_NUMBER() OVER (PARTITION BY {} ORDER BY {} DESC NULLS LAST, {} DESC)", E::CUSTOMER.as_str(), E::AT.as_str(), E::ID.as_str());
    ranked.expr_as(Expr::cust(place), Alias::new("place"));
    let few = Query::select()
        .column(Alias::new(E::ID.as_str()))
        .from_subquery(ranked, Alias::new("ranked"))
        .and_where(Expr::col(Alias::new("place")).lte(limit))
        .to_owned();
    let rows = scope.find::<E>().filter(E::ID.in_subquery(few)).order_by_desc(E::AT).order_by_desc(E::ID).all(scope.tx()).await?;
    Ok(Reaching::by_customer(customers, rows, E::customer))
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
