//! How often one address may come with a wrong token: the same bound for programs and for the sign-in form.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap};

use crate::auth::throttle::Throttle;
use crate::clock;
use crate::policy::Network;

/// Failures in a row of one address, where the configuration says nothing.
pub(super) const FAILURES_MAX: u32 = 50;
/// Where a proxy in front of us says whom it asks for, the last one last.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Who has failed of late.
pub(super) struct Attempts {
    throttle: Throttle,
    /// Proxies whose word about an address counts.
    proxies: Vec<Network>,
}

impl Attempts {
    pub(super) fn new(failures_max: u32, proxies: Vec<Network>) -> Self {
        Self { throttle: Throttle::new(failures_max), proxies }
    }

    /// How long the sender of a request has to wait before a token of theirs is looked at; `None`: not at all.
    pub(super) fn wait(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<Duration> {
        self.wait_of(self.address(extensions, headers)?, clock::monotonic())
    }

    /// The token of a request was nobody's.
    pub(super) fn failed(&self, extensions: &Extensions, headers: &HeaderMap) {
        if let Some(address) = self.address(extensions, headers) {
            self.failed_at(address, clock::monotonic());
        }
    }

    pub(super) fn wait_of(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        self.throttle.wait(address, now)
    }

    pub(super) fn failed_at(&self, address: IpAddr, now: Instant) {
        self.throttle.failed(address, now);
    }

    /// Who asks: the peer, or, as long as that is a proxy of ours, whom it names. What stands before the first name that is
    /// no proxy's was written by the sender, and counts for nothing.
    fn address(&self, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        let named = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let named: Vec<&str> = named.flat_map(|value| value.split(',')).map(str::trim).collect();
        let mut found = peer.ip().to_canonical();
        for name in named.iter().rev() {
            if !self.proxies.iter().any(|proxy| proxy.contains(Some(found))) {
                break;
            }
            let Ok(address) = name.parse::<IpAddr>() else { break };
            found = address.to_canonical();
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(attempts: &Attempts, peer: &str, forwarded: &[&str]) -> IpAddr {
        let (mut extensions, mut headers) = (Extensions::new(), HeaderMap::new());
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        attempts.address(&extensions, &headers).unwrap()
    }

    #[test]
    fn a_sender_is_who_the_last_proxy_of_ours_names_and_cannot_name_itself() {
        let behind = Attempts::new(1, vec!["10.0.0.0/8".parse().unwrap()]);
        let bare = Attempts::new(1, Vec::new());
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(asks(&bare, "192.0.2.1", &["198.51.100.7"]), address("192.0.2.1"));
        assert_eq!(asks(&behind, "192.0.2.1", &["198.51.100.7"]), address("192.0.2.1"));
        assert_eq!(asks(&behind, "10.0.0.1", &["203.0.113.5, 198.51.100.7, 10.0.0.2"]), address("198.51.100.7"));
        assert_eq!(asks(&behind, "10.0.0.1", &["203.0.113.5", "198.51.100.7"]), address("198.51.100.7"));
        assert_eq!(asks(&behind, "::ffff:10.0.0.1", &["2001:db8::1"]), address("2001:db8::1"));
        for nothing in [&[][..], &["unknown"], &[""]] {
            assert_eq!(asks(&behind, "10.0.0.1", nothing), address("10.0.0.1"), "{nothing:?}");
        }
    }
}
