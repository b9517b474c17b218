//! The demo: two tenants, the bundled messy exports, a token and a ready request per persona, and a server.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Duration;
use entity::{Change, House, Operation, Session, Unaccounted, people, token};
use serde_json::json;

use super::import::{run as import, table};
use super::{print, say};
use crate::config::{Config, Profile, login};
use crate::error::Stop;
use crate::intake::{File, Options};
use crate::{home, http};

struct Company {
    slug: &'static str,
    name: &'static str,
    files: [(&'static str, &'static str, &'static [u8]); 4],
}

const COMPANIES: [Company; 2] = [
    Company {
        slug: "acme",
        name: "极光商贸",
        files: [
            ("sales", "sales_ledger.csv", include_bytes!("../../demo/acme/sales_ledger.csv")),
            ("ecom", "ecommerce_orders.csv", include_bytes!("../../demo/acme/ecommerce_orders.csv")),
            ("ticket", "support_tickets.csv", include_bytes!("../../demo/acme/support_tickets.csv")),
            ("shop", "shop_register.csv", include_bytes!("../../demo/acme/shop_register.csv")),
        ],
    },
    Company {
        slug: "globex",
        name: "寰球家居",
        files: [
            ("sales", "sales_ledger.csv", include_bytes!("../../demo/globex/sales_ledger.csv")),
            ("ecom", "ecommerce_orders.csv", include_bytes!("../../demo/globex/ecommerce_orders.csv")),
            ("ticket", "support_tickets.csv", include_bytes!("../../demo/globex/support_tickets.csv")),
            ("shop", "shop_register.csv", include_bytes!("../../demo/globex/shop_register.csv")),
        ],
    },
];

/// Subject, name, department, role. The sales ledger names some of them as owners.
const PEOPLE: [(&str, &str, &str, &str); 16] = [
    ("admin", "陈静", "信息部", "admin"),
    ("auditor", "周正", "合规部", "auditor"),
    ("sales", "李经理", "华东销售部", "sales"),
    ("sales_manager", "张经理", "华东销售部", "sales_manager"),
    ("support", "何晴", "客服部", "support"),
    ("marketing", "林悦", "市场部", "marketing"),
    ("steward", "高远", "数据部", "steward"),
    ("privacy", "沈宁", "法务部", "privacy"),
    ("wangmin", "王敏", "华东销售部", "sales"),
    ("liuyang", "刘洋", "华南销售部", "sales"),
    ("chenhao", "陈浩", "华南销售部", "sales"),
    ("zhaoqian", "赵倩", "华南销售部", "sales"),
    ("sunqiang", "孙强", "华北销售部", "sales"),
    ("zhouting", "周婷", "华北销售部", "sales"),
    ("wulei", "吴磊", "华北销售部", "sales"),
    ("zhengshuang", "郑爽", "华北销售部", "sales"),
];

/// Persona, the purpose it declares, what its request shows, and the request.
pub(crate) const REQUESTS: [(&str, Option<&str>, &str, &str); 9] = [
    ("bi", None, "customers masked, in bulk", "{ customers(first: 3) { totalCount nodes { number name phone email address status } } }"),
    (
        "sales",
        Some("sales_follow_up"),
        "own customers clear, colleagues' masked",
        "{ mine: customers(first: 2, filter: {mine: true}) { nodes { id name(view: CLEAR) phone(view: CLEAR) owner { name } } } others: customers(first: 2, filter: {mine: false}) { nodes { name(view: CLEAR) phone(view: CLEAR) owner { name department } } } }",
    ),
    (
        "sales_manager",
        Some("sales_follow_up"),
        "the department's customers clear",
        "{ customers(first: 5) { nodes { name(view: CLEAR) phone(view: CLEAR) owner { name department } } } }",
    ),
    (
        "support",
        Some("customer_service"),
        "a customer's tickets, with their text",
        "{ customers(first: 8) { nodes { name(view: CLEAR) remarks tickets(first: 2) { nodes { number type body(view: CLEAR) status } } } } }",
    ),
    (
        "marketing",
        None,
        "segments, never persons in the clear",
        "{ customers(first: 3, filter: {status: WON}) { totalCount nodes { name phone email(view: CLEAR) industry { code name } tags { name category } } } }",
    ),
    (
        "steward",
        Some("data_quality"),
        "where values come from",
        "{ customers(first: 2) { nodes { number name(view: CLEAR) sources { system externalId line } provenance { field source rule } quality { score completeness issues } } } }",
    ),
    (
        "privacy",
        Some("privacy_request"),
        "who has looked at a customer",
        "{ customers(first: 1) { nodes { number name(view: CLEAR) seenBy(first: 5) { nodes { at actor fields level purpose } } } } }",
    ),
    ("admin", None, "imports and the dictionary", "{ imports { source file read created rejected } dataDictionary { key zh class masked } }"),
    ("auditor", None, "who saw what", "{ audit { events(first: 5) { nodes { at actor operation purpose fields { field clear masked withheld } } } } }"),
];

/// Makes what is missing, prints what there is, and serves.
///
/// # Errors
/// One line that says what failed.
pub async fn run(mut config: Config, quiet: bool) -> Result<(), Stop> {
    config.profile = Profile::Development;
    let (house, _) = home::make(&config, true).await?;
    if house.store().wall().await? == entity::store::Wall::Bypassed {
        say("warning: this PostgreSQL user bypasses row-level security, the second wall between tenants; use one that is neither superuser nor BYPASSRLS");
    }
    prepare(&house, quiet).await?;
    let house = Arc::new(house);
    let mut tokens: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for company in &COMPANIES {
        tokens.insert(company.slug, issue(&house, &config, company).await?);
    }
    let listening = http::listen(&config, Arc::clone(&house), home::issuer(&config)?)?;
    if quiet {
        print(&format!("{}\n", json!({ "url": listening.url, "graphql": format!("{}/graphql", listening.url), "tokens": tokens })))?;
    } else {
        print(&shown(&listening.url, &tokens))?;
    }
    listening.server.await.map_err(|problem| Stop::new(format!("the server stopped: {}", problem.kind())))
}

/// Makes both tenants with their people and customers, as far as they are not there.
///
/// # Errors
/// One line that says what failed.
pub async fn prepare(house: &House, quiet: bool) -> Result<(), Stop> {
    for company in &COMPANIES {
        make(house, company, quiet).await?;
    }
    Ok(())
}

/// Makes a tenant, its people and its customers, as far as they are not there.
async fn make(house: &House, company: &Company, quiet: bool) -> Result<(), Stop> {
    let tenant = match house.tenant(company.slug).await {
        Ok(tenant) => tenant,
        Err(entity::Error::Invalid(_)) => house.create_tenant(company.slug, company.name).await?,
        Err(error) => return Err(error.into()),
    };
    let steward = house.operator(tenant.id, &login(), "steward", Some("data_quality"));
    let looked = Session::run(house, &steward, Operation::new("command", "Import.reports"), async |session| entity::import::reports(&session, 100).await);
    let reports = looked.await??;
    let missing: Vec<_> = company
        .files
        .iter()
        .filter(|(source, name, _)| !reports.iter().any(|report| report.source == *source && report.file == *name && report.state == "done"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let admin = house.operator(tenant.id, &login(), "admin", None);
    let staffed = Change::run(house, &admin, Operation::new("command", "User.add"), async |change| {
        for (subject, name, department, role) in PEOPLE {
            people::add(change, subject, name, Some(department), &[role]).await.map_err(Unaccounted::Failed)?;
        }
        Ok::<_, Unaccounted>(())
    });
    staffed.await?;
    let files: Vec<File<'_>> = company.files.iter().map(|(source, name, bytes)| File::of(*source, name, *bytes)).collect();
    let report = import(house, company.slug, &files, &Options::default(), quiet).await?;
    if !quiet {
        print(&table(company.slug, &report))?;
    }
    Ok(())
}

/// One token per persona. The one for BI is a service token, issued anew.
async fn issue(house: &House, config: &Config, company: &Company) -> Result<BTreeMap<&'static str, String>, Stop> {
    let tenant = house.tenant(company.slug).await?;
    let issuer = home::issuer(config)?;
    let mut tokens = BTreeMap::new();
    for (subject, _, _, role) in PEOPLE.iter().filter(|(subject, _, _, role)| subject == role) {
        tokens.insert(*role, issuer.issue(tenant.id, subject, None, Duration::hours(12))?);
    }
    let admin = house.operator(tenant.id, &login(), "admin", None);
    let service = Change::run(house, &admin, Operation::new("command", "Token.service"), async |change| {
        token::issue(change, "demo-bi", token::Terms { roles: &["bi"], purpose: None, days: 1, registered_only: false }).await.map_err(Unaccounted::Failed)
    });
    tokens.insert("bi", service.await?.to_string());
    Ok(tokens)
}

/// The tokens, each with a request that is ready to paste.
fn shown(url: &str, tokens: &BTreeMap<&str, BTreeMap<&str, String>>) -> String {
    use std::fmt::Write;
    let mut out = format!("\nPanorama serves at {url}/graphql, with an explorer at {url}/graphiql  (stop with Ctrl-C; the data stays)\n");
    for (tenant, of) in tokens {
        let _ = writeln!(out, "\n── tokens of {tenant}, for twelve hours ──");
        for (persona, purpose, about, query) in REQUESTS {
            let Some(token) = of.get(persona) else { continue };
            if *tenant != "acme" {
                let _ = writeln!(out, "{persona}: {token}");
                continue;
            }
            let header = purpose.map(|purpose| format!(" -H 'X-Purpose: {purpose}'")).unwrap_or_default();
            let _ = writeln!(
                out,
                "\n{persona}: {about}\n  curl -s {url}/graphql -H 'Content-Type: application/json' -H 'Authorization: Bearer {token}'{header} -d '{}'",
                json!({ "query": query })
            );
        }
    }
    out
}
