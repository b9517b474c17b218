//! Service tokens: named, bound to a tenant and its roles, expiring, revocable, stored as hashes.

use std::collections::BTreeSet;

use chrono::{DateTime, Duration, Utc};
use policy::Verb;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QueryOrder, Select};
use serde_json::json;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::people::{self, Holder, words};
use crate::store::Tenanted;
use crate::vault::{Unreadable, hex};
use crate::{Change, Error, Principal, Scope, Session, purpose};

pub(crate) mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "service_token")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub name: String,
        pub hash: Vec<u8>,
        pub roles: Json,
        pub purpose: Option<String>,
        pub created_at: ChronoDateTimeUtc,
        pub expires_at: ChronoDateTimeUtc,
        pub revoked_at: Option<ChronoDateTimeUtc>,
        pub last_used_at: Option<ChronoDateTimeUtc>,
        pub registered_only: bool,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for table::Entity {
    const TENANT: table::Column = table::Column::TenantId;
}

/// The mark by which a service token is told from a signed one, and found by secret scanners.
pub const PREFIX: &str = "pano_";

/// The tenant and the hash of a presented service token, if it has the form of one.
#[must_use]
pub fn read(presented: &str) -> Option<(crate::TenantId, [u8; 32])> {
    let (tenant, secret) = presented.strip_prefix(PREFIX)?.split_once('_')?;
    let tenant = Uuid::try_parse(tenant).ok()?;
    (secret.len() == 64).then(|| (crate::TenantId(tenant), Sha256::digest(presented.as_bytes()).into()))
}

/// What a token is for.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'t> {
    /// Its roles.
    pub roles: &'t [&'t str],
    /// What for, when the caller declares nothing.
    pub purpose: Option<&'t str>,
    /// How long it stands.
    pub days: i64,
    /// Whether it is answered registered documents only.
    pub registered_only: bool,
}

/// Issues a token in place of any older one of the same name. The text is returned once and never stored.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant; a role that the policy does not know, or that one person alone does not
/// give; a purpose that is not one of the tenant's; a time out of range.
pub async fn issue(change: &Change, name: &str, terms: Terms<'_>) -> Result<Zeroizing<String>, Error> {
    let Terms { roles, purpose, days, registered_only } = terms;
    change.permit(Verb::TenantManage)?;
    change.confide();
    change.known_roles(roles)?;
    people::harmless(change, roles).await?;
    let expires_at = Duration::try_days(days).and_then(|lasts| change.now().checked_add_signed(lasts)).filter(|_| (1..=3_650).contains(&days));
    let expires_at = expires_at.ok_or_else(|| Error::Invalid("days: a number from 1 to 3650".to_owned()))?;
    if let Some(purpose) = purpose {
        purpose::known(change.scope(), purpose).await?;
    }
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut_slice()).map_err(|_| Unreadable::Cipher)?;
    let token = Zeroizing::new(format!("{PREFIX}{}_{}", change.scope().tenant().0.simple(), hex(secret.as_slice()).as_str()));
    // One that takes an older one's place is not free of its limit: for that it is revoked first.
    let older = table::Column::Name.eq(name).and(table::Column::RevokedAt.is_null()).and(table::Column::RegisteredOnly.eq(true));
    let registered_only = registered_only || change.scope().find::<table::Entity>().filter(older).one(change.scope().tx()).await?.is_some();
    revoke(change, name).await?;
    let row = table::ActiveModel {
        id: Set(Uuid::now_v7()),
        name: Set(name.to_owned()),
        hash: Set(Sha256::digest(token.as_bytes()).to_vec()),
        roles: Set(json!(roles)),
        purpose: Set(purpose.map(str::to_owned)),
        created_at: Set(change.now()),
        expires_at: Set(expires_at),
        revoked_at: Set(None),
        last_used_at: Set(None),
        registered_only: Set(registered_only),
        ..Default::default()
    };
    change.note("token", name);
    change.scope().insert(vec![row]).await?;
    people::changed(change, &Holder::Token(name.to_owned()), roles).await?;
    Ok(token)
}

/// Revokes the tokens of a name. Returns how many there were.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant.
pub async fn revoke(change: &Change, name: &str) -> Result<u64, Error> {
    change.permit(Verb::TenantManage)?;
    let standing = table::Column::Name.eq(name).and(table::Column::RevokedAt.is_null());
    let revoked = change.scope().update_where::<table::Entity>(standing, vec![(table::Column::RevokedAt, Expr::value(change.now()))]).await?;
    if revoked > 0 {
        people::changed(change, &Holder::Token(name.to_owned()), &[]).await?;
    }
    Ok(revoked)
}

