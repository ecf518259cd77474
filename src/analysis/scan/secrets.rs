//! Literals that nobody may be shown, in no mode: passwords, connection strings, keys.

use std::ops::Range;

use super::{StringMode, Token, TokenKind, tokens};

/// What stands for a secret.
const HIDDEN: &[u8] = b"'?'";

/// Functions whose every literal is a secret, or what it protects.
const FUNCTIONS: &[&[u8]] = &[
    b"crypt",
    b"decrypt",
    b"decrypt_iv",
    b"encrypt",
    b"encrypt_iv",
    b"hmac",
    b"pgp_pub_decrypt",
    b"pgp_pub_decrypt_bytea",
    b"pgp_sym_decrypt",
    b"pgp_sym_decrypt_bytea",
    b"pgp_sym_encrypt",
    b"pgp_sym_encrypt_bytea",
];

/// `dblink`, `dblink_connect`, `dblink_exec` … take a connection string.
const DBLINK: &[u8] = b"dblink";

/// Options of foreign servers, tables and wrappers that are no secrets; of any other nobody can know.
const OPEN_OPTIONS: &[&[u8]] = &[
    b"column_name",
    b"dbname",
    b"fetch_size",
    b"filename",
    b"format",
    b"header",
    b"host",
    b"hostaddr",
    b"port",
    b"schema_name",
    b"sslmode",
    b"table_name",
    b"updatable",
    b"use_remote_estimate",
    b"user",
];

/// The secrets of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Literals, in order.
    pub literals: Vec<Range<usize>>,
    /// Parameters (`$1` is 1) whose values are secrets.
    pub params: Vec<usize>,
}

impl Secrets {
    /// Finds them. What is hidden too much is a word that an operator does not see; so in doubt only what can be a
    /// password or the address of a server is taken for one.
    #[must_use]
    pub fn of(text: &[u8], mode: StringMode) -> Self {
        let mut finder = Finder { text, mode, found: Self::default(), ..Finder::default() };
        for token in tokens(text, mode).filter(|token| !token.kind.is_comment()) {
            finder.take(&token);
        }
        finder.found
    }

    /// Whether a literal that begins here is one.
    #[must_use]
    pub fn has(&self, start: usize) -> bool {
        self.literals.iter().any(|range| range.contains(&start))
    }

    /// The text with `'?'` in their place.
    #[must_use]
    pub fn hide(&self, text: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(text.len());
        let mut end = 0;
        for range in &self.literals {
            shown.extend_from_slice(text.get(end..range.start).unwrap_or_default());
            shown.extend_from_slice(HIDDEN);
            end = range.end;
        }
        shown.extend_from_slice(text.get(end..).unwrap_or_default());
        shown
    }

    /// Whether a parameter's value is one: by its place, or because it reads like one.
    #[must_use]
    pub fn hides_value(&self, number: usize, value: &[u8]) -> bool {
        self.params.contains(&number) || speaks_of_password(&value.to_ascii_lowercase())
    }
}

/// Inside of which parentheses the scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Options,
    Dblink,
    Secret,
}

#[derive(Debug, Default)]
struct Finder<'a> {
    text: &'a [u8],
    mode: StringMode,
    found: Secrets,
    /// The last word, lower case; empty once something else than a name came.
    word: Vec<u8>,
    /// The depth of parentheses at which each call began.
    calls: Vec<(Call, usize)>,
    depth: usize,
    /// A text that sets a password is being put together.
    is_tainted: bool,
}

