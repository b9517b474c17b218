//! Who calls. A principal is made from a verified token or by the operator at the terminal, and in no other way.

use uuid::Uuid;

use crate::TenantId;
use crate::guard::Whose;
use policy::Reach;

/// What authentication has verified, before the database is asked whether it still stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// A person, by the subject of a signed token.
    Person {
        /// The `sub` claim.
        subject: String,
        /// The `jti` claim.
        token: String,
    },
    /// A machine, by the SHA-256 of its service token.
    Machine {
        /// The hash.
        hash: [u8; 32],
    },
}

/// An admitted caller of one tenant.
#[derive(Clone, Debug)]
pub struct Principal {
    pub(crate) tenant: TenantId,
    pub(crate) subject: String,
    pub(crate) name: String,
    pub(crate) user: Option<Uuid>,
    pub(crate) department: Option<Uuid>,
    pub(crate) roles: Vec<String>,
    pub(crate) token: String,
    pub(crate) address: String,
    pub(crate) purpose: Option<String>,
    pub(crate) registered_only: bool,
    /// The operator at the terminal: only [`crate::House`] makes one.
    pub(crate) operator: bool,
}

/// What the subject of an operator begins with; no user's does.
pub(crate) const OPERATOR: &str = "operator:";

impl Principal {
    /// Whose data.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Who, as the log knows them.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What they are called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Their roles.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// Whether this is somebody who can be one of two people: a user or the operator, not a service token.
    pub(crate) const fn person(&self) -> bool {
        self.user.is_some() || self.operator
    }

    /// What for, if declared.
    #[must_use]
    pub fn purpose(&self) -> Option<&str> {
        self.purpose.as_deref()
    }

    /// Whether this caller is answered registered documents only.
    #[must_use]
    pub const fn registered_only(&self) -> bool {
        self.registered_only
    }

    /// How a row stands to this caller.
    pub(crate) fn reach(&self, whose: &Whose) -> Reach {
        if self.user.is_some() && self.user == whose.owner {
            Reach::Own
        } else if self.department.is_some() && self.department == whose.department {
            Reach::Department
        } else {
            Reach::All
        }
    }
}
