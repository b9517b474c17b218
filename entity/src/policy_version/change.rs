//! How a policy changes: a draft is compared with what is in force, tested, approved by a second person where it opens
//! clear sight or gives a permission to govern, and activated in one transaction with its event.

use chrono::{DateTime, Utc};
use policy::difference::lifts_denial;
use policy::{Cell, Fixture, Policy, Table, Verb, difference};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use serde_json::json;

use super::{activation, in_force, insert, stored, table};
use crate::bulk::Existing;
use crate::store::Tenanted;
use crate::vault::hex;
use crate::{Change, Error, Scope, Session, people, purpose, tenant};

mod approval {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "policy_approval")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub version: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub base: i32,
        #[sea_orm(primary_key, auto_increment = false)]
        pub actor: String,
        pub at: ChronoDateTimeUtc,
        pub sequence: i32,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

mod test {
    use crate::TenantId;
    use sea_orm::entity::prelude::*;
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "policy_test")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: TenantId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub fixture: Json,
        pub author: String,
        pub at: ChronoDateTimeUtc,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

impl Tenanted for approval::Entity {
    const TENANT: approval::Column = approval::Column::TenantId;
}
impl Tenanted for test::Entity {
    const TENANT: test::Column = test::Column::TenantId;
}

/// A version of the tenant's policy.
#[derive(Clone, Debug)]
pub struct Version {
    /// Counted from 1.
    pub version: i32,
    /// SHA-256 over its sorted rules, in hex.
    pub hash: String,
    /// Who drafted it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was put in force, each time.
    pub activated_at: Vec<DateTime<Utc>>,
    /// Whether it is in force.
    pub active: bool,
}

/// All that stands between a version and its activation.
#[derive(Clone, Debug)]
pub struct Review {
    /// The version.
    pub version: i32,
    /// The version that it is compared with: the one in force.
    pub base: i32,
    /// What it grants and takes away, clear sight first.
    pub cells: Vec<Cell>,
    /// Tests that it fails, and what else keeps it from being activated.
    pub failing: Vec<String>,
    /// Whether a second person must approve it, because it opens clear sight or gives a permission to govern.
    pub needs_approval: bool,
    /// Who has approved this step from the base to the version, and may approve still.
    pub approved_by: Vec<String>,
}

/// The versions, newest first.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the policy.
pub async fn versions(session: &Session) -> Result<Vec<Version>, Error> {
    session.permit(Verb::PolicyRead)?;
    let scope = session.scope();
    let activations = scope.find::<activation::Entity>().order_by_asc(activation::Column::Sequence).all(scope.tx()).await?;
    let last = activations.last().map(|last| last.version);
    let rows = scope.find::<table::Entity>().order_by_desc(table::Column::Version).all(scope.tx()).await?;
    Ok(rows
        .into_iter()
        .map(|row| Version {
            version: row.version,
            hash: hex(&row.hash).as_str().to_owned(),
            author: row.author,
            reason: row.reason,
            created_at: row.created_at,
            activated_at: activations.iter().filter(|activation| activation.version == row.version).map(|activation| activation.at).collect(),
            active: last == Some(row.version),
        })
        .collect())
}

/// A version's number and its rules as a file, sorted; without a number the one in force.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the policy; [`Error::NotFound`].
pub async fn text(session: &Session, version: Option<i32>) -> Result<(i32, String), Error> {
    session.permit(Verb::PolicyRead)?;
    let version = if let Some(version) = version { version } else { in_force(session.scope(), None).await?.version };
    Ok((version, stored(session.scope(), version).await?.policy.to_string()))
}

/// Writes down a new version and says what it would change. One that says what an older version says is that version.
///
/// # Errors
/// [`Error::Denied`] to whom may not change the policy; [`Error::Invalid`] names the line that Casbin would misread.
pub async fn draft(change: &Change, text: &str, reason: &str) -> Result<Review, Error> {
    change.permit(Verb::PolicyChange)?;
    let scope = change.scope();
    if reason.trim().is_empty() {
        return Err(Error::Invalid("reason: say why the policy is to change".to_owned()));
    }
    let policy = Policy::read(text).map_err(|malformed| Error::Invalid(malformed.to_string()))?;
    let table = Table::of(&policy).await?;
    let before = worked_out(scope, in_force(scope, None).await?.version).await?;
    tenant::lock(scope).await?;
    let same = scope.find::<table::Entity>().filter(table::Column::Hash.eq(policy.hash().to_vec())).one(scope.tx()).await?;
    let version = if let Some(same) = same {
        same.version
    } else {
        let newest = scope.find::<table::Entity>().select_only().column_as(table::Column::Version.max(), "n").into_tuple::<Option<i32>>();
        let version = newest.one(scope.tx()).await?.flatten().unwrap_or(0) + 1;
        insert(scope, version, &policy, change.principal().subject(), reason.trim(), change.now()).await?;
        version
    };
    change.note("policy_drafted", version);
    let (last, before) = as_it_is(scope, before).await?;
    reviewed(change, &WorkedOut { version, policy, table }, &last, &before).await
}

