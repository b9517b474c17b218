//! What can go wrong with stored things. Sources are kept for the log; nothing of them is shown to a client.

use crate::vault::{BadKek, Unreadable};

/// An operation on the store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused or could not be reached.
    #[error("database: {0}")]
    Database(#[from] sea_orm::DbErr),
    /// A sealed value did not open or could not be sealed.
    #[error("vault: {0}")]
    Vault(#[from] Unreadable),
    /// The key-encryption key is not usable.
    #[error("{0}")]
    Kek(#[from] BadKek),
    /// Casbin could not be asked.
    #[error("policy: {0}")]
    Policy(#[from] policy::matrix::Undecided),
    /// The tenant has no active policy, or a damaged one.
    #[error("policy: {0}")]
    NoPolicy(String),
    /// The caller may not do this, or the token does not admit.
    #[error("not permitted")]
    Denied,
    /// No such thing, or not the caller's: one and the same answer.
    #[error("not found")]
    NotFound,
    /// What was asked for cannot be: says the place and the remedy.
    #[error("{0}")]
    Invalid(String),
    /// Several things that were asked for cannot be; each says the place and the remedy.
    #[error("{}", .0.join("; "))]
    Faults(Vec<String>),
    /// It was changed by somebody else meanwhile.
    #[error("it was changed meanwhile; read it again")]
    Conflict,
    /// It takes a purpose that is declared, and none was.
    #[error("purpose: declare what for, with the header X-Purpose")]
    PurposeRequired,
    /// Too many distinct values were searched for.
    #[error("search budget exceeded")]
    SearchBudget,
}
