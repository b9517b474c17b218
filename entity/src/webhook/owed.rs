//! What endpoints are owed: noted from the log, held by one server at a time, told, and settled.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, LockBehavior, LockType, SimpleExpr};
use sea_orm::{QueryOrder, QuerySelect};
use zeroize::Zeroizing;

use super::delivery::{self, Column, Entity};
use super::{Webhook, table};
use crate::audit::feed::{self, Happened};
use crate::bulk::Existing;
use crate::vault::hex;
use crate::{Error, House, Principal, Scope, TenantId, token};

/// How many events of the log are read at once, and of how many customers at most.
const EVENTS: u64 = 500;
const CUSTOMERS: usize = 5_000;
/// How many customers are taken at once.
const AT_ONCE: u64 = 20;
/// For how long nobody else tries what somebody holds.
const HELD: Duration = Duration::seconds(120);
/// Whoever has held something for so long begins nothing with it any more: it is told within the rest of the time, or not.
const LATE: Duration = Duration::seconds(60);
/// When to try again after a failure, in seconds: ten times within three days, as Standard Webhooks proposes.
const AGAIN: [i64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// A customer that an endpoint is to be told of.
#[derive(Clone, Debug)]
pub struct Due {
    /// The customer.
    pub customer: Uuid,
    /// Whether the endpoint was told of the customer before, or may have been.
    pub known: bool,
    /// The newest event about it, when this was taken.
    sequence: i64,
    /// How often it was tried.
    attempts: i32,
    /// Until when it is held.
    until: DateTime<Utc>,
}

/// What is needed to tell an endpoint, as it stands at this moment.
pub struct Ready {
    /// The endpoint.
    pub webhook: Webhook,
    /// With what its messages are signed.
    pub secret: Zeroizing<[u8; 32]>,
    /// As whom it sees.
    pub principal: Principal,
    /// What the message is called, the same whenever it is tried.
    pub message: String,
}

/// How telling an endpoint of a customer went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It took it.
    Taken,
    /// It knows nothing of the customer: it never did, or it was told to forget it. What of it changes from now on, unseen, is
    /// none of its business.
    Nothing,
    /// It was not tried.
    Left,
    /// It did not take it.
    Failed {
        /// Why, without anything of what it was to be told.
        why: String,
        /// Whether to try again.
        again: bool,
    },
}

/// Notes what a tenant's endpoints are owed by now. Returns their keys.
///
/// # Errors
/// The database cannot be reached.
pub async fn note(house: &House, tenant: TenantId) -> Result<Vec<Uuid>, Error> {
    let scope = house.store().read_beside(tenant);
    let webhooks = scope.find::<table::Entity>().all(scope.tx()).await?;
    drop(scope);
    let Some(from) = webhooks.iter().map(|webhook| webhook.position).min() else { return Ok(vec![]) };
    if feed::size(house, tenant).await?.cast_signed() > from {
        let mut happened = feed::happened(house, tenant, from.cast_unsigned(), EVENTS).await?;
        // What a large import wrote is noted bit by bit: others write too.
        let mut customers = 0;
        let many = happened.iter().position(|event| {
            customers += event.customers.len();
            customers > CUSTOMERS
        });
        happened.truncate(many.map_or(usize::MAX, |at| at + 1));
        for webhook in &webhooks {
            noted(house, tenant, webhook, &happened).await?;
        }
    }
    Ok(webhooks.into_iter().map(|webhook| webhook.id).collect())
}

