//! Slack as it answers: messages, changes, clicks, the socket.

use std::collections::HashMap;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::approvals::{Answer, DecideError, DecisionRequest, Hold, Method, Once, samples};
use crate::ids::HoldId;
use crate::notify::testing::{Asked, Room, Server, status};
use crate::notify::{NotifyOptions, Reach, Sender};

/// Slack's answers by method; what is posted or changed is checked as Slack would.
fn slack(asked: &Asked) -> Response {
    let answer = match asked.path.rsplit('/').next().unwrap() {
        "chat.postMessage" => {
            check(&asked.json());
            json!({"ok": true, "channel": "C1", "ts": "1503435956.000247"})
        }
        "chat.update" => {
            check(&asked.json());
            json!({"ok": true, "channel": "C1", "ts": asked.json()["ts"]})
        }
        "users.info" => person(std::str::from_utf8(&asked.body).unwrap()),
        "answered" => json!("ok"),
        method => json!({"ok": false, "error": format!("unknown_method {method}")}),
    };
    axum::Json(answer).into_response()
}

fn person(form: &str) -> Value {
    let user = form.strip_prefix("user=").unwrap();
    let email = if user == "UEVE" { "eve@example.com" } else { "Ada@Example.com" };
    json!({"ok": true, "user": {"id": user, "deleted": user == "UGONE", "is_bot": false, "is_stranger": user == "UFAR",
           "is_email_confirmed": user != "UNEW", "profile": {"email": email}}})
}

/// The limits of Block Kit.
fn check(message: &Value) {
    let blocks = message["blocks"].as_array().unwrap();
    assert!(blocks.len() <= 50 && message["text"].as_str().unwrap().len() <= 40_000);
    for block in blocks {
        match block["type"].as_str().unwrap() {
            "header" => assert!(block["text"]["text"].as_str().unwrap().chars().count() <= 150),
            "rich_text" => assert!(block["elements"].to_string().len() <= 13_000),
            "actions" => {
                for button in block["elements"].as_array().unwrap() {
                    assert!(button["text"]["text"].as_str().unwrap().chars().count() <= 75);
                    assert!(button["value"].as_str().is_none_or(|value| value.len() <= 2000));
                    assert!(button["action_id"].as_str().unwrap().len() <= 255);
                }
            }
            "input" => assert!(block["element"]["max_length"].as_u64().unwrap() <= 3000),
            other => panic!("{other}"),
        }
    }
}

fn api(url: &str) -> Api {
    Api::new(Sender::new(Reach::Private).unwrap(), &format!("{url}/api"), "xoxb-token".to_owned())
}

fn options(url: &str) -> NotifyOptions {
    NotifyOptions { slack: Some(Slack { api: api(url), channel: "C1".to_owned() }), ..NotifyOptions::default() }
}

/// Counts answers as ada, whom this Slack knows.
struct Desk(crate::approvals::Approvals);

impl Decide for Desk {
    fn decide(&self, click: Click) -> BoxFuture<'_, Option<Result<Hold, DecideError>>> {
        Box::pin(async move {
            let operator = (click.operator == "ada").then(samples::ada)?;
            let once = Some(Once { key: click.id, request: Vec::new() });
            let request = DecisionRequest { verdict: click.answer, reason: click.reason, method: Method::Slack, once };
            Some(self.0.decide(&HoldId::parse(&click.hold)?, &operator, request).await)
        })
    }
}

fn interactions(room: &Room, url: &str) -> Interactions {
    let accounts = Accounts {
        by_user: HashMap::from([("U1".to_owned(), "ada".to_owned())]),
        by_email: HashMap::from([("ada@example.com".to_owned(), "ada".to_owned())]),
    };
    let clicks = Clicks::open(&room.dir.path().join("clicks.db")).unwrap();
    Interactions::new(api(url), accounts, Arc::new(Desk(room.approvals.clone())), clicks)
}

/// A click on a button of a message, as Slack sends it.
fn click(url: &str, user: &str, button: &Value, reason: Option<&str>) -> Value {
    json!({"type": "block_actions", "user": {"id": user}, "response_url": format!("{url}/answered"),
           "actions": [{"action_id": button["action_id"], "value": button["value"], "type": "button"}],
           "state": {"values": {"reason": {"reason": {"type": "plain_text_input", "value": reason}}}}})
}

fn buttons(message: &Value) -> Vec<Value> {
    let blocks = message["blocks"].as_array().unwrap();
    let found = blocks
        .iter()
        .filter(|block| block["type"] == "actions")
        .flat_map(|block| block["elements"].as_array().unwrap());
    found.filter(|button| button["value"].is_string()).cloned().collect()
}

