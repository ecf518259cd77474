//! One statement: its kinds, what it touches, what it does to the session.

use std::ops::Range;

use super::analyzer::Analyzer;
use super::bound;
use super::facts::{Bound, Kind, SessionEffect, StatementFacts};
use super::fire::TRUNCATE;
use super::flows::Found;
use super::kinds::{also_reads, classify};
use super::parse::{ConstValue, Node, NodeList, constant_integer, constant_text, nodes, raw, strings};
use super::scope::{Scope, sources};
use super::touch::{Field, PROBE, REVEAL, Value};
use super::work::weight;
use super::{findings, plpgsql, render};
use crate::catalog::{PG_TEMP, clip};

/// What a statement comes to besides what it touches.
struct Outcome {
    outputs: Vec<Field>,
    bound: Bound,
    pure: bool,
}

impl Outcome {
    const fn nothing() -> Self {
        Self { outputs: Vec::new(), bound: Bound::One, pure: false }
    }
}

/// Commands of kind ddl that lock, fill or order, and leave every definition as it is.
const KEEPS_DEFINITIONS: [&str; 8] =
    ["TRUNCATE", "TRUNCATE TABLE", "LOCK", "LOCK TABLE", "VACUUM", "CLUSTER", "REINDEX", "REFRESH MATERIALIZED VIEW"];

/// Steps for each column that is kept.
const KEPT_STEPS: usize = 8;

