//! Source systems of a tenant and their mappings. A mapping is never changed: the next version takes its place, and the
//! versions before it stay.

use chrono::{DateTime, Utc};
use policy::Verb;
use policy::mapping::{self, Mapping, Tells};
use sea_orm::ActiveValue::Set;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

use crate::store::Tenanted;
use crate::{Change, Error, Scope, Session};

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
        pub shape: Option<String>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

mod version {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "source_mapping")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub source_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub version: i32,
        pub mapping: Json,
        pub author: String,
        pub created_at: ChronoDateTimeUtc,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for version::Entity {
    const TENANT: version::Column = version::Column::TenantId;
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
    /// The fingerprint of the header that it was imported with last.
    pub shape: Option<String>,
}

/// A version of a source's mapping.
#[derive(Clone, Debug)]
pub struct Version {
    /// Counted from 1.
    pub version: i32,
    /// What it says.
    pub mapping: Mapping,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub created_at: DateTime<Utc>,
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
            Ok(Source { id: row.id, name: row.name, label: row.label, position: row.position, mapping, mapping_version: row.mapping_version, shape: row.shape })
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
    let unknown =
        Error::Invalid(format!("there is no source '{name}'; this tenant has {}. `panorama mapping propose` makes a mapping for a new one", known.join(", ")));
    sources.into_iter().find(|source| source.name == name).ok_or(unknown)
}

/// The source whose last file had a header of this shape.
///
/// # Errors
/// There is none, or there are several: they are named.
pub fn of_shape(sources: Vec<Source>, shape: &str) -> Result<Source, Error> {
    let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let mut alike: Vec<Source> = sources.into_iter().filter(|source| source.shape.as_deref() == Some(shape)).collect();
    let refused = match &alike[..] {
        [] => format!("no source's last file had this header; name its source, one of {}, or propose a mapping for a new one", names.join(", ")),
        [_] => return Ok(alike.remove(0)),
        several => {
            let names: Vec<&str> = several.iter().map(|source| source.name.as_str()).collect();
            format!("the last files of {} had this header; name the source", names.join(" and "))
        }
    };
    Err(Error::Invalid(refused))
}

/// The place of what people write by hand: behind every other source.
const DESK: i32 = i32::MAX / 2;

/// The source of what people write by hand; made when it is first needed, the least trusted.
pub(crate) async fn desk(change: &Change) -> Result<Source, Error> {
    const NAME: &str = "desk";
    let scope = change.scope();
    let sources = in_scope(scope).await?;
    if let Some(source) = sources.iter().find(|source| source.name == NAME) {
        return Ok(source.clone());
    }
    let mapping = serde_json::to_value(Mapping { tells: Tells::Membership, columns: Vec::new() }).map_err(|error| Error::Invalid(error.to_string()))?;
    let id = Uuid::now_v7();
    let row = table::ActiveModel {
        id: Set(id),
        name: Set(NAME.to_owned()),
        label: Set("手工录入".to_owned()),
        position: Set(DESK),
        mapping: Set(mapping.clone()),
        mapping_version: Set(1),
        shape: Set(None),
        ..Default::default()
    };
    scope.insert(vec![row]).await?;
    let first = version::ActiveModel {
        source_id: Set(id),
        version: Set(1),
        mapping: Set(mapping),
        author: Set("standard".to_owned()),
        created_at: Set(change.now()),
        ..Default::default()
    };
    scope.insert(vec![first]).await?;
    named(change, NAME).await
}

/// Remembers the shape of the header that a source's file had.
pub(crate) async fn seen(scope: &Scope, source: &Source, shape: &str) -> Result<(), Error> {
    if source.shape.as_deref() == Some(shape) {
        return Ok(());
    }
    scope.update_where::<table::Entity>(table::Column::Id.eq(source.id), vec![(table::Column::Shape, Expr::value(shape))]).await?;
    Ok(())
}

