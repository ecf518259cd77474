//! The judge: what the analysis says of a statement against what Postgres says.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use holdgate::analysis::{Access, Context, Kind, StatementFacts, analyze, settings};
use holdgate::backend::catalog::load;
use holdgate::catalog::Catalog;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::doc::{Doc, minimise};
use super::lexis;
use super::maker::Maker;
use super::random::Random;
use super::schema::Schema;
use crate::harness::TestDb;
use crate::oracle::{Place, Truth, printed};

/// Failures after which a run has said enough.
const FAILURES_MAX: usize = 12;
/// Smaller statements that are tried for each failure.
const TRIALS: usize = 1500;
const SEARCH_PATH: &str = "gen, second, pg_catalog";

/// What a run came to.
#[derive(Debug, Default)]
pub struct Score {
    pub made: usize,
    pub refused: usize,
    /// Columns said of what only reads, and those of them that stand nowhere in the tree.
    pub said: usize,
    pub beyond: usize,
    /// Columns of results, and those whose sources differ.
    pub outputs: usize,
    pub outputs_wrong: usize,
    pub failures: Vec<String>,
    /// What is beyond the tree or has other sources, as small as it gets.
    notes: usize,
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} statements, {} refused by Postgres; {} columns said, {} beyond the tree; {} result columns, {} with other sources; {} failures",
            self.made,
            self.refused,
            self.said,
            self.beyond,
            self.outputs,
            self.outputs_wrong,
            self.failures.len()
        )
    }
}

/// How the two differ on one statement.
#[derive(Debug, Default)]
struct Difference {
    missed: Vec<String>,
    opaque: Vec<String>,
    beyond: Vec<String>,
    said: usize,
    outputs: usize,
    outputs_wrong: Vec<String>,
}

impl Difference {
    const fn fails(&self) -> bool {
        !self.missed.is_empty() || !self.opaque.is_empty()
    }
}

/// A database with the generator's schema, and a session on it that prints trees.
pub struct Judge {
    _database: TestDb,
    name: String,
    client: Client,
    notices: Arc<Mutex<Vec<String>>>,
    catalog: Catalog,
    schema: Schema,
}

