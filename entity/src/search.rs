//! The guess budget of equality search. A masked phone leaves ten thousand candidates; without a budget, searching for each
//! of them in turn would unmask it.

use chrono::{DateTime, Duration, Utc};
use policy::Pii;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{PaginatorTrait, QuerySelect};

use crate::store::Tenanted;
use crate::vault::{Keyring, Unreadable};
use crate::{Error, Principal, Scope, Store};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "search_guess")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub caller: String,
        pub masked: Vec<u8>,
        pub value_index: Vec<u8>,
        pub at: ChronoDateTimeUtc,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use table::{Column, Entity};

impl Tenanted for Entity {
    const TENANT: Column = Column::TenantId;
}

const PER_MASK_AND_DAY: usize = 5;
const PER_HOUR: u64 = 60;

/// How a value that was searched for is remembered. Not by the index key, whose rotation must not give the budget back.
pub(crate) fn mark<K: Pii>(keys: &Keyring, value: &str) -> Result<Vec<u8>, Unreadable> {
    Ok(keys.digest(&format!("guess {}", K::FIELD.entry().key), value.as_bytes())?.to_vec())
}

/// Whether the caller may search for one more value. The same value again is free within the day.
pub(crate) async fn spend(store: &Store, principal: &Principal, now: DateTime<Utc>, masked: Vec<u8>, value_index: Vec<u8>) -> Result<bool, Error> {
    let scope = store.write_beside(principal.tenant).await?;
    // Two searches of one caller at once would both see the old count. SQLite has one writer; on PostgreSQL the caller's own
    // lock does, for the tenant's row may be held by an import.
    if scope.tx().get_database_backend() == sea_orm::DbBackend::Postgres {
        let mine = format!("guess {}", principal.subject);
        scope.run("SELECT pg_advisory_xact_lock(hashtextextended($1::text || $2::text, 0))", [mine.into()]).await?;
    }
    let spent = spend_in(&scope, principal, now, masked, value_index).await?;
    scope.commit().await?;
    Ok(spent)
}

/// As [`spend`], in a transaction that is open and holds something that keeps the caller's others away.
pub(crate) async fn spend_in(scope: &Scope, principal: &Principal, now: DateTime<Utc>, masked: Vec<u8>, value_index: Vec<u8>) -> Result<bool, Error> {
    let mine = scope.find::<Entity>().filter(Column::Caller.eq(principal.subject.as_str()));
    let today = mine.clone().filter(Column::Masked.eq(masked.clone())).filter(Column::At.gt(now - Duration::hours(24)));
    let tried: Vec<Vec<u8>> = today.select_only().column(Column::ValueIndex).distinct().into_tuple().all(scope.tx()).await?;
    if tried.contains(&value_index) {
        return Ok(true);
    }
    let this_hour = mine.filter(Column::At.gt(now - Duration::hours(1))).count(scope.tx()).await?;
    if tried.len() >= PER_MASK_AND_DAY || this_hour >= PER_HOUR {
        return Ok(false);
    }
    let row = table::ActiveModel {
        id: Set(Uuid::now_v7()),
        caller: Set(principal.subject.clone()),
        masked: Set(masked),
        value_index: Set(value_index),
        at: Set(now),
        ..Default::default()
    };
    scope.insert(vec![row]).await?;
    Ok(true)
}
