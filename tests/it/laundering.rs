//! Personal data keeps its tags wherever a statement copies it to, and whatever its columns are called.

use crate::harness::{Client, Options, Proxy, TestDb};

/// Everything passes; a tagged read is in the log.
const POLICY: &str = "version: 1\nerrors: pass\ntags:\n  - {columns: [email, customers.city], tag: user.contact.email}\n\
                      rules: []\ndefault: allow\n";

/// A database with tables to launder into, and a proxy that denies reading what is tagged.
struct Laundry {
    db: TestDb,
    proxy: Proxy,
}

impl Laundry {
    fn new(label: &str) -> Self {
        let db = TestDb::new(label);
        db.direct(
            "CREATE TABLE notes (id int PRIMARY KEY, note text, other text); \
             INSERT INTO notes SELECT i, 'n', 'o' FROM generate_series(1, 10) i",
        );
        let proxy = Proxy::start(&db, Options { policy: Some(POLICY), ..Options::default() });
        Self { db, proxy }
    }

    /// After some statements reading one column is denied, and it was not before where it was there.
    fn launders(&self, statements: &[&str], read: &str) -> Client {
        let client = self.proxy.connect();
        for statement in statements {
            client.query(statement).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        }
        tagged(&self.proxy, &client, read);
        client
    }
}

/// How many records of a statement carry the tag. A tagged statement is in the log before its first row.
fn records(proxy: &Proxy, read: &str) -> usize {
    let (code, out, err) = proxy.holdgate(&["log", "query", "--text", read, "--format", "jsonl"]);
    assert_eq!(code, 0, "{err}");
    let tags = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["tags"].to_string();
    out.lines().filter(|line| tags(line).contains("user.contact.email")).count()
}

fn is_tagged(proxy: &Proxy, client: &Client, read: &str) -> bool {
    let before = records(proxy, read);
    client.query(read).unwrap_or_else(|error| panic!("{read}: {error:?}"));
    records(proxy, read) > before
}

fn tagged(proxy: &Proxy, client: &Client, read: &str) {
    assert!(is_tagged(proxy, client, read), "{read}");
}

/// Statements that copy emails into `notes.note` or a new column, and the read that must be denied.
macro_rules! launders {
    ($($name:ident: [$($statement:expr),+ $(,)?] => $read:expr;)+) => {$(
        #[test]
        fn $name() {
            let laundry = Laundry::new(&stringify!($name)[..stringify!($name).len().min(40)]);
            let client = laundry.launders(&[$($statement),+], $read);
            drop(client);
            tagged(&laundry.proxy, &laundry.proxy.connect(), $read);
        }
    )+};
}

