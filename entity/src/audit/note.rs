//! Checkpoints as signed notes: C2SP's `tlog-checkpoint` and `signed-note`, with Ed25519.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::tree::Hash;

/// The algorithm byte of Ed25519 in a signed note.
const ED25519: u8 = 1;

/// What a log said of itself at one moment: so many events, with this root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose log: `panorama/INSTALLATION` or `panorama/INSTALLATION/TENANT`.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Why a note is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    /// Not a note of the form `origin`, size, root, empty line, signatures.
    #[error("not a checkpoint in the form of a signed note")]
    Form,
    /// No signature by this key, or one that does not fit.
    #[error("the checkpoint is not signed by this key")]
    Signature,
    /// The text of a key is not one.
    #[error("not a public key of the form name+hash+key")]
    Key,
}

impl Checkpoint {
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// What the text of a note says, whoever signed it.
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next()?.to_owned(), lines.next()?, lines.next()?);
        if lines.next().is_some() {
            return None;
        }
        let canonical = size == "0" || !size.starts_with(['0', '+']);
        let size = size.parse().ok().filter(|_| canonical && !origin.is_empty())?;
        Some(Self { origin, size, root: STANDARD.decode(root).ok()?.try_into().ok()? })
    }
}

/// A public key with its name, as `NAME+HASH+KEY`: what an auditor keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    key: VerifyingKey,
}

impl Verifier {
    /// Of a stored public key.
    ///
    /// # Errors
    /// [`BadNote::Key`].
    pub fn of(name: &str, key: &[u8]) -> Result<Self, BadNote> {
        let key = key.try_into().ok().and_then(|key| VerifyingKey::from_bytes(key).ok()).ok_or(BadNote::Key)?;
        Ok(Self { name: name.to_owned(), key })
    }

    /// Reads the text of a key.
    ///
    /// # Errors
    /// [`BadNote::Key`].
    pub fn parse(text: &str) -> Result<Self, BadNote> {
        let mut parts = text.trim().splitn(3, '+');
        let (name, hash, key) = (parts.next(), parts.next(), parts.next());
        let bytes = STANDARD.decode(key.unwrap_or_default()).map_err(|_| BadNote::Key)?;
        let [ED25519, key @ ..] = bytes.as_slice() else { return Err(BadNote::Key) };
        let verifier = Self::of(name.unwrap_or_default(), key)?;
        (hash == Some(crate::vault::hex(&verifier.hash()).as_str())).then_some(verifier).ok_or(BadNote::Key)
    }

    /// The name of the key, which is the origin of the installation's log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of `SHA-256(name ‖ "\n" ‖ 0x01 ‖ key)`.
    fn hash(&self) -> [u8; 4] {
        let hash = Sha256::new().chain_update(&self.name).chain_update([b'\n', ED25519]).chain_update(self.key.as_bytes()).finalize();
        hash.first_chunk().copied().unwrap_or_default()
    }

    /// The checkpoint of a note that this key has signed.
    ///
    /// # Errors
    /// [`BadNote`].
    pub fn open(&self, note: &str) -> Result<Checkpoint, BadNote> {
        let (text, signatures) = note.split_once("\n\n").ok_or(BadNote::Form)?;
        let text = format!("{text}\n");
        let checkpoint = Checkpoint::of(&text).ok_or(BadNote::Form)?;
        let signed = signatures.lines().any(|line| {
            let signature = line.strip_prefix("\u{2014} ").and_then(|line| line.strip_prefix(self.name.as_str())?.strip_prefix(' '));
            let bytes = signature.and_then(|signature| STANDARD.decode(signature).ok()).unwrap_or_default();
            let Some((hash, signature)) = bytes.split_first_chunk::<4>() else { return false };
            let Ok(signature) = Signature::from_slice(signature) else { return false };
            *hash == self.hash() && self.key.verify_strict(text.as_bytes(), &signature).is_ok()
        });
        if signed { Ok(checkpoint) } else { Err(BadNote::Signature) }
    }
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut key = vec![ED25519];
        key.extend(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, crate::vault::hex(&self.hash()).as_str(), STANDARD.encode(key))
    }
}

/// The private key. Debug shows nothing of it.
pub struct Signer {
    key: SigningKey,
    verifier: Verifier,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({}, ***)", self.verifier.name)
    }
}

impl Signer {
    /// Of a seed of 32 bytes.
    #[must_use]
    pub fn of(name: &str, seed: &Zeroizing<[u8; 32]>) -> Self {
        let key = SigningKey::from_bytes(seed);
        let verifier = Verifier { name: name.to_owned(), key: key.verifying_key() };
        Self { key, verifier }
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The public key's bytes.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.verifier.key.to_bytes()
    }

    /// Signs a checkpoint.
    #[must_use]
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let text = checkpoint.text();
        let mut signature = self.verifier.hash().to_vec();
        signature.extend(self.key.sign(text.as_bytes()).to_bytes());
        format!("{text}\n\u{2014} {} {}\n", self.verifier.name, STANDARD.encode(signature))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_note_opens_with_its_key_and_not_when_anything_is_changed(seed in any::<[u8; 32]>(), size in any::<u64>(), root in any::<[u8; 32]>(), at in any::<usize>(), noise in any::<String>()) {
            let signer = Signer::of("panorama/1", &Zeroizing::new(seed));
            let checkpoint = Checkpoint { origin: "panorama/1/2".to_owned(), size, root };
            let note = signer.sign(&checkpoint);
            let key = Verifier::parse(&signer.verifier().to_string()).unwrap();
            prop_assert_eq!(key.open(&note), Ok(checkpoint.clone()));
            let other = Signer::of("panorama/1", &Zeroizing::new(seed.map(|byte| byte ^ 1)));
            prop_assert_eq!(other.verifier().open(&note), Err(BadNote::Signature));
            let mut changed = note.clone().into_bytes();
            let at = at % changed.len();
            changed[at] ^= 1;
            if let Ok(changed) = String::from_utf8(changed) {
                // Whatever still opens says the same.
                if let Ok(opened) = key.open(&changed) {
                    prop_assert_eq!(opened, checkpoint);
                }
            }
            let _ = (key.open(&noise), Verifier::parse(&noise));
        }
    }
}
