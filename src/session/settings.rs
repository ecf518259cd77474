//! What the session knows of its own settings: reported ones, names' context, and `holdgate.*`.

use std::sync::Arc;
use std::time::Duration;

use super::patience::{self, Stream, Timeouts};
use crate::analysis::{Encoding, SessionEffect};
use crate::ids::NAME;
use crate::wire::startup::Parameters;

/// How names resolve in this session, as the server said when it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct NameContext {
    /// Schemas in order, as `current_schemas(false)` gives them.
    pub(super) search_path: Vec<String>,
    /// `current_user`.
    pub(super) role: String,
}

/// The settings.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) standard_conforming_strings: bool,
    /// The class of `client_encoding` as the server reports it.
    pub(super) encoding: Encoding,
    /// `client_encoding` is UTF8.
    pub(super) is_utf8: bool,
    client_encoding: String,
    server_encoding: String,
    /// Reported settings that decide what a literal means, with their values.
    pub(super) literals: Vec<(&'static str, String)>,
    /// What the server last said, `None` where something may have changed it since.
    pub(super) names: Option<Arc<NameContext>>,
    /// They changed inside the open transaction: its end, or a ROLLBACK TO, may change them back.
    pub(super) touched: bool,
    /// Counts changes of anything that facts depend on.
    pub(super) generation: u64,
    /// What the server ends the session or a statement with.
    pub(super) timeouts: Timeouts,
    /// How long a walsender's stream may stand still.
    pub(super) stream: Stream,
    /// How long a hold waits on the live connection; `None`: as configured.
    pub(super) wait: Option<Duration>,
    pub(super) intent: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) model: Option<String>,
    pub(super) run: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            standard_conforming_strings: true,
            encoding: Encoding::Safe,
            is_utf8: false,
            client_encoding: "UTF8".to_owned(),
            server_encoding: "UTF8".to_owned(),
            literals: Vec::new(),
            names: None,
            touched: false,
            generation: 0,
            timeouts: Timeouts::default(),
            stream: Stream::default(),
            wait: None,
            intent: None,
            agent: None,
            model: None,
            run: None,
        }
    }
}

/// Settings that decide what a name means.
const NAME_SETTINGS: [&str; 4] = ["search_path", "role", "session_authorization", "transaction"];

/// Settings that decide what a text means.
const MEANING_SETTINGS: [&str; 5] =
    ["search_path", "role", "session_authorization", "standard_conforming_strings", "client_encoding"];

/// Settings that the server reports and that decide what a literal means.
const LITERAL_SETTINGS: [&str; 3] = ["DateStyle", "IntervalStyle", "TimeZone"];

impl Settings {
    /// Reads `holdgate.*` from the start-up parameters and their `options`; all of them reach the backend too.
    pub(super) fn from_startup(parameters: &Parameters) -> Self {
        let mut settings = Self::default();
        let prefix = format!("{NAME}.");
        for (name, value) in &parameters.pairs {
            if let Some(own) = std::str::from_utf8(name).ok().and_then(|name| name.strip_prefix(&prefix)) {
                settings.own(own, Some(&String::from_utf8_lossy(value)));
            }
        }
        for (_, value) in parameters.pairs.iter().filter(|(name, _)| name == b"options") {
            let words = option_words(&String::from_utf8_lossy(value));
            for (name, value) in words.iter().filter_map(|word| assignment(word)) {
                if let Some(own) = name.strip_prefix(&prefix) {
                    settings.own(own, Some(value));
                }
            }
        }
        settings
    }

