//! Tenants' keys: made, unwrapped, counted, rotated, destroyed.
//!
//! A new epoch of a key is written with only when it has stood for fifteen seconds, and every process learns of it within
//! five. Whoever writes holds the epoch that it writes with until its transaction ends, so that no row comes to name an epoch
//! that is gone.

mod data;
mod index;
mod kek;

use std::collections::BTreeMap;
use std::time::Instant;

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{ConnectionTrait, DbBackend, QueryOrder};
use zeroize::Zeroizing;

pub use data::{destroy, rotate_data};
pub use index::rotate_index;
pub use kek::rotate_kek;

use crate::store::Tenanted;
use crate::tenant::{self, Standing};
use crate::vault::{BadKek, Held, Kek, Key, Keyring, Place, RIPENS, Unreadable, hex};
use crate::{Change, Error, House, Scope, Session, TenantId};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "tenant_key")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub purpose: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub epoch: i32,
        pub kek_id: String,
        pub wrapped: Vec<u8>,
        pub created_at: ChronoDateTimeUtc,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}

/// The most rows that a rotation rewrites in one transaction.
const BATCH: usize = 5_000;

/// A table whose rows have keys of their own.
struct Keyed {
    table: &'static str,
    /// The table that the envelopes are bound to: rows that were replaced keep theirs.
    place: &'static str,
    /// What its rows are walked by; the last of them is the row's id.
    walk: &'static [&'static str],
}

/// Every table with record keys.
const KEYED: [Keyed; 10] = [
    Keyed { table: "customer", place: "customer", walk: &["id"] },
    Keyed { table: "source_record", place: "source_record", walk: &["id"] },
    Keyed { table: "import_row", place: "import_row", walk: &["id"] },
    Keyed { table: "contact_record", place: "contact_record", walk: &["id"] },
    Keyed { table: "ticket", place: "ticket", walk: &["id"] },
    Keyed { table: "match_model", place: "match_model", walk: &["id"] },
    Keyed { table: "pin", place: "pin", walk: &["id"] },
    Keyed { table: "source_record_past", place: "source_record", walk: &["replaced_by", "id"] },
    Keyed { table: "contact_record_past", place: "contact_record", walk: &["replaced_by", "id"] },
    Keyed { table: "ticket_past", place: "ticket", walk: &["replaced_by", "id"] },
];

impl Keyed {
    fn of(table: &str) -> Option<&'static Self> {
        KEYED.iter().find(|keyed| keyed.table == table)
    }

    /// At most `most` rows behind `behind` that meet `which`: what they are walked by, then `columns`, in order. `$2` of `which` is
    /// the epoch.
    async fn next(&self, scope: &Scope, columns: &str, which: &str, epoch: u32, behind: &[Uuid], most: usize) -> Result<Vec<sea_orm::QueryResult>, Error> {
        let walk = self.walk.join(", ");
        let beyond = match behind.len() {
            0 => String::new(),
            n => format!(" AND ({walk}) > ({})", (3..3 + n).map(|at| format!("${at}")).collect::<Vec<_>>().join(", ")),
        };
        let sql = format!("SELECT {walk}, {columns} FROM {} WHERE tenant_id = $1 AND {which}{beyond} ORDER BY {walk} LIMIT {most}", self.table);
        scope.rows(&sql, std::iter::once(Value::from(epoch.cast_signed())).chain(behind.iter().map(|id| (*id).into()))).await
    }

    /// What a row is walked by.
    fn at(&self, row: &sea_orm::QueryResult) -> Result<Vec<Uuid>, Error> {
        self.walk.iter().map(|column| row.try_get("", column).map_err(Error::from)).collect()
    }
}

/// What happens while keys are rotated.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// A new epoch was made.
    New(u32),
    /// A rotation to this epoch that was cut off goes on.
    GoesOn(u32),
    /// So many seconds until every process knows the new key.
    Waits(i64),
    /// Rows are rewritten from now on.
    Begins,
    /// So many rows of this table, and so many in all, are rewritten.
    Rewritten(&'static str, u64, u64),
}

