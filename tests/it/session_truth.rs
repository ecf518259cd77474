//! What a session has done is known when its next statement is judged: settings, temporary relations, kept statements.

use crate::harness::conn::{Conn, bind, execute, parse, query, sync};
use crate::harness::{Client, Options, Proxy, TestDb, eventually};

/// What reveals a tagged column is denied by one rule, what cannot be known by another, everything else passes.
const POLICY: &str = "version: 1\nerrors: pass\ntags:\n  - { columns: [\"*.public.*.email\", \"*.other.*.email\", \
                      \"*.agent_trust.*.email\"], tag: user.contact.email }\nrules:\n  - { name: personal, match: { \
                      tag: \"user.**\", access: reveal }, effect: deny }\n  - { name: opaque, match: { kind: opaque }, \
                      effect: deny }\ndefault: allow\n";

/// The same, and nothing is denied: records tell.
const RECORDS: &str = "version: 1\nerrors: pass\ntags:\n  - { columns: [\"*.public.*.email\", \"*.other.*.email\"], tag: \
                       user.contact.email }\nrules: []\ndefault: allow\n";

/// `other.orders` has a tagged column, `public.orders` has none.
const OTHER: &str = "ALTER TABLE public.orders ADD email_hint text; ALTER TABLE public.orders RENAME email_hint TO mail; \
                     CREATE SCHEMA other; CREATE TABLE other.orders (id bigint, total numeric, mail text, email text); \
                     INSERT INTO other.orders VALUES (1, 1, 'm', 'e'); GRANT ALL ON SCHEMA other TO PUBLIC; \
                     GRANT ALL ON other.orders TO PUBLIC; CREATE VIEW other.v AS SELECT email AS shown FROM other.orders; \
                     CREATE VIEW public.v AS SELECT mail AS shown FROM public.orders; GRANT ALL ON public.v, other.v TO PUBLIC";

/// Reads a tagged column under the path `other`, and none under `public`.
const READ: &str = "SELECT shown FROM v LIMIT 1";

fn start(label: &str) -> (TestDb, Proxy) {
    with_policy(label, POLICY)
}

fn with_policy(label: &str, policy: &str) -> (TestDb, Proxy) {
    let db = TestDb::new(label);
    db.direct(OTHER);
    let proxy = Proxy::start(&db, Options { policy: Some(policy), ..Options::default() });
    (db, proxy)
}

/// `allow`, or the rule that said no.
fn verdict(client: &Client, sql: &str) -> String {
    match client.query(sql) {
        Ok(_) => "allow".to_owned(),
        Err(error) => named(error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}")).message()),
    }
}

