//! How common values and words are in the sample.
//!
//! Agreement on a rare surname says more than on a common one, and a rare word of an address more than "street". Only
//! hashes of what several records share are kept, so that the tables stay small and name nobody.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::profile::{Profile, Word};
use super::similarity::real;

/// What fewer records share is not kept,
const COMMON: f64 = 3.0;
/// and counts as shared by so many.
const RARE: f64 = 2.0;
/// Of the entities that have a value, one is the record's own and does not count as chance.
const ITSELF: f64 = 0.5;
/// The most entries of a table.
const ENTRIES: usize = 8192;

/// The frequent values and words of one attribute.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
pub(super) struct Frequency {
    values: Table,
    words: Table,
}

/// Hashes with the number of records, or entities, that have them, sorted by hash.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug, Default)]
struct Table {
    total: f64,
    counts: Vec<(u64, f64)>,
}

impl Frequency {
    pub(super) fn of(attribute: usize, sample: &[&Profile]) -> Self {
        let fields = || sample.iter().filter_map(|profile| profile.fields[attribute].as_ref());
        let total = real(fields().count());
        Self {
            values: Table::of(total, fields().map(|field| (field.value, 1.0))),
            words: Table::of(total, fields().flat_map(|field| field.words.iter().map(|word| (word.hash, 1.0)))),
        }
    }

    /// Counts values by entity in place of record, given for each record with how many others it shares its entity.
    ///
    /// A telephone number of ten records is common if they are ten entities, and rare if they are one.
    pub(super) fn by_entity(&mut self, attribute: usize, sample: &[&Profile], others: &[f64]) {
        let values = || sample.iter().zip(others).filter_map(|(profile, others)| Some((profile.fields[attribute].as_ref()?.value, 1.0 / (1.0 + others))));
        self.values.total = values().map(|(_, share)| share).sum();
        self.values.counts.iter_mut().for_each(|(_, count)| *count = 0.0);
        for (value, share) in values() {
            if let Ok(at) = self.values.counts.binary_search_by_key(&value, |(hash, _)| *hash) {
                self.values.counts[at].1 += share;
            }
        }
    }

    /// The share of entities that have a value, and at most `usual` if it is none of the common ones.
    pub(super) fn share(&self, value: u64, usual: f64) -> f64 {
        let total = self.values.total.max(1.0);
        self.values.count(value).map_or(usual.min(RARE / total), |count| (count - ITSELF).max(ITSELF) / total)
    }

    /// The weight of a word: its inverse document frequency.
    pub(super) fn weight(&self, word: &Word) -> f64 {
        ((self.words.total + 1.0) / self.words.count(word.hash).unwrap_or(RARE)).ln().max(0.1)
    }
}

impl Table {
    fn of(total: f64, hashes: impl Iterator<Item = (u64, f64)>) -> Self {
        let mut counts: BTreeMap<u64, f64> = BTreeMap::new();
        hashes.for_each(|(hash, share)| *counts.entry(hash).or_default() += share);
        let mut counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count >= COMMON).collect();
        counts.sort_by(|(hash, count), (other, than)| than.total_cmp(count).then(hash.cmp(other)));
        counts.truncate(ENTRIES);
        counts.sort_by_key(|(hash, _)| *hash);
        Self { total, counts }
    }

    fn count(&self, hash: u64) -> Option<f64> {
        self.counts.binary_search_by_key(&hash, |(key, _)| *key).ok().map(|i| self.counts[i].1)
    }
}

/// The share of two values' words that are common to both, by weight: 1 for the same words, 0 for no common one.
///
/// A word may stand for one that is `alike`. The words are sorted by hash.
pub(super) fn overlap(frequency: &Frequency, left: &[Word], right: &[Word], alike: impl Fn(&Word, &Word) -> bool) -> f64 {
    let weight = |words: &[&Word]| words.iter().map(|word| frequency.weight(word)).sum::<f64>();
    let held = |words: &[Word], word: &Word| words.binary_search_by_key(&word.hash, |other| other.hash).is_ok();
    let (both, rest): (Vec<&Word>, Vec<&Word>) = left.iter().partition(|word| held(right, word));
    let mut others: Vec<&Word> = right.iter().filter(|word| !held(left, word)).collect();
    let (mut common, mut only_left) = (weight(&both), 0.0);
    for word in rest {
        match others.iter().position(|other| alike(word, other)) {
            Some(at) => common += 0.9 * frequency.weight(word).min(frequency.weight(others.swap_remove(at))),
            None => only_left += frequency.weight(word),
        }
    }
    if common == 0.0 { 0.0 } else { common / ((common + only_left) * (common + weight(&others))).sqrt() }
}
