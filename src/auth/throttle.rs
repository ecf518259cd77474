//! How often one address may fail to log in: a burst, then one a second.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Every failure is forgiven after this time, one after the other.
const FORGIVEN_AFTER: Duration = Duration::from_secs(1);
/// Addresses that are remembered; beyond it the one that is forgiven first is forgotten.
const ADDRESSES_MAX: usize = 10_000;

/// Who has failed of late.
#[derive(Debug)]
pub struct Throttle {
    /// When all failures of an address are forgiven.
    addresses: Mutex<HashMap<IpAddr, Instant>>,
    burst: Duration,
    addresses_max: usize,
}

impl Throttle {
    /// After so many failures in a row an address has to wait.
    #[must_use]
    pub fn new(failures_max: u32) -> Self {
        Self {
            addresses: Mutex::default(),
            burst: FORGIVEN_AFTER.saturating_mul(failures_max),
            addresses_max: ADDRESSES_MAX,
        }
    }

    /// How long an address has to wait until it may try again; `None`: it may now.
    #[must_use]
    pub fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let owed = addresses.get(&source(address))?.saturating_duration_since(now);
        (owed > self.burst.saturating_sub(FORGIVEN_AFTER)).then(|| (owed + FORGIVEN_AFTER).saturating_sub(self.burst))
    }

    /// An address has failed.
    pub fn failed(&self, address: IpAddr, now: Instant) {
        let address = source(address);
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= self.addresses_max && !addresses.contains_key(&address) {
            addresses.retain(|_, until| *until > now);
            let next = addresses.iter().min_by_key(|(_, until)| **until).map(|(address, _)| *address);
            if let Some(next) = next.filter(|_| addresses.len() >= self.addresses_max) {
                addresses.remove(&next);
            }
        }
        let until = addresses.entry(address).or_insert(now);
        *until = (*until).max(now) + FORGIVEN_AFTER;
    }
}

/// Whoever has one IPv6 address has the 2^64 beside it.
pub(super) fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        IpAddr::V4(address) => IpAddr::V4(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_that_has_failed_too_often_waits_and_others_do_not() {
        let (throttle, now) = (Throttle::new(3), crate::clock::monotonic());
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        for _ in 0..3 {
            assert_eq!(throttle.wait(one, now), None);
            throttle.failed(one, now);
        }
        assert_eq!(throttle.wait(one, now), Some(Duration::from_secs(1)));
        assert_eq!(throttle.wait(other, now), None);
        assert_eq!(throttle.wait(one, now + Duration::from_secs(1)), None);
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let (throttle, now) = (Throttle::new(1), crate::clock::monotonic());
        throttle.failed(address("2001:db8::1"), now);
        assert!(throttle.wait(address("2001:db8::ffff"), now).is_some());
        assert!(throttle.wait(address("2001:db8:0:1::1"), now).is_none());
        throttle.failed(address("::ffff:192.0.2.1"), now);
        assert!(throttle.wait(address("192.0.2.1"), now).is_some());
    }

    #[test]
    fn so_many_addresses_are_remembered_and_no_more() {
        let now = crate::clock::monotonic();
        let throttle = Throttle { addresses_max: 100, ..Throttle::new(2) };
        for host in 0..1000_u32 {
            throttle.failed(IpAddr::V4(host.into()), now);
        }
        assert_eq!(throttle.addresses.lock().unwrap().len(), 100);
    }
}
