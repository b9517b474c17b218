//! One tenant's keys, unwrapped: sealing, indexing, opening.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use hmac::{Hmac, KeyInit, Mac};
use policy::Pii;
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::envelope::{self, Cipher, Place};
use super::{BlindIndex, Sealed, Unreadable};
use crate::TenantId;

pub(crate) type Key = Zeroizing<[u8; 32]>;

/// How long a new epoch stands before anybody writes with it. Every process learns of it sooner, so that none meets a row that
/// it cannot open or find.
pub(crate) const RIPENS: Duration = Duration::seconds(15);

/// One tenant's keys by purpose and epoch. Debug shows nothing.
pub struct Keyring {
    tenant: TenantId,
    keys: BTreeMap<(&'static str, u32), (Key, Cipher)>,
    /// The epoch of the data key that wraps what is written now.
    sealing: u32,
    /// The epoch of the index key that rows are written with: the oldest, for rows are rewritten with a newer one only by the
    /// rotation itself.
    indexing: u32,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring(***)")
    }
}

/// An unwrapped key on its way into a ring.
pub(crate) struct Held {
    pub purpose: &'static str,
    pub epoch: u32,
    pub created_at: DateTime<Utc>,
    pub key: Key,
}

/// The index key of one epoch. Indexes of another epoch never match.
#[derive(Clone, Copy)]
pub(crate) struct Indexer<'k> {
    tenant: TenantId,
    key: &'k Key,
    pub epoch: u32,
}

impl Indexer<'_> {
    /// The blind index of a normalised value: HMAC-SHA-256, domain-separated by table and kind, cut to 128 bits.
    pub fn of<K: Pii>(&self, table: &str, value: &K) -> Result<BlindIndex<K>, Unreadable> {
        keyed_hash(self.tenant, self.key, &[table, K::FIELD.entry().key], value.expose().as_bytes()).map(|hash| BlindIndex::of(hash.to_vec()))
    }

    /// An index over something derived from a kind, such as the last four digits.
    pub fn derived(&self, table: &str, what: &str, normal: &str) -> Result<Vec<u8>, Unreadable> {
        keyed_hash(self.tenant, self.key, &[table, what], normal.as_bytes()).map(|hash| hash.to_vec())
    }
}

/// A row's own key as it is stored: wrapped by the tenant's data key of an epoch.
#[derive(Clone, Copy, Debug)]
pub struct Wrapped<'r>(pub Option<&'r [u8]>);

/// A row's own key, unwrapped, with the place of its row.
pub struct RecordKey {
    key: Key,
    cipher: Cipher,
    row: Place,
}

impl Keyring {
    /// The purposes that every tenant has a key for.
    pub(crate) const PURPOSES: [&'static str; 4] = ["data", "index", "cursor", "alias"];

    /// A ring of unwrapped keys as it is used at `now`. `None` when a purpose has no key.
    pub(crate) fn of(tenant: TenantId, held: Vec<Held>, now: DateTime<Utc>) -> Option<Self> {
        let epochs = |purpose: &'static str| held.iter().filter(move |key| key.purpose == purpose);
        let ripe = epochs("data").filter(|key| key.created_at + RIPENS <= now).map(|key| key.epoch).max();
        // Where none is ripe the tenant is new, or was restored: the oldest is the one that everybody knows.
        let sealing = ripe.or_else(|| epochs("data").map(|key| key.epoch).min())?;
        let indexing = epochs("index").map(|key| key.epoch).min()?;
        let whole = Self::PURPOSES.into_iter().all(|purpose| epochs(purpose).next().is_some());
        let keys = held.into_iter().map(|held| ((held.purpose, held.epoch), (held.key.clone(), Cipher::of(&held.key)))).collect();
        whole.then_some(Self { tenant, keys, sealing, indexing })
    }

    /// The key of a purpose and an epoch.
    pub(crate) fn key(&self, purpose: &'static str, epoch: u32) -> Option<&Key> {
        self.keys.get(&(purpose, epoch)).map(|(key, _)| key)
    }

    fn data(&self, epoch: u32) -> Option<&Cipher> {
        self.keys.get(&("data", epoch)).map(|(_, cipher)| cipher)
    }

    fn cursor(&self) -> Result<&Cipher, Unreadable> {
        self.epochs("cursor").last().and_then(|epoch| self.keys.get(&("cursor", epoch))).map(|(_, cipher)| cipher).ok_or(Unreadable::Epoch)
    }

    /// The epochs of a purpose that stand, oldest first.
    pub(crate) fn epochs(&self, purpose: &'static str) -> impl Iterator<Item = u32> {
        self.keys.keys().filter(move |(of, _)| *of == purpose).map(|(_, epoch)| *epoch)
    }

    fn newest(&self, purpose: &'static str) -> Result<&Key, Unreadable> {
        self.epochs(purpose).last().and_then(|epoch| self.key(purpose, epoch)).ok_or(Unreadable::Epoch)
    }

    /// The epoch of the data key that wraps what is written now.
    pub(crate) const fn sealing(&self) -> u32 {
        self.sealing
    }

    /// A fresh record key for a row, and its wrapped form with the epoch that wrapped it.
    pub(crate) fn new_record(&self, table: &'static str, row: Uuid) -> Result<(RecordKey, Vec<u8>, u32), Unreadable> {
        let row = self.record_place(table, row);
        let data = self.data(self.sealing).ok_or(Unreadable::Epoch)?;
        let mut key = Zeroizing::new([0; 32]);
        super::random::fill(key.as_mut_slice())?;
        let wrapped = envelope::seal(data, Some(self.sealing), row, key.as_slice())?;
        Ok((RecordKey { cipher: Cipher::of(&key), key, row }, wrapped, self.sealing))
    }

    /// A stored record key, wrapped anew by the data key of another epoch. The row's cells stay as they are.
    pub(crate) fn rewrap(&self, table: &'static str, row: Uuid, wrapped: &[u8], epoch: u32) -> Result<Vec<u8>, Unreadable> {
        let record = self.record(table, row, Wrapped(Some(wrapped)))?;
        let data = self.data(epoch).ok_or(Unreadable::Epoch)?;
        envelope::seal(data, Some(epoch), record.row, record.key.as_slice())
    }

    /// The record key of a stored row.
    pub(crate) fn record(&self, table: &'static str, row: Uuid, wrapped: Wrapped<'_>) -> Result<RecordKey, Unreadable> {
        let row = self.record_place(table, row);
        let bytes = envelope::open_epoch(|epoch| self.data(epoch), row, wrapped.0.ok_or(Unreadable::Erased)?)?;
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new).map_err(|_| Unreadable::Format)?;
        Ok(RecordKey { cipher: Cipher::of(&key), key, row })
    }

