//! Tenants and their keys: the registry, and what every tenant starts with.

use sea_orm::entity::prelude::*;
use sea_orm::{ActiveValue::Set, QueryOrder};

use crate::store::{TenantId, Tenanted};
use crate::vault::{Kek, Keyring, Place, hex};
use crate::{Error, House, Scope, source};
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
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod key {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "tenant_key")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub purpose: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub epoch: i32,
        pub kek_id: String,
        pub wrapped: Vec<u8>,
        pub created_at: ChronoDateTimeUtc,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for key::Entity {
    const TENANT: key::Column = key::Column::TenantId;
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
}

impl From<table::Model> for Tenant {
    fn from(row: table::Model) -> Self {
        Self { id: TenantId(row.id), slug: row.slug, name: row.name, suspended: row.suspended_at.is_some() }
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
        let scope = self.store().write(id).await?;
        let row =
            table::ActiveModel { id: Set(id.0), slug: Set(slug.to_owned()), name: Set(name.to_owned()), created_at: Set(self.now()), suspended_at: Set(None) };
        table::Entity::insert(row).exec_without_returning(scope.tx()).await?;
        new_keys(&scope, self).await?;
        purpose::install_standard(&scope, self.now()).await?;
        policy_version::install_standard(&scope, self.now()).await?;
        source::install_standard(&scope, self.now()).await?;
        scope.commit().await?;
        self.tenant(slug).await
    }
}

fn place(tenant: TenantId, purpose: &'static str, epoch: i32) -> Place {
    Place { tenant, table: "tenant_key", column: purpose, row: Uuid::from_u128(u128::from(epoch.unsigned_abs())) }
}

async fn new_keys(scope: &Scope, house: &House) -> Result<(), Error> {
    let mut rows = Vec::new();
    for purpose in Keyring::PURPOSES {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice()).map_err(|_| crate::vault::Unreadable::Cipher)?;
        rows.push(key::ActiveModel {
            purpose: Set(purpose.to_owned()),
            epoch: Set(1),
            kek_id: Set(house.kek().id()?),
            wrapped: Set(house.kek().wrap(place(scope.tenant(), purpose, 1), &key)?),
            created_at: Set(house.now()),
            ..Default::default()
        });
    }
    scope.insert(rows).await
}

/// Unwraps a tenant's keys. A wrong key file is told apart from damaged data.
pub(crate) async fn keyring(scope: &Scope, kek: &Kek) -> Result<Keyring, Error> {
    use crate::vault::BadKek;
    let id = kek.id()?;
    let mut keys = Vec::new();
    for row in scope.find::<key::Entity>().all(scope.tx()).await? {
        if row.kek_id != id {
            return Err(BadKek::Wrong.into());
        }
        let Some(purpose) = Keyring::PURPOSES.into_iter().find(|purpose| *purpose == row.purpose) else { continue };
        let unwrapped = kek.unwrap(place(scope.tenant(), purpose, row.epoch), &row.wrapped)?;
        keys.push((row.purpose, row.epoch.unsigned_abs(), unwrapped));
    }
    Keyring::of(scope.tenant(), keys).ok_or_else(|| {
        Error::Invalid(format!("tenant {} has lost keys; restore the tenant_key table from a backup", hex(&scope.tenant().0.as_bytes()[..4]).as_str()))
    })
}

/// Whether the scope's tenant exists and is not suspended.
pub(crate) async fn standing(scope: &Scope) -> Result<bool, Error> {
    let row = table::Entity::find_by_id(scope.tenant().0).one(scope.tx()).await?;
    Ok(row.is_some_and(|row| row.suspended_at.is_none()))
}

/// Holds the tenant's row until the transaction ends, where two transactions must not run at once. Not `FOR UPDATE`: every
/// insert refers to the row by a foreign key, and the log's inserts must not wait.
pub(crate) async fn lock(scope: &Scope) -> Result<(), Error> {
    use sea_orm::QuerySelect;
    table::Entity::find_by_id(scope.tenant().0).lock(sea_orm::sea_query::LockType::NoKeyUpdate).one(scope.tx()).await?;
    Ok(())
}

/// Whether there is a tenant; a database without tables has none.
pub(crate) async fn any(db: &DatabaseConnection) -> bool {
    table::Entity::find().one(db).await.is_ok_and(|row| row.is_some())
}
