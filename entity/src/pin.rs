//! Values pinned by hand: they win over what any source says, until they are taken away.

use std::collections::HashMap;

use chrono::NaiveDate;
use policy::field::kinds::{Address, Email, Landline, Name, Phone, Remarks};
use policy::{Channel, Field, Pii, Status, ValueTier, clean};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;

use crate::bulk::Existing;
use crate::customer::{self, Customer};
use crate::store::Tenanted;
use crate::vault::{Keyring, RecordKey, Sealed, Wrapped};
use crate::{Change, Error, Scope};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "pin")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub customer_id: Uuid,
        pub field: String,
        pub record_key: Option<Vec<u8>>,
        pub key_epoch: i32,
        pub sealed: Option<Vec<u8>>,
        pub plain: Option<String>,
        pub actor: String,
        pub reason: String,
        pub at: ChronoDateTimeUtc,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use table::{Column, Entity, Model};

impl Tenanted for Entity {
    const TENANT: Column = Column::TenantId;
}

/// The pinned values of one customer.
#[derive(Default)]
pub(crate) struct Pins {
    pub name: Option<Name>,
    pub phone: Option<Phone>,
    pub landline: Option<Landline>,
    pub email: Option<Email>,
    pub address: Option<Address>,
    pub remarks: Option<Remarks>,
    pub company: Option<String>,
    pub industry: Option<String>,
    pub channel: Option<i16>,
    pub first_follow_up: Option<NaiveDate>,
    pub status: Option<i16>,
    pub owner: Option<Uuid>,
    pub value_tier: Option<i16>,
}

/// A pinned value, cleaned and not sealed yet.
enum Value {
    Sealed(Vec<u8>),
    Plain(String),
}

const PLACE: &str = "pin";

/// Pins a value of a customer. It is cleaned and validated as an import's cell would be.
///
/// # Errors
/// [`Error::Denied`] to whom may not write this field of this customer; [`Error::NotFound`]; [`Error::Invalid`] names the
/// field and what it expects, never the value.
pub async fn set(change: &Change, id: Uuid, field: Field, value: &str, reason: &str) -> Result<Customer, Error> {
    let customer = customer::writable(change, id, [field]).await?;
    let mut pins = Pins::default();
    read(change, &mut pins, field, value).await?;
    put(change, &customer, field, &pins, reason).await?;
    change.note("pinned", field.entry().key);
    customer::derive(change, &[customer.id()]).await?;
    customer::get(change, customer.id()).await?.ok_or(Error::NotFound)
}

/// Pins a value, of those that were read, of a customer that the caller may write; the customer is not derived yet.
pub(crate) async fn put(change: &Change, customer: &Customer, field: Field, pins: &Pins, reason: &str) -> Result<(), Error> {
    let scope = change.scope();
    let row_id = Uuid::now_v7();
    let (key, wrapped, epoch) = change.keyring().new_record(PLACE, row_id)?;
    let value = stored(&key, field, pins)?;
    scope.delete_where::<Entity>(Column::CustomerId.eq(customer.id()).and(Column::Field.eq(field.entry().key))).await?;
    let (sealed, plain) = match value {
        Value::Sealed(bytes) => (Some(bytes), None),
        Value::Plain(text) => (None, Some(text)),
    };
    let row = table::ActiveModel {
        id: Set(row_id),
        customer_id: Set(customer.id()),
        field: Set(field.entry().key.to_owned()),
        record_key: Set(sealed.is_some().then_some(wrapped)),
        key_epoch: Set(epoch.cast_signed()),
        sealed: Set(sealed),
        plain: Set(plain),
        actor: Set(change.principal().subject().to_owned()),
        reason: Set(reason.to_owned()),
        at: Set(change.now()),
        ..Default::default()
    };
    scope.put(vec![row], Existing::Refuse).await
}

/// Takes a pin away: the survivorship rules decide again.
///
/// # Errors
/// As [`set`]; [`Error::NotFound`] when the field is not pinned.
pub async fn remove(change: &Change, id: Uuid, field: Field) -> Result<Customer, Error> {
    let customer = customer::writable(change, id, [field]).await?;
    let pinned = Column::CustomerId.eq(customer.id()).and(Column::Field.eq(field.entry().key));
    if change.scope().delete_where::<Entity>(pinned).await? == 0 {
        return Err(Error::NotFound);
    }
    change.note("unpinned", field.entry().key);
    customer::derive(change, &[customer.id()]).await?;
    customer::get(change, customer.id()).await?.ok_or(Error::NotFound)
}

/// Cleans and validates a value that a person has written for a field.
///
/// # Errors
/// [`Error::Invalid`] names the field and what it expects, never the value.
pub(crate) async fn read(change: &Change, into: &mut Pins, field: Field, value: &str) -> Result<(), Error> {
    let reference = crate::reference::of(change).await?;
    let read = match field {
        Field::Name => kind(value, &mut into.name)?,
        Field::Phone => kind(value, &mut into.phone)?,
        Field::Landline => kind(value, &mut into.landline)?,
        Field::Email => kind(value, &mut into.email)?,
        Field::Address => kind(value, &mut into.address)?,
        Field::Remarks => kind(value, &mut into.remarks)?,
        Field::Company => found(&mut into.company, clean::company::name(value, &reference).value),
        Field::Industry => found(&mut into.industry, clean::industry::code(value, &reference).value.map(str::to_owned)),
        Field::Channel => found(&mut into.channel, clean::word::channel(value, &reference).value.map(|channel: Channel| channel.code())),
        Field::Status => found(&mut into.status, clean::word::status(value, &reference).value.map(|status: Status| status.code())),
        Field::ValueTier => found(&mut into.value_tier, value.parse().ok().and_then(ValueTier::of_code).map(ValueTier::code)),
        Field::FirstFollowUp => found(&mut into.first_follow_up, clean::date::date(value).value),
        Field::Owner => found(&mut into.owner, crate::people::of_subject(change.scope(), value).await?),
        _ => return Err(Error::Invalid(format!("{}: cannot be written by hand", field.entry().key))),
    };
    if read { Ok(()) } else { Err(Error::Invalid(format!("{}: expected {}", field.entry().key, field.entry().shape))) }
}

