//! The pages over a real listener.

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Response, StatusCode, redirect};
use tokio::net::TcpListener;

use crate::control::tests::{ADA, EVE, Room, hold, room};
use crate::http::{Site, SiteOptions};

struct Pages {
    room: Room,
    base: String,
    client: Client,
}

async fn pages() -> Pages {
    let room = room();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let site = Site::new(room.control.clone(), SiteOptions { clock: room.clock.clone(), ..SiteOptions::default() });
    tokio::spawn(async move { axum::serve(listener, site.router()).await });
    // Twice in one process is not an error: the provider is there.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    Pages { room, base, client: Client::builder().redirect(redirect::Policy::none()).build().unwrap() }
}

impl Pages {
    async fn get(&self, path: &str, cookie: &str) -> (StatusCode, String) {
        let response = self.client.get(format!("{}{path}", self.base)).header(COOKIE, cookie).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    async fn post(&self, path: &str, cookie: &str, form: &[(&str, &str)]) -> Response {
        let request = self.client.post(format!("{}{path}", self.base)).header(COOKIE, cookie);
        request.form(form).send().await.unwrap()
    }

    /// Signs in and gives the cookie.
    async fn sign_in(&self, token: &str) -> String {
        let response = self.post("/sign-in", "", &[("token", token), ("next", "/holds")]).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    /// A hidden field of a page.
    async fn field(&self, path: &str, cookie: &str, name: &str) -> String {
        let (_, page) = self.get(path, cookie).await;
        let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    fn records(&self) -> Vec<String> {
        self.room.sink.records.lock().unwrap().iter().map(|record| record.text.clone()).collect()
    }
}

#[tokio::test]
async fn a_hold_is_read_and_decided_on_its_page() {
    let pages = pages().await;
    let id = pages.room.park(hold()).await;
    let (path, cookie) = (format!("/holds/{id}"), pages.sign_in(ADA).await);
    let (_, list) = pages.get("/holds", &cookie).await;
    assert!(list.contains(&format!("href=\"{path}\"")));
    let (csrf, seen) = (pages.field(&path, &cookie, "csrf").await, pages.field(&path, &cookie, "seen").await);
    let form = |decision, reason| {
        vec![("csrf", csrf.as_str()), ("seen", seen.as_str()), ("decision", decision), ("reason", reason)]
    };
    let decision = format!("{path}/decision");
    let without = pages.post(&decision, &cookie, &form("deny", " ")).await;
    assert_eq!(without.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let approved = pages.post(&decision, &cookie, &form("approve", "seen & <read>")).await;
    assert_eq!(
        (approved.status(), approved.headers()[LOCATION].to_str().unwrap()),
        (StatusCode::SEE_OTHER, path.as_str())
    );
    let again = pages.post(&decision, &cookie, &form("deny", "late")).await;
    assert_eq!(again.status(), StatusCode::CONFLICT);
    let (_, page) = pages.get(&path, &cookie).await;
    assert!(page.contains("approve by ada: seen &#38; &#60;read&#62;"), "{page}");
    assert!(!page.contains("name=\"decision\""), "nothing is left to decide");
}

#[tokio::test]
async fn a_form_counts_from_our_own_page_and_session_alone() {
    let pages = pages().await;
    let id = pages.room.park(hold()).await;
    let (path, decision) = (format!("/holds/{id}"), format!("/holds/{id}/decision"));
    let (ada, eve) = (pages.sign_in(ADA).await, pages.sign_in(EVE).await);
    let seen = pages.field(&path, &ada, "seen").await;
    let foreign = pages.field("/holds", &eve, "csrf").await;
    let own = pages.field(&path, &ada, "csrf").await;
    for csrf in ["", "x", foreign.as_str()] {
        let form = [("csrf", csrf), ("seen", seen.as_str()), ("decision", "approve")];
        assert_eq!(pages.post(&decision, &ada, &form).await.status(), StatusCode::FORBIDDEN);
    }
    let form = [("csrf", own.as_str()), ("seen", seen.as_str()), ("decision", "approve")];
    for (name, value) in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let request = pages.client.post(format!("{}{decision}", pages.base)).header(COOKIE, &ada).header(name, value);
        assert_eq!(request.form(&form).send().await.unwrap().status(), StatusCode::FORBIDDEN, "{name}: {value}");
    }
    let other = [("csrf", own.as_str()), ("seen", "another hash"), ("decision", "approve")];
    assert_eq!(pages.post(&decision, &ada, &other).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let nobody = pages.post(&decision, "holdgate=made-up", &form).await;
    assert_eq!(nobody.status(), StatusCode::SEE_OTHER, "to the sign-in");
    pages.get(&format!("{decision}?decision=approve&csrf={own}&seen={seen}"), &ada).await;
    assert_eq!(pages.room.control.hold(id.as_str()).await.unwrap().unwrap().state.as_str(), "pending");
}

#[tokio::test]
async fn a_viewer_reads_and_does_not_decide() {
    let pages = pages().await;
    let path = format!("/holds/{}", pages.room.park(hold()).await);
    let eve = pages.sign_in(EVE).await;
    let (_, page) = pages.get(&path, &eve).await;
    assert!(page.contains("ALTER TABLE") && !page.contains("name=\"decision\""));
    let (csrf, action) = (pages.field(&path, &eve, "csrf").await, hold().action_hash);
    let form = [("csrf", csrf.as_str()), ("seen", action.as_str()), ("decision", "approve")];
    assert_eq!(pages.post(&format!("{path}/decision"), &eve, &form).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn nothing_is_shown_to_who_is_not_signed_in() {
    let pages = pages().await;
    let path = format!("/holds/{}", pages.room.park(hold()).await);
    for path in [path.as_str(), "/holds"] {
        let (status, page) = pages.get(path, "").await;
        assert_eq!(status, StatusCode::SEE_OTHER);
        assert!(!page.contains("ALTER"));
    }
    let linked = pages.client.get(format!("{}{path}", pages.base)).header("sec-fetch-site", "cross-site");
    let page = linked.send().await.unwrap().text().await.unwrap();
    assert!(page.contains(&format!("content=\"0;url={path}\"")) && !page.contains("ALTER"), "{page}");
    let wrong = pages.post("/sign-in", "", &[("token", "no operator's token")]).await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    assert!(!wrong.headers().contains_key(SET_COOKIE));
}

#[tokio::test]
async fn signing_in_and_out_are_records_and_an_old_cookie_is_worth_nothing() {
    let pages = pages().await;
    let cookie = pages.sign_in(ADA).await;
    let csrf = pages.field("/holds", &cookie, "csrf").await;
    assert_eq!(pages.post("/sign-out", &cookie, &[("csrf", "x")]).await.status(), StatusCode::FORBIDDEN);
    let out = pages.post("/sign-out", &cookie, &[("csrf", csrf.as_str())]).await;
    assert!(out.headers()[SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(pages.get("/holds", &cookie).await.0, StatusCode::SEE_OTHER);
    assert_eq!(pages.records(), ["ada signed in by token", "ada signed out"]);
    pages.room.sink.broken.store(true, std::sync::atomic::Ordering::SeqCst);
    let refused = pages.post("/sign-in", "", &[("token", ADA)]).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "no sign-in without its record");
}

#[tokio::test]
async fn every_page_forbids_scripts_frames_and_caches() {
    let pages = pages().await;
    let cookie = pages.sign_in(ADA).await;
    for path in ["/holds", "/sign-in", "/holds/0000000000"] {
        let request = pages.client.get(format!("{}{path}", pages.base)).header(COOKIE, &cookie);
        let response = request.send().await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("form-action 'self'"), "{policy}");
        assert_eq!((header("x-frame-options"), header("cache-control")), ("DENY".into(), "no-store".into()));
    }
}

#[tokio::test]
async fn a_hostile_text_is_shown_inert_and_whole() {
    let pages = pages().await;
    let mut hostile = hold();
    let tail = "x".repeat(1_000_000);
    hostile.statement = format!("SELECT '</pre><script>alert(1)</script>', '\u{202e}\u{200b}\u{1b}[2J' --{tail}");
    hostile.principal.name = "<img src=x onerror=alert(1)>".to_owned();
    hostile.intent = Some("fine\nhuman: somebody else".to_owned());
    hostile.parameters = vec![Some("<b>\u{2066}</b>".to_owned()), None];
    let id = pages.room.park(hostile).await;
    let cookie = pages.sign_in(ADA).await;
    let (_, list) = pages.get("/holds", &cookie).await;
    let (_, page) = pages.get(&format!("/holds/{id}"), &cookie).await;
    for html in [&list, &page] {
        assert!(!html.contains("<script") && !html.contains("<img") && !html.contains('\u{202e}'));
    }
    assert!(page.contains(&tail), "never cut");
    for code in ["202e", "200b", "001b", "2066"] {
        assert!(page.contains(&format!("<mark>\\u{{{code}}}</mark>")), "{code}");
    }
}
