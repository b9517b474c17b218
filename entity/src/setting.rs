//! What a tenant set for its intake: survivorship rules, and when records that are merely probable are linked or queued.

use policy::Verb;
use policy::survivorship::{Survives, Survivorship};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bulk::Existing;
use crate::store::Tenanted;
use crate::{Change, Error, Scope, Session};

mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "intake_setting")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub value: Json,
        pub author: String,
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

/// From which probability on a pair of records is linked, and from which it is queued for a person.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// At least this probable: linked; 1 links nothing. Where the tenant has set nothing, [`Thresholds::of`] decides.
    pub link: Option<f64>,
    /// At least this probable: into the duplicates queue.
    pub review: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { link: None, review: 0.5 }
    }
}

impl Thresholds {
    /// From which probability on a pair is linked. Unless the tenant says otherwise, sources that say themselves what is
    /// compared are linked from 0.95 on; of the others, whose telephone numbers decide, a person decides the rest.
    #[must_use]
    pub fn of(&self, compared: bool) -> Option<f64> {
        self.link.or(compared.then_some(0.95)).filter(|link| *link < 1.0)
    }
}

const SURVIVORSHIP: &str = "survivorship";
const THRESHOLDS: &str = "thresholds";
const DOCUMENTS: &str = "documents_required";

async fn read<T: serde::de::DeserializeOwned + Default>(scope: &Scope, name: &str) -> Result<T, Error> {
    let row = scope.find::<Entity>().filter(Column::Name.eq(name)).one(scope.tx()).await?;
    let damaged = |_| Error::Invalid(format!("the setting '{name}' is damaged; set it again"));
    row.map_or_else(|| Ok(T::default()), |row| serde_json::from_value(row.value).map_err(damaged))
}

async fn write(change: &Change, name: &str, value: Json) -> Result<(), Error> {
    change.note("setting", name);
    change.note("value", value.clone());
    let row = table::ActiveModel {
        name: Set(name.to_owned()),
        value: Set(value),
        author: Set(change.principal().subject().to_owned()),
        at: Set(change.now()),
        ..Default::default()
    };
    change.scope().put(vec![row], Existing::Overwrite(&[Column::Value, Column::Author, Column::At])).await
}

pub(crate) async fn survivorship(scope: &Scope) -> Result<Survivorship, Error> {
    read(scope, SURVIVORSHIP).await
}

pub(crate) async fn thresholds_of(scope: &Scope) -> Result<Thresholds, Error> {
    read(scope, THRESHOLDS).await
}

/// Whether callers may ask registered documents only.
pub(crate) async fn documents_required(scope: &Scope) -> Result<bool, Error> {
    read(scope, DOCUMENTS).await
}

/// Whoever calls has asked whether the caller may.
pub(crate) async fn require_documents(change: &Change, required: bool) -> Result<(), Error> {
    write(change, DOCUMENTS, json!(required)).await
}

/// The tenant's thresholds.
///
/// # Errors
/// The database cannot be reached.
pub async fn thresholds(session: &Session) -> Result<Thresholds, Error> {
    thresholds_of(session.scope()).await
}

/// The tenant's survivorship rules.
///
/// # Errors
/// The database cannot be reached.
pub async fn rules(session: &Session) -> Result<Survivorship, Error> {
    survivorship(session.scope()).await
}

/// Sets the thresholds: that of the queue holds at once, that of linking for pairs that are found from now on.
///
/// # Errors
/// [`Error::Denied`]; [`Error::Invalid`] unless 0 < review ≤ link ≤ 1.
pub async fn set_thresholds(change: &Change, thresholds: Thresholds) -> Result<(), Error> {
    let (link, review) = (thresholds.link.unwrap_or(1.0), thresholds.review);
    if !(review > 0.0 && review <= link && link <= 1.0) {
        return Err(Error::Invalid("thresholds: 0 < review ≤ link ≤ 1; a link of 1 links nothing by probability".to_owned()));
    }
    change.permit(Verb::SourceManage)?;
    write(change, THRESHOLDS, json!(thresholds)).await
}

/// Sets the survivorship rule of a field; customers are derived by it when their records change next.
///
/// # Errors
/// [`Error::Denied`]; [`Error::Invalid`] lists the fields that have a rule.
pub async fn set_survivorship(change: &Change, field: &str, rule: Survives) -> Result<(), Error> {
    change.permit(Verb::SourceManage)?;
    let rules = survivorship(change.scope()).await?.with(field, rule).map_err(Error::Invalid)?;
    write(change, SURVIVORSHIP, json!(rules)).await
}
