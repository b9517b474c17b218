//! Policies as data: versions of rules, one of them in force.
//!
//! A version never changes. Which one was in force when is a list of activations, so rolling back is activating an older
//! version, and the past can be asked about.

mod change;
mod question;

pub use change::{Review, Version, activate, approve, draft, put_tests, remove_test, review, run_tests, tests, text, versions};
pub use question::{Explained, Sees, explain, who};

use chrono::{DateTime, Utc};
use policy::{Policy, Rule};
use sea_orm::ActiveValue::Set;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

use crate::store::Tenanted;
use crate::{Error, Scope};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "policy_version")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub version: i32,
        pub hash: Vec<u8>,
        pub author: String,
        pub reason: String,
        pub created_at: ChronoDateTimeUtc,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod rule {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "policy_rule")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub version: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub position: i32,
        pub kind: String,
        pub subject: String,
        pub object: String,
        pub act: String,
        pub scope: String,
        pub purpose: String,
        pub effect: String,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod activation {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "policy_activation")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub sequence: i32,
        pub version: i32,
        pub at: ChronoDateTimeUtc,
        pub actor: String,
        pub reason: String,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for activation::Entity {
    const TENANT: activation::Column = activation::Column::TenantId;
}
impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}
impl Tenanted for rule::Entity {
    const TENANT: rule::Column = rule::Column::TenantId;
}

/// The policy version in force.
#[derive(Debug)]
pub(crate) struct Active {
    pub version: i32,
    pub hash: [u8; 32],
    pub policy: Policy,
    /// The process could not learn for too long which version is in force: nobody sees anything personal.
    pub closed: bool,
}

impl Active {
    /// The same version, for a process that does not know any more whether it is in force.
    pub fn shut(&self) -> Self {
        Self { version: self.version, hash: self.hash, policy: self.policy.clone(), closed: true }
    }
}

/// The last activation, or the last one up to a moment.
pub(crate) async fn in_force(scope: &Scope, until: Option<DateTime<Utc>>) -> Result<activation::Model, Error> {
    let mut select = scope.find::<activation::Entity>();
    if let Some(until) = until {
        select = select.filter(activation::Column::At.lte(until));
    }
    let last = select.order_by_desc(activation::Column::Sequence).one(scope.tx()).await?;
    last.ok_or_else(|| Error::NoPolicy("no version was in force".to_owned()))
}

/// A version; its rules must give the hash that was stored with it.
pub(crate) async fn stored(scope: &Scope, version: i32) -> Result<Active, Error> {
    let row = scope.find::<table::Entity>().filter(table::Column::Version.eq(version)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    let rules = scope.find::<rule::Entity>().filter(rule::Column::Version.eq(version)).all(scope.tx()).await?;
    let rules = rules.into_iter().map(|rule| match rule.kind.as_str() {
        "g" => Rule::Inherit { role: rule.subject, from: rule.object },
        _ => Rule::Permit { role: rule.subject, object: rule.object, act: rule.act, scope: rule.scope, purpose: rule.purpose, allow: rule.effect == "allow" },
    });
    let policy = Policy::checked(rules.collect()).map_err(|problem| Error::NoPolicy(format!("version {version}: {problem}")))?;
    let hash = policy.hash();
    if row.hash != hash {
        return Err(Error::NoPolicy(format!("version {version} is not what was stored")));
    }
    Ok(Active { version, hash, policy, closed: false })
}

/// The version in force.
pub(crate) async fn active(scope: &Scope) -> Result<Active, Error> {
    stored(scope, in_force(scope, None).await?.version).await
}

/// Version 1: the standard policy, in force from the start, with the tests that it passes.
pub(crate) async fn install_standard(scope: &Scope, now: DateTime<Utc>) -> Result<(), Error> {
    let policy = Policy::standard().map_err(|error| Error::NoPolicy(error.to_string()))?;
    let (author, reason) = ("panorama", "the standard policy");
    insert(scope, 1, &policy, author, reason, now).await?;
    let first = activation::ActiveModel {
        sequence: Set(1),
        version: Set(1),
        at: Set(now),
        actor: Set(author.to_owned()),
        reason: Set(reason.to_owned()),
        ..Default::default()
    };
    scope.insert(vec![first]).await?;
    let tests = policy::standard_fixtures().map_err(Error::NoPolicy)?;
    change::insert_tests(scope, tests, author, now).await
}

async fn insert(scope: &Scope, version: i32, policy: &Policy, author: &str, reason: &str, now: DateTime<Utc>) -> Result<(), Error> {
    let row = table::ActiveModel {
        version: Set(version),
        hash: Set(policy.hash().to_vec()),
        author: Set(author.to_owned()),
        reason: Set(reason.to_owned()),
        created_at: Set(now),
        ..Default::default()
    };
    scope.insert(vec![row]).await?;
    let rows = (1..).zip(policy.rules()).map(|(position, rule)| {
        let (kind, subject, object, act, reach, purpose, effect) = match rule {
            Rule::Permit { role, object, act, scope, purpose, allow } => {
                ("p", role, object, act.as_str(), scope.as_str(), purpose.as_str(), if *allow { "allow" } else { "deny" })
            }
            Rule::Inherit { role, from } => ("g", role, from, "", "", "", ""),
        };
        rule::ActiveModel {
            version: Set(version),
            position: Set(position),
            kind: Set(kind.to_owned()),
            subject: Set(subject.clone()),
            object: Set(object.clone()),
            act: Set(act.to_owned()),
            scope: Set(reach.to_owned()),
            purpose: Set(purpose.to_owned()),
            effect: Set(effect.to_owned()),
            ..Default::default()
        }
    });
    scope.insert(rows.collect()).await
}
