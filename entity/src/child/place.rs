//! Where rows stand among all that hangs on their customer, and the cursors that say so.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use sea_orm::Value;
use sea_orm::entity::prelude::Uuid;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Child;
use crate::customer::Customer;
use crate::{Error, Session};

/// Where a row stands among all that hangs on its customer: newest first, at the same time one kind behind the other, and in each
/// the greater key first. Rows without a time come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    pub(super) kind: u8,
    pub(super) at: Option<DateTime<Utc>>,
    pub(super) id: Uuid,
}

/// A connection of a customer, to which cursors are bound.
#[derive(Clone, Copy)]
pub struct Connection<'c> {
    /// The customer.
    pub customer: &'c Customer,
    /// What it is called.
    pub name: &'static str,
}

impl Connection<'_> {
    fn query(&self, session: &Session) -> Uuid {
        let hash = Sha256::digest(format!("{}\n{}\n{}", session.principal().subject(), self.customer.id(), self.name));
        Uuid::from_slice(&hash[..16]).unwrap_or_default()
    }

    /// The cursor of a place, good for this caller, customer and connection.
    ///
    /// # Errors
    /// The cipher refuses.
    pub fn cursor(&self, session: &Session, place: Place) -> Result<Vec<u8>, Error> {
        let place = serde_json::to_vec(&place).map_err(|_| Error::Invalid("cursor".to_owned()))?;
        Ok(session.keyring().seal_cursor(self.query(session), &place)?)
    }

    /// The place of a cursor.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that was made for something else.
    pub fn place(&self, session: &Session, cursor: &[u8]) -> Result<Place, Error> {
        let stale = || Error::Invalid("not a cursor of this connection; start again without it".to_owned());
        let place = session.keyring().open_cursor(self.query(session), cursor).map_err(|_| stale())?;
        serde_json::from_slice(&place).map_err(|_| stale())
    }
}

/// Which of a customer's rows, newest first: the first behind a place, or the last in front of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stretch {
    /// Behind this place.
    pub after: Option<Place>,
    /// In front of this one.
    pub before: Option<Place>,
    /// The last of them, and not the first.
    pub last: bool,
    /// Only those that have a time.
    pub timed: bool,
}

impl Stretch {
    /// Whether it is not bounded by a place.
    #[must_use]
    pub const fn open(&self) -> bool {
        self.after.is_none() && self.before.is_none()
    }

    /// Which rows of a kind are in it.
    pub(super) fn holds<C: Child>(&self, values: &mut Vec<Value>) -> String {
        let after = self.after.map(|place| format!(" AND {}", place.behind::<C>(values))).unwrap_or_default();
        let before = self.before.map(|place| format!(" AND {}", place.ahead::<C>(values))).unwrap_or_default();
        let timed = if self.timed { format!(" AND {} IS NOT NULL", C::READ[0]) } else { String::new() };
        format!("{after}{before}{timed}")
    }

    /// In which order its rows are looked for.
    pub(super) fn order<C: Child>(&self) -> String {
        if self.last { C::ORDER.replace("DESC", "ASC").replace("NULLS LAST", "NULLS FIRST") } else { C::ORDER.to_owned() }
    }
}

impl Place {
    /// Which rows of a kind come in front of it.
    fn ahead<C: Child>(&self, values: &mut Vec<Value>) -> String {
        let mut bound = |value: Value| {
            values.push(value);
            format!("${}", values.len() + 1)
        };
        let (at, id) = (C::READ[0], C::ID);
        let (later, same) = match self.at {
            Some(time) => {
                let time = bound(time.into());
                (format!("{at} > {time}"), format!("{at} = {time}"))
            }
            None => (format!("{at} IS NOT NULL"), format!("{at} IS NULL")),
        };
        match C::KIND.cmp(&self.kind) {
            Ordering::Less => format!("({later} OR {same})"),
            Ordering::Equal => format!("({later} OR ({same} AND {id} > {}))", bound(self.id.into())),
            Ordering::Greater => format!("({later})"),
        }
    }

    /// Which rows of a kind come behind it.
    fn behind<C: Child>(&self, values: &mut Vec<Value>) -> String {
        let mut bound = |value: Value| {
            values.push(value);
            format!("${}", values.len() + 1)
        };
        let (at, id) = (C::READ[0], C::ID);
        let (earlier, same) = match self.at {
            Some(time) => {
                let time = bound(time.into());
                (format!("{at} < {time} OR {at} IS NULL"), format!("{at} = {time}"))
            }
            None => ("1 = 0".to_owned(), format!("{at} IS NULL")),
        };
        match C::KIND.cmp(&self.kind) {
            Ordering::Less => format!("({earlier})"),
            Ordering::Equal => format!("({earlier} OR ({same} AND {id} < {}))", bound(self.id.into())),
            Ordering::Greater => format!("({earlier} OR {same})"),
        }
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at).then(self.kind.cmp(&other.kind)).then(other.id.cmp(&self.id))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
