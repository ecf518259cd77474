//! Corpora with a schema of their own: touched columns and lineage of results, held against Postgres's own tree.
//!
//! A corpus whose name is `since_N` is for servers of version N and later, with what only they understand.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use holdgate::analysis::{Context, Output, StatementFacts, analyze, settings};
use holdgate::backend::catalog::load;
use holdgate::catalog::Catalog;

use super::analysis_corpus::{Server, Session, names, read};
use super::oracle::Truth;

/// What a corpus came to.
#[derive(Debug, Default)]
struct Tally {
    queries: usize,
    /// Columns that must be said, and those of them that were not.
    required: usize,
    missed: usize,
    /// Columns that were said, and those of them that stand nowhere in the tree.
    said: usize,
    beyond: usize,
    /// Columns of results, and those of them whose sources are said exactly.
    outputs: usize,
    exact: usize,
    notes: Vec<String>,
}

impl Tally {
    fn add(&mut self, catalog: &Catalog, query: &str, truth: &Truth, statement: &StatementFacts) {
        let required = names(catalog, &truth.required);
        let allowed = names(catalog, &truth.allowed);
        let said = read(statement);
        self.queries += 1;
        self.required += required.len();
        self.said += said.len();
        let missed: Vec<&String> = required.difference(&said).collect();
        let beyond: Vec<&String> = said.difference(&allowed).collect();
        self.missed += missed.len();
        self.beyond += beyond.len();
        if !(missed.is_empty() && beyond.is_empty() && statement.opaque.is_empty()) {
            let opaque = &statement.opaque;
            self.notes.push(format!("{query}\n  missed {missed:?}, beyond {beyond:?}, opaque {opaque:?}"));
        }
        self.results(catalog, query, truth, &statement.outputs);
    }

    fn results(&mut self, catalog: &Catalog, query: &str, truth: &Truth, outputs: &[Output]) {
        self.outputs += truth.outputs.len();
        for (place, output) in truth.outputs.iter().enumerate() {
            let expected = names(catalog, &output.sources);
            let said = outputs.get(place).map(|said| {
                let sources: BTreeSet<String> = said.sources.iter().map(ToString::to_string).collect();
                (said.name.clone(), sources)
            });
            if said.as_ref().is_some_and(|(name, sources)| *name == output.name && *sources == expected) {
                self.exact += 1;
            } else {
                self.notes.push(format!("{query}\n  output {} is made from {expected:?}, said {said:?}", output.name));
            }
        }
        if outputs.len() > truth.outputs.len() {
            self.notes.push(format!("{query}\n  {} outputs said, {} true", outputs.len(), truth.outputs.len()));
        }
    }
}

/// The major version that a corpus is for.
fn since(home: &Path) -> u32 {
    let name = home.file_name().unwrap().to_str().unwrap();
    name.strip_prefix("since_").map_or(0, |version| version.parse().unwrap())
}

/// A corpus: `schema.sql` and `queries.sql` in a directory; `None` where the server is too old for it.
async fn measure(home: &Path) -> Option<Tally> {
    let text = |name: &str| std::fs::read_to_string(home.join(name)).unwrap();
    let server = Server::start();
    let session = Session::open(server.home.path()).await;
    let version = session.version().await;
    if version < since(home) {
        eprintln!("{}: skipped, the server is of version {version}", home.display());
        return None;
    }
    session.client.batch_execute(&text("schema.sql")).await.unwrap();
    let catalog = load(&session.client).await.unwrap();
    let path = settings::split("\"$user\", public");
    let context = Context::new(&catalog, "postgres", &path, "postgres");
    let mut tally = Tally::default();
    for query in text("queries.sql").split(";\n").map(str::trim).filter(|query| !query.is_empty()) {
        let truth = session.truth_as_is(query).await.unwrap_or_else(|error| panic!("{query}: {error:?}"));
        let facts = analyze(query.as_bytes(), &context).unwrap();
        tally.add(&catalog, query, &truth, facts.statements.first().unwrap());
    }
    Some(tally)
}

/// The corpora of the project, and those that `HOLDGATE_CORPORA` names: texts that others may not pass on.
fn homes() -> Vec<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sql/corpora");
    let roots = [Some(own), std::env::var_os("HOLDGATE_CORPORA").map(PathBuf::from)];
    let entries = roots.into_iter().flatten().flat_map(|root| std::fs::read_dir(root).unwrap());
    let mut homes: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    homes.sort();
    homes
}

#[tokio::test]
async fn touched_columns_and_lineage_of_results_are_those_of_the_rewritten_tree() {
    let homes = homes();
    assert!(!homes.is_empty(), "no corpus");
    let mut failures = Vec::new();
    for home in homes {
        let Some(tally) = measure(&home).await else { continue };
        for note in &tally.notes {
            println!("{note}");
        }
        let Tally { queries, required, missed, said, beyond, outputs, exact, .. } = tally;
        let figures = format!(
            "{}: {queries} queries; {missed} of {required} columns missed; {beyond} of {said} beyond the tree; \
             {exact} of {outputs} outputs exact",
            home.display()
        );
        println!("{figures}");
        if missed + beyond > 0 || exact < outputs || queries == 0 {
            failures.push(figures);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
