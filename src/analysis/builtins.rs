//! What is known of the server's own functions that do more than compute.

/// What a function of the server does besides computing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builtin {
    /// Packs many rows into one value.
    Packs,
    /// Hands its arguments to other sessions, to whoever reads the server's log of changes, or back to this one, beside
    /// the rows that are counted.
    Sends,
    /// Reads files, large objects or other servers, or runs SQL that the analysis cannot see.
    Opaque,
    /// An ordered-set aggregate: with a list of fractions it returns as many of the rows' values.
    Fractions,
    /// Runs the SQL of the argument at this place.
    RunsSql(usize),
    /// Reads the relation that the argument at this place names.
    ReadsRelation(usize),
    /// Changes a setting: `set_config(name, value, local)`.
    SetConfig,
    /// Changes state that a rollback or a cancel does not undo.
    Acts,
    /// Signals other sessions or the server.
    Signals,
    /// Returns what a column of the server's own views shows.
    Shows(&'static str, &'static str),
    /// Reads a value by a grammar stricter than its own: an error says the value.
    Speaks,
}

const TABLE: &[(&str, Builtin)] = &[
    ("array_agg", Builtin::Packs),
    ("string_agg", Builtin::Packs),
    ("json_agg", Builtin::Packs),
    ("json_agg_strict", Builtin::Packs),
    ("jsonb_agg", Builtin::Packs),
    ("jsonb_agg_strict", Builtin::Packs),
    ("json_object_agg", Builtin::Packs),
    ("json_object_agg_strict", Builtin::Packs),
    ("json_object_agg_unique", Builtin::Packs),
    ("json_object_agg_unique_strict", Builtin::Packs),
    ("jsonb_object_agg", Builtin::Packs),
    ("jsonb_object_agg_strict", Builtin::Packs),
    ("jsonb_object_agg_unique", Builtin::Packs),
    ("jsonb_object_agg_unique_strict", Builtin::Packs),
    ("xmlagg", Builtin::Packs),
    ("range_agg", Builtin::Packs),
    ("range_intersect_agg", Builtin::Packs),
    ("percentile_disc", Builtin::Fractions),
    ("percentile_cont", Builtin::Fractions),
    ("query_to_xml", Builtin::RunsSql(0)),
    ("query_to_xmlschema", Builtin::RunsSql(0)),
    ("query_to_xml_and_xmlschema", Builtin::RunsSql(0)),
    ("ts_stat", Builtin::RunsSql(0)),
    ("ts_rewrite", Builtin::RunsSql(1)),
    ("table_to_xml", Builtin::ReadsRelation(0)),
    ("table_to_xml_and_xmlschema", Builtin::ReadsRelation(0)),
    ("table_to_xmlschema", Builtin::Acts),
    ("cursor_to_xml", Builtin::Opaque),
    ("cursor_to_xmlschema", Builtin::Opaque),
    ("schema_to_xml", Builtin::Opaque),
    ("schema_to_xml_and_xmlschema", Builtin::Opaque),
    ("database_to_xml", Builtin::Opaque),
    ("database_to_xml_and_xmlschema", Builtin::Opaque),
    ("pg_read_file", Builtin::Opaque),
    ("pg_read_binary_file", Builtin::Opaque),
    ("pg_ls_dir", Builtin::Opaque),
    ("pg_ls_logdir", Builtin::Opaque),
    ("pg_ls_waldir", Builtin::Opaque),
    ("pg_ls_tmpdir", Builtin::Opaque),
    ("pg_ls_archive_statusdir", Builtin::Opaque),
    ("pg_stat_file", Builtin::Opaque),
    ("pg_current_logfile", Builtin::Opaque),
    ("pg_logical_slot_get_changes", Builtin::Opaque),
    ("pg_logical_slot_peek_changes", Builtin::Opaque),
    ("pg_logical_slot_get_binary_changes", Builtin::Opaque),
    ("pg_logical_slot_peek_binary_changes", Builtin::Opaque),
    ("pg_logical_emit_message", Builtin::Sends),
    ("pg_get_wal_record_info", Builtin::Opaque),
    ("set_config", Builtin::SetConfig),
    ("nextval", Builtin::Acts),
    ("setval", Builtin::Acts),
    ("pg_notify", Builtin::Sends),
    ("pg_advisory_lock", Builtin::Acts),
    ("pg_terminate_backend", Builtin::Signals),
    ("pg_cancel_backend", Builtin::Signals),
    ("pg_reload_conf", Builtin::Signals),
    ("pg_rotate_logfile", Builtin::Signals),
    ("pg_promote", Builtin::Signals),
    ("pg_switch_wal", Builtin::Signals),
    ("pg_create_restore_point", Builtin::Signals),
    ("pg_backup_start", Builtin::Signals),
    ("pg_backup_stop", Builtin::Signals),
    ("pg_start_backup", Builtin::Signals),
    ("pg_stop_backup", Builtin::Signals),
    ("pg_wal_replay_pause", Builtin::Signals),
    ("pg_wal_replay_resume", Builtin::Signals),
    ("pg_create_physical_replication_slot", Builtin::Signals),
    ("pg_create_logical_replication_slot", Builtin::Signals),
    ("pg_copy_physical_replication_slot", Builtin::Signals),
    ("pg_copy_logical_replication_slot", Builtin::Signals),
    ("pg_drop_replication_slot", Builtin::Signals),
    ("pg_replication_slot_advance", Builtin::Signals),
    ("pg_log_backend_memory_contexts", Builtin::Signals),
    ("pg_import_system_collations", Builtin::Signals),
    ("pg_extension_config_dump", Builtin::Signals),
    ("pg_nextoid", Builtin::Signals),
    ("pg_stop_making_pinned_objects", Builtin::Signals),
    ("pg_sync_replication_slots", Builtin::Signals),
    ("pg_log_standby_snapshot", Builtin::Signals),
    ("gin_clean_pending_list", Builtin::Signals),
    ("pg_stat_get_activity", Builtin::Shows("pg_stat_activity", "query")),
    ("pg_stat_get_backend_activity", Builtin::Shows("pg_stat_activity", "query")),
    ("pg_prepared_statement", Builtin::Shows("pg_prepared_statements", "statement")),
    ("pg_cursor", Builtin::Shows("pg_cursors", "statement")),
    ("pg_mcv_list_items", Builtin::Shows("pg_statistic_ext_data", "stxdmcv")),
    ("current_query", Builtin::Acts),
    ("to_number", Builtin::Speaks),
    ("to_date", Builtin::Speaks),
    ("to_timestamp", Builtin::Speaks),
    ("json_in", Builtin::Speaks),
    ("int4in", Builtin::Speaks),
    ("parse_ident", Builtin::Speaks),
    ("to_regclass", Builtin::Speaks),
    ("regexp_matches", Builtin::Speaks),
    ("decode", Builtin::Speaks),
    ("convert_from", Builtin::Speaks),
];

