//! The customers of one page, and what hangs on them: the orders, contacts, tickets, sources and tags that the selection asks for are
//! fetched for all of them in one statement, everything else, and what is asked for twice in different measure, in one more each.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use async_graphql::{Context, SelectionField, Value};
use entity::child::{counts, hanging};
use entity::consent::Consent;
use entity::customer::{Background, Columns, Customer, background};
use entity::people::Person;
use entity::relation::Relation;
use entity::{Error, Hanging, Open, Session, Stretch, Wanted, consent, contact, order, people, record, relation, ticket};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::connection::{at_most, fetched};

/// Values that were fetched, by what was asked for. Whoever comes second waits for the first.
pub struct Memo<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Memo<K, V> {
    async fn get(&self, key: K, fetch: impl Future<Output = Result<V, Error>>) -> Result<Arc<V>, Error> {
        let mut fetched = self.0.lock().await;
        if let Some(value) = fetched.get(&key) {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(fetch.await?);
        fetched.insert(key, Arc::clone(&value));
        Ok(value)
    }
}

type Of<T> = HashMap<Uuid, Vec<T>>;

/// A page of customers.
#[derive(Default)]
pub struct Page {
    /// The customers, in order.
    pub customers: Vec<Customer>,
    /// What the selection asks of each.
    wanted: Wanted,
    hanging: Memo<(Wanted, Stretch), Hanging>,
    counts: Memo<Counted, HashMap<Uuid, Open<i64>>>,
    relations: Memo<(), Of<Relation>>,
    related: Memo<usize, HashMap<Uuid, (Arc<Page>, usize)>>,
    consents: Memo<(), Of<Consent>>,
    people: Memo<(), HashMap<Uuid, Person>>,
    background: Memo<(), HashMap<Uuid, Background>>,
}

/// What hangs on a customer and is counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Orders.
    Orders,
    /// Contact records.
    Contacts,
    /// Tickets.
    Tickets,
    /// Source records.
    Records,
}

impl Page {
    /// A page of these customers, of whom the selection asks what it asks along these paths below the field that is resolved.
    pub fn of(ctx: &Context<'_>, paths: &[&[&str]], customers: Vec<Customer>) -> Arc<Self> {
        let mut wanted = Wanted::default();
        for field in asked(ctx, paths) {
            add(&mut wanted, &field);
        }
        Arc::new(Self { customers, wanted, ..Self::default() })
    }

    /// A customer alone, of whom each thing is asked by itself.
    pub fn alone(customer: Customer) -> Arc<Self> {
        Arc::new(Self { customers: vec![customer], ..Self::default() })
    }

    /// What hangs on each, together with whatever else the selection asks for; the last of it; or a part of what hangs on the
    /// customer at a place.
    pub async fn hanging(&self, session: &Session, wanted: Wanted, at: usize, stretch: Stretch) -> Result<Arc<Hanging>, Error> {
        if !stretch.open() {
            return Ok(Arc::new(hanging(session, std::slice::from_ref(&self.customers[at]), &wanted, stretch).await?));
        }
        let wanted = if !stretch.last && self.wanted.covers(&wanted) { self.wanted } else { wanted };
        self.hanging.get((wanted, stretch), hanging(session, &self.customers, &wanted, stretch)).await
    }

    /// How many of something one customer has, if that may be told.
    pub async fn count(&self, session: &Session, what: Counted, customer: Uuid) -> Result<Option<i64>, Error> {
        let counts = async {
            match what {
                Counted::Orders => counts::<order::Row>(session, &self.customers).await,
                Counted::Contacts => counts::<contact::Row>(session, &self.customers).await,
                Counted::Tickets => counts::<ticket::Row>(session, &self.customers).await,
                Counted::Records => counts::<record::Lineage>(session, &self.customers).await,
            }
        };
        let counts = self.counts.get(what, counts).await?;
        Ok(counts.get(&customer).cloned().and_then(|count| session.tell(count)))
    }

    /// The relations of each.
    pub async fn relations(&self, session: &Session) -> Result<Arc<Of<Relation>>, Error> {
        self.relations.get((), relation::of(session, &self.customers)).await
    }

    /// The customers that the relations of the customer at a place lead to, as a page of their own, by key.
    pub async fn related(&self, session: &Session, at: usize, keys: &[Uuid]) -> Result<Arc<HashMap<Uuid, (Arc<Self>, usize)>>, Error> {
        let fetch = async {
            let page = Arc::new(Self { customers: entity::customer::of_keys(session, keys).await?, ..Self::default() });
            Ok(page.customers.iter().enumerate().map(|(at, customer)| (customer.id(), (Arc::clone(&page), at))).collect())
        };
        self.related.get(at, fetch).await
    }

    /// The consents of each.
    pub async fn consents(&self, session: &Session) -> Result<Arc<Of<Consent>>, Error> {
        self.consents.get((), consent::of(session, &self.customers)).await
    }

    /// What stands behind the values of each.
    pub async fn background(&self, session: &Session) -> Result<Arc<HashMap<Uuid, Background>>, Error> {
        self.background.get((), background(session, &self.customers)).await
    }

    /// Everybody of the tenant.
    pub async fn people(&self, session: &Session) -> Result<Arc<HashMap<Uuid, Person>>, Error> {
        self.people.get((), people::all(session)).await
    }
}

/// The fields that are asked of customers along these paths below the field that is resolved.
fn asked<'c>(ctx: &'c Context<'_>, paths: &[&[&str]]) -> Vec<SelectionField<'c>> {
    let mut asked = Vec::new();
    for path in paths {
        let below = path
            .iter()
            .fold(vec![ctx.field()], |fields, name| fields.iter().flat_map(SelectionField::selection_set).filter(|field| field.name() == *name).collect());
        asked.extend(below.iter().flat_map(SelectionField::selection_set));
    }
    asked
}

/// What is to be read of customers for that.
pub fn columns(ctx: &Context<'_>, paths: &[&[&str]]) -> Columns {
    Columns::of(asked(ctx, paths).iter().map(SelectionField::name))
}

/// What a field asks of customers. What is asked for twice in different ways is fetched once more by itself.
fn add(wanted: &mut Wanted, field: &SelectionField<'_>) {
    let arguments = || field.arguments().unwrap_or_default();
    // As many as its connection will ask for.
    let first = || {
        let arguments = arguments();
        let of = |name: &str| arguments.iter().find(|(argument, _)| argument == name).map(|(_, value)| value).filter(|value| **value != Value::Null);
        if ["after", "last", "before"].into_iter().any(|name| of(name).is_some()) {
            return None;
        }
        let first = of("first").map(|first| if let Value::Number(first) = first { first.as_i64() } else { None }.and_then(|first| i32::try_from(first).ok()));
        match first {
            Some(None) => None,
            first => at_most(first.flatten(), 20).ok().map(|most| fetched(field, most)),
        }
    };
    match field.name() {
        "orders" => wanted.orders = wanted.orders.or_else(first),
        "contacts" => wanted.contacts = wanted.contacts.or_else(first),
        "tickets" => wanted.tickets = wanted.tickets.or_else(first),
        "sources" => wanted.lineages = wanted.lineages.or(Some(SOURCES)),
        "tags" => wanted.tags = true,
        _ => {}
    }
}

/// Of how many source records it is told where they came from.
pub const SOURCES: u64 = 100;
