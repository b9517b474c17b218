//! How the world reaches us: configuration, authentication, GraphQL, intake and commands.
//!
//! Nothing here knows the database, the cipher or the policy engine: what can be asked and shown is what `entity` offers.

pub mod auth;
pub mod clock;
pub mod commands;
pub mod config;
pub mod docs;
pub mod error;
pub mod graphql;
pub mod home;
pub mod http;
pub mod intake;
mod jwks;
pub mod keeper;
pub mod limits;
mod outbound;
mod person;
mod uploads;
