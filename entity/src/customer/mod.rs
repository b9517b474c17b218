//! Customers: the golden records, and the questions that find them.

mod aggregate;
mod questions;
mod writing;

pub use aggregate::{Counts, FLOOR, Group, Month, counts, orders_by_month};
pub use questions::{By, Cursors, Cut, Filter, Order, Page, count, find, get, of_keys, page, page_most, some};
pub(crate) use questions::{any_of, heirs, numbers, with_merged};
pub use writing::{Written, create, hand_over, update};
pub(crate) use writing::{derive, writable};

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use policy::field::kinds::{Address, Email, Landline, Name, Phone, Remarks};
use policy::{Channel, CustomerType, Field, Pii, Sight, Status, ValueTier, View};
use sea_orm::entity::prelude::{DbErr, Json, Uuid};
use sea_orm::{ColumnTrait, QueryFilter, QueryResult, QuerySelect};

use crate::guard::{Closed, Guarded, Open, Reaching, Vaulted, Whose};
use crate::people::words;
use crate::store::Tenanted;
use crate::vault::{Sealed, Wrapped};
use crate::{Error, Session};

pub(crate) mod table {
    use crate::TenantId;
    use crate::vault::{BlindIndex, Sealed};
    use policy::field::kinds::{Address, Email, Landline, Name, Phone, Remarks};
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "customer")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub number: String,
        pub record_key: Option<Vec<u8>>,
        pub key_epoch: i32,
        pub name: Option<Sealed<Name>>,
        pub name_index: Option<BlindIndex<Name>>,
        pub phone: Option<Sealed<Phone>>,
        pub phone_index: Option<BlindIndex<Phone>>,
        pub phone_tail_index: Option<Vec<u8>>,
        pub landline: Option<Sealed<Landline>>,
        pub email: Option<Sealed<Email>>,
        pub email_index: Option<BlindIndex<Email>>,
        pub address: Option<Sealed<Address>>,
        pub remarks: Option<Sealed<Remarks>>,
        pub customer_type: i16,
        pub company: Option<String>,
        pub industry: Option<String>,
        pub channel: Option<i16>,
        pub first_follow_up: Option<ChronoDate>,
        pub status: Option<i16>,
        pub value_tier: Option<i16>,
        pub owner_id: Option<Uuid>,
        pub department_id: Option<Uuid>,
        pub provenance: Json,
        pub completeness: i16,
        pub score: i16,
        pub issues: Json,
        pub merged_into: Option<Uuid>,
        pub version: i32,
        pub derived_at: ChronoDateTimeUtc,
        pub created_at: ChronoDateTimeUtc,
        pub updated_at: ChronoDateTimeUtc,
        pub digest: Option<Vec<u8>>,
        pub index_epoch: i32,
        pub restricted_at: Option<ChronoDateTimeUtc>,
        pub closed_purposes: Option<Json>,
        pub erased_at: Option<ChronoDateTimeUtc>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use table::{Column, Entity};

impl Tenanted for Entity {
    const TENANT: Column = Column::TenantId;
}

