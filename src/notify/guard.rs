//! Requests to addresses that a configuration names: where they may lead, and what is read of the answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, RequestBuilder, StatusCode, Url, redirect};

/// The longest that one delivery may take.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// The longest answer that is read, bytes.
const BODY_MAX: usize = 64 * 1024;

/// Whether an address of a private network is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is refused, also where a public name leads to it.
    Public,
    /// The configuration says so: `allow_private: true`.
    Private,
}

/// Why nothing was sent, or no answer came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The address must not be asked.
    #[error("{0} is refused: {1}")]
    Refused(String, &'static str),
    /// No answer.
    #[error("no answer: {0}")]
    Unreachable(String),
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Vec<u8>,
}

/// Sends requests as far as it may reach. Clones share connections.
#[derive(Clone, Debug)]
pub struct Sender {
    client: Client,
    reach: Reach,
}

impl Sender {
    /// A sender. It follows no redirect and knows no proxy.
    ///
    /// # Errors
    /// The system's trust anchors cannot be read.
    pub fn new(reach: Reach) -> Result<Self, SendError> {
        let builder = crate::net::http_client().timeout(ANSWER_MAX).redirect(redirect::Policy::none()).no_proxy();
        let client = builder.user_agent(crate::ids::NAME).dns_resolver(Arc::new(Guarded(reach))).build();
        Ok(Self { client: client.map_err(|error| SendError::Unreachable(error.to_string()))?, reach })
    }

    /// A POST to an address, if that may be asked: by https, or, where private networks are meant, by http.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn post(&self, url: &str) -> Result<RequestBuilder, SendError> {
        let parsed = admitted(url, self.reach).map_err(|why| SendError::Refused(shown(url), why))?;
        Ok(self.client.post(parsed))
    }

    /// Sends, and reads the answer within its bound.
    ///
    /// # Errors
    /// No answer in time, or a name that leads where nothing may be asked.
    pub(super) async fn send(request: RequestBuilder) -> Result<Reply, SendError> {
        let fault = |error: reqwest::Error| SendError::Unreachable(root_cause(&error));
        let mut response = request.send().await.map_err(fault)?;
        let status = response.status();
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(wait);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(fault)? {
            let room = BODY_MAX.saturating_sub(body.len()).min(chunk.len());
            body.extend_from_slice(chunk.get(..room).unwrap_or_default());
            if body.len() == BODY_MAX {
                break;
            }
        }
        Ok(Reply { status, retry_after, body })
    }
}

/// The address, if its text alone does not say that it may not be asked.
///
/// # Errors
/// It may not: a few words why, and behind a semicolon what can be done.
pub fn admitted(url: &str, reach: Reach) -> Result<Url, &'static str> {
    let parsed = Url::parse(url).map_err(|_| "it is no URL")?;
    match parsed.scheme() {
        "https" => {}
        "http" if reach == Reach::Private => {}
        _ => return Err("only https leaves this machine; set allow_private for a receiver inside"),
    }
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
    // A number is not looked up, so the resolver does not see it.
    if host.parse().is_ok_and(|address| !may_reach(reach, address)) {
        return Err(PRIVATE);
    }
    Ok(parsed)
}

const PRIVATE: &str = "it leads into a private network; set allow_private if that is meant";

/// `Retry-After` in seconds (RFC 9110, section 10.2.3); a date counts from now.
fn wait(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    let now = crate::clock::Clock::System.now();
    Some(crate::clock::Timestamp::from_micros(date.as_microsecond()).since(now))
}

/// Scheme and host: the rest of a webhook's address is often its secret.
fn shown(url: &str) -> String {
    Url::parse(url).map_or_else(|_| "the address".to_owned(), |url| url.origin().ascii_serialization())
}

/// Looks names up, and gives no address that must not be asked: what is connected to is what was checked.
#[derive(Debug)]
struct Guarded(Reach);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            // One private address among public ones is a trick, or a mistake.
            if found.iter().any(|address| !may_reach(reach, address.ip())) {
                return Err(Box::from(SendError::Refused(name.as_str().to_owned(), PRIVATE)));
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

fn may_reach(reach: Reach, address: IpAddr) -> bool {
    reach == Reach::Private
        || match address {
            IpAddr::V4(address) => is_public_v4(address),
            IpAddr::V6(address) => is_public_v6(address),
        }
}

/// Not one of the special-purpose blocks of RFC 6890 and its registry.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(matches!(a, 0 | 10 | 127 | 224..=255)
        || matches!((a, b), (100, 64..=127) | (169, 254) | (172, 16..=31) | (192, 168) | (198, 18 | 19))
        || matches!((a, b, c), (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113)))
}

/// Global unicast (`2000::/3`) without its special blocks; addresses that carry an IPv4 one are as public as that.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, middle @ .., high, low] = address.segments();
    let middle_is = |last: u16| c == 0 && middle == [0, 0, last];
    let v4 = |high: u16, low: u16| is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match (a, b) {
        (0, 0) if middle_is(0xffff) => v4(high, low),
        (0x64, 0xff9b) if middle_is(0) => v4(high, low),
        (0x2002, _) => v4(b, c),
        // Teredo, ORCHID and other protocol assignments; documentation.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        _ => (0x2000..=0x3fff).contains(&a),
    }
}

/// The innermost error says what happened; the outer ones would also say the address, which may be a secret.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if std::ptr::addr_eq(cause, error) {
        "it took too long, or the address is none".to_owned()
    } else {
        cause.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_refused_in_every_disguise() {
        let sender = Sender::new(Reach::Public).unwrap();
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "2130706433",
            "0",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "[::1]",
            "[::]",
            "[::ffff:10.0.0.1]",
            "[fe80::1]",
            "[fd00::1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[2001::1]",
            "224.0.0.1",
            "255.255.255.255",
            "[ff02::1]",
        ] {
            assert!(sender.post(&format!("https://{host}/hook")).is_err(), "{host}");
        }
        for host in ["8.8.8.8", "hooks.slack.com", "[2606:4700::1111]", "172.32.0.1", "100.128.0.1", "[::ffff:8.8.8.8]"]
        {
            assert!(sender.post(&format!("https://{host}/hook")).is_ok(), "{host}");
        }
    }

    #[test]
    fn only_https_leaves_the_machine() {
        let sender = Sender::new(Reach::Public).unwrap();
        for url in ["http://example.com/", "ftp://example.com/", "file:///etc/passwd", "example.com", ""] {
            assert!(sender.post(url).is_err(), "{url}");
        }
        assert!(Sender::new(Reach::Private).unwrap().post("http://127.0.0.1:1/").is_ok());
    }

    #[tokio::test]
    async fn a_name_that_leads_into_a_private_network_is_refused_when_it_is_looked_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let request = Sender::new(Reach::Public).unwrap().post(&url).unwrap();
        let error = Sender::send(request).await.unwrap_err();
        assert!(error.to_string().contains("private network"), "{error}");
    }

    #[test]
    fn a_receiver_says_how_long_to_wait_in_seconds_or_by_a_date() {
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(wait("Fri, 31 Dec 2100 23:59:59 GMT").unwrap() > Duration::from_secs(3600));
        assert_eq!(wait("soon"), None);
    }
}
