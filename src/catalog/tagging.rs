//! Tags by column: from comments, from rules, and from what is known of the server's own views.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::model::Store;
use super::tags::TagRules;
use super::{Catalog, Oid, Relation, Remembered, Tag};

/// What columns with values out of other tables or statements carry.
const SYSTEM_VALUES: &str = "system.values";
/// What columns with password hashes and keys carry.
const SYSTEM_AUTHENTICATION: &str = "system.authentication";

pub(super) type Tags = HashMap<(Oid, i16), Arc<[Tag]>>;

/// Columns of the server's own relations whose values come out of user data or statements.
const VALUE_COLUMNS: &[(&str, &[&str], &str)] = &[
    (
        "pg_stats",
        &[
            "most_common_vals",
            "histogram_bounds",
            "most_common_elems",
            "range_length_histogram",
            "range_bounds_histogram",
        ],
        SYSTEM_VALUES,
    ),
    ("pg_stats_ext", &["most_common_vals"], SYSTEM_VALUES),
    ("pg_stats_ext_exprs", &["most_common_vals", "histogram_bounds", "most_common_elems"], SYSTEM_VALUES),
    ("pg_statistic", &["stavalues1", "stavalues2", "stavalues3", "stavalues4", "stavalues5"], SYSTEM_VALUES),
    ("pg_statistic_ext_data", &["stxdmcv", "stxdexpr"], SYSTEM_VALUES),
    ("pg_stat_activity", &["query"], SYSTEM_VALUES),
    ("pg_stat_statements", &["query"], SYSTEM_VALUES),
    ("pg_prepared_statements", &["statement"], SYSTEM_VALUES),
    ("pg_cursors", &["statement"], SYSTEM_VALUES),
    ("pg_largeobject", &["data"], SYSTEM_VALUES),
    ("pg_authid", &["rolpassword"], SYSTEM_AUTHENTICATION),
    ("pg_shadow", &["passwd"], SYSTEM_AUTHENTICATION),
    ("pg_user_mapping", &["umoptions"], SYSTEM_AUTHENTICATION),
    ("pg_user_mappings", &["umoptions"], SYSTEM_AUTHENTICATION),
    ("user_mapping_options", &["option_value"], SYSTEM_AUTHENTICATION),
    ("_pg_user_mappings", &["umoptions"], SYSTEM_AUTHENTICATION),
    ("pg_subscription", &["subconninfo"], SYSTEM_AUTHENTICATION),
];

/// The value columns of a relation of the server or of `pg_stat_statements`.
pub(super) fn value_columns(relation: &Relation) -> impl Iterator<Item = (&'static [&'static str], &'static str)> {
    let known = relation.is_built_in() || &*relation.name == "pg_stat_statements";
    let name = Arc::clone(&relation.name);
    VALUE_COLUMNS.iter().filter(move |(view, ..)| known && *view == &*name).map(|(_, columns, tag)| (*columns, *tag))
}

/// Tags that need no rule: comments and the server's own.
pub(super) fn own_tags(store: &Store) -> Tags {
    let mut tags: HashMap<(Oid, i16), BTreeSet<Tag>> = HashMap::new();
    for relation in store.relations.values() {
        for (columns, tag) in value_columns(relation) {
            for column in columns.iter().filter_map(|name| relation.column(name)) {
                tags.entry((relation.oid, column.number)).or_default().insert(tag.into());
            }
        }
        for column in &relation.columns {
            let found = column.comment.as_deref().map(comment_tags).unwrap_or_default();
            if !found.is_empty() {
                tags.entry((relation.oid, column.number)).or_default().extend(found);
            }
        }
    }
    spread(store, &mut tags);
    tags.into_iter().map(|(place, tags)| (place, tags.into_iter().collect())).collect()
}

/// The tags in a comment: `@pii(user.contact.email)`, several by commas or by further `@pii(…)`.
#[must_use]
pub fn comment_tags(comment: &str) -> Vec<Tag> {
    comment
        .split("@pii(")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .flat_map(|(tags, _)| tags.split(','))
        .map(str::trim)
        .filter(|tag| !tag.is_empty())
        .map(Tag::from)
        .collect()
}

/// A child's column has what its parents' columns of the same name have.
pub(super) fn inherit<T: Clone + Ord>(store: &Store, found: &mut HashMap<(Oid, i16), BTreeSet<T>>) -> bool {
    // A chain of parents is as deep as the number of relations at most; the loop ends when nothing changes.
    let mut ever = false;
    let mut changed = true;
    while changed {
        changed = false;
        for (parent, children) in &store.children {
            let Some(parent) = store.relations.get(parent) else { continue };
            for column in &parent.columns {
                let Some(above) = found.get(&(parent.oid, column.number)).cloned() else { continue };
                for child in children.iter().filter_map(|child| store.relations.get(child)) {
                    let Some(own) = child.column(&column.name) else { continue };
                    let known = found.entry((child.oid, own.number)).or_default();
                    let before = known.len();
                    known.extend(above.iter().cloned());
                    changed |= known.len() != before;
                }
            }
        }
        ever |= changed;
    }
    ever
}

