//! What a caller is shown of the schema: what its roles may not see or do for any purpose is left out of introspection. Whoever
//! asks for it all the same is answered by the policy, as ever; nothing is decided here.

use std::borrow::Cow;
use std::pin::Pin;

use async_graphql::registry::{MetaType, Registry};
use async_graphql::{Context, Response, SubscriptionType};
use entity::Shows;
use futures_util::stream::Stream;
use policy::{Act, Field, Verb};

/// Whether something is shown to whoever asks.
type Condition = fn(&Context<'_>) -> bool;

/// What needs a verb, whoever's it is.
const NEEDING: [(Verb, &[&str]); 10] = [
    (Verb::AuditRead, &["Query.audit", "Mutation.approveAuditPruning", "Subscription.auditEvent"]),
    (
        Verb::ImportRun,
        &[
            "Mutation.pauseImport",
            "Mutation.cancelImport",
            "Mutation.undoImport",
            "Mutation.drawSample",
            "Mutation.judgeRow",
            "Mutation.signSample",
            "Mutation.reviewQuality",
        ],
    ),
    (
        Verb::ImportRead,
        &[
            "Query.imports",
            "Query.import",
            "Query.sources",
            "Query.mappingVersions",
            "Query.proposeMapping",
            "Query.merges",
            "Query.sample",
            "Query.qualityReviews",
            "Subscription.importProgress",
        ],
    ),
    (
        Verb::PolicyRead,
        &["Policy.versions", "Policy.text", "Policy.review", "Policy.tests", "Policy.purposes", "Policy.holders", "Policy.proposals", "Policy.who"],
    ),
    (Verb::PolicyChange, &["Mutation.draftPolicy", "Mutation.activatePolicy", "Mutation.putPolicyTests", "Mutation.removePolicyTest", "Mutation.putPurpose"]),
    (Verb::PolicyApprove, &["Mutation.approvePolicy"]),
    (
        Verb::TenantManage,
        &[
            "Query.tokens",
            "Query.webhooks",
            "Query.registeredDocuments",
            "Mutation.issueToken",
            "Mutation.revokeToken",
            "Mutation.registerDocuments",
            "Mutation.removeDocument",
            "Mutation.requireRegisteredDocuments",
            "Mutation.setWebhook",
            "Mutation.removeWebhook",
            "Mutation.replayWebhook",
            "Mutation.assignRoles",
            "Mutation.pruneAudit",
            "Mutation.lengthenAuditRetention",
        ],
    ),
    (Verb::CustomerMerge, &["Query.duplicates", "Mutation.mergeCustomers", "Mutation.undoMerge", "Mutation.splitCustomer", "Mutation.decideDuplicate"]),
    (Verb::SourceManage, &["Mutation.setMapping", "Mutation.addWords", "Mutation.removeWord", "Mutation.setThresholds", "Mutation.setSurvivorship"]),
    (Verb::PersonRights, &["Query.personCopy", "Query.erasures", "Mutation.restrictCustomer", "Mutation.erasePerson"]),
];

/// What needs a permission for a field of some customer.
const DOING: [(&[&str], Condition); 11] = [
    (&["Query.customers"], |ctx| allows(ctx, Act::Sort, Field::Number)),
    (&["Query.customerCounts"], |ctx| [Field::Status, Field::Industry, Field::Channel].iter().any(|field| allows(ctx, Act::Aggregate, *field))),
    (&["Query.ordersByMonth"], |ctx| allows(ctx, Act::Aggregate, Field::OrderedAt)),
    (&["Mutation.createCustomer", "Mutation.updateCustomer", "Mutation.pinField", "Mutation.unpinField"], |ctx| {
        [Field::Name, Field::Phone, Field::Company, Field::Status].iter().any(|field| allows(ctx, Act::Write, *field))
    }),
    (&["Mutation.handOver"], |ctx| allows(ctx, Act::Write, Field::Owner)),
    (&["Mutation.addContact"], |ctx| allows(ctx, Act::Write, Field::ContactAt)),
    (&["Mutation.openTicket", "Mutation.setTicketStatus"], |ctx| allows(ctx, Act::Write, Field::TicketStatus)),
    (&["Mutation.addOrder"], |ctx| allows(ctx, Act::Write, Field::OrderNumber)),
    (&["Mutation.tagCustomer", "Mutation.untagCustomer"], |ctx| allows(ctx, Act::Write, Field::Tags)),
    (&["Mutation.relateCustomers", "Mutation.unrelateCustomers"], |ctx| allows(ctx, Act::Write, Field::Relations)),
    (&["Mutation.recordConsent"], |ctx| allows(ctx, Act::Write, Field::Consents)),
];

/// The subscriptions, of which the schema learns last: behind them it is complete, and told what it shows to whom.
pub struct Shown<S>(pub S);

impl<S: SubscriptionType> SubscriptionType for Shown<S> {
    fn type_name() -> Cow<'static, str> {
        S::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        let name = S::create_type_info(registry);
        for one in registry.types.values_mut() {
            if let MetaType::Object { name, fields, .. } = one {
                for (field, meta) in fields {
                    meta.visible = condition(&format!("{name}.{field}"));
                }
            }
        }
        name
    }

    fn create_field_stream<'a>(&'a self, ctx: &'a Context<'_>) -> Option<Pin<Box<dyn Stream<Item = Response> + Send + 'a>>> {
        self.0.create_field_stream(ctx)
    }
}

/// To whom `Customer.phone` or `Query.audit` is shown; `None` for everybody.
fn condition(key: &str) -> Option<Condition> {
    if let Some(field) = Field::of_key(key) {
        return SEES.get(field as usize).copied();
    }
    if let Some((verb, _)) = NEEDING.iter().find(|(_, keys)| keys.contains(&key)) {
        return MAY.get(*verb as usize).copied();
    }
    DOING.iter().find(|(keys, _)| keys.contains(&key)).map(|(_, condition)| *condition)
}

fn allows(ctx: &Context<'_>, act: Act, field: Field) -> bool {
    ctx.data_opt::<Shows>().is_some_and(|shows| shows.allows(act, field))
}

fn sees<const FIELD: usize>(ctx: &Context<'_>) -> bool {
    ctx.data_opt::<Shows>().zip(Field::ALL.get(FIELD)).is_some_and(|(shows, field)| shows.sees(*field))
}

fn may<const VERB: usize>(ctx: &Context<'_>) -> bool {
    ctx.data_opt::<Shows>().zip(Verb::ALL.get(VERB)).is_some_and(|(shows, verb)| shows.does(*verb))
}

/// The schema takes functions that know nothing but their caller: one for each field and verb.
macro_rules! each {
    ($one:ident $($n:literal)*) => { [$($one::<$n>),*] };
}
#[rustfmt::skip]
const SEES: [Condition; 56] = each!(sees 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55);
const MAY: [Condition; 12] = each!(may 0 1 2 3 4 5 6 7 8 9 10 11);
const _: () = assert!(Field::ALL.len() <= SEES.len() && Verb::ALL.len() <= MAY.len());
