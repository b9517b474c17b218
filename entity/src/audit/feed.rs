//! What happened, as the log has it: which customers were written, and which imports went on. For whoever wants to know at once.

use sea_orm::entity::prelude::*;

use super::cells;
use crate::{Error, House, Scope, TenantId};

/// One event of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Its place in the log.
    pub sequence: u64,
    /// Its key.
    pub event: Uuid,
    /// The customers that it wrote.
    pub customers: Vec<Uuid>,
    /// The import that it was a part of.
    pub import: Option<Uuid>,
    /// Whether it only says that somebody followed something of which nothing personal was shown: whoever follows the log would
    /// hear of themselves for ever.
    pub quiet: bool,
}

/// How many events the tenant's log has.
///
/// # Errors
/// The database cannot be reached.
pub async fn size(house: &House, tenant: TenantId) -> Result<u64, Error> {
    size_in(&house.store().read_beside(tenant)).await
}

/// The same, as a transaction sees it.
pub(crate) async fn size_in(scope: &Scope) -> Result<u64, Error> {
    Ok(scope.number("SELECT size AS n FROM audit_head WHERE tenant_id = $1", []).await?.unsigned_abs())
}

/// At most so many events from a place on.
///
/// # Errors
/// The database cannot be reached.
pub async fn happened(house: &House, tenant: TenantId, from: u64, most: u64) -> Result<Vec<Happened>, Error> {
    let scope = house.store().read_beside(tenant);
    let sql = format!(
        "SELECT e.sequence, e.id, e.body, c.cells FROM audit_event AS e LEFT JOIN audit_cells AS c ON c.tenant_id = e.tenant_id AND c.event_id = e.id \
         WHERE e.tenant_id = $1 AND e.sequence >= $2 ORDER BY e.sequence LIMIT {most}"
    );
    let mut happened = Vec::new();
    for row in scope.rows(&sql, [from.cast_signed().into()]).await? {
        let (sequence, list): (i64, Option<Vec<u8>>) = (row.try_get("", "sequence")?, row.try_get("", "cells")?);
        let body: serde_json::Value = serde_json::from_slice(&row.try_get::<Vec<u8>>("", "body")?).unwrap_or_default();
        happened.push(Happened {
            sequence: sequence.unsigned_abs(),
            event: row.try_get("", "id")?,
            customers: list.as_deref().map(cells::customers).unwrap_or_default(),
            import: body["facts"]["import"].as_str().and_then(|id| id.parse().ok()),
            quiet: body["operation"]["kind"] == "subscription" && body["sights"].as_array().is_none_or(Vec::is_empty),
        });
    }
    Ok(happened)
}
