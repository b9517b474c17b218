//! Rotating the key-encryption key: the tenants' keys are wrapped anew, and nothing else changes.

use std::sync::Arc;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;

use super::{place, purpose, table};
use crate::vault::{BadKek, Kek};
use crate::{Change, Error, House, Operation, Scope, Unaccounted, erasure, tenant};

/// Wraps the keys of all tenants with another key-encryption key, in one transaction. `login` is the operator's. Returns how
/// many keys there were.
///
/// # Errors
/// It is the same key; a key does not unwrap. Nothing was changed then.
pub async fn rotate_kek(house: &House, login: &str, new: &Kek) -> Result<u64, Unaccounted> {
    let old = house.kek();
    if old.id().map_err(Error::from)? == new.id().map_err(Error::from)? {
        return Err(Error::Invalid("the new key is the key in use; name a file that is not there yet, and it will be made".to_owned()).into());
    }
    let (destroyed, mut standing): (Vec<_>, Vec<_>) = house.tenants().await?.into_iter().partition(|tenant| tenant.destroyed);
    standing.sort_by_key(|tenant| tenant.id);
    let operators: Vec<_> = standing.iter().map(|tenant| house.keeper(tenant.id, login)).collect();
    let rows = std::sync::atomic::AtomicU64::new(0);
    Change::each(house, &operators, &Operation::new("command", "Keys.rotateKek"), async |change| {
        let scope = change.scope();
        if change.principal().tenant() == operators[0].tenant() {
            closed(scope, operators.len()).await?;
        }
        let wrapped = wrap(change, &old, new).await?;
        rows.fetch_add(wrapped, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    })
    .await?;
    // Tenants that were destroyed have no keys left to wrap, only certificates that waited for this.
    for tenant in destroyed {
        let scope = house.store().write(tenant.id).await?;
        erasure::complete(&scope, &new.id().map_err(Error::from)?, house.now()).await?;
        scope.commit().await?;
    }
    Ok(rows.into_inner())
}

/// No tenant is made meanwhile, and none was made since they were counted.
async fn closed(scope: &Scope, known: usize) -> Result<(), Error> {
    tenant::registry(scope, tenant::ALONE).await?;
    if tenant::standing_ones(scope).await?.len() == known {
        return Ok(());
    }
    Err(Error::Invalid("a tenant came or went meanwhile; try again".to_owned()))
}

async fn wrap(change: &Change, old: &Arc<Kek>, new: &Kek) -> Result<u64, Error> {
    use table::Column;
    tenant::kept_by(change)?;
    let scope = change.scope();
    tenant::lock(scope).await?;
    let (from, to) = (old.id()?, new.id()?);
    let rows = scope.find::<table::Entity>().all(scope.tx()).await?;
    for row in &rows {
        let Some(purpose) = purpose(&row.purpose) else { continue };
        if row.kek_id != from {
            return Err(BadKek::Wrong.into());
        }
        let place = place(scope.tenant(), purpose, row.epoch.unsigned_abs());
        let key = old.unwrap(place, &row.wrapped).await?;
        let values = vec![(Column::Wrapped, Expr::value(new.wrap(place, &key).await?)), (Column::KekId, Expr::value(to.as_str()))];
        scope.update_where::<table::Entity>(Column::Purpose.eq(purpose).and(Column::Epoch.eq(row.epoch)), values).await?;
    }
    crate::audit::rewrap(scope, old, new).await?;
    erasure::complete(scope, &to, change.now()).await?;
    scope.shreds();
    change.note("kek", to);
    change.note("rows", rows.len());
    Ok(rows.len() as u64)
}
