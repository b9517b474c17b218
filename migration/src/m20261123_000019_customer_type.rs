//! What a source says of a customer's type.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["source_record", "source_record_past"] {
            manager.get_connection().execute_unprepared(&format!("ALTER TABLE {table} ADD COLUMN customer_type smallint")).await?;
        }
        Ok(())
    }
}
