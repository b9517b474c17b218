//! What writing events left in sealed cells, row by row: a list beside each event, which names its hash. It goes when its event
//! goes, and not before.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

use crate::sql;

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLE: &str = "
CREATE TABLE audit_cells (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), event_id @uuid NOT NULL, cells @bytes NOT NULL, PRIMARY KEY (tenant_id, event_id))";

const SQLITE: [&str; 2] = [
    "CREATE TRIGGER audit_cells_kept_as_is BEFORE UPDATE ON audit_cells BEGIN SELECT RAISE(ABORT, 'audit_cells is append-only'); END",
    "CREATE TRIGGER audit_cells_kept BEFORE DELETE ON audit_cells WHEN EXISTS (SELECT 1 FROM audit_event e WHERE e.tenant_id = OLD.tenant_id AND e.id = OLD.event_id) \
     BEGIN SELECT RAISE(ABORT, 'audit_cells is append-only'); END",
];

const POSTGRES: [&str; 3] = [
    "CREATE OR REPLACE FUNCTION audit_cells_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
     IF TG_OP = 'DELETE' THEN IF NOT EXISTS (SELECT 1 FROM audit_event e WHERE e.tenant_id = OLD.tenant_id AND e.id = OLD.event_id) THEN RETURN OLD; END IF; END IF; \
     RAISE EXCEPTION 'audit_cells is append-only'; END $$",
    "CREATE TRIGGER audit_cells_append_only BEFORE UPDATE OR DELETE ON audit_cells FOR EACH ROW EXECUTE FUNCTION audit_cells_refuse()",
    "CREATE TRIGGER audit_cells_no_truncate BEFORE TRUNCATE ON audit_cells FOR EACH STATEMENT EXECUTE FUNCTION audit_cells_refuse()",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let backend = db.get_database_backend();
        db.execute_unprepared(&sql::in_words_of(backend, TABLE)).await?;
        if backend != DbBackend::Postgres {
            for statement in SQLITE {
                db.execute_unprepared(statement).await?;
            }
            return Ok(());
        }
        for statement in POSTGRES {
            db.execute_unprepared(statement).await?;
        }
        db.execute_unprepared(&sql::secured("audit_cells")).await?;
        Ok(())
    }
}
