//! What hangs on customers: the newest few of each kind, of a whole page's customers, in one statement. Each statement more would
//! be a round trip more.

mod place;

use std::cmp::Ordering;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use policy::Field;
use sea_orm::entity::prelude::*;
use sea_orm::{DbBackend, QueryResult, TryGetable};

use crate::customer::Customer;
use crate::guard::{Open, Reaching, Whose};
use crate::{Error, Scope, Session, contact, customer, order, record, tag, ticket};

pub use place::{Connection, Place, Stretch};

/// Which kinds there are: nobody outside can add one and have it read what it likes.
mod sealed {
    pub trait Kind {}
}
impl sealed::Kind for order::Row {}
impl sealed::Kind for contact::Row {}
impl sealed::Kind for ticket::Row {}
impl sealed::Kind for record::Lineage {}
impl sealed::Kind for tag::Row {}

/// Rows that belong to customers, as they are read.
pub trait Child: sealed::Kind + Sized {
    /// Its number among what hangs on a customer.
    const KIND: u8;
    /// By which right its number is told.
    const FIELD: Field;
    /// Its table, as `h`, and what is joined to it.
    const FROM: &'static str;
    /// The key.
    const ID: &'static str;
    /// From where those of customers are read, by what says whose of `h`.
    #[must_use]
    fn of(_postgres: bool, whose: &str) -> String {
        format!("FROM {} WHERE h.tenant_id = $1 AND {whose}", Self::FROM)
    }
    /// In which order.
    const ORDER: &'static str;
    /// What is read of it into each slot; nothing where it is empty. The first is its time.
    const READ: [&'static str; 10];
    /// Reads it.
    ///
    /// # Errors
    /// A column is not what it should be.
    fn read(row: &Slots) -> Result<Self, DbErr>;
    /// Its time and key.
    fn at(&self) -> (Option<DateTime<Utc>>, Uuid);
    /// Where it stands.
    fn place(&self) -> Place {
        let (at, id) = self.at();
        Place { kind: Self::KIND, at, id }
    }
}

/// The slots that rows of all kinds are read into, behind their kind, customer and key. What no kind of a question fills is not in it.
const SLOTS: [(&str, &str); 10] = [
    ("at", "timestamptz"),
    ("a", "text"),
    ("b", "text"),
    ("c", "text"),
    ("sealed", "bytea"),
    ("record_key", "bytea"),
    ("who", "uuid"),
    ("l", "bigint"),
    ("m", "bigint"),
    ("n", "bigint"),
];

/// Which slots are in an answer: a bit for each.
#[derive(Clone, Copy)]
struct Filled(u16);

impl Filled {
    /// Those that a kind fills.
    fn by<C: Child>() -> Self {
        let filled = (0..SLOTS.len()).filter(|slot| !C::READ[*slot].is_empty());
        Self(filled.fold(0, |all, slot| all | 1 << slot))
    }

    fn has(self, slot: usize) -> bool {
        self.0 & (1 << slot) != 0
    }

    /// What is read of a kind.
    fn read<C: Child>(self, postgres: bool) -> String {
        let mut read = format!("{} AS kind, h.customer_id AS customer_id, {} AS id", C::KIND, C::ID);
        for (_, ((name, of), expression)) in SLOTS.into_iter().zip(C::READ).enumerate().filter(|(slot, _)| self.has(*slot)) {
            match expression {
                "" if postgres => read.extend([", NULL::", of, " AS ", name]),
                "" => read.extend([", NULL AS ", name]),
                some => read.extend([", ", some, " AS ", name]),
            }
        }
        read
    }

