//! Which rows a catalog was read from: what the next survey is compared with.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::classes::{CLASSES, Class, Ending, PRIME, Part};
use super::survey::{Count, Row, Survey};
use crate::catalog::Oid;

/// What is read anew, by the OIDs of each kind.
pub(super) type Changed = BTreeMap<Part, BTreeSet<Oid>>;

/// The rows that are known of one table.
#[derive(Clone, Debug, Default)]
struct Rows {
    /// Those whose end is to be missed, and what they are part of.
    keys: HashMap<i64, Oid>,
    count: Count,
    /// What the last survey listed that a transaction wrote which may still have been open: this session's own, perhaps.
    recent: HashMap<i64, (Oid, u64)>,
}

/// The rows behind one catalog.
#[derive(Clone, Debug, Default)]
pub(in crate::catalog) struct Ledger {
    rows: Vec<Rows>,
    /// No transaction below it was open: what it wrote has been seen, or never will be.
    pub(super) cut: u64,
    /// The server's process and the database.
    pub(super) place: String,
    /// Names that are printed in definitions without anything to tell that they depend on them.
    pub(super) names: BTreeMap<String, String>,
    pub(super) names_sum: String,
    /// What is read as a whole.
    pub(super) rest: String,
    pub(super) sizes: String,
}

impl Ledger {
    /// Takes a survey in: what it lists and is not known has changed, and so has what was listed before and is not any
    /// more, as a savepoint may have been gone back to.
    pub(super) fn enter(&mut self, survey: &Survey) -> Changed {
        let mut changed = Changed::new();
        self.rows.resize_with(CLASSES.len(), Rows::default);
        for ((class, known), found) in CLASSES.iter().zip(&mut self.rows).zip(&survey.classes) {
            known.enter(class, &found.rows, &mut changed);
        }
        (self.cut, self.place) = (survey.cut, survey.place.clone());
        (self.rest, self.sizes) = (survey.rest.clone(), survey.sizes.clone());
        changed
    }

    /// What is known of the sizes of relations.
    pub(in crate::catalog) fn sizes(&self) -> &str {
        &self.sizes
    }

    /// The tables of which other rows are there than those that are known.
    pub(super) fn unlike(&self, survey: &Survey) -> Vec<&'static Class> {
        let pairs = CLASSES.iter().zip(&self.rows).zip(&survey.classes);
        let differs = |((class, known), found): &((&Class, &Rows), &super::survey::Found)| {
            class.ending == Ending::Missed && known.count != found.count
        };
        pairs.filter(differs).map(|((class, _), _)| class).collect()
    }

    /// Takes all keys of one table: what is missed or was not known has changed.
    pub(super) fn replace(&mut self, class: &Class, rows: &[Row], changed: &mut Changed) {
        let Some(place) = CLASSES.iter().position(|known| known.name == class.name) else { return };
        let Some(known) = self.rows.get_mut(place) else { return };
        let now: HashMap<i64, Oid> = rows.iter().map(|row| (row.key, row.owner)).collect();
        let owners = changed.entry(class.part).or_default();
        let gone: Vec<(i64, Oid)> =
            known.keys.iter().filter(|(key, _)| !now.contains_key(key)).map(|(key, owner)| (*key, *owner)).collect();
        for (key, owner) in gone {
            known.forget(key);
            owners.insert(owner);
        }
        for (key, owner) in now {
            if known.learn(key, owner) {
                owners.insert(owner);
            }
        }
    }
}

impl Rows {
    fn enter(&mut self, class: &Class, rows: &[Row], changed: &mut Changed) {
        let mut recent = HashMap::new();
        let owners = changed.entry(class.part).or_default();
        for row in rows {
            let fresh = class.ending == Ending::Missed && self.learn(row.key, row.owner);
            let Some(token) = &row.token else {
                if fresh {
                    owners.insert(row.owner);
                }
                continue;
            };
            let mut hash = DefaultHasher::new();
            let version = token.trim_end_matches('*');
            version.hash(&mut hash);
            let now = (row.owner, hash.finish());
            if self.recent.remove(&row.key) != Some(now) {
                owners.insert(row.owner);
            }
            if version.len() < token.len() {
                recent.insert(row.key, now);
            }
        }
        owners.extend(self.recent.values().map(|(owner, _)| *owner));
        self.recent = recent;
    }

    /// Whether that is news.
    fn learn(&mut self, key: i64, owner: Oid) -> bool {
        let known = self.keys.insert(key, owner);
        if known.is_none() {
            self.count.add(key);
        }
        known != Some(owner)
    }

    fn forget(&mut self, key: i64) {
        if self.keys.remove(&key).is_some() {
            self.count.take(key);
        }
    }
}

impl Count {
    fn add(&mut self, key: i64) {
        let rest = i128::from(key % PRIME);
        (self.rows, self.sum, self.squares) = (self.rows + 1, self.sum + i128::from(key), self.squares + rest * rest);
    }

    fn take(&mut self, key: i64) {
        let rest = i128::from(key % PRIME);
        (self.rows, self.sum, self.squares) = (self.rows - 1, self.sum - i128::from(key), self.squares - rest * rest);
    }
}
