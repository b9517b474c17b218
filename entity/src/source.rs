//! Source systems of a tenant and their mappings.

use policy::mapping::{self, Mapping};
use sea_orm::ActiveValue::Set;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

use crate::store::Tenanted;
use crate::{Error, Scope, Session};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "source_system")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub label: String,
        pub position: i32,
        pub mapping: Json,
        pub mapping_version: i32,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}

/// A source system.
#[derive(Clone, Debug)]
pub struct Source {
    /// The key.
    pub id: Uuid,
    /// The short name: `sales`.
    pub name: String,
    /// What people call it.
    pub label: String,
    /// How trusted: 0 most.
    pub position: i32,
    /// What its columns mean.
    pub mapping: Mapping,
    /// Which version of that.
    pub mapping_version: i32,
}

/// Every source system of the tenant, most trusted first.
///
/// # Errors
/// A mapping in the database is damaged.
pub async fn all(session: &Session) -> Result<Vec<Source>, Error> {
    in_scope(session.scope()).await
}

pub(crate) async fn in_scope(scope: &Scope) -> Result<Vec<Source>, Error> {
    let rows = scope.find::<table::Entity>().order_by_asc(table::Column::Position).all(scope.tx()).await?;
    rows.into_iter()
        .map(|row| {
            let damaged = |_| Error::Invalid(format!("source '{}': its mapping is damaged", row.name));
            let mapping = serde_json::from_value(row.mapping.clone()).map_err(damaged)?;
            Ok(Source { id: row.id, name: row.name, label: row.label, position: row.position, mapping, mapping_version: row.mapping_version })
        })
        .collect()
}

/// The source of this name.
///
/// # Errors
/// [`Error::Invalid`] lists those there are.
pub async fn named(session: &Session, name: &str) -> Result<Source, Error> {
    let sources = all(session).await?;
    let known: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    let unknown = Error::Invalid(format!("there is no source '{name}'; this tenant has {}", known.join(", ")));
    sources.into_iter().find(|source| source.name == name).ok_or(unknown)
}

pub(crate) async fn install_standard(scope: &Scope) -> Result<(), Error> {
    let sources = mapping::standard().map_err(|error| Error::Invalid(error.to_string()))?;
    let mut rows = Vec::new();
    for (position, source) in (0..).zip(sources) {
        rows.push(table::ActiveModel {
            id: Set(Uuid::now_v7()),
            name: Set(source.name),
            label: Set(source.label),
            position: Set(position),
            mapping: Set(serde_json::to_value(source.mapping).map_err(|error| Error::Invalid(error.to_string()))?),
            mapping_version: Set(1),
            ..Default::default()
        });
    }
    scope.insert(rows).await
}
