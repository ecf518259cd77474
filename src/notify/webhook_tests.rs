//! Standard Webhooks against a server that checks them as the specification says.

use axum::response::IntoResponse;

use super::*;
use crate::approvals::Answer;
use crate::approvals::HoldState::{Approved, Denied, Pending};
use crate::notify::NotifyOptions;
use crate::notify::store::{Heard, Noted};
use crate::notify::testing::{Asked, Room, Server, says, status};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn webhook(url: &str) -> Webhook {
    Webhook {
        name: "hook".to_owned(),
        url: format!("{url}/hook"),
        secrets: vec![WebhookSecret::parse(OLD).unwrap(), WebhookSecret::parse(NEW).unwrap()],
        events: vec![],
        statement: true,
        sender: Sender::new(Reach::Private).unwrap(),
    }
}

fn options(webhook: Webhook) -> NotifyOptions {
    NotifyOptions { webhooks: vec![webhook], ..NotifyOptions::default() }
}

/// As a receiver checks it: over id, time and the bytes of the body, with its one secret.
fn is_signed(asked: &Asked, secret: &str) -> bool {
    let header = |name: &str| asked.headers[name].to_str().unwrap();
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let text =
        [header("webhook-id").as_bytes(), b".", header("webhook-timestamp").as_bytes(), b".", &asked.body].concat();
    header("webhook-signature").split(' ').filter_map(|one| one.strip_prefix("v1,")).any(|tag| {
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), &text, &STANDARD.decode(tag).unwrap()).is_ok()
    })
}

#[test]
fn the_specifications_own_example_has_its_signature() {
    let text = br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#;
    let signature = WebhookSecret::parse(OLD).unwrap().sign(text);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    for wrong in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!"] {
        assert!(WebhookSecret::parse(wrong).is_none(), "{wrong}");
    }
}

#[tokio::test]
async fn each_step_is_told_signed_with_every_secret() {
    let (room, mut server) = (Room::new(), Server::start(vec![status(204)]).await);
    room.notifier(options(webhook(&server.url)));
    let id = room.park(|_| ()).await;
    let created = server.next().await;
    assert!(is_signed(&created, OLD) && is_signed(&created, NEW));
    assert!(!is_signed(&Asked { body: "{}".into(), ..created.clone() }, OLD));
    assert_eq!(created.headers["content-type"], "application/json");
    let body = created.json();
    assert_eq!((&body["type"], &body["data"]["id"]), (&json!("hold.created"), &json!(id)));
    assert_eq!(body["data"]["url"], format!("https://gate.example/holds/{id}"));
    room.decide(&id, Answer::Deny).await;
    let decided = server.next().await;
    assert_eq!(decided.json()["type"], "hold.decided");
    assert_eq!(decided.json()["data"]["state"], "denied");
    assert_ne!(decided.headers["webhook-id"], created.headers["webhook-id"]);
}

