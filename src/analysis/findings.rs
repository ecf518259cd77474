//! What a person who decides on a statement should know of it: rewrites, strong locks, missing WHERE, drops.

use super::analyzer::Analyzer;
use super::parse::{Node, nodes, raw};

/// The findings of a statement, in plain words.
pub(super) fn of(analyzer: &mut Analyzer<'_>, node: Node<'_>) -> Vec<String> {
    match node {
        Node::AlterTableStmt(alter) => alter
            .cmds()
            .iter()
            .filter_map(|node| match node {
                Node::AlterTableCmd(cmd) => alter_finding(cmd),
                _ => None,
            })
            .collect(),
        Node::IndexStmt(index) if !index.concurrent => {
            vec!["CREATE INDEX without CONCURRENTLY blocks writes until the index is built".to_owned()]
        }
        Node::DropStmt(drop) => dropped(analyzer, drop),
        Node::TruncateStmt(truncate) => {
            let mut found = vec!["TRUNCATE removes all rows under an ACCESS EXCLUSIVE lock".to_owned()];
            if truncate.behavior == raw::DropBehavior::DROP_CASCADE {
                found.push("CASCADE truncates every table that refers to it as well".to_owned());
            }
            found
        }
        Node::DeleteStmt(delete) if matches!(delete.where_clause(), Node::None) && delete.using_clause().is_empty() => {
            vec!["DELETE without WHERE removes all rows".to_owned()]
        }
        Node::UpdateStmt(update) if matches!(update.where_clause(), Node::None) && update.from_clause().is_empty() => {
            vec!["UPDATE without WHERE changes all rows".to_owned()]
        }
        Node::VacuumStmt(vacuum)
            if vacuum.is_vacuumcmd && vacuum.options().iter().any(|option| option.defname() == Some("full")) =>
        {
            vec!["VACUUM FULL rewrites the table under an ACCESS EXCLUSIVE lock".to_owned()]
        }
        Node::ClusterStmt(_) => vec!["CLUSTER rewrites the table under an ACCESS EXCLUSIVE lock".to_owned()],
        Node::RefreshMatViewStmt(refresh) if !refresh.concurrent => {
            vec!["REFRESH without CONCURRENTLY blocks readers until it is done".to_owned()]
        }
        Node::ReindexStmt(_) => vec!["REINDEX without CONCURRENTLY blocks writes".to_owned()],
        Node::LockStmt(_) => vec!["LOCK holds until the transaction ends".to_owned()],
        Node::RenameStmt(_) => vec!["RENAME breaks whoever uses the old name".to_owned()],
        Node::DropOwnedStmt(_) => vec!["DROP OWNED drops every object of the role in this database".to_owned()],
        Node::DropdbStmt(_) => vec!["DROP DATABASE cannot be undone".to_owned()],
        _ => Vec::new(),
    }
}

fn dropped(analyzer: &mut Analyzer<'_>, drop: &nodes::DropStmt) -> Vec<String> {
    let mut found = Vec::new();
    if drop.behavior == raw::DropBehavior::DROP_CASCADE {
        found.push("CASCADE drops whatever depends on it".to_owned());
    }
    let tuples: Vec<String> = analyzer
        .touched
        .relations
        .iter()
        .filter_map(|oid| analyzer.context.catalog.relation(*oid))
        .filter(|relation| relation.stores() && relation.tuples > 0.0)
        .map(|relation| format!("{}.{} holds about {:.0} rows", relation.schema, relation.name, relation.tuples))
        .collect();
    found.extend(tuples);
    found
}

/// The table of what ALTER TABLE costs (the manual, ALTER TABLE, Notes).
fn alter_finding(cmd: &nodes::AlterTableCmd) -> Option<String> {
    use raw::AlterTableType as A;
    let text = match cmd.subtype {
        A::AT_AlterColumnType => {
            "ALTER COLUMN TYPE rewrites the table under an ACCESS EXCLUSIVE lock unless the types are alike"
        }
        A::AT_SetNotNull => "SET NOT NULL scans the whole table under an ACCESS EXCLUSIVE lock",
        A::AT_DropColumn => "DROP COLUMN loses the column's data",
        A::AT_AddColumn => return added(cmd),
        A::AT_AddConstraint => return constrained(cmd),
        A::AT_SetLogged | A::AT_SetUnLogged | A::AT_SetAccessMethod | A::AT_SetTableSpace => {
            "it rewrites the table under an ACCESS EXCLUSIVE lock"
        }
        A::AT_SetExpression => "SET EXPRESSION rewrites the table under an ACCESS EXCLUSIVE lock",
        A::AT_AttachPartition => "ATTACH PARTITION scans the partition unless a constraint proves its bounds",
        A::AT_DetachPartition => "DETACH PARTITION without CONCURRENTLY takes an ACCESS EXCLUSIVE lock",
        A::AT_DisableRowSecurity | A::AT_NoForceRowSecurity => "it switches row-level security off",
        A::AT_DisableTrig | A::AT_DisableTrigAll | A::AT_DisableTrigUser => "it switches triggers off",
        A::AT_DropConstraint => "DROP CONSTRAINT lets rows in that the constraint kept out",
        _ => return None,
    };
    let mut text = text.to_owned();
    if cmd.behavior == raw::DropBehavior::DROP_CASCADE {
        text.push_str("; CASCADE drops whatever depends on it");
    }
    Some(text)
}

fn added(cmd: &nodes::AlterTableCmd) -> Option<String> {
    let Node::ColumnDef(column) = cmd.def() else { return None };
    let mut found = None;
    for node in column.constraints() {
        if let Node::Constraint(constraint) = node {
            match constraint.contype {
                raw::ConstrType::CONSTR_GENERATED | raw::ConstrType::CONSTR_IDENTITY => {
                    found = Some("ADD COLUMN with a generated value rewrites the table under an ACCESS EXCLUSIVE lock");
                }
                raw::ConstrType::CONSTR_DEFAULT if matches!(constraint.raw_expr(), Node::FuncCall(_)) => {
                    found =
                        Some("ADD COLUMN with a volatile default rewrites the table under an ACCESS EXCLUSIVE lock");
                }
                raw::ConstrType::CONSTR_UNIQUE | raw::ConstrType::CONSTR_PRIMARY => {
                    found = Some("ADD COLUMN with a key builds an index under an ACCESS EXCLUSIVE lock");
                }
                _ => {}
            }
        }
    }
    found.map(str::to_owned)
}

fn constrained(cmd: &nodes::AlterTableCmd) -> Option<String> {
    let Node::Constraint(constraint) = cmd.def() else { return None };
    let text = match constraint.contype {
        raw::ConstrType::CONSTR_FOREIGN | raw::ConstrType::CONSTR_CHECK if !constraint.skip_validation => {
            "ADD CONSTRAINT without NOT VALID scans the whole table under a strong lock"
        }
        raw::ConstrType::CONSTR_UNIQUE | raw::ConstrType::CONSTR_PRIMARY if constraint.indexname().is_none() => {
            "ADD CONSTRAINT builds an index under an ACCESS EXCLUSIVE lock"
        }
        _ => return None,
    };
    Some(text.to_owned())
}
