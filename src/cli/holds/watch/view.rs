//! What the screen of `watch` stands at, and what each key does to it.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::draw;
use crate::approvals::{Answer, Hold, HoldState};
use crate::ids::HoldId;

/// The longest reason that can be typed, in characters.
const REASON_MAX: usize = 1000;

/// Everything that is drawn.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Those that wait, the oldest first.
    pub(super) holds: Vec<Hold>,
    pub(super) chosen: Option<HoldId>,
    pub(super) card: Option<Card>,
    /// What the last act brought.
    pub(super) note: String,
    /// Why the stream is broken; `None` while it stands.
    pub(super) lost: Option<String>,
}

/// One hold in full.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) hold: Hold,
    /// The first line that is shown.
    pub(super) top: usize,
    pub(super) draft: Option<Draft>,
}

/// An answer whose reason is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) verdict: Answer,
    pub(super) reason: String,
}

/// What the caller does for a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Act {
    Nothing,
    Leave,
    Decide { id: HoldId, draft: Draft },
}

/// Cells of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

impl View {
    /// All that wait, instead of what was known.
    pub(super) fn list(&mut self, holds: Vec<Hold>) {
        self.lost = None;
        self.holds = holds;
        self.keep_choice();
    }

    /// A hold as it stands now.
    pub(super) fn change(&mut self, hold: Hold) {
        let place = self.holds.iter().position(|known| known.id == hold.id);
        if let Some(card) = self.card.as_mut().filter(|card| card.hold.id == hold.id) {
            if hold.state != HoldState::Pending && card.draft.take().is_some() {
                self.note = format!("hold {} is {} meanwhile", hold.id, hold.state.as_str());
            }
            card.hold = hold.clone();
        }
        match (place, hold.state == HoldState::Pending) {
            (Some(place), true) => self.holds.iter_mut().skip(place).take(1).for_each(|known| *known = hold.clone()),
            (None, true) => self.holds.push(hold),
            (Some(place), false) => {
                self.holds.remove(place);
                // The one that moves up is chosen, so that the eye stays where it was.
                self.chosen = self.chosen.take().filter(|chosen| *chosen != hold.id).or_else(|| {
                    self.holds.get(place.min(self.holds.len().saturating_sub(1))).map(|next| next.id.clone())
                });
            }
            (None, false) => {}
        }
        self.keep_choice();
    }

    /// What a key does. Ctrl-C leaves from everywhere: in raw mode it is a key like others.
    pub(super) fn key(&mut self, key: KeyEvent, size: Size) -> Act {
        if key.kind == KeyEventKind::Release {
            return Act::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if matches!(key.code, KeyCode::Char('c' | 'C')) { Act::Leave } else { Act::Nothing };
        }
        self.note.clear();
        let page = size.height.saturating_sub(draw::FRAME_LINES).max(1);
        let Some(card) = &mut self.card else { return self.key_in_list(key.code, page) };
        if card.scroll(key.code, page) {
            card.top = card.top.min(draw::last_top(card, size));
            return Act::Nothing;
        }
        if card.draft.is_some() { self.key_in_draft(key.code) } else { self.key_in_card(key.code) }
    }

    fn key_in_list(&mut self, code: KeyCode, page: usize) -> Act {
        match code {
            KeyCode::Up | KeyCode::Char('k') => self.choose(|place| place.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose(|place| place + 1),
            KeyCode::PageUp => self.choose(|place| place.saturating_sub(page)),
            KeyCode::PageDown => self.choose(|place| place + page),
            KeyCode::Enter => self.open(None),
            KeyCode::Char('a') => self.open(Some(Answer::Approve)),
            KeyCode::Char('d') => self.open(Some(Answer::Deny)),
            KeyCode::Char('q') => return Act::Leave,
            _ => {}
        }
        Act::Nothing
    }

    fn key_in_card(&mut self, code: KeyCode) -> Act {
        match code {
            KeyCode::Esc | KeyCode::Backspace => self.card = None,
            KeyCode::Char('a') => self.ask(Answer::Approve),
            KeyCode::Char('d') => self.ask(Answer::Deny),
            KeyCode::Char('q') => return Act::Leave,
            _ => {}
        }
        Act::Nothing
    }

    fn key_in_draft(&mut self, code: KeyCode) -> Act {
        let Some((card, draft)) = self.card.as_mut().and_then(|card| card.draft.clone().map(|draft| (card, draft)))
        else {
            return Act::Nothing;
        };
        let mut reason = draft.reason.clone();
        match code {
            KeyCode::Esc => {
                card.draft = None;
                return Act::Nothing;
            }
            KeyCode::Enter if draft.verdict == Answer::Deny && reason.trim().is_empty() => {
                "a denial wants its reason: whoever sent the statement reads it".clone_into(&mut self.note);
            }
            KeyCode::Enter => {
                card.draft = None;
                return Act::Decide { id: card.hold.id.clone(), draft };
            }
            KeyCode::Backspace => drop(reason.pop()),
            KeyCode::Char(letter) if reason.chars().count() < REASON_MAX => reason.push(letter),
            _ => {}
        }
        card.draft = Some(Draft { reason, ..draft });
        Act::Nothing
    }

    /// Nobody decides on a line that was cut: an answer is asked for under the whole card.
    fn open(&mut self, verdict: Option<Answer>) {
        let chosen = self.holds.iter().find(|hold| Some(&hold.id) == self.chosen.as_ref());
        self.card = chosen.map(|hold| Card { hold: hold.clone(), top: 0, draft: None });
        if let Some(verdict) = verdict {
            self.ask(verdict);
        }
    }

    fn ask(&mut self, verdict: Answer) {
        let Some(card) = &mut self.card else { return };
        if card.hold.state == HoldState::Pending {
            card.draft = Some(Draft { verdict, reason: String::new() });
        } else {
            self.note = format!("hold {} is {} already", card.hold.id, card.hold.state.as_str());
        }
    }

    fn choose(&mut self, step: impl Fn(usize) -> usize) {
        let last = self.holds.len().saturating_sub(1);
        let next = step(self.chosen_place().unwrap_or(0)).min(last);
        self.chosen = self.holds.get(next).map(|hold| hold.id.clone());
    }

    pub(super) fn chosen_place(&self) -> Option<usize> {
        let chosen = self.chosen.as_ref()?;
        self.holds.iter().position(|hold| hold.id == *chosen)
    }

    fn keep_choice(&mut self) {
        if self.chosen_place().is_none() {
            self.chosen = self.holds.first().map(|hold| hold.id.clone());
        }
    }
}

impl Card {
    /// Whether the key moves the card; the caller keeps it within its end.
    fn scroll(&mut self, code: KeyCode, page: usize) -> bool {
        self.top = match code {
            KeyCode::Up => self.top.saturating_sub(1),
            KeyCode::Down => self.top.saturating_add(1),
            KeyCode::PageUp => self.top.saturating_sub(page),
            KeyCode::PageDown => self.top.saturating_add(page),
            KeyCode::Home => 0,
            KeyCode::End => usize::MAX,
            _ => return false,
        };
        true
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
