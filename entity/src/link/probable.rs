//! The second pass: records that no rule joins and that are probably one person's nevertheless.
//!
//! Each record leaves keyed hashes of its blocking keys; a new record is compared with those that share one. Weights are
//! learned without labels from a sample of the tenant's records ([`policy::probabilistic`]); the model is learned again when
//! the records have doubled. Above the tenant's threshold a pair is linked, below it waits in the duplicates queue.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use policy::field::kinds::Raw;
use policy::probabilistic::{Attribute, Comparator, Link, Model, Profile, clusters};
use policy::{Pii, Verb};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QueryOrder, QuerySelect};
use serde_json::json;

use super::blocking::{block, candidates};
use super::{Linked, Member, Reader, Run, Touched, Why, settle};
use crate::import::table as imports;
use crate::pair::{self, table as pairs};
use crate::record::{Column, Entity};
use crate::setting::{self, Thresholds};
use crate::source::Source;
use crate::store::Tenanted;
use crate::vault::{Sealed, Wrapped};
use crate::{Change, Error, Scope};

mod learned {
    use crate::TenantId;
    use crate::vault::Sealed;
    use policy::field::kinds::Raw;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "match_model")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub records: i32,
        pub learned_at: ChronoDateTimeUtc,
        pub record_key: Option<Vec<u8>>,
        pub key_epoch: i32,
        #[sea_orm(column_name = "model")]
        pub learned: Option<Sealed<Raw>>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for learned::Entity {
    const TENANT: learned::Column = learned::Column::TenantId;
}

/// Records of one batch of the pass.
const BATCH: u64 = 5_000;
/// Records to learn from.
const SAMPLE: u64 = 10_000;
/// Pairs less probable than this are forgotten.
const KEPT: f64 = 0.1;

/// What is compared where a source does not say it itself.
const STANDARD: [(&str, Comparator); 5] = [
    ("name", Comparator::Name),
    ("phone", Comparator::Digits),
    ("email", Comparator::Exact),
    ("company", Comparator::Organisation),
    ("address", Comparator::Words),
];

/// The attributes of the tenant's sources, each once.
pub(super) fn schema(sources: &HashMap<Uuid, Source>) -> Vec<Attribute> {
    let mut attributes: BTreeMap<String, Comparator> = STANDARD.into_iter().map(|(name, comparator)| (name.to_owned(), comparator)).collect();
    let mut sources: Vec<&Source> = sources.values().collect();
    sources.sort_by_key(|source| std::cmp::Reverse(source.position));
    for column in sources.iter().flat_map(|source| &source.mapping.columns) {
        attributes.extend(column.compare.map(|comparator| (column.attribute(), comparator)));
    }
    attributes.into_iter().map(|(name, comparator)| Attribute { name, comparator }).collect()
}

pub(super) fn profile(schema: &[Attribute], member: &Member) -> Profile {
    let traits: HashMap<&str, &str> = member.traits.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let standard = |name: &str| match name {
        "name" => member.link.name.as_ref().map(Pii::expose),
        "phone" => member.phone.as_ref().map(Pii::expose),
        "email" => member.email.as_ref().map(Pii::expose),
        "company" => member.company.as_deref(),
        "address" => member.address.as_ref().map(Pii::expose),
        _ => None,
    };
    let value = |attribute: &Attribute| if member.traited { traits.get(attribute.name.as_str()).copied() } else { standard(&attribute.name) };
    Profile::of(schema, &schema.iter().map(value).collect::<Vec<_>>())
}

/// The model of the tenant, and what it is about.
pub struct Learned {
    schema: Vec<Attribute>,
    model: Model,
}

