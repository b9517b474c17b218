//! What still opens a backup after an erasure: beside the data key the index key and the key-encryption key of that time.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::prelude::Uuid;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, Statement};

#[derive(DeriveMigrationName)]
pub struct Migration;

const COLUMNS: [&str; 2] =
    ["ALTER TABLE erasure ADD COLUMN index_epoch integer NOT NULL DEFAULT 0", "ALTER TABLE erasure ADD COLUMN kek_id text NOT NULL DEFAULT ''"];

/// Of earlier erasures it is not known any more: the keys of today are no older than those of then. Until these are gone too no
/// certificate is complete.
const KNOWN: &str = "UPDATE erasure SET epoch_gone_at = NULL, \
    index_epoch = (SELECT max(epoch) FROM tenant_key WHERE tenant_id = $1 AND purpose = 'index'), \
    kek_id = (SELECT max(kek_id) FROM tenant_key WHERE tenant_id = $1) \
    WHERE tenant_id = $1 AND EXISTS (SELECT 1 FROM tenant_key WHERE tenant_id = $1 AND purpose = 'index')";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let backend = db.get_database_backend();
        for statement in COLUMNS {
            db.execute_unprepared(statement).await?;
        }
        for tenant in db.query_all_raw(Statement::from_string(backend, "SELECT id FROM tenant")).await? {
            let id: Uuid = tenant.try_get("", "id")?;
            if backend == DbBackend::Postgres {
                let turn = Statement::from_sql_and_values(backend, "SELECT set_config('app.tenant', $1, true)", [id.to_string().into()]);
                db.execute_raw(turn).await?;
            }
            db.execute_raw(Statement::from_sql_and_values(backend, KNOWN, [id.into()])).await?;
        }
        Ok(())
    }
}
