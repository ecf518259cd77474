//! Queries: WITH, SELECT with all its clauses, set operations, VALUES, TABLE.

use super::doc::{Doc, pieces};
use super::maker::Maker;
use super::schema::Column;
use super::scope::Cte;
use super::write;

impl Maker<'_> {
    /// A query that is a statement.
    pub(super) fn top_query(&mut self) -> Doc {
        let (with, depth) = (self.with(3, true), self.ctes.len());
        if self.random.chance(3) {
            let table = self.random.one(&self.schema.tables).clone();
            return pieces![with, "TABLE ", self.table_name(&table)];
        }
        let (query, _) = select(self, None, 3);
        self.ctes.truncate(depth.min(self.ctes.len()));
        let lock = if self.random.chance(2) { " FOR UPDATE" } else { "" };
        // A query that has a WITH of its own stands in parentheses behind another.
        let query = if with.text().is_empty() { query } else { pieces!["(", query, ")"] };
        pieces![with, query, Doc::optional(lock.into())]
    }

    /// WITH; its expressions stay in scope until the caller takes them out.
    pub(super) fn with(&mut self, depth: usize, writes: bool) -> Doc {
        if !self.random.chance(if writes { 35 } else { 10 }) || !self.spend() {
            return Doc::empty();
        }
        let mut pieces = Vec::new();
        let first = self.ctes.len();
        for _ in 0..=self.random.below(2) {
            let taken: Vec<String> = self.ctes[first..].iter().map(|cte| cte.name.clone()).collect();
            let name = self.alias(&taken);
            if taken.contains(&name) {
                continue;
            }
            let recursive = self.random.chance(20);
            let (text, columns) = match self.random.below(10) {
                _ if recursive => self.recursive(&name),
                0..2 if writes => write::returning(self),
                _ => select(self, None, depth - 1),
            };
            let given: Vec<Column> = self.renamed(&columns);
            // What is named in the list hides what the query called it.
            let names = self.names(&given);
            let how = *self.random.one(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
            let how = if text.text().trim_start().starts_with("SELECT") { how } else { "" };
            let cycle = self.tail(&given, recursive);
            pieces.push(pieces![super::lexis::plain(&name), names, format!(" AS {how}("), text, ")", cycle.0]);
            let mut columns = given;
            columns.extend(cycle.1);
            self.ctes.push(Cte { name, columns });
        }
        if pieces.is_empty() { Doc::empty() } else { Doc::optional(pieces!["WITH RECURSIVE ", Doc::list(pieces), " "]) }
    }

    /// A recursive query of a number and a text, with SEARCH or CYCLE behind it at times.
    fn recursive(&mut self, name: &str) -> (Doc, Vec<Column>) {
        let kinds = ["integer".to_owned(), "text".to_owned()];
        let (start, _) = plain(self, Some(&kinds), 1);
        let column = |name: &str, kind: &str| Column { name: name.into(), kind: kind.into(), writable: false };
        let columns = vec![column("", "integer"), column("", "text")];
        let texts = |table: &&super::schema::Table| table.columns.iter().any(|column| column.kind == "text");
        let tables: Vec<_> = self.schema.tables.iter().filter(texts).cloned().collect();
        let table = self.random.one(&tables).clone();
        let named = super::lexis::quoted(&table.schema) + "." + &super::lexis::quoted(&table.name);
        let own = super::lexis::plain(name);
        let pick = |kind: &str| table.columns.iter().find(|column| column.kind == kind);
        let Some(text) = pick("text") else { return (start, columns) };
        let step = format!(
            "SELECT rec_self.rec_a + 1, rec_table.{} FROM {own} AS rec_self (rec_a, rec_b), {named} AS rec_table WHERE rec_self.rec_a < 5",
            super::lexis::quoted(&text.name),
        );
        let made = pieces![start, " UNION ALL ", step];
        (made, columns)
    }

    /// SEARCH or CYCLE of a recursive query, and the columns that it adds.
    fn tail(&mut self, columns: &[Column], recursive: bool) -> (Doc, Vec<Column>) {
        let column = |name: &str, kind: &str| Column { name: name.into(), kind: kind.into(), writable: false };
        let [first, ..] = columns else { return Default::default() };
        let first = super::lexis::plain(&first.name);
        match self.random.below(4) {
            0 if recursive => {
                (format!(" SEARCH DEPTH FIRST BY {first} SET seq").into(), vec![column("seq", "record[]")])
            }
            1 if recursive => {
                let added = vec![column("cyc", "boolean"), column("path", "record[]")];
                (format!(" CYCLE {first} SET cyc USING path").into(), added)
            }
            _ => Default::default(),
        }
    }

    fn target(&mut self, kind: &str, depth: usize) -> Doc {
        self.value(kind, depth)
    }

    /// The SELECT list; with types it has just those.
    fn targets(&mut self, wanted: Option<&[String]>, depth: usize) -> (Doc, Vec<Column>) {
        let mut columns = Vec::new();
        let mut pieces = Vec::new();
        if let Some(kinds) = wanted {
            for kind in kinds {
                pieces.push(self.target(kind, depth));
                columns.push(Column { name: String::new(), kind: kind.clone(), writable: false });
            }
            return (Doc::fixed(pieces), columns);
        }
        for _ in 0..=self.random.below(4) {
            let level = self.levels.0.len() - 1;
            let free = self.levels.0[level].grouped.is_none();
            let items = self.levels.0[level].items.len();
            match self.random.below(12) {
                0 if free && pieces.is_empty() && !self.levels.0[level].bare.is_empty() => {
                    pieces.push("*".into());
                    columns.extend(self.levels.0[level].bare.clone());
                }
                1 | 2 if free && items > 0 => {
                    let item = self.random.below(items);
                    if self.levels.qualifies(level, item) {
                        let of = self.levels.0[level].items[item].clone();
                        let alias = self.name(&of.alias);
                        pieces.push(match &of.table {
                            Some((schema, table)) if self.random.chance(40) => {
                                format!("{}.{}.*", self.name(schema), self.name(table)).into()
                            }
                            _ => format!("{alias}.*").into(),
                        });
                        columns.extend(of.columns);
                    }
                }
                3 if free => {
                    let rows: Vec<String> = self.schema.rows.keys().cloned().collect();
                    let row = self.random.one(&rows).clone();
                    if let Some(value) = self.column(&row) {
                        pieces.push(pieces!["(", value, ").*"]);
                        columns.extend(self.schema.rows[&row].clone());
                    }
                }
                4 if free => {
                    if let Some(row) = self.whole_row() {
                        let name = self.fresh_name();
                        pieces.push(pieces![row, format!(" AS {}", super::lexis::plain(&name))]);
                        columns.push(Column { name, kind: "record".into(), writable: false });
                    }
                }
                _ => {
                    let kind = self.some_kind();
                    let value = self.target(&kind, depth);
                    let named = self.random.chance(70);
                    let name = if named { self.fresh_name() } else { String::new() };
                    let label = if named { format!(" AS {}", self.name(&name)) } else { String::new() };
                    pieces.push(pieces![value, label]);
                    columns.push(Column { name, kind, writable: false });
                }
            }
        }
        if pieces.is_empty() {
            pieces.push("1 AS one".into());
            columns.push(Column { name: "one".into(), kind: "integer".into(), writable: false });
        }
        // A list of which pieces go is another relation: only what is not referred to can go.
        (Doc::list(pieces), columns)
    }

    /// GROUP BY over some columns, which are then what can be said.
    fn group(&mut self) -> Doc {
        let level = self.levels.0.len() - 1;
        let mut places = self.levels.columns(None);
        places.retain(|place| {
            let column = &self.levels.0[place.level].items[place.item].columns[place.column];
            place.level == level && !matches!(&*column.kind, "xml" | "json") && !column.kind.contains('.')
        });
        let (mut pieces, mut grouped) = (Vec::new(), Vec::new());
        for _ in 0..=self.random.below(2) {
            if places.is_empty() {
                break;
            }
            let place = *self.random.one(&places);
            if let Some(text) = self.say(place) {
                pieces.push(text);
                grouped.push((place.item, place.column));
            }
        }
        self.levels.0[level].grouped = Some(grouped);
        if pieces.is_empty() {
            return Doc::empty();
        }
        let list = Doc::fixed(pieces);
        match self.random.below(6) {
            0 => pieces![" GROUP BY ROLLUP (", list, ")"],
            1 => pieces![" GROUP BY CUBE (", list, ")"],
            2 => pieces![" GROUP BY GROUPING SETS ((", list, "), ())"],
            3 => pieces![" GROUP BY DISTINCT ", list],
            _ => pieces![" GROUP BY ", list],
        }
    }
}

