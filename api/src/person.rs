//! What a company holds about a person, as the person may demand it: everything in the clear, where it came from, and who
//! has seen it.

use entity::child::hanging;
use entity::customer::{Customer, background};
use entity::{Error, Guarded, Session, Stretch, Wanted, audit, consent, contact, order, record, relation, ticket};
use policy::{Pii, Verb, View};
use serde_json::{Value, json};

/// More of a kind than anybody has.
const ALL: u64 = 100_000;

/// The copy of one person's data: objects and arrays of texts and numbers; instants in RFC 3339, amounts in yuan.
///
/// # Errors
/// [`Error::Denied`] to whom may not see to the rights of persons; when something would only come masked, [`Error::PurposeRequired`]
/// if no purpose is declared, else [`Error::Invalid`], because it does not let the caller see all or the customer is restricted.
pub async fn copy(session: &Session, customer: &Customer) -> Result<Value, Error> {
    session.permit(Verb::PersonRights)?;
    let before = hidden(session);
    let (id, one) = (customer.id(), std::slice::from_ref(customer));
    let background = background(session, one).await?;
    let mut copy = json!({
        "number": session.tell(customer.number()),
        "name": clear(session, &customer.name())?,
        "phone": clear(session, &customer.phone())?,
        "landline": clear(session, &customer.landline())?,
        "email": clear(session, &customer.email())?,
        "address": clear(session, &customer.address())?,
        "remarks": clear(session, &customer.remarks())?,
        "company": session.tell(customer.company()).flatten(),
        "industry": session.tell(customer.industry()).flatten(),
        "channel": session.tell(customer.channel()).flatten().map(policy::Channel::zh),
        "status": session.tell(customer.status()).flatten().map(policy::Status::zh),
        "valueTier": session.tell(customer.value_tier()).flatten().map(policy::ValueTier::zh),
        "firstFollowUp": session.tell(customer.first_follow_up()).flatten(),
        "updatedAt": session.tell(customer.updated_at()),
        "provenance": background.get(&id).and_then(|behind| session.tell(behind.provenance.clone())),
    });
    let mut section = |name: &str, rows: Vec<Value>| copy[name] = rows.into();
    let all = Wanted { orders: Some(ALL), contacts: Some(ALL), tickets: Some(ALL), lineages: None, tags: true };
    let hanging = hanging(session, one, &all, Stretch::default()).await?;
    section(
        "tags",
        hanging
            .tags
            .mine(id)
            .iter()
            .filter_map(|tag| session.tell(tag.label()))
            .map(|(name, category)| json!({ "category": category, "name": name }))
            .collect(),
    );
    let order = |row: &order::Order| {
        json!({
            "number": session.tell(row.number()),
            "amount": session.tell(row.amount_fen()).flatten().map(policy::clean::amount::yuan),
            "orderedAt": session.tell(row.ordered_at()).flatten(),
            "status": session.tell(row.status()).flatten(),
            "items": session.tell(row.items()).flatten(),
        })
    };
    section("orders", hanging.orders.mine(id).iter().map(order).collect());
    let contact = |row: &contact::Contact| {
        Ok(json!({
            "at": session.tell(row.at()),
            "channel": session.tell(row.channel()),
            "summary": clear(session, &row.summary())?,
            "result": session.tell(row.result()).flatten(),
        }))
    };
    section("contacts", hanging.contacts.mine(id).iter().map(contact).collect::<Result<_, Error>>()?);
    let ticket = |row: &ticket::Ticket| {
        Ok(json!({
            "number": session.tell(row.number()),
            "openedAt": session.tell(row.opened_at()).flatten(),
            "type": session.tell(row.kind()).flatten(),
            "status": session.tell(row.status()).flatten(),
            "body": clear(session, &row.body())?,
        }))
    };
    section("tickets", hanging.tickets.mine(id).iter().map(ticket).collect::<Result<_, Error>>()?);
    let records = record::of(session, customer).await?;
    let record = |row: &record::Record| {
        let (external_id, line, imported_at) = session.tell(row.origin()).map_or((None, None, None), |(id, line, at)| (Some(id), Some(line), Some(at)));
        Ok(json!({
            "externalId": external_id,
            "importedAt": imported_at,
            "line": line,
            "cells": clear(session, &row.raw())?.and_then(|cells| serde_json::from_str::<Value>(&cells).ok()),
        }))
    };
    section("records", records.iter().map(record).collect::<Result<_, Error>>()?);
    let consents = consent::of(session, one).await?.remove(&id).unwrap_or_default();
    let state = |(purpose, given, at)| json!({ "purpose": purpose, "given": given, "at": at });
    section("consents", consents.iter().filter_map(|row| session.tell(row.state())).map(state).collect());
    let relations = relation::of(session, one).await?.remove(&id).unwrap_or_default();
    section("relations", relations.iter().filter_map(|row| session.tell(row.link())).map(|(kind, _)| json!({ "kind": kind })).collect());
    let looks = session.tell(audit::seen_by(session, customer, ALL).await?).unwrap_or_default();
    let look = |look: audit::Look| {
        json!({
            "at": look.event.at, "actor": look.event.actor, "level": look.level(), "purpose": look.event.purpose,
            "fields": look.seen.iter().map(|(field, _)| field).collect::<Vec<_>>(),
        })
    };
    section("seenBy", looks.into_iter().map(look).collect());
    if hidden(session) > before {
        if session.principal().purpose().is_none() {
            return Err(Error::PurposeRequired);
        }
        return Err(Error::Invalid(
            "purpose: a copy with gaps is no copy; declare a purpose for which this role sees everything clear, and lift a restriction first".to_owned(),
        ));
    }
    Ok(copy)
}

fn clear<K: Pii>(session: &Session, value: &Guarded<K>) -> Result<Option<String>, Error> {
    Ok(session.show(value, View::Clear)?)
}

/// How many values came masked or not at all.
fn hidden(session: &Session) -> i32 {
    session.disclosure().values().map(|[_, masked, withheld]| masked + withheld).sum()
}

/// The same as a table: where, and what. Cells that a spreadsheet would run are defused.
///
/// # Errors
/// None; the writer's are passed on.
pub fn csv(copy: &Value) -> Result<String, Error> {
    let broken = || Error::Invalid("the copy cannot be written".to_owned());
    let mut rows = Vec::new();
    flatten(String::new(), copy, &mut rows);
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(["what", "value"]).map_err(|_| broken())?;
    for (path, value) in rows {
        out.write_record([path, crate::intake::defused(&value)]).map_err(|_| broken())?;
    }
    String::from_utf8(out.into_inner().map_err(|_| broken())?).map_err(|_| broken())
}

fn flatten(path: String, value: &Value, rows: &mut Vec<(String, String)>) {
    let under = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Null => {}
        Value::Object(fields) => fields.iter().for_each(|(name, value)| flatten(under(name), value, rows)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, value)| flatten(under(&(at + 1).to_string()), value, rows)),
        Value::String(text) => rows.push((path, text.clone())),
        other => rows.push((path, other.to_string())),
    }
}
