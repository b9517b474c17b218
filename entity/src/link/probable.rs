//! The second pass: records that no rule joins and that are probably one person's nevertheless.
//!
//! Each record leaves keyed hashes of its blocking keys; a new record is compared with those that share one. Weights are
//! learned without labels from a sample of the tenant's records ([`policy::probabilistic`]); the model is learned again when
//! the records have doubled. Above the tenant's threshold a pair is linked, below it waits in the duplicates queue.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use policy::field::kinds::Raw;
use policy::probabilistic::{Attribute, Comparator, Model, Profile};
use policy::{Pii, Verb};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{QueryOrder, QuerySelect};

use super::blocking::{block, candidates};
use super::joined::{again, join};
use super::scored::{Found, score, store};
use super::{Linked, Member, Reader, Run};
use crate::import::table as imports;
use crate::pair::{self, table as pairs};
use crate::record::{Column, Entity};
use crate::setting;
use crate::source::Source;
use crate::store::Tenanted;
use crate::vault::{Sealed, Wrapped};
use crate::{Change, Error, Scope, Session};

mod learned {
    use crate::TenantId;
    use crate::vault::Sealed;
    use policy::field::kinds::Raw;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "match_model")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub records: i32,
        pub learned_at: ChronoDateTimeUtc,
        pub record_key: Option<Vec<u8>>,
        pub key_epoch: i32,
        #[sea_orm(column_name = "model")]
        pub learned: Option<Sealed<Raw>>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for learned::Entity {
    const TENANT: learned::Column = learned::Column::TenantId;
}

/// Records of one batch of the pass.
const BATCH: u64 = 5_000;
/// Records to learn from.
const SAMPLE: u64 = 10_000;
/// Pairs less probable than this are forgotten.
pub(super) const KEPT: f64 = 0.1;

/// What is compared where a source does not say it itself.
const STANDARD: [(&str, Comparator); 5] = [
    ("name", Comparator::Name),
    ("phone", Comparator::Digits),
    ("email", Comparator::Exact),
    ("company", Comparator::Organisation),
    ("address", Comparator::Words),
];

/// The attributes of the tenant's sources, each once.
pub(super) fn schema(sources: &HashMap<Uuid, Source>) -> Vec<Attribute> {
    let mut attributes: BTreeMap<String, Comparator> = STANDARD.into_iter().map(|(name, comparator)| (name.to_owned(), comparator)).collect();
    let mut sources: Vec<&Source> = sources.values().collect();
    sources.sort_by_key(|source| std::cmp::Reverse(source.position));
    for column in sources.iter().flat_map(|source| &source.mapping.columns) {
        attributes.extend(column.compare.map(|comparator| (column.attribute(), comparator)));
    }
    attributes.into_iter().map(|(name, comparator)| Attribute { name, comparator }).collect()
}

pub(super) fn profile(schema: &[Attribute], member: &Member) -> Profile {
    let traits: HashMap<&str, &str> = member.traits.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let standard = |name: &str| match name {
        "name" => member.link.name.as_ref().map(Pii::expose),
        "phone" => member.phone.as_ref().map(Pii::expose),
        "email" => member.email.as_ref().map(Pii::expose),
        "company" => member.company.as_deref(),
        "address" => member.address.as_ref().map(Pii::expose),
        _ => None,
    };
    let value = |attribute: &Attribute| if member.traited { traits.get(attribute.name.as_str()).copied() } else { standard(&attribute.name) };
    Profile::of(schema, &schema.iter().map(value).collect::<Vec<_>>())
}

/// The model of the tenant, and what it is about.
pub struct Learned {
    pub(super) schema: Vec<Attribute>,
    pub(super) model: Model,
}

/// What looking at the tenant's records came to.
pub enum Study {
    /// The model that stands.
    Stands(Learned),
    /// A new one, of so many records.
    New(Learned, i32),
    /// There are too few records to learn from.
    Few,
}

