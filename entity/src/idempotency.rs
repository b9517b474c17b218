//! Idempotency keys: a change that is asked for twice with one key is done once, and the second answer is the first
//! (draft-ietf-httpapi-idempotency-key-header). For a day, as long as nobody's rights stand against it, and only where nothing of
//! a person was seen: who sees that again asks again, and is in the log.

use chrono::Duration;
use sea_orm::entity::prelude::*;
use zeroize::Zeroizing;

use crate::store::Tenanted;
use crate::vault::Wrapped;
use crate::{Change, Error, House, Scope, tenant};

mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "idempotency")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        /// A keyed hash of what was asked.
        pub asked: Vec<u8>,
        /// And of what the caller could see then.
        pub sight: Vec<u8>,
        pub request: String,
        pub at: ChronoDateTimeUtc,
        pub record_key: Option<Vec<u8>>,
        pub answer: Option<Vec<u8>>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use table::{Column, Entity};

impl Tenanted for Entity {
    const TENANT: Column = Column::TenantId;
}

const TABLE: &str = "idempotency";

/// How long a key is known.
const KNOWN: Duration = Duration::days(1);

/// What a key stands for.
pub enum Claim {
    /// Nothing yet: this is to be done, and its answer kept.
    First(Uuid),
    /// It was done, and answered so. `None` when the answer is not kept, or the caller's sight is another by now.
    Done(Option<Zeroizing<Vec<u8>>>),
    /// Something else that was asked for.
    Other,
}

/// Claims a key for what is asked. Whoever claims it meanwhile waits for the end of this.
///
/// # Errors
/// The database cannot be reached.
pub async fn claim(change: &Change, key: &str, asked: &[u8], request: &str) -> Result<Claim, Error> {
    let (scope, keyring, principal) = (change.scope(), change.keyring(), change.principal());
    // As all who forget: no two wait for each other, and nothing is kept of a person who is being erased.
    tenant::lock(scope).await?;
    let id = Uuid::from_bytes(keyring.digest("idempotency key", format!("{}\n{key}", principal.subject()).as_bytes())?);
    let asked = keyring.digest("idempotency", asked)?.to_vec();
    let sight = format!("{}\n{}\n{}", change.policy_version(), principal.roles().join(","), principal.purpose().unwrap_or_default());
    let sight = keyring.digest("idempotency", sight.as_bytes())?.to_vec();
    scope.delete_where::<Entity>(Column::At.lt(change.now() - KNOWN)).await?;
    let new = "INSERT INTO idempotency (tenant_id, id, asked, sight, request, at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    let values: [Value; 5] = [id.into(), asked.clone().into(), sight.clone().into(), request.into(), change.now().into()];
    if scope.run(new, values).await? > 0 {
        return Ok(Claim::First(id));
    }
    let Some(row) = scope.find::<Entity>().filter(Column::Id.eq(id)).one(scope.tx()).await? else { return Ok(Claim::Other) };
    if row.asked != asked {
        return Ok(Claim::Other);
    }
    change.note("again", row.request);
    let (Some(wrapped), Some(answer), true) = (&row.record_key, &row.answer, row.sight == sight) else { return Ok(Claim::Done(None)) };
    // Its key may have been destroyed since: then the answer is gone.
    let opened = keyring.record(TABLE, id, Wrapped(Some(wrapped))).and_then(|key| key.open_text("answer", answer));
    Ok(Claim::Done(opened.ok()))
}

/// Forgets the keys of more than a day ago, of all tenants.
///
/// # Errors
/// The database cannot be reached.
pub async fn sweep(house: &House) -> Result<(), Error> {
    let before = house.now() - KNOWN;
    for tenant in house.tenants().await? {
        let scope = house.store().read_beside(tenant.id);
        if scope.find::<Entity>().filter(Column::At.lt(before)).one(scope.tx()).await?.is_none() {
            continue;
        }
        drop(scope);
        let scope = house.store().write_beside(tenant.id).await?;
        tenant::lock(&scope).await?;
        scope.delete_where::<Entity>(Column::At.lt(before)).await?;
        scope.commit().await?;
    }
    Ok(())
}

/// Keeps the answer to what was claimed, sealed.
///
/// # Errors
/// The cipher refuses, or the database cannot be reached.
pub async fn keep(change: &Change, id: Uuid, answer: &[u8]) -> Result<(), Error> {
    let (key, wrapped, _) = change.keyring().new_record(TABLE, id)?;
    let kept = vec![(Column::RecordKey, Expr::value(wrapped)), (Column::Answer, Expr::value(key.seal_text("answer", answer)?))];
    change.scope().update_where::<Entity>(Column::Id.eq(id), kept).await?;
    Ok(())
}

/// Forgets all answers, but not what was done: somebody who is told of in one of them is not to be seen so any more.
pub(crate) async fn forget(scope: &Scope) -> Result<(), Error> {
    scope.run("UPDATE idempotency SET record_key = NULL, answer = NULL WHERE tenant_id = $1", []).await?;
    Ok(())
}
