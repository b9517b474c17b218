//! Orders of customers.

use chrono::{DateTime, Utc};
use policy::Field;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use crate::child::{Child, Slots};
use crate::customer::{Customer, writable};
use crate::guard::{Open, Reaching};
use crate::store::Tenanted;
use crate::{Change, Error, Session};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "customer_order")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub customer_id: Option<Uuid>,
        pub record_id: Option<Uuid>,
        pub number: String,
        pub amount_fen: Option<i64>,
        pub ordered_at: Option<ChronoDateTimeUtc>,
        pub status: Option<String>,
        pub items: Option<String>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}

/// An order as it is read.
pub struct Row {
    id: Uuid,
    number: String,
    amount_fen: Option<i64>,
    ordered_at: Option<DateTime<Utc>>,
    status: Option<String>,
    items: Option<String>,
}

impl Child for Row {
    const KIND: u8 = 0;
    const FIELD: Field = Field::OrderNumber;
    const FROM: &'static str = "customer_order AS h";
    const ID: &'static str = "h.id";
    const ORDER: &'static str = "h.ordered_at DESC NULLS LAST, h.id DESC";
    const READ: [&'static str; 10] = ["h.ordered_at", "h.number", "h.status", "h.items", "", "", "", "h.amount_fen", "", ""];
    /// On SQLite no index has all orders by customer. They are found through their records, which are their customer's; those that a person
    /// wrote down have none.
    fn of(postgres: bool, whose: &str) -> String {
        let theirs = format!("h.tenant_id = $1 AND {whose}");
        if postgres {
            return format!("FROM {} WHERE {theirs}", Self::FROM);
        }
        let through = "FROM source_record AS h CROSS JOIN customer_order AS o ON o.tenant_id = h.tenant_id AND o.record_id = h.id";
        format!("FROM (SELECT o.* {through} WHERE {theirs} UNION ALL SELECT h.* FROM {} WHERE {theirs} AND h.record_id IS NULL) AS h WHERE TRUE", Self::FROM)
    }
    fn read(row: &Slots) -> Result<Self, DbErr> {
        Ok(Self { id: row.id()?, number: row.get(1)?, amount_fen: row.get(7)?, ordered_at: row.get(0)?, status: row.get(2)?, items: row.get(3)? })
    }
    fn at(&self) -> (Option<DateTime<Utc>>, Uuid) {
        (self.ordered_at, self.id)
    }
}

/// An order of a customer.
pub type Order = Reaching<Row>;

impl Order {
    /// The key.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.model.id
    }
    /// The number that the source gave it.
    #[must_use]
    pub fn number(&self) -> Open<String> {
        self.open(Field::OrderNumber, self.model.number.clone())
    }
    /// The amount in fen.
    #[must_use]
    pub fn amount_fen(&self) -> Open<Option<i64>> {
        self.open(Field::OrderAmount, self.model.amount_fen)
    }
    /// When it was placed.
    #[must_use]
    pub fn ordered_at(&self) -> Open<Option<DateTime<Utc>>> {
        self.open(Field::OrderedAt, self.model.ordered_at)
    }
    /// The source's word for where it stands.
    #[must_use]
    pub fn status(&self) -> Open<Option<String>> {
        self.open(Field::OrderStatus, self.model.status.clone())
    }
    /// What was ordered.
    #[must_use]
    pub fn items(&self) -> Open<Option<String>> {
        self.open(Field::OrderItems, self.model.items.clone())
    }
}

/// Whose the order with this number is.
pub(crate) async fn customer_of(session: &Session, number: &str) -> Result<Option<Uuid>, Error> {
    let scope = session.scope();
    let row = scope.find::<table::Entity>().filter(table::Column::Number.eq(number)).one(scope.tx()).await?;
    Ok(row.and_then(|row| row.customer_id))
}

/// An order that a person writes down.
pub struct NewOrder<'n> {
    /// Its number.
    pub number: &'n str,
    /// In fen.
    pub amount_fen: Option<i64>,
    /// When; now, if it is not said.
    pub ordered_at: Option<DateTime<Utc>>,
    /// Where it stands.
    pub status: Option<&'n str>,
    /// What was ordered.
    pub items: Option<&'n str>,
}

/// Writes down an order of a customer.
///
/// # Errors
/// [`Error::Denied`] to whom may not write orders of this customer; [`Error::NotFound`]; [`Error::Faults`].
pub async fn place(change: &Change, id: Uuid, new: &NewOrder<'_>) -> Result<Customer, Error> {
    let fields = [Field::OrderNumber, Field::OrderAmount, Field::OrderedAt, Field::OrderStatus, Field::OrderItems];
    let customer = writable(change, id, fields).await?;
    let mut faults = Vec::new();
    for (name, value, most) in [("number", Some(new.number), 100), ("status", new.status, 40), ("items", new.items, 2_000)] {
        if value.is_some_and(|value| value.is_empty() || value.chars().count() > most) {
            faults.push(format!("{name}: 1 to {most} characters"));
        }
    }
    if new.amount_fen.is_some_and(|amount| !(0..=100_000_000_000_000).contains(&amount)) {
        faults.push("amount: 0 to 1,000,000,000,000".to_owned());
    }
    if !faults.is_empty() {
        return Err(Error::Faults(faults));
    }
    let row = table::ActiveModel {
        id: Set(Uuid::now_v7()),
        customer_id: Set(Some(customer.id())),
        record_id: Set(None),
        number: Set(new.number.to_owned()),
        amount_fen: Set(new.amount_fen),
        ordered_at: Set(Some(new.ordered_at.unwrap_or(change.now()))),
        status: Set(new.status.map(str::to_owned)),
        items: Set(new.items.map(str::to_owned)),
        ..Default::default()
    };
    change.scope().insert(vec![row]).await?;
    Ok(customer)
}
