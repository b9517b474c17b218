//! Which probable pairs are joined, and stay so: what hangs together by them is decided as a whole, whenever one of them
//! comes, or is weighed anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use policy::probabilistic::{Link, Profile, clusters};
use sea_orm::entity::prelude::*;

use super::probable::{Learned, Passed, customers_of, profile};
use super::scored::said;
use super::{Member, Reader, Run, Touched, Why, settle};
use crate::pair::{self, table as pairs};
use crate::setting::{self, Thresholds};
use crate::{Change, Error};

/// Weighs joined pairs by the model and the records of today, and decides anew what hangs together by them. Returns the
/// records of the customers that came apart: they were one, and are to be compared as two.
pub(super) async fn again(change: &Change, run: &mut Run, learned: &Learned, rows: Vec<pairs::Model>, passed: &mut Passed) -> Result<Vec<Member>, Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let scope = change.scope();
    let ends: BTreeSet<Uuid> = rows.iter().flat_map(|row| [row.record_a, row.record_b]).collect();
    let ends: Vec<Uuid> = ends.into_iter().collect();
    let members = Reader { scope, keys: change.keyring(), sources: &run.sources }.these(&ends).await?;
    let profiles: HashMap<Uuid, Profile> = members.iter().map(|member| (member.id, profile(&learned.schema, member))).collect();
    for row in &rows {
        let (Some(one), Some(other)) = (profiles.get(&row.record_a), profiles.get(&row.record_b)) else { continue };
        let mut values = said(learned, &learned.model.score(one, other));
        values.push((pairs::Column::State, Expr::value(pair::LINKED)));
        scope.update_where::<pairs::Entity>(pairs::Column::Id.eq(row.id), values).await?;
    }
    let apart = join(change, run, &ends, setting::thresholds_of(scope).await?, passed).await?;
    let customers: BTreeSet<Uuid> = customers_of(scope, apart.into_iter()).await?.into_values().flatten().collect();
    Reader { scope, keys: change.keyring(), sources: &run.sources }.of(&customers.into_iter().collect::<Vec<_>>()).await
}

/// Decides which of the probable pairs around these records are linked, and links their customers accordingly. Returns the
/// records of pairs that are linked no more.
///
/// What the rules join counts as one; a wrong pair that would chain two large groups, or bring together what a person keeps
/// apart, is left to the queue ([`policy::probabilistic::clusters`]).
pub(super) async fn join(change: &Change, run: &mut Run, records: &[Uuid], thresholds: Thresholds, passed: &mut Passed) -> Result<Vec<Uuid>, Error> {
    let scope = change.scope();
    let least = [thresholds.of(true), thresholds.of(false)].into_iter().flatten().fold(1.0, f64::min);
    let reader = Reader { scope, keys: change.keyring(), sources: &run.sources };
    let mut members: BTreeMap<Uuid, Member> = BTreeMap::new();
    let mut all: BTreeMap<Uuid, pairs::Model> = BTreeMap::new();
    let mut dismissed: BTreeSet<(Uuid, Uuid)> = BTreeSet::new();
    let mut next: Vec<Uuid> = records.to_vec();
    while !next.is_empty() {
        let customers: BTreeSet<Uuid> = customers_of(scope, next.iter().copied()).await?.into_values().flatten().collect();
        let theirs: Vec<Member> = reader.of(&customers.into_iter().collect::<Vec<_>>()).await?;
        let new: Vec<Uuid> = theirs.iter().map(|member| member.id).filter(|id| !members.contains_key(id)).collect();
        members.extend(theirs.into_iter().map(|member| (member.id, member)));
        next.clear();
        for chunk in new.chunks(2_000) {
            for column in [pairs::Column::RecordA, pairs::Column::RecordB] {
                let select = scope.find::<pairs::Entity>().filter(scope.among(column, chunk.iter().copied())).filter(pairs::Column::State.is_in([
                    pair::OPEN,
                    pair::LINKED,
                    pair::STALE,
                    pair::DISMISSED,
                ]));
                for row in select.all(scope.tx()).await? {
                    if row.state == pair::DISMISSED {
                        dismissed.insert((row.record_a, row.record_b));
                        continue;
                    }
                    if row.score >= least {
                        next.extend([row.record_a, row.record_b].into_iter().filter(|id| !members.contains_key(id)));
                    }
                    all.insert(row.id, row);
                }
            }
        }
    }
    let ids: Vec<Uuid> = members.keys().copied().collect();
    let places: HashMap<Uuid, usize> = ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
    let rules: Vec<policy::link::Record> = members.values().map(|member| member.link.clone()).collect();
    let units = policy::link::cluster(&rules, &[]).roots;
    // A pair that may not be linked, however probable, is evidence of nothing.
    let may = |row: &pairs::Model| {
        let compared = [row.record_a, row.record_b].iter().all(|id| members.get(id).is_some_and(|member| member.traited));
        thresholds.of(compared).is_some_and(|link| row.score >= link)
    };
    let mut best: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for row in all.values().filter(|row| row.score < least || may(row)) {
        let (Some(a), Some(b)) = (places.get(&row.record_a), places.get(&row.record_b)) else { continue };
        let (a, b) = (units[*a].min(units[*b]), units[*a].max(units[*b]));
        if a != b {
            let most = best.entry((a, b)).or_insert(row.score);
            *most = most.max(row.score);
        }
    }
    let weight = |probability: f64| (probability / (1.0 - probability).max(1e-12)).log2();
    let links: Vec<Link> = best.into_iter().map(|((a, b), probability)| Link { a, b, probability, weight: weight(probability) }).collect();
    let apart: Vec<(usize, usize)> = dismissed.iter().filter_map(|(a, b)| Some((units[*places.get(a)?], units[*places.get(b)?]))).collect();
    let joined = clusters(ids.len(), &links, least, &apart);
    let (mut linked, mut left, mut parted) = (Vec::new(), Vec::new(), Vec::new());
    for row in all.values() {
        let (Some(a), Some(b)) = (places.get(&row.record_a), places.get(&row.record_b)) else { continue };
        let together = may(row) && joined[units[*a]] == joined[units[*b]];
        match (together, row.state.as_str()) {
            (true, pair::LINKED) | (false, pair::OPEN) => {}
            (true, _) => linked.push(row.id),
            (false, _) => {
                left.push(row.id);
                parted.extend([row.record_a, row.record_b]);
            }
        }
    }
    for (ids, state) in [(&linked, pair::LINKED), (&left, pair::OPEN)] {
        for chunk in ids.chunks(5_000) {
            let these = scope.among(pairs::Column::Id, chunk.iter().copied());
            scope.update_where::<pairs::Entity>(these, vec![(pairs::Column::State, Expr::value(state))]).await?;
        }
    }
    if linked.is_empty() && left.is_empty() {
        return Ok(parted);
    }
    passed.joined += linked.len();
    run.joined = true;
    let customers: BTreeSet<Uuid> = members.values().filter_map(|member| member.customer).collect();
    let touched = Touched { customers: customers.into_iter().collect(), ..Touched::default() };
    passed.linked.add(&settle(change, run, touched, Why { kind: "linked", reason: "by probability" }).await?.linked);
    Ok(parted)
}
