//! Linking: source records into customers, and customers' golden values from their records.
//!
//! The clusters are derived from all records of the tenant every time, so the order of imports does not matter. A
//! cluster keeps the customer that most of its records had; ids are stable, and a customer whose records all went to
//! another redirects there.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use policy::field::kinds::{Email, Name, Phone};
use policy::{Pii, Verb, link};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, Func};
use sea_orm::{QueryOrder, QuerySelect};
use serde_json::json;

use crate::customer::table as customer;
use crate::golden::{Golden, Member, survive};
use crate::guard::Vaulted;
use crate::load::seal_found;
use crate::merge::{self, Merged};
use crate::people::{self, Person};
use crate::record;
use crate::source::{self, Source};
use crate::vault::{Keyring, Sealed};
use crate::{Change, Error, Scope, tag};

/// What a linking run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Linked {
    /// Source records looked at.
    pub records: usize,
    /// Customers that are new.
    pub created: usize,
    /// Customers whose golden values were derived anew.
    pub updated: usize,
    /// Customers that went up in others.
    pub merged: usize,
    /// Customers there are now.
    pub customers: usize,
}

/// Links all records of the tenant and derives the customers whose records changed since they were derived last: a run that
/// was cut off before it came to linking is made good by the next.
///
/// # Errors
/// [`Error::Denied`] to whom may not import; a damaged cell.
pub async fn run(change: &Change) -> Result<Linked, Error> {
    change.permit(Verb::ImportRun)?;
    let scope = change.scope();
    crate::tenant::lock(scope).await?;
    let sources: HashMap<Uuid, Source> = source::in_scope(scope).await?.into_iter().map(|source| (source.id, source)).collect();
    let people = people::everybody(scope).await?;
    let rows = scope.find::<record::Entity>().order_by_asc(record::Column::Id).all(scope.tx()).await?;
    let members = rows.iter().map(|row| open(change.keyring(), &sources, row)).collect::<Result<Vec<_>, _>>()?;
    let clusters = clusters(&rows, &members);

    let mut linked = Linked { records: rows.len(), customers: clusters.len(), ..Linked::default() };
    let customers = assign(&rows, &clusters);
    let companies = Companies::of(&rows);
    let derived = derived(scope).await?;
    let lost: HashSet<Uuid> = lost(&rows, &clusters, &customers);
    let mut numbers = Numbers::of(scope, change.now()).await?;
    let (mut new, mut changed, mut points, mut tags) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (cluster, kept) in clusters.iter().zip(&customers) {
        let id = kept.unwrap_or_else(Uuid::now_v7);
        let moved = cluster.iter().filter(|&&i| rows[i].customer_id != Some(id));
        points.extend(moved.map(|&i| (rows[i].id, id)));
        let before = derived.get(&id).copied();
        let stale = |&i: &usize| rows[i].customer_id != Some(id) || Some(rows[i].imported_at) > before || companies.heard(&rows[i]) > before;
        let touched = lost.contains(&id) || cluster.iter().any(stale);
        if !touched {
            continue;
        }
        let mine: Vec<&Member> = cluster.iter().map(|&i| &members[i]).collect();
        tags.extend(mine.iter().flat_map(|member| &member.tags).map(|(category, name)| (id, category.clone(), name.clone())));
        let industry = cluster.iter().find_map(|&i| companies.industry(&rows[i]));
        let row = golden_row(change, id, &mine, industry, &people)?;
        match kept {
            None => new.push(customer::ActiveModel {
                number: Set(numbers.next()),
                version: Set(1),
                created_at: Set(change.now()),
                value_tier: Set(None),
                merged_into: Set(None),
                ..row
            }),
            Some(_) => changed.push(row),
        }
    }
    (linked.created, linked.updated) = (new.len(), changed.len());
    let rederived: Vec<Uuid> = changed.iter().map(|row| *row.id.as_ref()).collect();
    scope.insert(new).await?;
    for row in changed {
        let id = *row.id.as_ref();
        scope.overwrite::<customer::Entity, _>(row, customer::Column::Id.eq(id)).await?;
        scope
            .update_where::<customer::Entity>(customer::Column::Id.eq(id), vec![(customer::Column::Version, Expr::col(customer::Column::Version).add(1))])
            .await?;
    }
    scope.point("source_record", "id", &points).await?;
    for table in ["customer_order", "contact_record", "ticket"] {
        scope.point(table, "record_id", &points).await?;
    }
    tag::replace(scope, &rederived, &tags).await?;
    let merged = merged(&rows, &points);
    for merge in &merged {
        scope.update_where::<customer::Entity>(customer::Column::Id.eq(merge.loser), vec![(customer::Column::MergedInto, Expr::value(merge.winner))]).await?;
    }
    linked.merged = merged.len();
    merge::write(scope, change.now(), change.principal().subject(), "linked by import", &merged).await?;
    change.note("linked", serde_json::to_value(linked).unwrap_or_default());
    Ok(linked)
}

