//! The ledger: events of the audit log, made durable before anything leaves.
//!
//! An event is canonical JSON (RFC 8785 for what it uses: objects, arrays, strings, integers). Events of many requests
//! share one commit: whoever comes while one commit runs is in the next. The queue is bounded; a full one or a slow
//! database is an error, and the answer stays inside.
//!
//! An event gets its place in the tenant's log in its own commit, whichever process makes it: the tenant's `audit_head` is
//! taken last of all, and what commits behind it comes next. So the log has no gaps and no order but that of its commits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::ActiveValue::Set;
use sea_orm::{ConnectionTrait, DbBackend, Value};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::audit::{event, subject, wide};
use crate::{Error, Scope, Store, TenantId};

const WAITING: usize = 4096;
const TOGETHER: usize = 256;
const PATIENCE: Duration = Duration::from_secs(2);
/// A commit waits so long for those who are at work and will log too, until half of them have come: a commit costs the same for
/// one event as for many. Whoever is alone waits for nobody; beside two that take their time, everybody waits so long.
const GATHERING: Duration = Duration::from_millis(5);
/// An event about more persons than this is found by person only when [`crate::audit::index_wide`] has been at it, so that a
/// page of a thousand is one row to write before its answer leaves.
pub(crate) const NARROW: usize = 8;

/// One event, ready to be stored.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(crate) tenant: TenantId,
    pub(crate) id: Uuid,
    pub(crate) at: DateTime<Utc>,
    pub(crate) actor: String,
    /// The roles, each between spaces.
    pub(crate) roles: String,
    pub(crate) address: String,
    pub(crate) request: String,
    pub(crate) operation: String,
    pub(crate) outcome: &'static str,
    pub(crate) purpose: Option<String>,
    pub(crate) counts: [i32; 3],
    pub(crate) subjects: Vec<[u8; 16]>,
    pub(crate) body: Vec<u8>,
}

type Waiting = (Entry, oneshot::Sender<bool>);

/// The one writer of read events. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Ledger {
    queue: mpsc::Sender<Waiting>,
    /// How many are at work who will log.
    at_work: Arc<AtomicUsize>,
}

/// Somebody at work who will log.
pub(crate) struct AtWork(Arc<AtomicUsize>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The event is not durable: nothing may leave.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct NotDurable;

impl Ledger {
    pub(crate) fn open(store: Store) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let at_work = Arc::default();
        tokio::spawn(write(store, waiting, Arc::clone(&at_work)));
        Self { queue, at_work }
    }

    /// Announces somebody who will append an entry.
    pub(crate) fn enter(&self) -> AtWork {
        self.at_work.fetch_add(1, Ordering::Relaxed);
        AtWork(Arc::clone(&self.at_work))
    }

    /// Returns when the entry is durable.
    pub(crate) async fn append(&self, entry: Entry) -> Result<(), NotDurable> {
        let (done, durable) = oneshot::channel();
        self.queue.try_send((entry, done)).map_err(|_| NotDurable)?;
        match tokio::time::timeout(PATIENCE, durable).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(NotDurable),
        }
    }
}

async fn write(store: Store, mut waiting: mpsc::Receiver<Waiting>, at_work: Arc<AtomicUsize>) {
    let mut together = Vec::with_capacity(TOGETHER);
    while waiting.recv_many(&mut together, TOGETHER).await > 0 {
        let until = tokio::time::Instant::now() + GATHERING;
        while together.len() < TOGETHER && 2 * together.len() < at_work.load(Ordering::Relaxed) {
            let room = TOGETHER - together.len();
            match tokio::time::timeout_at(until, waiting.recv_many(&mut together, room)).await {
                Ok(1..) => {}
                _ => break,
            }
        }
        let (entries, done): (Vec<Entry>, Vec<_>) = together.drain(..).unzip();
        let durable = commit(&store, entries).await;
        if let Err(error) = &durable {
            tracing::error!(%error, "the audit log cannot be written; answers are withheld");
        }
        for caller in done {
            let _ = caller.send(durable.is_ok());
        }
    }
}

async fn commit(store: &Store, entries: Vec<Entry>) -> Result<(), Error> {
    let mut by_tenant: BTreeMap<TenantId, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        by_tenant.entry(entry.tenant).or_default().push(entry);
    }
    let Some(first) = by_tenant.keys().next().copied() else { return Ok(()) };
    let mut scope = store.write_log(first).await?;
    for (tenant, entries) in by_tenant {
        scope.turn_to(tenant).await?;
        store_in(&scope, entries).await?;
    }
    scope.commit().await
}

/// Stores entries of the scope's tenant in the scope's own transaction, of which they are the last thing.
pub(crate) async fn store_in(scope: &Scope, entries: Vec<Entry>) -> Result<(), Error> {
    if scope.tx().get_database_backend() == DbBackend::Postgres {
        return store_at_once(scope, entries).await;
    }
    let count = i64::try_from(entries.len()).unwrap_or(i64::MAX);
    let end = scope.number(TAKE, [count.into()]).await?;
    let (mut events, mut subjects, mut wides) = (Vec::with_capacity(entries.len()), Vec::new(), Vec::new());
    for (entry, sequence) in entries.into_iter().zip(end - count..) {
        if entry.subjects.len() > NARROW {
            wides.push(wide::ActiveModel { sequence: Set(sequence), ..Default::default() });
        } else {
            subjects.extend(subjects_of(sequence, entry.subjects));
        }
        let [clear, masked, withheld] = entry.counts;
        events.push(event::ActiveModel {
            sequence: Set(sequence),
            id: Set(entry.id),
            at: Set(entry.at),
            actor: Set(entry.actor),
            roles: Set(entry.roles),
            address: Set(entry.address),
            request: Set(entry.request),
            operation: Set(entry.operation),
            outcome: Set(entry.outcome.to_owned()),
            purpose: Set(entry.purpose),
            clear: Set(clear),
            masked: Set(masked),
            withheld: Set(withheld),
            body: Set(entry.body),
            ..Default::default()
        });
    }
    scope.insert(events).await?;
    scope.insert(subjects).await?;
    scope.insert(wides).await
}

