//! What configurations mean, and what is found in them.

mod dsn;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::policy::{Place, Source};

fn source(text: &str) -> Source {
    Source { path: "etc/holdgate.yaml".to_owned(), text: text.to_owned() }
}

fn read(text: &str, flags: &ServeFlags) -> Result<Config, Vec<String>> {
    let environment = Environment::from_iter([("HOME", "/home/ann")]);
    Config::read(Some(&source(text)), flags, &environment)
        .map_err(|findings| findings.iter().map(ToString::to_string).collect())
}

fn flags() -> ServeFlags {
    ServeFlags { upstream: Some("postgres://db.example:5433/shop".to_owned()), ..ServeFlags::default() }
}

#[test]
fn an_upstream_alone_is_enough() {
    let config = Config::from_flags(&flags(), &Environment::from_iter([("HOME", "/home/ann")])).unwrap();
    assert_eq!(config.upstreams[0].upstream.address(), "db.example:5433");
    assert_eq!(config.upstreams[0].upstream.database.as_deref(), Some("shop"));
    assert_eq!(
        (config.listen.to_string().as_str(), config.http.map(|http| http.to_string())),
        (LISTEN, Some(HTTP.to_owned()))
    );
    assert_eq!(config.state, Path::new("/home/ann/.local/state/holdgate"));
    assert_eq!(config.log.dir, config.state.join("log"));
    assert_eq!(config.mode, Mode::Enforce);
    assert_eq!((config.hold, config.limits), (HoldConfig::default(), LimitsConfig::default()));
    assert_eq!(HoldConfig::default().wait, Duration::from_mins(1));
}

#[test]
fn sinks_and_literals_of_the_log_are_read_and_wrong_ones_are_found() {
    let sinks = "log:\n  literals: hmac\n  sinks:\n    - openlineage: {name: marquez, url: 'http://m:5000/api/v1/lineage', token_file: m.token, \
                 batch_max: 50, timeout: 3s}\n    - openlineage: {url: 'https://datahub/openapi'}\n";
    let config = read(sinks, &flags()).unwrap();
    assert_eq!(config.log.literals, LiteralsMode::Hmac);
    let [marquez, datahub] = config.log.sinks.as_slice() else { panic!("{:?}", config.log.sinks) };
    assert_eq!((marquez.batch_max, marquez.timeout, datahub.batch_max), (50, Duration::from_secs(3), 1));
    assert_eq!(marquez.token_file.as_deref(), Some(Path::new("etc/m.token")));
    assert_eq!(datahub.name, "openlineage2");
    let wrong = "log:\n  sinks:\n    - openlineage: {name: '../x', url: 'ftp://m'}\n    - openlineage: {name: a, url: 'http://m'}\n    - \
                 openlineage: {name: a, url: 'http://n'}\n";
    let found = read(wrong, &flags()).unwrap_err().join("\n");
    for part in ["letters, digits", "begins with http", "`a` stands above"] {
        assert!(found.contains(part), "{found}");
    }
    assert_eq!(read("mode: enforce\n", &flags()).unwrap().log.literals, LiteralsMode::Masked);
}

#[test]
fn every_key_of_the_file_is_read() {
    let config = read(
        "upstreams:\n  - {name: main, dsn: 'host=db user=holdgate', environment: production}\nlisten: '[::1]:7000'\nhttp: off\n\
         tls: {cert: server.crt, key: /keys/server.key, client_ca: ca.crt}\n\
         principals: [{name: bot, kind: agent, role: app, human: ann, groups: [support]}]\n\
         operators: [{name: dave, human: david, groups: dba, roles: [operator, admin], token_file: dave.token}]\n\
         hold: {wait: 5s, expires: 1h, stream_wait: 500ms, on_disconnect: withdraw, in_transaction: refuse}\n\
         limits: {statement_max: 1MiB, bind_max: 64KiB, sessions_max: 20, holds_max: 5, log_queue_max: 7}\n\
         log: {dir: /var/log/hg, segment_max: 1MiB}\nstore: {path: h.db}\npolicies: policies\n\
         auth: {relay_allow_nonbinding: true, allow_upstream_trust: true}\nadmin: {listen: 'localhost:7001'}\nmode: observe\nstate: var\n",
        &ServeFlags::default(),
    )
    .unwrap();
    assert_eq!(
        (config.upstreams[0].name.as_str(), config.upstreams[0].environment.as_deref()),
        ("main", Some("production"))
    );
    assert_eq!((config.listen.to_string(), config.http), ("[::1]:7000".to_owned(), None));
    let tls = config.tls.as_ref().unwrap();
    assert_eq!(
        (tls.identity.cert.as_path(), tls.identity.key.as_path()),
        (Path::new("etc/server.crt"), Path::new("/keys/server.key"))
    );
    assert_eq!(tls.clients, ClientAuth::Optional("etc/ca.crt".into()));
    assert_eq!(config.operators[0].roles, [OperatorRole::Operator, OperatorRole::Admin]);
    assert_eq!(config.operators[0].token_file.as_deref(), Some(Path::new("etc/dave.token")));
    assert_eq!(
        (config.hold.stream_wait, config.hold.on_disconnect),
        (Duration::from_millis(500), OnDisconnect::Withdraw)
    );
    assert_eq!((config.limits.statement_max, config.limits.log_queue_max), (1 << 20, 7));
    assert_eq!(config.log.dir.as_path(), Path::new("/var/log/hg"));
    assert_eq!(config.store.path, Path::new("etc/h.db"));
    assert_eq!(config.policies.as_deref(), Some(Path::new("etc/policies")));
    assert!(config.auth.relay_allow_nonbinding && config.auth.allow_upstream_trust);
    assert_eq!(config.admin_listen.map(|listen| listen.to_string()), Some("127.0.0.1:7001".to_owned()));
    assert_eq!((config.mode, config.state.as_path()), (Mode::Observe, Path::new("etc/var")));
}

