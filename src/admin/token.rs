//! The words of a command: a small lexer over the text of one Query or Parse.

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A bare word or number, as typed.
    Word(String),
    /// A string in quotes, without them.
    Text(String),
    /// `$n`, from 1.
    Parameter(usize),
    /// Any other character.
    Symbol(char),
}

/// Why a text has no words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LexError {
    /// A quote or comment without its end.
    Unterminated,
    /// A `$` that no number follows.
    Parameter,
}

/// The commands of a text, each as its words; empty ones are left out.
pub(super) fn commands(text: &str) -> Result<Vec<Vec<Token>>, LexError> {
    let mut commands = vec![Vec::new()];
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = skip(rest)? {
            rest = after;
        } else if first == ';' {
            commands.push(Vec::new());
            rest = tail(rest, first);
        } else {
            let (token, after) = token(rest, first)?;
            if let Some(command) = commands.last_mut() {
                command.push(token);
            }
            rest = after;
        }
    }
    commands.retain(|command| !command.is_empty());
    Ok(commands)
}

/// What follows a blank or a comment, if the text begins with one.
fn skip(text: &str) -> Result<Option<&str>, LexError> {
    let blank = text.trim_start();
    if blank.len() < text.len() {
        return Ok(Some(blank));
    }
    if let Some(comment) = text.strip_prefix("--") {
        return Ok(Some(comment.split_once('\n').map_or("", |(_, after)| after)));
    }
    if let Some(comment) = text.strip_prefix("/*") {
        return comment.split_once("*/").map(|(_, after)| Some(after)).ok_or(LexError::Unterminated);
    }
    Ok(None)
}

fn token(text: &str, first: char) -> Result<(Token, &str), LexError> {
    if first == '\'' || first == '"' {
        return quoted(tail(text, first), first);
    }
    if let Some(number) = text.strip_prefix('$') {
        let (digits, after) = split_while(number, |c| c.is_ascii_digit());
        let place = digits.parse().ok().filter(|place| *place > 0).ok_or(LexError::Parameter)?;
        return Ok((Token::Parameter(place), after));
    }
    if is_word(first) {
        let (word, after) = split_while(text, is_word);
        return Ok((Token::Word(word.to_owned()), after));
    }
    Ok((Token::Symbol(first), tail(text, first)))
}

/// A string up to its quote; a quote that stands twice is one.
fn quoted(text: &str, quote: char) -> Result<(Token, &str), LexError> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once(quote).ok_or(LexError::Unterminated)?;
        value.push_str(part);
        match after.strip_prefix(quote) {
            Some(after) => {
                value.push(quote);
                rest = after;
            }
            None => return Ok((Token::Text(value), after)),
        }
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '.' | '-')
}

fn split_while(text: &str, keep: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at_checked(text.find(|c| !keep(c)).unwrap_or(text.len())).unwrap_or((text, ""))
}

fn tail(text: &str, first: char) -> &str {
    text.strip_prefix(first).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_strings_and_parameters_are_told_apart() {
        let read = commands("approve 'it''s' $2; -- no\n SHOW /* x */ Holds;;").unwrap();
        assert_eq!(
            read,
            [
                vec![Token::Word("approve".into()), Token::Text("it's".into()), Token::Parameter(2)],
                vec![Token::Word("SHOW".into()), Token::Word("Holds".into())],
            ]
        );
    }

    #[test]
    fn what_has_no_end_is_refused() {
        for text in ["DENY 'x", "SHOW /* x", "DENY 'x''", "\"x"] {
            assert_eq!(commands(text), Err(LexError::Unterminated), "{text}");
        }
        assert_eq!(commands("DENY $x"), Err(LexError::Parameter));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = commands(&text);
        }
    }
}