launders! {
    create_table_as_tags_the_new_column:
        ["CREATE TABLE copied AS SELECT id, email AS x FROM customers"] => "SELECT x FROM copied";
    create_table_as_with_names_of_its_own:
        ["CREATE TABLE copied (a, b) AS SELECT id, email FROM customers"] => "SELECT b FROM copied";
    create_table_as_of_a_prepared_statement:
        ["PREPARE p AS SELECT lower(email) AS x FROM customers", "CREATE TABLE copied AS EXECUTE p"] => "SELECT x FROM copied";
    select_into_tags_the_new_column: ["SELECT email || '' AS x INTO copied FROM customers"] => "SELECT x FROM copied";
    a_materialised_view_is_tagged:
        ["CREATE MATERIALIZED VIEW shown AS SELECT email AS x FROM customers"] => "SELECT x FROM shown";
    a_copy_of_a_materialised_view_is_tagged:
        ["CREATE MATERIALIZED VIEW shown AS SELECT email AS x FROM customers", "CREATE TABLE copied AS SELECT x AS y FROM shown"]
        => "SELECT y FROM copied";
    a_view_is_tagged: ["CREATE VIEW shown AS SELECT email AS x FROM customers"] => "SELECT x FROM shown";
    insert_select_tags_the_target:
        ["INSERT INTO notes SELECT id + 100, email FROM customers"] => "SELECT note FROM notes";
    insert_values_with_a_subquery:
        ["INSERT INTO notes VALUES (101, (SELECT email FROM customers WHERE id = 1))"] => "SELECT note FROM notes";
    insert_on_conflict_do_update:
        ["INSERT INTO notes AS n (id, other) SELECT id, email FROM customers ON CONFLICT (id) DO UPDATE SET note = excluded.other"]
        => "SELECT note FROM notes";
    insert_through_a_view:
        ["CREATE VIEW gate AS SELECT id AS a, note AS b FROM notes", "INSERT INTO gate SELECT id + 100, email FROM customers"]
        => "SELECT note FROM notes";
    update_from_tags_the_target:
        ["UPDATE notes SET note = c.email FROM customers c WHERE c.id = notes.id"] => "SELECT note FROM notes";
    update_with_a_subquery:
        ["UPDATE notes SET note = (SELECT email FROM customers c WHERE c.id = notes.id)"] => "SELECT note FROM notes";
    update_of_several_columns_at_once:
        ["UPDATE notes SET (note, other) = (SELECT email, 'x' FROM customers c WHERE c.id = notes.id)"]
        => "SELECT note FROM notes";
    update_within_one_table:
        ["ALTER TABLE customers ADD COLUMN spare text", "UPDATE customers SET spare = email"] => "SELECT spare FROM customers";
    merge_inserts_and_updates:
        ["MERGE INTO notes n USING customers c ON n.id = c.id WHEN MATCHED THEN UPDATE SET other = c.email \
          WHEN NOT MATCHED THEN INSERT VALUES (c.id, c.email, '')"] => "SELECT note FROM notes";
    a_modifying_cte_passes_it_on:
        ["CREATE TABLE last (x text)", "WITH w AS (UPDATE notes SET note = c.email FROM customers c WHERE c.id = notes.id RETURNING note) \
          INSERT INTO last SELECT note FROM w"] => "SELECT x FROM last";
    an_added_column_with_a_computed_type:
        ["CREATE TABLE copied AS SELECT email AS x FROM customers", "ALTER TABLE copied ALTER COLUMN x TYPE varchar USING lower(x)"]
        => "SELECT x FROM copied";
    a_chain_of_copies:
        ["CREATE TABLE one AS SELECT email AS a FROM customers", "CREATE TABLE two AS SELECT a AS b FROM one",
         "INSERT INTO notes SELECT row_number() OVER () + 100, b FROM two"] => "SELECT note FROM notes";
    a_chain_within_one_text:
        ["CREATE TABLE last (x text)", "INSERT INTO notes SELECT id + 100, email FROM customers; INSERT INTO last SELECT note FROM notes"]
        => "SELECT x FROM last";
    a_generated_column_follows_what_it_is_made_of:
        ["ALTER TABLE notes ADD COLUMN made text GENERATED ALWAYS AS (upper(note)) STORED", "UPDATE notes SET note = c.email FROM customers c"]
        => "SELECT made FROM notes";
    a_table_like_another_is_tagged_alike:
        ["CREATE TABLE alike (LIKE customers)"] => "SELECT city FROM alike";
    a_child_is_tagged_like_its_parent:
        ["CREATE TABLE child (extra int) INHERITS (customers)"] => "SELECT city FROM child";
    a_partition_keeps_its_tags_when_it_is_detached:
        ["CREATE TABLE parts (id int, email text, city text) PARTITION BY LIST (id)", "CREATE TABLE part PARTITION OF parts FOR VALUES IN (1)",
         "INSERT INTO parts SELECT 1, email, city FROM customers", "ALTER TABLE parts DETACH PARTITION part"] => "SELECT city FROM part";
    a_renamed_column_stays_tagged: ["ALTER TABLE customers RENAME COLUMN email TO harmless"] => "SELECT harmless FROM customers";
    a_renamed_table_stays_tagged: ["ALTER TABLE customers RENAME TO things"] => "SELECT city FROM things";
    a_table_that_moves_to_another_schema_stays_tagged:
        ["CREATE SCHEMA aside", "ALTER TABLE customers SET SCHEMA aside", "ALTER TABLE aside.customers RENAME TO things"]
        => "SELECT city FROM aside.things";
    a_copy_that_is_renamed_in_the_same_text_stays_tagged:
        ["CREATE TABLE copied AS SELECT email AS x FROM customers; ALTER TABLE copied RENAME TO things; ALTER TABLE things RENAME x TO y"]
        => "SELECT y FROM things";
    a_copy_that_is_renamed_in_its_transaction_stays_tagged:
        ["BEGIN", "CREATE TABLE copied AS SELECT email AS x FROM customers", "ALTER TABLE copied RENAME TO things", "COMMIT"]
        => "SELECT x FROM things";
    a_column_of_a_row_type_has_the_tags_of_the_row:
        ["CREATE TABLE rows (r customers)"] => "SELECT r FROM rows";
    a_column_of_an_array_of_rows_has_the_tags_of_the_row:
        ["CREATE TABLE rows (r customers[])"] => "SELECT r FROM rows";
    a_column_of_a_composite_type_has_the_tags_of_its_attributes:
        ["CREATE TYPE contact AS (email text, phone text)", "CREATE DOMAIN contacts AS contact[]", "CREATE TABLE rows (r contacts)"]
        => "SELECT r FROM rows";
    a_comment_tags_a_column:
        ["COMMENT ON COLUMN notes.other IS 'theirs @pii(user.contact.email)'"] => "SELECT other FROM notes";
    a_copy_of_a_column_that_a_comment_tags:
        ["COMMENT ON COLUMN notes.other IS '@pii(user.contact.email)'", "CREATE TABLE copied AS SELECT other AS x FROM notes"]
        => "SELECT x FROM copied";
    a_function_that_writes_from_its_body:
        ["CREATE FUNCTION launder() RETURNS void LANGUAGE sql AS 'INSERT INTO notes SELECT id + 100, email FROM customers'", "SELECT launder()"]
        => "SELECT note FROM notes";
    a_function_that_writes_its_argument:
        ["CREATE FUNCTION keep(t text) RETURNS void LANGUAGE sql AS 'UPDATE notes SET note = t'",
         "SELECT keep(email) FROM customers LIMIT 1"] => "SELECT note FROM notes";
    a_plpgsql_function_that_writes:
        ["CREATE FUNCTION launder() RETURNS void LANGUAGE plpgsql AS $$ DECLARE r text; BEGIN \
          SELECT email INTO r FROM customers LIMIT 1; UPDATE notes SET note = r; END $$", "SELECT launder()"] => "SELECT note FROM notes";
    a_block_that_writes:
        ["DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM customers LIMIT 5 LOOP \
          INSERT INTO notes (id, note) VALUES (r.id + 100, r.email); END LOOP; END $$"] => "SELECT note FROM notes";
    a_trigger_that_copies_the_new_row:
        ["CREATE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO notes VALUES (NEW.id + 10000, NEW.email); RETURN NEW; END $$",
         "CREATE TRIGGER copies AFTER INSERT ON customers FOR EACH ROW EXECUTE FUNCTION copy()",
         "INSERT INTO customers VALUES (5000, 'a', 'b', 'c', 'd')"] => "SELECT note FROM notes";
    a_rule_that_copies_the_new_row:
        ["CREATE RULE copies AS ON INSERT TO customers DO ALSO INSERT INTO notes VALUES (NEW.id + 10000, NEW.email)",
         "INSERT INTO customers VALUES (5000, 'a', 'b', 'c', 'd')"] => "SELECT note FROM notes";
}