#[test]
fn all_problems_come_at_once_with_their_place() {
    let text = "upstreams: [{name: a, dsn: 'nonsense'}, {name: a, dsn: 'host=b'}]\nlisten: 6432\nlimts: {}\nhold: {wait: soon}\nlimits: {bind_max: 0}\n";
    let findings = read(text, &ServeFlags::default()).unwrap_err();
    let starts = [":2:9:", ":3:1:", ":4:14:", ":1:48:", ":1:28:", ":1:41:", ":5:20:"];
    assert_eq!(findings.len(), starts.len(), "{findings:#?}");
    for start in starts {
        assert!(
            findings.iter().any(|finding| finding.starts_with(&format!("etc/holdgate.yaml{start}"))),
            "{start} {findings:#?}"
        );
    }
}

#[test]
fn a_webhook_inside_is_found_at_its_line_with_what_to_do() {
    let text = "upstreams: [{name: a, dsn: 'host=b'}]\nnotify:\n  webhooks:\n    \
                - {name: siem, url: 'https://10.0.0.7/hook', secret_files: [a]}\n    \
                - {name: meant, url: 'http://10.0.0.7/hook', secret_files: [a], allow_private: true}\n";
    let findings = read(text, &ServeFlags::default()).unwrap_err();
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let told = &findings[0];
    assert!(told.starts_with("etc/holdgate.yaml:4:") && told.contains("webhook siem"), "{told}");
    assert!(told.contains("set allow_private if that is meant"), "{told}");
}

#[test]
fn a_flag_wins_over_the_file() {
    let flags = ServeFlags {
        listen: Some("127.0.0.1:0".to_owned()),
        http: Some("off".to_owned()),
        policies: Some(PathBuf::from("p")),
        state: Some(PathBuf::from("s")),
        mode: Some("observe".to_owned()),
        hold_wait: Some("2s".to_owned()),
        ..flags()
    };
    let config = read("upstreams: [{name: a, dsn: 'host=other'}]\nlisten: 127.0.0.1:1\nmode: enforce\nstate: x\nhold: {wait: 9s}\npolicies: y\n", &flags).unwrap();
    assert_eq!(config.upstreams.len(), 1);
    assert_eq!(config.upstreams[0].upstream.address(), "db.example:5433");
    assert_eq!((config.listen.port(), config.http, config.mode), (0, None, Mode::Observe));
    assert_eq!((config.policies, config.state), (Some(PathBuf::from("p")), PathBuf::from("s")));
    assert_eq!(config.hold.wait, Duration::from_secs(2));
}

#[test]
fn wrong_flags_are_named_all_at_once() {
    let flags = ServeFlags {
        upstream: Some("mysql://db".to_owned()),
        listen: Some("nowhere".to_owned()),
        http: Some("80".to_owned()),
        mode: Some("strict".to_owned()),
        hold_wait: Some("60".to_owned()),
        ..ServeFlags::default()
    };
    let findings = Config::from_flags(&flags, &Environment::default()).unwrap_err();
    let paths: Vec<_> = findings.iter().map(|finding| finding.path.as_str()).collect();
    assert_eq!(paths, ["--upstream", "--listen", "--http", "--hold-wait", "--mode"]);
    assert!(findings.iter().all(|finding| finding.place == Place::default() && finding.hint.is_some()));
}

#[test]
fn no_upstream_is_a_finding() {
    assert!(read("mode: observe\n", &ServeFlags::default()).unwrap_err()[0].contains("no upstream is named"));
    assert!(Config::from_flags(&ServeFlags::default(), &Environment::default()).is_err());
}

#[test]
fn listening_beyond_loopback_in_clear_must_be_meant() {
    let open = ServeFlags { listen: Some("0.0.0.0:6432".to_owned()), ..flags() };
    let findings = Config::from_flags(&open, &Environment::default()).unwrap_err();
    assert_eq!((findings.len(), findings[0].code), (1, "insecure-listen"));
    assert!(Config::from_flags(&ServeFlags { insecure_listen: true, ..open.clone() }, &Environment::default()).is_ok());
    assert!(read("tls: {cert: c, key: k}\nauth: {relay_allow_nonbinding: true}\n", &open).is_ok());
    let found = read("http: '[::]:80'\n", &flags()).unwrap_err();
    assert!(found[0].starts_with("etc/holdgate.yaml:1:7:"), "{found:?}");
}

