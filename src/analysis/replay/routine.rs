//! CREATE FUNCTION: later calls mean the new body.

use std::sync::Arc;

use super::super::parse::{Node, constant_text, nodes, raw, strings};
use super::State;
use crate::catalog::{Function, Oid, clip};

impl State {
    /// The functions of that name, the nearest schema first.
    pub(super) fn functions(&self, names: &[&str]) -> Vec<Arc<Function>> {
        match names {
            [name] => self.catalog.find_functions(&self.path(), name).cloned().collect(),
            [.., schema, name] => self.catalog.functions_in(schema, name).to_vec(),
            [] => Vec::new(),
        }
    }

    pub(super) fn create_function(&mut self, create: &nodes::CreateFunctionStmt) {
        let names = strings(create.funcname());
        let (schema, name): (Arc<str>, Arc<str>) = match names.as_slice() {
            [name] => (self.path().creation().map_or_else(|| "public".into(), Arc::clone), clip(name).into()),
            [.., schema, name] => ((*schema).into(), clip(name).into()),
            [] => return,
        };
        let mut function = Function {
            oid: self.catalog.free_oid(),
            schema,
            name,
            kind: if create.is_procedure { 'p' } else { 'f' },
            language: "sql".into(),
            volatility: 'v',
            arguments: Vec::new(),
            defaults: 0,
            variadic: false,
            returns: create.return_type().map_or(0, |named| self.type_oid(named)),
            returns_set: create.return_type().is_some_and(|named| named.setof),
            argument_names: Vec::new(),
            argument_modes: Vec::new(),
            definer: false,
            owner: self.settings.role.as_str().into(),
            default_values: None,
            source: None,
            body: None,
            settings: Vec::new(),
            extension: None,
            parts: Vec::new(),
            parsed: crate::catalog::Parsed::default(),
        };
        for parameter in create.parameters() {
            let type_oid = parameter.arg_type().map_or(0, |named| self.type_oid(named));
            read_parameter(&mut function, parameter, type_oid);
        }
        for option in create.options() {
            read_option(&mut function, option);
        }
        // A default that computes something runs with a call that leaves it out; a body that is not known says so.
        if create.parameters().iter().any(|parameter| computes(parameter.defexpr())) {
            function.source = None;
        }
        self.catalog.put_function(function);
    }
}

fn is_none(node: Node<'_>) -> bool {
    matches!(node, Node::None)
}

fn computes(node: Node<'_>) -> bool {
    match node {
        Node::None | Node::A_Const(_) => false,
        Node::TypeCast(cast) => computes(cast.arg()),
        _ => true,
    }
}

fn read_parameter(function: &mut Function, parameter: &nodes::FunctionParameter, type_oid: Oid) {
    use raw::FunctionParameterMode as M;
    let mode = match parameter.mode {
        M::FUNC_PARAM_OUT => 'o',
        M::FUNC_PARAM_INOUT => 'b',
        M::FUNC_PARAM_VARIADIC => 'v',
        M::FUNC_PARAM_TABLE => 't',
        _ => 'i',
    };
    if matches!(mode, 'i' | 'b' | 'v') {
        function.arguments.push(type_oid);
        function.defaults = function.defaults.saturating_add(u16::from(!is_none(parameter.defexpr())));
    }
    function.variadic |= mode == 'v';
    function.returns_set |= mode == 't';
    function.argument_names.push(parameter.name().unwrap_or_default().into());
    function.argument_modes.push(mode);
}

fn read_option(function: &mut Function, option: &nodes::DefElem) {
    match (option.defname(), option.arg()) {
        (Some("language"), value) => function.language = value.as_str().unwrap_or_default().to_lowercase().into(),
        (Some("as"), value) => {
            let texts = value.as_node_list().map(strings).unwrap_or_default();
            function.source = texts.first().map(|text| Arc::from(*text));
        }
        (Some("set"), Node::VariableSetStmt(set)) => {
            let values: Vec<String> = set.args().iter().filter_map(constant_text).collect();
            let quoted: Vec<String> = values.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
            let value = quoted.join(", ");
            function.settings.push(format!("{}={value}", set.name().unwrap_or_default()).into());
        }
        _ => {}
    }
}
