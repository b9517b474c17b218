//! What people write about customers: a new one, corrections, handing over. Each value is cleaned and validated as an import's
//! cell is, and each field needs its own permission.

use std::collections::BTreeSet;

use policy::field::kinds::{Email, Name, Phone};
use policy::{Act, Field, Pii};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::questions::{require, within};
use super::{Customer, get};
use crate::audit::cells;
use crate::guard::{Closed, Whose};
use crate::link::{self, Touched, Why};
use crate::pin::{self, Pins};
use crate::record::Draft;
use crate::{Change, Error, contact, people};

/// A value that is to stand in a field.
pub type Written<'w> = (Field, &'w str);

/// The customer, if the caller may write these fields of it. Holds the tenant from here on: an import that holds it derives
/// customers by their pins.
pub(crate) async fn writable(change: &Change, id: Uuid, fields: impl IntoIterator<Item = Field>) -> Result<Customer, Error> {
    crate::tenant::lock(change.scope()).await?;
    let customer = get(change, id).await?.ok_or(Error::NotFound)?;
    permitted(change, &customer.whose(), fields)?;
    change.met(customer.id());
    // Whatever is written of it: whoever follows the log sees that it changed.
    change.scope().written().these(cells::CUSTOMER, [customer.id()]);
    Ok(customer)
}

fn permitted(change: &Change, whose: &Whose, fields: impl IntoIterator<Item = Field>) -> Result<(), Error> {
    let reach = change.principal().reach(whose);
    match fields.into_iter().find(|field| !change.matrix().allows(*field, Act::Write, reach)) {
        None => Ok(()),
        Some(field) => {
            change.deny(field.entry().key);
            Err(Error::Denied)
        }
    }
}

