//! Which source records are one customer's.
//!
//! Deterministic and free of order: the same records in any sequence fall into the same clusters. Link keys are keyed
//! hashes, so nothing here knows a telephone number; names are compared in the clear, in memory.
//!
//! Records are joined by phone and name, e-mail and name, phone and e-mail, name and company, and by phone alone when
//! a name is missing or only a family name. A phone or e-mail that three or more disagreeing names share is generic and
//! joins nobody. What a person decided goes before: records held for one customer are together, and those held for
//! different customers stay apart whatever they share.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::clean::name;
use crate::field::kinds::{FamilyName, Name};
use crate::kind::Pii;

/// A keyed hash of a normalised value.
pub type Key = [u8; 16];

/// What linking looks at in one source record.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Blind index of the mobile number.
    pub phone: Option<Key>,
    /// Blind index of the e-mail address.
    pub email: Option<Key>,
    /// Blind index of the company without its legal form together with the full name.
    pub person: Option<Key>,
    /// The full name.
    pub name: Option<Name>,
    /// The family name, where only that is known (王女士).
    pub family: Option<FamilyName>,
    /// The customer for whom a person holds the record.
    pub held: Option<u128>,
}

/// A phone or e-mail shared by this many disagreeing names links nobody.
const GENERIC: usize = 3;

/// With this many disagreeing names no later one can bring them together to less than [`GENERIC`]; comparing ends.
const TOO_MANY: usize = 64;

/// Which records belong together.
#[derive(Debug, PartialEq, Eq)]
pub struct Clusters {
    /// For each record the position of its cluster's first record.
    pub roots: Vec<usize>,
    /// Keys that so many disagreeing names share that no further record can make them link again.
    pub spent: HashSet<Key>,
}

/// Clusters records; `sure` are pairs that are known to be one customer's from elsewhere.
#[must_use]
pub fn cluster(records: &[Record], sure: &[(usize, usize)]) -> Clusters {
    let mut edges = Edges::default();
    let (mut generic, mut spent) = (HashSet::new(), HashSet::new());
    let by_phone = groups(records, |r| r.phone);
    let by_email = groups(records, |r| r.email);
    for (key, group) in by_phone.into_iter().chain(by_email) {
        match join_by_name(records, &group, &mut edges) {
            Shared::Telling => {}
            Shared::Generic => {
                generic.insert(key);
            }
            Shared::Spent => {
                generic.insert(key);
                spent.insert(key);
            }
        }
    }
    let telling = |key: Key| Some(key).filter(|key| !generic.contains(key));
    let both = groups(records, |r| Some((telling(r.phone?)?, telling(r.email?)?))).into_values();
    let named_company = groups(records, |r| r.person.filter(|_| r.name.is_some())).into_values();
    let held = groups(records, |r| r.held).into_values();
    for (strength, group) in held.map(|g| (0, g)).chain(both.map(|g| (1, g))).chain(named_company.map(|g| (3, g))) {
        for other in &group[1..] {
            edges.join(strength, group[0], *other);
        }
    }
    for (a, b) in sure {
        edges.join(4, *a, *b);
    }
    let mut forest = Forest { parents: (0..records.len()).collect(), held: records.iter().map(|record| record.held).collect() };
    for (_, a, b) in edges.0 {
        forest.join(a, b);
    }
    Clusters { roots: (0..records.len()).map(|i| forest.root(i)).collect(), spent }
}

/// Joins to make, strongest first: where a person's decisions keep records apart, the stronger evidence is heard first.
#[derive(Default)]
struct Edges(BTreeSet<(u8, usize, usize)>);

impl Edges {
    fn join(&mut self, strength: u8, a: usize, b: usize) {
        self.0.insert((strength, a.min(b), a.max(b)));
    }
}

/// What a phone or e-mail says about those who share it.
enum Shared {
    Telling,
    Generic,
    Spent,
}

/// Records that share a key which more than one of them has.
fn groups<'r, K: std::hash::Hash + Eq>(records: &'r [Record], key: impl Fn(&'r Record) -> Option<K>) -> HashMap<K, Vec<usize>> {
    let mut groups: HashMap<K, Vec<usize>> = HashMap::new();
    for (i, record) in records.iter().enumerate() {
        if let Some(key) = key(record) {
            groups.entry(key).or_default().push(i);
        }
    }
    groups.retain(|_, group| group.len() > 1);
    groups
}

/// Joins those of one phone's or e-mail's records whose names agree, and the nameless ones where that is unambiguous.
/// Joins nobody when the key is generic.
fn join_by_name(records: &[Record], group: &[usize], edges: &mut Edges) -> Shared {
    let (mut persons, mut twins): (Vec<Vec<usize>>, Vec<(usize, usize)>) = Default::default();
    for &i in group {
        let Some(name) = &records[i].name else { continue };
        let alike = |person: &Vec<usize>| person.iter().any(|&j| records[j].name.as_ref().is_some_and(|other| name::agree(name.expose(), other.expose())));
        let (alike, apart): (Vec<_>, Vec<_>) = std::mem::take(&mut persons).into_iter().partition(alike);
        persons = apart;
        // Equal names once: a switchboard has thousands of records and few names.
        let mut person: Vec<usize> = alike.into_iter().flatten().collect();
        match person.iter().find(|&&j| records[j].name.as_ref() == Some(name)) {
            Some(&j) => twins.push((j, i)),
            None => person.push(i),
        }
        persons.push(person);
        if persons.len() > TOO_MANY {
            return Shared::Spent;
        }
    }
    if persons.len() >= GENERIC {
        return Shared::Generic;
    }
    for (one, other) in twins {
        edges.join(2, one, other);
    }
    for person in &persons {
        for other in &person[1..] {
            edges.join(2, person[0], *other);
        }
    }
    let nameless: Vec<usize> = group.iter().copied().filter(|&i| records[i].name.is_none()).collect();
    if persons.is_empty() {
        join_nameless(records, &nameless, edges);
    }
    for &i in &nameless {
        let family = records[i].family.as_ref().map(Pii::expose);
        let bears = |person: &&Vec<usize>| {
            family.is_none_or(|family| person.iter().any(|&j| records[j].name.as_ref().is_some_and(|name| name.expose().starts_with(family))))
        };
        let mut candidates = persons.iter().filter(bears);
        if let (Some(person), None) = (candidates.next(), candidates.next()) {
            edges.join(5, person[0], i);
        }
    }
    Shared::Telling
}

