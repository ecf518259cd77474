//! `holdgate check`: finds what is wrong with a configuration or a policy.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::{exit, source};
use crate::config::{Config, ConfigError, Environment, ServeFlags, policy_sources};
use crate::ids::NAME;
use crate::policy::{Finding, Place, Policy, Source, schema};
use crate::server::{Options, OptionsError, Problems};

/// Finds what is wrong with a configuration or a policy.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The configuration file; the policies that it names are checked too.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A policy file, or a directory of them. The shipped policy where neither is given.
    #[arg(long, value_name = "DIR|FILE")]
    policies: Option<PathBuf>,
    /// A catalog snapshot: its columns that look personal or secret and are untagged are findings.
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// How findings are printed.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Print the JSON Schema of policy files, and check nothing.
    #[arg(long)]
    schema: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// `{"findings":[{"file","line","column","severity","code","message","hint"}]}`.
    Json,
    /// SARIF 2.1.0, for code hosts and editors.
    Sarif,
}

impl Check {
    /// Runs the command; the exit code is one of [`super::exit`].
    ///
    /// # Errors
    /// What kept the command from giving an answer; printed by `main`, exit code 2.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if self.schema {
            std::io::stdout().write_all(schema().as_bytes())?;
            return Ok(exit::DONE.into());
        }
        let (findings, texts) = self.findings()?;
        let text = match self.format {
            Format::Text => text(&findings, &texts),
            Format::Json => format!("{:#}\n", json!({ "findings": findings.iter().map(plain).collect::<Vec<_>>() })),
            Format::Sarif => format!("{:#}\n", sarif(&findings)),
        };
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(if findings.is_empty() { exit::DONE } else { exit::NO }.into())
    }

    /// All findings, and the texts that they are in.
    fn findings(&self) -> anyhow::Result<(Vec<Finding>, BTreeMap<String, String>)> {
        let (mut findings, mut texts) = (Vec::new(), BTreeMap::new());
        let mut policies = self.policies.clone();
        if let Some(file) = &self.config {
            match Config::load(Some(file), &ServeFlags::default(), &Environment::process()) {
                Ok(config) => {
                    findings.extend(unusable(file, &config));
                    policies = policies.or(config.policies);
                }
                Err(ConfigError::Findings(found)) => findings.extend(found),
                Err(error) => return Err(error.into()),
            }
            texts.extend(fs::read_to_string(file).map(|text| (file.display().to_string(), text)));
        }
        let sources = match &policies {
            Some(path) => match policy_sources(path) {
                Ok(sources) => sources,
                Err(ConfigError::Findings(found)) => {
                    findings.extend(found);
                    Vec::new()
                }
                Err(error) => return Err(error.into()),
            },
            None => vec![Policy::shipped_source()],
        };
        findings.extend(Policy::check(&sources));
        if let (Some(file), Ok(policy)) = (&self.catalog, Policy::load(&sources)) {
            findings.extend(untagged(file, &policy)?);
        }
        texts.extend(sources.into_iter().map(|Source { path, text }| (path, text)));
        Ok((findings, texts))
    }
}

/// For what `serve` would not start with a configuration that is well-formed: files, certificates, credentials. What is
/// wrong with policies is found with its place elsewhere.
fn unusable(file: &Path, config: &Config) -> Vec<Finding> {
    let Err(Problems(problems)) = Options::of(config) else { return Vec::new() };
    let problems = problems.iter().filter(|problem| !matches!(problem, OptionsError::Policies(_)));
    let path = file.display().to_string();
    problems.map(|problem| Finding::error(&path, Place::default(), "unusable", problem.to_string())).collect()
}

/// Columns of a snapshot that look personal or secret, and that neither a rule nor a comment tags.
fn untagged(file: &PathBuf, policy: &Policy) -> anyhow::Result<Vec<Finding>> {
    let catalog = source::snapshot(file)?.catalog;
    let rules = policy.tag_rules();
    let catalog = catalog.with_tags(catalog.database(), rules);
    let path = file.display().to_string();
    let mut relations: Vec<_> =
        catalog.relations().filter(|relation| !relation.is_built_in() && relation.stores()).collect();
    relations.sort_by(|one, other| (&one.schema, &one.name).cmp(&(&other.schema, &other.name)));
    let mut findings = Vec::new();
    for relation in relations {
        for column in &relation.columns {
            let looks = rules.looks_like(catalog.database(), &relation.schema, &relation.name, &column.name);
            if looks.is_empty() || !catalog.tags(relation.oid, column.number).is_empty() {
                continue;
            }
            let message = format!(
                "the column {}.{}.{} looks like {} and is not tagged",
                relation.schema,
                relation.name,
                column.name,
                looks.join(", ")
            );
            let finding = Finding::warning(&path, Place::default(), "untagged-column", message);
            findings.push(finding.hint("tag it in the policy, or by a comment `@pii(…)` on the column"));
        }
    }
    Ok(findings)
}