/// The tenant's model, learned anew where it is missing, of other attributes, or of half as many records. `None` while there
/// are too few records to learn from. After learning, everything is compared anew.
///
/// # Errors
/// [`Error::Denied`] to whom may not import.
pub async fn learn(change: &Change, run: &Run) -> Result<Option<Learned>, Error> {
    change.permit(Verb::ImportRun)?;
    let (scope, keys) = (change.scope(), change.keyring());
    crate::tenant::lock(scope).await?;
    let schema = schema(&run.sources);
    let records = i32::try_from(scope.find::<Entity>().count(scope.tx()).await?).unwrap_or(i32::MAX);
    if let Some(row) = scope.find::<learned::Entity>().one(scope.tx()).await? {
        let key = keys.record("match_model", row.id, Wrapped(row.record_key.as_deref()))?;
        let text = row.learned.as_ref().map(|sealed: &Sealed<Raw>| key.open(sealed)).transpose()?;
        let stored: Option<(Vec<Attribute>, Model)> = text.and_then(|text| serde_json::from_str(&text).ok());
        if let Some((_, model)) = stored.filter(|(of, _)| *of == schema && records < row.records.saturating_mul(2)) {
            return Ok(Some(Learned { schema, model }));
        }
    }
    let sample = Reader { scope, keys, sources: &run.sources }.sample(SAMPLE).await?;
    let profiles: Vec<Profile> = sample.iter().map(|member| profile(&schema, member)).collect();
    let Some(model) = Model::learn(&schema, &profiles) else { return Ok(None) };
    let id = Uuid::now_v7();
    let (key, wrapped, epoch) = keys.new_record("match_model", id)?;
    let text = serde_json::to_string(&(&schema, &model)).map_err(|error| Error::Invalid(error.to_string()))?;
    let text = Raw::parse(&text).map_err(|why| Error::Invalid(why.to_string()))?;
    let row = learned::ActiveModel {
        id: Set(id),
        records: Set(records),
        learned_at: Set(change.now()),
        record_key: Set(Some(wrapped)),
        key_epoch: Set(epoch.cast_signed()),
        learned: Set(Some(key.seal(&text)?)),
        ..Default::default()
    };
    scope.delete_where::<learned::Entity>(learned::Column::Id.is_not_null()).await?;
    scope.insert(vec![row]).await?;
    scope.update_where::<imports::Entity>(imports::Column::Id.is_not_null(), vec![(imports::Column::Scored, Expr::value(0))]).await?;
    scope.delete_where::<block::Entity>(block::Column::Block.is_not_null()).await?;
    // What waits is found again; what is linked stays so until it was compared anew.
    scope.delete_where::<pairs::Entity>(pairs::Column::State.eq(pair::OPEN)).await?;
    scope.update_where::<pairs::Entity>(pairs::Column::State.eq(pair::LINKED), vec![(pairs::Column::State, Expr::value(pair::STALE))]).await?;
    change.note("learned_from", records);
    Ok(Some(Learned { schema, model }))
}

/// What a batch of the pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Passed {
    /// Records compared.
    pub records: usize,
    /// Pairs linked.
    pub joined: usize,
    /// Pairs put into the duplicates queue.
    pub queued: usize,
    /// What linking did with them.
    pub linked: Linked,
}

impl Passed {
    /// Adds what another batch did.
    pub const fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.joined += other.joined;
        self.queued += other.queued;
        self.linked.add(&other.linked);
    }
}

