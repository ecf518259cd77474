//! Which writes and definitions are reads too: an allow for writes alone does not cover them.

use super::super::parse::{Node, nodes};

/// Whether a statement that is no read by its name takes rows from a query or a relation, or gives some back.
pub(in super::super) fn also_reads(node: Node<'_>) -> bool {
    match node {
        Node::InsertStmt(insert) => {
            is_query(insert.select_stmt()) || insert.with_clause().is_some() || insert.returning_clause().is_some()
        }
        Node::UpdateStmt(update) => {
            !update.from_clause().is_empty() || update.with_clause().is_some() || update.returning_clause().is_some()
        }
        Node::DeleteStmt(delete) => {
            !delete.using_clause().is_empty() || delete.with_clause().is_some() || delete.returning_clause().is_some()
        }
        Node::MergeStmt(_) => true,
        Node::CreateTableAsStmt(create) => !matches!(create.query(), Node::ExecuteStmt(_)),
        _ => false,
    }
}

/// A query, and not rows that the text itself spells out.
fn is_query(node: Node<'_>) -> bool {
    match node {
        Node::SelectStmt(select) => select.values_lists().is_empty() || is_nested(select),
        _ => false,
    }
}

/// A set operation holds its queries in its arms; VALUES may come with a WITH.
fn is_nested(select: &nodes::SelectStmt) -> bool {
    select.larg().is_some() || select.with_clause().is_some()
}
