//! Source records: one standardised row of one source system each, with its personal cells sealed and its lineage.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use policy::field::kinds::{Address, Body, Email, FamilyName, Landline, Name, Phone, Raw, Remarks, Summary};
use policy::{Field, Pii, Verb, clean};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect, QueryTrait};
use serde_json::json;

use crate::customer::Customer;
use crate::guard::{Guarded, Open, Reaching, Vaulted, Whose};
use crate::import::{self, Counts, Import, Reject};
use crate::store::Tenanted;
use crate::vault::{Keyring, RecordKey, Sealed, Wrapped};
use crate::{Change, Children, Error, Scope, Session, child, contact, customer, order, ticket};

pub(crate) mod table {
    use crate::TenantId;
    use crate::vault::{BlindIndex, Sealed};
    use policy::field::kinds::{Address, Email, FamilyName, Landline, Name, Phone, Raw, Remarks};
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
    /// The key of the source system.
    pub source: Uuid,
    /// What the source calls the row.
    pub external_id: String,
    /// When it was imported last.
    pub imported_at: DateTime<Utc>,
    /// The line of the file.
    pub line: i32,
}

impl Record {
    /// Where it came from.
    #[must_use]
    pub fn lineage(&self) -> Open<Lineage> {
        let row = &self.model;
        self.open(Field::Sources, Lineage { source: row.source_id, external_id: row.external_id.clone(), imported_at: row.imported_at, line: row.line })
    }
    /// 客户姓名.
    #[must_use]
    pub fn name(&self) -> Option<Guarded<Name>> {
        self.guard(|row| &row.name)
    }
    /// 手机号.
    #[must_use]
    pub fn phone(&self) -> Option<Guarded<Phone>> {
        self.guard(|row| &row.phone)
    }
    /// 邮箱.
    #[must_use]
    pub fn email(&self) -> Option<Guarded<Email>> {
        self.guard(|row| &row.email)
    }
    /// 地址.
    #[must_use]
    pub fn address(&self) -> Option<Guarded<Address>> {
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
}

/// The rows of one file that were met so far: key and digest by what the source calls them.
#[derive(Default)]
pub struct Met(HashMap<String, (Uuid, Vec<u8>)>);

/// Loads a batch of one file in the transaction of `change`. The counts say what became of every row.
///
/// # Errors
/// The database refuses, or the caller may not import: nothing of the batch is kept.
pub async fn load(change: &Change, import: &Import, drafts: Vec<Draft>, rejects: Vec<Reject>, warnings: i32, met: &mut Met) -> Result<Counts, Error> {
    change.permit(Verb::ImportRun)?;
    let (scope, keys) = (change.scope(), change.keyring());
    let mut counts = Counts { read: size(drafts.len() + rejects.len()), rejected: size(rejects.len()), warnings, ..Counts::default() };
    let mut batch = Batch { rows: rejected_rows(keys, import, rejects)?, ..Batch::default() };
    let mut known = known(scope, import, keys, &drafts).await?;
    for draft in drafts {
        let (external_id, digest) = identity(keys, import, &draft)?;
        let (row_number, line) = (draft.row_number, draft.line);
        let (outcome, id) = match (met.0.get(&external_id), known.remove(&external_id)) {
            (Some((id, before)), _) if *before == digest => ("duplicate", *id),
            (Some((id, _)), _) => {
                let id = *id;
                batch.change(id, None, scope).await?;
                batch.add(change, import, id, &external_id, &digest, draft, true)?;
                ("updated", id)
            }
            (None, Some(old)) if old.digest == digest => ("unchanged", old.id),
            (None, Some(old)) => {
                batch.change(old.id, old.customer_id, scope).await?;
                batch.add(change, import, old.id, &external_id, &digest, draft, true)?;
                ("updated", old.id)
            }
            (None, None) => {
                let id = Uuid::now_v7();
                batch.add(change, import, id, &external_id, &digest, draft, false)?;
                ("created", id)
            }
        };
        met.0.insert(external_id, (id, digest));
        match outcome {
            "created" => counts.created += 1,
            "updated" => counts.updated += 1,
            "unchanged" => counts.unchanged += 1,
            _ => counts.duplicate += 1,
        }
        batch.rows.push(import_row(import, row_number, line, outcome, Some(id)));
    }
    batch.store(scope).await?;
    Ok(counts)
}

/// What a batch writes.
#[derive(Default)]
struct Batch {
    new: Vec<table::ActiveModel>,
    changed: Vec<table::ActiveModel>,
    orders: Vec<order::table::ActiveModel>,
    contacts: Vec<contact::table::ActiveModel>,
    tickets: Vec<ticket::table::ActiveModel>,
    rows: Vec<import::row::ActiveModel>,
    customers: HashMap<Uuid, Option<Uuid>>,
    /// Records that this batch makes.
    fresh: HashSet<Uuid>,
}

impl Batch {
    /// A known record is about to be written anew: what it told of goes, whose it is stays.
    async fn change(&mut self, id: Uuid, customer: Option<Uuid>, scope: &Scope) -> Result<(), Error> {
        self.customers.entry(id).or_insert(customer);
        self.new.retain(|row| *row.id.as_ref() != id);
        self.changed.retain(|row| *row.id.as_ref() != id);
        self.orders.retain(|row| *row.record_id.as_ref() != Some(id));
        self.contacts.retain(|row| *row.record_id.as_ref() != Some(id));
        self.tickets.retain(|row| *row.record_id.as_ref() != Some(id));
        scope.delete_where::<order::table::Entity>(order::table::Column::RecordId.eq(id)).await?;
        scope.delete_where::<contact::table::Entity>(contact::table::Column::RecordId.eq(id)).await?;
        scope.delete_where::<ticket::table::Entity>(ticket::table::Column::RecordId.eq(id)).await?;
        Ok(())
    }

