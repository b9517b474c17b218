//! Retention: events may go when their time is over, two persons want it, and their hashes stay.

use chrono::{DateTime, Duration, Utc};
use policy::Verb;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, QueryOrder};

use super::cells::{self, Told};
use super::checkpoint::last;
use super::proof::read;
use super::table::{event, subject, wide};
use crate::store::Tenanted;
use crate::{Change, Error, Scope, Session};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_pruning")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub below: i64,
        pub asked_by: String,
        pub asked_at: ChronoDateTimeUtc,
        pub approved_by: Option<String>,
        pub approved_at: Option<ChronoDateTimeUtc>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}

/// A pruning that was asked for, or done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruning {
    /// Events before this place go, or are gone.
    pub below: u64,
    /// Who asked.
    pub asked_by: String,
    /// When.
    pub asked_at: DateTime<Utc>,
    /// Who approved and so did it.
    pub approved_by: Option<String>,
    /// When.
    pub approved_at: Option<DateTime<Utc>>,
}

impl From<table::Model> for Pruning {
    fn from(row: table::Model) -> Self {
        Self { below: row.below.unsigned_abs(), asked_by: row.asked_by, asked_at: row.asked_at, approved_by: row.approved_by, approved_at: row.approved_at }
    }
}

/// Events before this place are pruned.
pub(super) async fn pruned(scope: &Scope) -> Result<u64, Error> {
    let sql = "SELECT max(below) AS n FROM audit_pruning WHERE tenant_id = $1 AND approved_by IS NOT NULL";
    Ok(scope.number(sql, []).await?.unsigned_abs())
}

/// The longest time for which events can be kept, in days: a century.
const LONGEST: i32 = 36_525;

/// Lengthens how long events are kept; three years unless it was. It can never be shortened.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant; [`Error::Invalid`] for a shorter time.
pub async fn set_retention(change: &Change, days: u32) -> Result<(), Error> {
    change.permit(Verb::TenantManage)?;
    let lasting = i32::try_from(days).ok().filter(|days| *days <= LONGEST).ok_or_else(|| Error::Invalid(format!("days: at most {LONGEST}")))?;
    let changed = change.scope().run("UPDATE audit_head SET retention_days = $2 WHERE tenant_id = $1 AND retention_days < $2", [lasting.into()]).await?;
    if changed == 0 {
        return Err(Error::Invalid("the log is kept as long as that already; the time can only be made longer".to_owned()));
    }
    change.note("retention_days", days);
    Ok(())
}

/// Asks that events before a moment go. They do when a second person approves. Whole tiles of 256 go; their hashes stay.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant; [`Error::Invalid`] when their time is not over, or there is nothing to
/// prune.
pub async fn ask_pruning(change: &Change, before: DateTime<Utc>) -> Result<Pruning, Error> {
    change.permit(Verb::TenantManage)?;
    let scope = change.scope();
    let days = scope.number("SELECT CAST(retention_days AS bigint) AS n FROM audit_head WHERE tenant_id = $1", []).await?;
    let over = Duration::try_days(days).and_then(|kept| change.now().checked_sub_signed(kept));
    if over.is_none_or(|over| before > over) {
        return Err(Error::Invalid(format!("before: events are kept for {days} days here")));
    }
    // Events are in the order in which they were made durable: the first that is younger stays, with all behind it.
    let younger = "SELECT min(sequence) AS n FROM audit_event WHERE tenant_id = $1 AND at >= $2";
    let first = scope.number(younger, [before.into()]).await?.unsigned_abs();
    let signed = last(scope).await?.map(|note| read(&note)).transpose()?.map_or(0, |checkpoint| checkpoint.size);
    let below = first.min(signed) / 256 * 256;
    if below <= pruned(scope).await? {
        return Err(Error::Invalid("before: there are no 256 events together that are older and under a checkpoint".to_owned()));
    }
    scope.delete_where::<table::Entity>(table::Column::ApprovedBy.is_null()).await?;
    let row = table::ActiveModel {
        below: Set(below.cast_signed()),
        asked_by: Set(change.principal().subject().to_owned()),
        asked_at: Set(change.now()),
        approved_by: Set(None),
        approved_at: Set(None),
        ..Default::default()
    };
    scope.insert(vec![row]).await?;
    change.note("prune_below", below);
    prunings(change).await?.into_iter().find(|pruning| pruning.below == below).ok_or(Error::NotFound)
}

/// Approves the pruning that was asked for, and does it.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the log; [`Error::NotFound`] when none was asked for; [`Error::Invalid`] to whom asked.
pub async fn approve_pruning(change: &Change) -> Result<Pruning, Error> {
    change.permit(Verb::AuditRead)?;
    let scope = change.scope();
    let open = scope.find::<table::Entity>().filter(table::Column::ApprovedBy.is_null()).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    let me = change.principal().subject();
    if open.asked_by == me {
        return Err(Error::Invalid("a second person approves a pruning, not the one who asked for it".to_owned()));
    }
    let values = vec![(table::Column::ApprovedBy, Expr::value(me)), (table::Column::ApprovedAt, Expr::value(change.now()))];
    scope.update_where::<table::Entity>(Condition::all().add(table::Column::Below.eq(open.below)).add(table::Column::ApprovedBy.is_null()), values).await?;
    // Rows of which the last word goes are told of anew, by the event of this pruning; nobody writes them meanwhile.
    crate::tenant::lock(scope).await?;
    let mut told = Told::default();
    for row in scope.rows(cells::LISTS, []).await? {
        told.hear(row.try_get("", "sequence")?, &row.try_get::<Vec<u8>>("", "cells")?);
    }
    for (table, id) in told.before(open.below) {
        scope.written().these(table, [id]);
    }
    let gone = scope.delete_where::<event::Entity>(event::Column::Sequence.lt(open.below)).await?;
    scope.run("DELETE FROM audit_cells WHERE tenant_id = $1 AND event_id NOT IN (SELECT id FROM audit_event WHERE tenant_id = $1)", []).await?;
    scope.delete_where::<subject::Entity>(subject::Column::Sequence.lt(open.below)).await?;
    scope.delete_where::<wide::Entity>(wide::Column::Sequence.lt(open.below)).await?;
    change.note("pruned_below", open.below);
    change.note("pruned", gone);
    prunings(change).await?.into_iter().find(|pruning| pruning.below == open.below.unsigned_abs()).ok_or(Error::NotFound)
}

/// Prunings, newest first.
///
/// # Errors
/// [`Error::Denied`] to whom may neither read the log nor manage the tenant.
pub async fn prunings(session: &Session) -> Result<Vec<Pruning>, Error> {
    if !session.matrix().may(Verb::TenantManage) {
        session.permit(Verb::AuditRead)?;
    }
    let scope = session.scope();
    Ok(scope.find::<table::Entity>().order_by_desc(table::Column::Below).all(scope.tx()).await?.into_iter().map(Pruning::from).collect())
}
