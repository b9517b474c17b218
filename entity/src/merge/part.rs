//! Merges that linking did and that an undone import takes with it.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::QuerySelect;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;

use super::{CARRIED, Column, Entity, Model, ids};
use crate::{Change, Error, customer, record, rights};

/// Takes back what linking joined since an import began, where customers lost records with it: those that went up in them are
/// themselves again, with such of their records as are left. Returns them. Linking decides anew who belongs together.
pub(crate) async fn part(change: &Change, customers: &HashSet<Uuid>, since: DateTime<Utc>) -> Result<Vec<Uuid>, Error> {
    let scope = change.scope();
    let (mut entries, mut seen): (Vec<Model>, _) = (Vec::new(), customers.clone());
    let mut newest: Vec<Uuid> = customers.iter().copied().collect();
    while !newest.is_empty() {
        let before = entries.len();
        for chunk in newest.chunks(5_000) {
            let linked = scope.find::<Entity>().filter(scope.among(Column::WinnerId, chunk.iter().copied()));
            let linked = linked.filter(Column::Kind.eq("linked")).filter(Column::UndoneAt.is_null()).filter(Column::At.gte(since));
            entries.extend(linked.all(scope.tx()).await?);
        }
        newest = entries[before..].iter().map(|entry| entry.loser_id).filter(|id| seen.insert(*id)).collect();
    }
    entries.sort_by_key(|entry| std::cmp::Reverse((entry.at, entry.id)));
    let mut had = HashMap::new();
    let named: Vec<Uuid> = entries.iter().flat_map(|entry| ids(&entry.records)).collect();
    for chunk in named.chunks(5_000) {
        let select = scope.find::<record::Entity>().filter(scope.among(record::Column::Id, chunk.iter().copied())).select_only();
        had.extend(select.columns([record::Column::Id, record::Column::CustomerId]).into_tuple::<(Uuid, Option<Uuid>)>().all(scope.tx()).await?);
    }
    let (mut records, mut by_hand) = (HashMap::new(), CARRIED.map(|table| (table, HashMap::new())));
    for entry in &entries {
        for id in ids(&entry.records) {
            if let Some(whose) = had.get_mut(&id).filter(|whose| **whose == Some(entry.winner_id)) {
                *whose = Some(entry.loser_id);
                records.insert(id, entry.loser_id);
            }
        }
        for (table, back) in &mut by_hand {
            back.extend(entry.carried.iter().flat_map(|carried| ids(&carried[*table])).map(|id| (id, entry.loser_id)));
        }
    }
    let records: Vec<(Uuid, Uuid)> = records.into_iter().collect();
    scope.point("source_record", "id", &records).await?;
    for (table, back) in by_hand {
        scope.point(table, "record_id", &records).await?;
        scope.point(table, "id", &back.into_iter().collect::<Vec<_>>()).await?;
    }
    let losers: Vec<Uuid> = entries.iter().map(|entry| entry.loser_id).collect();
    for chunk in entries.chunks(5_000) {
        use customer::table::{Column as Of, Entity as Customers};
        let themselves = scope.among(Of::Id, chunk.iter().map(|entry| entry.loser_id));
        scope.update_where::<Customers>(themselves, vec![(Of::MergedInto, Expr::value(None::<Uuid>))]).await?;
        let undone = vec![(Column::UndoneAt, Expr::value(change.now())), (Column::UndoneBy, Expr::value(change.principal().subject()))];
        scope.update_where::<Entity>(scope.among(Column::Id, chunk.iter().map(|entry| entry.id)), undone).await?;
        let closed = scope.find::<Customers>().filter(scope.among(Of::Id, chunk.iter().map(|entry| entry.loser_id)));
        let closed = closed.filter(Of::RestrictedAt.is_not_null().or(Of::ClosedPurposes.is_not_null())).select_only().column(Of::Id);
        let closed: HashSet<Uuid> = closed.into_tuple::<Uuid>().all(scope.tx()).await?.into_iter().collect();
        for entry in chunk.iter().filter(|entry| closed.contains(&entry.loser_id)) {
            rights::close(scope, entry.winner_id).await?;
            rights::close(scope, entry.loser_id).await?;
        }
        // What was closed while they were one may have been said by either.
        rights::carry(change, &chunk.iter().map(|entry| (entry.winner_id, entry.loser_id)).collect()).await?;
    }
    Ok(losers)
}
