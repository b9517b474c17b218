//! Source records: one standardised row of one source system each, with its personal cells sealed and its lineage.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use policy::Field;
use policy::field::kinds::{Address, Body, Email, FamilyName, Landline, Name, Phone, Raw, Remarks, Summary};
use sea_orm::entity::prelude::*;

use crate::customer::Customer;
use crate::guard::{Guarded, Open, Reaching, Vaulted};
use crate::store::Tenanted;
use crate::vault::Wrapped;
use crate::{Children, Error, Place, Session, child};

pub(crate) mod table {
    use crate::TenantId;
    use crate::vault::{BlindIndex, Sealed};
    use policy::field::kinds::{Address, Email, FamilyName, Landline, Name, Phone, Raw, Remarks, Traits};
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "source_record")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub source_id: Uuid,
        pub external_id: String,
        pub import_id: Uuid,
        pub row_number: i32,
        pub line: i32,
        pub customer_id: Option<Uuid>,
        pub digest: Vec<u8>,
        pub record_key: Option<Vec<u8>>,
        pub key_epoch: i32,
        pub name: Option<Sealed<Name>>,
        pub family_name: Option<Sealed<FamilyName>>,
        pub phone: Option<Sealed<Phone>>,
        pub phone_index: Option<BlindIndex<Phone>>,
        pub landline: Option<Sealed<Landline>>,
        pub email: Option<Sealed<Email>>,
        pub email_index: Option<BlindIndex<Email>>,
        pub company: Option<String>,
        pub company_index: Option<Vec<u8>>,
        pub address: Option<Sealed<Address>>,
        pub remarks: Option<Sealed<Remarks>>,
        pub raw: Option<Sealed<Raw>>,
        pub industry: Option<String>,
        pub channel: Option<i16>,
        pub first_follow_up: Option<ChronoDate>,
        pub status: Option<i16>,
        pub owner_id: Option<Uuid>,
        pub amount_fen: Option<i64>,
        pub occurred_at: Option<ChronoDateTimeUtc>,
        pub source_updated_at: Option<ChronoDateTimeUtc>,
        pub flags: Json,
        pub tags: Json,
        pub mapping_version: i32,
        pub imported_at: ChronoDateTimeUtc,
        pub person_index: Option<Vec<u8>>,
        pub traits: Option<Sealed<Traits>>,
        pub rules: Option<Json>,
        pub held_for: Option<Uuid>,
        pub likeness: Option<Vec<u8>>,
        pub index_epoch: i32,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
pub(crate) use table::{Column, Entity, Model};

impl Tenanted for Entity {
    const TENANT: Column = Column::TenantId;
}

impl Vaulted for Model {
    const TABLE: &'static str = "source_record";
    fn row(&self) -> Uuid {
        self.id
    }
    fn record_key(&self) -> Wrapped<'_> {
        Wrapped(self.record_key.as_deref())
    }
}

/// A source record of a customer.
pub type Record = Reaching<Model>;

/// Where a record came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The record's key.
    pub record: Uuid,
    /// The key of the source system.
    pub source: Uuid,
    /// What the source calls the row.
    pub external_id: String,
    /// When it was imported last.
    pub imported_at: DateTime<Utc>,
    /// The import that brought it.
    pub import: Uuid,
    /// Which version of the mapping read it.
    pub mapping_version: i32,
    /// The cleaning rules that touched its cells: field and rules.
    pub rules: Vec<(String, Vec<String>)>,
    /// The line of the file.
    pub line: i32,
}

impl Record {
    /// Where it stands among what hangs on its customer.
    #[must_use]
    pub fn place(&self) -> Place {
        child::place::<table::Entity>(&self.model)
    }
    /// Where it came from.
    #[must_use]
    pub fn lineage(&self) -> Open<Lineage> {
        let row = &self.model;
        // A row without an id of its source is known by a keyed hash, which stays inside.
        let external_id = if row.external_id.starts_with(crate::import::seal::UNNAMED) { format!("row {}", row.row_number) } else { row.external_id.clone() };
        self.open(
            Field::Sources,
            Lineage {
                record: row.id,
                source: row.source_id,
                external_id,
                imported_at: row.imported_at,
                import: row.import_id,
                mapping_version: row.mapping_version,
                rules: row.rules.clone().and_then(|rules| serde_json::from_value(rules).ok()).unwrap_or_default(),
                line: row.line,
            },
        )
    }
    /// The key.
    #[must_use]
    pub fn key(&self) -> Open<Uuid> {
        self.open(Field::Sources, self.model.id)
    }
    /// The row as it came.
    #[must_use]
    pub fn raw(&self) -> Guarded<Raw> {
        self.guard(|row| &row.raw)
    }
    /// 客户姓名.
    #[must_use]
    pub fn name(&self) -> Guarded<Name> {
        self.guard(|row| &row.name)
    }
    /// 手机号.
    #[must_use]
    pub fn phone(&self) -> Guarded<Phone> {
        self.guard(|row| &row.phone)
    }
    /// 邮箱.
    #[must_use]
    pub fn email(&self) -> Guarded<Email> {
        self.guard(|row| &row.email)
    }
    /// 地址.
    #[must_use]
    pub fn address(&self) -> Guarded<Address> {
        self.guard(|row| &row.address)
    }
}

