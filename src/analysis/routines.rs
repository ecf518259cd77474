//! Functions, operators and casts: what calling them touches, by their bodies.

use std::sync::Arc;

use super::analyzer::{Analyzer, Reader, Reading};
use super::builtins::{self, Builtin};
use super::facts::Kind;
use super::parse::{ConstValue, Node, constant_text, nodes, strings};
use super::scope::{Scope, sources};
use super::touch::{ColumnId, Field, PROBE, REVEAL, SORT, Sources, Touched, Value, WRITE};
use super::ways::Turn;
use super::work::weight;
use super::{plpgsql, relation_name};
use crate::catalog::{Function, Language, Oid, SearchPath};

/// Why a function is opaque whose body the session's strings make another one.
const BACKSLASH: &str = "standard_conforming_strings is off and the body of a function holds a backslash";

/// What a function's body comes to.
#[derive(Debug)]
pub(super) struct Body {
    /// The columns of its result, in order.
    pub(super) fields: Vec<Field>,
    pub(super) touched: Touched,
}

impl Analyzer<'_> {
    /// A call as the text has it.
    pub(super) fn call(&mut self, call: &nodes::FuncCall, scope: &Scope<'_>) -> Value {
        let names = strings(call.funcname());
        // Taken before the arguments are read, which may call others of its name.
        let exact = self.called.take();
        let exact = exact.and_then(|oid| self.candidates(&names).into_iter().find(|function| function.oid == oid));
        let mut arguments = self.row_arguments(call.args(), scope);
        for sort in call.agg_order() {
            if call.agg_within_group {
                arguments.push(self.expr(sort.node(), scope));
            } else {
                self.probe_as(sort.node(), scope, PROBE | SORT);
            }
        }
        self.filter_and_window(call, scope);
        if let Some(name) = names.last()
            && let Some(what) = self.builtin_of(&names, name)
        {
            self.literal_arguments(what, call, &arguments, scope);
        }
        match exact {
            Some(function) => self.apply(&[function], &arguments),
            None => self.call_named(&names, &arguments).unwrap_or_default(),
        }
    }

    /// The arguments; `t.*` is one argument, the row.
    fn row_arguments(&mut self, list: &super::parse::NodeList, scope: &Scope<'_>) -> Vec<Value> {
        list.iter().map(|node| self.expr(node, scope)).collect()
    }

    fn filter_and_window(&mut self, call: &nodes::FuncCall, scope: &Scope<'_>) {
        self.probe_expr(call.agg_filter(), scope);
        if let Some(window) = call.over() {
            self.window(window, scope);
        }
    }

    /// What is known of a name, where it means a function of the server or of an extension.
    fn builtin_of(&self, names: &[&str], name: &str) -> Option<Builtin> {
        match names {
            [_] | ["pg_catalog", _] => builtins::builtin(name),
            _ => None,
        }
        .or_else(|| {
            let found = self.candidates(names);
            let compiled =
                found.iter().find(|function| !function.is_built_in() && function.language() == Language::Compiled)?;
            builtins::extension(compiled.extension.as_deref(), name)
        })
    }

    /// What the literals among the arguments say.
    fn literal_arguments(&mut self, what: Builtin, call: &nodes::FuncCall, values: &[Value], scope: &Scope<'_>) {
        let literal = |place: usize| call.args().get(place).and_then(constant_text);
        match what {
            Builtin::RunsSql(place) => {
                let found: Vec<String> = (place..call.args().len()).filter_map(literal).collect();
                match literal(place) {
                    Some(text) => {
                        self.run_literal(&text, scope);
                        // `crosstab(source, categories)` runs its second text too.
                        for other in found.iter().skip(1).filter(|text| looks_like_sql(text)) {
                            self.run_literal(other, scope);
                        }
                    }
                    None => self.touched.opaque("it runs SQL that is not in its text"),
                }
                self.touched.packs = true;
            }
            Builtin::ReadsRelation(place) => match literal(place) {
                Some(name) => self.read_named(&name),
                None => self.touched.opaque("it reads a relation that its text does not name"),
            },
            Builtin::SetConfig => self.set_config_call(call, values),
            Builtin::Fractions => {
                let single = call.args().get(0).is_some_and(is_number);
                self.touched.gathers |= !single && values.iter().any(|value| !value.sources.is_empty());
            }
            _ => {}
        }
    }

    /// SQL inside a literal: its result is revealed.
    fn run_literal(&mut self, text: &str, _scope: &Scope<'_>) {
        let Ok(tree) = self.parse(text) else {
            self.touched.opaque("SQL inside a literal cannot be read");
            return;
        };
        let top = Scope::default();
        for statement in tree.statements(text) {
            let fields = self.query_node(statement.node, &top);
            self.touched.mark(&sources(&fields), REVEAL);
        }
    }

    /// A relation named in a literal, as `regclass` reads it.
    fn read_named(&mut self, name: &str) {
        self.touched.packs = true;
        let (schema, name) = relation_name(name);
        match self.find_relation(schema.as_deref(), &name) {
            Some(relation) => {
                let fields = self.read_relation(&relation, Reading::Family);
                self.touched.mark(&sources(&fields), REVEAL);
            }
            None => self.touched.opaque(format!("relation \"{name}\" is not in the catalog")),
        }
    }

    pub(super) fn candidates(&self, names: &[&str]) -> Vec<Arc<Function>> {
        match names {
            [name] => self.catalog().find_functions(&self.path, name).cloned().collect(),
            [schema, name] | [_, schema, name] => self.catalog().functions_in(schema, name).to_vec(),
            _ => Vec::new(),
        }
    }

    /// A call by name; `None` where the name is neither a function nor a field of its only argument.
    pub(super) fn call_named(&mut self, names: &[&str], arguments: &[Value]) -> Option<Value> {
        let name = *names.last()?;
        let all = self.candidates(names);
        let mut found: Vec<Arc<Function>> =
            all.iter().filter(|function| function.takes(arguments.len())).cloned().collect();
        if found.is_empty() {
            found = all;
        }
        if let ([_], [argument]) = (names, arguments)
            && let Some(field) = self.with_fields(argument.clone()).field(name)
            && (found.is_empty() || found.iter().all(|function| function.is_built_in()))
        {
            // `email(c)` is `c.email`; where a function of the server has the name, its argument is no row.
            return Some(field.clone());
        }
        if found.is_empty() {
            if !is_syntax(name) {
                self.touched.opaque(format!("function \"{}\" is not in the catalog", names.join(".")));
            }
            return Some(combined(arguments).turned(Turn::Transform));
        }
        Some(self.apply(&found, arguments))
    }

    /// Calls every function that the name can mean.
    fn apply(&mut self, found: &[Arc<Function>], arguments: &[Value]) -> Value {
        let mut value = combined(arguments);
        let (own, built_in): (Vec<_>, Vec<_>) = found.iter().partition(|function| !function.is_built_in());
        if let Some(function) = built_in.first() {
            self.built_in(function, &value);
            value.type_oid = if built_in.len() == 1 { returned(function, arguments) } else { 0 };
            value.fields = out_fields(function, &value.sources);
            value = value.turned(Turn::of(function));
            if let ("array_agg" | "unnest", [rows]) = (&*function.name, arguments) {
                let row = self.with_fields(rows.clone()).fields;
                value.fields = row.map(|row| value.spread(&row));
                if &*function.name == "unnest" && value.type_oid == 0 {
                    value.type_oid = self.catalog().type_of(rows.type_oid).map_or(0, |array| array.element);
                }
            }
        }
        if !own.is_empty() {
            // Its result can be a row of another relation's columns: what it was asked with decides all the same.
            self.touched.mark(&value.sources, PROBE);
        }
        for function in own {
            self.touched.functions.insert(format!("{}.{}", function.schema, function.name));
            self.unsaid_arguments(function, arguments.len(), &mut value);
            let result = self.routine(function, &value);
            if let Some(fields) = &result.fields {
                value.fields = Some(Arc::clone(fields));
            }
            value.add(Value { fields: None, ..result });
            value.type_oid = function.returns;
            value = value.turned(Turn::of(function));
        }
        value
    }

    /// What runs before the body does: the checks of the arguments' types, and the defaults of those that are left out.
    fn unsaid_arguments(&mut self, function: &Function, given: usize, value: &mut Value) {
        for oid in &function.arguments {
            self.type_checks(*oid);
        }
        self.type_checks(function.returns);
        if let Some(text) = function.default_values.as_deref().filter(|_| given < function.arguments.len()) {
            let path = std::mem::replace(&mut self.path, SearchPath::of_definitions(self.context.catalog));
            value.add(Value::computed(self.expression_text(text, &Scope::default())));
            self.path = path;
        }
    }

    fn built_in(&mut self, function: &Function, value: &Value) {
        let Some(what) = builtins::builtin(&function.name) else { return };
        self.effect_of(what, function, value);
    }

    /// A function of the server whose arguments are out of sight.
    pub(super) fn hidden_builtin(&mut self, function: &Function) {
        match builtins::builtin(&function.name) {
            Some(Builtin::RunsSql(_) | Builtin::ReadsRelation(_)) => {
                self.touched.opaque(format!("function \"{}\" runs SQL that is out of sight", function.name));
            }
            Some(Builtin::SetConfig) => {
                self.touched.acts = true;
                self.touched.opaque("a function body changes settings");
            }
            _ => self.built_in(function, &Value::default()),
        }
    }

    fn effect_of(&mut self, what: Builtin, function: &Function, value: &Value) {
        match what {
            Builtin::Packs => self.touched.gathers |= !value.sources.is_empty(),
            Builtin::Speaks => self.touched.mark(&value.sources, REVEAL),
            Builtin::Fractions => {}
            Builtin::Acts => self.touched.acts = true,
            Builtin::Sends => {
                self.touched.acts = true;
                self.touched.sends = true;
                self.touched.packs |= !value.sources.is_empty();
                self.touched.mark(&value.sources, REVEAL);
            }
            Builtin::Opaque => {
                self.touched.functions.insert(format!("{}.{}", function.schema, function.name));
                self.touched.opaque(format!("function \"{}\" reaches what no analysis can see", function.name));
            }
            Builtin::Signals => {
                self.touched.functions.insert(format!("{}.{}", function.schema, function.name));
                self.touched.kinds.insert(Kind::Dcl);
                self.touched.acts = true;
            }
            Builtin::Shows(view, column) => {
                if let Some(relation) = self.catalog().relation_in("pg_catalog", view)
                    && let Some(column) = relation.column(column)
                {
                    self.touched.relations.insert(relation.oid);
                    self.touched.mark(&[ColumnId { relation: relation.oid, number: column.number }], REVEAL);
                }
            }
            Builtin::RunsSql(_) | Builtin::ReadsRelation(_) | Builtin::SetConfig => {
                self.touched.functions.insert(format!("{}.{}", function.schema, function.name));
                self.touched.acts |= what == Builtin::SetConfig;
            }
        }
    }

    /// A function that people made.
    pub(super) fn routine(&mut self, function: &Arc<Function>, arguments: &Value) -> Value {
        self.touched.defined = true;
        if self.open.contains(&function.oid) {
            // A recursive body touches what its first round touches.
            return Value::default();
        }
        if function.volatility == 'v' {
            self.touched.acts = true;
        }
        if !self.context.standard_conforming_strings
            && function.source.as_deref().is_some_and(|text| text.contains('\\'))
        {
            // The server reads the body when it runs, and a backslash in it as it does now.
            self.touched.opaque(BACKSLASH);
        }
        if function.kind == 'a' {
            return self.aggregate(function, arguments);
        }
        if !self.enter() {
            return Value::default();
        }
        let body = self.body(function);
        self.leave();
        if !self.spend(body.touched.weight() + weight(&body.fields)) {
            return Value::default();
        }
        self.touched.absorb(&body.touched);
        if !arguments.sources.is_empty() {
            // An argument can go wherever the body writes.
            let written = body.touched.columns.iter().filter(|(_, access)| **access & WRITE != 0);
            let written: Sources = written.map(|(column, _)| *column).collect();
            self.touched.flows.add(&written, &arguments.sources);
        }
        if body.touched.sends && !arguments.sources.is_empty() {
            // An argument can be what the body sends.
            self.touched.packs = true;
            self.touched.mark(&arguments.sources, REVEAL);
        }
        let mut value = Value::all(&body.fields);
        value.add(Value { fields: None, type_oid: 0, ..arguments.clone() });
        if !body.touched.columns.is_empty() {
            self.touched.packs = true;
        }
        value.fields = self.result_fields(function, &body.fields, &value.sources);
        value
    }

    fn aggregate(&mut self, function: &Function, arguments: &Value) -> Value {
        self.touched.packs |= !arguments.sources.is_empty();
        let mut value = Value::default();
        for part in function.parts.iter().filter(|oid| **oid != 0) {
            if let Some(part) = self.catalog().function(*part).cloned()
                && !part.is_built_in()
            {
                value.add(self.routine(&part, arguments));
            }
        }
        value
    }

    /// Names for the columns that a function returns.
    fn result_fields(&self, function: &Function, body: &[Field], all: &Sources) -> Option<Arc<[Field]>> {
        let outputs: Vec<Arc<str>> = function.outputs().cloned().collect();
        let row = self.catalog().row_relation(function.returns);
        let names: Vec<Arc<str>> = match row {
            Some(relation) => relation.columns.iter().map(|column| Arc::clone(&column.name)).collect(),
            None if outputs.len() > 1 || (outputs.len() == 1 && function.returns_set) => outputs,
            None => return None,
        };
        let inner = match body {
            [only] => only.value.fields.as_deref().unwrap_or(body),
            _ => body,
        };
        let exact = inner.len() == names.len();
        let fields = names.into_iter().enumerate().map(|(place, name)| {
            let sources = match inner.get(place) {
                Some(field) if exact => field.value.sources.clone(),
                _ => all.clone(),
            };
            Field { name, value: Value::computed(sources) }
        });
        Some(fields.collect())
    }

    fn body(&mut self, function: &Arc<Function>) -> Arc<Body> {
        if let Some(known) = function.parsed.get::<Body>() {
            return known;
        }
        let outer = std::mem::take(&mut self.touched);
        let setting = function.settings.iter().find_map(|setting| setting.strip_prefix("search_path="));
        let role = if function.definer { &*function.owner } else { self.context.role };
        let path = setting.map(|text| SearchPath::new(self.catalog(), &super::settings::split(text), role));
        let fixed = (path.is_some() && (function.definer || !setting.is_some_and(|text| text.contains("$user"))))
            || function.body.is_some();
        let path = if function.body.is_some() { Some(SearchPath::of_definitions(self.context.catalog)) } else { path };
        let before = path.map(|path| std::mem::replace(&mut self.path, path));
        let (invoker, reader) = (self.invoker, self.reader);
        if function.definer {
            self.invoker = Reader::fixed(self.catalog().role_named(&function.owner).map(|role| role.oid));
        }
        if function
            .settings
            .iter()
            .any(|setting| ["role=", "session_authorization="].iter().any(|name| setting.starts_with(name)))
        {
            self.invoker = Reader::fixed(None);
        }
        self.reader = self.invoker;
        self.open.push(function.oid);
        let fields = self.body_fields(function);
        self.open.pop();
        (self.invoker, self.reader) = (invoker, reader);
        if let Some(before) = before {
            self.path = before;
        }
        let mut touched = std::mem::replace(&mut self.touched, outer);
        touched.settle();
        touched.path_dependent |= !fixed;
        let mut body = Body { fields, touched };
        if !body.touched.opaque.is_empty() && !self.exhausted {
            self.vouch(function, &mut body);
        }
        let body = Arc::new(body);
        if self.may_keep(&body.touched) && self.open.is_empty() {
            function.parsed.keep(Arc::clone(&body));
        }
        body
    }

    fn body_fields(&mut self, function: &Function) -> Vec<Field> {
        let name = &function.name;
        match (function.language(), function.body.as_deref(), function.source.as_deref()) {
            (_, Some(body), _) => self.sql_body(function, body),
            (Language::Sql, None, Some(source)) => self.sql_body(function, source),
            (Language::PlPgSql, None, Some(source)) => plpgsql::read(self, source),
            (Language::Compiled, ..) => {
                if let Some(what) = builtins::extension(function.extension.as_deref(), name) {
                    self.effect_of(what, function, &Value::default());
                }
                Vec::new()
            }
            _ => {
                self.touched.opaque(format!("function \"{name}\" is in language {}", function.language));
                Vec::new()
            }
        }
    }

    fn sql_body(&mut self, function: &Function, source: &str) -> Vec<Field> {
        let scope = Scope { arguments: Some(function.argument_names.clone().into()), ..Scope::default() };
        self.sql_text(&function.name, source, &scope)
    }

    /// The body of a function in SQL, as a text; its result is that of its last statement.
    pub(super) fn sql_text(&mut self, name: &str, source: &str, scope: &Scope<'_>) -> Vec<Field> {
        let text = source.trim();
        let atomic = text.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("BEGIN"));
        let text = if atomic { atomic_body(text) } else { text };
        let text = match text.get(..6) {
            Some(word) if word.eq_ignore_ascii_case("RETURN") => {
                format!("SELECT {}", text.get(6..).unwrap_or_default())
            }
            _ => text.to_owned(),
        };
        let Ok(tree) = self.parse(&text) else {
            self.touched.opaque(format!("the body of function \"{name}\" cannot be read"));
            return Vec::new();
        };
        let mut fields = Vec::new();
        for statement in tree.statements(&text) {
            fields = match statement.node {
                Node::SelectStmt(_)
                | Node::InsertStmt(_)
                | Node::UpdateStmt(_)
                | Node::DeleteStmt(_)
                | Node::MergeStmt(_) => self.query_node(statement.node, scope),
                node => {
                    self.inner_statement(node);
                    Vec::new()
                }
            };
        }
        fields
    }

    /// An operator; those that people made run their functions, whatever their operands.
    pub(super) fn operator(&mut self, name: &str) {
        let found: Vec<Oid> = self.catalog().operators(name).iter().map(|operator| operator.function).collect();
        for oid in found {
            self.quiet_routine(oid);
        }
    }

    /// A cast; those that people made run their functions.
    pub(super) fn cast_functions(&mut self, source: Oid, target: Oid) {
        let casts = self.catalog().casts();
        let fits = |oid: Oid, wanted: Oid| oid == wanted || wanted == 0;
        let found: Vec<Oid> = casts
            .iter()
            .filter(|cast| fits(cast.source, source) && fits(cast.target, target) && cast.function != 0)
            .map(|cast| cast.function)
            .collect();
        for oid in found {
            self.quiet_routine(oid);
        }
    }

    /// A function that runs without being named; those of harmless extensions say nothing.
    fn quiet_routine(&mut self, oid: Oid) {
        let Some(function) = self.catalog().function(oid).cloned() else { return };
        if function.is_built_in() {
            self.hidden_builtin(&function);
            return;
        }
        if function.language() == Language::Compiled && function.extension.is_some() {
            return;
        }
        self.touched.functions.insert(format!("{}.{}", function.schema, function.name));
        let value = self.routine(&function, &Value::default());
        self.touched.mark(&value.sources, REVEAL);
    }

    /// Whether a function is neither the server's nor compiled for an extension.
    pub(super) fn is_people_code(&self, oid: Oid) -> bool {
        self.catalog().function(oid).is_none_or(|found| {
            !found.is_built_in() && (found.language() != Language::Compiled || found.extension.is_none())
        })
    }

    /// A function that runs without being written: it counts where it reads relations or cannot be known.
    pub(super) fn unwritten_routine(&mut self, oid: Oid) {
        let Some(function) = self.catalog().function(oid).cloned() else { return };
        if function.language() == Language::Compiled || self.open.contains(&oid) {
            return;
        }
        let body = self.body(&function);
        if !body.touched.relations.is_empty() || !body.touched.opaque.is_empty() {
            self.quiet_routine(oid);
        }
    }

    /// The OID of a type name; 0 where it is not known.
    pub(super) fn type_named(&self, name: &nodes::TypeName) -> Oid {
        let names: Vec<&str> = name.names().iter().filter_map(|name| name.sval()).collect();
        let found = match names.as_slice() {
            [name] => self.catalog().find_type(&self.path, name),
            [schema, name] | [_, schema, name] => self.catalog().type_in(schema, name),
            _ => None,
        };
        let oid = found.map_or(0, |found| found.oid);
        if name.array_bounds().is_empty() { oid } else { self.catalog().array_of(oid) }
    }
}