    /// What the columns are called.
    fn names(self) -> String {
        let filled = SLOTS.into_iter().enumerate().filter(|(slot, _)| self.has(*slot)).map(|(_, (name, _))| name);
        ["kind", "customer_id", "id"].into_iter().chain(filled).collect::<Vec<_>>().join(", ")
    }
}

/// A row of any kind.
pub struct Slots {
    row: QueryResult,
    filled: Filled,
}

impl Slots {
    fn kind(&self) -> Result<i32, DbErr> {
        self.row.try_get_by_index(0)
    }
    fn customer(&self) -> Result<Uuid, DbErr> {
        self.row.try_get_by_index(1)
    }
    pub(crate) fn id(&self) -> Result<Uuid, DbErr> {
        self.row.try_get_by_index(2)
    }
    /// What is in a slot, counted from the time, which is 0.
    pub(crate) fn get<T: TryGetable>(&self, slot: usize) -> Result<T, DbErr> {
        let before = self.filled.0 & ((1 << slot) - 1);
        self.row.try_get_by_index(3 + before.count_ones() as usize)
    }
}

/// Rows of a kind by the customer they belong to, the newest of each.
pub struct Children<C> {
    of: HashMap<Uuid, (Whose, Vec<Reaching<C>>)>,
    /// How many were asked for of each, where all that is there could have been had.
    limit: Option<u64>,
}

impl<C: Child> Children<C> {
    fn of(customers: &[Customer], limit: Option<u64>) -> Self {
        Self { of: customers.iter().map(|customer| (customer.id(), (customer.whose(), Vec::new()))).collect(), limit }
    }

    fn add(&mut self, row: &Slots) -> Result<(), DbErr> {
        if let Some((whose, mine)) = self.of.get_mut(&row.customer()?) {
            mine.push(Reaching::new(*whose, C::read(row)?));
        }
        Ok(())
    }

    /// How many there are of a customer in all, where that can be seen from these.
    #[must_use]
    pub fn total(&self, customer: Uuid) -> Option<Open<i64>> {
        let (whose, mine) = self.of.get(&customer)?;
        let all = self.limit.is_some_and(|limit| (mine.len() as u64) < limit);
        all.then(|| Open { whose: *whose, field: C::FIELD, value: i64::try_from(mine.len()).unwrap_or(i64::MAX) })
    }
}

impl<C: Child> Reaching<C> {
    /// Where it stands among what hangs on its customer.
    #[must_use]
    pub fn place(&self) -> Place {
        self.model.place()
    }
}

impl<C> Children<C> {
    fn sort_by(&mut self, order: impl Fn(&C, &C) -> Ordering) {
        for (_, mine) in self.of.values_mut() {
            mine.sort_by(|a, b| order(&a.model, &b.model));
        }
    }

    /// Those of a customer.
    #[must_use]
    pub fn mine(&self, customer: Uuid) -> &[Reaching<C>] {
        self.of.get(&customer).map_or(&[], |(_, mine)| mine.as_slice())
    }
}

/// What is wanted of customers: of each kind so many at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Orders.
    pub orders: Option<u64>,
    /// Contact records.
    pub contacts: Option<u64>,
    /// Tickets.
    pub tickets: Option<u64>,
    /// Where source records came from.
    pub lineages: Option<u64>,
    /// All tags.
    pub tags: bool,
}

impl Wanted {
    /// Whether what is wanted here is all that another wants, in the same way.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let same = |mine: Option<u64>, other: Option<u64>| other.is_none() || mine == other;
        same(self.orders, other.orders)
            && same(self.contacts, other.contacts)
            && same(self.tickets, other.tickets)
            && same(self.lineages, other.lineages)
            && (self.tags || !other.tags)
    }

    /// Which slots it fills, with tags or without.
    fn fills(&self, tags: bool) -> Filled {
        let each = [
            (self.orders.is_some(), Filled::by::<order::Row>()),
            (self.contacts.is_some(), Filled::by::<contact::Row>()),
            (self.tickets.is_some(), Filled::by::<ticket::Row>()),
            (self.lineages.is_some(), Filled::by::<record::Lineage>()),
            (tags, Filled::by::<tag::Row>()),
        ];
        Filled(each.into_iter().filter(|(wanted, _)| *wanted).fold(0, |all, (_, filled)| all | filled.0))
    }
}

