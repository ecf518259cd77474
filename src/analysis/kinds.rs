//! The closed-world table: every statement that the grammar makes, with its kind and its command tag.

mod nodes;
mod reads;

use self::nodes::{CREATE_FOREIGN_TABLE, Place, place};
pub(super) use self::reads::also_reads;
use super::facts::Kind;
use super::parse::{Node, nodes as grammar, raw};
use raw::ObjectType as O;

/// Kind and command of a statement; `None` for a node that is no statement or not listed: opaque.
#[expect(clippy::too_many_lines, reason = "one table, a line a statement")]
pub(super) fn classify(node: Node<'_>) -> Option<(Kind, String)> {
    use Kind::{Call, Dcl, Ddl, Export, Opaque, Read, Session, Transaction, Write};
    let (kind, command): (Kind, &str) = match node {
        Node::SelectStmt(select) => (Read, if select.into_clause().is_some() { "SELECT INTO" } else { "SELECT" }),
        Node::InsertStmt(_) => (Write, "INSERT"),
        Node::UpdateStmt(_) => (Write, "UPDATE"),
        Node::DeleteStmt(_) => (Write, "DELETE"),
        Node::MergeStmt(_) => (Write, "MERGE"),
        Node::CopyStmt(copy) => (if copy.is_from { Write } else { Export }, "COPY"),
        Node::ExplainStmt(_) => (Read, "EXPLAIN"),
        Node::PrepareStmt(_) => (Session, "PREPARE"),
        Node::ExecuteStmt(_) => (Session, "EXECUTE"),
        Node::DeallocateStmt(all) => (Session, if all.isall { "DEALLOCATE ALL" } else { "DEALLOCATE" }),
        Node::DeclareCursorStmt(_) => (Read, "DECLARE CURSOR"),
        Node::FetchStmt(fetch) => (Read, if fetch.ismove { "MOVE" } else { "FETCH" }),
        Node::ClosePortalStmt(close) => {
            (Session, if close.portalname().is_none() { "CLOSE CURSOR ALL" } else { "CLOSE CURSOR" })
        }
        Node::TransactionStmt(transaction) => return Some(transaction_command(transaction)),
        Node::VariableSetStmt(set) => return Some(set_command(set)),
        Node::VariableShowStmt(_) => (Session, "SHOW"),
        Node::ListenStmt(_) => (Session, "LISTEN"),
        Node::UnlistenStmt(_) => (Session, "UNLISTEN"),
        Node::NotifyStmt(_) => (Write, "NOTIFY"),
        Node::DiscardStmt(discard) => (
            Session,
            match discard.target {
                raw::DiscardMode::DISCARD_ALL => "DISCARD ALL",
                raw::DiscardMode::DISCARD_PLANS => "DISCARD PLANS",
                raw::DiscardMode::DISCARD_SEQUENCES => "DISCARD SEQUENCES",
                _ => "DISCARD TEMP",
            },
        ),
        Node::ConstraintsSetStmt(_) => (Session, "SET CONSTRAINTS"),
        Node::CheckPointStmt(_) => (Dcl, "CHECKPOINT"),
        Node::LoadStmt(_) => (Opaque, "LOAD"),
        Node::DoStmt(_) => (Call, "DO"),
        Node::CallStmt(_) => (Call, "CALL"),
        Node::LockStmt(lock) => (if lock.mode > 1 { Ddl } else { Transaction }, "LOCK TABLE"),
        Node::TruncateStmt(_) => (Ddl, "TRUNCATE TABLE"),
        Node::CommentStmt(_) => (Ddl, "COMMENT"),
        Node::SecLabelStmt(_) => (Dcl, "SECURITY LABEL"),
        Node::ClusterStmt(_) => (Ddl, "CLUSTER"),
        Node::ReindexStmt(_) => (Ddl, "REINDEX"),
        Node::VacuumStmt(vacuum) => vacuum_command(vacuum),
        Node::RefreshMatViewStmt(_) => (Ddl, "REFRESH MATERIALIZED VIEW"),
        Node::CreateTableAsStmt(create) => (
            Ddl,
            match create.objtype {
                O::OBJECT_MATVIEW => "CREATE MATERIALIZED VIEW",
                _ if create.is_select_into => "SELECT INTO",
                _ => "CREATE TABLE AS",
            },
        ),
        Node::CreateStmt(_) => (Ddl, "CREATE TABLE"),
        Node::ViewStmt(_) => (Ddl, "CREATE VIEW"),
        Node::IndexStmt(_) => (Ddl, "CREATE INDEX"),
        Node::CreateSeqStmt(_) => (Ddl, "CREATE SEQUENCE"),
        Node::AlterSeqStmt(_) => (Ddl, "ALTER SEQUENCE"),
        Node::CreateSchemaStmt(_) => (Ddl, "CREATE SCHEMA"),
        Node::CreateFunctionStmt(create) => {
            (Ddl, if create.is_procedure { "CREATE PROCEDURE" } else { "CREATE FUNCTION" })
        }
        Node::AlterFunctionStmt(alter) => return Some((Ddl, format!("ALTER {}", object(alter.objtype)))),
        Node::CreateTrigStmt(_) => (Ddl, "CREATE TRIGGER"),
        Node::CreateEventTrigStmt(_) => (Ddl, "CREATE EVENT TRIGGER"),
        Node::AlterEventTrigStmt(_) => (Ddl, "ALTER EVENT TRIGGER"),
        Node::RuleStmt(_) => (Ddl, "CREATE RULE"),
        Node::CreatePolicyStmt(_) => (Dcl, "CREATE POLICY"),
        Node::AlterPolicyStmt(_) => (Dcl, "ALTER POLICY"),
        Node::DefineStmt(define) => return Some((Ddl, format!("CREATE {}", object(define.kind)))),
        Node::CompositeTypeStmt(_) | Node::CreateEnumStmt(_) | Node::CreateRangeStmt(_) => (Ddl, "CREATE TYPE"),
        Node::AlterEnumStmt(_) | Node::AlterTypeStmt(_) => (Ddl, "ALTER TYPE"),
        Node::CreateDomainStmt(_) => (Ddl, "CREATE DOMAIN"),
        Node::AlterDomainStmt(_) => (Ddl, "ALTER DOMAIN"),
        Node::CreateOpClassStmt(_) => (Ddl, "CREATE OPERATOR CLASS"),
        Node::CreateOpFamilyStmt(_) => (Ddl, "CREATE OPERATOR FAMILY"),
        Node::AlterOpFamilyStmt(_) => (Ddl, "ALTER OPERATOR FAMILY"),
        Node::AlterOperatorStmt(_) => (Ddl, "ALTER OPERATOR"),
        Node::CreateCastStmt(_) => (Ddl, "CREATE CAST"),
        Node::CreateTransformStmt(_) => (Ddl, "CREATE TRANSFORM"),
        Node::CreateConversionStmt(_) => (Ddl, "CREATE CONVERSION"),
        Node::CreatePLangStmt(_) => (Ddl, "CREATE LANGUAGE"),
        Node::CreateAmStmt(_) => (Ddl, "CREATE ACCESS METHOD"),
        Node::CreateStatsStmt(_) => (Ddl, "CREATE STATISTICS"),
        Node::AlterStatsStmt(_) => (Ddl, "ALTER STATISTICS"),
        Node::CreateExtensionStmt(_) => (Ddl, "CREATE EXTENSION"),
        Node::AlterExtensionStmt(_) | Node::AlterExtensionContentsStmt(_) => (Ddl, "ALTER EXTENSION"),
        Node::CreateFdwStmt(_) => (Ddl, "CREATE FOREIGN DATA WRAPPER"),
        Node::AlterFdwStmt(_) => (Ddl, "ALTER FOREIGN DATA WRAPPER"),
        Node::CreateForeignServerStmt(_) => (Ddl, "CREATE SERVER"),
        Node::AlterForeignServerStmt(_) => (Ddl, "ALTER SERVER"),
        Node::CreateUserMappingStmt(_) => (Dcl, "CREATE USER MAPPING"),
        Node::AlterUserMappingStmt(_) => (Dcl, "ALTER USER MAPPING"),
        Node::DropUserMappingStmt(_) => (Dcl, "DROP USER MAPPING"),
        Node::ImportForeignSchemaStmt(_) => (Ddl, "IMPORT FOREIGN SCHEMA"),
        Node::CreatedbStmt(_) => (Ddl, "CREATE DATABASE"),
        Node::AlterDatabaseStmt(_) | Node::AlterDatabaseRefreshCollStmt(_) => (Ddl, "ALTER DATABASE"),
        Node::AlterDatabaseSetStmt(_) => (Dcl, "ALTER DATABASE"),
        Node::DropdbStmt(_) => (Ddl, "DROP DATABASE"),
        Node::CreateTableSpaceStmt(_) => (Ddl, "CREATE TABLESPACE"),
        Node::AlterTableSpaceOptionsStmt(_) => (Ddl, "ALTER TABLESPACE"),
        Node::DropTableSpaceStmt(_) => (Ddl, "DROP TABLESPACE"),
        Node::AlterTableMoveAllStmt(_) => (Ddl, "ALTER TABLE"),
        Node::AlterTableStmt(alter) => return Some((alter_kind(alter), format!("ALTER {}", object(alter.objtype)))),
        Node::RenameStmt(rename) => return Some((rename_kind(rename), format!("ALTER {}", renamed(rename)))),
        Node::AlterObjectSchemaStmt(alter) => return Some((Ddl, format!("ALTER {}", object(alter.object_type)))),
        Node::AlterObjectDependsStmt(alter) => return Some((Ddl, format!("ALTER {}", object(alter.object_type)))),
        Node::AlterOwnerStmt(alter) => return Some((Dcl, format!("ALTER {}", object(alter.object_type)))),
        Node::DropStmt(drop) => {
            let kind = if drop.remove_type == O::OBJECT_POLICY { Dcl } else { Ddl };
            return Some((kind, format!("DROP {}", object(drop.remove_type))));
        }
        Node::CreatePublicationStmt(_) => (Dcl, "CREATE PUBLICATION"),
        Node::AlterPublicationStmt(_) => (Dcl, "ALTER PUBLICATION"),
        Node::CreateSubscriptionStmt(_) => (Dcl, "CREATE SUBSCRIPTION"),
        Node::AlterSubscriptionStmt(_) => (Dcl, "ALTER SUBSCRIPTION"),
        Node::DropSubscriptionStmt(_) => (Dcl, "DROP SUBSCRIPTION"),
        Node::GrantStmt(grant) => (Dcl, if grant.is_grant { "GRANT" } else { "REVOKE" }),
        Node::GrantRoleStmt(grant) => (Dcl, if grant.is_grant { "GRANT ROLE" } else { "REVOKE ROLE" }),
        Node::AlterDefaultPrivilegesStmt(_) => (Dcl, "ALTER DEFAULT PRIVILEGES"),
        Node::CreateRoleStmt(_) => (Dcl, "CREATE ROLE"),
        Node::AlterRoleStmt(_) | Node::AlterRoleSetStmt(_) => (Dcl, "ALTER ROLE"),
        Node::DropRoleStmt(_) => (Dcl, "DROP ROLE"),
        Node::DropOwnedStmt(_) => (Dcl, "DROP OWNED"),
        Node::ReassignOwnedStmt(_) => (Dcl, "REASSIGN OWNED"),
        Node::AlterSystemStmt(_) => (Dcl, "ALTER SYSTEM"),
        Node::AlterTSDictionaryStmt(_) => (Ddl, "ALTER TEXT SEARCH DICTIONARY"),
        Node::AlterTSConfigurationStmt(_) => (Ddl, "ALTER TEXT SEARCH CONFIGURATION"),
        Node::AlterCollationStmt(_) => (Ddl, "ALTER COLLATION"),
        other => match place(other) {
            Place::Statement(CREATE_FOREIGN_TABLE) => (Ddl, "CREATE FOREIGN TABLE"),
            Place::Statement(_) | Place::Part | Place::Unbound => return None,
        },
    };
    Some((kind, command.to_owned()))
}

