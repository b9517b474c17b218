//! Events about many persons: how they become findable by each of them.

use std::collections::BTreeSet;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{LockBehavior, LockType};
use sea_orm::{QueryOrder, QuerySelect};
use serde_json::Value;

use super::table::{event, wide};
use crate::ledger::subjects_of;
use crate::{Error, House};

/// Rows that are written at once when wide events become findable by their persons.
const AT_ONCE: usize = 5_000;

/// Makes events about many persons findable by each of them. Returns whether there is more to do.
///
/// # Errors
/// The database cannot be reached.
pub async fn index_wide(house: &House) -> Result<bool, Error> {
    let mut more = false;
    for tenant in house.tenants().await? {
        let scope = house.store().read(tenant.id);
        if scope.find::<wide::Entity>().count(scope.tx()).await? == 0 {
            continue;
        }
        drop(scope);
        let scope = house.store().write_beside(tenant.id).await?;
        let select = scope.find::<wide::Entity>().order_by_asc(wide::Column::Sequence).limit(50);
        let waiting = select.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked).all(scope.tx()).await?;
        let (mut rows, mut done) = (Vec::new(), Vec::new());
        for row in &waiting {
            let body = scope.find::<event::Entity>().filter(event::Column::Sequence.eq(row.sequence)).one(scope.tx()).await?;
            rows.extend(subjects_of(row.sequence, body.map(|event| subjects(&event.body)).unwrap_or_default()));
            done.push(row.sequence);
            if rows.len() >= AT_ONCE {
                break;
            }
        }
        scope.insert(rows).await?;
        scope.delete_where::<wide::Entity>(wide::Column::Sequence.is_in(done.iter().copied())).await?;
        more |= done.len() < waiting.len() || waiting.len() == 50;
        scope.commit().await?;
    }
    Ok(more)
}

/// The persons that an event is about.
pub(super) fn subjects(body: &[u8]) -> BTreeSet<[u8; 16]> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let named = body["sights"].as_array().into_iter().flatten().filter_map(|group| group["subjects"].as_array()).flatten();
    named.filter_map(|name| crate::vault::unhex(name.as_str()?)?.try_into().ok()).collect()
}
