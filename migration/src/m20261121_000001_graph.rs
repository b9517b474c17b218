//! The whole graph: tenants and their keys, people, sources, customers and what hangs on them, policy, and the log.
//!
//! Every table of a tenant has the key `(tenant_id, …)` and refers to others by composite foreign keys, so the database
//! itself refuses a link from one tenant to another. On PostgreSQL, row-level security is the second wall.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

/// `@uuid` and its like are replaced by each database's own type.
const TABLES: &str = "
CREATE TABLE tenant (
    id @uuid PRIMARY KEY, slug text NOT NULL UNIQUE, name text NOT NULL, created_at @instant NOT NULL, suspended_at @instant);
CREATE TABLE tenant_key (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), purpose text NOT NULL, epoch integer NOT NULL, kek_id text NOT NULL, wrapped @bytes NOT NULL,
    created_at @instant NOT NULL, PRIMARY KEY (tenant_id, purpose, epoch));
CREATE TABLE department (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, name text NOT NULL,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, name));
CREATE TABLE app_user (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, subject text NOT NULL, name text NOT NULL, department_id @uuid, roles @json NOT NULL,
    disabled_at @instant, PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, subject),
    FOREIGN KEY (tenant_id, department_id) REFERENCES department (tenant_id, id));
CREATE TABLE service_token (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, name text NOT NULL, hash @bytes NOT NULL, roles @json NOT NULL, purpose text,
    created_at @instant NOT NULL, expires_at @instant NOT NULL, revoked_at @instant, last_used_at @instant,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, hash));
CREATE TABLE source_system (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, name text NOT NULL, label text NOT NULL, position integer NOT NULL, mapping @json NOT NULL,
    mapping_version integer NOT NULL, PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, name));
CREATE TABLE import (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, source_id @uuid NOT NULL, file_name text NOT NULL, file_digest @bytes NOT NULL,
    mapping_version integer NOT NULL, state text NOT NULL, rows_read integer NOT NULL, created integer NOT NULL, updated integer NOT NULL, unchanged integer NOT NULL,
    duplicate integer NOT NULL, rejected integer NOT NULL, warnings integer NOT NULL, started_at @instant NOT NULL, finished_at @instant,
    PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, source_id) REFERENCES source_system (tenant_id, id));
CREATE TABLE customer (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, number text NOT NULL, record_key @bytes, key_epoch integer NOT NULL,
    name @bytes, name_index @bytes, phone @bytes, phone_index @bytes, phone_tail_index @bytes, landline @bytes, email @bytes, email_index @bytes,
    address @bytes, remarks @bytes, customer_type smallint NOT NULL, company text, industry text, channel smallint, first_follow_up date, status smallint,
    value_tier smallint, owner_id @uuid, department_id @uuid, provenance @json NOT NULL, completeness smallint NOT NULL, score smallint NOT NULL, issues @json NOT NULL,
    merged_into @uuid, version integer NOT NULL, derived_at @instant NOT NULL, created_at @instant NOT NULL, updated_at @instant NOT NULL,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, number),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES app_user (tenant_id, id),
    FOREIGN KEY (tenant_id, department_id) REFERENCES department (tenant_id, id),
    FOREIGN KEY (tenant_id, merged_into) REFERENCES customer (tenant_id, id));
