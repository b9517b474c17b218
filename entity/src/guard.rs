//! Values together with whose they are. Nothing in a row can be read without them, and nothing in them without a session.

use std::sync::Arc;

use policy::{Field, Pii};
use uuid::Uuid;

use crate::vault::{Sealed, Wrapped};

/// Whose a value is: the customer it tells of, and who looks after that customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whose {
    pub(crate) customer: Uuid,
    pub(crate) owner: Option<Uuid>,
    pub(crate) department: Option<Uuid>,
    pub(crate) closed: Closed,
}

/// What a customer, or the law, has closed to the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Closed {
    /// Nothing: the policy decides.
    #[default]
    Nothing,
    /// Everything personal: the customer has withdrawn consent to the purpose that the caller declared.
    Personal,
    /// Everything: the data may be stored and nothing else.
    Everything,
}

/// Stored rows with sealed cells. Named nowhere outside this crate.
pub trait Vaulted {
    /// The table's name, part of every cell's place.
    const TABLE: &'static str;
    fn row(&self) -> Uuid;
    fn record_key(&self) -> Wrapped<'_>;
}

/// A row of some table that reaches a customer: the row, and whose it is.
pub struct Reaching<M> {
    pub(crate) whose: Whose,
    pub(crate) model: Arc<M>,
}

impl<M> Clone for Reaching<M> {
    fn clone(&self) -> Self {
        Self { whose: self.whose, model: Arc::clone(&self.model) }
    }
}

impl<M> Reaching<M> {
    pub(crate) fn new(whose: Whose, model: M) -> Self {
        Self { whose, model: Arc::new(model) }
    }

    /// An open field of this row.
    pub(crate) fn open<T>(&self, field: Field, value: T) -> Open<T> {
        Open { whose: self.whose, field, value }
    }
}

impl<M: Vaulted> Reaching<M> {
    /// A sealed field of this row, filled or not: whether it is filled is for the session to tell.
    pub(crate) fn guard<K: Pii>(&self, cell: impl FnOnce(&M) -> &Option<Sealed<K>>) -> Guarded<K> {
        let record_key = self.model.record_key().0.map(<[u8]>::to_vec);
        Guarded { whose: self.whose, table: M::TABLE, row: self.model.row(), record_key, sealed: cell(&self.model).clone() }
    }
}

/// A sealed value together with whose it is: the one form in which personal data travels. Only a row makes one.
#[derive(Clone)]
pub struct Guarded<K> {
    pub(crate) whose: Whose,
    pub(crate) table: &'static str,
    pub(crate) row: Uuid,
    pub(crate) record_key: Option<Vec<u8>>,
    pub(crate) sealed: Option<Sealed<K>>,
}

/// A value that is not personal, together with whose it is and which field: decided like every other.
#[derive(Clone)]
pub struct Open<T> {
    pub(crate) whose: Whose,
    pub(crate) field: Field,
    pub(crate) value: T,
}

impl<M> Reaching<M> {
    /// Rows by the customer that they reach; each takes over whose the customer is. Rows of other customers are left out.
    pub(crate) fn by_customer(
        customers: &[crate::customer::Customer],
        rows: Vec<M>,
        customer_of: impl Fn(&M) -> Option<Uuid>,
    ) -> std::collections::HashMap<Uuid, Vec<Self>> {
        let mut by: std::collections::HashMap<Uuid, (Whose, Vec<Self>)> =
            customers.iter().map(|customer| (customer.id(), (customer.whose(), Vec::new()))).collect();
        for row in rows {
            if let Some((whose, mine)) = customer_of(&row).and_then(|id| by.get_mut(&id)) {
                let whose = *whose;
                mine.push(Self::new(whose, row));
            }
        }
        by.into_iter().map(|(id, (_, mine))| (id, mine)).collect()
    }
}