fn transaction_command(transaction: &grammar::TransactionStmt) -> (Kind, String) {
    use raw::TransactionStmtKind as T;
    let (kind, command) = match transaction.kind {
        T::TRANS_STMT_BEGIN => (Kind::Transaction, "BEGIN"),
        T::TRANS_STMT_START => (Kind::Transaction, "START TRANSACTION"),
        T::TRANS_STMT_COMMIT => (Kind::Transaction, "COMMIT"),
        T::TRANS_STMT_ROLLBACK => (Kind::Transaction, "ROLLBACK"),
        T::TRANS_STMT_SAVEPOINT => (Kind::Transaction, "SAVEPOINT"),
        T::TRANS_STMT_RELEASE => (Kind::Transaction, "RELEASE"),
        T::TRANS_STMT_ROLLBACK_TO => (Kind::Transaction, "ROLLBACK TO"),
        T::TRANS_STMT_PREPARE => (Kind::Ddl, "PREPARE TRANSACTION"),
        T::TRANS_STMT_COMMIT_PREPARED => (Kind::Ddl, "COMMIT PREPARED"),
        T::TRANS_STMT_ROLLBACK_PREPARED => (Kind::Ddl, "ROLLBACK PREPARED"),
        _ => (Kind::Opaque, "TRANSACTION"),
    };
    (kind, command.to_owned())
}

