//! Drafts to sealed rows. Needs keys and no database, so it runs beside it.

use std::sync::Arc;

use policy::field::kinds::{Raw, Traits};
use policy::{Pii, link};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use serde_json::json;

use super::{Import, Reject, row};
use crate::guard::Vaulted;
use crate::link::Member;
use crate::record::{Detail, Draft, Model, table};
use crate::vault::{BlindIndex, Keyring, RecordKey, Sealed};
use crate::{Error, contact, found, order, ticket};

/// Begins the key of a row to which its source gives no id, and stands behind one that only counts rows; a keyed hash follows, of
/// its content or of whom it is.
pub(crate) const UNNAMED: char = '~';

/// A batch, sealed: ready for the database.
pub struct Batch {
    /// The keys that sealed it.
    pub(super) keys: Arc<Keyring>,
    pub(super) rows: Vec<Row>,
    pub(super) rejects: Vec<row::ActiveModel>,
}

impl Batch {
    /// How many rows of the file it holds.
    #[must_use]
    pub fn read(&self) -> usize {
        self.rows.len() + self.rejects.len()
    }
}

/// A draft, sealed as a record that may yet turn out to be known.
pub(super) struct Row {
    pub draft: Draft,
    pub id: Uuid,
    pub external_id: String,
    /// What a row without an id was called when its cells counted as they stood.
    pub former: Option<String>,
    pub digest: Vec<u8>,
    /// Large: it is handed on, and not copied.
    pub record: Box<table::ActiveModel>,
    pub told: Told,
}

/// What a row tells of beside the customer, sealed.
pub(super) enum Told {
    Nothing,
    Order(order::table::ActiveModel),
    Contact(contact::table::ActiveModel),
    Ticket(ticket::table::ActiveModel),
}

