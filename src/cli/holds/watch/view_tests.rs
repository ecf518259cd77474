//! Keys and steps against the view.

use super::*;
use crate::control::tests::hold;

const SIZE: Size = Size { width: 100, height: 20 };

fn key(view: &mut View, code: KeyCode) -> Act {
    view.key(KeyEvent::new(code, KeyModifiers::NONE), SIZE)
}

fn typed(view: &mut View, text: &str) {
    for letter in text.chars() {
        key(view, KeyCode::Char(letter));
    }
}

fn three() -> (View, Vec<Hold>) {
    let holds: Vec<_> = (0..3).map(|_| Hold { id: HoldId::new(), ..hold() }).collect();
    let mut view = View::default();
    view.list(holds.clone());
    (view, holds)
}

#[test]
fn the_arrows_choose_within_the_list_and_the_choice_stays_with_its_hold() {
    let (mut view, holds) = three();
    key(&mut view, KeyCode::Up);
    assert_eq!(view.chosen, Some(holds[0].id.clone()));
    key(&mut view, KeyCode::Down);
    view.change(Hold { state: HoldState::Denied, ..holds[0].clone() });
    assert_eq!((view.chosen.clone(), view.holds.len()), (Some(holds[1].id.clone()), 2));
    view.change(Hold { state: HoldState::Expired, ..holds[1].clone() });
    assert_eq!(view.chosen, Some(holds[2].id.clone()), "the next one moves up");
    key(&mut view, KeyCode::PageDown);
    assert_eq!(view.chosen, Some(holds[2].id.clone()));
    view.change(Hold { state: HoldState::Withdrawn, ..holds[2].clone() });
    assert!(view.chosen.is_none() && view.holds.is_empty());
    assert_eq!(key(&mut view, KeyCode::Enter), Act::Nothing);
    assert!(view.card.is_none());
}

#[test]
fn an_answer_is_asked_for_under_the_whole_card_and_a_denial_wants_its_reason() {
    let (mut view, holds) = three();
    key(&mut view, KeyCode::Char('d'));
    assert_eq!(view.card.as_ref().map(|card| card.hold.id.clone()), Some(holds[0].id.clone()));
    assert_eq!(key(&mut view, KeyCode::Enter), Act::Nothing);
    assert!(view.note.contains("reason"));
    typed(&mut view, "no, quitx");
    key(&mut view, KeyCode::Backspace);
    let draft = Draft { verdict: Answer::Deny, reason: "no, quit".to_owned() };
    assert_eq!(key(&mut view, KeyCode::Enter), Act::Decide { id: holds[0].id.clone(), draft });
}

#[test]
fn escape_takes_back_first_the_answer_and_then_the_card() {
    let (mut view, _) = three();
    key(&mut view, KeyCode::Char('a'));
    key(&mut view, KeyCode::Esc);
    assert!(view.card.as_ref().is_some_and(|card| card.draft.is_none()));
    key(&mut view, KeyCode::Esc);
    assert!(view.card.is_none());
    assert_eq!(key(&mut view, KeyCode::Char('q')), Act::Leave);
}

#[test]
fn a_hold_that_somebody_else_decided_takes_no_answer_any_more() {
    let (mut view, holds) = three();
    key(&mut view, KeyCode::Char('a'));
    view.change(Hold { state: HoldState::Denied, ..holds[0].clone() });
    assert!(view.note.contains("is denied"));
    assert_eq!(key(&mut view, KeyCode::Enter), Act::Nothing);
    key(&mut view, KeyCode::Char('a'));
    assert!(view.card.as_ref().is_some_and(|card| card.draft.is_none()));
}

#[test]
fn control_c_leaves_from_everywhere_and_a_card_scrolls_to_its_end_and_no_further() {
    let (mut view, _) = three();
    key(&mut view, KeyCode::Enter);
    key(&mut view, KeyCode::End);
    let end = view.card.as_ref().unwrap().top;
    key(&mut view, KeyCode::Down);
    assert_eq!(view.card.as_ref().unwrap().top, end);
    key(&mut view, KeyCode::Up);
    assert_eq!(view.card.as_ref().unwrap().top, end.saturating_sub(1));
    key(&mut view, KeyCode::Char('d'));
    let leave = view.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL), SIZE);
    assert_eq!(leave, Act::Leave);
}
