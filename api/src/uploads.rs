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
use serde_json::json;
use uuid::Uuid;

use crate::auth::NotAdmitted;
use crate::commands::Rejects;
use crate::error::Stop;
use crate::graphql;
use crate::http::{Shared, admit};
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

fn answer(status: StatusCode, body: &serde_json::Value) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::VARY, "Authorization"))
        .json(body)
}

fn refuse(status: StatusCode, message: &str) -> HttpResponse {
    answer(status, &json!({ "errors": [{ "message": message }] }))
}

fn not_admitted(refusal: NotAdmitted) -> HttpResponse {
    match refusal {
        NotAdmitted::Unauthenticated => {
            let mut answer = refuse(StatusCode::UNAUTHORIZED, "send a valid token: Authorization: Bearer …");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer realm=\"panorama\""));
            answer
        }
        NotAdmitted::Purpose(message) => refuse(StatusCode::BAD_REQUEST, &message),
        NotAdmitted::Unavailable => refuse(StatusCode::SERVICE_UNAVAILABLE, "not available at the moment; try again"),
    }
}

/// `POST /api/v1/imports?source=sales&name=sales.csv&dryRun=true`: imports the body and answers with the report. Without a
/// source, it is the one whose last file had the same header.
pub async fn import(http: HttpRequest, shared: web::Data<Shared>, about: Result<web::Query<About>, actix_web::Error>, payload: web::Payload) -> HttpResponse {
    let principal = match admit(&http, &shared).await {
        Ok(principal) => Arc::new(principal),
        Err(refusal) => return not_admitted(refusal),
    };
    let caller = format!("{} {}", principal.tenant().0, principal.subject());
    let Ok(_running) = shared.slot(&caller).try_acquire_owned() else {
        return refuse(StatusCode::TOO_MANY_REQUESTS, "too many requests at once; try again in a second");
    };
    let Ok(about) = about else { return refuse(StatusCode::BAD_REQUEST, "the address takes source, name, dryRun and plan") };
    let Ok(Ok(bytes)) = payload.to_bytes_limited(shared.upload()).await else {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the file is larger than an upload may be, or did not arrive whole; import it with `panorama import`");
    };
    let about = about.into_inner();
    // A name that is more than a name would be a path, or worse.
    let plain = |name: &String| name.len() <= 200 && !name.contains(['/', '\\', '\n', '\r']);
    let name = about.name.filter(plain).unwrap_or_else(|| "upload".to_owned());
    let files = [File::of(about.source.as_deref(), &name, Vec::from(bytes))];
    let options = Options { dry_run: about.dry_run, plan: about.plan, uploaded: true };
    match intake::run(shared.house(), &principal, &files, &options, &mut |_| {}).await {
        Ok(report) => answer(StatusCode::OK, &json!(report)),
        Err(stop) if stop.to_string().starts_with("not permitted") => refuse(StatusCode::FORBIDDEN, "not permitted"),
        Err(stop) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &stop.to_string()),
    }
}

/// `GET /api/v1/imports/{id}/rejects.csv`: the refused rows in the source's columns, each with reason and suggestion, as clear
/// as the caller may see them. They go out window by window, each when its access is recorded.
pub async fn rejected(http: HttpRequest, shared: web::Data<Shared>, id: web::Path<String>) -> HttpResponse {
    let principal = match admit(&http, &shared).await {
        Ok(principal) => Arc::new(principal),
        Err(refusal) => return not_admitted(refusal),
    };
    let Some(id) = graphql::import_key(&id).or_else(|| Uuid::parse_str(&id).ok()) else { return refuse(StatusCode::NOT_FOUND, "not found") };
    let read = Session::run(shared.house(), &principal, operation(), async |session| Rejects::begin(&session, id).await);
    match read.await {
        Ok(Ok((rejects, header))) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/csv; charset=utf-8"))
            .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"rejects.csv\""))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .streaming(stream::iter([Ok(header.into())]).chain(stream::try_unfold((shared, principal, rejects), window))),
        Ok(Err(entity::Error::NotFound)) => refuse(StatusCode::NOT_FOUND, "not found"),
        Ok(Err(entity::Error::Denied)) => refuse(StatusCode::FORBIDDEN, "not permitted"),
        Ok(Err(error)) => {
            tracing::error!(%error, "rejects could not be read");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong")
        }
        Err(unaccounted) => {
            tracing::error!(error = %unaccounted, "an answer was withheld");
            refuse(StatusCode::SERVICE_UNAVAILABLE, "the answer cannot be given, because the access cannot be recorded; try again")
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
