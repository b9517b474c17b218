//! Sign-off of an import: a seeded sample of its records, which a person compares with the source, and what their verdicts
//! say about the accuracy of the whole.

use chrono::{DateTime, Utc};
use policy::Verb;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QueryOrder, QuerySelect};
use sha2::{Digest, Sha256};

use crate::guard::{Reaching, Whose};
use crate::record::{self, Record};
use crate::store::Tenanted;
use crate::{Change, Error, Session, customer, import};

mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "signoff")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub import_id: Uuid,
        pub seed: i64,
        pub drawn_by: String,
        pub drawn_at: ChronoDateTimeUtc,
        pub signed_by: Option<String>,
        pub signed_at: Option<ChronoDateTimeUtc>,
        pub note: Option<String>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

mod row {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "signoff_row")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub signoff_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub record_id: Uuid,
        pub verdict: Option<i16>,
        pub by_actor: Option<String>,
        pub at: Option<ChronoDateTimeUtc>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}
impl Tenanted for row::Entity {
    const TENANT: row::Column = row::Column::TenantId;
}

/// A sample for sign-off, and what is known from it so far.
#[derive(Clone, Debug)]
pub struct Signoff {
    /// The key.
    pub id: Uuid,
    /// The import.
    pub import: Uuid,
    /// From what the sample was drawn: the same seed draws the same rows.
    pub seed: i64,
    /// Rows of the sample.
    pub size: usize,
    /// Rows with a verdict.
    pub judged: usize,
    /// Rows that were found right.
    pub right: usize,
    /// The share of right rows, with its 95 % interval (Wilson 1927), once a row is judged.
    pub accuracy: Option<[f64; 3]>,
    /// Who signed, and when.
    pub signed: Option<(String, DateTime<Utc>)>,
}

/// A record of a sample, to be compared with its source.
pub struct Sampled {
    /// The record.
    pub record: Record,
    /// What was said of it.
    pub right: Option<bool>,
}

/// The most rows of a sample.
const MOST: usize = 1_000;

/// Draws a sample of an import: a tenth of its records, or `size` of them, never more than 1,000.
///
/// # Errors
/// [`Error::Denied`]; [`Error::NotFound`]; [`Error::Invalid`] when the import has no records.
pub async fn draw(change: &Change, import: Uuid, size: Option<usize>, seed: i64) -> Result<Signoff, Error> {
    change.permit(Verb::ImportRun)?;
    import::report(change, import).await?;
    let scope = change.scope();
    let select = scope.find::<record::Entity>().filter(record::Column::ImportId.eq(import)).select_only().column(record::Column::Id);
    let mut ids: Vec<Uuid> = select.into_tuple().all(scope.tx()).await?;
    if ids.is_empty() {
        return Err(Error::Invalid("this import has no records to draw from".to_owned()));
    }
    ids.sort_by_cached_key(|id| <[u8; 32]>::from(Sha256::new().chain_update(seed.to_be_bytes()).chain_update(id.as_bytes()).finalize()));
    ids.truncate(size.unwrap_or(ids.len().div_ceil(10)).clamp(1, MOST));
    let id = Uuid::now_v7();
    change.note("signoff", id.to_string());
    let row = table::ActiveModel {
        id: Set(id),
        import_id: Set(import),
        seed: Set(seed),
        drawn_by: Set(change.principal().subject().to_owned()),
        drawn_at: Set(change.now()),
        signed_by: Set(None),
        signed_at: Set(None),
        note: Set(None),
        ..Default::default()
    };
    scope.insert(vec![row]).await?;
    let rows = ids.iter().map(|record| row::ActiveModel {
        signoff_id: Set(id),
        record_id: Set(*record),
        verdict: Set(None),
        by_actor: Set(None),
        at: Set(None),
        ..Default::default()
    });
    scope.insert(rows.collect()).await?;
    get(change, id).await
}

/// Says of a sampled record whether it is right.
///
/// # Errors
/// [`Error::Denied`]; [`Error::NotFound`]; [`Error::Invalid`] when the sample is signed already.
pub async fn judge(change: &Change, signoff: Uuid, record: Uuid, right: bool) -> Result<Signoff, Error> {
    change.permit(Verb::ImportRun)?;
    if get(change, signoff).await?.signed.is_some() {
        return Err(Error::Invalid("this sample is signed; draw another".to_owned()));
    }
    let values = vec![
        (row::Column::Verdict, Expr::value(i16::from(right))),
        (row::Column::ByActor, Expr::value(change.principal().subject())),
        (row::Column::At, Expr::value(change.now())),
    ];
    let these = row::Column::SignoffId.eq(signoff).and(row::Column::RecordId.eq(record));
    if change.scope().update_where::<row::Entity>(these, values).await? == 0 {
        return Err(Error::NotFound);
    }
    get(change, signoff).await
}

