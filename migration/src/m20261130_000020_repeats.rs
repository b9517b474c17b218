//! Records that say what another of their customer's records says already are not looked for by what they say: the next order
//! of a customer who has not moved touches no index of numbers, addresses and names. Of those that say the same one stands for
//! all; when it goes, or says something else, the others stand for themselves. The database sees to that, whoever writes.
//!
//! And two indexes go by which nothing was ever looked for; their columns stay. On SQLite, what the tables that imports fill refer to is
//! checked at the commit: a statement that could be refused half-way would copy every page that it changes.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, Statement};

#[derive(DeriveMigrationName)]
pub struct Migration;

const COLUMN: &str = "
ALTER TABLE source_record ADD COLUMN repeats boolean;
ALTER TABLE source_record_past ADD COLUMN repeats boolean;
DROP INDEX source_record_phone;
DROP INDEX source_record_email;
DROP INDEX source_record_person;
DROP INDEX source_record_customer;
DROP INDEX customer_name;
DROP INDEX customer_phone_tail";

const SQLITE: [&str; 7] = [
    "CREATE INDEX source_record_phone ON source_record (tenant_id, phone_index, customer_id, likeness) WHERE phone_index IS NOT NULL AND repeats IS NULL",
    "CREATE INDEX source_record_email ON source_record (tenant_id, email_index, customer_id, likeness) WHERE email_index IS NOT NULL AND repeats IS NULL",
    "CREATE INDEX source_record_person ON source_record (tenant_id, person_index, customer_id, likeness) WHERE person_index IS NOT NULL AND repeats IS NULL",
    "CREATE INDEX source_record_customer ON source_record (tenant_id, customer_id, repeats, held_for)",
    "CREATE TRIGGER source_record_speaks AFTER UPDATE OF customer_id, likeness, held_for ON source_record
     WHEN NEW.repeats IS NOT NULL AND (OLD.customer_id IS NOT NEW.customer_id OR OLD.likeness IS NOT NEW.likeness OR NEW.held_for IS NOT NULL)
     BEGIN UPDATE source_record SET repeats = NULL WHERE tenant_id = NEW.tenant_id AND id = NEW.id; END",
    "CREATE TRIGGER source_record_unsaid AFTER UPDATE OF customer_id, likeness ON source_record
     WHEN OLD.repeats IS NULL AND (OLD.customer_id IS NOT NEW.customer_id OR OLD.likeness IS NOT NEW.likeness)
     BEGIN UPDATE source_record SET repeats = NULL
        WHERE tenant_id = OLD.tenant_id AND customer_id = OLD.customer_id AND repeats IS NOT NULL AND likeness = OLD.likeness; END",
    "CREATE TRIGGER source_record_gone AFTER DELETE ON source_record WHEN OLD.repeats IS NULL
     BEGIN UPDATE source_record SET repeats = NULL
        WHERE tenant_id = OLD.tenant_id AND customer_id = OLD.customer_id AND repeats IS NOT NULL AND likeness = OLD.likeness; END",
];

/// Tables that imports fill. What a table refers to is nothing that its file knows of, so that its text alone is to be changed, in the way
/// that SQLite describes (<https://www.sqlite.org/lang_altertable.html>, "Making Other Kinds Of Table Schema Changes").
const FILLED: &str = "'customer', 'source_record', 'customer_order', 'contact_record', 'ticket', 'import_row'";

/// To what they refer.
const PARENTS: [&str; 7] = [
    "tenant (id)",
    "source_system (tenant_id, id)",
    "import (tenant_id, id)",
    "customer (tenant_id, id)",
    "app_user (tenant_id, id)",
    "department (tenant_id, id)",
    "source_record (tenant_id, id)",
];

const POSTGRES: &str = "
CREATE INDEX source_record_phone ON source_record (tenant_id, phone_index) WHERE phone_index IS NOT NULL AND repeats IS NULL;
CREATE INDEX source_record_email ON source_record (tenant_id, email_index) WHERE email_index IS NOT NULL AND repeats IS NULL;
CREATE INDEX source_record_person ON source_record (tenant_id, person_index) WHERE person_index IS NOT NULL AND repeats IS NULL;
CREATE INDEX source_record_customer ON source_record (tenant_id, customer_id, repeats);
CREATE FUNCTION source_record_speaks() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.repeats := NULL; RETURN NEW; END $$;
CREATE TRIGGER source_record_speaks BEFORE UPDATE ON source_record FOR EACH ROW
    WHEN (NEW.repeats IS NOT NULL AND (OLD.customer_id IS DISTINCT FROM NEW.customer_id OR OLD.likeness IS DISTINCT FROM NEW.likeness OR NEW.held_for IS NOT NULL))
    EXECUTE FUNCTION source_record_speaks();
CREATE FUNCTION source_record_unsaid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE source_record SET repeats = NULL
        WHERE tenant_id = OLD.tenant_id AND customer_id = OLD.customer_id AND repeats IS NOT NULL AND likeness = OLD.likeness;
    RETURN NULL; END $$;
CREATE TRIGGER source_record_unsaid AFTER UPDATE ON source_record FOR EACH ROW
    WHEN (OLD.repeats IS NULL AND (OLD.customer_id IS DISTINCT FROM NEW.customer_id OR OLD.likeness IS DISTINCT FROM NEW.likeness))
    EXECUTE FUNCTION source_record_unsaid();
CREATE TRIGGER source_record_gone AFTER DELETE ON source_record FOR EACH ROW WHEN (OLD.repeats IS NULL) EXECUTE FUNCTION source_record_unsaid()";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for statement in COLUMN.split(";\n") {
            db.execute_unprepared(statement).await?;
        }
        if db.get_database_backend() == DbBackend::Postgres {
            db.execute_unprepared(POSTGRES).await?;
            return Ok(());
        }
        for statement in SQLITE {
            db.execute_unprepared(statement).await?;
        }
        let version = db.query_one_raw(Statement::from_string(DbBackend::Sqlite, "PRAGMA schema_version")).await?;
        let version = version.ok_or_else(|| DbErr::Custom("SQLite tells no version of the schema".to_owned()))?.try_get_by_index::<i64>(0)?;
        let deferred = PARENTS
            .iter()
            .fold("sql".to_owned(), |sql, parent| format!("replace({sql}, 'REFERENCES {parent}', 'REFERENCES {parent} DEFERRABLE INITIALLY DEFERRED')"));
        let deferred = format!(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = {deferred} WHERE type = 'table' AND name IN ({FILLED}); \
             PRAGMA schema_version = {}; PRAGMA writable_schema = RESET",
            version + 1
        );
        db.execute_unprepared(&deferred).await?;
        Ok(())
    }
}
