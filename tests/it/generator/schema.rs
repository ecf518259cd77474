//! The tables, row types and functions of a live schema, as the generator needs them.

use std::collections::BTreeMap;

use tokio_postgres::Client;

/// A column: of a table, of a query, of a row type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, unquoted; empty where no statement can say it.
    pub name: String,
    /// Its type; a domain counts as what it is a domain of.
    pub kind: String,
    /// Whether a statement may give it a value.
    pub writable: bool,
}

/// A table, view or materialized view.
#[derive(Clone, Debug)]
pub struct Table {
    pub schema: String,
    pub name: String,
    /// `relkind`.
    pub kind: char,
    pub columns: Vec<Column>,
    /// Whether INSERT, UPDATE and DELETE are taken.
    pub writable: bool,
    /// The columns of its unique keys.
    pub keys: Vec<Vec<String>>,
    /// Whether the search path means it by its bare name.
    pub visible: bool,
}

/// A function of the schema's own.
#[derive(Clone, Debug)]
pub struct Function {
    pub schema: String,
    pub name: String,
    pub arguments: Vec<Column>,
    /// How many of the last arguments may be left out.
    pub defaults: usize,
    pub variadic: bool,
    /// Its result; `record` where its columns are `outs`.
    pub result: String,
    pub set: bool,
    pub aggregate: bool,
    pub outs: Vec<Column>,
}

/// What the generator speaks about.
#[derive(Debug, Default)]
pub struct Schema {
    pub database: String,
    pub tables: Vec<Table>,
    pub functions: Vec<Function>,
    /// The columns of each row type.
    pub rows: BTreeMap<String, Vec<Column>>,
}

const COLUMNS: &str = "
    SELECT n.nspname::text, c.relname::text, c.relkind::text, a.attname::text,
           format_type(CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END, NULL),
           a.attgenerated = '' AND a.attidentity <> 'a'
               AND (c.relkind IN ('r', 'p') OR pg_column_is_updatable(c.oid, a.attnum, true)),
           c.relkind IN ('r', 'p') OR pg_relation_is_updatable(c.oid, true) & 28 = 28,
           pg_table_is_visible(c.oid), format_type(c.reltype, NULL)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE n.nspname IN ('gen', 'second') AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'c')
    ORDER BY c.oid, a.attnum";

const KEYS: &str = "
    SELECT n.nspname::text, c.relname::text, array_agg(a.attname::text ORDER BY a.attnum)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
    WHERE i.indisunique AND n.nspname IN ('gen', 'second') GROUP BY i.indexrelid, n.nspname, c.relname ORDER BY 1, 2, 3";

const FUNCTIONS: &str = "
    SELECT n.nspname::text, p.proname::text, p.pronargdefaults::int, p.provariadic <> 0, format_type(p.prorettype, NULL),
           p.proretset, p.prokind = 'a',
           ARRAY(SELECT format_type(x, NULL) FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY u (x, o) ORDER BY o),
           coalesce(p.proargnames, '{}'), coalesce(p.proargmodes::text[], '{}')
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname IN ('gen', 'second') AND p.prorettype <> 'trigger'::regtype ORDER BY p.oid";

impl Schema {
    /// Reads it; the search path is the one that statements will run under.
    pub async fn read(client: &Client) -> Self {
        let mut schema = Self::default();
        schema.database = client.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0);
        for row in client.query(COLUMNS, &[]).await.unwrap() {
            let (space, name, kind): (String, String, String) = (row.get(0), row.get(1), row.get(2));
            let column = Column { name: row.get(3), kind: row.get(4), writable: row.get(5) };
            schema.rows.entry(row.get(8)).or_default().push(column.clone());
            if kind == "c" {
                continue;
            }
            match schema.tables.iter_mut().find(|table| table.schema == space && table.name == name) {
                Some(table) => table.columns.push(column),
                None => schema.tables.push(Table {
                    schema: space,
                    name,
                    kind: kind.chars().next().unwrap(),
                    columns: vec![column],
                    writable: row.get(6),
                    keys: Vec::new(),
                    visible: row.get(7),
                }),
            }
        }
        for row in client.query(KEYS, &[]).await.unwrap() {
            let (space, name): (String, String) = (row.get(0), row.get(1));
            let table = schema.tables.iter_mut().find(|table| table.schema == space && table.name == name);
            table.unwrap().keys.push(row.get(2));
        }
        for row in client.query(FUNCTIONS, &[]).await.unwrap() {
            schema.functions.push(function(&row));
        }
        schema
    }

    /// The row type of a table.
    pub fn row_type(table: &Table) -> String {
        format!("{}.{}", super::lexis::quoted(&table.schema), super::lexis::plain(&table.name))
    }
}

fn function(row: &tokio_postgres::Row) -> Function {
    let (types, names, modes): (Vec<String>, Vec<String>, Vec<String>) = (row.get(7), row.get(8), row.get(9));
    let (mut arguments, mut outs) = (Vec::new(), Vec::new());
    for (place, kind) in types.into_iter().enumerate() {
        let name = names.get(place).cloned().unwrap_or_default();
        let column = Column { name, kind, writable: false };
        let mode = modes.get(place).map_or("i", String::as_str);
        if matches!(mode, "i" | "b" | "v") {
            arguments.push(column.clone());
        }
        if matches!(mode, "o" | "b" | "t") {
            outs.push(column);
        }
    }
    let defaults: i32 = row.get(2);
    Function {
        schema: row.get(0),
        name: row.get(1),
        arguments,
        defaults: usize::try_from(defaults).unwrap(),
        variadic: row.get(3),
        result: row.get(4),
        set: row.get(5),
        aggregate: row.get(6),
        outs,
    }
}
