//! `holdgate analyze`: facts and verdicts for SQL on standard input or in files.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::analysis::{self, Access, Facts, StatementFacts, settings};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::policy::{Decision, Policy, Request, Source, Verdict};
use crate::principal::{Principal, PrincipalKind};

/// Facts and verdicts for SQL on standard input or in files.
#[derive(Debug, clap::Args)]
pub(super) struct Analyze {
    /// The database whose catalog gives names their meaning.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// A catalog snapshot instead of a database.
    #[arg(long, value_name = "FILE", conflicts_with = "upstream")]
    catalog: Option<PathBuf>,
    /// A policy file, or a directory of them; the shipped policy where there is none.
    #[arg(long, value_name = "DIR|FILE")]
    policies: Option<PathBuf>,
    /// How to print.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// What comes in: SQL, or a JSON object with `id` and `sql` a line. Standard input is jsonl where the output is.
    #[arg(long, value_enum)]
    input: Option<Input>,
    /// Files of SQL; standard input where there are none.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Jsonl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Input {
    Sql,
    Jsonl,
}

/// One text to analyse.
#[derive(Debug, Deserialize)]
struct Item {
    id: serde_json::Value,
    sql: String,
}

/// The session that the texts are analysed in.
struct Session {
    catalog: Catalog,
    policy: Policy,
    principal: Principal,
    database: String,
    search_path: Vec<String>,
    role: String,
}

impl Session {
    fn new(catalog: Catalog, search_path: Vec<String>, role: String) -> Self {
        let principal = Principal {
            name: role.clone(),
            kind: PrincipalKind::default(),
            human: None,
            groups: Vec::new(),
            role: role.clone(),
        };
        Self {
            database: catalog.database().to_owned(),
            catalog,
            policy: Policy::shipped(),
            principal,
            search_path,
            role,
        }
    }

    /// The same session under a policy: its tags are on the catalog.
    fn judged_by(self, policy: Policy) -> Self {
        let catalog = self.catalog.with_tags(&self.database, policy.tag_rules());
        Self { catalog, policy, ..self }
    }

    fn judge(&self, facts: &StatementFacts) -> Decision {
        self.policy.evaluate(&Request {
            principal: &self.principal,
            database: &self.database,
            client: None,
            environment: None,
            intent: None,
            facts,
            estimate: None,
            at: Clock::System.now(),
        })
    }
}

impl Analyze {
    /// The policy; its problems are printed, and there is none then.
    fn policy(&self) -> anyhow::Result<Option<Policy>> {
        let Some(path) = &self.policies else { return Ok(Some(Policy::shipped())) };
        let mut files = vec![path.clone()];
        if path.is_dir() {
            files = std::fs::read_dir(path)
                .with_context(|| path.display().to_string())?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<_, _>>()?;
            files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"));
            files.sort();
        }
        let mut sources = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            sources.push(Source { path: file.display().to_string(), text });
        }
        Ok(Policy::load(&sources).map_err(|findings| findings.iter().for_each(|finding| eprintln!("{finding}"))).ok())
    }

    /// Runs the command; the exit code is one of [`super::exit`].
    ///
    /// # Errors
    /// What kept the command from giving an answer; printed by `main`, exit code 2.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let session = match (&self.upstream, &self.catalog) {
            (Some(url), _) => match connect(url) {
                Ok(session) => session,
                Err(error) => {
                    eprintln!("error: {error:#}");
                    return Ok(super::exit::UNREACHABLE.into());
                }
            },
            (None, Some(file)) => snapshot(file)?,
            (None, None) => anyhow::bail!("analyze needs --upstream or --catalog"),
        };
        let Some(policy) = self.policy()? else { return Ok(super::exit::USAGE.into()) };
        let session = session.judged_by(policy);
        let mut out = std::io::stdout().lock();
        for item in self.items()? {
            let answer = Answer::new(&session, item);
            match self.format {
                Format::Jsonl => serde_json::to_writer(&mut out, &answer)?,
                Format::Text => answer.print(&mut out)?,
            }
            out.write_all(b"\n")?;
        }
        Ok(super::exit::DONE.into())
    }

    fn items(&self) -> anyhow::Result<Vec<Item>> {
        if self.files.is_empty() {
            anyhow::ensure!(!std::io::stdin().is_terminal(), "analyze needs files, or SQL on standard input");
            let mut text = Vec::new();
            std::io::stdin().lock().read_to_end(&mut text)?;
            let jsonl = self.input.unwrap_or(if self.format == Format::Jsonl { Input::Jsonl } else { Input::Sql });
            return read(&text, jsonl, "-");
        }
        let mut items = Vec::new();
        for file in &self.files {
            let text = std::fs::read(file).with_context(|| file.display().to_string())?;
            items.extend(read(&text, self.input.unwrap_or(Input::Sql), &file.display().to_string())?);
        }
        Ok(items)
    }
}

fn read(text: &[u8], input: Input, name: &str) -> anyhow::Result<Vec<Item>> {
    let text = String::from_utf8_lossy(text);
    if input == Input::Sql {
        return Ok(vec![Item { id: name.into(), sql: text.into_owned() }]);
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(place, line)| {
            serde_json::from_str(line).with_context(|| format!("{name}: line {} is no {{id, sql}}", place + 1))
        })
        .collect()
}

