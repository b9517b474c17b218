//! The rights of persons over GraphQL.

use async_graphql::SimpleObject;
use chrono::{DateTime, Utc};
use entity::erasure::Certificate;

/// What an erasure did, and when the copies in backups are dead too.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct ErasureCertificate {
    id: String,
    /// The customer's number; nothing else of the customer is left.
    number: String,
    /// When the keys in the database were destroyed.
    erased_at: DateTime<Utc>,
    actor: String,
    reason: String,
    /// Rows that were shredded or removed.
    rows: Vec<Shredded>,
    /// Backups open while this epoch of the tenant's data key, or an older one, stands.
    epoch: i32,
    /// When the last key was gone that opens them: that epoch, the index key and the key-encryption key of then.
    backups_dead_at: Option<DateTime<Utc>>,
}

/// Rows of a table that were shredded or removed.
#[derive(SimpleObject)]
#[graphql(serial)]
struct Shredded {
    table: String,
    rows: i32,
}

impl ErasureCertificate {
    pub fn of(certificate: Certificate) -> Self {
        let Certificate { id, number, erased_at, actor, reason, counts, epoch, backups_dead_at } = certificate;
        let rows = counts.into_iter().map(|(table, rows)| Shredded { table, rows: i32::try_from(rows).unwrap_or(i32::MAX) }).collect();
        Self { id: id.to_string(), number, erased_at, actor, reason, rows, epoch, backups_dead_at }
    }
}