#[test]
fn a_temporary_copy_is_tagged_in_its_session() {
    let laundry = Laundry::new("temp");
    let client =
        laundry.launders(&["CREATE TEMP TABLE copied AS SELECT email AS x FROM customers"], "SELECT x FROM copied");
    client.query("CREATE TEMP TABLE held (y text)").unwrap();
    client.query("INSERT INTO held SELECT x FROM copied").unwrap();
    tagged(&laundry.proxy, &client, "SELECT y FROM held");
    client.query("ALTER TABLE held RENAME y TO z").unwrap();
    tagged(&laundry.proxy, &client, "SELECT z FROM held");
    client.query("CREATE TABLE kept AS SELECT z AS k FROM held").unwrap();
    tagged(&laundry.proxy, &laundry.proxy.connect(), "SELECT k FROM kept");
}

#[test]
fn untagged_columns_beside_a_copied_one_stay_untagged() {
    let laundry = Laundry::new("beside");
    let client = laundry.launders(
        &[
            "CREATE TABLE copied AS SELECT id, email AS x, last_name FROM customers",
            "UPDATE notes SET note = c.email, other = c.last_name FROM customers c",
        ],
        "SELECT x FROM copied",
    );
    for read in ["SELECT id, last_name FROM copied", "SELECT id, other FROM notes", "SELECT count(*) FROM copied"] {
        assert!(!is_tagged(&laundry.proxy, &client, read), "{read}");
    }
}

