//! The one place where the time comes from.

use chrono::{DateTime, SubsecRound, Utc};

/// The time now, to the microsecond, which is what every database keeps.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
#[must_use]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
