//! Who and what is let in, and what is told to whom outside: service tokens, documents that may be asked, webhooks.

use async_graphql::parser::types::{DocumentOperations, OperationType, Selection};
use async_graphql::{Context, Object, Request, Result, SimpleObject};
use chrono::{DateTime, Utc};
use entity::{Error, document as registered, token, webhook};
use futures_util::StreamExt;

use crate::config::Limits;
use crate::http::webhook::secret;
use crate::{limits, outbound};

use super::Schema;
use super::mutation::{Payload, change, payload};

/// What administrators let in.
#[derive(Default)]
pub struct Access;

/// A token of a machine. Its text was shown once and is not stored.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct ServiceToken {
    name: String,
    roles: Vec<String>,
    /// What it is for.
    purpose: Option<String>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    /// When the log saw its name last.
    last_used_at: Option<DateTime<Utc>>,
    /// Whether it is answered registered documents only.
    registered_only: bool,
}

impl ServiceToken {
    pub fn of(token: token::Token) -> Self {
        let token::Token { name, roles, purpose, created_at, expires_at, revoked_at, last_used_at, registered_only } = token;
        Self { name, roles, purpose, created_at, expires_at, revoked_at, last_used_at, registered_only }
    }
}

/// Whether a text is a GraphQL document within the usual limits.
fn document(text: &str) -> bool {
    limits::scan(text, &Limits::default()).is_ok() && async_graphql::parser::parse_query(text).is_ok()
}

/// A document that was registered.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct RegisteredDocument {
    /// `sha256:` and the SHA-256 of its text in hex: what clients send as `documentId`.
    document_id: String,
    name: String,
    text: String,
    registered_by: String,
    registered_at: DateTime<Utc>,
}

impl RegisteredDocument {
    pub fn of(document: registered::Document) -> Self {
        let registered::Document { id, name, text, registered_by, registered_at } = document;
        Self { document_id: id, name, text, registered_by, registered_at }
    }
}

/// What the configuration allows.
pub struct Allowed {
    /// Addresses of private networks.
    pub private: bool,
    /// What a document may cost.
    pub limits: Limits,
}

/// An endpoint that is told when customers change.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct Webhook {
    name: String,
    /// The host of its address; the rest may hold a secret.
    host: String,
    /// The service token as which it sees.
    token: String,
    /// The subscription whose answers it is told.
    query: String,
    set_by: String,
    set_at: DateTime<Utc>,
    /// How many customers it is owed.
    waiting: i32,
    /// How many customers it did not take, however often it was tried: dead letters.
    dead: i32,
    /// When it last took something.
    told_at: Option<DateTime<Utc>>,
    /// Why it last did not, as long as it is owed that.
    failure: Option<String>,
}

impl Webhook {
    pub fn of(doing: webhook::Doing) -> Self {
        let webhook::Doing { webhook: webhook::Webhook { name, url, token, query, set_by, set_at, .. }, waiting, dead, told_at, failure } = doing;
        let host = outbound::allowed(&url, true).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let count = |n: i64| i32::try_from(n).unwrap_or(i32::MAX);
        Self { name, host, token, query, set_by, set_at, waiting: count(waiting), dead: count(dead), told_at, failure }
    }
}

/// Whether a text is a subscription that can be told of any customer: `subscription { customerChanged { … } }`.
async fn tellable(ctx: &Context<'_>, query: &str) -> std::result::Result<(), String> {
    const FORM: &str = "query: one subscription { customerChanged { … } } without variables, alias and id";
    let limits = &ctx.data_unchecked::<Allowed>().limits;
    limits::scan(query, limits).map_err(|fault| format!("query: {fault}"))?;
    let parsed = async_graphql::parser::parse_query(query).map_err(|_| FORM)?;
    limits::check(&parsed, limits).map_err(|fault| format!("query: {fault}"))?;
    let operation = match &parsed.operations {
        DocumentOperations::Single(operation) => operation,
        DocumentOperations::Multiple(named) => named.values().next().filter(|_| named.len() == 1).ok_or(FORM)?,
    };
    let root = match operation.node.selection_set.node.items.as_slice() {
        [one] => &one.node,
        _ => return Err(FORM.to_owned()),
    };
    let fits = matches!(root, Selection::Field(field) if field.node.name.node == "customerChanged"
        && field.node.alias.is_none() && field.node.arguments.is_empty() && field.node.directives.is_empty());
    if operation.node.ty != OperationType::Subscription || !fits || !operation.node.variable_definitions.is_empty() {
        return Err(FORM.to_owned());
    }
    // Nothing has happened: it says only whether it fits the schema.
    let request = Request::new(query).data(change(ctx).session());
    match ctx.data_unchecked::<Schema>().execute_stream(request).next().await.and_then(|response| response.errors.into_iter().next()) {
        None => Ok(()),
        Some(error) => {
            let place = error.locations.first().map(|at| format!(" at line {}, column {}", at.line, at.column)).unwrap_or_default();
            Err(format!("query: does not fit the schema{place}"))
        }
    }
}

