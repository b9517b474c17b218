//! Support tickets of customers.

use chrono::{DateTime, Utc};
use policy::field::kinds::Body;
use policy::{Field, Pii};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use crate::child::{Child, Slots};
use crate::customer::{Customer, writable};
use crate::guard::{Guarded, Open, Reaching, Vaulted};
use crate::store::Tenanted;
use crate::vault::{Sealed, Wrapped};
use crate::{Change, Error};

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

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}

/// A ticket as it is read.
pub struct Row {
    id: Uuid,
    number: String,
    kind: Option<String>,
    opened_at: Option<DateTime<Utc>>,
    status: Option<String>,
    body: Option<Sealed<Body>>,
    record_key: Option<Vec<u8>>,
    satisfaction: Option<i16>,
}

impl Child for Row {
    const KIND: u8 = 2;
    const FIELD: Field = Field::TicketNumber;
    const FROM: &'static str = "ticket AS h";
    const ID: &'static str = "h.id";
    const ORDER: &'static str = "h.opened_at DESC NULLS LAST, h.id DESC";
    const READ: [&'static str; 10] = ["h.opened_at", "h.number", "h.kind", "h.status", "h.body", "h.record_key", "", "CAST(h.satisfaction AS bigint)", "", ""];
    fn read(row: &Slots) -> Result<Self, DbErr> {
        Ok(Self {
            id: row.id()?,
            number: row.get(1)?,
            kind: row.get(2)?,
            opened_at: row.get(0)?,
            status: row.get(3)?,
            body: row.get(4)?,
            record_key: row.get(5)?,
            satisfaction: row.get::<Option<i64>>(7)?.and_then(|points| i16::try_from(points).ok()),
        })
    }
    fn at(&self) -> (Option<DateTime<Utc>>, Uuid) {
        (self.opened_at, self.id)
    }
}

impl Vaulted for Row {
    const TABLE: &'static str = "ticket";
    fn row(&self) -> Uuid {
        self.id
    }
    fn record_key(&self) -> Wrapped<'_> {
        Wrapped(self.record_key.as_deref())
    }
}

/// A ticket of a customer.
pub type Ticket = Reaching<Row>;

impl Ticket {
    /// The key.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.model.id
    }
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

/// A ticket that a person opens.
pub struct NewTicket<'n> {
    /// Its number; made up, if it is not said.
    pub number: Option<&'n str>,
    /// What it is about.
    pub kind: Option<&'n str>,
    /// What the customer wrote.
    pub body: Option<&'n str>,
}

/// Opens a ticket of a customer.
///
/// # Errors
/// [`Error::Denied`] to whom may not write tickets of this customer; [`Error::NotFound`]; [`Error::Faults`].
pub async fn open(change: &Change, id: Uuid, new: &NewTicket<'_>) -> Result<Customer, Error> {
    let fields = [Field::TicketNumber, Field::TicketStatus].into_iter();
    let fields = fields.chain(new.kind.map(|_| Field::TicketType)).chain(new.body.map(|_| Field::Body));
    let customer = writable(change, id, fields).await?;
    let mut faults = Vec::new();
    for (name, value) in [("number", new.number), ("type", new.kind)] {
        if value.is_some_and(|value| value.is_empty() || value.chars().count() > 100) {
            faults.push(format!("{name}: 1 to 100 characters"));
        }
    }
    let body = new.body.map(Body::parse).transpose();
    if let Err(why) = &body {
        faults.push(format!("body: {why}"));
    }
    if !faults.is_empty() {
        return Err(Error::Faults(faults));
    }
    let row = Uuid::now_v7();
    let (key, wrapped, epoch) = change.keyring().new_record(Row::TABLE, row)?;
    let row = table::ActiveModel {
        id: Set(row),
        customer_id: Set(Some(customer.id())),
        record_id: Set(None),
        number: Set(new.number.map_or_else(|| format!("T-{}", row.simple()), str::to_owned)),
        kind: Set(new.kind.map(str::to_owned)),
        opened_at: Set(Some(change.now())),
        record_key: Set(Some(wrapped)),
        key_epoch: Set(epoch.cast_signed()),
        body: Set(body.ok().flatten().map(|body| key.seal(&body)).transpose()?),
        status: Set(Some("open".to_owned())),
        satisfaction: Set(None),
        ..Default::default()
    };
    change.scope().insert(vec![row]).await?;
    Ok(customer)
}

/// Says where a ticket stands.
///
/// # Errors
/// [`Error::Denied`] to whom may not write the status of this customer's tickets; [`Error::NotFound`]; [`Error::Invalid`].
pub async fn set_status(change: &Change, id: Uuid, status: &str) -> Result<Customer, Error> {
    if status.is_empty() || status.chars().count() > 40 {
        return Err(Error::Invalid("status: 1 to 40 characters".to_owned()));
    }
    let scope = change.scope();
    let ticket = scope.find::<table::Entity>().filter(table::Column::Id.eq(id)).one(scope.tx()).await?;
    let customer = ticket.and_then(|ticket| ticket.customer_id).ok_or(Error::NotFound)?;
    let customer = writable(change, customer, [Field::TicketStatus]).await?;
    scope.update_where::<table::Entity>(table::Column::Id.eq(id), vec![(table::Column::Status, Expr::value(status))]).await?;
    Ok(customer)
}
