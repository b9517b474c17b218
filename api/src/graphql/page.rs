//! The customers of one page, and what hangs on them: whatever one of them is asked for is fetched for all of them in
//! one statement, so a page costs as many statements as it has levels.

use std::collections::HashMap;
use std::sync::Arc;

use entity::consent::Consent;
use entity::customer::Customer;
use entity::people::Person;
use entity::relation::Relation;
use entity::source::Source;
use entity::tag::Tag;
use entity::{Error, Place, Session, consent, contact, order, people, record, relation, source, tag, ticket};
use tokio::sync::Mutex;
use uuid::Uuid;

/// Values that were fetched, by how much was asked for. Whoever comes second waits for the first.
pub struct Memo<V>(Mutex<HashMap<u64, Arc<V>>>);

impl<V> Default for Memo<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V> Memo<V> {
    /// As [`Memo::get`], unless it is for one only.
    async fn unless(&self, one: bool, key: u64, fetch: impl Future<Output = Result<V, Error>>) -> Result<Arc<V>, Error> {
        if one { Ok(Arc::new(fetch.await?)) } else { self.get(key, fetch).await }
    }

    async fn get(&self, key: u64, fetch: impl Future<Output = Result<V, Error>>) -> Result<Arc<V>, Error> {
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
/// The customer at a place of the page, and behind which of its rows.
pub type After = Option<(usize, Place)>;
type Counts = HashMap<Uuid, entity::Open<i64>>;

/// A page of customers.
#[derive(Default)]
pub struct Page {
    /// The customers, in order.
    pub customers: Vec<Customer>,
    orders: Memo<Of<order::Order>>,
    contacts: Memo<Of<contact::Contact>>,
    tickets: Memo<Of<ticket::Ticket>>,
    records: Memo<Of<record::Record>>,
    counts: Memo<Counts>,
    tags: Memo<Of<Tag>>,
    relations: Memo<Of<Relation>>,
    related: Memo<HashMap<Uuid, (Arc<Page>, usize)>>,
    consents: Memo<Of<Consent>>,
    people: Memo<HashMap<Uuid, Person>>,
    sources: Memo<HashMap<Uuid, Source>>,
}

/// What hangs on a customer and is counted.
#[derive(Clone, Copy)]
pub enum Hanging {
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
    /// A page of these customers.
    pub fn of(customers: Vec<Customer>) -> Arc<Self> {
        Arc::new(Self { customers, ..Self::default() })
    }

    /// Whose rows are asked for, and behind which.
    fn part(&self, after: After) -> (&[Customer], Option<Place>) {
        match after {
            None => (&self.customers, None),
            Some((at, place)) => (std::slice::from_ref(&self.customers[at]), Some(place)),
        }
    }

    /// The newest `limit` orders of each, or of one behind a place.
    pub async fn orders(&self, session: &Session, limit: u64, after: After) -> Result<Arc<Of<order::Order>>, Error> {
        let (customers, place) = self.part(after);
        self.orders.unless(place.is_some(), limit, order::newest(session, customers, limit, place)).await
    }

    /// The newest `limit` contact records of each, or of one behind a place.
    pub async fn contacts(&self, session: &Session, limit: u64, after: After) -> Result<Arc<Of<contact::Contact>>, Error> {
        let (customers, place) = self.part(after);
        self.contacts.unless(place.is_some(), limit, contact::newest(session, customers, limit, place)).await
    }

    /// The newest `limit` tickets of each, or of one behind a place.
    pub async fn tickets(&self, session: &Session, limit: u64, after: After) -> Result<Arc<Of<ticket::Ticket>>, Error> {
        let (customers, place) = self.part(after);
        self.tickets.unless(place.is_some(), limit, ticket::newest(session, customers, limit, place)).await
    }

    /// The newest `limit` source records of each, or of one behind a place.
    pub async fn records(&self, session: &Session, limit: u64, after: After) -> Result<Arc<Of<record::Record>>, Error> {
        let (customers, place) = self.part(after);
        self.records.unless(place.is_some(), limit, record::newest(session, customers, limit, place)).await
    }

    /// How many of something one customer has, if that may be told.
    pub async fn count(&self, session: &Session, what: Hanging, customer: Uuid) -> Result<Option<i64>, Error> {
        let counts = match what {
            Hanging::Orders => self.counts.get(0, order::counts(session, &self.customers)).await?,
            Hanging::Contacts => self.counts.get(1, contact::counts(session, &self.customers)).await?,
            Hanging::Tickets => self.counts.get(2, ticket::counts(session, &self.customers)).await?,
            Hanging::Records => self.counts.get(3, record::counts(session, &self.customers)).await?,
        };
        Ok(counts.get(&customer).cloned().and_then(|count| session.tell(count)))
    }

    /// The tags of each.
    pub async fn tags(&self, session: &Session) -> Result<Arc<Of<Tag>>, Error> {
        self.tags.get(0, tag::of(session, &self.customers)).await
    }

    /// The relations of each.
    pub async fn relations(&self, session: &Session) -> Result<Arc<Of<Relation>>, Error> {
        self.relations.get(0, relation::of(session, &self.customers)).await
    }

    /// The customers that the relations of the customer at a place lead to, as a page of their own, by key.
    pub async fn related(&self, session: &Session, at: usize, keys: &[Uuid]) -> Result<Arc<HashMap<Uuid, (Arc<Self>, usize)>>, Error> {
        let fetch = async {
            let page = Self::of(entity::customer::of_keys(session, keys).await?);
            Ok(page.customers.iter().enumerate().map(|(at, customer)| (customer.id(), (Arc::clone(&page), at))).collect())
        };
        self.related.get(at as u64, fetch).await
    }

    /// The consents of each.
    pub async fn consents(&self, session: &Session) -> Result<Arc<Of<Consent>>, Error> {
        self.consents.get(0, consent::of(session, &self.customers)).await
    }

    /// Everybody of the tenant.
    pub async fn people(&self, session: &Session) -> Result<Arc<HashMap<Uuid, Person>>, Error> {
        self.people.get(0, people::all(session)).await
    }

    /// The source systems by key.
    pub async fn sources(&self, session: &Session) -> Result<Arc<HashMap<Uuid, Source>>, Error> {
        let fetch = async { Ok(source::all(session).await?.into_iter().map(|source| (source.id, source)).collect()) };
        self.sources.get(0, fetch).await
    }
}
