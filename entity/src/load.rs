//! Loading: drafts of source records, batch by batch, each sealed, recognised and accounted for.

use std::collections::{HashMap, HashSet};

use policy::{Pii, Verb, clean};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use serde_json::json;

use crate::guard::Vaulted;
use crate::import::{self, Counts, Import, Reject};
use crate::record::{Column, Detail, Draft, Entity, Model, table};
use crate::vault::{BlindIndex, Keyring, RecordKey, Sealed};
use crate::{Change, Error, Scope, contact, order, ticket};

/// Begins the key of a row to which its source gives no id; a keyed hash of its content follows.
pub(crate) const UNNAMED: char = '~';

/// The rows of one file that were met so far: key and digest by what the source calls them.
#[derive(Default)]
pub struct Met(HashMap<String, Seen>);

/// A row that was met: its record, the digest of its content, and the customer that the record has had.
struct Seen {
    id: Uuid,
    digest: Vec<u8>,
    customer: Option<Uuid>,
}

/// Loads a batch of one file in the transaction of `change`. The counts say what became of every row.
///
/// # Errors
/// The database refuses, or the caller may not import: nothing of the batch is kept.
pub async fn batch(change: &Change, import: &Import, drafts: Vec<Draft>, rejects: Vec<Reject>, warnings: i32, met: &mut Met) -> Result<Counts, Error> {
    change.permit(Verb::ImportRun)?;
    let (scope, keys) = (change.scope(), change.keyring());
    let mut counts = Counts { read: size(drafts.len() + rejects.len()), rejected: size(rejects.len()), warnings, ..Counts::default() };
    let mut batch = Batch { rows: rejected_rows(keys, import, rejects)?, ..Batch::default() };
    let mut known = known(scope, import, keys, &drafts).await?;
    for draft in drafts {
        let (external_id, digest) = identity(keys, import, &draft)?;
        let (row_number, line) = (draft.row_number, draft.line);
        let (outcome, id, customer) = match (met.0.get(&external_id), known.remove(&external_id)) {
            (Some(seen), _) if seen.digest == digest => ("duplicate", seen.id, seen.customer),
            (Some(seen), _) => ("updated", seen.id, seen.customer),
            (None, Some(old)) if old.digest == digest => ("unchanged", old.id, old.customer_id),
            (None, Some(old)) => ("updated", old.id, old.customer_id),
            (None, None) => ("created", Uuid::now_v7(), None),
        };
        if outcome == "updated" {
            batch.forget(id, customer, scope).await?;
        }
        let row = Identity { id, external_id, digest };
        match outcome {
            "created" | "updated" => batch.add(change, import, &row, draft, outcome == "updated")?,
            _ => {}
        }
        met.0.insert(row.external_id, Seen { id, digest: row.digest, customer });
        match outcome {
            "created" => counts.created += 1,
            "updated" => counts.updated += 1,
            "unchanged" => counts.unchanged += 1,
            _ => counts.duplicate += 1,
        }
        batch.rows.push(import_row(import, row_number, line, outcome, Some(id)));
    }
    batch.store(scope).await?;
    Ok(counts)
}

/// Which record a row is.
struct Identity {
    id: Uuid,
    external_id: String,
    digest: Vec<u8>,
}

/// What a batch writes.
#[derive(Default)]
struct Batch {
    new: Vec<table::ActiveModel>,
    changed: Vec<table::ActiveModel>,
    orders: Vec<order::table::ActiveModel>,
    contacts: Vec<contact::table::ActiveModel>,
    tickets: Vec<ticket::table::ActiveModel>,
    rows: Vec<import::row::ActiveModel>,
    customers: HashMap<Uuid, Option<Uuid>>,
    /// Records that this batch makes.
    fresh: HashSet<Uuid>,
}

impl Batch {
    /// A known record is about to be written anew: what it told of goes, whose it is stays.
    async fn forget(&mut self, id: Uuid, customer: Option<Uuid>, scope: &Scope) -> Result<(), Error> {
        self.customers.entry(id).or_insert(customer);
        self.new.retain(|row| *row.id.as_ref() != id);
        self.changed.retain(|row| *row.id.as_ref() != id);
        self.orders.retain(|row| *row.record_id.as_ref() != Some(id));
        self.contacts.retain(|row| *row.record_id.as_ref() != Some(id));
        self.tickets.retain(|row| *row.record_id.as_ref() != Some(id));
        scope.delete_where::<order::table::Entity>(order::table::Column::RecordId.eq(id)).await?;
        scope.delete_where::<contact::table::Entity>(contact::table::Column::RecordId.eq(id)).await?;
        scope.delete_where::<ticket::table::Entity>(ticket::table::Column::RecordId.eq(id)).await?;
        Ok(())
    }

