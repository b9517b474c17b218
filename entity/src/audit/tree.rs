//! The Merkle tree of RFC 6962 (section 2.1; RFC 9162 says the same): hashes, roots, proofs and their verification.
//!
//! Hashes of leaves and of full subtrees are kept in tiles, as C2SP's tlog-tiles has them: tile `position` of `level` holds
//! the hashes of up to 256 full subtrees of 256^level leaves each. A proof or a root of any size needs at most two tiles of
//! each level.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use sha2::{Digest, Sha256};

/// SHA-256.
pub type Hash = [u8; 32];

/// The hash of a leaf: `SHA-256(0x00 ‖ bytes)`.
#[must_use]
pub fn leaf(bytes: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(bytes).finalize().into()
}

/// The hash of a node: `SHA-256(0x01 ‖ left ‖ right)`.
fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of no leaves.
fn empty() -> Hash {
    Sha256::digest([]).into()
}

/// A tree that only grows, as the roots of its full subtrees, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    full: Vec<Hash>,
}

impl Frontier {
    /// The frontier of so many leaves; `None` when the hashes are not as many as their number has bits set.
    #[must_use]
    pub fn of(size: u64, full: Vec<Hash>) -> Option<Self> {
        (size.count_ones() as usize == full.len()).then_some(Self { size, full })
    }

    /// How many leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the full subtrees, largest first.
    #[must_use]
    pub fn full(&self) -> &[Hash] {
        &self.full
    }

    /// Adds the hash of a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut right = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self.full.pop().unwrap_or_else(empty);
            right = node(&left, &right);
        }
        self.full.push(right);
        self.size += 1;
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut full = self.full.iter().rev();
        let Some(first) = full.next() else { return empty() };
        full.fold(*first, |right, left| node(left, &right))
    }
}

/// A run of leaves.
type Leaves = Range<u64>;

/// The largest power of two below `size`, which is at least 2.
const fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// What an inclusion proof of leaf `index` in a tree of `size` leaves consists of, from the leaf upwards (`PATH` of the RFC).
fn path(index: u64, size: u64) -> Vec<Leaves> {
    let (mut begin, mut end, mut siblings) = (0, size, Vec::new());
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            siblings.push(middle..end);
            end = middle;
        } else {
            siblings.push(begin..middle);
            begin = middle;
        }
    }
    siblings.reverse();
    siblings
}

/// What a consistency proof of `old` leaves with `size` consists of (`PROOF` of the RFC).
fn growth(old: u64, size: u64) -> Vec<Leaves> {
    if old == 0 || old >= size {
        return Vec::new();
    }
    let (mut begin, mut end, mut siblings, mut known) = (0, size, Vec::new(), true);
    while end != old {
        let middle = begin + split(end - begin);
        if old <= middle {
            siblings.push(middle..end);
            end = middle;
        } else {
            siblings.push(begin..middle);
            begin = middle;
            known = false;
        }
    }
    if !known {
        siblings.push(begin..end);
    }
    siblings.reverse();
    siblings
}

/// The full subtrees that a run of leaves that begins at a multiple of its size consists of, largest first: height and place.
fn subtrees(leaves: &Leaves) -> Vec<(u32, u64)> {
    let (mut begin, mut full) = (leaves.start, Vec::new());
    while begin < leaves.end {
        let height = (leaves.end - begin).ilog2();
        full.push((height, begin >> height));
        begin += 1 << height;
    }
    full
}

/// Hashes of one tile.
const WIDTH: u64 = 256;

/// The place of a tile: level, and position in the level.
pub type Place = (u32, u64);

/// Where a full subtree is: its tile, and which of its hashes make it up.
const fn located(height: u32, place: u64) -> (Place, Range<usize>) {
    let below = height % 8;
    let first = place << below;
    let begin = (first % WIDTH) as usize;
    ((height / 8, first / WIDTH), begin..begin + (1 << below))
}

/// Tiles that were read, with what they prove.
#[derive(Clone, Debug, Default)]
pub struct Tiles(BTreeMap<Place, Vec<Hash>>);

/// A hash that should be in a tile is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tree has no hashes of events {begin} to {last}")]
pub struct Missing {
    /// The first leaf.
    pub begin: u64,
    /// The last leaf.
    pub last: u64,
}

impl Tiles {
    /// Puts a tile as it is stored: 32 bytes a hash. What is left over is none.
    pub fn put(&mut self, place: Place, bytes: &[u8]) {
        self.0.insert(place, bytes.as_chunks::<32>().0.to_vec());
    }

    /// A tile as it is stored.
    #[must_use]
    pub fn bytes(&self, place: Place) -> Vec<u8> {
        self.0.get(&place).map(|hashes| hashes.concat()).unwrap_or_default()
    }