/// VACUUM FULL rewrites its table under the strongest lock; the others only keep books.
fn vacuum_command(vacuum: &grammar::VacuumStmt) -> (Kind, &'static str) {
    let full = vacuum.options().iter().any(|option| option.defname() == Some("full") && !is_off(option.arg()));
    match (vacuum.is_vacuumcmd, full) {
        (true, true) => (Kind::Ddl, "VACUUM"),
        (true, false) => (Kind::Write, "VACUUM"),
        (false, _) => (Kind::Write, "ANALYZE"),
    }
}

/// A boolean option that is switched off; one without a value is on.
fn is_off(value: Node<'_>) -> bool {
    match value {
        Node::Integer(number) => number.ival == 0,
        Node::Boolean(flag) => !flag.boolval,
        other => other.as_str().is_some_and(|text| ["false", "off"].iter().any(|off| text.eq_ignore_ascii_case(off))),
    }
}

fn set_command(set: &grammar::VariableSetStmt) -> (Kind, String) {
    let name = set.name().unwrap_or_default().to_ascii_lowercase();
    let reset = matches!(set.kind, raw::VariableSetKind::VAR_RESET | raw::VariableSetKind::VAR_RESET_ALL);
    let kind = if is_identity_setting(&name) { Kind::Dcl } else { Kind::Session };
    (kind, if reset { "RESET" } else { "SET" }.to_owned())
}

