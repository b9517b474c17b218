//! Keys that rotate: which epoch of the index key a row's indexes were made with. Tenants that were destroyed.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

use crate::sql;

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
ALTER TABLE tenant ADD COLUMN destroyed_at @instant;
ALTER TABLE customer ADD COLUMN index_epoch integer NOT NULL DEFAULT 1;
ALTER TABLE source_record ADD COLUMN index_epoch integer NOT NULL DEFAULT 1;
ALTER TABLE source_record_past ADD COLUMN index_epoch integer NOT NULL DEFAULT 1";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for statement in sql::in_words_of(db.get_database_backend(), TABLES).split(";\n") {
            db.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
