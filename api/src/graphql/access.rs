//! Who and what is let in: service tokens, and documents that may be asked.

use async_graphql::{Context, Object, Result, SimpleObject};
use chrono::{DateTime, Utc};
use entity::{Error, document as registered, token};

use crate::config::Limits;
use crate::limits;

use super::mutation::{Payload, change, payload};

/// What administrators let in.
#[derive(Default)]
pub struct Access;

/// A token of a machine. Its text was shown once and is not stored.
#[derive(SimpleObject)]
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
}

impl ServiceToken {
    pub fn of(token: token::Token) -> Self {
        let token::Token { name, roles, purpose, created_at, expires_at, revoked_at, last_used_at } = token;
        Self { name, roles, purpose, created_at, expires_at, revoked_at, last_used_at }
    }
}

/// Whether a text is a GraphQL document within the usual limits.
fn document(text: &str) -> bool {
    limits::scan(text, &Limits::default()).is_ok() && async_graphql::parser::parse_query(text).is_ok()
}

/// A document that was registered.
#[derive(SimpleObject)]
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

/// What administrators let in.
#[Object]
impl Access {
    /// Issues a token for a machine, in place of an older one of the same name. Its text is in the answer and nowhere else.
    async fn issue_token(
        &self,
        ctx: &Context<'_>,
        name: String,
        roles: Vec<String>,
        purpose: Option<String>,
        #[graphql(default = 90)] days: i32,
    ) -> Result<Payload<String>> {
        let word = !name.is_empty() && name.len() <= 60 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !word {
            return payload(ctx, Err(Error::Invalid("name: 1 to 60 characters of a-z, A-Z, 0-9, - _ and .".to_owned())));
        }
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        payload(ctx, token::issue(change(ctx), &name, &roles, purpose.as_deref(), days.into()).await.map(|text| text.to_string()))
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
}
