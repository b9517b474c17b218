//! Tells endpoints that customers changed, signed as Standard Webhooks (standardwebhooks.com) describes: each message is what the
//! endpoint's subscription says of a customer at that moment, with the policy, mask and log of any other reading.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use actix_web::web;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use entity::TenantId;
use entity::webhook::{self, Due, Ready, Told};
use futures_util::{StreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, json};
use sha2::Sha256;
use uuid::Uuid;

use super::Shared;
use super::live::on;
use super::perform::{Asked, Done};
use crate::graphql::subscription::Occasion;
use crate::graphql::{customer_id, json as answers};
use crate::outbound::Guarded;

/// How often there is a look at what is owed.
const SOON: Duration = Duration::from_secs(1);
/// How long an endpoint may take.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How many customers an endpoint is told of at once.
const AT_ONCE: usize = 4;

/// What tells endpoints.
struct Teller {
    guarded: Guarded,
    /// Endpoints that are being told.
    busy: Mutex<HashSet<Uuid>>,
}

/// Tells endpoints as long as the server stands.
pub fn tell(shared: &web::Data<Shared>, guarded: Guarded) {
    let shared = Arc::downgrade(&shared.clone().into_inner());
    let teller = Arc::new(Teller { guarded, busy: Mutex::default() });
    tokio::spawn(async move {
        while let Some(held) = Weak::upgrade(&shared) {
            if let Err(error) = round(&held, &teller).await {
                tracing::error!(%error, "what webhooks are owed cannot be read");
            }
            drop(held);
            tokio::time::sleep(SOON).await;
        }
    });
}

async fn round(shared: &Arc<Shared>, teller: &Arc<Teller>) -> Result<(), entity::Error> {
    for tenant in shared.house.tenants().await?.into_iter().filter(entity::tenant::Tenant::stands) {
        // One tenant's trouble is not the others'.
        let noted = webhook::note(&shared.house, tenant.id).await;
        let noted = noted.inspect_err(|error| tracing::error!(%error, tenant = tenant.slug, "what webhooks are owed cannot be noted"));
        for webhook in noted.unwrap_or_default() {
            let Some(busy) = Busy::begin(teller, webhook) else { continue };
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                if let Err(error) = busy.teller.tell(&shared, tenant.id, webhook).await {
                    tracing::error!(%error, "what a webhook is owed cannot be read");
                }
            });
        }
    }
    Ok(())
}

/// That an endpoint is being told, until it is dropped.
struct Busy {
    teller: Arc<Teller>,
    webhook: Uuid,
}

impl Busy {
    fn begin(teller: &Arc<Teller>, webhook: Uuid) -> Option<Self> {
        let begun = teller.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(webhook);
        begun.then(|| Self { teller: Arc::clone(teller), webhook })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.teller.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.webhook);
    }
}

impl Teller {
    /// Tells an endpoint of whatever is due.
    async fn tell(&self, shared: &Arc<Shared>, tenant: TenantId, webhook: Uuid) -> Result<(), entity::Error> {
        loop {
            let due = webhook::due(&shared.house, tenant, webhook).await?;
            if due.is_empty() {
                return Ok(());
            }
            let each = stream::iter(&due).for_each_concurrent(AT_ONCE, async |due| {
                let settled = match self.about(shared, tenant, webhook, due).await {
                    Ok(told) => webhook::settle(&shared.house, tenant, webhook, due, told).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = settled {
                    tracing::error!(%error, "what a webhook was told cannot be noted; it is told again");
                }
            });
            each.await;
        }
    }

    /// Tells an endpoint of a customer, as both stand at this moment.
    async fn about(&self, shared: &Arc<Shared>, tenant: TenantId, webhook: Uuid, due: &Due) -> Result<Told, entity::Error> {
        let Some(ready) = webhook::ready(&shared.house, tenant, webhook, due).await? else { return Ok(Told::Left) };
        let (body, gone) = match message(shared, &ready, due).await {
            Ok(Message::Changed(body)) => (body, false),
            Ok(Message::Gone(body)) => (body, true),
            Ok(Message::None) => return Ok(Told::Nothing),
            Err(told) => return Ok(told),
        };
        if !webhook::about(&shared.house, tenant, webhook, due).await? {
            return Ok(Told::Left);
        }
        Ok(match self.post(&ready, body).await {
            Told::Taken if gone => Told::Nothing,
            told => told,
        })
    }

    async fn post(&self, ready: &Ready, body: String) -> Told {
        let at = chrono::DateTime::timestamp(&crate::clock::now());
        let headers = [
            ("webhook-id", ready.message.clone()),
            ("webhook-timestamp", at.to_string()),
            ("webhook-signature", signature(&*ready.secret, &ready.message, at, &body)),
        ];
        match self.guarded.post(&ready.webhook.url, &headers, body).await {
            Ok(200..=299) => Told::Taken,
            // It is gone, and says so.
            Ok(410) => Told::Failed { why: "it answered 410: it wants to hear no more of this".to_owned(), again: false },
            Ok(status) => Told::Failed { why: format!("it answered {status}"), again: true },
            Err(why) => Told::Failed { why, again: true },
        }
    }
}

/// `v1,` and the HMAC-SHA-256 of id, time and body.
fn signature(secret: &[u8], message: &str, at: i64, body: &str) -> String {
    // An HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    mac.update(format!("{message}.{at}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// What an endpoint's owner verifies its messages with.
pub fn secret(bytes: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(bytes))
}

/// What there is to be told of a customer.
enum Message {
    /// It is like this now.
    Changed(String),
    /// The endpoint knew it and sees it no more.
    Gone(String),
    None,
}

async fn message(shared: &Shared, ready: &Ready, due: &Due) -> Result<Message, Told> {
    let webhook = &ready.webhook;
    let asked = Asked { query: webhook.query.clone(), operation_name: None, variables: Map::new(), request: ready.message.clone(), key: None };
    let failed = |why: &str, again| Told::Failed { why: why.to_owned(), again };
    let checked = asked.ready(shared).map_err(|_| failed("its query is not within the limits any more", false))?;
    let done = on(shared, &Arc::new(ready.principal.clone()), &asked, checked.document, ("webhook", &webhook.name), Occasion::Customer(due.customer)).await;
    let said = |kind: &str, data| json!({ "type": kind, "timestamp": shared.house.now().to_rfc3339(), "data": data }).to_string();
    match done {
        Err(_) => Err(failed("the server could not read or record it", true)),
        Ok(None) if due.known => Ok(Message::Gone(said("customer.gone", json!({ "id": customer_id(due.customer) })))),
        Ok(None) => Ok(Message::None),
        Ok(Some(Done::Answered(response, _))) if response.errors.is_empty() => {
            let data = answers::read(&response.data);
            Ok(Message::Changed(said("customer.changed", data["customerChanged"].clone())))
        }
        Ok(Some(Done::Answered(..))) => Err(failed("its query could not be answered whole", true)),
        Ok(Some(_)) => Err(failed("its query does not fit the schema any more; set another", false)),
    }
}
