//! Source records in the clear, in memory, while they are linked and golden values are derived.

use chrono::{DateTime, NaiveDate, Utc};
use policy::field::kinds::{Address, Email, FamilyName, Landline, Name, Phone, Remarks, Traits};
use policy::{Pii, link};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Asterisk, ExprTrait, Func};
use sea_orm::{ConnectionTrait, DbBackend, FromQueryResult, IdenStatic, QueryOrder, QuerySelect, QueryTrait, Select};
use std::collections::HashMap;

use crate::guard::Vaulted;
use crate::record::{Column, Entity, Model};
use crate::source::Source;
use crate::vault::{BlindIndex, Keyring, RecordKey, Sealed, Wrapped};
use crate::{Error, Scope};

/// A source record as linking and survivorship look at it.
#[derive(Default)]
pub(crate) struct Member {
    pub id: Uuid,
    /// The customer that it had before.
    pub customer: Option<Uuid>,
    pub link: link::Record,
    pub company_key: Option<link::Key>,
    /// Keyed digest of its content.
    pub digest: Vec<u8>,
    /// Of a record that is about to be written: keyed digest of what it says. Records that are alike say the same.
    pub likeness: Option<Vec<u8>>,
    pub source: String,
    /// How trusted the source is: 0 most.
    pub position: i32,
    pub at: Option<DateTime<Utc>>,
    pub phone: Option<Phone>,
    pub landline: Option<Landline>,
    pub email: Option<Email>,
    pub address: Option<Address>,
    pub remarks: Option<Remarks>,
    pub company: Option<String>,
    pub customer_type: Option<i16>,
    pub industry: Option<String>,
    pub channel: Option<i16>,
    pub first_follow_up: Option<NaiveDate>,
    pub status: Option<i16>,
    pub owner: Option<Uuid>,
    pub tags: Vec<(String, String)>,
    /// What is compared beside the standard fields.
    pub traits: Vec<(String, String)>,
    /// Whether its source says itself what is compared.
    pub traited: bool,
}

/// What may join two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Shared {
    Phone(link::Key),
    Email(link::Key),
    Person(link::Key),
}

impl Shared {
    const fn bytes(&self) -> &link::Key {
        match self {
            Self::Phone(key) | Self::Email(key) | Self::Person(key) => key,
        }
    }
}

impl Member {
    /// The keys by which it may be joined to others.
    pub fn keys(&self) -> impl Iterator<Item = Shared> {
        [self.link.phone.map(Shared::Phone), self.link.email.map(Shared::Email), self.link.person.map(Shared::Person)].into_iter().flatten()
    }
}

/// The columns that a member is made of.
#[derive(FromQueryResult)]
pub(crate) struct Row {
    id: Uuid,
    source_id: Uuid,
    customer_id: Option<Uuid>,
    held_for: Option<Uuid>,
    record_key: Option<Vec<u8>>,
    name: Option<Sealed<Name>>,
    family_name: Option<Sealed<FamilyName>>,
    phone: Option<Sealed<Phone>>,
    phone_index: Option<BlindIndex<Phone>>,
    landline: Option<Sealed<Landline>>,
    email: Option<Sealed<Email>>,
    email_index: Option<BlindIndex<Email>>,
    person_index: Option<Vec<u8>>,
    company: Option<String>,
    company_index: Option<Vec<u8>>,
    address: Option<Sealed<Address>>,
    remarks: Option<Sealed<Remarks>>,
    customer_type: Option<i16>,
    industry: Option<String>,
    channel: Option<i16>,
    first_follow_up: Option<NaiveDate>,
    status: Option<i16>,
    owner_id: Option<Uuid>,
    occurred_at: Option<DateTime<Utc>>,
    source_updated_at: Option<DateTime<Utc>>,
    tags: Json,
    digest: Vec<u8>,
    traits: Option<Sealed<Traits>>,
}

const COLUMNS: [Column; 28] = [
    Column::Id,
    Column::SourceId,
    Column::CustomerId,
    Column::HeldFor,
    Column::RecordKey,
    Column::Name,
    Column::FamilyName,
    Column::Phone,
    Column::PhoneIndex,
    Column::Landline,
    Column::Email,
    Column::EmailIndex,
    Column::PersonIndex,
    Column::Company,
    Column::CompanyIndex,
    Column::Address,
    Column::Remarks,
    Column::CustomerType,
    Column::Industry,
    Column::Channel,
    Column::FirstFollowUp,
    Column::Status,
    Column::OwnerId,
    Column::OccurredAt,
    Column::SourceUpdatedAt,
    Column::Tags,
    Column::Digest,
    Column::Traits,
];

/// What stored records that share a key have in common: whose they are, and what they are like.
pub(crate) struct Sharing {
    pub customer: Option<Uuid>,
    pub shared: Shared,
    pub likeness: Option<Vec<u8>>,
}

/// The most keys of one statement.
const CHUNK: usize = 5_000;

/// A column that holds keys, and what they are.
type Keyed = (Column, fn(link::Key) -> Shared);

