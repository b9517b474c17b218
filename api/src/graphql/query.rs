//! The root of every query.

use async_graphql::{Context, Enum, ID, InputObject, Object, OneofObject, Result, SimpleObject};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entity::customer::{By, Cursors, Cut, Filter, Order};
use entity::{Error, document, import, merge, pair, quality, signoff, source, token, webhook};

use super::access::{RegisteredDocument, ServiceToken, Webhook};
use super::audit::Audit;
use super::connection::{PageInfo, at_most, cost, within};
use super::counts::{CustomerCounts, CustomerGroup, OrderMonth};
use super::customer::Customer;
use super::dictionary::{self, DictionaryEntry};
use super::id::{self, Kind};
use super::node::{self, Node};
use super::page::{self, Page};
use super::policy::Policy;
use super::rights::ErasureCertificate;
use super::rows::{Plain, Row, Rows};
use super::session;
use super::steward::{Duplicate, ImportReport, MappingProposal, MappingVersion, Merge, QualityReview, Sample, Source};
use super::values::{Channel, CustomerType, Moment, Status, ValueTier};

/// What can be asked.
pub struct Query;

/// What can be asked.
#[Object(serial)]
impl Query {
    /// The caller, as the token and the tenant's policy have it.
    async fn me(&self, ctx: &Context<'_>) -> Me {
        let (session, principal) = (session(ctx), session(ctx).principal());
        Me {
            subject: principal.subject().to_owned(),
            name: principal.name().to_owned(),
            roles: principal.roles().to_vec(),
            purpose: principal.purpose().map(str::to_owned),
            policy_version: session.policy_version(),
        }
    }

