//! Identifiers and search paths, as the server reads them.

use std::sync::Arc;

use super::{Catalog, Function, PG_TEMP, Relation, Type};

/// The most bytes that an identifier has (`NAMEDATALEN - 1`).
pub const IDENTIFIER_MAX: usize = 63;

/// Cuts an identifier as `truncate_identifier` does: at 63 bytes, never inside a character.
#[must_use]
pub fn clip(name: &str) -> &str {
    let mut end = name.len().min(IDENTIFIER_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or(name)
}

/// Folds an unquoted identifier: ASCII letters to lower case, then cut.
#[must_use]
pub fn fold(name: &str) -> String {
    clip(&name.to_ascii_lowercase()).to_owned()
}

/// The schemas in which an unqualified name is looked for, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SearchPath(Vec<Arc<str>>);

impl SearchPath {
    /// The effective path of a `search_path` for a role: `"$user"` is the role's schema, schemas that do not exist are
    /// left out, and `pg_catalog` stands first where it is not named.
    ///
    /// `pg_temp` is first for relations and types unless it is named elsewhere, and never searched for functions and
    /// operators; the lookups below see to that.
    #[must_use]
    pub fn new(catalog: &Catalog, path: &[String], role: &str) -> Self {
        let mut schemas: Vec<Arc<str>> = Vec::with_capacity(path.len() + 1);
        for name in path {
            let name = if name == "$user" { role } else { name.as_str() };
            if (catalog.has_schema(name) || name == PG_TEMP) && !schemas.iter().any(|known| &**known == name) {
                schemas.push(name.into());
            }
        }
        if !schemas.iter().any(|name| &**name == "pg_catalog") {
            schemas.insert(0, "pg_catalog".into());
        }
        Self(schemas)
    }

    /// The path of definitions that the server prints: everything but `pg_catalog` is qualified in them, and the session's
    /// own temporary relations where they are not hidden by it.
    #[must_use]
    pub fn of_definitions(catalog: &Catalog) -> Self {
        Self::new(catalog, &["pg_catalog".to_owned(), PG_TEMP.to_owned()], "")
    }

    /// The schemas in order.
    #[must_use]
    pub fn schemas(&self) -> &[Arc<str>] {
        &self.0
    }

    /// The schemas in which relations and types are looked for: temporary ones first, unless the path says where.
    fn for_relations(&self) -> impl Iterator<Item = &str> {
        let named = self.0.iter().any(|name| &**name == PG_TEMP);
        let first = if named { None } else { Some(PG_TEMP) };
        first.into_iter().chain(self.0.iter().map(|name| &**name))
    }

    /// Where an unqualified new relation goes.
    #[must_use]
    pub fn creation(&self) -> Option<&Arc<str>> {
        let mut named = self.0.iter();
        let first = named.next()?;
        if &**first == "pg_catalog" && self.0.len() > 1 { named.next() } else { Some(first) }
    }
}

impl Catalog {
    /// The relation that an unqualified name means. A snapshot that was read on the session's own connection has its
    /// temporary relations too.
    #[must_use]
    pub fn find_relation(&self, path: &SearchPath, name: &str) -> Option<&Arc<Relation>> {
        path.for_relations().find_map(|schema| self.relation_in(schema, name))
    }

    /// The type that an unqualified name means.
    #[must_use]
    pub fn find_type(&self, path: &SearchPath, name: &str) -> Option<&Type> {
        path.for_relations().find_map(|schema| self.type_in(schema, name))
    }

    /// All functions of that name along the path, the nearest schema first.
    pub fn find_functions<'a>(
        &'a self,
        path: &'a SearchPath,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Function>> {
        path.schemas()
            .iter()
            .filter(|schema| &***schema != PG_TEMP)
            .flat_map(move |schema| self.functions_in(schema, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_cut_at_63_bytes_on_a_character() {
        let long = format!("{}é", "a".repeat(62));
        assert_eq!(clip(&long), "a".repeat(62));
        assert_eq!(clip("short"), "short");
    }

    #[test]
    fn only_ascii_letters_are_folded() {
        assert_eq!(fold("EMaiL"), "email");
        assert_eq!(fold("É"), "É");
    }

    #[test]
    fn pg_catalog_stands_first_unless_it_is_named() {
        let catalog = Catalog::empty();
        let path = SearchPath::new(&catalog, &["pg_temp".to_owned()], "bob");
        assert_eq!(path.schemas().iter().map(|name| &**name).collect::<Vec<_>>(), ["pg_catalog", "pg_temp"]);
    }
}
