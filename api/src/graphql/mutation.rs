//! What the data steward does. A request with mutations is one transaction with one event: when anything in it fails,
//! nothing of it is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_graphql::{Context, Enum, ID, InputObject, MergedObject, Object, OutputType, Result, SimpleObject};
use entity::import::{self, Wanted, undo};
use entity::people::Assigned;
use entity::{Change, Error, audit, erasure, merge, pair, people, pin, policy_version, purpose, quality, reference, rights, setting, signoff, source};
use policy::clean::{Addition, ReferenceKind};
use policy::mapping::Mapping as Meaning;
use policy::survivorship::Survives;
use uuid::Uuid;

use super::access::{Access, RegisteredDocument};
use super::audit::AuditPruning;
use super::customer::Customer;
use super::id::{self, Kind};
use super::policy::{HolderInput, PolicyReview, Purpose, field as known};
use super::rights::ErasureCertificate;
use super::steward::{ImportReport, QualityReview, Sample, Source, alone};
use super::values::Moment;
use super::writes::Writes;

/// What can be done.
#[derive(Default, MergedObject)]
pub struct Mutation(Governing, Writes, Access);

/// What stewards, administrators, officers and auditors do.
#[derive(Default)]
pub struct Governing;

/// Whether anything in the request failed, so that nothing of it is kept.
#[derive(Default)]
pub struct Refused(AtomicBool);

impl Refused {
    /// Whether to keep nothing.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What came of a mutation.
#[derive(SimpleObject)]
#[graphql(serial)]
#[graphql(concrete(name = "CustomerPayload", params(Customer)))]
#[graphql(concrete(name = "CustomersPayload", params("Vec<Customer>")))]
#[graphql(concrete(name = "ImportPayload", params(ImportReport)))]
#[graphql(concrete(name = "SourcePayload", params(Source)))]
#[graphql(concrete(name = "SamplePayload", params(Sample)))]
#[graphql(concrete(name = "ReviewPayload", params("Vec<QualityReview>")))]
#[graphql(concrete(name = "PolicyPayload", params(PolicyReview)))]
#[graphql(concrete(name = "PurposePayload", params(Purpose)))]
#[graphql(concrete(name = "ErasurePayload", params(ErasureCertificate)))]
#[graphql(concrete(name = "PruningPayload", params(AuditPruning)))]
#[graphql(concrete(name = "DonePayload", params(bool)))]
#[graphql(concrete(name = "CountPayload", params(i32)))]
#[graphql(concrete(name = "TokenPayload", params(String)))]
#[graphql(concrete(name = "DocumentsPayload", params("Vec<RegisteredDocument>")))]
pub struct Payload<T: OutputType> {
    /// What there is now; null when something was wrong.
    result: Option<T>,
    /// What was wrong; then nothing of the whole request was written.
    user_errors: Vec<UserError>,
}

/// What was wrong with an input. Never quotes a value.
#[derive(SimpleObject)]
#[graphql(serial)]
pub struct UserError {
    /// The input field.
    field: Option<String>,
    message: String,
    code: &'static str,
}

/// What came of an assignment of roles.
#[derive(SimpleObject)]
#[graphql(serial)]
struct RolesPayload {
    /// Whether the roles are held now; null when something was wrong.
    result: Option<bool>,
    /// Whether it counts only when a second person asks for the same, within seven days.
    waiting: bool,
    /// What is waited for.
    message: Option<&'static str>,
    /// What was wrong; then nothing of the whole request was written.
    user_errors: Vec<UserError>,
}

/// What was wrong becomes a user error.
///
/// # Errors
/// What the caller may not do, and what broke.
pub fn payload<T: OutputType>(ctx: &Context<'_>, done: std::result::Result<T, Error>) -> Result<Payload<T>> {
    let (messages, code) = match done {
        Ok(result) => return Ok(Payload { result: Some(result), user_errors: vec![] }),
        Err(Error::Invalid(message)) => (vec![message], "BAD_USER_INPUT"),
        Err(Error::Faults(faults)) => (faults, "BAD_USER_INPUT"),
        Err(Error::NotFound) => (vec!["not found".to_owned()], "NOT_FOUND"),
        Err(error @ Error::Conflict) => (vec![error.to_string()], "CONFLICT"),
        Err(error) => return Err(error.into()),
    };
    ctx.data_unchecked::<Arc<Refused>>().0.store(true, Ordering::Relaxed);
    let user_error = |message: String| {
        let field = message.split_once(": ").map(|(field, _)| field).filter(|field| !field.contains(' ')).map(str::to_owned);
        UserError { field, message, code }
    };
    Ok(Payload { result: None, user_errors: messages.into_iter().map(user_error).collect() })
}

/// The change of this request.
#[must_use]
pub fn change<'c>(ctx: &Context<'c>) -> &'c Arc<Change> {
    ctx.data_unchecked::<Arc<Change>>()
}