impl Import {
    /// Seals a batch.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn seal(&self, drafts: Vec<Draft>, rejects: Vec<Reject>) -> Result<Batch, Error> {
        let keys = self.keys();
        // Rows are large: collecting them without saying how many there are would copy them again and again.
        let mut rows = Vec::with_capacity(drafts.len());
        for draft in drafts {
            rows.push(self.row(draft, Uuid::now_v7())?);
        }
        let rejects = rejects.into_iter().map(|reject| self.reject(reject)).collect::<Result<_, _>>()?;
        Ok(Batch { keys, rows, rejects })
    }

    /// Seals a draft as the record `id`.
    pub(super) fn row(&self, draft: Draft, id: Uuid) -> Result<Row, Error> {
        let keys = &*self.keys();
        let indexer = keys.indexer()?;
        let ((external_id, former), digest) = (self.names(&draft)?, self.digest(&draft)?);
        let (key, wrapped, epoch) = keys.new_record(Model::TABLE, id)?;
        let found = found::Record::of(&indexer, draft.name.as_ref(), draft.company.as_deref(), draft.phone.as_ref(), draft.email.as_ref())?;
        let traits = (!draft.traits.is_empty()).then(|| Traits::parse(&json!(draft.traits).to_string()).ok()).flatten();
        let record = table::ActiveModel {
            id: Set(id),
            source_id: Set(self.source.id),
            external_id: Set(external_id.clone()),
            import_id: Set(self.id),
            row_number: Set(draft.row_number),
            line: Set(draft.line),
            customer_id: Set(None),
            digest: Set(digest.clone()),
            record_key: Set(Some(wrapped)),
            key_epoch: Set(epoch.cast_signed()),
            name: Set(seal(&key, draft.name.as_ref())?),
            family_name: Set(seal(&key, draft.family_name.as_ref())?),
            phone: Set(seal(&key, draft.phone.as_ref())?),
            phone_index: Set(found.phone),
            landline: Set(seal(&key, draft.landline.as_ref())?),
            email: Set(seal(&key, draft.email.as_ref())?),
            email_index: Set(found.email),
            company: Set(draft.company.clone()),
            company_index: Set(found.company),
            address: Set(seal(&key, draft.address.as_ref())?),
            remarks: Set(seal(&key, draft.remarks.as_ref())?),
            raw: Set(seal(&key, draft.raw.as_ref())?),
            customer_type: Set(draft.customer_type),
            industry: Set(draft.industry.clone()),
            channel: Set(draft.channel),
            first_follow_up: Set(draft.first_follow_up),
            status: Set(draft.status),
            owner_id: Set(draft.owner),
            amount_fen: Set(draft.amount_fen),
            occurred_at: Set(draft.occurred_at),
            source_updated_at: Set(draft.source_updated_at),
            flags: Set(json!(draft.flags)),
            tags: Set(json!(draft.tags)),
            mapping_version: Set(self.source.mapping_version),
            person_index: Set(found.person),
            traits: Set(seal(&key, traits.as_ref())?),
            rules: Set((!draft.rules.is_empty()).then(|| json!(draft.rules))),
            held_for: Set(None),
            likeness: Set(Some(self.likeness(&draft)?)),
            index_epoch: Set(indexer.epoch.cast_signed()),
            ..Default::default()
        };
        let told = told(keys, id, &draft)?;
        Ok(Row { draft, id, external_id, former, digest, record: Box::new(record), told })
    }

    /// What the source calls a row, else a keyed hash of what its mapped cells say; and what it was called formerly. An id that
    /// is somebody's number or address is personal: it is stored as a keyed hash too. One that only counts rows counts together with
    /// whom the row is of.
    fn names(&self, draft: &Draft) -> Result<(String, Option<String>), Error> {
        let hash = |place: &str, text: &str| -> Result<String, Error> {
            let digest = self.keys().digest(place, text.as_bytes())?;
            Ok(format!("{UNNAMED}{}", crate::vault::hex(&digest).as_str()))
        };
        if let Some(id) = &draft.external_id {
            return Ok(match (draft.personal_id, draft.counted_id) {
                (true, _) => (hash("id", id)?, Some(id.clone())),
                (_, true) => (format!("{id}{}", &hash("counted", &whose(draft))?[..=8]), Some(id.clone())),
                _ => (id.clone(), None),
            });
        }
        let content = |content: Option<&Raw>| hash("content", content.map_or("", Pii::expose));
        Ok((content(draft.content.as_ref())?, Some(content(draft.raw.as_ref())?)))
    }

    /// The keyed digest of what a row says, as this version of the mapping and the words of today read it. Where its columns
    /// stand, what is not mapped, and how a cell is written do not matter.
    fn digest(&self, draft: &Draft) -> Result<Vec<u8>, Error> {
        let (words, at, by, mark) = match &draft.detail {
            Detail::Nothing => ([None; 3], None, None, None),
            Detail::FollowUp { at, by, summary } => ([summary.as_ref().map(Pii::expose), None, None], Some(at), *by, None),
            Detail::Order { items, state } => ([items.as_deref(), state.as_deref(), None], None, None, None),
            Detail::Ticket { topic, body, state, satisfaction } => {
                ([topic.as_deref(), body.as_ref().map(Pii::expose), state.as_deref()], None, None, *satisfaction)
            }
        };
        let told = (&draft.number, draft.amount_fen, draft.occurred_at, draft.source_updated_at, words, at, by, mark);
        self.keyed("row", &(self.source.mapping_version, self.says(draft), told, &draft.flags, &draft.unread), draft.customer_type)
    }

    /// A keyed digest of all that linking and survivorship look at but the time: records that are alike say the same.
    fn likeness(&self, draft: &Draft) -> Result<Vec<u8>, Error> {
        self.keyed("likeness", &self.says(draft), draft.customer_type)
    }

    fn says<'d>(&'d self, draft: &'d Draft) -> impl serde::Serialize + use<'d> {
        let personal = [
            draft.name.as_ref().map(Pii::expose),
            draft.family_name.as_ref().map(Pii::expose),
            draft.phone.as_ref().map(Pii::expose),
            draft.landline.as_ref().map(Pii::expose),
            draft.email.as_ref().map(Pii::expose),
            draft.address.as_ref().map(Pii::expose),
            draft.remarks.as_ref().map(Pii::expose),
        ];
        let open = (&draft.company, &draft.industry, draft.channel, draft.first_follow_up, draft.status, draft.owner, &draft.tags, &draft.traits);
        (&self.source.name, personal, open)
    }

    /// A customer's type counts where it is said: most sources say none.
    fn keyed(&self, place: &str, said: &impl serde::Serialize, customer_type: Option<i16>) -> Result<Vec<u8>, Error> {
        let mut said = zeroize::Zeroizing::new(serde_json::to_string(said).map_err(|error| Error::Invalid(error.to_string()))?);
        if let Some(code) = customer_type {
            said.push_str(&code.to_string());
        }
        Ok(self.keys().digest(place, said.as_bytes())?.to_vec())
    }

    fn reject(&self, reject: Reject) -> Result<row::ActiveModel, Error> {
        let mut row = self.fate(reject.row_number, reject.line, "rejected", None);
        let (key, wrapped, epoch) = self.keys().new_record(row::Model::TABLE, *row.id.as_ref())?;
        row.reason = Set(Some(reject.reason.to_owned()));
        row.detail = Set(Some(reject.detail));
        row.record_key = Set(Some(wrapped));
        row.key_epoch = Set(epoch.cast_signed());
        row.raw = Set(Some(key.seal(&reject.raw)?));
        Ok(row)
    }

    /// What became of a row that made no record.
    pub(super) fn fate(&self, row_number: i32, line: i32, outcome: &str, record: Option<Uuid>) -> row::ActiveModel {
        row::ActiveModel {
            id: Set(Uuid::now_v7()),
            import_id: Set(self.id),
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
}

impl Row {
    /// Gives it another name, which stays as it is.
    pub fn call(&mut self, name: String) {
        self.draft.external_id = Some(name.clone());
        (self.draft.personal_id, self.draft.counted_id) = (false, false);
        self.record.external_id = Set(name.clone());
        self.external_id = name;
    }

    /// As linking and survivorship look at it.
    pub fn member(&mut self, source: &crate::source::Source, customer: Option<Uuid>, held: Option<Uuid>) -> Member {
        let draft = std::mem::take(&mut self.draft);
        let key = |bytes: Option<&[u8]>| bytes.and_then(|bytes| link::Key::try_from(bytes).ok());
        let record = &self.record;
        Member {
            id: self.id,
            customer,
            link: link::Record {
                phone: key(record.phone_index.as_ref().as_ref().map(BlindIndex::bytes)),
                email: key(record.email_index.as_ref().as_ref().map(BlindIndex::bytes)),
                person: key(record.person_index.as_ref().as_deref()),
                name: draft.name,
                family: draft.family_name,
                held: held.map(|customer| customer.as_u128()),
            },
            company_key: key(record.company_index.as_ref().as_deref()),
            digest: self.digest.clone(),
            likeness: record.likeness.as_ref().clone(),
            source: source.name.clone(),
            position: source.position,
            at: draft.source_updated_at.or(draft.occurred_at),
            phone: draft.phone,
            landline: draft.landline,
            email: draft.email,
            address: draft.address,
            remarks: draft.remarks,
            company: draft.company,
            customer_type: draft.customer_type,
            industry: draft.industry,
            channel: draft.channel,
            first_follow_up: draft.first_follow_up,
            status: draft.status,
            owner: draft.owner,
            tags: draft.tags.into_iter().map(|(category, name)| (category.to_owned(), name)).collect(),
            traits: draft.traits,
            traited: source.mapping.columns.iter().any(|column| column.compare.is_some()),
        }
    }
}

/// Whom a row is of: by its name, else by the first of what else it may be known by.
fn whose(draft: &Draft) -> zeroize::Zeroizing<String> {
    let known = [
        draft.name.as_ref().map(Pii::expose),
        draft.phone.as_ref().map(Pii::expose),
        draft.email.as_ref().map(Pii::expose),
        draft.landline.as_ref().map(Pii::expose),
        draft.company.as_deref(),
        draft.family_name.as_ref().map(Pii::expose),
    ];
    zeroize::Zeroizing::new(known.into_iter().flatten().next().unwrap_or_default().to_owned())
}

fn told(keys: &Keyring, record: Uuid, draft: &Draft) -> Result<Told, Error> {
    let id = Uuid::now_v7();
    let number = draft.number.as_deref().unwrap_or_default();
    Ok(match &draft.detail {
        Detail::Nothing => Told::Nothing,
        Detail::Order { items, state } => Told::Order(order::table::ActiveModel {
            id: Set(id),
            customer_id: Set(None),
            record_id: Set(Some(record)),
            number: Set(number.to_owned()),
            amount_fen: Set(draft.amount_fen),
            ordered_at: Set(draft.occurred_at),
            status: Set(state.clone()),
            items: Set(items.clone()),
            ..Default::default()
        }),
        Detail::FollowUp { at, by, summary } => {
            let (key, wrapped, epoch) = keys.new_record(contact::Row::TABLE, id)?;
            Told::Contact(contact::table::ActiveModel {
                id: Set(id),
                customer_id: Set(None),
                record_id: Set(Some(record)),
                at: Set(*at),
                channel: Set("first_follow_up".to_owned()),
                record_key: Set(Some(wrapped)),
                key_epoch: Set(epoch.cast_signed()),
                summary: Set(seal(&key, summary.as_ref())?),
                by_user: Set(*by),
                result: Set(None),
                ..Default::default()
            })
        }
        Detail::Ticket { topic, body, state, satisfaction } => {
            let (key, wrapped, epoch) = keys.new_record(ticket::Row::TABLE, id)?;
            Told::Ticket(ticket::table::ActiveModel {
                id: Set(id),
                customer_id: Set(None),
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
            })
        }
    })
}

fn seal<K: Pii>(key: &RecordKey, value: Option<&K>) -> Result<Option<Sealed<K>>, Error> {
    Ok(value.map(|value| key.seal(value)).transpose()?)
}
