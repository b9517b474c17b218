//! Consents of customers by purpose: each giving and withdrawing is a row; the newest of a purpose counts.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use policy::Field;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

use crate::customer::Customer;
use crate::guard::{Open, Reaching};
use crate::store::Tenanted;
use crate::{Error, Session};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "consent")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub customer_id: Uuid,
        pub purpose: String,
        pub version: String,
        pub given: bool,
        pub at: ChronoDateTimeUtc,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}

/// A consent given or withdrawn by a customer.
pub type Consent = Reaching<table::Model>;

impl Consent {
    /// Purpose, whether given, and when.
    #[must_use]
    pub fn state(&self) -> Open<(String, bool, DateTime<Utc>)> {
        self.open(Field::Consents, (self.model.purpose.clone(), self.model.given, self.model.at))
    }
}

/// The consents of some customers, by customer, newest first.
///
/// # Errors
/// The database cannot be reached.
pub async fn of(session: &Session, customers: &[Customer]) -> Result<HashMap<Uuid, Vec<Consent>>, Error> {
    let scope = session.scope();
    let select = scope.find::<table::Entity>().filter(table::Column::CustomerId.is_in(customers.iter().map(Customer::id)));
    let rows = select.order_by_desc(table::Column::At).all(scope.tx()).await?;
    Ok(Reaching::by_customer(customers, rows, |row| Some(row.customer_id)))
}
