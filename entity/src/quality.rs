//! The monthly quality review: five measures per source, kept from month to month.
//!
//! Completeness: filled cells of the mapped identity fields. Validity: rows that were not refused. Uniqueness: rows that were
//! no repetition. Consistency: records whose status and company, where they tell one, are their customer's. Timeliness: records
//! changed or imported within the last ninety days. Each is a share from 0 to 1.

use chrono::{DateTime, Duration, Utc};
use policy::Verb;
use sea_orm::ActiveValue::Set;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

use crate::bulk::Existing;
use crate::store::Tenanted;
use crate::{Change, Error, House, Scope, Session, import, source};

mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "quality_review")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub month: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub source: String,
        pub records: i32,
        pub completeness: f64,
        pub validity: f64,
        pub uniqueness: f64,
        pub consistency: f64,
        pub timeliness: f64,
        pub at: ChronoDateTimeUtc,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use table::{Column, Entity, Model};

impl Tenanted for Entity {
    const TENANT: Column = Column::TenantId;
}

/// The review of a source in a month.
#[derive(Clone, Debug, PartialEq)]
pub struct Review {
    /// `2026-11`.
    pub month: String,
    /// The source system.
    pub source: String,
    /// How many records it has.
    pub records: i32,
    /// Completeness, validity, uniqueness, consistency, timeliness; 0 to 1 each.
    pub measures: [f64; 5],
    /// When it was made.
    pub at: DateTime<Utc>,
}

impl From<Model> for Review {
    fn from(row: Model) -> Self {
        Self {
            month: row.month,
            source: row.source,
            records: row.records,
            measures: [row.completeness, row.validity, row.uniqueness, row.consistency, row.timeliness],
            at: row.at,
        }
    }
}

/// Reviews every source that has records, for the month of today. A second review in a month takes the first one's place.
///
/// # Errors
/// [`Error::Denied`] to whom may not import.
pub async fn review(change: &Change) -> Result<Vec<Review>, Error> {
    change.permit(Verb::ImportRun)?;
    let rows = measured(change.scope(), change.now()).await?;
    change.note("reviewed", rows.len());
    keep(change.scope(), rows).await?;
    let month = month(change.now());
    Ok(history(change).await?.into_iter().filter(|review| review.month == month).collect())
}

/// Reviews the sources of tenants of whom this month has no review yet: a server does so by itself. It counts and sees nobody, so
/// the log has no event of it. What is wrong with one tenant keeps no other from its review.
///
/// # Errors
/// The database cannot be reached.
pub async fn monthly(house: &House) -> Result<(), Error> {
    let now = house.now();
    for tenant in house.tenants().await? {
        let one = async {
            let rows = {
                let scope = house.store().read(tenant.id);
                if scope.find::<Entity>().filter(Column::Month.eq(month(now))).one(scope.tx()).await?.is_some() {
                    return Ok(());
                }
                measured(&scope, now).await?
            };
            if rows.is_empty() {
                return Ok(());
            }
            let scope = house.store().write_beside(tenant.id).await?;
            keep(&scope, rows).await?;
            scope.commit().await
        };
        let done: Result<(), Error> = one.await;
        if let Err(error) = done {
            tracing::error!(tenant = %tenant.id.0, %error, "the sources could not be reviewed");
        }
    }
    Ok(())
}

/// `2026-11`.
fn month(now: DateTime<Utc>) -> String {
    now.with_timezone(&policy::clean::date::zone()).format("%Y-%m").to_string()
}

async fn measured(scope: &Scope, now: DateTime<Utc>) -> Result<Vec<table::ActiveModel>, Error> {
    let mut rows = Vec::new();
    for source in source::in_scope(scope).await? {
        let one = |sql: &'static str| async move { scope.number(sql, [source.id.into()]).await };
        let records = one("SELECT count(*) AS n FROM source_record WHERE tenant_id = $1 AND source_id = $2").await?;
        if records == 0 {
            continue;
        }
        let filled = one(
            "SELECT sum(CASE WHEN name IS NOT NULL THEN 1 ELSE 0 END + CASE WHEN phone IS NOT NULL OR landline IS NOT NULL THEN 1 ELSE 0 END \
             + CASE WHEN email IS NOT NULL OR address IS NOT NULL OR company IS NOT NULL THEN 1 ELSE 0 END) AS n FROM source_record WHERE tenant_id = $1 AND source_id = $2",
        )
        .await?;
        let agreeing = one("SELECT count(*) AS n FROM source_record r JOIN customer c ON c.tenant_id = r.tenant_id AND c.id = r.customer_id \
             WHERE r.tenant_id = $1 AND r.source_id = $2 AND (r.status IS NULL OR c.status IS NULL OR r.status = c.status) \
             AND (r.company IS NULL OR c.company IS NULL OR r.company = c.company)")
        .await?;
        let since = now - Duration::days(90);
        let fresh = scope
            .number(
                "SELECT count(*) AS n FROM source_record WHERE tenant_id = $1 AND source_id = $2 AND (imported_at >= $3 OR source_updated_at >= $3)",
                [source.id.into(), since.into()],
            )
            .await?;
        let (mut read, mut rejected, mut duplicate) = (0, 0, 0);
        let done = scope.find::<import::table::Entity>().filter(import::table::Column::SourceId.eq(source.id));
        for row in done.filter(import::table::Column::State.eq("done")).all(scope.tx()).await? {
            read += i64::from(row.rows_read);
            rejected += i64::from(row.rejected);
            duplicate += i64::from(row.duplicate);
        }
        rows.push(table::ActiveModel {
            month: Set(month(now)),
            source: Set(source.name.clone()),
            records: Set(i32::try_from(records).unwrap_or(i32::MAX)),
            completeness: Set(share(filled, records * 3)),
            validity: Set(share(read - rejected, read)),
            uniqueness: Set(share(read - duplicate, read)),
            consistency: Set(share(agreeing, records)),
            timeliness: Set(share(fresh, records)),
            at: Set(now),
            ..Default::default()
        });
    }
    Ok(rows)
}

async fn keep(scope: &Scope, rows: Vec<table::ActiveModel>) -> Result<(), Error> {
    let measures = [Column::Records, Column::Completeness, Column::Validity, Column::Uniqueness, Column::Consistency, Column::Timeliness, Column::At];
    scope.put(rows, Existing::Overwrite(&measures)).await
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows, far below 2^52")]
fn share(part: i64, whole: i64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// All reviews, newest month first.
///
/// # Errors
/// [`Error::Denied`] to whom may not read import reports.
pub async fn history(session: &Session) -> Result<Vec<Review>, Error> {
    session.permit(Verb::ImportRead)?;
    let scope = session.scope();
    let rows = scope.find::<Entity>().order_by_desc(Column::Month).order_by_asc(Column::Source).all(scope.tx()).await?;
    Ok(rows.into_iter().map(Review::from).collect())
}
