//! Who and what is let in: service tokens, an identity provider's tokens, registered documents.

use std::sync::Arc;
use std::time::Duration;

use api::auth::Issuer;
use api::config::Config;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use tests::{Home, homes};

async fn admin(home: &Home, query: &str, variables: Value) -> Value {
    home.tenant("globex").persona("admin").ask(query, variables).await.data().clone()
}

async fn me(url: &str, token: &str) -> (u16, Value) {
    let request = reqwest::Client::new().post(format!("{url}/graphql")).bearer_auth(token).header("content-type", "application/json");
    let answer = request.body(json!({ "query": "{ me { subject roles } }" }).to_string()).send().await.unwrap();
    (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["data"]["me"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_gets_a_token_and_loses_it() {
    for home in homes().await {
        let issue = "mutation($roles: [String!]!) { issueToken(name: \"grafana\", roles: $roles, days: 30) { result userErrors { field message } } }";
        let issued = admin(&home, issue, json!({ "roles": ["bi"] })).await["issueToken"].clone();
        let token = issued["result"].as_str().unwrap().to_owned();
        assert_eq!(me(&home.url, &token).await, (200, json!({ "subject": "token:grafana", "roles": ["bi"] })));
        let list = admin(&home, "{ tokens { name roles lastUsedAt revokedAt } }", json!({})).await["tokens"].clone();
        let mine = list.as_array().unwrap().iter().find(|token| token["name"] == "grafana").unwrap();
        assert!(mine["lastUsedAt"].is_string() && mine["revokedAt"].is_null() && !list.to_string().contains(&token), "{list}");
        let wrong = admin(&home, issue, json!({ "roles": ["emperor"] })).await["issueToken"].clone();
        assert!(wrong["result"].is_null() && wrong["userErrors"][0]["message"].as_str().unwrap().contains("there is no role"), "{wrong}");
        assert_eq!(home.tenant("globex").persona("sales").ask(issue, json!({ "roles": ["bi"] })).await.code(), "FORBIDDEN");
        assert_eq!(home.tenant("globex").persona("sales").query("{ tokens { name } }").await.code(), "FORBIDDEN");
        let revoke = "mutation { revokeToken(name: \"grafana\") { result userErrors { code } } }";
        assert_eq!(admin(&home, revoke, json!({})).await["revokeToken"]["result"], true);
        assert_eq!(me(&home.url, &token).await.0, 401);
        assert_eq!(admin(&home, revoke, json!({})).await["revokeToken"]["userErrors"][0]["code"], "NOT_FOUND");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_an_identity_provider_are_accepted_by_its_key_set_alone() {
    for home in homes().await {
        let file = home.config.data_dir.join("jwks.json");
        let set = |secret: u8| {
            let x = URL_SAFE_NO_PAD.encode(SigningKey::from_bytes(&[secret; 32]).verifying_key().as_bytes());
            std::fs::write(&file, json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "k1", "x": x }] }).to_string()).unwrap();
        };
        set(7);
        let config = Config { jwks_file: Some(file.clone()), ..home.config.clone() };
        let listening = api::http::listen(&config, Arc::clone(&home.house), api::home::issuer(&config).unwrap()).unwrap();
        let url = listening.url.clone();
        tokio::spawn(listening.server);
        let tenant = home.house.tenant("globex").await.unwrap().id;
        let signed = |secret: u8, audience: &str| {
            Issuer::of(&[secret; 32], "panorama", audience).unwrap().issue(tenant, "sales", None, chrono::Duration::minutes(5)).unwrap()
        };
        assert_eq!(me(&url, &signed(7, "panorama")).await, (200, json!({ "subject": "sales", "roles": ["sales"] })));
        assert_eq!(me(&home.url, &signed(7, "panorama")).await.0, 401, "where the key set is not configured");
        assert_eq!(me(&url, &signed(7, "elsewhere")).await.0, 401);
        assert_eq!(me(&url, &signed(8, "panorama")).await.0, 401, "another key");
        assert_eq!(me(&url, &home.tenant("globex").persona("sales").token().await).await.0, 200, "those of the program are accepted too");
        for (text, said) in [("", "not a JSON Web Key Set"), ("{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}", "it holds no key for EdDSA")] {
            std::fs::write(&file, text).unwrap();
            let refused = api::home::issuer(&config).err().unwrap().to_string();
            assert!(refused.contains("jwks_file") && refused.contains(said), "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_documents_are_asked_by_their_hash_and_may_be_all_that_is_answered() {
    for home in homes().await {
        let token = home.tenant("globex").persona("support").token().await;
        let ask = async |body: Value| {
            let request = reqwest::Client::new().post(format!("{}/graphql", home.url)).bearer_auth(&token).header("content-type", "application/json");
            let answer = request.body(body.to_string()).send().await.unwrap();
            (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
        };
        let text = "query Mine { me { subject } }";
        let register =
            "mutation($texts: [String!]!) { registerDocuments(name: \"desk 1.0\", texts: $texts) { result { documentId name } userErrors { field message } } }";
        let require = "mutation($on: Boolean!) { requireRegisteredDocuments(required: $on) { result userErrors { field } } }";
        assert_eq!(admin(&home, require, json!({ "on": true })).await["requireRegisteredDocuments"]["userErrors"][0]["field"], "required");
        let bad = admin(&home, register, json!({ "texts": [text, "{ me {"] })).await["registerDocuments"].clone();
        assert_eq!((&bad["result"], &bad["userErrors"][0]["field"]), (&json!(null), &json!("texts[1]")), "{bad}");
        let away = "mutation($id: String!) { removeDocument(documentId: $id) { userErrors { message } } }";
        // What lifts the limit again has to be registered before it holds.
        let registered = admin(&home, register, json!({ "texts": [text, require, away] })).await["registerDocuments"]["result"].clone();
        let list = admin(&home, "{ registeredDocuments { documentId text } }", json!({})).await["registeredDocuments"].clone();
        let id = list.as_array().unwrap().iter().find(|document| document["text"] == text).unwrap()["documentId"].clone();
        assert_eq!(registered.as_array().unwrap().len(), 3);
        tokio::time::sleep(Duration::from_secs(4)).await;
        let (status, answer) = ask(json!({ "documentId": id })).await;
        assert_eq!((status, &answer["data"]["me"]["subject"]), (200, &json!("support")), "{answer}");
        assert_eq!(ask(json!({ "documentId": id, "query": text })).await.0, 422);
        for unknown in [json!("sha256:00"), json!(format!("sha256:{}", "é".repeat(32))), json!("x")] {
            let (status, answer) = ask(json!({ "documentId": unknown })).await;
            assert_eq!((status, &answer["errors"][0]["extensions"]["code"]), (422, &json!("NOT_FOUND")), "{answer}");
        }
        assert_eq!(admin(&home, require, json!({ "on": true })).await["requireRegisteredDocuments"]["result"], true);
        let kept = admin(&home, away, json!({ "id": id })).await["removeDocument"].clone();
        assert!(kept["userErrors"][0]["message"].as_str().unwrap().contains("while registered documents are required"), "{kept}");
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(ask(json!({ "query": "{ me { name } }" })).await.1["errors"][0]["extensions"]["code"], "FORBIDDEN");
        assert_eq!(ask(json!({ "query": text })).await.0, 200, "the text of one that is registered");
        assert_eq!(admin(&home, require, json!({ "on": false })).await["requireRegisteredDocuments"]["result"], false);
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(ask(json!({ "query": "{ me { name } }" })).await.0, 200);
        assert_eq!(home.tenant("acme").persona("support").query("{ registeredDocuments { text } }").await.code(), "FORBIDDEN");
    }
}

/// A token as an identity provider signs it, which names the key.
fn named(token: &str, key: &str, secret: u8) -> String {
    let claims = token.split('.').nth(1).unwrap();
    let header = URL_SAFE_NO_PAD.encode(json!({ "alg": "EdDSA", "typ": "JWT", "kid": key }).to_string());
    let said = format!("{header}.{claims}");
    let signature = SigningKey::from_bytes(&[secret; 32]).sign(said.as_bytes());
    format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_identity_provider_adds_is_learned_and_one_that_it_takes_away_is_forgotten() {
    for home in homes().await {
        let file = home.config.data_dir.join("jwks.json");
        let set = |key: &str, secret: u8| {
            let x = URL_SAFE_NO_PAD.encode(SigningKey::from_bytes(&[secret; 32]).verifying_key().as_bytes());
            std::fs::write(&file, json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": key, "x": x }] }).to_string()).unwrap();
        };
        set("k1", 7);
        let config = Config { jwks_file: Some(file.clone()), ..home.config.clone() };
        let listening = api::http::listen(&config, Arc::clone(&home.house), api::home::issuer(&config).unwrap()).unwrap();
        let url = listening.url.clone();
        tokio::spawn(listening.server);
        let tenant = home.house.tenant("globex").await.unwrap().id;
        let token = Issuer::of(&[1; 32], "panorama", "panorama").unwrap().issue(tenant, "sales", None, chrono::Duration::minutes(5)).unwrap();
        let (old, new) = (named(&token, "k1", 7), named(&token, "k2", 8));
        assert_eq!((me(&url, &old).await.0, me(&url, &new).await.0), (200, 401));
        assert_eq!(me(&url, &named(&token, "k1", 8)).await.0, 401, "signed with another key than it names");
        set("k2", 8);
        assert_eq!(me(&url, &new).await.0, 401, "the set is not read again for every token");
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!((me(&url, &new).await.0, me(&url, &old).await.0), (200, 401));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_registered_documents_gets_nothing_else() {
    for home in homes().await {
        let text = "query Mine { me { subject } }";
        let register = "mutation($texts: [String!]!) { registerDocuments(name: \"kiosk\", texts: $texts) { result { documentId } } }";
        let registered = admin(&home, register, json!({ "texts": [text] })).await["registerDocuments"]["result"][0]["documentId"].clone();
        let issue = "mutation { issueToken(name: \"kiosk\", roles: [\"bi\"], registeredOnly: true) { result } }";
        let token = admin(&home, issue, json!({})).await["issueToken"]["result"].as_str().unwrap().to_owned();
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        assert_eq!(home.post(&headers, json!({ "documentId": registered }).to_string()).await.1["data"]["me"]["subject"], "token:kiosk");
        assert_eq!(home.post(&headers, json!({ "query": text }).to_string()).await.0, 200, "the text of one that is registered");
        for other in ["{ me { name } }", "{ __schema { types { name } } }", "subscription { customerChanged { id } }"] {
            let (_, refused) = home.post(&headers, json!({ "query": other }).to_string()).await;
            assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN", "{refused}");
        }
        let streamed = reqwest::Client::new().post(format!("{}/graphql/stream", home.url)).bearer_auth(&token).header("content-type", "application/json");
        let streamed = streamed.body(json!({ "query": "{ me { name } }" }).to_string()).send().await.unwrap();
        assert_eq!(streamed.json::<Value>().await.unwrap()["errors"][0]["extensions"]["code"], "FORBIDDEN");
        let upload = reqwest::Client::new().post(format!("{}/api/v1/imports?source=sales", home.url)).bearer_auth(&token).body("x").send().await.unwrap();
        let rejects = reqwest::Client::new().get(format!("{}/api/v1/imports/{}/rejects.csv", home.url, uuid::Uuid::now_v7())).bearer_auth(&token);
        assert_eq!((upload.status().as_u16(), rejects.send().await.unwrap().status().as_u16()), (403, 403));
        // One that takes its place is limited as well, until it is revoked.
        let again = "mutation { issueToken(name: \"kiosk\", roles: [\"bi\"]) { result } }";
        admin(&home, again, json!({})).await;
        let list = admin(&home, "{ tokens { name registeredOnly } }", json!({})).await["tokens"].clone();
        assert!(list.as_array().unwrap().iter().all(|token| token["name"] != "kiosk" || token["registeredOnly"] == true), "{list}");
        admin(&home, "mutation { revokeToken(name: \"kiosk\") { result } }", json!({})).await;
        admin(&home, again, json!({})).await;
        let list = admin(&home, "{ tokens { name registeredOnly revokedAt } }", json!({})).await["tokens"].clone();
        assert!(list.as_array().unwrap().contains(&json!({ "name": "kiosk", "registeredOnly": false, "revokedAt": null })), "{list}");
    }
}
