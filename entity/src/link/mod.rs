//! Linking: source records into customers, and customers' golden values from their records.
//!
//! [`settle`] looks at the records that came, changed or went, and at all that could be joined to them: those that share a
//! key with them, the records of the customers these belong to, and whoever shares a key with those. What it decides is
//! what clustering all records of the tenant would decide, so neither the order of the files nor their cutting into batches
//! matters. A cluster keeps the customer that most of its records had; ids are stable, and a customer whose records all
//! went to another redirects there.

mod alike;
pub(crate) mod blocking;
mod company;
mod joined;
pub(crate) mod member;
pub(crate) mod number;
pub mod probable;
mod scored;
mod write;

use std::collections::{BTreeMap, HashMap, HashSet};

use policy::link::{self, Key};
use sea_orm::entity::prelude::*;

pub(crate) use member::{Member, Reader, Shared};

use crate::people::{self, Person};
use crate::source::{self, Source};
use crate::{Change, Error, Scope, pair, pin};

/// What linking did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Linked {
    /// Customers that are new.
    pub created: i32,
    /// Customers whose golden values changed.
    pub updated: i32,
    /// Customers that went up in others.
    pub merged: i32,
}

impl Linked {
    /// Adds what another batch did.
    pub const fn add(&mut self, other: &Self) {
        self.created += other.created;
        self.updated += other.updated;
        self.merged += other.merged;
    }
}

/// What one batch after the other needs to know.
pub struct Run {
    pub(crate) sources: HashMap<Uuid, Source>,
    pub(crate) people: HashMap<Uuid, Person>,
    pub(crate) survivorship: policy::survivorship::Survivorship,
    /// Keys that so many names share that they never link again.
    spent: HashSet<Key>,
    /// Crowded keys of which a sample was looked at.
    sampled: HashSet<Shared>,
    /// Whether a person or the second pass has joined records of this tenant.
    joined: bool,
    /// Whether values are pinned by hand.
    pinned: bool,
    /// Whether anybody was erased, so that rows are to be compared with tombstones.
    pub(crate) erased: bool,
    /// How many batches of the second pass there were.
    compared: u32,
}

impl Run {
    pub(crate) async fn of(scope: &Scope) -> Result<Self, Error> {
        Ok(Self {
            sources: source::in_scope(scope).await?.into_iter().map(|source| (source.id, source)).collect(),
            people: people::everybody(scope).await?,
            survivorship: crate::setting::survivorship(scope).await?,
            spent: HashSet::new(),
            sampled: HashSet::new(),
            joined: pair::any_joined(scope).await?,
            pinned: pin::any(scope).await?,
            erased: crate::erasure::any(scope).await?,
            compared: 0,
        })
    }

    /// What others may have changed since the last batch, read anew. Whoever calls holds the tenant's row.
    pub(crate) async fn renew(&mut self, scope: &Scope) -> Result<(), Error> {
        *self = Self { spent: std::mem::take(&mut self.spent), compared: self.compared, ..Self::of(scope).await? };
        Ok(())
    }
}

/// More records than this make a key crowded.
const CROWD: i64 = 1_000;
/// How many of them are looked at, to find out whether their names disagree.
const TELLING: u64 = 300;

impl Run {
    /// Whether a key joins nobody any more.
    fn is_spent(&self, shared: &Shared) -> bool {
        matches!(shared, Shared::Phone(key) | Shared::Email(key) if self.spent.contains(key))
    }

    fn reader<'r>(&'r self, change: &'r Change) -> Reader<'r> {
        Reader { scope: change.scope(), keys: change.keyring(), sources: &self.sources }
    }

    /// The customers whose records share one of these keys.
    pub(crate) async fn known_by(&self, change: &Change, keys: &[Shared]) -> Result<Vec<Uuid>, Error> {
        let keys: Vec<Shared> = keys.iter().copied().filter(|key| !self.is_spent(key)).collect();
        Ok(self.reader(change).sharing(&keys, CROWD).await?.0.into_iter().filter_map(|sharing| sharing.customer).collect())
    }

