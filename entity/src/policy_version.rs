//! Policies as data: versions of rules, one of them active.

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
        pub activated_at: Option<ChronoDateTimeUtc>,
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
}

/// The newest activated version; its rules must give the hash that was stored with it.
pub(crate) async fn active(scope: &Scope) -> Result<Active, Error> {
    let newest = scope
        .find::<table::Entity>()
        .filter(table::Column::ActivatedAt.is_not_null())
        .order_by_desc(table::Column::ActivatedAt)
        .order_by_desc(table::Column::Version);
    let row = newest.one(scope.tx()).await?.ok_or_else(|| Error::NoPolicy("no active version".to_owned()))?;
    let rules = scope.find::<rule::Entity>().filter(rule::Column::Version.eq(row.version)).all(scope.tx()).await?;
    let rules = rules.into_iter().map(|rule| match rule.kind.as_str() {
        "g" => Rule::Inherit { role: rule.subject, from: rule.object },
        _ => Rule::Permit { role: rule.subject, object: rule.object, act: rule.act, scope: rule.scope, purpose: rule.purpose, allow: rule.effect == "allow" },
    });
    let policy = Policy::checked(rules.collect()).map_err(|problem| Error::NoPolicy(format!("version {}: {problem}", row.version)))?;
    let hash = policy.hash();
    if row.hash != hash {
        return Err(Error::NoPolicy(format!("version {} is not what was activated", row.version)));
    }
    Ok(Active { version: row.version, hash, policy })
}

/// Version 1: the standard policy.
pub(crate) async fn install_standard(scope: &Scope, now: DateTime<Utc>) -> Result<(), Error> {
    let policy = Policy::standard().map_err(|error| Error::NoPolicy(error.to_string()))?;
    let version = table::ActiveModel {
        version: Set(1),
        hash: Set(policy.hash().to_vec()),
        author: Set("panorama".to_owned()),
        reason: Set("the standard policy".to_owned()),
        created_at: Set(now),
        activated_at: Set(Some(now)),
        ..Default::default()
    };
    scope.insert(vec![version]).await?;
    let rows = (1..).zip(policy.rules()).map(|(position, rule)| {
        let (kind, subject, object, act, reach, purpose, effect) = match rule {
            Rule::Permit { role, object, act, scope, purpose, allow } => {
                ("p", role, object, act.as_str(), scope.as_str(), purpose.as_str(), if *allow { "allow" } else { "deny" })
            }
            Rule::Inherit { role, from } => ("g", role, from, "", "", "", ""),
        };
        rule::ActiveModel {
            version: Set(1),
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
