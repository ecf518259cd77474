//! The queries that bring a catalog: each a single SELECT that returns one text column, a JSON object a row.
//!
//! Everything in them is qualified, operators too, so that no search path can bend them; they run on 14 to 18. View
//! definitions print unqualified what the search path shows: run them under `search_path = pg_catalog, pg_temp`. What is
//! dropped while they run prints as NULL.

/// One query.
#[derive(Clone, Copy, Debug)]
pub struct CatalogQuery {
    /// Its name, for [`super::CatalogBuilder::add`].
    pub name: &'static str,
    /// Its text. Where it brings things that have OIDs, a comment says where a condition on them goes.
    pub sql: &'static str,
}

impl CatalogQuery {
    /// The same for some of the things alone; `among` is an `ANY (…)`.
    pub(super) fn only(&self, among: &str) -> String {
        let Some((head, rest)) = self.sql.split_once("/*only ") else { return self.sql.to_owned() };
        let Some((oid, tail)) = rest.split_once("*/") else { return self.sql.to_owned() };
        format!("{head}AND {oid} OPERATOR(pg_catalog.=) {among}{tail}")
    }
}

/// Whether a query brings relations or what belongs to them.
pub(super) fn is_of_relations(name: &str) -> bool {
    matches!(name, RELATIONS | SIZES | KEYS | RULES | POLICIES | TRIGGERS | EXPRESSIONS | REFERENCES)
}

pub(super) const DATABASE: &str = "database";
pub(super) const SCHEMAS: &str = "schemas";
pub(super) const RELATIONS: &str = "relations";
pub(super) const SIZES: &str = "sizes";
pub(super) const KEYS: &str = "keys";
pub(super) const RULES: &str = "rules";
pub(super) const POLICIES: &str = "policies";
pub(super) const TRIGGERS: &str = "triggers";
pub(super) const EXPRESSIONS: &str = "expressions";
pub(super) const REFERENCES: &str = "references";
pub(super) const SUPPORT: &str = "support";
pub(super) const TYPES: &str = "types";
pub(super) const FUNCTIONS: &str = "functions";
pub(super) const OPERATORS: &str = "operators";
pub(super) const CASTS: &str = "casts";
pub(super) const ROLES: &str = "roles";