/// Settings that change who one is, or switch off what guards data. `row_security` is none: off, it turns a filtered
/// answer into an error (the manual, Row Security Policies).
pub(super) fn is_identity_setting(name: &str) -> bool {
    matches!(
        name,
        "role"
            | "session_authorization"
            | "session_replication_role"
            | "session_preload_libraries"
            | "local_preload_libraries"
            | "dynamic_library_path"
            | "allow_system_table_mods"
    )
}

fn alter_kind(alter: &grammar::AlterTableStmt) -> Kind {
    use raw::AlterTableType as A;
    let dcl = alter.cmds().iter().any(|node| match node {
        Node::AlterTableCmd(cmd) => matches!(
            cmd.subtype,
            A::AT_ChangeOwner
                | A::AT_EnableRowSecurity
                | A::AT_DisableRowSecurity
                | A::AT_ForceRowSecurity
                | A::AT_NoForceRowSecurity
        ),
        _ => false,
    });
    if dcl { Kind::Dcl } else { Kind::Ddl }
}

fn rename_kind(rename: &grammar::RenameStmt) -> Kind {
    if matches!(rename.rename_type, O::OBJECT_ROLE | O::OBJECT_POLICY) { Kind::Dcl } else { Kind::Ddl }
}

fn renamed(rename: &grammar::RenameStmt) -> &'static str {
    match rename.rename_type {
        O::OBJECT_COLUMN | O::OBJECT_TABCONSTRAINT | O::OBJECT_ATTRIBUTE => object(rename.relation_type),
        kind => object(kind),
    }
}

