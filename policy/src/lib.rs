//! What each field **is** and **who may see it**.
//!
//! This crate is pure: no database, no HTTP, no clock, no randomness. It holds
//! * the [data dictionary](field): every governed field once, with its labels, class, mask and standard;
//! * the [kinds](kind) of personal data, which can be read from text but never printed;
//! * the [masks](mask), the [cleaning rules](clean) and the [linking rules](link);
//! * the [policy](rule): Casbin rules, and the [matrix](matrix) in which Casbin's answers are remembered.

pub mod clean;
pub mod code;
pub mod field;
pub mod kind;
pub mod link;
pub mod mapping;
pub mod mask;
pub mod matrix;
pub mod probabilistic;
pub mod rule;
pub mod survivorship;

pub use code::{Channel, CustomerType, Status, ValueTier};
pub use field::{Class, Field};
pub use kind::{Invalid, Pii};
pub use matrix::{Act, Matrix, Reach, Sight, Verb, View};
pub use rule::{Policy, Rule};
