//! Relations between customers: household, colleagues, referrer.

use std::collections::HashMap;

use policy::Field;
use sea_orm::ActiveValue::Set;
use sea_orm::Condition;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, IntoCondition};

use crate::customer::{Customer, writable};
use crate::guard::{Open, Reaching};
use crate::store::Tenanted;
use crate::{Change, Error, Session};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "relation")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub customer_id: Uuid,
        pub other_id: Uuid,
        pub kind: String,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}

/// A relation of a customer to another.
pub type Relation = Reaching<table::Model>;

impl Relation {
    /// What kind, and the other customer's key.
    #[must_use]
    pub fn link(&self) -> Open<(String, Uuid)> {
        self.open(Field::Relations, (self.model.kind.clone(), self.model.other_id))
    }
}

/// The relations of some customers, by customer.
///
/// # Errors
/// The database cannot be reached.
pub async fn of(session: &Session, customers: &[Customer]) -> Result<HashMap<Uuid, Vec<Relation>>, Error> {
    let scope = session.scope();
    let rows = scope.find::<table::Entity>().filter(table::Column::CustomerId.is_in(customers.iter().map(Customer::id))).all(scope.tx()).await?;
    Ok(Reaching::by_customer(customers, rows, |row| Some(row.customer_id)))
}

/// What one customer can be to another.
pub const KINDS: [&str; 3] = ["household", "colleague", "referrer"];

/// Relates a customer to another; the same again changes nothing.
///
/// # Errors
/// [`Error::Denied`] to whom may not write relations of both; [`Error::NotFound`]; [`Error::Invalid`].
pub async fn add(change: &Change, id: Uuid, other: Uuid, kind: &str) -> Result<Customer, Error> {
    let (customer, other) = both(change, id, other, kind).await?;
    let scope = change.scope();
    if scope.find::<table::Entity>().filter(this(&customer, &other, kind)).one(scope.tx()).await?.is_none() {
        let row = table::ActiveModel {
            id: Set(Uuid::now_v7()),
            customer_id: Set(customer.id()),
            other_id: Set(other.id()),
            kind: Set(kind.to_owned()),
            ..Default::default()
        };
        scope.insert(vec![row]).await?;
    }
    Ok(customer)
}

/// Takes a relation away.
///
/// # Errors
/// As [`add`]; [`Error::NotFound`] when there is none.
pub async fn remove(change: &Change, id: Uuid, other: Uuid, kind: &str) -> Result<Customer, Error> {
    let (customer, other) = both(change, id, other, kind).await?;
    if change.scope().delete_where::<table::Entity>(this(&customer, &other, kind)).await? == 0 { Err(Error::NotFound) } else { Ok(customer) }
}

async fn both(change: &Change, id: Uuid, other: Uuid, kind: &str) -> Result<(Customer, Customer), Error> {
    if !KINDS.contains(&kind) {
        return Err(Error::Invalid(format!("kind: one of {}", KINDS.join(", "))));
    }
    let customer = writable(change, id, [Field::Relations]).await?;
    let other = writable(change, other, [Field::Relations]).await?;
    if customer.id() == other.id() {
        return Err(Error::Invalid("other: it is the same customer".to_owned()));
    }
    Ok((customer, other))
}

fn this(customer: &Customer, other: &Customer, kind: &str) -> Condition {
    let ends = table::Column::CustomerId.eq(customer.id()).and(table::Column::OtherId.eq(other.id()));
    ends.and(table::Column::Kind.eq(kind)).into_condition()
}