/// The word for a kind of object, as command tags say it.
fn object(kind: O::Type) -> &'static str {
    match kind {
        O::OBJECT_ACCESS_METHOD => "ACCESS METHOD",
        O::OBJECT_AGGREGATE => "AGGREGATE",
        O::OBJECT_ATTRIBUTE | O::OBJECT_TYPE => "TYPE",
        O::OBJECT_CAST => "CAST",
        O::OBJECT_COLUMN | O::OBJECT_TABLE | O::OBJECT_TABCONSTRAINT | O::OBJECT_DEFAULT => "TABLE",
        O::OBJECT_COLLATION => "COLLATION",
        O::OBJECT_CONVERSION => "CONVERSION",
        O::OBJECT_DATABASE => "DATABASE",
        O::OBJECT_DOMAIN | O::OBJECT_DOMCONSTRAINT => "DOMAIN",
        O::OBJECT_EVENT_TRIGGER => "EVENT TRIGGER",
        O::OBJECT_EXTENSION => "EXTENSION",
        O::OBJECT_FDW => "FOREIGN DATA WRAPPER",
        O::OBJECT_FOREIGN_SERVER => "SERVER",
        O::OBJECT_FOREIGN_TABLE => "FOREIGN TABLE",
        O::OBJECT_FUNCTION => "FUNCTION",
        O::OBJECT_INDEX => "INDEX",
        O::OBJECT_LANGUAGE => "LANGUAGE",
        O::OBJECT_LARGEOBJECT => "LARGE OBJECT",
        O::OBJECT_MATVIEW => "MATERIALIZED VIEW",
        O::OBJECT_OPCLASS => "OPERATOR CLASS",
        O::OBJECT_OPERATOR => "OPERATOR",
        O::OBJECT_OPFAMILY => "OPERATOR FAMILY",
        O::OBJECT_POLICY => "POLICY",
        O::OBJECT_PROCEDURE => "PROCEDURE",
        O::OBJECT_PUBLICATION => "PUBLICATION",
        O::OBJECT_ROLE => "ROLE",
        O::OBJECT_ROUTINE => "ROUTINE",
        O::OBJECT_RULE => "RULE",
        O::OBJECT_SCHEMA => "SCHEMA",
        O::OBJECT_SEQUENCE => "SEQUENCE",
        O::OBJECT_SUBSCRIPTION => "SUBSCRIPTION",
        O::OBJECT_STATISTIC_EXT => "STATISTICS",
        O::OBJECT_TABLESPACE => "TABLESPACE",
        O::OBJECT_TRANSFORM => "TRANSFORM",
        O::OBJECT_TRIGGER => "TRIGGER",
        O::OBJECT_TSCONFIGURATION => "TEXT SEARCH CONFIGURATION",
        O::OBJECT_TSDICTIONARY => "TEXT SEARCH DICTIONARY",
        O::OBJECT_TSPARSER => "TEXT SEARCH PARSER",
        O::OBJECT_TSTEMPLATE => "TEXT SEARCH TEMPLATE",
        O::OBJECT_USER_MAPPING => "USER MAPPING",
        O::OBJECT_VIEW => "VIEW",
        _ => "OBJECT",
    }
}

#[cfg(test)]
mod tests;