CREATE INDEX customer_phone ON customer (tenant_id, phone_index);
CREATE INDEX customer_phone_tail ON customer (tenant_id, phone_tail_index);
CREATE INDEX customer_email ON customer (tenant_id, email_index);
CREATE INDEX customer_name ON customer (tenant_id, name_index);
CREATE INDEX customer_updated ON customer (tenant_id, updated_at, id);
CREATE INDEX customer_follow_up ON customer (tenant_id, first_follow_up, id);
CREATE INDEX customer_owner ON customer (tenant_id, owner_id);
CREATE INDEX customer_department ON customer (tenant_id, department_id);
CREATE TABLE source_record (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, source_id @uuid NOT NULL, external_id text NOT NULL, import_id @uuid NOT NULL,
    row_number integer NOT NULL, line integer NOT NULL, customer_id @uuid, digest @bytes NOT NULL, record_key @bytes, key_epoch integer NOT NULL,
    name @bytes, family_name @bytes, phone @bytes, phone_index @bytes, landline @bytes, email @bytes, email_index @bytes, company text, company_index @bytes,
    address @bytes, remarks @bytes, raw @bytes, industry text, channel smallint, first_follow_up date, status smallint, owner_id @uuid,
    amount_fen bigint, occurred_at @instant, source_updated_at @instant, flags @json NOT NULL, tags @json NOT NULL, mapping_version integer NOT NULL, imported_at @instant NOT NULL,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, source_id, external_id),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source_system (tenant_id, id),
    FOREIGN KEY (tenant_id, import_id) REFERENCES import (tenant_id, id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customer (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES app_user (tenant_id, id));
CREATE INDEX source_record_customer ON source_record (tenant_id, customer_id);
CREATE INDEX source_record_phone ON source_record (tenant_id, phone_index);
CREATE INDEX source_record_email ON source_record (tenant_id, email_index);
CREATE INDEX source_record_company ON source_record (tenant_id, company_index);
CREATE INDEX source_record_import ON source_record (tenant_id, import_id);
CREATE TABLE import_row (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, import_id @uuid NOT NULL, row_number integer NOT NULL, line integer NOT NULL,
    outcome text NOT NULL, reason text, detail text, record_id @uuid, record_key @bytes, key_epoch integer NOT NULL, raw @bytes,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, import_id, row_number),
    FOREIGN KEY (tenant_id, import_id) REFERENCES import (tenant_id, id),
    FOREIGN KEY (tenant_id, record_id) REFERENCES source_record (tenant_id, id));
CREATE TABLE contact_record (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, customer_id @uuid, record_id @uuid, at @instant NOT NULL, channel text NOT NULL,
    record_key @bytes, key_epoch integer NOT NULL, summary @bytes, by_user @uuid, result text,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customer (tenant_id, id),
    FOREIGN KEY (tenant_id, record_id) REFERENCES source_record (tenant_id, id),
    FOREIGN KEY (tenant_id, by_user) REFERENCES app_user (tenant_id, id));
CREATE INDEX contact_customer ON contact_record (tenant_id, customer_id, at);
CREATE INDEX contact_source_record ON contact_record (tenant_id, record_id);
CREATE TABLE customer_order (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, customer_id @uuid, record_id @uuid, number text NOT NULL, amount_fen bigint,
    ordered_at @instant, status text, items text,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customer (tenant_id, id),
    FOREIGN KEY (tenant_id, record_id) REFERENCES source_record (tenant_id, id));
CREATE INDEX order_customer ON customer_order (tenant_id, customer_id, ordered_at);
CREATE INDEX order_number ON customer_order (tenant_id, number);
CREATE INDEX order_source_record ON customer_order (tenant_id, record_id);
CREATE TABLE ticket (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, customer_id @uuid, record_id @uuid, number text NOT NULL, kind text, opened_at @instant,
    record_key @bytes, key_epoch integer NOT NULL, body @bytes, status text, satisfaction smallint,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customer (tenant_id, id),
    FOREIGN KEY (tenant_id, record_id) REFERENCES source_record (tenant_id, id));
CREATE INDEX ticket_customer ON ticket (tenant_id, customer_id, opened_at);
CREATE INDEX ticket_source_record ON ticket (tenant_id, record_id);
CREATE TABLE tag (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, name text NOT NULL, category text NOT NULL,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, category, name));
CREATE TABLE customer_tag (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), customer_id @uuid NOT NULL, tag_id @uuid NOT NULL, PRIMARY KEY (tenant_id, customer_id, tag_id),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customer (tenant_id, id), FOREIGN KEY (tenant_id, tag_id) REFERENCES tag (tenant_id, id));
CREATE TABLE relation (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, customer_id @uuid NOT NULL, other_id @uuid NOT NULL, kind text NOT NULL,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, customer_id, other_id, kind),
    FOREIGN KEY (tenant_id, customer_id) REFERENCES customer (tenant_id, id), FOREIGN KEY (tenant_id, other_id) REFERENCES customer (tenant_id, id));
CREATE TABLE consent (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, customer_id @uuid NOT NULL, purpose text NOT NULL, version text NOT NULL, given boolean NOT NULL,
    at @instant NOT NULL, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, customer_id) REFERENCES customer (tenant_id, id));
