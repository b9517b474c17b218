//! Opaque typed ids: base64url of a letter for the type and the 16 bytes of the key.

use async_graphql::ID;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// The id of a customer.
pub fn of_customer(key: Uuid) -> ID {
    encode(b'c', key)
}

/// The id of an audit event.
pub fn of_event(key: Uuid) -> ID {
    encode(b'e', key)
}

fn encode(kind: u8, key: Uuid) -> ID {
    let mut bytes = vec![kind];
    bytes.extend(key.as_bytes());
    ID(URL_SAFE_NO_PAD.encode(bytes))
}

/// The key in a customer's id. Anything else is no id, which is answered like a missing customer.
pub fn customer(id: &str) -> Option<Uuid> {
    decode(b'c', id)
}

/// The key in an event's id.
pub fn event(id: &str) -> Option<Uuid> {
    decode(b'e', id)
}

fn decode(kind: u8, id: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(id).ok()?;
    let (first, key) = bytes.split_first()?;
    if *first == kind { Uuid::from_slice(key).ok() } else { None }
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
