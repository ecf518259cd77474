//! What Postgres itself says a query touches: its rewritten tree, read back and compared with the analysis.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a tree that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};

/// A node tree as `debug_print_rewritten` prints it.
#[derive(Debug)]
enum Tree {
    Atom(String),
    List(Vec<Tree>),
    Node(String, BTreeMap<String, Tree>),
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// A token up to white space or a bracket; a backslash takes the next byte as it is.
    fn token(&mut self) -> String {
        let mut token = Vec::new();
        while self.at < self.text.len() && !self.peek().is_ascii_whitespace() && !b"(){}".contains(&self.peek()) {
            if self.peek() == b'\\' {
                self.at += 1;
            }
            token.push(self.peek());
            self.at += 1;
        }
        String::from_utf8_lossy(&token).into_owned()
    }

    fn value(&mut self) -> Tree {
        self.space();
        match self.peek() {
            b'{' => self.node(),
            b'(' => {
                self.at += 1;
                let mut list = Vec::new();
                loop {
                    self.space();
                    if self.peek() == b')' || self.peek() == 0 {
                        self.at += 1;
                        return Tree::List(list);
                    }
                    list.push(self.value());
                }
            }
            _ => Tree::Atom(self.token()),
        }
    }

    fn node(&mut self) -> Tree {
        self.at += 1;
        let name = self.token();
        let mut fields = BTreeMap::new();
        loop {
            self.space();
            match self.peek() {
                b'}' | 0 => {
                    self.at += 1;
                    return Tree::Node(name, fields);
                }
                b':' => {
                    let field = self.token();
                    let value = self.value();
                    fields.insert(field.trim_start_matches(':').to_owned(), value);
                }
                // A constant's bytes follow its length: `4 [ 1 0 0 0 ]`.
                _ => drop(self.value()),
            }
        }
    }
}

impl Tree {
    fn read(text: &str) -> Self {
        Reader { text: text.as_bytes(), at: 0 }.value()
    }

    fn field(&self, name: &str) -> &Tree {
        match self {
            Self::Node(_, fields) => fields.get(name).unwrap_or(&NOTHING),
            _ => &NOTHING,
        }
    }

    fn number(&self, name: &str) -> i64 {
        match self.field(name) {
            Self::Atom(text) => text.parse().unwrap_or(0),
            _ => 0,
        }
    }

    fn text(&self, name: &str) -> &str {
        match self.field(name) {
            Self::Atom(text) => text.trim_matches('"'),
            _ => "",
        }
    }

    fn items(&self) -> &[Tree] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    fn is(&self, name: &str) -> bool {
        matches!(self, Self::Node(own, _) if own == name)
    }
}

static NOTHING: Tree = Tree::List(Vec::new());

/// A physical column: relation OID and attribute number; 0 is the whole row.
pub(crate) type Place = (u32, i64);

/// What a query must be said to touch, and what it may be said to touch.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Columns that reach the result or decide it.
    pub(crate) required: BTreeSet<Place>,
    /// Columns that stand anywhere in the tree.
    pub(crate) allowed: BTreeSet<Place>,
}

impl Truth {
    /// Reads the printed list of rewritten queries.
    pub(crate) fn read(text: &str) -> Self {
        let tree = Tree::read(text);
        let mut truth = Self::default();
        for query in tree.items() {
            truth.all(query, &mut Vec::new());
            truth.query(query, &mut Vec::new(), true);
        }
        truth
    }

