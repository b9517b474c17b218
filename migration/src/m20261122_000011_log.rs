//! The log as a Merkle tree per tenant: each event has its place in the sequence, tiles hold the hashes, checkpoints are signed,
//! and the installation's own log has every tenant's checkpoints as its leaves. Events can only go below an approved pruning.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::prelude::Uuid;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::sql;

#[derive(DeriveMigrationName)]
pub struct Migration;

const TABLES: &str = "
ALTER TABLE audit_event RENAME TO audit_event_flat;
ALTER TABLE audit_subject RENAME TO audit_subject_flat;
DROP INDEX audit_actor;
CREATE TABLE audit_head (
    tenant_id @uuid NOT NULL PRIMARY KEY, size bigint NOT NULL, retention_days integer NOT NULL DEFAULT 1095);
CREATE TABLE audit_event (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), sequence bigint NOT NULL, id @uuid NOT NULL, at @instant NOT NULL, actor text NOT NULL, roles text NOT NULL,
    address text NOT NULL, request text NOT NULL, operation text NOT NULL, outcome text NOT NULL, purpose text, clear integer NOT NULL, masked integer NOT NULL,
    withheld integer NOT NULL, body @bytes NOT NULL, PRIMARY KEY (tenant_id, sequence));
CREATE TABLE audit_subject (
    tenant_id @uuid NOT NULL, alias @bytes NOT NULL, sequence bigint NOT NULL, PRIMARY KEY (tenant_id, alias, sequence))@keyed;
CREATE TABLE audit_wide (
    tenant_id @uuid NOT NULL, sequence bigint NOT NULL, PRIMARY KEY (tenant_id, sequence))@keyed;
CREATE TABLE audit_tile (
    tenant_id @uuid NOT NULL, level integer NOT NULL, position bigint NOT NULL, hashes @bytes NOT NULL, PRIMARY KEY (tenant_id, level, position));
CREATE TABLE audit_checkpoint (
    tenant_id @uuid NOT NULL, size bigint NOT NULL, at @instant NOT NULL, note text NOT NULL, PRIMARY KEY (tenant_id, size));
CREATE TABLE audit_installation (
    tenant_id @uuid NOT NULL, sequence bigint NOT NULL, whose @uuid NOT NULL, size bigint NOT NULL, note text NOT NULL, PRIMARY KEY (tenant_id, sequence));
CREATE TABLE audit_pruning (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), below bigint NOT NULL, asked_by text NOT NULL, asked_at @instant NOT NULL, approved_by text,
    approved_at @instant, PRIMARY KEY (tenant_id, below), CHECK (approved_by IS NULL OR approved_by <> asked_by));
CREATE TABLE log_signer (
    id integer NOT NULL PRIMARY KEY, name text NOT NULL, public_key @bytes NOT NULL, private_key @bytes NOT NULL, kek_id text NOT NULL, created_at @instant NOT NULL)";

const SECURED: [&str; 8] =
    ["audit_head", "audit_event", "audit_subject", "audit_wide", "audit_tile", "audit_checkpoint", "audit_installation", "audit_pruning"];

/// What a tenant, `$1`, has logged so far, in the order of the events' keys.
const MOVED: [&str; 3] = [
    "INSERT INTO audit_event SELECT tenant_id, row_number() OVER (ORDER BY id) - 1, id, at, actor, @roles, @address, @request, operation, outcome, purpose, \
     clear, masked, withheld, body FROM audit_event_flat WHERE tenant_id = $1",
    "INSERT INTO audit_subject SELECT s.tenant_id, s.alias, e.sequence FROM audit_subject_flat s \
     JOIN audit_event e ON e.tenant_id = s.tenant_id AND e.id = s.event_id WHERE s.tenant_id = $1",
    "INSERT INTO audit_head (tenant_id, size) SELECT $1, count(*) FROM audit_event WHERE tenant_id = $1",
];

