//! `set_config`: which setting a call changes, and whether its value is known.

use super::analyzer::Analyzer;
use super::facts::{Kind, SessionEffect};
use super::kinds::is_identity_setting;
use super::parse::{Node, constant_text, nodes, raw, strings};
use super::scope::{Rel, Scope};
use super::touch::Value;
use crate::catalog::Oid;

/// The one setting that all rows of a query are about: `FROM pg_settings WHERE name = 'x'`.
#[derive(Clone, Debug)]
pub(super) struct OneSetting {
    /// The query's only relation, `pg_settings`.
    rel: Rel,
    name: String,
}

/// The type `text`, of `pg_settings.name`.
const TEXT: Oid = 25;

impl Analyzer<'_> {
    /// What a call of `set_config` changes; what its arguments are made from is known.
    pub(super) fn set_config_call(&mut self, call: &nodes::FuncCall, values: &[Value]) {
        let mut arguments = call.args().iter();
        let (name, value) = (arguments.next().unwrap_or(Node::None), arguments.next().unwrap_or(Node::None));
        let Some(name) = constant_text(name).or_else(|| self.named_by_row(name)) else {
            self.touched.opaque("it changes a setting that its text does not name");
            return;
        };
        let name = name.to_ascii_lowercase();
        let text = constant_text(value);
        // What comes from a column would be read back by SHOW, which names no column.
        let from_columns = values.get(1).is_none_or(|value| !value.sources.is_empty());
        if text.is_none() && (decides_meaning(&name) || from_columns) {
            self.touched.opaque(format!("it sets {name} to a value that is not in its text"));
        }
        self.touched.acts = true;
        if is_identity_setting(&name) {
            self.touched.kinds.insert(Kind::Dcl);
        }
        self.touched.effects.push(SessionEffect::Set { name, value: text });
    }

    fn named_by_row(&self, node: Node<'_>) -> Option<String> {
        let one = self.one_setting.as_ref()?;
        self.is_setting_name(node, &one.rel).then(|| one.name.clone())
    }

    /// The setting that a query of `pg_settings` alone is about.
    pub(super) fn one_setting(&self, select: &nodes::SelectStmt, scope: &Scope<'_>) -> Option<OneSetting> {
        let [rel] = scope.rels.as_slice() else { return None };
        let relation = self.catalog().relation(rel.oid?)?;
        if &*relation.name != "pg_settings" || !relation.is_built_in() || self.equals_is_shadowed() {
            return None;
        }
        let name = self.equal_name(select.where_clause(), rel)?;
        Some(OneSetting { rel: rel.clone(), name })
    }

    /// Whether somebody's own `=` could compare texts otherwise.
    fn equals_is_shadowed(&self) -> bool {
        self.catalog().operators("=").iter().any(|operator| operator.left == TEXT || operator.right == TEXT)
    }

    /// The text that a condition, or one of its terms under AND, says the setting's name is equal to.
    fn equal_name(&self, node: Node<'_>, rel: &Rel) -> Option<String> {
        match node {
            Node::BoolExpr(terms) if terms.boolop == raw::BoolExprType::AND_EXPR => {
                terms.args().iter().find_map(|term| match term {
                    Node::A_Expr(_) => self.equal_name(term, rel),
                    _ => None,
                })
            }
            Node::A_Expr(expr)
                if expr.kind == raw::A_Expr_Kind::AEXPR_OP && strings(expr.name()).last() == Some(&"=") =>
            {
                let literal = matches!(expr.rexpr(), Node::A_Const(_)).then(|| constant_text(expr.rexpr()));
                literal.flatten().filter(|_| self.is_setting_name(expr.lexpr(), rel))
            }
            _ => None,
        }
    }

    /// Whether an expression is the column `name` of this very relation, whatever its alias calls it.
    fn is_setting_name(&self, node: Node<'_>, rel: &Rel) -> bool {
        let Node::ColumnRef(column) = node else { return false };
        let field = match strings(column.fields()).as_slice() {
            [name] => rel.field(name),
            [alias, name] if **alias == *rel.alias => rel.field(name),
            _ => None,
        };
        let Some(source) = field.and_then(|value| value.sources.into_iter().next()) else { return false };
        self.catalog().relation(source.relation).is_some_and(|relation| {
            relation.columns.iter().any(|column| column.number == source.number && &*column.name == "name")
        })
    }
}

/// Settings whose value decides what later texts mean, who one is, or what the record says of it. Any other may be set
/// to a value that only the server sees, as a plain SET may set it to any literal.
fn decides_meaning(name: &str) -> bool {
    is_identity_setting(name)
        || matches!(name, "search_path" | "standard_conforming_strings" | "client_encoding")
        || name.strip_prefix(crate::ids::NAME).is_some_and(|rest| rest.starts_with('.'))
}
