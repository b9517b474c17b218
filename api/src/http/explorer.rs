//! The explorer: a page that asks, follows and shows the schema, in the binary, with nothing from elsewhere.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use serde_json::{Value, json};

use crate::commands::demo::REQUESTS;

const PAGE: &str = include_str!("explorer/page.html");
const STYLE: &str = include_str!("explorer/page.css");
const SCRIPT: &str = include_str!("explorer/page.js");

/// What the page may load and call: what this server has.
const ALLOWED: &str =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Where it is.
pub fn routes(config: &mut web::ServiceConfig) {
    let redirect = async || HttpResponse::Found().insert_header((header::LOCATION, "graphiql")).finish();
    config
        .route("/", web::get().to(redirect))
        .route("/graphiql", web::get().to(async || asset("text/html; charset=utf-8", PAGE.to_owned())))
        .route("/graphiql/page.css", web::get().to(async || asset("text/css; charset=utf-8", STYLE.to_owned())))
        .route("/graphiql/page.js", web::get().to(async || asset("text/javascript; charset=utf-8", SCRIPT.to_owned())))
        .route("/graphiql/examples.json", web::get().to(async || asset("application/json", examples().to_string())));
}

fn asset(media: &str, text: String) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, media))
        .insert_header((header::CONTENT_SECURITY_POLICY, ALLOWED))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .body(text)
}

/// A ready query for each persona.
fn examples() -> Value {
    REQUESTS.iter().map(|(persona, purpose, about, query)| json!({ "persona": persona, "purpose": purpose, "about": about, "query": query })).collect()
}
