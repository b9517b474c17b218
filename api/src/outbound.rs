//! Addresses that the server calls: by HTTP or HTTPS, within a time, and never where an answer points to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, RequestBuilder, Response, Url, redirect};

use crate::error::Stop;

/// An address that the configuration names, and how it is called.
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

/// Calls addresses that tenants name: what is inside the installation's own network is none of theirs, unless the configuration
/// says so.
pub struct Guarded {
    client: Client,
    private: bool,
}

impl Guarded {
    /// With `private` set, addresses of private networks are called too, and without TLS.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn new(patience: Duration, private: bool) -> Result<Self, Stop> {
        // A proxy would look names up by itself.
        let mut client = Client::builder().timeout(patience).redirect(redirect::Policy::none()).no_proxy();
        if !private {
            client = client.dns_resolver(Arc::new(Public));
        }
        Ok(Self { client: client.build().map_err(|problem| Stop::new(format!("webhooks: {problem}")))?, private })
    }

    /// Posts JSON with headers. Returns the status.
    ///
    /// # Errors
    /// In words without the address, which may hold a secret.
    pub async fn post(&self, url: &str, headers: &[(&str, String)], body: String) -> Result<u16, String> {
        let request = self.client.post(allowed(url, self.private)?).header("content-type", "application/json").body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let answer = request.send().await.map_err(|problem| {
            if problem.is_timeout() { "it did not answer in time" } else { "it cannot be reached, or is an address of a private network" }.to_owned()
        })?;
        Ok(answer.status().as_u16())
    }
}

/// An address that may be called, as far as can be told without looking its name up.
///
/// # Errors
/// In words for whoever named it.
pub fn allowed(url: &str, private: bool) -> Result<Url, String> {
    let url = Url::parse(url).map_err(|_| "not an address".to_owned())?;
    let host = url.host_str().ok_or("not an address")?.trim_matches(['[', ']']);
    let scheme = url.scheme() == "https" || (private && url.scheme() == "http");
    if !scheme || !url.username().is_empty() || url.password().is_some() {
        return Err("an address begins with https:// and has no user or password in it".to_owned());
    }
    if !private && host.parse::<IpAddr>().is_ok_and(|address| !public(address)) {
        return Err(PRIVATE.to_owned());
    }
    Ok(url)
}

const PRIVATE: &str = "an address of a private network; the operator allows those with webhook_private";

/// Looks names up, and forgets addresses that are not public.
struct Public;

impl Resolve for Public {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.filter(|at| public(at.ip())).collect();
            if found.is_empty() { Err(PRIVATE.into()) } else { Ok(Box::new(found.into_iter()) as Addrs) }
        })
    }
}

/// Whether an address is one of the public Internet: none of the special ones of IANA's registries (RFC 6890).
fn public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => public_v4(v4),
        IpAddr::V6(v6) => public_v6(v6),
    }
}

fn public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_documentation();
    let special = special || a == 0 || a >= 240 || (a, b & 0xC0) == (100, 64) || (a, b & 0xFE) == (198, 18) || (a, b, c) == (192, 0, 0);
    !special && (a, b, c) != (192, 88, 99)
}

fn public_v6(v6: Ipv6Addr) -> bool {
    let parts = v6.segments();
    let last = Ipv4Addr::from((u32::from(parts[6]) << 16) | u32::from(parts[7]));
    match parts {
        // An IPv4 address in another dress.
        [0, 0, 0, 0, 0, 0xFFFF, ..] | [0x64, 0xFF9B, 0, 0, 0, 0, ..] => public_v4(last),
        // Only what is given out globally, and of that no tunnels, no documentation, no special purposes.
        [a, b, ..] => (0x2000..0x4000).contains(&a) && a != 0x2002 && a != 0x3FFF && !(a == 0x2001 && (b < 0x200 || b == 0xDB8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_is_not_called() {
        let inside = [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.8",
            "203.0.113.9",
            "::1",
            "::",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::a00:1",
        ];
        for address in inside {
            assert!(!public(address.parse().unwrap()), "{address}");
        }
        for address in ["1.1.1.1", "223.5.5.5", "2400:3200::1", "::ffff:1.1.1.1", "100.128.0.1", "64:ff9b::101:101"] {
            assert!(public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn an_address_of_a_tenant_is_public_and_encrypted() {
        let guarded = Guarded::new(Duration::from_secs(1), false).unwrap();
        let refused = [
            "http://example.com/",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://me:secret@example.com/",
            "file:///etc/passwd",
            "x",
        ];
        for url in refused {
            assert!(allowed(url, false).is_err(), "{url}");
            assert!(guarded.post(url, &[], String::new()).await.is_err(), "{url}");
        }
        assert!(allowed("https://example.com/hook?key=1", false).is_ok());
        // A name that stands for an inner address.
        assert!(guarded.post("https://localhost:1/", &[], String::new()).await.is_err());
        assert!(allowed("http://127.0.0.1:8080/", true).is_ok());
    }
}
