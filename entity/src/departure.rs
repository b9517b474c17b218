//! When a tenant goes: its rows taken out whole, and its destruction. Neither reads anybody's data: sealed cells stay sealed.

use sea_orm::prelude::Uuid;
use sea_orm::sqlx::{self, Column as _, Row as _, TypeInfo as _, ValueRef as _};
use sea_orm::{ConnectionTrait, QueryResult, Statement};
use serde_json::{Map, Value, json};

use crate::{Change, Error, Session, erasure, keys, tenant};

/// Every table of tenants' rows, those that refer before those that they refer to.
pub const TABLES: [&str; 57] = [
    "idempotency",
    "webhook_delivery",
    "webhook",
    "audit_cells",
    "registered_document",
    "audit_installation",
    "audit_subject",
    "audit_wide",
    "audit_tile",
    "audit_checkpoint",
    "audit_pruning",
    "audit_head",
    "audit_event",
    "erasure",
    "tombstone",
    "purpose",
    "role_change",
    "role_proposal",
    "policy_test",
    "policy_approval",
    "policy_activation",
    "policy_rule",
    "policy_version",
    "search_guess",
    "quality_review",
    "signoff_row",
    "signoff",
    "pin",
    "match_pair",
    "match_model",
    "block_key",
    "import_plan",
    "number_sequence",
    "intake_setting",
    "reference_entry",
    "source_mapping",
    "source_record_past",
    "customer_order_past",
    "contact_record_past",
    "ticket_past",
    "merge_journal",
    "consent",
    "relation",
    "customer_tag",
    "tag",
    "ticket",
    "customer_order",
    "contact_record",
    "import_row",
    "source_record",
    "customer",
    "import",
    "source_system",
    "service_token",
    "app_user",
    "department",
    "tenant_key",
];

/// What stays when a tenant is destroyed: what proves what was done.
const STAYS: [&str; 10] = [
    "audit_cells",
    "audit_installation",
    "audit_subject",
    "audit_wide",
    "audit_tile",
    "audit_checkpoint",
    "audit_pruning",
    "audit_head",
    "audit_event",
    "erasure",
];

/// Hands a tenant's rows over line by line, as JSON: first `{"panorama_export":1,"tenant":…,"at":…,"tables":{TABLE:ROWS,…}}`, then
/// `{"table":…,"row":{…}}` each. Bytes are base64, so keys stay wrapped and cells sealed; all else is as the database holds it.
/// One snapshot, and no more in memory than a row.
///
/// # Errors
/// [`Error::Denied`] to everybody but the operator; the error of `take`.
pub async fn export(session: &Session, take: &mut (dyn FnMut(&str) -> Result<(), Error> + Send)) -> Result<u64, Error> {
    tenant::kept_by(session)?;
    let scope = session.scope();
    let mut tables = Map::new();
    for table in TABLES {
        tables.insert(table.to_owned(), scope.number(&format!("SELECT count(*) AS n FROM {table} WHERE tenant_id = $1"), []).await?.into());
    }
    take(&json!({ "panorama_export": 1, "tenant": scope.tenant().0.to_string(), "at": session.now().to_rfc3339(), "tables": tables }).to_string())?;
    let mut lines = 0;
    for table in TABLES {
        let sql = format!("SELECT * FROM {table} WHERE tenant_id = $1");
        let statement = Statement::from_sql_and_values(scope.tx().get_database_backend(), sql, [scope.tenant().into()]);
        let line = |row: QueryResult| {
            lines += 1;
            take(&json!({ "table": table, "row": cells(&row)? }).to_string())
        };
        scope.tx().each(statement, line).await?;
    }
    session.note("rows", lines);
    session.note("tables", tables);
    Ok(lines)
}

fn cells(row: &QueryResult) -> Result<Map<String, Value>, Error> {
    let cells = match (row.try_as_sqlite_row(), row.try_as_pg_row()) {
        (Some(row), _) => row.columns().iter().map(|column| Ok((column.name().to_owned(), of_sqlite(row, column.ordinal())?))).collect(),
        (_, Some(row)) => row.columns().iter().map(|column| Ok((column.name().to_owned(), of_postgres(row, column.ordinal())?))).collect(),
        _ => Err(sqlx::Error::RowNotFound),
    };
    // The driver's words may quote a value; which table it was the caller says.
    cells.map_err(|_| Error::Invalid("a row cannot be read as it is stored; check the database".to_owned()))
}

fn of_sqlite(row: &sqlx::sqlite::SqliteRow, at: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(at)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    Ok(match raw.type_info().name() {
        "INTEGER" => row.try_get_unchecked::<i64, _>(at)?.into(),
        "REAL" => row.try_get_unchecked::<f64, _>(at)?.into(),
        "BLOB" => base64(&row.try_get_unchecked::<Vec<u8>, _>(at)?).into(),
        _ => row.try_get_unchecked::<String, _>(at)?.into(),
    })
}

fn of_postgres(row: &sqlx::postgres::PgRow, at: usize) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(at)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    Ok(match raw.type_info().name() {
        "INT2" => row.try_get::<i16, _>(at)?.into(),
        "INT4" => row.try_get::<i32, _>(at)?.into(),
        "INT8" => row.try_get::<i64, _>(at)?.into(),
        "FLOAT8" => row.try_get::<f64, _>(at)?.into(),
        "BOOL" => row.try_get::<bool, _>(at)?.into(),
        "BYTEA" => base64(&row.try_get::<Vec<u8>, _>(at)?).into(),
        "UUID" => row.try_get::<Uuid, _>(at)?.to_string().into(),
        "JSONB" => row.try_get::<Value, _>(at)?,
        "TIMESTAMPTZ" => row.try_get::<chrono::DateTime<chrono::Utc>, _>(at)?.to_rfc3339().into(),
        "DATE" => row.try_get::<chrono::NaiveDate, _>(at)?.to_string().into(),
        _ => row.try_get::<String, _>(at)?.into(),
    })
}

fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Destroys a tenant: its keys and all its rows, but for the log and the certificates of erasures, in the transaction of the
/// event that says so. Its name stays taken. Nothing of it opens any more; a backup that holds its keys opens while the
/// key-encryption key does that wraps them.
///
/// # Errors
/// [`Error::Denied`] to everybody but the operator.
pub async fn destroy(change: &Change) -> Result<u64, Error> {
    tenant::kept_by(change)?;
    let scope = change.scope();
    tenant::registry(scope, tenant::SHARED).await?;
    let kek = keys::wrapped_by(scope).await?;
    // First: it waits for all who write with these keys. Then the tenant's row, which those may still need.
    let mut rows = scope.empty("tenant_key").await?;
    tenant::lock(scope).await?;
    for table in TABLES.into_iter().filter(|table| !STAYS.contains(table) && *table != "tenant_key") {
        rows += scope.empty(table).await?;
    }
    erasure::complete(scope, &kek, change.now()).await?;
    scope.shreds();
    scope.readmits();
    scope.run("UPDATE tenant SET destroyed_at = $2 WHERE id = $1", [change.now().into()]).await?;
    change.note("destroyed", true);
    change.note("rows", rows);
    Ok(rows)
}
