//! The policy over GraphQL: versions and what they change, tests, purposes, who holds roles, and why somebody sees something.

use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject};
use chrono::{DateTime, Utc};
use entity::people::{Holder, Proposal};
use entity::policy_version::{self as versions, Explained, Review, Sees, Version};
use entity::{Error, people, purpose};
use policy::explain::{Counted, InScope, Way};
use policy::{Cell, Field, Reach, Sight};

use super::values::Moment;
use super::{id, session};

/// The policy of the tenant.
pub struct Policy;

/// A version of the policy. Versions never change; which one is in force does.
#[derive(SimpleObject)]
#[graphql(serial)]
struct PolicyVersion {
    version: i32,
    /// SHA-256 over its sorted rules, in hex.
    hash: String,
    author: String,
    reason: String,
    created_at: DateTime<Utc>,
    /// When it was put in force, each time.
    activated_at: Vec<DateTime<Utc>>,
    /// Whether it is in force.
    active: bool,
}

impl PolicyVersion {
    fn of(version: Version) -> Self {
        let Version { version, hash, author, reason, created_at, activated_at, active } = version;
        Self { version, hash, author, reason, created_at, activated_at, active }
    }
}

/// What stands between a version and its activation.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct PolicyReview {
    version: i32,
    /// The version in force, with which it is compared.
    base: i32,
    /// What it grants and takes away: what is granted first, clear sight before everything.
    cells: Vec<PolicyCell>,
    /// Tests that it fails, and what else keeps it from being activated.
    failing: Vec<String>,
    /// Whether a second person must approve it, because it opens clear sight or gives a permission to govern.
    needs_approval: bool,
    /// Who has approved it and may approve still.
    approved_by: Vec<String>,
}

/// One permission of one role that a change grants or takes away.
#[derive(SimpleObject)]
#[graphql(serial)]
struct PolicyCell {
    role: String,
    /// A field such as Customer.phone, or a thing such as Import.
    object: String,
    act: String,
    /// own, department or all; the widest that differs alike.
    scope: String,
    /// Null: with any purpose and without; -: without a purpose only.
    purpose: Option<String>,
    /// Granted, or taken away.
    granted: bool,
    /// The same in one line.
    line: String,
}

impl PolicyCell {
    fn of(cell: Cell) -> Self {
        let line = cell.to_string();
        Self {
            role: cell.role,
            object: cell.object,
            act: cell.act.to_owned(),
            scope: cell.scope.to_owned(),
            purpose: cell.purpose,
            granted: cell.granted,
            line,
        }
    }
}

impl PolicyReview {
    pub fn of(review: Review) -> Self {
        let Review { version, base, cells, failing, needs_approval, approved_by } = review;
        Self { version, base, cells: cells.into_iter().map(PolicyCell::of).collect(), failing, needs_approval, approved_by }
    }
}

/// A purpose that callers may declare.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct Purpose {
    code: String,
    label: String,
    /// Since when nobody may declare it any more.
    retired_at: Option<DateTime<Utc>>,
}

impl Purpose {
    pub fn of(purpose: purpose::Purpose) -> Self {
        Self { code: purpose.code, label: purpose.label, retired_at: purpose.retired_at }
    }
}

/// Who can hold roles.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum HolderKind {
    /// A user, by subject.
    User,
    /// A department, by name; all its people hold its roles.
    Department,
    /// A service token, by name.
    Token,
}

/// A user, a department or a service token.
#[derive(InputObject)]
pub struct HolderInput {
    kind: HolderKind,
    /// The subject or name.
    name: String,
}

impl From<HolderInput> for Holder {
    fn from(holder: HolderInput) -> Self {
        match holder.kind {
            HolderKind::User => Self::User(holder.name),
            HolderKind::Department => Self::Department(holder.name),
            HolderKind::Token => Self::Token(holder.name),
        }
    }
}

/// Somebody with roles.
#[derive(SimpleObject)]
#[graphql(serial)]
struct RoleHolder {
    /// user, department or token.
    kind: String,
    name: String,
    roles: Vec<String>,
}

/// An assignment of roles that waits for a second person.
#[derive(SimpleObject)]
#[graphql(serial)]
struct RoleProposal {
    /// user, department or token.
    kind: String,
    name: String,
    roles: Vec<String>,
    /// Who asked for it first.
    by: String,
    at: DateTime<Utc>,
}

/// Somebody who could see a field in the clear.
#[derive(SimpleObject)]
#[graphql(serial)]
struct ClearSight {
    /// user or token.
    kind: String,
    name: String,
    /// What they held then, of their own and of their department.
    roles: Vec<String>,
    purpose: String,
    /// In this scope and what is narrower.
    scope: String,
}

impl ClearSight {
    fn of(sees: Sees) -> Self {
        let (kind, name) = (sees.holder.kind().to_owned(), sees.holder.name().to_owned());
        Self { kind, name, roles: sees.roles, purpose: sees.purpose, scope: sees.scope.word().to_owned() }
    }
}

/// Who could see a field in the clear at a moment.
#[derive(SimpleObject)]
#[graphql(serial)]
struct Who {
    /// The version in force then.
    version: i32,
    holders: Vec<ClearSight>,
}

/// Why a field is seen as it is.
#[derive(SimpleObject)]
#[graphql(serial)]
struct Why {
    /// The version that decides.
    version: i32,
    roles: Vec<String>,
    purpose: Option<String>,
    scopes: Vec<WhyInScope>,
    /// Purposes with which these roles would see it in the clear.
    purposes_for_clear: Vec<WayToClear>,
    /// Roles with which it would be seen in the clear, for this purpose.
    roles_for_clear: Vec<WayToClear>,
    /// How the customer that was named stands to the caller: own, department or all.
    scope: Option<String>,
    /// Whether that customer is closed: restricted, or its consent to the purpose is withdrawn.
    closed: bool,
}