fn snapshot(file: &PathBuf) -> anyhow::Result<Session> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let catalog = Catalog::from_json(&text).with_context(|| file.display().to_string())?;
    Ok(Session::new(catalog, settings::split("\"$user\", public"), String::new()))
}

fn connect(url: &str) -> anyhow::Result<Session> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (client, connection) =
            tokio_postgres::connect(url, tokio_postgres::NoTls).await.context("the upstream cannot be reached")?;
        let driver = tokio::spawn(connection);
        let catalog = crate::backend::catalog::load(&client).await.context("the catalog cannot be read")?;
        let row = client
            .query_one("SELECT pg_catalog.current_setting('search_path'), CAST(current_user AS pg_catalog.text)", &[])
            .await
            .context("the session cannot be read")?;
        let search_path = settings::split(row.get(0));
        drop(client);
        driver.await.context("the connection ended badly")?.context("the connection ended badly")?;
        Ok(Session::new(catalog, search_path, row.get(1)))
    })
}

/// What is said of one text: a line of the output.
#[derive(Debug, Serialize)]
struct Answer {
    id: serde_json::Value,
    verdict: Verdict,
    rule: String,
    statements: Vec<Statement>,
}

#[derive(Debug, Serialize)]
struct Statement {
    kind: String,
    command: String,
    relations: Vec<String>,
    reads: Vec<String>,
    reveals: Vec<String>,
    probes: Vec<String>,
    writes: Vec<String>,
    outputs: Vec<Column>,
    tags: serde_json::Map<String, serde_json::Value>,
    opaque: Vec<String>,
    bound: String,
    verdict: Verdict,
    rule: String,
}

#[derive(Debug, Serialize)]
struct Column {
    name: String,
    sources: Vec<String>,
}

impl Answer {
    fn new(session: &Session, item: Item) -> Self {
        let context = analysis::Context::new(&session.catalog, &session.database, &session.search_path, &session.role);
        let statements = match analysis::analyze(item.sql.as_bytes(), &context) {
            Ok(Facts { statements }) => {
                statements.iter().map(|facts| Statement::new(facts, &session.judge(facts))).collect()
            }
            Err(rejected) => vec![Statement::rejected(&rejected)],
        };
        // The strictest verdict of its statements is the text's; the first that has it names the rule.
        let strictest = statements.iter().rev().max_by_key(|statement| statement.verdict);
        let (verdict, rule) = strictest.map_or((Verdict::Allow, String::new()), |it| (it.verdict, it.rule.clone()));
        Self { id: item.id, verdict, rule, statements }
    }

    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        for statement in &self.statements {
            writeln!(out, "{} ({})", statement.command, statement.kind)?;
            for (title, names) in [
                ("relations", &statement.relations),
                ("reveals", &statement.reveals),
                ("probes", &statement.probes),
                ("writes", &statement.writes),
                ("opaque", &statement.opaque),
            ] {
                if !names.is_empty() {
                    writeln!(out, "  {title}: {}", names.join(", "))?;
                }
            }
            for (column, tags) in &statement.tags {
                writeln!(out, "  tag: {column} {tags}")?;
            }
            writeln!(out, "  bound: {}", statement.bound)?;
            writeln!(out, "  verdict: {} ({})", statement.verdict.as_str(), statement.rule)?;
        }
        Ok(())
    }
}

impl Statement {
    fn new(facts: &StatementFacts, decision: &Decision) -> Self {
        let with = |wanted: &[Access]| -> Vec<String> {
            let fits = |access: &BTreeSet<Access>| wanted.iter().any(|kind| access.contains(kind));
            facts.columns.iter().filter(|(_, column)| fits(&column.access)).map(|(name, _)| name.to_string()).collect()
        };
        let tagged = facts.columns.iter().filter(|(_, column)| !column.tags.is_empty());
        Self {
            kind: facts.kind().to_string(),
            command: facts.command.clone(),
            relations: facts.relations.iter().map(ToString::to_string).collect(),
            reads: with(&[Access::Reveal, Access::Probe]),
            reveals: with(&[Access::Reveal]),
            probes: with(&[Access::Probe]),
            writes: with(&[Access::Write]),
            outputs: facts
                .outputs
                .iter()
                .map(|output| Column {
                    name: output.name.clone(),
                    sources: output.sources.iter().map(ToString::to_string).collect(),
                })
                .collect(),
            tags: tagged
                .map(|(name, column)| {
                    let tags: Vec<&str> = column.tags.iter().map(|tag| &**tag).collect();
                    (name.to_string(), tags.into())
                })
                .collect(),
            opaque: facts.opaque.clone(),
            bound: facts.bound.to_string(),
            verdict: decision.verdict,
            rule: decision.rule.to_string(),
        }
    }

    /// A text that is not even parsed.
    fn rejected(why: &analysis::Rejected) -> Self {
        Self {
            kind: analysis::Kind::Opaque.to_string(),
            command: "UNKNOWN".to_owned(),
            relations: Vec::new(),
            reads: Vec::new(),
            reveals: Vec::new(),
            probes: Vec::new(),
            writes: Vec::new(),
            outputs: Vec::new(),
            tags: serde_json::Map::new(),
            opaque: vec![why.to_string()],
            bound: analysis::Bound::Unbounded.to_string(),
            verdict: Verdict::Deny,
            rule: "limits".to_owned(),
        }
    }
}
