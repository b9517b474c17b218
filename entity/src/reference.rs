//! The words that a tenant adds to the reference data of cleaning: its own number segments, industry words, divisions,
//! status and channel words, placeholders.

use policy::Verb;
use policy::clean::{Addition, Reference, ReferenceKind};
use sea_orm::ActiveValue::Set;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use serde_json::{Value, json};

use crate::bulk::Existing;
use crate::store::Tenanted;
use crate::{Change, Error, Scope, Session};

mod table {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "reference_entry")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub kind: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub word: String,
        pub meaning: String,
        pub author: String,
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

/// The word of a kind, as it is stored and as the API writes it.
fn word(kind: ReferenceKind) -> String {
    json!(kind).as_str().unwrap_or_default().to_owned()
}

async fn in_scope(scope: &Scope) -> Result<Vec<Addition>, Error> {
    let rows = scope.find::<Entity>().order_by_asc(Column::Kind).order_by_asc(Column::Word).all(scope.tx()).await?;
    let addition = |row: table::Model| Some(Addition { kind: serde_json::from_value(json!(row.kind)).ok()?, key: row.word, value: row.meaning });
    Ok(rows.into_iter().filter_map(addition).collect())
}

/// What tells one state of the tenant's words from another.
pub(crate) async fn fingerprint(scope: &Scope) -> Result<Value, Error> {
    Ok(json!(in_scope(scope).await?))
}

/// What the tenant added.
///
/// # Errors
/// The database cannot be reached.
pub async fn additions(session: &Session) -> Result<Vec<Addition>, Error> {
    in_scope(session.scope()).await
}

/// The reference data of the tenant: the standard one and what it added.
///
/// # Errors
/// [`Error::Invalid`] names the entries that this program does not take any more.
pub async fn of(session: &Session) -> Result<Reference, Error> {
    extended(&in_scope(session.scope()).await?)
}

fn extended(additions: &[Addition]) -> Result<Reference, Error> {
    // By their places, not by their words: a number segment typed into the wrong field may be somebody's number.
    let words = |faults: Vec<policy::clean::Fault>| Error::Invalid(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
    Reference::standard().extended(additions).map_err(words)
}

/// Adds words, or gives those that are there another meaning. They hold for what is imported from now on.
///
/// # Errors
/// [`Error::Denied`]; [`Error::Invalid`] names every entry that cannot be.
pub async fn add(change: &Change, additions: &[Addition]) -> Result<(), Error> {
    change.permit(Verb::SourceManage)?;
    crate::tenant::lock(change.scope()).await?;
    // With those that stay, behind the new ones: a fault of a new one is named by its place.
    let given = |stored: &Addition| additions.iter().any(|new| new.kind == stored.kind && new.key == stored.key);
    let stay = in_scope(change.scope()).await?.into_iter().filter(|stored| !given(stored));
    extended(&additions.iter().cloned().chain(stay).collect::<Vec<_>>())?;
    let rows = additions.iter().map(|addition| table::ActiveModel {
        kind: Set(word(addition.kind)),
        word: Set(addition.key.clone()),
        meaning: Set(addition.value.clone()),
        author: Set(change.principal().subject().to_owned()),
        at: Set(change.now()),
        ..Default::default()
    });
    change.note("reference", json!(additions.iter().map(|addition| word(addition.kind)).collect::<Vec<_>>()));
    change.scope().put(rows.collect(), Existing::Overwrite(&[Column::Meaning, Column::Author, Column::At])).await
}

/// Takes a word away.
///
/// # Errors
/// [`Error::Denied`]; [`Error::NotFound`]; [`Error::Invalid`] when others need it.
pub async fn remove(change: &Change, kind: ReferenceKind, key: &str) -> Result<(), Error> {
    change.permit(Verb::SourceManage)?;
    change.note("reference_removed", word(kind));
    crate::tenant::lock(change.scope()).await?;
    let mut stored = in_scope(change.scope()).await?;
    let held = extended(&stored).is_ok();
    stored.retain(|addition| addition.kind != kind || addition.key != key);
    // What is broken already may be mended by taking words away.
    if held && let Err(needed) = extended(&stored) {
        return Err(Error::Invalid(format!("other words need this one; take them away first, as the list counts them without it: {needed}")));
    }
    let named = Column::Kind.eq(word(kind)).and(Column::Word.eq(key));
    if change.scope().delete_where::<Entity>(named).await? == 0 { Err(Error::NotFound) } else { Ok(()) }
}
