//! The GraphQL schema. Resolvers are one line each: they name a field of a row, and the session decides, records, opens
//! and masks.

mod access;
mod audit;
mod connection;
mod counts;
mod customer;
mod dictionary;
mod hanging;
mod id;
pub mod json;
pub mod mutation;
mod node;
mod page;
mod policy;
mod query;
mod rights;
pub mod rows;
mod shown;
mod steward;
pub mod subscription;
mod values;
mod writes;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_graphql::Context;
use entity::{Principal, Session};

use crate::config::Config;

/// The schema's type.
pub type Schema = async_graphql::Schema<query::Query, mutation::Mutation, shown::Shown<subscription::Following>>;

/// Builds the schema, for documents of at most this complexity. Deeper limits than ours are async-graphql's own, as a second wall.
#[must_use]
pub fn schema(config: &Config, complexity: usize) -> Schema {
    // What is given and what is told of a moment is one scalar to clients, and two types here.
    let roots = (query::Query, mutation::Mutation::default(), shown::Shown(subscription::Following));
    async_graphql::Schema::build_with_ignore_name_conflicts(roots.0, roots.1, roots.2, ["DateTime"])
        .data(access::Allowed { private: config.webhook_private, limits: config.limits.clone() })
        .limit_complexity(complexity)
        .limit_depth(config.limits.depth * 2)
        .disable_suggestions()
        .finish()
}

/// The schema, once for each complexity that a role may ask for.
pub struct Schemas {
    usual: usize,
    of_role: BTreeMap<String, usize>,
    all: BTreeMap<usize, Schema>,
}

impl Schemas {
    /// As the limits say.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let (usual, of_role) = (config.limits.complexity, config.limits.complexity_of.clone());
        let all = of_role.values().copied().chain([usual]).map(|most| (most, schema(config, most))).collect();
        Self { usual, of_role, all }
    }

    /// For a caller, who may ask what the most of its roles may.
    #[must_use]
    pub fn of_caller(&self, principal: &Principal) -> &Schema {
        let most = principal.roles().iter().map(|role| self.of_role.get(role).copied().unwrap_or(self.usual)).max();
        &self.all[&most.unwrap_or(self.usual)]
    }
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
