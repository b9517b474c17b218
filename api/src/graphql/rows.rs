//! Lists of objects, written row by row.
//!
//! All fields of a request share one transaction, so nothing is won by resolving the fields of a thousand rows at once, as lists
//! usually are: a future for each of them, and a queue to wake them by, cost several times what is in them.

use std::borrow::Cow;
use std::collections::HashSet;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::{Field, Selection};
use async_graphql::registry::Registry;
use async_graphql::resolver_utils::ContainerType;
use async_graphql::{ContextSelectionSet, OutputType, Positioned, ServerResult, Value};

/// A list of objects that are resolved one after the other, and each field by field in the order of the selection.
pub struct Rows<T>(pub Vec<T>);

impl<T: ContainerType> OutputType for Rows<T> {
    fn type_name() -> Cow<'static, str> {
        <Vec<T> as OutputType>::type_name()
    }

    fn qualified_type_name() -> String {
        <Vec<T> as OutputType>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <Vec<T> as OutputType>::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let plain = plain(ctx);
        let mut rows = Vec::with_capacity(self.0.len());
        for (at, row) in self.0.iter().enumerate() {
            let ctx = ctx.with_index(at);
            let Some(fields) = &plain else {
                rows.push(row.resolve(&ctx, field).await.map_err(|error| ctx.set_error_path(error))?);
                continue;
            };
            let mut object = IndexMap::with_capacity(fields.len());
            for field in fields {
                let ctx_field = ctx.with_field(field);
                match row.resolve_field(&ctx_field).await {
                    Ok(value) => drop(object.insert(field.node.response_key().node.clone(), value.unwrap_or_default())),
                    Err(error) => ctx.add_error(error),
                }
            }
            rows.push(if object.is_empty() { Value::Null } else { Value::Object(object) });
        }
        Ok(Value::List(rows))
    }
}

/// The fields of a selection that has nothing else: no fragments, directives or `__typename`, and nothing twice.
fn plain<'a>(ctx: &ContextSelectionSet<'a>) -> Option<Vec<&'a Positioned<Field>>> {
    let mut keys = HashSet::new();
    let field = |selection: &'a Positioned<Selection>| match &selection.node {
        Selection::Field(field) if field.node.directives.is_empty() && field.node.name.node != "__typename" => {
            keys.insert(field.node.response_key().node.as_str()).then_some(field)
        }
        _ => None,
    };
    ctx.item.node.items.iter().map(field).collect()
}
