//! The vault: how personal values are sealed, found again and opened.
//!
//! A key-encryption key wraps each tenant's keys; the tenant's data key wraps a record key per row; the record key
//! seals that row's cells. Every envelope is bound to its place, so that a cell that is moved to another row, column or
//! tenant does not open.

mod column;
mod envelope;
mod kek;
mod keyring;
pub(crate) mod random;

pub use column::{BlindIndex, Sealed};
pub(crate) use envelope::Place;
pub use kek::{BadKek, Kek};
pub(crate) use kek::{hex, unhex};
pub use keyring::Keyring;
pub(crate) use keyring::{Held, Indexer, Key, RIPENS, RecordKey, Wrapped};

/// Why something did not open or could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The bytes are no envelope of a version and suite that this program knows.
    #[error("not an envelope of a known version")]
    Format,
    /// The envelope is damaged, was moved from its place, or belongs to another key.
    #[error("an envelope does not open in its place")]
    Tampered,
    /// The row's key was destroyed: its person was erased.
    #[error("the record key was destroyed")]
    Erased,
    /// The key of that epoch is not in the ring.
    #[error("no key of that epoch")]
    Epoch,
    /// The random source or the cipher refused.
    #[error("the cipher refused")]
    Cipher,
}
