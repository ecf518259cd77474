//! The API over a real listener.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Site, SiteOptions, router};
use crate::control::tests::{ADA, BOB, EVE, Room, hold, room};

struct Api {
    room: Room,
    base: String,
    client: Client,
}

/// The router on a port of its own.
async fn api() -> Api {
    let room = room();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let app = router(room.control.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    // Twice in one process is not an error: the provider is there.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    Api { room, base, client: Client::new() }
}

impl Api {
    async fn get(&self, path: &str, token: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, token, String::new()).await
    }

    async fn decide(&self, id: &str, token: &str, body: &Value) -> (StatusCode, Value) {
        self.send(Method::POST, &format!("/api/v1/holds/{id}/decision"), token, body.to_string()).await
    }

    async fn send(&self, method: Method, path: &str, token: &str, body: String) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(token).body(body);
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap_or(Value::Null))
    }
}

#[tokio::test]
async fn a_hold_is_listed_shown_and_decided_by_the_contract() {
    let api = api().await;
    let id = api.room.park(hold()).await;
    let (status, listed) = api.get("/api/v1/holds?state=pending&limit=10", EVE).await;
    assert_eq!((status, listed["holds"][0]["id"].as_str()), (StatusCode::OK, Some(id.as_str())));
    assert!(listed["next"].is_null());
    let (_, shown) = api.get(&format!("/api/v1/holds/{id}"), EVE).await;
    assert_eq!(shown, listed["holds"][0]);
    let body = json!({"decision": "approve", "reason": "seen"});
    let (status, decided) = api.decide(id.as_str(), ADA, &body).await;
    assert_eq!((status, decided["state"].as_str()), (StatusCode::OK, Some("approved")));
    assert_eq!(decided["decision"]["by"], "ada");
    assert_eq!(decided["decision"]["reason"], "seen");
}

