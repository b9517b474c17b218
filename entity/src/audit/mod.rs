//! The audit log: who has seen and done what, findable and provable.
//!
//! `docs/audit-format.md` describes what is hashed, signed and exported.

mod bundle;
pub(crate) mod cells;
mod checkpoint;
pub mod feed;
mod hints;
mod index;
mod note;
mod proof;
mod prune;
mod question;
mod table;
pub mod tree;
mod verify;

pub use bundle::{Manifest, Piece, Taker, answer, verify_bundle, whole};
pub(crate) use checkpoint::{Memory, rewrap};
pub use hints::{Hint, hints};
pub use index::index_wide;
pub use note::{BadNote, Checkpoint, Signer, Verifier};
pub use proof::{Consistency, Listed, Proof, State, consistency, proof, state};
pub use prune::{Pruning, approve_pruning, ask_pruning, prunings, set_retention};
pub use question::{Event, Filter, Level, Look, Page, access, event, events, seen_by};
pub(crate) use question::{spaced, writable};
pub(crate) use table::{event, subject, wide};
pub use verify::{Checked, Finding, fsck, verify};

/// A hash as it is written in proofs.
#[must_use]
pub fn hex(hash: &tree::Hash) -> String {
    crate::vault::hex(hash).as_str().to_owned()
}
