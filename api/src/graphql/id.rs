//! Opaque typed ids: base64url of a letter for the type and the 16 bytes of the key.

use async_graphql::ID;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// What an id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Customer = b'c',
    Event = b'e',
    Import = b'i',
    Pair = b'd',
    Place = b'p',
    Merge = b'm',
    Record = b'r',
    Order = b'o',
    Contact = b'n',
    Ticket = b't',
    Sample = b's',
}

/// The id of a thing.
pub fn of(kind: Kind, key: Uuid) -> ID {
    let mut bytes = vec![kind as u8];
    bytes.extend(key.as_bytes());
    ID(URL_SAFE_NO_PAD.encode(bytes))
}

/// The id of a customer.
pub fn of_customer(key: Uuid) -> ID {
    of(Kind::Customer, key)
}

/// The id of an audit event.
pub fn of_event(key: Uuid) -> ID {
    of(Kind::Event, key)
}

/// The key in an id of this kind. Anything else is no id, which is answered like a missing thing.
pub fn key(kind: Kind, id: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(id).ok()?;
    let (first, key) = bytes.split_first()?;
    if *first == kind as u8 { Uuid::from_slice(key).ok() } else { None }
}

/// The key in a customer's id.
pub fn customer(id: &str) -> Option<Uuid> {
    key(Kind::Customer, id)
}

/// A place in the log, as a cursor.
pub fn of_place(sequence: u64) -> ID {
    of(Kind::Place, Uuid::from_u128(sequence.into()))
}

/// The place that a cursor names.
pub fn place(id: &str) -> Option<u64> {
    u64::try_from(key(Kind::Place, id)?.as_u128()).ok()
}

/// The key in an event's id.
pub fn event(id: &str) -> Option<Uuid> {
    key(Kind::Event, id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_come_back_and_only_of_their_type(key in any::<u128>(), noise in ".{0,40}") {
            let key = Uuid::from_u128(key);
            prop_assert_eq!(customer(&of_customer(key)), Some(key));
            prop_assert_eq!(event(&of_customer(key)), None);
            let _ = customer(&noise);
        }
    }
}
