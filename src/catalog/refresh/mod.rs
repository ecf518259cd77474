//! A catalog that follows its database: one question says what has changed since it was read, and only that is read anew.
//!
//! A row of the server's own tables carries the transaction that wrote it, and a transaction that ended before a catalog
//! was read is in it. So the first question lists the rows that are younger; the sums of the keys of all rows tell whether
//! some have gone. What is printed, such as the query of a view, changes with the names that are in it as well: what depends
//! on something that has changed is read anew too. Whoever asks runs the questions in this order:
//! [`Refresh::survey`], [`Refresh::details`], [`Refresh::reads`].

mod classes;
mod ledger;
mod survey;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use self::classes::{CLASSES, Class, Part};
use self::ledger::Changed;
pub(super) use self::ledger::Ledger;
use self::survey::Survey;
use super::model::FIRST_USER_OID;
use super::source::{self, CatalogQuery};
use super::{Catalog, CatalogBuilder, CatalogError, Oid};

/// Numbers of transactions come again after twice as many; a catalog that is so old is read as a whole.
const TRANSACTIONS_MAX: u64 = 1 << 30;

/// Beyond so many relations, types and functions everything is read: it costs no more.
const CHANGED_MAX: usize = 20_000;

/// What comes after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing has changed.
    Same,
    /// Go on.
    On,
    /// What has changed may be in everything: begin again, without a catalog.
    Anew,
}

/// One way from a catalog to the next.
#[derive(Debug)]
pub struct Refresh {
    base: Option<Arc<Catalog>>,
    ledger: Ledger,
    survey: Survey,
    changed: Changed,
    unlike: Vec<&'static Class>,
    /// Sections that are read as a whole are read.
    with_rest: bool,
    with_names: bool,
    with_sizes: bool,
}

impl Refresh {
    /// From a catalog that was read by questions like these; from nothing where there is none.
    #[must_use]
    pub fn from(base: Option<&Arc<Catalog>>) -> Self {
        let base = base.filter(|base| base.ledger.is_some()).cloned();
        let ledger = base.as_ref().and_then(|base| base.ledger.as_deref()).cloned().unwrap_or_default();
        Self {
            base,
            ledger,
            survey: Survey::default(),
            changed: Changed::new(),
            unlike: Vec::new(),
            with_rest: true,
            with_names: true,
            with_sizes: true,
        }
    }

    /// The first question: one text a row.
    #[must_use]
    pub fn survey(&self) -> String {
        Survey::sql(self.base.as_ref().map(|_| &self.ledger))
    }

