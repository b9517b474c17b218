//! Tells endpoints that customers changed, signed as Standard Webhooks (standardwebhooks.com) describes: each message is what the
//! endpoint's subscription says of a customer at that moment, with the policy, mask and log of any other reading.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use actix_web::web;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use entity::webhook::{self, Due, Owed, Told, Webhook};
use entity::{Principal, TenantId};
use futures_util::{StreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, json};
use sha2::Sha256;
use uuid::Uuid;

use super::Shared;
use super::live::on;
use super::perform::{Asked, Done};
use crate::graphql::customer_id;
use crate::graphql::subscription::Occasion;
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
        let busy = |webhook| teller.busy().contains(&webhook);
        for owed in webhook::take(&shared.house, tenant.id, &busy).await? {
            let Some(principal) = owed.principal.clone().filter(|_| !owed.due.is_empty()) else { continue };
            let (shared, teller) = (Arc::clone(shared), Arc::clone(teller));
            teller.busy().insert(owed.webhook.id);
            tokio::spawn(async move {
                teller.tell(&shared, tenant.id, &Arc::new(principal), &owed).await;
                teller.busy().remove(&owed.webhook.id);
            });
        }
    }
    Ok(())
}

impl Teller {
    fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<Uuid>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn tell(&self, shared: &Arc<Shared>, tenant: TenantId, principal: &Arc<Principal>, owed: &Owed) {
        let each = stream::iter(&owed.due).for_each_concurrent(AT_ONCE, async |due| {
            let told = match message(shared, principal, &owed.webhook, due).await {
                Ok(Some(body)) => self.post(owed, due, body).await,
                Ok(None) => Told::Nothing,
                Err(told) => told,
            };
            if let Err(error) = webhook::settle(&shared.house, tenant, owed.webhook.id, due, told).await {
                tracing::error!(%error, "what a webhook was told cannot be noted; it is told again");
            }
        });
        each.await;
    }

    async fn post(&self, owed: &Owed, due: &Due, body: String) -> Told {
        let at = chrono::DateTime::timestamp(&crate::clock::now());
        let headers = [
            ("webhook-id", due.message.clone()),
            ("webhook-timestamp", at.to_string()),
            ("webhook-signature", signature(&*owed.secret, &due.message, at, &body)),
        ];
        match self.guarded.post(&owed.webhook.url, &headers, body).await {
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

/// What there is to be told of a customer. One that the endpoint knew and sees no more is gone.
async fn message(shared: &Shared, principal: &Arc<Principal>, webhook: &Webhook, due: &Due) -> Result<Option<String>, Told> {
    let asked = Asked { query: webhook.query.clone(), operation_name: None, variables: Map::new(), request: due.message.clone(), key: None };
    let failed = |why: &str, again| Told::Failed { why: why.to_owned(), again };
    let ready = asked.ready(shared).map_err(|_| failed("its query is not within the limits any more", false))?;
    let done = on(shared, principal, &asked, ready.document, ("webhook", &webhook.name), Occasion::Customer(due.customer)).await;
    let said = |kind: &str, data| json!({ "type": kind, "timestamp": shared.house.now().to_rfc3339(), "data": data }).to_string();
    match done {
        Err(_) => Err(failed("the server could not read or record it", true)),
        Ok(None) if due.known => Ok(Some(said("customer.gone", json!({ "id": customer_id(due.customer) })))),
        Ok(None) => Ok(None),
        Ok(Some(Done::Answered(response, _))) if response.errors.is_empty() => {
            let data = response.data.into_json().unwrap_or_default();
            Ok(Some(said("customer.changed", data["customerChanged"].clone())))
        }
        Ok(Some(_)) => Err(failed("its query cannot be answered as it is; set another", false)),
    }
}
