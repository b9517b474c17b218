//! Webhooks: endpoints that are told when customers change, as clear as a service token may see them.
//!
//! The log is the outbox: a change is committed together with the event that names its customers. Each endpoint has a place in
//! the log up to which its customers are noted as owed, one row for each customer, so that what is told of a customer comes in
//! order and never twice at once. What is told is made when it is sent: nothing personal waits here.

mod owed;

use chrono::{DateTime, Utc};
use policy::Verb;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::LockType;
use sea_orm::{QueryOrder, QuerySelect};
use zeroize::Zeroizing;

use crate::audit::feed;
use crate::bulk::Existing;
use crate::store::Tenanted;
use crate::{Change, Error, Session, people, token};

pub use owed::{Due, Ready, Told, about, due, note, ready, settle};

mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "webhook")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub url: String,
        pub token: String,
        pub query: String,
        pub position: i64,
        pub actor: String,
        pub at: ChronoDateTimeUtc,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

mod delivery {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "webhook_delivery")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub webhook_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: Uuid,
        /// The newest event that the endpoint is to be told of.
        pub sequence: i64,
        /// The one that it was told of.
        pub told: Option<i64>,
        pub told_at: Option<ChronoDateTimeUtc>,
        pub attempts: i32,
        /// When to try; null when nothing is owed, or nothing is tried any more.
        pub due_at: Option<ChronoDateTimeUtc>,
        /// Until when nobody else tries.
        pub held_until: Option<ChronoDateTimeUtc>,
        pub failure: Option<String>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}

impl Tenanted for delivery::Entity {
    const TENANT: delivery::Column = delivery::Column::TenantId;
}

/// The most endpoints of a tenant.
const MOST: u64 = 50;

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its key.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// The service token that it acts as.
    pub token: String,
    /// The subscription whose answers it is told.
    pub query: String,
    /// By whom it was set.
    pub set_by: String,
    /// When.
    pub set_at: DateTime<Utc>,
}

impl From<table::Model> for Webhook {
    fn from(row: table::Model) -> Self {
        let table::Model { id, name, url, token, query, actor, at, .. } = row;
        Self { id, name, url, token, query, set_by: actor, set_at: at }
    }
}

/// An endpoint and how it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doing {
    /// The endpoint.
    pub webhook: Webhook,
    /// How many customers it is owed.
    pub waiting: i64,
    /// How many customers it did not take, however often it was tried.
    pub dead: i64,
    /// When it last took something.
    pub told_at: Option<DateTime<Utc>>,
    /// Why it last did not, as long as it is owed that.
    pub failure: Option<String>,
}

