//! What the migrations say alike.

use sea_orm_migration::sea_orm::DbBackend;

/// `@uuid` and its like in each database's own types; `@keyed` ends a table that is nothing but its key.
pub fn in_words_of(backend: DbBackend, sql: &str) -> String {
    let types: [(&str, &str); 5] = match backend {
        DbBackend::Postgres => [("@uuid", "uuid"), ("@instant", "timestamptz"), ("@bytes", "bytea"), ("@json", "jsonb"), ("@keyed", "")],
        _ => [("@uuid", "blob"), ("@instant", "text"), ("@bytes", "blob"), ("@json", "text"), ("@keyed", " WITHOUT ROWID")],
    };
    types.iter().fold(sql.to_owned(), |sql, (ours, theirs)| sql.replace(ours, theirs))
}

/// Row-level security on a table of tenants' rows.
pub fn secured(table: &str) -> String {
    format!(
        "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; ALTER TABLE {table} FORCE ROW LEVEL SECURITY; \
         CREATE POLICY tenant ON {table} USING (tenant_id = NULLIF(current_setting('app.tenant', true), '')::uuid)"
    )
}
