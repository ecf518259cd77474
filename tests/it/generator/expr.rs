//! Values of a type: columns, calls, operators, subqueries.

use super::doc::{Doc, pieces};
use super::maker::Maker;
use super::schema::Function;
use super::{lexis, query};

/// Result type, template, and the types of its `$`; `any` is a type of its own choice, `same` one for all.
const FORMS: &[(&str, &str, &[&str])] = &[
    ("text", "upper($)", &["text"]),
    ("text", "($ || $)", &["text", "text"]),
    ("text", "substring($ FROM 1 FOR $)", &["text", "integer"]),
    ("text", "overlay($ PLACING $ FROM 2)", &["text", "text"]),
    ("text", "trim(BOTH $ FROM $)", &["text", "text"]),
    ("text", "format('%s %s', $, $)", &["any", "any"]),
    ("text", "concat_ws(',', $, $)", &["text", "any"]),
    ("text", "CAST($ AS text)", &["any"]),
    ("text", "($)::text", &["any"]),
    ("text", "($ COLLATE \"C\")", &["text"]),
    ("text", "($)[$]", &["text[]", "integer"]),
    ("text", "($ ->> 'a')", &["jsonb"]),
    ("text", "($ #>> '{a,b}')", &["jsonb"]),
    ("text", "to_char($, 'YYYY')", &["timestamp with time zone"]),
    ("text", "lower($)", &["text"]),
    ("text", "pg_catalog.lower($)", &["text"]),
    ("text", "xmlserialize(CONTENT $ AS text)", &["xml"]),
    ("text", "array_to_string($, ',')", &["text[]"]),
    ("text", "gen.first($, $)", &["text", "text"]),
    ("integer", "length($)", &["text"]),
    ("integer", "($ + $)", &["integer", "integer"]),
    ("integer", "(- $)", &["integer"]),
    ("integer", "($ OPERATOR(pg_catalog.*) $)", &["integer", "integer"]),
    ("integer", "position($ IN $)", &["text", "text"]),
    ("integer", "extract(year FROM $)::integer", &["date"]),
    ("integer", "($)[1]", &["integer[]"]),
    ("integer", "cardinality($)", &["text[]"]),
    ("integer", "lower($)", &["int4range"]),
    ("integer", "($)::integer", &["numeric"]),
    ("bigint", "($)::bigint", &["integer"]),
    ("bigint", "($ - $)", &["bigint", "integer"]),
    ("numeric", "($ / nullif($, 0))", &["numeric", "numeric"]),
    ("numeric", "round($, $)", &["numeric", "integer"]),
    ("numeric", "CAST($ AS numeric(10, 2))", &["integer"]),
    ("boolean", "($ = $)", &["same", "same"]),
    ("boolean", "($ <> $)", &["same", "same"]),
    ("boolean", "($ IS DISTINCT FROM $)", &["same", "same"]),
    ("boolean", "($ BETWEEN $ AND $)", &["integer", "integer", "integer"]),
    ("boolean", "($ BETWEEN SYMMETRIC $ AND $)", &["date", "date", "date"]),
    ("boolean", "($ < $)", &["text", "text"]),
    ("boolean", "($ LIKE $)", &["text", "text"]),
    ("boolean", "($ SIMILAR TO $)", &["text", "text"]),
    ("boolean", "($ ~* $)", &["text", "text"]),
    ("boolean", "($ IS NULL)", &["any"]),
    ("boolean", "($ IN ($, $))", &["same", "same", "same"]),
    ("boolean", "($ AND $)", &["boolean", "boolean"]),
    ("boolean", "($ OR NOT $)", &["boolean", "boolean"]),
    ("boolean", "($ IS NOT TRUE)", &["boolean"]),
    ("boolean", "(($, $) < ($, $))", &["integer", "text", "integer", "text"]),
    ("boolean", "(ROW($, $) IS NOT DISTINCT FROM ROW($, $))", &["integer", "text", "integer", "text"]),
    ("boolean", "($ = ANY ($))", &["text", "text[]"]),
    ("boolean", "($ <> ALL ($))", &["integer", "integer[]"]),
    ("boolean", "($ @> $)", &["jsonb", "jsonb"]),
    ("boolean", "($ ? 'a')", &["jsonb"]),
    ("boolean", "($ @> $)", &["int4range", "integer"]),
    ("boolean", "($ OPERATOR(gen.=~=) $)", &["text", "integer"]),
    ("boolean", "(($, $) OVERLAPS ($, $))", &["date", "date", "date", "date"]),
    ("date", "($)::date", &["timestamp with time zone"]),
    ("date", "($ + $)", &["date", "integer"]),
    ("timestamp with time zone", "date_trunc('month', $)", &["timestamp with time zone"]),
    ("timestamp with time zone", "($ - interval '1 day')", &["timestamp with time zone"]),
    ("timestamp with time zone", "($ AT TIME ZONE 'UTC')::timestamptz", &["timestamp with time zone"]),
    ("jsonb", "to_jsonb($)", &["any"]),
    ("jsonb", "jsonb_build_object('k', $, $, 1)", &["any", "text"]),
    ("jsonb", "($ -> 'a')", &["jsonb"]),
    ("jsonb", "($)['a']", &["jsonb"]),
    ("jsonb", "($ || $)", &["jsonb", "jsonb"]),
    ("jsonb", "jsonb_path_query_first($, '$.a')", &["jsonb"]),
    ("text[]", "ARRAY[$, $]", &["text", "text"]),
    ("text[]", "($)[1:$]", &["text[]", "integer"]),
    ("text[]", "string_to_array($, $)", &["text", "text"]),
    ("text[]", "($ || $)", &["text[]", "text"]),
    ("integer[]", "ARRAY[$]", &["integer"]),
    ("integer[]", "array_append($, $)", &["integer[]", "integer"]),
    ("int4range", "int4range($, $)", &["integer", "integer"]),
    ("xml", "xmlelement(NAME x, xmlattributes($ AS y), $)", &["text", "any"]),
    ("xml", "xmlforest($ AS a, $ AS b)", &["any", "any"]),
    ("gen.address", "ROW($, $, $)::gen.address", &["text", "text", "integer"]),
];