fn open(keys: &Keyring, sources: &HashMap<Uuid, Source>, row: &record::Model) -> Result<Member, Error> {
    let key = keys.record(record::Model::TABLE, row.id, row.record_key())?;
    let source = sources.get(&row.source_id);
    Ok(Member {
        id: row.id,
        source: source.map(|source| source.name.clone()).unwrap_or_default(),
        position: source.map_or(i32::MAX, |source| source.position),
        at: row.source_updated_at.or(row.occurred_at),
        name: cell(&key, row.name.as_ref())?,
        family_name: cell(&key, row.family_name.as_ref())?,
        phone: cell(&key, row.phone.as_ref())?,
        landline: cell(&key, row.landline.as_ref())?,
        email: cell(&key, row.email.as_ref())?,
        address: cell(&key, row.address.as_ref())?,
        remarks: cell(&key, row.remarks.as_ref())?,
        company: row.company.clone(),
        industry: row.industry.clone(),
        channel: row.channel,
        first_follow_up: row.first_follow_up,
        status: row.status,
        owner: row.owner_id,
        tags: serde_json::from_value(row.tags.clone()).unwrap_or_default(),
    })
}

fn cell<K: Pii>(key: &crate::vault::RecordKey, sealed: Option<&Sealed<K>>) -> Result<Option<K>, Error> {
    Ok(sealed.map(|sealed| key.open(sealed)).transpose()?.and_then(|clear| K::parse(&clear).ok()))
}

/// Positions of the records of each cluster, in the order of their first records.
fn clusters(rows: &[record::Model], members: &[Member]) -> Vec<Vec<usize>> {
    let key = |bytes: Option<&[u8]>| bytes.and_then(|bytes| link::Key::try_from(bytes).ok());
    let records: Vec<link::Record> = rows
        .iter()
        .zip(members)
        .map(|(row, member)| link::Record {
            phone: key(row.phone_index.as_ref().map(crate::vault::BlindIndex::bytes)),
            email: key(row.email_index.as_ref().map(crate::vault::BlindIndex::bytes)),
            company: key(row.company_index.as_deref()),
            name: member.name.clone(),
            family: member.family_name.clone(),
        })
        .collect();
    let mut clusters: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, root) in link::cluster(&records).into_iter().enumerate() {
        clusters.entry(root).or_default().push(i);
    }
    clusters.into_values().collect()
}

/// Which existing customer each cluster keeps: the one that most of its records had; no customer goes to two.
fn assign(rows: &[record::Model], clusters: &[Vec<usize>]) -> Vec<Option<Uuid>> {
    let mut claims: Vec<(usize, Uuid, usize)> = Vec::new();
    for (c, cluster) in clusters.iter().enumerate() {
        let mut had: BTreeMap<Uuid, usize> = BTreeMap::new();
        for id in cluster.iter().filter_map(|&i| rows[i].customer_id) {
            *had.entry(id).or_default() += 1;
        }
        claims.extend(had.into_iter().map(|(id, times)| (times, id, c)));
    }
    claims.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    let mut kept = vec![None; clusters.len()];
    let mut taken = HashSet::new();
    for (_, id, c) in claims {
        if kept[c].is_none() && taken.insert(id) {
            kept[c] = Some(id);
        }
    }
    kept
}

/// Customers that lost all their records, and to whom most of them went.
fn merged(rows: &[record::Model], points: &[(Uuid, Uuid)]) -> Vec<Merged> {
    let target: HashMap<Uuid, Uuid> = points.iter().copied().collect();
    let mut before: BTreeMap<Uuid, Vec<&record::Model>> = BTreeMap::new();
    for row in rows {
        if let Some(id) = row.customer_id {
            before.entry(id).or_default().push(row);
        }
    }
    let emptied = before.into_iter().filter(|(_, mine)| mine.iter().all(|row| target.contains_key(&row.id)));
    emptied
        .filter_map(|(loser, mine)| {
            mine.first().and_then(|row| target.get(&row.id)).map(|winner| Merged { winner: *winner, loser, records: mine.iter().map(|row| row.id).collect() })
        })
        .collect()
}

