//! Hints: what in a stretch of the log an auditor would want to look at, and why. Plain rules over what is stored; no scores.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Datelike, Duration, Timelike, Utc, Weekday};
use policy::Verb;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};

use super::checkpoint::bodies;
use super::table::event;
use crate::{Error, Scope, Session, customer};

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// `volume`, `new_address`, `sequence`, `off_hours` or `large_export`.
    pub rule: &'static str,
    /// Whose doing.
    pub actor: String,
    /// The first such event.
    pub at: DateTime<Utc>,
    /// In words.
    pub why: String,
}

/// How far back the usual is looked for.
const USUAL: Duration = Duration::days(14);
/// This many times the usual is unusual.
const TIMES: i64 = 5;
/// Values that nobody asks about.
const FEW: i64 = 200;
/// Persons looked at one after the other in the order of their numbers.
const RUN: usize = 10;
/// Values of one event that make it an export.
const MANY: i64 = 2_000;
/// Working hours at the tenant's place: from, to.
const HOURS: (u32, u32) = (7, 21);

/// What an auditor would look at between two moments, oldest first.
///
/// # Errors
/// [`Error::Denied`] to whom may not read the log; [`Error::Invalid`] for a stretch of more than 31 days.
pub async fn hints(session: &Session, since: DateTime<Utc>, until: DateTime<Utc>) -> Result<Vec<Hint>, Error> {
    session.permit(Verb::AuditRead)?;
    if until <= since || until - since > Duration::days(31) {
        return Err(Error::Invalid("since, until: a stretch of at most 31 days".to_owned()));
    }
    let scope = session.scope();
    let mut hints = volume(scope, since, until).await?;
    hints.extend(addresses(scope, since, until).await?);
    hints.extend(in_sequence(session, since, until).await?);
    hints.extend(off_hours(scope, since, until).await?);
    hints.extend(large(scope, since, until).await?);
    hints.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.rule.cmp(b.rule)).then_with(|| a.actor.cmp(&b.actor)));
    Ok(hints)
}

/// Who saw far more than is usual for them.
async fn volume(scope: &Scope, since: DateTime<Utc>, until: DateTime<Utc>) -> Result<Vec<Hint>, Error> {
    let sql = "SELECT actor, min(at) AS first, CAST(sum(clear + masked) AS bigint) AS n FROM audit_event WHERE tenant_id = $1 AND at >= $2 AND at < $3 GROUP BY actor";
    let seen = async |from: DateTime<Utc>, to: DateTime<Utc>| -> Result<BTreeMap<String, (DateTime<Utc>, i64)>, Error> {
        let rows = scope.rows(sql, [from.into(), to.into()]).await?;
        rows.iter().map(|row| Ok((row.try_get("", "actor")?, (row.try_get("", "first")?, row.try_get("", "n")?)))).collect()
    };
    let usual = seen(since - USUAL, since).await?;
    let now = seen(since, until).await?;
    let minutes = (until - since).num_minutes().max(1);
    let mut hints = Vec::new();
    for (actor, (at, values)) in now {
        let Some((first, before)) = usual.get(&actor) else { continue };
        let known = (since - *first).num_minutes().max(1);
        // values / minutes > TIMES × before / known, in integers.
        if values > FEW && i128::from(values) * i128::from(known) > i128::from(TIMES) * i128::from(*before) * i128::from(minutes) {
            let per_day = *before * 1440 / known;
            let why = format!("saw {values} personal values in {} hours; usual is about {per_day} a day", (minutes + 59) / 60);
            hints.push(Hint { rule: "volume", actor, at, why });
        }
    }
    Ok(hints)
}

/// Addresses from which somebody known came for the first time.
async fn addresses(scope: &Scope, since: DateTime<Utc>, until: DateTime<Utc>) -> Result<Vec<Hint>, Error> {
    let sql = "SELECT actor, address, min(at) AS first FROM audit_event WHERE tenant_id = $1 AND at >= $2 AND at < $3 GROUP BY actor, address";
    let before = scope.rows(sql, [(since - Duration::days(90)).into(), since.into()]).await?;
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in &before {
        known.entry(row.try_get("", "actor")?).or_default().insert(row.try_get("", "address")?);
    }
    let mut hints = Vec::new();
    for row in scope.rows(sql, [since.into(), until.into()]).await? {
        let (actor, address, at): (String, String, DateTime<Utc>) = (row.try_get("", "actor")?, row.try_get("", "address")?, row.try_get("", "first")?);
        if known.get(&actor).is_some_and(|known| !known.contains(&address)) {
            let why = format!("came from {address} for the first time in 90 days");
            hints.push(Hint { rule: "new_address", actor, at, why });
        }
    }
    Ok(hints)
}

/// When somebody opened one customer, and what the log calls them.
type Opened = (DateTime<Utc>, [u8; 16]);

