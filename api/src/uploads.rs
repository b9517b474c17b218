//! Files by HTTP: an import by upload, and the rejects of one as a file.
//!
//! The body stays in memory and is never written to disk in the clear; larger files are imported at the terminal. Nothing of it
//! is taken before its sender is known and has a place.

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use entity::{Operation, Principal, Session};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use uuid::Uuid;

use crate::commands::Rejects;
use crate::error::Stop;
use crate::graphql;
use crate::http::{Exchange, Shared, admit};
use crate::intake::{self, File, Options};

/// What the address says of an upload.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct About {
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    plan: Option<String>,
}

const JSON: &str = "application/json";
const ONLY: &str = "this token is for registered documents only";

/// `POST /api/v1/imports?source=sales&name=sales.csv&dryRun=true`: imports the body and answers with the report. Without a
/// source, it is the one whose last file had the same header.
pub async fn import(http: HttpRequest, shared: web::Data<Shared>, about: Result<web::Query<About>, actix_web::Error>, payload: web::Payload) -> HttpResponse {
    let exchange = Exchange::of(&http, JSON);
    let principal = match admit(&http, &shared).await {
        Ok(principal) => Arc::new(principal),
        Err(refusal) => return exchange.not_admitted(refusal),
    };
    if principal.registered_only() {
        return exchange.refuse(StatusCode::FORBIDDEN, "FORBIDDEN", ONLY);
    }
    let Some(_running) = shared.slot(&principal) else {
        return exchange.refuse(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", "too many requests at once; try again in a second");
    };
    let Ok(about) = about else { return exchange.refuse(StatusCode::BAD_REQUEST, "BAD_USER_INPUT", "the address takes source, name, dryRun and plan") };
    if http.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/")) {
        return exchange.refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "BAD_USER_INPUT",
            "send the file itself as the body, as `curl --data-binary @sales.csv` does, not a form",
        );
    }
    let Ok(Ok(bytes)) = payload.to_bytes_limited(shared.upload()).await else {
        let said = "the file is larger than an upload may be, or did not arrive whole; import it with `panorama import`";
        return exchange.refuse(StatusCode::PAYLOAD_TOO_LARGE, "BAD_USER_INPUT", said);
    };
    let about = about.into_inner();
    // A name that is more than a name would be a path, or worse.
    let plain = |name: &String| name.len() <= 200 && !name.contains(['/', '\\']) && !name.contains(char::is_control);
    let name = about.name.filter(plain).unwrap_or_else(|| "upload".to_owned());
    let files = [File::of(about.source.as_deref(), &name, Vec::from(bytes))];
    let options = Options { dry_run: about.dry_run, plan: about.plan, uploaded: true };
    match intake::run(shared.house(), &principal, &files, &options, &mut |_| {}).await {
        Ok(report) => exchange.answer(StatusCode::OK, &report),
        Err(stop) if stop.to_string().starts_with("not permitted") => exchange.refuse(StatusCode::FORBIDDEN, "FORBIDDEN", "not permitted"),
        Err(stop) => exchange.refuse(StatusCode::UNPROCESSABLE_ENTITY, "BAD_USER_INPUT", &stop.to_string()),
    }
}

/// `GET /api/v1/imports/{id}/rejects.csv`: the refused rows in the source's columns, each with reason and suggestion, as clear
/// as the caller may see them. They go out window by window, each when its access is recorded.
pub async fn rejected(http: HttpRequest, shared: web::Data<Shared>, id: web::Path<String>) -> HttpResponse {
    let exchange = Exchange::of(&http, JSON);
    let principal = match admit(&http, &shared).await {
        Ok(principal) => Arc::new(principal),
        Err(refusal) => return exchange.not_admitted(refusal),
    };
    if principal.registered_only() {
        return exchange.refuse(StatusCode::FORBIDDEN, "FORBIDDEN", ONLY);
    }
    let not_found = || exchange.refuse(StatusCode::NOT_FOUND, "NOT_FOUND", "not found");
    let Some(id) = graphql::import_key(&id).or_else(|| Uuid::parse_str(&id).ok()) else { return not_found() };
    let read = Session::run(shared.house(), &principal, operation(), async |session| Rejects::begin(&session, id).await);
    match read.await {
        Ok(Ok((rejects, header))) => exchange
            .builder(StatusCode::OK, "text/csv; charset=utf-8")
            .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"rejects.csv\""))
            .streaming(stream::iter([Ok(header.into())]).chain(stream::try_unfold((shared, principal, rejects), window))),
        Ok(Err(entity::Error::NotFound)) => not_found(),
        Ok(Err(entity::Error::Denied)) => exchange.refuse(StatusCode::FORBIDDEN, "FORBIDDEN", "not permitted"),
        Ok(Err(error)) => {
            tracing::error!(%error, "rejects could not be read");
            exchange.refuse(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR", "something went wrong")
        }
        Err(unaccounted) => {
            tracing::error!(error = %unaccounted, "an answer was withheld");
            let said = "the answer cannot be given, because the access cannot be recorded; try again";
            exchange.refuse(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", said)
        }
    }
}

fn operation() -> Operation {
    Operation::new("query", "Imports.rejects")
}

type Reading = (web::Data<Shared>, Arc<Principal>, Rejects);

/// The next window of rejects. An error cuts the answer off, so that nobody takes it for the whole.
async fn window((shared, principal, mut rejects): Reading) -> Result<Option<(web::Bytes, Reading)>, std::io::Error> {
    let read = Session::run(shared.house(), &principal, operation(), async |session| rejects.next(&session).await);
    let csv = match read.await {
        Ok(Ok(csv)) => csv,
        Ok(Err(error)) => return Err(cut_off(&error.into())),
        Err(unaccounted) => return Err(cut_off(&unaccounted.into())),
    };
    Ok(csv.map(|csv| (csv.into(), (shared, principal, rejects))))
}

fn cut_off(stop: &Stop) -> std::io::Error {
    tracing::error!(error = %stop, "an answer with rejects was cut off");
    std::io::ErrorKind::Other.into()
}
