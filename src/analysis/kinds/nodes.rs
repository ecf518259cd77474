//! Every node of the grammar, by what it is: a statement, or a part of one. A node that stands in neither list of a
//! newer grammar does not compile.

use super::super::parse::{Node, raw};

/// What a node is in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Place {
    /// A statement, by its name in the grammar.
    Statement(&'static str),
    /// A part of a statement.
    Part,
    /// A node that the bindings have no type for.
    Unbound,
}

macro_rules! grammar {
    (statements: $($statement:ident),+; parts: $($part:ident),+;) => {
        /// Every statement of the grammar.
        #[cfg(test)]
        pub(super) const STATEMENTS: &[&str] = &[CREATE_FOREIGN_TABLE, $(stringify!($statement)),+];

        /// What a node is.
        pub(in super::super) const fn place(node: Node<'_>) -> Place {
            match node {
                $(Node::$statement(_) => Place::Statement(stringify!($statement)),)+
                $(Node::$part(_))|+ | Node::NodeList(_) | Node::None => Place::Part,
                Node::Invalid(other) if other.type_ == raw::NodeTag::T_CreateForeignTableStmt => {
                    Place::Statement(CREATE_FOREIGN_TABLE)
                }
                Node::Invalid(_) => Place::Unbound,
            }
        }
    };
}

/// The bindings have no type for this one.
pub(super) const CREATE_FOREIGN_TABLE: &str = "CreateForeignTableStmt";

grammar! {
    statements:
        InsertStmt, DeleteStmt, UpdateStmt, MergeStmt, SelectStmt, CreateSchemaStmt, AlterTableStmt,
        AlterCollationStmt, AlterDomainStmt, GrantStmt, GrantRoleStmt,
        AlterDefaultPrivilegesStmt, CopyStmt, VariableSetStmt, VariableShowStmt, CreateStmt,
        CreateTableSpaceStmt, DropTableSpaceStmt, AlterTableSpaceOptionsStmt, AlterTableMoveAllStmt,
        CreateExtensionStmt, AlterExtensionStmt, AlterExtensionContentsStmt, CreateFdwStmt, AlterFdwStmt,
        CreateForeignServerStmt, AlterForeignServerStmt, CreateUserMappingStmt, AlterUserMappingStmt,
        DropUserMappingStmt, ImportForeignSchemaStmt, CreatePolicyStmt, AlterPolicyStmt, CreateAmStmt,
        CreateTrigStmt, CreateEventTrigStmt, AlterEventTrigStmt, CreatePLangStmt, CreateRoleStmt,
        AlterRoleStmt, AlterRoleSetStmt, DropRoleStmt, CreateSeqStmt, AlterSeqStmt, DefineStmt,
        CreateDomainStmt, CreateOpClassStmt, CreateOpFamilyStmt, AlterOpFamilyStmt, DropStmt, TruncateStmt,
        CommentStmt, SecLabelStmt, DeclareCursorStmt, ClosePortalStmt, FetchStmt, IndexStmt, CreateStatsStmt,
        AlterStatsStmt, CreateFunctionStmt, AlterFunctionStmt, DoStmt, CallStmt, RenameStmt,
        AlterObjectDependsStmt, AlterObjectSchemaStmt, AlterOwnerStmt, AlterOperatorStmt, AlterTypeStmt,
        RuleStmt, NotifyStmt, ListenStmt, UnlistenStmt, TransactionStmt, CompositeTypeStmt, CreateEnumStmt,
        CreateRangeStmt, AlterEnumStmt, ViewStmt, LoadStmt, CreatedbStmt, AlterDatabaseStmt,
        AlterDatabaseRefreshCollStmt, AlterDatabaseSetStmt, DropdbStmt, AlterSystemStmt, ClusterStmt,
        VacuumStmt, ExplainStmt, CreateTableAsStmt, RefreshMatViewStmt, CheckPointStmt, DiscardStmt, LockStmt,
        ConstraintsSetStmt, ReindexStmt, CreateConversionStmt, CreateCastStmt, CreateTransformStmt,
        PrepareStmt, ExecuteStmt, DeallocateStmt, DropOwnedStmt, ReassignOwnedStmt, AlterTSDictionaryStmt,
        AlterTSConfigurationStmt, CreatePublicationStmt, AlterPublicationStmt, CreateSubscriptionStmt,
        AlterSubscriptionStmt, DropSubscriptionStmt;
    // What only the rewriter, the planner or PL/pgSQL makes stands here too: no text has it as a statement.
    parts:
        Bitmapset, Alias, RangeVar, TableFunc, IntoClause, Param, Aggref, GroupingFunc, WindowFunc,
        WindowFuncRunCondition, MergeSupportFunc, SubscriptingRef, FuncExpr, NamedArgExpr, OpExpr,
        ScalarArrayOpExpr, BoolExpr, SubLink, SubPlan, AlternativeSubPlan, FieldSelect, FieldStore,
        CoerceViaIO, ArrayCoerceExpr, ConvertRowtypeExpr, CollateExpr, CaseExpr, CaseWhen, CaseTestExpr,
        ArrayExpr, RowExpr, RowCompareExpr, CoalesceExpr, MinMaxExpr, SQLValueFunction, XmlExpr, JsonFormat,
        JsonReturning, JsonValueExpr, JsonConstructorExpr, JsonIsPredicate, JsonBehavior, JsonExpr, NullTest,
        BooleanTest, MergeAction, CoerceToDomain, CoerceToDomainValue, SetToDefault, CurrentOfExpr,
        NextValueExpr, InferenceElem, ReturningExpr, TargetEntry, RangeTblRef, JoinExpr, FromExpr,
        OnConflictExpr, Integer, Float, Boolean, String, BitString, Query, TypeName, ColumnRef, ParamRef,
        A_Expr, A_Const, TypeCast, CollateClause, RoleSpec, FuncCall, A_Star, A_Indices, A_Indirection,
        A_ArrayExpr, ResTarget, MultiAssignRef, SortBy, WindowDef, RangeSubselect, RangeFunction,
        RangeTableFunc, RangeTableFuncCol, RangeTableSample, ColumnDef, TableLikeClause, IndexElem, DefElem,
        LockingClause, XmlSerialize, PartitionElem, PartitionSpec, PartitionBoundSpec, PartitionRangeDatum,
        PartitionCmd, RangeTblEntry, RTEPermissionInfo, RangeTblFunction, TableSampleClause, WithCheckOption,
        SortGroupClause, GroupingSet, WindowClause, RowMarkClause, WithClause, InferClause, OnConflictClause,
        CTESearchClause, CTECycleClause, CommonTableExpr, MergeWhenClause, ReturningOption, ReturningClause,
        TriggerTransition, JsonOutput, JsonArgument, JsonFuncExpr, JsonTablePathSpec, JsonTable,
        JsonTableColumn, JsonKeyValue, JsonParseExpr, JsonScalarExpr, JsonSerializeExpr,
        JsonObjectConstructor, JsonArrayConstructor, JsonArrayQueryConstructor, JsonAggConstructor,
        JsonObjectAgg, JsonArrayAgg, RawStmt, SetOperationStmt, ReturnStmt, PLAssignStmt, AlterTableCmd, ATAlterConstraint,
        ReplicaIdentityStmt, ObjectWithArgs, AccessPriv, Constraint, CreateOpClassItem, StatsElem,
        FunctionParameter, InlineCodeBlock, CallContext, VacuumRelation, PublicationTable, PublicationObjSpec;
}
