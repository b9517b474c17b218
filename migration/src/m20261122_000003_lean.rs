//! What loading millions of rows costs: indexes that answer without a look at the row, none for what is not there, and on
//! PostgreSQL references that are checked once per statement instead of once per row.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

const INDEXES: &str = "
DROP INDEX source_record_import;
CREATE INDEX source_record_import ON source_record (tenant_id, import_id, row_number);
DROP INDEX source_record_customer;
CREATE INDEX source_record_customer ON source_record (tenant_id, customer_id, likeness, held_for);
DROP INDEX customer_phone;
DROP INDEX customer_phone_tail;
DROP INDEX customer_email;
DROP INDEX customer_follow_up;
DROP INDEX customer_owner;
DROP INDEX customer_department;
CREATE INDEX customer_phone ON customer (tenant_id, phone_index) WHERE phone_index IS NOT NULL;
CREATE INDEX customer_phone_tail ON customer (tenant_id, phone_tail_index) WHERE phone_tail_index IS NOT NULL;
CREATE INDEX customer_email ON customer (tenant_id, email_index) WHERE email_index IS NOT NULL;
CREATE INDEX customer_follow_up ON customer (tenant_id, first_follow_up, id) WHERE first_follow_up IS NOT NULL;
CREATE INDEX customer_owner ON customer (tenant_id, owner_id) WHERE owner_id IS NOT NULL;
CREATE INDEX customer_department ON customer (tenant_id, department_id) WHERE department_id IS NOT NULL";

/// SQLite answers from the index alone; PostgreSQL looks at rows that are new anyway.
const COVERING: &str = "
DROP INDEX source_record_phone;
DROP INDEX source_record_email;
DROP INDEX source_record_person;
CREATE INDEX source_record_phone ON source_record (tenant_id, phone_index, customer_id, likeness) WHERE phone_index IS NOT NULL;
CREATE INDEX source_record_email ON source_record (tenant_id, email_index, customer_id, likeness) WHERE email_index IS NOT NULL;
CREATE INDEX source_record_person ON source_record (tenant_id, person_index, customer_id, likeness) WHERE person_index IS NOT NULL";

/// Tables that imports fill, the columns by which they refer, and to what.
const REFERRING: [(&str, &[(&str, &str)]); 4] = [
    ("source_record", &[("customer_id", "customer")]),
    ("customer_order", &[("customer_id", "customer"), ("record_id", "source_record")]),
    ("contact_record", &[("customer_id", "customer"), ("record_id", "source_record")]),
    ("ticket", &[("customer_id", "customer"), ("record_id", "source_record")]),
];

/// References to the tenant that follow from others, since each of them holds the tenant.
const IMPLIED: [(&str, &str); 8] = [
    ("source_record", "tenant_id_fkey"),
    ("source_record", "tenant_id_source_id_fkey"),
    ("source_record", "tenant_id_import_id_fkey"),
    ("customer_order", "tenant_id_fkey"),
    ("contact_record", "tenant_id_fkey"),
    ("ticket", "tenant_id_fkey"),
    ("import_row", "tenant_id_fkey"),
    ("customer_tag", "tenant_id_fkey"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        for statement in INDEXES.split(";\n") {
            db.execute_unprepared(statement).await?;
        }
        if db.get_database_backend() != DbBackend::Postgres {
            for statement in COVERING.split(";\n") {
                db.execute_unprepared(statement).await?;
            }
            return Ok(());
        }
        for (table, constraint) in IMPLIED {
            db.execute_unprepared(&format!("ALTER TABLE {table} DROP CONSTRAINT {table}_{constraint}")).await?;
        }
        db.execute_unprepared(
            "ALTER TABLE import ADD UNIQUE (tenant_id, id, source_id); \
             ALTER TABLE source_record ADD FOREIGN KEY (tenant_id, import_id, source_id) REFERENCES import (tenant_id, id, source_id)",
        )
        .await?;
        for (table, columns) in REFERRING {
            for (column, _) in columns {
                db.execute_unprepared(&format!("ALTER TABLE {table} DROP CONSTRAINT {table}_tenant_id_{column}_fkey")).await?;
            }
            db.execute_unprepared(&refers(table, columns)).await?;
        }
        for parent in ["customer", "source_record"] {
            db.execute_unprepared(&referred(parent)).await?;
        }
        Ok(())
    }
}

/// Rows that are written refer to rows of their tenant that are there. A scalar subquery is a look-up per row, whatever the
/// planner thinks of the tables' sizes.
fn refers(table: &str, columns: &[(&str, &str)]) -> String {
    let check = |(column, parent): &(&str, &str)| {
        format!(
            "IF EXISTS (SELECT FROM written WHERE {column} IS NOT NULL AND \
             (SELECT 1 FROM {parent} WHERE {parent}.tenant_id = written.tenant_id AND {parent}.id = written.{column}) IS NULL) \
             THEN RAISE foreign_key_violation USING MESSAGE = '{table}.{column} refers to no {parent} of its tenant'; END IF;"
        )
    };
    let checks: String = columns.iter().map(check).collect();
    let trigger = |name: &str, act: &str| {
        format!(
            "CREATE TRIGGER {table}_refers_{name} AFTER {act} ON {table} REFERENCING NEW TABLE AS written \
             FOR EACH STATEMENT EXECUTE FUNCTION {table}_refers();"
        )
    };
    format!(
        "CREATE FUNCTION {table}_refers() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {checks} RETURN NULL; END $$; {} {}",
        trigger("new", "INSERT"),
        trigger("changed", "UPDATE")
    )
}

/// Rows that others refer to do not go.
fn referred(parent: &str) -> String {
    let children = REFERRING.iter().flat_map(|(table, columns)| columns.iter().filter(|(_, to)| *to == parent).map(move |(column, _)| (*table, *column)));
    let check = |(table, column): (&str, &str)| {
        format!(
            "IF EXISTS (SELECT FROM removed JOIN {table} ON {table}.tenant_id = removed.tenant_id AND {table}.{column} = removed.id) \
             THEN RAISE foreign_key_violation USING MESSAGE = '{table}.{column} refers to what is to be deleted'; END IF;"
        )
    };
    let checks = children.map(check).collect::<Vec<_>>().concat();
    format!(
        "CREATE FUNCTION {parent}_referred() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {checks} RETURN NULL; END $$; \
         CREATE TRIGGER {parent}_referred AFTER DELETE ON {parent} REFERENCING OLD TABLE AS removed \
         FOR EACH STATEMENT EXECUTE FUNCTION {parent}_referred()"
    )
}