/// Who opened one customer after the other in the order of their numbers.
async fn in_sequence(session: &Session, since: DateTime<Utc>, until: DateTime<Utc>) -> Result<Vec<Hint>, Error> {
    use event::Column;
    let scope = session.scope();
    let select = scope.find::<event::Entity>().filter(Column::At.gte(since)).filter(Column::At.lt(until)).order_by_asc(Column::Sequence).limit(100_000);
    let events: Vec<(i64, String, DateTime<Utc>)> =
        select.select_only().columns([Column::Sequence, Column::Actor, Column::At]).into_tuple().all(scope.tx()).await?;
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(Vec::new()) };
    let (mut about, mut next): (BTreeMap<i64, Vec<[u8; 16]>>, i64) = (BTreeMap::new(), first.0);
    while next <= last.0 {
        let rows = bodies(scope, next.unsigned_abs(), 2_000).await?;
        let Some((newest, _)) = rows.last() else { break };
        next = newest + 1;
        let persons = rows.iter().map(|(sequence, body)| (*sequence, super::index::subjects(body)));
        about.extend(persons.filter(|(_, persons)| persons.len() == 1).map(|(sequence, persons)| (sequence, persons.into_iter().collect())));
    }
    let mut opened: BTreeMap<&str, Vec<Opened>> = BTreeMap::new();
    for (sequence, actor, at) in &events {
        opened.entry(actor).or_default().extend(about.get(sequence).into_iter().flatten().map(|alias| (*at, *alias)));
    }
    opened.retain(|_, opened| opened.len() >= RUN);
    if opened.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: HashMap<[u8; 16], i64> = customer::numbers(scope)
        .await?
        .into_iter()
        .filter_map(|(id, number)| {
            let digits = number.trim_start_matches(|c: char| !c.is_ascii_digit());
            Some((session.keyring().alias(id).ok()?, digits.parse().ok()?))
        })
        .collect();
    let mut hints = Vec::new();
    for (actor, opened) in opened {
        let mut run: Vec<(DateTime<Utc>, i64)> = Vec::new();
        let mut longest: Vec<(DateTime<Utc>, i64)> = Vec::new();
        for (at, alias) in opened {
            let Some(number) = numbers.get(&alias) else { continue };
            match run.last() {
                Some((_, last)) if last == number => continue,
                Some((_, last)) if last + 1 == *number => {}
                _ => run.clear(),
            }
            run.push((at, *number));
            if run.len() > longest.len() {
                longest.clone_from(&run);
            }
        }
        if longest.len() >= RUN {
            let why = format!("opened {} customers in the order of their numbers", longest.len());
            hints.push(Hint { rule: "sequence", actor: actor.to_owned(), at: longest[0].0, why });
        }
    }
    Ok(hints)
}

/// Who saw clear values at night or on a weekend.
async fn off_hours(scope: &Scope, since: DateTime<Utc>, until: DateTime<Utc>) -> Result<Vec<Hint>, Error> {
    use event::Column;
    let select = scope.find::<event::Entity>().filter(Column::At.gte(since)).filter(Column::At.lt(until)).filter(Column::Clear.gt(0));
    let select = select.order_by_asc(Column::Sequence).limit(100_000).select_only().columns([Column::Actor, Column::At, Column::Clear]);
    let mut seen: BTreeMap<String, (DateTime<Utc>, i64)> = BTreeMap::new();
    for (actor, at, clear) in select.into_tuple::<(String, DateTime<Utc>, i32)>().all(scope.tx()).await? {
        let local = at.with_timezone(&policy::clean::date::zone());
        let working = (HOURS.0..HOURS.1).contains(&local.hour()) && !matches!(local.weekday(), Weekday::Sat | Weekday::Sun);
        if !working {
            seen.entry(actor).or_insert((at, 0)).1 += i64::from(clear);
        }
    }
    let hint = |(actor, (at, values))| {
        let why = format!("saw {values} personal values in the clear outside of working hours (from {} to {} on working days)", HOURS.0, HOURS.1);
        Hint { rule: "off_hours", actor, at, why }
    };
    Ok(seen.into_iter().map(hint).collect())
}

/// What took many values out at once.
async fn large(scope: &Scope, since: DateTime<Utc>, until: DateTime<Utc>) -> Result<Vec<Hint>, Error> {
    use event::Column;
    let select = scope.find::<event::Entity>().filter(Column::At.gte(since)).filter(Column::At.lt(until));
    let select = select.filter(Expr::cust(format!("clear + masked >= {MANY}"))).order_by_asc(Column::Sequence).limit(1_000);
    let select = select.select_only().columns([Column::Actor, Column::At, Column::Operation, Column::Clear, Column::Masked]);
    let rows = select.into_tuple::<(String, DateTime<Utc>, String, i32, i32)>().all(scope.tx()).await?;
    let hint = |(actor, at, operation, clear, masked)| {
        let why = format!("took {clear} clear and {masked} masked values at once, by {operation}");
        Hint { rule: "large_export", actor, at, why }
    };
    Ok(rows.into_iter().map(hint).collect())
}