const INDEXES: &str = "
CREATE UNIQUE INDEX audit_event_id ON audit_event (tenant_id, id);
CREATE INDEX audit_event_actor ON audit_event (tenant_id, actor, sequence);
CREATE INDEX audit_event_at ON audit_event (tenant_id, at);
CREATE INDEX audit_event_clear ON audit_event (tenant_id, sequence) WHERE clear > 0;
CREATE INDEX audit_event_refused ON audit_event (tenant_id, sequence) WHERE outcome <> 'ok';
CREATE INDEX audit_installation_whose ON audit_installation (tenant_id, whose, size)";

/// The log can be added to and not changed; it loses events only below a pruning that two persons wanted.
const APPEND_ONLY: [&str; 3] = ["audit_event", "audit_checkpoint", "audit_installation"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let backend = db.get_database_backend();
        let postgres = backend == DbBackend::Postgres;
        for statement in sql::in_words_of(backend, TABLES).split(";\n") {
            db.execute_unprepared(statement).await?;
        }
        let parts = if postgres {
            [
                "(SELECT COALESCE(' ' || string_agg(r, ' ') || ' ', '') FROM jsonb_array_elements_text(convert_from(body, 'UTF8')::jsonb #> '{actor,roles}') AS r)",
                "COALESCE(convert_from(body, 'UTF8')::jsonb #>> '{actor,address}', '')",
                "COALESCE(convert_from(body, 'UTF8')::jsonb #>> '{operation,request}', '')",
            ]
        } else {
            [
                "(SELECT COALESCE(' ' || group_concat(value, ' ') || ' ', '') FROM json_each(CAST(body AS text), '$.actor.roles'))",
                "COALESCE(json_extract(CAST(body AS text), '$.actor.address'), '')",
                "COALESCE(json_extract(CAST(body AS text), '$.operation.request'), '')",
            ]
        };
        for row in db.query_all_raw(Statement::from_string(backend, "SELECT id FROM tenant")).await? {
            let tenant: Uuid = row.try_get("", "id")?;
            if postgres {
                db.execute_raw(Statement::from_sql_and_values(backend, "SELECT set_config('app.tenant', $1, true)", [tenant.to_string().into()])).await?;
            }
            for sql in MOVED {
                let sql = ["@roles", "@address", "@request"].iter().zip(parts).fold(sql.to_owned(), |sql, (name, part)| sql.replace(name, part));
                db.execute_raw(Statement::from_sql_and_values(backend, sql, [tenant.into()])).await?;
            }
        }
        for statement in ["DROP TABLE audit_subject_flat", "DROP TABLE audit_event_flat"].into_iter().chain(INDEXES.split(";\n")) {
            db.execute_unprepared(statement).await?;
        }
        if postgres {
            db.execute_unprepared("DROP FUNCTION audit_subject_refuse()").await?;
        }
        for table in APPEND_ONLY {
            for statement in append_only(postgres, table) {
                db.execute_unprepared(&statement).await?;
            }
        }
        if postgres {
            for table in SECURED {
                db.execute_unprepared(&sql::secured(table)).await?;
            }
        }
        Ok(())
    }
}

fn append_only(postgres: bool, table: &str) -> Vec<String> {
    let refusal = format!("{table} is append-only");
    let pruned = if table == "audit_event" {
        "EXISTS (SELECT 1 FROM audit_pruning p WHERE p.tenant_id = OLD.tenant_id AND p.approved_by IS NOT NULL AND p.below > OLD.sequence)"
    } else {
        "1 = 0"
    };
    if !postgres {
        return vec![
            format!("CREATE TRIGGER {table}_kept_as_is BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, '{refusal}'); END"),
            format!("CREATE TRIGGER {table}_kept BEFORE DELETE ON {table} WHEN NOT {pruned} BEGIN SELECT RAISE(ABORT, '{refusal}'); END"),
        ];
    }
    vec![
        format!(
            "CREATE OR REPLACE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF TG_OP = 'DELETE' THEN IF {pruned} THEN RETURN OLD; END IF; END IF; RAISE EXCEPTION '{refusal}'; END $$"
        ),
        format!("CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_refuse()"),
        format!("CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()"),
    ]
}