/// One epoch of one of a tenant's keys.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Epoch {
    /// `data`, `index`, `cursor` or `alias`.
    pub purpose: String,
    /// Counted from 1.
    pub epoch: u32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Which key-encryption key wraps it: 16 characters, or `command`.
    pub kek: String,
    /// Rows that name it, by table; of `cursor` and `alias` none are counted.
    pub rows: BTreeMap<&'static str, i64>,
}

impl Epoch {
    /// Rows that name it.
    #[must_use]
    pub fn named(&self) -> i64 {
        self.rows.values().sum()
    }
}

/// A tenant's keys, by purpose and epoch, and how many rows name each. Of `data` rows with a key of their own are counted, of
/// `index` rows that can be found by what is sealed in them.
///
/// # Errors
/// [`Error::Denied`] to everybody but the operator.
pub async fn status(session: &Session) -> Result<Vec<Epoch>, Error> {
    tenant::kept_by(session)?;
    let scope = session.scope();
    let (data, index) = (named_data(scope).await?, index::named(scope).await?);
    let rows = scope.find::<table::Entity>().order_by_asc(table::Column::Purpose).order_by_asc(table::Column::Epoch).all(scope.tx()).await?;
    let epoch = |row: table::Model| {
        let named = match row.purpose.as_str() {
            "data" => &data,
            "index" => &index,
            _ => &BTreeMap::new(),
        };
        let rows = named.iter().filter(|((_, epoch), _)| *epoch == row.epoch).map(|((table, _), rows)| (*table, *rows)).collect();
        Epoch { epoch: row.epoch.unsigned_abs(), created_at: row.created_at, kek: row.kek_id, rows, purpose: row.purpose }
    };
    Ok(rows.into_iter().map(epoch).collect())
}

/// How many rows of a table name an epoch.
type Named = BTreeMap<(&'static str, i32), i64>;

async fn named_data(scope: &Scope) -> Result<Named, Error> {
    let mut named = Named::new();
    for Keyed { table, .. } in &KEYED {
        count(scope, &mut named, table, "key_epoch", "record_key IS NOT NULL").await?;
    }
    Ok(named)
}

async fn count(scope: &Scope, named: &mut Named, table: &'static str, column: &str, which: &str) -> Result<(), Error> {
    let sql = format!("SELECT {column} AS epoch, count(*) AS n FROM {table} WHERE tenant_id = $1 AND {which} GROUP BY {column}");
    for row in scope.rows(&sql, []).await? {
        named.insert((table, row.try_get("", "epoch")?), row.try_get("", "n")?);
    }
    Ok(())
}

fn place(tenant: TenantId, purpose: &'static str, epoch: u32) -> Place {
    Place { tenant, table: "tenant_key", column: purpose, row: Uuid::from_u128(u128::from(epoch)) }
}

fn purpose(word: &str) -> Option<&'static str> {
    Keyring::PURPOSES.into_iter().find(|purpose| *purpose == word)
}

/// A fresh key, wrapped.
async fn fresh(scope: &Scope, house: &House, purpose: &'static str, epoch: u32) -> Result<table::ActiveModel, Error> {
    let mut key: Key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(|_| Unreadable::Cipher)?;
    let kek = house.kek();
    Ok(table::ActiveModel {
        purpose: Set(purpose.to_owned()),
        epoch: Set(epoch.cast_signed()),
        kek_id: Set(kek.id()?),
        wrapped: Set(kek.wrap(place(scope.tenant(), purpose, epoch), &key).await?),
        created_at: Set(house.now()),
        ..Default::default()
    })
}

