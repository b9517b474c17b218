//! Questions to a policy: why does somebody see something, and who could.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use policy::explain::Explanation;
use policy::{Act, Field, Matrix, Reach, Verb};

use super::{in_force, stored};
use crate::customer;
use crate::people::{self, Holder};
use crate::{Error, Session};

/// Why somebody sees a field as they do, under the policy in force.
pub struct Explained {
    /// The version that decides.
    pub version: i32,
    /// Whose sight it is.
    pub roles: Vec<String>,
    /// By scope: the level, the rules that count, what would be needed.
    pub explanation: Explanation,
    /// How the asked customer stands to them, where one was named and they reach it.
    pub scope: Option<Reach>,
    /// Whether that customer is closed to them: restricted, or consent to the purpose withdrawn.
    pub closed: bool,
}

/// Explains a field to the caller, or to whom may read the policy for somebody else: a user's subject.
///
/// # Errors
/// [`Error::Denied`]; [`Error::NotFound`] when there is no such user or customer.
pub async fn explain(
    session: &Session,
    field: Field,
    subject: Option<&str>,
    purpose: Option<&str>,
    customer: Option<sea_orm::prelude::Uuid>,
) -> Result<Explained, Error> {
    let scope = session.scope();
    let me = session.principal();
    let subject = subject.filter(|subject| *subject != me.subject());
    let whose = if let Some(subject) = subject {
        session.permit(Verb::PolicyRead)?;
        people::admit(scope, subject, String::new()).await.map_err(|_| Error::NotFound)?
    } else {
        me.clone()
    };
    let purpose = purpose.or_else(|| whose.purpose());
    let active = session.policy();
    let roles: Vec<&str> = whose.roles().iter().map(String::as_str).collect();
    let matrix = Matrix::of(&active.policy, &roles, purpose).await?;
    let explanation = policy::explain::explain(&active.policy, &matrix, &roles, field, purpose);
    let (mut reach, mut closed) = (None, false);
    if let Some(id) = customer {
        let found = customer::get(session, id).await?.ok_or(Error::NotFound)?;
        reach = Some(whose.reach(&found.whose()));
        closed = found.closed_to(purpose);
    }
    Ok(Explained { version: active.version, roles: whose.roles().to_vec(), explanation, scope: reach, closed })
}

/// Somebody who could see a field in the clear.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sees {
    /// A user or a service token.
    pub holder: Holder,
    /// The roles that they held, those of the department among them.
    pub roles: Vec<String>,
    /// For this purpose.
    pub purpose: String,
    /// In this scope, and what is narrower.
    pub scope: Reach,
}

/// Who could see a field in the clear at a moment: whoever held a role then that the version then in force let.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the policy; [`Error::NoPolicy`] when none was in force.
pub async fn who(session: &Session, field: Field, at: DateTime<Utc>) -> Result<(i32, Vec<Sees>), Error> {
    session.permit(Verb::PolicyRead)?;
    let scope = session.scope();
    let version = in_force(scope, Some(at)).await?.version;
    let policy = stored(scope, version).await?.policy;
    let mut by_roles: BTreeMap<Vec<String>, Vec<Holder>> = BTreeMap::new();
    for (holder, roles) in people::held(scope, at).await? {
        by_roles.entry(roles).or_default().push(holder);
    }
    let mut sees = Vec::new();
    for (roles, holders) in by_roles {
        let words: Vec<&str> = roles.iter().map(String::as_str).collect();
        for purpose in policy.purposes() {
            let matrix = Matrix::of(&policy, &words, Some(purpose)).await?;
            let widest = Reach::ALL.iter().rev().copied().find(|reach| matrix.allows(field, Act::ReadClear, *reach));
            if let Some(scope) = widest {
                let each = |holder: &Holder| Sees { holder: holder.clone(), roles: roles.clone(), purpose: purpose.to_owned(), scope };
                sees.extend(holders.iter().map(each));
            }
        }
    }
    sees.sort();
    Ok((version, sees))
}