fn kind<K: Pii>(value: &str, into: &mut Option<K>) -> Result<bool, Error> {
    let kind = K::parse(value).map_err(|why| Error::Invalid(format!("{}: {why}", K::FIELD.entry().key)))?;
    Ok(found(into, Some(kind)))
}

fn found<T>(into: &mut Option<T>, value: Option<T>) -> bool {
    let read = value.is_some();
    *into = value;
    read
}

/// How the one value that was read is stored.
fn stored(key: &RecordKey, field: Field, read: &Pins) -> Result<Value, Error> {
    let plain = |value: Option<String>| value.map(Value::Plain).ok_or(Error::NotFound);
    match field {
        Field::Name => sealed(key, read.name.as_ref()),
        Field::Phone => sealed(key, read.phone.as_ref()),
        Field::Landline => sealed(key, read.landline.as_ref()),
        Field::Email => sealed(key, read.email.as_ref()),
        Field::Address => sealed(key, read.address.as_ref()),
        Field::Remarks => sealed(key, read.remarks.as_ref()),
        Field::Company => plain(read.company.clone()),
        Field::Industry => plain(read.industry.clone()),
        Field::Channel => plain(read.channel.map(|code| code.to_string())),
        Field::Status => plain(read.status.map(|code| code.to_string())),
        Field::ValueTier => plain(read.value_tier.map(|code| code.to_string())),
        Field::FirstFollowUp => plain(read.first_follow_up.map(|date| date.to_string())),
        _ => plain(read.owner.map(|owner| owner.to_string())),
    }
}

fn sealed<K: Pii>(key: &RecordKey, value: Option<&K>) -> Result<Value, Error> {
    Ok(Value::Sealed(key.seal(value.ok_or(Error::NotFound)?)?.bytes().to_vec()))
}

/// Whether the tenant has pins at all.
pub(crate) async fn any(scope: &Scope) -> Result<bool, Error> {
    Ok(scope.find::<Entity>().one(scope.tx()).await?.is_some())
}

/// The pins of customers. Those of a customer that was merged into another count there where it has none of its own.
pub(crate) async fn of(scope: &Scope, keys: &Keyring, customers: &[Uuid]) -> Result<HashMap<Uuid, Pins>, Error> {
    let heirs = customer::heirs(scope, customers).await?;
    let all: Vec<Uuid> = heirs.keys().copied().collect();
    let mut pins: HashMap<Uuid, Pins> = HashMap::new();
    let mut rows = Vec::new();
    for chunk in all.chunks(5_000) {
        rows.extend(scope.find::<Entity>().filter(scope.among(Column::CustomerId, chunk.iter().copied())).all(scope.tx()).await?);
    }
    rows.sort_by_key(|row| (heirs.get(&row.customer_id) != Some(&row.customer_id), row.at, row.id));
    for row in rows {
        let Some(heir) = heirs.get(&row.customer_id) else { continue };
        take(pins.entry(*heir).or_default(), keys, &row)?;
    }
    Ok(pins)
}

fn take(pins: &mut Pins, keys: &Keyring, row: &Model) -> Result<(), Error> {
    let Some(field) = Field::of_key(&row.field) else { return Ok(()) };
    let code = || row.plain.as_deref().and_then(|code| code.parse().ok());
    match field {
        Field::Name => open(&mut pins.name, keys, row)?,
        Field::Phone => open(&mut pins.phone, keys, row)?,
        Field::Landline => open(&mut pins.landline, keys, row)?,
        Field::Email => open(&mut pins.email, keys, row)?,
        Field::Address => open(&mut pins.address, keys, row)?,
        Field::Remarks => open(&mut pins.remarks, keys, row)?,
        Field::Company => pins.company = pins.company.take().or_else(|| row.plain.clone()),
        Field::Industry => pins.industry = pins.industry.take().or_else(|| row.plain.clone()),
        Field::Channel => pins.channel = pins.channel.or_else(code),
        Field::Status => pins.status = pins.status.or_else(code),
        Field::ValueTier => pins.value_tier = pins.value_tier.or_else(code),
        Field::FirstFollowUp => pins.first_follow_up = pins.first_follow_up.or_else(|| row.plain.as_deref()?.parse().ok()),
        Field::Owner => pins.owner = pins.owner.or_else(|| row.plain.as_deref()?.parse().ok()),
        _ => {}
    }
    Ok(())
}

fn open<K: Pii>(slot: &mut Option<K>, keys: &Keyring, row: &Model) -> Result<(), Error> {
    if let (None, Some(bytes)) = (&slot, &row.sealed) {
        let key = keys.record(PLACE, row.id, Wrapped(row.record_key.as_deref()))?;
        *slot = K::parse(&key.open(&Sealed::<K>::of(bytes.clone()))?).ok();
    }
    Ok(())
}
