//! FROM: tables, subqueries, functions, joins.

use super::doc::{Doc, pieces};
use super::maker::Maker;
use super::query;
use super::schema::{Column, Schema, Table};
use super::scope::{Cte, Item, Level};

impl Maker<'_> {
    /// A FROM list; what it brings becomes the innermost level.
    pub(super) fn from(&mut self, depth: usize) -> Doc {
        self.levels.0.push(Level::default());
        let count = if depth == 0 { 1 } else { 1 + self.random.below(2) };
        let mut items = Vec::new();
        for _ in 0..count {
            let (text, level) = self.item(depth);
            items.push(text);
            self.levels.0.last_mut().unwrap().extend(level);
        }
        Doc::list(items)
    }

    fn taken(&self) -> Vec<String> {
        self.levels
            .0
            .last()
            .map(|level| level.items.iter().map(|item| item.alias.clone()).collect())
            .unwrap_or_default()
    }

    /// One item; the innermost level is what stands before it.
    fn item(&mut self, depth: usize) -> (Doc, Level) {
        if !self.spend() || depth == 0 {
            return self.table_item();
        }
        match self.random.below(100) {
            0..45 => self.table_item(),
            45..57 => self.subquery_item(depth - 1),
            57..66 => self.function_item(),
            66..69 => self.values_item(),
            _ => self.join(depth - 1),
        }
    }

    /// A relation that FROM can name, as text, with what it is.
    pub(super) fn table_name(&mut self, table: &Table) -> String {
        let hidden = self.ctes.iter().any(|cte| cte.name == table.name);
        let name = self.name(&table.name);
        let prefix = match self.random.below(10) {
            0..5 if table.visible && !hidden => String::new(),
            5 => format!("{}.{}.", self.name(&self.schema.database), self.name(&table.schema)),
            _ => format!("{}.", self.name(&table.schema)),
        };
        prefix + &name
    }

    fn table_item(&mut self) -> (Doc, Level) {
        let taken = self.taken();
        if !self.ctes.is_empty() && self.random.chance(45) {
            let cte = self.random.one(&self.ctes.clone()).clone();
            return self.cte_item(&cte, &taken);
        }
        let table = self.random.one(&self.schema.tables).clone();
        let mut text = self.table_name(&table);
        if self.random.chance(8) {
            text = format!("ONLY {text}");
        }
        let sample = matches!(table.kind, 'r' | 'p') && self.random.chance(5);
        let aliased = taken.contains(&table.name) || self.random.chance(65);
        let (alias, columns, named) = self.aliased(&table.name, &table.columns, aliased, &taken);
        text += &named;
        if sample {
            text += " TABLESAMPLE BERNOULLI (10)";
        }
        let of = (!aliased).then(|| (table.schema.clone(), table.name.clone()));
        let item = Item { alias, table: of, columns: columns.clone(), row: Schema::row_type(&table) };
        (text.into(), Level { items: vec![item], bare: columns, grouped: None })
    }

    fn cte_item(&mut self, cte: &Cte, taken: &[String]) -> (Doc, Level) {
        // The innermost of a name hides the others.
        let cte = self.ctes.iter().rev().find(|other| other.name == cte.name).unwrap_or(cte).clone();
        let aliased = taken.contains(&cte.name) || self.random.chance(50);
        let (alias, columns, named) = self.aliased(&cte.name, &cte.columns, aliased, taken);
        let item = Item { alias, table: None, columns: columns.clone(), row: "record".to_owned() };
        ((self.name(&cte.name) + &named).into(), Level { items: vec![item], bare: columns, grouped: None })
    }

    /// An alias, often with names for columns: its name, the columns under it, its text.
    fn aliased(
        &mut self,
        own: &str,
        columns: &[Column],
        wanted: bool,
        taken: &[String],
    ) -> (String, Vec<Column>, String) {
        if !wanted {
            return (own.to_owned(), columns.to_vec(), String::new());
        }
        let alias = self.alias(taken);
        let word = if self.random.chance(50) { " AS " } else { " " };
        let mut text = word.to_owned() + &super::lexis::plain(&alias);
        let mut columns = columns.to_vec();
        if self.random.chance(20) {
            let some = if self.random.chance(50) { columns.len() } else { 1 + self.random.below(columns.len()) };
            let some = some.min(columns.len());
            let renamed = self.renamed(&columns[..some]);
            text += &self.names(&renamed);
            columns.splice(..some, renamed);
        }
        (alias, columns, text)
    }

    fn subquery_item(&mut self, depth: usize) -> (Doc, Level) {
        let taken = self.taken();
        let lateral = self.random.chance(40);
        let beside = if lateral { None } else { self.levels.0.pop() };
        let (query, columns) = query::select(self, None, depth);
        if let Some(level) = beside {
            self.levels.0.push(level);
        }
        let (alias, columns, named) = self.aliased("", &columns, true, &taken);
        let word = if lateral { "LATERAL (" } else { "(" };
        let item = Item { alias, table: None, columns: columns.clone(), row: "record".to_owned() };
        (pieces![word, query, ")", named], Level { items: vec![item], bare: columns, grouped: None })
    }

    fn values_item(&mut self) -> (Doc, Level) {
        let taken = self.taken();
        let beside = self.levels.0.pop();
        let kinds = ["integer", "text"];
        let row = |maker: &mut Self| pieces!["(", maker.value(kinds[0], 1), ", ", maker.value(kinds[1], 1), ")"];
        let rows = Doc::list(vec![row(self), row(self)]);
        self.levels.0.extend(beside);
        let column = |(name, kind): (&str, &str)| Column { name: name.into(), kind: kind.into(), writable: false };
        let columns: Vec<Column> = [("column1", kinds[0]), ("column2", kinds[1])].map(column).into();
        let (alias, columns, named) = self.aliased("", &columns, true, &taken);
        let item = Item { alias, table: None, columns: columns.clone(), row: "record".to_owned() };
        (pieces!["(VALUES ", rows, ")", named], Level { items: vec![item], bare: columns, grouped: None })
    }

    /// Functions of the schema's own and built-in ones; they see what stands before them.
    fn function_item(&mut self) -> (Doc, Level) {
        let taken = self.taken();
        let column = |name: &str, kind: &str| Column { name: name.into(), kind: kind.into(), writable: false };
        let (text, mut columns) = match self.random.below(6) {
            0 => (pieces!["unnest(", self.value("text[]", 2), ")"], vec![column("u", "text")]),
            1 => (pieces!["generate_series(1, ", self.value("integer", 2), ")"], vec![column("g", "integer")]),
            2 => {
                let (first, second) = (self.value("text[]", 1), self.value("integer", 1));
                let text = pieces!["ROWS FROM (unnest(", first, "), generate_series(1, ", second, "))"];
                (text, vec![column("u", "text"), column("g", "integer")])
            }
            3 => {
                let columns = vec![column("key", "text"), column("value", "jsonb")];
                (pieces!["jsonb_each(", self.value("jsonb", 2), ")"], columns)
            }
            _ => {
                let fits = |function: &&super::schema::Function| {
                    !function.outs.is_empty() || self.schema.rows.contains_key(&function.result)
                };
                let fitting: Vec<_> = self.schema.functions.iter().filter(fits).cloned().collect();
                let function = self.random.one(&fitting).clone();
                let columns = match self.schema.rows.get(&function.result) {
                    Some(columns) => columns.clone(),
                    None => function.outs.clone(),
                };
                (self.call(&function, 2), columns)
            }
        };
        let counted = self.random.chance(25);
        if counted {
            columns.push(column("ordinality", "bigint"));
        }
        let alias = self.alias(&taken);
        let columns = self.renamed(&columns);
        let names = self.names(&columns);
        let with = if counted { " WITH ORDINALITY" } else { "" };
        let item = Item { alias: alias.clone(), table: None, columns: columns.clone(), row: "record".to_owned() };
        let named = format!("{with} AS {}{names}", super::lexis::plain(&alias));
        let lateral = if self.random.chance(30) { "LATERAL " } else { "" };
        (pieces![lateral, text, named], Level { items: vec![item], bare: columns, grouped: None })
    }

    /// A join of two items: ON, USING, NATURAL, CROSS; sometimes with an alias of its own.
    fn join(&mut self, depth: usize) -> (Doc, Level) {
        let (left_text, left) = self.item(depth);
        let before = self.levels.0.last().cloned().unwrap();
        self.levels.0.last_mut().unwrap().extend(left.clone());
        let (right_text, right) = self.item(depth);
        *self.levels.0.last_mut().unwrap() = before.clone();
        let once = |level: &Level, name: &str| level.bare.iter().filter(|column| column.name == name).count() == 1;
        let shared: Vec<Column> = left
            .bare
            .iter()
            .filter(|column| once(&left, &column.name) && once(&right, &column.name))
            .filter(|column| right.bare.iter().any(|other| other.name == column.name && other.kind == column.kind))
            .cloned()
            .collect();
        let how = *self.random.one(&["JOIN", "LEFT JOIN", "RIGHT OUTER JOIN", "FULL JOIN", "INNER JOIN"]);
        let mut level = Level::default();
        level.items.extend(left.items.clone());
        level.items.extend(right.items.clone());
        if shared.is_empty() || self.random.chance(40) {
            level.bare = left.bare.iter().chain(&right.bare).cloned().collect();
            let text = if self.random.chance(15) {
                pieces![left_text, " CROSS JOIN ", right_text]
            } else {
                *self.levels.0.last_mut().unwrap() = level.clone();
                let condition = self.value("boolean", 2);
                *self.levels.0.last_mut().unwrap() = before;
                pieces![left_text, format!(" {how} "), right_text, " ON ", condition]
            };
            return self.join_alias(text, level);
        }
        let natural = self.random.chance(30) && Self::naturally(&left, &right, &shared);
        let using: Vec<Column> = if natural || self.random.chance(40) { shared } else { shared[..1].to_vec() };
        let rest =
            left.bare.iter().chain(&right.bare).filter(|column| using.iter().all(|used| used.name != column.name));
        level.bare = using.iter().chain(rest).cloned().collect();
        if natural {
            let text = pieces![left_text, format!(" NATURAL {how} "), right_text];
            return self.join_alias(text, level);
        }
        let names = self.names(&using);
        let mut text = pieces![left_text, format!(" {how} "), right_text, format!(" USING {names}")];
        if self.random.chance(20) {
            let taken = self.taken_with(&level);
            let alias = self.alias(&taken);
            text = pieces![text, format!(" AS {}", super::lexis::plain(&alias))];
            level.items.push(Item { alias, table: None, columns: using, row: "record".to_owned() });
            return (text, level);
        }
        self.join_alias(text, level)
    }

    /// Whether a natural join takes just the shared columns, each from one on either side.
    fn naturally(left: &Level, right: &Level, shared: &[Column]) -> bool {
        let common = left.bare.iter().filter(|column| right.bare.iter().any(|other| other.name == column.name));
        common.count() == shared.len()
    }

    fn taken_with(&self, level: &Level) -> Vec<String> {
        let mut taken = self.taken();
        taken.extend(level.items.iter().map(|item| item.alias.clone()));
        taken
    }

    /// `(a JOIN b …) AS j (c1, …)`, which hides the names within; or plain.
    fn join_alias(&mut self, text: Doc, level: Level) -> (Doc, Level) {
        if !self.random.chance(20) {
            return (pieces!["(", text, ")"], level);
        }
        let taken = self.taken_with(&level);
        let (alias, columns, named) = self.aliased("", &level.bare, true, &taken);
        let item = Item { alias, table: None, columns: columns.clone(), row: "record".to_owned() };
        (pieces!["(", text, ")", named], Level { items: vec![item], bare: columns, grouped: None })
    }
}
