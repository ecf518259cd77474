//! What a person writes as the value of a condition: a size comparison, a time of the week, a network.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::yaml::{Size, text_type};
use crate::clock::Timestamp;

/// A comparison with a number: `> 500`, `>= 1000`, `< 10`, `<= 10`, or with a size: `> 64MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compare {
    /// More than this many.
    Above(u64),
    /// At most this many.
    UpTo(u64),
}

impl Compare {
    /// Whether `amount` is among what it stands for.
    #[must_use]
    pub(super) fn holds(self, amount: u64) -> bool {
        match self {
            Self::Above(most) => amount > most,
            Self::UpTo(most) => amount <= most,
        }
    }
}

impl FromStr for Compare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no comparison; write \"> 500\", \">= 500\", \"< 500\" or \"<= 500\" in quotes");
        let number = |rest: &str| rest.parse::<Size>().map(|Size(amount)| amount).map_err(|_| wrong());
        let text = text.trim();
        if let Some(rest) = text.strip_prefix(">=") {
            number(rest)?.checked_sub(1).map(Self::Above).ok_or_else(wrong)
        } else if let Some(rest) = text.strip_prefix('>') {
            number(rest).map(Self::Above)
        } else if let Some(rest) = text.strip_prefix("<=") {
            number(rest).map(Self::UpTo)
        } else if let Some(rest) = text.strip_prefix('<') {
            number(rest)?.checked_sub(1).map(Self::UpTo).ok_or_else(wrong)
        } else {
            Err(wrong())
        }
    }
}

impl fmt::Display for Compare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Above(most) => write!(f, "> {most}"),
            Self::UpTo(most) => write!(f, "<= {most}"),
        }
    }
}

/// Hours of the week: `Mon-Fri 08:00-18:00 UTC`, `Sat,Sun`, `22:00-06:00 +02:00`. A range over midnight belongs to the
/// day on which it begins. The zone is UTC, or a fixed distance from it, so that the answer needs no tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeOfWeek {
    /// Bit 0 is Monday.
    days: u8,
    /// Minutes since midnight; from inclusive, to exclusive.
    from: u32,
    to: u32,
    /// Minutes east of Greenwich.
    offset: i32,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const EVERY_DAY: u8 = 0b111_1111;
const DAY_MINUTES: u32 = 24 * 60;

impl TimeOfWeek {
    /// Whether the hours include this point in time.
    #[must_use]
    pub(super) fn contains(self, at: Timestamp) -> bool {
        let minutes = at.as_micros().div_euclid(60_000_000).saturating_add(i64::from(self.offset));
        let minute = u32::try_from(minutes.rem_euclid(i64::from(DAY_MINUTES))).unwrap_or(0);
        // 1970-01-01 was a Thursday: day 3 where Monday is day 0.
        let day = u32::try_from((minutes.div_euclid(i64::from(DAY_MINUTES)) + 3).rem_euclid(7)).unwrap_or(0);
        let on = |day: u32| self.days & (1 << (day % 7)) != 0;
        if self.from < self.to {
            on(day) && (self.from..self.to).contains(&minute)
        } else {
            on(day) && minute >= self.from || on(day + 6) && minute < self.to
        }
    }
}

