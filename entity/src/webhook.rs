//! Webhooks: endpoints that are told when customers change, as clear as a service token may see them.
//!
//! The log is the outbox: a change is committed together with the event that names its customers. Each endpoint has a place in
//! the log up to which its customers are noted as owed, one row for each customer, so that what is told of a customer comes in
//! order and never twice at once. What is told is made when it is sent: nothing personal waits here.

use chrono::{DateTime, Duration, Utc};
use policy::Verb;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, LockBehavior, LockType};
use sea_orm::{QueryOrder, QuerySelect};
use zeroize::Zeroizing;

use crate::audit::feed::{self, Happened};
use crate::bulk::Existing;
use crate::store::Tenanted;
use crate::vault::hex;
use crate::{Change, Error, House, Principal, Scope, Session, TenantId, people, token};

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
/// How many events of the log are read at once.
const EVENTS: u64 = 500;
/// How many customers an endpoint is told of before there is another look.
const AT_ONCE: u64 = 20;
/// For how long nobody else tries what somebody tries.
const HELD: Duration = Duration::seconds(90);
/// When to try again after a failure, in seconds: ten times within three and a half days, as Standard Webhooks proposes.
const AGAIN: [i64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

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
/// new one is told what changes from now on.
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
        Some(row) => (row.id, row.position),
        None => (Uuid::now_v7(), feed::size_in(scope).await?.cast_signed()),
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
    let row = scope.find::<table::Entity>().filter(table::Column::Name.eq(name)).one(scope.tx()).await?;
    Ok(row.ok_or(Error::NotFound)?.id)
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
    Ok(session.keyring().secret("webhook", webhook.id)?)
}

/// A customer that an endpoint is to be told of.
#[derive(Clone, Debug)]
pub struct Due {
    /// The customer.
    pub customer: Uuid,
    /// The newest event about it, when this was taken.
    pub sequence: i64,
    /// Whether the endpoint was told of the customer before.
    pub known: bool,
    /// How often it was tried.
    pub attempts: i32,
    /// What the message is called, the same whenever it is tried.
    pub message: String,
}

/// An endpoint with customers that it is to be told of now.
pub struct Owed {
    /// The endpoint.
    pub webhook: Webhook,
    /// With what its messages are signed.
    pub secret: Zeroizing<[u8; 32]>,
    /// As whom it sees; `None` when its token does not stand: then nothing is due.
    pub principal: Option<Principal>,
    /// The customers. Nobody else takes them for a while.
    pub due: Vec<Due>,
}

/// How telling an endpoint of a customer went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It took it, or there was nothing that it may see.
    Taken,
    /// There is nothing to tell it, and it never knew.
    Nothing,
    /// It did not take it.
    Failed {
        /// Why, without anything of what it was to be told.
        why: String,
        /// Whether to try again.
        again: bool,
    },
}

/// Notes what a tenant's endpoints are owed by now, and takes what is due. `busy` endpoints are passed over.
///
/// # Errors
/// The database cannot be reached.
pub async fn take(house: &House, tenant: TenantId, busy: &(dyn Fn(Uuid) -> bool + Sync)) -> Result<Vec<Owed>, Error> {
    let scope = house.store().read_beside(tenant).await?;
    let webhooks = scope.find::<table::Entity>().all(scope.tx()).await?;
    drop(scope);
    let Some(from) = webhooks.iter().map(|webhook| webhook.position).min() else { return Ok(vec![]) };
    let happened = match feed::size(house, tenant).await? {
        size if size.cast_signed() > from => feed::happened(house, tenant, from.cast_unsigned(), EVENTS).await?,
        _ => vec![],
    };
    let keyring = house.keyring(tenant).await?;
    let mut owed = Vec::new();
    for webhook in webhooks {
        note(house, tenant, &webhook, &happened).await?;
        if busy(webhook.id) {
            continue;
        }
        let scope = house.store().read_beside(tenant).await?;
        let principal = token::admit_named(&scope, &webhook.token, house.now()).await.ok();
        drop(scope);
        let secret = keyring.secret("webhook", webhook.id)?;
        let mut due = Vec::new();
        if principal.is_some() {
            for row in hold(house, tenant, webhook.id).await? {
                let id = [webhook.id.as_bytes().as_slice(), row.customer_id.as_bytes(), &row.sequence.to_be_bytes()].concat();
                let message = format!("msg_{}", hex(&keyring.digest("webhook", &id)?).as_str());
                due.push(Due { customer: row.customer_id, sequence: row.sequence, known: row.told.is_some(), attempts: row.attempts, message });
            }
        }
        owed.push(Owed { webhook: webhook.into(), secret, principal, due });
    }
    Ok(owed)
}

