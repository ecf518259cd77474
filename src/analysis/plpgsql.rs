//! PL/pgSQL bodies: a superset of what they can touch, read off their words.
//!
//! Every relation that a body names counts as read; of its columns those that the body names, or all of them where the
//! body has a star, a whole row or a row type. Dynamic EXECUTE is opaque.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::analyzer::{Analyzer, Reading, stored};
use super::facts::{Kind, SessionEffect};
use super::scan::{StringMode, TokenKind, tokens};
use super::touch::{ColumnId, Field, REVEAL, Sources, Value};
use crate::catalog::{Oid, Relation, clip, fold};

/// One word, operator or punctuation mark of a body.
pub(super) struct Word {
    pub(super) text: String,
    /// It can be a name: a word or a quoted identifier.
    pub(super) name: bool,
    pub(super) quoted: bool,
    /// Where it begins.
    pub(super) at: usize,
}

/// The words of a body; comments are left out, literals are kept as empty marks.
pub(super) fn words(source: &str) -> Vec<Word> {
    let bytes = source.as_bytes();
    tokens(bytes, StringMode::Standard)
        .filter(|token| !token.kind.is_comment())
        .map(|token| {
            let at = token.range.start;
            let text = source.get(token.range).unwrap_or_default();
            match token.kind {
                TokenKind::Word => Word { text: fold(text), name: true, quoted: false, at },
                TokenKind::QuotedIdent => Word { text: unquote(text), name: true, quoted: true, at },
                kind if kind.is_string() => Word { text: String::new(), name: false, quoted: true, at },
                _ => Word { text: text.to_owned(), name: false, quoted: false, at },
            }
        })
        .collect()
}

/// The name in a quoted identifier. One with Unicode escapes is kept as it is: it can name anything.
fn unquote(text: &str) -> String {
    clip(&text.trim_start_matches(['U', 'u', '&']).trim_matches('"').replace("\"\"", "\"")).to_owned()
}

/// What a body can touch; the result is one field of all that it reads.
pub(super) fn read(analyzer: &mut Analyzer<'_>, source: &str) -> Vec<Field> {
    let words = words(source);
    if !analyzer.spend(words.len()) {
        return Vec::new();
    }
    if source.contains("U&\"") || source.contains("u&\"") {
        analyzer.touched.opaque("a function body hides names behind Unicode escapes");
    }
    kinds(analyzer, &words);
    settings(analyzer, &words);
    let of_rows = functions(analyzer, &words);
    unwritten(analyzer, &words);
    let named: BTreeSet<&str> = words.iter().filter(|word| word.name).map(|word| word.text.as_str()).collect();
    let rows = Rows::of(&words);
    let mut all = Sources::new();
    for (relation, places) in relations(analyzer, &words) {
        let fields = analyzer.read_relation(&relation, Reading::Family);
        let whole = of_rows || places.iter().any(|place| rows.takes_all(&words, *place));
        for field in fields.iter().filter(|field| whole || named.contains(&*field.name)) {
            all.extend(&field.value.sources);
        }
    }
    analyzer.touched.mark(&all, REVEAL);
    analyzer.body_writes(source, &words, &all);
    vec![Field { name: "result".into(), value: Value::computed(all) }]
}

/// The relations that a body names, each with the places after its name.
fn relations(analyzer: &mut Analyzer<'_>, words: &[Word]) -> Vec<(Arc<Relation>, Vec<usize>)> {
    let mut found: BTreeMap<Oid, (Arc<Relation>, Vec<usize>)> = BTreeMap::new();
    for (place, word) in words.iter().enumerate().filter(|(_, word)| word.name) {
        let dotted = place.checked_sub(1).and_then(|at| words.get(at)).is_some_and(|before| before.text == ".");
        let schema = if dotted {
            place.checked_sub(2).and_then(|at| words.get(at)).map(|word| word.text.as_str())
        } else {
            None
        };
        if let Some(relation) = analyzer.find_relation(schema, &word.text)
            && (!relation.is_built_in() || analyzer.catalog().is_tagged(&relation))
        {
            found.entry(relation.oid).or_insert_with(|| (relation, Vec::new())).1.push(place + 1);
        }
    }
    found.into_values().collect()
}

/// Where a body can mean whole rows.
struct Rows<'w> {
    /// A star or a row type: all columns of every relation.
    all: bool,
    /// The places of names that stand alone, neither before nor behind a dot.
    alone: HashMap<&'w str, Vec<usize>>,
}

