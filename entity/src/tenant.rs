//! Tenants: the registry, what every tenant starts with, and how each stands.

use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue::Set, ConnectionTrait, DbBackend, QueryOrder};

use crate::store::TenantId;
use crate::{Change, Error, House, Scope, Session, keys, source};
use crate::{policy_version, purpose};

pub(crate) mod table {
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "tenant")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub slug: String,
        pub name: String,
        pub created_at: ChronoDateTimeUtc,
        pub suspended_at: Option<ChronoDateTimeUtc>,
        pub destroyed_at: Option<ChronoDateTimeUtc>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// A tenant of the registry.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The key.
    pub id: TenantId,
    /// The short name used on the command line.
    pub slug: String,
    /// What it is called.
    pub name: String,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Whether it was destroyed: only its name, its log and its erasure certificates are left.
    pub destroyed: bool,
}

impl Tenant {
    /// Whether it is served.
    #[must_use]
    pub const fn stands(&self) -> bool {
        !self.suspended && !self.destroyed
    }
}

impl From<table::Model> for Tenant {
    fn from(row: table::Model) -> Self {
        Self { id: TenantId(row.id), slug: row.slug, name: row.name, suspended: row.suspended_at.is_some(), destroyed: row.destroyed_at.is_some() }
    }
}

impl House {
    /// Every tenant, by short name.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        let rows = table::Entity::find().order_by_asc(table::Column::Slug).all(self.store().registry()).await?;
        Ok(rows.into_iter().map(Tenant::from).collect())
    }

    /// The tenant with this short name.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is none.
    pub async fn tenant(&self, slug: &str) -> Result<Tenant, Error> {
        let row = table::Entity::find().filter(table::Column::Slug.eq(slug)).one(self.store().registry()).await?;
        row.map(Tenant::from).ok_or_else(|| Error::Invalid(format!("there is no tenant '{slug}'; `panorama tenant list` shows those there are")))
    }

    /// Makes a tenant with its keys, the standard policy and the four standard source systems, in one transaction.
    ///
    /// # Errors
    /// The short name is taken or not a word, or the keys cannot be wrapped.
    pub async fn create_tenant(&self, slug: &str, name: &str) -> Result<Tenant, Error> {
        let word = !slug.is_empty() && slug.len() <= 40 && slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !word {
            return Err(Error::Invalid("a tenant's short name has 1 to 40 characters of a-z, 0-9 and -".to_owned()));
        }
        if self.tenant(slug).await.is_ok() {
            return Err(Error::Invalid(format!("there is a tenant '{slug}' already")));
        }
        let id = TenantId(Uuid::now_v7());
        let mut scope = self.store().write(id).await?;
        let row = table::ActiveModel {
            id: Set(id.0),
            slug: Set(slug.to_owned()),
            name: Set(name.to_owned()),
            created_at: Set(self.now()),
            suspended_at: Set(None),
            destroyed_at: Set(None),
        };
        table::Entity::insert(row).exec_without_returning(scope.tx()).await?;
        // Behind the insert, which waits for a rotation of the key-encryption key.
        keys::same_kek(&mut scope, self).await?;
        keys::first(&scope, self).await?;
        purpose::install_standard(&scope, self.now()).await?;
        policy_version::install_standard(&scope, self.now()).await?;
        source::install_standard(&scope, self.now()).await?;
        scope.commit().await?;
        self.tenant(slug).await
    }
}

/// How a tenant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Stands,
    Suspended,
    /// Never there, or destroyed.
    Gone,
}

/// How the scope's tenant stands.
pub(crate) async fn standing(scope: &Scope) -> Result<Standing, Error> {
    let row = table::Entity::find_by_id(scope.tenant().0).one(scope.tx()).await?;
    Ok(match row {
        Some(row) if row.destroyed_at.is_none() => {
            if row.suspended_at.is_none() {
                Standing::Stands
            } else {
                Standing::Suspended
            }
        }
        _ => Standing::Gone,
    })
}

/// Refuses what keeps the installation to everybody but the operator at the terminal. No policy is asked: a tenant's own could
/// stand in the way of all.
///
/// # Errors
/// [`Error::Denied`], which the log will say.
pub(crate) fn kept_by(session: &Session) -> Result<(), Error> {
    if session.principal().operator {
        return Ok(());
    }
    session.deny("terminal");
    Err(Error::Denied)
}

/// Suspends a tenant, or lets it go on: while it is suspended its tokens are refused, and nobody but the operator reaches it.
///
/// # Errors
/// [`Error::Denied`] to everybody but the operator; [`Error::Invalid`] when it is so already.
pub async fn suspend(change: &Change, suspended: bool) -> Result<(), Error> {
    kept_by(change)?;
    let scope = change.scope();
    registry(scope, SHARED).await?;
    lock(scope).await?;
    if (standing(scope).await? == Standing::Suspended) == suspended {
        return Err(Error::Invalid(format!("the tenant is {}suspended already; nothing was changed", if suspended { "" } else { "not " })));
    }
    scope.readmits();
    change.note("suspended", suspended);
    scope.run("UPDATE tenant SET suspended_at = $2 WHERE id = $1", [suspended.then(|| change.now()).into()]).await?;
    Ok(())
}

/// How the registry is held: by whoever changes one tenant's row or destroys its keys, and by whoever changes all tenants'.
pub(crate) const SHARED: &str = "ROW EXCLUSIVE";
pub(crate) const ALONE: &str = "SHARE ROW EXCLUSIVE";

/// Holds the registry until the transaction ends. Comes before every row, so that no two wait for each other.
pub(crate) async fn registry(scope: &Scope, how: &'static str) -> Result<(), Error> {
    if scope.tx().get_database_backend() == DbBackend::Postgres {
        scope.tx().execute_unprepared(&format!("LOCK TABLE tenant IN {how} MODE")).await?;
    }
    Ok(())
}

/// Holds the tenant's row until the transaction ends, where two transactions must not run at once. Not `FOR UPDATE`: every
/// insert refers to the row by a foreign key, and the log's inserts must not wait.
pub(crate) async fn lock(scope: &Scope) -> Result<(), Error> {
    use sea_orm::QuerySelect;
    table::Entity::find_by_id(scope.tenant().0).lock(sea_orm::sea_query::LockType::NoKeyUpdate).one(scope.tx()).await?;
    Ok(())
}

/// The tenants that were not destroyed.
pub(crate) async fn standing_ones(scope: &Scope) -> Result<Vec<TenantId>, Error> {
    let rows = table::Entity::find().filter(table::Column::DestroyedAt.is_null()).order_by_asc(table::Column::Slug).all(scope.tx()).await?;
    Ok(rows.into_iter().map(|row| TenantId(row.id)).collect())
}

/// Whether there is a tenant; a database without tables has none.
pub(crate) async fn any(db: &DatabaseConnection) -> bool {
    table::Entity::find().one(db).await.is_ok_and(|row| row.is_some())
}