    /// Seals a draft as the record `id`.
    fn add(&mut self, change: &Change, import: &Import, row: &Identity, draft: Draft, stored: bool) -> Result<(), Error> {
        let Identity { id, external_id, digest } = row;
        let id = *id;
        let keys = change.keyring();
        let (key, wrapped, epoch) = keys.new_record(Model::TABLE, id)?;
        let (phone, phone_index) = seal_found(keys, &key, draft.phone.as_ref())?;
        let (email, email_index) = seal_found(keys, &key, draft.email.as_ref())?;
        let company_key = draft.company.as_deref().map(clean::company::key);
        let company_index = company_key.map(|key| keys.index_of(Model::TABLE, "company", &key)).transpose()?;
        let customer_id = self.customers.get(&id).copied().flatten();
        self.tell(keys, id, customer_id, &draft)?;
        let row = table::ActiveModel {
            id: Set(id),
            source_id: Set(import.source.id),
            external_id: Set(external_id.clone()),
            import_id: Set(import.id),
            row_number: Set(draft.row_number),
            line: Set(draft.line),
            customer_id: Set(customer_id),
            digest: Set(digest.clone()),
            record_key: Set(Some(wrapped)),
            key_epoch: Set(epoch.cast_signed()),
            name: Set(seal(&key, draft.name.as_ref())?),
            family_name: Set(seal(&key, draft.family_name.as_ref())?),
            phone: Set(phone),
            phone_index: Set(phone_index),
            landline: Set(seal(&key, draft.landline.as_ref())?),
            email: Set(email),
            email_index: Set(email_index),
            company: Set(draft.company),
            company_index: Set(company_index),
            address: Set(seal(&key, draft.address.as_ref())?),
            remarks: Set(seal(&key, draft.remarks.as_ref())?),
            raw: Set(seal(&key, draft.raw.as_ref())?),
            industry: Set(draft.industry),
            channel: Set(draft.channel),
            first_follow_up: Set(draft.first_follow_up),
            status: Set(draft.status),
            owner_id: Set(draft.owner),
            amount_fen: Set(draft.amount_fen),
            occurred_at: Set(draft.occurred_at),
            source_updated_at: Set(draft.source_updated_at),
            flags: Set(json!(draft.flags)),
            tags: Set(json!(draft.tags)),
            mapping_version: Set(import.source.mapping_version),
            imported_at: Set(change.now()),
            ..Default::default()
        };
        if stored && !self.fresh.contains(&id) {
            self.changed.push(row);
        } else {
            self.fresh.insert(id);
            self.new.push(row);
        }
        Ok(())
    }

    fn tell(&mut self, keys: &Keyring, record: Uuid, customer: Option<Uuid>, draft: &Draft) -> Result<(), Error> {
        let id = Uuid::now_v7();
        let number = draft.number.as_deref().unwrap_or_default();
        match &draft.detail {
            Detail::Nothing => {}
            Detail::Order { items, state } => self.orders.push(order::table::ActiveModel {
                id: Set(id),
                customer_id: Set(customer),
                record_id: Set(Some(record)),
                number: Set(number.to_owned()),
                amount_fen: Set(draft.amount_fen),
                ordered_at: Set(draft.occurred_at),
                status: Set(state.clone()),
                items: Set(items.clone()),
                ..Default::default()
            }),
            Detail::FollowUp { at, by, summary } => {
                let (key, wrapped, epoch) = keys.new_record(contact::table::Model::TABLE, id)?;
                self.contacts.push(contact::table::ActiveModel {
                    id: Set(id),
                    customer_id: Set(customer),
                    record_id: Set(Some(record)),
                    at: Set(*at),
                    channel: Set("first_follow_up".to_owned()),
                    record_key: Set(Some(wrapped)),
                    key_epoch: Set(epoch.cast_signed()),
                    summary: Set(seal(&key, summary.as_ref())?),
                    by_user: Set(*by),
                    result: Set(None),
                    ..Default::default()
                });
            }
            Detail::Ticket { topic, body, state, satisfaction } => {
                let (key, wrapped, epoch) = keys.new_record(ticket::table::Model::TABLE, id)?;
                self.tickets.push(ticket::table::ActiveModel {
                    id: Set(id),
                    customer_id: Set(customer),
                    record_id: Set(Some(record)),
                    number: Set(number.to_owned()),
                    kind: Set(topic.clone()),
                    opened_at: Set(draft.occurred_at),
                    record_key: Set(Some(wrapped)),
                    key_epoch: Set(epoch.cast_signed()),
                    body: Set(seal(&key, body.as_ref())?),
                    status: Set(state.clone()),
                    satisfaction: Set(*satisfaction),
                    ..Default::default()
                });
            }
        }
        Ok(())
    }

