//! Source records: one standardised row of one source system each, with its personal cells sealed and its lineage.

use chrono::{DateTime, NaiveDate, Utc};
use policy::Field;
use policy::field::kinds::{Address, Body, Email, FamilyName, Landline, Name, Phone, Raw, Remarks, Summary};
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

use crate::child::{Child, Slots};
use crate::customer::Customer;
use crate::guard::{Guarded, Open, Reaching, Vaulted};
use crate::store::Tenanted;
use crate::vault::Wrapped;
use crate::{Error, Session};

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
        pub customer_type: Option<i16>,
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
        /// Set where another record of the customer says the same and stands for it: it is not looked for by what it says.
        pub repeats: Option<bool>,
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
    /// The source system.
    pub system: String,
    /// What the source calls the row.
    pub external_id: String,
    /// When it was imported last.
    pub imported_at: DateTime<Utc>,
    /// The import that brought it.
    pub import: Uuid,
    /// Which version of the mapping read it.
    pub mapping_version: i32,
    /// The line of the file.
    pub line: i32,
    rules: Option<String>,
}

impl Lineage {
    /// The cleaning rules that touched its cells: field and rules.
    #[must_use]
    pub fn rules(&self) -> Vec<(String, Vec<String>)> {
        self.rules.as_ref().and_then(|rules| serde_json::from_str(rules).ok()).unwrap_or_default()
    }
}

/// What the source calls a row. Keyed hashes stay inside: of one without an id, and of whom a row is that is only counted.
fn named(external_id: String, row_number: i32) -> String {
    match external_id.split_once(crate::import::seal::UNNAMED) {
        Some(("", _)) => format!("row {row_number}"),
        Some((count, _)) if count.bytes().all(|b| b.is_ascii_digit()) => count.to_owned(),
        _ => external_id,
    }
}

impl Child for Lineage {
    const KIND: u8 = 3;
    const FIELD: Field = Field::Sources;
    const FROM: &'static str = "source_record AS h JOIN source_system AS s ON s.tenant_id = h.tenant_id AND s.id = h.source_id";
    const ID: &'static str = "h.id";
    const ORDER: &'static str = "h.imported_at DESC, h.id DESC";
    const READ: [&'static str; 10] = [
        "h.imported_at",
        "h.external_id",
        "s.name",
        "CAST(h.rules AS text)",
        "",
        "",
        "h.import_id",
        "CAST(h.line AS bigint)",
        "CAST(h.row_number AS bigint)",
        "CAST(h.mapping_version AS bigint)",
    ];
    fn read(row: &Slots) -> Result<Self, DbErr> {
        let number = |slot| row.get::<i64>(slot).map(|number| i32::try_from(number).unwrap_or(i32::MAX));
        Ok(Self {
            record: row.id()?,
            system: row.get(2)?,
            external_id: named(row.get(1)?, number(8)?),
            imported_at: row.get(0)?,
            import: row.get(6)?,
            mapping_version: number(9)?,
            line: number(7)?,
            rules: row.get(3)?,
        })
    }
    fn at(&self) -> (Option<DateTime<Utc>>, Uuid) {
        (Some(self.imported_at), self.record)
    }
}

impl Reaching<Lineage> {
    /// Where a record came from.
    #[must_use]
    pub fn told(&self) -> Open<Lineage> {
        self.open(Field::Sources, self.model.as_ref().clone())
    }
}

impl Record {
    /// What the source calls it, the line of the file, and when it was imported last.
    #[must_use]
    pub fn origin(&self) -> Open<(String, i32, DateTime<Utc>)> {
        let row = &self.model;
        self.open(Field::Sources, (named(row.external_id.clone(), row.row_number), row.line, row.imported_at))
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
    /// Whether that is somebody's number or address.
    pub personal_id: bool,
    /// Whether that only counts the rows of a file: in the next it is somebody else's.
    pub counted_id: bool,
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
    /// Person or company, where the source says it.
    pub customer_type: Option<i16>,
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

/// All source records of a customer, with all their cells, newest first.
///
/// # Errors
/// The database cannot be reached.
pub async fn of(session: &Session, customer: &Customer) -> Result<Vec<Record>, Error> {
    let rows = session.scope().find::<Entity>().filter(Column::CustomerId.eq(customer.id()));
    let rows = rows.order_by_desc(Column::ImportedAt).order_by_desc(Column::Id).all(session.scope().tx()).await?;
    Ok(rows.into_iter().map(|row| Reaching::new(customer.whose(), row)).collect())
}