    /// The hash of a leaf.
    #[must_use]
    pub fn leaf(&self, index: u64) -> Option<Hash> {
        let (place, range) = located(0, index);
        self.0.get(&place)?.get(range.start).copied()
    }

    /// Takes the hash of a leaf up; where tiles get full, their roots too. Says which tiles changed. The last tile of each
    /// level must be there ([`edge`]).
    pub fn push(&mut self, index: u64, leaf: Hash, changed: &mut BTreeSet<Place>) {
        let (mut level, mut place, mut hash) = (0, index, leaf);
        loop {
            let at = (level, place / WIDTH);
            let tile = self.0.entry(at).or_default();
            tile.truncate(usize::try_from(place % WIDTH).unwrap_or_default());
            tile.push(hash);
            changed.insert(at);
            if tile.len() as u64 != WIDTH {
                return;
            }
            hash = folded(tile);
            (level, place) = (level + 1, at.1);
        }
    }

    fn of(&self, leaves: &Leaves) -> Result<Hash, Missing> {
        let mut root = None;
        for (height, place) in subtrees(leaves).into_iter().rev() {
            let (tile, range) = located(height, place);
            let full = self.0.get(&tile).and_then(|hashes| hashes.get(range));
            let left = folded(full.ok_or(Missing { begin: place << height, last: ((place + 1) << height) - 1 })?);
            root = Some(root.map_or(left, |right| node(&left, &right)));
        }
        Ok(root.unwrap_or_else(empty))
    }

    /// The root of the first `size` leaves.
    ///
    /// # Errors
    /// [`Missing`]: a tile that [`root_needs`] names was not put.
    pub fn root(&self, size: u64) -> Result<Hash, Missing> {
        self.of(&(0..size))
    }

    /// The roots of the full subtrees of the first `size` leaves.
    ///
    /// # Errors
    /// [`Missing`]: a tile that [`root_needs`] names was not put.
    pub fn frontier(&self, size: u64) -> Result<Frontier, Missing> {
        let full = subtrees(&(0..size)).into_iter().map(|(height, place)| self.of(&((place << height)..((place + 1) << height))));
        Ok(Frontier { size, full: full.collect::<Result<_, _>>()? })
    }

    /// The inclusion proof of leaf `index` in the first `size` leaves.
    ///
    /// # Errors
    /// [`Missing`]: a tile that [`inclusion_needs`] names was not put.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, Missing> {
        path(index, size).iter().map(|leaves| self.of(leaves)).collect()
    }

    /// The proof that the first `size` leaves begin with the first `old`.
    ///
    /// # Errors
    /// [`Missing`]: a tile that [`consistency_needs`] names was not put.
    pub fn consistency(&self, old: u64, size: u64) -> Result<Vec<Hash>, Missing> {
        growth(old, size).iter().map(|leaves| self.of(leaves)).collect()
    }
}

/// The root of a full subtree.
fn folded(hashes: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    for hash in hashes {
        frontier.push(*hash);
    }
    frontier.root()
}

fn tiles<'l>(runs: impl IntoIterator<Item = &'l Leaves>) -> BTreeSet<Place> {
    runs.into_iter().flat_map(|leaves| subtrees(leaves).into_iter().map(|(height, place)| located(height, place).0)).collect()
}

/// The tiles that the root of `size` leaves needs.
#[must_use]
pub fn root_needs(size: u64) -> BTreeSet<Place> {
    tiles([&(0..size)])
}

/// The tiles that an inclusion proof needs.
#[must_use]
pub fn inclusion_needs(index: u64, size: u64) -> BTreeSet<Place> {
    tiles(&path(index, size))
}

/// The tiles that a consistency proof needs.
#[must_use]
pub fn consistency_needs(old: u64, size: u64) -> BTreeSet<Place> {
    tiles(&growth(old, size))
}

/// The tiles to which the leaf behind the first `size` adds.
#[must_use]
pub fn edge(size: u64) -> BTreeSet<Place> {
    let mut edge = BTreeSet::new();
    let (mut level, mut entries) = (0, size);
    loop {
        edge.insert((level, entries / WIDTH));
        if entries < WIDTH {
            return edge;
        }
        (level, entries) = (level + 1, entries / WIDTH);
    }
}