    /// One customer, or the one it was merged into. Null when it is missing, another tenant's or beyond reach: one and the
    /// same answer.
    async fn customer(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Row<Customer>>> {
        let Some(key) = id::customer(&id) else { return Ok(None) };
        let found = entity::customer::some(session(ctx), key, page::columns(ctx, &[&[]])).await?;
        Ok(found.map(|customer| Row(Customer::at(&Page::of(ctx, &[&[]], vec![customer]), 0))))
    }

    /// Any thing by its id. Null when it is missing, another tenant's or beyond reach: one and the same answer.
    async fn node(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Node>> {
        node::find(ctx, &id).await
    }

    /// Things by their ids, at most 100, in that order.
    #[graphql(complexity = "100 + ids.len() * child_complexity")]
    async fn nodes(&self, ctx: &Context<'_>, ids: Vec<ID>) -> Result<Vec<Option<Node>>> {
        if ids.len() > 100 {
            return Err(Error::Invalid("ids: at most 100".to_owned()).into());
        }
        let mut nodes = Vec::with_capacity(ids.len());
        for id in &ids {
            nodes.push(node::find(ctx, id).await?);
        }
        Ok(nodes)
    }

    /// Customers that meet a filter, in order. Personal fields are neither filtered nor ordered by. The `first` behind a cursor, or
    /// the `last` before one: at most 100, or 1,000 for whoever may take customers out in bulk.
    #[graphql(complexity = "cost(first.or(last), 20, child_complexity)")]
    #[expect(clippy::too_many_arguments, reason = "they are those of a connection, as Relay has them")]
    async fn customers(
        &self,
        ctx: &Context<'_>,
        filter: Option<CustomerFilter>,
        order_by: Option<CustomerOrder>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> Result<CustomerConnection> {
        if first.is_some() && last.is_some() {
            return Err(Error::Invalid("first, last: one of them, not both".to_owned()).into());
        }
        let filter: Filter = filter.unwrap_or_default().into();
        let order = order_by.unwrap_or_default();
        let read = |name: &str, cursor: Option<String>| {
            cursor.map(|cursor| URL_SAFE_NO_PAD.decode(cursor).map_err(|_| Error::Invalid(format!("{name}: not a cursor")))).transpose()
        };
        let (after, before, backwards) = (read("after", after)?, read("before", before)?, last.is_some());
        let all = entity::customer::page_most(session(ctx));
        let named = if backwards { "last" } else { "first" };
        let most = within(first.or(last).unwrap_or(20), all).ok_or_else(|| Error::Invalid(format!("{named}: a number from 1 to {all}")))?;
        let (behind, ahead) = (after.is_some(), before.is_some());
        let cut = Cut { most, after, before, last: backwards, descending: order.direction == Direction::Desc };
        let paths: [&[&str]; 2] = [&["nodes"], &["edges", "node"]];
        let page = entity::customer::page(session(ctx), &filter, order.field.into(), &cut, page::columns(ctx, &paths)).await?;
        let has_next_page = if backwards { ahead } else { page.more };
        let has_previous_page = if backwards { page.more } else { behind };
        let customers = Page::of(ctx, &paths, page.customers);
        Ok(CustomerConnection { page: customers, cursors: page.cursors, has_next_page, has_previous_page, filter })
    }

    /// How many customers there are in each group. Groups of fewer than five are not told, nor what would let them be computed.
    async fn customer_counts(&self, ctx: &Context<'_>, by: CustomerGroup, filter: Option<CustomerFilter>) -> Result<CustomerCounts> {
        Ok(CustomerCounts::of(entity::customer::counts(session(ctx), &filter.unwrap_or_default().into(), by.into()).await?))
    }

    /// Orders month by month, from one month to another (`2026-11`), of the customers within the caller's reach. Months in which
    /// fewer than five customers ordered are not told.
    #[graphql(complexity = "500 + child_complexity")]
    async fn orders_by_month(&self, ctx: &Context<'_>, from: Option<String>, to: Option<String>) -> Result<Vec<OrderMonth>> {
        let months = entity::customer::orders_by_month(session(ctx), from.as_deref(), to.as_deref()).await?;
        Ok(months.into_iter().map(OrderMonth::of).collect())
    }

    /// Finds one customer by an exact value. Searching by phone or e-mail has a budget: at most five values that share a mask
    /// in a day, sixty in an hour.
    async fn find_customer(&self, ctx: &Context<'_>, by: FindBy) -> Result<Option<Row<Customer>>> {
        let by = match by {
            FindBy::Phone(phone) => By::Phone(phone),
            FindBy::Email(email) => By::Email(email),
            FindBy::Number(number) => By::Number(number),
            FindBy::OrderNumber(number) => By::OrderNumber(number),
        };
        let found = entity::customer::find(session(ctx), by, page::columns(ctx, &[&[]])).await?;
        Ok(found.map(|customer| Row(Customer::at(&Page::of(ctx, &[&[]], vec![customer]), 0))))
    }

    /// Every governed field: what it is, how it is classified and masked.
    async fn data_dictionary(&self) -> Vec<DictionaryEntry> {
        dictionary::all()
    }

    /// The audit log.
    async fn audit(&self) -> Audit {
        Audit
    }

    /// The policy: versions, tests, purposes, who holds roles, why somebody sees something.
    async fn policy(&self) -> Policy {
        Policy
    }

    /// All that is held about a person, in the clear, with who has seen it. For those who see to the rights of persons.
    async fn person_copy(&self, ctx: &Context<'_>, customer: ID) -> Result<PersonCopy> {
        let key = id::customer(&customer).ok_or(Error::NotFound)?;
        let customer = entity::customer::get(session(ctx), key).await?.ok_or(Error::NotFound)?;
        let copy = crate::person::copy(session(ctx), &customer).await?;
        Ok(PersonCopy { csv: crate::person::csv(&copy)?, json: copy.to_string() })
    }

    /// The service tokens of the tenant, newest first. For those who manage it.
    async fn tokens(&self, ctx: &Context<'_>) -> Result<Vec<ServiceToken>> {
        Ok(token::all(session(ctx)).await?.into_iter().map(ServiceToken::of).collect())
    }

    /// The webhooks and how they do, by name. For those who manage the tenant.
    async fn webhooks(&self, ctx: &Context<'_>) -> Result<Vec<Webhook>> {
        Ok(webhook::all(session(ctx)).await?.into_iter().map(Webhook::of).collect())
    }

    /// The documents that clients may ask by `documentId`, by name. For those who manage the tenant.
    async fn registered_documents(&self, ctx: &Context<'_>) -> Result<Vec<RegisteredDocument>> {
        Ok(document::all(session(ctx)).await?.into_iter().map(RegisteredDocument::of).collect())
    }

    /// Certificates of erasures, newest first; of one customer number, if it is given.
    async fn erasures(&self, ctx: &Context<'_>, number: Option<String>) -> Result<Vec<ErasureCertificate>> {
        Ok(entity::erasure::certificates(session(ctx), number.as_deref()).await?.into_iter().map(ErasureCertificate::of).collect())
    }

    /// Import reports, newest first. For those who may read them. While an import runs, its counts grow with every batch.
    async fn imports(&self, ctx: &Context<'_>, first: Option<i32>) -> Result<Vec<ImportReport>> {
        let reports = import::reports(session(ctx), at_most(first, 20)?).await?;
        Ok(reports.into_iter().map(ImportReport::of).collect())
    }

    /// One import.
    async fn import(&self, ctx: &Context<'_>, id: ID) -> Result<ImportReport> {
        let key = id::key(Kind::Import, &id).ok_or(Error::NotFound)?;
        Ok(ImportReport::of(import::report(session(ctx), key).await?))
    }

    /// The source systems with their mappings, most trusted first.
    async fn sources(&self, ctx: &Context<'_>) -> Result<Vec<Source>> {
        session(ctx).permit(policy::Verb::ImportRead)?;
        Ok(source::all(session(ctx)).await?.into_iter().map(Source::of).collect())
    }

    /// The versions of a source's mapping, newest first.
    async fn mapping_versions(&self, ctx: &Context<'_>, source: String) -> Result<Vec<MappingVersion>> {
        session(ctx).permit(policy::Verb::ImportRead)?;
        Ok(source::versions(session(ctx), &source).await?.iter().map(MappingVersion::of).collect())
    }

    /// Proposes a mapping from a header and, better, some rows of the file.
    async fn propose_mapping(&self, ctx: &Context<'_>, header: Vec<String>, rows: Option<Vec<Vec<String>>>) -> Result<MappingProposal> {
        session(ctx).permit(policy::Verb::ImportRead)?;
        let known = source::of_shape(source::all(session(ctx)).await?, &policy::mapping::shape(&header)).ok();
        // Reading a thousand rows many times over takes its time; others are served meanwhile.
        let proposal = tokio::task::spawn_blocking(move || policy::mapping::propose(&header, &rows.unwrap_or_default())).await;
        let proposal = proposal.map_err(|_| Error::Invalid("rows: no mapping could be proposed".to_owned()))?;
        Ok(MappingProposal::of(&proposal, known))
    }

    /// The duplicates queue: pairs of customers that are probably one, most probable first.
    #[graphql(complexity = "cost(first, 20, child_complexity)")]
    async fn duplicates(&self, ctx: &Context<'_>, first: Option<i32>) -> Result<Vec<Duplicate>> {
        Ok(pair::queue(session(ctx), at_most(first, 20)?).await?.into_iter().map(Duplicate).collect())
    }

    /// The merge journal, newest first: of one customer, or of all.
    async fn merges(&self, ctx: &Context<'_>, customer: Option<ID>, first: Option<i32>) -> Result<Vec<Merge>> {
        let of = customer.map(|id| id::customer(&id).ok_or(Error::NotFound)).transpose()?;
        Ok(merge::journal(session(ctx), of, at_most(first, 20)?).await?.into_iter().map(Merge::of).collect())
    }

    /// A sample of an import for sign-off.
    async fn sample(&self, ctx: &Context<'_>, id: ID) -> Result<Sample> {
        let key = id::key(Kind::Sample, &id).ok_or(Error::NotFound)?;
        Ok(Sample(signoff::get(session(ctx), key).await?))
    }

    /// The quality reviews of all sources, newest month first.
    async fn quality_reviews(&self, ctx: &Context<'_>) -> Result<Vec<QualityReview>> {
        Ok(quality::history(session(ctx)).await?.into_iter().map(QualityReview::of).collect())
    }
}

/// What is held about a person.
#[derive(SimpleObject)]
#[graphql(serial)]
struct PersonCopy {
    /// As JSON.
    json: String,
    /// As a table: where, and what.
    csv: String,
}

/// The caller.
#[derive(SimpleObject)]
#[graphql(serial)]
struct Me {
    subject: String,
    name: String,
    roles: Vec<String>,
    /// What for, as declared by `X-Purpose` or the token.
    purpose: Option<String>,
    /// The policy version that decides this request.
    policy_version: i32,
}

/// Which customers.
#[derive(InputObject, Default)]
struct CustomerFilter {
    /// With this status.
    status: Option<Status>,
    /// Of this value tier.
    value_tier: Option<ValueTier>,
    /// From this channel.
    channel: Option<Channel>,
    /// Of this section (I) or division (I65).
    industry: Option<String>,
    /// Person or company.
    #[graphql(name = "type")]
    kind: Option<CustomerType>,
    /// With this tag.
    tag: Option<String>,
    /// Looked after by the caller, or not.
    mine: Option<bool>,
    /// Changed at or after.
    updated_since: Option<Moment>,
}

impl From<CustomerFilter> for Filter {
    fn from(filter: CustomerFilter) -> Self {
        Self {
            status: filter.status.map(|status| policy::Status::from(status).code()),
            value_tier: filter.value_tier.map(|tier| policy::ValueTier::from(tier).code()),
            channel: filter.channel.map(|channel| policy::Channel::from(channel).code()),
            industry: filter.industry,
            customer_type: filter.kind.map(|kind| policy::CustomerType::from(kind).code()),
            tag: filter.tag,
            mine: filter.mine,
            updated_since: filter.updated_since.map(|at| at.0),
        }
    }
}

/// What customers are ordered by.
#[derive(InputObject, Default)]
struct CustomerOrder {
    /// The field.
    field: CustomerOrderField,
    /// Up or down.
    #[graphql(default)]
    direction: Direction,
}

/// Fields that customers can be ordered by. None is personal.
#[derive(Enum, Clone, Copy, Default, PartialEq, Eq)]
enum CustomerOrderField {
    /// By human number, sign by sign.
    #[default]
    Number,
    /// By last change.
    UpdatedAt,
    /// By first follow-up; customers without one are left out.
    FirstFollowUp,
}

impl From<CustomerOrderField> for Order {
    fn from(field: CustomerOrderField) -> Self {
        match field {
            CustomerOrderField::Number => Self::Number,
            CustomerOrderField::UpdatedAt => Self::UpdatedAt,
            CustomerOrderField::FirstFollowUp => Self::FirstFollowUp,
        }
    }
}

/// Up or down.
#[derive(Enum, Clone, Copy, Default, PartialEq, Eq)]
enum Direction {
    /// Smallest first.
    #[default]
    Asc,
    /// Greatest first.
    Desc,
}

/// By what one customer is found: exactly one.
#[derive(OneofObject)]
enum FindBy {
    /// A mobile number, however written.
    Phone(String),
    /// An e-mail address.
    Email(String),
    /// The human number.
    Number(String),
    /// The number of an order.
    OrderNumber(String),
}

/// A page of customers.
struct CustomerConnection {
    page: std::sync::Arc<Page>,
    cursors: Cursors,
    has_next_page: bool,
    has_previous_page: bool,
    filter: Filter,
}

impl CustomerConnection {
    fn cursor(&self, ctx: &Context<'_>, customer: &entity::customer::Customer) -> Result<String> {
        Ok(URL_SAFE_NO_PAD.encode(self.cursors.behind(session(ctx), customer)?))
    }
}

/// A page of customers.
#[expect(clippy::unused_async, reason = "resolvers are asynchronous, whether they wait or not")]
#[Object(serial)]
impl CustomerConnection {
    /// The customers with their cursors.
    async fn edges(&self, ctx: &Context<'_>) -> Result<Rows<CustomerEdge>> {
        let edge = |(at, customer)| Ok(CustomerEdge { cursor: self.cursor(ctx, customer)?, node: Row(Customer::at(&self.page, at)) });
        Ok(Rows(self.page.customers.iter().enumerate().map(edge).collect::<Result<_>>()?))
    }
    /// The customers.
    async fn nodes(&self) -> Rows<Customer> {
        Rows((0..self.page.customers.len()).map(|at| Customer::at(&self.page, at)).collect())
    }
    /// Whether there is more, and from where.
    async fn page_info(&self, ctx: &Context<'_>) -> Result<PageInfo> {
        let cursor = |customer: Option<&entity::customer::Customer>| customer.map(|customer| self.cursor(ctx, customer)).transpose();
        Ok(PageInfo {
            has_next_page: self.has_next_page,
            has_previous_page: self.has_previous_page,
            start_cursor: cursor(self.page.customers.first())?,
            end_cursor: cursor(self.page.customers.last())?,
        })
    }
    /// How many meet the filter, of those within the caller's reach; null where so few would tell what the caller does not see.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<Option<u64>> {
        Ok(entity::customer::count(session(ctx), &self.filter).await?)
    }
}

/// A customer of a page.
#[derive(SimpleObject)]
#[graphql(serial)]
struct CustomerEdge {
    /// Sealed; good for this caller and query only.
    cursor: String,
    node: Row<Customer>,
}

impl Plain for CustomerEdge {}
