//! Authentication: signed tokens for people, service tokens for machines. The tenant comes from the verified token and
//! from nothing else.

use chrono::Duration;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use entity::{Caller, House, Principal, TenantId, token};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock;
use crate::error::Stop;
use crate::jwks::Keys;

/// Why a caller is not let in. Says no more than that.
#[derive(Debug, PartialEq, Eq)]
pub enum NotAdmitted {
    /// No token, or one that is not accepted.
    Unauthenticated,
    /// The declared purpose is not one of the tenant's.
    Purpose(String),
    /// The database cannot be asked.
    Unavailable,
}

#[derive(Serialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    tenant: Uuid,
    jti: String,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<String>,
}

/// What counts of a token that is accepted.
#[derive(Deserialize)]
struct Accepted {
    sub: String,
    tenant: Uuid,
    #[serde(default)]
    jti: String,
    #[serde(default)]
    purpose: Option<String>,
}

/// The built-in issuer: signs tokens with Ed25519 and accepts its own, and those of an identity provider whose key set is
/// configured. Algorithm, issuer and audience are pinned.
pub struct Issuer {
    sign: EncodingKey,
    verify: DecodingKey,
    name: String,
    audience: String,
    provider: Option<Keys>,
}

impl Issuer {
    /// An issuer with this secret key.
    ///
    /// # Errors
    /// The key cannot be used.
    pub fn of(secret: &[u8; 32], issuer: &str, audience: &str) -> Result<Self, Stop> {
        let key = SigningKey::from_bytes(secret);
        let der = key.to_pkcs8_der().map_err(|_| Stop::new("the issuer's key cannot be used"))?;
        Ok(Self {
            sign: EncodingKey::from_ed_der(der.as_bytes()),
            verify: DecodingKey::from_ed_der(key.verifying_key().as_bytes()),
            name: issuer.to_owned(),
            audience: audience.to_owned(),
            provider: None,
        })
    }

    /// Accepts the tokens of an identity provider too.
    #[must_use]
    pub fn beside(self, provider: Option<Keys>) -> Self {
        Self { provider, ..self }
    }

    /// A token for a person of a tenant.
    ///
    /// # Errors
    /// The token cannot be signed.
    pub fn issue(&self, tenant: TenantId, subject: &str, purpose: Option<&str>, lasts: Duration) -> Result<String, Stop> {
        let now = clock::now();
        let claims = Claims {
            iss: self.name.clone(),
            aud: self.audience.clone(),
            sub: subject.to_owned(),
            tenant: tenant.0,
            jti: Uuid::now_v7().simple().to_string(),
            iat: now.timestamp(),
            exp: (now + lasts).timestamp(),
            purpose: purpose.map(str::to_owned),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.sign).map_err(|_| Stop::new("the token cannot be signed"))
    }

    fn verify(&self, token: &str) -> Option<Accepted> {
        self.verify_with(token, Algorithm::EdDSA, &self.verify)
    }

    fn verify_with(&self, token: &str, algorithm: Algorithm, key: &DecodingKey) -> Option<Accepted> {
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.name]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = 30;
        jsonwebtoken::decode::<Accepted>(token, key, &validation).ok().map(|data| data.claims)
    }

    async fn accept(&self, token: &str) -> Option<Accepted> {
        if let Some(accepted) = self.verify(token) {
            return Some(accepted);
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        let keys = self.provider.as_ref()?.for_token(header.kid.as_deref()).await;
        keys.iter().find_map(|key| self.verify_with(token, key.algorithm, &key.verifies))
    }
}

/// Lets a caller in by the `Authorization` header's value.
///
/// # Errors
/// [`NotAdmitted`].
pub async fn admit(house: &House, issuer: &Issuer, authorization: Option<&str>, address: String, purpose: Option<String>) -> Result<Principal, NotAdmitted> {
    let presented = authorization.and_then(bearer).ok_or(NotAdmitted::Unauthenticated)?;
    let (tenant, caller, purpose) = if presented.starts_with(token::PREFIX) {
        let (tenant, hash) = token::read(&presented).ok_or(NotAdmitted::Unauthenticated)?;
        (tenant, Caller::Machine { hash }, purpose)
    } else {
        let claims = issuer.accept(&presented).await.ok_or(NotAdmitted::Unauthenticated)?;
        (TenantId(claims.tenant), Caller::Person { subject: claims.sub, token: claims.jti }, purpose.or(claims.purpose))
    };
    house.admit(tenant, caller, address, purpose).await.map_err(|error| match error {
        entity::Error::Denied => NotAdmitted::Unauthenticated,
        entity::Error::Invalid(message) => NotAdmitted::Purpose(message),
        error => {
            tracing::error!(%error, "a caller cannot be admitted");
            NotAdmitted::Unavailable
        }
    })
}

/// The token of `Bearer …`, or the password of `Basic …` for tools that know nothing else.
fn bearer(authorization: &str) -> Option<String> {
    use base64::Engine;
    let (scheme, rest) = authorization.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(rest.trim().to_owned()),
        "basic" => {
            let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
            let text = String::from_utf8(decoded).ok()?;
            text.split_once(':').map(|(_, password)| password.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(secret: u8, name: &str, audience: &str) -> Issuer {
        Issuer::of(&[secret; 32], name, audience).unwrap()
    }

    #[test]
    fn only_its_own_living_tokens_are_accepted() {
        let ours = issuer(1, "panorama", "panorama");
        let tenant = TenantId(Uuid::from_u128(7));
        let token = |by: &Issuer, lasts| by.issue(tenant, "li", None, Duration::minutes(lasts)).unwrap();
        let good = token(&ours, 5);
        assert_eq!(ours.verify(&good).unwrap().tenant, tenant.0);
        assert!(ours.verify(&token(&ours, -5)).is_none(), "expired");
        assert!(ours.verify(&token(&issuer(2, "panorama", "panorama"), 5)).is_none(), "another key");
        assert!(ours.verify(&token(&issuer(1, "else", "panorama"), 5)).is_none(), "another issuer");
        assert!(ours.verify(&token(&issuer(1, "panorama", "else"), 5)).is_none(), "another audience");
        // alg none, and the public key as an HMAC secret
        let payload = good.split('.').nth(1).unwrap();
        assert!(ours.verify(&format!("eyJhbGciOiJub25lIn0.{payload}.")).is_none());
        let public = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let claims: serde_json::Value =
            serde_json::json!({"iss": "panorama", "aud": "panorama", "sub": "li", "tenant": tenant.0, "jti": "x", "iat": 0, "exp": 9_999_999_999_i64});
        let forged = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(public.as_bytes())).unwrap();
        assert!(ours.verify(&forged).is_none());
        for cut in 0..good.len() {
            assert!(ours.verify(&good[..cut]).is_none());
        }
    }
}
