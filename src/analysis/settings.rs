//! Values of settings as lists of names.

/// The elements of a `search_path` as the server prints and reads it: commas, double quotes, unquoted names folded.
#[must_use]
pub fn split(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    let mut was_quoted = false;
    let mut chars = text.chars().peekable();
    let mut finish = |name: &mut String, was_quoted: &mut bool| {
        let taken = std::mem::take(name);
        let taken = if *was_quoted { taken } else { crate::catalog::fold(taken.trim()) };
        if *was_quoted || !taken.is_empty() {
            names.push(taken);
        }
        *was_quoted = false;
    };
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                name.push('"');
            }
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            ',' if !quoted => finish(&mut name, &mut was_quoted),
            c if !quoted && was_quoted && c.is_whitespace() => {}
            c if !quoted && name.is_empty() && c.is_whitespace() => {}
            c => name.push(c),
        }
    }
    finish(&mut name, &mut was_quoted);
    names
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn names_are_split_at_commas_outside_quotes_and_folded() {
        assert_eq!(split("\"$user\", Public,\"A,b\"\"c\""), ["$user", "public", "A,b\"c"]);
        assert_eq!(split("\"\""), [""]);
        assert!(split("").is_empty());
    }
}