/// What activating a version would change, whether its tests pass, and who has approved it.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the policy; [`Error::NotFound`].
pub async fn review(session: &Session, version: i32) -> Result<Review, Error> {
    session.permit(Verb::PolicyRead)?;
    let scope = session.scope();
    let last = in_force(scope, None).await?;
    reviewed(session, &worked_out(scope, version).await?, &last, &worked_out(scope, last.version).await?).await
}

/// A version, and what its roles may do. Worked out before the tenant's row is held, for it takes a while.
struct WorkedOut {
    version: i32,
    policy: Policy,
    table: Table,
}

async fn worked_out(scope: &Scope, version: i32) -> Result<WorkedOut, Error> {
    let policy = stored(scope, version).await?.policy;
    Ok(WorkedOut { version, table: Table::of(&policy).await?, policy })
}

/// What is in force, worked out; `before` was when it was asked for last.
async fn as_it_is(scope: &Scope, before: WorkedOut) -> Result<(activation::Model, WorkedOut), Error> {
    let last = in_force(scope, None).await?;
    let before = if last.version == before.version { before } else { worked_out(scope, last.version).await? };
    Ok((last, before))
}

/// Works both versions out, then holds the tenant's row.
async fn held(change: &Change, version: i32) -> Result<(WorkedOut, activation::Model, WorkedOut), Error> {
    let scope = change.scope();
    let (after, before) = (worked_out(scope, version).await?, worked_out(scope, in_force(scope, None).await?.version).await?);
    tenant::lock(scope).await?;
    let (last, before) = as_it_is(scope, before).await?;
    Ok((after, last, before))
}

async fn reviewed(session: &Session, after: &WorkedOut, last: &activation::Model, before: &WorkedOut) -> Result<Review, Error> {
    let scope = session.scope();
    let (version, base) = (after.version, last.version);
    let cells = difference(&before.table, &after.table);
    let mut failing = Vec::new();
    let known = purpose::codes(scope).await?;
    failing
        .extend(after.policy.purposes().into_iter().filter(|code| !known.contains(*code)).map(|code| format!("purpose '{code}' is not one of the tenant's")));
    if !after.table.roles().any(|role| after.table.matrix(role, None).may(Verb::PolicyChange)) {
        failing.push("no role could change the policy any more".to_owned());
    }
    failing.extend(self::failing(&after.policy, &in_scope(scope).await?).await?);
    let author = scope.find::<table::Entity>().filter(table::Column::Version.eq(version)).one(scope.tx()).await?.map(|row| row.author);
    // An approval is for one activation: that which follows the one in force.
    let approvals = scope.find::<approval::Entity>().filter(approval::Column::Version.eq(version)).filter(approval::Column::Sequence.eq(last.sequence));
    let mut approved_by = Vec::new();
    for approval in approvals.order_by_asc(approval::Column::Actor).all(scope.tx()).await? {
        if Some(&approval.actor) != author.as_ref() && people::may_still(scope, &before.policy, &approval.actor, Verb::PolicyApprove).await? {
            approved_by.push(approval.actor);
        }
    }
    let needs_approval = cells.iter().any(weighty) || lifts_denial(&before.policy, &after.policy);
    Ok(Review { version, base, cells, failing, needs_approval, approved_by })
}

/// Whether a cell needs a second person.
fn weighty(cell: &Cell) -> bool {
    cell.opens_clear() || cell.gives_power()
}

/// Approves the step from the version in force to another. Whoever drafted it cannot, nor can a service token.
///
/// # Errors
/// [`Error::Denied`] to whom may not approve; [`Error::Invalid`] to its author and to service tokens; [`Error::NotFound`].
pub async fn approve(change: &Change, version: i32) -> Result<Review, Error> {
    change.permit(Verb::PolicyApprove)?;
    if !change.principal().person() {
        return Err(Error::Invalid("a service token approves nothing; a person has to, with a token of their own".to_owned()));
    }
    let scope = change.scope();
    let (after, last, before) = held(change, version).await?;
    let row = scope.find::<table::Entity>().filter(table::Column::Version.eq(version)).one(scope.tx()).await?.ok_or(Error::NotFound)?;
    let actor = change.principal().subject();
    if row.author == actor {
        return Err(Error::Invalid(format!("version {version} is yours; somebody else has to approve it")));
    }
    let row = approval::ActiveModel {
        version: Set(version),
        base: Set(last.version),
        actor: Set(actor.to_owned()),
        at: Set(change.now()),
        sequence: Set(last.sequence),
        ..Default::default()
    };
    scope.put(vec![row], Existing::Overwrite(&[approval::Column::At, approval::Column::Sequence])).await?;
    change.note("policy_approved", version);
    change.note("policy_base", last.version);
    reviewed(change, &after, &last, &before).await
}

