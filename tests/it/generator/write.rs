//! INSERT, UPDATE, DELETE and MERGE with all their clauses.

use super::doc::{Doc, pieces};
use super::maker::Maker;
use super::query;
use super::schema::{Column, Schema, Table};
use super::scope::{Item, Level};

/// A statement that writes.
pub fn statement(maker: &mut Maker<'_>) -> Doc {
    let with = maker.with(2, true);
    let merges = with.text().is_empty();
    let (text, _) = written(maker, merges);
    pieces![with, text]
}

/// A statement that writes and gives rows back, for WITH.
pub fn returning(maker: &mut Maker<'_>) -> (Doc, Vec<Column>) {
    let ctes = maker.ctes.len();
    let levels = std::mem::take(&mut maker.levels);
    let made = written(maker, false);
    maker.levels = levels;
    maker.ctes.truncate(ctes);
    made
}

fn written(maker: &mut Maker<'_>, merges: bool) -> (Doc, Vec<Column>) {
    let writable: Vec<Table> = maker.schema.tables.iter().filter(|table| table.writable).cloned().collect();
    let table = maker.random.one(&writable).clone();
    match maker.random.below(if merges { 10 } else { 8 }) {
        0..3 => insert(maker, &table),
        3..6 => update(maker, &table),
        6..8 => delete(maker, &table),
        _ => (merge(maker), Vec::new()),
    }
}

/// The target with an alias at times; its level.
fn target(maker: &mut Maker<'_>, table: &Table, only: &str) -> (String, Level) {
    let aliased = maker.random.chance(40);
    let alias = if aliased { maker.alias(&["excluded".to_owned()]) } else { table.name.clone() };
    let name = maker.table_name(table);
    let text =
        if aliased { format!("{only}{name} AS {}", super::lexis::plain(&alias)) } else { format!("{only}{name}") };
    let of = (!aliased).then(|| (table.schema.clone(), table.name.clone()));
    let item = Item { alias, table: of, columns: table.columns.clone(), row: Schema::row_type(table) };
    (text, Level { items: vec![item], bare: table.columns.clone(), grouped: None })
}

fn back(maker: &mut Maker<'_>) -> (Doc, Vec<Column>) {
    let places = maker.levels.columns(None);
    let (mut pieces, mut columns) = (Vec::new(), Vec::new());
    if maker.random.chance(20) {
        let bare = maker.levels.0.last().unwrap().bare.clone();
        return (pieces![" RETURNING *"], bare);
    }
    for _ in 0..=maker.random.below(3) {
        if places.is_empty() {
            break;
        }
        let kind = maker.some_kind();
        let name = maker.fresh_name();
        pieces.push(pieces![maker.value(&kind, 2), format!(" AS {}", super::lexis::plain(&name))]);
        columns.push(Column { name, kind, writable: false });
    }
    if pieces.is_empty() {
        return (
            pieces![" RETURNING 1"],
            vec![Column { name: String::new(), kind: "integer".into(), writable: false }],
        );
    }
    (pieces![" RETURNING ", Doc::list(pieces)], columns)
}

fn insert(maker: &mut Maker<'_>, table: &Table) -> (Doc, Vec<Column>) {
    let writable: Vec<Column> = table.columns.iter().filter(|column| column.writable).cloned().collect();
    let mut chosen: Vec<Column> = writable.iter().filter(|_| maker.random.chance(60)).cloned().collect();
    if chosen.is_empty() {
        chosen = writable;
    }
    let (text, level) = target(maker, table, "");
    let names = maker.names(&chosen);
    let kinds: Vec<String> = chosen.iter().map(|column| column.kind.clone()).collect();
    let source = match maker.random.below(5) {
        0 => " DEFAULT VALUES".into(),
        1 => {
            let mut row = Vec::new();
            for kind in &kinds {
                row.push(if maker.random.chance(15) { "DEFAULT".into() } else { maker.value(kind, 2) });
            }
            pieces![format!(" {names} VALUES ("), Doc::fixed(row), ")"]
        }
        _ => {
            let (query, _) = query::select(maker, Some(&kinds), 2);
            let over = if maker.random.chance(10) { " OVERRIDING USER VALUE" } else { "" };
            pieces![format!(" {names}{over} "), query]
        }
    };
    maker.levels.0.push(level);
    let conflict = conflict(maker, table);
    let (given, columns) = back(maker);
    maker.levels.0.pop();
    (pieces!["INSERT INTO ", text, source, Doc::optional(conflict), Doc::optional(given)], columns)
}

/// ON CONFLICT over a unique key, where the table has one.
fn conflict(maker: &mut Maker<'_>, table: &Table) -> Doc {
    if !maker.random.chance(40) || table.keys.is_empty() {
        return Doc::empty();
    }
    let key = maker.random.one(&table.keys).clone();
    let key: Vec<String> = key.iter().map(|name| maker.name(name)).collect();
    if maker.random.chance(30) {
        return format!(" ON CONFLICT ({}) DO NOTHING", key.join(", ")).into();
    }
    let excluded = Item { alias: "excluded".into(), table: None, columns: table.columns.clone(), row: "record".into() };
    let level = maker.levels.0.last_mut().unwrap();
    let bare = level.bare.clone();
    level.bare = level.bare.iter().chain(&table.columns).cloned().collect();
    level.items.push(excluded);
    let set = assignments(maker, table);
    let filter = maker.random.chance(50).then(|| pieces![" WHERE ", maker.value("boolean", 2)]);
    let level = maker.levels.0.last_mut().unwrap();
    level.items.pop();
    level.bare = bare;
    let filter = Doc::optional(filter.unwrap_or_else(Doc::empty));
    pieces![format!(" ON CONFLICT ({}) DO UPDATE SET ", key.join(", ")), set, filter]
}

