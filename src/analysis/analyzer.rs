//! The state of one analysis, and how it reads relations: views expanded, policies applied, children known.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::context::{Context, Readers};
use super::parse::{Node, Tree, nodes, parse};
use super::prescan::prescan;
use super::scope::{Rel, Scope};
use super::set_config::OneSetting;
use super::touch::{ColumnId, Field, Sources, Touched, Value};
use super::work::{Work, weight};
use crate::catalog::{Catalog, Oid, PG_TEMP, Relation, RelationKind, SearchPath};

/// Why a statement is opaque whose views and functions go down further than the stack.
pub(super) const TOO_DEEP: &str = "it nests too deeply";

/// One analysis.
pub(super) struct Analyzer<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) work: &'a Work,
    /// The effective search path; that of a function while its body is read.
    pub(super) path: SearchPath,
    pub(super) touched: Touched,
    /// Who runs what is being read: the session's role, or the owner of a SECURITY DEFINER function.
    pub(super) invoker: Reader,
    /// Whose row-level security counts for the relations that are being read: the invoker's, or a view's owner's.
    pub(super) reader: Reader,
    /// Rows are locked: policies of UPDATE count for them too.
    pub(super) locks: bool,
    /// Definitions that are being read, against recursion.
    pub(super) open: Vec<Oid>,
    /// The WITH names in force while sizes are proved.
    pub(super) named: Vec<super::bound::Named>,
    /// It came to the end of its stack, or of its work: what it found is not all.
    pub(super) exhausted: bool,
    /// Views whose scans are counted.
    pub(super) scanned: BTreeSet<Oid>,
    /// The setting that the rows of the query are about, while its targets are read.
    pub(super) one_setting: Option<OneSetting>,
    /// The function that the first call is known to mean, until that call is met.
    pub(super) called: Option<Oid>,
    depth: usize,
    depth_max: usize,
}

/// A role that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reader {
    /// `None`: nobody knows which.
    pub(super) role: Option<Oid>,
    /// It is the session's, so that what is made of a definition is not the same for all sessions.
    pub(super) by_session: bool,
}

impl Reader {
    /// A role that a definition names, whoever asks.
    pub(super) const fn fixed(role: Option<Oid>) -> Self {
        Self { role, by_session: false }
    }
}

/// Whether children of a relation are read with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The relation and its children.
    Family,
    /// ONLY.
    Only,
}

/// What a view's or materialised view's definition, or a table's generation expressions, come to.
#[derive(Debug)]
pub(super) struct Expansion {
    pub(super) fields: Arc<[Field]>,
    pub(super) touched: Touched,
}

impl<'a> Analyzer<'a> {
    /// An analysis that goes `depth_max` levels down, views and functions included.
    pub(super) fn new(context: &'a Context<'a>, work: &'a Work, depth_max: usize) -> Self {
        let path = SearchPath::new(context.catalog, context.search_path, context.role);
        let role = match context.readers {
            Readers::TheRole => context.catalog.role_named(context.role).map(|role| role.oid),
            Readers::Anyone => None,
        };
        let reader = Reader { role, by_session: true };
        Self {
            context,
            work,
            path,
            touched: Touched::default(),
            invoker: reader,
            reader,
            locks: false,
            open: Vec::new(),
            named: Vec::new(),
            exhausted: false,
            scanned: BTreeSet::new(),
            one_setting: None,
            called: None,
            depth: 0,
            depth_max,
        }
    }

    /// Parses a text that is not the client's own: a definition, a body, a literal. It has the same bounds.
    pub(super) fn parse(&mut self, text: &str) -> Result<Tree, String> {
        let context = Context { standard_conforming_strings: true, ..*self.context };
        let found = prescan(text.as_bytes(), &context).map_err(|rejected| rejected.to_string())?;
        if found.depth > self.depth_left() {
            self.too_deep();
            return Err(TOO_DEEP.to_owned());
        }
        if self.spend(text.len() / 64) { parse(text) } else { Err("no work is left".to_owned()) }
    }

