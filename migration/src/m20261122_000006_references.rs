//! On PostgreSQL, the last references that were checked row by row while an import writes: that of a record to its import is
//! checked per statement, and that of a blocking key to its tenant goes, for its record has one.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

const STATEMENTS: &str = "
ALTER TABLE block_key DROP CONSTRAINT block_key_tenant_id_fkey;
ALTER TABLE source_record DROP CONSTRAINT source_record_tenant_id_import_id_source_id_fkey;
CREATE FUNCTION source_record_imported() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM (SELECT DISTINCT tenant_id, import_id, source_id FROM written) AS named WHERE
        (SELECT 1 FROM import WHERE import.tenant_id = named.tenant_id AND import.id = named.import_id AND import.source_id = named.source_id) IS NULL)
    THEN RAISE foreign_key_violation USING MESSAGE = 'source_record.import_id refers to no import of its tenant and source'; END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER source_record_imported_new AFTER INSERT ON source_record REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION source_record_imported();
CREATE TRIGGER source_record_imported_changed AFTER UPDATE ON source_record REFERENCING NEW TABLE AS written
    FOR EACH STATEMENT EXECUTE FUNCTION source_record_imported();
CREATE FUNCTION import_referred() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM removed JOIN source_record ON source_record.tenant_id = removed.tenant_id AND source_record.import_id = removed.id)
    THEN RAISE foreign_key_violation USING MESSAGE = 'source_record.import_id refers to what is to be deleted'; END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER import_referred AFTER DELETE ON import REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION import_referred()";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        if db.get_database_backend() == DbBackend::Postgres {
            db.execute_unprepared(STATEMENTS).await?;
        }
        Ok(())
    }
}