/// A token as its administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is called.
    pub name: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// What it is for.
    pub purpose: Option<String>,
    /// When it was issued.
    pub created_at: DateTime<Utc>,
    /// Until when it stands.
    pub expires_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When the log saw its name last.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Whether it is answered registered documents only.
    pub registered_only: bool,
}

/// The tokens of the tenant, newest first.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant.
pub async fn all(session: &Session) -> Result<Vec<Token>, Error> {
    session.permit(Verb::TenantManage)?;
    let scope = session.scope();
    let mut tokens = Vec::new();
    for row in scope.find::<table::Entity>().order_by_desc(table::Column::CreatedAt).all(scope.tx()).await? {
        let last = "SELECT at FROM audit_event WHERE tenant_id = $1 AND actor = $2 ORDER BY sequence DESC LIMIT 1";
        let seen = scope.rows(last, [format!("token:{}", row.name).into()]).await?;
        tokens.push(Token {
            roles: words(&row.roles),
            name: row.name,
            purpose: row.purpose,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            registered_only: row.registered_only,
            last_used_at: seen.first().map(|row| row.try_get("", "at")).transpose()?,
        });
    }
    Ok(tokens)
}

/// The roles of the token of a name that is not revoked.
pub(crate) async fn roles(scope: &Scope, name: &str) -> Result<Option<Vec<String>>, Error> {
    let row = scope.find::<table::Entity>().filter(table::Column::Name.eq(name)).filter(table::Column::RevokedAt.is_null()).one(scope.tx()).await?;
    Ok(row.map(|row| words(&row.roles)))
}

/// The names of the tokens that stood at a moment.
pub(crate) async fn standing(scope: &Scope, at: DateTime<Utc>) -> Result<BTreeSet<String>, Error> {
    use table::Column;
    let stood = Column::CreatedAt.lte(at).and(Column::ExpiresAt.gt(at)).and(Column::RevokedAt.is_null().or(Column::RevokedAt.gt(at)));
    let rows = scope.find::<table::Entity>().filter(stood).all(scope.tx()).await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

/// Gives the standing token of a name other roles. Returns how many there are.
pub(crate) async fn set_roles(scope: &Scope, name: &str, roles: Expr) -> Result<u64, Error> {
    let standing = table::Column::Name.eq(name).and(table::Column::RevokedAt.is_null());
    scope.update_where::<table::Entity>(standing, vec![(table::Column::Roles, roles)]).await
}

pub(crate) async fn admit(scope: &Scope, hash: &[u8; 32], now: DateTime<Utc>) -> Result<Principal, Error> {
    admitted(scope, scope.find::<table::Entity>().filter(table::Column::Hash.eq(hash.to_vec())), now).await
}

/// The standing token of a name, as which the server itself acts.
pub(crate) async fn admit_named(scope: &Scope, name: &str, now: DateTime<Utc>) -> Result<Principal, Error> {
    let named = scope.find::<table::Entity>().filter(table::Column::Name.eq(name)).filter(table::Column::RevokedAt.is_null());
    let principal = admitted(scope, named, now).await?;
    // It may have been retired since.
    if let Some(purpose) = &principal.purpose {
        purpose::known(scope, purpose).await?;
    }
    Ok(principal)
}

async fn admitted(scope: &Scope, tokens: Select<table::Entity>, now: DateTime<Utc>) -> Result<Principal, Error> {
    let row = tokens.one(scope.tx()).await?;
    let token = row.filter(|row| row.revoked_at.is_none() && row.expires_at > now).ok_or(Error::Denied)?;
    Ok(Principal {
        tenant: scope.tenant(),
        subject: format!("token:{}", token.name),
        name: token.name,
        user: None,
        department: None,
        roles: words(&token.roles),
        token: token.id.to_string(),
        address: String::new(),
        purpose: token.purpose,
        registered_only: token.registered_only,
        operator: false,
    })
}

/// The name of the token with this hash, standing or not.
pub(crate) async fn known(scope: &Scope, hash: &[u8; 32]) -> Result<Option<String>, Error> {
    let row = scope.find::<table::Entity>().filter(table::Column::Hash.eq(hash.to_vec())).one(scope.tx()).await?;
    Ok(row.map(|row| row.name))
}
