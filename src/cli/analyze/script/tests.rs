//! A file of SQL as psql reads it.

use super::{Content, Piece, Script};

fn pieces(text: &str) -> Vec<Piece> {
    let mut script = Script::new(text.as_bytes());
    std::iter::from_fn(|| script.next_piece().unwrap()).collect()
}

/// Line, column and what is sent; `!` before the reason of what cannot be known.
fn said(text: &str) -> Vec<(u64, u64, String)> {
    let said = |piece: Piece| match piece.content {
        Content::Sql { sql, .. } => {
            (piece.start.line, piece.start.column, String::from_utf8(sql).unwrap().trim().to_owned())
        }
        Content::Opaque(why) => (piece.start.line, piece.start.column, format!("!{why}")),
    };
    pieces(text).into_iter().map(said).collect()
}

fn sent(text: &str) -> Vec<String> {
    said(text).into_iter().map(|(_, _, sql)| sql).collect()
}

#[test]
fn a_semicolon_ends_a_statement_where_the_server_would_see_it() {
    assert_eq!(sent("SELECT ';'; SELECT \";\"; SELECT $$;$$; SELECT $a$;$$;$a$ -- ;\n/* ; /* ; */ ; */;").len(), 4);
    assert_eq!(sent(r"SELECT E'\';'; SELECT '\'; SELECT 1").len(), 3);
    assert_eq!(sent("SELECT E'a'\n  'b\\';' ; SELECT 2").len(), 2, "a continued string keeps its escapes");
    assert_eq!(sent("CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3").len(), 2);
    let atomic = "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; SELECT 3";
    assert_eq!(sent(atomic).len(), 2);
    assert_eq!(sent("BEGIN; SELECT 1; END;").len(), 3, "a transaction is no body");
    assert_eq!(sent("-- nothing\n;;/* at all */\n"), Vec::<String>::new());
    assert_eq!(sent("SELECT 'never closed;\nSELECT 1").len(), 1);
}

#[test]
fn a_statement_stands_where_its_first_token_does() {
    let places = said("\n-- who\n  SELECT 1; SELECT\n 2;\n/* é */ SELECT 3").into_iter();
    assert_eq!(places.map(|(line, column, _)| (line, column)).collect::<Vec<_>>(), [(3, 3), (3, 13), (5, 9)]);
    let [piece] = &pieces("SELECT\n  é;\n")[..] else { panic!() };
    assert_eq!((piece.end.line, piece.end.column, piece.text.as_str()), (2, 5, "SELECT\n  é;"));
}

#[test]
fn rows_of_a_copy_are_no_statements() {
    let dump = "COPY public.t (a, b) FROM stdin;\n1\tSELECT 'x;\n2\t;\n\\.\n\nSELECT 1;\n";
    assert_eq!(said(dump), [(1, 1, "COPY public.t (a, b) FROM stdin;".to_owned()), (6, 1, "SELECT 1;".to_owned())]);
    assert_eq!(sent("COPY t TO stdout;\nSELECT 1;").len(), 2);
    assert_eq!(sent("\\copy t from stdin\n1;2\n\\.\nSELECT 1;"), ["COPY t FROM STDIN", "SELECT 1;"]);
}

#[test]
fn a_copy_of_the_client_is_a_copy_to_the_server() {
    assert_eq!(sent("\\copy (SELECT a FROM t) to 'out.csv' csv\n"), ["COPY (SELECT a FROM t) TO STDOUT"]);
    assert_eq!(
        sent("\\copy t (a, b) FROM 'in.csv' WITH (FORMAT csv)\nSELECT 1"),
        ["COPY t (a, b) FROM STDIN", "SELECT 1"]
    );
    assert!(sent("\\copy\n")[0].starts_with('!'));
}

#[test]
fn commands_of_psql_are_no_sql() {
    assert_eq!(
        sent("\\set ON_ERROR_STOP on\n\\timing\nSELECT 1 \\gx\nSELECT 2\\g out.txt\n"),
        ["SELECT 1", "SELECT 2"]
    );
    assert_eq!(sent("SELECT 1 \\; SELECT 2;"), ["SELECT 1 ; SELECT 2;"]);
    let hidden = said("SELECT 'DROP TABLE t' \\gexec\n\\i other.sql\n\\! rm x\n\\c other\nSELECT 1;");
    assert_eq!(hidden.iter().filter(|(_, _, what)| what.starts_with('!')).count(), 4);
    assert_eq!(hidden.iter().map(|(line, ..)| *line).collect::<Vec<_>>(), [1, 1, 2, 3, 4, 5]);
}

#[test]
fn variables_of_the_script_are_put_in_and_others_are_values() {
    assert_eq!(sent("\\set t orders\nSELECT :'t', :\"t\" FROM :t;"), ["SELECT 'orders', \"orders\" FROM orders;"]);
    assert_eq!(
        sent("SELECT a[1:n], b::int FROM t WHERE c = :id AND d = :'name';"),
        ["SELECT a[1:n], b::int FROM t WHERE c = $1 AND d = 'name';"]
    );
    assert_eq!(sent("SELECT ':x', $$:x$$ -- :x\n;"), ["SELECT ':x', $$:x$$ -- :x\n;"]);
    let [piece] = &pieces("SELECT :\"column\" FROM t")[..] else { panic!() };
    let Content::Sql { opaque, .. } = &piece.content else { panic!() };
    assert_eq!(opaque.len(), 1);
    assert_eq!(sent("\\if :x\n\\set t a\n\\else\n\\set t b\n\\endif\nSELECT :t;"), ["SELECT $1;"], "either may be");
}