/// Corrects fields of a customer: what stands there is pinned, whatever the sources say. All faults are told at once.
///
/// # Errors
/// [`Error::Denied`], [`Error::NotFound`]; [`Error::Conflict`] when the customer has another version by now;
/// [`Error::Faults`] names each field and what it expects, never a value.
pub async fn update(change: &Change, id: Uuid, version: Option<i32>, written: &[Written<'_>], reason: &str) -> Result<Customer, Error> {
    let customer = writable(change, id, written.iter().map(|(field, _)| *field)).await?;
    if version.is_some_and(|version| version != customer.current()) {
        return Err(Error::Conflict);
    }
    let (pins, faults) = read(change, Pins::default(), written).await?;
    if !faults.is_empty() {
        return Err(Error::Faults(faults));
    }
    for (field, _) in written {
        pin::put(change, &customer, *field, &pins, reason).await?;
    }
    change.note("corrected", written.iter().map(|(field, _)| field.entry().key).collect::<Vec<_>>());
    derive(change, &[customer.id()]).await?;
    get(change, customer.id()).await?.ok_or(Error::NotFound)
}

/// What a person has written, cleaned, beside what there was; and every fault of it.
async fn read(change: &Change, mut pins: Pins, written: &[Written<'_>]) -> Result<(Pins, Vec<String>), Error> {
    let mut faults = Vec::new();
    for (field, value) in written {
        match pin::read(change, &mut pins, *field, value).await {
            Ok(()) => {}
            Err(Error::Invalid(fault)) => faults.push(fault),
            Err(error) => return Err(error),
        }
    }
    Ok((pins, faults))
}

/// Derives customers anew.
pub(crate) async fn derive(change: &Change, customers: &[Uuid]) -> Result<(), Error> {
    let mut run = link::Run::of(change.scope()).await?;
    let touched = Touched { customers: customers.to_vec(), ..Touched::default() };
    link::settle(change, &mut run, touched, Why { kind: "pinned", reason: "pinned" }).await?;
    Ok(())
}

/// The most customers of one handover.
const HANDED: u64 = 500;

/// Hands all customers of one person over to another, with a note on each timeline. Returns how many there were, at most 500:
/// call again while it is so many.
///
/// # Errors
/// [`Error::Denied`] to whom may not write the owner of one of them; [`Error::Invalid`] when there is no such user.
pub async fn hand_over(change: &Change, from: &str, to: &str, reason: &str) -> Result<u64, Error> {
    use super::table::{Column, Entity};
    use sea_orm::{QueryOrder, QuerySelect};
    let reach = require(change, Act::Write, Field::Owner)?;
    let scope = change.scope();
    crate::tenant::lock(scope).await?;
    let leaving = people::anybody(scope, from).await?.ok_or_else(|| Error::Invalid("from: there is no such user".to_owned()))?;
    let heir = people::of_subject(scope, to).await?.ok_or_else(|| Error::Invalid("to: there is no such user who works here".to_owned()))?;
    let pins = Pins { owner: Some(heir), ..Pins::default() };
    let theirs = scope.find::<Entity>().filter(Column::OwnerId.eq(leaving)).filter(Column::MergedInto.is_null());
    // Restricted ones are stored and nothing else; they would stand before the others for ever.
    let theirs = theirs.filter(Column::RestrictedAt.is_null()).order_by_asc(Column::Id).limit(HANDED);
    let ids: Vec<Uuid> = theirs.clone().select_only().column(Column::Id).into_tuple().all(scope.tx()).await?;
    let within = theirs.filter(within(change, reach)).select_only().column(Column::Id).into_tuple::<Uuid>().all(scope.tx()).await?;
    if within != ids {
        change.deny(Field::Owner.entry().key);
        return Err(Error::Denied);
    }
    let customers = super::of_keys(change, &ids).await?;
    for customer in &customers {
        permitted(change, &customer.whose(), [Field::Owner])?;
    }
    for customer in &customers {
        pin::put(change, customer, Field::Owner, &pins, reason).await?;
        change.met(customer.id());
    }
    let ids: Vec<Uuid> = customers.iter().map(Customer::id).collect();
    contact::note(change, &ids, "handover", reason).await?;
    derive(change, &ids).await?;
    change.note("handed_over", ids.len());
    Ok(ids.len() as u64)
}

/// What a person has written, as a cleaned row. Without an owner it is the writer's.
async fn draft(change: &Change, written: &[Written<'_>]) -> Result<Draft, Error> {
    let (read, mut faults) = read(change, Pins { owner: change.principal().user, ..Pins::default() }, written).await?;
    if written.iter().all(|(field, _)| !matches!(field, Field::Name | Field::Phone | Field::Landline | Field::Email | Field::Company)) {
        faults.push("Customer.name: a customer has a name, a number, an address of mail or a company".to_owned());
    }
    if !faults.is_empty() {
        return Err(Error::Faults(faults));
    }
    // Linking tells whether somebody is known by these: that is a search.
    if let Some(phone) = &read.phone {
        change.try_value::<Phone>(&Field::Phone.masked(phone.expose()), phone.expose()).await?;
    }
    if let Some(email) = &read.email {
        change.try_value::<Email>(&Field::Email.masked(email.expose()), email.expose()).await?;
    }
    if let (Some(name), Some(company)) = (&read.name, &read.company) {
        change.try_value::<Name>(company, &format!("{company}\n{}", name.expose())).await?;
    }
    let Pins { name, phone, landline, email, address, remarks, company, industry, channel, first_follow_up, status, owner, .. } = read;
    Ok(Draft {
        external_id: Some(Uuid::now_v7().simple().to_string()),
        row_number: 1,
        line: 1,
        name,
        phone,
        landline,
        email,
        address,
        remarks,
        company,
        industry,
        channel,
        first_follow_up,
        status,
        owner,
        source_updated_at: Some(change.now()),
        ..Draft::default()
    })
}

/// Refuses a record that would become part of a customer that the caller may not write so, or of several. The answer is one and
/// the same, whoever it is.
async fn alone_or_theirs(change: &Change, run: &link::Run, member: &link::Member, written: &[Written<'_>]) -> Result<(), Error> {
    let keys: Vec<link::Shared> = member.keys().collect();
    let known: BTreeSet<Uuid> = run.known_by(change, &keys).await?.into_iter().collect();
    let reach = |customer: &Customer| change.principal().reach(&customer.whose());
    let theirs = match known.iter().collect::<Vec<_>>()[..] {
        [] => true,
        [one] => get(change, *one).await?.is_some_and(|customer| {
            let mut fields = written.iter().map(|(field, _)| *field);
            fields.all(|field| change.matrix().allows(field, Act::Write, reach(&customer)))
        }),
        _ => false,
    };
    if theirs {
        return Ok(());
    }
    Err(Error::Invalid("Customer.phone: somebody is known by this number, address or name already; find them, or ask the data steward".to_owned()))
}

/// Makes a customer from what a person has written. It is linked like every record: when a customer whom the caller may write so
/// is known by the same number or address, it becomes theirs.
///
/// # Errors
/// [`Error::Denied`] to whom may not write these fields of customers of their own; [`Error::Faults`] for every field that is not
/// what it should be; [`Error::SearchBudget`] to whom has tried too many numbers and addresses.
pub async fn create(change: &Change, written: &[Written<'_>]) -> Result<Customer, Error> {
    let principal = change.principal();
    let mine = Whose { customer: Uuid::nil(), owner: principal.user, department: principal.department, closed: Closed::Nothing };
    permitted(change, &mine, written.iter().map(|(field, _)| *field))?;
    let scope = change.scope();
    crate::tenant::lock(scope).await?;
    let row = crate::import::by_hand(change, draft(change, written).await?).await?;
    let mut run = link::Run::of(scope).await?;
    alone_or_theirs(change, &run, &row.member, written).await?;
    let touched = Touched { fresh: vec![row.member], ..Touched::default() };
    let settled = link::settle(change, &mut run, touched, Why { kind: "linked", reason: "by the rules, as it was written" }).await?;
    let customer = settled.customers.get(&row.id).copied().ok_or(Error::NotFound)?;
    let mut record = row.record;
    record.customer_id = Set(Some(customer));
    record.imported_at = Set(change.now());
    scope.insert(vec![record]).await?;
    change.met(customer);
    get(change, customer).await?.ok_or(Error::NotFound)
}