/// Compares the next records that were not compared yet. `None` when there are no more.
///
/// # Errors
/// [`Error::Denied`] to whom may not import.
pub async fn batch(change: &Change, run: &mut Run, learned: &Learned) -> Result<Option<Passed>, Error> {
    change.permit(Verb::ImportRun)?;
    let scope = change.scope();
    crate::tenant::lock(scope).await?;
    run.renew(scope).await?;
    crate::keys::indexed_alike(scope).await?;
    scope.count_grown(&["source_record", "customer", "block_key", "match_pair"]).await?;
    let behind = Expr::col(imports::Column::Scored).lt(Expr::col(imports::Column::RowsRead));
    let next = scope.find::<imports::Entity>().filter(imports::Column::State.is_in(["done", "cancelled", "failed"])).filter(behind);
    let Some(import) = next.order_by_asc(imports::Column::Id).limit(1).one(scope.tx()).await? else { return unlink_stale(change, run).await };
    let reader = Reader { scope, keys: change.keyring(), sources: &run.sources };
    let mut rows = reader.behind(import.id, import.scored, BATCH).await?;
    rows.sort_by_key(|(number, _)| *number);
    let through = if (rows.len() as u64) < BATCH { import.rows_read } else { rows.last().map_or(import.rows_read, |(number, _)| *number) };
    scope.update_where::<imports::Entity>(imports::Column::Id.eq(import.id), vec![(imports::Column::Scored, Expr::value(through))]).await?;
    let new: Vec<Member> = rows.into_iter().map(|(_, member)| member).collect();
    let mut passed = Passed { records: new.len(), ..Passed::default() };
    let near = candidates(change, &learned.schema, &new).await?;
    let ids: HashSet<Uuid> = near.iter().flat_map(|(a, b)| [*a, *b]).collect();
    let mut members: HashMap<Uuid, Member> = new.into_iter().filter(|member| ids.contains(&member.id)).map(|member| (member.id, member)).collect();
    let absent: Vec<Uuid> = ids.into_iter().filter(|id| !members.contains_key(id)).collect();
    members.extend(reader.these(&absent).await?.into_iter().map(|member| (member.id, member)));
    let thresholds = setting::thresholds_of(scope).await?;
    let found = score(learned, &members, near);
    if found.is_empty() {
        return Ok(Some(passed));
    }
    store(change, learned, &found).await?;
    let compared = |found: &Found| [found.a, found.b].iter().all(|id| members.get(id).is_some_and(|member| member.traited));
    let is_sure = |found: &&Found| thresholds.of(compared(found)).is_some_and(|link| found.score.probability >= link);
    let sure: Vec<Uuid> = found.iter().filter(is_sure).flat_map(|found| [found.a, found.b]).collect();
    if !sure.is_empty() {
        let (joined, customers) = join(change, run, &sure, thresholds).await?;
        passed.joined = joined;
        run.joined |= joined > 0;
        let touched = Touched { customers, ..Touched::default() };
        passed.linked = settle(change, run, touched, Why { kind: "linked", reason: "by probability" }).await?.linked;
    }
    passed.queued = found.iter().filter(|found| found.score.probability >= thresholds.review).count().saturating_sub(passed.joined);
    scope.delete_where::<pairs::Entity>(pairs::Column::State.eq(pair::OPEN).and(pairs::Column::Score.lt(KEPT))).await?;
    change.note("import", import.id.to_string());
    change.note("joined", passed.joined);
    Ok(Some(passed))
}

/// Pairs that were linked and that the new model did not find again are linked no more.
async fn unlink_stale(change: &Change, run: &mut Run) -> Result<Option<Passed>, Error> {
    let scope = change.scope();
    let stale = scope.find::<pairs::Entity>().filter(pairs::Column::State.eq(pair::STALE)).limit(BATCH).all(scope.tx()).await?;
    if stale.is_empty() {
        return Ok(None);
    }
    let customers = customers_of(scope, stale.iter().flat_map(|row| [row.record_a, row.record_b])).await?.into_values().flatten().collect();
    scope.delete_where::<pairs::Entity>(scope.among(pairs::Column::Id, stale.iter().map(|row| row.id))).await?;
    let linked = settle(change, run, Touched { customers, ..Touched::default() }, Why { kind: "linked", reason: "by probability" }).await?.linked;
    Ok(Some(Passed { linked, ..Passed::default() }))
}

pub(super) async fn customers_of(scope: &Scope, records: impl Iterator<Item = Uuid>) -> Result<HashMap<Uuid, Option<Uuid>>, Error> {
    let records: BTreeSet<Uuid> = records.collect();
    let records: Vec<Uuid> = records.into_iter().collect();
    let mut customers = HashMap::new();
    for chunk in records.chunks(5_000) {
        let select = scope.find::<Entity>().filter(scope.among(Column::Id, chunk.iter().copied())).select_only().columns([Column::Id, Column::CustomerId]);
        customers.extend(select.into_tuple::<(Uuid, Option<Uuid>)>().all(scope.tx()).await?);
    }
    Ok(customers)
}

/// A pair that is not improbable.
struct Found {
    a: Uuid,
    b: Uuid,
    score: policy::probabilistic::Score,
}

