//! Rotating a tenant's data key: the keys of its rows are wrapped anew, their cells stay as they are.

use std::sync::Arc;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;

use super::{KEYED, Keyed, Pace, Progress, add, named_data, newest, ripe, table};
use crate::bulk::Rewritten;
use crate::{Change, Error, House, Operation, Principal, Unaccounted, erasure, tenant};

/// Rows whose key is wrapped by an older epoch.
const OLDER: &str = "record_key IS NOT NULL AND key_epoch < $2";

/// Makes a new epoch of the data key and wraps the keys of all rows with it, in transactions of at most 5,000 rows, while
/// others read and write. Cut off, it goes on when it is called again. Returns the epoch and how many rows it wrapped anew.
///
/// # Errors
/// [`Error::Denied`] to everybody but the operator; a row's key does not open.
pub async fn rotate_data(house: &House, operator: &Arc<Principal>, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<(u32, u64), Unaccounted> {
    let tenant = operator.tenant();
    let (epoch, new) =
        Change::run(house, operator, Operation::new("command", "Keys.rotateData"), async |change| begin(change, house).await.map_err(Unaccounted::Failed))
            .await?;
    progress(if new { Progress::New(epoch) } else { Progress::GoesOn(epoch) });
    ripe(house, tenant, "data", epoch, progress).await?;
    let (mut all, mut pace) = (0, Pace::of(house));
    loop {
        let before = all;
        for keyed in &KEYED {
            let (mut behind, mut rows) = (Vec::new(), 0);
            loop {
                let most = pace.rows();
                let done = Change::run(house, operator, Operation::new("command", "Keys.rewrap"), async |change| {
                    batch(change, keyed, epoch, &behind, most).await.map_err(Unaccounted::Failed)
                });
                let Some((last, wrapped)) = done.await? else { break };
                behind = last;
                rows += wrapped;
                all += wrapped;
                pace.keep().await;
                progress(Progress::Rewritten(keyed.table, rows, all));
            }
        }
        // What was written with the old key meanwhile stands behind what was walked over.
        if all == before {
            return Ok((epoch, all));
        }
    }
}

/// A new epoch, or that of a rotation that was cut off. Says whether it is new.
async fn begin(change: &Change, house: &House) -> Result<(u32, bool), Error> {
    tenant::kept_by(change)?;
    let scope = change.scope();
    tenant::lock(scope).await?;
    let newest = newest(scope, "data").await?;
    for Keyed { table, .. } in &KEYED {
        let older = format!("SELECT CAST(1 AS bigint) AS n FROM {table} WHERE tenant_id = $1 AND {OLDER} LIMIT 1");
        if scope.number(&older, [newest.cast_signed().into()]).await? > 0 {
            change.note("purpose", "data");
            change.note("epoch", newest);
            return Ok((newest, false));
        }
    }
    Ok((add(change, house, "data").await?, true))
}

/// Wraps the next rows of a table. Returns the last row that was looked at and how many were wrapped; `None` when there are no
/// more.
async fn batch(change: &Change, keyed: &Keyed, epoch: u32, behind: &[Uuid], most: usize) -> Result<Option<(Vec<Uuid>, u64)>, Error> {
    tenant::kept_by(change)?;
    let scope = change.scope();
    // No row is erased or written anew between being read and being written.
    tenant::lock(scope).await?;
    let found = keyed.next(scope, "record_key", OLDER, epoch, behind, most).await?;
    let Some(last) = found.last().map(|row| keyed.at(row)).transpose()? else { return Ok(None) };
    let rows = found.iter().map(|row| {
        let (key, wrapped): (Vec<Uuid>, Vec<u8>) = (keyed.at(row)?, row.try_get("", "record_key")?);
        let anew = change.keyring().rewrap(keyed.place, key.last().copied().unwrap_or_default(), &wrapped, epoch)?;
        Ok(Rewritten { key, record_key: Some(wrapped), values: vec![Some(anew)] })
    });
    let wrapped = scope.rewrite(keyed.table, keyed.walk, &["record_key"], ("key_epoch", epoch), rows).await?;
    for (fact, value) in [("epoch", u64::from(epoch)), ("rows", wrapped)] {
        change.note(fact, value);
    }
    change.note("purpose", "data");
    change.note("table", keyed.table);
    Ok(Some((last, wrapped)))
}

/// Destroys an epoch of the data key that no row names. Erasures whose last key this was are complete then: copies in
/// backups open no more.
///
/// # Errors
/// [`Error::Denied`] to everybody but the operator; [`Error::Invalid`] for the newest epoch, one that is not there, and one
/// that rows name.
pub async fn destroy(change: &Change, epoch: u32) -> Result<(), Error> {
    use table::Column;
    tenant::kept_by(change)?;
    let scope = change.scope();
    if epoch >= newest(scope, "data").await? {
        return Err(Error::Invalid(format!("epoch {epoch}: the newest epoch is in use; make a newer one with `panorama keys rotate tenant` first")));
    }
    // First: it waits for all who write with this key, and who comes later finds it gone. Then the tenant's row, which those
    // who are waited for may still need.
    let this = Column::Purpose.eq("data").and(Column::Epoch.eq(epoch.cast_signed()));
    if scope.delete_where::<table::Entity>(this).await? == 0 {
        return Err(Error::Invalid(format!("epoch {epoch}: there is none; `panorama keys status` shows those there are")));
    }
    tenant::lock(scope).await?;
    let rows: i64 = named_data(scope).await?.iter().filter(|((_, of), _)| *of == epoch.cast_signed()).map(|(_, rows)| rows).sum();
    if rows > 0 {
        return Err(Error::Invalid(format!("epoch {epoch}: {rows} rows name it; run `panorama keys rotate tenant` to its end first")));
    }
    erasure::complete(scope, &super::wrapped_by(scope).await?, change.now()).await?;
    scope.shreds();
    change.note("purpose", "data");
    change.note("epoch", epoch);
    change.note("rows", 0);
    Ok(())
}
