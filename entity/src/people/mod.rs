//! Departments and users of a tenant.

mod proposal;
mod role;

pub use proposal::{Proposal, proposals};
pub(crate) use proposal::{harmless, may_still};
pub use role::{Assigned, Holder, assign, holders};
pub(crate) use role::{changed, held};

use std::collections::HashMap;

use policy::Verb;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use serde_json::json;

use crate::principal::OPERATOR;
use crate::store::Tenanted;
use crate::{Change, Error, Principal, Scope, Session};

pub(crate) mod department {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "department")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub roles: Json,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod user {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "app_user")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub subject: String,
        pub name: String,
        pub department_id: Option<Uuid>,
        pub roles: Json,
        pub disabled_at: Option<ChronoDateTimeUtc>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for department::Entity {
    const TENANT: department::Column = department::Column::TenantId;
}
impl Tenanted for user::Entity {
    const TENANT: user::Column = user::Column::TenantId;
}

/// A user as others see them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The key.
    pub id: Uuid,
    /// What they are called.
    pub name: String,
    /// The department's name.
    pub department: Option<String>,
    pub(crate) department_id: Option<Uuid>,
}

/// Everybody of the tenant by key.
pub(crate) async fn everybody(scope: &Scope) -> Result<HashMap<Uuid, Person>, Error> {
    let departments: HashMap<Uuid, String> = scope.find::<department::Entity>().all(scope.tx()).await?.into_iter().map(|row| (row.id, row.name)).collect();
    let people = scope.find::<user::Entity>().all(scope.tx()).await?.into_iter();
    Ok(people
        .map(|row| {
            let department = row.department_id.and_then(|id| departments.get(&id).cloned());
            (row.id, Person { id: row.id, name: row.name, department, department_id: row.department_id })
        })
        .collect())
}

/// Everybody of the tenant by key.
///
/// # Errors
/// The database cannot be reached.
pub async fn all(session: &Session) -> Result<HashMap<Uuid, Person>, Error> {
    everybody(session.scope()).await
}

/// The people of the tenant by name, for mapping a source's owner column. A name that two bear is nobody's, and so is that of
/// a disabled user.
///
/// # Errors
/// The database cannot be reached.
pub async fn by_name(session: &Session) -> Result<HashMap<String, Uuid>, Error> {
    let scope = session.scope();
    let mut by: HashMap<String, Vec<Uuid>> = HashMap::new();
    for row in scope.find::<user::Entity>().filter(user::Column::DisabledAt.is_null()).all(scope.tx()).await? {
        by.entry(row.name).or_default().push(row.id);
    }
    Ok(by.into_iter().filter_map(|(name, ids)| if let [only] = ids[..] { Some((name, only)) } else { None }).collect())
}

/// Makes a user, and the department if it is new. Returns false when there is a user of this subject, who is left as they are.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant; a role that the policy does not know, or that one person alone does not
/// give; a subject that could be taken for an operator or a token.
pub async fn add(change: &Change, subject: &str, name: &str, department: Option<&str>, roles: &[&str]) -> Result<bool, Error> {
    change.permit(Verb::TenantManage)?;
    change.known_roles(roles)?;
    if subject.starts_with(OPERATOR) || subject.starts_with("token:") {
        return Err(Error::Invalid("subject: operator: and token: begin no user's; choose another".to_owned()));
    }
    let scope = change.scope();
    if scope.find::<user::Entity>().filter(user::Column::Subject.eq(subject)).one(scope.tx()).await?.is_some() {
        return Ok(false);
    }
    let department_id = if let Some(name) = department { Some(department_of(scope, name).await?) } else { None };
    let inherited = proposal::department_roles(scope, department_id).await?;
    harmless(change, &roles.iter().copied().chain(inherited.iter().map(String::as_str)).collect::<Vec<_>>()).await?;
    change.note("user", subject);
    let row = user::ActiveModel {
        id: Set(Uuid::now_v7()),
        subject: Set(subject.to_owned()),
        name: Set(name.to_owned()),
        department_id: Set(department_id),
        roles: Set(json!(roles)),
        disabled_at: Set(None),
        ..Default::default()
    };
    scope.insert(vec![row]).await?;
    changed(change, &Holder::User(subject.to_owned()), roles).await?;
    Ok(true)
}

/// The department of this name; made when it is new.
async fn department_of(scope: &Scope, name: &str) -> Result<Uuid, Error> {
    if let Some(row) = scope.find::<department::Entity>().filter(department::Column::Name.eq(name)).one(scope.tx()).await? {
        return Ok(row.id);
    }
    let id = Uuid::now_v7();
    scope.insert(vec![department::ActiveModel { id: Set(id), name: Set(name.to_owned()), roles: Set(json!([])), ..Default::default() }]).await?;
    Ok(id)
}

/// The user of this subject who is not disabled.
pub(crate) async fn of_subject(scope: &Scope, subject: &str) -> Result<Option<Uuid>, Error> {
    let row = scope.find::<user::Entity>().filter(user::Column::Subject.eq(subject)).filter(user::Column::DisabledAt.is_null()).one(scope.tx()).await?;
    Ok(row.map(|row| row.id))
}

/// The user of this subject, who may be disabled.
pub(crate) async fn anybody(scope: &Scope, subject: &str) -> Result<Option<Uuid>, Error> {
    Ok(scope.find::<user::Entity>().filter(user::Column::Subject.eq(subject)).one(scope.tx()).await?.map(|row| row.id))
}

/// Whether a user of this subject exists.
///
/// # Errors
/// The database cannot be reached.
pub async fn exists(session: &Session, subject: &str) -> Result<bool, Error> {
    let scope = session.scope();
    Ok(scope.find::<user::Entity>().filter(user::Column::Subject.eq(subject)).one(scope.tx()).await?.is_some())
}

/// The principal of a person's token.
pub(crate) async fn admit(scope: &Scope, subject: &str, token: String) -> Result<Principal, Error> {
    let row = scope.find::<user::Entity>().filter(user::Column::Subject.eq(subject)).one(scope.tx()).await?;
    let user = row.filter(|row| row.disabled_at.is_none()).ok_or(Error::Denied)?;
    let mut roles = words(&user.roles);
    roles.extend(proposal::department_roles(scope, user.department_id).await?);
    roles.sort_unstable();
    roles.dedup();
    Ok(Principal {
        tenant: scope.tenant(),
        subject: user.subject,
        name: user.name,
        user: Some(user.id),
        department: user.department_id,
        roles,
        token,
        address: String::new(),
        purpose: None,
        registered_only: false,
        operator: false,
    })
}

/// The strings of a JSON array.
pub(crate) fn words(json: &Json) -> Vec<String> {
    json.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}