/// A query that gives these types, or whatever it likes.
pub fn select(maker: &mut Maker<'_>, wanted: Option<&[String]>, depth: usize) -> (Doc, Vec<Column>) {
    let (ctes, flags) = (maker.ctes.len(), (maker.aggregates, maker.windows));
    let with = if depth > 0 { maker.with(depth, false) } else { Doc::empty() };
    let (mut text, columns) = plain(maker, wanted, depth);
    let unites =
        columns.iter().all(|column| !column.kind.contains('.') && !matches!(&*column.kind, "xml" | "json" | "record"));
    if depth > 0 && unites && maker.random.chance(12) {
        let kinds: Vec<String> = columns.iter().map(|column| column.kind.clone()).collect();
        let (other, _) = plain(maker, Some(&kinds), depth - 1);
        let how = *maker.random.one(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL"]);
        text = pieces!["(", text, ")", Doc::optional(pieces![format!(" {how} ("), other, ")"])];
        if maker.random.chance(30) {
            text = pieces![text, Doc::optional(" ORDER BY 1".into())];
        }
    }
    maker.ctes.truncate(ctes);
    (maker.aggregates, maker.windows) = flags;
    (Doc::Query(Box::new(pieces![with, text])), columns)
}

/// One SELECT.
fn plain(maker: &mut Maker<'_>, wanted: Option<&[String]>, depth: usize) -> (Doc, Vec<Column>) {
    let flags = (maker.aggregates, maker.windows);
    (maker.aggregates, maker.windows) = (false, false);
    let from = maker.from(depth);
    let filter = maker.random.chance(60).then(|| Doc::optional(pieces![" WHERE ", maker.value("boolean", depth)]));
    let grouping = if maker.random.chance(25) { maker.group() } else { Doc::empty() };
    let grouped = maker.levels.0.last().unwrap().grouped.is_some();
    maker.aggregates = grouped;
    let having =
        (grouped && maker.random.chance(30)).then(|| Doc::optional(pieces![" HAVING ", maker.value("boolean", 2)]));
    maker.windows = maker.random.chance(25);
    let windowed = maker.windows;
    let (targets, columns) = maker.targets(wanted, depth);
    maker.windows = false;
    let window = if windowed { pieces![" WINDOW w AS (", maker.window(""), ")"] } else { Doc::empty() };
    let distinct = match maker.random.below(20) {
        0 if !grouped && !windowed => "DISTINCT ",
        1 if !grouped => "DISTINCT ON (1) ",
        _ => "",
    };
    let order = match (distinct, maker.random.below(8)) {
        ("", 0) => {
            let kind = (*maker.random.one(&["integer", "text", "date"])).to_owned();
            let how = *maker.random.one(&["", " DESC NULLS LAST", " USING <"]);
            pieces![" ORDER BY ", maker.value(&kind, 1), how]
        }
        (_, 1) => " ORDER BY 1".into(),
        ("", 2) => match columns.iter().find(|column| column.kind == "text" && !column.name.is_empty()) {
            Some(column) => format!(" ORDER BY {}", super::lexis::plain(&column.name)).into(),
            None => Doc::empty(),
        },
        _ => Doc::empty(),
    };
    let limit = if maker.random.chance(10) { pieces![" LIMIT (", maker.uncorrelated(), ")"] } else { Doc::empty() };
    maker.levels.0.pop();
    (maker.aggregates, maker.windows) = flags;
    let distinct = Doc::optional(distinct.into());
    let text = pieces![
        "SELECT ",
        distinct,
        targets,
        " FROM ",
        from,
        filter.unwrap_or_else(Doc::empty),
        grouping,
        having.unwrap_or_else(Doc::empty),
        window,
        Doc::optional(order),
        Doc::optional(limit)
    ];
    (Doc::Query(Box::new(text)), columns)
}
