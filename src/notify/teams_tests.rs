//! Messages as a Workflow takes them.

use super::*;
use crate::notify::testing::{Room, Server, status};
use crate::notify::{NotifyOptions, Reach};

fn options(url: &str) -> NotifyOptions {
    let sender = Sender::new(Reach::Private).unwrap();
    let teams = Teams { name: "teams".to_owned(), url: format!("{url}/workflows/1?sig=secret"), sender };
    NotifyOptions { teams: vec![teams], ..NotifyOptions::default() }
}

#[tokio::test]
async fn a_card_opens_the_decision_page_and_text_is_no_markup() {
    let (room, mut server) = (Room::new(), Server::start(vec![status(202)]).await);
    room.notifier(options(&server.url));
    let id = room.park(|hold| hold.statement = "SELECT '[click](https://evil.example)'".to_owned()).await;
    let asked = server.next().await;
    assert_eq!(asked.path, "/workflows/1?sig=secret");
    let message = asked.json();
    let attachment = &message["attachments"][0];
    assert_eq!(
        (&message["type"], &attachment["contentType"]),
        (&json!("message"), &json!("application/vnd.microsoft.card.adaptive"))
    );
    let card = &attachment["content"];
    assert_eq!((&card["type"], &card["version"]), (&json!("AdaptiveCard"), &json!("1.4")));
    assert_eq!(card["actions"][0]["type"], "Action.OpenUrl");
    assert_eq!(card["actions"][0]["url"], format!("https://gate.example/holds/{id}"));
    assert!(card["body"].as_array().unwrap().iter().all(|block| block["type"] == "RichTextBlock"));
    assert!(card["body"].to_string().contains("[click](https://evil.example)"));
}

#[tokio::test]
async fn a_message_is_never_over_28_kilobytes_and_a_card_never_cut() {
    let (room, mut server) = (Room::new(), Server::start(vec![status(202)]).await);
    room.notifier(options(&server.url));
    for length in [10_000, 27_000, 1_000_000] {
        let statement = format!("SELECT '{}'", "\u{1}é".repeat(length / 3));
        room.park(|hold| {
            hold.statement.clone_from(&statement);
            hold.action_hash = format!("hash-{length}");
        })
        .await;
        let asked = server.next().await;
        assert!(asked.body.len() <= MESSAGE_MAX);
        let card = asked.json()["attachments"][0]["content"]["body"].to_string();
        let whole = serde_json::to_string(&statement).unwrap();
        assert!(card.contains(whole.trim_matches('"')) || card.contains(&format!("hash-{length}")), "{length}");
    }
}
