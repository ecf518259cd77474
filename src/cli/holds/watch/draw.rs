//! The screen of `watch` as lines of text, none wider than the terminal; every text of a stranger is harmless to print.

use std::time::Duration;

use unicode_width::UnicodeWidthChar;

use super::super::show;
use super::view::{Card, Size, View};
use crate::approvals::{Answer, Hold};
use crate::clock::Timestamp;
use crate::control::card::{self, printable};
use crate::ids::NAME;

/// Lines around what scrolls: the head, the column names, the note and the keys.
pub(super) const FRAME_LINES: usize = 4;
/// Widths of the columns of the list, in cells; the statement gets the rest.
const ID: usize = 10;
const TIME: usize = 7;
const WHO: usize = 24;
const RULE: usize = 20;

/// How a line is set off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Faint,
    Chosen,
    Loud,
}

/// One line of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) tone: Tone,
    pub(super) text: String,
}

/// The whole screen, as many lines as it has at most.
pub(super) fn lines(view: &View, size: Size, now: Timestamp) -> Vec<Line> {
    let mut lines = vec![line(Tone::Loud, &head(view))];
    let room = size.height.saturating_sub(FRAME_LINES);
    match &view.card {
        None => lines.extend(list(view, room, now)),
        Some(card) => lines.extend(self::card(card, size)),
    }
    lines.resize(size.height.saturating_sub(2).max(1), line(Tone::Plain, ""));
    lines.push(line(Tone::Loud, &note(view)));
    lines.push(line(Tone::Faint, keys(view)));
    lines.truncate(size.height);
    for line in &mut lines {
        line.text = cut(&line.text, size.width);
    }
    lines
}

/// The last place from which a card fills the screen.
pub(super) fn last_top(card: &Card, size: Size) -> usize {
    card_text(&card.hold, size.width).len().saturating_sub(size.height.saturating_sub(FRAME_LINES))
}

fn head(view: &View) -> String {
    let waiting = match view.holds.len() {
        1 => "1 hold waits".to_owned(),
        many => format!("{many} holds wait"),
    };
    let link = view.lost.as_ref().map_or_else(String::new, |why| format!(" · not connected: {why}"));
    printable(&format!("{NAME} · {waiting}{link}"))
}

fn list(view: &View, room: usize, now: Timestamp) -> Vec<Line> {
    let titles = row(["ID", "AGE", "LEFT", "PRINCIPAL", "RULE", "STATEMENT"].map(str::to_owned));
    let mut lines = vec![line(Tone::Faint, &format!("  {titles}"))];
    let chosen = view.chosen_place().unwrap_or(0);
    // The chosen one is always on the screen.
    let first = chosen.saturating_sub(room.saturating_sub(1));
    for (place, hold) in view.holds.iter().enumerate().skip(first).take(room) {
        let (mark, tone) = if place == chosen { (">", Tone::Chosen) } else { (" ", Tone::Plain) };
        lines.push(line(tone, &format!("{mark} {}", row(cells(hold, now)))));
    }
    lines
}

fn cells(hold: &Hold, now: Timestamp) -> [String; 6] {
    let human = hold.principal.human.as_deref().map(|human| format!(" ({human})")).unwrap_or_default();
    [
        hold.id.to_string(),
        short(now.since(hold.created_at)),
        short(hold.expires_at.since(now)),
        format!("{}{human}", hold.principal.name),
        hold.rule.clone(),
        show::one_line(hold),
    ]
    .map(|text| printable(&text))
}

fn row([id, age, left, who, rule, statement]: [String; 6]) -> String {
    let cells = [(id, ID), (age, TIME), (left, TIME), (who, WHO), (rule, RULE)];
    let cells = cells.map(|(text, width)| padded(&text, width)).join(" ");
    format!("{cells} {statement}")
}

fn card(card: &Card, size: Size) -> Vec<Line> {
    let text = card_text(&card.hold, size.width);
    let room = size.height.saturating_sub(FRAME_LINES);
    let top = card.top.min(last_top(card, size));
    let end = (top + room).min(text.len());
    let place = format!("lines {} to {end} of {}", top + 1, text.len());
    let shown = text.into_iter().skip(top).take(room);
    std::iter::once(line(Tone::Faint, &place)).chain(shown.map(|text| Line { tone: Tone::Plain, text })).collect()
}

/// The card as on every surface. A line that is too long goes on in the next, so that nothing is cut; what goes on is
/// marked as the field's own, so that it cannot look like another field.
fn card_text(hold: &Hold, width: usize) -> Vec<String> {
    let fields = card::lines(hold);
    let names = fields.iter().map(|(field, _)| field.len()).max().unwrap_or(0);
    let room = width.saturating_sub(names + 3).max(8);
    let mut last = "";
    let mut lines = Vec::new();
    for (field, text) in &fields {
        for piece in wrapped(text, room) {
            let name = if *field == last { "" } else { field };
            lines.push(format!("{name:>names$} │ {piece}"));
            last = field;
        }
    }
    lines
}

fn note(view: &View) -> String {
    let draft = view.card.as_ref().and_then(|card| card.draft.as_ref());
    let Some(draft) = draft.filter(|_| view.note.is_empty()) else { return printable(&view.note) };
    let what = match draft.verdict {
        Answer::Approve => "approve, reason (may be empty)",
        Answer::Deny => "deny, reason",
    };
    printable(&format!("{what}: {}_", draft.reason))
}

fn keys(view: &View) -> &'static str {
    match &view.card {
        None => "up/down choose · enter whole card · a approve · d deny · q quit",
        Some(card) if card.draft.is_some() => "enter send · esc back · up/down scroll the card",
        Some(_) => "up/down scroll · a approve · d deny · esc back · q quit",
    }
}

fn line(tone: Tone, text: &str) -> Line {
    Line { tone, text: text.to_owned() }
}

/// A duration in the unit that a person would say.
fn short(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds / 60),
        seconds @ 7200..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn cells_of(character: char) -> usize {
    character.width().unwrap_or(0)
}

/// At most so many cells, with a mark where something is missing.
fn cut(text: &str, width: usize) -> String {
    if text.chars().map(cells_of).sum::<usize>() <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let fits = |character: &char| match left.checked_sub(cells_of(*character)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let mut shown: String = text.chars().take_while(fits).collect();
    if width > 0 {
        shown.push('…');
    }
    shown
}

/// Exactly so many cells.
fn padded(text: &str, width: usize) -> String {
    let mut shown = cut(text, width);
    let missing = width.saturating_sub(shown.chars().map(cells_of).sum());
    shown.extend(std::iter::repeat_n(' ', missing));
    shown
}

/// The text in pieces of at most so many cells; an empty text is one piece.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut used = 0;
    for character in text.chars() {
        let cells = cells_of(character);
        if used + cells > width {
            pieces.push(String::new());
            used = 0;
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(character);
        }
        used += cells;
    }
    pieces
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
