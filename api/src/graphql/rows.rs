//! Objects, written field by field straight to JSON.
//!
//! All fields of a request share one transaction, so nothing is won by resolving the fields of a thousand rows at once, as lists
//! usually are: a future for each of them, a queue to wake them by and a tree of values to write afterwards cost several times what is
//! in them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::future::Future;

use async_graphql::parser::types::{ExecutableDocument, Field, Selection, SelectionSet};
use async_graphql::registry::Registry;
use async_graphql::resolver_utils::ContainerType;
use async_graphql::{Context, ContextSelectionSet, ID, OutputType, Positioned, ServerResult, Value};
use chrono::{DateTime, NaiveDate, Utc};
use futures_util::FutureExt;

use super::json;

/// Beside a request of which answers have to be put together: what was written cannot be, so the executor resolves all of it.
pub struct PutTogether;

impl PutTogether {
    /// Whether some selection of a document, with those of its fragments, asks for an object under one key more than once. Fragments may be
    /// of different types or the same one twice, which would not matter: then all is resolved by the executor for nothing.
    #[must_use]
    pub fn needs(document: &ExecutableDocument) -> bool {
        let operations = document.operations.iter().map(|(_, operation)| &operation.node.selection_set.node);
        let mut sets: Vec<&SelectionSet> = operations.chain(document.fragments.values().map(|fragment| &fragment.node.selection_set.node)).collect();
        while let Some(set) = sets.pop() {
            if repeats(set, document, &mut HashSet::new(), &mut HashSet::new()) {
                return true;
            }
            sets.extend(set.items.iter().filter_map(|item| match &item.node {
                Selection::Field(field) => Some(&field.node.selection_set.node),
                Selection::InlineFragment(fragment) => Some(&fragment.node.selection_set.node),
                Selection::FragmentSpread(_) => None,
            }));
        }
        false
    }
}

fn repeats<'d>(set: &'d SelectionSet, document: &'d ExecutableDocument, objects: &mut HashSet<&'d str>, spread: &mut HashSet<&'d str>) -> bool {
    set.items.iter().any(|item| match &item.node {
        Selection::Field(field) => !field.node.selection_set.node.items.is_empty() && !objects.insert(field.node.response_key().node.as_str()),
        Selection::InlineFragment(fragment) => repeats(&fragment.node.selection_set.node, document, objects, spread),
        Selection::FragmentSpread(one) => {
            let name = &one.node.fragment_name.node;
            let fragment = document.fragments.get(name);
            !spread.insert(name.as_str()) || fragment.is_some_and(|fragment| repeats(&fragment.node.selection_set.node, document, objects, spread))
        }
    })
}

/// Objects of which some fields wait for nothing.
pub trait Plain: ContainerType {
    /// What tells the field of a name, without arguments, if that waits for nothing: its resolver, whose value is written at once.
    #[must_use]
    fn teller(_name: &str) -> Option<Teller<Self>> {
        None
    }
}

/// Writes the value of a field of an object.
pub type Teller<T> = fn(&T, &Context<'_>, &mut Vec<u8>) -> ServerResult<()>;

/// Names the fields that wait for nothing, each with its resolver and, behind it, what its arguments are by default.
macro_rules! plain {
    ($Object:ty: $($name:literal $resolver:ident $(($($default:expr),*))?,)*) => {
        impl $crate::graphql::rows::Plain for $Object {
            fn teller(name: &str) -> Option<$crate::graphql::rows::Teller<Self>> {
                match name {
                    $($name => Some(|object, ctx, out| $crate::graphql::rows::at_once(object.$resolver(ctx $($(, $default)*)?), ctx, out)),)*
                    _ => None,
                }
            }
        }
    };
}
pub(super) use plain;

/// Writes what a resolver tells that waits for nothing.
///
/// # Errors
/// The resolver's.
pub fn at_once<T: Told>(told: impl Future<Output = async_graphql::Result<T>>, ctx: &Context<'_>, out: &mut Vec<u8>) -> ServerResult<()> {
    let told = told.now_or_never().unwrap_or_else(|| Err("the field was to wait for nothing".into()));
    told.map_err(|error| error.into_server_error(ctx.item.pos))?.write(ctx, out)
}

/// Values that are written at once, as they print.
pub trait Told {
    /// Writes it.
    ///
    /// # Errors
    /// It does not open.
    fn write(self, ctx: &Context<'_>, out: &mut Vec<u8>) -> ServerResult<()>;
}

impl<T: Told> Told for Option<T> {
    fn write(self, ctx: &Context<'_>, out: &mut Vec<u8>) -> ServerResult<()> {
        if let Some(told) = self {
            return told.write(ctx, out);
        }
        json::null(out);
        Ok(())
    }
}

/// Writes values by what prints them.
macro_rules! told {
    ($($Of:ty: $of:ident => $print:expr,)*) => {
        $(impl Told for $Of {
            fn write(self, _: &Context<'_>, out: &mut Vec<u8>) -> ServerResult<()> {
                let $of = self;
                json::serialize(&$print, out);
                Ok(())
            }
        })*
    };
}
told! {
    String: text => text,
    &str: text => text,
    &String: text => text,
    ID: id => id.0,
    i16: number => number,
    i32: number => number,
    DateTime<Utc>: at => at.to_rfc3339(),
    &DateTime<Utc>: at => at.to_rfc3339(),
    NaiveDate: date => date.to_string(),
}

/// An object, or a list of them one after the other. Each is resolved field by field in the order of the selection.
pub struct Rows<T>(pub Vec<T>);

/// One object, resolved like those of [`Rows`].
pub struct Row<T>(pub T);

/// Declares how a type that stands for another in the schema is called there.
macro_rules! stands_for {
    ($Other:ty) => {
        fn type_name() -> Cow<'static, str> {
            <$Other as OutputType>::type_name()
        }

        fn qualified_type_name() -> String {
            <$Other as OutputType>::qualified_type_name()
        }

        fn create_type_info(registry: &mut Registry) -> String {
            <$Other as OutputType>::create_type_info(registry)
        }
    };
}

impl<T: Plain> OutputType for Rows<T> {
    stands_for!(Vec<T>);

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let Some(columns) = columns::<T>(ctx) else {
            let mut rows = Vec::with_capacity(self.0.len());
            for (at, row) in self.0.iter().enumerate() {
                let ctx = ctx.with_index(at);
                rows.push(row.resolve(&ctx, field).await.map_err(|error| ctx.set_error_path(error))?);
            }
            return Ok(Value::List(rows));
        };
        let mut out = vec![b'['];
        for (at, row) in self.0.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write(row, &columns, &ctx.with_index(at), &mut out).await;
        }
        out.push(b']');
        Ok(json::written(out))
    }
}

