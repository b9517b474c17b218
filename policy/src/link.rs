//! Which source records are one customer's.
//!
//! Deterministic and free of order: the same records in any sequence fall into the same clusters. Link keys are keyed
//! hashes, so nothing here knows a telephone number; names are compared in the clear, in memory.
//!
//! Records are joined by phone and name, e-mail and name, phone and e-mail, name and company, and by phone alone when
//! a name is missing or only a family name. A phone or e-mail that three or more disagreeing names share is generic and
//! joins nobody.

use std::collections::{HashMap, HashSet};

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
    /// Blind index of the company without its legal form.
    pub company: Option<Key>,
    /// The full name.
    pub name: Option<Name>,
    /// The family name, where only that is known (王女士).
    pub family: Option<FamilyName>,
}

/// A phone or e-mail shared by this many disagreeing names links nobody.
const GENERIC: usize = 3;

/// With this many disagreeing names no later one can bring them together to less than [`GENERIC`]; comparing ends.
const TOO_MANY: usize = 64;

/// For each record the position of its cluster's first record.
#[must_use]
pub fn cluster(records: &[Record]) -> Vec<usize> {
    let mut forest = Forest((0..records.len()).collect());
    let mut generic = HashSet::new();
    for group in groups(records, |r| r.phone).chain(groups(records, |r| r.email)) {
        if !join_by_name(records, &group, &mut forest) {
            generic.extend(
                group
                    .iter()
                    .flat_map(|&i| [records[i].phone, records[i].email])
                    .flatten()
                    .filter(|key| group.iter().all(|&i| records[i].phone == Some(*key) || records[i].email == Some(*key))),
            );
        }
    }
    let telling = |key: Key| Some(key).filter(|key| !generic.contains(key));
    let both = groups(records, |r| Some((telling(r.phone?)?, telling(r.email?)?)));
    let named_company = groups(records, |r| Some((r.company?, r.name.as_ref()?.expose())));
    for group in both.chain(named_company) {
        for other in &group[1..] {
            forest.join(group[0], *other);
        }
    }
    (0..records.len()).map(|i| forest.root(i)).collect()
}

/// Records that share a key which more than one of them has.
fn groups<'r, K: std::hash::Hash + Eq>(records: &'r [Record], key: impl Fn(&'r Record) -> Option<K>) -> impl Iterator<Item = Vec<usize>> {
    let mut groups: HashMap<K, Vec<usize>> = HashMap::new();
    for (i, record) in records.iter().enumerate() {
        if let Some(key) = key(record) {
            groups.entry(key).or_default().push(i);
        }
    }
    groups.into_values().filter(|group| group.len() > 1)
}

/// Joins those of one phone's or e-mail's records whose names agree, and the nameless ones where that is unambiguous.
/// Returns false, and joins nobody, when the key is generic.
fn join_by_name(records: &[Record], group: &[usize], forest: &mut Forest) -> bool {
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
            return false;
        }
    }
    if persons.len() >= GENERIC {
        return false;
    }
    for (one, other) in twins {
        forest.join(one, other);
    }
    for person in &persons {
        for other in &person[1..] {
            forest.join(person[0], *other);
        }
    }
    let nameless: Vec<usize> = group.iter().copied().filter(|&i| records[i].name.is_none()).collect();
    if persons.is_empty() {
        join_nameless(records, &nameless, forest);
    }
    for &i in &nameless {
        let family = records[i].family.as_ref().map(Pii::expose);
        let bears = |person: &&Vec<usize>| {
            family.is_none_or(|family| person.iter().any(|&j| records[j].name.as_ref().is_some_and(|name| name.expose().starts_with(family))))
        };
        let mut candidates = persons.iter().filter(bears);
        if let (Some(person), None) = (candidates.next(), candidates.next()) {
            forest.join(person[0], i);
        }
    }
    true
}

/// Nobody is named: those of one family name are one, and with them, where there is but one family name, those of none.
fn join_nameless(records: &[Record], nameless: &[usize], forest: &mut Forest) {
    let mut families: HashMap<Option<&str>, usize> = HashMap::new();
    for &i in nameless {
        let first = *families.entry(records[i].family.as_ref().map(Pii::expose)).or_insert(i);
        forest.join(first, i);
    }
    let named: Vec<usize> = families.iter().filter(|(family, _)| family.is_some()).map(|(_, first)| *first).collect();
    if let (Some(none), [only]) = (families.get(&None), &named[..]) {
        forest.join(*none, *only);
    }
}

/// Union-find whose representative is always the smallest position, so that order does not matter.
struct Forest(Vec<usize>);

impl Forest {
    fn root(&mut self, mut i: usize) -> usize {
        while self.0[i] != i {
            self.0[i] = self.0[self.0[i]];
            i = self.0[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
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
            company: None,
            name: full.and_then(|n| Name::parse(n).ok()),
            family: family.and_then(|n| FamilyName::parse(n).ok()),
        }
    }

    #[test]
    fn examples() {
        let linked = |records: &[Record]| {
            let c = cluster(records);
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
        let generic = cluster(&[record(1, 0, "王小明"), record(1, 0, "李大伟"), record(1, 0, "赵海波"), record(1, 0, "王小明")]);
        assert_eq!(generic, [0, 1, 2, 3]);
        let office = cluster(&[record(1, 2, "王小明"), record(1, 2, "李大伟"), record(1, 2, "赵海波")]);
        assert_eq!(office, [0, 1, 2], "a switchboard and its common mailbox");
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
            let (a, b) = (cluster(&records), cluster(&shuffled));
            for x in 0..order.len() { for y in 0..order.len() {
                prop_assert_eq!(a[order[x]] == a[order[y]], b[x] == b[y]);
            } }
        }
    }
}
