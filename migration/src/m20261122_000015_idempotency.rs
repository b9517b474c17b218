//! Changes that were asked for with a key, so that they are done once.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

use crate::sql;

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "
CREATE TABLE idempotency (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, asked @bytes NOT NULL, sight @bytes NOT NULL, request text NOT NULL, at @instant NOT NULL,
    record_key @bytes, answer @bytes, PRIMARY KEY (tenant_id, id))";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let backend = db.get_database_backend();
        db.execute_unprepared(&sql::in_words_of(backend, TABLE)).await?;
        db.execute_unprepared("CREATE INDEX idempotency_at ON idempotency (tenant_id, at)").await?;
        if backend == DbBackend::Postgres {
            db.execute_unprepared(&sql::secured("idempotency")).await?;
        }
        Ok(())
    }
}