/// What hangs on customers, of each kind as much as was wanted.
pub struct Hanging {
    /// Orders.
    pub orders: Children<order::Row>,
    /// Contact records.
    pub contacts: Children<contact::Row>,
    /// Tickets.
    pub tickets: Children<ticket::Row>,
    /// Where source records came from.
    pub lineages: Children<record::Lineage>,
    /// Tags.
    pub tags: Children<tag::Row>,
}

/// What is wanted of these customers in a stretch, newest first. Only a stretch of a single one's rows is bounded by places.
///
/// # Errors
/// The database cannot be reached.
pub async fn hanging(session: &Session, customers: &[Customer], wanted: &Wanted, stretch: Stretch) -> Result<Hanging, Error> {
    let limit = |limit: Option<u64>| if stretch.open() { limit } else { None };
    let mut hanging = Hanging {
        orders: Children::of(customers, limit(wanted.orders)),
        contacts: Children::of(customers, limit(wanted.contacts)),
        tickets: Children::of(customers, limit(wanted.tickets)),
        lineages: Children::of(customers, limit(wanted.lineages)),
        tags: Children::of(customers, None),
    };
    if customers.is_empty() {
        return Ok(hanging);
    }
    // Tags have no time, so nothing of them is behind a place.
    let tags = wanted.tags && stretch.open();
    let mut question = Question::of(session.scope(), customers, stretch, wanted.fills(tags));
    question.ask::<order::Row>(wanted.orders);
    question.ask::<contact::Row>(wanted.contacts);
    question.ask::<ticket::Row>(wanted.tickets);
    question.ask::<record::Lineage>(wanted.lineages);
    if tags {
        question.ask_all::<tag::Row>();
    }
    let add = |row: Slots| {
        match u8::try_from(row.kind()?).unwrap_or(u8::MAX) {
            order::Row::KIND => hanging.orders.add(&row)?,
            contact::Row::KIND => hanging.contacts.add(&row)?,
            ticket::Row::KIND => hanging.tickets.add(&row)?,
            record::Lineage::KIND => hanging.lineages.add(&row)?,
            _ => hanging.tags.add(&row)?,
        }
        Ok(())
    };
    question.answer(add).await?;
    // Each part came in its order; that a union keeps it nobody promises.
    hanging.orders.sort_by(|a, b| a.place().cmp(&b.place()));
    hanging.contacts.sort_by(|a, b| a.place().cmp(&b.place()));
    hanging.tickets.sort_by(|a, b| a.place().cmp(&b.place()));
    hanging.lineages.sort_by(|a, b| a.place().cmp(&b.place()));
    hanging.tags.sort_by(tag::Row::by_name);
    Ok(hanging)
}

/// One statement about customers, kind by kind.
struct Question<'s> {
    scope: &'s Scope,
    /// How customers are named: one, or many by a list.
    whose: String,
    many: bool,
    stretch: Stretch,
    filled: Filled,
    parts: Vec<String>,
    /// Behind the tenant.
    values: Vec<Value>,
}

impl<'s> Question<'s> {
    fn of(scope: &'s Scope, customers: &[Customer], stretch: Stretch, filled: Filled) -> Self {
        let postgres = scope.tx().get_database_backend() == DbBackend::Postgres;
        let many = customers.len() != 1;
        let ids: Vec<Uuid> = customers.iter().map(Customer::id).collect();
        let (whose, values) = match (many, postgres) {
            (false, _) => ("h.customer_id = $2".to_owned(), vec![ids[0].into()]),
            (true, true) => ("h.customer_id = one.id".to_owned(), vec![ids.into()]),
            (true, false) => scope.named("h.customer_id", &ids, 2),
        };
        Self { scope, whose, many, stretch, filled, parts: Vec::new(), values }
    }

