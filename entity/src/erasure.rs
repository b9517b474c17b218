//! Erasure of a person by crypto-shredding, and the tombstones that keep an old file from bringing the person back.
//!
//! In one transaction with its event: the wrapped key of every row that tells of the person is gone, and with it every cell;
//! blind indexes, digests and what was derived are gone too. Copies in backups open no more once the epoch of the tenant's
//! data key is destroyed that wrapped those keys; the certificate says when. A tombstone is a keyed hash of a telephone number
//! or e-mail address: without the tenant's keys it tells nothing, and with them only whether a value that one already holds
//! is erased.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use policy::field::kinds::{Email, Phone, Raw};
use policy::{Pii, Verb};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use serde_json::json;

use crate::bulk::Existing;
use crate::customer::{self, table as customers};
use crate::import::row;
use crate::link::{self, Reader, Run};
use crate::store::Tenanted;
use crate::vault::{Keyring, Sealed, Wrapped};
use crate::{Change, Error, Scope, Session, tenant};

mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "erasure")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub customer_id: Uuid,
        pub number: String,
        pub at: ChronoDateTimeUtc,
        pub actor: String,
        pub reason: String,
        pub counts: Json,
        pub epoch: i32,
        pub epoch_gone_at: Option<ChronoDateTimeUtc>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use table::{Column, Entity, Model};

mod tombstone {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "tombstone")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub mark: Vec<u8>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for Entity {
    const TENANT: Column = Column::TenantId;
}
impl Tenanted for tombstone::Entity {
    const TENANT: tombstone::Column = tombstone::Column::TenantId;
}

/// What an erasure did, and when the copies in backups are dead too.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Certificate {
    /// The key of the erasure.
    pub id: Uuid,
    /// The customer's number; nothing else of the customer is left.
    pub number: String,
    /// When the keys in the database were destroyed.
    pub erased_at: DateTime<Utc>,
    /// By whom.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Rows that were shredded or removed, by table.
    pub counts: BTreeMap<String, u64>,
    /// The newest epoch of the tenant's data key by then: backups open while it or an older one stands.
    pub epoch: i32,
    /// When the last of those epochs was destroyed.
    pub backups_dead_at: Option<DateTime<Utc>>,
}

impl From<Model> for Certificate {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            number: row.number,
            erased_at: row.at,
            actor: row.actor,
            reason: row.reason,
            counts: serde_json::from_value(row.counts).unwrap_or_default(),
            epoch: row.epoch,
            backups_dead_at: row.epoch_gone_at,
        }
    }
}

/// What is blanked in a source record, be it current or replaced; `$2` is its key.
const RECORD: &str = "record_key = NULL, name = NULL, family_name = NULL, phone = NULL, phone_index = NULL, landline = NULL, email = NULL, email_index = NULL, \
    company = NULL, company_index = NULL, person_index = NULL, address = NULL, remarks = NULL, raw = NULL, traits = NULL, industry = NULL, channel = NULL, \
    first_follow_up = NULL, status = NULL, owner_id = NULL, flags = '[\"erased\"]', tags = '[]', rules = NULL, likeness = NULL, digest = $3, external_id = $4 \
    WHERE tenant_id = $1 AND id = $2";

