//! Registered documents: what clients may ask by the hash of its text, and, where a tenant wants it, nothing else.

use chrono::{DateTime, Utc};
use policy::Verb;
use sea_orm::ActiveValue::Set;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;
use sha2::{Digest, Sha256};

use crate::bulk::Existing;
use crate::store::Tenanted;
use crate::vault::{hex, unhex};
use crate::{Change, Error, House, Session, TenantId, setting};

mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "registered_document")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub hash: Vec<u8>,
        pub name: String,
        pub text: String,
        pub actor: String,
        pub at: ChronoDateTimeUtc,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use table::{Column, Entity, Model};

impl Tenanted for Entity {
    const TENANT: Column = Column::TenantId;
}

/// What an id begins with: the algorithm of the hash.
const PREFIX: &str = "sha256:";
/// The mutation that says whether registered documents are required.
const LIFTS: &str = "requireRegisteredDocuments";
/// The most documents of a tenant, and the most bytes of one.
const MOST: u64 = 10_000;
const BYTES: usize = 64 << 10;

/// A registered document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// `sha256:` and the hash of the text in hex.
    pub id: String,
    /// Which client it is of.
    pub name: String,
    /// The text.
    pub text: String,
    /// By whom.
    pub registered_by: String,
    /// When.
    pub registered_at: DateTime<Utc>,
}

impl From<Model> for Document {
    fn from(row: Model) -> Self {
        Self { id: format!("{PREFIX}{}", hex(&row.hash).as_str()), name: row.name, text: row.text, registered_by: row.actor, registered_at: row.at }
    }
}

/// The hash of a text.
#[must_use]
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// The hash in an id.
#[must_use]
pub fn read(id: &str) -> Option<[u8; 32]> {
    unhex(id.strip_prefix(PREFIX)?)?.try_into().ok()
}

/// Whether a tenant's callers may ask registered documents only.
///
/// # Errors
/// The database cannot be reached.
pub async fn required(house: &House, tenant: TenantId) -> Result<bool, Error> {
    setting::documents_required(&house.store().read(tenant)).await
}

/// The registered document with this hash.
///
/// # Errors
/// The database cannot be reached.
pub async fn text(house: &House, tenant: TenantId, hash: &[u8; 32]) -> Result<Option<String>, Error> {
    let scope = house.store().read(tenant);
    Ok(scope.find::<Entity>().filter(Column::Hash.eq(hash.to_vec())).one(scope.tx()).await?.map(|row| row.text))
}

/// Registers documents under a client's name. Those that are registered already stay as they are.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant; [`Error::Invalid`].
pub async fn register(change: &Change, name: &str, texts: &[String]) -> Result<Vec<Document>, Error> {
    change.permit(Verb::TenantManage)?;
    if name.is_empty() || name.chars().count() > 60 {
        return Err(Error::Invalid("name: 1 to 60 characters".to_owned()));
    }
    if texts.is_empty() || texts.iter().any(|text| text.len() > BYTES) {
        return Err(Error::Invalid(format!("texts: at least one, each of at most {BYTES} bytes")));
    }
    let scope = change.scope();
    if scope.find::<Entity>().count(scope.tx()).await? + texts.len() as u64 > MOST {
        return Err(Error::Invalid(format!("texts: a tenant has at most {MOST} documents")));
    }
    let mut hashes: Vec<Vec<u8>> = texts.iter().map(|text| hash(text).to_vec()).collect();
    let rows = texts.iter().zip(&hashes).map(|(text, hash)| table::ActiveModel {
        hash: Set(hash.clone()),
        name: Set(name.to_owned()),
        text: Set(text.clone()),
        actor: Set(change.principal().subject().to_owned()),
        at: Set(change.now()),
        ..Default::default()
    });
    scope.put(rows.collect(), Existing::Overwrite(&[Column::Name])).await?;
    change.note("documents", texts.len());
    hashes.sort();
    let these = scope.find::<Entity>().filter(Column::Hash.is_in(hashes)).order_by_asc(Column::Hash).all(scope.tx()).await?;
    Ok(these.into_iter().map(Document::from).collect())
}

/// Takes a document away.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant; [`Error::NotFound`]; [`Error::Invalid`] while they are required.
pub async fn remove(change: &Change, id: &str) -> Result<(), Error> {
    change.permit(Verb::TenantManage)?;
    let hash = read(id).ok_or(Error::NotFound)?;
    if setting::documents_required(change.scope()).await? {
        return Err(Error::Invalid("documentId: none is taken away while registered documents are required".to_owned()));
    }
    change.note("document", id);
    if change.scope().delete_where::<Entity>(Column::Hash.eq(hash.to_vec())).await? == 0 { Err(Error::NotFound) } else { Ok(()) }
}

/// Says whether callers may ask registered documents only.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant; [`Error::Invalid`] when the document that lifts this again is not
/// registered: nobody could.
pub async fn require(change: &Change, required: bool) -> Result<(), Error> {
    change.permit(Verb::TenantManage)?;
    let scope = change.scope();
    if required && scope.find::<Entity>().filter(Column::Text.contains(LIFTS)).one(scope.tx()).await?.is_none() {
        return Err(Error::Invalid(format!("required: register a document with the mutation {LIFTS} first; else nobody could lift this again")));
    }
    setting::require_documents(change, required).await
}

/// The registered documents, by name.
///
/// # Errors
/// [`Error::Denied`] to whom may not manage the tenant.
pub async fn all(session: &Session) -> Result<Vec<Document>, Error> {
    session.permit(Verb::TenantManage)?;
    let scope = session.scope();
    let rows = scope.find::<Entity>().order_by_asc(Column::Name).order_by_asc(Column::Hash).all(scope.tx()).await?;
    Ok(rows.into_iter().map(Document::from).collect())
}