impl Analyzer<'_> {
    /// The facts of one statement.
    pub(super) fn statement(mut self, node: Node<'_>, span: Range<usize>) -> StatementFacts {
        let (kind, command) = classify(node).unwrap_or((Kind::Opaque, "UNKNOWN".to_owned()));
        if kind == Kind::Opaque {
            self.touched.opaque(format!("{command} is a statement that no analysis can know"));
        }
        self.touched.kinds.insert(kind);
        if also_reads(node) {
            self.touched.kinds.insert(Kind::Read);
        }
        if !matches!(kind, Kind::Transaction | Kind::Session) {
            self.unwritten();
        }
        let mut outcome = self.dispatch(node);
        self.doubt_readers();
        // What is kept of a statement takes more room than what is read of it.
        if !self.spend(KEPT_STEPS * (1 + self.touched.columns.len() + weight(&outcome.outputs))) {
            outcome.outputs.clear();
        }
        let defines = kind >= Kind::Ddl && kind != Kind::Opaque && !KEEPS_DEFINITIONS.contains(&command.as_str());
        if defines || kind == Kind::Call {
            self.touched.effects.push(SessionEffect::CatalogChange);
        }
        let scans = if outcome.bound == Bound::Unbounded { bound::scans(&mut self, node) } else { Vec::new() };
        let findings = findings::of(&mut self, node);
        render::facts(self, render::Parts { command, span, outcome: outcome.into(), scans, findings })
    }

    /// Code that changes the role goes on as another one, whose policies for rows are not those that were read.
    fn doubt_readers(&mut self) {
        let changes = |effect: &SessionEffect| match effect {
            SessionEffect::Set { name, .. } => ["role", "session_authorization", "all"].contains(&name.as_str()),
            _ => false,
        };
        let code = !self.touched.functions.is_empty() || self.touched.kinds.contains(&Kind::Call);
        if code && self.catalog().has_row_security() && self.touched.effects.iter().any(changes) {
            self.touched.opaque("code that it runs changes the role");
        }
    }

    /// A statement inside a function body.
    pub(super) fn inner_statement(&mut self, node: Node<'_>) {
        let (kind, command) = classify(node).unwrap_or((Kind::Opaque, "UNKNOWN".to_owned()));
        if kind == Kind::Opaque {
            self.touched.opaque(format!("{command} inside a function body"));
        }
        self.touched.kinds.insert(kind);
        self.touched.acts = true;
        let outcome = self.dispatch(node);
        self.touched.mark(&sources(&outcome.outputs), REVEAL);
    }

    fn dispatch(&mut self, node: Node<'_>) -> Outcome {
        let top = Scope::default();
        match node {
            Node::SelectStmt(select) => self.select(select, &top),
            Node::InsertStmt(_) | Node::UpdateStmt(_) | Node::DeleteStmt(_) | Node::MergeStmt(_) => {
                let outputs = self.query_node(node, &top);
                self.touched.mark(&sources(&outputs), REVEAL);
                Outcome { bound: bound::query(self, node), outputs, pure: false }
            }
            Node::CopyStmt(copy) => self.copy(copy, &top),
            Node::ExplainStmt(explain) => self.explain(explain),
            Node::PrepareStmt(prepare) => {
                let name = clip(prepare.name().unwrap_or_default()).to_owned();
                let inner = Box::new(self.inner_facts(prepare.query()));
                // Nothing is read yet, but its text names what will be.
                self.foreseen(|analyzer| analyzer.query_node(prepare.query(), &Scope::default()));
                self.touched.effects.push(SessionEffect::Prepare { name, inner });
                Outcome::nothing()
            }
            Node::ExecuteStmt(execute) => self.execute(execute, &top),
            Node::DeclareCursorStmt(declare) => self.declare(declare),
            Node::FetchStmt(fetch) => self.fetch(fetch),
            Node::CreateTableAsStmt(create) => self.create_as(create, &top),
            Node::ViewStmt(view) => {
                // Defining a view reads nothing, but what it will show is what the person who decides must see.
                let fields = self.query_node(view.query(), &top);
                self.touched.mark(&sources(&fields), PROBE);
                Outcome::nothing()
            }
            _ => self.utility(node, &top),
        }
    }

    fn select(&mut self, select: &nodes::SelectStmt, top: &Scope<'_>) -> Outcome {
        let outputs = self.query(select, top);
        self.touched.mark(&sources(&outputs), REVEAL);
        if let Some(into) = into_clause(select) {
            self.created(Some(into), &outputs);
            return Outcome::nothing();
        }
        let bound = bound::select(self, select);
        Outcome { outputs, bound, pure: true }
    }

    fn copy(&mut self, copy: &nodes::CopyStmt, top: &Scope<'_>) -> Outcome {
        if copy.is_program {
            self.touched.opaque("COPY runs a program on the server");
        } else if copy.filename().is_some() {
            self.touched.opaque("COPY reads or writes a file of the server");
        }
        if copy.is_from {
            self.copy_in(copy);
            return Outcome::nothing();
        }
        let (outputs, bound) = match copy.relation() {
            Some(var) => {
                let names = strings(copy.attlist());
                let found = self.relation(var);
                (found.map(|relation| self.whole(&relation, &names)).unwrap_or_default(), Bound::Unbounded)
            }
            None => (self.query_node(copy.query(), top), bound::query(self, copy.query())),
        };
        self.touched.mark(&sources(&outputs), REVEAL);
        Outcome { outputs, bound, pure: copy.filename().is_none() && !copy.is_program }
    }

    /// EXPLAIN plans, and planning runs functions: it is judged as its statement.
    fn explain(&mut self, explain: &nodes::ExplainStmt) -> Outcome {
        let inner = explain.query();
        if let Some((kind, _)) = classify(inner) {
            self.touched.kinds.insert(kind);
        }
        let analyze = explain.options().iter().any(|option| {
            option.defname() == Some("analyze")
                && !option_text(option.arg()).is_some_and(|text| ["false", "off", "0"].contains(&text.as_str()))
        });
        self.touched.acts |= analyze;
        let outcome = self.dispatch(inner);
        if !analyze {
            self.touched.flows = Found::default();
        }
        // A plan prints conditions and estimates, never rows.
        self.touched.mark(&sources(&outcome.outputs), PROBE);
        Outcome { outputs: vec![Field { name: "QUERY PLAN".into(), value: Value::default() }], ..Outcome::nothing() }
    }

    fn execute(&mut self, execute: &nodes::ExecuteStmt, top: &Scope<'_>) -> Outcome {
        for parameter in execute.params() {
            let value = self.expr(parameter, top);
            self.touched.mark(&value.sources, REVEAL);
        }
        let name = clip(execute.name().unwrap_or_default()).to_owned();
        self.touched.effects.push(SessionEffect::Execute { name });
        self.touched.session_local = true;
        Outcome { bound: Bound::Unbounded, ..Outcome::nothing() }
    }

    fn declare(&mut self, declare: &nodes::DeclareCursorStmt) -> Outcome {
        let inner = self.inner_facts(declare.query());
        let outputs = self.query_node(declare.query(), &Scope::default());
        self.touched.mark(&sources(&outputs), REVEAL);
        let name = clip(declare.portalname().unwrap_or_default()).to_owned();
        self.touched.effects.push(SessionEffect::Declare { name, inner: Box::new(inner) });
        Outcome::nothing()
    }

    fn fetch(&mut self, fetch: &nodes::FetchStmt) -> Outcome {
        let single =
            matches!(fetch.direction, raw::FetchDirection::FETCH_ABSOLUTE | raw::FetchDirection::FETCH_RELATIVE);
        let all = fetch.how_many >= i64::from(i32::MAX);
        let rows = if single { Some(1) } else { Some(fetch.how_many.unsigned_abs()).filter(|_| !all) };
        let name = clip(fetch.portalname().unwrap_or_default()).to_owned();
        self.touched.effects.push(SessionEffect::Fetch { name, rows, moves: fetch.ismove });
        self.touched.session_local = true;
        let bound = match rows {
            _ if fetch.ismove => Bound::One,
            Some(rows) => bound::rows(rows),
            None => Bound::Unbounded,
        };
        Outcome { bound, ..Outcome::nothing() }
    }

    /// The facts of a statement inside this one, judged on its own later.
    fn inner_facts(&self, node: Node<'_>) -> StatementFacts {
        Analyzer::new(self.context, self.work, self.depth_left()).statement(node, 0..0)
    }

    fn create_as(&mut self, create: &nodes::CreateTableAsStmt, top: &Scope<'_>) -> Outcome {
        let outputs = match create.query() {
            Node::ExecuteStmt(execute) => self.execute(execute, top).outputs,
            query => self.query_node(query, top),
        };
        self.touched.mark(&sources(&outputs), REVEAL);
        if let (Node::ExecuteStmt(_), Some(into)) = (create.query(), create.into()) {
            self.fills(into);
        }
        self.created(create.into(), &outputs);
        Outcome::nothing()
    }

    /// A relation that a query fills: a temporary one is a write.
    fn created(&mut self, into: Option<&nodes::IntoClause>, outputs: &[Field]) {
        self.touched.acts = true;
        self.touched.packs |= !sources(outputs).is_empty();
        if let Some(into) = into {
            self.makes(into, outputs);
        }
        if into.and_then(nodes::IntoClause::rel).is_some_and(is_temporary) {
            self.touched.kinds.remove(&Kind::Ddl);
            self.touched.kinds.insert(Kind::Write);
            self.touched.session_local = true;
        } else {
            self.touched.kinds.insert(Kind::Ddl);
        }
        self.touched.effects.push(SessionEffect::CatalogChange);
    }

    fn utility(&mut self, node: Node<'_>, top: &Scope<'_>) -> Outcome {
        match node {
            Node::VariableSetStmt(set) => self.set(set),
            Node::DiscardStmt(discard) if discard.target == raw::DiscardMode::DISCARD_ALL => {
                self.touched.effects.push(SessionEffect::DiscardAll);
            }
            Node::DiscardStmt(discard) if discard.target == raw::DiscardMode::DISCARD_TEMP => {
                self.touched.session_local = true;
                self.touched.effects.push(SessionEffect::CatalogChange);
            }
            Node::DeallocateStmt(deallocate) => {
                let name = deallocate.name().filter(|_| !deallocate.isall).map(|name| clip(name).to_owned());
                self.touched.effects.push(SessionEffect::Deallocate { name });
            }
            Node::ClosePortalStmt(close) => {
                let name = close.portalname().map(|name| clip(name).to_owned());
                self.touched.effects.push(SessionEffect::Close { name });
            }
            Node::CallStmt(call) => {
                if let Some(call) = call.funccall() {
                    let value = self.call(call, top);
                    self.touched.mark(&value.sources, REVEAL);
                }
                self.touched.acts = true;
            }
            Node::DoStmt(block) => self.block(block),
            Node::CreateSchemaStmt(create) => {
                for element in create.schema_elts() {
                    self.inner_statement(element);
                }
            }
            _ => self.mentioned(node),
        }
        Outcome::nothing()
    }

    fn set(&mut self, set: &nodes::VariableSetStmt) {
        use raw::VariableSetKind as V;
        if set.kind == V::VAR_RESET_ALL {
            self.touched.effects.push(SessionEffect::Set { name: "all".to_owned(), value: None });
            return;
        }
        let values: Vec<String> = set.args().iter().filter_map(constant_text).collect();
        let name = set.name().unwrap_or_default().to_ascii_lowercase();
        let value = match set.kind {
            V::VAR_RESET | V::VAR_SET_DEFAULT => None,
            _ if name == "search_path" => Some(quoted(&values)),
            _ => Some(values.join(", ")),
        };
        self.touched.effects.push(SessionEffect::Set { name, value });
    }

    fn block(&mut self, block: &nodes::DoStmt) {
        self.touched.acts = true;
        // A block gives back no row: what it reads can leave by a notice, an error or another relation.
        self.touched.packs = true;
        let mut language = "plpgsql".to_owned();
        let mut source = None;
        for option in block.args() {
            match option.defname() {
                Some("language") => language = option_text(option.arg()).unwrap_or_default(),
                Some("as") => source = option_text(option.arg()),
                _ => {}
            }
        }
        match source {
            Some(source) if language.eq_ignore_ascii_case("plpgsql") => {
                let fields = plpgsql::read(self, &source);
                self.touched.mark(&sources(&fields), REVEAL);
            }
            _ => self.touched.opaque(format!("a block in language {language}")),
        }
    }

    /// A relation that a utility statement names: touched, its columns are not read.
    pub(super) fn named(&mut self, var: &nodes::RangeVar) {
        if let Some(relation) = self.find_relation(var.schemaname(), var.relname().unwrap_or_default()) {
            self.touched.relations.insert(relation.oid);
            self.touched.session_local |= &*relation.schema == PG_TEMP;
        }
    }

    /// The relations and expressions of a utility statement.
    fn mentioned(&mut self, node: Node<'_>) {
        match node {
            Node::AlterObjectSchemaStmt(alter) => {
                self.each(alter.relation());
                self.moves_schema(alter);
            }
            Node::RefreshMatViewStmt(refresh) => self.refreshed(refresh),
            Node::ClusterStmt(cluster) => self.each(cluster.relation()),
            Node::ReindexStmt(reindex) => self.each(reindex.relation()),
            Node::TruncateStmt(truncate) => self.truncated(truncate),
            Node::LockStmt(lock) => self.all(lock.relations()),
            Node::GrantStmt(grant)
                if grant.objtype == raw::ObjectType::OBJECT_TABLE
                    && grant.targtype == raw::GrantTargetType::ACL_TARGET_OBJECT =>
            {
                for var in grant.objects() {
                    self.named(var);
                }
            }
            Node::VacuumStmt(vacuum) => {
                for relation in vacuum.rels() {
                    self.each(relation.relation());
                }
            }
            Node::NotifyStmt(_) => self.touched.acts = true,
            _ => self.defined(node),
        }
    }

    /// TRUNCATE fires triggers, and CASCADE empties what refers to it.
    fn truncated(&mut self, truncate: &nodes::TruncateStmt) {
        self.all(truncate.relations());
        for node in truncate.relations() {
            if let Node::RangeVar(var) = node
                && let Some(relation) = self.find_relation(var.schemaname(), var.relname().unwrap_or_default())
            {
                self.fire(&relation, TRUNCATE);
            }
        }
    }

    pub(super) fn each(&mut self, var: Option<&nodes::RangeVar>) {
        if let Some(var) = var {
            self.named(var);
        }
    }

    pub(super) fn all(&mut self, list: &NodeList) {
        for node in list {
            if let Node::RangeVar(var) = node {
                self.named(var);
            }
        }
    }

    fn refreshed(&mut self, refresh: &nodes::RefreshMatViewStmt) {
        let Some(var) = refresh.relation() else { return };
        self.named(var);
        let Some(view) = self.find_relation(var.schemaname(), var.relname().unwrap_or_default()) else { return };
        let expansion = self.expansion(&view);
        self.touched.absorb(&expansion.touched);
        self.touched.mark(&sources(&expansion.fields), REVEAL);
    }
}

