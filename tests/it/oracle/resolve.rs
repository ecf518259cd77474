//! From a Var to the physical columns behind it: through subqueries, joins, CTEs, functions, VALUES, set operations.

use std::collections::BTreeSet;

use super::Place;
use super::tree::Tree;

/// `RTEKind` and `SubLinkType` as the server numbers them.
const RELATION: i64 = 0;
const SUBQUERY: i64 = 1;
const JOIN: i64 = 2;
const FUNCTION: i64 = 3;
const TABLE_FUNCTION: i64 = 4;
const VALUES: i64 = 5;
const CTE: i64 = 6;
const GROUP: i64 = 9;
const EXISTS: i64 = 0;
const COMMAND_SELECT: i64 = 1;

/// A query and those around it, the innermost last.
#[derive(Clone, Debug)]
pub(super) struct Levels<'t>(Vec<&'t Tree>);

impl<'t> Levels<'t> {
    pub(super) fn top(query: &'t Tree) -> Self {
        Self(vec![query])
    }

    fn below(&self, query: &'t Tree) -> Self {
        Self(self.0.iter().copied().chain([query]).collect())
    }

    /// The levels from a query outside this one.
    fn up(&self, levels: i64) -> Option<Self> {
        let kept = self.0.len().checked_sub(usize::try_from(levels).ok()?)?;
        (kept > 0).then(|| Self(self.0.iter().take(kept).copied().collect()))
    }

    fn query(&self) -> &'t Tree {
        self.0.last().unwrap()
    }
}

/// The columns that a Var names.
pub(super) fn touched(var: &Tree, above: &[&Tree]) -> BTreeSet<Place> {
    let mut flow = Flow::default();
    if !above.is_empty() {
        flow.var(var, &Levels(above.to_vec()));
    }
    flow.found
}

/// What a query returns: its targets, or those of RETURNING where it writes.
pub(super) fn results(query: &Tree) -> &[Tree] {
    let list = if query.number("commandType") == COMMAND_SELECT { "targetList" } else { "returningList" };
    query.field(list).items()
}

/// The columns that flow into a value.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) found: BTreeSet<Place>,
    /// Results that are followed already: a recursive CTE comes back to itself.
    followed: BTreeSet<(usize, i64)>,
}

