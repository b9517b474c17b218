//! Who holds which roles, and who held them when.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use policy::Verb;
use sea_orm::ActiveValue::Set;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;
use serde_json::json;

use super::{department, proposal, user, words};
use crate::bulk::Existing;
use crate::store::Tenanted;
use crate::{Change, Error, Scope, Session, tenant, token};

mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "role_change")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub kind: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub holder: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub at: ChronoDateTimeUtc,
        pub roles: Json,
        pub actor: String,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use table::{Column, Entity};

impl Tenanted for Entity {
    const TENANT: Column = Column::TenantId;
}

/// Who can hold roles.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A user, by subject.
    User(String),
    /// A department, by name: all its people hold its roles.
    Department(String),
    /// A service token, by name.
    Token(String),
}

impl Holder {
    /// `user`, `department` or `token`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Department(_) => "department",
            Self::Token(_) => "token",
        }
    }

    /// The subject or name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::User(name) | Self::Department(name) | Self::Token(name) => name,
        }
    }

    pub(super) fn of(kind: &str, name: String) -> Self {
        match kind {
            "user" => Self::User(name),
            "department" => Self::Department(name),
            _ => Self::Token(name),
        }
    }
}

/// What came of an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assigned {
    /// The roles are held now.
    Now,
    /// It counts when a second person asks for the same, within seven days.
    Waits,
}

/// Gives a user, a department or a service token these roles instead of those that it had. Nobody changes their own; what gives
/// clear sight or a permission to govern waits for a second person, unless the operator at the terminal does it.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant; [`Error::Invalid`] for a role that the policy does not know, or the
/// caller's own; [`Error::NotFound`].
pub async fn assign(change: &Change, holder: &Holder, roles: &[&str]) -> Result<Assigned, Error> {
    change.permit(Verb::TenantManage)?;
    change.known_roles(roles)?;
    let me = change.principal();
    let own = match holder {
        Holder::User(subject) => subject == me.subject(),
        Holder::Department(_) => false,
        Holder::Token(name) => format!("token:{name}") == me.subject(),
    };
    let scope = change.scope();
    let mine = if let (Holder::Department(name), Some(id)) = (holder, me.department) {
        scope.find::<department::Entity>().filter(department::Column::Id.eq(id)).one(scope.tx()).await?.is_some_and(|row| row.name == *name)
    } else {
        own
    };
    if mine {
        return Err(Error::Invalid("nobody changes their own roles; ask somebody else who manages the tenant".to_owned()));
    }
    tenant::lock(scope).await?;
    if !proposal::settled(change, holder, roles).await? {
        return Ok(Assigned::Waits);
    }
    let value = Expr::value(json!(roles));
    let changed_rows = match holder {
        Holder::User(subject) => scope.update_where::<user::Entity>(user::Column::Subject.eq(subject), vec![(user::Column::Roles, value)]).await?,
        Holder::Department(name) => {
            scope.update_where::<department::Entity>(department::Column::Name.eq(name), vec![(department::Column::Roles, value)]).await?
        }
        Holder::Token(name) => token::set_roles(scope, name, value).await?,
    };
    if changed_rows == 0 {
        return Err(Error::NotFound);
    }
    changed(change, holder, roles).await?;
    Ok(Assigned::Now)
}

/// Writes down that somebody holds these roles from now on.
pub(crate) async fn changed(change: &Change, holder: &Holder, roles: &[&str]) -> Result<(), Error> {
    change.scope().readmits();
    change.note("holder", format!("{}:{}", holder.kind(), holder.name()));
    change.note("roles", json!(roles));
    let row = table::ActiveModel {
        kind: Set(holder.kind().to_owned()),
        holder: Set(holder.name().to_owned()),
        at: Set(change.now()),
        roles: Set(json!(roles)),
        actor: Set(change.principal().subject().to_owned()),
        ..Default::default()
    };
    change.scope().put(vec![row], Existing::Overwrite(&[Column::Roles, Column::Actor])).await
}

/// Everybody who holds roles, with those of their own.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the policy.
pub async fn holders(session: &Session) -> Result<BTreeMap<Holder, Vec<String>>, Error> {
    session.permit(Verb::PolicyRead)?;
    let mut holders = own(session.scope(), session.now()).await?;
    holders.retain(|_, roles| !roles.is_empty());
    Ok(holders)
}

/// The roles that each holder had of its own at a moment, with those who had none any more or not yet.
async fn own(scope: &Scope, at: DateTime<Utc>) -> Result<BTreeMap<Holder, Vec<String>>, Error> {
    let rows = scope.find::<Entity>().filter(Column::At.lte(at)).order_by_asc(Column::At).all(scope.tx()).await?;
    Ok(rows.into_iter().map(|row| (Holder::of(&row.kind, row.holder), words(&row.roles))).collect())
}

/// Users and tokens that stood at a moment, with the roles that they had, those of their department among them. Which department
/// somebody is in is taken as it is now.
pub(crate) async fn held(scope: &Scope, at: DateTime<Utc>) -> Result<BTreeMap<Holder, Vec<String>>, Error> {
    let own = own(scope, at).await?;
    let departments = scope.find::<department::Entity>().all(scope.tx()).await?;
    let mut held = BTreeMap::new();
    for row in scope.find::<user::Entity>().all(scope.tx()).await? {
        let department = departments.iter().find(|department| Some(department.id) == row.department_id);
        let theirs = department.and_then(|department| own.get(&Holder::Department(department.name.clone())));
        let holder = Holder::User(row.subject);
        if let Some(mine) = own.get(&holder).filter(|_| row.disabled_at.is_none_or(|since| since > at)) {
            let roles: BTreeSet<String> = mine.iter().chain(theirs.into_iter().flatten()).cloned().collect();
            held.insert(holder, roles.into_iter().collect());
        }
    }
    for name in token::standing(scope, at).await? {
        let holder = Holder::Token(name);
        let roles = own.get(&holder).cloned().unwrap_or_default();
        held.insert(holder, roles);
    }
    held.retain(|_, roles: &mut Vec<String>| !roles.is_empty());
    Ok(held)
}