    /// Seals a draft as the record `id`.
    fn add(&mut self, change: &Change, import: &Import, id: Uuid, external_id: &str, digest: &[u8], draft: Draft, stored: bool) -> Result<(), Error> {
        let keys = change.keyring();
        let (key, wrapped, epoch) = keys.new_record(Model::TABLE, id)?;
        let (phone, phone_index) = seal_found(keys, &key, draft.phone.as_ref())?;
        let (email, email_index) = seal_found(keys, &key, draft.email.as_ref())?;
        let company_key = draft.company.as_deref().map(clean::company::key);
        let company_index = company_key.map(|key| keys.index_of(Model::TABLE, "company", &key)).transpose()?;
        let customer_id = self.customers.get(&id).copied().flatten();
        self.tell(keys, id, customer_id, external_id, &draft)?;
        let row = table::ActiveModel {
            id: Set(id),
            source_id: Set(import.source.id),
            external_id: Set(external_id.to_owned()),
            import_id: Set(import.id),
            row_number: Set(draft.row_number),
            line: Set(draft.line),
            customer_id: Set(customer_id),
            digest: Set(digest.to_vec()),
            record_key: Set(Some(wrapped)),
            key_epoch: Set(epoch.cast_signed()),
            name: Set(seal(&key, draft.name.as_ref())?),
            family_name: Set(seal(&key, draft.family_name.as_ref())?),
            phone: Set(phone),
            phone_index: Set(phone_index),
            landline: Set(seal(&key, draft.landline.as_ref())?),
            email: Set(email),
            email_index: Set(email_index),
            company: Set(draft.company),
            company_index: Set(company_index),
            address: Set(seal(&key, draft.address.as_ref())?),
            remarks: Set(seal(&key, draft.remarks.as_ref())?),
            raw: Set(seal(&key, draft.raw.as_ref())?),
            industry: Set(draft.industry),
            channel: Set(draft.channel),
            first_follow_up: Set(draft.first_follow_up),
            status: Set(draft.status),
            owner_id: Set(draft.owner),
            amount_fen: Set(draft.amount_fen),
            occurred_at: Set(draft.occurred_at),
            source_updated_at: Set(draft.source_updated_at),
            flags: Set(json!(draft.flags)),
            tags: Set(json!(draft.tags)),
            mapping_version: Set(import.source.mapping_version),
            imported_at: Set(change.now()),
            ..Default::default()
        };
        if stored && !self.fresh.contains(&id) {
            self.changed.push(row);
        } else {
            self.fresh.insert(id);
            self.new.push(row);
        }
        Ok(())
    }