/// Looks at the tenant's model, and learns a new one where it is missing, of other attributes, or of half as many records.
/// Nobody who writes waits for it.
///
/// # Errors
/// [`Error::Denied`] to whom may not import.
pub async fn study(session: &Session) -> Result<Study, Error> {
    session.permit(Verb::ImportRun)?;
    let (scope, keys) = (session.scope(), session.keyring());
    let run = Run::of(scope).await?;
    let schema = schema(&run.sources);
    let records = i32::try_from(scope.find::<Entity>().count(scope.tx()).await?).unwrap_or(i32::MAX);
    if let Some(row) = scope.find::<learned::Entity>().one(scope.tx()).await? {
        let key = keys.record("match_model", row.id, Wrapped(row.record_key.as_deref()))?;
        let text = row.learned.as_ref().map(|sealed: &Sealed<Raw>| key.open(sealed)).transpose()?;
        let stored: Option<(Vec<Attribute>, Model)> = text.and_then(|text| serde_json::from_str(&text).ok());
        if let Some((_, model)) = stored.filter(|(of, _)| *of == schema && records < row.records.saturating_mul(2)) {
            return Ok(Study::Stands(Learned { schema, model }));
        }
    }
    let sample = Reader { scope, keys, sources: &run.sources }.sample(SAMPLE).await?;
    let profiles: Vec<Profile> = sample.iter().map(|member| profile(&schema, member)).collect();
    Ok(Model::learn(&schema, &profiles).map_or(Study::Few, |model| Study::New(Learned { schema, model }, records)))
}

/// Takes up what was learned: then everything is compared anew. `None` while there are too few records.
///
/// # Errors
/// [`Error::Denied`] to whom may not import.
pub async fn learn(change: &Change, study: Study) -> Result<Option<Learned>, Error> {
    change.permit(Verb::ImportRun)?;
    let (learned, records) = match study {
        Study::Stands(learned) => return Ok(Some(learned)),
        Study::Few => return Ok(None),
        Study::New(learned, records) => (learned, records),
    };
    let (scope, keys) = (change.scope(), change.keyring());
    crate::tenant::lock(scope).await?;
    let id = Uuid::now_v7();
    let (key, wrapped, epoch) = keys.new_record("match_model", id)?;
    let text = serde_json::to_string(&(&learned.schema, &learned.model)).map_err(|error| Error::Invalid(error.to_string()))?;
    let text = Raw::parse(&text).map_err(|why| Error::Invalid(why.to_string()))?;
    let row = learned::ActiveModel {
        id: Set(id),
        records: Set(records),
        learned_at: Set(change.now()),
        record_key: Set(Some(wrapped)),
        key_epoch: Set(epoch.cast_signed()),
        learned: Set(Some(key.seal(&text)?)),
        ..Default::default()
    };
    scope.delete_where::<learned::Entity>(learned::Column::Id.is_not_null()).await?;
    scope.insert(vec![row]).await?;
    scope.update_where::<imports::Entity>(imports::Column::Id.is_not_null(), vec![(imports::Column::Scored, Expr::value(0))]).await?;
    scope.delete_where::<block::Entity>(block::Column::Block.is_not_null()).await?;
    // What waits is found again; what is linked stays so until it was compared anew.
    scope.delete_where::<pairs::Entity>(pairs::Column::State.eq(pair::OPEN)).await?;
    scope.update_where::<pairs::Entity>(pairs::Column::State.eq(pair::LINKED), vec![(pairs::Column::State, Expr::value(pair::STALE))]).await?;
    change.note("learned_from", records);
    Ok(Some(learned))
}

/// What a batch of the pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Passed {
    /// Records compared.
    pub records: usize,
    /// Pairs linked.
    pub joined: usize,
    /// Couples of customers that came into the duplicates queue.
    pub queued: usize,
    /// What linking did with them.
    pub linked: Linked,
}

impl Passed {
    /// Adds what another batch did.
    pub const fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.joined += other.joined;
        self.queued += other.queued;
        self.linked.add(&other.linked);
    }
}

