//! How we know: a house with the demo's two tenants, on SQLite and on PostgreSQL, that tests talk to over HTTP.
//!
//! ```text
//! for home in homes().await {
//!     let answer = home.tenant("acme").persona("sales").purpose("sales_follow_up").query("{ me { subject } }").await;
//! }
//! ```

mod postgres;
mod program;
pub mod questions;
pub mod schema;
pub mod score;
pub mod served;
mod taker;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::config::{Config, Limits, Profile};
use api::{commands::demo, home, http};
use entity::House;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

pub use postgres::{as_owner, log as postgres_log, pgbench};
pub use program::{Program, program};
pub use taker::{Posted, Taker};

/// A database to test on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// SQLite, and PostgreSQL where its programs are installed. With `REQUIRE_POSTGRES` set their absence is a failure.
pub fn engines() -> Vec<Engine> {
    if postgres::installed() {
        return vec![Engine::Sqlite, Engine::Postgres];
    }
    assert!(std::env::var_os("REQUIRE_POSTGRES").is_none(), "PostgreSQL's initdb and postgres are required and not found");
    eprintln!("PostgreSQL's programs are not installed: tested on SQLite only");
    vec![Engine::Sqlite]
}

/// A served house of its own for one test, on each engine.
pub async fn homes() -> Vec<Home> {
    let mut homes = Vec::new();
    for engine in engines() {
        homes.push(Home::of(engine).await);
    }
    homes
}

/// A served house with the demo's data.
pub struct Home {
    pub engine: Engine,
    pub config: Config,
    pub house: Arc<House>,
    pub url: String,
    _dir: TempDir,
}

/// The data directory and database that every home is a copy of.
struct Template {
    dir: TempDir,
    database: Option<String>,
}

static SQLITE: OnceCell<Template> = OnceCell::const_new();
static POSTGRES: OnceCell<Template> = OnceCell::const_new();

impl Template {
    async fn of(engine: Engine) -> &'static Self {
        let cell = if engine == Engine::Sqlite { &SQLITE } else { &POSTGRES };
        cell.get_or_init(|| Self::make(engine)).await
    }

    async fn make(engine: Engine) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(postgres::create(None).await),
        };
        let config = config(dir.path(), database.as_deref());
        let (house, _) = home::make(&config, true).await.unwrap();
        demo::prepare(&house, true).await.unwrap();
        home::issuer(&config).unwrap();
        house.close().await;
        Self { dir, database: database.map(|url| url.rsplit('/').next().unwrap().to_owned()) }
    }
}

fn config(dir: &Path, database: Option<&str>) -> Config {
    Config {
        data_dir: dir.to_owned(),
        database_url: database.map(str::to_owned),
        bind: "127.0.0.1:0".to_owned(),
        profile: Profile::Development,
        webhook_private: true,
        limits: Limits { rate: 100_000, concurrency: 100, strangers: 20, streams: 20, ..Limits::default() },
        ..Config::default()
    }
}

impl Home {
    /// A copy of the template, served.
    pub async fn of(engine: Engine) -> Self {
        let template = Template::of(engine).await;
        let dir = tempfile::tempdir().unwrap();
        copy(template.dir.path(), dir.path());
        let database = match &template.database {
            None => None,
            Some(name) => Some(postgres::create(Some(name)).await),
        };
        let config = config(dir.path(), database.as_deref());
        Self::open(engine, config, dir).await
    }

    async fn open(engine: Engine, config: Config, dir: TempDir) -> Self {
        let house = Arc::new(home::open(&config).await.unwrap());
        let listening = http::listen(&config, Arc::clone(&house), home::issuer(&config).unwrap()).unwrap();
        let url = listening.url.clone();
        tokio::spawn(listening.server);
        Self { engine, config, house, url, _dir: dir }
    }

    /// The same data, served once more.
    pub async fn again(&self) -> Self {
        Self::open(self.engine, self.config.clone(), tempfile::tempdir().unwrap()).await
    }

    /// The program on this home's data.
    pub fn program(&self, arguments: &[&str]) -> Program {
        let (data, url) = (self.config.data_dir.display().to_string(), self.config.url());
        program(&[arguments, &["--profile", "development", "--data-dir", &data, "--database-url", &url]].concat())
    }

    /// What the program says on this home's data, on standard output; it must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.program(arguments).output();
        assert!(output.status.success(), "{arguments:?} {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Every row is what the log says was written last, and events are found by what they say.
    pub async fn sound(&self) {
        for slug in ["acme", "globex"] {
            let auditor = self.house.operator(self.house.tenant(slug).await.unwrap().id, "test", "auditor", None);
            let operation = entity::Operation::new("command", "Audit.fsck");
            let checked = entity::Session::run(&self.house, &auditor, operation, async |session| entity::audit::fsck(&session, &mut |_| ()).await);
            let checked = checked.await.unwrap().unwrap();
            assert!(checked.findings.is_empty(), "{slug}: {checked:?}");
        }
    }

    /// One of the two tenants.
    pub fn tenant<'h>(&'h self, slug: &'h str) -> Desk<'h> {
        Desk { home: self, tenant: slug, persona: "admin", purpose: None, headers: vec![] }
    }

    /// A connection beside the program, as an attacker or operator with the database password has it.
    pub async fn raw(&self) -> Raw {
        Raw::connect(&self.config.url()).await
    }

    /// The path of the SQLite file.
    pub fn file(&self) -> PathBuf {
        self.config.data_dir.join("panorama.db")
    }

    /// Posts bytes as they are.
    pub async fn post(&self, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = headers.iter().fold(reqwest::Client::new().post(format!("{}/graphql", self.url)), |request, (name, value)| request.header(*name, *value));
        let answer = request.body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }
}

/// A persona of a tenant, about to ask.
pub struct Desk<'h> {
    home: &'h Home,
    tenant: &'h str,
    persona: &'h str,
    purpose: Option<&'h str>,
    headers: Vec<(&'h str, String)>,
}

impl<'h> Desk<'h> {
    pub fn persona(mut self, persona: &'h str) -> Self {
        self.persona = persona;
        self
    }

