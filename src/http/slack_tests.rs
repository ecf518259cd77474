//! Callbacks over a real listener: Slack's signature opens the door, and nothing else does.

use std::sync::Arc;

use reqwest::{Client, StatusCode};
use ring::hmac;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::control::tests::{Room, hold, room};
use crate::http::SiteOptions;
use crate::notify::slack::{Accounts, Api, Clicks};
use crate::notify::{Reach, Sender};

async fn site(room: &Room) -> String {
    let sender = Sender::new(Reach::Private).unwrap();
    // Whispers go nowhere: nothing listens there.
    let api = Api::new(sender, "http://127.0.0.1:9/api", "xoxb".to_owned());
    let accounts = Accounts { by_user: [("U1".to_owned(), "ada".to_owned())].into(), ..Accounts::default() };
    let clicks = Clicks::open(&room.dir.path().join("notify.db")).unwrap();
    let interactions = Interactions::new(api, accounts, Arc::new(Desk(room.control.clone())), clicks);
    let door = SlackDoor { secret: SigningSecret::new("shared"), interactions };
    let site = Site::new(room.control.clone(), SiteOptions { slack: Some(door), ..SiteOptions::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, site.router()).await });
    base
}

fn body(hold: &str, action: &str) -> String {
    let value = json!({"hold": hold, "action": action}).to_string();
    let payload =
        json!({"type": "block_actions", "user": {"id": "U1"}, "actions": [{"action_id": "approve", "value": value}]});
    let mut form = reqwest::Url::parse("form:").unwrap();
    form.query_pairs_mut().append_pair("payload", &payload.to_string());
    form.query().unwrap().to_owned()
}

async fn send(base: &str, body: &str, secret: &str, at: i64) -> StatusCode {
    // Twice in one process is not an error: the provider is there.
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("v0:{at}:{body}").as_bytes());
    let digits = tag.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let hex: String = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect();
    let request = Client::new().post(format!("{base}/api/v1/slack/interactions"));
    let request =
        request.header("x-slack-request-timestamp", at.to_string()).header("x-slack-signature", format!("v0={hex}"));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(body.to_owned());
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn a_signed_click_decides_and_an_unsigned_or_old_one_does_not() {
    let room = room();
    let id = room.park(hold()).await;
    let base = site(&room).await;
    let now = Clock::System.now().as_micros() / 1_000_000;
    let click = body(id.as_str(), &hold().action_hash);
    assert_eq!(send(&base, &click, "guessed", now).await, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&base, &click, "shared", now - 301).await, StatusCode::UNAUTHORIZED);
    assert_eq!(send(&base, "nothing=here", "shared", now).await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        send(&base, &format!("{click}&x={}", "y".repeat(300_000)), "shared", now).await,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let desk = Desk(room.control.clone());
    let other = Click {
        operator: "ada".to_owned(),
        hold: id.to_string(),
        action: "another action".to_owned(),
        answer: crate::approvals::Answer::Approve,
        reason: None,
        id: "click".to_owned(),
    };
    assert_eq!(desk.decide(other).await, Some(Err(DecideError::NotFound)));
    let mut watch = room.approvals.subscribe(&id).await.unwrap().unwrap();
    assert_eq!(send(&base, &click, "shared", now).await, StatusCode::OK);
    assert_eq!(watch.decided().await.as_str(), "approved");
    let decision = room.control.hold(id.as_str()).await.unwrap().unwrap().decision.unwrap();
    assert_eq!(decision.by, "ada");
}

#[tokio::test]
async fn without_slack_there_is_no_door() {
    let (room, listener) = (room(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let base = format!("http://{}", listener.local_addr().unwrap());
    let site = Site::new(room.control.clone(), SiteOptions::default());
    tokio::spawn(async move { axum::serve(listener, site.router()).await });
    assert_eq!(send(&base, "payload={}", "", 0).await, StatusCode::NOT_FOUND);
}
