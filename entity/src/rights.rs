//! What a customer may demand short of erasure: that a consent counts at once, and that data is stored and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use policy::{Act, Field, Verb};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QueryOrder, QuerySelect};
use serde_json::json;

use crate::consent::table as consents;
use crate::customer::{self, Customer, table as customers};
use crate::{Change, Error, Scope, idempotency, purpose, tenant};

/// Writes down that a customer gave or withdrew consent to a purpose. A purpose whose consent is withdrawn is closed from the
/// next session on: whoever declares it sees nothing personal of the customer.
///
/// # Errors
/// [`Error::Denied`] to whom may not write consents; [`Error::Invalid`] when the purpose is not one of the tenant's;
/// [`Error::NotFound`].
pub async fn consent(change: &Change, id: Uuid, code: &str, version: &str, given: bool) -> Result<Customer, Error> {
    let scope = change.scope();
    // Nobody merges or splits the customer meanwhile.
    tenant::lock(scope).await?;
    let customer = customer::get(change, id).await?.ok_or(Error::NotFound)?;
    if !change.matrix().allows(Field::Consents, Act::Write, change.principal().reach(&customer.whose())) {
        change.deny(Field::Consents.entry().key);
        return Err(Error::Denied);
    }
    purpose::known(scope, code).await?;
    if !given {
        idempotency::forget(scope).await?;
    }
    let row = consents::ActiveModel {
        id: Set(Uuid::now_v7()),
        customer_id: Set(customer.id()),
        purpose: Set(code.to_owned()),
        version: Set(version.trim().to_owned()),
        given: Set(given),
        at: Set(change.now()),
        actor: Set(change.principal().subject().to_owned()),
        ..Default::default()
    };
    scope.insert(vec![row]).await?;
    close(scope, customer.id()).await?;
    change.note("consent", code);
    change.note("given", given);
    customer::get(change, customer.id()).await?.ok_or(Error::NotFound)
}

/// Restricts a customer's data to storage, or lifts that, also of those that went up in it: meanwhile every role sees nothing of
/// it.
///
/// # Errors
/// [`Error::Denied`] to whom may not see to the rights of persons; [`Error::NotFound`]; [`Error::Invalid`] without a reason.
pub async fn restrict(change: &Change, id: Uuid, restricted: bool, reason: &str) -> Result<Customer, Error> {
    change.permit(Verb::PersonRights)?;
    if reason.trim().is_empty() {
        return Err(Error::Invalid("reason: say why, as the register of requests will show it".to_owned()));
    }
    let scope = change.scope();
    tenant::lock(scope).await?;
    let customer = customer::get(change, id).await?.ok_or(Error::NotFound)?;
    let since = restricted.then(|| customer.restricted_at().unwrap_or(change.now()));
    let whom = if restricted { vec![customer.id()] } else { customer::with_merged(scope, customer.id()).await? };
    let values = vec![(customers::Column::RestrictedAt, Expr::value(since)), (customers::Column::UpdatedAt, Expr::value(change.now()))];
    scope.update_where::<customers::Entity>(customers::Column::Id.is_in(whom), values).await?;
    idempotency::forget(scope).await?;
    change.note("restricted", restricted);
    change.note("reason", reason.trim());
    customer::get(change, customer.id()).await?.ok_or(Error::NotFound)
}

/// Writes on a customer what it has closed: of those that went up in it too, for of several consents the strictest counts, and
/// a restriction of one restricts all.
pub(crate) async fn close(scope: &Scope, id: Uuid) -> Result<(), Error> {
    let family = customer::with_merged(scope, id).await?;
    let withdrawn: BTreeSet<String> = withdrawn(scope, &family).await?.into_iter().map(|row| row.purpose).collect();
    let codes = (!withdrawn.is_empty()).then(|| json!(withdrawn));
    let mut values = vec![(customers::Column::ClosedPurposes, Expr::value(codes))];
    let restricted = scope.find::<customers::Entity>().filter(customers::Column::Id.is_in(family)).filter(customers::Column::RestrictedAt.is_not_null());
    if let Some(row) = restricted.order_by_asc(customers::Column::RestrictedAt).one(scope.tx()).await? {
        values.push((customers::Column::RestrictedAt, Expr::value(row.restricted_at)));
    }
    scope.update_where::<customers::Entity>(customers::Column::Id.eq(id), values).await?;
    Ok(())
}

/// The withdrawals that hold: of each of these customers and each purpose what was said last, where that was no.
async fn withdrawn(scope: &Scope, customers: &[Uuid]) -> Result<Vec<consents::Model>, Error> {
    let rows = scope.find::<consents::Entity>().filter(consents::Column::CustomerId.is_in(customers.iter().copied()));
    let rows = rows.order_by_asc(consents::Column::At).order_by_asc(consents::Column::Id).all(scope.tx()).await?;
    let last: BTreeMap<(Uuid, String), consents::Model> = rows.into_iter().map(|row| ((row.customer_id, row.purpose.clone()), row)).collect();
    Ok(last.into_values().filter(|row| !row.given).collect())
}

/// Records went from one customer to another, as these pairs say: what the one has closed, the other has closed too. The person
/// who closed it may be either.
pub(crate) async fn carry(change: &Change, moved: &BTreeSet<(Uuid, Uuid)>) -> Result<(), Error> {
    let scope = change.scope();
    let from: Vec<Uuid> = moved.iter().map(|(from, _)| *from).collect::<BTreeSet<_>>().into_iter().collect();
    let mut closing: HashMap<Uuid, Option<DateTime<Utc>>> = HashMap::new();
    for chunk in from.chunks(5_000) {
        let select = scope.find::<customers::Entity>().filter(scope.among(customers::Column::Id, chunk.iter().copied()));
        let select = select.filter(customers::Column::RestrictedAt.is_not_null().or(customers::Column::ClosedPurposes.is_not_null())).select_only();
        closing.extend(
            select.columns([customers::Column::Id, customers::Column::RestrictedAt]).into_tuple::<(Uuid, Option<DateTime<Utc>>)>().all(scope.tx()).await?,
        );
    }
    for (from, to) in moved {
        let Some(since) = closing.get(from) else { continue };
        let said: BTreeSet<String> = withdrawn(scope, &[*to]).await?.into_iter().map(|row| row.purpose).collect();
        let theirs = withdrawn(scope, &customer::with_merged(scope, *from).await?).await?;
        let theirs: BTreeMap<String, consents::Model> = theirs.into_iter().map(|row| (row.purpose.clone(), row)).collect();
        let rows = theirs.into_values().filter(|row| !said.contains(&row.purpose)).map(|row| consents::ActiveModel {
            id: Set(Uuid::now_v7()),
            customer_id: Set(*to),
            at: Set(change.now()),
            actor: Set(change.principal().subject().to_owned()),
            ..row.into()
        });
        scope.insert(rows.collect()).await?;
        if since.is_some() {
            let open = customers::Column::Id.eq(*to).and(customers::Column::RestrictedAt.is_null());
            scope.update_where::<customers::Entity>(open, vec![(customers::Column::RestrictedAt, Expr::value(*since))]).await?;
        }
        close(scope, *to).await?;
    }
    Ok(())
}