/// What administrators let in.
#[Object(serial)]
impl Access {
    /// Issues a token for a machine, in place of an older one of the same name. Its text is in the answer and nowhere else. With
    /// `registeredOnly` it is answered registered documents only, whatever the tenant requires.
    async fn issue_token(
        &self,
        ctx: &Context<'_>,
        name: String,
        roles: Vec<String>,
        purpose: Option<String>,
        #[graphql(default = 90)] days: i32,
        #[graphql(default = false)] registered_only: bool,
    ) -> Result<Payload<String>> {
        let word = !name.is_empty() && name.len() <= 60 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !word {
            return payload(ctx, Err(Error::Invalid("name: 1 to 60 characters of a-z, A-Z, 0-9, - _ and .".to_owned())));
        }
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        let terms = token::Terms { roles: &roles, purpose: purpose.as_deref(), days: days.into(), registered_only };
        payload(ctx, token::issue(change(ctx), &name, terms).await.map(|text| text.to_string()))
    }

    /// Revokes the token of a name: it is refused from then on, and its streams end within seconds.
    async fn revoke_token(&self, ctx: &Context<'_>, name: String) -> Result<Payload<bool>> {
        let revoked = token::revoke(change(ctx), &name).await.and_then(|count| if count == 0 { Err(Error::NotFound) } else { Ok(true) });
        payload(ctx, revoked)
    }

    /// Registers documents, so that clients can ask them by `documentId`.
    async fn register_documents(&self, ctx: &Context<'_>, name: String, texts: Vec<String>) -> Result<Payload<Vec<RegisteredDocument>>> {
        let faults: Vec<String> =
            texts.iter().enumerate().filter(|(_, text)| !document(text)).map(|(at, _)| format!("texts[{at}]: not a GraphQL document")).collect();
        if !faults.is_empty() {
            return payload(ctx, Err(Error::Faults(faults)));
        }
        let done = registered::register(change(ctx), &name, &texts).await;
        payload(ctx, done.map(|documents| documents.into_iter().map(RegisteredDocument::of).collect()))
    }

    /// Takes a registered document away.
    async fn remove_document(&self, ctx: &Context<'_>, document_id: String) -> Result<Payload<bool>> {
        payload(ctx, registered::remove(change(ctx), &document_id).await.map(|()| true))
    }

    /// Says whether this tenant's callers may ask registered documents only.
    async fn require_registered_documents(&self, ctx: &Context<'_>, required: bool) -> Result<Payload<bool>> {
        payload(ctx, registered::require(change(ctx), required).await.map(|()| required))
    }

    /// Sets a webhook: an address that is told when customers change, as clear as a service token may see them. What it is told
    /// is what the subscription answers. The result is the secret that its messages are signed with (Standard Webhooks).
    async fn set_webhook(
        &self,
        ctx: &Context<'_>,
        name: String,
        url: String,
        token: String,
        #[graphql(default = "subscription { customerChanged { id number status } }")] query: String,
    ) -> Result<Payload<String>> {
        let mut faults = Vec::new();
        if let Err(fault) = outbound::allowed(&url, ctx.data_unchecked::<Allowed>().private) {
            faults.push(format!("url: {fault}"));
        }
        if let Err(fault) = tellable(ctx, &query).await {
            faults.push(fault);
        }
        if !faults.is_empty() {
            return payload(ctx, Err(Error::Faults(faults)));
        }
        let done = async {
            let set = webhook::set(change(ctx), &name, &url, &token, &query).await?;
            Ok(secret(webhook::secret(change(ctx), &set)?.as_slice()))
        };
        payload(ctx, done.await)
    }

    /// Takes a webhook away, with what it is owed.
    async fn remove_webhook(&self, ctx: &Context<'_>, name: String) -> Result<Payload<bool>> {
        payload(ctx, webhook::remove(change(ctx), &name).await.map(|()| true))
    }

    /// Tries its dead letters again. The result is how many there are.
    async fn replay_webhook(&self, ctx: &Context<'_>, name: String) -> Result<Payload<i32>> {
        payload(ctx, webhook::replay(change(ctx), &name).await.map(|count| i32::try_from(count).unwrap_or(i32::MAX)))
    }
}
