//! Writing what linking decided: golden rows, redirects, tags, the journal.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use policy::Pii;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{FromQueryResult, QuerySelect};
use serde_json::json;

use super::company::Companies;
use super::number::Numbers;
use super::{Linked, Member, Run, Why};
use crate::bulk::Existing;
use crate::customer::Row;
use crate::customer::table::{self as customer, Column};
use crate::golden::{Golden, survive};
use crate::guard::Vaulted;
use crate::merge::{self, Merged};
use crate::pin::{self, Pins};
use crate::{Change, Error, Scope, found, rights, tag};

/// What was decided.
pub(super) struct Held<'h> {
    pub members: &'h [Member],
    pub clusters: &'h [Vec<usize>],
    pub kept: &'h [Option<Uuid>],
    pub fresh: &'h HashSet<Uuid>,
    pub affected: &'h HashSet<Uuid>,
    pub refresh: &'h HashSet<Uuid>,
}

/// What of a stored customer stays.
#[derive(FromQueryResult)]
struct Stored {
    id: Uuid,
    number: String,
    version: i32,
    value_tier: Option<i16>,
    merged_into: Option<Uuid>,
    digest: Option<Vec<u8>>,
    created_at: DateTime<Utc>,
}

async fn stored(scope: &Scope, ids: &[Uuid]) -> Result<HashMap<Uuid, Stored>, Error> {
    let mut rows = HashMap::new();
    for chunk in ids.chunks(5_000) {
        let columns = [Column::Id, Column::Number, Column::Version, Column::ValueTier, Column::MergedInto, Column::Digest, Column::CreatedAt];
        let select = scope.find::<customer::Entity>().filter(scope.among(Column::Id, chunk.iter().copied())).select_only().columns(columns);
        rows.extend(select.into_model::<Stored>().all(scope.tx()).await?.into_iter().map(|row| (row.id, row)));
    }
    Ok(rows)
}

/// Writes the customers of the clusters. Returns what was done, and each member's customer.
pub(super) async fn customers(change: &Change, run: &Run, held: &Held<'_>, why: Why<'_>) -> Result<(Linked, Vec<Option<Uuid>>), Error> {
    let scope = change.scope();
    let mut known: Vec<Uuid> = held.affected.iter().chain(held.kept.iter().flatten()).copied().collect();
    known.sort_unstable();
    known.dedup();
    let stored = stored(scope, &known).await?;
    let pins = if run.pinned { pin::of(scope, change.keyring(), &known).await? } else { HashMap::new() };
    let companies = companies(scope, held).await?;
    let mut numbers = Numbers::of(scope, change.now()).await?;
    let mut assigned: Vec<Option<Uuid>> = vec![None; held.members.len()];
    let (mut rows, mut tags, mut rederived) = (Vec::new(), Vec::new(), Vec::new());
    let (mut linked, none) = (Linked::default(), Pins::default());
    let mut lost: HashSet<Uuid> = HashSet::new();
    for (cluster, kept) in held.clusters.iter().zip(held.kept) {
        for &i in cluster {
            lost.extend(held.members[i].customer.filter(|had| Some(*had) != *kept));
        }
    }
    for (cluster, kept) in held.clusters.iter().zip(held.kept) {
        let id = kept.unwrap_or_else(Uuid::now_v7);
        for &i in cluster {
            assigned[i] = Some(id);
        }
        let touched = |&i: &usize| held.fresh.contains(&held.members[i].id) || held.members[i].customer != Some(id);
        if !(lost.contains(&id) || held.refresh.contains(&id) || cluster.iter().any(touched)) {
            continue;
        }
        let mine: Vec<&Member> = cluster.iter().map(|&i| &held.members[i]).collect();
        let industry = mine.iter().find_map(|member| companies.industry(member.company_key?));
        let golden = survive(&mine, industry, &run.survivorship, pins.get(&id).unwrap_or(&none));
        let digest = digest(change, &golden)?;
        let before = kept.and_then(|id| stored.get(&id));
        if before.is_some_and(|before| before.digest.as_deref() == Some(&digest) && before.merged_into.is_none()) {
            continue;
        }
        tags.extend(golden.tags.iter().map(|(category, name)| (id, category.clone(), name.clone())));
        let number = if let Some(before) = before {
            linked.updated += 1;
            rederived.push(id);
            before.number.clone()
        } else {
            linked.created += 1;
            numbers.next()
        };
        rows.push((id, golden, digest, number, before));
    }
    numbers.keep(scope).await?;
    let (known, new): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(.., before)| before.is_some());
    let row = |(id, golden, digest, number, before): (Uuid, Golden<'_>, Vec<u8>, String, Option<&Stored>)| {
        Ok(customer::ActiveModel {
            number: Set(number),
            version: Set(before.map_or(1, |before| before.version + 1)),
            created_at: Set(before.map_or(change.now(), |before| before.created_at)),
            value_tier: Set(golden.value_tier.or(before.and_then(|before| before.value_tier))),
            ..golden_row(change, run, id, &golden, digest)?
        })
    };
    scope.put_each(new.into_iter().map(row), Existing::Refuse).await?;
    scope.put_each(known.into_iter().map(row), Existing::Overwrite(&OVERWRITTEN)).await?;
    tag::replace(scope, &rederived, &tags).await?;
    let merged = merged(held, &assigned);
    linked.merged = i32::try_from(merged.len()).unwrap_or(i32::MAX);
    merge::redirect(change, &merged, why).await?;
    rights::carry(change, &moved(held, &assigned, &merged)).await?;
    vacate(scope, held, &merged).await?;
    Ok((linked, assigned))
}