impl<'w> Rows<'w> {
    fn of(words: &'w [Word]) -> Self {
        let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
        let star = |(at, word): (usize, &Word)| {
            word.text == "*"
                && !word.quoted
                && !(at > 0 && text(at - 1) == "(" && text(at + 1) == ")")
                && (at == 0 || [",", ".", "select", "all", "distinct", "returning", ")"].contains(&text(at - 1)))
        };
        let row = |word: &Word| WHOLE_ROWS.contains(&word.text.as_str());
        let all = words.iter().enumerate().any(star) || words.iter().any(row);
        let mut alone: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, word) in words.iter().enumerate().filter(|(_, word)| word.name) {
            if text(at + 1) != "." && (at == 0 || text(at - 1) != ".") {
                alone.entry(&word.text).or_default().push(at);
            }
        }
        Self { all, alone }
    }

    /// Whether all columns of the relation whose name ends before `after` can be meant: its name or its alias stands
    /// somewhere else alone.
    fn takes_all(&self, words: &[Word], after: usize) -> bool {
        if self.all {
            return true;
        }
        let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
        let alias_at = if text(after) == "as" { after + 1 } else { after };
        // An alias with a list of columns gives them other names.
        if text(alias_at + 1) == "(" && words.get(alias_at).is_some_and(|word| word.name && !is_reserved(word)) {
            return true;
        }
        let own = after.checked_sub(1).map_or("", text);
        let alias = words.get(alias_at).filter(|word| word.name).map(|word| word.text.as_str());
        [Some(own), alias].into_iter().flatten().any(|name| {
            // Two of its places are the name and the alias themselves.
            let places = self.alone.get(name).map_or(&[][..], Vec::as_slice);
            places.iter().take(3).any(|at| at + 1 != after && *at != alias_at)
        })
    }
}

/// Words of a body that can take whole rows, or columns that it does not name.
const WHOLE_ROWS: &[&str] = &["rowtype", "record", "table", "natural", "to_json", "to_jsonb", "row_to_json"];

/// Reserved words that stand behind the name of a relation and cannot be its alias.
const RESERVED: &[&str] = &[
    "and",
    "as",
    "cross",
    "else",
    "end",
    "except",
    "fetch",
    "for",
    "from",
    "full",
    "group",
    "having",
    "in",
    "inner",
    "intersect",
    "into",
    "join",
    "left",
    "limit",
    "natural",
    "not",
    "offset",
    "on",
    "or",
    "order",
    "returning",
    "right",
    "select",
    "tablesample",
    "then",
    "union",
    "using",
    "when",
    "where",
    "window",
    "with",
];

fn is_reserved(word: &Word) -> bool {
    !word.quoted && RESERVED.contains(&word.text.as_str())
}

/// A search path that a body sets gives its later names another meaning.
fn settings(analyzer: &mut Analyzer<'_>, words: &[Word]) {
    let mut before = "";
    for word in words {
        if word.name && word.text == "search_path" && ["set", "local", "session", "reset"].contains(&before) {
            analyzer.touched.opaque("a function body sets its own search_path");
        }
        let role = ["role", "session_authorization"].contains(&word.text.as_str())
            || (word.text == "authorization" && before == "session");
        if word.name && role {
            // Also where the word means something else: that the role is in doubt costs little.
            let effect = SessionEffect::Set { name: "role".to_owned(), value: None };
            analyzer.touched.effects.push(effect);
        }
        before = &word.text;
    }
}

/// Operators, types and casts that people made run functions without naming them.
fn unwritten(analyzer: &mut Analyzer<'_>, words: &[Word]) {
    let mut done = BTreeSet::new();
    for word in words {
        if !done.insert((word.name, word.text.as_str())) {
            continue;
        }
        if word.name {
            analyzer.named_type(&word.text);
        } else {
            analyzer.operator(&word.text);
        }
    }
    // LIKE, BETWEEN, IN and CASE are spelled without the operators that they stand for.
    for name in ["=", "<>", "<", "<=", ">", ">=", "~~", "!~~", "~~*", "!~~*", "~"] {
        analyzer.operator(name);
    }
}