CREATE INDEX consent_customer ON consent (tenant_id, customer_id, purpose, at);
CREATE TABLE merge_journal (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, at @instant NOT NULL, actor text NOT NULL, winner_id @uuid NOT NULL, loser_id @uuid NOT NULL,
    records @json NOT NULL, reason text NOT NULL, PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, winner_id) REFERENCES customer (tenant_id, id), FOREIGN KEY (tenant_id, loser_id) REFERENCES customer (tenant_id, id));
CREATE TABLE policy_version (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), version integer NOT NULL, hash @bytes NOT NULL, author text NOT NULL, reason text NOT NULL, created_at @instant NOT NULL,
    activated_at @instant, PRIMARY KEY (tenant_id, version));
CREATE TABLE policy_rule (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), version integer NOT NULL, position integer NOT NULL, kind text NOT NULL, subject text NOT NULL, object text NOT NULL,
    act text NOT NULL, scope text NOT NULL, purpose text NOT NULL, effect text NOT NULL, PRIMARY KEY (tenant_id, version, position),
    FOREIGN KEY (tenant_id, version) REFERENCES policy_version (tenant_id, version));
CREATE TABLE search_guess (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, caller text NOT NULL, masked @bytes NOT NULL, value_index @bytes NOT NULL, at @instant NOT NULL,
    PRIMARY KEY (tenant_id, id));
CREATE INDEX search_guess_caller ON search_guess (tenant_id, caller, at);
CREATE TABLE audit_event (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, at @instant NOT NULL, actor text NOT NULL, operation text NOT NULL, outcome text NOT NULL,
    purpose text, clear integer NOT NULL, masked integer NOT NULL, withheld integer NOT NULL, body @bytes NOT NULL, PRIMARY KEY (tenant_id, id));
CREATE INDEX audit_actor ON audit_event (tenant_id, actor, id);
CREATE TABLE audit_subject (
    tenant_id @uuid NOT NULL, alias @bytes NOT NULL, event_id @uuid NOT NULL, PRIMARY KEY (tenant_id, alias, event_id),
    FOREIGN KEY (tenant_id, event_id) REFERENCES audit_event (tenant_id, id))";

/// Tables under row-level security: all but the registry of tenants itself.
const TENANTED: [&str; 22] = [
    "tenant_key",
    "department",
    "app_user",
    "service_token",
    "source_system",
    "import",
    "customer",
    "source_record",
    "import_row",
    "contact_record",
    "customer_order",
    "ticket",
    "tag",
    "customer_tag",
    "relation",
    "consent",
    "merge_journal",
    "policy_version",
    "policy_rule",
    "search_guess",
    "audit_event",
    "audit_subject",
];

/// The log can be added to and not changed.
const APPEND_ONLY: [&str; 2] = ["audit_event", "audit_subject"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// SQLite too: half a schema is worse than none.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let backend = db.get_database_backend();
        let types: [(&str, &str); 4] = match backend {
            DbBackend::Postgres => [("@uuid", "uuid"), ("@instant", "timestamptz"), ("@bytes", "bytea"), ("@json", "jsonb")],
            _ => [("@uuid", "blob"), ("@instant", "text"), ("@bytes", "blob"), ("@json", "text")],
        };
        let tables = types.iter().fold(TABLES.to_owned(), |sql, (ours, theirs)| sql.replace(ours, theirs));
        for statement in tables.split(";\n") {
            db.execute_unprepared(statement).await?;
        }
        for table in APPEND_ONLY {
            for statement in append_only(backend, table) {
                db.execute_unprepared(&statement).await?;
            }
        }
        if backend == DbBackend::Postgres {
            for table in TENANTED {
                let secure = format!(
                    "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; ALTER TABLE {table} FORCE ROW LEVEL SECURITY; \
                     CREATE POLICY tenant ON {table} USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)"
                );
                db.execute_unprepared(&secure).await?;
            }
        }
        Ok(())
    }
}

fn append_only(backend: DbBackend, table: &str) -> Vec<String> {
    let refusal = format!("{table} is append-only");
    match backend {
        DbBackend::Postgres => vec![
            format!("CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{refusal}'; END $$"),
            format!("CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_refuse()"),
            format!("CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()"),
        ],
        _ => ["UPDATE", "DELETE"]
            .map(|act| format!("CREATE TRIGGER {table}_no_{} BEFORE {act} ON {table} BEGIN SELECT RAISE(ABORT, '{refusal}'); END", act.to_lowercase()))
            .to_vec(),
    }
}