/// Erases a person: the customer, all that went up in it, and every record that tells of it.
///
/// # Errors
/// [`Error::Denied`] to whom may not see to the rights of persons; [`Error::NotFound`]; [`Error::Invalid`] without a reason.
pub async fn erase(change: &Change, id: Uuid, reason: &str) -> Result<Certificate, Error> {
    change.permit(Verb::PersonRights)?;
    if reason.trim().is_empty() {
        return Err(Error::Invalid("reason: say why, as the certificate will show it".to_owned()));
    }
    let (scope, keys) = (change.scope(), change.keyring());
    tenant::lock(scope).await?;
    let id = customer::get(change, id).await?.ok_or(Error::NotFound)?.id();
    let family = customer::with_merged(scope, id).await?;
    let row = scope.find::<customers::Entity>().filter(customers::Column::Id.eq(id)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    let run = Run::of(scope).await?;
    let members = Reader { scope, keys, sources: &run.sources }.of(&family).await?;
    let phones: BTreeSet<&str> = members.iter().filter_map(|member| member.phone.as_ref()).map(Pii::expose).collect();
    let emails: BTreeSet<&str> = members.iter().filter_map(|member| member.email.as_ref()).map(Pii::expose).collect();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = |what: &str, rows: u64| *counts.entry(what.to_owned()).or_default() += rows;

    mark(scope, keys, &phones, &emails).await?;
    link::blocking::forget(change, &run, &members).await?;
    let mut records: HashSet<Uuid> = members.iter().map(|member| member.id).collect();
    for customer in &family {
        records.extend(scope.ids("SELECT id FROM source_record_past WHERE tenant_id = $1 AND customer_id = $2", [(*customer).into()]).await?);
    }
    for record in &records {
        let named = || [Value::from(*record), Value::from(Vec::<u8>::new()), Value::from(format!("~erased-{}", record.simple()))];
        count("source_record", scope.run(&format!("UPDATE source_record SET {RECORD}"), named()).await?);
        count("source_record_past", scope.run(&format!("UPDATE source_record_past SET {RECORD}"), named()).await?);
        for (table, cell) in [("contact_record", "summary"), ("ticket", "body"), ("contact_record_past", "summary"), ("ticket_past", "body")] {
            let sql = format!("UPDATE {table} SET record_key = NULL, {cell} = NULL WHERE tenant_id = $1 AND record_id = $2");
            count(table, scope.run(&sql, [(*record).into()]).await?);
        }
        let sql = "UPDATE import_row SET record_key = NULL, raw = NULL WHERE tenant_id = $1 AND record_id = $2";
        scope.run(sql, [(*record).into()]).await?;
        count("match_pair", scope.run("DELETE FROM match_pair WHERE tenant_id = $1 AND (record_a = $2 OR record_b = $2)", [(*record).into()]).await?);
    }
    for customer in &family {
        for (table, cell) in [("contact_record", "summary"), ("ticket", "body")] {
            let sql = format!("UPDATE {table} SET record_key = NULL, {cell} = NULL WHERE tenant_id = $1 AND customer_id = $2 AND record_key IS NOT NULL");
            count(table, scope.run(&sql, [(*customer).into()]).await?);
        }
        for sql in ["DELETE FROM pin WHERE tenant_id = $1 AND customer_id = $2", "DELETE FROM customer_tag WHERE tenant_id = $1 AND customer_id = $2"] {
            scope.run(sql, [(*customer).into()]).await?;
        }
        count("relation", scope.run("DELETE FROM relation WHERE tenant_id = $1 AND (customer_id = $2 OR other_id = $2)", [(*customer).into()]).await?);
        scope.run(crate::merge::BLANK, [(*customer).into()]).await?;
    }
    let values = vec![
        (customers::Column::ErasedAt, Expr::value(change.now())),
        (customers::Column::UpdatedAt, Expr::value(change.now())),
        (customers::Column::Issues, Expr::value(json!(["erased"]))),
    ];
    count("customer", scope.update_where::<customers::Entity>(customers::Column::Id.is_in(family), values).await?);
    count("import_row", rejects(change, &phones, &emails).await?);
    forget_guesses(scope, keys, &phones, &emails).await?;

    let certificate = table::ActiveModel {
        id: Set(Uuid::now_v7()),
        customer_id: Set(id),
        number: Set(row.number),
        at: Set(change.now()),
        actor: Set(change.principal().subject().to_owned()),
        reason: Set(reason.trim().to_owned()),
        counts: Set(json!(counts)),
        epoch: Set(crate::keys::newest(scope, "data").await?.cast_signed()),
        epoch_gone_at: Set(None),
        ..Default::default()
    };
    let key = certificate.id.clone().take().unwrap_or_default();
    scope.insert(vec![certificate]).await?;
    change.note("erasure", key.to_string());
    change.note("counts", json!(counts));
    let row = scope.find::<Entity>().filter(Column::Id.eq(key)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    Ok(row.into())
}

fn phone_mark(keys: &Keyring, phone: &str) -> Result<Vec<u8>, Error> {
    Ok(keys.digest("tombstone phone", phone.as_bytes())?.to_vec())
}

fn email_mark(keys: &Keyring, email: &str) -> Result<Vec<u8>, Error> {
    Ok(keys.digest("tombstone email", email.as_bytes())?.to_vec())
}

async fn mark(scope: &Scope, keys: &Keyring, phones: &BTreeSet<&str>, emails: &BTreeSet<&str>) -> Result<(), Error> {
    let marks = phones.iter().map(|phone| phone_mark(keys, phone)).chain(emails.iter().map(|email| email_mark(keys, email)));
    let rows = marks.map(|mark| Ok(tombstone::ActiveModel { mark: Set(mark?), ..Default::default() })).collect::<Result<Vec<_>, Error>>()?;
    scope.put(rows, Existing::Overwrite(&[tombstone::Column::Mark])).await
}

/// Rejected rows keep what was read; those in which the person's number or address stands lose it.
async fn rejects(change: &Change, phones: &BTreeSet<&str>, emails: &BTreeSet<&str>) -> Result<u64, Error> {
    let scope = change.scope();
    let (mut shredded, mut behind) = (0, Uuid::nil());
    loop {
        let select = scope.find::<row::Entity>().filter(row::Column::Raw.is_not_null()).filter(row::Column::Id.gt(behind));
        let rows = select.order_by_asc(row::Column::Id).limit(5_000).all(scope.tx()).await?;
        let Some(last) = rows.last() else { return Ok(shredded) };
        behind = last.id;
        let mut theirs: Vec<Uuid> = Vec::new();
        for row in &rows {
            let key = change.keyring().record(<row::Model as crate::guard::Vaulted>::TABLE, row.id, Wrapped(row.record_key.as_deref()))?;
            let Some(clear) = row.raw.as_ref().map(|raw: &Sealed<Raw>| key.open(raw)).transpose()? else { continue };
            let digits: String = clear.chars().filter(char::is_ascii_digit).collect();
            let lower = zeroize::Zeroizing::new(clear.to_lowercase());
            if phones.iter().any(|phone| digits.contains(*phone)) || emails.iter().any(|email| lower.contains(*email)) {
                theirs.push(row.id);
            }
        }
        let gone = vec![(row::Column::Raw, Expr::value(None::<Vec<u8>>)), (row::Column::RecordKey, Expr::value(None::<Vec<u8>>))];
        shredded += scope.update_where::<row::Entity>(row::Column::Id.is_in(theirs), gone).await?;
    }
}

/// What was searched for is known by keyed hashes; those of the person go.
async fn forget_guesses(scope: &Scope, keys: &Keyring, phones: &BTreeSet<&str>, emails: &BTreeSet<&str>) -> Result<(), Error> {
    let phones = phones.iter().map(|phone| crate::search::mark::<Phone>(keys, phone));
    let emails = emails.iter().map(|email| crate::search::mark::<Email>(keys, email));
    for mark in phones.chain(emails) {
        scope.run("DELETE FROM search_guess WHERE tenant_id = $1 AND value_index = $2", [mark?.into()]).await?;
    }
    Ok(())
}

/// Whether anybody of the tenant was erased.
pub(crate) async fn any(scope: &Scope) -> Result<bool, Error> {
    Ok(scope.find::<tombstone::Entity>().one(scope.tx()).await?.is_some())
}

/// Which of these telephone numbers and e-mail addresses are of erased persons, by position.
pub(crate) async fn erased<'p>(
    scope: &Scope,
    keys: &Keyring,
    people: impl Iterator<Item = (Option<&'p Phone>, Option<&'p Email>)>,
) -> Result<HashSet<usize>, Error> {
    let mut marks: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    for (at, (phone, email)) in people.enumerate() {
        if let Some(phone) = phone {
            marks.entry(phone_mark(keys, phone.expose())?).or_default().push(at);
        }
        if let Some(email) = email {
            marks.entry(email_mark(keys, email.expose())?).or_default().push(at);
        }
    }
    let asked: Vec<Vec<u8>> = marks.keys().cloned().collect();
    let mut found = HashSet::new();
    for chunk in asked.chunks(5_000) {
        let select = scope.find::<tombstone::Entity>().filter(scope.among(tombstone::Column::Mark, chunk.iter().cloned()));
        found.extend(select.all(scope.tx()).await?.into_iter().filter_map(|row| marks.get(&row.mark)).flatten().copied());
    }
    Ok(found)
}

/// The certificates, newest first; of one customer number, if asked.
///
/// # Errors
/// [`Error::Denied`] to whom may not see to the rights of persons.
pub async fn certificates(session: &Session, number: Option<&str>) -> Result<Vec<Certificate>, Error> {
    session.permit(Verb::PersonRights)?;
    let scope = session.scope();
    let mut select = scope.find::<Entity>().order_by_desc(Column::At).limit(1_000);
    if let Some(number) = number {
        select = select.filter(Column::Number.eq(number));
    }
    Ok(select.all(scope.tx()).await?.into_iter().map(Certificate::from).collect())
}

/// Epochs up to this one are destroyed: certificates of their time are complete.
pub(crate) async fn epoch_gone(scope: &Scope, through: i32, now: DateTime<Utc>) -> Result<(), Error> {
    use sea_orm::sea_query::ExprTrait;
    let theirs = Column::Epoch.lte(through).and(Column::EpochGoneAt.is_null());
    scope.update_where::<Entity>(theirs, vec![(Column::EpochGoneAt, Expr::value(now))]).await?;
    Ok(())
}