    /// Finds out which keys are spent, before all that shares them is loaded: of a switchboard's records a few tell.
    async fn spend(&mut self, change: &Change, keys: &[Shared]) -> Result<(), Error> {
        let crowded = self.reader(change).crowded(keys, CROWD).await?;
        self.judge(change, crowded).await
    }

    /// Finds out which of these crowded keys are spent.
    async fn judge(&mut self, change: &Change, crowded: Vec<Shared>) -> Result<(), Error> {
        for key in crowded {
            if !self.is_spent(&key) && self.sampled.insert(key) {
                let reader = self.reader(change);
                let some = reader.these(&reader.some(key, TELLING).await?).await?;
                let spent = link::cluster(&some.into_iter().map(|member| member.link).collect::<Vec<_>>(), &[]).spent;
                self.spent.extend(spent);
            }
        }
        Ok(())
    }
}

/// What came, changed or went.
#[derive(Default)]
pub(crate) struct Touched {
    /// Records that are about to be written.
    pub fresh: Vec<Member>,
    /// What joined records that changed or went.
    pub keys: Vec<Shared>,
    /// Customers that lost records, or are to be derived anew.
    pub customers: Vec<Uuid>,
    /// Companies of records that went, with what was said of them before.
    pub industries: Vec<(Key, Option<String>)>,
}

/// What was settled.
pub(crate) struct Settled {
    /// The customer of each fresh record.
    pub customers: HashMap<Uuid, Uuid>,
    /// Fresh records that say what a stored record of their customer says.
    pub alike: HashSet<Uuid>,
    pub linked: Linked,
}

/// Why customers came to be joined, as the merge journal tells it.
#[derive(Clone, Copy)]
pub(crate) struct Why<'w> {
    pub kind: &'static str,
    pub reason: &'w str,
}

/// Links what was touched and derives the customers that it concerns. Whoever calls holds the tenant's row.
pub(crate) async fn settle(change: &Change, run: &mut Run, touched: Touched, why: Why<'_>) -> Result<Settled, Error> {
    let scope = change.scope();
    crate::keys::indexed_alike(scope).await?;
    let begun = std::time::Instant::now();
    let mut around = Around::of(change, run, touched).await?;
    let asked = begun.elapsed();
    let (clusters, spent) = around.gather(run).await?;
    tracing::debug!(?asked, gathered = ?begun.elapsed(), members = around.members.len(), "around a batch");
    run.spent.extend(spent);
    let Around { members, affected, fresh, refresh, alike, .. } = around;
    let members: Vec<Member> = members.into_values().collect();
    let kept = assign(&members, &clusters);

    let held = write::Held { members: &members, clusters: &clusters, kept: &kept, fresh: &fresh, affected: &affected, refresh: &refresh };
    let (linked, assigned) = write::customers(change, run, &held, why).await?;
    let points: Vec<(Uuid, Uuid)> = members
        .iter()
        .zip(&assigned)
        .filter_map(|(member, id)| (*id).filter(|id| !fresh.contains(&member.id) && member.customer != Some(*id)).map(|id| (member.id, id)))
        .collect();
    scope.point("source_record", "id", &points).await?;
    for table in ["customer_order", "contact_record", "ticket"] {
        scope.point(table, "record_id", &points).await?;
    }
    let mine = members.iter().zip(&assigned).filter_map(|(member, id)| Some((member.id, (*id)?))).filter(|(id, _)| fresh.contains(id));
    let customers = mine.chain(alike.iter().map(|(record, customer)| (*record, *customer))).collect();
    Ok(Settled { customers, alike: alike.into_keys().collect(), linked })
}

/// What was touched, and what stands around it.
struct Around<'c> {
    change: &'c Change,
    /// Ordered by id, so that positions follow from the records alone.
    members: BTreeMap<Uuid, Member>,
    asked: HashSet<Shared>,
    /// Customers whose records are all here.
    affected: HashSet<Uuid>,
    loaded: HashSet<Uuid>,
    fresh: HashSet<Uuid>,
    /// Customers to derive even though their records did not change.
    refresh: HashSet<Uuid>,
    /// Fresh records that say what their customer says already.
    alike: HashMap<Uuid, Uuid>,
}

