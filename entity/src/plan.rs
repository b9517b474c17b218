//! Plans: what a dry run would do, under a hash to which the real run can be bound.
//!
//! The hash covers what the run depends on (the files, the mappings, the settings, what is stored) and what came of it, so
//! a run that is bound to it does what was shown or does not begin.

use policy::Verb;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bulk::Existing;
use crate::store::Tenanted;
use crate::vault::hex;
use crate::{Change, Error, Scope, Session, import, merge, pair, setting, source};

mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "import_plan")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub hash: Vec<u8>,
        pub basis: Json,
        pub outcome: Json,
        pub at: ChronoDateTimeUtc,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
use table::{Column, Entity};

impl Tenanted for Entity {
    const TENANT: Column = Column::TenantId;
}

/// A file that a run takes in.
pub struct File {
    /// The source system.
    pub source: String,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
}

/// What a run depends on, as it is now.
///
/// # Errors
/// [`Error::Denied`] to whom may not import.
pub async fn basis(session: &Session, files: &[File]) -> Result<Value, Error> {
    session.permit(Verb::ImportRun)?;
    let scope = session.scope();
    let sources: Vec<Value> = source::in_scope(scope).await?.iter().map(|source| json!([source.name, source.mapping_version, source.position])).collect();
    let mut named = Vec::new();
    for file in files {
        named.push(json!({ "source": file.source, "sha256": hex(&file.digest).as_str() }));
    }
    Ok(json!({
        "files": named,
        "mappings": sources,
        "settings": [json!(setting::survivorship(scope).await?), json!(setting::thresholds_of(scope).await?), crate::reference::fingerprint(scope).await?],
        "stored": stored(scope).await?,
    }))
}

/// What tells one state of the stored records from another.
async fn stored(scope: &Scope) -> Result<Value, Error> {
    use import::table::{Column as I, Entity as Imports};
    use merge::table::{Column as M, Entity as Merges};
    let done = scope.find::<Imports>().filter(I::State.is_in(["done", "cancelled"])).count(scope.tx()).await?;
    let undone = scope.find::<Imports>().filter(I::State.eq("undone")).count(scope.tx()).await?;
    let merges = scope.find::<Merges>().count(scope.tx()).await?;
    let unmerged = scope.find::<Merges>().filter(M::UndoneAt.is_not_null()).count(scope.tx()).await?;
    let decided = scope.find::<pair::table::Entity>().filter(pair::table::Column::State.ne(pair::OPEN)).count(scope.tx()).await?;
    Ok(json!([done, undone, merges, unmerged, decided]))
}

/// Keeps a plan under its hash, which is returned in hexadecimal.
///
/// # Errors
/// [`Error::Denied`] to whom may not import.
pub async fn keep(change: &Change, basis: Value, outcome: Value) -> Result<String, Error> {
    change.permit(Verb::ImportRun)?;
    let hash: [u8; 32] = Sha256::digest(crate::ledger::canonical(&json!([basis, outcome]))).into();
    let row = table::ActiveModel { hash: Set(hash.to_vec()), basis: Set(basis), outcome: Set(outcome), at: Set(change.now()), ..Default::default() };
    change.scope().put(vec![row], Existing::Overwrite(&[Column::At])).await?;
    change.note("plan", hex(&hash).as_str());
    Ok(hex(&hash).as_str().to_owned())
}

/// The outcome that a plan promises, if what it was made from still stands.
///
/// # Errors
/// [`Error::Invalid`]: no such plan, or what has changed since.
pub async fn promised(session: &Session, hash: &str, basis: &Value) -> Result<Value, Error> {
    session.permit(Verb::ImportRun)?;
    let scope = session.scope();
    let bytes = crate::vault::unhex(hash).unwrap_or_default();
    let row = scope.find::<Entity>().filter(Column::Hash.eq(bytes)).one(scope.tx()).await?;
    let plan = row.ok_or_else(|| Error::Invalid("there is no plan of this hash; make one with --dry-run".to_owned()))?;
    for (part, words) in [
        ("files", "the files are not those of the plan"),
        ("mappings", "a mapping changed"),
        ("settings", "the settings changed"),
        ("stored", "other data came in"),
    ] {
        if plan.basis[part] != basis[part] {
            return Err(Error::Invalid(format!("{words} since the plan was made; make a new one with --dry-run")));
        }
    }
    Ok(plan.outcome)
}