    pub fn purpose(mut self, purpose: &'h str) -> Self {
        self.purpose = Some(purpose);
        self
    }

    /// A token of this persona.
    pub async fn token(&self) -> String {
        let tenant = self.home.house.tenant(self.tenant).await.unwrap();
        if self.persona == "bi" {
            let admin = self.home.house.operator(tenant.id, "test", "admin", None);
            let issued = entity::Change::run(&self.home.house, &admin, entity::Operation::new("command", "Token.service"), async |change| {
                entity::token::issue(
                    change,
                    &format!("bi-{}", std::process::id()),
                    entity::token::Terms { roles: &["bi"], purpose: None, days: 1, registered_only: false },
                )
                .await
                .map_err(entity::Unaccounted::Failed)
            });
            return issued.await.unwrap().to_string();
        }
        home::issuer(&self.home.config).unwrap().issue(tenant.id, self.persona, None, chrono::Duration::minutes(10)).unwrap()
    }

    pub async fn query(self, query: &str) -> Answer {
        self.ask(query, json!({})).await
    }

    pub async fn ask(mut self, query: &str, variables: Value) -> Answer {
        let token = self.token().await;
        self.headers.push(("authorization", format!("Bearer {token}")));
        self.headers.push(("content-type", "application/json".to_owned()));
        if let Some(purpose) = self.purpose {
            self.headers.push(("x-purpose", purpose.to_owned()));
        }
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (status, body) = self.home.post(&headers, json!({ "query": query, "variables": variables }).to_string()).await;
        Answer { status, body }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The data; there must be no error.
    pub fn data(&self) -> &Value {
        assert!(self.status == 200 && self.body.get("errors").is_none(), "{self:?}");
        &self.body["data"]
    }

    /// The code of the first error.
    pub fn code(&self) -> &str {
        self.body["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("no error in {self:?}"))
    }
}

/// A connection beside the program.
pub struct Raw(sea_orm::DatabaseConnection);

impl Raw {
    #[expect(clippy::disallowed_methods, reason = "an attacker does not go through the store")]
    pub async fn connect(url: &str) -> Self {
        Self(sea_orm::Database::connect(sea_orm::ConnectOptions::new(url).max_connections(1).sqlx_logging(false).to_owned()).await.unwrap())
    }

    /// Runs a statement.
    pub async fn run(&self, sql: &str) -> Result<u64, String> {
        use sea_orm::ConnectionTrait;
        self.0.execute_unprepared(sql).await.map(|done| done.rows_affected()).map_err(|error| error.to_string())
    }

    /// Inserts rows of texts in one transaction.
    pub async fn insert(&self, table: &str, rows: &[Vec<String>]) {
        use sea_orm::{ConnectionTrait, Statement, TransactionTrait, Value};
        let row = format!("({})", vec!["?"; rows[0].len()].join(", "));
        let sql = format!("INSERT INTO {table} VALUES {}", vec![row.as_str(); rows.len()].join(", "));
        let values = rows.iter().flatten().map(|cell| Value::from(cell.as_str()));
        let tx = self.0.begin().await.unwrap();
        tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The first column of the first row as a number.
    pub async fn number(&self, sql: &str) -> i64 {
        use sea_orm::ConnectionTrait;
        let row = self.0.query_one_raw(sea_orm::Statement::from_string(self.0.get_database_backend(), sql)).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    /// The first column of the first row as a text.
    pub async fn text(&self, sql: &str) -> String {
        use sea_orm::ConnectionTrait;
        let row = self.0.query_one_raw(sea_orm::Statement::from_string(self.0.get_database_backend(), sql)).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }

    /// On PostgreSQL: become the tenant, as the program would.
    pub async fn as_tenant(&self, engine: Engine, slug: &str) {
        if engine == Engine::Postgres {
            self.run(&format!("SELECT set_config('app.tenant', (SELECT id::text FROM tenant WHERE slug = '{slug}'), false)")).await.unwrap();
        }
    }
}

/// A database of its own on the throw-away PostgreSQL cluster.
pub async fn database() -> String {
    postgres::create(None).await
}

/// Has the PostgreSQL cluster be one that is measured, not one of tests; before anything else.
pub fn benched() {
    postgres::BENCH.store(true, std::sync::atomic::Ordering::Relaxed);
}

/// Runs a command of psql.
pub fn psql(url: &str, command: &str) -> bool {
    postgres::psql(url, command)
}

/// Copies a directory with what is in it.
pub fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
