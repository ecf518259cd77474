//! `holdgate holds watch`: holds as they come and change, as lines or on a screen.

mod draw;
mod follow;
mod live;
mod screen;
mod sse;
mod view;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io::Write;

use serde_json::Value;

use self::follow::{Follow, Step, is_final};
pub(super) use self::live::live;
use super::api::{Api, ApiError};
use super::{Format, Target, show};

/// Closed holds that are remembered, so that a step which comes twice is printed once.
const CLOSED_MAX: usize = 4096;

/// One line each time that a hold changes, those first that wait already; until interrupted.
pub(super) async fn lines(target: &Target, out: &mut impl Write) -> Result<u8, ApiError> {
    let api = Api::new(target)?;
    let mut follow = Follow::new(api.clone());
    let mut seen = Seen::default();
    loop {
        let changed = match follow.next().await? {
            Step::Listed(waiting) => match missed(&api, &seen, &waiting).await {
                Ok(missed) => [missed, waiting].concat(),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    eprintln!("{error}; trying again");
                    follow.restart();
                    continue;
                }
            },
            Step::Hold(hold) => vec![*hold],
            Step::Lost(why) => {
                eprintln!("{why}; trying again");
                continue;
            }
            Step::Back => {
                eprintln!("connected again");
                continue;
            }
        };
        for hold in changed.into_iter().filter(|hold| seen.is_news(hold)) {
            match target.format {
                Format::Table => writeln!(out, "{}", show::line(&hold)?)?,
                Format::Json | Format::Jsonl => show::lines(std::slice::from_ref(&hold), out)?,
            }
        }
        out.flush()?;
    }
}

/// What became of those that were open when the stream was lost, and do not wait any more.
async fn missed(api: &Api, seen: &Seen, waiting: &[Value]) -> Result<Vec<Value>, ApiError> {
    let mut changed = Vec::new();
    for id in seen.open().iter().filter(|id| !waiting.iter().any(|hold| show::id(hold) == **id)) {
        match api.hold(id).await {
            Ok(hold) => changed.push(hold),
            // History was pruned meanwhile.
            Err(ApiError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(changed)
}

/// What was printed of each hold: a stream that goes on after a break repeats holds as they stand.
#[derive(Debug, Default)]
struct Seen {
    hasher: RandomState,
    shown: HashMap<String, Shown>,
    closed: VecDeque<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shown {
    content: u64,
    closed: bool,
}

impl Seen {
    fn is_news(&mut self, hold: &Value) -> bool {
        let id = show::id(hold);
        let now = Shown { content: self.hasher.hash_one(hold.to_string()), closed: show::is_closed(hold) };
        let before = self.shown.insert(id.clone(), now);
        if now.closed && before.is_none_or(|before| !before.closed) {
            self.closed.push_back(id);
            if self.closed.len() > CLOSED_MAX
                && let Some(oldest) = self.closed.pop_front()
            {
                self.shown.remove(&oldest);
            }
        }
        before != Some(now)
    }

    fn open(&self) -> Vec<String> {
        self.shown.iter().filter(|(_, shown)| !shown.closed).map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hold_is_news_when_it_has_changed_and_closed_ones_are_forgotten_in_the_end() {
        let mut seen = Seen::default();
        let hold = |id: usize, state: &str| json!({"id": format!("h{id}"), "state": state});
        assert!(seen.is_news(&hold(0, "pending")) && !seen.is_news(&hold(0, "pending")));
        assert!(seen.is_news(&hold(0, "released")));
        assert_eq!(seen.open(), ["h0"]);
        assert!(seen.is_news(&hold(0, "finished")) && !seen.is_news(&hold(0, "finished")));
        assert!(seen.open().is_empty());
        for id in 1..=CLOSED_MAX {
            assert!(seen.is_news(&hold(id, "denied")));
        }
        assert_eq!(seen.shown.len(), CLOSED_MAX);
    }
}
