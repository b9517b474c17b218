//! From scored pairs to entities.
//!
//! Pairs at or above the threshold are closed transitively. One wrong link can thereby chain two large entities; then few
//! of the pairs in the cluster are likely matches, so such a cluster is cut by raising the bar within it until most pairs
//! of each part are. So is one that would bring together what a person keeps apart, until it does not. Nothing depends on the
//! order of the links.

use std::collections::BTreeMap;

use super::similarity::real;

/// A scored pair of positions.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Link {
    /// One record.
    pub a: usize,
    /// The other record.
    pub b: usize,
    /// The probability that they are one entity.
    pub probability: f64,
    /// The weight of the evidence in bits; ranks links whose probability is all but 1.
    pub weight: f64,
}

/// Clusters up to this size are never cut.
const SMALL: usize = 3;
/// The share of its possible pairs that must be expected to be matches in a larger cluster.
const EXPECTED: f64 = 0.65;
/// How much the bar is raised within a cluster at a time, in bits.
const STEP: f64 = 1.0;

/// Records that hang together, with all links among them.
struct Component {
    members: Vec<usize>,
    links: Vec<Link>,
}

/// For each of `count` records the position of its cluster's first record.
///
/// `links` has all pairs that were scored, each once, for those below the threshold tell where a cluster is doubtful. The
/// two of a pair in `apart` never come together.
#[must_use]
pub fn clusters(count: usize, links: &[Link], threshold: f64, apart: &[(usize, usize)]) -> Vec<usize> {
    let joins = |link: &Link, bar: f64| link.probability >= threshold && link.weight >= bar;
    let mut firsts: Vec<usize> = (0..count).collect();
    let within: Vec<Link> = links.iter().filter(|link| link.a.max(link.b) < count && link.a != link.b).copied().collect();
    let mut open: Vec<(Component, f64)> = components(within, |link| joins(link, f64::MIN)).into_iter().map(|component| (component, f64::MIN)).collect();
    while let Some((component, bar)) = open.pop() {
        if sound(&component) && !brings_together(&component, apart) {
            for &member in &component.members {
                firsts[member] = component.members[0];
            }
        } else {
            let weakest = component.links.iter().filter(|link| joins(link, bar)).map(|link| link.weight).fold(f64::MAX, f64::min);
            let bar = weakest + STEP;
            open.extend(components(component.links, |link| joins(link, bar)).into_iter().map(|component| (component, bar)));
        }
    }
    firsts
}

/// Whether both of a pair that is kept apart are members.
fn brings_together(component: &Component, apart: &[(usize, usize)]) -> bool {
    let holds = |member: &usize| component.members.binary_search(member).is_ok();
    apart.iter().any(|(a, b)| a != b && holds(a) && holds(b))
}

/// Whether enough of the pairs that the members form are expected to be matches.
fn sound(component: &Component) -> bool {
    let members = component.members.len();
    // Summed in the order of their size: a sum of floats depends on its order, and this one stands against a bar.
    let mut probabilities: Vec<f64> = component.links.iter().map(|link| link.probability).collect();
    probabilities.sort_by(f64::total_cmp);
    let expected: f64 = probabilities.iter().sum();
    members <= SMALL || expected >= EXPECTED * real(members * (members - 1) / 2)
}

/// The components that the joining links make, with all links inside each; members ascend.
fn components(links: Vec<Link>, joins: impl Fn(&Link) -> bool) -> Vec<Component> {
    let mut parent: BTreeMap<usize, usize> = BTreeMap::new();
    for link in links.iter().filter(|link| joins(link)) {
        let (a, b) = (root(&mut parent, link.a), root(&mut parent, link.b));
        parent.insert(a.max(b), a.min(b));
    }
    let members: Vec<usize> = parent.keys().copied().collect();
    let mut components: BTreeMap<usize, Component> = BTreeMap::new();
    for member in members {
        let empty = || Component { members: Vec::new(), links: Vec::new() };
        components.entry(root(&mut parent, member)).or_insert_with(empty).members.push(member);
    }
    for link in links {
        if !parent.contains_key(&link.a) || !parent.contains_key(&link.b) {
            continue;
        }
        let at = root(&mut parent, link.a);
        if at == root(&mut parent, link.b)
            && let Some(component) = components.get_mut(&at)
        {
            component.links.push(link);
        }
    }
    components.into_values().collect()
}

fn root(parent: &mut BTreeMap<usize, usize>, start: usize) -> usize {
    let mut at = start;
    loop {
        let up = *parent.entry(at).or_insert(at);
        if up == at {
            break;
        }
        at = up;
    }
    let mut below = start;
    while below != at {
        below = parent.insert(below, at).unwrap_or(at);
    }
    at
}
