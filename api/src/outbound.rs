//! Addresses that the configuration names and the server calls: by HTTP or HTTPS, within a time, and never where an answer
//! points to.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, Url, redirect};

use crate::error::Stop;

/// An address, and how it is called.
pub struct Address {
    url: Url,
    client: Client,
}

impl Address {
    /// The address of a setting.
    ///
    /// # Errors
    /// It is none; the setting is named.
    pub fn of(setting: &str, url: &str, patience: Duration) -> Result<Self, Stop> {
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| Stop::new(format!("{setting}: not an address that begins with https:// or http://")))?;
        let client = Client::builder().timeout(patience).redirect(redirect::Policy::none()).build();
        Ok(Self { url, client: client.map_err(|problem| Stop::new(format!("{setting}: {problem}")))? })
    }

    /// Reads it.
    ///
    /// # Errors
    /// In words without the address, which may hold a secret.
    pub async fn get(&self) -> Result<Response, String> {
        sent(self.client.get(self.url.clone())).await
    }

    /// Posts a text to it.
    ///
    /// # Errors
    /// As [`Address::get`].
    pub async fn post(&self, text: String) -> Result<Response, String> {
        sent(self.client.post(self.url.clone()).header("content-type", "text/plain; charset=utf-8").body(text)).await
    }
}

async fn sent(request: RequestBuilder) -> Result<Response, String> {
    let answer = request.send().await.map_err(|problem| problem.without_url().to_string())?;
    if answer.status().is_success() { Ok(answer) } else { Err(format!("it answered {}", answer.status().as_u16())) }
}