/// Signs a sample of which every row is judged.
///
/// # Errors
/// [`Error::Denied`]; [`Error::NotFound`]; [`Error::Invalid`] when rows are left or it is signed already.
pub async fn sign(change: &Change, signoff: Uuid, note: &str) -> Result<Signoff, Error> {
    change.permit(Verb::ImportRun)?;
    let now = get(change, signoff).await?;
    if now.signed.is_some() {
        return Err(Error::Invalid("this sample is signed already".to_owned()));
    }
    if now.judged < now.size {
        return Err(Error::Invalid(format!("{} of {} rows have no verdict yet", now.size - now.judged, now.size)));
    }
    let values = vec![
        (table::Column::SignedBy, Expr::value(change.principal().subject())),
        (table::Column::SignedAt, Expr::value(change.now())),
        (table::Column::Note, Expr::value(note)),
    ];
    change.note("signed", signoff.to_string());
    change.scope().update_where::<table::Entity>(table::Column::Id.eq(signoff), values).await?;
    get(change, signoff).await
}

/// A sample and what is known from it.
///
/// # Errors
/// [`Error::Denied`] to whom may not read import reports; [`Error::NotFound`].
pub async fn get(session: &Session, id: Uuid) -> Result<Signoff, Error> {
    session.permit(Verb::ImportRead)?;
    let scope = session.scope();
    let row = scope.find::<table::Entity>().filter(table::Column::Id.eq(id)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    let rows = scope.find::<row::Entity>().filter(row::Column::SignoffId.eq(id)).all(scope.tx()).await?;
    let judged = rows.iter().filter(|row| row.verdict.is_some()).count();
    let right = rows.iter().filter(|row| row.verdict == Some(1)).count();
    Ok(Signoff {
        id,
        import: row.import_id,
        seed: row.seed,
        size: rows.len(),
        judged,
        right,
        accuracy: wilson(right, judged),
        signed: row.signed_by.zip(row.signed_at),
    })
}

/// The records of a sample.
///
/// # Errors
/// As [`get`].
pub async fn rows(session: &Session, id: Uuid) -> Result<Vec<Sampled>, Error> {
    get(session, id).await?;
    let scope = session.scope();
    let rows = scope.find::<row::Entity>().filter(row::Column::SignoffId.eq(id)).order_by_asc(row::Column::RecordId).all(scope.tx()).await?;
    let records = scope.find::<record::Entity>().filter(record::Column::Id.is_in(rows.iter().map(|row| row.record_id))).all(scope.tx()).await?;
    let owners: Vec<Uuid> = records.iter().filter_map(|record| record.customer_id).collect();
    let whose: std::collections::HashMap<Uuid, Whose> =
        customer::of_keys(session, &owners).await?.into_iter().map(|customer| (customer.id(), customer.whose())).collect();
    let verdicts: std::collections::HashMap<Uuid, Option<bool>> =
        rows.into_iter().map(|row| (row.record_id, row.verdict.map(|verdict| verdict == 1))).collect();
    Ok(records
        .into_iter()
        .filter_map(|record| {
            let right = verdicts.get(&record.id).copied().flatten();
            let whose = *whose.get(&record.customer_id?)?;
            Some(Sampled { record: Reaching::new(whose, record), right })
        })
        .collect())
}

/// The share of right rows and the 95 % score interval around it (E. B. Wilson, JASA 1927).
#[expect(clippy::cast_precision_loss, reason = "samples have at most a thousand rows")]
fn wilson(right: usize, judged: usize) -> Option<[f64; 3]> {
    if judged == 0 {
        return None;
    }
    let (n, share, z) = (judged as f64, right as f64 / judged as f64, 1.959_964);
    let centre = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt() / (1.0 + z * z / n);
    Some([share, (centre - half).max(0.0), (centre + half).min(1.0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilsons_interval() {
        let [share, low, high] = wilson(95, 100).unwrap();
        assert!((share - 0.95).abs() < 1e-9 && (low - 0.8882).abs() < 1e-3 && (high - 0.9785).abs() < 1e-3, "{low} {high}");
        let [_, low, high] = wilson(10, 10).unwrap();
        assert!(low > 0.72 && (high - 1.0).abs() < 1e-9);
        assert_eq!(wilson(0, 0), None);
    }
}
