//! Consents of customers by purpose: each giving and withdrawing is a row; the newest of a purpose counts.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use policy::Field;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

use crate::customer::{self, Customer};
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
        pub actor: String,
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

/// The consents of some customers, by customer, newest first. Of a customer in whom others went up, what holds for each
/// purpose: the strictest of what each of them said last.
///
/// # Errors
/// The database cannot be reached.
pub async fn of(session: &Session, customers: &[Customer]) -> Result<HashMap<Uuid, Vec<Consent>>, Error> {
    let scope = session.scope();
    let heirs = customer::heirs(scope, &customers.iter().map(Customer::id).collect::<Vec<_>>()).await?;
    let select = scope.find::<table::Entity>().filter(table::Column::CustomerId.is_in(heirs.keys().copied()));
    let mut rows = select.order_by_desc(table::Column::At).all(scope.tx()).await?;
    let merged: HashSet<Uuid> = heirs.iter().filter(|(id, heir)| id != heir).map(|(_, heir)| *heir).collect();
    let heir = |row: &table::Model| heirs.get(&row.customer_id).copied();
    let mut last: HashSet<(Uuid, String)> = HashSet::new();
    rows.retain(|row| heir(row).is_some_and(|heir| !merged.contains(&heir)) || last.insert((row.customer_id, row.purpose.clone())));
    let refused: HashSet<(Option<Uuid>, String)> = rows.iter().filter(|row| !row.given).map(|row| (heir(row), row.purpose.clone())).collect();
    rows.retain(|row| !row.given || !heir(row).is_some_and(|heir| merged.contains(&heir)) || !refused.contains(&(heir(row), row.purpose.clone())));
    Ok(Reaching::by_customer(customers, rows, heir))
}
