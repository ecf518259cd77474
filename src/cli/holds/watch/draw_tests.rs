//! The screen as text.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::approvals::samples;
use crate::control::card::is_deceptive;
use crate::control::tests::hold;
use crate::ids::HoldId;

const SIZES: [Size; 5] = [
    Size { width: 200, height: 50 },
    Size { width: 80, height: 24 },
    Size { width: 20, height: 6 },
    Size { width: 3, height: 2 },
    Size { width: 1, height: 1 },
];

fn text(view: &View, size: Size) -> Vec<String> {
    lines(view, size, samples::start()).into_iter().map(|line| line.text).collect()
}

fn width(text: &str) -> usize {
    text.chars().map(cells_of).sum()
}

fn hostile() -> View {
    let mut hold = hold();
    for field in [&mut hold.statement, &mut hold.rule, &mut hold.principal.name, &mut hold.database] {
        *field = "\u{1b}[2J\u{202e}表表表表表表表表\r\n\u{200b}x".repeat(9);
    }
    let mut view = View::default();
    view.list(vec![hold]);
    view.lost = Some("\u{1b}]0;x\u{7}".to_owned());
    view
}

#[test]
fn no_line_is_wider_than_the_terminal_and_none_steers_it() {
    for size in SIZES {
        let mut view = hostile();
        for code in [KeyCode::Null, KeyCode::Enter, KeyCode::Char('d'), KeyCode::Char('表'), KeyCode::End] {
            view.key(KeyEvent::new(code, KeyModifiers::NONE), size);
            let screen = text(&view, size);
            assert!(screen.len() <= size.height, "{size:?}");
            for line in screen {
                assert!(width(&line) <= size.width && !line.chars().any(is_deceptive), "{size:?}: {line:?}");
            }
        }
    }
}

#[test]
fn the_whole_card_can_be_read_however_narrow_the_terminal_is() {
    let mut view = View::default();
    let long = Hold { statement: format!("SELECT '{}'", "abcdefghij".repeat(100)), ..hold() };
    view.list(vec![long.clone()]);
    let size = Size { width: 40, height: 10 };
    view.key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE), size);
    let mut seen = String::new();
    for _ in 0..200 {
        let top = text(&view, size).get(2).cloned().unwrap_or_default();
        seen.push_str(top.split_once("│ ").map_or("", |(_, text)| text));
        view.key(KeyEvent::new(KeyCode::Down, KeyModifiers::NONE), size);
    }
    assert!(seen.contains(&long.statement), "{seen}");
}

#[test]
fn the_list_says_who_asks_for_what_how_long_it_waits_and_how_long_it_may() {
    let mut view = View::default();
    let mut asked = hold();
    asked.principal.human = Some("alice".to_owned());
    asked.created_at = samples::start().before(Duration::from_secs(180));
    asked.expires_at = samples::start().after(Duration::from_secs(90));
    view.list(vec![asked.clone(), Hold { id: HoldId::new(), ..asked.clone() }]);
    let screen = text(&view, Size { width: 160, height: 12 });
    assert_eq!(screen.len(), 12);
    assert!(screen[0].contains("2 holds wait"), "{screen:#?}");
    for part in ["> ", asked.id.as_str(), "3m", "90s", "agent-7 (alice)", "ALTER TABLE customers"] {
        assert!(screen[2].contains(part), "{part}: {screen:#?}");
    }
    assert!(screen[3].starts_with("  "), "one is chosen: {screen:#?}");
}

#[test]
fn the_chosen_one_is_on_the_screen_however_many_there_are() {
    let holds: Vec<_> = (0..50).map(|_| Hold { id: HoldId::new(), ..hold() }).collect();
    let mut view = View::default();
    view.list(holds.clone());
    let size = Size { width: 80, height: 10 };
    for _ in 0..30 {
        view.key(KeyEvent::new(KeyCode::Down, KeyModifiers::NONE), size);
    }
    let chosen: Vec<_> = text(&view, size).into_iter().filter(|line| line.starts_with("> ")).collect();
    assert!(chosen.len() == 1 && chosen[0].contains(holds[30].id.as_str()), "{chosen:?}");
}
