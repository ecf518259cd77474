//! The written policy becomes rules that can be asked; what cannot be compiled becomes a finding.

use std::time::Duration;

use super::decision::{Approve, Budget, Limits, Verdict};
use super::document::{
    ApproveEntry, LimitsEntry, Match, PrincipalEntry, RuleEntry, TagEntry, TraitsEntry, VouchedEntry, Words,
};
use super::finding::{Finding, Place};
use super::matcher::{Matcher, Who};
use super::rule::Rule;
use super::yaml::{At, List};
use crate::catalog::Vouched;
use crate::catalog::tags::{ColumnPattern, Glob, NamePattern, PatternError, TagRule, Wildcard};

/// Groups that may approve where a rule names none.
pub(super) const APPROVERS: &str = "dba";
const QUORUM: u32 = 1;
/// How long a question stands where a rule does not say.
const EXPIRES: Duration = Duration::from_mins(30);

/// Approval where a rule does not say.
pub(super) fn default_approve() -> Approve {
    Approve { from: vec![APPROVERS.to_owned()], quorum: QUORUM, expires: EXPIRES }
}

/// Compiles one file's entries and collects what is wrong with them.
pub(super) struct Compiler<'a> {
    path: &'a str,
    pub(super) findings: Vec<Finding>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(path: &'a str) -> Self {
        Self { path, findings: Vec::new() }
    }

    /// Notes what keeps the file from being loaded.
    pub(super) fn error(&mut self, place: Place, code: &'static str, message: impl Into<String>) {
        self.findings.push(Finding::error(self.path, place, code, message));
    }

    pub(super) fn tag(&mut self, entry: &TagEntry) -> TagRule {
        let columns = self.patterns(&entry.columns, ColumnPattern::parse);
        if entry.columns.is_empty() {
            self.error(entry.tag.place, "empty", "the tag is given to no column");
        }
        let tag = &entry.tag;
        match Glob::parse(tag) {
            Ok(glob) if glob.literal().is_some() => {}
            Ok(_) => self.error(tag.place, "bad-pattern", format!("the tag `{}` holds an asterisk", tag.value)),
            Err(error) => self.bad(tag, &error),
        }
        TagRule { columns, except: self.patterns(&entry.except, ColumnPattern::parse), tag: tag.as_str().into() }
    }

    pub(super) fn vouched(&mut self, entry: &VouchedEntry) -> Vouched {
        let hash = entry.definition.value.strip_prefix("sha256:").unwrap_or_default();
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            self.error(
                entry.definition.place,
                "bad-definition",
                "a definition is `sha256:` and 64 hexadecimal digits".to_owned(),
            );
        }
        if !entry.function.value.contains('.') {
            self.error(entry.function.place, "bad-pattern", "a function is named with its schema".to_owned());
        }
        Vouched {
            function: entry.function.as_str().into(),
            definition: entry.definition.as_str().into(),
            touches: entry.touches.iter().map(|column| column.as_str().into()).collect(),
        }
    }

    pub(super) fn rule(&mut self, entry: &At<RuleEntry>) -> Rule {
        let effect = entry.effect.value;
        self.placement(entry);
        Rule {
            name: entry.name.as_str().into(),
            path: self.path.into(),
            place: entry.name.place,
            effect,
            matches: self.matcher(&entry.matches.value),
            unless: entry.unless.as_ref().map(|unless| self.matcher(&unless.value)),
            approve: self.approve(entry.approve.as_ref()),
            limits: entry.limits.as_ref().map(|limits| self.limits(&limits.value)).unwrap_or_default(),
            mode: entry.mode,
            reveal_errors: entry.reveal_errors.as_ref().is_some_and(|reveal| reveal.value),
        }
    }

    /// What only an allow can have.
    fn placement(&mut self, entry: &RuleEntry) {
        if entry.effect.value == Verdict::Allow {
            return;
        }
        if let Some(limits) = &entry.limits {
            let effect = entry.effect.as_str();
            self.error(limits.place, "misplaced", format!("limits ride on an allow, and this rule is a {effect}"));
        }
        if let Some(reveal) = &entry.reveal_errors {
            self.error(reveal.place, "misplaced", "reveal_errors is for rules that allow");
        }
    }

    fn approve(&mut self, entry: Option<&ApproveEntry>) -> Approve {
        let mut approve = default_approve();
        let Some(entry) = entry else { return approve };
        if let Some(from) = &entry.from {
            if from.value.is_empty() {
                self.error(from.place, "empty", "nobody may approve");
            }
            approve.from.clone_from(&from.value.0);
        }
        if let Some(quorum) = &entry.quorum {
            if quorum.value == 0 {
                self.error(quorum.place, "bad-value", "a quorum of 0 asks nobody");
            }
            approve.quorum = quorum.value;
        }
        if let Some(expires) = &entry.expires {
            if expires.value.0.is_zero() {
                self.error(expires.place, "bad-value", "a question that expires at once cannot be answered");
            }
            approve.expires = expires.value.0;
        }
        approve
    }

    fn limits(&mut self, entry: &LimitsEntry) -> Limits {
        let mut budgets = Vec::with_capacity(entry.per.len());
        for budget in entry.per.iter() {
            match Glob::parse(&budget.tag) {
                Ok(tag) => budgets.push(Budget { tag, rows: budget.rows, window: budget.window.0 }),
                Err(error) => self.bad(&budget.tag, &error),
            }
        }
        Limits { rows: entry.rows, bytes: entry.bytes.map(|size| size.0), on_limit: entry.on_limit, budgets }
    }

    /// Compiles conditions.
    pub(super) fn matcher(&mut self, entry: &Match) -> Matcher {
        Matcher {
            principal: entry.principal.as_ref().map(|who| who.iter().map(|who| self.who(who)).collect()),
            database: self.words(entry.database.as_ref(), Wildcard::parse),
            kind: listed(entry.kind.as_ref()),
            command: self.words(entry.command.as_ref(), |text| Wildcard::parse(&text.to_uppercase())),
            relation: self.words(entry.relation.as_ref(), |text| NamePattern::parse(text, 3)),
            column: self.words(entry.column.as_ref(), |text| NamePattern::parse(text, 4)),
            tag: self.words(entry.tag.as_ref(), Glob::parse),
            access: listed(entry.access.as_ref()),
            function: self.words(entry.function.as_ref(), |text| NamePattern::parse(text, 2)),
            rows: entry.rows,
            bytes: entry.bytes,
            unbounded: entry.unbounded,
            sensitivity: listed(entry.sensitivity.as_ref()),
            environment: self.words(entry.environment.as_ref(), Wildcard::parse),
            intent: self.words(entry.intent.as_ref(), Wildcard::parse),
            time: listed(entry.time.as_ref()),
            client: listed(entry.client.as_ref()),
        }
    }

    fn who(&mut self, entry: &At<PrincipalEntry>) -> Who {
        match &entry.value {
            PrincipalEntry::Name(name) => {
                let name = At { place: entry.place, value: name.clone() };
                Who { name: self.words(Some(&List(vec![name])), Wildcard::parse), ..Who::default() }
            }
            PrincipalEntry::Traits(traits) => self.traits(traits),
        }
    }

    fn traits(&mut self, entry: &TraitsEntry) -> Who {
        Who {
            name: self.words(entry.name.as_ref(), Wildcard::parse),
            kind: listed(entry.kind.as_ref()),
            groups: self.words(entry.groups.as_ref(), Wildcard::parse),
            on_behalf_of: self.words(entry.on_behalf_of.as_ref(), Wildcard::parse),
            role: self.words(entry.role.as_ref(), Wildcard::parse),
        }
    }

    fn words<T>(&mut self, words: Option<&Words>, parse: fn(&str) -> Result<T, PatternError>) -> Option<Vec<T>> {
        words.map(|words| self.patterns(words, parse))
    }

    fn patterns<T>(&mut self, words: &Words, parse: fn(&str) -> Result<T, PatternError>) -> Vec<T> {
        let mut patterns = Vec::with_capacity(words.len());
        for word in words.iter() {
            match parse(word) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.bad(word, &error),
            }
        }
        patterns
    }

    fn bad(&mut self, word: &At<String>, error: &PatternError) {
        self.error(word.place, "bad-pattern", format!("`{}` is no pattern: {error}", word.value));
    }
}

fn listed<T: Clone>(list: Option<&List<T>>) -> Option<Vec<T>> {
    list.map(|list| list.0.clone())
}