/// Gives a source a new version of its mapping; a source of a new name is made, the least trusted. Equal mappings change
/// nothing.
///
/// # Errors
/// [`Error::Denied`]; [`Error::Invalid`] with every fault of the mapping; the name is not a word.
pub async fn set_mapping(change: &Change, name: &str, label: Option<&str>, mapping: Mapping) -> Result<Source, Error> {
    change.permit(Verb::SourceManage)?;
    let word = !name.is_empty() && name.len() <= 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    if !word {
        return Err(Error::Invalid("source: a name has 1 to 40 characters of a-z, 0-9, - and _".to_owned()));
    }
    mapping.check().map_err(|faults| Error::Invalid(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")))?;
    let scope = change.scope();
    crate::tenant::lock(scope).await?;
    let sources = in_scope(scope).await?;
    let known = sources.iter().find(|source| source.name == name);
    if let Some(source) = known.filter(|source| source.mapping == mapping) {
        return Ok(source.clone());
    }
    let json = serde_json::to_value(&mapping).map_err(|error| Error::Invalid(error.to_string()))?;
    let (id, number) = known.map_or_else(|| (Uuid::now_v7(), 1), |source| (source.id, source.mapping_version + 1));
    change.note("source", name);
    change.note("mapping_version", number);
    if known.is_some() {
        let mut values = vec![(table::Column::Mapping, Expr::value(json.clone())), (table::Column::MappingVersion, Expr::value(number))];
        values.extend(label.map(|label| (table::Column::Label, Expr::value(label))));
        scope.update_where::<table::Entity>(table::Column::Id.eq(id), values).await?;
    } else {
        let row = table::ActiveModel {
            id: Set(id),
            name: Set(name.to_owned()),
            label: Set(label.unwrap_or(name).to_owned()),
            position: Set(sources.iter().filter(|source| source.position < DESK).map(|source| source.position + 1).max().unwrap_or(0)),
            mapping: Set(json.clone()),
            mapping_version: Set(number),
            shape: Set(None),
            ..Default::default()
        };
        scope.insert(vec![row]).await?;
    }
    let row = version::ActiveModel {
        source_id: Set(id),
        version: Set(number),
        mapping: Set(json),
        author: Set(change.principal().subject().to_owned()),
        created_at: Set(change.now()),
        ..Default::default()
    };
    scope.insert(vec![row]).await?;
    named(change, name).await
}

/// The versions of a source's mapping, newest first.
///
/// # Errors
/// There is no such source, or a mapping in the database is damaged.
pub async fn versions(session: &Session, name: &str) -> Result<Vec<Version>, Error> {
    let source = named(session, name).await?;
    let scope = session.scope();
    let rows = scope.find::<version::Entity>().filter(version::Column::SourceId.eq(source.id)).order_by_desc(version::Column::Version).all(scope.tx()).await?;
    rows.into_iter()
        .map(|row| {
            let mapping = serde_json::from_value(row.mapping)
                .map_err(|_| Error::Invalid(format!("source '{name}': version {} of its mapping is damaged", row.version)))?;
            Ok(Version { version: row.version, mapping, author: row.author, created_at: row.created_at })
        })
        .collect()
}

pub(crate) async fn install_standard(scope: &Scope, now: DateTime<Utc>) -> Result<(), Error> {
    let sources = mapping::standard().map_err(|error| Error::Invalid(error.to_string()))?;
    let (mut rows, mut versions) = (Vec::new(), Vec::new());
    for (position, source) in (0..).zip(sources) {
        let id = Uuid::now_v7();
        let mapping = serde_json::to_value(source.mapping).map_err(|error| Error::Invalid(error.to_string()))?;
        rows.push(table::ActiveModel {
            id: Set(id),
            name: Set(source.name),
            label: Set(source.label),
            position: Set(position),
            mapping: Set(mapping.clone()),
            mapping_version: Set(1),
            shape: Set(None),
            ..Default::default()
        });
        versions.push(version::ActiveModel {
            source_id: Set(id),
            version: Set(1),
            mapping: Set(mapping),
            author: Set("standard".to_owned()),
            created_at: Set(now),
            ..Default::default()
        });
    }
    scope.insert(rows).await?;
    scope.insert(versions).await
}