impl Flow {
    /// A column of a query's result by number; all of them where the number is 0.
    pub(super) fn output<'t>(&mut self, query: &'t Tree, number: i64, levels: &Levels<'t>) {
        if !self.followed.insert((std::ptr::from_ref(query).addr(), number)) {
            return;
        }
        let arms = query.field("setOperations");
        if arms.is("SETOPERATIONSTMT") {
            return self.arms(arms, number, levels);
        }
        for target in results(query) {
            let wanted = number == 0 && target.text("resjunk") != "true" || target.number("resno") == number;
            if wanted {
                self.value(target.field("expr"), levels);
            }
        }
    }

    /// A Var of a set operation names its first arm alone; all arms make the column.
    fn arms<'t>(&mut self, arms: &'t Tree, number: i64, levels: &Levels<'t>) {
        if arms.is("RANGETBLREF") {
            return self.entry(arms.number("rtindex"), number, levels);
        }
        self.arms(arms.field("larg"), number, levels);
        self.arms(arms.field("rarg"), number, levels);
    }

    /// All that stands in an expression.
    fn value<'t>(&mut self, tree: &'t Tree, levels: &Levels<'t>) {
        match tree {
            Tree::Atom(_) => {}
            Tree::List(items) => items.iter().for_each(|item| self.value(item, levels)),
            Tree::Node(name, fields) => match name.as_str() {
                "VAR" => self.var(tree, levels),
                "QUERY" => self.output(tree, 0, &levels.below(tree)),
                "SUBLINK" if tree.number("subLinkType") == EXISTS => {}
                "AGGREF" => {
                    self.value(tree.field("aggdirectargs"), levels);
                    let args = tree.field("args").items().iter();
                    args.filter(|arg| arg.text("resjunk") != "true").for_each(|arg| self.value(arg, levels));
                }
                "FIELDSELECT" => self.field(tree.field("arg"), tree.number("fieldnum"), levels),
                "WINDOWFUNC" => self.value(tree.field("args"), levels),
                _ => fields.values().for_each(|field| self.value(field, levels)),
            },
        }
    }

    /// A field of a row: of a whole row the column, of a subquery that returns one the same; else all of the value.
    fn field<'t>(&mut self, row: &'t Tree, number: i64, levels: &Levels<'t>) {
        let at = levels.up(row.number("varlevelsup"));
        match at.filter(|_| row.is("VAR")) {
            Some(at) if row.number("varattno") == 0 => return self.entry(row.number("varno"), number, &at),
            Some(at) => {
                let place = usize::try_from(row.number("varno") - 1).unwrap();
                let query = at.query().field("rtable").items().get(place).map(|entry| entry.field("subquery"));
                if let Some(query) = query.filter(|query| query.is("QUERY")) {
                    return self.field_of_target(query, row.number("varattno"), number, &at);
                }
            }
            None if row.is("SUBLINK") => return self.field_of_target(row.field("subselect"), 1, number, levels),
            None => {}
        }
        self.value(row, levels);
    }

    fn field_of_target<'t>(&mut self, query: &'t Tree, target: i64, number: i64, levels: &Levels<'t>) {
        let levels = levels.below(query);
        if query.field("setOperations").is("SETOPERATIONSTMT") {
            return self.output(query, target, &levels);
        }
        let found = results(query).iter().find(|result| result.number("resno") == target);
        if let Some(result) = found {
            self.field(result.field("expr"), number, &levels);
        }
    }

    fn var<'t>(&mut self, var: &'t Tree, levels: &Levels<'t>) {
        if let Some(levels) = levels.up(var.number("varlevelsup")) {
            self.entry(var.number("varno"), var.number("varattno"), &levels);
        }
    }

    /// A column of an entry of the range table; system columns say nothing of the row.
    fn entry(&mut self, place: i64, number: i64, levels: &Levels<'_>) {
        let entry = usize::try_from(place - 1).ok().and_then(|at| levels.query().field("rtable").items().get(at));
        let Some(entry) = entry.filter(|_| number >= 0) else { return };
        match entry.number("rtekind") {
            RELATION => drop(self.found.insert((u32::try_from(entry.number("relid")).unwrap(), number))),
            SUBQUERY => self.output(entry.field("subquery"), number, &levels.below(entry.field("subquery"))),
            JOIN => self.nth(entry.field("joinaliasvars"), number, levels),
            FUNCTION => self.function(entry, number, levels),
            TABLE_FUNCTION => self.table_function(entry.field("tablefunc"), number, levels),
            VALUES => {
                entry.field("values_lists").items().iter().for_each(|row| self.nth(row, number, levels));
            }
            CTE => self.cte(entry, number, levels),
            GROUP => self.nth(entry.field("groupexprs"), number, levels),
            _ => {}
        }
    }

    /// One of a list of expressions; all of them for a whole row.
    fn nth<'t>(&mut self, list: &'t Tree, number: i64, levels: &Levels<'t>) {
        match usize::try_from(number - 1) {
            Ok(at) => list.items().get(at).into_iter().for_each(|tree| self.value(tree, levels)),
            Err(_) => self.value(list, levels),
        }
    }

    /// A column of functions side by side is made from the arguments of the function that it belongs to.
    fn function<'t>(&mut self, entry: &'t Tree, number: i64, levels: &Levels<'t>) {
        let mut first = 1;
        for function in entry.field("functions").items() {
            let columns = function.number("funccolcount");
            if number == 0 || (first..first + columns).contains(&number) {
                self.value(function.field("funcexpr"), levels);
            }
            first += columns;
        }
    }

    /// A column of `XMLTABLE` is made from the document, the row's path and its own path and default.
    fn table_function<'t>(&mut self, table: &'t Tree, number: i64, levels: &Levels<'t>) {
        for field in ["ns_uris", "docexpr", "rowexpr"] {
            self.value(table.field(field), levels);
        }
        for field in ["colexprs", "coldefexprs"] {
            self.nth(table.field(field), number, levels);
        }
    }

    fn cte<'t>(&mut self, entry: &'t Tree, number: i64, levels: &Levels<'t>) {
        let Some(levels) = levels.up(entry.number("ctelevelsup")) else { return };
        let ctes = levels.query().field("cteList").items();
        let Some(cte) = ctes.iter().find(|cte| cte.text("ctename") == entry.text("ctename")) else { return };
        let query = cte.field("ctequery");
        self.output(query, number, &levels.below(query));
    }
}