impl Finder<'_> {
    fn take(&mut self, token: &Token) {
        let bytes = self.text.get(token.range.clone()).unwrap_or_default();
        match token.kind {
            TokenKind::Word => self.word = bytes.to_ascii_lowercase(),
            TokenKind::QuotedIdent => self.word = bytes.trim_ascii().to_ascii_lowercase().replace_quotes(),
            TokenKind::Param => self.param(bytes),
            TokenKind::Punct => self.punct(bytes),
            kind if kind.is_string() => self.string(token, bytes),
            TokenKind::Operator if bytes == b"=" => {}
            _ => self.word.clear(),
        }
    }

    fn punct(&mut self, bytes: &[u8]) {
        match bytes {
            b"(" => {
                let call = match self.word.as_slice() {
                    b"options" => Some(Call::Options),
                    word if word.starts_with(DBLINK) => Some(Call::Dblink),
                    word if FUNCTIONS.contains(&word) => Some(Call::Secret),
                    _ => None,
                };
                self.calls.extend(call.map(|call| (call, self.depth)));
                self.depth += 1;
            }
            b")" => {
                self.depth = self.depth.saturating_sub(1);
                self.calls.retain(|(_, depth)| *depth < self.depth);
            }
            b";" => self.is_tainted = false,
            b"." => return,
            _ => {}
        }
        self.word.clear();
    }

    fn param(&mut self, bytes: &[u8]) {
        let is_secret = self.call().is_some_and(|call| call != Call::Options) || self.is_announced();
        let number = bytes.get(1..).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok());
        self.found.params.extend(number.filter(|_| is_secret));
        self.word.clear();
    }

    fn string(&mut self, token: &Token, bytes: &[u8]) {
        let lower = bytes.to_ascii_lowercase();
        let by_place = match self.call() {
            Some(Call::Secret) => true,
            Some(Call::Dblink) => is_connection(&lower),
            Some(Call::Options) => !OPEN_OPTIONS.contains(&self.word.as_slice()),
            None => false,
        };
        let speaks = speaks_of_password(&lower);
        if by_place || self.is_announced() || self.is_tainted || (speaks && !self.is_body(token)) {
            self.found.literals.push(token.range.clone());
        } else if speaks {
            self.look_inside(token, bytes);
        }
        let sets = [&b"role"[..], b"user", b"alter", b"create"].iter().any(|word| contains(&lower, word));
        self.is_tainted |= speaks && sets && !self.is_body(token);
        self.word.clear();
    }

    /// `PASSWORD 'x'`, `CONNECTION 'x'`, also with `=` in between.
    fn is_announced(&self) -> bool {
        matches!(self.word.as_slice(), b"password" | b"connection" | b"passwd")
    }

    fn call(&self) -> Option<Call> {
        self.calls.last().map(|(call, _)| *call)
    }

    /// Code in dollar quotes is shown but for the secrets in it.
    fn is_body(&self, token: &Token) -> bool {
        token.kind == TokenKind::DollarString && token.closed
    }

    fn look_inside(&mut self, token: &Token, bytes: &[u8]) {
        let Some(open) = bytes.iter().skip(1).position(|byte| *byte == b'$').map(|at| at + 2) else { return };
        let body = bytes.get(open..bytes.len().saturating_sub(open)).unwrap_or_default();
        let start = token.range.start + open;
        let inside = Secrets::of(body, self.mode).literals.into_iter();
        self.found.literals.extend(inside.map(|range| start + range.start..start + range.end));
    }
}

trait ReplaceQuotes {
    fn replace_quotes(self) -> Self;
}