    pub(super) fn catalog(&self) -> &'a Catalog {
        self.context.catalog
    }

    /// One level deeper; false where the statement is deeper than the pre-scan can have let through.
    pub(super) fn enter(&mut self) -> bool {
        if !self.spend(1) {
            return false;
        }
        self.depth += 1;
        if self.depth > self.depth_max {
            self.too_deep();
            self.depth -= 1;
            return false;
        }
        true
    }

    fn too_deep(&mut self) {
        self.exhausted = true;
        self.touched.opaque(TOO_DEEP);
    }

    /// How deep an analysis beside this one may go.
    pub(super) fn depth_left(&self) -> usize {
        self.depth_max.saturating_sub(self.depth)
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// The relation that a name means; an unknown one is said to be opaque.
    pub(super) fn relation(&mut self, var: &nodes::RangeVar) -> Option<Arc<Relation>> {
        let name = var.relname().unwrap_or_default();
        if let Some(database) = var.catalogname()
            && database != self.context.database
        {
            self.touched.opaque(format!("database \"{database}\" is another one"));
            return None;
        }
        let found = self.find_relation(var.schemaname(), name);
        if found.is_none() {
            self.touched.opaque(format!("relation \"{name}\" is not in the catalog"));
        }
        found
    }

    /// The relation that a name means; a session's own ones are in its catalog.
    pub(super) fn find_relation(&mut self, schema: Option<&str>, name: &str) -> Option<Arc<Relation>> {
        let found = match schema {
            Some(schema) => self.catalog().relation_in(schema, name),
            None => self.catalog().find_relation(&self.path, name),
        };
        self.touched.session_local |= found.is_some_and(|relation| &*relation.schema == PG_TEMP);
        found.map(Arc::clone)
    }

    /// The columns of a relation as a query sees them.
    pub(super) fn read_relation(&mut self, relation: &Arc<Relation>, reading: Reading) -> Arc<[Field]> {
        if relation.kind == RelationKind::View && !is_leaf(relation) {
            return self.read_view(relation);
        }
        self.touched.relations.insert(relation.oid);
        self.touched.places += usize::from(self.catalog().is_tagged(relation));
        if reading == Reading::Only {
            self.touched.only.insert(relation.oid);
        }
        let fields = stored(relation);
        if !relation.policies.is_empty() && !self.open.contains(&relation.oid) {
            let counts = if self.locks { &['r', '*', 'w'][..] } else { &['r', '*'] };
            self.policies(relation, &fields, counts);
        }
        fields
    }

    fn read_view(&mut self, view: &Arc<Relation>) -> Arc<[Field]> {
        self.touched.defined = true;
        if self.open.contains(&view.oid) {
            self.touched.opaque(format!("view \"{}\" refers to itself", view.name));
            return Arc::new([]);
        }
        let expansion = self.expansion(view);
        if !self.spend(expansion.touched.weight() + weight(&expansion.fields)) {
            return Arc::new([]);
        }
        self.touched.absorb(&expansion.touched);
        if !self.catalog().is_tagged(view) {
            return Arc::clone(&expansion.fields);
        }
        let mut fields = expansion.fields.to_vec();
        for (column, field) in view.columns.iter().zip(&mut fields) {
            self.tagged_by_name(view, column.number, &mut field.value);
        }
        fields.into()
    }

    /// What the query of a view or materialised view comes to.
    pub(super) fn expansion(&mut self, view: &Arc<Relation>) -> Arc<Expansion> {
        if let Some(known) = view.parsed.get::<Expansion>().filter(|_| !self.locks) {
            return known;
        }
        let reader = if view.reads_as_invoker() { self.invoker } else { Reader::fixed(Some(view.owner)) };
        let reader = std::mem::replace(&mut self.reader, reader);
        let outer = std::mem::take(&mut self.touched);
        let path = std::mem::replace(&mut self.path, SearchPath::of_definitions(self.context.catalog));
        self.open.push(view.oid);
        let outputs = self.definition(view);
        self.open.pop();
        self.path = path;
        self.reader = reader;
        let mut touched = std::mem::replace(&mut self.touched, outer);
        // A column of a view that nobody asks for is not read.
        touched.seen.clear();
        let fields = view
            .columns
            .iter()
            .enumerate()
            .map(|(place, column)| {
                let mut value = outputs.get(place).map(|field| field.value.clone()).unwrap_or_default();
                value.type_oid = column.type_oid;
                Field { name: Arc::clone(&column.name), value }
            })
            .collect();
        let expansion = Arc::new(Expansion { fields, touched });
        if !self.locks && self.may_keep(&expansion.touched) {
            view.parsed.keep(Arc::clone(&expansion));
        }
        expansion
    }

    /// A rule that tags a view's column by the view's name adds that column itself, unless what it shows is tagged so.
    fn tagged_by_name(&self, view: &Relation, number: i16, value: &mut Value) {
        let own = self.catalog().tags(view.oid, number);
        let known = |tag: &Arc<str>| {
            value.sources.iter().any(|source| self.catalog().tags(source.relation, source.number).contains(tag))
        };
        if !own.iter().all(known) {
            value.sources.insert(ColumnId { relation: view.oid, number });
        }
    }

    fn definition(&mut self, view: &Relation) -> Vec<Field> {
        let Some(text) = view.definition.as_deref() else {
            self.touched.opaque(format!("the definition of view \"{}\" is not known", view.name));
            return Vec::new();
        };
        let Ok(tree) = self.parse(text) else {
            self.touched.opaque(format!("the definition of view \"{}\" cannot be read", view.name));
            return Vec::new();
        };
        let scope = Scope::default();
        tree.statements(text).next().map(|statement| self.query_node(statement.node, &scope)).unwrap_or_default()
    }

    /// Marks what the policies read that count for the reader and are for one of these commands.
    pub(super) fn policies(&mut self, relation: &Arc<Relation>, fields: &Arc<[Field]>, commands: &[char]) {
        self.touched.path_dependent |= relation.row_security && self.reader.by_session;
        self.touched.defined = true;
        let counted: Vec<_> = self.catalog().policies_for(relation, self.reader.role).collect();
        self.open.push(relation.oid);
        let path = std::mem::replace(&mut self.path, SearchPath::of_definitions(self.context.catalog));
        let scope = relation_scope(relation, fields);
        for policy in counted.into_iter().filter(|policy| commands.contains(&policy.command)) {
            let check = policy.check.iter().filter(|_| commands.contains(&'a'));
            for text in policy.using.iter().chain(check) {
                self.probe_text(text, &scope);
            }
        }
        self.path = path;
        self.open.pop();
    }

    /// Marks the columns of an expression that the catalog holds as text.
    pub(super) fn probe_text(&mut self, text: &str, scope: &Scope<'_>) {
        let sources = self.expression_text(text, scope);
        self.touched.mark(&sources, super::touch::PROBE);
    }

    /// What an expression that the catalog holds as text is made from.
    pub(super) fn expression_text(&mut self, text: &str, scope: &Scope<'_>) -> Sources {
        let text = format!("SELECT {text}");
        let Ok(tree) = self.parse(&text) else {
            self.touched.opaque("an expression of the catalog cannot be read");
            return Sources::new();
        };
        let Some(statement) = tree.statements(&text).next() else { return Sources::new() };
        match statement.node {
            Node::SelectStmt(select) => {
                let fields = self.targets(select.target_list().iter(), scope);
                super::scope::sources(&fields)
            }
            _ => Sources::new(),
        }
    }
}

/// A relation whose columns are physical: it stores rows, or it is a view of the server's own.
pub(super) fn is_leaf(relation: &Relation) -> bool {
    relation.stores() || relation.is_built_in() || &*relation.name == "pg_stat_statements"
}

/// The stored columns of a relation.
pub(super) fn stored(relation: &Relation) -> Arc<[Field]> {
    let field = |column: &crate::catalog::Column| Field {
        name: Arc::clone(&column.name),
        value: Value {
            sources: Sources::from([ColumnId { relation: relation.oid, number: column.number }]),
            type_oid: column.type_oid,
            ..Value::default()
        },
    };
    relation.columns.iter().map(field).collect()
}

/// A scope in which a relation's columns are visible under its name.
pub(super) fn relation_scope(relation: &Relation, fields: &Arc<[Field]>) -> Scope<'static> {
    let mut scope = Scope::default();
    scope.add(super::scope::Part::of(Rel {
        alias: Arc::clone(&relation.name),
        schema: Some(Arc::clone(&relation.schema)),
        fields: Arc::clone(fields),
        oid: Some(relation.oid),
        scalar: false,
    }));
    scope
}
