//! Intake as a tenant runs it: versions of mappings, words of its own, runs that can be resumed and undone, matching that
//! grows with the data, the duplicates queue, pins, sign-offs and quality reviews.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

use crate::sql;

#[derive(DeriveMigrationName)]
pub struct Migration;

/// What is new, in the words of both databases; `@uuid` and its like are each database's own type.
const TABLES: &str = "
ALTER TABLE source_system ADD COLUMN shape text;
CREATE TABLE source_mapping (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), source_id @uuid NOT NULL, version integer NOT NULL, mapping @json NOT NULL, author text NOT NULL,
    created_at @instant NOT NULL, PRIMARY KEY (tenant_id, source_id, version),
    FOREIGN KEY (tenant_id, source_id) REFERENCES source_system (tenant_id, id));
CREATE TABLE reference_entry (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), kind text NOT NULL, word text NOT NULL, meaning text NOT NULL, author text NOT NULL, at @instant NOT NULL,
    PRIMARY KEY (tenant_id, kind, word));
CREATE TABLE intake_setting (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), name text NOT NULL, value @json NOT NULL, author text NOT NULL, at @instant NOT NULL,
    PRIMARY KEY (tenant_id, name));
CREATE TABLE number_sequence (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), day text NOT NULL, last integer NOT NULL, PRIMARY KEY (tenant_id, day));
ALTER TABLE import ADD COLUMN actor text NOT NULL DEFAULT '';
ALTER TABLE import ADD COLUMN header @json;
ALTER TABLE import ADD COLUMN report @json;
ALTER TABLE import ADD COLUMN scored integer NOT NULL DEFAULT 0;
ALTER TABLE import ADD COLUMN runner text;
ALTER TABLE import ADD COLUMN alive_at @instant;
ALTER TABLE import ADD COLUMN wanted text;
CREATE TABLE import_plan (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), hash @bytes NOT NULL, basis @json NOT NULL, outcome @json NOT NULL, at @instant NOT NULL,
    PRIMARY KEY (tenant_id, hash));
CREATE INDEX import_row_record ON import_row (tenant_id, record_id) WHERE record_id IS NOT NULL;
ALTER TABLE customer ADD COLUMN digest @bytes;
ALTER TABLE source_record ADD COLUMN person_index @bytes;
ALTER TABLE source_record ADD COLUMN traits @bytes;
ALTER TABLE source_record ADD COLUMN rules @json;
ALTER TABLE source_record ADD COLUMN held_for @uuid;
ALTER TABLE source_record ADD COLUMN likeness @bytes;
DROP INDEX source_record_phone;
DROP INDEX source_record_email;
DROP INDEX source_record_company;
CREATE INDEX source_record_phone ON source_record (tenant_id, phone_index) WHERE phone_index IS NOT NULL;
CREATE INDEX source_record_email ON source_record (tenant_id, email_index) WHERE email_index IS NOT NULL;
CREATE INDEX source_record_company ON source_record (tenant_id, company_index) WHERE company_index IS NOT NULL;
CREATE INDEX source_record_person ON source_record (tenant_id, person_index) WHERE person_index IS NOT NULL;
CREATE INDEX customer_merged ON customer (tenant_id, merged_into) WHERE merged_into IS NOT NULL;
CREATE TABLE block_key (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), block bigint NOT NULL, record_id @uuid NOT NULL, PRIMARY KEY (tenant_id, block, record_id))@keyed;
CREATE TABLE match_model (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, records integer NOT NULL, learned_at @instant NOT NULL,
    record_key @bytes, key_epoch integer NOT NULL, model @bytes, PRIMARY KEY (tenant_id, id));
CREATE TABLE match_pair (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, record_a @uuid NOT NULL, record_b @uuid NOT NULL, rule text NOT NULL,
    score double precision NOT NULL, evidence @json NOT NULL, state text NOT NULL, found_at @instant NOT NULL, decided_by text, decided_at @instant, note text,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, record_a, record_b),
    FOREIGN KEY (tenant_id, record_a) REFERENCES source_record (tenant_id, id),
    FOREIGN KEY (tenant_id, record_b) REFERENCES source_record (tenant_id, id));
CREATE INDEX match_pair_b ON match_pair (tenant_id, record_b);
CREATE INDEX match_pair_state ON match_pair (tenant_id, state, score, id);
ALTER TABLE merge_journal ADD COLUMN kind text NOT NULL DEFAULT 'linked';
ALTER TABLE merge_journal ADD COLUMN carried @json;
ALTER TABLE merge_journal ADD COLUMN undone_at @instant;
ALTER TABLE merge_journal ADD COLUMN undone_by text;
CREATE INDEX merge_journal_winner ON merge_journal (tenant_id, winner_id);
CREATE INDEX merge_journal_loser ON merge_journal (tenant_id, loser_id);
CREATE TABLE pin (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, customer_id @uuid NOT NULL, field text NOT NULL, record_key @bytes,
    key_epoch integer NOT NULL, sealed @bytes, plain text, actor text NOT NULL, reason text NOT NULL, at @instant NOT NULL,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, customer_id, field), FOREIGN KEY (tenant_id, customer_id) REFERENCES customer (tenant_id, id));
CREATE TABLE signoff (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), id @uuid NOT NULL, import_id @uuid NOT NULL, seed bigint NOT NULL, drawn_by text NOT NULL, drawn_at @instant NOT NULL,
    signed_by text, signed_at @instant, note text, PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, import_id) REFERENCES import (tenant_id, id));
CREATE TABLE signoff_row (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), signoff_id @uuid NOT NULL, record_id @uuid NOT NULL, verdict smallint, by_actor text, at @instant,
    PRIMARY KEY (tenant_id, signoff_id, record_id), FOREIGN KEY (tenant_id, signoff_id) REFERENCES signoff (tenant_id, id));
CREATE TABLE quality_review (
    tenant_id @uuid NOT NULL REFERENCES tenant (id), month text NOT NULL, source text NOT NULL, records integer NOT NULL, completeness double precision NOT NULL,
    validity double precision NOT NULL, uniqueness double precision NOT NULL, consistency double precision NOT NULL, timeliness double precision NOT NULL,
    at @instant NOT NULL, PRIMARY KEY (tenant_id, month, source))";

/// Tables of which a replaced or removed row is kept, with the import that replaced it, so that the import can be undone.
const PAST: [&str; 4] = ["source_record", "customer_order", "contact_record", "ticket"];

const TENANTED: [&str; 16] = [
    "source_mapping",
    "reference_entry",
    "intake_setting",
    "number_sequence",
    "import_plan",
    "block_key",
    "match_model",
    "match_pair",
    "pin",
    "signoff",
    "signoff_row",
    "quality_review",
    "source_record_past",
    "customer_order_past",
    "contact_record_past",
    "ticket_past",
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
        for table in PAST {
            let past = sql::in_words_of(backend, &format!("CREATE TABLE {table}_past AS SELECT * FROM {table} WHERE false"));
            db.execute_unprepared(&past).await?;
            let replaced = sql::in_words_of(backend, &format!("ALTER TABLE {table}_past ADD COLUMN replaced_by @uuid"));
            db.execute_unprepared(&replaced).await?;
            db.execute_unprepared(&format!("CREATE INDEX {table}_past_replaced ON {table}_past (tenant_id, replaced_by, id)")).await?;
        }
        db.execute_unprepared("CREATE INDEX source_record_past_id ON source_record_past (tenant_id, id)").await?;
        if backend == DbBackend::Postgres {
            for table in TENANTED {
                db.execute_unprepared(&sql::secured(table)).await?;
            }
        }
        Ok(())
    }
}