/// How the names of functions begin that change statistics, indexes, replication or the catalog itself.
const SIGNALLING: &[&str] = &[
    "pg_stat_reset",
    "pg_restore_",
    "pg_clear_",
    "pg_replication_origin_",
    "brin_summarize_",
    "brin_desummarize_",
    "binary_upgrade_",
];

/// Names of extensions' functions that run SQL or reach files and servers.
const EXTENSION_TABLE: &[(&str, Builtin)] = &[
    ("crosstab", Builtin::RunsSql(0)),
    ("crosstab2", Builtin::RunsSql(0)),
    ("crosstab3", Builtin::RunsSql(0)),
    ("crosstab4", Builtin::RunsSql(0)),
    ("xpath_table", Builtin::Opaque),
    ("connectby", Builtin::Opaque),
];

/// What a function of the server does besides computing; `None` where it only computes.
pub(super) fn builtin(name: &str) -> Option<Builtin> {
    if name.starts_with("lo_")
        || name.starts_with("loread")
        || name.starts_with("lowrite")
        || name.starts_with("pg_file_")
    {
        return Some(Builtin::Opaque);
    }
    if SIGNALLING.iter().any(|prefix| name.starts_with(prefix)) {
        return Some(Builtin::Signals);
    }
    TABLE.iter().find(|(known, _)| *known == name).map(|(_, what)| *what)
}

/// What a compiled function of an extension does; those of known harmless extensions only compute.
pub(super) fn extension(extension: Option<&str>, name: &str) -> Option<Builtin> {
    if let Some((_, what)) = EXTENSION_TABLE.iter().find(|(known, _)| *known == name) {
        return Some(*what);
    }
    match extension {
        Some(extension) if HARMLESS_EXTENSIONS.contains(&extension) => None,
        _ => Some(Builtin::Opaque),
    }
}

/// Extensions whose compiled functions compute from their arguments alone.
const HARMLESS_EXTENSIONS: &[&str] = &[
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "ltree",
    "pg_trgm",
    "pgcrypto",
    "postgis",
    "seg",
    "tablefunc",
    "tcn",
    "unaccent",
    "uuid-ossp",
    "vector",
    "pg_stat_statements",
    "bloom",
    "plpgsql",
    "xml2",
];
