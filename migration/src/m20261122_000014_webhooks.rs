//! Endpoints that are told when customers change, and what each was told and is owed.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

use crate::sql;

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: [(&str, &str); 2] = [
    (
        "webhook",
        "CREATE TABLE webhook (
            tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, name text NOT NULL, url text NOT NULL, token text NOT NULL,
            query text NOT NULL, position bigint NOT NULL, actor text NOT NULL, at @instant NOT NULL,
            PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, name))",
    ),
    (
        "webhook_delivery",
        "CREATE TABLE webhook_delivery (
            tenant_id @uuid NOT NULL, webhook_id @uuid NOT NULL, customer_id @uuid NOT NULL, sequence bigint NOT NULL, told bigint, told_at @instant,
            attempts integer NOT NULL, due_at @instant, held_until @instant, failure text,
            PRIMARY KEY (tenant_id, webhook_id, customer_id),
            FOREIGN KEY (tenant_id, webhook_id) REFERENCES webhook (tenant_id, id))",
    ),
];

const DUE: &str = "CREATE INDEX webhook_delivery_due ON webhook_delivery (tenant_id, webhook_id, due_at) WHERE due_at IS NOT NULL";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let backend = db.get_database_backend();
        for (table, statement) in TABLES {
            db.execute_unprepared(&sql::in_words_of(backend, statement)).await?;
            if backend == DbBackend::Postgres {
                db.execute_unprepared(&sql::secured(table)).await?;
            }
        }
        db.execute_unprepared(DUE).await?;
        Ok(())
    }
}