const AGGREGATES: &[(&str, &str, &[&str])] = &[
    ("bigint", "count(*)", &[]),
    ("bigint", "count(DISTINCT $)", &["same"]),
    ("bigint", "count($)", &["any"]),
    ("bigint", "sum($)", &["integer"]),
    ("numeric", "avg($)", &["integer"]),
    ("numeric", "sum($)", &["numeric"]),
    ("text", "max($)", &["text"]),
    ("text", "string_agg($, ',' ORDER BY $)", &["text", "same"]),
    ("text", "gen.joined_text($)", &["text"]),
    ("integer", "min($)", &["integer"]),
    ("integer", "percentile_disc(0.5) WITHIN GROUP (ORDER BY $)", &["integer"]),
    ("text", "mode() WITHIN GROUP (ORDER BY $)", &["text"]),
    ("text[]", "array_agg($ ORDER BY $ DESC)", &["text", "same"]),
    ("boolean", "bool_or($)", &["boolean"]),
    ("jsonb", "jsonb_agg($)", &["any"]),
    ("jsonb", "jsonb_object_agg(coalesce($, ''), $)", &["text", "any"]),
    ("date", "max($)", &["date"]),
];

const WINDOWS: &[(&str, &str, &[&str])] = &[
    ("bigint", "row_number()", &[]),
    ("bigint", "rank()", &[]),
    ("text", "first_value($)", &["text"]),
    ("text", "lag($, 1, $)", &["text", "text"]),
    ("integer", "nth_value($, 2)", &["integer"]),
    ("bigint", "sum($)", &["integer"]),
    ("bigint", "count(*)", &[]),
    ("text", "string_agg($, ',')", &["text"]),
];

