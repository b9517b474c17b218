//! The merge journal: which customers were joined, when, by whom and why, and which records moved.

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use serde_json::json;

use crate::store::Tenanted;
use crate::{Error, Scope};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "merge_journal")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub at: ChronoDateTimeUtc,
        pub actor: String,
        pub winner_id: Uuid,
        pub loser_id: Uuid,
        pub records: Json,
        pub reason: String,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}

/// A customer whose records all went to another.
pub(crate) struct Merged {
    pub winner: Uuid,
    pub loser: Uuid,
    pub records: Vec<Uuid>,
}

pub(crate) async fn write(scope: &Scope, at: DateTime<Utc>, actor: &str, reason: &str, merged: &[Merged]) -> Result<(), Error> {
    let rows = merged.iter().map(|merge| table::ActiveModel {
        id: Set(Uuid::now_v7()),
        at: Set(at),
        actor: Set(actor.to_owned()),
        winner_id: Set(merge.winner),
        loser_id: Set(merge.loser),
        records: Set(json!(merge.records)),
        reason: Set(reason.to_owned()),
        ..Default::default()
    });
    scope.insert(rows.collect()).await
}