/// What a row tells of beside the customer.
#[derive(Debug, Default)]
pub enum Detail {
    /// Nothing.
    #[default]
    Nothing,
    /// A first follow-up.
    FollowUp {
        /// When.
        at: DateTime<Utc>,
        /// By whom.
        by: Option<Uuid>,
        /// What was noted.
        summary: Option<Summary>,
    },
    /// An order.
    Order {
        /// What was ordered.
        items: Option<String>,
        /// Where it stands.
        state: Option<String>,
    },
    /// A ticket.
    Ticket {
        /// What it is about.
        topic: Option<String>,
        /// What the customer wrote.
        body: Option<Body>,
        /// Where it stands.
        state: Option<String>,
        /// 1 to 5.
        satisfaction: Option<i16>,
    },
}

/// A cleaned row, not sealed yet.
#[derive(Debug, Default)]
pub struct Draft {
    /// What the source calls it; without one, the row is recognised by its content.
    pub external_id: Option<String>,
    /// The number of the order or ticket that it tells of.
    pub number: Option<String>,
    /// Counted from 1 behind the header.
    pub row_number: i32,
    /// Line of the file.
    pub line: i32,
    /// The full name.
    pub name: Option<Name>,
    /// The family name, where only that is known.
    pub family_name: Option<FamilyName>,
    /// A mobile number that links.
    pub phone: Option<Phone>,
    /// A landline.
    pub landline: Option<Landline>,
    /// An e-mail address.
    pub email: Option<Email>,
    /// A postal address.
    pub address: Option<Address>,
    /// Free text.
    pub remarks: Option<Remarks>,
    /// The row as it came.
    pub raw: Option<Raw>,
    /// Of a row without an id: what its mapped cells say, by their meaning, wherever they stand.
    pub content: Option<Raw>,
    /// Filled cells that could not be read: field and cell.
    pub unread: Vec<(&'static str, String)>,
    /// A company.
    pub company: Option<String>,
    /// An industry code.
    pub industry: Option<String>,
    /// A channel code.
    pub channel: Option<i16>,
    /// The first follow-up.
    pub first_follow_up: Option<NaiveDate>,
    /// A status code.
    pub status: Option<i16>,
    /// Who looks after the customer.
    pub owner: Option<Uuid>,
    /// An amount in fen.
    pub amount_fen: Option<i64>,
    /// When what the row tells of happened.
    pub occurred_at: Option<DateTime<Utc>>,
    /// When the source last changed it.
    pub source_updated_at: Option<DateTime<Utc>>,
    /// What is odd about it.
    pub flags: Vec<&'static str>,
    /// Tags as category and name.
    pub tags: Vec<(&'static str, String)>,
    /// What else it tells of.
    pub detail: Detail,
    /// What is compared beside the standard fields: attribute and value.
    pub traits: Vec<(String, String)>,
    /// The cleaning rules that touched each field.
    pub rules: Vec<(&'static str, Vec<&'static str>)>,
}

/// The newest `limit` source records of each customer, all or those behind one.
///
/// # Errors
/// The database cannot be reached.
pub async fn newest(session: &Session, customers: &[Customer], limit: u64, after: Option<Place>) -> Result<Children<Model>, Error> {
    child::newest::<Entity>(session, customers, limit, after).await
}

/// How many source records each customer has.
///
/// # Errors
/// The database cannot be reached.
pub async fn counts(session: &Session, customers: &[Customer]) -> Result<HashMap<Uuid, Open<i64>>, Error> {
    child::counts::<Entity>(session, customers).await
}