/// Everything but the key, the number and when it was made.
const OVERWRITTEN: [Column; 31] = [
    Column::RecordKey,
    Column::KeyEpoch,
    Column::Name,
    Column::NameIndex,
    Column::Phone,
    Column::PhoneIndex,
    Column::PhoneTailIndex,
    Column::Landline,
    Column::Email,
    Column::EmailIndex,
    Column::Address,
    Column::Remarks,
    Column::CustomerType,
    Column::Company,
    Column::Industry,
    Column::Channel,
    Column::FirstFollowUp,
    Column::Status,
    Column::ValueTier,
    Column::OwnerId,
    Column::DepartmentId,
    Column::Provenance,
    Column::Completeness,
    Column::Score,
    Column::Issues,
    Column::MergedInto,
    Column::Version,
    Column::DerivedAt,
    Column::UpdatedAt,
    Column::Digest,
    Column::IndexEpoch,
];

async fn companies(scope: &Scope, held: &Held<'_>) -> Result<Companies, Error> {
    let silent = |cluster: &&Vec<usize>| cluster.iter().all(|&i| held.members[i].industry.is_none());
    let asked: HashSet<_> = held.clusters.iter().filter(silent).flatten().filter_map(|&i| held.members[i].company_key).collect();
    let mut companies = Companies::stored(scope, &asked).await?.without(scope, held.fresh).await?;
    companies.hear_all(held.members.iter().filter(|member| held.fresh.contains(&member.id)));
    Ok(companies)
}

/// Customers that lost all their records, and to whom most of them went.
fn merged(held: &Held<'_>, assigned: &[Option<Uuid>]) -> Vec<Merged> {
    let mut went: BTreeMap<Uuid, BTreeMap<Uuid, Vec<Uuid>>> = BTreeMap::new();
    for (member, now) in held.members.iter().zip(assigned) {
        if let (Some(had), Some(now)) = (member.customer, now) {
            went.entry(had).or_default().entry(*now).or_default().push(member.id);
        }
    }
    let emptied = went.into_iter().filter(|(had, now)| !now.contains_key(had) && !held.kept.contains(&Some(*had)));
    emptied
        .filter_map(|(loser, now)| {
            let (winner, records) = now.into_iter().max_by_key(|(_, records)| records.len())?;
            Some(Merged { winner, loser, records })
        })
        .collect()
}

/// From which customer to which other records went, but for those that went up in it whole: these are one with it.
fn moved(held: &Held<'_>, assigned: &[Option<Uuid>], merged: &[Merged]) -> BTreeSet<(Uuid, Uuid)> {
    let whole: HashSet<(Uuid, Uuid)> = merged.iter().map(|merge| (merge.loser, merge.winner)).collect();
    let moved = held.members.iter().zip(assigned).filter_map(|(member, now)| Some((member.customer?, (*now)?)));
    moved.filter(|(had, now)| had != now && !whole.contains(&(*had, *now))).collect()
}