/// Sets the endpoint of a name: where it is, as which service token it sees, and the subscription whose answers it is told. A
/// new one, or one at a new address, is told what changes from now on, under a secret of its own.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant; [`Error::Invalid`] when there is no such token, or its roles are not for
/// one person alone to give away.
pub async fn set(change: &Change, name: &str, url: &str, token: &str, query: &str) -> Result<Webhook, Error> {
    use table::Column::{Actor, At, Query, Token, Url};
    change.permit(Verb::TenantManage)?;
    if name.is_empty() || name.chars().count() > 60 {
        return Err(Error::Invalid("name: 1 to 60 characters".to_owned()));
    }
    let scope = change.scope();
    let roles = token::roles(scope, token).await?.ok_or_else(|| Error::Invalid("token: there is no such service token; issue one first".to_owned()))?;
    people::harmless(change, &roles.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let known = scope.find::<table::Entity>().filter(table::Column::Name.eq(name)).one(scope.tx()).await?;
    if known.is_none() && scope.find::<table::Entity>().count(scope.tx()).await? >= MOST {
        return Err(Error::Invalid(format!("name: a tenant has at most {MOST} webhooks")));
    }
    let (id, position) = match known {
        Some(row) if row.url == url => (row.id, row.position),
        known => {
            // Who listens elsewhere has another secret, and knows of nobody.
            if known.is_some() {
                remove(change, name).await?;
            }
            (Uuid::now_v7(), feed::size_in(scope).await?.cast_signed())
        }
    };
    let row = table::Model {
        tenant_id: scope.tenant(),
        id,
        name: name.to_owned(),
        url: url.to_owned(),
        token: token.to_owned(),
        query: query.to_owned(),
        position,
        actor: change.principal().subject().to_owned(),
        at: change.now(),
    };
    scope.put(vec![table::ActiveModel::from(row.clone())], Existing::Overwrite(&[Url, Token, Query, Actor, At])).await?;
    change.note("webhook", name);
    change.note("token", token);
    Ok(row.into())
}

/// Takes an endpoint away, with what it is owed.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant; [`Error::NotFound`].
pub async fn remove(change: &Change, name: &str) -> Result<(), Error> {
    let (scope, id) = (change.scope(), named(change, name).await?);
    scope.delete_where::<delivery::Entity>(delivery::Column::WebhookId.eq(id)).await?;
    scope.delete_where::<table::Entity>(table::Column::Id.eq(id)).await?;
    change.note("webhook", name);
    Ok(())
}

/// Tries again what an endpoint did not take. Returns how many customers it is owed.
///
/// # Errors
/// As [`remove`].
pub async fn replay(change: &Change, name: &str) -> Result<u64, Error> {
    let (scope, id) = (change.scope(), named(change, name).await?);
    let again = format!("UPDATE webhook_delivery SET attempts = 0, due_at = $3 WHERE tenant_id = $1 AND webhook_id = $2 AND {DEAD}");
    let again = scope.run(&again, [id.into(), change.now().into()]).await?;
    change.note("webhook", name);
    change.note("replayed", again);
    Ok(again)
}

/// What is owed, and not tried any more.
const DEAD: &str = "due_at IS NULL AND sequence > COALESCE(told, -1)";

async fn named(change: &Change, name: &str) -> Result<Uuid, Error> {
    change.permit(Verb::TenantManage)?;
    let scope = change.scope();
    // Nothing is noted for it meanwhile.
    let select = scope.find::<table::Entity>().filter(table::Column::Name.eq(name)).lock(LockType::Update);
    Ok(select.one(scope.tx()).await?.ok_or(Error::NotFound)?.id)
}

/// The endpoints and how they do, by name.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant.
pub async fn all(session: &Session) -> Result<Vec<Doing>, Error> {
    use delivery::Column;
    session.permit(Verb::TenantManage)?;
    let scope = session.scope();
    let mut all = Vec::new();
    for row in scope.find::<table::Entity>().order_by_asc(table::Column::Name).all(scope.tx()).await? {
        let of = |condition: &str| format!("SELECT count(*) AS n FROM webhook_delivery WHERE tenant_id = $1 AND webhook_id = $2 AND {condition}");
        let theirs = || scope.find::<delivery::Entity>().filter(Column::WebhookId.eq(row.id));
        let told = theirs().filter(Column::ToldAt.is_not_null()).order_by_desc(Column::ToldAt).one(scope.tx()).await?;
        let failed = theirs().filter(Column::Failure.is_not_null()).order_by_desc(Column::Sequence).one(scope.tx()).await?;
        all.push(Doing {
            waiting: scope.number(&of("due_at IS NOT NULL"), [row.id.into()]).await?,
            dead: scope.number(&of(DEAD), [row.id.into()]).await?,
            told_at: told.and_then(|row| row.told_at),
            failure: failed.and_then(|row| row.failure),
            webhook: row.into(),
        });
    }
    Ok(all)
}

/// With what an endpoint's messages are signed: made from the tenant's key and the endpoint's, and stored nowhere.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant.
pub fn secret(session: &Session, webhook: &Webhook) -> Result<Zeroizing<[u8; 32]>, Error> {
    session.permit(Verb::TenantManage)?;
    session.confide();
    Ok(session.keyring().secret("webhook", webhook.id)?)
}
