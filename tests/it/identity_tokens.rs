//! Access tokens as passwords.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use crate::harness::conn::{Conn, frame, startup};
use crate::harness::{ALLOW_ALL, Proxy, TestDb};
use crate::identity::{Home, psql};

struct Provider(EcdsaKeyPair);

impl Provider {
    fn new() -> Self {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random).unwrap())
    }

    fn keys(&self, id: &str) -> String {
        let point = self.0.public_key().as_ref();
        let key = json!({"kty": "EC", "crv": "P-256", "kid": id, "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..])});
        json!({ "keys": [key] }).to_string()
    }

    fn token(&self, id: &str, changes: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({"iss": "https://idp.example", "aud": "holdgate", "exp": now + 600, "sub": "copilot",
                                "azp": "ide", "email": "alice@example.com", "groups": ["analysts"]});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let header = json!({"alg": "ES256", "kid": id});
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64.encode(signature))
    }
}

const CONFIG: &str = "auth:\n  oidc: { issuer: 'https://idp.example', audience: holdgate, jwks: keys.json, claims: { human: email, \
                      groups: groups } }\n\
                      principals:\n  - { name: copilot, kind: agent, role: agent_trust, oidc: copilot }\n  \
                      - { name: ide, kind: agent, role: agent_trust, oidc: 'azp=ide' }\n";

fn start(label: &str, provider: &Provider) -> (TestDb, Home, Proxy) {
    let db = TestDb::new(label);
    let home = Home::new(CONFIG);
    home.write("keys.json", &provider.keys("k"));
    let proxy = home.start(&db, ALLOW_ALL);
    (db, home, proxy)
}

fn dsn(proxy: &Proxy, db: &TestDb, user: &str) -> String {
    format!("host=127.0.0.1 port={} dbname={} user={user}", proxy.port, db.name)
}

#[test]
fn a_token_is_a_password_and_its_claims_are_who_asks() {
    let provider = Provider::new();
    let (db, _home, proxy) = start("token", &provider);
    let token = provider.token("k", &json!({}));
    assert_eq!(
        psql(&dsn(&proxy, &db, "copilot"), &token, "SELECT current_user, 1"),
        (true, "agent_trust|1".to_owned())
    );
    let person = provider.token("k", &json!({"sub": "u-17"}));
    assert_eq!(psql(&dsn(&proxy, &db, "ide"), &person, "SELECT current_user, 2"), (true, "agent_trust|2".to_owned()));
    for (principal, text) in [("copilot", "current_user, "), ("u-17", "current_user, ")] {
        let arguments = [
            "log",
            "query",
            "--principal",
            principal,
            "--human",
            "alice@example.com",
            "--text",
            text,
            "--format",
            "jsonl",
        ];
        let (code, out, _) = proxy.holdgate(&arguments);
        assert!(code == 0 && out.contains("\"analysts\"") && out.contains("\"agent\""), "{principal}: {out}");
    }
    let log = std::fs::read_dir(proxy.state.path().join("log")).unwrap();
    for file in log.flatten().filter(|entry| entry.path().is_file()) {
        let text = String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned();
        assert!(token.split('.').all(|part| !text.contains(part)), "{:?}", file.path());
    }
}

#[test]
fn a_token_that_is_not_ours_or_not_of_now_or_not_the_principals_is_refused() {
    let provider = Provider::new();
    let (db, _home, proxy) = start("badtoken", &provider);
    let try_it = |user: &str, token: &str| {
        let (worked, said) = psql(&dsn(&proxy, &db, user), token, "SELECT 1");
        assert!(!worked && said.contains(&format!("password authentication failed for user \"{user}\"")), "{said}");
        said
    };
    let changed = |changes: Value| provider.token("k", &changes);
    assert!(try_it("copilot", &changed(json!({"exp": 1_000_000}))).contains("it has expired"));
    assert!(try_it("copilot", &changed(json!({"nbf": 99_999_999_999_u64}))).contains("it is not valid yet"));
    assert!(try_it("copilot", &changed(json!({"aud": "other"}))).contains("it is for another audience"));
    assert!(try_it("copilot", &changed(json!({"iss": "https://evil.example"}))).contains("it is of another issuer"));
    assert!(try_it("copilot", &Provider::new().token("k", &json!({}))).contains("not of the configured provider"));
    assert!(try_it("copilot", &provider.token("unknown", &json!({}))).contains("not of the configured provider"));
    try_it("copilot", "correct horse");
    // Another subject; another client; a name that is somebody else's.
    try_it("copilot", &changed(json!({"sub": "mallory"})));
    try_it("ide", &changed(json!({"azp": "browser"})));
    try_it("ide", &changed(json!({"sub": "copilot"})));
    assert!(psql(&dsn(&proxy, &db, "copilot"), &changed(json!({})), "SELECT 1").0);
}

#[test]
fn an_unknown_user_with_a_good_token_is_told_nothing_else() {
    let provider = Provider::new();
    let db = TestDb::new("nobody");
    let home = Home::new(&format!("{CONFIG}client_rules: [{{ method: oidc }}]\n"));
    home.write("keys.json", &provider.keys("k"));
    let proxy = home.start(&db, ALLOW_ALL);
    let said = |user: &str| psql(&dsn(&proxy, &db, user), &provider.token("k", &json!({"azp": "x"})), "SELECT 1").1;
    assert_eq!(said("nobody").replace("nobody", "USER"), said("ide").replace("ide", "USER"));
}

#[test]
fn keys_are_read_again_after_a_reload() {
    let (old, new) = (Provider::new(), Provider::new());
    let (db, home, proxy) = start("rotate", &old);
    assert!(psql(&dsn(&proxy, &db, "copilot"), &old.token("k", &json!({})), "SELECT 1").0);
    home.write("keys.json", &new.keys("n"));
    proxy.signal("HUP");
    proxy.wait_for_line("reloaded");
    assert!(psql(&dsn(&proxy, &db, "copilot"), &new.token("n", &json!({})), "SELECT 1").0);
    assert!(!psql(&dsn(&proxy, &db, "copilot"), &old.token("k", &json!({})), "SELECT 1").0);
}

#[test]
fn password_messages_that_are_no_text_are_refused() {
    let provider = Provider::new();
    let (db, _home, proxy) = start("tokenbytes", &provider);
    for body in [&b""[..], b"abc", b"a\0b\0", b"\0\0"] {
        let mut conn = Conn::open(&proxy.postgres);
        conn.send(&startup(&[("user", "copilot"), ("database", &db.name)]));
        assert_eq!(conn.frame().unwrap().body, [0, 0, 0, 3]);
        conn.send(&frame('p', body));
        assert_eq!(conn.frame().unwrap().field(b'C'), "08P01", "{body:?}");
        assert!(conn.is_closed());
    }
    for body in [&b"\0"[..], b"\xff\xfe\0", &[&[b'.'; 50_000][..], b"\0"].concat()] {
        let mut conn = Conn::open(&proxy.postgres);
        conn.send(&startup(&[("user", "copilot"), ("database", &db.name)]));
        conn.frame().unwrap();
        conn.send(&frame('p', body));
        assert_eq!(conn.frame().unwrap().field(b'C'), "28P01");
    }
}