/// Customers that have no records any more and went up in nobody: an import was undone.
async fn vacate(scope: &Scope, held: &Held<'_>, merged: &[Merged]) -> Result<(), Error> {
    let still: HashSet<Uuid> = held.kept.iter().flatten().copied().chain(merged.iter().map(|merge| merge.loser)).collect();
    let had: HashSet<Uuid> = held.members.iter().filter_map(|member| member.customer).collect();
    let vacant: Vec<Uuid> = held.refresh.iter().filter(|id| !still.contains(id) && !had.contains(id)).copied().collect();
    merge::vacate(scope, &vacant).await
}

/// A keyed digest of all that is golden, by which a customer that did not change is recognised.
fn digest(change: &Change, golden: &Golden<'_>) -> Result<Vec<u8>, Error> {
    let personal = [
        golden.name.map(Pii::expose),
        golden.phone.map(Pii::expose),
        golden.landline.map(Pii::expose),
        golden.email.map(Pii::expose),
        golden.address.map(Pii::expose),
        golden.remarks.map(Pii::expose),
    ];
    let open = (
        golden.company,
        golden.industry,
        golden.channel,
        golden.first_follow_up,
        golden.status,
        golden.owner,
        golden.value_tier,
        &golden.tags,
        &golden.provenance,
        (golden.completeness, golden.score, &golden.issues),
    );
    let mut text = zeroize::Zeroizing::new(serde_json::to_string(&(personal, open)).map_err(|error| Error::Invalid(error.to_string()))?);
    if golden.provenance.iter().any(|why| why.field == policy::Field::CustomerType.entry().key) {
        text.push_str(&golden.customer_type.to_string());
    }
    Ok(change.keyring().digest("golden", text.as_bytes())?.to_vec())
}

/// The golden row of a customer, sealed under a fresh record key.
fn golden_row(change: &Change, run: &Run, id: Uuid, golden: &Golden<'_>, digest: Vec<u8>) -> Result<customer::ActiveModel, Error> {
    let keys = change.keyring();
    let (key, wrapped, epoch) = keys.new_record(Row::TABLE, id)?;
    let indexer = keys.indexer()?;
    let found = found::Customer::of(&indexer, golden.name, golden.phone, golden.email)?;
    Ok(customer::ActiveModel {
        id: Set(id),
        record_key: Set(Some(wrapped)),
        key_epoch: Set(epoch.cast_signed()),
        name: Set(golden.name.map(|value| key.seal(value)).transpose()?),
        name_index: Set(found.name),
        phone: Set(golden.phone.map(|value| key.seal(value)).transpose()?),
        phone_index: Set(found.phone),
        phone_tail_index: Set(found.phone_tail),
        landline: Set(golden.landline.map(|value| key.seal(value)).transpose()?),
        email: Set(golden.email.map(|value| key.seal(value)).transpose()?),
        email_index: Set(found.email),
        address: Set(golden.address.map(|value| key.seal(value)).transpose()?),
        remarks: Set(golden.remarks.map(|value| key.seal(value)).transpose()?),
        customer_type: Set(golden.customer_type),
        company: Set(golden.company.map(str::to_owned)),
        industry: Set(golden.industry.map(str::to_owned)),
        channel: Set(golden.channel),
        first_follow_up: Set(golden.first_follow_up),
        status: Set(golden.status),
        owner_id: Set(golden.owner),
        department_id: Set(golden.owner.and_then(|owner| run.people.get(&owner)?.department_id)),
        provenance: Set(json!(golden.provenance)),
        completeness: Set(golden.completeness),
        score: Set(golden.score),
        issues: Set(json!(golden.issues)),
        merged_into: Set(None),
        digest: Set(Some(digest)),
        index_epoch: Set(indexer.epoch.cast_signed()),
        derived_at: Set(change.now()),
        updated_at: Set(change.now()),
        ..Default::default()
    })
}
