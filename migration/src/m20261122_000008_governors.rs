//! Two people where one could give clear sight or the permissions to govern: assignments of roles that wait for the second,
//! and approvals that are bound to the activation that was in force. Older approvals are bound to none.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

use crate::sql;

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE role_proposal (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), kind text NOT NULL, holder text NOT NULL, roles @json NOT NULL, actor text NOT NULL, at @instant NOT NULL,
    PRIMARY KEY (tenant_id, kind, holder));
ALTER TABLE policy_approval ADD COLUMN sequence integer NOT NULL DEFAULT 0";

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
        if db.get_database_backend() == DbBackend::Postgres {
            db.execute_unprepared(&sql::secured("role_proposal")).await?;
        }
        Ok(())
    }
}