impl<'c> Around<'c> {
    async fn of(change: &'c Change, run: &mut Run, touched: Touched) -> Result<Self, Error> {
        let mut fresh: HashSet<Uuid> = touched.fresh.iter().map(|member| member.id).collect();
        let changed = industries(change.scope(), &touched, &fresh).await?;
        let mut refresh: HashSet<Uuid> = touched.customers.iter().copied().collect();
        refresh.extend(company::without_industry(change.scope(), &changed).await?);
        let mut affected: HashSet<Uuid> = refresh.clone();
        affected.extend(touched.fresh.iter().filter_map(|member| member.customer));
        let mut asked: HashSet<Shared> = touched.keys.iter().copied().chain(touched.fresh.iter().flat_map(Member::keys)).collect();
        asked.retain(|key| !run.is_spent(key));
        let (mut near, crowded) = run.reader(change).sharing(&asked.iter().copied().collect::<Vec<_>>(), CROWD).await?;
        run.judge(change, crowded).await?;
        asked.retain(|key| !run.is_spent(key));
        near.retain(|sharing| !run.is_spent(&sharing.shared));
        let alike = if run.joined || run.pinned {
            affected.extend(near.iter().filter_map(|sharing| sharing.customer));
            HashMap::new()
        } else {
            alike::find(change.scope(), &touched, &near, &mut affected, run).await?
        };
        fresh.retain(|id| !alike.contains_key(id));
        let members = touched.fresh.into_iter().filter(|member| !alike.contains_key(&member.id)).map(|member| (member.id, member)).collect();
        let around = Self { change, members, asked, affected, loaded: HashSet::new(), fresh, refresh, alike };
        Ok(around)
    }

    /// Which records share keys that were not asked about yet.
    async fn ask(&mut self, run: &mut Run, keys: impl IntoIterator<Item = Shared>) -> Result<Vec<Uuid>, Error> {
        let mut keys: Vec<Shared> = keys.into_iter().filter(|key| !run.is_spent(key) && self.asked.insert(*key)).collect();
        run.spend(self.change, &keys).await?;
        keys.retain(|key| !run.is_spent(key));
        run.reader(self.change).holding(&keys).await
    }

    fn take_up(&mut self, found: Vec<Member>) {
        for member in found {
            self.members.entry(member.id).or_insert(member);
        }
    }

    /// Takes up all that could matter, and clusters it.
    async fn gather(&mut self, run: &mut Run) -> Result<(Vec<Vec<usize>>, HashSet<Key>), Error> {
        loop {
            let missing: Vec<Uuid> = self.affected.difference(&self.loaded).copied().collect();
            self.loaded.extend(&missing);
            let found = run.reader(self.change).of(&missing).await?;
            self.take_up(found);
            let keys: Vec<Shared> = self.core().flat_map(Member::keys).collect();
            let rim: Vec<Uuid> = self.ask(run, keys).await?.into_iter().filter(|id| !self.members.contains_key(id)).collect();
            let found = run.reader(self.change).these(&rim).await?;
            self.take_up(found);
            let sure = if run.joined { self.sure(run).await? } else { Vec::new() };
            let (clusters, spent) = self.cluster(run, &sure);
            let members: Vec<&Member> = self.members.values().collect();
            let mine: Vec<Vec<usize>> = clusters.into_iter().filter(|cluster| cluster.iter().any(|&i| self.is_core(members[i]))).collect();
            let joined = mine.iter().flatten().filter_map(|&i| members[i].customer);
            let more: Vec<Uuid> = joined.chain(self.held_for()).filter(|id| !self.affected.contains(id)).collect();
            if more.is_empty() {
                return Ok((mine, spent));
            }
            self.affected.extend(more);
        }
    }

    fn is_core(&self, member: &Member) -> bool {
        self.fresh.contains(&member.id) || member.customer.is_some_and(|id| self.affected.contains(&id))
    }