    /// Takes its answer.
    ///
    /// # Errors
    /// It is not the answer to that question.
    pub fn surveyed<'r>(&mut self, answer: impl IntoIterator<Item = &'r str>) -> Result<Next, CatalogError> {
        let survey = Survey::read(answer)?;
        let known = &self.ledger;
        if self.base.is_none() {
            self.ledger.enter(&survey);
        } else {
            let old = survey.next.abs_diff(known.cut) > TRANSACTIONS_MAX;
            if old || survey.place != known.place {
                return Ok(Next::Anew);
            }
            self.with_rest = survey.rest != known.rest;
            self.with_names = survey.names_sum != known.names_sum;
            self.with_sizes = survey.sizes != known.sizes;
            self.changed = self.ledger.enter(&survey);
            self.unlike = self.ledger.unlike(&survey);
        }
        self.ledger.names_sum.clone_from(&survey.names_sum);
        self.survey = survey;
        let changed = self.changed.values().any(|oids| !oids.is_empty()) || !self.unlike.is_empty();
        let same = self.base.is_some() && !changed && !self.with_rest && !self.with_names;
        Ok(if same { Next::Same } else { self.may_go_on() })
    }

    fn may_go_on(&self) -> Next {
        let many = self.changed.values().map(BTreeSet::len).sum::<usize>() > CHANGED_MAX;
        // What depends on the server's own objects is not written down.
        let own = self.changed.values().filter_map(BTreeSet::first).any(|oid| *oid < FIRST_USER_OID);
        if self.base.is_some() && (many || own) { Next::Anew } else { Next::On }
    }

    /// The second question, where there is one: one text a row.
    #[must_use]
    pub fn details(&self) -> Option<String> {
        let mut parts: Vec<String> = self.unlike.iter().map(|class| class.list()).collect();
        if self.with_names {
            parts.push(survey::names());
        }
        if self.base.is_some() {
            parts.extend(self.dependents());
        }
        (!parts.is_empty()).then(|| parts.join(" UNION ALL "))
    }

    /// Asks what prints the names of what has changed.
    fn dependents(&self) -> Option<String> {
        let kinds = [(Part::Relation, 1259), (Part::Type, 1247), (Part::Function, 1255), (Part::Operator, 2617)];
        let mut of = Vec::new();
        for (part, class) in kinds {
            let known = |oid: &&Oid| part == Part::Operator || self.is_known(part, **oid);
            let oids: Vec<Oid> = self.changed.get(&part).into_iter().flatten().filter(known).copied().collect();
            if !oids.is_empty() {
                of.push(format!(
                    "SELECT classid, objid FROM pg_catalog.pg_depend WHERE refclassid OPERATOR(pg_catalog.=) {class} \
                     AND refobjid OPERATOR(pg_catalog.=) {}",
                    any(&oids)
                ));
            }
        }
        if of.is_empty() {
            return None;
        }
        let mut text = format!("SELECT * FROM (WITH d AS MATERIALIZED ({}) ", of.join(" UNION "));
        for (place, (kind, owner, table, key, class)) in DEPENDENTS.iter().enumerate() {
            let union = if place == 0 { "" } else { " UNION ALL " };
            // Writing to a text cannot fail.
            let _written = write!(
                text,
                "{union}SELECT pg_catalog.concat_ws('|', '{kind}', pg_catalog.string_agg(CAST(t.{owner} AS pg_catalog.text), ' ')) \
                 FROM pg_catalog.{table} t JOIN d ON d.classid OPERATOR(pg_catalog.=) {class} AND d.objid OPERATOR(pg_catalog.=) t.{key}"
            );
        }
        text.push_str(") AS x");
        Some(text)
    }

    fn is_known(&self, part: Part, oid: Oid) -> bool {
        self.base.as_ref().is_none_or(|base| match part {
            Part::Relation => base.store.relations.contains_key(&oid),
            Part::Type => base.store.types.contains_key(&oid),
            Part::Function => base.store.function_oids.contains_key(&oid),
            Part::Operator => true,
        })
    }

    /// Takes the answer to the second question.
    ///
    /// # Errors
    /// It is not the answer to that question.
    pub fn detailed<'r>(&mut self, answer: impl IntoIterator<Item = &'r str>) -> Result<Next, CatalogError> {
        let mut names = std::collections::BTreeMap::new();
        for text in answer {
            let (what, rest) = text.split_once('|').unwrap_or((text, ""));
            if what == "name" {
                let mut fields = rest.splitn(3, '|');
                let (kind, oid) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
                names.insert(format!("{kind} {oid}"), fields.next().unwrap_or_default().to_owned());
            } else if let Some(class) = CLASSES.iter().find(|class| class.name == what) {
                let rows = survey::rows(rest).ok_or_else(|| survey::unread(text))?;
                self.ledger.replace(class, &rows, &mut self.changed);
            } else {
                self.depends(what, rest).ok_or_else(|| survey::unread(text))?;
            }
        }
        if self.with_names {
            let known = std::mem::replace(&mut self.ledger.names, names);
            let is_renamed =
                |(key, name): (&String, &String)| self.ledger.names.get(key).is_some_and(|now| now != name);
            if known.iter().any(is_renamed) {
                return Ok(Next::Anew);
            }
        }
        Ok(self.may_go_on())
    }

    fn depends(&mut self, what: &str, oids: &str) -> Option<()> {
        let part = match what {
            "of relation" => Part::Relation,
            "of type" => Part::Type,
            "of function" => Part::Function,
            _ => return None,
        };
        let known = self.changed.entry(part).or_default();
        for oid in oids.split(' ').filter(|oid| !oid.is_empty()) {
            let oid: Oid = oid.parse().ok()?;
            // A constraint is of a relation or of a type.
            if oid != 0 {
                known.insert(oid);
            }
        }
        Some(())
    }

    /// The last questions, under the search path `pg_catalog, pg_temp`: names as in [`source::QUERIES`], one text a row.
    #[must_use]
    pub fn reads(&self) -> Vec<(&'static str, String)> {
        source::QUERIES.iter().filter_map(|query| Some((query.name, self.read(query)?))).collect()
    }

    fn read(&self, query: &CatalogQuery) -> Option<String> {
        if self.base.is_none() {
            return Some(query.sql.to_owned());
        }
        let part = match query.name {
            source::SIZES if self.with_sizes => return Some(query.sql.to_owned()),
            source::TYPES => Part::Type,
            source::FUNCTIONS => Part::Function,
            name if source::is_of_relations(name) => Part::Relation,
            _ => return (self.with_rest || self.with_names).then(|| query.sql.to_owned()),
        };
        let oids: Vec<Oid> = self.changed.get(&part).into_iter().flatten().copied().collect();
        (!oids.is_empty()).then(|| query.only(&any(&oids)))
    }

    /// The search path that the session had at the first question, to be set again.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.survey.path
    }

    /// Collects what [`Self::reads`] brings; [`Self::finish`] takes it.
    #[must_use]
    pub fn builder(&self) -> CatalogBuilder {
        let Some(base) = &self.base else { return CatalogBuilder::new() };
        let oids = |part| self.changed.get(&part).cloned().unwrap_or_default();
        let mut builder = CatalogBuilder::over(base);
        builder.forget_relations(&oids(Part::Relation));
        builder.forget_types(&oids(Part::Type));
        builder.forget_functions(&oids(Part::Function));
        if self.with_rest || self.with_names {
            builder.forget_rest();
        }
        builder
    }

    /// The next catalog.
    #[must_use]
    pub fn finish(self, builder: CatalogBuilder) -> Catalog {
        let mut catalog = builder.finish();
        catalog.ledger = Some(Arc::new(self.ledger));
        catalog
    }
}

/// What prints names: what it is part of, where that is written, the table, its key, and the number by which it depends.
const DEPENDENTS: &[(&str, &str, &str, &str, Oid)] = &[
    ("of relation", "ev_class", "pg_rewrite", "oid", 2618),
    ("of relation", "adrelid", "pg_attrdef", "oid", 2604),
    ("of relation", "conrelid", "pg_constraint", "oid", 2606),
    ("of type", "contypid", "pg_constraint", "oid", 2606),
    ("of relation", "polrelid", "pg_policy", "oid", 3256),
    ("of relation", "tgrelid", "pg_trigger", "oid", 2620),
    ("of relation", "stxrelid", "pg_statistic_ext", "oid", 3381),
    ("of relation", "indrelid", "pg_index", "indexrelid", 1259),
    ("of relation", "partrelid", "pg_partitioned_table", "partrelid", 1259),
    ("of function", "oid", "pg_proc", "oid", 1255),
];

fn any(oids: &[Oid]) -> String {
    let oids: Vec<String> = oids.iter().map(Oid::to_string).collect();
    format!("ANY (CAST('{{{}}}' AS pg_catalog.oid[]))", oids.join(","))
}
