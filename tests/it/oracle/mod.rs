//! What Postgres itself says of a query: its rewritten tree, read as touched columns and as lineage of the result.
//!
//! - *required*: columns that reach the result or decide it, as far as somebody asks for them;
//! - *allowed*: columns that stand in any expression of the tree, asked for or not (the columns that a join or a
//!   relation merely has are not expressions);
//! - *outputs*: for each column of the result the columns that flow into its value. All that stands in its expression
//!   flows, through subqueries, CTEs, views and every arm of a set operation; of a sublink what it returns and what
//!   it is compared with. What only decides which rows there are (WHERE, HAVING, join conditions, EXISTS, the
//!   PARTITION BY and ORDER BY of a window, the ORDER BY and FILTER of an aggregate) does not flow.

mod resolve;
mod tree;

use std::collections::BTreeSet;
use std::sync::Mutex;

use tokio_postgres::{Client, Error};

use resolve::{Flow, Levels};
use tree::Tree;

/// A physical column: relation OID and attribute number; 0 is the whole row.
pub(crate) type Place = (u32, i64);

/// A column of the result: its name and the columns that flow into it.
#[derive(Debug, Default)]
pub(crate) struct Sourced {
    pub(crate) name: String,
    pub(crate) sources: BTreeSet<Place>,
}

/// What a query must be said to touch, what it may be said to touch, and what its result is made from.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) required: BTreeSet<Place>,
    pub(crate) allowed: BTreeSet<Place>,
    pub(crate) outputs: Vec<Sourced>,
}

impl Truth {
    /// Reads the printed list of rewritten queries.
    pub(crate) fn read(text: &str) -> Self {
        let tree = Tree::read(text);
        let mut truth = Self::default();
        for query in tree.items() {
            truth.all(query, &mut Vec::new());
            truth.query(query, &mut Vec::new(), Asked::All);
            if query.number("querySource") == 0 {
                truth.outputs = outputs(query);
            }
        }
        truth
    }

    /// Every column of every expression of every query in the tree.
    fn all<'t>(&mut self, tree: &'t Tree, above: &mut Vec<&'t Tree>) {
        match tree {
            Tree::Atom(_) => {}
            Tree::List(items) => items.iter().for_each(|item| self.all(item, above)),
            Tree::Node(name, fields) => {
                let deeper = name == "QUERY";
                if deeper {
                    above.push(tree);
                }
                if name == "VAR" {
                    self.allowed.extend(resolve::touched(tree, above));
                }
                for (_, field) in fields.iter().filter(|(field, _)| *field != "joinaliasvars") {
                    self.all(field, above);
                }
                if deeper {
                    above.pop();
                }
            }
        }
    }

    /// What a query needs: its conditions, and its targets where somebody asks for them.
    fn query<'t>(&mut self, query: &'t Tree, above: &mut Vec<&'t Tree>, asked: Asked) {
        above.push(query);
        for target in query.field("targetList").items() {
            if asked == Asked::All || target.number("ressortgroupref") != 0 {
                self.expression(target, above);
            }
        }
        for field in
            ["jointree", "returningList", "onConflict", "havingQual", "limitOffset", "limitCount", "mergeActionList"]
        {
            self.expression(query.field(field), above);
        }
        for entry in query.field("rtable").items() {
            for field in ["functions", "values_lists", "tablesample", "tablefunc", "securityQuals"] {
                self.expression(entry.field(field), above);
            }
            if entry.number("rtekind") == 1 {
                // A set operation's arms all reach its result.
                let arm = query.field("setOperations").is("SETOPERATIONSTMT");
                self.query(entry.field("subquery"), above, if arm { asked } else { Asked::Chosen });
            }
        }
        for cte in query.field("cteList").items() {
            self.query(cte.field("ctequery"), above, Asked::Chosen);
        }
        above.pop();
    }

    fn expression<'t>(&mut self, tree: &'t Tree, above: &mut Vec<&'t Tree>) {
        match tree {
            Tree::Atom(_) => {}
            Tree::List(items) => items.iter().for_each(|item| self.expression(item, above)),
            Tree::Node(name, _) if name == "QUERY" => self.query(tree, above, Asked::All),
            Tree::Node(name, fields) => {
                if name == "VAR" {
                    self.required.extend(resolve::touched(tree, above));
                }
                // The columns of `excluded`, asked for or not.
                for (_, field) in fields.iter().filter(|(field, _)| *field != "exclRelTlist") {
                    self.expression(field, above);
                }
            }
        }
    }
}

/// The rewritten tree of a statement, as a client's notices have it that has switched `debug_print_rewritten` on.
///
/// Every version prints it for a Parse, those before 15 not for PREPARE.
pub(crate) async fn printed(client: &Client, notices: &Mutex<Vec<String>>, sql: &str) -> Result<String, Error> {
    notices.lock().unwrap().clear();
    let prepared = client.prepare(sql).await;
    let trees = std::mem::take(&mut *notices.lock().unwrap());
    prepared?;
    // What the driver itself asks of types follows.
    Ok(trees.into_iter().next().expect("the server printed no tree"))
}

/// Whether all columns of a query reach somebody, or those alone that a Var names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    All,
    Chosen,
}

/// The columns of a query's result; those of RETURNING where it writes.
fn outputs(query: &Tree) -> Vec<Sourced> {
    let levels = Levels::top(query);
    resolve::results(query)
        .iter()
        .filter(|target| target.text("resjunk") != "true")
        .map(|target| {
            let mut flow = Flow::default();
            flow.output(query, target.number("resno"), &levels);
            Sourced { name: target.text("resname").to_owned(), sources: flow.found }
        })
        .collect()
}