/// The key in an id of this kind.
///
/// # Errors
/// Anything else is answered like a missing thing.
pub fn key(kind: Kind, id: &ID) -> std::result::Result<Uuid, Error> {
    id::key(kind, id).ok_or(Error::NotFound)
}

/// What a column holds.
#[derive(InputObject)]
struct ColumnInput {
    /// As the source writes it.
    header: String,
    /// The field that it goes to, such as phone.
    to: Option<String>,
    /// How it is compared in probabilistic matching: name, organisation, words, digits, date or exact.
    compare: Option<String>,
    /// Whether a cell is filled only in the first row of a group.
    #[graphql(default)]
    fill_down: bool,
}

/// A mapping, either as a TOML file or column by column.
#[derive(InputObject)]
struct MappingInput {
    /// The source system; a new name makes a new one.
    source: String,
    /// What people call it.
    label: Option<String>,
    /// The whole mapping as TOML.
    toml: Option<String>,
    /// What a row tells of: follow_up, order, ticket or membership.
    tells: Option<String>,
    columns: Option<Vec<ColumnInput>>,
}

impl MappingInput {
    fn meaning(self) -> std::result::Result<Meaning, Error> {
        let wrong = |problem: policy::mapping::FileError| Error::Invalid(format!("mapping: {problem}"));
        if let Some(toml) = self.toml {
            return Meaning::from_toml(&toml).map_err(wrong);
        }
        let columns: Vec<serde_json::Value> = self
            .columns
            .unwrap_or_default()
            .into_iter()
            .map(|column| {
                let mut json = serde_json::json!({ "header": column.header, "fill_down": column.fill_down });
                for (key, value) in [("to", column.to), ("compare", column.compare)] {
                    if let Some(value) = value {
                        json[key] = value.into();
                    }
                }
                json
            })
            .collect();
        let json = serde_json::json!({ "tells": self.tells.as_deref().unwrap_or("membership"), "columns": columns });
        Meaning::from_json(&json.to_string()).map_err(wrong)
    }
}

/// What a word adds to.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "ReferenceKind")]
enum WordKind {
    /// 3 to 5 digits, to what numbers of the segment are.
    MobileSegment,
    /// A word, to an industry code such as I65.
    IndustryAlias,
    /// A division's name, to its parents.
    Division,
    /// A word, to a status.
    StatusWord,
    /// A word, to a channel.
    ChannelWord,
    /// A number of 11 digits that stands for no number.
    PlaceholderPhone,
}

/// A word and what it means.
#[derive(InputObject)]
struct WordInput {
    kind: WordKind,
    word: String,
    #[graphql(default)]
    meaning: String,
}

/// How one value is chosen among those that a customer's records state.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Survives")]
enum SurvivorshipRule {
    /// Of the record that its source changed last.
    Newest,
    /// Of the earliest record; of dates the earliest.
    Earliest,
    /// Of the most trusted source, the newest there.
    MostTrusted,
    /// The one that most records state.
    MostFrequent,
}

/// What a person says of a pair of the duplicates queue.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
enum PairDecision {
    /// They are one.
    Merge,
    /// They are not; the pair is not asked again.
    Dismiss,
}

