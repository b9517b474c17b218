//! Roles that one person alone must not give: those with clear sight or a permission to govern. What a first person asks for
//! waits until a second one asks for the same.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use policy::power::{Power, powers};
use policy::{Policy, Verb};
use sea_orm::ActiveValue::Set;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use serde_json::json;

use super::{Holder, admit, department, user, words};
use crate::bulk::Existing;
use crate::principal::OPERATOR;
use crate::store::Tenanted;
use crate::{Change, Error, Scope, Session, token};

mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "role_proposal")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub kind: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub holder: String,
        pub roles: Json,
        pub actor: String,
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

/// How long a proposal waits for a second person.
const LASTS: Duration = Duration::days(7);

/// An assignment that waits for a second person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Who is to hold the roles.
    pub holder: Holder,
    /// The roles, sorted.
    pub roles: Vec<String>,
    /// Who asked for it first.
    pub actor: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// What waits for a second person, by holder.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the policy.
pub async fn proposals(session: &Session) -> Result<Vec<Proposal>, Error> {
    session.permit(Verb::PolicyRead)?;
    let scope = session.scope();
    let rows = scope.find::<Entity>().filter(Column::At.gt(session.now() - LASTS)).order_by_asc(Column::Kind).order_by_asc(Column::Holder);
    let proposal = |row: Model| Proposal { holder: Holder::of(&row.kind, row.holder), roles: words(&row.roles), actor: row.actor, at: row.at };
    Ok(rows.all(scope.tx()).await?.into_iter().map(proposal).collect())
}

/// Whether an assignment is to take effect now: the operator's, one that gives no power to anybody, or one that a second person
/// asks for. Otherwise it is proposed.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Invalid`] when a service token would give power.
pub(super) async fn settled(change: &Change, holder: &Holder, roles: &[&str]) -> Result<bool, Error> {
    let (scope, me) = (change.scope(), change.principal());
    let this = || Column::Kind.eq(holder.kind()).and(Column::Holder.eq(holder.name()));
    let gains = gains(change, holder, roles).await?;
    if me.operator || !gains {
        scope.delete_where::<Entity>(this()).await?;
        return Ok(true);
    }
    if !me.person() {
        return Err(Error::Invalid("roles that give clear sight or a permission to govern are given by two people; a service token is neither".to_owned()));
    }
    let asked: BTreeSet<&str> = roles.iter().copied().collect();
    let asked = json!(asked);
    let waiting = scope.find::<Entity>().filter(this()).one(scope.tx()).await?;
    if let Some(first) = waiting.filter(|first| first.actor != me.subject() && first.roles == asked && first.at + LASTS > change.now())
        && may_still(scope, &change.policy().policy, &first.actor, Verb::TenantManage).await?
    {
        change.note("roles_proposed_by", first.actor);
        scope.delete_where::<Entity>(this()).await?;
        return Ok(true);
    }
    let row = table::ActiveModel {
        kind: Set(holder.kind().to_owned()),
        holder: Set(holder.name().to_owned()),
        roles: Set(asked.clone()),
        actor: Set(me.subject().to_owned()),
        at: Set(change.now()),
        ..Default::default()
    };
    scope.put(vec![row], Existing::Overwrite(&[Column::Roles, Column::Actor, Column::At])).await?;
    change.note("holder", format!("{}:{}", holder.kind(), holder.name()));
    change.note("roles_proposed", asked);
    Ok(false)
}

/// Refuses roles with power for a holder that is new to everybody but the operator: a proposal needs a holder that is there.
pub(crate) async fn harmless(change: &Change, roles: &[&str]) -> Result<(), Error> {
    if change.principal().operator || powers(&change.policy().policy, roles).await?.is_empty() {
        return Ok(());
    }
    Err(Error::Invalid("these roles give clear sight or a permission to govern; begin without them, and let two people assign them".to_owned()))
}

/// Whether anybody would see or govern more if these were the holder's own roles.
async fn gains(change: &Change, holder: &Holder, roles: &[&str]) -> Result<bool, Error> {
    let scope = change.scope();
    let policy = &change.policy().policy;
    let (own, beside) = match holder {
        Holder::User(subject) => {
            let row = scope.find::<user::Entity>().filter(user::Column::Subject.eq(subject)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
            (words(&row.roles), BTreeSet::from([department_roles(scope, row.department_id).await?]))
        }
        Holder::Department(name) => {
            let row = scope.find::<department::Entity>().filter(department::Column::Name.eq(name)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
            let people = scope.find::<user::Entity>().filter(user::Column::DepartmentId.eq(row.id)).all(scope.tx()).await?;
            // Whoever comes into it later may have no roles of their own.
            (words(&row.roles), people.iter().map(|person| words(&person.roles)).chain([vec![]]).collect())
        }
        Holder::Token(name) => (token::roles(scope, name).await?.ok_or(Error::NotFound)?, BTreeSet::from([vec![]])),
    };
    let roles: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
    for beside in beside {
        let (before, after) = ([&own[..], &beside].concat(), [&roles[..], &beside].concat());
        if !all(policy, &after).await?.is_subset(&all(policy, &before).await?) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn all(policy: &Policy, roles: &[String]) -> Result<BTreeSet<Power>, Error> {
    Ok(powers(policy, &roles.iter().map(String::as_str).collect::<Vec<_>>()).await?)
}

/// The roles that a department gives to its people.
pub(super) async fn department_roles(scope: &Scope, id: Option<Uuid>) -> Result<Vec<String>, Error> {
    let Some(id) = id else { return Ok(vec![]) };
    let row = scope.find::<department::Entity>().filter(department::Column::Id.eq(id)).one(scope.tx()).await?;
    Ok(row.map(|row| words(&row.roles)).unwrap_or_default())
}

/// Whether somebody who did a thing may do it still, for whatever purpose: the operator, or a user who stands and holds the role.
pub(crate) async fn may_still(scope: &Scope, policy: &Policy, subject: &str, verb: Verb) -> Result<bool, Error> {
    if subject.starts_with(OPERATOR) {
        return Ok(true);
    }
    let person = match admit(scope, subject, String::new()).await {
        Ok(person) => person,
        Err(Error::Denied) => return Ok(false),
        Err(error) => return Err(error),
    };
    let powers = all(policy, &person.roles).await?;
    Ok(powers.iter().any(|(object, act, ..)| (*object, *act) == verb.object_and_act()))
}