/// Puts a version in force, be it new or old.
///
/// # Errors
/// [`Error::Denied`] to whom may not change the policy; [`Error::Invalid`] when a test fails, or when it opens clear sight
/// or gives a permission to govern and nobody else has approved it; [`Error::NotFound`].
pub async fn activate(change: &Change, version: i32, reason: &str) -> Result<Review, Error> {
    change.permit(Verb::PolicyChange)?;
    let scope = change.scope();
    let (after, last, before) = held(change, version).await?;
    let review = reviewed(change, &after, &last, &before).await?;
    if review.base == version {
        return Err(Error::Invalid(format!("version {version} is in force already")));
    }
    if !review.failing.is_empty() {
        return Err(Error::Invalid(format!("version {version} cannot be activated: {}", review.failing.join("; "))));
    }
    let actor = change.principal().subject();
    // Who approves is somebody else than who drafted it, and, as its author may be a service token or long gone, than the person
    // who activates.
    if review.needs_approval && !review.approved_by.iter().any(|by| by != actor) {
        let cells = review.cells.iter().filter(|cell| weighty(cell)).count();
        return Err(Error::Invalid(format!(
            "version {version} opens clear sight or gives a permission to govern ({cells} cells) and needs the approval of a second person: `panorama policy approve {version}`, or the mutation approvePolicy"
        )));
    }
    if review.needs_approval && !change.principal().person() {
        return Err(Error::Invalid(format!("version {version} opens clear sight or gives a permission to govern: a person has to activate it")));
    }
    let row = activation::ActiveModel {
        sequence: Set(last.sequence + 1),
        version: Set(version),
        at: Set(change.now()),
        actor: Set(actor.to_owned()),
        reason: Set(reason.trim().to_owned()),
        ..Default::default()
    };
    scope.insert(vec![row]).await?;
    change.note("policy_activated", version);
    change.note("policy_base", review.base);
    change.note("policy_approved_by", json!(review.approved_by));
    change.note(
        "policy_cells",
        json!({ "granted": review.cells.iter().filter(|cell| cell.granted).count(), "lost": review.cells.iter().filter(|cell| !cell.granted).count() }),
    );
    Ok(review)
}

/// The tenant's tests, by name.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the policy.
pub async fn tests(session: &Session) -> Result<Vec<Fixture>, Error> {
    session.permit(Verb::PolicyRead)?;
    in_scope(session.scope()).await
}

/// Runs tests against the version in force. Returns what fails.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the policy.
pub async fn run_tests(session: &Session, fixtures: &[Fixture]) -> Result<Vec<String>, Error> {
    session.permit(Verb::PolicyRead)?;
    failing(&session.policy().policy, fixtures).await
}

async fn failing(policy: &Policy, fixtures: &[Fixture]) -> Result<Vec<String>, Error> {
    let mut failing = Vec::new();
    for fixture in fixtures {
        let roles: Vec<&str> = fixture.roles.iter().map(String::as_str).collect();
        let matrix = policy::Matrix::of(policy, &roles, fixture.purpose.as_deref()).await?;
        failing.extend(fixture.run(&matrix).err());
    }
    Ok(failing)
}

async fn in_scope(scope: &Scope) -> Result<Vec<Fixture>, Error> {
    let rows = scope.find::<test::Entity>().order_by_asc(test::Column::Name).all(scope.tx()).await?;
    let damaged = |name: &str| Error::NoPolicy(format!("the test '{name}' is damaged; write it again"));
    rows.into_iter().map(|row| serde_json::from_value(row.fixture).map_err(|_| damaged(&row.name))).collect()
}

/// Adds tests, or writes those of the same name anew. Every version that is activated from now on must pass them.
///
/// # Errors
/// [`Error::Denied`] to whom may not change the policy.
pub async fn put_tests(change: &Change, fixtures: Vec<Fixture>) -> Result<(), Error> {
    change.permit(Verb::PolicyChange)?;
    change.note("policy_tests", json!(fixtures.iter().map(|fixture| fixture.name.as_str()).collect::<Vec<_>>()));
    insert_tests(change.scope(), fixtures, change.principal().subject(), change.now()).await
}

/// Takes a test away, so that what it guarded can change.
///
/// # Errors
/// [`Error::Denied`] to whom may not change the policy; [`Error::NotFound`].
pub async fn remove_test(change: &Change, name: &str) -> Result<(), Error> {
    change.permit(Verb::PolicyChange)?;
    change.note("policy_test_removed", name);
    if change.scope().delete_where::<test::Entity>(test::Column::Name.eq(name)).await? == 0 { Err(Error::NotFound) } else { Ok(()) }
}

pub(super) async fn insert_tests(scope: &Scope, fixtures: Vec<Fixture>, author: &str, now: DateTime<Utc>) -> Result<(), Error> {
    let rows = fixtures.into_iter().map(|fixture| test::ActiveModel {
        name: Set(fixture.name.clone()),
        fixture: Set(json!(fixture)),
        author: Set(author.to_owned()),
        at: Set(now),
        ..Default::default()
    });
    scope.put(rows.collect(), Existing::Overwrite(&[test::Column::Fixture, test::Column::Author, test::Column::At])).await
}
