//! One operation, whatever it came by: judged before anything runs, executed in the bracket, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use async_graphql::parser::types::{ExecutableDocument, OperationType, Selection, SelectionSet};
use async_graphql::{Request, Response, Variables};
use entity::idempotency::{self, Claim};
use entity::{Change, Operation, Principal, Session, Unaccounted};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Shared;
use crate::graphql::json;
use crate::graphql::mutation::Refused;
use crate::graphql::rows::PutTogether;
use crate::{error, limits};

/// What is asked.
pub struct Asked {
    pub query: String,
    pub operation_name: Option<String>,
    pub variables: Map<String, Value>,
    /// The id of the request.
    pub request: String,
    /// The key under which it is done once.
    pub key: Option<String>,
}

/// What came of it.
pub enum Done {
    /// Nothing was executed, and nobody looked at the schema.
    Refused(StatusCode, error::Code, String),
    /// It does not fit the schema.
    Unexecuted(StatusCode, Vec<async_graphql::ServerError>),
    /// It was executed.
    Answered(Box<Response>, Vec<Value>),
}

impl Done {
    /// The members of a response, in the order of the specification, as JSON.
    pub fn json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut begin = b'{';
        let mut member = |name: &str, write: &dyn Fn(&mut Vec<u8>)| {
            out.push(std::mem::replace(&mut begin, b','));
            json::key(name, &mut out);
            write(&mut out);
        };
        match self {
            Self::Refused(_, code, message) => {
                member("errors", &|out| json::serialize(&json!([{ "message": message, "extensions": { "code": code } }]), out));
            }
            Self::Unexecuted(_, errors) => member("errors", &|out| json::serialize(errors, out)),
            Self::Answered(response, disclosure) => {
                member("data", &|out| json::write(&response.data, out));
                if !response.errors.is_empty() {
                    member("errors", &|out| json::serialize(&response.errors, out));
                }
                member("extensions", &|out| json::serialize(&json!({ "disclosure": disclosure }), out));
            }
        }
        out.push(b'}');
        out
    }
}

/// Documents of at most so many bytes are kept.
const KEPT: usize = 16 << 10;

/// A document that may run.
pub struct Ready {
    pub document: ExecutableDocument,
    pub kind: OperationType,
    /// What the log calls the operation.
    pub name: String,
}

impl Asked {
    /// Checks the document against the limits.
    ///
    /// # Errors
    /// What is to be answered.
    pub fn ready(&self, shared: &Shared) -> Result<Ready, Done> {
        let document = match shared.documents.get(&self.query) {
            Some(document) => ExecutableDocument::clone(&document),
            None => self.parsed(shared)?,
        };
        let (kind, name) = (kind(self.operation_name.as_ref(), &document), operation_name(self.operation_name.as_ref(), &document));
        Ok(Ready { document, kind, name })
    }

    /// The document, within the limits. Clients ask the same again and again: it is kept.
    fn parsed(&self, shared: &Shared) -> Result<ExecutableDocument, Done> {
        let too_much = |message: String| Done::Refused(StatusCode::UNPROCESSABLE_ENTITY, "QUERY_TOO_COMPLEX", message);
        limits::scan(&self.query, &shared.limits).map_err(too_much)?;
        let document = async_graphql::parser::parse_query(&self.query).map_err(|problem| {
            let place = problem.positions().next().map(|at| format!(" at line {}, column {}", at.line, at.column)).unwrap_or_default();
            Done::Refused(StatusCode::BAD_REQUEST, "GRAPHQL_PARSE_FAILED", format!("the document is not GraphQL{place}"))
        })?;
        limits::check(&document, &shared.limits).map_err(too_much)?;
        let invalid = |message: String| Done::Refused(StatusCode::UNPROCESSABLE_ENTITY, "GRAPHQL_VALIDATION_FAILED", message);
        limits::single_root(&document).map_err(invalid)?;
        if self.query.len() <= KEPT {
            shared.documents.insert(self.query.clone(), Arc::new(document.clone()));
        }
        Ok(document)
    }

    /// As the log will tell it.
    pub fn operation(&self, shared: &Shared, kind: &'static str, name: &str) -> Operation {
        Operation::new(kind, name)
            .of_document(&self.query, serde_json::to_vec(&self.variables).unwrap_or_default())
            .in_request(&self.request)
            .within(Duration::from_secs(shared.limits.seconds))
    }