/// Scores pairs; of the pairs between two customers the most probable is kept.
fn score(learned: &Learned, members: &HashMap<Uuid, Member>, near: BTreeSet<(Uuid, Uuid)>) -> Vec<Found> {
    let profiles: HashMap<Uuid, Profile> = members.iter().map(|(id, member)| (*id, profile(&learned.schema, member))).collect();
    let mut best: BTreeMap<(Uuid, Uuid), Found> = BTreeMap::new();
    for (a, b) in near {
        let (Some(one), Some(other)) = (profiles.get(&a), profiles.get(&b)) else { continue };
        let score = learned.model.score(one, other);
        if score.probability < KEPT {
            continue;
        }
        let whose = |id: Uuid| members.get(&id).and_then(|member| member.customer).unwrap_or(id);
        let between = (Ord::min(whose(a), whose(b)), Ord::max(whose(a), whose(b)));
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
async fn store(change: &Change, learned: &Learned, found: &[Found]) -> Result<(), Error> {
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
            scope.update_where::<pairs::Entity>(undecided, vec![(pairs::Column::Score, Expr::value(found.score.probability))]).await?;
        }
    }
    let evidence = |found: &Found| -> Vec<pair::Evidence> {
        let said = found.score.evidence.iter().filter_map(|said| {
            let attribute = learned.schema.get(said.attribute)?.name.clone();
            Some(pair::Evidence { attribute, agrees: said.level.words().to_owned(), bits: (said.bits * 100.0).round() / 100.0 })
        });
        said.collect()
    };
    let new = found.iter().filter(|found| !known.contains_key(&(found.a, found.b))).map(|found| pairs::ActiveModel {
        id: Set(Uuid::now_v7()),
        record_a: Set(found.a),
        record_b: Set(found.b),
        rule: Set("probabilistic".to_owned()),
        score: Set(found.score.probability),
        evidence: Set(json!(evidence(found))),
        state: Set(pair::OPEN.to_owned()),
        found_at: Set(change.now()),
        decided_by: Set(None),
        decided_at: Set(None),
        note: Set(None),
        ..Default::default()
    });
    scope.insert(new.collect()).await
}

/// Decides which of the probable pairs around these records are linked, and says whose customers they concern.
///
/// What the rules join counts as one; a wrong pair that would chain two large groups is left to the queue
/// ([`policy::probabilistic::clusters`]).
async fn join(change: &Change, run: &Run, records: &[Uuid], thresholds: Thresholds) -> Result<(usize, Vec<Uuid>), Error> {
    let scope = change.scope();
    let least = [thresholds.of(true), thresholds.of(false)].into_iter().flatten().fold(1.0, f64::min);
    let reader = Reader { scope, keys: change.keyring(), sources: &run.sources };
    let mut members: BTreeMap<Uuid, Member> = BTreeMap::new();
    let mut all: BTreeMap<Uuid, pairs::Model> = BTreeMap::new();
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
                ]));
                for row in select.all(scope.tx()).await? {
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
    let joined = clusters(ids.len(), &links, least);
    let (mut linked, mut left) = (Vec::new(), Vec::new());
    for row in all.values() {
        let (Some(a), Some(b)) = (places.get(&row.record_a), places.get(&row.record_b)) else { continue };
        let together = may(row) && joined[units[*a]] == joined[units[*b]];
        match (together, row.state.as_str()) {
            (true, pair::LINKED) | (false, pair::OPEN) => {}
            (true, _) => linked.push(row.id),
            (false, _) => left.push(row.id),
        }
    }
    for (ids, state) in [(&linked, pair::LINKED), (&left, pair::OPEN)] {
        for chunk in ids.chunks(5_000) {
            let these = scope.among(pairs::Column::Id, chunk.iter().copied());
            scope.update_where::<pairs::Entity>(these, vec![(pairs::Column::State, Expr::value(state))]).await?;
        }
    }
    let customers: BTreeSet<Uuid> = members.values().filter_map(|member| member.customer).collect();
    Ok((linked.len(), customers.into_iter().collect()))
}
