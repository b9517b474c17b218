//! PostgreSQL gathers no more statistics of sealed cells and documents: nothing is looked up by them, and counting them took most of
//! the time of an `ANALYZE`.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

const WITHOUT: &str = r"DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT attrelid::regclass AS of, attname AS name FROM pg_attribute
        WHERE attrelid = ANY('{customer,source_record,contact_record,ticket,import_row,audit_event,audit_cells}'::regclass[]) AND attnum > 0 AND NOT attisdropped
        AND (atttypid = 'jsonb'::regtype OR atttypid = 'bytea'::regtype AND attname NOT LIKE '%\_index' AND attname <> 'likeness')
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', one.of, one.name);
    END LOOP;
END $$";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        if db.get_database_backend() == DbBackend::Postgres {
            db.execute_unprepared(WITHOUT).await?;
        }
        Ok(())
    }
}
