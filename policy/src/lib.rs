//! What each field **is** and **who may see it**.
//!
//! This crate is pure: no database, no HTTP, no clock, no randomness. It holds
//! * the [data dictionary](field): every governed field once, with its labels, class, mask and standard;
//! * the [kinds](kind) of personal data, which can be read from text but never printed;
//! * the [masks](mask), the [cleaning rules](clean) and the [linking rules](link);
//! * the [policy](rule): Casbin rules, and the [matrix](matrix) in which Casbin's answers are remembered;
//! * what a policy means before it goes live: the [table](table) of all its roles, the [difference](difference) of two versions,
//!   the [explanation](explain) of one decision, and the [tests](fixture) that it has to pass.

pub mod clean;
pub mod code;
pub mod difference;
pub mod explain;
pub mod field;
pub mod fixture;
pub mod kind;
pub mod link;
pub mod mapping;
pub mod mask;
pub mod matrix;
pub mod power;
pub mod probabilistic;
pub mod rule;
pub mod survivorship;
pub mod table;

pub use code::{Channel, CustomerType, Status, ValueTier};
pub use difference::{Cell, NO_PURPOSE, difference};
pub use explain::{Explanation, explain};
pub use field::{Class, Field};
pub use fixture::{Fixture, fixtures_from_toml, standard_fixtures};
pub use kind::{Invalid, Pii};
pub use matrix::{Act, Matrix, Reach, Sight, Verb, View};
pub use rule::{Policy, Rule};
pub use table::Table;
