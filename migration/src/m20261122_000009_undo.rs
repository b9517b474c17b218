//! What undoing an import asks for: kept rows by the record that they tell of, replaced versions by the import that wrote them
//! and the place where it read them, and whatever names a customer or a record from its other side.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

#[derive(DeriveMigrationName)]
pub struct Migration;

const INDEXES: &str = "
DROP INDEX customer_order_past_replaced;
DROP INDEX contact_record_past_replaced;
DROP INDEX ticket_past_replaced;
CREATE INDEX customer_order_past_replaced ON customer_order_past (tenant_id, replaced_by, record_id);
CREATE INDEX contact_record_past_replaced ON contact_record_past (tenant_id, replaced_by, record_id);
CREATE INDEX ticket_past_replaced ON ticket_past (tenant_id, replaced_by, record_id);
CREATE INDEX source_record_past_import ON source_record_past (tenant_id, import_id, row_number);
CREATE INDEX relation_other ON relation (tenant_id, other_id);
CREATE INDEX signoff_row_record ON signoff_row (tenant_id, record_id)";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in INDEXES.split(";\n") {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