    fn tell(&mut self, keys: &Keyring, record: Uuid, customer: Option<Uuid>, number: &str, draft: &Draft) -> Result<(), Error> {
        let id = Uuid::now_v7();
        match &draft.detail {
            Detail::Nothing => {}
            Detail::Order { items, state } => self.orders.push(order::table::ActiveModel {
                id: Set(id),
                customer_id: Set(customer),
                record_id: Set(Some(record)),
                number: Set(number.to_owned()),
                amount_fen: Set(draft.amount_fen),
                ordered_at: Set(draft.occurred_at),
                status: Set(state.clone()),
                items: Set(items.clone()),
                ..Default::default()
            }),
            Detail::FollowUp { at, by, summary } => {
                let (key, wrapped, epoch) = keys.new_record(contact::table::Model::TABLE, id)?;
                self.contacts.push(contact::table::ActiveModel {
                    id: Set(id),
                    customer_id: Set(customer),
                    record_id: Set(Some(record)),
                    at: Set(*at),
                    channel: Set("first_follow_up".to_owned()),
                    record_key: Set(Some(wrapped)),
                    key_epoch: Set(epoch.cast_signed()),
                    summary: Set(seal(&key, summary.as_ref())?),
                    by_user: Set(*by),
                    result: Set(None),
                    ..Default::default()
                });
            }
            Detail::Ticket { topic, body, state, satisfaction } => {
                let (key, wrapped, epoch) = keys.new_record(ticket::table::Model::TABLE, id)?;
                self.tickets.push(ticket::table::ActiveModel {
                    id: Set(id),
                    customer_id: Set(customer),
                    record_id: Set(Some(record)),
                    number: Set(number.to_owned()),
                    kind: Set(topic.clone()),
                    opened_at: Set(draft.occurred_at),
                    record_key: Set(Some(wrapped)),
                    key_epoch: Set(epoch.cast_signed()),
                    body: Set(seal(&key, body.as_ref())?),
                    status: Set(state.clone()),
                    satisfaction: Set(*satisfaction),
                    ..Default::default()
                });
            }
        }
        Ok(())
    }

