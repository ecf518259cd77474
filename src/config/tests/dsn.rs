//! What a DSN names, as libpq reads it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::super::Environment;
use super::super::dsn::{DsnError, Host, Secret, SslMode, Upstream};

fn parse(dsn: &str) -> Upstream {
    Upstream::parse(dsn, &Environment::default()).unwrap_or_else(|error| panic!("{dsn}: {error}"))
}

fn within(dsn: &str, variables: &[(&'static str, &'static str)]) -> Upstream {
    Upstream::parse(dsn, &variables.iter().copied().collect()).unwrap()
}

fn error(dsn: &str) -> DsnError {
    Upstream::parse(dsn, &Environment::default()).unwrap_err()
}

#[test]
fn a_url_names_host_port_user_password_database_and_parameters() {
    let upstream = parse(
        "postgresql://app:p%40ss%3Aw@db.example:5433/shop?sslmode=verify-full&connect_timeout=3&sslrootcert=system",
    );
    assert_eq!((upstream.host.clone(), upstream.port), (Host::Tcp("db.example".to_owned()), 5433));
    assert_eq!((upstream.user.as_deref(), upstream.database.as_deref()), (Some("app"), Some("shop")));
    assert_eq!(upstream.password.as_ref().map(Secret::expose), Some("p@ss:w"));
    assert_eq!((upstream.sslmode, upstream.connect_timeout), (SslMode::VerifyFull, Duration::from_secs(3)));
    assert_eq!(upstream.sslrootcert.as_deref(), Some(Path::new("system")));
}

#[test]
fn what_a_url_leaves_out_is_libpqs_default() {
    let upstream = parse("postgres://");
    assert_eq!(upstream.socket().unwrap(), Path::new("/var/run/postgresql/.s.PGSQL.5432"));
    assert_eq!((upstream.user, upstream.database, upstream.sslmode), (None, None, SslMode::Prefer));
    assert_eq!(parse("postgres://db").address(), "db:5432");
    assert_eq!(parse("postgres://db/").database, None);
}

#[test]
fn an_ipv6_address_stands_in_brackets() {
    let upstream = parse("postgres://[::1]:5433/x");
    assert_eq!((upstream.host.clone(), upstream.address().as_str()), (Host::Tcp("::1".to_owned()), "[::1]:5433"));
}

#[test]
fn a_socket_directory_is_a_host_that_begins_with_a_slash() {
    for dsn in ["postgres://%2Ftmp:5433/x", "postgres:///x?host=/tmp&port=5433", "host=/tmp port=5433 dbname=x"] {
        assert_eq!(parse(dsn).socket().unwrap(), Path::new("/tmp/.s.PGSQL.5433"), "{dsn}");
    }
}

#[test]
fn words_may_be_quoted_and_an_empty_value_counts_as_absent() {
    let upstream = parse("host = db  user='ann o' password='' dbname=");
    assert_eq!((upstream.user.as_deref(), upstream.password, upstream.database), (Some("ann o"), None, None));
}

#[test]
fn words_take_backslashes_before_quotes() {
    let upstream = parse(r"host=db password='a\'b\\c d' user=x\ y");
    assert_eq!(upstream.password.as_ref().map(Secret::expose), Some(r"a'b\c d"));
    assert_eq!(upstream.user.as_deref(), Some("x y"));
}

#[test]
fn the_environment_fills_what_the_dsn_leaves_out() {
    let variables = [
        ("PGHOST", "envhost"),
        ("PGPORT", "6000"),
        ("PGUSER", "envuser"),
        ("PGPASSWORD", "envpass"),
        ("PGDATABASE", "envdb"),
        ("PGSSLMODE", "require"),
        ("USER", "login"),
    ];
    let upstream = within("postgres://", &variables);
    assert_eq!((upstream.address().as_str(), upstream.user.as_deref()), ("envhost:6000", Some("envuser")));
    assert_eq!((upstream.database.as_deref(), upstream.sslmode), (Some("envdb"), SslMode::Require));
    let given = within("postgres://me@db:1/x?sslmode=disable", &variables);
    assert_eq!(
        (given.address().as_str(), given.user.as_deref(), given.sslmode),
        ("db:1", Some("me"), SslMode::Disable)
    );
    assert_eq!(given.password.as_ref().map(Secret::expose), Some("envpass"));
    assert_eq!(within("postgres://db", &[("USER", "login")]).user.as_deref(), Some("login"));
}

#[test]
fn what_is_no_dsn_is_refused_without_repeating_it() {
    assert_eq!(error("mysql://db"), DsnError::Shape);
    assert_eq!(error("postgres://a%zz@db"), DsnError::Percent);
    assert_eq!(error("host='db"), DsnError::Quote);
    assert_eq!(error("postgres://a,b/x"), DsnError::SeveralHosts);
    assert_eq!(error("host=a,b"), DsnError::SeveralHosts);
    assert_eq!(error("postgres://db:99999"), DsnError::Value("port"));
    assert_eq!(error("host=db sslmode=maybe"), DsnError::Value("sslmode"));
    assert_eq!(error("host=db channel_binding=require"), DsnError::Parameter("channel_binding".to_owned()));
    assert!(!error("postgres://u:hunter2@a,b").to_string().contains("hunter2"));
}

#[test]
fn a_password_is_never_printed() {
    assert!(!format!("{:?}", parse("postgres://u:hunter2@db")).contains("hunter2"));
}

#[test]
fn the_passfile_gives_the_password_of_the_first_line_that_fits() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pgpass");
    let lines = "# comment\nother:*:*:*:no\ndb:5432:shop:app:p\\:w\\\\d\n*:*:*:*:any\n";
    std::fs::write(&file, lines).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let password = |dsn: &str| {
        let dsn = format!("{dsn} passfile='{}'", file.display());
        parse(&dsn).password.map(|secret| secret.expose().to_owned())
    };
    assert_eq!(password("host=db user=app dbname=shop").as_deref(), Some("p:w\\d"));
    assert_eq!(password("host=db user=other dbname=shop").as_deref(), Some("any"));
    assert_eq!(password("host=db user=app password=given").as_deref(), Some("given"));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(password("host=db user=app dbname=shop"), None, "others can read it");
}
