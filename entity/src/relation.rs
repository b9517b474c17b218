//! Relations between customers: household, colleagues, referrer.

use std::collections::HashMap;

use policy::Field;
use sea_orm::entity::prelude::*;

use crate::customer::Customer;
use crate::guard::{Open, Reaching};
use crate::store::Tenanted;
use crate::{Error, Session};

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
