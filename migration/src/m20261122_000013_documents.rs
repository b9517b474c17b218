//! Documents that clients ask by the hash of their text.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

use crate::sql;

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "
CREATE TABLE registered_document (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), hash @bytes NOT NULL, name text NOT NULL, text text NOT NULL, actor text NOT NULL, at @instant NOT NULL,
    PRIMARY KEY (tenant_id, hash))";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let backend = db.get_database_backend();
        db.execute_unprepared(&sql::in_words_of(backend, TABLE)).await?;
        if backend == DbBackend::Postgres {
            db.execute_unprepared(&sql::secured("registered_document")).await?;
        }
        Ok(())
    }
}