/// What can be done.
#[Object(serial)]
impl Governing {
    /// Gives a source system a new version of its mapping; a new name makes a new source.
    async fn set_mapping(&self, ctx: &Context<'_>, input: MappingInput) -> Result<Payload<Source>> {
        let (name, label) = (input.source.clone(), input.label.clone());
        let done = async { source::set_mapping(change(ctx), &name, label.as_deref(), input.meaning()?).await };
        payload(ctx, done.await.map(Source::of))
    }

    /// Adds words to the reference data of cleaning. They hold for what is imported from now on.
    async fn add_words(&self, ctx: &Context<'_>, words: Vec<WordInput>) -> Result<Payload<bool>> {
        let additions: Vec<Addition> = words.into_iter().map(|word| Addition { kind: word.kind.into(), key: word.word, value: word.meaning }).collect();
        payload(ctx, reference::add(change(ctx), &additions).await.map(|()| true))
    }

    /// Takes a word away.
    async fn remove_word(&self, ctx: &Context<'_>, kind: WordKind, word: String) -> Result<Payload<bool>> {
        payload(ctx, reference::remove(change(ctx), kind.into(), &word).await.map(|()| true))
    }

    /// From which probability on a pair is linked (1: never; null: from 0.95 on where the sources say what is compared, else
    /// never), for pairs that are found from now on; and from which it is queued, at once.
    async fn set_thresholds(&self, ctx: &Context<'_>, link: Option<f64>, review: f64) -> Result<Payload<bool>> {
        payload(ctx, setting::set_thresholds(change(ctx), setting::Thresholds { link, review }).await.map(|()| true))
    }

    /// Sets how a golden value is chosen; customers follow when their records change next.
    async fn set_survivorship(&self, ctx: &Context<'_>, field: String, rule: SurvivorshipRule) -> Result<Payload<bool>> {
        payload(ctx, setting::set_survivorship(change(ctx), &field, rule.into()).await.map(|()| true))
    }

    /// Stops a run behind its batch; importing the file again goes on.
    async fn pause_import(&self, ctx: &Context<'_>, id: ID) -> Result<Payload<ImportReport>> {
        let done = async { import::stop(change(ctx), key(Kind::Import, &id)?, Wanted::Pause).await };
        payload(ctx, done.await.map(ImportReport::of))
    }

    /// Stops a run for good; what was loaded stays until it is undone.
    async fn cancel_import(&self, ctx: &Context<'_>, id: ID) -> Result<Payload<ImportReport>> {
        let done = async { import::stop(change(ctx), key(Kind::Import, &id)?, Wanted::Cancel).await };
        payload(ctx, done.await.map(ImportReport::of))
    }

    /// Undoes an import: what it created goes, what it replaced comes back. 5,000 records at a time: call again while the
    /// state is undoing.
    async fn undo_import(&self, ctx: &Context<'_>, id: ID) -> Result<Payload<ImportReport>> {
        let done = async {
            let key = key(Kind::Import, &id)?;
            if undo::batch(change(ctx), key).await? {
                undo::batch(change(ctx), key).await?;
            }
            import::report(change(ctx), key).await
        };
        payload(ctx, done.await.map(ImportReport::of))
    }

    /// Merges a customer into another, which stays.
    async fn merge_customers(&self, ctx: &Context<'_>, winner: ID, loser: ID, reason: String) -> Result<Payload<Customer>> {
        let done = async { merge::merge(change(ctx), key(Kind::Customer, &winner)?, key(Kind::Customer, &loser)?, &reason).await };
        payload(ctx, done.await.map(alone))
    }

    /// Undoes a merge of the journal. The records that moved then go back; what came later goes where the rules say. Returns both customers.
    async fn undo_merge(&self, ctx: &Context<'_>, id: ID) -> Result<Payload<Vec<Customer>>> {
        let done = async { merge::unmerge(change(ctx), key(Kind::Merge, &id)?).await };
        payload(ctx, done.await.map(|(one, other)| vec![alone(one), alone(other)]))
    }