    /// Whether the schema may be asked for. Clients ask for `__typename` everywhere, which tells nothing of it.
    fn introspects(&self) -> bool {
        let types = || self.query.match_indices("__type").any(|(at, _)| !self.query[at..].starts_with("__typename"));
        self.query.contains("__schema") || types()
    }

    /// For the executor.
    pub fn request(&self, document: ExecutableDocument) -> Request {
        let mut request = Request::new("").variables(Variables::from_json(Value::Object(self.variables.clone())));
        request.operation_name.clone_from(&self.operation_name);
        if PutTogether::needs(&document) {
            request = request.data(PutTogether);
        }
        request.set_parsed_query(document);
        request
    }

    /// What leaves of a response.
    pub fn answered(&self, shared: &Shared, mut response: Response, disclosure: Vec<Value>) -> Done {
        if response.errors.is_empty() {
            return Done::Answered(Box::new(response), disclosure);
        }
        let mut names = limits::scan(&self.query, &shared.limits).unwrap_or_default();
        names.extend(shared.names.iter().map(String::as_str));
        error::finish(&mut response, &names, &self.request);
        let unexecuted =
            !response.errors.is_empty() && response.data == async_graphql::Value::Null && response.errors.iter().all(|error| error.path.is_empty());
        if unexecuted { Done::Unexecuted(StatusCode::UNPROCESSABLE_ENTITY, response.errors) } else { Done::Answered(Box::new(response), disclosure) }
    }

    /// What is answered when the bracket did not close.
    pub fn withheld(&self, unaccounted: &Unaccounted) -> Done {
        let unavailable = |message: &str| Done::Refused(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message.to_owned());
        if matches!(unaccounted, Unaccounted::TooLong) {
            return unavailable("the query took too long; ask for less at once");
        }
        tracing::error!(request = %self.request, error = %unaccounted, "an answer was withheld");
        unavailable("the answer cannot be given, because the access cannot be recorded; try again")
    }
}

/// Runs a query or a mutation.
pub async fn perform(shared: &Shared, principal: &Arc<Principal>, asked: Asked) -> Done {
    let Ready { document, kind, name } = match asked.ready(shared) {
        Ok(ready) => ready,
        Err(refusal) => return refusal,
    };
    let keys = if kind == OperationType::Query { root_keys(asked.operation_name.as_ref(), &document) } else { Vec::new() };
    let request = asked.request(document);
    let schema = shared.schemas.of_caller(principal);
    let done = match kind {
        OperationType::Subscription => {
            let said = "subscriptions are streams: use /graphql/stream or /graphql/ws";
            return Done::Refused(StatusCode::UNPROCESSABLE_ENTITY, "BAD_USER_INPUT", said.to_owned());
        }
        // One transaction for all of it: when anything fails, nothing is kept.
        OperationType::Mutation => {
            let done = Change::lend(&shared.house, principal, asked.operation(shared, "mutation", &name), async |change| {
                let claim = match once(&change, &asked).await {
                    Ok(claim) => claim,
                    Err(done) => return (done, true),
                };
                let refused = Arc::new(Refused::default());
                let request = request.data(change.session()).data(Arc::clone(&change)).data(Arc::clone(&refused)).data(schema.clone());
                let response = schema.execute(request).await;
                let kept = response.errors.is_empty() && !refused.any();
                let disclosure = disclosure(&change);
                if let (Some(id), true) = (claim, kept && change.repeatable())
                    && let Err(error) = keep(&change, id, &response, &disclosure).await
                {
                    return (asked.withheld(&error.into()), false);
                }
                (asked.answered(shared, response, disclosure), kept)
            });
            return done.await.unwrap_or_else(|unaccounted| asked.withheld(&unaccounted));
        }
        OperationType::Query => {
            let request = if asked.introspects() {
                match shared.house.shows(principal).await {
                    Ok(shows) => request.data(shows),
                    Err(error) => return asked.withheld(&error.into()),
                }
            } else {
                request
            };
            Session::run(&shared.house, principal, asked.operation(shared, "query", &name), async |session| {
                let mut response = schema.execute(request.data(Arc::clone(&session))).await;
                // The executor runs the fields of the root side by side and keeps the order in which they were done.
                if let async_graphql::Value::Object(data) = &mut response.data {
                    data.sort_by_cached_key(|key, _| keys.iter().position(|one| one == key.as_str()));
                }
                if !response.errors.is_empty() {
                    session.fail();
                }
                let disclosure = disclosure(&session);
                (response, disclosure)
            })
            .await
        }
    };
    match done {
        Err(unaccounted) => asked.withheld(&unaccounted),
        Ok((response, disclosure)) => asked.answered(shared, response, disclosure),
    }
}