/// All of them, in the order in which they are to run.
pub const QUERIES: &[CatalogQuery] = &[
    CatalogQuery {
        name: DATABASE,
        sql: "SELECT CAST(pg_catalog.json_build_object('name', d.datname, 'oid', CAST(d.oid AS pg_catalog.int8)) \
              AS pg_catalog.text) FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()",
    },
    CatalogQuery {
        name: SCHEMAS,
        sql: "SELECT CAST(pg_catalog.json_build_object('name', n.nspname) AS pg_catalog.text) \
              FROM pg_catalog.pg_namespace n ORDER BY n.oid",
    },
    CatalogQuery {
        name: RELATIONS,
        sql: "SELECT CAST(pg_catalog.json_build_object('oid', CAST(c.oid AS pg_catalog.int8), \
              'schema', CASE WHEN n.oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() THEN 'pg_temp' ELSE n.nspname END, \
              'name', c.relname, 'kind', c.relkind, 'persistence', c.relpersistence, 'row_security', c.relrowsecurity, \
              'force_row_security', c.relforcerowsecurity, 'owner', CAST(c.relowner AS pg_catalog.int8), \
              'options', COALESCE(pg_catalog.to_json(c.reloptions), '[]'), \
              'parents', COALESCE((SELECT pg_catalog.json_agg(CAST(i.inhparent AS pg_catalog.int8) ORDER BY i.inhseqno) FROM pg_catalog.pg_inherits i \
              WHERE i.inhrelid OPERATOR(pg_catalog.=) c.oid), '[]'), \
              'columns', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_object('number', a.attnum, \
              'name', a.attname, 'type', CAST(a.atttypid AS pg_catalog.int8), 'not_null', a.attnotnull, \
              'generated', a.attgenerated OPERATOR(pg_catalog.<>) '', \
              'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid), \
              'comment', (SELECT s.description FROM pg_catalog.pg_description s \
              WHERE s.classoid OPERATOR(pg_catalog.=) 1259 AND s.objoid OPERATOR(pg_catalog.=) c.oid \
              AND s.objsubid OPERATOR(pg_catalog.=) a.attnum \
              AND pg_catalog.strpos(s.description, '@pii(') OPERATOR(pg_catalog.>) 0)) ORDER BY a.attnum) \
              FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d \
              ON d.adrelid OPERATOR(pg_catalog.=) a.attrelid AND d.adnum OPERATOR(pg_catalog.=) a.attnum \
              WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 \
              AND NOT a.attisdropped), '[]'), \
              'definition', CASE WHEN c.relkind OPERATOR(pg_catalog.=) ANY ('{v,m}') \
              THEN pg_catalog.pg_get_viewdef(c.oid) END) AS pg_catalog.text) \
              FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
              WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f,v,m,S,c}') \
              AND n.nspname OPERATOR(pg_catalog.<>) 'pg_toast' \
              AND (n.oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() \
              OR NOT pg_catalog.starts_with(CAST(n.nspname AS pg_catalog.text), 'pg_temp_')) /*only c.oid*/ ORDER BY c.oid",
    },
    CatalogQuery {
        name: SIZES,
        sql: "SELECT CAST(pg_catalog.json_build_object('oid', CAST(c.oid AS pg_catalog.int8), 'tuples', CAST(c.reltuples AS pg_catalog.float8), \
              'pages', c.relpages) AS pg_catalog.text) FROM pg_catalog.pg_class c \
              WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,f,m}') AND c.oid OPERATOR(pg_catalog.>=) 16384 /*only c.oid*/ ORDER BY c.oid",
    },
    CatalogQuery {
        name: KEYS,
        sql: "SELECT CAST(pg_catalog.json_build_object('relation', CAST(i.indrelid AS pg_catalog.int8), 'columns', \
              (SELECT pg_catalog.json_agg(k.attnum) FROM pg_catalog.unnest(i.indkey) WITH ORDINALITY AS k(attnum, place) \
              WHERE k.place OPERATOR(pg_catalog.<=) i.indnkeyatts)) AS pg_catalog.text) FROM pg_catalog.pg_index i \
              WHERE i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL \
              /*only i.indrelid*/ ORDER BY i.indexrelid",
    },
    CatalogQuery {
        name: RULES,
        sql: "SELECT CAST(pg_catalog.json_build_object('relation', CAST(r.ev_class AS pg_catalog.int8), 'name', r.rulename, 'event', r.ev_type, \
              'instead', r.is_instead, 'definition', pg_catalog.pg_get_ruledef(r.oid)) AS pg_catalog.text) \
              FROM pg_catalog.pg_rewrite r WHERE r.rulename OPERATOR(pg_catalog.<>) '_RETURN' \
              AND r.ev_enabled OPERATOR(pg_catalog.<>) 'D' AND pg_catalog.pg_get_ruledef(r.oid) IS NOT NULL /*only r.ev_class*/ ORDER BY r.oid",
    },
    CatalogQuery {
        name: POLICIES,
        sql: "SELECT CAST(pg_catalog.json_build_object('relation', CAST(p.polrelid AS pg_catalog.int8), 'command', p.polcmd, \
              'roles', pg_catalog.to_json(CAST(p.polroles AS pg_catalog.int8[])), \
              'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid), \
              'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) AS pg_catalog.text) \
              FROM pg_catalog.pg_policy p WHERE true /*only p.polrelid*/ ORDER BY p.oid",
    },
    CatalogQuery {
        name: TRIGGERS,
        sql: "SELECT CAST(pg_catalog.json_build_object('relation', CAST(t.tgrelid AS pg_catalog.int8), 'name', t.tgname, 'function', CAST(t.tgfoid AS pg_catalog.int8), \
              'events', t.tgtype, 'definition', CASE WHEN t.tgqual IS NOT NULL THEN pg_catalog.pg_get_triggerdef(t.oid) END, \
              'tables', COALESCE(pg_catalog.to_json(pg_catalog.array_remove(ARRAY[t.tgoldtable, t.tgnewtable], NULL)), '[]')) AS pg_catalog.text) \
              FROM pg_catalog.pg_trigger t \
              WHERE NOT t.tgisinternal AND t.tgenabled OPERATOR(pg_catalog.<>) 'D' /*only t.tgrelid*/ ORDER BY t.oid",
    },
    CatalogQuery {
        name: EXPRESSIONS,
        sql: "SELECT CAST(pg_catalog.json_build_object('relation', CAST(e.relation AS pg_catalog.int8), 'text', e.text) AS pg_catalog.text) FROM (\
              SELECT k.conrelid, pg_catalog.pg_get_expr(k.conbin, k.conrelid) FROM pg_catalog.pg_constraint k \
              WHERE k.conrelid OPERATOR(pg_catalog.>=) 16384 AND k.conbin IS NOT NULL \
              UNION ALL SELECT i.indrelid, pg_catalog.pg_get_expr(i.indexprs, i.indrelid) FROM pg_catalog.pg_index i \
              WHERE i.indrelid OPERATOR(pg_catalog.>=) 16384 AND i.indexprs IS NOT NULL \
              UNION ALL SELECT i.indrelid, pg_catalog.pg_get_expr(i.indpred, i.indrelid) FROM pg_catalog.pg_index i \
              WHERE i.indrelid OPERATOR(pg_catalog.>=) 16384 AND i.indpred IS NOT NULL \
              UNION ALL SELECT x.stxrelid, pg_catalog.pg_get_expr(x.stxexprs, x.stxrelid) FROM pg_catalog.pg_statistic_ext x \
              WHERE x.stxexprs IS NOT NULL \
              UNION ALL SELECT p.partrelid, pg_catalog.pg_get_expr(p.partexprs, p.partrelid) FROM pg_catalog.pg_partitioned_table p \
              WHERE p.partexprs IS NOT NULL) AS e(relation, text) WHERE e.text IS NOT NULL /*only e.relation*/ ORDER BY e.relation, e.text",
    },
    CatalogQuery {
        name: REFERENCES,
        sql: "SELECT CAST(pg_catalog.json_build_object('relation', CAST(k.confrelid AS pg_catalog.int8), 'from', CAST(k.conrelid AS pg_catalog.int8), \
              'on_delete', k.confdeltype, 'on_update', k.confupdtype) AS pg_catalog.text) FROM pg_catalog.pg_constraint k \
              WHERE k.contype OPERATOR(pg_catalog.=) 'f' AND (k.confdeltype OPERATOR(pg_catalog.=) ANY ('{c,n,d}') \
              OR k.confupdtype OPERATOR(pg_catalog.=) ANY ('{c,n,d}')) /*only k.confrelid*/ ORDER BY k.oid",
    },
    CatalogQuery {
        name: SUPPORT,
        sql: "SELECT CAST(pg_catalog.json_build_object('function', CAST(s.oid AS pg_catalog.int8)) AS pg_catalog.text) FROM (\
              SELECT CAST(a.amproc AS pg_catalog.oid) FROM pg_catalog.pg_amproc a \
              UNION SELECT CAST(c.castfunc AS pg_catalog.oid) FROM pg_catalog.pg_cast c WHERE c.castcontext OPERATOR(pg_catalog.<>) 'e' \
              UNION SELECT CAST(r.rngsubdiff AS pg_catalog.oid) FROM pg_catalog.pg_range r) AS s(oid) \
              WHERE s.oid OPERATOR(pg_catalog.>=) 16384 ORDER BY s.oid",
    },
    CatalogQuery {
        name: TYPES,
        sql: "SELECT CAST(pg_catalog.json_build_object('oid', CAST(t.oid AS pg_catalog.int8), 'schema', n.nspname, 'name', t.typname, \
              'kind', t.typtype, 'category', t.typcategory, 'relation', CAST(t.typrelid AS pg_catalog.int8), 'element', CAST(t.typelem AS pg_catalog.int8), \
              'base', CAST(t.typbasetype AS pg_catalog.int8), \
              'subtype', COALESCE((SELECT CAST(r.rngsubtype AS pg_catalog.int8) FROM pg_catalog.pg_range r \
              WHERE r.rngtypid OPERATOR(pg_catalog.=) t.oid), \
              (SELECT CAST(r.rngtypid AS pg_catalog.int8) FROM pg_catalog.pg_range r \
              WHERE r.rngmultitypid OPERATOR(pg_catalog.=) t.oid), 0), \
              'checks', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.pg_get_expr(k.conbin, 0) ORDER BY k.oid) \
              FROM pg_catalog.pg_constraint k WHERE k.contypid OPERATOR(pg_catalog.=) t.oid AND k.conbin IS NOT NULL), '[]')) \
              AS pg_catalog.text) FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n \
              ON n.oid OPERATOR(pg_catalog.=) t.typnamespace WHERE n.nspname OPERATOR(pg_catalog.<>) 'pg_toast' \
              AND (n.oid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() \
              OR NOT pg_catalog.starts_with(CAST(n.nspname AS pg_catalog.text), 'pg_temp_')) /*only t.oid*/ ORDER BY t.oid",
    },
    CatalogQuery {
        name: FUNCTIONS,
        sql: "SELECT CAST(pg_catalog.json_build_object('oid', CAST(p.oid AS pg_catalog.int8), 'schema', n.nspname, 'name', p.proname, \
              'kind', p.prokind, 'language', l.lanname, 'volatility', p.provolatile, \
              'arguments', pg_catalog.string_to_array(CAST(p.proargtypes AS pg_catalog.text), ' ')::pg_catalog.int8[], \
              'defaults', p.pronargdefaults, 'variadic', p.provariadic OPERATOR(pg_catalog.<>) 0, \
              'returns', CAST(p.prorettype AS pg_catalog.int8), 'returns_set', p.proretset, \
              'argument_names', COALESCE(pg_catalog.to_json(p.proargnames), '[]'), \
              'argument_modes', COALESCE(pg_catalog.to_json(p.proargmodes), '[]'), \
              'definer', p.prosecdef, 'owner', pg_catalog.pg_get_userbyid(p.proowner), \
              'default_values', CASE WHEN p.oid OPERATOR(pg_catalog.>=) 16384 THEN pg_catalog.pg_get_expr(p.proargdefaults, 0) END, \
              'source', CASE WHEN n.nspname OPERATOR(pg_catalog.<>) 'pg_catalog' OR p.oid OPERATOR(pg_catalog.>=) 16384 \
              THEN p.prosrc END, \
              'body', CASE WHEN n.nspname OPERATOR(pg_catalog.<>) 'pg_catalog' OR p.oid OPERATOR(pg_catalog.>=) 16384 \
              THEN pg_catalog.pg_get_function_sqlbody(p.oid) END, \
              'settings', COALESCE(pg_catalog.to_json(p.proconfig), '[]'), \
              'extension', (SELECT e.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e \
              ON e.oid OPERATOR(pg_catalog.=) d.refobjid WHERE d.classid OPERATOR(pg_catalog.=) 1255 \
              AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.refclassid OPERATOR(pg_catalog.=) 3079 \
              AND d.deptype OPERATOR(pg_catalog.=) 'e' LIMIT 1), \
              'parts', CASE WHEN p.oid OPERATOR(pg_catalog.>=) 16384 THEN COALESCE((SELECT pg_catalog.json_build_array(\
              CAST(CAST(a.aggtransfn AS pg_catalog.oid) AS pg_catalog.int8), CAST(CAST(a.aggfinalfn AS pg_catalog.oid) AS pg_catalog.int8), \
              CAST(CAST(a.aggcombinefn AS pg_catalog.oid) AS pg_catalog.int8), CAST(CAST(a.aggmtransfn AS pg_catalog.oid) AS pg_catalog.int8), \
              CAST(CAST(a.aggminvtransfn AS pg_catalog.oid) AS pg_catalog.int8), CAST(CAST(a.aggmfinalfn AS pg_catalog.oid) AS pg_catalog.int8)) FROM pg_catalog.pg_aggregate a \
              WHERE CAST(a.aggfnoid AS pg_catalog.oid) OPERATOR(pg_catalog.=) p.oid), '[]') ELSE '[]' END) AS pg_catalog.text) \
              FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace \
              JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang WHERE true /*only p.oid*/ ORDER BY p.oid",
    },
    CatalogQuery {
        name: OPERATORS,
        sql: "SELECT CAST(pg_catalog.json_build_object('schema', n.nspname, 'name', o.oprname, 'left', CAST(o.oprleft AS pg_catalog.int8), \
              'right', CAST(o.oprright AS pg_catalog.int8), 'function', CAST(CAST(o.oprcode AS pg_catalog.oid) AS pg_catalog.int8)) AS pg_catalog.text) \
              FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n \
              ON n.oid OPERATOR(pg_catalog.=) o.oprnamespace WHERE o.oid OPERATOR(pg_catalog.>=) 16384 ORDER BY o.oid",
    },
    CatalogQuery {
        name: CASTS,
        sql: "SELECT CAST(pg_catalog.json_build_object('source', CAST(c.castsource AS pg_catalog.int8), 'target', CAST(c.casttarget AS pg_catalog.int8), \
              'function', CAST(c.castfunc AS pg_catalog.int8)) AS pg_catalog.text) FROM pg_catalog.pg_cast c \
              WHERE c.oid OPERATOR(pg_catalog.>=) 16384 ORDER BY c.oid",
    },
    CatalogQuery {
        name: ROLES,
        // Whether a member inherits is its own attribute up to 15, and that of each membership from 16 on.
        sql: "SELECT CAST(pg_catalog.json_build_object('oid', CAST(r.oid AS pg_catalog.int8), 'name', r.rolname, \
              'bypasses', r.rolsuper OR r.rolbypassrls, \
              'inherits', COALESCE((SELECT pg_catalog.json_agg(CAST(m.roleid AS pg_catalog.int8) ORDER BY m.roleid) \
              FROM pg_catalog.pg_auth_members m WHERE m.member OPERATOR(pg_catalog.=) r.oid \
              AND COALESCE(CAST(pg_catalog.to_jsonb(m) OPERATOR(pg_catalog.->>) 'inherit_option' AS pg_catalog.bool), \
              r.rolinherit)), '[]')) AS pg_catalog.text) FROM pg_catalog.pg_roles r \
              WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relrowsecurity) ORDER BY r.oid",
    },
];