    /// A `ParameterStatus`.
    pub(super) fn server_reports(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"standard_conforming_strings" => {
                self.standard_conforming_strings = value == b"on";
                self.generation += 1;
            }
            b"client_encoding" => self.client_encoding = String::from_utf8_lossy(value).into_owned(),
            b"server_encoding" => self.server_encoding = String::from_utf8_lossy(value).into_owned(),
            b"search_path" | b"session_authorization" => self.forget_names(),
            _ => self.reports_literals(name, value),
        }
        if name.ends_with(b"_encoding") {
            self.encoding = Encoding::of(&self.client_encoding, &self.server_encoding);
            self.is_utf8 = self.client_encoding == "UTF8";
            self.generation += 1;
        }
    }

    /// What the server answers in the middle of a batch, where it reports nothing.
    pub(super) fn reads_texts_by(&mut self, encoding: &str, strings: &str) {
        if self.client_encoding != encoding {
            self.server_reports(b"client_encoding", encoding.as_bytes());
        }
        if self.standard_conforming_strings != (strings == "on") {
            self.server_reports(b"standard_conforming_strings", strings.as_bytes());
        }
    }

    fn reports_literals(&mut self, name: &[u8], value: &[u8]) {
        let Some(name) = LITERAL_SETTINGS.into_iter().find(|known| known.as_bytes() == name) else { return };
        self.literals.retain(|(known, _)| *known != name);
        self.literals.push((name, String::from_utf8_lossy(value).into_owned()));
    }

    /// Something may have changed what names mean.
    pub(super) fn forget_names(&mut self) {
        self.names = None;
        self.touched = true;
        self.generation += 1;
    }

    /// Whether a statement with this effect moves what later ones mean: names, strings, statements or cursors.
    pub(super) fn is_moved_by(effect: &SessionEffect) -> bool {
        match effect {
            SessionEffect::Set { name, .. } => name == "all" || MEANING_SETTINGS.contains(&name.as_str()),
            SessionEffect::Execute { .. } | SessionEffect::Fetch { .. } => false,
            SessionEffect::Prepare { .. }
            | SessionEffect::Deallocate { .. }
            | SessionEffect::Declare { .. }
            | SessionEffect::Close { .. }
            | SessionEffect::DiscardAll
            | SessionEffect::CatalogChange => true,
        }
    }

    /// The transaction ended, or went back to a savepoint.
    pub(super) fn rolled_back(&mut self) {
        if self.touched {
            self.forget_names();
        }
    }

    /// The server is out of any transaction block.
    pub(super) fn transaction_ended(&mut self) {
        self.rolled_back();
        self.touched = false;
    }

    /// What a completed statement changed.
    pub(super) fn apply(&mut self, effect: &SessionEffect) {
        match effect {
            SessionEffect::Set { name, value } => {
                if let Some(own) = name.strip_prefix(NAME).and_then(|rest| rest.strip_prefix('.')) {
                    self.own(own, value.as_deref());
                } else if let (b"standard_conforming_strings", Some(value)) = (name.as_bytes(), value) {
                    // The server reports it at the end of the batch; what comes before that is read by it already.
                    let value = value.to_ascii_lowercase();
                    self.standard_conforming_strings =
                        matches!(value.as_str(), "on" | "true" | "yes" | "1" | "t" | "y");
                    self.generation += 1;
                } else if name == "all"
                    || NAME_SETTINGS.contains(&name.as_str())
                    || MEANING_SETTINGS.contains(&name.as_str())
                    || patience::NAMES.contains(&name.as_str())
                {
                    self.forget_names();
                }
            }
            SessionEffect::DiscardAll | SessionEffect::CatalogChange => self.forget_names(),
            _ => {}
        }
    }

    fn own(&mut self, name: &str, value: Option<&str>) {
        let text = value.map(str::to_owned).filter(|text| !text.is_empty());
        match name {
            "wait" => self.wait = value.and_then(duration),
            "intent" => self.intent = text,
            "agent" => self.agent = text,
            "model" => self.model = text,
            "run" => self.run = text,
            _ => {}
        }
    }
}

/// A duration as Postgres writes settings: a number of seconds, or with `ms`, `s`, `min`, `h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic() || letter == ' ');
    let number: u64 = digits.parse().ok()?;
    match text.strip_prefix(digits)?.trim() {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "min" | "m" => Some(Duration::from_secs(number.saturating_mul(60))),
        "h" => Some(Duration::from_secs(number.saturating_mul(3600))),
        _ => None,
    }
}

/// Splits `options` as `pg_split_opts` does: at blanks, a backslash takes the next character as it is.
fn option_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter.is_ascii_whitespace() {
            words.extend(word.take());
            continue;
        }
        let letter = if letter == '\\' { letters.next() } else { Some(letter) };
        word.get_or_insert_default().extend(letter);
    }
    words.extend(word);
    words
}

/// `-cname=value`, `--name=value`, or the word behind a `-c`.
fn assignment(word: &str) -> Option<(&str, &str)> {
    word.trim_start_matches("-c").trim_start_matches("--").split_once('=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(pairs: &[(&str, &str)]) -> Parameters {
        let pairs = pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        Parameters { minor: 0, pairs }
    }

    #[test]
    fn options_give_our_settings() {
        let parameters = startup(&[("user", "a"), ("options", r"-c holdgate.wait=0 -choldgate.intent=fix\ it")]);
        let settings = Settings::from_startup(&parameters);
        assert_eq!(settings.wait, Some(Duration::ZERO));
        assert_eq!(settings.intent.as_deref(), Some("fix it"));
    }

    #[test]
    fn a_text_is_read_as_it_is_where_the_server_reads_it_so() {
        let mut settings = Settings::default();
        for (client, server, encoding) in [
            ("UTF8", "LATIN1", Encoding::Safe),
            ("UTF8", "UTF8", Encoding::Safe),
            ("SQL_ASCII", "UTF8", Encoding::Safe),
            ("SQL_ASCII", "SQL_ASCII", Encoding::Safe),
            ("SQL_ASCII", "LATIN1", Encoding::Unsafe),
            ("LATIN1", "UTF8", Encoding::Unsafe),
            ("EUC_JP", "UTF8", Encoding::Unsafe),
            ("SJIS", "UTF8", Encoding::Unsafe),
        ] {
            settings.server_reports(b"server_encoding", server.as_bytes());
            settings.server_reports(b"client_encoding", client.as_bytes());
            assert_eq!(settings.encoding, encoding, "{client} to {server}");
        }
    }

    #[test]
    fn a_wait_is_read_with_its_unit() {
        for (text, seconds) in [("0s", 0), ("90", 90), ("2min", 120), ("1 h", 3600)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("soon"), None);
    }

    #[test]
    fn a_changed_search_path_makes_names_unknown() {
        let mut settings = Settings { names: Some(Arc::default()), ..Settings::default() };
        settings.apply(&SessionEffect::Set { name: "work_mem".into(), value: None });
        assert!(settings.names.is_some());
        settings.apply(&SessionEffect::Set { name: "search_path".into(), value: Some("x".into()) });
        assert!(settings.names.is_none());
    }
}