/// The tags that values of a type carry: those of a row's columns, of what a domain is over, of an array's elements.
fn type_tags(store: &Store, tags: &HashMap<(Oid, i16), BTreeSet<Tag>>) -> HashMap<Oid, BTreeSet<Tag>> {
    let mut found: HashMap<Oid, BTreeSet<Tag>> = HashMap::new();
    for ((relation, _), own) in tags {
        let made = store.relations.get(relation).is_some_and(|relation| !relation.is_built_in());
        if let Some(row_type) = store.row_types.get(relation).filter(|_| made) {
            found.entry(*row_type).or_default().extend(own.iter().cloned());
        }
    }
    let mut changed = !found.is_empty();
    while changed {
        changed = false;
        for made_of in store.types.values() {
            let parts = [made_of.base, made_of.element, made_of.subtype];
            let above: BTreeSet<Tag> = parts.iter().filter_map(|part| found.get(part)).flatten().cloned().collect();
            if !above.is_empty() {
                let known = found.entry(made_of.oid).or_default();
                let before = known.len();
                known.extend(above);
                changed |= known.len() != before;
            }
        }
    }
    found
}

/// A column has the tags of its parents' columns, and those that values of its type carry.
fn spread(store: &Store, tags: &mut HashMap<(Oid, i16), BTreeSet<Tag>>) {
    let mut changed = true;
    while changed {
        changed = inherit(store, tags);
        let carried = type_tags(store, tags);
        if carried.is_empty() {
            continue;
        }
        for relation in store.relations.values() {
            for column in &relation.columns {
                let Some(found) = carried.get(&column.type_oid) else { continue };
                let known = tags.entry((relation.oid, column.number)).or_default();
                let before = known.len();
                known.extend(found.iter().cloned());
                changed |= known.len() != before;
            }
        }
    }
}

impl Catalog {
    /// The same catalog, its columns tagged by the rules as well.
    #[must_use]
    pub fn with_tags(&self, database: &str, rules: &TagRules) -> Self {
        self.with_memory(database, rules, &Remembered::default())
    }

    /// The same catalog, its columns tagged by the rules, by the names that they had, and by what came into them.
    #[must_use]
    pub fn with_memory(&self, database: &str, rules: &TagRules, memory: &Remembered) -> Self {
        let own = own_tags(&self.store);
        let mut tags: HashMap<(Oid, i16), BTreeSet<Tag>> =
            own.into_iter().map(|(place, tags)| (place, tags.iter().cloned().collect())).collect();
        for relation in self.store.relations.values().filter(|relation| !relation.is_built_in()) {
            for column in &relation.columns {
                let found = rules.tags_for(database, &relation.schema, &relation.name, &column.name);
                if !found.is_empty() {
                    tags.entry((relation.oid, column.number)).or_default().extend(found);
                }
            }
        }
        for (key, names) in memory.names.iter().filter(|(key, _)| self.has(key)) {
            for name in names {
                let found = rules.tags_for(database, &name.schema, &name.relation, &name.column);
                tags.entry((key.relation, key.number)).or_default().extend(found);
            }
        }
        for (key, found) in memory.derived.iter().filter(|(key, _)| self.has(key)) {
            tags.entry((key.relation, key.number)).or_default().extend(found.iter().cloned());
        }
        for (key, expected) in self.found(&memory.expected) {
            tags.entry((key.relation, key.number)).or_default().insert(Arc::clone(&expected.tag));
        }
        spread(&self.store, &mut tags);
        tags.retain(|_, found| !found.is_empty());
        let mut order: Vec<_> = tags.iter().collect();
        order.sort();
        let mut hash = DefaultHasher::new();
        self.content.hash(&mut hash);
        order.hash(&mut hash);
        rules.vouched().hash(&mut hash);
        let tags = tags.into_iter().map(|(place, tags)| (place, tags.into_iter().collect())).collect();
        Self { tags: Arc::new(tags), signature: hash.finish(), ..self.with_vouched(rules.vouched()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_names_tags() {
        let tags = comment_tags("how we write to them @pii(user.contact.email, user.name) and @pii(system.x)");
        assert_eq!(tags.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["user.contact.email", "user.name", "system.x"]);
        assert!(comment_tags("no tag here").is_empty());
    }
}
