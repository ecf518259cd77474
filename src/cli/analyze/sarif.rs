//! Answers as a SARIF 2.1.0 log: a result for each statement that somebody should look at.

use std::io::Write;

use serde_json::{Value, json};

use super::answer::Statement;
use crate::ids::NAME;
use crate::policy::Verdict;

/// A rule of the log: id, level, what it says.
const RULES: [(&str, &str, &str); 4] = [
    ("denied", "error", "The policy denies this statement."),
    ("opaque", "warning", "What this statement does cannot be known from its text."),
    ("held", "warning", "The policy holds this statement until a person decides."),
    ("personal-data", "note", "This statement touches tagged columns."),
];

/// Opens the log.
pub(super) fn begin(out: &mut impl Write) -> anyhow::Result<()> {
    let rules: Vec<Value> = RULES
        .iter()
        .map(|(id, level, text)| {
            json!({ "id": id, "shortDescription": { "text": text }, "defaultConfiguration": { "level": level } })
        })
        .collect();
    let tool = json!({ "driver": { "name": NAME, "version": env!("CARGO_PKG_VERSION"), "rules": rules } });
    writeln!(out, "{{\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\",\"version\":\"2.1.0\",")?;
    write!(out, "\"runs\":[{{\"tool\":{tool},\"columnKind\":\"unicodeCodePoints\",\"results\":[")?;
    Ok(())
}

/// Closes the log.
pub(super) fn end(out: &mut impl Write) -> std::io::Result<()> {
    writeln!(out, "\n]}}]}}")
}

/// The result for a statement, by the gravest rule that it falls under.
pub(super) fn result(file: &str, statement: &Statement) -> Option<Value> {
    let id = match statement.verdict {
        Verdict::Deny => "denied",
        _ if !statement.opaque.is_empty() => "opaque",
        Verdict::Hold => "held",
        Verdict::Allow if !statement.tags.is_empty() => "personal-data",
        Verdict::Allow => return None,
    };
    let (index, (_, level, _)) = RULES.iter().enumerate().find(|(_, (known, ..))| *known == id)?;
    Some(json!({
        "ruleId": id,
        "ruleIndex": index,
        "level": level,
        "message": { "text": message(statement) },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": uri(file) },
                "region": {
                    "startLine": statement.line,
                    "startColumn": statement.column,
                    "endLine": statement.end_line,
                    "endColumn": statement.end_column,
                },
            },
        }],
        "properties": {
            "command": statement.command,
            "kinds": statement.kinds,
            "verdict": statement.verdict.as_str(),
            "rule": statement.rule,
            "tags": tags(statement),
            "columns": statement.tags,
        },
    }))
}

/// One paragraph: the verdict, what is touched, what is not known.
fn message(statement: &Statement) -> String {
    let verdict = match statement.verdict {
        Verdict::Allow => "is allowed",
        Verdict::Hold => "is held",
        Verdict::Deny => "is denied",
    };
    let mut text = format!("{} {verdict} by the rule {}.", statement.command, statement.rule);
    if !statement.tags.is_empty() {
        let columns: Vec<String> =
            statement.tags.keys().map(|column| format!("{column}{}", access(statement, column))).collect();
        text.extend([" It touches ", &columns.join(", "), " (", &tags(statement).join(", "), ")."]);
    }
    for why in &statement.opaque {
        text.extend([" Not known: ", why, "."]);
    }
    text
}

/// How a column is touched, in brackets.
fn access(statement: &Statement, column: &String) -> String {
    let ways = [("revealed", &statement.reveals), ("probed", &statement.probes), ("written", &statement.writes)];
    let ways: Vec<&str> = ways.iter().filter(|(_, names)| names.contains(column)).map(|(way, _)| *way).collect();
    format!(" [{}]", ways.join(", "))
}

fn tags(statement: &Statement) -> Vec<&str> {
    let all = statement.tags.values().filter_map(Value::as_array).flatten().filter_map(Value::as_str);
    let mut tags: Vec<&str> = all.collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// A file's name as a URI reference: what is not plain is escaped.
fn uri(file: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let escaped = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    file.bytes().map(escaped).collect()
}