/// What the words say that the body does.
fn kinds(analyzer: &mut Analyzer<'_>, words: &[Word]) {
    for (place, word) in words.iter().enumerate().filter(|(_, word)| word.name && !word.quoted) {
        let next = words.get(place + 1).map_or("", |word| word.text.as_str());
        let kind = match word.text.as_str() {
            "insert" | "merge" if next == "into" => Kind::Write,
            "delete" if next == "from" => Kind::Write,
            "update" if next != "of" => Kind::Write,
            "truncate" | "create" | "alter" | "drop" | "reindex" | "refresh" | "comment" => Kind::Ddl,
            "grant" | "revoke" => Kind::Dcl,
            "copy" => Kind::Export,
            "execute" if next != "procedure" && next != "function" => {
                analyzer.touched.opaque("a function body runs SQL that it makes at run time");
                continue;
            }
            _ => continue,
        };
        analyzer.touched.acts = true;
        analyzer.touched.kinds.insert(kind);
        if kind >= Kind::Ddl {
            analyzer.touched.effects.push(SessionEffect::CatalogChange);
        }
    }
}

/// The functions that a body calls; true where one of them takes a whole row that is not spelled as an argument.
fn functions(analyzer: &mut Analyzer<'_>, words: &[Word]) -> bool {
    let mut of_rows = false;
    let mut done = BTreeSet::new();
    for (place, word) in words.iter().enumerate().filter(|(_, word)| word.name) {
        let called = words.get(place + 1).is_some_and(|next| next.text == "(");
        let dotted = place.checked_sub(1).and_then(|at| words.get(at)).is_some_and(|before| before.text == ".");
        let schema = if dotted {
            place.checked_sub(2).and_then(|at| words.get(at)).map(|word| word.text.as_str())
        } else {
            None
        };
        if called && done.insert((schema, word.text.as_str())) {
            analyzer.named_function(schema, &word.text);
        }
        // `row.name` is `name(row)` where the row has no such field.
        if dotted && !called && done.insert((None, word.text.as_str())) {
            of_rows |= analyzer.named_of_row(&word.text);
        }
    }
    of_rows
}

impl Analyzer<'_> {
    /// Every function of a name, as a body calls it; a name that is none is a keyword, a type or a table.
    fn named_function(&mut self, schema: Option<&str>, name: &str) {
        let found: Vec<Arc<crate::catalog::Function>> = match schema {
            Some(schema) => self.catalog().functions_in(schema, name).to_vec(),
            None => self.catalog().find_functions(&self.path, name).cloned().collect(),
        };
        for function in found {
            if function.is_built_in() {
                self.hidden_builtin(&function);
            } else {
                self.touched.functions.insert(format!("{}.{}", function.schema, function.name));
                let value = self.routine(&function, &Value::default());
                self.touched.mark(&value.sources, REVEAL);
            }
        }
    }
}

impl Analyzer<'_> {
    /// Functions of a name that take one row; whether there are any.
    fn named_of_row(&mut self, name: &str) -> bool {
        let of_row = |function: &Arc<crate::catalog::Function>| {
            function.takes(1)
                && function.arguments.first().is_some_and(|oid| {
                    self.catalog().row_relation(*oid).is_some()
                        || self.catalog().type_of(*oid).is_some_and(|found| found.kind == 'p')
                })
        };
        let found = self.catalog().find_functions(&self.path, name).filter(|found| !found.is_built_in()).any(of_row);
        if found {
            self.named_function(None, name);
        }
        found
    }

    /// A type of a name: its checks, and every cast to or from it.
    fn named_type(&mut self, name: &str) {
        let found = self.catalog().types_named(name);
        for oid in found {
            self.type_checks(oid);
            self.cast_functions(0, oid);
            self.cast_functions(oid, 0);
        }
    }
}

/// The columns of a relation that a source names, or all of them where it takes whole rows.
pub(super) fn columns_named(relation: &Arc<Relation>, source: &str) -> Vec<ColumnId> {
    let words = words(source);
    let named: BTreeSet<&str> = words.iter().filter(|word| word.name).map(|word| word.text.as_str()).collect();
    let row = words.iter().enumerate().any(|(at, word)| {
        let text = |at: usize| words.get(at).map_or("", |word| word.text.as_str());
        let returned = at > 0 && text(at - 1) == "return" && text(at + 1) == ";";
        ["new", "old"].contains(&word.text.as_str()) && text(at + 1) != "." && !returned
    }) || words.iter().any(|word| word.text == "*");
    let fields = stored(relation);
    let wanted = fields.iter().filter(|field| row || named.contains(&*field.name));
    wanted.flat_map(|field| field.value.sources.iter().copied()).collect()
}