    async fn store(self, scope: &Scope) -> Result<(), Error> {
        scope.insert(self.new).await?;
        for row in self.changed {
            let id = *row.id.as_ref();
            scope.overwrite::<Entity, _>(row, Column::Id.eq(id)).await?;
        }
        scope.insert(self.orders).await?;
        scope.insert(self.contacts).await?;
        scope.insert(self.tickets).await?;
        scope.insert(self.rows).await
    }
}

fn seal<K: Pii>(key: &RecordKey, value: Option<&K>) -> Result<Option<Sealed<K>>, Error> {
    Ok(value.map(|value| key.seal(value)).transpose()?)
}

/// A sealed value and its index: both or neither.
pub(crate) fn seal_found<K: Pii>(keys: &Keyring, key: &RecordKey, value: Option<&K>) -> Result<(Option<Sealed<K>>, Option<crate::vault::BlindIndex<K>>), Error> {
    Ok(value.map(|value| keys.seal(key, value)).transpose()?.unzip())
}

/// What the source calls a row, and the keyed digest of its content.
fn identity(keys: &Keyring, import: &Import, draft: &Draft) -> Result<(String, Vec<u8>), Error> {
    let raw = draft.raw.as_ref().map_or("", Pii::expose);
    let digest = keys.digest("row", format!("{}\n{}\n{raw}", import.source.name, import.source.mapping_version).as_bytes())?.to_vec();
    let external_id = draft.external_id.clone().unwrap_or_else(|| crate::vault::hex(&digest).as_str().to_owned());
    Ok((external_id, digest))
}

async fn known(scope: &Scope, import: &Import, keys: &Keyring, drafts: &[Draft]) -> Result<HashMap<String, Model>, Error> {
    let mut known = HashMap::new();
    for chunk in drafts.chunks(5_000) {
        let ids = chunk.iter().map(|draft| identity(keys, import, draft).map(|(id, _)| id)).collect::<Result<Vec<_>, _>>()?;
        let rows = scope.find::<Entity>().filter(Column::SourceId.eq(import.source.id)).filter(Column::ExternalId.is_in(ids)).all(scope.tx()).await?;
        known.extend(rows.into_iter().map(|row| (row.external_id.clone(), row)));
    }
    Ok(known)
}

fn import_row(import: &Import, row_number: i32, line: i32, outcome: &str, record: Option<Uuid>) -> import::row::ActiveModel {
    import::row::ActiveModel {
        id: Set(Uuid::now_v7()),
        import_id: Set(import.id),
        row_number: Set(row_number),
        line: Set(line),
        outcome: Set(outcome.to_owned()),
        reason: Set(None),
        detail: Set(None),
        record_id: Set(record),
        record_key: Set(None),
        key_epoch: Set(0),
        raw: Set(None),
        ..Default::default()
    }
}

fn rejected_rows(keys: &Keyring, import: &Import, rejects: Vec<Reject>) -> Result<Vec<import::row::ActiveModel>, Error> {
    let mut rows = Vec::with_capacity(rejects.len());
    for reject in rejects {
        let mut row = import_row(import, reject.row_number, reject.line, "rejected", None);
        let (key, wrapped, epoch) = keys.new_record(import::row::Model::TABLE, *row.id.as_ref())?;
        row.reason = Set(Some(reject.reason.to_owned()));
        row.detail = Set(Some(reject.detail));
        row.record_key = Set(Some(wrapped));
        row.key_epoch = Set(epoch.cast_signed());
        row.raw = Set(Some(key.seal(&reject.raw)?));
        rows.push(row);
    }
    Ok(rows)
}

fn size(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// The newest `limit` source records of each customer.
///
/// # Errors
/// The database cannot be reached.
pub async fn newest(session: &Session, customers: &[Customer], limit: u64) -> Result<Children<Model>, Error> {
    child::newest::<Entity>(session, customers, limit).await
}

/// How many source records each customer has.
///
/// # Errors
/// The database cannot be reached.
pub async fn counts(session: &Session, customers: &[Customer]) -> Result<HashMap<Uuid, Open<i64>>, Error> {
    child::counts::<Entity>(session, customers).await
}

/// What became of a row of a file.
pub struct Fate {
    /// `sales:1`: source and position behind the header.
    pub row_id: String,
    /// The customer's number, for rows that were kept.
    pub customer: Option<Open<String>>,
    /// Why it was refused.
    pub reason: Option<String>,
    /// What is odd about it.
    pub flags: Vec<String>,
    /// The record, for rows that were kept.
    pub record: Option<Record>,
    industry: Option<String>,
}

impl Fate {
    /// The open values of the record: date, industry code (filled in from the customer's other records where it has none),
    /// amount in fen.
    #[must_use]
    pub fn facts(&self) -> Option<(Open<Option<NaiveDate>>, Open<Option<String>>, Open<Option<i64>>)> {
        let record = self.record.as_ref()?;
        let row = &record.model;
        let date = row.first_follow_up.or_else(|| row.occurred_at.map(|at| at.with_timezone(&clean::date::zone()).date_naive()));
        Some((record.open(Field::FirstFollowUp, date), record.open(Field::Industry, row.industry.clone().or_else(|| self.industry.clone())), record.open(Field::OrderAmount, row.amount_fen)))
    }
}

/// What became of every row of the newest import of each source's files.
///
/// # Errors
/// [`Error::Denied`] to whom may not read import reports.
pub async fn fates(session: &Session) -> Result<Vec<Fate>, Error> {
    session.permit(Verb::ImportRead)?;
    let scope = session.scope();
    let mut fates = Vec::new();
    for source in crate::source::in_scope(scope).await? {
        let newest = scope.find::<import::table::Entity>().filter(import::table::Column::SourceId.eq(source.id)).filter(import::table::Column::State.eq("done"));
        let Some(import) = newest.order_by_desc(import::table::Column::Id).limit(1).one(scope.tx()).await? else { continue };
        let records: HashMap<Uuid, Model> = scope.find::<Entity>().filter(Column::SourceId.eq(source.id)).all(scope.tx()).await?.into_iter().map(|row| (row.id, row)).collect();
        let customers: HashMap<Uuid, customer::table::Model> = {
            let mine = scope.find::<Entity>().filter(Column::SourceId.eq(source.id)).select_only().column(Column::CustomerId).into_query();
            let rows = scope.find::<customer::table::Entity>().filter(customer::table::Column::Id.in_subquery(mine)).all(scope.tx()).await?;
            rows.into_iter().map(|row| (row.id, row)).collect()
        };
        let rows = scope.find::<import::row::Entity>().filter(import::row::Column::ImportId.eq(import.id)).order_by_asc(import::row::Column::RowNumber).all(scope.tx()).await?;
        for row in rows {
            let model = row.record_id.and_then(|id| records.get(&id));
            let golden = model.and_then(|model| customers.get(&model.customer_id?));
            let industry = golden.and_then(|golden| golden.industry.clone());
            let customer = golden.cloned().map(Customer::from);
            let whose = customer.as_ref().map_or(Whose { customer: row.id, owner: None, department: None }, Customer::whose);
            fates.push(Fate {
                row_id: format!("{}:{}", source.name, row.row_number),
                customer: customer.as_ref().map(Customer::number),
                reason: row.reason,
                flags: model.map(|model| crate::people::words(&model.flags)).unwrap_or_default(),
                record: model.map(|model| Reaching::new(whose, model.clone())),
                industry,
            });
        }
    }
    Ok(fates)
}
