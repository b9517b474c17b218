//! Erasure of a person by crypto-shredding, and the tombstones that keep an old file from bringing the person back.
//!
//! In one transaction with its event: the wrapped key of every row that tells of the person is gone, and with it every cell;
//! blind indexes, digests and what was derived are gone too. Copies in backups open no more once three keys of that time are
//! gone: the tenant's data key, which wrapped those keys; its index key, under which numbers could be guessed; and the
//! key-encryption key, with which a backup opens its own copy of the other two. The certificate says when.

mod tombstone;

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use policy::field::kinds::{Email, Phone};
use policy::link::Key;
use policy::{Pii, Verb};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{DbBackend, QueryOrder, QuerySelect};
use serde_json::json;

use crate::customer::{self, table as customers};
use crate::import::load::marks;
use crate::import::row;
use crate::link::{self, Member, Reader, Run};
use crate::merge::BY_HAND;
use crate::store::Tenanted;
use crate::vault::Keyring;
use crate::{Change, Error, Scope, Session, idempotency, keys, pin, tenant};
use tombstone::Sought;
pub(crate) use tombstone::{Told, any, erased, in_raw, names_of, opened};

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
        pub index_epoch: i32,
        pub kek_id: String,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use table::{Column, Entity, Model};

impl Tenanted for Entity {
    const TENANT: Column = Column::TenantId;
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
    /// When the last key was gone that opens them: that epoch, the index key and the key-encryption key of then.
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

/// What is blanked in a source record, be it current or replaced; `$2` is an empty digest.
const RECORD: &str = "record_key = NULL, name = NULL, family_name = NULL, phone = NULL, phone_index = NULL, landline = NULL, email = NULL, email_index = NULL, \
    company = NULL, company_index = NULL, person_index = NULL, address = NULL, remarks = NULL, raw = NULL, traits = NULL, industry = NULL, channel = NULL, \
    first_follow_up = NULL, status = NULL, owner_id = NULL, flags = '[\"erased\"]', tags = '[]', rules = NULL, likeness = NULL, digest = $2";

/// What is blanked in the tables of what records tell of, and where there is something to blank.
const TOLD: [(&str, &str, &str); 3] = [
    ("contact_record", "record_key = NULL, summary = NULL, result = NULL", "record_key IS NOT NULL OR result IS NOT NULL"),
    ("ticket", "record_key = NULL, body = NULL, kind = NULL, status = NULL", "record_key IS NOT NULL OR kind IS NOT NULL OR status IS NOT NULL"),
    ("customer_order", "items = NULL, status = NULL", "items IS NOT NULL OR status IS NOT NULL"),
];

/// The most rows of one statement.
const CHUNK: usize = 5_000;

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
    scope.shreds();
    let id = customer::get(change, id).await?.ok_or(Error::NotFound)?.id();
    let family = customer::with_merged(scope, id).await?;
    let row = scope.find::<customers::Entity>().filter(customers::Column::Id.eq(id)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    let run = Run::of(scope).await?;
    let reader = Reader { scope, keys, sources: &run.sources };
    let members = reader.of(&family).await?;
    let records: Vec<Uuid> = members.iter().map(|member| member.id).collect();
    let shared = Shared::of(&members);
    let (past, given_away) = versions(&reader, &family, &members, &shared).await?;
    let pins = pin::of(scope, keys, &family).await?;
    let names = names_of(scope, &records).await?;
    let told = members.iter().map(|member| Told::by_member(member, names.get(&member.id)));
    let told = told.chain(past.iter().chain(&given_away).map(|version| Told::by_member(version, None)));
    let told: Vec<Told<'_>> = told.chain(pins.values().map(|pins| Told::by_pins(pins, members.first()))).collect();
    let sought = Sought::of(&told);

    tombstone::set(scope, keys, &told).await?;
    link::blocking::forget(change, &run, &given_away).await?;
    let elsewhere: Vec<Uuid> = given_away.iter().map(|version| version.id).collect();
    let mut counts = shred(scope, &Stored { family: &family, records: &records, elsewhere: &elsewhere, shared: &shared }).await?;
    let values = vec![
        (customers::Column::ErasedAt, Expr::value(change.now())),
        (customers::Column::UpdatedAt, Expr::value(change.now())),
        (customers::Column::Issues, Expr::value(json!(["erased"]))),
    ];
    *counts.entry("customer".to_owned()).or_default() += scope.update_where::<customers::Entity>(customers::Column::Id.is_in(family), values).await?;
    *counts.entry("import_row".to_owned()).or_default() += rejects(change, &sought).await?;
    forget_guesses(scope, keys, &sought).await?;
    idempotency::forget(scope).await?;

    let certificate = table::ActiveModel {
        id: Set(Uuid::now_v7()),
        customer_id: Set(id),
        number: Set(row.number),
        at: Set(change.now()),
        actor: Set(change.principal().subject().to_owned()),
        reason: Set(reason.trim().to_owned()),
        counts: Set(json!(counts)),
        epoch: Set(keys::newest(scope, "data").await?.cast_signed()),
        epoch_gone_at: Set(None),
        index_epoch: Set(keys::newest(scope, "index").await?.cast_signed()),
        kek_id: Set(keys::wrapped_by(scope).await?),
        ..Default::default()
    };
    let key = certificate.id.clone().take().unwrap_or_default();
    scope.insert(vec![certificate]).await?;
    change.note("erasure", key.to_string());
    change.note("counts", json!(counts));
    let row = scope.find::<Entity>().filter(Column::Id.eq(key)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    Ok(row.into())
}

/// The link keys of a person's records, by the column that holds them.
struct Shared([(&'static str, HashSet<Key>); 3]);

impl Shared {
    fn of(members: &[Member]) -> Self {
        let keys = |of: fn(&Member) -> Option<Key>| members.iter().filter_map(of).collect();
        Self([
            ("phone_index", keys(|member| member.link.phone)),
            ("email_index", keys(|member| member.link.email)),
            ("person_index", keys(|member| member.link.person)),
        ])
    }

    fn joins(&self, version: &Member) -> bool {
        let mine = [version.link.phone, version.link.email, version.link.person];
        self.0.iter().zip(mine).any(|((_, keys), mine)| mine.is_some_and(|mine| keys.contains(&mine)))
    }
}

/// Replaced versions that told of the person: of records that are the person's still, and of such as are another's by now. Not
/// that of somebody else whose row it was before, whom neither a key nor the name joins to the person.
async fn versions(reader: &Reader<'_>, family: &[Uuid], members: &[Member], shared: &Shared) -> Result<(Vec<Member>, Vec<Member>), Error> {
    let records: HashSet<Uuid> = members.iter().map(|member| member.id).collect();
    let names: HashSet<&str> = members.iter().filter_map(|member| member.link.name.as_ref()).map(Pii::expose).collect();
    let agrees = |version: &Member| version.link.name.as_ref().is_none_or(|name| names.contains(name.expose()));
    let mut found = Vec::new();
    for (column, ids) in [("customer_id", family.to_vec()), ("id", records.iter().copied().collect())] {
        for chunk in ids.chunks(CHUNK) {
            let versions = reader.past(&format!("{column} IN ({})", marks(chunk.len(), 2)), chunk.iter().map(|id| (*id).into())).await?;
            found.extend(versions.into_iter().filter(|version| agrees(version) || shared.joins(version)));
        }
    }
    // A customer may have been given another key since.
    for (column, keys) in &shared.0 {
        let keys: Vec<&Key> = keys.iter().collect();
        for chunk in keys.chunks(CHUNK) {
            let versions = reader.past(&format!("{column} IN ({})", marks(chunk.len(), 2)), chunk.iter().map(|key| key.to_vec().into())).await?;
            found.extend(versions.into_iter().filter(|version| agrees(version)));
        }
    }
    Ok(found.into_iter().partition(|version| records.contains(&version.id)))
}

/// Where a person is stored.
struct Stored<'s> {
    family: &'s [Uuid],
    records: &'s [Uuid],
    /// Records that are another's by now and of which an older version was the person's: their current version stays.
    elsewhere: &'s [Uuid],
    shared: &'s Shared,
}

/// Shreds what is stored of a person. Returns how many rows, by table.
async fn shred(scope: &Scope, Stored { family, records, elsewhere, shared }: &Stored<'_>) -> Result<BTreeMap<String, u64>, Error> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut count = |what: &str, rows: u64| *counts.entry(what.to_owned()).or_default() += rows;
    let postgres = scope.tx().get_database_backend() == DbBackend::Postgres;
    let own = if postgres { "'~erased-' || replace(id::text, '-', '')" } else { "'~erased-' || lower(hex(id))" };
    let record =
        |table: &str, which: &str| format!("UPDATE {table} SET {RECORD}, external_id = {own} WHERE tenant_id = $1 AND record_key IS NOT NULL AND {which}");
    let with_digest = |values: &mut dyn Iterator<Item = Value>| std::iter::once(Value::from(Vec::<u8>::new())).chain(values).collect::<Vec<_>>();
    for (by, ids) in [("id", records), ("customer_id", family)] {
        for chunk in ids.chunks(CHUNK) {
            for table in ["source_record", "source_record_past"] {
                let sql = record(table, &format!("{by} IN ({})", marks(chunk.len(), 3)));
                count(table, scope.run(&sql, with_digest(&mut chunk.iter().map(|id| (*id).into()))).await?);
            }
        }
    }
    for (column, keys) in shared.0.iter().filter(|(_, keys)| !keys.is_empty()) {
        for chunk in elsewhere.chunks(CHUNK) {
            let which = format!("id IN ({}) AND {column} IN ({})", marks(chunk.len(), 3), marks(keys.len(), 3 + chunk.len()));
            let values = chunk.iter().map(|id| (*id).into()).chain(keys.iter().map(|key| key.to_vec().into()));
            count("source_record_past", scope.run(&record("source_record_past", &which), with_digest(&mut { values })).await?);
        }
    }
    for (table, set, left) in TOLD {
        let past = format!("{table}_past");
        let of_shredded = format!(
            " AND EXISTS (SELECT 1 FROM source_record_past AS p WHERE p.tenant_id = {past}.tenant_id AND p.id = {past}.record_id AND p.replaced_by = {past}.replaced_by AND p.record_key IS NULL)"
        );
        let of = |column: &str, ids: &[Uuid]| format!("{column} IN ({})", marks(ids.len(), 2));
        let mut parts: Vec<(&str, &[Uuid], String)> = Vec::new();
        for family in family.chunks(CHUNK) {
            let theirs = of("customer_id", family);
            parts.push((table, family, format!("record_id IN (SELECT id FROM source_record WHERE tenant_id = $1 AND {theirs})")));
            // SQLite has an index of all contacts and tickets by customer, and of orders by hand alone.
            parts.push((table, family, if table == "customer_order" { format!("{theirs}{BY_HAND}") } else { theirs.clone() }));
            parts.push((&past, family, theirs));
        }
        parts.extend(records.chunks(CHUNK).map(|records| (past.as_str(), records, of("record_id", records))));
        parts.extend(elsewhere.chunks(CHUNK).map(|records| (past.as_str(), records, of("record_id", records) + of_shredded.as_str())));
        for (table, ids, which) in parts {
            count(
                table,
                scope.run(&format!("UPDATE {table} SET {set} WHERE tenant_id = $1 AND {which} AND ({left})"), ids.iter().map(|id| (*id).into())).await?,
            );
        }
    }
    for chunk in records.chunks(CHUNK) {
        let these = || chunk.iter().map(|id| Value::from(*id));
        let marks = marks(chunk.len(), 2);
        scope.run(&format!("UPDATE import_row SET record_key = NULL, raw = NULL WHERE tenant_id = $1 AND record_id IN ({marks})"), these()).await?;
        // By record: what older versions were compared by goes too.
        scope.run(&format!("DELETE FROM block_key WHERE tenant_id = $1 AND record_id IN ({marks})"), these()).await?;
        let pairs = format!("DELETE FROM match_pair WHERE tenant_id = $1 AND (record_a IN ({marks}) OR record_b IN ({marks}))");
        count("match_pair", scope.run(&pairs, these()).await?);
    }
    for customer in *family {
        for sql in [
            "DELETE FROM pin WHERE tenant_id = $1 AND customer_id = $2",
            "DELETE FROM customer_tag WHERE tenant_id = $1 AND customer_id = $2",
            "UPDATE merge_journal SET reason = 'erased' WHERE tenant_id = $1 AND (winner_id = $2 OR loser_id = $2)",
            crate::merge::BLANK,
        ] {
            scope.run(sql, [(*customer).into()]).await?;
        }
        count("relation", scope.run("DELETE FROM relation WHERE tenant_id = $1 AND (customer_id = $2 OR other_id = $2)", [(*customer).into()]).await?);
    }
    Ok(counts)
}

/// Rejected rows keep what was read; those that tell of the person lose it.
async fn rejects(change: &Change, sought: &Sought<'_>) -> Result<u64, Error> {
    let scope = change.scope();
    let (mut shredded, mut behind) = (0, Uuid::nil());
    loop {
        let select = scope.find::<row::Entity>().filter(row::Column::Raw.is_not_null()).filter(row::Column::Id.gt(behind));
        let rows = select.order_by_asc(row::Column::Id).limit(5_000).all(scope.tx()).await?;
        let Some(last) = rows.last() else { return Ok(shredded) };
        behind = last.id;
        let mut theirs: Vec<Uuid> = Vec::new();
        for row in &rows {
            let clear = opened(change.keyring(), row.id, row.record_key.as_deref(), row.raw.as_ref())?;
            if clear.is_some_and(|clear| sought.stands_in(&clear)) {
                theirs.push(row.id);
            }
        }
        let gone = vec![(row::Column::Raw, Expr::value(None::<Vec<u8>>)), (row::Column::RecordKey, Expr::value(None::<Vec<u8>>))];
        shredded += scope.update_where::<row::Entity>(row::Column::Id.is_in(theirs), gone).await?;
    }
}

/// What was searched for is known by keyed hashes; those of the person go.
async fn forget_guesses(scope: &Scope, keys: &Keyring, sought: &Sought<'_>) -> Result<(), Error> {
    let phones = sought.phones.iter().map(|phone| crate::search::mark::<Phone>(keys, phone));
    let emails = sought.emails.iter().map(|email| crate::search::mark::<Email>(keys, email));
    for mark in phones.chain(emails) {
        scope.run("DELETE FROM search_guess WHERE tenant_id = $1 AND value_index = $2", [mark?.into()]).await?;
    }
    Ok(())
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

/// Keys went: certificates are complete of which neither the data key, nor the index key, nor the key-encryption key is left.
/// `kek` is the one that wraps keys now.
pub(crate) async fn complete(scope: &Scope, kek: &str, now: DateTime<Utc>) -> Result<(), Error> {
    let sql = "UPDATE erasure SET epoch_gone_at = $2 WHERE tenant_id = $1 AND epoch_gone_at IS NULL AND kek_id <> $3 \
        AND NOT EXISTS (SELECT 1 FROM tenant_key WHERE tenant_key.tenant_id = erasure.tenant_id AND ((tenant_key.purpose = 'data' AND tenant_key.epoch <= erasure.epoch) \
        OR (tenant_key.purpose = 'index' AND tenant_key.epoch <= erasure.index_epoch)))";
    scope.run(sql, [now.into(), kek.into()]).await?;
    Ok(())
}
