//! On PostgreSQL, what a record tells of refers to its record and to its record's customer in one look-up instead of two; and lists of
//! digests and of persons, which do not get smaller by it, are not compressed.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

/// Of rows that no record told of the customer is looked up. A scalar subquery is a look-up per row, whatever the planner thinks of
/// the tables' sizes.
const REFERS: &str = "CREATE OR REPLACE FUNCTION @table_refers() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM written WHERE record_id IS NOT NULL AND (SELECT 1 FROM source_record
        WHERE source_record.tenant_id = written.tenant_id AND source_record.id = written.record_id
        AND source_record.customer_id IS NOT DISTINCT FROM written.customer_id) IS NULL)
    THEN RAISE foreign_key_violation USING MESSAGE = '@table.record_id refers to no source_record of its tenant and its customer'; END IF;
    IF EXISTS (SELECT FROM written WHERE record_id IS NULL AND customer_id IS NOT NULL AND (SELECT 1 FROM customer
        WHERE customer.tenant_id = written.tenant_id AND customer.id = written.customer_id) IS NULL)
    THEN RAISE foreign_key_violation USING MESSAGE = '@table.customer_id refers to no customer of its tenant'; END IF;
    RETURN NULL; END $$";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        if db.get_database_backend() == DbBackend::Postgres {
            for table in ["customer_order", "contact_record", "ticket"] {
                db.execute_unprepared(&REFERS.replace("@table", table)).await?;
            }
            db.execute_unprepared(
                "ALTER TABLE audit_cells ALTER COLUMN cells SET STORAGE EXTERNAL; ALTER TABLE audit_event ALTER COLUMN body SET STORAGE EXTERNAL",
            )
            .await?;
        }
        Ok(())
    }
}
