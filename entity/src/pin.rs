//! Values pinned by hand: they win over what any source says, until they are taken away.

use std::collections::HashMap;

use chrono::NaiveDate;
use policy::field::kinds::{Address, Email, Landline, Name, Phone, Remarks};
use policy::matrix::Act;
use policy::{Channel, Field, Pii, Status, ValueTier, clean};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;

use crate::bulk::Existing;
use crate::customer::{self, Customer};
use crate::link::{self, Touched, Why};
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
    let customer = writable(change, id, field).await?;
    let scope = change.scope();
    let row_id = Uuid::now_v7();
    let (key, wrapped, epoch) = change.keyring().new_record(PLACE, row_id)?;
    let value = cleaned(change, &key, field, value).await?;
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
    scope.put(vec![row], Existing::Refuse).await?;
    change.note("pinned", field.entry().key);
    derive(change, customer.id()).await
}

/// Takes a pin away: the survivorship rules decide again.
///
/// # Errors
/// As [`set`]; [`Error::NotFound`] when the field is not pinned.
pub async fn remove(change: &Change, id: Uuid, field: Field) -> Result<Customer, Error> {
    let customer = writable(change, id, field).await?;
    let pinned = Column::CustomerId.eq(customer.id()).and(Column::Field.eq(field.entry().key));
    if change.scope().delete_where::<Entity>(pinned).await? == 0 {
        return Err(Error::NotFound);
    }
    change.note("unpinned", field.entry().key);
    derive(change, customer.id()).await
}

/// The customer, if the caller may write this field of it. Holds the tenant from here on: an import that holds it derives
/// customers by their pins.
async fn writable(change: &Change, id: Uuid, field: Field) -> Result<Customer, Error> {
    crate::tenant::lock(change.scope()).await?;
    let customer = customer::get(change, id).await?.ok_or(Error::NotFound)?;
    if change.matrix().allows(field, Act::Write, change.principal().reach(&customer.whose())) {
        return Ok(customer);
    }
    change.deny(field.entry().key);
    Err(Error::Denied)
}

async fn derive(change: &Change, id: Uuid) -> Result<Customer, Error> {
    let mut run = link::Run::of(change.scope()).await?;
    let touched = Touched { customers: vec![id], ..Touched::default() };
    link::settle(change, &mut run, touched, Why { kind: "pinned", reason: "pinned" }).await?;
    customer::get(change, id).await?.ok_or(Error::NotFound)
}

async fn cleaned(change: &Change, key: &RecordKey, field: Field, value: &str) -> Result<Value, Error> {
    let expected = || Error::Invalid(format!("{}: expected {}", field.entry().key, field.entry().shape));
    let plain = |value: Option<String>| value.map(Value::Plain).ok_or_else(expected);
    let reference = crate::reference::of(change).await?;
    match field {
        Field::Name => sealed::<Name>(key, value),
        Field::Phone => sealed::<Phone>(key, value),
        Field::Landline => sealed::<Landline>(key, value),
        Field::Email => sealed::<Email>(key, value),
        Field::Address => sealed::<Address>(key, value),
        Field::Remarks => sealed::<Remarks>(key, value),
        Field::Company => plain(clean::company::name(value, &reference).value),
        Field::Industry => plain(clean::industry::code(value, &reference).value.map(str::to_owned)),
        Field::Channel => plain(clean::word::channel(value, &reference).value.map(|channel: Channel| channel.code().to_string())),
        Field::Status => plain(clean::word::status(value, &reference).value.map(|status: Status| status.code().to_string())),
        Field::ValueTier => plain(value.parse().ok().and_then(ValueTier::of_code).map(|tier| tier.code().to_string())),
        Field::FirstFollowUp => plain(clean::date::date(value).value.map(|date| date.to_string())),
        Field::Owner => plain(crate::people::of_subject(change.scope(), value).await?.map(|id| id.to_string())),
        _ => Err(Error::Invalid(format!("{}: cannot be pinned", field.entry().key))),
    }
}

fn sealed<K: Pii>(key: &RecordKey, value: &str) -> Result<Value, Error> {
    let kind = K::parse(value).map_err(|why| Error::Invalid(format!("{}: {why}", K::FIELD.entry().key)))?;
    Ok(Value::Sealed(key.seal(&kind)?.bytes().to_vec()))
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