/// Claims the key of a request. What was done under it already is answered again.
async fn once(change: &Change, asked: &Asked) -> Result<Option<Uuid>, Done> {
    let Some(key) = &asked.key else { return Ok(None) };
    let all = serde_json::to_vec(&(&asked.query, &asked.operation_name, &asked.variables)).unwrap_or_default();
    let refused = |status, code, message: &str| Err(Done::Refused(status, code, message.to_owned()));
    match idempotency::claim(change, key, &all, &asked.request).await.map_err(|error| asked.withheld(&error.into()))? {
        Claim::First(id) => Ok(Some(id)),
        Claim::Done(Some(answer)) => match serde_json::from_slice::<(async_graphql::Value, Vec<Value>)>(&answer) {
            Ok((data, disclosure)) => Err(Done::Answered(Box::new(Response::new(data)), disclosure)),
            Err(_) => refused(StatusCode::CONFLICT, "CONFLICT", DONE),
        },
        Claim::Done(None) => refused(StatusCode::CONFLICT, "CONFLICT", DONE),
        Claim::Other => refused(StatusCode::UNPROCESSABLE_ENTITY, "BAD_USER_INPUT", "Idempotency-Key: was used for another request; take a new one"),
    }
}

const DONE: &str = "this was done already, under the same Idempotency-Key; its answer is not kept";

async fn keep(change: &Change, id: Uuid, response: &Response, disclosure: &[Value]) -> Result<(), entity::Error> {
    let mut answer = vec![b'['];
    json::write(&response.data, &mut answer);
    answer.push(b',');
    json::serialize(&disclosure, &mut answer);
    answer.push(b']');
    idempotency::keep(change, id, &answer).await
}

/// How many values of each field were seen, and how.
pub fn disclosure(session: &Session) -> Vec<Value> {
    let seen = session.disclosure().into_iter();
    seen.map(|(field, [clear, masked, withheld])| json!({ "field": field, "clear": clear, "masked": masked, "withheld": withheld })).collect()
}

/// The keys of the root, in the order of the selection.
fn root_keys(asked: Option<&String>, document: &ExecutableDocument) -> Vec<String> {
    fn add(set: &SelectionSet, document: &ExecutableDocument, keys: &mut Vec<String>) {
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => keys.push(field.node.response_key().node.to_string()),
                Selection::InlineFragment(fragment) => add(&fragment.node.selection_set.node, document, keys),
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = document.fragments.get(&spread.node.fragment_name.node) {
                        add(&fragment.node.selection_set.node, document, keys);
                    }
                }
            }
        }
    }
    let mut keys = Vec::new();
    let mut named = document.operations.iter().filter(|(name, _)| asked.is_none_or(|asked| name.is_some_and(|name| name.as_str() == asked)));
    if let Some((_, operation)) = named.next() {
        add(&operation.node.selection_set.node, document, &mut keys);
    }
    keys
}

/// What kind of operation is asked for.
fn kind(asked: Option<&String>, document: &ExecutableDocument) -> OperationType {
    let mut named = document.operations.iter().filter(|(name, _)| asked.is_none_or(|asked| name.is_some_and(|name| name.as_str() == asked)));
    named.next().map_or(OperationType::Query, |(_, operation)| operation.node.ty)
}

/// What the log calls the operation.
fn operation_name(asked: Option<&String>, document: &async_graphql::parser::types::ExecutableDocument) -> String {
    use async_graphql::parser::types::DocumentOperations::{Multiple, Single};
    let known = match &document.operations {
        Multiple(named) => asked
            .filter(|name| named.contains_key(name.as_str()))
            .cloned()
            .or_else(|| if named.len() == 1 { named.keys().next().map(ToString::to_string) } else { None }),
        Single(_) => None,
    };
    // A name that the client chose goes into the log: one that looks like a number or is long does not.
    let plain = |name: &String| name.len() <= 60 && name.bytes().filter(u8::is_ascii_digit).count() <= 4;
    known.filter(plain).unwrap_or_else(|| "anonymous".to_owned())
}