/// The golden row of a customer, sealed under a fresh record key.
fn golden_row(change: &Change, id: Uuid, members: &[&Member], industry: Option<&str>, people: &HashMap<Uuid, Person>) -> Result<customer::ActiveModel, Error> {
    let keys = change.keyring();
    let golden: Golden<'_> = survive(members, industry);
    let (key, wrapped, epoch) = keys.new_record(customer::Model::TABLE, id)?;
    let (name, name_index) = seal_found::<Name>(keys, &key, golden.name)?;
    let (phone, phone_index) = seal_found::<Phone>(keys, &key, golden.phone)?;
    let (email, email_index) = seal_found::<Email>(keys, &key, golden.email)?;
    let tail = golden.phone.map(|phone| keys.index_of(customer::Model::TABLE, "phone tail", &phone.expose()[7..])).transpose()?;
    let person = golden.name.is_some() || golden.company.is_none();
    Ok(customer::ActiveModel {
        id: Set(id),
        record_key: Set(Some(wrapped)),
        key_epoch: Set(epoch.cast_signed()),
        name: Set(name),
        name_index: Set(name_index),
        phone: Set(phone),
        phone_index: Set(phone_index),
        phone_tail_index: Set(tail),
        landline: Set(golden.landline.map(|value| key.seal(value)).transpose()?),
        email: Set(email),
        email_index: Set(email_index),
        address: Set(golden.address.map(|value| key.seal(value)).transpose()?),
        remarks: Set(golden.remarks.map(|value| key.seal(value)).transpose()?),
        customer_type: Set(if person { policy::CustomerType::Person } else { policy::CustomerType::Company }.code()),
        company: Set(golden.company),
        industry: Set(golden.industry),
        channel: Set(golden.channel),
        first_follow_up: Set(golden.first_follow_up),
        status: Set(golden.status),
        owner_id: Set(golden.owner),
        department_id: Set(golden.owner.and_then(|owner| people.get(&owner)?.department_id)),
        provenance: Set(json!(golden.provenance)),
        completeness: Set(golden.completeness),
        score: Set(golden.score),
        issues: Set(json!(golden.issues)),
        derived_at: Set(change.now()),
        updated_at: Set(change.now()),
        ..Default::default()
    })
}

/// When each customer was derived last.
async fn derived(scope: &Scope) -> Result<HashMap<Uuid, DateTime<Utc>>, Error> {
    let select = scope.find::<customer::Entity>().select_only().column(customer::Column::Id).column(customer::Column::DerivedAt);
    Ok(select.into_tuple().all(scope.tx()).await?.into_iter().collect())
}

/// Customers of which a record went to another.
fn lost(rows: &[record::Model], clusters: &[Vec<usize>], customers: &[Option<Uuid>]) -> HashSet<Uuid> {
    let kept = clusters.iter().zip(customers);
    kept.flat_map(|(cluster, kept)| cluster.iter().filter_map(|&i| rows[i].customer_id).filter(move |had| Some(*had) != *kept)).collect()
}

/// What all records together say of a company's industry, and when a record of the company came in last.
struct Companies<'r> {
    industries: HashMap<&'r [u8], &'r str>,
    heard: HashMap<&'r [u8], DateTime<Utc>>,
}

impl<'r> Companies<'r> {
    fn of(rows: &'r [record::Model]) -> Self {
        let mut said: BTreeMap<(&[u8], &str), usize> = BTreeMap::new();
        let mut heard: HashMap<&[u8], DateTime<Utc>> = HashMap::new();
        for row in rows {
            let Some(company) = row.company_index.as_deref() else { continue };
            let last = heard.entry(company).or_insert(row.imported_at);
            *last = Ord::max(*last, row.imported_at);
            if let Some(industry) = &row.industry {
                *said.entry((company, industry)).or_default() += 1;
            }
        }
        let mut said: Vec<_> = said.into_iter().collect();
        said.sort_by_key(|(_, times)| *times); // the most frequent comes last and stays
        Self { industries: said.into_iter().map(|((company, industry), _)| (company, industry)).collect(), heard }
    }

    fn industry(&self, row: &record::Model) -> Option<&'r str> {
        self.industries.get(row.company_index.as_deref()?).copied()
    }

    fn heard(&self, row: &record::Model) -> Option<DateTime<Utc>> {
        self.heard.get(row.company_index.as_deref()?).copied()
    }
}

/// Human numbers: C, the date, and a sequence that starts anew every day.
struct Numbers {
    day: String,
    next: u32,
}

impl Numbers {
    async fn of(scope: &Scope, now: DateTime<Utc>) -> Result<Self, Error> {
        let day = format!("C{}", now.with_timezone(&policy::clean::date::zone()).format("%Y%m%d"));
        let length = Func::char_length(Expr::col(customer::Column::Number));
        let today = scope.find::<customer::Entity>().filter(customer::Column::Number.starts_with(&day));
        let last: Option<String> = today
            .select_only()
            .column(customer::Column::Number)
            .order_by_desc(Expr::from(length))
            .order_by_desc(customer::Column::Number)
            .limit(1)
            .into_tuple()
            .one(scope.tx())
            .await?;
        let next = last.and_then(|number| number[day.len()..].parse::<u32>().ok()).map_or(1, |n| n + 1);
        Ok(Self { day, next })
    }

    fn next(&mut self) -> String {
        let number = format!("{}{:03}", self.day, self.next);
        self.next += 1;
        number
    }
}

/// Whether records wait to be linked, because a run was cut off.
///
/// # Errors
/// The database cannot be reached.
pub async fn pending(session: &crate::Session) -> Result<bool, Error> {
    let scope = session.scope();
    Ok(scope.find::<record::Entity>().filter(record::Column::CustomerId.is_null()).one(scope.tx()).await?.is_some())
}