fn text(findings: &[Finding], texts: &BTreeMap<String, String>) -> String {
    if findings.is_empty() {
        return "no findings\n".to_owned();
    }
    let mut out = String::new();
    for finding in findings {
        out.push_str(&one(finding, texts.get(&finding.path)));
    }
    let many = if findings.len() == 1 { "finding" } else { "findings" };
    out + &format!("{} {many}\n", findings.len())
}

/// `file:line:column: error: message [code]`, the line, a caret, the hint.
fn one(finding: &Finding, text: Option<&String>) -> String {
    let Place { line, column } = finding.place;
    let place = if line == 0 { String::new() } else { format!(":{line}:{column}") };
    let (severity, code) = (finding.severity.as_str(), finding.code);
    let head = format!("{}{place}: {severity}: {} [{code}]\n", finding.path, finding.message);
    let hint = finding.hint.as_ref().map(|hint| format!("   hint: {hint}\n"));
    head + &text.and_then(|text| snippet(finding.place, text)).unwrap_or_default() + &hint.unwrap_or_default()
}

/// The line with a caret under the column.
fn snippet(place: Place, text: &str) -> Option<String> {
    let Place { line, column } = place;
    let source = text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?)?;
    let blank = |(letter, _)| if letter == '\t' { '\t' } else { ' ' };
    let indent: String = source.chars().zip(1..column).map(blank).collect();
    let margin = " ".repeat(line.to_string().len());
    Some(format!(" {line} | {source}\n {margin} | {indent}^\n"))
}

fn plain(finding: &Finding) -> Value {
    json!({
        "file": finding.path,
        "line": finding.place.line,
        "column": finding.place.column,
        "severity": finding.severity.as_str(),
        "code": finding.code,
        "message": finding.message,
        "hint": finding.hint,
    })
}

fn sarif(findings: &[Finding]) -> Value {
    let mut codes: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<Value> = codes.into_iter().map(|code| json!({ "id": code })).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": NAME, "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn result(finding: &Finding) -> Value {
    let hint = finding.hint.as_ref().map(|hint| format!(". Hint: {hint}")).unwrap_or_default();
    // SARIF counts lines and columns from 1.
    let (line, column) = (finding.place.line.max(1), finding.place.column.max(1));
    json!({
        "ruleId": finding.code,
        "level": finding.severity.as_str(),
        "message": { "text": format!("{}{hint}", finding.message) },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": finding.path },
                "region": { "startLine": line, "startColumn": column },
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding::error("p.yaml", Place { line: 2, column: 3 }, "unknown-key", "unknown key `efect`")
            .hint("say `effect`")
    }

    #[test]
    fn people_see_the_line_and_a_caret_under_the_place() {
        let texts = BTreeMap::from([("p.yaml".to_owned(), "rules:\n  efect: hold\n".to_owned())]);
        assert_eq!(
            text(&[finding()], &texts),
            "p.yaml:2:3: error: unknown key `efect` [unknown-key]\n 2 |   efect: hold\n   |   ^\n   hint: say `effect`\n1 finding\n"
        );
        assert_eq!(text(&[], &texts), "no findings\n");
    }

    #[test]
    fn a_finding_about_a_flag_has_no_line() {
        let finding = Finding::error("--listen", Place::default(), "bad-flag", "it is wrong");
        assert_eq!(one(&finding, None), "--listen: error: it is wrong [bad-flag]\n");
    }

    #[test]
    fn sarif_names_rule_level_and_region() {
        let sarif = sarif(&[finding(), finding()]);
        assert_eq!(sarif.pointer("/version"), Some(&json!("2.1.0")));
        assert_eq!(sarif.pointer("/runs/0/tool/driver/rules"), Some(&json!([{ "id": "unknown-key" }])));
        let region = "/runs/0/results/1/locations/0/physicalLocation/region";
        assert_eq!(sarif.pointer(region), Some(&json!({ "startLine": 2, "startColumn": 3 })));
        assert_eq!(sarif.pointer("/runs/0/results/0/level"), Some(&json!("error")));
    }
}