/// Nobody is named: those of one family name are one, and with them, where there is but one family name, those of none.
fn join_nameless(records: &[Record], nameless: &[usize], edges: &mut Edges) {
    let mut families: HashMap<Option<&str>, usize> = HashMap::new();
    for &i in nameless {
        let first = *families.entry(records[i].family.as_ref().map(Pii::expose)).or_insert(i);
        edges.join(5, first, i);
    }
    let named: Vec<usize> = families.iter().filter(|(family, _)| family.is_some()).map(|(_, first)| *first).collect();
    if let (Some(none), [only]) = (families.get(&None), &named[..]) {
        edges.join(5, *none, *only);
    }
}

/// Union-find whose representative is always the smallest position, so that order does not matter. Records held for
/// different customers are never joined.
struct Forest {
    parents: Vec<usize>,
    held: Vec<Option<u128>>,
}

impl Forest {
    fn root(&mut self, mut i: usize) -> usize {
        while self.parents[i] != i {
            self.parents[i] = self.parents[self.parents[i]];
            i = self.parents[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        let (low, high) = (a.min(b), a.max(b));
        if self.held[low].is_some() && self.held[high].is_some() && self.held[low] != self.held[high] {
            return;
        }
        self.parents[high] = low;
        self.held[low] = self.held[low].or(self.held[high]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(phone: u8, email: u8, name: &str) -> Record {
        let key = |n: u8| (n > 0).then_some([n; 16]);
        let (full, family) =
            if name.ends_with("女士") { (None, Some(name.trim_end_matches("女士"))) } else { (Some(name).filter(|n| !n.is_empty()), None) };
        Record {
            phone: key(phone),
            email: key(email),
            person: None,
            held: None,
            name: full.and_then(|n| Name::parse(n).ok()),
            family: family.and_then(|n| FamilyName::parse(n).ok()),
        }
    }

    #[test]
    fn examples() {
        let linked = |records: &[Record]| {
            let c = cluster(records, &[]).roots;
            c.iter().all(|x| *x == c[0])
        };
        assert!(linked(&[record(1, 0, "王小明"), record(1, 0, "王晓明")]));
        assert!(linked(&[record(1, 0, "王小明"), record(1, 0, "王女士")]));
        assert!(linked(&[record(1, 0, "王小明"), record(1, 0, "")]));
        assert!(linked(&[record(1, 2, "王小明"), record(1, 2, "李大伟")]));
        assert!(!linked(&[record(1, 0, "王小明"), record(1, 0, "李大伟")]));
        assert!(!linked(&[record(1, 0, "王小明"), record(1, 0, "李女士")]));
        assert!(!linked(&[record(0, 0, "王小明"), record(0, 0, "王小明")]));
        // A switchboard: three names that disagree, and the fourth is nobody's.
        let generic = cluster(&[record(1, 0, "王小明"), record(1, 0, "李大伟"), record(1, 0, "赵海波"), record(1, 0, "王小明")], &[]).roots;
        assert_eq!(generic, [0, 1, 2, 3]);
        let office = cluster(&[record(1, 2, "王小明"), record(1, 2, "李大伟"), record(1, 2, "赵海波")], &[]).roots;
        assert_eq!(office, [0, 1, 2], "a switchboard and its common mailbox");
        let held = |customer: u128, name: &str| Record { held: Some(customer), ..record(1, 0, name) };
        assert_eq!(cluster(&[held(7, "王小明"), held(8, "王小明"), record(1, 0, "王小明")], &[]).roots, [0, 1, 0], "kept apart by hand");
        assert_eq!(cluster(&[held(7, "王小明"), held(7, "赵海波")], &[]).roots, [0, 0], "brought together by hand");
        assert_eq!(cluster(&[record(1, 0, "王小明"), record(2, 0, "赵海波")], &[(0, 1)]).roots, [0, 0], "known from elsewhere");
    }

    proptest! {
        /// Shuffling the records shuffles the clusters and nothing else.
        #[test]
        fn order_does_not_matter(rows in prop::collection::vec((0u8..4, 0u8..4, prop::sample::select(vec!["", "王小明", "王晓明", "李大伟", "王女士", "赵海波"])), 1..12), seed in any::<u64>()) {
            let records: Vec<Record> = rows.iter().map(|(p, e, n)| record(*p, *e, n)).collect();
            let mut order: Vec<usize> = (0..records.len()).collect();
            let mut state = seed;
            for i in (1..order.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                order.swap(i, usize::try_from(state >> 33).unwrap() % (i + 1));
            }
            let shuffled: Vec<Record> = order.iter().map(|&i| records[i].clone()).collect();
            let (a, b) = (cluster(&records, &[]).roots, cluster(&shuffled, &[]).roots);
            for x in 0..order.len() { for y in 0..order.len() {
                prop_assert_eq!(a[order[x]] == a[order[y]], b[x] == b[y]);
            } }
        }
    }
}
