//! Pairs of records that were compared: how probable they are, and writing that down.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use policy::probabilistic::{Profile, Score};
use sea_orm::ActiveValue::Set;
use sea_orm::QuerySelect;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, SimpleExpr};
use serde_json::json;

use super::Member;
use super::probable::{KEPT, Learned, profile};
use crate::pair::{self, table as pairs};
use crate::{Change, Error};

/// A pair that is not improbable.
pub(super) struct Found {
    pub a: Uuid,
    pub b: Uuid,
    pub score: Score,
}

/// Scores pairs; of the pairs between two customers the most probable is kept, and none where a person keeps the two apart.
pub(super) fn score(learned: &Learned, members: &HashMap<Uuid, Member>, near: BTreeSet<(Uuid, Uuid)>, apart: &HashSet<(Uuid, Uuid)>) -> Vec<Found> {
    let profiles: HashMap<Uuid, Profile> = members.iter().map(|(id, member)| (*id, profile(&learned.schema, member))).collect();
    let mut best: BTreeMap<(Uuid, Uuid), Found> = BTreeMap::new();
    for (a, b) in near {
        let (Some(one), Some(other)) = (profiles.get(&a), profiles.get(&b)) else { continue };
        let whose = |id: Uuid| members.get(&id).and_then(|member| member.customer).unwrap_or(id);
        let between = (Ord::min(whose(a), whose(b)), Ord::max(whose(a), whose(b)));
        let score = learned.model.score(one, other);
        if score.probability < KEPT || apart.contains(&between) {
            continue;
        }
        match best.entry(between) {
            std::collections::btree_map::Entry::Occupied(mut found) if found.get().score.weight < score.weight => {
                found.insert(Found { a, b, score });
            }
            std::collections::btree_map::Entry::Occupied(_) => {}
            std::collections::btree_map::Entry::Vacant(slot) => {
                slot.insert(Found { a, b, score });
            }
        }
    }
    best.into_values().collect()
}

/// Writes pairs down; what a person has decided stays decided.
pub(super) async fn store(change: &Change, learned: &Learned, found: &[Found]) -> Result<(), Error> {
    let scope = change.scope();
    let mut known: HashMap<(Uuid, Uuid), Uuid> = HashMap::new();
    for chunk in found.chunks(5_000) {
        let select = scope.find::<pairs::Entity>().filter(scope.among(pairs::Column::RecordA, chunk.iter().map(|found| found.a)));
        let select = select.select_only().columns([pairs::Column::RecordA, pairs::Column::RecordB, pairs::Column::Id]);
        known.extend(select.into_tuple::<(Uuid, Uuid, Uuid)>().all(scope.tx()).await?.into_iter().map(|(a, b, id)| ((a, b), id)));
    }
    for found in found {
        if let Some(id) = known.get(&(found.a, found.b)) {
            let undecided = pairs::Column::Id.eq(*id).and(pairs::Column::State.is_in([pair::OPEN, pair::LINKED, pair::STALE]));
            scope.update_where::<pairs::Entity>(undecided, said(learned, &found.score)).await?;
        }
    }
    let new = found.iter().filter(|found| !known.contains_key(&(found.a, found.b))).map(|found| pairs::ActiveModel {
        id: Set(Uuid::now_v7()),
        record_a: Set(found.a),
        record_b: Set(found.b),
        rule: Set("probabilistic".to_owned()),
        score: Set(found.score.probability),
        evidence: Set(json!(evidence(learned, &found.score))),
        state: Set(pair::OPEN.to_owned()),
        found_at: Set(change.now()),
        decided_by: Set(None),
        decided_at: Set(None),
        note: Set(None),
        ..Default::default()
    });
    scope.insert(new.collect()).await
}

/// What is written of a score.
pub(super) fn said(learned: &Learned, score: &Score) -> Vec<(pairs::Column, SimpleExpr)> {
    vec![(pairs::Column::Score, Expr::value(score.probability)), (pairs::Column::Evidence, Expr::value(json!(evidence(learned, score))))]
}

fn evidence(learned: &Learned, score: &Score) -> Vec<pair::Evidence> {
    let said = score.evidence.iter().filter_map(|said| {
        let attribute = learned.schema.get(said.attribute)?.name.clone();
        Some(pair::Evidence { attribute, agrees: said.level.words().to_owned(), bits: (said.bits * 100.0).round() / 100.0 })
    });
    said.collect()
}
