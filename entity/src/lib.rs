//! What is stored, how it is sealed, and the only ways to it.
//!
//! * [`vault`]: sealing, indexing, opening; keys.
//! * [`Store`]: owns the connection; lends a [`Scope`], one tenant in one transaction.
//! * [`Session`]: the bracket around every piece of work: a principal, a policy version, a scope, and a ledger that is
//!   durable before anything leaves.
//! * One file per table or small family of tables, with its rows, its drafts and its questions.

pub mod audit;
mod bulk;
pub mod child;
pub mod consent;
pub mod contact;
mod copy;
pub mod customer;
pub mod departure;
pub mod document;
pub mod erasure;
pub mod error;
pub mod fate;
mod follow;
mod found;
mod golden;
mod guard;
mod house;
pub mod idempotency;
pub mod import;
pub mod keys;
mod ledger;
pub mod link;
pub mod merge;
pub mod order;
pub mod pair;
pub mod people;
pub mod pin;
pub mod plan;
pub mod policy_version;
mod principal;
pub mod purpose;
pub mod quality;
pub mod record;
pub mod reference;
pub mod relation;
pub mod rights;
mod search;
mod session;
pub mod setting;
pub mod signoff;
pub mod source;
pub mod store;
pub mod tag;
pub mod tenant;
pub mod ticket;
pub mod token;
pub mod vault;
pub mod webhook;

pub use child::{Children, Connection, Hanging, Place, Stretch, Wanted};
pub use error::Error;
pub use guard::{Guarded, Open, Reaching, Whose};
pub use house::{House, Settings, Shows};
pub use ledger::{Entry, Ledger};
pub use principal::{Caller, Principal};
pub use session::{Change, Operation, Session, Unaccounted};
pub use store::{Scope, Settling, Store, TenantId};