    /// Splits records off a customer; they become a customer of their own, which is returned.
    async fn split_customer(&self, ctx: &Context<'_>, id: ID, records: Vec<ID>) -> Result<Payload<Customer>> {
        let done = async {
            let records = records.iter().map(|record| key(Kind::Record, record)).collect::<std::result::Result<Vec<_>, _>>()?;
            merge::split(change(ctx), key(Kind::Customer, &id)?, &records).await
        };
        payload(ctx, done.await.map(alone))
    }

    /// Decides a pair of the duplicates queue. Returns the customers as they are now.
    async fn decide_duplicate(&self, ctx: &Context<'_>, id: ID, decision: PairDecision, note: Option<String>) -> Result<Payload<Vec<Customer>>> {
        let decision = if decision == PairDecision::Merge { pair::Decision::Merge } else { pair::Decision::Dismiss };
        let done = async { pair::decide(change(ctx), key(Kind::Pair, &id)?, decision, note.as_deref().unwrap_or_default()).await };
        payload(ctx, done.await.map(|customers| customers.into_iter().map(alone).collect()))
    }

    /// Pins a golden value by hand, such as Customer.phone. It is cleaned and validated as an import's cell.
    async fn pin_field(&self, ctx: &Context<'_>, customer: ID, field: String, value: String, reason: String) -> Result<Payload<Customer>> {
        let done = async { pin::set(change(ctx), key(Kind::Customer, &customer)?, known(&field)?, &value, &reason).await };
        payload(ctx, done.await.map(alone))
    }

    /// Takes a pin away: the survivorship rules decide again.
    async fn unpin_field(&self, ctx: &Context<'_>, customer: ID, field: String) -> Result<Payload<Customer>> {
        let done = async { pin::remove(change(ctx), key(Kind::Customer, &customer)?, known(&field)?).await };
        payload(ctx, done.await.map(alone))
    }

    /// Draws a sample of an import for sign-off: a tenth of its records, or `size` of them; at most 1,000.
    async fn draw_sample(&self, ctx: &Context<'_>, import: ID, size: Option<i32>, seed: i64) -> Result<Payload<Sample>> {
        let size = size.map(|size| usize::try_from(size).unwrap_or(1));
        let done = async { signoff::draw(change(ctx), key(Kind::Import, &import)?, size, seed).await };
        payload(ctx, done.await.map(Sample))
    }

    /// Says of a sampled row whether it is right.
    async fn judge_row(&self, ctx: &Context<'_>, sample: ID, row: ID, right: bool) -> Result<Payload<Sample>> {
        let done = async { signoff::judge(change(ctx), key(Kind::Sample, &sample)?, key(Kind::Record, &row)?, right).await };
        payload(ctx, done.await.map(Sample))
    }

    /// Signs a sample of which every row is judged.
    async fn sign_sample(&self, ctx: &Context<'_>, sample: ID, note: Option<String>) -> Result<Payload<Sample>> {
        let done = async { signoff::sign(change(ctx), key(Kind::Sample, &sample)?, note.as_deref().unwrap_or_default()).await };
        payload(ctx, done.await.map(Sample))
    }

    /// Writes down a new version of the policy, `p` and `g` lines, and says what it would change.
    async fn draft_policy(&self, ctx: &Context<'_>, text: String, reason: String) -> Result<Payload<PolicyReview>> {
        payload(ctx, policy_version::draft(change(ctx), &text, &reason).await.map(PolicyReview::of))
    }

    /// Approves the step from the version in force to another, as the second person.
    async fn approve_policy(&self, ctx: &Context<'_>, version: i32) -> Result<Payload<PolicyReview>> {
        payload(ctx, policy_version::approve(change(ctx), version).await.map(PolicyReview::of))
    }

    /// Puts a version in force, be it new or old. Every server follows within five seconds.
    async fn activate_policy(&self, ctx: &Context<'_>, version: i32, reason: String) -> Result<Payload<PolicyReview>> {
        payload(ctx, policy_version::activate(change(ctx), version, &reason).await.map(PolicyReview::of))
    }

    /// Adds tests of the policy, as a TOML file of [[test]]. Every version must pass them before it is activated.
    async fn put_policy_tests(&self, ctx: &Context<'_>, toml: String) -> Result<Payload<bool>> {
        let done = async {
            let fixtures = policy::fixtures_from_toml(&toml).map_err(|problem| Error::Invalid(format!("toml: {problem}")))?;
            policy_version::put_tests(change(ctx), fixtures).await
        };
        payload(ctx, done.await.map(|()| true))
    }

