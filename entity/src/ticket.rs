//! Support tickets of customers.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use policy::Field;
use policy::field::kinds::Body;
use sea_orm::entity::prelude::*;

use crate::customer::Customer;
use crate::guard::{Guarded, Open, Reaching, Vaulted};
use crate::store::Tenanted;
use crate::vault::Wrapped;
use crate::{Children, Error, Session, child};

pub(crate) mod table {
    use crate::TenantId;
    use crate::vault::Sealed;
    use policy::field::kinds::Body;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "ticket")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub customer_id: Option<Uuid>,
        pub record_id: Option<Uuid>,
        pub number: String,
        pub kind: Option<String>,
        pub opened_at: Option<ChronoDateTimeUtc>,
        pub record_key: Option<Vec<u8>>,
        pub key_epoch: i32,
        pub body: Option<Sealed<Body>>,
        pub status: Option<String>,
        pub satisfaction: Option<i16>,
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
    const TABLE: &'static str = "ticket";
    fn row(&self) -> Uuid {
        self.id
    }
    fn record_key(&self) -> Wrapped<'_> {
        Wrapped(self.record_key.as_deref())
    }
}

/// A ticket of a customer.
pub type Ticket = Reaching<Model>;

impl Ticket {
    /// The number that the source gave it.
    #[must_use]
    pub fn number(&self) -> Open<String> {
        self.open(Field::TicketNumber, self.model.number.clone())
    }
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> Open<Option<String>> {
        self.open(Field::TicketType, self.model.kind.clone())
    }
    /// When it was opened.
    #[must_use]
    pub fn opened_at(&self) -> Open<Option<DateTime<Utc>>> {
        self.open(Field::TicketOpenedAt, self.model.opened_at)
    }
    /// What the customer wrote.
    #[must_use]
    pub fn body(&self) -> Guarded<Body> {
        self.guard(|row| &row.body)
    }
    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Open<Option<String>> {
        self.open(Field::TicketStatus, self.model.status.clone())
    }
    /// 1 to 5.
    #[must_use]
    pub fn satisfaction(&self) -> Open<Option<i16>> {
        self.open(Field::TicketSatisfaction, self.model.satisfaction)
    }
}

/// The newest `limit` tickets of each customer.
///
/// # Errors
/// The database cannot be reached.
pub async fn newest(session: &Session, customers: &[Customer], limit: u64) -> Result<Children<Model>, Error> {
    child::newest::<table::Entity>(session, customers, limit).await
}

/// How many tickets each customer has.
///
/// # Errors
/// The database cannot be reached.
pub async fn counts(session: &Session, customers: &[Customer]) -> Result<HashMap<Uuid, Open<i64>>, Error> {
    child::counts::<table::Entity>(session, customers).await
}
