//! The GraphQL schema. Resolvers are one line each: they name a field of a row, and the session decides, records, opens
//! and masks.

mod access;
mod audit;
mod connection;
mod customer;
mod dictionary;
mod hanging;
mod id;
pub mod mutation;
mod node;
mod page;
mod policy;
mod query;
mod rights;
mod rows;
mod steward;
pub mod subscription;
mod values;
mod writes;

use std::sync::Arc;

use async_graphql::Context;
use entity::Session;

use crate::config::Config;

/// The schema's type.
pub type Schema = async_graphql::Schema<query::Query, mutation::Mutation, subscription::Following>;

/// Builds the schema. Deeper limits than ours are async-graphql's own, as a second wall.
#[must_use]
pub fn schema(config: &Config) -> Schema {
    async_graphql::Schema::build(query::Query, mutation::Mutation::default(), subscription::Following)
        .data(access::Allowed { private: config.webhook_private, limits: config.limits.clone() })
        .limit_complexity(config.limits.complexity)
        .limit_depth(config.limits.depth * 2)
        .disable_suggestions()
        .finish()
}

/// The key in the id of an import.
#[must_use]
pub fn import_key(id: &str) -> Option<uuid::Uuid> {
    id::key(id::Kind::Import, id)
}

/// The id of a customer.
#[must_use]
pub fn customer_id(key: uuid::Uuid) -> String {
    id::of_customer(key).0
}

/// The session of this request.
fn session<'c>(ctx: &Context<'c>) -> &'c Arc<Session> {
    ctx.data_unchecked::<Arc<Session>>()
}
