//! The name that Postgres gives to a result column (`FigureColname`).

use std::sync::Arc;

use super::parse::{Node, raw, strings};

/// The name of a column that the text does not name.
pub(super) fn output_name(node: Node<'_>) -> Arc<str> {
    figure(node).map_or_else(|| "?column?".into(), |(name, _)| name.into())
}

/// A name and whether it is a good one, as `FigureColnameInternal` weighs them.
fn figure(node: Node<'_>) -> Option<(String, bool)> {
    let good = |name: &str| Some((name.to_owned(), true));
    match node {
        Node::ColumnRef(column) => strings(column.fields()).last().and_then(|name| good(name)),
        Node::A_Indirection(path) => {
            strings(path.indirection()).last().and_then(|name| good(name)).or_else(|| figure(path.arg()))
        }
        Node::FuncCall(call) => strings(call.funcname()).last().and_then(|name| good(name)),
        Node::A_Expr(expr) if expr.kind == raw::A_Expr_Kind::AEXPR_NULLIF => good("nullif"),
        Node::TypeCast(cast) => match figure(cast.arg()) {
            Some((name, true)) => Some((name, true)),
            _ => cast
                .type_name()
                .and_then(|name| name.names().iter().next_back()?.sval())
                .map(|name| (name.to_owned(), false)),
        },
        Node::CollateClause(collate) => figure(collate.arg()),
        Node::SubLink(link) => sublink(link.sub_link_type, link.subselect()),
        Node::CaseExpr(case) => match figure(case.defresult()) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".to_owned(), false)),
        },
        Node::A_ArrayExpr(_) => good("array"),
        Node::RowExpr(_) => good("row"),
        Node::CoalesceExpr(_) => good("coalesce"),
        Node::GroupingFunc(_) => good("grouping"),
        Node::MergeSupportFunc(_) => good("merge_action"),
        Node::MinMaxExpr(expr) => good(if expr.op == 0 { "greatest" } else { "least" }),
        Node::SQLValueFunction(function) => good(value_function(function.op)),
        Node::XmlSerialize(_) => good("xmlserialize"),
        Node::JsonObjectConstructor(_) => good("json_object"),
        Node::JsonArrayConstructor(_) | Node::JsonArrayQueryConstructor(_) => good("json_array"),
        Node::JsonObjectAgg(_) => good("json_objectagg"),
        Node::JsonArrayAgg(_) => good("json_arrayagg"),
        Node::JsonParseExpr(_) => good("json"),
        Node::JsonScalarExpr(_) => good("json_scalar"),
        Node::JsonSerializeExpr(_) => good("json_serialize"),
        Node::JsonFuncExpr(function) => match function.op {
            raw::JsonExprOp::JSON_EXISTS_OP => good("json_exists"),
            raw::JsonExprOp::JSON_QUERY_OP => good("json_query"),
            raw::JsonExprOp::JSON_VALUE_OP => good("json_value"),
            _ => None,
        },
        Node::XmlExpr(xml) => match xml.op {
            raw::XmlExprOp::IS_XMLCONCAT => good("xmlconcat"),
            raw::XmlExprOp::IS_XMLELEMENT => good("xmlelement"),
            raw::XmlExprOp::IS_XMLFOREST => good("xmlforest"),
            raw::XmlExprOp::IS_XMLPARSE => good("xmlparse"),
            raw::XmlExprOp::IS_XMLPI => good("xmlpi"),
            raw::XmlExprOp::IS_XMLROOT => good("xmlroot"),
            _ => None,
        },
        _ => None,
    }
}

fn sublink(kind: raw::SubLinkType::Type, query: Node<'_>) -> Option<(String, bool)> {
    match kind {
        raw::SubLinkType::EXISTS_SUBLINK => Some(("exists".to_owned(), true)),
        raw::SubLinkType::ARRAY_SUBLINK => Some(("array".to_owned(), true)),
        raw::SubLinkType::EXPR_SUBLINK => {
            let Node::SelectStmt(mut select) = query else { return None };
            while let Some(left) = select.larg() {
                select = left;
            }
            let target = select.target_list().first()?;
            match target.name() {
                Some(name) => Some((name.to_owned(), true)),
                None => figure(target.val()),
            }
        }
        _ => None,
    }
}

/// `SQLValueFunctionOp` in its order.
fn value_function(op: raw::SQLValueFunctionOp::Type) -> &'static str {
    const NAMES: &[&str] = &[
        "current_date",
        "current_time",
        "current_time",
        "current_timestamp",
        "current_timestamp",
        "localtime",
        "localtime",
        "localtimestamp",
        "localtimestamp",
        "current_role",
        "current_user",
        "user",
        "session_user",
        "current_catalog",
        "current_schema",
    ];
    usize::try_from(op).ok().and_then(|place| NAMES.get(place)).copied().unwrap_or("?column?")
}
