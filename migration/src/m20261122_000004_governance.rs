//! Governance to live with: which policy was in force when, who approved it, who held which role when; a tenant's purposes,
//! closed purposes and restrictions of customers; erasures and the tombstones they leave.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::prelude::Uuid;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::sql;

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
CREATE TABLE policy_activation (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), sequence integer NOT NULL, version integer NOT NULL, at @instant NOT NULL, actor text NOT NULL,
    reason text NOT NULL, PRIMARY KEY (tenant_id, sequence), FOREIGN KEY (tenant_id, version) REFERENCES policy_version (tenant_id, version));
CREATE TABLE policy_approval (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), version integer NOT NULL, base integer NOT NULL, actor text NOT NULL, at @instant NOT NULL,
    PRIMARY KEY (tenant_id, version, base, actor),
    FOREIGN KEY (tenant_id, version) REFERENCES policy_version (tenant_id, version),
    FOREIGN KEY (tenant_id, base) REFERENCES policy_version (tenant_id, version));
CREATE TABLE policy_test (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), name text NOT NULL, fixture @json NOT NULL, author text NOT NULL, at @instant NOT NULL,
    PRIMARY KEY (tenant_id, name));
CREATE TABLE role_change (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), kind text NOT NULL, holder text NOT NULL, at @instant NOT NULL, roles @json NOT NULL, actor text NOT NULL,
    PRIMARY KEY (tenant_id, kind, holder, at));
CREATE TABLE purpose (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), code text NOT NULL, label text NOT NULL, retired_at @instant, author text NOT NULL, at @instant NOT NULL,
    PRIMARY KEY (tenant_id, code));
ALTER TABLE department ADD COLUMN roles @json NOT NULL DEFAULT '[]';
ALTER TABLE customer ADD COLUMN restricted_at @instant;
ALTER TABLE customer ADD COLUMN closed_purposes @json;
ALTER TABLE customer ADD COLUMN erased_at @instant;
ALTER TABLE consent ADD COLUMN actor text NOT NULL DEFAULT '';
CREATE TABLE erasure (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, customer_id @uuid NOT NULL, number text NOT NULL, at @instant NOT NULL, actor text NOT NULL,
    reason text NOT NULL, counts @json NOT NULL, epoch integer NOT NULL, epoch_gone_at @instant, PRIMARY KEY (tenant_id, id));
CREATE TABLE tombstone (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), mark @bytes NOT NULL, PRIMARY KEY (tenant_id, mark))@keyed";

const TENANTED: [&str; 7] = ["policy_activation", "policy_approval", "policy_test", "role_change", "purpose", "erasure", "tombstone"];

/// What there is of every tenant already, `$1`: the version in force, who holds which role, the purposes of the standard policy.
const KNOWN: [&str; 4] = [
    "INSERT INTO policy_activation (tenant_id, sequence, version, at, actor, reason) SELECT tenant_id, 1, version, activated_at, author, reason \
     FROM policy_version WHERE tenant_id = $1 AND activated_at IS NOT NULL ORDER BY activated_at DESC LIMIT 1",
    "INSERT INTO role_change (tenant_id, kind, holder, at, roles, actor) SELECT u.tenant_id, 'user', u.subject, t.created_at, u.roles, 'panorama' \
     FROM app_user u JOIN tenant t ON t.id = u.tenant_id WHERE u.tenant_id = $1",
    "INSERT INTO role_change (tenant_id, kind, holder, at, roles, actor) SELECT tenant_id, 'token', name, created_at, roles, 'panorama' \
     FROM service_token WHERE tenant_id = $1 AND revoked_at IS NULL",
    "INSERT INTO purpose (tenant_id, code, label, author, at) SELECT DISTINCT r.tenant_id, r.purpose, r.purpose, 'panorama', t.created_at \
     FROM policy_rule r JOIN tenant t ON t.id = r.tenant_id WHERE r.tenant_id = $1 AND r.purpose NOT IN ('*', '')",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let backend = db.get_database_backend();
        for statement in sql::in_words_of(backend, TABLES).split(";\n") {
            db.execute_unprepared(statement).await?;
        }
        for tenant in db.query_all_raw(Statement::from_string(backend, "SELECT id FROM tenant")).await? {
            let id: Uuid = tenant.try_get("", "id")?;
            if backend == DbBackend::Postgres {
                let turn = Statement::from_sql_and_values(backend, "SELECT set_config('app.tenant', $1, true)", [id.to_string().into()]);
                db.execute_raw(turn).await?;
            }
            for statement in KNOWN {
                db.execute_raw(Statement::from_sql_and_values(backend, statement, [id.into()])).await?;
            }
        }
        if backend == DbBackend::Postgres {
            for table in TENANTED {
                db.execute_unprepared(&sql::secured(table)).await?;
            }
        }
        Ok(())
    }
}