#[tokio::test]
async fn a_failed_delivery_is_tried_again_under_the_same_id_and_keeps_the_order() {
    let late: Box<dyn Fn(&Asked) -> axum::response::Response + Send + Sync> =
        Box::new(|_| (axum::http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response());
    let (room, mut server) = (Room::new(), Server::start(vec![status(500), late, status(200)]).await);
    let notifier = room.notifier(options(webhook(&server.url)));
    let id = room.park(|_| ()).await;
    let first = server.next().await;
    room.decide(&id, Answer::Approve).await;
    let tried = [first, server.next().await, server.next().await];
    let ids: std::collections::HashSet<_> = tried.iter().map(|one| one.headers["webhook-id"].clone()).collect();
    assert_eq!(ids.len(), 1);
    assert!(tried.iter().all(|one| is_signed(one, NEW) && one.json()["type"] == "hold.created"));
    assert_eq!(server.next().await.json()["type"], "hold.decided");
    assert!(notifier.dead(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_never_arrives_is_dead_shown_and_can_be_tried_again() {
    let (room, mut server) =
        (Room::new(), Server::start(vec![status(503), status(503), status(503), status(200)]).await);
    let notifier = room.notifier(options(webhook(&server.url)));
    let id = room.park(|_| ()).await;
    for _ in 0..3 {
        server.next().await;
    }
    let dead = loop {
        let dead = notifier.dead(10).await.unwrap();
        if !dead.is_empty() {
            break dead;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((dead[0].hold.as_str(), dead[0].attempts), (id.as_str(), 3));
    assert!(dead[0].error.as_ref().unwrap().contains("503"));
    assert!(!notifier.revive(dead[0].id + 1).await.unwrap());
    assert!(notifier.revive(dead[0].id).await.unwrap());
    assert_eq!(server.next().await.json()["data"]["id"], json!(id));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (room, mut other) = (Room::new(), Server::start(vec![status(200)]).await);
    let place = other.url.clone();
    let away: Box<dyn Fn(&Asked) -> axum::response::Response + Send + Sync> =
        Box::new(move |_| axum::response::Redirect::temporary(&place).into_response());
    let mut server = Server::start(vec![away]).await;
    room.notifier(options(webhook(&server.url)));
    room.park(|_| ()).await;
    for _ in 0..3 {
        server.next().await;
    }
    assert!(other.was_left_alone());
}

#[tokio::test]
async fn only_the_events_that_are_wanted_come_and_no_statement_where_none_is() {
    let (room, mut server) = (Room::new(), Server::start(vec![says(json!({}))]).await);
    let webhook = Webhook { events: vec![EventKind::Decided], statement: false, ..webhook(&server.url) };
    room.notifier(options(webhook));
    let id = room.park(|_| ()).await;
    room.decide(&id, Answer::Approve).await;
    let told = server.next().await.json();
    assert_eq!((&told["type"], &told["data"]["statement"]), (&json!("hold.decided"), &Value::Null));
}

#[tokio::test]
async fn what_happened_while_nobody_listened_is_told_at_the_next_start_and_once() {
    let (room, mut server) = (Room::new(), Server::start(vec![status(200)]).await);
    let id = room.park(|_| ()).await;
    room.notifier(options(webhook(&server.url)));
    assert_eq!(server.next().await.json()["type"], "hold.created");
    room.stop.cancel();
    let room = Room { stop: tokio_util::sync::CancellationToken::new(), ..room };
    room.decide(&id, Answer::Deny).await;
    room.notifier(options(webhook(&server.url)));
    let told = loop {
        let told = server.next().await.json();
        // What was under way when the first one ended may come twice.
        if told["type"] != "hold.created" {
            break told;
        }
    };
    assert_eq!((&told["type"], &told["data"]["state"]), (&json!("hold.decided"), &json!("denied")));
}

#[tokio::test]
async fn what_came_and_went_while_nobody_followed_is_told_at_the_next_start() {
    let (room, mut server) = (Room::new(), Server::start(vec![status(200)]).await);
    let before = room.park(|hold| hold.action_hash = "before".to_owned()).await;
    room.decide(&before, Answer::Deny).await;
    let known = room.park(|_| ()).await;
    room.notifier(options(webhook(&server.url)));
    let first = server.next().await.json();
    assert_eq!((&first["type"], &first["data"]["id"]), (&json!("hold.created"), &json!(known)), "no history is told");
    room.stop.cancel();
    let room = Room { stop: tokio_util::sync::CancellationToken::new(), ..room };
    let missed = room.park(|hold| hold.action_hash = "missed".to_owned()).await;
    room.decide(&missed, Answer::Deny).await;
    room.notifier(options(webhook(&server.url)));
    let told = loop {
        let told = server.next().await.json();
        // What was under way when the first one ended may come twice.
        if told["data"]["id"] != json!(known) {
            break told;
        }
    };
    assert_eq!((&told["type"], &told["data"]["id"]), (&json!("hold.decided"), &json!(missed)));
}

#[tokio::test]
async fn the_outbox_is_bounded_and_what_found_no_room_is_told_later() {
    let room = Room::new();
    let outbox = crate::notify::store::Outbox::open(&room.dir.path().join("bounded.db"), 2).unwrap();
    let note = async |hold: &crate::ids::HoldId| {
        let at = crate::clock::Clock::System.now();
        let state = crate::approvals::HoldState::Pending;
        outbox
            .note(crate::notify::store::Step { hold, state, at, targets: vec!["hook"], heard: Heard::Now })
            .await
            .unwrap()
    };
    let holds = [0, 1, 2].map(|_| crate::ids::HoldId::new());
    assert_eq!(
        [note(&holds[0]).await, note(&holds[1]).await, note(&holds[2]).await],
        [Noted::New, Noted::New, Noted::Full]
    );
    assert_eq!(note(&holds[0]).await, Noted::Known);
    let crate::notify::store::Next::Due(first) = outbox.next("hook", crate::clock::Clock::System.now()).await.unwrap()
    else {
        panic!("something is due")
    };
    outbox.done(first.seq).await.unwrap();
    assert_eq!(note(&holds[2]).await, Noted::New);
    let over = async |state| {
        let at = crate::clock::Clock::System.now();
        outbox
            .note(crate::notify::store::Step { hold: &holds[0], state, at, targets: vec![], heard: Heard::Now })
            .await
            .unwrap()
    };
    assert_eq!(over(Denied).await, Noted::New);
    assert_eq!([over(Pending).await, over(Approved).await, over(Denied).await], [Noted::Known; 3], "heard late");
}
