//! The keys of an identity provider: a JSON Web Key Set (RFC 7517) from a file or an address, read again now and then and when a
//! token names a key that is not known. The kind of a key pins its algorithm.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::Config;
use crate::error::Stop;
use crate::outbound::Address;

/// How long a set holds.
const HOLDS: Duration = Duration::from_mins(5);
/// How soon it is asked for again when a key is missing.
const SOON: Duration = Duration::from_secs(10);
/// How long an address may take to answer, and the most bytes of an answer.
const PATIENCE: Duration = Duration::from_secs(5);
const MOST: usize = 1 << 20;

/// A key and the one algorithm that it is for.
#[derive(Clone)]
pub struct Key {
    id: Option<String>,
    pub algorithm: Algorithm,
    pub verifies: DecodingKey,
}

enum From {
    File(PathBuf),
    Address(Address),
}

/// A key set that is kept current.
pub struct Keys {
    from: From,
    known: RwLock<Vec<Key>>,
    read: Mutex<Option<Instant>>,
}

impl Keys {
    /// As the configuration says; `None` when it names no set.
    ///
    /// # Errors
    /// A file that cannot be read or is no key set; an address that is none.
    pub fn of(config: &Config) -> Result<Option<Self>, Stop> {
        let from = match (&config.jwks_file, &config.jwks_url) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err(Stop::new("jwks_file, jwks_url: one of them, not both")),
            (Some(file), None) => From::File(file.clone()),
            (None, Some(url)) => From::Address(Address::of("jwks_url", url, PATIENCE)?),
        };
        let known = match &from {
            From::File(file) => keys(&std::fs::read(file).map_err(|problem| Stop::new(format!("jwks_file {}: {}", file.display(), problem.kind())))?)
                .map_err(|problem| Stop::new(format!("jwks_file {}: {problem}", file.display())))?,
            From::Address(_) => Vec::new(),
        };
        Ok(Some(Self { from, known: RwLock::new(known), read: Mutex::default() }))
    }

    /// The keys that a token may be signed with: the one that it names, or all when it names none.
    pub async fn for_token(&self, id: Option<&str>) -> Vec<Key> {
        let fits = || -> Vec<Key> {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            known.iter().filter(|key| id.is_none() || key.id.as_deref() == id).cloned().collect()
        };
        let found = fits();
        // Whoever has a key does not wait for somebody else who asks for the set.
        let mut read = match self.read.try_lock() {
            Ok(read) => read,
            Err(_) if !found.is_empty() => return found,
            Err(_) => self.read.lock().await,
        };
        let age = read.map(|at| at.elapsed());
        if age.is_some_and(|age| age < if found.is_empty() { SOON } else { HOLDS }) {
            return found;
        }
        *read = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => *self.known.write().unwrap_or_else(PoisonError::into_inner) = keys,
            Err(problem) => tracing::error!(%problem, "the key set of the identity provider cannot be read; the one of before holds"),
        }
        fits()
    }

    async fn fetch(&self) -> Result<Vec<Key>, String> {
        match &self.from {
            From::File(file) => keys(&tokio::fs::read(file).await.map_err(|problem| problem.kind().to_string())?),
            From::Address(address) => {
                let mut answer = address.get().await?;
                let mut text = Vec::new();
                while let Some(part) = answer.chunk().await.map_err(|problem| problem.without_url().to_string())? {
                    text.extend_from_slice(&part);
                    if text.len() > MOST {
                        return Err("it answered more than a mebibyte".to_owned());
                    }
                }
                keys(&text)
            }
        }
    }
}

/// The keys of a set that are for signing with EdDSA, ES256 or RS256; others are passed over.
fn keys(text: &[u8]) -> Result<Vec<Key>, String> {
    let set: JwkSet = serde_json::from_slice(text).map_err(|_| "not a JSON Web Key Set".to_owned())?;
    let keys: Vec<Key> = set.keys.iter().filter_map(key).collect();
    if keys.is_empty() { Err("it holds no key for EdDSA (Ed25519), ES256 or RS256".to_owned()) } else { Ok(keys) }
}

fn key(jwk: &Jwk) -> Option<Key> {
    use jsonwebtoken::jwk::{KeyAlgorithm, PublicKeyUse};
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
        // 2,048 bits at least.
        AlgorithmParameters::RSA(rsa) if rsa.n.trim_end_matches('=').len() >= 341 => Algorithm::RS256,
        _ => return None,
    };
    let said = match jwk.common.key_algorithm {
        None => true,
        Some(said) => matches!(
            (said, algorithm),
            (KeyAlgorithm::EdDSA, Algorithm::EdDSA) | (KeyAlgorithm::ES256, Algorithm::ES256) | (KeyAlgorithm::RS256, Algorithm::RS256)
        ),
    };
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
    let verifies = DecodingKey::from_jwk(jwk).ok().filter(|_| said && signs)?;
    Some(Key { id: jwk.common.key_id.clone(), algorithm, verifies })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_for_signing_with_known_algorithms_are_taken() {
        let ed = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}"#;
        let found = |list: &str| keys(format!("{{\"keys\":[{list}]}}").as_bytes()).map(|keys| keys.len());
        assert_eq!(found(ed), Ok(1));
        let secret = r#"{"kty":"oct","k":"c2VjcmV0","alg":"HS256","kid":"b"}"#;
        let small = r#"{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"c"}"#;
        let sealing = ed.replace("\"kid\"", "\"use\":\"enc\",\"kid\"");
        let other = ed.replace("\"kid\"", "\"alg\":\"ES256\",\"kid\"");
        assert_eq!(found(&[ed, secret, small, &sealing, &other].join(",")), Ok(1));
        assert!(found(secret).is_err() && keys(b"[]").is_err() && keys(b"<html>").is_err());
    }
}