/// Declares what is read of a row, by place, for names of columns are looked up in every row: what always is, and what is when it is asked
/// for. What was not read is empty.
macro_rules! read {
    ($(#[$doc:meta])* $row:ident of $($name:ident $column:ident $of:ty,)*; $($asked:ident $asked_column:ident $asked_of:ty,)*) => {
        $(#[$doc])*
        pub(crate) struct $row {
            read: Columns,
            $(pub $name: $of,)*
            $(pub $asked: $asked_of,)*
        }
        /// What is read when it is asked for.
        #[derive(Clone, Copy, Debug)]
        enum Asked {
            $($asked_column,)*
        }
        impl $row {
            /// In which order they are read.
            fn columns(asked: Columns) -> Vec<Column> {
                let mut columns = vec![$(Column::$column),*];
                $(if asked.has(Asked::$asked_column) { columns.push(Column::$asked_column); })*
                columns
            }
            fn read(row: &QueryResult, asked: Columns) -> Result<Self, DbErr> {
                let mut at = 0..;
                let mut next = || at.next().unwrap_or(usize::MAX);
                Ok(Self {
                    read: asked,
                    $($name: row.try_get_by_index(next())?,)*
                    $($asked: if asked.has(Asked::$asked_column) { row.try_get_by_index(next())? } else { Default::default() },)*
                })
            }
        }
    };
}

read! {
    /// A customer as it is read: without what only writers need.
    Row of
    id Id Uuid,
    owner_id OwnerId Option<Uuid>,
    department_id DepartmentId Option<Uuid>,
    restricted_at RestrictedAt Option<DateTime<Utc>>,
    closed_purposes ClosedPurposes Option<Json>,
    ;
    record_key RecordKey Option<Vec<u8>>,
    number Number String,
    name Name Option<Sealed<Name>>,
    phone Phone Option<Sealed<Phone>>,
    landline Landline Option<Sealed<Landline>>,
    email Email Option<Sealed<Email>>,
    address Address Option<Sealed<Address>>,
    remarks Remarks Option<Sealed<Remarks>>,
    customer_type CustomerType i16,
    company Company Option<String>,
    industry Industry Option<String>,
    channel Channel Option<i16>,
    first_follow_up FirstFollowUp Option<NaiveDate>,
    status Status Option<i16>,
    value_tier ValueTier Option<i16>,
    version Version i32,
    updated_at UpdatedAt DateTime<Utc>,
}

/// Which columns of customers are read, beside those by which it is decided who sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns(u32);

impl Columns {
    /// All of them.
    pub const ALL: Self = Self(u32::MAX);

    const fn one(column: Asked) -> Self {
        Self(1 << column as u32)
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn has(self, column: Asked) -> bool {
        self.0 & Self::one(column).0 != 0
    }

    /// What a customer's fields of these names tell of: all columns, when one of them is not known.
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let one = |column| Self::one(column);
        let sealed = |column| one(column).and(one(Asked::RecordKey));
        let each = names.into_iter().map(|name| match name {
            "id" | "owner" | "tags" | "orders" | "contacts" | "tickets" | "timeline" | "sources" | "provenance" | "quality" | "relations" | "consents"
            | "seenBy" | "__typename" => Self(0),
            "number" => one(Asked::Number),
            "version" => one(Asked::Version),
            "name" => sealed(Asked::Name),
            "phone" => sealed(Asked::Phone),
            "landline" => sealed(Asked::Landline),
            "email" => sealed(Asked::Email),
            "address" => sealed(Asked::Address),
            "remarks" => sealed(Asked::Remarks),
            "type" => one(Asked::CustomerType),
            "company" => one(Asked::Company),
            "industry" => one(Asked::Industry),
            "channel" => one(Asked::Channel),
            "firstFollowUp" => one(Asked::FirstFollowUp),
            "status" => one(Asked::Status),
            "valueTier" => one(Asked::ValueTier),
            "updatedAt" => one(Asked::UpdatedAt),
            _ => Self::ALL,
        });
        each.fold(Self(0), Self::and)
    }
}

impl Vaulted for Row {
    const TABLE: &'static str = "customer";
    fn row(&self) -> Uuid {
        self.id
    }
    fn record_key(&self) -> Wrapped<'_> {
        Wrapped(self.record_key.as_deref())
    }
}

/// A customer. Its fields come out guarded or open, never bare.
#[derive(Clone)]
pub struct Customer(Reaching<Row>);

/// Why a golden value won.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Provenance {
    /// The field.
    pub field: String,
    /// The source system that it came from.
    pub source: String,
    /// The survivorship rule.
    pub rule: String,
}

/// Completeness and quality of a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quality {
    /// 0 to 100.
    pub score: i16,
    /// Share of the fields that are filled, 0 to 100.
    pub completeness: i16,
    /// What is wrong, as codes.
    pub issues: Vec<String>,
}

/// What of a customer is closed to whoever declared this purpose.
fn closed(row: &Row, purpose: Option<&str>) -> Closed {
    let withdrawn = || row.closed_purposes.as_ref().is_some_and(|codes| purpose.is_some_and(|purpose| words(codes).iter().any(|code| code == purpose)));
    match row.restricted_at {
        Some(_) => Closed::Everything,
        None if withdrawn() => Closed::Personal,
        None => Closed::Nothing,
    }
}

impl Customer {
    /// A row, and how it stands to the caller.
    pub(crate) fn of(session: &Session, row: Row) -> Self {
        let closed = closed(&row, session.principal().purpose());
        let whose = Whose { customer: row.id, owner: row.owner_id, department: row.department_id, closed };
        Self(Reaching::new(whose, row))
    }

    /// Whether something of the customer is closed to whoever declares this purpose.
    pub(crate) fn closed_to(&self, purpose: Option<&str>) -> bool {
        closed(&self.0.model, purpose) != Closed::Nothing
    }

    /// Since when the data may be stored and nothing else.
    pub(crate) fn restricted_at(&self) -> Option<DateTime<Utc>> {
        self.0.model.restricted_at
    }