#[test]
fn renames_behind_the_proxy_are_followed() {
    let laundry = Laundry::new("behind");
    let client = laundry.proxy.connect();
    tagged(&laundry.proxy, &client, "SELECT city FROM customers");
    laundry.db.direct("ALTER TABLE customers RENAME TO things; ALTER TABLE things RENAME email TO harmless");
    tagged(&laundry.proxy, &client, "SELECT harmless FROM things");
    tagged(&laundry.proxy, &client, "SELECT city FROM things");
}

#[test]
fn what_was_learned_outlives_a_restart_and_a_rename_in_between() {
    let laundry = Laundry::new("restart");
    laundry.launders(&["INSERT INTO notes SELECT id + 100, email FROM customers"], "SELECT note FROM notes");
    let Laundry { db, proxy } = laundry;
    let proxy = proxy.restart(&db);
    db.direct("ALTER TABLE notes RENAME TO things; ALTER TABLE customers RENAME email TO harmless");
    tagged(&proxy, &proxy.connect(), "SELECT note FROM things");
    tagged(&proxy, &proxy.connect(), "SELECT harmless FROM customers");
}

#[test]
fn a_lost_or_damaged_memory_of_tags_keeps_the_proxy_from_starting() {
    let laundry = Laundry::new("lost");
    laundry.launders(&["INSERT INTO notes SELECT id + 100, email FROM customers"], "SELECT note FROM notes");
    let Laundry { db, mut proxy } = laundry;
    proxy.signal("TERM");
    proxy.wait();
    let serve = |state: &std::path::Path| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_holdgate"));
        command.args(["serve", "--upstream", &db.dsn(), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state"]);
        let output = command.arg(state).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let file = proxy.state.path().join("tags.db");
    std::fs::write(&file, "no database at all, and long enough that nobody takes it for an empty one").unwrap();
    let (started, said) = serve(proxy.state.path());
    assert!(!started && said.contains("tags.db"), "{said}");
    std::fs::remove_file(&file).unwrap();
    let (started, said) = serve(proxy.state.path());
    assert!(!started && said.contains("tags.db") && said.contains("missing"), "{said}");
}

#[test]
fn a_dismissed_tag_counts_no_more_until_something_else_flows_in() {
    let laundry = Laundry::new("dismiss");
    let client = laundry.launders(&["UPDATE notes SET note = c.email FROM customers c"], "SELECT note FROM notes");
    let api = laundry.proxy.api();
    let tags = api.get("/api/v1/tags?state=open");
    let tag = &tags["tags"][0];
    assert_eq!(tag["column"], "public.notes.note");
    assert_eq!(tag["tag"], "user.contact.email");
    assert_eq!(tag["sources"], serde_json::json!(["public.customers.email"]));
    let path = format!("/api/v1/tags/{}/review", tag["id"]);
    let body = serde_json::json!({"review": "dismiss", "reason": "hashed"});
    let (status, answer) = api.request("POST", &path, Some(&body));
    assert_eq!(status, 200, "{answer}");
    assert!(!is_tagged(&laundry.proxy, &client, "SELECT note FROM notes"));
    client.query("UPDATE notes SET note = c.email FROM customers c").unwrap();
    assert!(!is_tagged(&laundry.proxy, &client, "SELECT note FROM notes"), "the same again was dismissed");
    client.query("UPDATE notes SET note = c.city FROM customers c").unwrap();
    tagged(&laundry.proxy, &client, "SELECT note FROM notes");
    let (_, out, _) = laundry.proxy.holdgate(&["log", "query", "--text", "dismiss-tag", "--format", "jsonl"]);
    assert!(out.contains("\"hashed\"") && out.contains("public.notes.note"), "{out}");
}

#[test]
fn a_new_table_of_the_name_of_a_dropped_one_inherits_neither_tag_nor_dismissal() {
    let laundry = Laundry::new("again");
    let client = laundry.launders(&["CREATE TABLE copied AS SELECT email AS x FROM customers"], "SELECT x FROM copied");
    let api = laundry.proxy.api();
    let id = api.get("/api/v1/tags")["tags"][0]["id"].clone();
    let body = serde_json::json!({"review": "dismiss", "reason": "hashed"});
    assert_eq!(api.request("POST", &format!("/api/v1/tags/{id}/review"), Some(&body)).0, 200);
    assert!(!is_tagged(&laundry.proxy, &client, "SELECT x FROM copied"));
    client.query("DROP TABLE copied").unwrap();
    client.query("CREATE TABLE copied (x text)").unwrap();
    client.query("INSERT INTO copied VALUES ('mine')").unwrap();
    assert!(!is_tagged(&laundry.proxy, &client, "SELECT x FROM copied"));
    client.query("INSERT INTO copied SELECT email FROM customers").unwrap();
    tagged(&laundry.proxy, &client, "SELECT x FROM copied");
}

#[test]
fn a_rolled_back_creation_leaves_no_tag_on_the_name() {
    let laundry = Laundry::new("rollback");
    let client = laundry.proxy.connect();
    for statement in ["BEGIN", "CREATE TABLE copied AS SELECT email AS x FROM customers", "ROLLBACK"] {
        client.query(statement).unwrap();
    }
    client.query("SELECT 1").unwrap();
    client.query("CREATE TABLE copied (x text)").unwrap();
    client.query("CREATE TABLE other (x text)").unwrap();
    assert!(!is_tagged(&laundry.proxy, &client, "SELECT x FROM copied"));
}

#[test]
fn operators_list_and_review_derived_tags_in_psql_and_on_the_command_line() {
    let laundry = Laundry::new("review");
    laundry.launders(&["UPDATE notes SET note = c.email FROM customers c"], "SELECT note FROM notes");
    let run = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_holdgate"))
            .args(arguments)
            .args(["--url", &format!("http://{}", laundry.proxy.http), "--token", &laundry.proxy.token])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(run(&["tags", "list"]).contains(".public.notes.note"));
    let line = run(&["tags", "list", "--format", "jsonl"]);
    let tag: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
    assert_eq!(tag["state"], "open");
    let confirmed = run(&["tags", "confirm", &tag["id"].to_string(), "--format", "json"]);
    assert!(confirmed.contains("\"confirmed\""), "{confirmed}");
    assert!(run(&["tags", "list", "--state", "open", "--format", "jsonl"]).is_empty());
}

#[test]
fn a_large_read_of_a_copy_is_held_under_the_shipped_policy() {
    let db = TestDb::new("copy_held");
    db.direct("CREATE TABLE notes (id bigint, note text)");
    let proxy = Proxy::start(&db, Options::default());
    let client = proxy.connect();
    let approving = proxy.api().decide_later("INSERT INTO notes", "approve");
    client.query("INSERT INTO notes SELECT id, email FROM customers").unwrap();
    approving.join().unwrap();
    db.direct("ANALYZE notes");
    let denying = proxy.api().decide_later("SELECT note FROM notes", "deny");
    assert_eq!(client.fails("SELECT note FROM notes").0, "42501");
    let hold = denying.join().unwrap();
    assert!(hold.to_string().contains("user.contact.email"), "{hold}");
}
