//! What a tenant works with personal data for. A caller declares one of these; rules bind them to roles.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use policy::{Act, Rule, Verb};
use sea_orm::ActiveValue::Set;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

use crate::bulk::Existing;
use crate::store::Tenanted;
use crate::{Change, Error, Scope, Session, policy_version, tenant};

mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "purpose")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub code: String,
        pub label: String,
        pub retired_at: Option<ChronoDateTimeUtc>,
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

/// What every tenant starts with.
const STANDARD: [(&str, &str); 4] =
    [("sales_follow_up", "销售跟进"), ("customer_service", "客户服务"), ("data_quality", "数据质量"), ("privacy_request", "个人信息权利请求")];

/// A purpose of the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// The word that callers and rules use.
    pub code: String,
    /// What it is, in the tenant's words.
    pub label: String,
    /// Since when nobody may declare it any more.
    pub retired_at: Option<DateTime<Utc>>,
}

/// The purposes, by code.
///
/// # Errors
/// The database cannot be reached.
pub async fn all(session: &Session) -> Result<Vec<Purpose>, Error> {
    let scope = session.scope();
    let rows = scope.find::<Entity>().order_by_asc(Column::Code).all(scope.tx()).await?;
    Ok(rows.into_iter().map(|row| Purpose { code: row.code, label: row.label, retired_at: row.retired_at }).collect())
}

/// The codes of those that stand.
pub(crate) async fn codes(scope: &Scope) -> Result<BTreeSet<String>, Error> {
    let rows = scope.find::<Entity>().filter(Column::RetiredAt.is_null()).all(scope.tx()).await?;
    Ok(rows.into_iter().map(|row| row.code).collect())
}

/// Refuses a purpose that is not one of those that stand.
pub(crate) async fn known(scope: &Scope, code: &str) -> Result<(), Error> {
    let codes = codes(scope).await?;
    if codes.contains(code) {
        return Ok(());
    }
    Err(Error::Invalid(format!("purpose: not one of this tenant's ({})", codes.into_iter().collect::<Vec<_>>().join(", "))))
}

pub(crate) async fn install_standard(scope: &Scope, now: DateTime<Utc>) -> Result<(), Error> {
    let rows = STANDARD.map(|(code, label)| row(code, label, None, "panorama", now));
    scope.insert(rows.into()).await
}

fn row(code: &str, label: &str, retired_at: Option<DateTime<Utc>>, author: &str, at: DateTime<Utc>) -> table::ActiveModel {
    table::ActiveModel {
        code: Set(code.to_owned()),
        label: Set(label.to_owned()),
        retired_at: Set(retired_at),
        author: Set(author.to_owned()),
        at: Set(at),
        ..Default::default()
    }
}

/// Adds a purpose, gives one another label, or retires it: nobody declares it any more, whatever rules name it. One that was
/// retired comes back only where that opens no clear sight: what opens it is for two persons.
///
/// # Errors
/// [`Error::Denied`] to whom may not change the policy; [`Error::Invalid`] when the code is not a word, or a retired one that
/// rules in force give clear sight for.
pub async fn put(change: &Change, code: &str, label: &str, retired: bool) -> Result<Purpose, Error> {
    change.permit(Verb::PolicyChange)?;
    let word = code.starts_with(|c: char| c.is_ascii_lowercase()) && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !word || code.len() > 40 {
        return Err(Error::Invalid("code: 1 to 40 characters of a-z, 0-9 and _, a letter first".to_owned()));
    }
    let scope = change.scope();
    tenant::lock(scope).await?;
    let stands = codes(scope).await?.contains(code);
    if !retired && !stands && opens_clear(scope, code).await? {
        return Err(Error::Invalid(format!(
            "code: rules in force give clear sight for '{code}', which was retired; use a new code and a policy version that names it, which a second person approves"
        )));
    }
    let retired_at = retired.then(|| change.now());
    scope.readmits();
    change.note("purpose", code);
    change.note("retired", retired);
    let row = row(code, label.trim(), retired_at, change.principal().subject(), change.now());
    scope.put(vec![row], Existing::Overwrite(&[Column::Label, Column::RetiredAt, Column::Author, Column::At])).await?;
    Ok(Purpose { code: code.to_owned(), label: label.trim().to_owned(), retired_at })
}

/// Whether a rule of the version in force gives clear sight for this purpose by name.
async fn opens_clear(scope: &Scope, code: &str) -> Result<bool, Error> {
    let policy = policy_version::active(scope).await?.policy;
    let opens = |rule: &Rule| matches!(rule, Rule::Permit { act, purpose, allow: true, .. } if purpose == code && act == Act::ReadClear.word());
    Ok(policy.rules().iter().any(opens))
}
