//! Tags by column: from comments, from rules, and from what is known of the server's own views.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::model::Store;
use super::tags::TagRules;
use super::{Catalog, Oid, Relation, Tag};

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
    inherit(store, &mut tags);
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

/// A child's column has the tags of its parents' columns of the same name.
fn inherit(store: &Store, tags: &mut HashMap<(Oid, i16), BTreeSet<Tag>>) {
    // A chain of parents is as deep as the number of relations at most; the loop ends when nothing changes.
    let mut changed = true;
    while changed {
        changed = false;
        for (parent, children) in &store.children {
            let Some(parent) = store.relations.get(parent) else { continue };
            for column in &parent.columns {
                let Some(found) = tags.get(&(parent.oid, column.number)).cloned() else { continue };
                for child in children.iter().filter_map(|child| store.relations.get(child)) {
                    let Some(own) = child.column(&column.name) else { continue };
                    let known = tags.entry((child.oid, own.number)).or_default();
                    let before = known.len();
                    known.extend(found.iter().cloned());
                    changed |= known.len() != before;
                }
            }
        }
    }
}

impl Catalog {
    /// The same catalog, its columns tagged by the rules as well.
    #[must_use]
    pub fn with_tags(&self, database: &str, rules: &TagRules) -> Self {
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
        inherit(&self.store, &mut tags);
        let mut order: Vec<_> = tags.iter().collect();
        order.sort();
        let mut hash = DefaultHasher::new();
        self.signature.hash(&mut hash);
        order.hash(&mut hash);
        let tags = tags.into_iter().map(|(place, tags)| (place, tags.into_iter().collect())).collect();
        Self { store: Arc::clone(&self.store), tags: Arc::new(tags), signature: hash.finish() }
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