impl Maker<'_> {
    /// A value of a type.
    pub(super) fn value(&mut self, kind: &str, depth: usize) -> Doc {
        let inner = if depth == 0 || !self.spend() { self.leaf(kind) } else { self.value_of(kind, depth - 1) };
        Doc::value(kind, inner)
    }

    fn leaf(&mut self, kind: &str) -> Doc {
        let column = if self.random.chance(85) { self.column(kind) } else { None };
        column.unwrap_or_else(|| self.literal(kind))
    }

    fn literal(&mut self, kind: &str) -> Doc {
        let text = match kind {
            "integer" => self.random.below(100).to_string(),
            "text" => format!("{}::text", lexis::literal("x", &mut self.random)),
            "boolean" => (*self.random.one(&["true", "false"])).to_owned(),
            "numeric" => "1.5".to_owned(),
            "date" => "DATE '2024-02-29'".to_owned(),
            "jsonb" => "'{\"a\":1}'::jsonb".to_owned(),
            "text[]" => "'{a,b}'::text[]".to_owned(),
            _ => format!("NULL::{kind}"),
        };
        text.into()
    }

    fn value_of(&mut self, kind: &str, depth: usize) -> Doc {
        let made = match self.random.below(100) {
            0..30 => Some(self.leaf(kind)),
            30..60 => self.form(FORMS, kind, depth),
            60..67 => Some(self.scalar(kind, depth)),
            67..73 => Some(self.choice(kind, depth)),
            73..78 => self.own_function(kind, depth),
            78..86 => self.aggregate(kind, depth),
            86..91 => self.windowed(kind, depth),
            91..95 => self.field(kind, depth),
            _ => self.special(kind, depth),
        };
        made.unwrap_or_else(|| self.leaf(kind))
    }

    /// One of the forms that give a type.
    fn form(&mut self, forms: &[(&str, &str, &[&str])], kind: &str, depth: usize) -> Option<Doc> {
        let fitting: Vec<_> = forms.iter().filter(|form| form.0 == kind).collect();
        if fitting.is_empty() {
            return None;
        }
        let (_, template, kinds) = **self.random.one(&fitting);
        let same = (*self.random.one(&["integer", "text", "date", "numeric"])).to_owned();
        let mut values = Vec::new();
        for kind in kinds {
            values.push(match *kind {
                "any" if self.random.chance(20) => self.whole_row().unwrap_or_else(|| "NULL::text".into()),
                "any" => {
                    let kind = self.some_kind();
                    self.value(&kind, depth)
                }
                "same" => self.value(&same, depth),
                kind => self.value(kind, depth),
            });
        }
        // A path of JSON begins with a dollar of its own.
        Some(match template.strip_suffix(", '$.a')") {
            Some(start) => pieces![Doc::fill(start, values), ", '$.a')"],
            None => Doc::fill(template, values),
        })
    }

    /// An item as a row: `t`, `t.*` in ROW, or its text.
    pub(super) fn whole_row(&mut self) -> Option<Doc> {
        let mut found = Vec::new();
        for (level, scope) in self.levels.0.iter().enumerate() {
            for item in 0..scope.items.len() {
                if scope.grouped.is_none() && self.levels.qualifies(level, item) {
                    found.push(scope.items[item].alias.clone());
                }
            }
        }
        if found.is_empty() {
            return None;
        }
        let alias = self.random.one(&found).clone();
        let alias = self.name(&alias);
        Some(match self.random.below(4) {
            0 => format!("ROW({alias}.*, 1)").into(),
            1 => format!("({alias})").into(),
            _ => alias.into(),
        })
    }

    /// A query whose one value it is.
    fn scalar(&mut self, kind: &str, depth: usize) -> Doc {
        let (query, _) = query::select(self, Some(&[kind.to_owned()]), depth.min(2));
        pieces!["(", query, ")"]
    }

    fn choice(&mut self, kind: &str, depth: usize) -> Doc {
        let first = self.value(kind, depth);
        let second = self.value(kind, depth);
        match self.random.below(4) {
            0 => {
                let test = self.value("boolean", depth);
                pieces!["CASE WHEN ", test, " THEN ", first, Doc::optional(pieces![" ELSE ", second]), " END"]
            }
            1 => {
                let test = self.value("integer", depth);
                pieces!["CASE ", test, " WHEN 1 THEN ", first, " ELSE ", second, " END"]
            }
            2 if kind != "xml" => pieces!["nullif(", first, ", ", second, ")"],
            _ => pieces!["coalesce(", first, ", ", second, ")"],
        }
    }

    /// A field of a composite value.
    fn field(&mut self, kind: &str, depth: usize) -> Option<Doc> {
        let mut found = Vec::new();
        for (row, columns) in &self.schema.rows {
            let fields = columns.iter().filter(|column| column.kind == kind);
            found.extend(fields.map(|column| (row.clone(), column.name.clone())));
        }
        // What is in sight comes first.
        let seen: Vec<_> =
            found.iter().filter(|(row, _)| !self.levels.columns(Some(row)).is_empty()).cloned().collect();
        let pool = if seen.is_empty() { found } else { seen };
        if pool.is_empty() {
            return None;
        }
        let (row, field) = self.random.one(&pool).clone();
        let value = self.value(&row, depth);
        Some(pieces!["(", value, format!(").{}", self.name(&field))])
    }

    fn aggregate(&mut self, kind: &str, depth: usize) -> Option<Doc> {
        if !self.aggregates {
            return None;
        }
        let level = self.levels.0.last_mut()?;
        let (grouped, windows) = (level.grouped.take(), self.windows);
        (self.aggregates, self.windows) = (false, false);
        let made = self.form(AGGREGATES, kind, depth.min(2));
        let filter = self.value("boolean", depth.min(1));
        (self.aggregates, self.windows) = (true, windows);
        self.levels.0.last_mut()?.grouped = grouped;
        let filter = self.random.chance(20).then(|| Doc::optional(pieces![" FILTER (WHERE ", filter, ")"]));
        Some(pieces![made?, filter.unwrap_or_else(Doc::empty)])
    }

    fn windowed(&mut self, kind: &str, depth: usize) -> Option<Doc> {
        if !self.windows {
            return None;
        }
        self.windows = false;
        let made = self.form(WINDOWS, kind, depth.min(2));
        let over = if self.random.chance(20) { "w".into() } else { pieces!["(", self.window("w"), ")"] };
        self.windows = true;
        Some(pieces![made?, " OVER ", over])
    }

    /// What stands in the parentheses of OVER or WINDOW.
    pub(super) fn window(&mut self, inherits: &str) -> Doc {
        let kind = (*self.random.one(&["integer", "text"])).to_owned();
        let order = self.value(&kind, 1);
        if !inherits.is_empty() && self.random.chance(10) {
            return pieces![inherits, " ROWS UNBOUNDED PRECEDING"];
        }
        let part = self.value("text", 1);
        let frame = *self.random.one(&[
            "",
            " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW",
            " GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING EXCLUDE TIES",
        ]);
        let part = Doc::optional(pieces!["PARTITION BY ", part, " "]);
        pieces![part, "ORDER BY ", order, Doc::optional(frame.into())]
    }

    /// Subqueries that are tested, and what belongs to one type alone.
    fn special(&mut self, kind: &str, depth: usize) -> Option<Doc> {
        let depth = depth.min(2);
        match kind {
            "boolean" => Some(match self.random.below(5) {
                0 => {
                    let (query, _) = query::select(self, None, depth);
                    pieces!["EXISTS (", query, ")"]
                }
                1 => {
                    let (query, _) = query::select(self, Some(&["text".to_owned()]), depth);
                    pieces![self.value("text", depth), " IN (", query, ")"]
                }
                2 => {
                    let (query, _) = query::select(self, Some(&["integer".to_owned()]), depth);
                    let how = *self.random.one(&[" < ANY (", " = SOME (", " >= ALL ("]);
                    pieces!["(", self.value("integer", depth), how, query, "))"]
                }
                3 => {
                    let kinds = ["text".to_owned(), "integer".to_owned()];
                    let (query, _) = query::select(self, Some(&kinds), depth);
                    let (left, right) = (self.value("text", 1), self.value("integer", 1));
                    let how = *self.random.one(&[") = (", ") NOT IN (", ") < ("]);
                    pieces!["((", left, ", ", right, how, query, "))"]
                }
                _ => pieces!["(", self.whole_row()?, " IS NOT NULL)"],
            }),
            "text[]" | "integer[]" => {
                let (query, _) = query::select(self, Some(&[kind.trim_end_matches("[]").to_owned()]), depth);
                Some(pieces!["ARRAY(", query, ")"])
            }
            "text" => Some(pieces!["(", self.whole_row()?, ")::text"]),
            "jsonb" => Some(pieces!["to_jsonb(", self.whole_row()?, ")"]),
            _ => None,
        }
    }

    /// A call of a function of the schema's own that gives one value of the type.
    fn own_function(&mut self, kind: &str, depth: usize) -> Option<Doc> {
        let fits = |function: &&Function| {
            function.result == kind && !function.set && !function.aggregate && function.outs.is_empty()
        };
        let fitting: Vec<&Function> = self.schema.functions.iter().filter(fits).collect();
        if fitting.is_empty() {
            return None;
        }
        let function = (*self.random.one(&fitting)).clone();
        Some(self.call(&function, depth))
    }

    /// A call: positional or by name, defaults left out, more for VARIADIC.
    pub(super) fn call(&mut self, function: &Function, depth: usize) -> Doc {
        let count = function.arguments.len();
        let given = count - if self.random.chance(50) { function.defaults } else { 0 };
        let mut values = Vec::new();
        let named = self.random.chance(25) && function.arguments.iter().all(|argument| !argument.name.is_empty());
        for argument in &function.arguments[..given] {
            let value = self.value(&argument.kind, depth);
            values.push(if function.variadic {
                pieces!["VARIADIC ", value]
            } else if named {
                pieces![self.name(&argument.name), " => ", value]
            } else {
                value
            });
        }
        let schema = if self.random.chance(50) { "gen." } else { "" };
        let name = self.name(&function.name);
        pieces![format!("{schema}{name}("), Doc::fixed(values), ")"]
    }
}
