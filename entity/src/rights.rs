//! What a customer may demand short of erasure: that a consent counts at once, and that data is stored and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use policy::{Act, Field, Verb};
use sea_orm::ActiveValue::Set;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;
use serde_json::json;

use crate::consent::table as consents;
use crate::customer::{self, Customer, table as customers};
use crate::{Change, Error, Scope, purpose};

/// Writes down that a customer gave or withdrew consent to a purpose. A purpose whose consent is withdrawn is closed from the
/// next session on: whoever declares it sees nothing personal of the customer.
///
/// # Errors
/// [`Error::Denied`] to whom may not write consents; [`Error::Invalid`] when the purpose is not one of the tenant's;
/// [`Error::NotFound`].
pub async fn consent(change: &Change, id: Uuid, code: &str, version: &str, given: bool) -> Result<Customer, Error> {
    let customer = customer::get(change, id).await?.ok_or(Error::NotFound)?;
    if !change.matrix().allows(Field::Consents, Act::Write, change.principal().reach(&customer.whose())) {
        change.deny(Field::Consents.entry().key);
        return Err(Error::Denied);
    }
    let scope = change.scope();
    let known = purpose::codes(scope).await?;
    if !known.contains(code) {
        return Err(Error::Invalid(format!("purpose: not one of this tenant's ({})", known.into_iter().collect::<Vec<_>>().join(", "))));
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

/// Restricts a customer's data to storage, or lifts that: meanwhile every role sees nothing of it.
///
/// # Errors
/// [`Error::Denied`] to whom may not see to the rights of persons; [`Error::NotFound`]; [`Error::Invalid`] without a reason.
pub async fn restrict(change: &Change, id: Uuid, restricted: bool, reason: &str) -> Result<Customer, Error> {
    change.permit(Verb::PersonRights)?;
    if reason.trim().is_empty() {
        return Err(Error::Invalid("reason: say why, as the register of requests will show it".to_owned()));
    }
    let customer = customer::get(change, id).await?.ok_or(Error::NotFound)?;
    let since = restricted.then(|| customer.restricted_at().unwrap_or(change.now()));
    let values = vec![(customers::Column::RestrictedAt, Expr::value(since)), (customers::Column::UpdatedAt, Expr::value(change.now()))];
    change.scope().update_where::<customers::Entity>(customers::Column::Id.eq(customer.id()), values).await?;
    change.note("restricted", restricted);
    change.note("reason", reason.trim());
    customer::get(change, customer.id()).await?.ok_or(Error::NotFound)
}

/// Writes on a customer what it has closed: of those that went up in it too, for of several consents the strictest counts, and
/// a restriction of one restricts all.
pub(crate) async fn close(scope: &Scope, id: Uuid) -> Result<(), Error> {
    let family = customer::with_merged(scope, id).await?;
    let rows = scope.find::<consents::Entity>().filter(consents::Column::CustomerId.is_in(family.iter().copied()));
    let rows = rows.order_by_asc(consents::Column::At).order_by_asc(consents::Column::Id).all(scope.tx()).await?;
    let last: BTreeMap<(Uuid, String), bool> = rows.into_iter().map(|row| ((row.customer_id, row.purpose), row.given)).collect();
    let withdrawn: BTreeSet<String> = last.into_iter().filter(|(_, given)| !given).map(|((_, purpose), _)| purpose).collect();
    let codes = (!withdrawn.is_empty()).then(|| json!(withdrawn));
    let mut values = vec![(customers::Column::ClosedPurposes, Expr::value(codes))];
    let restricted = scope.find::<customers::Entity>().filter(customers::Column::Id.is_in(family)).filter(customers::Column::RestrictedAt.is_not_null());
    if let Some(row) = restricted.order_by_asc(customers::Column::RestrictedAt).one(scope.tx()).await? {
        values.push((customers::Column::RestrictedAt, Expr::value(row.restricted_at)));
    }
    scope.update_where::<customers::Entity>(customers::Column::Id.eq(id), values).await?;
    Ok(())
}