impl<T: Plain> OutputType for Row<T> {
    stands_for!(T);

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let Some(columns) = columns::<T>(ctx) else { return self.0.resolve(ctx, field).await };
        let mut out = Vec::new();
        write(&self.0, &columns, ctx, &mut out).await;
        Ok(json::written(out))
    }
}

/// A field of a selection.
struct Column<'c, T> {
    key: &'c str,
    field: &'c Positioned<Field>,
    teller: Option<Teller<T>>,
    ctx: Context<'c>,
}

/// Writes an object. What fails is null or, where it cannot be, is missing; of what fails altogether there is null.
async fn write<T: Plain>(row: &T, columns: &[Column<'_, T>], ctx: &ContextSelectionSet<'_>, out: &mut Vec<u8>) {
    let begun = out.len();
    for column in columns {
        let before = out.len();
        out.push(if before == begun { b'{' } else { b',' });
        json::key(column.key, out);
        let value = out.len();
        let failed = match column.teller {
            Some(tell) => tell(row, &column.ctx, out).err().map(|error| {
                out.truncate(value);
                json::null(out);
                ctx.with_field(column.field).set_error_path(error)
            }),
            None => match row.resolve_field(&ctx.with_field(column.field)).await {
                Ok(told) => {
                    json::write(&told.unwrap_or_default(), out);
                    None
                }
                Err(error) => {
                    out.truncate(before);
                    Some(error)
                }
            },
        };
        if let Some(error) = failed {
            ctx.add_error(error);
        }
    }
    if out.len() == begun {
        json::null(out);
    } else {
        out.push(b'}');
    }
}

/// The fields of a selection that asks for nothing twice, with those of its fragments; none where there is more to it, such as directives or
/// what has to be put together.
fn columns<'c, T: Plain>(ctx: &'c ContextSelectionSet<'c>) -> Option<Vec<Column<'c, T>>> {
    fn add<'c, T: Plain>(set: &'c SelectionSet, ctx: &'c ContextSelectionSet<'c>, columns: &mut Vec<Column<'c, T>>) -> Option<()> {
        for item in &set.items {
            let (fragment, directives, condition) = match &item.node {
                Selection::Field(field) => {
                    let key = field.node.response_key().node.as_str();
                    if !field.node.directives.is_empty() || columns.iter().any(|column| column.key == key) {
                        return None;
                    }
                    let teller = match field.node.name.node.as_str() {
                        "__typename" => Some((|_, ctx, out| T::type_name().as_ref().write(ctx, out)) as Teller<T>),
                        name if field.node.arguments.is_empty() => T::teller(name),
                        _ => None,
                    };
                    columns.push(Column { key, field, teller, ctx: ctx.with_field(field) });
                    continue;
                }
                Selection::InlineFragment(fragment) => (&fragment.node.selection_set.node, &fragment.node.directives, fragment.node.type_condition.as_ref()),
                Selection::FragmentSpread(spread) => {
                    let fragment = ctx.query_env.fragments.get(&spread.node.fragment_name.node)?;
                    if !spread.node.directives.is_empty() {
                        return None;
                    }
                    (&fragment.node.selection_set.node, &fragment.node.directives, Some(&fragment.node.type_condition))
                }
            };
            if !directives.is_empty() || condition.is_some_and(|condition| condition.node.on.node.as_str() != T::type_name()) {
                return None;
            }
            add(fragment, ctx, columns)?;
        }
        Some(())
    }
    if ctx.data_opt::<PutTogether>().is_some() {
        return None;
    }
    let mut columns = Vec::new();
    add(&ctx.item.node, ctx, &mut columns)?;
    Some(columns)
}