/// All that the arguments of a call are made from.
fn combined(arguments: &[Value]) -> Value {
    let mut value = Value::default();
    for argument in arguments {
        value.add(Value { fields: None, type_oid: 0, ..argument.clone() });
    }
    value
}

/// The type that a function of the server returns: that of its first polymorphic argument, where it returns one.
fn returned(function: &Function, arguments: &[Value]) -> Oid {
    const POLYMORPHIC: &[Oid] = &[2283, 2776, 3500, 5077, 5079];
    if !POLYMORPHIC.contains(&function.returns) {
        return function.returns;
    }
    let place = function.arguments.iter().position(|oid| *oid == function.returns);
    place.and_then(|place| arguments.get(place)).map_or(0, |argument| argument.type_oid)
}

/// Columns that a function of the server returns.
fn out_fields(function: &Function, sources: &Sources) -> Option<Arc<[Field]>> {
    let names: Vec<&Arc<str>> = function.outputs().collect();
    (names.len() > 1).then(|| {
        names
            .into_iter()
            .map(|name| Field { name: Arc::clone(name), value: Value::computed(sources.clone()) })
            .collect()
    })
}

/// Functions that the grammar writes as syntax and that have no row of that name.
fn is_syntax(name: &str) -> bool {
    matches!(name, "coalesce" | "greatest" | "least" | "xmlconcat" | "xmlforest" | "grouping")
}

/// A number as written: no parameter and no text, which may be a list.
fn is_number(node: Node<'_>) -> bool {
    match node {
        Node::A_Const(constant) => matches!(constant.val(), Some(ConstValue::Integer(_) | ConstValue::Float(_))),
        Node::TypeCast(cast) => {
            cast.type_name().is_some_and(|name| name.array_bounds().is_empty()) && is_number(cast.arg())
        }
        _ => false,
    }
}

fn looks_like_sql(text: &str) -> bool {
    let word: String = text.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    ["select", "with", "values", "table"].contains(&word.to_ascii_lowercase().as_str())
}

/// The statements between `BEGIN ATOMIC` and `END`.
fn atomic_body(text: &str) -> &str {
    let start = text.to_ascii_uppercase().find("ATOMIC").map_or(0, |at| at + "ATOMIC".len());
    let end = text.to_ascii_uppercase().rfind("END").unwrap_or(text.len());
    text.get(start..end).unwrap_or(text)
}