/// Compares the next records that were not compared yet. `None` when there are no more.
///
/// # Errors
/// [`Error::Denied`] to whom may not import.
pub async fn batch(change: &Change, run: &mut Run, learned: &Learned) -> Result<Option<Passed>, Error> {
    change.permit(Verb::ImportRun)?;
    let scope = change.scope();
    crate::tenant::lock(scope).await?;
    run.renew(scope).await?;
    crate::keys::indexed_alike(scope).await?;
    // The first batch fills what the second asks: both are counted, for a tenant that is new among others.
    run.compared += 1;
    scope.count_grown(&["source_record", "customer", "customer_order", "contact_record", "ticket", "block_key", "match_pair"], run.compared <= 2).await?;
    let mut passed = Passed::default();
    // What an earlier model joined is weighed by this one before anything else is.
    // (By its word, which a plan without values knows too: a rehearsal is one transaction with the batches of its imports.)
    let is_stale = Expr::col(pairs::Column::State).eq(Expr::cust(format!("'{}'", pair::STALE)));
    let stale = scope.find::<pairs::Entity>().filter(is_stale).order_by_asc(pairs::Column::Id);
    let stale = stale.limit(BATCH).all(scope.tx()).await?;
    if !stale.is_empty() {
        let apart = again(change, run, learned, stale, &mut passed).await?;
        compare(change, run, learned, apart, &mut passed).await?;
        return Ok(Some(passed));
    }
    let behind = Expr::col(imports::Column::Scored).lt(Expr::col(imports::Column::RowsRead));
    let next = scope.find::<imports::Entity>().filter(imports::Column::State.is_in(["done", "cancelled", "failed"])).filter(behind);
    let Some(import) = next.order_by_asc(imports::Column::Id).limit(1).one(scope.tx()).await? else { return Ok(None) };
    let rows = Reader { scope, keys: change.keyring(), sources: &run.sources }.behind(import.id, import.scored, BATCH).await?;
    let through = if (rows.len() as u64) < BATCH { import.rows_read } else { rows.last().map_or(import.rows_read, |(_, number)| *number) };
    scope.update_where::<imports::Entity>(imports::Column::Id.eq(import.id), vec![(imports::Column::Scored, Expr::value(through))]).await?;
    passed.records = rows.len();
    // A record that was written anew may be somebody else's by now.
    let joined = pair::joined_by(scope, import.id, import.scored, through).await?;
    let apart = again(change, run, learned, joined, &mut passed).await?;
    let numbers: HashMap<Uuid, i32> = rows.iter().copied().collect();
    let ids: Vec<Uuid> = rows.into_iter().map(|(id, _)| id).collect();
    let mut new = Reader { scope, keys: change.keyring(), sources: &run.sources }.these(&ids).await?;
    new.sort_by_key(|member| numbers.get(&member.id).copied());
    new.extend(apart.into_iter().filter(|member| !numbers.contains_key(&member.id)));
    compare(change, run, learned, new, &mut passed).await?;
    change.note("import", import.id.to_string());
    change.note("joined", passed.joined);
    Ok(Some(passed))
}

/// Compares records with those near them, and joins or queues what is probable.
async fn compare(change: &Change, run: &mut Run, learned: &Learned, new: Vec<Member>, passed: &mut Passed) -> Result<(), Error> {
    let scope = change.scope();
    let near = candidates(change, &learned.schema, &new).await?;
    let ids: HashSet<Uuid> = near.iter().flat_map(|(a, b)| [*a, *b]).collect();
    let mut members: HashMap<Uuid, Member> = new.into_iter().filter(|member| ids.contains(&member.id)).map(|member| (member.id, member)).collect();
    let absent: Vec<Uuid> = ids.into_iter().filter(|id| !members.contains_key(id)).collect();
    let absent = Reader { scope, keys: change.keyring(), sources: &run.sources }.these(&absent).await?;
    members.extend(absent.into_iter().map(|member| (member.id, member)));
    let thresholds = setting::thresholds_of(scope).await?;
    let found = score(learned, &members, near, &pair::apart(scope).await?);
    if !found.is_empty() {
        let begun = Uuid::now_v7();
        store(change, learned, &found).await?;
        let compared = |found: &Found| [found.a, found.b].iter().all(|id| members.get(id).is_some_and(|member| member.traited));
        let is_sure = |found: &&Found| thresholds.of(compared(found)).is_some_and(|link| found.score.probability >= link);
        let sure: Vec<Uuid> = found.iter().filter(is_sure).flat_map(|found| [found.a, found.b]).collect();
        if !sure.is_empty() {
            join(change, run, &sure, thresholds, passed).await?;
        }
        passed.queued += usize::try_from(pair::waiting_since(scope, begun).await?).unwrap_or(usize::MAX);
    }
    scope.delete_where::<pairs::Entity>(pairs::Column::State.eq(pair::OPEN).and(pairs::Column::Score.lt(KEPT))).await?;
    Ok(())
}

pub(super) async fn customers_of(scope: &Scope, records: impl Iterator<Item = Uuid>) -> Result<HashMap<Uuid, Option<Uuid>>, Error> {
    let records: BTreeSet<Uuid> = records.collect();
    let records: Vec<Uuid> = records.into_iter().collect();
    let mut customers = HashMap::new();
    for chunk in records.chunks(5_000) {
        let select = scope.find::<Entity>().filter(scope.among(Column::Id, chunk.iter().copied())).select_only().columns([Column::Id, Column::CustomerId]);
        customers.extend(select.into_tuple::<(Uuid, Option<Uuid>)>().all(scope.tx()).await?);
    }
    Ok(customers)
}
