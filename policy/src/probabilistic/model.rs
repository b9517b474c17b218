//! The learned model, and the score of a pair with the reasons for it.

use serde::{Deserialize, Serialize};

use super::blocking::candidates;
use super::compare::compare;
use super::estimate::{Counts, Parameters, estimate, probability};
use super::frequency::Frequency;
use super::level::{Level, Vector};
use super::profile::{Field, Profile};
use super::similarity::real;
use super::{Attribute, text};

/// The probability from which two records count as one entity.
pub const THRESHOLD: f64 = 0.9;

/// With fewer records nothing is learned.
const LEAST: usize = 20;
/// The most candidate pairs that are looked at.
const CANDIDATES: usize = 300_000;
/// The most random pairs that are looked at.
const RANDOM: usize = 200_000;

/// What was learned from a sample: how much each level of agreement says, how common values are, how rare matches are.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Model {
    schema: Vec<Attribute>,
    /// The share of matches among all pairs.
    matches: f64,
    parameters: Vec<Parameters>,
    /// Bits of evidence by level, never falling with agreement.
    weights: Vec<[f64; Level::ALL.len()]>,
    frequencies: Vec<Frequency>,
}

/// How sure it is that two records are one entity, and why.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Score {
    /// Between 0 and 1.
    pub probability: f64,
    /// The evidence of all attributes in bits, without the share of matches.
    pub weight: f64,
    /// What each attribute adds; missing ones are left out.
    pub evidence: Vec<Evidence>,
}

/// What one attribute says.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Evidence {
    /// The position in the schema.
    pub attribute: usize,
    /// The level of agreement.
    pub level: Level,
    /// Bits for (above 0) or against a match.
    pub bits: f64,
}

impl Model {
    /// Learns from a sample, which is best a random one, or all, of the records to be linked.
    ///
    /// None when there are too few records to learn from.
    #[must_use]
    pub fn learn(schema: &[Attribute], sample: &[Profile]) -> Option<Self> {
        if sample.len() < LEAST || schema.is_empty() {
            return None;
        }
        let mut sorted: Vec<Profile> = sample.to_vec();
        sorted.sort_by_key(|profile| profile.fingerprint);
        let sample: Vec<&Profile> = sorted.iter().collect();
        let mut frequencies: Vec<Frequency> = (0..schema.len()).map(|i| Frequency::of(i, &sample)).collect();
        let vector = |(i, j): (usize, usize)| compare(schema, &frequencies, sample[i], sample[j]);
        let mut pairs: Vec<(usize, usize)> = candidates(schema, &sorted).collect();
        let found = pairs.len();
        if found > CANDIDATES {
            pairs = (0..CANDIDATES).map(|k| pairs[k * found / CANDIDATES]).collect();
        }
        let scale = real(found) / real(pairs.len().max(1));
        let vectors: Vec<Vector> = pairs.iter().copied().map(vector).collect();
        let random = Counts::of(random_pairs(sample.len()).map(vector).collect());
        let total = real(sample.len()) * real(sample.len() - 1) / 2.0;
        let attributes = schema.len().min(Vector::MOST);
        let estimate = estimate(attributes, &Counts::of(vectors.clone()), scale, &random, sample.len(), total);
        for (attribute, frequency) in frequencies.iter_mut().enumerate().take(attributes) {
            let mut others = vec![0.0; sample.len()];
            for ((i, j), vector) in pairs.iter().zip(&vectors).filter(|(_, vector)| vector.level(attribute) == Level::Equal) {
                // Mostly by the other attributes: what a shared value says must not be proved by itself.
                let expected = scale * estimate.hesitant(*vector, attribute);
                others[*i] += expected;
                others[*j] += expected;
            }
            frequency.by_entity(attribute, &sample, &others);
        }
        let weights = estimate.parameters.iter().map(weights).collect();
        Some(Self { schema: schema.to_vec(), matches: estimate.matches, parameters: estimate.parameters, weights, frequencies })
    }

    /// The levels of agreement of two records.
    #[must_use]
    pub fn compare(&self, a: &Profile, b: &Profile) -> Vector {
        compare(&self.schema, &self.frequencies, a, b)
    }

    /// Compares two records and weighs the result.
    #[must_use]
    pub fn score(&self, a: &Profile, b: &Profile) -> Score {
        self.weigh(self.compare(a, b), a, b)
    }

    /// Weighs the levels of agreement of two records.
    #[must_use]
    pub fn weigh(&self, vector: Vector, a: &Profile, b: &Profile) -> Score {
        let evidence: Vec<Evidence> = (0..self.weights.len())
            .filter_map(|attribute| {
                let level = vector.level(attribute);
                let bits = self.bits(attribute, level, a.fields.get(attribute)?.as_ref()?, b.fields.get(attribute)?.as_ref()?);
                (level != Level::Missing).then_some(Evidence { attribute, level, bits })
            })
            .collect();
        let weight: f64 = evidence.iter().map(|evidence| evidence.bits).sum();
        let odds = (weight + (self.matches / (1.0 - self.matches)).log2()).exp2();
        Score { probability: probability(odds), weight, evidence }
    }

    /// The weight of a level; equal values count by how common they are.
    fn bits(&self, attribute: usize, level: Level, a: &Field, b: &Field) -> f64 {
        let weights = &self.weights[attribute];
        let bits = weights[level as usize];
        if level != Level::Equal || a.value != b.value {
            return bits;
        }
        let u = self.parameters[attribute].u[level as usize];
        let share = self.frequencies[attribute].share(a.value, u);
        (bits + (u / share.max(u / 4.0)).log2()).max(weights[Level::Different as usize])
    }
}

/// log2(m/u) of each level, made to rise with agreement by pooling neighbours that do not.
fn weights(parameters: &Parameters) -> [f64; Level::ALL.len()] {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for level in 1..Level::ALL.len() {
        pools.push((parameters.m[level], parameters.u[level], 1));
        while let [.., (m, u, n), (above_m, above_u, above_n)] = pools[..] {
            if m * above_u <= above_m * u {
                break;
            }
            pools.truncate(pools.len() - 2);
            pools.push((m + above_m, u + above_u, n + above_n));
        }
    }
    let mut weights = [0.0; Level::ALL.len()];
    let pooled = pools.into_iter().flat_map(|(m, u, n)| std::iter::repeat_n((m / u).log2(), n));
    weights.iter_mut().skip(1).zip(pooled).for_each(|(weight, pooled)| *weight = pooled);
    weights
}

/// Pairs of a fixed pseudo-random sequence, or all pairs of a small set.
fn random_pairs(count: usize) -> Box<dyn Iterator<Item = (usize, usize)>> {
    if count * (count - 1) / 2 <= RANDOM {
        return Box::new((0..count).flat_map(move |i| (i + 1..count).map(move |j| (i, j))));
    }
    let draw = move |seed: usize| usize::try_from(text::mix(seed as u64) % count as u64).unwrap_or(0);
    Box::new((0..RANDOM).map(move |k| (draw(2 * k), draw(2 * k + 1))).filter(|(i, j)| i != j))
}
