//! Contact records: who spoke with a customer, when and how.

use chrono::{DateTime, Utc};
use policy::field::kinds::Summary;
use policy::{Field, Pii};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use crate::child::{Child, Slots};
use crate::customer::{Customer, writable};
use crate::guard::{Guarded, Open, Reaching, Vaulted};
use crate::store::Tenanted;
use crate::vault::{Sealed, Wrapped};
use crate::{Change, Error, people};

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

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}

/// A contact record as it is read.
pub struct Row {
    id: Uuid,
    at: DateTime<Utc>,
    channel: String,
    result: Option<String>,
    summary: Option<Sealed<Summary>>,
    record_key: Option<Vec<u8>>,
    by_user: Option<Uuid>,
}

impl Child for Row {
    const KIND: u8 = 1;
    const FIELD: Field = Field::ContactAt;
    const FROM: &'static str = "contact_record AS h";
    const ID: &'static str = "h.id";
    const ORDER: &'static str = "h.at DESC, h.id DESC";
    const READ: [&'static str; 10] = ["h.at", "h.channel", "h.result", "", "h.summary", "h.record_key", "h.by_user", "", "", ""];
    fn read(row: &Slots) -> Result<Self, DbErr> {
        Ok(Self {
            id: row.id()?,
            at: row.get(0)?,
            channel: row.get(1)?,
            result: row.get(2)?,
            summary: row.get(4)?,
            record_key: row.get(5)?,
            by_user: row.get(6)?,
        })
    }
    fn at(&self) -> (Option<DateTime<Utc>>, Uuid) {
        (Some(self.at), self.id)
    }
}

impl Vaulted for Row {
    const TABLE: &'static str = "contact_record";
    fn row(&self) -> Uuid {
        self.id
    }
    fn record_key(&self) -> Wrapped<'_> {
        Wrapped(self.record_key.as_deref())
    }
}

/// A contact record of a customer.
pub type Contact = Reaching<Row>;

impl Contact {
    /// The key.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.model.id
    }
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

/// A contact that a person writes down.
pub struct NewContact<'n> {
    /// When; now, if it is not said.
    pub at: Option<DateTime<Utc>>,
    /// How, such as phone, visit or wechat.
    pub channel: &'n str,
    /// What was said.
    pub summary: Option<&'n str>,
    /// With what result.
    pub result: Option<&'n str>,
}

/// Writes down a contact with a customer.
///
/// # Errors
/// [`Error::Denied`] to whom may not write contacts of this customer; [`Error::NotFound`]; [`Error::Faults`].
pub async fn add(change: &Change, id: Uuid, new: &NewContact<'_>) -> Result<Customer, Error> {
    let fields = [Field::ContactAt, Field::ContactChannel].into_iter();
    let fields = fields.chain(new.summary.map(|_| Field::Summary)).chain(new.result.map(|_| Field::ContactResult));
    let customer = writable(change, id, fields).await?;
    let mut faults = Vec::new();
    if new.channel.is_empty() || new.channel.chars().count() > 40 {
        faults.push("channel: 1 to 40 characters".to_owned());
    }
    if new.result.is_some_and(|result| result.chars().count() > 200) {
        faults.push("result: at most 200 characters".to_owned());
    }
    if new.at.is_some_and(|at| at > change.now() + chrono::Duration::minutes(5)) {
        faults.push("at: lies ahead; a contact has been".to_owned());
    }
    let summary = new.summary.map(Summary::parse).transpose();
    if let Err(why) = &summary {
        faults.push(format!("summary: {why}"));
    }
    if !faults.is_empty() {
        return Err(Error::Faults(faults));
    }
    let by = people::of_subject(change.scope(), change.principal().subject()).await?;
    let row = row(change, customer.id(), new.at, new.channel, summary.ok().flatten().as_ref(), new.result, by)?;
    change.scope().insert(vec![row]).await?;
    Ok(customer)
}

/// Leaves a note on the timelines of customers.
pub(crate) async fn note(change: &Change, customers: &[Uuid], channel: &str, text: &str) -> Result<(), Error> {
    let summary = Summary::parse(text).map_err(|why| Error::Invalid(format!("reason: {why}")))?;
    let by = people::of_subject(change.scope(), change.principal().subject()).await?;
    let rows = customers.iter().map(|customer| row(change, *customer, None, channel, Some(&summary), None, by)).collect::<Result<Vec<_>, _>>()?;
    change.scope().insert(rows).await
}

fn row(
    change: &Change,
    customer: Uuid,
    at: Option<DateTime<Utc>>,
    channel: &str,
    summary: Option<&Summary>,
    result: Option<&str>,
    by: Option<Uuid>,
) -> Result<table::ActiveModel, Error> {
    let id = Uuid::now_v7();
    let (key, wrapped, epoch) = change.keyring().new_record(Row::TABLE, id)?;
    Ok(table::ActiveModel {
        id: Set(id),
        customer_id: Set(Some(customer)),
        record_id: Set(None),
        at: Set(at.unwrap_or(change.now())),
        channel: Set(channel.to_owned()),
        record_key: Set(Some(wrapped)),
        key_epoch: Set(epoch.cast_signed()),
        summary: Set(summary.map(|summary| key.seal(summary)).transpose()?),
        by_user: Set(by),
        result: Set(result.map(str::to_owned)),
        ..Default::default()
    })
}