/// Keys by the column that holds them, in lists for one statement each.
fn by_column(keys: &[Shared]) -> Vec<(Keyed, Vec<Vec<u8>>)> {
    let columns: [Keyed; 3] = [(Column::PhoneIndex, Shared::Phone), (Column::EmailIndex, Shared::Email), (Column::PersonIndex, Shared::Person)];
    let lists = columns.into_iter().flat_map(|(column, shared)| {
        let mine: Vec<Vec<u8>> = keys.iter().filter(|key| shared(*key.bytes()) == **key).map(|key| key.bytes().to_vec()).collect();
        mine.chunks(CHUNK).map(|chunk| ((column, shared), chunk.to_vec())).collect::<Vec<_>>()
    });
    lists.collect()
}

/// Reads members of the tenant: those that share a key, or those of some customers. Records of erased persons are left out:
/// nothing of them can be opened.
pub(crate) struct Reader<'r> {
    pub scope: &'r Scope,
    pub keys: &'r Keyring,
    pub sources: &'r HashMap<Uuid, Source>,
}

impl Reader<'_> {
    /// Whose records share one of these keys, and what they are like; each once. With them, phones and addresses that more
    /// than so many records share.
    pub async fn sharing(&self, keys: &[Shared], many: i64) -> Result<(Vec<Sharing>, Vec<Shared>), Error> {
        let (mut found, mut crowded) = (Vec::new(), Vec::new());
        for ((column, shared), chunk) in by_column(keys) {
            let alike = [column, Column::CustomerId, Column::Likeness];
            let select = self.speaking(column, chunk).select_only().columns(alike);
            let select = alike.into_iter().fold(select, QuerySelect::group_by).expr_as(Func::count(Expr::col(Asterisk)), "records");
            let mut records: HashMap<link::Key, i64> = HashMap::new();
            for (key, customer, likeness, count) in
                self.scope.tx().tuples::<(Vec<u8>, Option<Uuid>, Option<Vec<u8>>, i64)>(select.build(self.backend())).await?
            {
                let Ok(key) = link::Key::try_from(key) else { continue };
                *records.entry(key).or_default() += count;
                found.push(Sharing { customer, shared: shared(key), likeness });
            }
            let judged = records.into_iter().filter(|(_, count)| *count > many && !matches!(column, Column::PersonIndex));
            crowded.extend(judged.map(|(key, _)| shared(key)));
        }
        Ok((found, crowded))
    }

    /// Which records share one of these keys.
    pub async fn holding(&self, keys: &[Shared]) -> Result<Vec<Uuid>, Error> {
        let mut found = Vec::new();
        for ((column, _), chunk) in by_column(keys) {
            let select = self.speaking(column, chunk).select_only().column(Column::Id);
            found.extend(self.scope.tx().tuples::<Uuid>(select.build(self.backend())).await?);
        }
        Ok(found)
    }

    /// Phones and addresses that more than so many records share.
    pub async fn crowded(&self, keys: &[Shared], many: i64) -> Result<Vec<Shared>, Error> {
        let mut found = Vec::new();
        for ((column, shared), chunk) in by_column(keys).into_iter().filter(|((column, _), _)| !matches!(column, Column::PersonIndex)) {
            let select = self.speaking(column, chunk).select_only().column(column).group_by(column);
            let crowded: Vec<Vec<u8>> = select.having(ExprTrait::gt(column.count(), many)).into_tuple().all(self.scope.tx()).await?;
            found.extend(crowded.into_iter().filter_map(|key| link::Key::try_from(key).ok()).map(shared));
        }
        Ok(found)
    }

    /// Some of the records that share a key: those of the least digests, which is as good as chance.
    pub async fn some(&self, key: Shared, limit: u64) -> Result<Vec<Uuid>, Error> {
        let mut found = Vec::new();
        for ((column, _), chunk) in by_column(&[key]) {
            let select = self.speaking(column, chunk).order_by_asc(Column::Digest).limit(limit);
            found.extend(select.select_only().column(Column::Id).into_tuple::<Uuid>().all(self.scope.tx()).await?);
        }
        Ok(found)
    }

    /// Those of these customers.
    pub async fn of(&self, customers: &[Uuid]) -> Result<Vec<Member>, Error> {
        self.by(Column::CustomerId, customers).await
    }

    /// These.
    pub async fn these(&self, records: &[Uuid]) -> Result<Vec<Member>, Error> {
        self.by(Column::Id, records).await
    }

    /// Which are those of an import behind a row, in order; of a customer's records that say the same the first.
    pub async fn behind(&self, import: Uuid, row: i32, limit: u64) -> Result<Vec<(Uuid, i32)>, Error> {
        // The coalesced id keeps SQLite from walking along all ids.
        let first = Expr::cust(
            "NOT EXISTS (SELECT 1 FROM source_record AS earlier WHERE earlier.tenant_id = source_record.tenant_id AND earlier.customer_id = source_record.customer_id \
             AND earlier.repeats IS NULL AND earlier.likeness = source_record.likeness AND COALESCE(earlier.id, source_record.id) < source_record.id)",
        );
        let select = self.scope.find::<Entity>().filter(Column::ImportId.eq(import)).filter(Column::RowNumber.gt(row)).filter(first);
        let select = select.filter(Column::Repeats.is_null()).filter(Column::RecordKey.is_not_null());
        let select = select.order_by_asc(Column::RowNumber).limit(limit).select_only().columns([Column::Id, Column::RowNumber]);
        Ok(select.into_tuple().all(self.scope.tx()).await?)
    }

    /// A sample that does not depend on the order in which records came: those of the least digests.
    pub async fn sample(&self, size: u64) -> Result<Vec<Member>, Error> {
        self.read(self.scope.find::<Entity>().order_by_asc(Column::Digest).limit(size)).await
    }

    /// Replaced versions of which `which` holds; `$1` of it is the tenant.
    pub async fn past(&self, which: &str, values: impl IntoIterator<Item = Value>) -> Result<Vec<Member>, Error> {
        let columns = COLUMNS.map(|column| column.as_str()).join(", ");
        let sql = format!("SELECT {columns} FROM source_record_past WHERE tenant_id = $1 AND record_key IS NOT NULL AND {which}");
        self.scope.rows(&sql, values).await?.iter().map(|row| self.open(Row::from_query_result(row, "")?)).collect()
    }

    /// The records that hold one of these keys, but for those that another one of their customer stands for.
    fn speaking(&self, column: Column, keys: Vec<Vec<u8>>) -> Select<Entity> {
        self.scope.find::<Entity>().filter(self.scope.among(column, keys)).filter(Column::Repeats.is_null())
    }

    fn backend(&self) -> DbBackend {
        self.scope.tx().get_database_backend()
    }

    async fn by(&self, column: Column, ids: &[Uuid]) -> Result<Vec<Member>, Error> {
        let mut members = Vec::new();
        for chunk in ids.chunks(CHUNK) {
            members.extend(self.read(self.scope.find::<Entity>().filter(self.scope.among(column, chunk.iter().copied()))).await?);
        }
        Ok(members)
    }

    async fn read(&self, select: Select<Entity>) -> Result<Vec<Member>, Error> {
        // Opened row by row, while the database looks for the next.
        let (tx, select) = (self.scope.tx(), select.filter(Column::RecordKey.is_not_null()));
        let mut members = Vec::new();
        let open = |row: QueryResult| {
            members.push(self.open(Row::from_query_result(&row, "")?)?);
            Ok(())
        };
        tx.each(select.select_only().columns(COLUMNS).build(self.backend()), open).await?;
        Ok(members)
    }

    fn open(&self, row: Row) -> Result<Member, Error> {
        let key = self.keys.record(Model::TABLE, row.id, Wrapped(row.record_key.as_deref()))?;
        let source = self.sources.get(&row.source_id);
        let index = |bytes: Option<&[u8]>| bytes.and_then(|bytes| link::Key::try_from(bytes).ok());
        Ok(Member {
            id: row.id,
            customer: row.customer_id,
            link: link::Record {
                phone: index(row.phone_index.as_ref().map(BlindIndex::bytes)),
                email: index(row.email_index.as_ref().map(BlindIndex::bytes)),
                person: index(row.person_index.as_deref()),
                name: cell(&key, row.name.as_ref())?,
                family: cell(&key, row.family_name.as_ref())?,
                held: row.held_for.map(|customer| customer.as_u128()),
            },
            company_key: index(row.company_index.as_deref()),
            digest: row.digest,
            likeness: None,
            source: source.map(|source| source.name.clone()).unwrap_or_default(),
            position: source.map_or(i32::MAX, |source| source.position),
            at: row.source_updated_at.or(row.occurred_at),
            phone: cell(&key, row.phone.as_ref())?,
            landline: cell(&key, row.landline.as_ref())?,
            email: cell(&key, row.email.as_ref())?,
            address: cell(&key, row.address.as_ref())?,
            remarks: cell(&key, row.remarks.as_ref())?,
            company: row.company,
            customer_type: row.customer_type,
            industry: row.industry,
            channel: row.channel,
            first_follow_up: row.first_follow_up,
            status: row.status,
            owner: row.owner_id,
            tags: serde_json::from_value(row.tags).unwrap_or_default(),
            traits: cell(&key, row.traits.as_ref())?.and_then(|traits| serde_json::from_str(traits.expose()).ok()).unwrap_or_default(),
            traited: source.is_some_and(|source| source.mapping.columns.iter().any(|column| column.compare.is_some())),
        })
    }
}

/// Opens a cell.
pub(crate) fn cell<K: Pii>(key: &RecordKey, sealed: Option<&Sealed<K>>) -> Result<Option<K>, Error> {
    Ok(sealed.map(|sealed| key.open(sealed)).transpose()?.and_then(|clear| K::parse(&clear).ok()))
}
