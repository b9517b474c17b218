//! Contact records: who spoke with a customer, when and how.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use policy::Field;
use policy::field::kinds::Summary;
use sea_orm::entity::prelude::*;

use crate::customer::Customer;
use crate::guard::{Guarded, Open, Reaching, Vaulted};
use crate::store::Tenanted;
use crate::vault::Wrapped;
use crate::{Children, Error, Session, child};

pub(crate) mod table {
    use crate::TenantId;
    use crate::vault::Sealed;
    use policy::field::kinds::Summary;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "contact_record")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub customer_id: Option<Uuid>,
        pub record_id: Option<Uuid>,
        pub at: ChronoDateTimeUtc,
        pub channel: String,
        pub record_key: Option<Vec<u8>>,
        pub key_epoch: i32,
        pub summary: Option<Sealed<Summary>>,
        pub by_user: Option<Uuid>,
        pub result: Option<String>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use table::Model;

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}

impl Vaulted for Model {
    const TABLE: &'static str = "contact_record";
    fn row(&self) -> Uuid {
        self.id
    }
    fn record_key(&self) -> Wrapped<'_> {
        Wrapped(self.record_key.as_deref())
    }
}

/// A contact record of a customer.
pub type Contact = Reaching<Model>;

impl Contact {
    /// When.
    #[must_use]
    pub fn at(&self) -> Open<DateTime<Utc>> {
        self.open(Field::ContactAt, self.model.at)
    }
    /// How.
    #[must_use]
    pub fn channel(&self) -> Open<String> {
        self.open(Field::ContactChannel, self.model.channel.clone())
    }
    /// What was said.
    #[must_use]
    pub fn summary(&self) -> Guarded<Summary> {
        self.guard(|row| &row.summary)
    }
    /// By whom, as the key of a user.
    #[must_use]
    pub fn by(&self) -> Open<Option<Uuid>> {
        self.open(Field::ContactBy, self.model.by_user)
    }
    /// With what result.
    #[must_use]
    pub fn result(&self) -> Open<Option<String>> {
        self.open(Field::ContactResult, self.model.result.clone())
    }
}

/// The newest `limit` contacts of each customer.
///
/// # Errors
/// The database cannot be reached.
pub async fn newest(session: &Session, customers: &[Customer], limit: u64) -> Result<Children<Model>, Error> {
    child::newest::<table::Entity>(session, customers, limit).await
}

/// How many contacts each customer has.
///
/// # Errors
/// The database cannot be reached.
pub async fn counts(session: &Session, customers: &[Customer]) -> Result<HashMap<Uuid, Open<i64>>, Error> {
    child::counts::<table::Entity>(session, customers).await
}
