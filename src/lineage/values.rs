//! A Bind value as the literal that it stands for: binary forms of common types as their text, so that a value has one tag
//! however it was sent.

use std::fmt::Write;

use std::borrow::Cow;

/// The text of a value in its type's binary form (`*send` in the server's `utils/adt`); `None` where the type is unknown,
/// has several spellings, or the bytes are not of its form.
#[must_use]
pub fn text_of_binary(type_oid: u32, bytes: &[u8]) -> Option<Cow<'_, str>> {
    let text = |bytes| std::str::from_utf8(bytes).ok().map(Cow::Borrowed);
    let number = |number: i128| Some(Cow::Owned(number.to_string()));
    match type_oid {
        16 => match bytes {
            [0] => Some("f".into()),
            [1] => Some("t".into()),
            _ => None,
        },
        20 => number(i64::from_be_bytes(bytes.try_into().ok()?).into()),
        21 => number(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        23 => number(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        26 => number(u32::from_be_bytes(bytes.try_into().ok()?).into()),
        // "char", name, text, json, unknown, bpchar, varchar, and citext where a driver names it text.
        18 | 19 | 25 | 114 | 705 | 1042 | 1043 => text(bytes),
        3802 => text(bytes.strip_prefix(&[1])?),
        2950 => uuid(bytes.try_into().ok()?),
        1082 => date(i32::from_be_bytes(bytes.try_into().ok()?)),
        1700 => numeric(bytes),
        _ => None,
    }
}

fn uuid(bytes: [u8; 16]) -> Option<Cow<'static, str>> {
    let hex = crate::ids::hex(&bytes);
    let parts = [hex.get(..8)?, hex.get(8..12)?, hex.get(12..16)?, hex.get(16..20)?, hex.get(20..)?];
    Some(parts.join("-").into())
}

/// Days since 2000-01-01 as ISO 8601; years of four digits alone, as others are spelled in more than one way.
fn date(days: i32) -> Option<Cow<'static, str>> {
    // Days since 0000-03-01, in eras of 400 years (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let days = i64::from(days) + 730_425;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (1..=9999).contains(&year).then(|| format!("{year:04}-{month:02}-{day_of_month:02}").into())
}

/// Digits to the base of 10,000 behind a header of four 16-bit numbers: their count, the first one's weight, sign, scale.
fn numeric(bytes: &[u8]) -> Option<Cow<'static, str>> {
    let (words, []) = bytes.as_chunks::<2>() else { return None };
    let mut words = words.iter().map(|word| u16::from_be_bytes(*word));
    let (count, weight, sign, scale) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let digits: Vec<u16> = words.collect();
    let negative = match sign {
        0 => false,
        0x4000 => true,
        _ => return None,
    };
    if digits.len() != usize::from(count) || digits.iter().any(|digit| *digit > 9999) || scale > 1000 {
        return None;
    }
    let weight = i32::from(i16::from_be_bytes(weight.to_be_bytes()));
    if !(-250..=1000).contains(&weight) {
        return None;
    }
    let group = |place: i32| {
        let index = usize::try_from(weight - place).ok();
        index.and_then(|index| digits.get(index)).copied().unwrap_or(0)
    };
    let four = |mut text: String, place: i32| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{:04}", group(place));
        text
    };
    let whole = (0..=weight).rev().fold(String::new(), four);
    let whole = whole.trim_start_matches('0');
    let scale = usize::from(scale);
    let groups = i32::try_from(scale.div_ceil(4)).ok()?;
    let mut fraction = (-groups..=-1).rev().fold(String::new(), four);
    fraction.truncate(scale);
    let point = if scale > 0 { "." } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(format!("{}{whole}{point}{fraction}", if negative { "-" } else { "" }).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    /// Each pair is what a server prints for `encode(TYPEsend(VALUE), 'hex')`.
    #[test]
    fn a_binary_value_is_spelled_as_the_server_spells_it() {
        for (oid, binary, text) in [
            (16, "01", "t"),
            (20, "ffffffffffffffff", "-1"),
            (21, "0007", "7"),
            (23, "0000002a", "42"),
            (26, "ffffffff", "4294967295"),
            (25, "6974277320c3a9", "it's é"),
            (3802, "017b7d", "{}"),
            (2950, "00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff"),
            (1082, "00000000", "2000-01-01"),
            (1082, "0000003b", "2000-02-29"),
            (1082, "ffffffff", "1999-12-31"),
            (1082, "fffff06d", "1989-01-31"),
            (1700, "0003000100000002000109291d4c", "12345.75"),
            (1700, "0001ffff4000000304e2", "-0.125"),
            (1700, "0000000000000000", "0"),
            (1700, "00010001000000000001", "10000"),
        ] {
            let bytes = hex(binary);
            let found = text_of_binary(oid, &bytes);
            assert_eq!(found.as_deref(), Some(text), "{oid} {binary}");
        }
    }

    #[test]
    fn what_is_not_of_its_form_has_no_text() {
        for (oid, binary) in [
            (16, "02"),
            (23, "00"),
            (25, "ff"),
            (1700, "0001"),
            (1700, "0000000c00000000c0"),
            (3802, "027b7d"),
            (1114, "00"),
        ] {
            assert_eq!(text_of_binary(oid, &hex(binary)), None, "{oid} {binary}");
        }
    }
}