impl ReplaceQuotes for Vec<u8> {
    fn replace_quotes(mut self) -> Self {
        self.retain(|byte| *byte != b'"');
        self
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

fn speaks_of_password(lower: &[u8]) -> bool {
    [&b"password"[..], b"passwd", b"pwd=", b"secret="].iter().any(|word| contains(lower, word)) || has_userinfo(lower)
}

/// `scheme://user:secret@host`.
fn has_userinfo(lower: &[u8]) -> bool {
    let Some(at) = lower.windows(3).position(|window| window == b"://") else { return false };
    let rest = lower.get(at + 3..).unwrap_or_default();
    let authority = rest.split(|byte| matches!(byte, b'/' | b'?' | b'\'' | b' ')).next().unwrap_or_default();
    let Some(end) = authority.iter().rposition(|byte| *byte == b'@') else { return false };
    authority.get(..end).is_some_and(|userinfo| userinfo.contains(&b':'))
}

/// A connection string: `key=value` words or a URL.
fn is_connection(lower: &[u8]) -> bool {
    let inner = lower.iter().position(|byte| matches!(byte, b'\'' | b'$')).map_or(0, |at| at + 1);
    let inner = lower.get(inner..).unwrap_or_default().trim_ascii_start();
    let word = inner.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let behind = inner.get(word..).unwrap_or_default().trim_ascii_start();
    (word > 0 && behind.first() == Some(&b'=')) || contains(lower, b"://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(sql: &str) -> String {
        let secrets = Secrets::of(sql.as_bytes(), StringMode::Standard);
        String::from_utf8(secrets.hide(sql.as_bytes())).unwrap()
    }

    #[test]
    fn passwords_and_connection_strings_are_hidden_wherever_they_stand() {
        for (sql, shown) in [
            (
                "CREATE ROLE bob LOGIN PASSWORD 'CANARY' VALID UNTIL '2030-01-01'",
                "CREATE ROLE bob LOGIN PASSWORD '?' VALID UNTIL '2030-01-01'",
            ),
            ("alter user bob with encrypted password E'CANARY'", "alter user bob with encrypted password '?'"),
            ("ALTER ROLE bob PASSWORD /* x */ $q$CANARY$q$;", "ALTER ROLE bob PASSWORD /* x */ '?';"),
            (
                "CREATE SUBSCRIPTION s CONNECTION 'host=a password=CANARY' PUBLICATION p",
                "CREATE SUBSCRIPTION s CONNECTION '?' PUBLICATION p",
            ),
            (
                "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'db', passfile 'CANARY')",
                "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (host 'db', passfile '?')",
            ),
            (
                "ALTER USER MAPPING FOR bob SERVER s OPTIONS (SET \"password\" 'CANARY', ADD sslkey 'CANARY')",
                "ALTER USER MAPPING FOR bob SERVER s OPTIONS (SET \"password\" '?', ADD sslkey '?')",
            ),
            (
                "SELECT * FROM public.dblink('dbname=x user=CANARY', 'SELECT a FROM t WHERE a = 1') AS t(a int)",
                "SELECT * FROM public.dblink('?', 'SELECT a FROM t WHERE a = 1') AS t(a int)",
            ),
            ("SELECT dblink_connect('c', 'postgresql://CANARY')", "SELECT dblink_connect('c', '?')"),
            ("SELECT pgp_sym_encrypt('CANARY', 'CANARY'), 'shown'", "SELECT pgp_sym_encrypt('?', '?'), 'shown'"),
            ("SET app.dsn = 'postgres://bob:CANARY@db/x'", "SET app.dsn = '?'"),
            (
                "DO $$ BEGIN EXECUTE 'ALTER ROLE bob PASSWORD ' || quote_literal('CANARY'); PERFORM 'shown'; END $$",
                "DO $$ BEGIN EXECUTE '?' || quote_literal('?'); PERFORM 'shown'; END $$",
            ),
            ("SELECT format('ALTER ROLE %I PASSWORD %L', 'bob', 'CANARY')", "SELECT format('?', '?', '?')"),
            ("ALTER ROLE bob PASSWORD 'CANARY", "ALTER ROLE bob PASSWORD '?'"),
        ] {
            assert_eq!(hidden(sql), shown);
        }
    }

    #[test]
    fn what_an_operator_must_see_stays() {
        for sql in [
            "UPDATE t SET a = 'x' WHERE b = 'y=1' AND password_changed_at < '2020-01-01'",
            "CREATE FOREIGN TABLE f (a int) SERVER s OPTIONS (schema_name 'x', table_name 'y')",
            "SELECT 'https://example.org/a?b=c'",
            "SELECT count(*) FROM connection WHERE name = 'x'",
            "DO $$ BEGIN DELETE FROM t WHERE a = 'x'; END $$",
        ] {
            assert_eq!(hidden(sql), sql);
        }
    }

    #[test]
    fn parameters_and_their_values_are_secrets_too() {
        let secrets = Secrets::of(b"SELECT dblink_connect($2), a FROM t WHERE b = $1", StringMode::Standard);
        assert_eq!(secrets.params, [2]);
        assert!(
            secrets.hides_value(2, b"x")
                && secrets.hides_value(1, b"host=a PASSWORD=b")
                && !secrets.hides_value(1, b"x")
        );
    }
}