    async fn store(self, scope: &Scope) -> Result<(), Error> {
        scope.insert(self.new).await?;
        for row in self.changed {
            let id = *row.id.as_ref();
            scope.overwrite::<Entity, _>(row, Column::Id.eq(id)).await?;
        }
        scope.insert(self.orders).await?;
        scope.insert(self.contacts).await?;
        scope.insert(self.tickets).await?;
        scope.insert(self.rows).await
    }
}

fn seal<K: Pii>(key: &RecordKey, value: Option<&K>) -> Result<Option<Sealed<K>>, Error> {
    Ok(value.map(|value| key.seal(value)).transpose()?)
}

/// A sealed value and the index by which it is found: both or neither.
pub(crate) type Found<K> = (Option<Sealed<K>>, Option<BlindIndex<K>>);

/// Seals a value that rows are found by.
pub(crate) fn seal_found<K: Pii>(keys: &Keyring, key: &RecordKey, value: Option<&K>) -> Result<Found<K>, Error> {
    Ok(value.map(|value| keys.seal(key, value)).transpose()?.unzip())
}

/// What the source calls a row, and the keyed digest of its content.
fn identity(keys: &Keyring, import: &Import, draft: &Draft) -> Result<(String, Vec<u8>), Error> {
    let raw = draft.raw.as_ref().map_or("", Pii::expose);
    let digest = keys.digest("row", format!("{}\n{}\n{raw}", import.source.name, import.source.mapping_version).as_bytes())?.to_vec();
    let external_id = draft.external_id.clone().unwrap_or_else(|| format!("{UNNAMED}{}", crate::vault::hex(&digest).as_str()));
    Ok((external_id, digest))
}

async fn known(scope: &Scope, import: &Import, keys: &Keyring, drafts: &[Draft]) -> Result<HashMap<String, Model>, Error> {
    let mut known = HashMap::new();
    for chunk in drafts.chunks(5_000) {
        let ids = chunk.iter().map(|draft| identity(keys, import, draft).map(|(id, _)| id)).collect::<Result<Vec<_>, _>>()?;
        let rows = scope.find::<Entity>().filter(Column::SourceId.eq(import.source.id)).filter(Column::ExternalId.is_in(ids)).all(scope.tx()).await?;
        known.extend(rows.into_iter().map(|row| (row.external_id.clone(), row)));
    }
    Ok(known)
}

fn import_row(import: &Import, row_number: i32, line: i32, outcome: &str, record: Option<Uuid>) -> import::row::ActiveModel {
    import::row::ActiveModel {
        id: Set(Uuid::now_v7()),
        import_id: Set(import.id),
        row_number: Set(row_number),
        line: Set(line),
        outcome: Set(outcome.to_owned()),
        reason: Set(None),
        detail: Set(None),
        record_id: Set(record),
        record_key: Set(None),
        key_epoch: Set(0),
        raw: Set(None),
        ..Default::default()
    }
}

fn rejected_rows(keys: &Keyring, import: &Import, rejects: Vec<Reject>) -> Result<Vec<import::row::ActiveModel>, Error> {
    let mut rows = Vec::with_capacity(rejects.len());
    for reject in rejects {
        let mut row = import_row(import, reject.row_number, reject.line, "rejected", None);
        let (key, wrapped, epoch) = keys.new_record(import::row::Model::TABLE, *row.id.as_ref())?;
        row.reason = Set(Some(reject.reason.to_owned()));
        row.detail = Set(Some(reject.detail));
        row.record_key = Set(Some(wrapped));
        row.key_epoch = Set(epoch.cast_signed());
        row.raw = Set(Some(key.seal(&reject.raw)?));
        rows.push(row);
    }
    Ok(rows)
}

fn size(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
