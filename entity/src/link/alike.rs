//! Records that say what their customer says already: the next order of a customer who has not moved. They belong to it and
//! change nothing of it, so neither its records need to be opened nor its golden values derived.

use std::collections::{HashMap, HashSet};

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Asterisk, Func};
use sea_orm::{ConnectionTrait, QuerySelect, QueryTrait};

use super::member::Sharing;
use super::{Member, Run, Shared, Touched};
use crate::record::{Column, Entity};
use crate::{Error, Scope};

/// Finds fresh records whose customer is certain without a look at it: all that shares a key with them is one customer's,
/// all records of that customer say the same as they do, and nobody else in the batch shares a key and says otherwise.
/// Customers of all others are added to `affected`.
pub(super) async fn find(scope: &Scope, touched: &Touched, near: &[Sharing], affected: &mut HashSet<Uuid>, run: &Run) -> Result<HashMap<Uuid, Uuid>, Error> {
    let mut stored: HashMap<Shared, Vec<&Sharing>> = HashMap::new();
    for sharing in near {
        stored.entry(sharing.shared).or_default().push(sharing);
    }
    let mut said: HashMap<Shared, HashSet<Option<&[u8]>>> = HashMap::new();
    for member in &touched.fresh {
        for key in member.keys() {
            said.entry(key).or_default().insert(member.likeness.as_deref());
        }
    }
    let certain = |member: &Member| -> Option<Uuid> {
        let likeness = member.likeness.as_deref()?;
        if member.customer.is_some() || member.keys().any(|key| run.is_spent(&key) || said.get(&key).is_some_and(|said| said.len() > 1)) {
            return None;
        }
        let mut sharing = member.keys().filter_map(|key| stored.get(&key)).flatten();
        let customer = sharing.next().filter(|first| first.likeness.as_deref() == Some(likeness))?.customer?;
        sharing.all(|other| other.customer == Some(customer) && other.likeness.as_deref() == Some(likeness)).then_some(customer)
    };
    let mut alike: HashMap<Uuid, Uuid> = touched.fresh.iter().filter_map(|member| Some((member.id, certain(member)?))).collect();
    let uniform = uniform(scope, alike.values().copied().collect()).await?;
    alike.retain(|_, customer| uniform.contains(customer));
    // What the others touch is looked at whole, and whoever belongs to it with it.
    let others = touched.fresh.iter().filter(|member| !alike.contains_key(&member.id)).flat_map(Member::keys).chain(touched.keys.iter().copied());
    affected.extend(others.filter_map(|key| stored.get(&key)).flatten().filter_map(|sharing| sharing.customer));
    alike.retain(|_, customer| !affected.contains(customer));
    Ok(alike)
}

/// Customers of which all records say the same, so that one stands for all, and none is held by hand.
async fn uniform(scope: &Scope, customers: HashSet<Uuid>) -> Result<HashSet<Uuid>, Error> {
    let customers: Vec<Uuid> = customers.into_iter().collect();
    let mut uniform = HashSet::new();
    for chunk in customers.chunks(5_000) {
        let select = scope.find::<Entity>().filter(scope.among(Column::CustomerId, chunk.iter().copied())).filter(Column::Repeats.is_null());
        let select = select.select_only().column(Column::CustomerId).group_by(Column::CustomerId);
        let select = select.expr_as(Func::count(Expr::col(Asterisk)), "speaking").column_as(Column::HeldFor.count(), "held");
        let counted: Vec<(Uuid, i64, i64)> = scope.tx().tuples(select.build(scope.tx().get_database_backend())).await?;
        uniform.extend(counted.into_iter().filter(|(_, speaking, held)| (*speaking, *held) == (1, 0)).map(|(id, ..)| id));
    }
    Ok(uniform)
}