    /// Takes a test of the policy away, so that what it guarded can change.
    async fn remove_policy_test(&self, ctx: &Context<'_>, name: String) -> Result<Payload<bool>> {
        payload(ctx, policy_version::remove_test(change(ctx), &name).await.map(|()| true))
    }

    /// Gives a user, a department or a service token these roles instead of those it had. Nobody changes their own. Roles that
    /// give clear sight or a permission to govern wait until a second person asks for the same.
    async fn assign_roles(&self, ctx: &Context<'_>, holder: HolderInput, roles: Vec<String>) -> Result<RolesPayload> {
        let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
        let assigned = people::assign(change(ctx), &holder.into(), &roles).await;
        let waiting = matches!(assigned, Ok(Assigned::Waits));
        let Payload { result, user_errors } = payload(ctx, assigned.map(|assigned| assigned == Assigned::Now))?;
        let message = waiting.then_some("these roles give clear sight or a permission to govern: a second person has to assign the same within seven days");
        Ok(RolesPayload { result, waiting, message, user_errors })
    }

    /// Adds a purpose, gives it another label, or retires it.
    async fn put_purpose(&self, ctx: &Context<'_>, code: String, label: String, #[graphql(default)] retired: bool) -> Result<Payload<Purpose>> {
        payload(ctx, purpose::put(change(ctx), &code, &label, retired).await.map(Purpose::of))
    }

    /// Writes down that a customer gave or withdrew consent to a purpose. A withdrawn one is closed at once.
    async fn record_consent(&self, ctx: &Context<'_>, customer: ID, purpose: String, version: String, given: bool) -> Result<Payload<Customer>> {
        let done = async { rights::consent(change(ctx), key(Kind::Customer, &customer)?, &purpose, &version, given).await };
        payload(ctx, done.await.map(alone))
    }

    /// Restricts a customer's data to storage, so that every role sees nothing of it, or lifts that.
    async fn restrict_customer(&self, ctx: &Context<'_>, customer: ID, restricted: bool, reason: String) -> Result<Payload<Customer>> {
        let done = async { rights::restrict(change(ctx), key(Kind::Customer, &customer)?, restricted, &reason).await };
        payload(ctx, done.await.map(alone))
    }

    /// Erases a person by destroying the keys of everything that tells of them. Cannot be undone.
    async fn erase_person(&self, ctx: &Context<'_>, customer: ID, reason: String) -> Result<Payload<ErasureCertificate>> {
        let done = async { erasure::erase(change(ctx), key(Kind::Customer, &customer)?, &reason).await };
        payload(ctx, done.await.map(ErasureCertificate::of))
    }

    /// Asks that events of the log from before a moment go, once their time is over. They do when a second person, who reads the
    /// log, approves.
    async fn prune_audit(&self, ctx: &Context<'_>, before: Moment) -> Result<Payload<AuditPruning>> {
        payload(ctx, audit::ask_pruning(change(ctx), before.0).await.map(AuditPruning::of))
    }

    /// Approves the pruning that was asked for, and does it. The hashes of what goes stay.
    async fn approve_audit_pruning(&self, ctx: &Context<'_>) -> Result<Payload<AuditPruning>> {
        payload(ctx, audit::approve_pruning(change(ctx)).await.map(AuditPruning::of))
    }

    /// Lengthens how long the log is kept; it can never be shortened.
    async fn lengthen_audit_retention(&self, ctx: &Context<'_>, days: u32) -> Result<Payload<bool>> {
        payload(ctx, audit::set_retention(change(ctx), days).await.map(|()| true))
    }

    /// Reviews the quality of every source, for this month.
    async fn review_quality(&self, ctx: &Context<'_>) -> Result<Payload<Vec<QualityReview>>> {
        payload(ctx, quality::review(change(ctx)).await.map(|reviews| reviews.into_iter().map(QualityReview::of).collect()))
    }
}
