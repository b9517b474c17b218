//! One tenant's keys, unwrapped: sealing, indexing, opening.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use policy::Pii;
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::envelope::{self, Place};
use super::{BlindIndex, Sealed, Unreadable};
use crate::TenantId;

type Key = Zeroizing<[u8; 32]>;

/// One tenant's keys by purpose. Debug shows nothing.
pub struct Keyring {
    pub(super) tenant: TenantId,
    pub(super) data: BTreeMap<u32, Key>,
    pub(super) index: Key,
    pub(super) cursor: Key,
    pub(super) alias: Key,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring(***)")
    }
}

/// A row's own key as it is stored: wrapped by the tenant's data key of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Wrapped<'r>(pub Option<&'r [u8]>);

/// A row's own key, unwrapped, with the place of its row.
pub struct RecordKey {
    key: Key,
    row: Place,
}

impl Keyring {
    /// The purposes that every tenant has a key for.
    pub(crate) const PURPOSES: [&'static str; 4] = ["data", "index", "cursor", "alias"];

    /// A ring of unwrapped keys, by purpose and epoch. `None` when a purpose has no key.
    pub(crate) fn of(tenant: TenantId, keys: Vec<(String, u32, Key)>) -> Option<Self> {
        let newest = |purpose: &str| keys.iter().filter(|(p, ..)| p == purpose).max_by_key(|(_, epoch, _)| *epoch).map(|(.., key)| key.clone());
        let (index, cursor, alias) = (newest("index")?, newest("cursor")?, newest("alias")?);
        let data: BTreeMap<u32, Key> = keys.into_iter().filter(|(p, ..)| p == "data").map(|(_, epoch, key)| (epoch, key)).collect();
        (!data.is_empty()).then_some(Self { tenant, data, index, cursor, alias })
    }

    /// The epoch of the data key that wraps what is written now.
    pub(crate) fn newest_epoch(&self) -> u32 {
        self.data.last_key_value().map_or(0, |(epoch, _)| *epoch)
    }

    /// A fresh record key for a row, and its wrapped form with the epoch that wrapped it.
    pub(crate) fn new_record(&self, table: &'static str, row: Uuid) -> Result<(RecordKey, Vec<u8>, u32), Unreadable> {
        let row = self.record_place(table, row);
        let (epoch, data) = self.data.last_key_value().ok_or(Unreadable::Epoch)?;
        let mut key = Zeroizing::new([0; 32]);
        super::random::fill(key.as_mut_slice())?;
        let wrapped = envelope::seal(data, Some(*epoch), row, key.as_slice())?;
        Ok((RecordKey { key, row }, wrapped, *epoch))
    }

    /// The record key of a stored row.
    pub(crate) fn record(&self, table: &'static str, row: Uuid, wrapped: Wrapped<'_>) -> Result<RecordKey, Unreadable> {
        let row = self.record_place(table, row);
        let bytes = envelope::open_epoch(|epoch| self.data.get(&epoch).map(|key| &**key), row, wrapped.0.ok_or(Unreadable::Erased)?)?;
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new).map_err(|_| Unreadable::Format)?;
        Ok(RecordKey { key, row })
    }

    fn record_place(&self, table: &'static str, row: Uuid) -> Place {
        Place { tenant: self.tenant, table, column: "record_key", row }
    }

    /// Seals a value for its row and makes the index by which it is found: both or neither.
    pub(crate) fn seal<K: Pii>(&self, record: &RecordKey, value: &K) -> Result<(Sealed<K>, BlindIndex<K>), Unreadable> {
        Ok((record.seal(value)?, self.index(record.row.table, value.expose())?))
    }

    /// The blind index of a normalised value: HMAC-SHA-256, domain-separated by table and kind, cut to 128 bits.
    pub(crate) fn index<K: Pii>(&self, table: &str, normal: &str) -> Result<BlindIndex<K>, Unreadable> {
        self.keyed_hash(&self.index, &[table, K::FIELD.entry().key], normal.as_bytes()).map(|hash| BlindIndex::of(hash.to_vec()))
    }

    /// An index over something derived from a kind, such as the last four digits.
    pub(crate) fn index_of(&self, table: &str, what: &str, normal: &str) -> Result<Vec<u8>, Unreadable> {
        self.keyed_hash(&self.index, &[table, what], normal.as_bytes()).map(|hash| hash.to_vec())
    }

    /// What the audit log calls a customer.
    pub(crate) fn alias(&self, customer: Uuid) -> Result<[u8; 16], Unreadable> {
        self.keyed_hash(&self.alias, &["customer"], customer.as_bytes())
    }

    /// A keyed digest for the log and for recognising rows again, where a plain hash could be guessed.
    pub(crate) fn digest(&self, what: &str, bytes: &[u8]) -> Result<[u8; 16], Unreadable> {
        self.keyed_hash(&self.alias, &["digest", what], bytes)
    }

    fn keyed_hash(&self, key: &Key, domain: &[&str], bytes: &[u8]) -> Result<[u8; 16], Unreadable> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).map_err(|_| Unreadable::Cipher)?;
        for part in domain.iter().map(|part| part.as_bytes()).chain([self.tenant.0.as_bytes().as_slice()]) {
            mac.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            mac.update(part);
        }
        mac.update(bytes);
        mac.finalize().into_bytes()[..16].try_into().map_err(|_| Unreadable::Cipher)
    }

    /// Seals a page cursor to the caller and query that it was made for.
    pub(crate) fn seal_cursor(&self, query: Uuid, position: &[u8]) -> Result<Vec<u8>, Unreadable> {
        envelope::seal(&self.cursor, None, self.cursor_place(query), position)
    }

    /// Opens a page cursor; of another tenant, caller or query it does not open.
    pub(crate) fn open_cursor(&self, query: Uuid, cursor: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        envelope::open(&self.cursor, self.cursor_place(query), cursor)
    }

    fn cursor_place(&self, query: Uuid) -> Place {
        Place { tenant: self.tenant, table: "cursor", column: "cursor", row: query }
    }
}

impl RecordKey {
    /// Seals a cell of this row.
    pub(crate) fn seal<K: Pii>(&self, value: &K) -> Result<Sealed<K>, Unreadable> {
        envelope::seal(&self.key, None, self.row.cell(K::FIELD), value.expose().as_bytes()).map(Sealed::of)
    }

    /// Opens a cell of this row.
    pub(crate) fn open<K: Pii>(&self, sealed: &Sealed<K>) -> Result<Zeroizing<String>, Unreadable> {
        let bytes = envelope::open(&self.key, self.row.cell(K::FIELD), sealed.bytes())?;
        std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| Unreadable::Format)
    }
}
