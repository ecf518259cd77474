//! The many ways to write one name, and white space.

use super::random::Random;

/// Words that need quotes as a name, of those that the schema uses.
const RESERVED: [&str; 7] = ["both", "select", "user", "order", "table", "where", "value"];

/// A name in quotes.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether a name can stand without quotes.
fn is_plain(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase() || c == '_';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit()) && !RESERVED.contains(&name)
}

/// A name with quotes where it needs them.
pub fn plain(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { quoted(name) }
}

/// A name in one of the forms that mean the same.
pub fn vary(name: &str, random: &mut Random) -> String {
    let whole = if name.len() == 63 && random.chance(50) { format!("{name}_and_more") } else { name.to_owned() };
    match random.below(20) {
        0 => quoted(&whole),
        1 if is_plain(name) => whole.to_uppercase(),
        2 if is_plain(name) => capital(&whole),
        3 => format!("U&{}", quoted(&escape(&whole, random))),
        _ if is_plain(name) => whole,
        _ => quoted(&whole),
    }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

/// Some letters as `\0061` or `\+000061`.
fn escape(name: &str, random: &mut Random) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        match random.below(6) {
            0 => text.push_str(&format!("\\{:04X}", u32::from(letter))),
            1 => text.push_str(&format!("\\+{:06x}", u32::from(letter))),
            _ => text.push(letter),
        }
    }
    text
}

/// A literal of a text in one of its forms.
pub fn literal(text: &str, random: &mut Random) -> String {
    match random.below(8) {
        0 => format!("E'{text}\\'--'"),
        1 => format!("$${text}$$"),
        2 => format!("$q${text}'$q$"),
        3 => format!("U&'{text}\\0061'"),
        4 => format!("'{text}'''"),
        _ => format!("'{text}'"),
    }
}

/// Puts comments and line breaks where spaces are, outside of quotes.
pub fn space(text: &str, random: &mut Random) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quote = None;
    for letter in text.chars() {
        match (letter, quote) {
            ('\'' | '"', None) => quote = Some(letter),
            (_, Some(open)) if open == letter => quote = None,
            _ => {}
        }
        if letter != ' ' || quote.is_some() {
            out.push(letter);
            continue;
        }
        out.push_str(match random.below(60) {
            0 => " /* from people; */ ",
            1 => " -- it's\n",
            2 => "/*/* nested \" */ ' */",
            3 => "\n\t",
            _ => " ",
        });
    }
    out
}
