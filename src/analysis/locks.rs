//! Which table lock a command takes, which locks stand in its way, and how what it does can be undone.

use super::facts::{Kind, StatementFacts};

/// The table locks, the weakest first (the manual, "Explicit Locking"); names as `pg_locks` has them, and for each the
/// place of the weakest lock that it conflicts with.
const MODES: [(&str, &str, usize); 8] = [
    ("AccessShareLock", "ACCESS SHARE", 7),
    ("RowShareLock", "ROW SHARE", 6),
    ("RowExclusiveLock", "ROW EXCLUSIVE", 4),
    ("ShareUpdateExclusiveLock", "SHARE UPDATE EXCLUSIVE", 3),
    ("ShareLock", "SHARE", 2),
    ("ShareRowExclusiveLock", "SHARE ROW EXCLUSIVE", 2),
    ("ExclusiveLock", "EXCLUSIVE", 1),
    ("AccessExclusiveLock", "ACCESS EXCLUSIVE", 0),
];
const SHARE: usize = 4;

/// A table lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableLock(usize);

impl TableLock {
    /// The lock that `pg_locks.mode` names.
    #[must_use]
    pub fn parse(mode: &str) -> Option<Self> {
        MODES.iter().position(|(name, _, _)| *name == mode).map(Self)
    }

    /// As the manual writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        MODES.get(self.0).map_or("", |(_, name, _)| name)
    }

    /// Whether two sessions cannot have both on one table.
    #[must_use]
    pub fn conflicts(self, other: Self) -> bool {
        // Of its kind alone, SHARE goes beside itself.
        let beside = self.0 == SHARE && other.0 == SHARE;
        let weakest = |lock: Self| MODES.get(lock.0).map_or(0, |(_, _, weakest)| *weakest);
        !beside && other.0 >= weakest(self) && self.0 >= weakest(other)
    }
}

/// Commands by the lock that they take on what they name; of two that begin alike the longer one stands first.
const COMMANDS: &[(&str, usize)] = &[
    ("ALTER TABLE", 7),
    ("ALTER INDEX", 3),
    ("DROP", 7),
    ("TRUNCATE", 7),
    ("CLUSTER", 7),
    ("REINDEX", SHARE),
    ("REFRESH MATERIALIZED VIEW", 7),
    ("CREATE TRIGGER", 5),
    ("CREATE RULE", 7),
    ("CREATE POLICY", 7),
    ("ALTER POLICY", 7),
    ("CREATE TABLE AS", 0),
    ("CREATE TABLE", 5),
    ("CREATE VIEW", 0),
    ("CREATE MATERIALIZED VIEW", 0),
    ("COMMENT", 3),
    ("ANALYZE", 3),
    ("INSERT", 2),
    ("UPDATE", 2),
    ("DELETE", 2),
    ("MERGE", 2),
    ("SELECT", 0),
];

/// The strongest lock that a statement takes on the relations that it names; `None` where that is not known.
#[must_use]
pub fn table_lock(facts: &StatementFacts) -> Option<TableLock> {
    if !facts.opaque.is_empty() || facts.relations.is_empty() {
        return None;
    }
    let found = |word: &str| facts.findings.iter().any(|finding| finding.contains(word));
    let place = match facts.command.as_str() {
        "CREATE INDEX" if found("CONCURRENTLY") => SHARE,
        "CREATE INDEX" => 3,
        "VACUUM" => {
            if found("VACUUM FULL") {
                7
            } else {
                3
            }
        }
        "REFRESH MATERIALIZED VIEW" if !found("CONCURRENTLY") => 6,
        "COPY" if facts.kinds.contains(&Kind::Write) => 2,
        "COPY" => 0,
        command => COMMANDS.iter().find(|(begins, _)| command.starts_with(begins)).map(|(_, place)| *place)?,
    };
    Some(TableLock(place))
}

/// How what a statement does can be undone once it is committed, in words.
#[must_use]
pub fn reversible(facts: &StatementFacts) -> &'static str {
    let begins = |word: &str| facts.command.starts_with(word);
    let drops = facts.findings.iter().any(|finding| finding.to_lowercase().contains("drop"));
    if !facts.opaque.is_empty() {
        "not known: parts of it cannot be known"
    } else if facts.pure_read {
        "it changes nothing; what was read cannot be taken back"
    } else if begins("DROP") || begins("TRUNCATE") || drops {
        "not once it is committed: what it removes comes back from a backup alone"
    } else if begins("DELETE") || begins("UPDATE") || begins("MERGE") {
        "not once it is committed: the old values come back from a backup alone"
    } else if begins("INSERT") || (begins("COPY") && facts.kinds.contains(&Kind::Write)) {
        "by deleting the rows that it adds"
    } else if begins("CREATE") {
        "by dropping what it creates"
    } else if begins("GRANT") {
        "by REVOKE; what was done with the right stays"
    } else if begins("REVOKE") {
        "by GRANT"
    } else if begins("ALTER") {
        "by a second ALTER, as long as it lost no values"
    } else {
        "not known"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_those_of_the_manuals_table() {
        // One row a lock, the columns in the same order.
        let table = ["-------X", "------XX", "----XXXX", "---XXXXX", "--XX-XXX", "--XXXXXX", "-XXXXXXX", "XXXXXXXX"];
        for (one, row) in table.iter().enumerate() {
            for (other, cell) in row.chars().enumerate() {
                assert_eq!(TableLock(one).conflicts(TableLock(other)), cell == 'X', "{one} {other}");
            }
        }
    }

    #[test]
    fn every_mode_reads_back() {
        for (place, (mode, _, _)) in MODES.iter().enumerate() {
            assert_eq!(TableLock::parse(mode), Some(TableLock(place)));
        }
        assert_eq!(TableLock::parse("SIReadLock"), None);
    }
}