/// The first keys of a new tenant.
pub(crate) async fn first(scope: &Scope, house: &House) -> Result<(), Error> {
    let mut rows = Vec::new();
    for purpose in Keyring::PURPOSES {
        rows.push(fresh(scope, house, purpose, 1).await?);
    }
    scope.insert(rows).await
}

/// Makes a new epoch of a key. Whoever calls holds the tenant's row.
async fn add(change: &Change, house: &House, purpose: &'static str) -> Result<u32, Error> {
    let scope = change.scope();
    let epoch = newest(scope, purpose).await? + 1;
    let id = house.kek().id()?;
    if scope.find::<table::Entity>().filter(table::Column::KekId.ne(id)).one(scope.tx()).await?.is_some() {
        return Err(BadKek::Wrong.into());
    }
    scope.insert(vec![fresh(scope, house, purpose, epoch).await?]).await?;
    change.note("purpose", purpose);
    change.note("epoch", epoch);
    Ok(epoch)
}

/// The newest epoch of a key, be it in use yet or not.
pub(crate) async fn newest(scope: &Scope, purpose: &str) -> Result<u32, Error> {
    let n = scope.number("SELECT CAST(max(epoch) AS bigint) AS n FROM tenant_key WHERE tenant_id = $1 AND purpose = $2", [purpose.into()]).await?;
    Ok(u32::try_from(n).unwrap_or_default())
}

/// Which key-encryption key wraps the tenant's keys; empty where there are none.
pub(crate) async fn wrapped_by(scope: &Scope) -> Result<String, Error> {
    let newest = scope.find::<table::Entity>().order_by_desc(table::Column::CreatedAt).one(scope.tx()).await?;
    Ok(newest.map(|row| row.kek_id).unwrap_or_default())
}

/// Unwraps a tenant's keys; those of a ring that is known are taken from it. A wrong key file is told apart from damaged data.
pub(crate) async fn keyring(scope: &Scope, kek: &Kek, known: Option<&Keyring>, now: DateTime<Utc>) -> Result<Keyring, Error> {
    let id = kek.id()?;
    let mut held = Vec::new();
    for row in scope.find::<table::Entity>().all(scope.tx()).await? {
        let Some(purpose) = purpose(&row.purpose) else { continue };
        let epoch = row.epoch.unsigned_abs();
        let key = match known.and_then(|ring| ring.key(purpose, epoch)) {
            Some(key) => key.clone(),
            None if row.kek_id != id => return Err(BadKek::Wrong.into()),
            None => kek.unwrap(place(scope.tenant(), purpose, epoch), &row.wrapped).await?,
        };
        held.push(Held { purpose, epoch, created_at: row.created_at, key });
    }
    if let Some(ring) = Keyring::of(scope.tenant(), held, now) {
        return Ok(ring);
    }
    if tenant::standing(scope).await? == Standing::Gone {
        return Err(Error::Invalid("this tenant was destroyed; only its log and its erasure certificates are left".to_owned()));
    }
    let short = hex(&scope.tenant().0.as_bytes()[..4]);
    Err(Error::Invalid(format!("tenant {} has lost keys; restore the tenant_key table from a backup", short.as_str())))
}

/// Whether the keys that a ring writes with stand. On PostgreSQL they cannot go before the transaction ends; on SQLite nobody
/// else writes.
pub(crate) async fn hold(scope: &Scope, ring: &Keyring) -> Result<bool, Error> {
    let lock = if scope.tx().get_database_backend() == DbBackend::Postgres { " FOR KEY SHARE" } else { "" };
    let sql = format!("SELECT purpose, epoch FROM tenant_key WHERE tenant_id = $1 AND (purpose = 'index' OR (purpose = 'data' AND epoch = $2)){lock}");
    let (mut data, mut index) = (false, Vec::new());
    for row in scope.rows(&sql, [ring.sealing().cast_signed().into()]).await? {
        match row.try_get::<String>("", "purpose")?.as_str() {
            "data" => data = true,
            _ => index.push(row.try_get::<i32>("", "epoch")?.unsigned_abs()),
        }
    }
    index.sort_unstable();
    Ok(data && index.iter().copied().eq(ring.epochs("index")))
}