    fn core(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| self.is_core(member))
    }

    /// Customers for whom records here are held.
    fn held_for(&self) -> impl Iterator<Item = Uuid> {
        self.core().filter_map(|member| member.link.held.map(Uuid::from_u128))
    }

    /// Pairs that the second pass joined.
    async fn sure(&mut self, run: &Run) -> Result<Vec<(Uuid, Uuid)>, Error> {
        let mut sure = Vec::new();
        let mut asked: HashSet<Uuid> = HashSet::new();
        loop {
            let core: Vec<Uuid> = self.core().map(|member| member.id).filter(|id| asked.insert(*id)).collect();
            if core.is_empty() {
                return Ok(sure);
            }
            let pairs = pair::joined(self.change.scope(), &core).await?;
            let ends: HashSet<Uuid> = pairs.iter().flat_map(|(a, b)| [*a, *b]).collect();
            let absent: Vec<Uuid> = ends.into_iter().filter(|id| !self.members.contains_key(id)).collect();
            let found = run.reader(self.change).these(&absent).await?;
            self.take_up(found);
            sure.extend(pairs);
        }
    }

    fn cluster(&self, run: &Run, sure: &[(Uuid, Uuid)]) -> (Vec<Vec<usize>>, HashSet<Key>) {
        let places: HashMap<Uuid, usize> = if sure.is_empty() { HashMap::new() } else { self.members.keys().enumerate().map(|(i, id)| (*id, i)).collect() };
        let sure: Vec<(usize, usize)> = sure.iter().filter_map(|(a, b)| Some((*places.get(a)?, *places.get(b)?))).collect();
        let unspent = |key: Option<Key>| key.filter(|key| !run.spent.contains(key));
        let records: Vec<link::Record> = self
            .members
            .values()
            .map(|member| link::Record { phone: unspent(member.link.phone), email: unspent(member.link.email), ..member.link.clone() })
            .collect();
        let found = link::cluster(&records, &sure);
        let mut clusters: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, root) in found.roots.into_iter().enumerate() {
            clusters.entry(root).or_default().push(i);
        }
        (clusters.into_values().collect(), found.spent)
    }
}

/// Companies of which another industry is said most often than before.
async fn industries(scope: &Scope, touched: &Touched, fresh: &HashSet<Uuid>) -> Result<Vec<(Key, Option<String>)>, Error> {
    let told: HashSet<Key> = touched.fresh.iter().filter(|member| member.industry.is_some()).filter_map(|member| member.company_key).collect();
    let before = company::Companies::stored(scope, &told).await?;
    let mut after = before.clone().without(scope, fresh).await?;
    after.hear_all(touched.fresh.iter());
    let said = |companies: &company::Companies, key: Key| companies.industry(key).map(str::to_owned);
    let mut changed: Vec<(Key, Option<String>)> =
        told.into_iter().filter(|key| said(&before, *key) != said(&after, *key)).map(|key| (key, said(&before, key))).collect();
    changed.extend(touched.industries.iter().cloned());
    Ok(changed)
}

/// Which existing customer each cluster keeps: the one that its records are held for, else that most of them had; no
/// customer goes to two.
fn assign(members: &[Member], clusters: &[Vec<usize>]) -> Vec<Option<Uuid>> {
    let mut claims: Vec<(usize, Uuid, usize)> = Vec::new();
    for (c, cluster) in clusters.iter().enumerate() {
        let mut had: BTreeMap<Uuid, usize> = BTreeMap::new();
        for member in cluster.iter().map(|&i| &members[i]) {
            if let Some(id) = member.customer {
                *had.entry(id).or_default() += 1;
            }
            if let Some(held) = member.link.held {
                had.insert(Uuid::from_u128(held), usize::MAX / 2);
            }
        }
        claims.extend(had.into_iter().map(|(id, times)| (times, id, c)));
    }
    claims.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let mut kept = vec![None; clusters.len()];
    let mut taken = HashSet::new();
    for (_, id, c) in claims {
        if kept[c].is_none() && taken.insert(id) {
            kept[c] = Some(id);
        }
    }
    kept
}