impl FromStr for TimeOfWeek {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` names no hours; write them as \"Mon-Fri 08:00-18:00 UTC\", the zone UTC or +02:00");
        let mut time = Self { days: EVERY_DAY, from: 0, to: DAY_MINUTES, offset: 0 };
        let mut words = text.split_whitespace().peekable();
        words.peek().ok_or_else(wrong)?;
        if let Some(days) =
            words.next_if(|word| word.starts_with(|first: char| first.is_ascii_alphabetic()) && *word != "UTC")
        {
            time.days = days.split(',').try_fold(0, |all, range| Some(all | day_range(range)?)).ok_or_else(wrong)?;
        }
        if let Some(hours) = words.next_if(|word| word.starts_with(|first: char| first.is_ascii_digit())) {
            let (from, to) = hours.split_once('-').ok_or_else(wrong)?;
            (time.from, time.to) = clock(from).zip(clock(to)).filter(|(from, to)| from != to).ok_or_else(wrong)?;
        }
        if let Some(zone) = words.next() {
            time.offset = offset(zone).ok_or_else(wrong)?;
        }
        if words.next().is_some() { Err(wrong()) } else { Ok(time) }
    }
}

/// `Mon` or `Mon-Fri` as bits; a range may run over Sunday.
fn day_range(text: &str) -> Option<u8> {
    let day = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (day(first)?, day(last)?),
        None => (day(text)?, day(text)?),
    };
    let length = (last + 7 - first) % 7;
    Some((0..=length).fold(0, |bits, step| bits | 1 << ((first + step) % 7)))
}

/// `08:30` in minutes; `24:00` is the end of the day.
fn clock(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| digits.parse::<u32>().ok().filter(|_| digits.len() == 2);
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60 && hours * 60 + minutes <= DAY_MINUTES).then_some(hours * 60 + minutes)
}

/// `UTC`, `+02:00`, `-05:30` in minutes.
fn offset(text: &str) -> Option<i32> {
    if text == "UTC" || text == "Z" {
        return Some(0);
    }
    let (sign, rest) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (_, Some(rest)) => (-1, rest),
        _ => return None,
    };
    i32::try_from(clock(rest)?).ok().map(|minutes| sign * minutes)
}

/// Where a client connects from: `10.0.0.0/8`, `::1`, or `unix` for a socket on the machine itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Over a Unix socket.
    Unix,
    /// An address whose first `prefix` bits are those of `base`.
    Block {
        /// An address of the block.
        base: IpAddr,
        /// How many bits are fixed.
        prefix: u32,
    },
}

impl Network {
    /// Whether a client at `address` is in it; `None` is a client on a Unix socket. An IPv4 address that is written as
    /// an IPv6 one is the IPv4 address.
    #[must_use]
    pub fn contains(self, address: Option<IpAddr>) -> bool {
        match (self, address.map(|address| address.to_canonical())) {
            (Self::Unix, None) => true,
            (Self::Block { base: IpAddr::V4(base), prefix }, Some(IpAddr::V4(address))) => {
                let differ = base.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= prefix
            }
            (Self::Block { base: IpAddr::V6(base), prefix }, Some(IpAddr::V6(address))) => {
                let differ = base.to_bits() ^ address.to_bits();
                differ.leading_zeros() >= prefix
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let wrong = || format!("`{text}` is no network; write an address, 10.0.0.0/8, or unix");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u32>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if base.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(bits);
        if prefix > bits { Err(wrong()) } else { Ok(Self::Block { base, prefix }) }
    }
}

text_type!(Compare, "Compare", "A comparison with a number or a size: >, >=, <, <=.", "> 500");
text_type!(
    TimeOfWeek,
    "TimeOfWeek",
    "Hours of the week in UTC or at a fixed distance from it.",
    "Mon-Fri 08:00-18:00 UTC"
);
text_type!(Network, "Network", "An address, a network, or unix for local sockets.", "10.0.0.0/8");

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn comparisons_turn_at_their_threshold() {
        let compare = |text: &str| text.parse::<Compare>().unwrap();
        assert_eq!(compare("> 500"), Compare::Above(500));
        assert_eq!(compare(">= 1000"), Compare::Above(999));
        assert_eq!(compare("< 10"), Compare::UpTo(9));
        assert_eq!(compare("<=10"), Compare::UpTo(10));
        assert_eq!(compare("> 64MiB"), Compare::Above(64 << 20));
        for text in ["500", "", "> many", "< 0", ">= 0", "= 3", "> -1"] {
            assert!(text.parse::<Compare>().is_err(), "{text}");
        }
    }

    #[test]
    fn hours_hold_on_their_days_from_inclusive_to_exclusive() {
        let hours: TimeOfWeek = "Mon-Fri 08:00-18:00 UTC".parse().unwrap();
        for (time, inside) in [
            ("2026-11-20T08:00:00Z", true),
            ("2026-11-20T17:59:59Z", true),
            ("2026-11-20T18:00:00Z", false),
            ("2026-11-20T07:59:59Z", false),
            ("2026-11-21T12:00:00Z", false),
            ("1969-12-31T12:00:00Z", true),
        ] {
            assert_eq!(hours.contains(at(time)), inside, "{time}");
        }
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
        let nights: TimeOfWeek = "Fri 22:00-06:00".parse().unwrap();
        assert!(nights.contains(at("2026-11-20T23:00:00Z")));
        assert!(nights.contains(at("2026-11-21T05:59:00Z")));
        assert!(!nights.contains(at("2026-11-20T05:00:00Z")));
        assert!(!nights.contains(at("2026-11-21T23:00:00Z")));
    }

    #[test]
    fn days_wrap_over_sunday_and_zones_shift() {
        let weekend: TimeOfWeek = "Sat-Mon +02:00".parse().unwrap();
        assert!(weekend.contains(at("2026-11-20T22:30:00Z")));
        assert!(weekend.contains(at("2026-11-23T21:30:00Z")));
        assert!(!weekend.contains(at("2026-11-23T22:30:00Z")));
    }

    #[test]
    fn hours_that_mean_nothing_are_refused() {
        for text in
            ["", "Mon-Foo", "8-18", "08:00-08:00", "08:00", "25:00-26:00", "Mon 08:00-10:00 Europe/Berlin", "UTC UTC"]
        {
            assert!(text.parse::<TimeOfWeek>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_holds_its_addresses_alone() {
        let inside =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(Some(address.parse().unwrap()));
        assert!(inside("10.0.0.0/8", "10.255.0.1"));
        assert!(inside("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("0.0.0.0/0", "1.2.3.4"));
        assert!(!inside("0.0.0.0/0", "::1"));
        assert!(inside("fe80::/10", "fe80::1"));
        assert!(!inside("::1", "::2"));
        assert!("unix".parse::<Network>().unwrap().contains(None));
        assert!(!"0.0.0.0/0".parse::<Network>().unwrap().contains(None));
        for text in ["10.0.0.0/33", "10.0.0/8", "host", "::/129", "10.0.0.0/"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