/// Refuses what compares the indexes of rows while they are being rewritten. Whoever calls holds the tenant's row.
///
/// # Errors
/// [`Error::Invalid`], meanwhile.
pub(crate) async fn indexed_alike(scope: &Scope) -> Result<(), Error> {
    let epochs = scope.number("SELECT count(*) AS n FROM tenant_key WHERE tenant_id = $1 AND purpose = 'index'", []).await?;
    if epochs > 1 {
        return Err(Error::Invalid(
            "the index keys are being rotated; try again when `panorama keys rotate index` has come to its end (run it again if it was cut off)".to_owned(),
        ));
    }
    Ok(())
}

/// Refuses a new tenant when the other tenants' keys are wrapped by another key-encryption key than this process has.
pub(crate) async fn same_kek(scope: &mut Scope, house: &House) -> Result<(), Error> {
    let (mine, id) = (scope.tenant(), house.kek().id()?);
    let others: Vec<TenantId> = tenant::standing_ones(scope).await?.into_iter().filter(|other| *other != mine).collect();
    if let Some(other) = others.first() {
        scope.turn_to(*other).await?;
        let foreign = scope.find::<table::Entity>().filter(table::Column::KekId.ne(id)).one(scope.tx()).await?;
        scope.turn_to(mine).await?;
        if foreign.is_some() {
            return Err(BadKek::Wrong.into());
        }
    }
    Ok(())
}

/// Waits until every process knows a key, and learns it too.
async fn ripe(house: &House, tenant: TenantId, purpose: &'static str, epoch: u32, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<(), Error> {
    let scope = house.store().read(tenant);
    let of = scope.find::<table::Entity>().filter(table::Column::Purpose.eq(purpose)).filter(table::Column::Epoch.eq(epoch.cast_signed()));
    let row = of.one(scope.tx()).await?.ok_or(Error::NotFound)?;
    drop(scope);
    let left = row.created_at + RIPENS - house.now();
    if let Ok(wait) = left.to_std() {
        progress(Progress::Waits(left.num_seconds() + 1));
        tokio::time::sleep(wait + std::time::Duration::from_millis(10)).await;
    }
    house.renewed(tenant).await?;
    progress(Progress::Begins);
    Ok(())
}

/// How much at once. SQLite has one writer: others poll for its place, at most a tenth of a second apart, and the log waits no
/// longer than two seconds. So transactions there are short, and between some of them is a pause.
struct Pace {
    rows: usize,
    alone: bool,
    begun: Instant,
    rested: Instant,
}

impl Pace {
    const LONG: std::time::Duration = std::time::Duration::from_millis(250);
    const WORK: std::time::Duration = std::time::Duration::from_millis(750);
    const REST: std::time::Duration = std::time::Duration::from_millis(110);

    fn of(house: &House) -> Self {
        let alone = house.store().registry().get_database_backend() != DbBackend::Postgres;
        Self { rows: if alone { BATCH / 8 } else { BATCH }, alone, begun: Instant::now(), rested: Instant::now() }
    }

    /// A batch begins: how many rows it may have.
    fn rows(&mut self) -> usize {
        self.begun = Instant::now();
        self.rows
    }

    /// A batch is over.
    async fn keep(&mut self) {
        if !self.alone {
            return;
        }
        let took = self.begun.elapsed();
        if took > Self::LONG {
            self.rows = (self.rows / 2).max(BATCH / 32);
        } else if took < Self::LONG / 2 {
            self.rows = (self.rows * 2).min(BATCH);
        }
        if self.rested.elapsed() > Self::WORK {
            tokio::time::sleep(Self::REST).await;
            self.rested = Instant::now();
        }
    }
}