#[tokio::test]
async fn each_refusal_has_its_status_and_its_problem() {
    let api = api().await;
    let mut own = hold();
    own.principal.human = Some("ada@example.com".to_owned());
    let id = api.room.park(own).await;
    let id = id.as_str();
    let approve = json!({"decision": "approve"});
    let kind = |problem: &Value| problem["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    for (token, status, ends) in [
        ("nobody's token", StatusCode::UNAUTHORIZED, "unauthorized"),
        (ADA, StatusCode::FORBIDDEN, "self-approval"),
        (EVE, StatusCode::FORBIDDEN, "not-an-approver"),
        (BOB, StatusCode::OK, ""),
        (BOB, StatusCode::CONFLICT, "already-decided"),
    ] {
        let (got, problem) = api.decide(id, token, &approve).await;
        assert_eq!(got, status, "{problem}");
        if !ends.is_empty() {
            assert_eq!(kind(&problem), ends);
        }
        if status == StatusCode::CONFLICT {
            assert_eq!(problem["hold"]["state"], "approved");
        }
    }
    assert_eq!(api.decide("0000000000", BOB, &approve).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_body_that_is_no_decision_is_unprocessable() {
    let api = api().await;
    let id = api.room.park(hold()).await;
    let long = "x".repeat(5000);
    for body in [
        json!({}),
        json!({"decision": "maybe"}),
        json!({"decision": "approve", "resaon": "typo"}),
        json!({"decision": "approve", "reason": 7}),
        json!({"decision": "approve", "reason": long}),
        json!("approve"),
    ] {
        let (status, problem) = api.decide(id.as_str(), ADA, &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body} {problem}");
    }
    let (status, _) = api.decide(id.as_str(), ADA, &json!({"reason": "x".repeat(70_000)})).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(api.get(&format!("/api/v1/holds/{id}"), ADA).await.1["state"], "pending");
}

#[tokio::test]
async fn a_get_never_decides() {
    let api = api().await;
    let id = api.room.park(hold()).await;
    let (status, _) = api.get(&format!("/api/v1/holds/{id}/decision?decision=approve"), ADA).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(api.get(&format!("/api/v1/holds/{id}"), ADA).await.1["state"], "pending");
}

#[tokio::test]
async fn pages_follow_their_cursor_and_bad_parameters_are_named() {
    let api = api().await;
    for n in 0..3 {
        let mut one = hold();
        one.action_hash = n.to_string();
        api.room.park(one).await;
    }
    let (_, first) = api.get("/api/v1/holds?limit=2", ADA).await;
    let cursor = first["next"].as_str().unwrap();
    let (_, second) = api.get(&format!("/api/v1/holds?limit=2&cursor={cursor}"), ADA).await;
    assert_eq!(first["holds"].as_array().unwrap().len(), 2);
    assert_eq!(second["holds"].as_array().unwrap().len(), 1);
    assert!(second["next"].is_null());
    for query in ["state=lost", "cursor=x", "limit=many", "sort=id"] {
        let (status, _) = api.get(&format!("/api/v1/holds?{query}"), ADA).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
}

#[tokio::test]
async fn without_a_token_nothing_of_the_api_is_read() {
    let api = api().await;
    let id = api.room.park(hold()).await;
    for path in ["/api/v1/holds", &format!("/api/v1/holds/{id}"), "/api/v1/events"] {
        let response = api.client.get(format!("{}{path}", api.base)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert!(!response.text().await.unwrap().contains("ALTER"));
    }
}

#[tokio::test]
async fn health_and_metrics_need_no_token_and_are_guarded_too() {
    let api = api().await;
    for path in ["/livez", "/readyz", "/metrics"] {
        let response = api.client.get(format!("{}{path}", api.base)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
}

#[tokio::test]
async fn a_closed_store_is_not_ready_and_says_so() {
    let api = api().await;
    api.room.approvals.close().await;
    let (status, body) = api.get("/readyz", "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["reasons"][0], "the hold store is closed");
    let (status, _) = api.get("/api/v1/holds", ADA).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
}

/// A log that gives back the filters that it was asked for.
struct Echo;

impl crate::control::EventSource for Echo {
    fn query(
        &self,
        filters: Vec<(String, String)>,
    ) -> BoxFuture<'_, Result<Vec<crate::lineage::StatementRecord>, crate::control::EventError>> {
        Box::pin(async move {
            if filters.iter().any(|(name, _)| name == "nonsense") {
                return Err(crate::control::EventError::Filter("There is no filter nonsense.".to_owned()));
            }
            let id = crate::ids::StatementId::new();
            let mut record = crate::lineage::StatementRecord::new(id, crate::lineage::Event::Closed);
            record.text = format!("{filters:?}");
            Ok(vec![record])
        })
    }
}

#[tokio::test]
async fn events_take_the_filters_of_the_log_and_the_reading_is_recorded() {
    let mut api = api().await;
    let echo = crate::control::tests::with_events(&api.room, Arc::new(Echo));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    api.base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router(echo)).await });
    let (status, body) = api.get("/api/v1/events?column=customers.email&limit=5", EVE).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["events"][0]["text"], r#"[("column", "customers.email"), ("limit", "5")]"#);
    assert_eq!(api.get("/api/v1/events?nonsense=1", EVE).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(api.room.sink.records.lock().unwrap()[0].text.contains("column, limit"));
    api.room.sink.broken.store(true, Ordering::SeqCst);
    assert_eq!(api.get("/api/v1/events", EVE).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_same_key_and_body_have_the_same_answer_and_another_body_none() {
    let api = api().await;
    let id = api.room.park(hold()).await;
    let send = async |key: &str, token: &str, body: Value| {
        let url = format!("{}/api/v1/holds/{id}/decision", api.base);
        let request = api.client.post(url).bearer_auth(token).header("idempotency-key", key).json(&body);
        let response = request.send().await.unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    let approve = json!({"decision": "approve", "reason": "seen"});
    let first = send("k1", ADA, approve.clone()).await;
    assert_eq!(first.0, StatusCode::OK);
    assert_eq!(send("k1", ADA, approve.clone()).await, first);
    assert_eq!(send("k1", ADA, json!({"decision": "deny"})).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send("k2", ADA, approve.clone()).await.0, StatusCode::CONFLICT);
    assert_eq!(send("k1", BOB, approve.clone()).await.0, StatusCode::CONFLICT, "keys of two operators are two");
    assert_eq!(send(&"k".repeat(256), ADA, approve.clone()).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send("", ADA, approve).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let decided = api.room.sink.records.lock().unwrap().iter().filter(|one| one.text.contains("approved")).count();
    assert_eq!(decided, 3, "one decision and two conflicts are written down, and no repetition");
}

#[tokio::test]
async fn a_key_has_its_answer_from_another_process_too() {
    let api = api().await;
    let id = api.room.park(hold()).await;
    // A listener that remembers nothing of what the first one answered.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let restarted = format!("http://{}", listener.local_addr().unwrap());
    let app = router(api.room.control.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let send = async |base: &str, verdict: &str| {
        let url = format!("{base}/api/v1/holds/{id}/decision");
        let body = json!({"decision": verdict, "reason": "seen"});
        let response = api.client.post(url).bearer_auth(ADA).header("idempotency-key", "k").json(&body).send();
        let response = response.await.unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    let first = send(&api.base, "approve").await;
    assert_eq!(first.0, StatusCode::OK);
    assert_eq!(send(&restarted, "approve").await, first);
    let (status, problem) = send(&restarted, "deny").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
}

#[tokio::test]
async fn a_fault_of_ours_is_no_answer_that_a_key_keeps() {
    let answers = super::idempotent::Answers::new(crate::clock::Clock::System);
    let asked = || super::idempotent::Asked { operator: "ada", key: "k", resource: "h", body: b"" };
    let failed = answers.once(asked(), async { Err(super::Problem::unavailable("The disk is full.")) }).await;
    assert!(failed.unwrap_err().is_ours());
    assert_eq!(answers.once(asked(), async { Ok(json!(1)) }).await.unwrap(), json!(1));
    assert_eq!(answers.once(asked(), async { Ok(json!(2)) }).await.unwrap(), json!(1));
}

#[tokio::test]
async fn whatever_goes_wrong_is_a_problem() {
    let api = api().await;
    let id = api.room.park(hold()).await;
    let decision = format!("/api/v1/holds/{id}/decision");
    for (method, path, content, status) in [
        (Method::GET, "/nowhere", None, 404),
        (Method::GET, "/api/v1/holds/%ff", None, 404),
        (Method::DELETE, "/api/v1/holds", None, 405),
        (Method::POST, decision.as_str(), Some("text/xml"), 415),
        (Method::POST, decision.as_str(), Some("application/json"), 422),
    ] {
        let mut request = api.client.request(method, format!("{}{path}", api.base)).bearer_auth(ADA);
        if let Some(content) = content {
            request = request.header("content-type", content).body("<no/>");
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["status"], status);
    }
}

/// Reads a stream until a text has come.
async fn read_until(response: &mut reqwest::Response, text: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(text) {
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(20), response.chunk()).await;
        seen += std::str::from_utf8(&chunk.expect("in time").unwrap().expect("the stream goes on")).unwrap();
    }
    seen
}

#[tokio::test]
async fn the_stream_shows_each_step_and_resumes_after_the_last_one_seen() {
    let api = api().await;
    let follow = async |after: Option<&str>| {
        let mut request = api.client.get(format!("{}/api/v1/holds/stream", api.base)).bearer_auth(EVE);
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        request.send().await.unwrap()
    };
    let mut live = follow(None).await;
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    read_until(&mut live, "event: open").await;
    let id = api.room.park(hold()).await;
    let opened = read_until(&mut live, "\"pending\"").await;
    let place = opened.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
    drop(live);
    api.decide(id.as_str(), ADA, &json!({"decision": "deny", "reason": "no"})).await;
    let mut again = follow(Some(&place)).await;
    let resumed = read_until(&mut again, "\"denied\"").await;
    assert!(!resumed.contains("\"pending\""), "{resumed}");
    read_until(&mut follow(Some("elsewhere-7")).await, "event: reset").await;
}

#[tokio::test]
async fn no_more_than_so_many_follow_the_stream() {
    let api = api().await;
    let follow = || api.client.get(format!("{}/api/v1/holds/stream", api.base)).bearer_auth(EVE).send();
    let mut followers = Vec::new();
    for _ in 0..super::stream::READERS_MAX {
        followers.push(follow().await.unwrap());
    }
    assert_eq!(follow().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    let stranger = api.client.get(format!("{}/api/v1/holds/stream", api.base)).send().await.unwrap();
    assert_eq!(stranger.status(), StatusCode::UNAUTHORIZED);
}

/// A site whose callers have an address, and where it is.
async fn site_with_addresses(room: &Room, options: SiteOptions) -> (Site, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let site = Site::new(room.control.clone(), options);
    let app = site.clone().router().into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    // Twice in one process is not an error: the provider is there.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    (site, base)
}

fn at(address: &str) -> Client {
    Client::builder().local_address(address.parse::<IpAddr>().unwrap()).build().unwrap()
}

#[tokio::test]
async fn an_address_with_too_many_wrong_tokens_waits_on_both_doors_and_others_do_not() {
    let room = room();
    let (site, base) = site_with_addresses(&room, SiteOptions::default()).await;
    let an_hour = std::time::Duration::from_hours(1);
    site.attempts.failed_at("127.0.0.1".parse().unwrap(), crate::clock::monotonic() + an_hour);
    let (guesser, other) = (at("127.0.0.1"), at("127.0.0.2"));
    let (holds, form) = (format!("{base}/api/v1/holds"), format!("{base}/sign-in"));
    for token in [ADA, "a guess"] {
        let refused = guesser.get(&holds).bearer_auth(token).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 3000);
        let problem: Value = refused.json().await.unwrap();
        assert!(problem["type"].as_str().unwrap().ends_with("too-many-attempts"), "{problem}");
        let page = guesser.post(&form).form(&[("token", token)]).send().await.unwrap();
        assert_eq!(page.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(other.get(&holds).bearer_auth(ADA).send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(other.get(&holds).bearer_auth("a guess").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_wrong_token_counts_on_both_doors_and_a_right_or_missing_one_does_not() {
    let room = room();
    let options = SiteOptions { failures_max: Some(1), ..SiteOptions::default() };
    let (site, base) = site_with_addresses(&room, options).await;
    let before = crate::clock::monotonic();
    let counted = |address: &str| site.attempts.wait_of(address.parse().unwrap(), before).is_some();
    let holds = format!("{base}/api/v1/holds");
    at("127.0.0.1").get(&holds).bearer_auth("a guess").send().await.unwrap();
    at("127.0.0.2").post(format!("{base}/sign-in")).form(&[("token", "a guess")]).send().await.unwrap();
    at("127.0.0.3").get(&holds).bearer_auth(ADA).send().await.unwrap();
    at("127.0.0.4").get(&holds).send().await.unwrap();
    let all = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"];
    assert_eq!(all.map(counted), [true, true, false, false]);
}