#[tokio::test]
async fn a_message_is_posted_once_and_changed_in_place_also_when_decided_elsewhere() {
    let (room, mut server) = (Room::new(), Server::start(vec![Box::new(slack)]).await);
    room.notifier(options(&server.url));
    let id = room.park(|hold| hold.statement = "SELECT '<!channel> ``` *bold*'".to_owned()).await;
    let posted = server.next().await;
    assert_eq!(
        (posted.path.as_str(), &posted.headers["authorization"]),
        ("/api/chat.postMessage", &"Bearer xoxb-token".parse().unwrap())
    );
    let message = posted.json();
    assert_eq!(buttons(&message).len(), 2);
    let preformatted = message["blocks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|block| block["elements"][0]["type"] == "rich_text_preformatted");
    assert_eq!(preformatted.unwrap()["elements"][0]["elements"][0]["text"], "SELECT '<!channel> ``` *bold*'");
    assert!(!message["text"].as_str().unwrap().contains('<'));
    room.decide(&id, Answer::Deny).await;
    let changed = server.next().await;
    assert_eq!(changed.path, "/api/chat.update");
    assert_eq!(changed.json()["ts"], "1503435956.000247");
    assert!(buttons(&changed.json()).is_empty());
    assert!(changed.json()["text"].as_str().unwrap().contains("deny by ada"));
}

#[tokio::test]
async fn a_card_that_is_too_long_is_linked_by_its_hash_and_has_no_button_that_decides() {
    let (room, mut server) = (Room::new(), Server::start(vec![Box::new(slack)]).await);
    room.notifier(options(&server.url));
    let id = room.park(|hold| (hold.statement, hold.action_hash) = ("x".repeat(3001), "the-hash".to_owned())).await;
    let message = server.next().await.json();
    assert!(buttons(&message).is_empty());
    let text = message["blocks"].to_string();
    assert!(
        text.contains("the-hash")
            && text.contains(&format!("https://gate.example/holds/{id}"))
            && !text.contains("xxx")
    );
}

#[tokio::test]
async fn slack_is_asked_again_when_it_says_so_under_200_or_429() {
    let limited: Box<dyn Fn(&Asked) -> Response + Send + Sync> =
        Box::new(|_| (axum::http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response());
    let said: Box<dyn Fn(&Asked) -> Response + Send + Sync> =
        Box::new(|_| axum::Json(json!({"ok": false, "error": "internal_error"})).into_response());
    let (room, mut server) = (Room::new(), Server::start(vec![limited, said, Box::new(slack)]).await);
    let notifier = room.notifier(options(&server.url));
    room.park(|_| ()).await;
    for _ in 0..3 {
        assert_eq!(server.next().await.path, "/api/chat.postMessage");
    }
    assert!(notifier.dead(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_click_counts_for_a_known_operator_and_everybody_else_is_told_why_not() {
    let (room, mut server) = (Room::new(), Server::start(vec![Box::new(slack)]).await);
    let interactions = interactions(&room, &server.url);
    let id = room.park(|_| ()).await;
    let button = |name: &str| json!({"action_id": name, "value": json!({"hold": id, "action": "aa"}).to_string()});
    for (user, name, reason, told) in [
        ("UEVE", "approve", None, "no operator"),
        ("UNEW", "approve", None, "no operator"),
        ("UGONE", "approve", None, "no operator"),
        ("UFAR", "approve", None, "no operator"),
        ("U1", "deny", Some(" "), "needs its reason"),
    ] {
        interactions.take(&click(&server.url, user, &button(name), reason)).await.unwrap();
        let mut asked = server.next().await;
        if asked.path == "/api/users.info" {
            asked = server.next().await;
        }
        assert_eq!(asked.path, "/answered");
        assert_eq!(asked.json()["response_type"], "ephemeral");
        assert!(asked.json()["text"].as_str().unwrap().contains(told), "{user}");
    }
    assert_eq!(room.approvals.get(&id).await.unwrap().unwrap().state.as_str(), "pending");
    let mut watch = room.approvals.subscribe(&id).await.unwrap().unwrap();
    interactions.take(&click(&server.url, "U7", &button("approve"), Some("by e-mail"))).await.unwrap();
    assert_eq!(watch.decided().await.as_str(), "approved");
    assert_eq!(server.next().await.path, "/api/users.info");
    interactions.take(&click(&server.url, "U1", &button("deny"), Some("late"))).await.unwrap();
    let told = server.next().await;
    assert!(told.json()["text"].as_str().unwrap().contains("approved already"));
    let decision = room.approvals.get(&id).await.unwrap().unwrap().decision.unwrap();
    assert_eq!((decision.by.as_str(), decision.reason.as_deref()), ("ada", Some("by e-mail")));
}

#[tokio::test]
async fn nobody_approves_their_own_by_a_button_either() {
    let (room, mut server) = (Room::new(), Server::start(vec![Box::new(slack)]).await);
    let id = room.park(|hold| hold.principal.human = Some("ada@example.com".to_owned())).await;
    let button = json!({"action_id": "approve", "value": json!({"hold": id, "action": "aa"}).to_string()});
    interactions(&room, &server.url).take(&click(&server.url, "U1", &button, None)).await.unwrap();
    assert!(server.next().await.json()["text"].as_str().unwrap().contains("your own"));
}

#[tokio::test]
async fn what_is_told_to_whoever_clicked_goes_to_slack_alone() {
    let (room, mut server) = (Room::new(), Server::start(vec![Box::new(slack)]).await);
    let mut other = Server::start(vec![status(200)]).await;
    let id = room.park(|_| ()).await;
    let button = json!({"action_id": "deny", "value": json!({"hold": id, "action": "aa"}).to_string()});
    let interactions = interactions(&room, &server.url);
    interactions.take(&click(&other.url, "U1", &button, None)).await.unwrap();
    interactions.take(&click(&server.url, "U1", &button, None)).await.unwrap();
    server.next().await;
    assert!(other.was_left_alone());
}

#[tokio::test]
async fn a_click_that_was_acknowledged_before_a_crash_is_answered_at_the_next_start_and_counts_once() {
    let (room, mut server) = (Room::new(), Server::start(vec![Box::new(slack)]).await);
    let (first, second) = (room.park(|_| ()).await, room.park(|hold| hold.action_hash = "bb".to_owned()).await);
    let clicks = Clicks::open(&room.dir.path().join("clicks.db")).unwrap();
    let kept = |hold: &HoldId| super::clicks::Kept {
        user: "U1".to_owned(),
        hold: hold.to_string(),
        action: "aa".to_owned(),
        answer: "approve".to_owned(),
        reason: None,
        response_url: format!("{}/answered", server.url),
    };
    // One whose decision was stored before the process ended, and one of which nothing was done.
    let (done, left) = (kept(&first), kept(&second));
    let at = samples::start();
    let id = clicks.keep(&done, at).await.unwrap();
    clicks.keep(&left, at).await.unwrap();
    let click = Click {
        operator: "ada".to_owned(),
        hold: first.to_string(),
        action: "aa".to_owned(),
        answer: Answer::Approve,
        reason: None,
        id,
    };
    let before = Desk(room.approvals.clone()).decide(click).await.unwrap().unwrap();
    interactions(&room, &server.url).resume().await;
    for hold in [first, second] {
        let hold = room.approvals.get(&hold).await.unwrap().unwrap();
        assert_eq!(hold.decision.map(|decision| decision.by).as_deref(), Some("ada"), "{}", hold.id);
    }
    assert_eq!(room.approvals.get(&before.id).await.unwrap().unwrap().decision, before.decision, "it counted once");
    assert!(clicks.left().await.unwrap().is_empty());
    assert!(server.was_left_alone(), "nobody is told that nothing was decided");
}

#[tokio::test]
async fn clicks_come_over_the_socket_are_acknowledged_and_the_socket_is_opened_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let opened: Box<dyn Fn(&Asked) -> Response + Send + Sync> = Box::new(move |asked| {
        if asked.path != "/api/apps.connections.open" {
            return slack(asked);
        }
        axum::Json(json!({"ok": true, "url": format!("ws://{address}/link?ticket=1")})).into_response()
    });
    let (room, server) = (Room::new(), Server::start(vec![opened]).await);
    let id = room.park(|_| ()).await;
    let button = json!({"action_id": "approve", "value": json!({"hold": id, "action": "aa"}).to_string()});
    let stop = CancellationToken::new();
    let interactions = interactions(&room, &server.url);
    let socket = Socket { api: api(&server.url), reach: Reach::Private, interactions };
    let running = tokio::spawn(socket.run(stop.clone()));
    for round in 0..2 {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut slack = tokio_tungstenite::accept_async(tcp).await.unwrap();
        slack.send(Message::text(json!({"type": "hello", "num_connections": 1}).to_string())).await.unwrap();
        slack.send(Message::Ping("ping".into())).await.unwrap();
        if round == 0 {
            assert!(slack.next().await.unwrap().unwrap().is_pong());
            slack
                .send(Message::text(json!({"type": "disconnect", "reason": "refresh_requested"}).to_string()))
                .await
                .unwrap();
            continue;
        }
        let payload = click(&server.url, "U1", &button, Some("over the socket"));
        let envelope = json!({"type": "interactive", "envelope_id": "e-1", "payload": payload});
        slack.send(Message::text(envelope.to_string())).await.unwrap();
        let acknowledged = loop {
            if let Message::Text(text) = slack.next().await.unwrap().unwrap() {
                break text;
            }
        };
        assert_eq!(serde_json::from_str::<Value>(&acknowledged).unwrap(), json!({"envelope_id": "e-1"}));
        let mut watch = room.approvals.subscribe(&id).await.unwrap().unwrap();
        assert_eq!(watch.decided().await.as_str(), "approved");
    }
    stop.cancel();
    running.await.unwrap();
}