    fn record_place(&self, table: &'static str, row: Uuid) -> Place {
        Place { tenant: self.tenant, table, column: "record_key", row }
    }

    /// The index key that rows are written with.
    pub(crate) fn indexer(&self) -> Result<Indexer<'_>, Unreadable> {
        self.indexer_of(self.indexing)
    }

    /// The index key of an epoch.
    pub(crate) fn indexer_of(&self, epoch: u32) -> Result<Indexer<'_>, Unreadable> {
        let key = self.key("index", epoch).ok_or(Unreadable::Epoch)?;
        Ok(Indexer { tenant: self.tenant, key, epoch })
    }

    /// The blind indexes of a value under every index key that stands: while one is rotated a row has one of two.
    pub(crate) fn indexes<K: Pii>(&self, table: &str, value: &K) -> Result<Vec<BlindIndex<K>>, Unreadable> {
        self.epochs("index").map(|epoch| self.indexer_of(epoch)?.of(table, value)).collect()
    }

    /// What the audit log calls a customer.
    pub(crate) fn alias(&self, customer: Uuid) -> Result<[u8; 16], Unreadable> {
        keyed_hash(self.tenant, self.newest("alias")?, &["customer"], customer.as_bytes())
    }

    /// A keyed digest for the log and for recognising rows again, where a plain hash could be guessed.
    pub(crate) fn digest(&self, what: &str, bytes: &[u8]) -> Result<[u8; 16], Unreadable> {
        keyed_hash(self.tenant, self.newest("alias")?, &["digest", what], bytes)
    }

    /// A secret of its own for a thing of the tenant: made from its key whenever it is needed, and stored nowhere.
    pub(crate) fn secret(&self, what: &str, of: Uuid) -> Result<Key, Unreadable> {
        mac(self.tenant, self.newest("alias")?, &["secret", what], of.as_bytes())
    }

    /// Seals a page cursor to the caller and query that it was made for.
    pub(crate) fn seal_cursor(&self, query: Uuid, position: &[u8]) -> Result<Vec<u8>, Unreadable> {
        envelope::seal(self.cursor()?, None, self.cursor_place(query), position)
    }

    /// Opens a page cursor; of another tenant, caller or query it does not open.
    pub(crate) fn open_cursor(&self, query: Uuid, cursor: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        envelope::open(self.cursor()?, self.cursor_place(query), cursor)
    }

    fn cursor_place(&self, query: Uuid) -> Place {
        Place { tenant: self.tenant, table: "cursor", column: "cursor", row: query }
    }
}

fn keyed_hash(tenant: TenantId, key: &Key, domain: &[&str], bytes: &[u8]) -> Result<[u8; 16], Unreadable> {
    mac(tenant, key, domain, bytes)?[..16].try_into().map_err(|_| Unreadable::Cipher)
}

fn mac(tenant: TenantId, key: &Key, domain: &[&str], bytes: &[u8]) -> Result<Key, Unreadable> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).map_err(|_| Unreadable::Cipher)?;
    for part in domain.iter().map(|part| part.as_bytes()).chain([tenant.0.as_bytes().as_slice()]) {
        mac.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        mac.update(part);
    }
    mac.update(bytes);
    Ok(Zeroizing::new(mac.finalize().into_bytes().into()))
}

impl RecordKey {
    /// Whether it is the key of this row.
    pub(crate) fn is_of(&self, table: &str, row: Uuid) -> bool {
        self.row.table == table && self.row.row == row
    }

    /// Seals a cell of this row.
    pub(crate) fn seal<K: Pii>(&self, value: &K) -> Result<Sealed<K>, Unreadable> {
        envelope::seal(&self.cipher, None, self.row.cell(K::FIELD), value.expose().as_bytes()).map(Sealed::of)
    }

    /// Seals what is no cell, under a name of its own.
    pub(crate) fn seal_text(&self, name: &'static str, clear: &[u8]) -> Result<Vec<u8>, Unreadable> {
        envelope::seal(&self.cipher, None, Place { column: name, ..self.row }, clear)
    }

    /// Opens what [`RecordKey::seal_text`] sealed.
    pub(crate) fn open_text(&self, name: &'static str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        envelope::open(&self.cipher, Place { column: name, ..self.row }, sealed)
    }

    /// Opens a cell of this row.
    pub(crate) fn open<K: Pii>(&self, sealed: &Sealed<K>) -> Result<Zeroizing<String>, Unreadable> {
        let mut bytes = envelope::open(&self.cipher, self.row.cell(K::FIELD), sealed.bytes())?;
        // What is text already is not copied.
        String::from_utf8(std::mem::take(&mut *bytes)).map(Zeroizing::new).map_err(|not_text| {
            drop(Zeroizing::new(not_text.into_bytes()));
            Unreadable::Format
        })
    }
}