    /// The key. Opaque outside; says nothing about the person.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.0.model.id
    }
    pub(crate) fn whose(&self) -> Whose {
        self.0.whose
    }
    /// The row, of which a column is told.
    fn row(&self, column: Asked) -> &Row {
        let row = &self.0.model;
        if !row.read.has(column) {
            debug_assert!(false, "{column:?} was not read");
            tracing::error!(?column, "a column is told that was not read; it is answered as if it were empty");
        }
        row
    }
    fn told<T>(&self, field: Field, column: Asked, read: impl FnOnce(&Row) -> T) -> Open<T> {
        self.0.open(field, read(self.row(column)))
    }
    fn guarded<K: Pii>(&self, column: Asked, cell: impl FnOnce(&Row) -> &Option<Sealed<K>>) -> Guarded<K> {
        self.row(column);
        self.0.guard(cell)
    }
    /// 客户编号.
    #[must_use]
    pub fn number(&self) -> Open<String> {
        self.told(Field::Number, Asked::Number, |row| row.number.clone())
    }
    /// 客户姓名.
    #[must_use]
    pub fn name(&self) -> Guarded<Name> {
        self.guarded(Asked::Name, |row| &row.name)
    }
    /// 手机号.
    #[must_use]
    pub fn phone(&self) -> Guarded<Phone> {
        self.guarded(Asked::Phone, |row| &row.phone)
    }
    /// 固定电话.
    #[must_use]
    pub fn landline(&self) -> Guarded<Landline> {
        self.guarded(Asked::Landline, |row| &row.landline)
    }
    /// 邮箱.
    #[must_use]
    pub fn email(&self) -> Guarded<Email> {
        self.guarded(Asked::Email, |row| &row.email)
    }
    /// 地址.
    #[must_use]
    pub fn address(&self) -> Guarded<Address> {
        self.guarded(Asked::Address, |row| &row.address)
    }
    /// 备注.
    #[must_use]
    pub fn remarks(&self) -> Guarded<Remarks> {
        self.guarded(Asked::Remarks, |row| &row.remarks)
    }
    /// 客户类型.
    #[must_use]
    pub fn customer_type(&self) -> Open<Option<CustomerType>> {
        self.told(Field::CustomerType, Asked::CustomerType, |row| CustomerType::of_code(row.customer_type))
    }
    /// 公司名称.
    #[must_use]
    pub fn company(&self) -> Open<Option<String>> {
        self.told(Field::Company, Asked::Company, |row| row.company.clone())
    }
    /// 所属行业, as a code.
    #[must_use]
    pub fn industry(&self) -> Open<Option<String>> {
        self.told(Field::Industry, Asked::Industry, |row| row.industry.clone())
    }
    /// 来源渠道.
    #[must_use]
    pub fn channel(&self) -> Open<Option<Channel>> {
        self.told(Field::Channel, Asked::Channel, |row| row.channel.and_then(Channel::of_code))
    }
    /// 首次跟进时间.
    #[must_use]
    pub fn first_follow_up(&self) -> Open<Option<NaiveDate>> {
        self.told(Field::FirstFollowUp, Asked::FirstFollowUp, |row| row.first_follow_up)
    }
    /// 客户状态.
    #[must_use]
    pub fn status(&self) -> Open<Option<Status>> {
        self.told(Field::Status, Asked::Status, |row| row.status.and_then(Status::of_code))
    }
    /// 客户价值等级.
    #[must_use]
    pub fn value_tier(&self) -> Open<Option<ValueTier>> {
        self.told(Field::ValueTier, Asked::ValueTier, |row| row.value_tier.and_then(ValueTier::of_code))
    }
    /// 负责人, as the key of a user.
    #[must_use]
    pub fn owner(&self) -> Open<Option<Uuid>> {
        self.0.open(Field::Owner, self.0.model.owner_id)
    }
    /// 最后更新时间.
    #[must_use]
    pub fn updated_at(&self) -> Open<DateTime<Utc>> {
        self.told(Field::UpdatedAt, Asked::UpdatedAt, |row| row.updated_at)
    }
    /// How often it was derived anew: whoever corrects it says which version they saw.
    #[must_use]
    pub fn version(&self) -> Open<i32> {
        self.told(Field::UpdatedAt, Asked::Version, |row| row.version)
    }
    /// The same, for comparing.
    pub(crate) fn current(&self) -> i32 {
        self.row(Asked::Version).version
    }
    pub(crate) fn seen_by<T>(&self, looks: T) -> Open<T> {
        self.0.open(Field::SeenBy, looks)
    }
}

/// What stands behind the values of a customer.
pub struct Background {
    /// Why each value won, of the fields that the caller may see.
    pub provenance: Open<Vec<Provenance>>,
    /// 数据质量.
    pub quality: Open<Quality>,
}

/// What stands behind the values of some customers, by customer.
///
/// # Errors
/// The database cannot be reached.
pub async fn background(session: &Session, customers: &[Customer]) -> Result<HashMap<Uuid, Background>, Error> {
    let scope = session.scope();
    let select = scope.find::<Entity>().filter(Column::Id.is_in(customers.iter().map(Customer::id)));
    let select = select.select_only().columns([Column::Id, Column::Provenance, Column::Score, Column::Completeness, Column::Issues]);
    let rows = select.into_tuple::<(Uuid, Json, i16, i16, Json)>().all(scope.tx()).await?;
    let quality = |score, completeness, issues: &Json| Quality { score, completeness, issues: words(issues) };
    let mut behind: HashMap<Uuid, (Json, Quality)> =
        rows.into_iter().map(|(id, provenance, score, completeness, issues)| (id, (provenance, quality(score, completeness, &issues)))).collect();
    let of = |customer: &Customer| {
        let (provenance, quality) = behind.remove(&customer.id())?;
        let seen = |why: &Provenance| Field::of_key(&why.field).is_some_and(|field| session.sight(field, &customer.whose(), View::Clear) > Sight::Withheld);
        let why = serde_json::from_value::<Vec<Provenance>>(provenance).unwrap_or_default().into_iter().filter(seen).collect();
        Some((customer.id(), Background { provenance: customer.0.open(Field::Provenance, why), quality: customer.0.open(Field::Quality, quality) }))
    };
    Ok(customers.iter().filter_map(of).collect())
}