/// Whether a proof shows that the leaf is at `index` of the tree with this root (RFC 9162, 2.1.3.2).
#[must_use]
pub fn includes(root: &Hash, size: u64, index: u64, leaf: Hash, proof: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if place % 2 == 1 || place == last {
            hash = node(sibling, &hash);
            while place % 2 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Whether a proof shows that the tree of `size` leaves begins with the tree of `old` (RFC 9162, 2.1.4.2).
#[must_use]
pub fn continues(old: u64, old_root: &Hash, size: u64, root: &Hash, proof: &[Hash]) -> bool {
    if old == size {
        return proof.is_empty() && old_root == root;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == empty();
    }
    if old > size {
        return false;
    }
    let mut proof = proof.iter();
    let (mut place, mut last) = (old - 1, size - 1);
    while place % 2 == 1 {
        (place, last) = (place >> 1, last >> 1);
    }
    let first = if old.is_power_of_two() { Some(old_root) } else { proof.next() };
    let Some(first) = first else { return false };
    let (mut before, mut now) = (*first, *first);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if place % 2 == 1 || place == last {
            (before, now) = (node(sibling, &before), node(sibling, &now));
            while place % 2 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            now = node(&now, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && before == *old_root && now == *root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves(size: u64) -> Vec<Hash> {
        (0..size).map(|index| leaf(&index.to_be_bytes())).collect()
    }

    fn grown(size: u64) -> Tiles {
        let mut tiles = Tiles::default();
        leaves(size).into_iter().zip(0..).for_each(|(hash, index)| tiles.push(index, hash, &mut BTreeSet::new()));
        tiles
    }

    /// `MTH` as the RFC writes it.
    fn root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty(),
            [one] => *one,
            more => {
                let middle = usize::try_from(split(more.len() as u64)).unwrap();
                node(&root(&more[..middle]), &root(&more[middle..]))
            }
        }
    }

    fn only(tiles: &Tiles, needs: &BTreeSet<Place>) -> Tiles {
        Tiles(needs.iter().map(|place| (*place, tiles.0[place].clone())).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn roots_and_proofs_are_those_of_the_rfc(size in 1..2_000_u64, a in any::<u64>(), b in any::<u64>()) {
            let (tiles, leaves) = (grown(size), leaves(size));
            let (index, old) = (a % size, b % (size + 1));
            let whole = root(&leaves);
            prop_assert_eq!(only(&tiles, &root_needs(size)).root(size), Ok(whole));
            let before = root(&leaves[..usize::try_from(old).unwrap()]);
            prop_assert_eq!(tiles.root(old), Ok(before));
            let frontier = only(&tiles, &root_needs(size)).frontier(size).unwrap();
            prop_assert_eq!(frontier.root(), whole);
            let proof = only(&tiles, &inclusion_needs(index, size)).inclusion(index, size).unwrap();
            let leaf = leaves[usize::try_from(index).unwrap()];
            prop_assert!(includes(&whole, size, index, leaf, &proof));
            prop_assert!(!includes(&whole, size, (index + 1) % size, leaf, &proof) || size == 1);
            prop_assert!(!includes(&whole, size, index, empty(), &proof));
            let growth = only(&tiles, &consistency_needs(old, size)).consistency(old, size).unwrap();
            prop_assert!(continues(old, &before, size, &whole, &growth));
            prop_assert!(old == size || old == 0 || !continues(old, &whole, size, &whole, &growth));
            prop_assert!(old == size || !continues(old, &before, size, &before, &growth) || old == 0);
        }

        #[test]
        fn any_proof_is_an_answer_and_no_panic(size in any::<u64>(), index in any::<u64>(), proof in proptest::collection::vec(any::<[u8; 32]>(), 0..70)) {
            let root = leaf(b"root");
            let _ = includes(&root, size, index, root, &proof);
            let _ = continues(index, &root, size, &root, &proof);
        }
    }

    /// Three levels of tiles.
    #[test]
    fn proofs_reach_over_levels() {
        let size = 65_536 + 300;
        let (tiles, leaves) = (grown(size), leaves(size));
        let whole = root(&leaves);
        assert_eq!(only(&tiles, &root_needs(size)).root(size), Ok(whole));
        for index in [0, 255, 256, 65_535, 65_536, size - 1] {
            let proof = only(&tiles, &inclusion_needs(index, size)).inclusion(index, size).unwrap();
            assert!(includes(&whole, size, index, leaves[usize::try_from(index).unwrap()], &proof), "{index}");
            let growth = only(&tiles, &consistency_needs(index + 1, size)).consistency(index + 1, size).unwrap();
            assert!(continues(index + 1, &tiles.root(index + 1).unwrap(), size, &whole, &growth), "{index}");
        }
    }

    #[test]
    fn the_edge_is_where_the_next_leaf_goes() {
        for size in [0, 1, 255, 256, 257, 65_535, 65_536] {
            let (mut changed, mut tiles) = (BTreeSet::new(), grown(size));
            let before = tiles.clone();
            tiles.push(size, leaf(b"next"), &mut changed);
            assert!(changed.iter().all(|place| edge(size).contains(place) || !before.0.contains_key(place)), "{size}");
        }
    }
}
