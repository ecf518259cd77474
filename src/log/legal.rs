//! Legal holds: what retention must not remove, set and lifted by a person, with a record of each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::LogError;
use super::open::{create_private, write_atomic};
use crate::clock::Timestamp;
use crate::ids::StatementId;
use crate::lineage::{Event, Filters, StatementRecord};

/// The file of the holds, also those that were lifted.
const FILE: &str = "legal-holds.json";
/// Who changes that file locks this one.
const LOCK: &str = "legal-holds.lock";
/// The longest name of a hold, characters.
const NAME_MAX: usize = 100;

/// A person set or lifted a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegalAct {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub why: String,
    /// Whether the log has a record of it.
    pub recorded: bool,
}

/// Records that must not be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegalHold {
    /// Its name.
    pub name: String,
    /// Which records: filters of a query with their values; none at all holds everything.
    pub filters: Vec<(String, String)>,
    /// How it was set.
    pub set: LegalAct,
    /// How it was lifted.
    pub lifted: Option<LegalAct>,
}

/// The holds of a log, locked against other processes as long as this lives.
pub struct LegalHolds {
    path: PathBuf,
    _lock: fs::File,
    holds: Vec<LegalHold>,
}

impl LegalHolds {
    /// Reads the holds of the log in `dir`; waits for whoever changes them.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else: then nothing may be removed.
    pub fn open(dir: &Path) -> Result<Self, LogError> {
        let (path, lock_path) = (dir.join(FILE), dir.join(LOCK));
        let lock = create_private(&lock_path).map_err(LogError::io("create", &lock_path))?;
        lock.lock().map_err(LogError::io("lock", &lock_path))?;
        let holds = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| LogError::NotIntact { what: format!("{}: {error}", path.display()) })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(LogError::io("read", &path)(error)),
        };
        Ok(Self { path, _lock: lock, holds })
    }

    /// All of them.
    #[must_use]
    pub fn list(&self) -> &[LegalHold] {
        &self.holds
    }

    /// The names and filters of those that are not lifted. A filter that cannot be read holds everything.
    pub(super) fn in_force(&self, now: Timestamp) -> Vec<(String, Filters)> {
        let filters = |hold: &LegalHold| Filters::from_pairs(&hold.filters, now).unwrap_or_default();
        self.holds.iter().filter(|hold| hold.lifted.is_none()).map(|hold| (hold.name.clone(), filters(hold))).collect()
    }

    /// Sets a hold, by whom and why.
    ///
    /// # Errors
    /// The name is none or taken, a filter is none or a time ago, the disk refuses: in words.
    pub fn set(
        &mut self,
        name: &str,
        filters: Vec<(String, String)>,
        (by, why): (&str, &str),
        now: Timestamp,
    ) -> Result<(), String> {
        if !is_name(name) {
            return Err(format!("the name of a legal hold has 1 to {NAME_MAX} letters, digits, '-', '_' and '.'"));
        }
        if self.holds.iter().any(|hold| hold.name == name && hold.lifted.is_none()) {
            return Err(format!("there is a legal hold {name} already"));
        }
        // A time ago would move on, and a limit or a cursor is no property of a record.
        let named = |name: &str, value: &str| matches!(name, "limit" | "cursor") || is_ago(name, value);
        if let Some((name, value)) = filters.iter().find(|(name, value)| named(name, value)) {
            return Err(format!("{name}={value} cannot say what is held: name times as 2026-11-21T10:00:00Z"));
        }
        Filters::from_pairs(&filters, now)?;
        let set = LegalAct { by: by.to_owned(), at: now, why: why.to_owned(), recorded: false };
        self.holds.push(LegalHold { name: name.to_owned(), filters, set, lifted: None });
        self.save().map_err(|error| error.to_string())
    }

    /// Lifts a hold, by whom and why.
    ///
    /// # Errors
    /// There is none of this name, the disk refuses: in words.
    pub fn lift(&mut self, name: &str, (by, why): (&str, &str), now: Timestamp) -> Result<(), String> {
        let Some(hold) = self.holds.iter_mut().find(|hold| hold.name == name && hold.lifted.is_none()) else {
            return Err(format!("there is no legal hold {name}"));
        };
        hold.lifted = Some(LegalAct { by: by.to_owned(), at: now, why: why.to_owned(), recorded: false });
        self.save().map_err(|error| error.to_string())
    }

    /// The records that the log does not have yet.
    #[must_use]
    pub fn unrecorded(&self) -> Vec<StatementRecord> {
        let mut records = Vec::new();
        for hold in &self.holds {
            for (verb, act) in [("set", Some(&hold.set)), ("lift", hold.lifted.as_ref())] {
                records.extend(act.filter(|act| !act.recorded).map(|act| record(hold, verb, act)));
            }
        }
        records
    }

    /// The log has them now.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn mark_recorded(&mut self) -> Result<(), LogError> {
        for hold in &mut self.holds {
            hold.set.recorded = true;
            if let Some(lifted) = &mut hold.lifted {
                lifted.recorded = true;
            }
        }
        self.save()
    }

    fn save(&self) -> Result<(), LogError> {
        let text = serde_json::to_vec_pretty(&self.holds)
            .map_err(|error| LogError::io("write", &self.path)(io::Error::other(error)))?;
        write_atomic(&self.path, &text)
    }
}

/// A name that stays one word in records, in reports and on a command line.
fn is_name(name: &str) -> bool {
    let plain = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
    (1..=NAME_MAX).contains(&name.chars().count()) && name.chars().all(plain) && !name.starts_with(['-', '.'])
}

fn is_ago(name: &str, value: &str) -> bool {
    matches!(name, "since" | "until") && matches!(value.parse(), Ok(crate::lineage::Moment::Ago(_)))
}

fn record(hold: &LegalHold, verb: &str, act: &LegalAct) -> StatementRecord {
    let mut record = StatementRecord::new(StatementId::new(), Event::Operator);
    let filters: Vec<_> = hold.filters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let what = if filters.is_empty() { "all records".to_owned() } else { filters.join(" ") };
    record.command = format!("legal-hold-{verb}");
    record.text = format!("{} {verb}s legal hold {} on {what} at {}: {}", act.by, hold.name, act.at, act.why);
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_plain_word() {
        let dir = tempfile::tempdir().unwrap();
        let mut holds = LegalHolds::open(dir.path()).unwrap();
        let now = Timestamp::from_micros(0);
        for name in ["", "a/../b", "../b", "-x", ".x", "a b", "a\nb", "a\u{202e}b", &"x".repeat(101)] {
            let refused = holds.set(name, Vec::new(), ("ada", "why"), now).unwrap_err();
            assert!(refused.contains("letters"), "{name}: {refused}");
        }
        for name in ["matter-2026.7", "Übernahme_1", &"x".repeat(100)] {
            holds.set(name, Vec::new(), ("ada", "why"), now).unwrap();
        }
        assert_eq!(holds.list().len(), 3);
    }
}
