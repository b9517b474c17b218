//! Learning m, u and the share of matches without labels.
//!
//! The pairs of a set are a mixture of few matches and many others. u is taken from random pairs, each counted by the
//! probability that it is no match. m comes from expectation-maximisation over the candidate pairs (Winkler 1990;
//! Enamorado et al. 2019): blocking finds nearly all matches, so all other pairs count as unmatched, and no correction
//! for the blocking keys is needed as u and the share of matches both refer to all pairs.

use serde::{Deserialize, Serialize};

use super::level::{Level, Vector};
use super::similarity::real;

/// The probabilities of an attribute's levels.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(super) struct Parameters {
    /// Among pairs of one entity.
    pub m: [f64; LEVELS],
    /// Among pairs of two entities.
    pub u: [f64; LEVELS],
}

const LEVELS: usize = Level::ALL.len();
const ROUNDS: usize = 40;
/// What is believed of m before anything is seen, in the order of [`Level::ALL`].
const PRIOR: [f64; LEVELS] = [0.0, 0.07, 0.04, 0.06, 0.02, 0.11, 0.7];
/// How many matches the prior counts for, in itself
const STRENGTH: f64 = 8.0;
/// and for each match found. Without this, sister branches that share all but their address pass for matches, which
/// makes a different address count little, which lets more of them pass.
const DAMPING: f64 = 1.0;

/// The different vectors among some pairs, with their number.
pub(super) struct Counts(Vec<(Vector, f64)>);

impl Counts {
    pub(super) fn of(mut vectors: Vec<Vector>) -> Self {
        vectors.sort_unstable();
        Self(vectors.chunk_by(PartialEq::eq).map(|chunk| (chunk[0], real(chunk.len()))).collect())
    }
}

/// The learned share of matches and the parameters of each attribute.
pub(super) struct Estimate {
    pub matches: f64,
    pub parameters: Vec<Parameters>,
}

/// Learns from the candidate pairs, each standing for `scale` ones, and random pairs, of `total` pairs in all.
pub(super) fn estimate(attributes: usize, candidates: &Counts, scale: f64, random: &Counts, records: usize, total: f64) -> Estimate {
    let mut estimate = Estimate { matches: 0.5 * real(records) / total, parameters: vec![Parameters { m: PRIOR, u: [1.0; LEVELS] }; attributes] };
    estimate.unmatched(random, |_| 0.0);
    for _ in 0..ROUNDS {
        let before = estimate.matches;
        estimate.maximise(candidates, scale, total);
        let posterior = Estimate { matches: estimate.matches, parameters: estimate.parameters.clone() };
        estimate.unmatched(random, |vector| posterior.probability(vector));
        if (estimate.matches - before).abs() < 1e-5 * before {
            break;
        }
    }
    estimate
}

impl Estimate {
    /// The probability of a match.
    fn probability(&self, vector: Vector) -> f64 {
        probability((0..self.parameters.len()).fold(self.prior(), |odds, i| odds * self.factor(vector, i)))
    }

    /// The probability of a match when one attribute counts by half of its bits only.
    pub(super) fn hesitant(&self, vector: Vector, attribute: usize) -> f64 {
        let factor = self.factor(vector, attribute);
        probability((0..self.parameters.len()).fold(self.prior() / factor.sqrt(), |odds, i| odds * self.factor(vector, i)))
    }

    fn prior(&self) -> f64 {
        self.matches / (1.0 - self.matches)
    }

    /// m/u, and 1 for a missing value.
    fn factor(&self, vector: Vector, attribute: usize) -> f64 {
        match vector.level(attribute) {
            Level::Missing => 1.0,
            level => self.parameters[attribute].m[level as usize] / self.parameters[attribute].u[level as usize],
        }
    }

    fn maximise(&mut self, candidates: &Counts, scale: f64, total: f64) {
        let mut counts = vec![[0.0; LEVELS]; self.parameters.len()];
        let mut matches = 0.0;
        for (vector, count) in &candidates.0 {
            let expected = count * scale * self.probability(*vector);
            matches += expected;
            tally(&mut counts, *vector, expected);
        }
        self.matches = ((matches + 0.5) / total).min(0.5);
        for (parameters, counts) in self.parameters.iter_mut().zip(counts) {
            let strength = STRENGTH + DAMPING * counts.iter().sum::<f64>();
            parameters.m = shares(std::array::from_fn(|level| counts[level] + strength * PRIOR[level]));
        }
    }

    fn unmatched(&mut self, random: &Counts, probability: impl Fn(Vector) -> f64) {
        let mut counts = vec![[0.5; LEVELS]; self.parameters.len()];
        for (vector, count) in &random.0 {
            tally(&mut counts, *vector, count * (1.0 - probability(*vector)));
        }
        for (parameters, counts) in self.parameters.iter_mut().zip(counts) {
            parameters.u = shares(counts);
        }
    }
}

/// The probability of given odds.
pub(super) fn probability(odds: f64) -> f64 {
    if odds.is_finite() { odds / (1.0 + odds) } else { 1.0 }
}

fn tally(counts: &mut [[f64; LEVELS]], vector: Vector, amount: f64) {
    for (i, levels) in counts.iter_mut().enumerate() {
        match vector.level(i) {
            Level::Missing => {}
            level => levels[level as usize] += amount,
        }
    }
}

fn shares(counts: [f64; LEVELS]) -> [f64; LEVELS] {
    let sum: f64 = counts.iter().skip(1).sum();
    let mut shares = counts.map(|count| count / sum);
    shares[Level::Missing as usize] = 1.0;
    shares
}