fn named(message: &str) -> String {
    message.split("denied by rule \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or(message).to_owned()
}

/// What a raw client hears up to the next `ReadyForQuery`: `allow`, a rule, or the server's own error.
fn heard(conn: &mut Conn) -> String {
    let frames = conn.until('Z');
    let error = frames.iter().find(|frame| frame.tag == 'E');
    error.map_or_else(|| "allow".to_owned(), |frame| named(&frame.field(b'M')))
}

fn done(client: &Client, statements: &[&str]) {
    for sql in statements {
        client.query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

/// The tagged columns on the closing record of a statement that holds a text.
fn recorded(proxy: &Proxy, text: &str) -> Vec<String> {
    let line = eventually(&format!("the record of {text:?}"), || {
        let (_, out, _) = proxy.holdgate(&["log", "query", "--text", text, "--format", "jsonl"]);
        out.lines().rfind(|line| line.contains("\"closed\"")).map(str::to_owned)
    });
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    let columns = record["columns"].as_object().cloned().unwrap_or_default();
    let tagged = columns.iter().filter(|(_, facts)| facts["tags"].as_array().is_some_and(|tags| !tags.is_empty()));
    tagged.map(|(name, _)| name.split_once('.').unwrap().1.to_owned()).collect()
}

#[test]
fn a_search_path_that_the_same_text_sets_counts_for_what_follows() {
    let (_db, proxy) = start("st_path");
    let client = proxy.connect();
    assert_eq!(verdict(&client, READ), "allow");
    assert_eq!(verdict(&client, &format!("SET search_path = other; {READ}")), "personal");
    assert_eq!(verdict(&client, &format!("SET search_path TO public; {READ}")), "allow");
    assert_eq!(verdict(&client, &format!("BEGIN; SET LOCAL search_path = other; {READ}; COMMIT")), "personal");
    assert_eq!(verdict(&client, &format!("SET search_path = other, public; {READ}")), "personal");
    assert_eq!(verdict(&client, &format!("RESET search_path; {READ}")), "opaque");
    assert_eq!(verdict(&client, "SET search_path = other; SELECT 1; COMMIT"), "allow");
}

#[test]
fn a_text_that_goes_back_behind_its_own_begin_is_not_guessed() {
    let (_db, proxy) = start("st_back");
    let client = proxy.connect();
    done(&client, &["SET search_path = other", "BEGIN", "SET search_path = public"]);
    assert_ne!(verdict(&client, &format!("ROLLBACK; {READ}")), "allow");
    done(&client, &["ROLLBACK"]);
    assert_eq!(verdict(&client, READ), "personal", "the path is as it was before the transaction");
}

#[test]
fn set_config_counts_for_what_follows_wherever_it_stands() {
    let (_db, proxy) = start("st_config");
    let client = proxy.connect();
    let set = "SELECT set_config('search_path', 'other', false)";
    assert_ne!(verdict(&client, &format!("{set}; {READ}")), "allow");
    assert_eq!(verdict(&client, READ), "allow", "nothing of that text ran");
    done(&client, &[set]);
    assert_eq!(verdict(&client, READ), "personal");
}

#[test]
fn a_role_that_the_same_text_takes_on_makes_names_unknown() {
    let (db, proxy) = start("st_role");
    db.direct("CREATE SCHEMA agent_trust AUTHORIZATION agent_trust");
    db.direct("CREATE VIEW agent_trust.v AS SELECT email AS shown FROM other.orders; ALTER VIEW agent_trust.v OWNER TO agent_trust");
    let client = proxy.connect();
    assert_eq!(verdict(&client, READ), "allow");
    assert_ne!(verdict(&client, &format!("SET ROLE agent_trust; {READ}")), "allow");
    assert_ne!(verdict(&client, &format!("SET SESSION AUTHORIZATION agent_trust; {READ}")), "allow");
    done(&client, &["SET ROLE agent_trust"]);
    assert_eq!(verdict(&client, READ), "personal", "\"$user\" is another schema now");
    done(&client, &["RESET ROLE"]);
    assert_eq!(verdict(&client, READ), "allow");
}

#[test]
fn an_execute_runs_what_the_same_text_has_prepared() {
    let (_db, proxy) = start("st_prepare");
    let client = proxy.connect();
    assert_eq!(verdict(&client, "PREPARE p AS SELECT 1; EXECUTE p"), "allow");
    assert_eq!(verdict(&client, "PREPARE q AS SELECT email FROM customers; EXECUTE q"), "personal");
    let again = "DEALLOCATE p; PREPARE p AS SELECT email FROM customers; EXECUTE p";
    assert_eq!(verdict(&client, again), "personal", "the name stood for something harmless before");
    assert_eq!(verdict(&client, "EXECUTE p"), "allow", "nothing of that text ran");
    let path = format!("PREPARE r AS {READ}; SET search_path = other; EXECUTE r");
    assert_eq!(verdict(&client, &path), "personal", "it is read again under the new path");
    assert_eq!(verdict(&client, "SET search_path = other; EXECUTE p"), "opaque");
}

#[test]
fn a_fetch_reads_what_the_same_text_has_declared() {
    let (_db, proxy) = with_policy("st_cursor", RECORDS);
    let client = proxy.connect();
    done(&client, &["BEGIN", "DECLARE c CURSOR FOR SELECT total FROM orders"]);
    done(&client, &["CLOSE c; DECLARE c CURSOR FOR SELECT email FROM customers; FETCH 3 FROM c"]);
    let records = proxy.holdgate(&["log", "query", "--column", "customers.email", "--format", "jsonl"]).1;
    assert!(records.contains("\"command\":\"FETCH\""), "{records}");
    done(&client, &["ROLLBACK"]);
}

#[test]
fn definitions_that_the_same_text_changes_are_not_read_as_they_were() {
    let (_db, proxy) = start("st_define");
    let client = proxy.connect();
    let over = "CREATE OR REPLACE VIEW v AS SELECT email AS shown FROM other.orders";
    assert_ne!(verdict(&client, &format!("{over}; {READ}")), "allow");
    let temporary = "CREATE TEMP VIEW v AS SELECT email AS shown FROM other.orders";
    assert_ne!(verdict(&client, &format!("{temporary}; {READ}")), "allow");
    assert_ne!(verdict(&client, "CREATE TEMP TABLE v AS SELECT 1 AS shown; SELECT shown FROM v"), "allow");
    assert_eq!(verdict(&client, "CREATE TEMP TABLE mine (a int); SELECT count(*) FROM customers"), "allow");
    let swap = "ALTER TABLE orders RENAME TO gone; ALTER TABLE other.orders SET SCHEMA public; SELECT * FROM orders";
    assert_ne!(verdict(&client, swap), "allow");
}

#[test]
fn a_query_that_is_sent_before_the_answer_to_the_last_one_is_judged_after_it() {
    let (db, proxy) = start("st_pipeline");
    for set in ["SET search_path = other", "SELECT set_config('search_path', 'other', false)"] {
        let mut conn = Conn::session(&proxy.postgres, &db.name);
        conn.send(&[query(READ), query(set), query(READ)].concat());
        assert_eq!((heard(&mut conn), heard(&mut conn).as_str()), ("allow".to_owned(), "allow"), "{set}");
        assert_eq!(heard(&mut conn), "personal", "{set}");
    }
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    conn.send(&query("PREPARE p AS SELECT 1"));
    assert_eq!(heard(&mut conn), "allow");
    let again = query("DEALLOCATE p; PREPARE p AS SELECT email FROM customers");
    conn.send(&[again, query("EXECUTE p")].concat());
    assert_eq!(heard(&mut conn), "allow");
    assert_eq!(heard(&mut conn), "personal", "the name means what it has become");
}

#[test]
fn a_batch_that_sets_the_path_is_judged_by_it() {
    let (db, proxy) = start("st_batch");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let run = |sql: &str| [parse("", sql), bind("", ""), execute("", 0)].concat();
    conn.send(&[run("SET search_path = other"), run(READ), sync()].concat());
    assert_ne!(heard(&mut conn), "allow");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let swap =
        [parse("p", "SELECT email FROM customers"), parse("", "EXECUTE p"), bind("", ""), execute("", 0), sync()];
    conn.send(&swap.concat());
    assert_ne!(heard(&mut conn), "allow");
}

#[test]
fn what_a_rollback_undoes_is_undone() {
    let (_db, proxy) = start("st_rollback");
    let client = proxy.connect();
    let path = ["SET search_path = other", "SET LOCAL search_path = other"];
    for set in path {
        for end in ["ROLLBACK", "ROLLBACK AND CHAIN", "ROLLBACK TO s", "ROLLBACK; BEGIN"] {
            done(&client, &["BEGIN", "SAVEPOINT s", set]);
            assert_eq!(verdict(&client, "SELECT 1 FROM v WHERE shown IS NULL"), "allow");
            done(&client, &[end]);
            assert_eq!(verdict(&client, READ), "allow", "{set}; {end}");
            done(&client, &["ROLLBACK"]);
        }
    }
    done(&client, &["SET search_path = other", "BEGIN", "SET LOCAL search_path = public"]);
    assert_eq!(verdict(&client, READ), "allow");
    done(&client, &["COMMIT AND CHAIN"]);
    assert_eq!(verdict(&client, READ), "personal", "SET LOCAL ended with its transaction");
}

#[test]
fn a_failed_transaction_leaves_nothing_behind() {
    let (_db, proxy) = start("st_failed");
    let client = proxy.connect();
    done(&client, &["BEGIN", "SET search_path = other"]);
    assert_eq!(client.fails("SELECT 1/0").0, "22012");
    done(&client, &["ROLLBACK"]);
    assert_eq!(verdict(&client, READ), "allow");
    assert_eq!(client.fails("SET search_path = other; SELECT 1/0").0, "22012");
    assert_eq!(verdict(&client, READ), "allow", "an error takes the whole text back");
    done(&client, &["SET search_path = other"]);
    assert_eq!(client.fails("BEGIN; SET search_path = public; SELECT 1/0").0, "22012");
    done(&client, &["COMMIT"]);
    assert_eq!(verdict(&client, READ), "personal");
}

#[test]
fn a_temporary_table_shadows_a_tagged_one_for_as_long_as_it_lives() {
    let (_db, proxy) = start("st_temp");
    let client = proxy.connect();
    let read = "SELECT email FROM customers";
    assert_eq!(verdict(&client, read), "personal");
    let ends: [&[&str]; 4] = [
        &["CREATE TEMP TABLE customers (email text)", "DISCARD TEMP"],
        &["CREATE TEMP TABLE customers (email text)", "DISCARD ALL"],
        &["CREATE TEMP TABLE customers (email text)", "DROP TABLE pg_temp.customers"],
        &["BEGIN", "CREATE TEMP TABLE customers (email text) ON COMMIT DROP", "COMMIT"],
    ];
    for steps in ends {
        let (end, begin) = steps.split_last().unwrap();
        done(&client, begin);
        assert_eq!(verdict(&client, read), "allow", "{steps:?}");
        done(&client, &[end]);
        assert_eq!(verdict(&client, read), "personal", "{steps:?}");
    }
    done(&client, &["BEGIN", "SAVEPOINT s", "CREATE TEMP TABLE customers (email text)"]);
    assert_eq!(verdict(&client, read), "allow");
    done(&client, &["ROLLBACK TO s"]);
    assert_eq!(verdict(&client, read), "personal");
    done(&client, &["ROLLBACK"]);
}

#[test]
fn a_temporary_view_over_a_tagged_table_shows_it() {
    let (_db, proxy) = start("st_tempview");
    let client = proxy.connect();
    assert_eq!(verdict(&client, READ), "allow");
    done(&client, &["CREATE TEMP VIEW v AS SELECT email AS shown FROM customers"]);
    assert_eq!(verdict(&client, READ), "personal");
}

#[test]
fn uncommitted_definitions_are_known_to_their_session() {
    let (_db, proxy) = start("st_uncommitted");
    let (client, other) = (proxy.connect(), proxy.connect());
    done(&client, &["BEGIN", "CREATE OR REPLACE VIEW v AS SELECT email AS shown FROM customers"]);
    assert_eq!(verdict(&client, READ), "personal");
    done(&client, &["ROLLBACK"]);
    assert_eq!(verdict(&client, READ), "allow");
    assert_eq!(verdict(&other, READ), "allow");
}

#[test]
fn a_prepared_statement_is_judged_anew_at_execute() {
    let (db, proxy) = start("st_anew");
    let client = proxy.connect();
    let statement = client.wait(client.inner.prepare(READ)).unwrap();
    let run = |label: &str| match client.wait(client.inner.query(&statement, &[])) {
        Ok(_) => "allow".to_owned(),
        Err(error) => named(error.as_db_error().unwrap_or_else(|| panic!("{label}: {error}")).message()),
    };
    done(&client, &[&format!("PREPARE p AS {READ}")]);
    let both = |label: &str| {
        let (protocol, sql) = (run(label), verdict(&client, "EXECUTE p"));
        assert_eq!(protocol, sql, "{label}");
        sql
    };
    assert_eq!(both("at first"), "allow");
    done(&client, &["SET search_path = other"]);
    assert_eq!(both("another path"), "personal");
    done(&client, &["SET search_path = public"]);
    assert_eq!(both("the path of before"), "allow");
    done(&client, &["CREATE OR REPLACE VIEW v AS SELECT email AS shown FROM customers"]);
    assert_eq!(both("the view shows something else"), "personal");
    done(&client, &["CREATE OR REPLACE VIEW v AS SELECT mail AS shown FROM orders"]);
    drop(db);
}

#[test]
fn a_prepared_statement_is_judged_by_a_new_tag_and_a_new_policy() {
    let (_db, proxy) = start("st_policy");
    let client = proxy.connect();
    done(&client, &["PREPARE p AS SELECT mail FROM orders LIMIT 1", "PREPARE q AS SELECT 1"]);
    assert_eq!(verdict(&client, "EXECUTE p"), "allow");
    done(&client, &["COMMENT ON COLUMN orders.mail IS '@pii(user.contact.email)'"]);
    assert_eq!(verdict(&client, "EXECUTE p"), "personal");
    assert_eq!(verdict(&client, "EXECUTE q"), "allow");
    std::fs::write(proxy.state.path().join("policy.yaml"), "version: 1\nrules: []\ndefault: deny\n").unwrap();
    proxy.signal("HUP");
    eventually("the new policy", || (verdict(&client, "EXECUTE q") != "allow").then_some(()));
}

#[test]
fn what_a_prepared_statement_meant_counts_while_the_server_may_still_run_it() {
    let (_db, proxy) = start("st_shadow");
    let client = proxy.connect();
    done(&client, &["CREATE TEMP TABLE first (a int)", "PREPARE p AS SELECT email FROM customers LIMIT 1"]);
    // The path has its temporary schema already: the server does not look for a nearer table.
    done(&client, &["CREATE TEMP TABLE customers (email text)"]);
    assert_eq!(verdict(&client, "SELECT email FROM customers"), "allow");
    assert_eq!(verdict(&client, "EXECUTE p"), "personal");
}

#[test]
fn a_portal_keeps_the_meaning_that_it_was_bound_with() {
    let (db, proxy) = with_policy("st_portal", RECORDS);
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    conn.send(&query("SET search_path = other"));
    assert_eq!(heard(&mut conn), "allow");
    conn.send(&query("BEGIN"));
    assert_eq!(heard(&mut conn), "allow");
    conn.send(&[parse("s", "SELECT shown AS kept FROM v"), bind("p", "s"), sync()].concat());
    assert_eq!(heard(&mut conn), "allow");
    conn.send(&query("SET search_path = public"));
    assert_eq!(heard(&mut conn), "allow");
    conn.send(&[execute("p", 0), sync()].concat());
    assert_eq!(heard(&mut conn), "allow");
    conn.send(&query("COMMIT"));
    assert_eq!(heard(&mut conn), "allow");
    assert_eq!(recorded(&proxy, "kept"), ["other.orders.email"]);
}

#[test]
fn prepared_statements_outlive_a_rollback_and_cursors_do_not() {
    let (_db, proxy) = start("st_outlive");
    let client = proxy.connect();
    done(&client, &["BEGIN", "PREPARE p AS SELECT email FROM customers LIMIT 1"]);
    done(&client, &["DECLARE c CURSOR FOR SELECT total FROM orders", "ROLLBACK"]);
    assert_eq!(verdict(&client, "EXECUTE p"), "personal");
    assert_eq!(client.fails("FETCH 1 FROM c").0, "34000");
    done(&client, &["BEGIN", "DECLARE h CURSOR WITH HOLD FOR SELECT total FROM orders", "COMMIT"]);
    assert_eq!(client.query("FETCH 2 FROM h").unwrap().len(), 2);
    done(&client, &["DISCARD ALL"]);
    assert_ne!(verdict(&client, "EXECUTE p"), "allow");
}

#[test]
fn resets_are_followed() {
    let (_db, proxy) = start("st_reset");
    let client = proxy.connect();
    for reset in ["RESET search_path", "RESET ALL", "DISCARD ALL", "SET search_path TO DEFAULT"] {
        done(&client, &["SET search_path = other"]);
        assert_eq!(verdict(&client, READ), "personal");
        done(&client, &[reset]);
        assert_eq!(verdict(&client, READ), "allow", "{reset}");
    }
}

#[test]
fn a_function_with_a_set_clause_is_read_under_its_own_path() {
    let (db, proxy) = start("st_setclause");
    db.direct("CREATE FUNCTION public.shows() RETURNS SETOF text LANGUAGE sql SET search_path = other AS 'SELECT shown FROM v'");
    db.direct("CREATE FUNCTION public.follows() RETURNS SETOF text LANGUAGE sql AS 'SELECT shown FROM v'");
    let client = proxy.connect();
    assert_eq!(verdict(&client, "SELECT * FROM public.shows()"), "personal");
    assert_eq!(verdict(&client, "SELECT * FROM public.follows()"), "allow");
    done(&client, &["SET search_path = other"]);
    assert_eq!(verdict(&client, "SELECT * FROM public.follows()"), "personal");
}

#[test]
fn a_function_whose_body_changes_a_setting_changes_what_follows() {
    let (db, proxy) = start("st_body");
    db.direct(
        "CREATE FUNCTION public.moves() RETURNS void LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM set_config('search_path', 'other', false); END $$",
    );
    let permissive = POLICY.replace("  - { name: opaque, match: { kind: opaque }, effect: deny }\n", "");
    let open = Proxy::start(&db, Options { policy: Some(&permissive), ..Options::default() });
    for proxy in [&proxy, &open] {
        let client = proxy.connect();
        assert_ne!(verdict(&client, &format!("SELECT public.moves(); {READ}; SELECT email FROM customers")), "allow");
    }
    let client = open.connect();
    done(&client, &["SELECT public.moves()"]);
    assert_eq!(verdict(&client, READ), "personal");
}

#[test]
fn a_path_that_a_role_or_a_database_brings_is_known_from_the_first_statement() {
    let (db, proxy) = start("st_rolepath");
    db.direct(&format!("ALTER ROLE agent_trust IN DATABASE {} SET search_path = other", db.name));
    let role = Client::connect(&proxy.dsn("agent_trust"));
    assert_eq!(verdict(&role, READ), "personal");
    assert_eq!(verdict(&proxy.connect(), READ), "allow");
    db.direct(&format!("ALTER DATABASE {} SET search_path = other", db.name));
    assert_eq!(verdict(&proxy.connect(), READ), "personal");
}

#[test]
fn a_backslash_is_no_plain_character_once_strings_do_not_conform() {
    let (db, proxy) = start("st_strings");
    db.direct(
        r"CREATE FUNCTION public.reads() RETURNS text LANGUAGE sql AS $$ SELECT 'a\' /* ' , max(shown) FROM v -- */ $$",
    );
    let client = proxy.connect();
    assert_eq!(verdict(&client, "SELECT public.reads()"), "allow");
    let text = r"SELECT 'a\' , shown /* ' */ FROM v LIMIT 1";
    assert_eq!(verdict(&client, text), "allow");
    done(&client, &["SET standard_conforming_strings = off"]);
    assert_eq!(verdict(&client, text), "opaque");
    assert_eq!(verdict(&client, "SELECT public.reads()"), "opaque", "its body is read as the session reads strings");
    done(&client, &["RESET standard_conforming_strings"]);
    assert_eq!(verdict(&client, text), "allow");
}

#[test]
fn an_encoding_that_hides_a_backslash_is_known_in_mid_session() {
    let (db, proxy) = start("st_encoding");
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let text = query("SELECT 'é'");
    conn.send(&[text.clone(), query("SET client_encoding = 'SJIS'"), text].concat());
    assert_eq!((heard(&mut conn), heard(&mut conn).as_str()), ("allow".to_owned(), "allow"));
    assert_eq!(heard(&mut conn), "opaque");
    conn.send(&query("SET NAMES 'UTF8'"));
    assert_eq!(heard(&mut conn), "allow");
    conn.send(&query("SELECT 'é'"));
    assert_eq!(heard(&mut conn), "allow");
}

#[test]
fn a_text_in_another_encoding_is_unknown_wherever_its_bytes_could_be_read_as_other_characters() {
    let db = TestDb::new("encodings");
    // The bytes of the second name are those of the first one in LATIN1.
    db.direct("CREATE TABLE \"kund\u{c3}\u{a9}\" (email text); CREATE TABLE \"kund\u{e9}\" (id int)");
    let policy = "version: 1\nrules:\n  - { name: unknown, match: { kind: opaque }, effect: deny }\ndefault: allow\n";
    let proxy = Proxy::start(&db, Options { policy: Some(policy), ..Options::default() });
    let mut conn = Conn::session(&proxy.postgres, &db.name);
    let text = "SELECT * FROM \"kund\u{e9}\"";
    let mut outcome = |text: &str| {
        conn.send(&query(text));
        let frames = conn.until('Z');
        frames.iter().find(|frame| frame.tag == 'E').map(|frame| frame.field(b'C'))
    };
    assert_eq!(outcome(text), None);
    for encoding in ["LATIN1", "WIN1252", "EUC_JP", "SJIS"] {
        assert_eq!(outcome(&format!("SET client_encoding = '{encoding}'")), None);
        assert_eq!(outcome(text).as_deref(), Some("42501"), "{encoding}");
        assert_eq!(outcome("SELECT 'ascii'"), None, "{encoding}");
    }
    assert_eq!(outcome("SET client_encoding = 'SQL_ASCII'"), None);
    assert_eq!(outcome(text), None, "the server reads the bytes as they are");
    // In one batch, before the server has said that the encoding is another one.
    let steps = ["SET client_encoding = 'UTF8'", "SET client_encoding = 'LATIN1'", text];
    let batch = steps[1..].iter().flat_map(|sql| [parse("", sql), bind("", ""), execute("", 0)].concat());
    let batch: Vec<u8> = batch.chain(sync()).collect();
    conn.send(&query(steps[0]));
    conn.until('Z');
    conn.send(&batch);
    let frames = conn.until('Z');
    let error = frames.iter().find(|frame| frame.tag == 'E').map(|frame| frame.field(b'C'));
    assert_eq!(error.as_deref(), Some("42501"), "{frames:?}");
}