    fn ask<C: Child>(&mut self, limit: Option<u64>) {
        let Some(limit) = limit else { return };
        let postgres = self.scope.tx().get_database_backend() == DbBackend::Postgres;
        let (within, order) = (self.stretch.holds::<C>(&mut self.values), self.stretch.order::<C>());
        self.values.push(limit.cast_signed().into());
        let (most, read, names, whose) = (self.values.len() + 1, self.filled.read::<C>(postgres), self.filled.names(), &self.whose);
        let from = C::of(postgres, whose) + within.as_str();
        let kind = C::KIND;
        self.parts.push(match (self.many, postgres) {
            // Whoever asks for one's rows walks an index to its limit.
            (false, _) => format!("SELECT {names} FROM (SELECT {read} {from} ORDER BY {order} LIMIT ${most}) AS of{kind}"),
            (true, true) => format!(
                "SELECT of{kind}.* FROM unnest($2::uuid[]) AS one(id) CROSS JOIN LATERAL (SELECT {read} {from} ORDER BY {order} LIMIT ${most}) AS of{kind}"
            ),
            (true, false) => format!(
                "SELECT {names} FROM (SELECT {read}, ROW_NUMBER() OVER (PARTITION BY h.customer_id ORDER BY {order}) AS place {from}) WHERE place <= ${most}"
            ),
        });
    }

    /// Asks for all rows of a kind, in no order.
    fn ask_all<C: Child>(&mut self) {
        let postgres = self.scope.tx().get_database_backend() == DbBackend::Postgres;
        let whose = if self.many && postgres { "h.customer_id = ANY($2::uuid[])" } else { self.whose.as_str() };
        self.parts.push(format!("SELECT {} {}", self.filled.read::<C>(postgres), C::of(postgres, whose)));
    }

    /// Hands the rows over as they come.
    async fn answer(self, mut add: impl FnMut(Slots) -> Result<(), Error> + Send) -> Result<(), Error> {
        if self.parts.is_empty() {
            return Ok(());
        }
        let filled = self.filled;
        self.scope.each(&self.parts.join(" UNION ALL "), self.values, |row| add(Slots { row, filled })).await
    }
}

/// A row, with the customer that it belongs to, if the caller may see that one.
///
/// # Errors
/// The database cannot be reached.
pub async fn get<C: Child>(session: &Session, id: Uuid) -> Result<Option<(Customer, Reaching<C>)>, Error> {
    let scope = session.scope();
    let postgres = scope.tx().get_database_backend() == DbBackend::Postgres;
    let filled = Filled::by::<C>();
    let sql = format!("SELECT {} FROM {} WHERE h.tenant_id = $1 AND {} = $2 AND h.customer_id IS NOT NULL", filled.read::<C>(postgres), C::FROM, C::ID);
    let Some(row) = scope.rows(&sql, [id.into()]).await?.pop().map(|row| Slots { row, filled }) else { return Ok(None) };
    let customer = customer::get(session, row.customer()?).await?;
    let child = |customer: Customer| Ok((customer.clone(), Reaching::new(customer.whose(), C::read(&row)?)));
    customer.map(child).transpose()
}

/// How many rows of a kind each customer has.
///
/// # Errors
/// The database cannot be reached.
pub async fn counts<C: Child>(session: &Session, customers: &[Customer]) -> Result<HashMap<Uuid, Open<i64>>, Error> {
    let scope = session.scope();
    let (whose, ids) = scope.named("h.customer_id", &customers.iter().map(Customer::id).collect::<Vec<_>>(), 2);
    let from = C::of(scope.tx().get_database_backend() == DbBackend::Postgres, &whose);
    let sql = format!("SELECT h.customer_id AS id, COUNT(*) AS n {from} GROUP BY h.customer_id");
    let counted = scope.rows(&sql, ids).await?.into_iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?)));
    let counted: HashMap<Uuid, i64> = counted.collect::<Result<_, DbErr>>()?;
    let open = |customer: &Customer| Open { whose: customer.whose(), field: C::FIELD, value: counted.get(&customer.id()).copied().unwrap_or(0) };
    Ok(customers.iter().map(|customer| (customer.id(), open(customer))).collect())
}
