//! On SQLite the orders of a customer are found through its records, which are found by customer already: the next order of a customer
//! whom an import knows changes one page without an order instead of two. Orders that a person wrote down have no record, and an index of
//! their own.
//!
//! With it goes the foreign key, which would read all orders for each customer that goes. An order's customer is its record's, and the
//! record has one. That an order without a record is nobody's of another tenant, and that who has such orders does not go, triggers see to.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, Statement};

#[derive(DeriveMigrationName)]
pub struct Migration;

const INDEX: [&str; 7] = [
    "DROP INDEX order_customer",
    "CREATE INDEX order_customer ON customer_order (tenant_id, customer_id, ordered_at) WHERE record_id IS NULL",
    // With their keys, so that nothing is read of the records themselves.
    "DROP INDEX source_record_customer",
    "CREATE INDEX source_record_customer ON source_record (tenant_id, customer_id, repeats, held_for, id)",
    "CREATE TRIGGER customer_with_orders BEFORE DELETE ON customer
     WHEN EXISTS (SELECT 1 FROM customer_order WHERE tenant_id = OLD.tenant_id AND customer_id = OLD.id AND record_id IS NULL)
     BEGIN SELECT RAISE(ABORT, 'FOREIGN KEY constraint failed'); END",
    "CREATE TRIGGER order_moves BEFORE UPDATE OF customer_id ON customer_order
     WHEN NEW.customer_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM customer WHERE tenant_id = NEW.tenant_id AND id = NEW.customer_id)
     BEGIN SELECT RAISE(ABORT, 'FOREIGN KEY constraint failed'); END",
    // One that could abort would have every statement that inserts orders copy the pages that it changes.
    "CREATE TRIGGER order_by_hand BEFORE INSERT ON customer_order
     WHEN NEW.record_id IS NULL AND NEW.customer_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM customer WHERE tenant_id = NEW.tenant_id AND id = NEW.customer_id)
     BEGIN SELECT RAISE(FAIL, 'FOREIGN KEY constraint failed'); END",
];

const REFERENCE: &str = ",\n    FOREIGN KEY (tenant_id, customer_id) REFERENCES customer (tenant_id, id) DEFERRABLE INITIALLY DEFERRED";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        if db.get_database_backend() == DbBackend::Postgres {
            return Ok(());
        }
        for statement in INDEX {
            db.execute_unprepared(statement).await?;
        }
        let number = async |sql: &str| -> Result<i64, DbErr> {
            let row = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, sql)).await?;
            row.ok_or_else(|| DbErr::Custom(format!("SQLite does not answer {sql}")))?.try_get_by_index(0)
        };
        let version = number("PRAGMA schema_version").await? + 1;
        // As in the migration before.
        let without = format!(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '{REFERENCE}', '') WHERE type = 'table' AND name = 'customer_order'; \
             PRAGMA schema_version = {version}; PRAGMA writable_schema = RESET"
        );
        db.execute_unprepared(&without).await?;
        let left = number("SELECT COUNT(*) FROM pragma_foreign_key_list('customer_order') WHERE \"table\" = 'customer'").await?;
        if left == 0 { Ok(()) } else { Err(DbErr::Custom("orders still refer to customers".to_owned())) }
    }
}