#[test]
fn two_principals_cannot_have_one_role() {
    let found = read("principals: [{name: a, role: app}, {name: b, role: app}]\n", &flags()).unwrap_err();
    assert!(found.len() == 1 && found[0].contains("role"), "{found:?}");
}

#[test]
fn state_lives_where_the_environment_says() {
    let state = |variables: &[(&'static str, &'static str)]| variables.iter().copied().collect::<Environment>().state();
    assert_eq!(state(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")]), Path::new("/x/holdgate"));
    assert_eq!(state(&[("HOME", "/h")]), Path::new("/h/.local/state/holdgate"));
    assert_eq!(state(&[]), Path::new("holdgate-state"));
}

#[test]
fn policies_of_a_directory_are_read_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("20-rules.yaml", "version: 1\ndefault: deny\n");
    write("10-tags.yml", "version: 1\ntags: [{columns: email, tag: t}]\n");
    write("README.md", "no policy");
    let names: Vec<_> = policy_sources(dir.path()).unwrap().into_iter().map(|source| source.path).collect();
    assert!(names.len() == 2 && names[0].ends_with("10-tags.yml") && names[1].ends_with("20-rules.yaml"), "{names:?}");
    assert!(policy(Some(dir.path())).is_ok());
    assert_eq!(policy(None).unwrap().sha256(), crate::policy::Policy::shipped().sha256());
}

#[test]
fn policies_that_are_not_there_are_said_so() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(policy(Some(dir.path())), Err(ConfigError::Findings(_))));
    assert!(matches!(policy(Some(&dir.path().join("none"))), Err(ConfigError::Unreadable { .. })));
}

#[test]
fn principals_rules_and_provider_are_read() {
    let verifier = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                    wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    let config = read(
        &format!(
            "tls: {{cert: a, key: b, client_ca: c, client_auth: required}}\n\
             principals:\n- {{name: bot, scram: '{verifier}', role: app, credential: {{password_file: secret}}}}\n\
             - {{name: svc, cert: [svc, 'uri=spiffe://a/b'], role: app}}\n- {{name: ide, oidc: ['azp=ide', me]}}\n\
             client_rules: [{{address: [10.0.0.0/8, '::1'], database: shop, user: ['b*'], tls: required, method: scram}}]\n\
             auth: {{timeout: 5s, relay_allow_nonbinding: true, oidc: {{issuer: i, audience: [a, b], jwks: keys.json, skew: 5s, \
             algorithms: [ES256, EdDSA], claims: {{name: upn, human: email, groups: roles}}}}}}\n\
             limits: {{unauthenticated_max: 7, failures_max: 8}}\n"
        ),
        &flags(),
    )
    .unwrap();
    assert_eq!(config.tls.as_ref().unwrap().clients, ClientAuth::Required("etc/c".into()));
    assert_eq!(config.principals[0].scram.as_ref().unwrap().to_string(), verifier);
    assert_eq!(config.principals[0].credential, CredentialConfig::File("etc/secret".into()));
    assert_eq!((config.principals[1].cert.len(), config.principals[2].oidc.len()), (2, 2));
    assert_eq!((config.client_rules.len(), config.client_rules[0].address.len()), (1, 2));
    let provider = config.provider.as_ref().unwrap();
    assert_eq!((provider.expectation.audiences.len(), provider.expectation.algorithms.len()), (2, 2));
    assert_eq!((provider.claims.name.as_str(), provider.claims.human.as_deref()), ("upn", Some("email")));
    assert_eq!(provider.jwks, KeysAt::File("etc/keys.json".into()));
    assert_eq!((config.auth.timeout, config.limits.unauthenticated_max), (Duration::from_secs(5), 7));
    assert!(!config.relays());
}

#[test]
fn a_relayed_role_and_a_principals_name_cannot_be_the_same() {
    let found = read(
        "principals: [{name: a, role: b}, {name: b, cert: b}]\ntls: {cert: c, key: k, client_ca: d}\nauth: {relay_allow_nonbinding: true}\n",
        &flags(),
    );
    assert!(found.unwrap_err()[0].contains("stands above already"));
}

#[test]
fn a_credential_is_of_one_sort_and_its_variable_exists() {
    let of = |credential: &str| {
        read(
            &format!(
                "tls: {{cert: c, key: k, client_ca: d}}\nauth: {{relay_allow_nonbinding: true}}\nprincipals: [{{name: b, cert: b, credential: {credential}}}]\n"
            ),
            &flags(),
        )
    };
    assert!(of("{password_env: NOWHERE}").unwrap_err()[0].contains("no variable"));
    assert!(of("{}").is_err());
    assert!(of("{cert: a}").is_err());
    assert!(of("{password_file: a, password_env: HOME}").is_err());
    let config = of("{password_env: HOME}").unwrap();
    assert_eq!(format!("{:?}", config.principals[0].credential), "Password(***)");
    assert!(of("{cert: a, key: b}").is_ok());
}
