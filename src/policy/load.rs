//! Policy files become one policy, or all that is wrong with them.

use std::sync::Arc;

use ring::digest::{SHA256, digest};

use super::compile::{Compiler, default_approve};
use super::decision::Verdict;
use super::document::{Document, Errors, Mode};
use super::finding::{Finding, Severity, Source};
use super::rule::Rule;
use super::yaml::At;
use super::{Policy, cases, evaluate, lint, lookalikes, yaml};
use crate::catalog::Vouched;
use crate::catalog::tags::{OnLookalike, TagRule, TagRules};

/// The version of the policy language.
const VERSION: u32 = 1;

/// The policy that is used where none is named.
const SHIPPED: &str = include_str!("../../policies/default.yaml");

impl Policy {
    /// Reads policy files. Tags and rules of several files follow each other in the given order; `mode`, `errors`,
    /// `untagged_lookalikes` and `default` may stand in one of them. Warnings do not fail: see [`Policy::check`].
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the files.
    pub fn load(sources: &[Source]) -> Result<Self, Vec<Finding>> {
        let (policy, mut findings) = Self::assemble(sources);
        findings.retain(|finding| finding.severity == Severity::Error);
        if findings.is_empty() { Ok(policy) } else { Err(findings) }
    }

    /// All that is wrong with policy files, warnings and failing tests included.
    #[must_use]
    pub fn check(sources: &[Source]) -> Vec<Finding> {
        Self::assemble(sources).1
    }

    /// The policy that is compiled in.
    #[must_use]
    pub fn shipped() -> Self {
        Self::assemble(&[Self::shipped_source()]).0
    }

    /// The text of the policy that is compiled in.
    #[must_use]
    pub fn shipped_source() -> Source {
        Source { path: "policies/default.yaml".to_owned(), text: SHIPPED.to_owned() }
    }

    pub(super) fn assemble(sources: &[Source]) -> (Self, Vec<Finding>) {
        let mut draft = Draft::default();
        let documents: Vec<_> = sources.iter().filter_map(|source| draft.read(source)).collect();
        for (path, document) in &documents {
            draft.add(path, document);
        }
        let mut findings = std::mem::take(&mut draft.findings);
        let policy = draft.finish(sources);
        let mut linted: Vec<_> =
            documents.iter().flat_map(|(path, file)| lint::document(path, file, &policy)).collect();
        linted.extend(lint::across(&policy));
        if !findings.is_empty() {
            linted.retain(|finding| !lint::NEEDS_ALL.contains(&finding.code));
        }
        findings.extend(linted);
        if findings.iter().all(|finding| finding.severity == Severity::Warning) {
            findings.extend(documents.iter().flat_map(|(path, document)| cases::run(path, document, &policy)));
        }
        findings.sort_by(|one, other| {
            let order = |path: &str| sources.iter().position(|source| source.path == path);
            (order(&one.path), one.place).cmp(&(order(&other.path), other.place))
        });
        (policy, findings)
    }
}

/// A policy that is being put together.
#[derive(Default)]
struct Draft {
    tags: Vec<TagRule>,
    rules: Vec<Rule>,
    vouched: Vec<Vouched>,
    mode: Once<Mode>,
    errors: Once<Errors>,
    lookalikes: Once<OnLookalike>,
    default: Once<Verdict>,
    findings: Vec<Finding>,
}

/// What may stand in one file alone.
struct Once<T>(Option<(Arc<str>, T)>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Copy> Once<T> {
    /// Sets the value; the finding where another file did.
    fn set(&mut self, path: &str, key: &str, value: Option<At<T>>) -> Option<Finding> {
        let At { place, value } = value?;
        if let Some((first, _)) = &self.0 {
            let message = format!("`{key}` stands in {first} already");
            return Some(Finding::error(path, place, "stated-twice", message).hint("keep it in one file"));
        }
        self.0 = Some((path.into(), value));
        None
    }

    fn value(&self) -> Option<T> {
        self.0.as_ref().map(|(_, value)| *value)
    }
}

impl Draft {
    fn read<'a>(&mut self, source: &'a Source) -> Option<(&'a str, Document)> {
        let (document, findings) = yaml::read::<Document>(source);
        self.findings.extend(findings);
        document.map(|document| (source.path.as_str(), document))
    }

    fn add(&mut self, path: &str, document: &Document) {
        let mut compiler = Compiler::new(path);
        if document.version.value != VERSION {
            let message = format!("version {} of the policy language is not known", document.version.value);
            compiler.error(document.version.place, "bad-version", message);
        }
        self.tags.extend(document.tags.iter().map(|entry| compiler.tag(entry)));
        self.vouched.extend(document.vouched.iter().map(|entry| compiler.vouched(entry)));
        self.rules.extend(document.rules.iter().map(|entry| compiler.rule(entry)));
        self.findings.append(&mut compiler.findings);
        self.findings.extend(self.mode.set(path, "mode", document.mode));
        self.findings.extend(self.errors.set(path, "errors", document.errors));
        self.findings.extend(self.lookalikes.set(path, "untagged_lookalikes", document.untagged_lookalikes));
        self.findings.extend(self.default.set(path, "default", document.default));
    }

    fn finish(self, sources: &[Source]) -> Policy {
        let (always_rule, default_rule) = evaluate::reserved();
        let on_lookalike = self.lookalikes.value().unwrap_or_default();
        Policy {
            timed: self.rules.iter().any(Rule::reads_the_clock),
            rules: self.rules,
            default: self.default.value().unwrap_or(Verdict::Hold),
            mode: self.mode.value().unwrap_or_default(),
            errors: self.errors.value().unwrap_or_default(),
            tag_rules: TagRules::new(self.tags, lookalikes::rules(), on_lookalike).with_vouched(self.vouched),
            approve: default_approve(),
            sha256: fingerprint(sources),
            always_rule,
            default_rule,
        }
    }
}

/// SHA-256 over all texts, each behind its length, in hex.
fn fingerprint(sources: &[Source]) -> String {
    let mut bytes = Vec::new();
    for source in sources {
        bytes.extend_from_slice(source.text.len().to_string().as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(source.text.as_bytes());
    }
    let hex = |byte: &u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0'));
    digest(&SHA256, &bytes).as_ref().iter().flat_map(hex).collect()
}