/// Notes the customers of what happened as owed, and the place in the log with them.
async fn note(house: &House, tenant: TenantId, webhook: &table::Model, happened: &[Happened]) -> Result<(), Error> {
    use delivery::Column::{Attempts, DueAt, Sequence};
    let new = || happened.iter().filter(|event| event.sequence.cast_signed() >= webhook.position);
    let Some(next) = new().map(|event| event.sequence.cast_signed() + 1).max() else { return Ok(()) };
    let mut customers: std::collections::BTreeMap<Uuid, i64> = std::collections::BTreeMap::new();
    for event in new() {
        customers.extend(event.customers.iter().map(|customer| (*customer, event.sequence.cast_signed())));
    }
    let scope = house.store().write_beside(tenant).await?;
    // Another server may have been here.
    let moved = "UPDATE webhook SET position = $4 WHERE tenant_id = $1 AND id = $2 AND position = $3";
    if scope.run(moved, [webhook.id.into(), webhook.position.into(), next.into()]).await? == 0 {
        return Ok(());
    }
    let now = house.now();
    let rows = customers.into_iter().map(|(customer, sequence)| delivery::ActiveModel {
        webhook_id: Set(webhook.id),
        customer_id: Set(customer),
        sequence: Set(sequence),
        told: Set(None),
        told_at: Set(None),
        attempts: Set(0),
        due_at: Set(Some(now)),
        held_until: Set(None),
        failure: Set(None),
        ..Default::default()
    });
    scope.put(rows.collect(), Existing::Overwrite(&[Sequence, Attempts, DueAt])).await?;
    scope.commit().await
}

/// Takes customers that an endpoint is to be told of, the longest waiting first.
async fn hold(house: &House, tenant: TenantId, webhook: Uuid) -> Result<Vec<delivery::Model>, Error> {
    use delivery::Column;
    let now = house.now();
    let free = Column::HeldUntil.is_null().or(Column::HeldUntil.lte(now));
    let due = |scope: &Scope| scope.find::<delivery::Entity>().filter(Column::WebhookId.eq(webhook)).filter(Column::DueAt.lte(now)).filter(free.clone());
    let scope = house.store().read_beside(tenant).await?;
    if due(&scope).one(scope.tx()).await?.is_none() {
        return Ok(vec![]);
    }
    drop(scope);
    let scope = house.store().write_beside(tenant).await?;
    let select = due(&scope).order_by_asc(Column::DueAt).order_by_asc(Column::Sequence).limit(AT_ONCE);
    let rows = select.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked).all(scope.tx()).await?;
    let these = Column::WebhookId.eq(webhook).and(Column::CustomerId.is_in(rows.iter().map(|row| row.customer_id)));
    scope.update_where::<delivery::Entity>(these, vec![(Column::HeldUntil, Expr::value(now + HELD))]).await?;
    scope.commit().await?;
    Ok(rows)
}

/// Notes how telling an endpoint of a customer went. What happened meanwhile is owed as before.
///
/// # Errors
/// The database cannot be reached; it is tried again after a while then.
pub async fn settle(house: &House, tenant: TenantId, webhook: Uuid, due: &Due, told: Told) -> Result<(), Error> {
    use delivery::{Column, Entity};
    let now = house.now();
    let this = Column::WebhookId.eq(webhook).and(Column::CustomerId.eq(due.customer));
    // What came meanwhile is due as it was noted.
    let same = this.clone().and(Column::Sequence.eq(due.sequence));
    let released = (Column::HeldUntil, Expr::value(None::<DateTime<Utc>>));
    let due_at = |at: Option<DateTime<Utc>>| (Column::DueAt, Expr::value(at));
    let scope = house.store().write_beside(tenant).await?;
    match told {
        Told::Taken => {
            let taken = vec![
                (Column::Told, Expr::value(due.sequence)),
                (Column::ToldAt, Expr::value(now)),
                (Column::Attempts, Expr::value(0)),
                (Column::Failure, Expr::value(None::<String>)),
                released,
            ];
            scope.update_where::<Entity>(this, taken).await?;
            scope.update_where::<Entity>(same, vec![due_at(None)]).await?;
        }
        Told::Nothing => {
            scope.delete_where::<Entity>(same).await?;
            scope.update_where::<Entity>(this, vec![released]).await?;
        }
        Told::Failed { why, again } => {
            let next = AGAIN.get(usize::try_from(due.attempts).unwrap_or(usize::MAX)).filter(|_| again);
            let next = next.map(|seconds| now + Duration::seconds(*seconds));
            scope.update_where::<Entity>(this, vec![(Column::Failure, Expr::value(why)), released]).await?;
            scope.update_where::<Entity>(same, vec![(Column::Attempts, Expr::value(due.attempts + 1)), due_at(next)]).await?;
        }
    }
    scope.commit().await
}
