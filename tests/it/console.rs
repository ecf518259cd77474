//! The decision page in a real browser, and sign-in by a real identity provider.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Options, Proxy, TestDb};
use crate::node;

const PACKAGES: [&str; 2] = ["playwright-core@1.65.1", "oidc-provider@9.13.3"];

fn script(name: &str) -> String {
    format!("{}/tests/browser/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn chromium() -> PathBuf {
    let paths = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    let found = paths.iter().map(PathBuf::from).find(|path| path.exists());
    found.expect("Chromium is missing: install the package chromium")
}

fn drive(setting: &Value) {
    let mut setting = setting.clone();
    setting["chromium"] = json!(chromium());
    if let Ok(shots) = std::env::var("HOLDGATE_SHOTS") {
        setting["shots"] = json!(shots);
    }
    let modules = node::modules("browser", &PACKAGES);
    node::run(Command::new("node").env("NODE_PATH", modules).arg(script("console.js")).arg(setting.to_string()));
}

/// Parks a statement and gives the id of its hold.
fn park(proxy: &Proxy, sql: &str) -> String {
    let client = proxy.connect();
    client.query("SET holdgate.wait = '0s'").unwrap();
    let (state, text) = client.fails(sql);
    assert_eq!(state, "57H01", "{text}");
    let found = proxy.api().wait_for_hold(sql.split_once('\'').map_or(sql, |(head, _)| head));
    found["id"].as_str().unwrap().to_owned()
}

const HOSTILE: &str = "ALTER TABLE customers ALTER COLUMN note SET DEFAULT \
     '</pre><script>alert(1)</script><img src=x onerror=alert(2)> \u{202e}drowssap\u{202c} \u{200b}\u{1b}[31mred'";

#[test]
fn a_hold_is_decided_in_a_browser_without_scripts_and_hostile_text_stays_text() {
    let db = TestDb::new("console");
    db.direct("ALTER TABLE customers ADD COLUMN IF NOT EXISTS note text");
    let proxy = Proxy::start(&db, Options::default());
    let hold = park(&proxy, HOSTILE);
    let second = park(&proxy, "DROP TABLE customers CASCADE");
    let codes = [('\u{202e}', "202e"), ('\u{202c}', "202c"), ('\u{200b}', "200b"), ('\u{1b}', "001b")];
    let (mut shown, mut marks) = (HOSTILE.to_owned(), Vec::new());
    for (character, code) in codes {
        let mark = format!("\\u{{{code}}}");
        shown = shown.replace(character, &mark);
        marks.push(mark);
    }
    drive(&json!({"base": format!("http://{}", proxy.http), "token": proxy.token, "hold": hold, "second": second,
                  "shown": shown, "marks": marks}));
    let state = |id: &str| proxy.api().get(&format!("/api/v1/holds/{id}"))["state"].clone();
    assert_eq!((state(&hold), state(&second)), (json!("approved"), json!("pending")));
    let (_, log, _) = proxy.holdgate(&["log", "query", "--format", "jsonl"]);
    assert!(log.contains("sign-in") && log.contains("sign-out") && log.contains("web"), "{log}");
}

/// A provider; it is killed when this is dropped.
struct Provider {
    child: Child,
    issuer: String,
    /// Kept open: it ends where it cannot write its warnings.
    _said: BufReader<std::process::ChildStdout>,
}

impl Provider {
    fn start(redirect: &str) -> Self {
        let modules = node::modules("browser", &PACKAGES);
        let mut command = Command::new("node");
        command.env("NODE_PATH", modules).arg(script("provider.js")).arg(redirect);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut issuer = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut issuer).unwrap();
        Self { child, issuer: issuer.trim().to_owned(), _said: said }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn operators_sign_in_at_an_identity_provider_and_strangers_do_not() {
    let db = TestDb::new("oidc");
    // The address is known before the proxy is there: the provider wants to know where it leads back to.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http = free.local_addr().unwrap();
    let base = format!("http://{http}");
    let provider = Provider::start(&format!("{base}/sign-in/oidc/callback"));
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("secret"), "a secret with : and %\n").unwrap();
    let config = folder.path().join("holdgate.yaml");
    let text = format!(
        "public_url: {base}\n\
         oidc: {{ issuer: \"{}\", client_id: holdgate, client_secret_file: secret }}\n\
         operators: [{{ name: carol, human: carol@example.com, groups: [dba], roles: [operator], oidc_subject: subject-7 }}]\n",
        provider.issuer
    );
    std::fs::write(&config, text).unwrap();
    drop(free);
    let http = http.to_string();
    let arguments = ["--config", config.to_str().unwrap(), "--http", &http];
    let proxy = Proxy::start(&db, Options { arguments: &arguments, ..Options::default() });
    let hold = park(&proxy, "DROP TABLE customers CASCADE");
    let setting = |subject: &str, heading: Option<&str>| json!({"base": base, "second": hold, "oidc": {"subject": subject, "heading": heading}});
    drive(&setting("subject-7", None));
    drive(&setting("stranger", Some("Not signed in")));
    let (_, log, _) = proxy.holdgate(&["log", "query", "--format", "jsonl"]);
    let said = format!("carol signed in by OpenID Connect, issuer {}, subject subject-7", provider.issuer);
    assert!(log.contains(&said), "{log}");
    assert!(!log.contains("stranger"), "{log}");
}