    /// Every column of every query in the tree.
    fn all<'t>(&mut self, tree: &'t Tree, above: &mut Vec<&'t Tree>) {
        match tree {
            Tree::Atom(_) => {}
            Tree::List(items) => {
                for item in items {
                    self.all(item, above);
                }
            }
            Tree::Node(name, fields) if name == "QUERY" => {
                above.push(tree);
                for field in fields.values() {
                    self.all(field, above);
                }
                above.pop();
            }
            Tree::Node(name, fields) => {
                if name == "VAR" {
                    let mut found = BTreeSet::new();
                    resolve(tree, above, &mut found, 0);
                    self.allowed.extend(found);
                }
                for field in fields.values() {
                    self.all(field, above);
                }
            }
        }
    }

    /// What a query needs: its conditions, and its targets where somebody asks for them.
    fn query<'t>(&mut self, query: &'t Tree, above: &mut Vec<&'t Tree>, top: bool) {
        above.push(query);
        for target in query.field("targetList").items() {
            if top || target.number("ressortgroupref") != 0 {
                self.expression(target, above);
            }
        }
        for field in
            ["jointree", "returningList", "onConflict", "havingQual", "limitOffset", "limitCount", "mergeActionList"]
        {
            self.expression(query.field(field), above);
        }
        for entry in query.field("rtable").items() {
            for field in ["functions", "values_lists", "tablesample", "tablefunc"] {
                self.expression(entry.field(field), above);
            }
            if entry.number("rtekind") == 1 {
                // A set operation's arms all reach its result.
                let arm = !matches!(query.field("setOperations"), Tree::Atom(_));
                self.query(entry.field("subquery"), above, arm && top);
            }
        }
        for cte in query.field("cteList").items() {
            self.query(cte.field("ctequery"), above, false);
        }
        above.pop();
    }

    fn expression<'t>(&mut self, tree: &'t Tree, above: &mut Vec<&'t Tree>) {
        match tree {
            Tree::Atom(_) => {}
            Tree::List(items) => items.iter().for_each(|item| self.expression(item, above)),
            Tree::Node(name, _) if name == "QUERY" => self.query(tree, above, true),
            Tree::Node(name, fields) => {
                if name == "VAR" {
                    let mut found = BTreeSet::new();
                    resolve(tree, above, &mut found, 0);
                    self.required.extend(found);
                }
                // The columns of `excluded`, asked for or not.
                let asked = fields.iter().filter(|(field, _)| *field != "exclRelTlist");
                for (_, field) in asked {
                    self.expression(field, above);
                }
            }
        }
    }
}

/// The physical columns behind a Var.
fn resolve<'t>(var: &'t Tree, above: &[&'t Tree], found: &mut BTreeSet<Place>, depth: usize) {
    let levels = usize::try_from(var.number("varlevelsup")).unwrap();
    let Some(level) = above.len().checked_sub(levels + 1) else { return };
    let query = above[level];
    let place = var.number("varno");
    let Some(entry) = usize::try_from(place - 1).ok().and_then(|at| query.field("rtable").items().get(at)) else {
        return;
    };
    column(entry, var.number("varattno"), &above[..=level], found, depth);
}

fn column<'t>(entry: &'t Tree, number: i64, above: &[&'t Tree], found: &mut BTreeSet<Place>, depth: usize) {
    if depth > 40 || number < 0 {
        return;
    }
    match entry.number("rtekind") {
        0 => drop(found.insert((u32::try_from(entry.number("relid")).unwrap(), number))),
        1 => targets(entry.field("subquery"), number, above, found, depth),
        2 => {
            let vars = entry.field("joinaliasvars").items();
            let wanted: Vec<&Tree> = match usize::try_from(number - 1) {
                Ok(at) => vars.get(at).into_iter().collect(),
                Err(_) => vars.iter().collect(),
            };
            for tree in wanted {
                walk(tree, above, found, depth);
            }
        }
        6 => {
            let name = entry.text("ctename");
            let levels = usize::try_from(entry.number("ctelevelsup")).unwrap();
            let Some(level) = above.len().checked_sub(levels + 1) else { return };
            let cte = above[level].field("cteList").items().iter().find(|cte| cte.text("ctename") == name);
            if let Some(cte) = cte {
                targets(cte.field("ctequery"), number, &above[..=level], found, depth);
            }
        }
        9 => {
            let exprs = entry.field("groupexprs").items();
            if let Some(tree) = usize::try_from(number - 1).ok().and_then(|at| exprs.get(at)) {
                walk(tree, above, found, depth);
            }
        }
        _ => {}
    }
}

/// The target at a place of a query; all of them for a whole row.
fn targets<'t>(query: &'t Tree, number: i64, above: &[&'t Tree], found: &mut BTreeSet<Place>, depth: usize) {
    let mut inner = above.to_vec();
    inner.push(query);
    let returning = query.field("returningList").items();
    let list = if returning.is_empty() { query.field("targetList").items() } else { returning };
    for target in list.iter().filter(|target| number == 0 || target.number("resno") == number) {
        walk(target, &inner, found, depth);
    }
}

fn walk<'t>(tree: &'t Tree, above: &[&'t Tree], found: &mut BTreeSet<Place>, depth: usize) {
    match tree {
        Tree::Atom(_) => {}
        Tree::List(items) => items.iter().for_each(|item| walk(item, above, found, depth)),
        Tree::Node(..) if tree.is("VAR") => resolve(tree, above, found, depth + 1),
        Tree::Node(..) if tree.is("QUERY") => {
            let mut inner = above.to_vec();
            inner.push(tree);
            walk(tree.field("targetList"), &inner, found, depth + 1);
        }
        Tree::Node(_, fields) => fields.values().for_each(|field| walk(field, above, found, depth)),
    }
}