/// The same in one statement, for a round trip costs more than what is done in it.
async fn store_at_once(scope: &Scope, entries: Vec<Entry>) -> Result<(), Error> {
    let all = |of: fn(&Entry) -> String| entries.iter().map(of).collect::<Vec<_>>();
    let counted = |slot: usize| entries.iter().map(|entry| entry.counts[slot]).collect::<Vec<_>>();
    let narrow = || entries.iter().zip(1_i64..).filter(|(entry, _)| entry.subjects.len() <= NARROW);
    let subjects: (Vec<Vec<u8>>, Vec<i64>) = narrow().flat_map(|(entry, n)| entry.subjects.iter().map(move |alias| (alias.to_vec(), n))).unzip();
    let wide: Vec<i64> = entries.iter().zip(1_i64..).filter(|(entry, _)| entry.subjects.len() > NARROW).map(|(_, n)| n).collect();
    let values: Vec<Value> = vec![
        i64::try_from(entries.len()).unwrap_or(i64::MAX).into(),
        entries.iter().map(|entry| entry.id).collect::<Vec<_>>().into(),
        entries.iter().map(|entry| entry.at).collect::<Vec<_>>().into(),
        all(|entry| entry.actor.clone()).into(),
        all(|entry| entry.roles.clone()).into(),
        all(|entry| entry.address.clone()).into(),
        all(|entry| entry.request.clone()).into(),
        all(|entry| entry.operation.clone()).into(),
        all(|entry| entry.outcome.to_owned()).into(),
        // Arrays of the driver hold no nulls, and no purpose is empty.
        all(|entry| entry.purpose.clone().unwrap_or_default()).into(),
        counted(0).into(),
        counted(1).into(),
        counted(2).into(),
        subjects.0.into(),
        subjects.1.into(),
        wide.into(),
        entries.into_iter().map(|entry| entry.body).collect::<Vec<_>>().into(),
    ];
    scope.run(APPEND, values).await.map(drop)
}

/// Takes `$2` places in the log of `$1` and stores as many events there, with the persons that they are about.
const APPEND: &str = "WITH head AS (INSERT INTO audit_head (tenant_id, size) VALUES ($1, $2) \
    ON CONFLICT (tenant_id) DO UPDATE SET size = audit_head.size + excluded.size RETURNING size - $2 - 1 AS before), \
    event AS (INSERT INTO audit_event (tenant_id, sequence, id, at, actor, roles, address, request, operation, outcome, purpose, clear, masked, withheld, body) \
    SELECT $1, before + n, id, at, actor, roles, address, request, operation, outcome, NULLIF(purpose, ''), clear, masked, withheld, body \
    FROM head, unnest($3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::integer[], \
    $13::integer[], $14::integer[], $18::bytea[]) WITH ORDINALITY \
    AS e(id, at, actor, roles, address, request, operation, outcome, purpose, clear, masked, withheld, body, n)), \
    wide AS (INSERT INTO audit_wide (tenant_id, sequence) SELECT $1, before + n FROM head, unnest($17::bigint[]) AS w(n)) \
    INSERT INTO audit_subject (tenant_id, alias, sequence) SELECT $1, alias, before + n FROM head, unnest($15::bytea[], $16::bigint[]) AS s(alias, n)";

/// Takes `$2` places in the log of `$1`, and holds the log until the transaction ends.
const TAKE: &str = "INSERT INTO audit_head (tenant_id, size) VALUES ($1, $2) \
    ON CONFLICT (tenant_id) DO UPDATE SET size = audit_head.size + excluded.size RETURNING size AS n";

/// The rows by which an event is found by the persons that it is about.
pub(crate) fn subjects_of(sequence: i64, aliases: impl IntoIterator<Item = [u8; 16]>) -> impl Iterator<Item = subject::ActiveModel> {
    aliases.into_iter().map(move |alias| subject::ActiveModel { alias: Set(alias.to_vec()), sequence: Set(sequence), ..Default::default() })
}

/// Canonical JSON: keys sorted, no white space. Floats do not occur.
pub(crate) fn canonical(value: &serde_json::Value) -> Vec<u8> {
    use serde_json::Value;
    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Object(map) => {
                let mut keys: Vec<&String> = map.keys().collect();
                keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
                out.push('{');
                for (i, key) in keys.into_iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    out.push_str(&Value::from(key.as_str()).to_string());
                    out.push(':');
                    write(&map[key], out);
                }
                out.push('}');
            }
            Value::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write(item, out);
                }
                out.push(']');
            }
            other => out.push_str(&other.to_string()),
        }
    }
    let mut out = String::new();
    write(value, &mut out);
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn canonical_json_follows_rfc_8785() {
        let value = json!({"b": [3, 1], "a": {"z": "é\u{1f}\n\"", "y": null}, "\u{20ac}": 1, "1": true});
        assert_eq!(String::from_utf8(canonical(&value)).unwrap(), "{\"1\":true,\"a\":{\"y\":null,\"z\":\"é\\u001f\\n\\\"\"},\"b\":[3,1],\"€\":1}");
    }
}