impl Judge {
    pub async fn start() -> Self {
        let database = TestDb::new("generator");
        database.direct(include_str!("schema.sql"));
        let (client, mut connection) = tokio_postgres::connect(&database.dsn(), NoTls).await.unwrap();
        let notices = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&notices);
        tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notice(notice) = message {
                    kept.lock().unwrap().extend(notice.detail().map(str::to_owned));
                }
            }
        });
        let catalog = load(&client).await.unwrap();
        client.batch_execute("SET search_path = ''").await.unwrap();
        let mut schema = Schema::read(&client).await;
        client
            .batch_execute(&format!("SET search_path = {SEARCH_PATH}; SET ROLE agent_trust; SET debug_print_rewritten = on; SET client_min_messages = log"))
            .await
            .unwrap();
        for table in &mut schema.tables {
            let hidden = table.schema == "second" && table.name == "item";
            table.visible = !hidden;
        }
        let name = database.name.clone();
        Self { _database: database, name, client, notices, catalog, schema }
    }

    /// What Postgres's tree says, and whether a field is taken out of a row in it; the error where it refuses the statement.
    async fn truth(&self, sql: &str) -> Result<(Truth, bool), String> {
        let tree = printed(&self.client, &self.notices, sql).await.map_err(|error| {
            error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
        })?;
        Ok((Truth::read(&tree), tree.contains("{FIELDSELECT")))
    }

    /// The difference on a statement; the error where Postgres refuses it.
    async fn compare(&self, sql: &str) -> Result<Difference, String> {
        let (truth, fields) = self.truth(sql).await?;
        let path = settings::split(SEARCH_PATH);
        let context = Context::new(&self.catalog, &self.name, &path, "agent_trust");
        let Ok(facts) = analyze(sql.as_bytes(), &context) else {
            return Ok(Difference { opaque: vec!["it is rejected".to_owned()], ..Difference::default() });
        };
        let [statement] = facts.statements.as_slice() else {
            let opaque = vec![format!("{} statements are seen", facts.statements.len())];
            return Ok(Difference { opaque, ..Difference::default() });
        };
        let mut difference = self.difference(&truth, statement);
        if fields {
            // The tree keeps the row of which one field is asked; one column of it answers for the others.
            let found = read(statement);
            difference.missed.retain(|column| !found.iter().any(|other| table(other) == table(column)));
        }
        Ok(difference)
    }

    fn difference(&self, truth: &Truth, statement: &StatementFacts) -> Difference {
        let found = read(statement);
        let missed = self.names(&truth.required).difference(&found).cloned().collect();
        let mut difference = Difference { missed, opaque: statement.opaque.clone(), ..Difference::default() };
        // What functions, checks and keys read does not stand in the tree.
        if statement.functions.is_empty() && !statement.kinds.contains(&Kind::Write) {
            difference.said = found.len();
            difference.beyond = found.difference(&self.names(&truth.allowed)).cloned().collect();
            difference.outputs = truth.outputs.len();
            for (place, output) in truth.outputs.iter().enumerate() {
                let expected = self.names(&output.sources);
                let said: BTreeSet<String> = statement
                    .outputs
                    .get(place)
                    .map(|said| said.sources.iter().map(ToString::to_string).collect())
                    .unwrap_or_default();
                if said != expected {
                    difference.outputs_wrong.push(format!("{}: {said:?} for {expected:?}", output.name));
                }
            }
        }
        difference
    }

    /// Places in the analysis's words; a whole row is each of its columns.
    fn names(&self, places: &BTreeSet<Place>) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (oid, number) in places {
            let Some(relation) = self.catalog.relation(*oid) else { continue };
            for column in &relation.columns {
                if *number == 0 || i64::from(column.number) == *number {
                    names.insert(format!("{}.{}.{}", relation.schema, relation.name, column.name));
                }
            }
        }
        names
    }

    /// Makes and judges so many statements of a seed.
    pub async fn run(&self, seed: u64, count: usize) -> Score {
        let mut maker = Maker::new(&self.schema, seed);
        let mut score = Score::default();
        let mut refusals: Vec<(String, usize)> = Vec::new();
        for _ in 0..count {
            let doc = maker.statement();
            let spacing = maker.random.next();
            let sql = lexis::space(&doc.text(), &mut Random::new(spacing));
            score.made += 1;
            match self.compare(&sql).await {
                Err(why) => {
                    score.refused += 1;
                    note(&mut refusals, &why, &sql);
                }
                Ok(difference) => {
                    score.said += difference.said;
                    score.beyond += difference.beyond.len();
                    score.outputs += difference.outputs;
                    score.outputs_wrong += difference.outputs_wrong.len();
                    self.explain(&mut score, &difference, doc, (&sql, seed)).await;
                }
            }
            if score.failures.len() >= FAILURES_MAX {
                break;
            }
        }
        refusals.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        for (why, times) in refusals.iter().take(12) {
            println!("refused {times} times: {why}");
        }
        score
    }

    /// Shrinks a statement on which the two differ, and notes what is left.
    async fn explain(&self, score: &mut Score, difference: &Difference, doc: Doc, at: (&str, u64)) {
        let kind = if difference.fails() {
            |difference: &Difference| difference.fails()
        } else if !difference.beyond.is_empty() && score.notes < FAILURES_MAX {
            |difference: &Difference| !difference.beyond.is_empty()
        } else if !difference.outputs_wrong.is_empty() && score.notes < FAILURES_MAX {
            |difference: &Difference| !difference.outputs_wrong.is_empty()
        } else {
            return;
        };
        let mut keeps = async |sql: &str| self.compare(sql).await.is_ok_and(|difference| kind(&difference));
        // White space alone can be what matters.
        let small =
            if keeps(&doc.text()).await { minimise(doc, TRIALS, &mut keeps).await.text() } else { at.0.to_owned() };
        let what = self.compare(&small).await.unwrap();
        let said = format!("seed {}: {small}\n  {what:?}", at.1);
        if difference.fails() {
            score.failures.push(said);
        } else {
            score.notes += 1;
            println!("{said}");
        }
    }
}

fn read(facts: &StatementFacts) -> BTreeSet<String> {
    let reads = facts.columns.iter().filter(|(_, column)| column.access.iter().any(|access| *access != Access::Write));
    reads.map(|(name, _)| name.to_string()).collect()
}

/// Counts a refusal by its message without the names in it; the first statement of each is shown.
fn note(refusals: &mut Vec<(String, usize)>, why: &str, sql: &str) {
    let plain: String = why.split('"').step_by(2).collect::<Vec<_>>().join("…");
    match refusals.iter_mut().find(|(known, _)| known.starts_with(&plain)) {
        Some((_, times)) => *times += 1,
        None => refusals.push((format!("{plain} [{why}] {}", sql.chars().take(900).collect::<String>()), 1)),
    }
}

/// A column's name without its last part.
fn table(column: &str) -> &str {
    column.rsplit_once('.').map_or(column, |(table, _)| table)
}
