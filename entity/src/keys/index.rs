//! Rotating a tenant's index key: what rows are found by is computed anew from their cells, in place.
//!
//! While two epochs stand, equality search asks for both; what joins rows by their indexes is refused.

use std::sync::Arc;

use policy::field::kinds::{Email, Name, Phone};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;

use super::{Keyed, Named, Pace, Progress, add, count, newest, ripe, table};
use crate::bulk::Rewritten;
use crate::found::{Customer, Record};
use crate::link::member::cell;
use crate::vault::{RecordKey, Sealed, Wrapped};
use crate::{Change, Error, House, Operation, Principal, Scope, Unaccounted, erasure, tenant};

/// Tables whose rows are found by what is sealed in them.
const FOUND: [&str; 3] = ["customer", "source_record", "source_record_past"];

/// Rows whose indexes are of an older epoch.
const OLDER: &str = "index_epoch < $2";

/// How many rows name each epoch of the index key.
pub(super) async fn named(scope: &Scope) -> Result<Named, Error> {
    let mut named = Named::new();
    for table in FOUND {
        count(scope, &mut named, table, "index_epoch", "record_key IS NOT NULL").await?;
    }
    Ok(named)
}

/// Makes a new epoch of the index key, rewrites the indexes of all rows with it in transactions of at most 5,000 rows, and
/// destroys the old epoch. Cut off, it goes on when it is called again. Imports, merges and pins are refused meanwhile.
/// Returns the epoch and how many rows it rewrote.
///
/// # Errors
/// [`Error::Denied`] to everybody but the operator; a row does not open.
pub async fn rotate_index(house: &House, operator: &Arc<Principal>, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<(u32, u64), Unaccounted> {
    let tenant = operator.tenant();
    let (epoch, new) =
        Change::run(house, operator, Operation::new("command", "Keys.rotateIndex"), async |change| begin(change, house).await.map_err(Unaccounted::Failed))
            .await?;
    progress(if new { Progress::New(epoch) } else { Progress::GoesOn(epoch) });
    ripe(house, tenant, "index", epoch, progress).await?;
    let (mut all, mut pace) = (0, Pace::of(house));
    for keyed in FOUND.iter().filter_map(|table| Keyed::of(table)) {
        let (mut behind, mut rows) = (Vec::new(), 0);
        loop {
            let most = pace.rows();
            let done = Change::run(house, operator, Operation::new("command", "Keys.reindex"), async |change| {
                batch(change, keyed, epoch, &behind, most).await.map_err(Unaccounted::Failed)
            });
            let Some((last, rewritten)) = done.await? else { break };
            behind = last;
            rows += rewritten;
            all += rewritten;
            pace.keep().await;
            progress(Progress::Rewritten(keyed.table, rows, all));
        }
    }
    let ended =
        Change::run(house, operator, Operation::new("command", "Keys.indexRotated"), async |change| finish(change, epoch).await.map_err(Unaccounted::Failed));
    ended.await?;
    house.renewed(tenant).await?;
    Ok((epoch, all))
}

/// A new epoch, or that of a rotation that was cut off. Says whether it is new.
async fn begin(change: &Change, house: &House) -> Result<(u32, bool), Error> {
    tenant::kept_by(change)?;
    let scope = change.scope();
    tenant::lock(scope).await?;
    if super::indexed_alike(scope).await.is_ok() {
        return Ok((add(change, house, "index").await?, true));
    }
    let newest = newest(scope, "index").await?;
    change.note("purpose", "index");
    change.note("epoch", newest);
    Ok((newest, false))
}

/// Rewrites the next rows of a table. Returns the last row that was looked at and how many were rewritten; `None` when there
/// are no more.
async fn batch(change: &Change, keyed: &Keyed, epoch: u32, behind: &[Uuid], most: usize) -> Result<Option<(Vec<Uuid>, u64)>, Error> {
    tenant::kept_by(change)?;
    let scope = change.scope();
    // No row is erased or written anew between being read and being written.
    tenant::lock(scope).await?;
    let indexer = change.keyring().indexer_of(epoch)?;
    let found = keyed.next(scope, "record_key, name, company, phone, email", OLDER, epoch, behind, most).await?;
    let columns: &[&str] = if keyed.place == "customer" { &Customer::COLUMNS } else { &Record::COLUMNS };
    let Some(last) = found.last().map(|row| keyed.at(row)).transpose()? else { return Ok(None) };
    let rows = found.iter().map(|row| {
        let (key, record_key): (Vec<Uuid>, Option<Vec<u8>>) = (keyed.at(row)?, row.try_get("", "record_key")?);
        let Some(wrapped) = &record_key else {
            // The person was erased, or the customer is empty: nothing to find.
            return Ok(Rewritten { key, record_key, values: vec![None; columns.len()] });
        };
        let opened = change.keyring().record(keyed.place, key.last().copied().unwrap_or_default(), Wrapped(Some(wrapped)))?;
        let name: Option<Name> = open(&opened, row, "name")?;
        let (phone, email): (Option<Phone>, Option<Email>) = (open(&opened, row, "phone")?, open(&opened, row, "email")?);
        let values = if keyed.place == "customer" {
            Customer::of(&indexer, name.as_ref(), phone.as_ref(), email.as_ref())?.columns()
        } else {
            let company: Option<String> = row.try_get("", "company")?;
            Record::of(&indexer, name.as_ref(), company.as_deref(), phone.as_ref(), email.as_ref())?.columns()
        };
        Ok(Rewritten { key, record_key, values: values.into() })
    });
    let rewritten = scope.rewrite(keyed.table, keyed.walk, columns, ("index_epoch", epoch), rows).await?;
    for (fact, value) in [("epoch", u64::from(epoch)), ("rows", rewritten)] {
        change.note(fact, value);
    }
    change.note("purpose", "index");
    change.note("table", keyed.table);
    Ok(Some((last, rewritten)))
}

fn open<K: policy::Pii>(key: &RecordKey, row: &sea_orm::QueryResult, column: &str) -> Result<Option<K>, Error> {
    cell(key, row.try_get::<Option<Sealed<K>>>("", column)?.as_ref())
}

/// Destroys the older epochs. The second pass makes its blocking keys anew.
async fn finish(change: &Change, epoch: u32) -> Result<(), Error> {
    use table::Column;
    tenant::kept_by(change)?;
    let scope = change.scope();
    tenant::registry(scope, tenant::SHARED).await?;
    // First: it waits for all who write with these keys. Then the tenant's row, which those may still need.
    let older = Column::Purpose.eq("index").and(Column::Epoch.lt(epoch.cast_signed()));
    let gone = scope.delete_where::<table::Entity>(older).await?;
    tenant::lock(scope).await?;
    for table in FOUND {
        let left = format!("SELECT CAST(1 AS bigint) AS n FROM {table} WHERE tenant_id = $1 AND {OLDER} LIMIT 1");
        if scope.number(&left, [epoch.cast_signed().into()]).await? > 0 {
            return Err(Error::Invalid("rows name the old index key still; run `panorama keys rotate index` again".to_owned()));
        }
    }
    scope.run("DELETE FROM block_key WHERE tenant_id = $1", []).await?;
    scope.run("UPDATE import SET scored = 0 WHERE tenant_id = $1", []).await?;
    erasure::complete(scope, &super::wrapped_by(scope).await?, change.now()).await?;
    scope.shreds();
    change.note("purpose", "index");
    change.note("epoch", epoch);
    change.note("destroyed", gone);
    Ok(())
}