/// Notes the customers of what happened as owed, and the place in the log with them.
async fn noted(house: &House, tenant: TenantId, webhook: &table::Model, happened: &[Happened]) -> Result<(), Error> {
    use delivery::Column::{Attempts, DueAt, Sequence};
    let new = || happened.iter().filter(|event| event.sequence.cast_signed() >= webhook.position);
    let Some(next) = new().map(|event| event.sequence.cast_signed() + 1).max() else { return Ok(()) };
    let mut customers = BTreeMap::new();
    for event in new() {
        customers.extend(event.customers.iter().map(|customer| (*customer, event.sequence.cast_signed())));
    }
    // Where nobody was written, the place is only worth writing once in a while.
    if customers.is_empty() && (new().count() as u64) < EVENTS / 2 {
        return Ok(());
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

/// Takes customers that an endpoint is to be told of, the longest waiting first. Nobody else takes them for a while.
///
/// # Errors
/// The database cannot be reached.
pub async fn due(house: &House, tenant: TenantId, webhook: Uuid) -> Result<Vec<Due>, Error> {
    let now = house.now();
    let free = Column::HeldUntil.is_null().or(Column::HeldUntil.lte(now));
    let due = |scope: &Scope| scope.find::<Entity>().filter(Column::WebhookId.eq(webhook)).filter(Column::DueAt.lte(now)).filter(free.clone());
    let scope = house.store().read_beside(tenant);
    let stands = standing(house, &scope, webhook).await?.is_some();
    if !stands || due(&scope).one(scope.tx()).await?.is_none() {
        return Ok(vec![]);
    }
    drop(scope);
    let (scope, until) = (house.store().write_beside(tenant).await?, now + HELD);
    let select = due(&scope).order_by_asc(Column::DueAt).order_by_asc(Column::Sequence).limit(AT_ONCE);
    let rows = select.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked).all(scope.tx()).await?;
    let these = Column::WebhookId.eq(webhook).and(Column::CustomerId.is_in(rows.iter().map(|row| row.customer_id)));
    scope.update_where::<Entity>(these, vec![(Column::HeldUntil, Expr::value(until))]).await?;
    scope.commit().await?;
    let due = |row: delivery::Model| Due { customer: row.customer_id, known: row.told.is_some(), sequence: row.sequence, attempts: row.attempts, until };
    Ok(rows.into_iter().map(due).collect())
}

/// The endpoint and as whom it sees, while it stands and its token does.
async fn standing(house: &House, scope: &Scope, webhook: Uuid) -> Result<Option<(Webhook, Principal)>, Error> {
    let Some(row) = scope.find::<table::Entity>().filter(table::Column::Id.eq(webhook)).one(scope.tx()).await? else { return Ok(None) };
    match token::admit_named(scope, &row.token, house.now()).await {
        Ok(principal) => Ok(Some((row.into(), principal))),
        Err(Error::Denied | Error::Invalid(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The endpoint as it stands now. `None` when it does not any more, its token does not, or this was held for too long: then it
/// is told nothing.
///
/// # Errors
/// The database cannot be reached.
pub async fn ready(house: &House, tenant: TenantId, webhook: Uuid, due: &Due) -> Result<Option<Ready>, Error> {
    if house.now() + LATE > due.until {
        return Ok(None);
    }
    let scope = house.store().read_beside(tenant);
    let Some((standing, principal)) = standing(house, &scope, webhook).await? else { return Ok(None) };
    drop(scope);
    let keyring = house.keyring(tenant).await?;
    let id = [webhook.as_bytes().as_slice(), due.customer.as_bytes(), &due.sequence.to_be_bytes()].concat();
    let message = format!("msg_{}", hex(&keyring.digest("webhook", &id)?).as_str());
    Ok(Some(Ready { webhook: standing, secret: keyring.secret("webhook", webhook)?, principal, message }))
}

/// The endpoint is about to be told: whatever becomes of it, it may know of the customer from here on. Says whether the customer
/// is still held for it: it must not be told otherwise.
///
/// # Errors
/// The database cannot be reached: it must not be told then either.
pub async fn about(house: &House, tenant: TenantId, webhook: Uuid, due: &Due) -> Result<bool, Error> {
    if due.known {
        let scope = house.store().read_beside(tenant);
        return Ok(scope.find::<Entity>().filter(held(webhook, due)).one(scope.tx()).await?.is_some());
    }
    let scope = house.store().write_beside(tenant).await?;
    let marked = scope.update_where::<Entity>(held(webhook, due), vec![(Column::Told, Expr::value(-1_i64))]).await?;
    scope.commit().await?;
    Ok(marked > 0)
}

/// The row, while it is held by whoever took it.
fn held(webhook: Uuid, due: &Due) -> SimpleExpr {
    Column::WebhookId.eq(webhook).and(Column::CustomerId.eq(due.customer)).and(Column::HeldUntil.eq(due.until))
}

/// Notes how telling an endpoint of a customer went. What happened meanwhile is owed as before.
///
/// # Errors
/// The database cannot be reached; it is tried again after a while then.
pub async fn settle(house: &House, tenant: TenantId, webhook: Uuid, due: &Due, told: Told) -> Result<(), Error> {
    let now = house.now();
    let this = || held(webhook, due);
    // What came meanwhile is due as it was noted.
    let same = || this().and(Column::Sequence.eq(due.sequence));
    let due_at = |at: Option<DateTime<Utc>>| (Column::DueAt, Expr::value(at));
    let scope = house.store().write_beside(tenant).await?;
    match told {
        Told::Taken => {
            scope.update_where::<Entity>(same(), vec![due_at(None)]).await?;
            let taken = vec![
                (Column::Told, Expr::value(due.sequence)),
                (Column::ToldAt, Expr::value(now)),
                (Column::Attempts, Expr::value(0)),
                (Column::Failure, Expr::value(None::<String>)),
            ];
            scope.update_where::<Entity>(this(), taken).await?;
        }
        Told::Nothing => {
            scope.delete_where::<Entity>(same()).await?;
            scope.update_where::<Entity>(this(), vec![(Column::Told, Expr::value(None::<i64>))]).await?;
        }
        Told::Left => {}
        Told::Failed { why, again } => {
            let next = AGAIN.get(usize::try_from(due.attempts).unwrap_or(usize::MAX)).filter(|_| again);
            let next = next.map(|seconds| now + Duration::seconds(*seconds));
            scope.update_where::<Entity>(same(), vec![(Column::Attempts, Expr::value(due.attempts + 1)), due_at(next)]).await?;
            scope.update_where::<Entity>(this(), vec![(Column::Failure, Expr::value(why))]).await?;
        }
    }
    scope.update_where::<Entity>(this(), vec![(Column::HeldUntil, Expr::value(None::<DateTime<Utc>>))]).await?;
    scope.commit().await
}