/// What is seen in rows of one scope, and by which rules.
#[derive(SimpleObject)]
#[graphql(serial)]
struct WhyInScope {
    scope: String,
    /// What comes when the clear value is asked for: withheld, masked or clear.
    clear: String,
    /// What comes otherwise.
    masked: String,
    rules: Vec<WhyRule>,
}

/// A rule that counts.
#[derive(SimpleObject)]
#[graphql(serial)]
struct WhyRule {
    /// As a line of the policy.
    rule: String,
    /// False for a denial, which beats every permission.
    allow: bool,
    /// From a role of the caller to the role of the rule.
    path: Vec<String>,
}

/// A purpose or a role that would give clear sight.
#[derive(SimpleObject)]
#[graphql(serial)]
struct WayToClear {
    name: String,
    scopes: Vec<String>,
}

fn words(scopes: &[Reach]) -> Vec<String> {
    scopes.iter().map(|scope| scope.word().to_owned()).collect()
}

impl Why {
    fn of(explained: Explained) -> Self {
        let ways = |ways: Vec<Way>| ways.into_iter().map(|way| WayToClear { scopes: words(&way.scopes), name: way.name }).collect();
        let rule = |Counted { rule, allow, path }: Counted| WhyRule { rule, allow, path };
        let sight = |sight: Sight| sight.word().to_owned();
        let scope = |InScope { scope, clear, masked, rules }: InScope| WhyInScope {
            scope: scope.word().to_owned(),
            clear: sight(clear),
            masked: sight(masked),
            rules: rules.into_iter().map(rule).collect(),
        };
        let Explained { version, roles, explanation, scope: of_customer, closed } = explained;
        Self {
            version,
            roles,
            purpose: explanation.purpose,
            scopes: explanation.scopes.into_iter().map(scope).collect(),
            purposes_for_clear: ways(explanation.purposes_for_clear),
            roles_for_clear: ways(explanation.roles_for_clear),
            scope: of_customer.map(|reach| reach.word().to_owned()),
            closed,
        }
    }
}

/// A field of the data dictionary.
pub fn field(key: &str) -> std::result::Result<Field, Error> {
    Field::of_key(key).ok_or_else(|| Error::Invalid("field: not a field of the data dictionary".to_owned()))
}

/// The policy of the tenant. For those who may read it; to oneself everything is explained.
#[Object(serial)]
impl Policy {
    /// The versions, newest first.
    async fn versions(&self, ctx: &Context<'_>) -> Result<Vec<PolicyVersion>> {
        Ok(versions::versions(session(ctx)).await?.into_iter().map(PolicyVersion::of).collect())
    }
    /// The rules of a version as a file, sorted: of the one in force unless another is named.
    async fn text(&self, ctx: &Context<'_>, version: Option<i32>) -> Result<String> {
        Ok(versions::text(session(ctx), version).await?.1)
    }
    /// What activating a version would change, whether its tests pass, and who has approved it.
    async fn review(&self, ctx: &Context<'_>, version: i32) -> Result<PolicyReview> {
        Ok(PolicyReview::of(versions::review(session(ctx), version).await?))
    }
    /// The names of the tests that every version must pass before it is activated.
    async fn tests(&self, ctx: &Context<'_>) -> Result<Vec<String>> {
        Ok(versions::tests(session(ctx)).await?.into_iter().map(|test| test.name).collect())
    }
    /// What callers may declare as their purpose.
    async fn purposes(&self, ctx: &Context<'_>) -> Result<Vec<Purpose>> {
        session(ctx).permit(policy::Verb::PolicyRead)?;
        Ok(purpose::all(session(ctx)).await?.into_iter().map(Purpose::of).collect())
    }
    /// Who holds which roles of their own.
    async fn holders(&self, ctx: &Context<'_>) -> Result<Vec<RoleHolder>> {
        let holders = people::holders(session(ctx)).await?;
        Ok(holders.into_iter().map(|(holder, roles)| RoleHolder { kind: holder.kind().to_owned(), name: holder.name().to_owned(), roles }).collect())
    }
    /// Assignments of roles that wait for a second person: whoever assigns the same within seven days carries them out.
    async fn proposals(&self, ctx: &Context<'_>) -> Result<Vec<RoleProposal>> {
        let proposal = |Proposal { holder, roles, actor: by, at }: Proposal| RoleProposal {
            kind: holder.kind().to_owned(),
            name: holder.name().to_owned(),
            roles,
            by,
            at,
        };
        Ok(people::proposals(session(ctx)).await?.into_iter().map(proposal).collect())
    }
    /// Why a field such as Customer.phone is seen as it is: by the caller, or by a user whose subject is named; for the
    /// declared purpose or another; of a customer, if one is named.
    async fn explain(&self, ctx: &Context<'_>, field: String, subject: Option<String>, purpose: Option<String>, customer: Option<ID>) -> Result<Why> {
        let customer = customer.map(|id| id::customer(&id).ok_or(Error::NotFound)).transpose()?;
        Ok(Why::of(versions::explain(session(ctx), self::field(&field)?, subject.as_deref(), purpose.as_deref(), customer).await?))
    }
    /// Who could see a field in the clear at a moment; now unless one is named.
    async fn who(&self, ctx: &Context<'_>, field: String, at: Option<Moment>) -> Result<Who> {
        let at = at.map_or_else(|| session(ctx).now(), |at| at.0);
        let (version, sees) = versions::who(session(ctx), self::field(&field)?, at).await?;
        Ok(Who { version, holders: sees.into_iter().map(ClearSight::of).collect() })
    }
}
