//! Durations and sizes as people write them.

use std::str::FromStr;
use std::time;

use super::wrap::text_type;

/// A time span: `0`, `500ms`, `60s`, `30m`, `1h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub time::Duration);

/// A number of bytes: `512`, `64KiB`, `16MiB`, `1GiB`; `kB`, `MB` and `GB` are powers of 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const MILLISECONDS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const BYTES: [(&str, u64); 9] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() == "0" {
            return Ok(Self(time::Duration::ZERO));
        }
        scaled(text, &MILLISECONDS)
            .map(|millis| Self(time::Duration::from_millis(millis)))
            .ok_or_else(|| format!("`{text}` is no time span; write a number and ms, s, m, h or d, such as 30m"))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        scaled(text, &BYTES)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no size; write a number and B, KiB, MiB or GiB, such as 16MiB"))
    }
}

/// A whole number times its unit; `None` where it is none or too large.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

text_type!(Duration, "Duration", "A time span: a number and ms, s, m, h or d.", "30m");
text_type!(Size, "Size", "A number of bytes: a number and B, KiB, MiB or GiB.", "16MiB");