impl From<Outcome> for render::Outcome {
    fn from(outcome: Outcome) -> Self {
        Self { outputs: outcome.outputs, bound: outcome.bound, pure: outcome.pure }
    }
}

/// The INTO of a query; in a set operation it stands in the leftmost arm.
pub(super) fn into_clause(select: &nodes::SelectStmt) -> Option<&nodes::IntoClause> {
    let mut select = select;
    loop {
        if let Some(into) = select.into_clause() {
            return Some(into);
        }
        select = select.larg()?;
    }
}

/// TEMP, or a name in `pg_temp`.
pub(super) fn is_temporary(var: &nodes::RangeVar) -> bool {
    u8::try_from(var.relpersistence).is_ok_and(|persistence| persistence == b't')
        || var.schemaname().is_some_and(|schema| schema.starts_with(PG_TEMP))
}

/// The text of an option's value.
pub(super) fn option_text(node: Node<'_>) -> Option<String> {
    match node {
        Node::String(text) => text.sval().map(str::to_owned),
        Node::Integer(number) => Some(number.ival.to_string()),
        Node::Boolean(flag) => Some(flag.boolval.to_string()),
        Node::A_Const(constant) => match constant.val()? {
            ConstValue::String(text) => Some(text.to_owned()),
            _ => constant_integer(node).map(|number| number.to_string()),
        },
        _ => None,
    }
}

/// A list of names as `search_path` is printed.
fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
    quoted.join(", ")
}
