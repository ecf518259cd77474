//! A session that is only thought: what earlier statements do to the meaning of later ones, without a server.
//!
//! Definitions change a copy of the catalog, tags go with the columns, settings and prepared statements are kept, and
//! ROLLBACK takes back what it takes back. What cannot be followed makes later statements say that they do not know.

mod alter;
mod define;
mod draft;
mod routine;

use std::collections::HashMap;

use super::context::{Context, Readers, Rejected};
use super::facts::{Facts, Kind, SessionEffect, StatementFacts};
use super::scan::{StringMode, TokenKind, tokens};
use super::settings;
use crate::catalog::tags::TagRules;
use crate::catalog::{Catalog, PG_TEMP, fold};

/// A session that statements are played to, one after the other.
#[derive(Clone, Debug)]
pub struct Replay {
    rules: TagRules,
    begin: Settings,
    state: State,
    /// What BEGIN and each SAVEPOINT, by its name, go back to.
    saved: Vec<(Option<String>, State)>,
    /// PREPARE and DECLARE, as they were sent: judged anew where they are used.
    prepared: HashMap<String, Vec<u8>>,
    cursors: HashMap<String, Vec<u8>>,
    paths: Vec<Vec<String>>,
}

/// Settings on which the meaning of names hangs.
#[derive(Clone, Debug)]
struct Settings {
    search_path: Vec<String>,
    role: String,
    standard_conforming_strings: bool,
}

/// What a transaction can take back.
#[derive(Clone, Debug)]
struct State {
    catalog: Catalog,
    settings: Settings,
    /// What SET LOCAL hides until the transaction ends.
    outside: Option<Settings>,
    /// Why the meaning of later expressions is not known.
    unknown: Option<String>,
}

impl Replay {
    /// A session at its beginning. The catalog is tagged already; the rules are for what comes to it.
    #[must_use]
    pub fn new(catalog: Catalog, rules: TagRules, search_path: Vec<String>, role: String) -> Self {
        let begin = Settings { search_path, role, standard_conforming_strings: true };
        let state = State { catalog, settings: begin.clone(), outside: None, unknown: None };
        Self {
            rules,
            begin,
            state,
            saved: Vec::new(),
            prepared: HashMap::new(),
            cursors: HashMap::new(),
            paths: Vec::new(),
        }
    }

    /// What a backslash in a plain string means now.
    #[must_use]
    pub const fn string_mode(&self) -> StringMode {
        if self.state.settings.standard_conforming_strings { StringMode::Standard } else { StringMode::Backslash }
    }

    /// The facts of every statement of a text, each in the light of those before it.
    ///
    /// # Errors
    /// As [`super::analyze`].
    pub fn run(&mut self, text: &[u8]) -> Result<Facts, Rejected> {
        let mut whole = self.analyze(text)?;
        if let [only] = whole.statements.as_mut_slice() {
            self.apply(only, text);
            return Ok(whole);
        }
        let mut statements = Vec::with_capacity(whole.statements.len());
        for known in whole.statements {
            let span = known.span.clone();
            let part = text.get(span.clone()).unwrap_or_default();
            for mut facts in self.analyze(part)?.statements {
                self.apply(&mut facts, part);
                facts.span = span.clone();
                statements.push(facts);
            }
        }
        Ok(Facts { statements })
    }

    fn analyze(&self, text: &[u8]) -> Result<Facts, Rejected> {
        super::analyze(text, &self.state.context())
    }

    /// The schemas in which each statement so far looked its names up: those of its `search_path` that there were then.
    #[must_use]
    pub fn paths(&self) -> &[Vec<String>] {
        &self.paths
    }

    fn apply(&mut self, facts: &mut StatementFacts, text: &[u8]) {
        self.paths.push(self.state.effective_path());
        if let Some(why) = &self.state.unknown
            && facts.kind() > Kind::Transaction
        {
            not_known(facts, why.clone());
        }
        for effect in facts.effects.clone() {
            self.effect(&effect, facts, text);
        }
        match facts.command.as_str() {
            "BEGIN" | "START TRANSACTION" if self.saved.is_empty() => self.saved.push((None, self.state.clone())),
            "SAVEPOINT" if !self.saved.is_empty() => self.saved.push((last_name(text), self.state.clone())),
            "RELEASE" => self.release(&last_name(text).unwrap_or_default()),
            "ROLLBACK TO" => self.back_to(&last_name(text).unwrap_or_default()),
            "ROLLBACK" | "PREPARE TRANSACTION" if !self.saved.is_empty() => {
                self.state = self.saved.swap_remove(0).1;
                self.saved.clear();
            }
            "COMMIT" => {
                self.saved.clear();
                if let Some(outside) = self.state.outside.take() {
                    self.state.settings = outside;
                }
            }
            "DISCARD TEMP" => self.state.catalog.remove_schema(PG_TEMP),
            _ => {}
        }
    }