/// SET: single columns, lists from a row or a query, defaults.
fn assignments(maker: &mut Maker<'_>, table: &Table) -> Doc {
    let mut left: Vec<Column> = table.columns.iter().filter(|column| column.writable).cloned().collect();
    let mut pieces = Vec::new();
    for _ in 0..=maker.random.below(3) {
        if left.is_empty() {
            break;
        }
        let place = maker.random.below(left.len());
        let column = left.remove(place);
        let name = maker.name(&column.name);
        let first = pieces![format!("{name} = "), maker.value(&column.kind, 2)];
        pieces.push(match maker.random.below(6) {
            0 => format!("{name} = DEFAULT").into(),
            1 if !left.is_empty() => {
                let other = left.remove(0);
                let kinds = [column.kind.clone(), other.kind.clone()];
                let names = format!("({name}, {})", maker.name(&other.name));
                if maker.random.chance(50) {
                    let (query, _) = query::select(maker, Some(&kinds), 2);
                    pieces![format!("{names} = ("), query, ")"]
                } else {
                    pieces![format!("{names} = ROW("), maker.value(&kinds[0], 1), ", ", maker.value(&kinds[1], 1), ")"]
                }
            }
            _ => first,
        });
    }
    Doc::list(pieces)
}

fn update(maker: &mut Maker<'_>, table: &Table) -> (Doc, Vec<Column>) {
    let only = if maker.random.chance(10) { "ONLY " } else { "" };
    let (text, level) = target(maker, table, only);
    let from = beside(maker, level);
    let set = assignments(maker, table);
    let filter = pieces![" WHERE ", maker.value("boolean", 3)];
    let (given, columns) = back(maker);
    maker.levels.0.pop();
    let from = from.map_or_else(Doc::empty, |from| pieces![" FROM ", from]);
    let text = pieces!["UPDATE ", text, " SET ", set, Doc::optional(from), Doc::optional(filter), Doc::optional(given)];
    (text, columns)
}

fn delete(maker: &mut Maker<'_>, table: &Table) -> (Doc, Vec<Column>) {
    let only = if maker.random.chance(10) { "ONLY " } else { "" };
    let (text, level) = target(maker, table, only);
    let from = beside(maker, level);
    let filter = pieces![" WHERE ", maker.value("boolean", 3)];
    let (given, columns) = back(maker);
    maker.levels.0.pop();
    let from = from.map_or_else(Doc::empty, |from| pieces![" USING ", from]);
    (pieces!["DELETE FROM ", text, Doc::optional(from), Doc::optional(filter), Doc::optional(given)], columns)
}

/// What stands beside the target, at times; the level of both becomes the innermost one.
fn beside(maker: &mut Maker<'_>, level: Level) -> Option<Doc> {
    let from = maker.random.chance(50).then(|| maker.from(1));
    let mut whole = level;
    if from.is_some() {
        whole.extend(maker.levels.0.pop().unwrap());
    }
    maker.levels.0.push(whole);
    from
}

fn merge(maker: &mut Maker<'_>) -> Doc {
    let plain: Vec<Table> =
        maker.schema.tables.iter().filter(|table| matches!(table.kind, 'r' | 'p')).cloned().collect();
    let table = maker.random.one(&plain).clone();
    let (text, level) = target(maker, &table, "");
    let source = maker.from(0);
    let beside = maker.levels.0.pop().unwrap();
    let mut both = level;
    both.extend(beside.clone());
    maker.levels.0.push(both);
    let on = maker.value("boolean", 2);
    let set = assignments(maker, &table);
    let when = maker.random.chance(50).then(|| Doc::optional(pieces![" AND ", maker.value("boolean", 1)]));
    maker.levels.0.pop();
    maker.levels.0.push(beside);
    let chosen: Vec<Column> = table.columns.iter().filter(|column| column.writable).take(3).cloned().collect();
    let names = maker.names(&chosen);
    let row = chosen.iter().map(|column| maker.value(&column.kind, 1)).collect();
    maker.levels.0.pop();
    let updates = pieces![" WHEN MATCHED", when.unwrap_or_else(Doc::empty), " THEN UPDATE SET ", set];
    let inserts = pieces![format!(" WHEN NOT MATCHED THEN INSERT {names} VALUES ("), Doc::fixed(row), ")"];
    let deletes = if maker.random.chance(30) { " WHEN MATCHED THEN DELETE" } else { "" };
    pieces![
        "MERGE INTO ",
        text,
        " USING ",
        source,
        " ON ",
        on,
        Doc::optional(updates),
        Doc::optional(deletes.into()),
        Doc::optional(inserts)
    ]
}
