//! The tables of the log.

use crate::store::Tenanted;

pub(crate) mod event {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_event")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub sequence: i64,
        pub id: Uuid,
        pub at: ChronoDateTimeUtc,
        pub actor: String,
        pub roles: String,
        pub address: String,
        pub request: String,
        pub operation: String,
        pub outcome: String,
        pub purpose: Option<String>,
        pub clear: i32,
        pub masked: i32,
        pub withheld: i32,
        pub body: Vec<u8>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// By which person an event is found.
pub(crate) mod subject {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_subject")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub alias: Vec<u8>,
        #[sea_orm(primary_key, auto_increment = false)]
        pub sequence: i64,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// Events about many persons that are not found by them yet.
pub(crate) mod wide {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_wide")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub sequence: i64,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// Hashes of the tree.
pub(crate) mod tile {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_tile")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub level: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub position: i64,
        pub hashes: Vec<u8>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// Signed checkpoints, of tenants and, under the nil id, of the installation.
pub(crate) mod checkpoint {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_checkpoint")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub size: i64,
        pub at: ChronoDateTimeUtc,
        pub note: String,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

/// The leaves of the installation's log: every tenant's checkpoints. Under the nil id.
pub(crate) mod installation {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit_installation")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub sequence: i64,
        pub whose: Uuid,
        pub size: i64,
        pub note: String,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for event::Entity {
    const TENANT: event::Column = event::Column::TenantId;
}
impl Tenanted for subject::Entity {
    const TENANT: subject::Column = subject::Column::TenantId;
}
impl Tenanted for wide::Entity {
    const TENANT: wide::Column = wide::Column::TenantId;
}
impl Tenanted for tile::Entity {
    const TENANT: tile::Column = tile::Column::TenantId;
}
impl Tenanted for checkpoint::Entity {
    const TENANT: checkpoint::Column = checkpoint::Column::TenantId;
}
impl Tenanted for installation::Entity {
    const TENANT: installation::Column = installation::Column::TenantId;
}