    fn effect(&mut self, effect: &SessionEffect, facts: &mut StatementFacts, text: &[u8]) {
        match effect {
            SessionEffect::Prepare { name, .. } => drop(self.prepared.insert(name.clone(), text.to_vec())),
            SessionEffect::Declare { name, .. } => drop(self.cursors.insert(name.clone(), text.to_vec())),
            SessionEffect::Deallocate { name: Some(name) } => drop(self.prepared.remove(name)),
            SessionEffect::Deallocate { name: None } => self.prepared.clear(),
            SessionEffect::Close { name: Some(name) } => drop(self.cursors.remove(name)),
            SessionEffect::Close { name: None } => self.cursors.clear(),
            SessionEffect::Execute { name } => self.carry(facts, self.prepared.get(name), name),
            SessionEffect::Fetch { name, .. } => self.carry(facts, self.cursors.get(name), name),
            SessionEffect::Set { name, value } => self.set(name, value.as_deref(), text),
            SessionEffect::DiscardAll => {
                self.prepared.clear();
                self.cursors.clear();
                self.state.settings = self.begin.clone();
                self.state.catalog.remove_schema(PG_TEMP);
            }
            SessionEffect::CatalogChange => {
                if let Some(why) = self.state.define(text, &self.rules) {
                    self.state.unknown = Some(why);
                }
            }
        }
    }

    /// A statement that names another does what that one does.
    fn carry(&self, facts: &mut StatementFacts, text: Option<&Vec<u8>>, name: &str) {
        let inner = text.and_then(|text| self.analyze(text).ok()).and_then(|inner| {
            let effects = inner.statements.into_iter().flat_map(|statement| statement.effects);
            effects.into_iter().find_map(|effect| match effect {
                SessionEffect::Prepare { inner, .. } | SessionEffect::Declare { inner, .. } => Some(inner),
                _ => None,
            })
        });
        let Some(mut inner) = inner else {
            not_known(facts, format!("\"{name}\" is not prepared or declared in this text"));
            return;
        };
        let own = facts.bound;
        inner.effects.clear();
        facts.carry(&inner);
        if own.rows().is_some() {
            facts.bound = own;
        }
    }

    fn set(&mut self, name: &str, value: Option<&str>, text: &[u8]) {
        if is_local(text) && self.state.outside.is_none() {
            self.state.outside = Some(self.state.settings.clone());
        }
        let (settings, begin) = (&mut self.state.settings, &self.begin);
        match name {
            "search_path" => {
                settings.search_path = value.map_or_else(|| begin.search_path.clone(), settings::split);
            }
            "role" | "session_authorization" => {
                let role = value.filter(|value| !value.eq_ignore_ascii_case("none"));
                settings.role = role.map_or_else(|| begin.role.clone(), str::to_owned);
            }
            "standard_conforming_strings" => {
                settings.standard_conforming_strings = value
                    .is_none_or(|value| !["off", "false", "no", "0"].contains(&value.to_ascii_lowercase().as_str()));
            }
            "all" => *settings = Settings { role: settings.role.clone(), ..begin.clone() },
            _ => {}
        }
    }

    /// RELEASE forgets a savepoint and those within it.
    fn release(&mut self, name: &str) {
        if let Some(place) = self.saved.iter().rposition(|(known, _)| known.as_deref() == Some(name)) {
            self.saved.truncate(place);
        }
    }

    /// ROLLBACK TO goes back to a savepoint and keeps it.
    fn back_to(&mut self, name: &str) {
        let Some(place) = self.saved.iter().rposition(|(known, _)| known.as_deref() == Some(name)) else { return };
        self.saved.truncate(place + 1);
        if let Some((_, state)) = self.saved.last() {
            self.state = state.clone();
        }
    }
}

impl State {
    fn effective_path(&self) -> Vec<String> {
        let settings = &self.settings;
        let schema = |named: &String| if named == "$user" { settings.role.clone() } else { named.clone() };
        settings.search_path.iter().map(schema).filter(|schema| self.catalog.has_schema(schema)).collect()
    }

    fn context(&self) -> Context<'_> {
        let settings = &self.settings;
        Context {
            standard_conforming_strings: settings.standard_conforming_strings,
            // Who will run the text is not said by who reads it here.
            readers: Readers::Anyone,
            ..Context::new(&self.catalog, self.catalog.database(), &settings.search_path, &settings.role)
        }
    }
}

fn not_known(facts: &mut StatementFacts, why: String) {
    facts.kinds.insert(Kind::Opaque);
    facts.opaque.push(why);
}

/// The words of a statement, the first ones of them.
fn words(text: &[u8]) -> impl Iterator<Item = (TokenKind, &str)> {
    tokens(text, StringMode::Standard)
        .filter(|token| !token.kind.is_comment())
        .filter_map(|token| Some((token.kind, std::str::from_utf8(text.get(token.range)?).ok()?)))
}

fn is_local(text: &[u8]) -> bool {
    words(text).nth(1).is_some_and(|(_, word)| word.eq_ignore_ascii_case("local"))
}

/// The name that a statement about a savepoint ends with.
fn last_name(text: &[u8]) -> Option<String> {
    let last = words(text).filter(|(kind, _)| matches!(kind, TokenKind::Word | TokenKind::QuotedIdent)).last()?;
    Some(match last {
        (TokenKind::QuotedIdent, name) => name.trim_matches('"').replace("\"\"", "\""),
        (_, name) => fold(name),
    })
}

#[cfg(test)]
mod tests;
