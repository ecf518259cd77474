//! How much a statement gives away, as far as it is known, and what size conditions say of it.

use super::condition::Compare;
use super::decision::Request;
use crate::analysis::Bound;

/// What is known of an amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    /// It is at most this, as the text proves.
    pub(super) proved: Option<u64>,
    /// It is about this, as statistics say.
    pub(super) likely: Option<u64>,
    /// What leaves does not show it, so that no tripwire can count it.
    pub(super) hidden: bool,
    /// Whole relations come back, whatever their size.
    pub(super) whole: bool,
}

impl Amount {
    /// Rows that a statement reveals.
    pub(super) fn rows(request: &Request<'_>) -> Self {
        let facts = request.facts;
        Self {
            proved: facts.bound.rows(),
            likely: request.estimate.and_then(|estimate| estimate.rows),
            hidden: facts.packs,
            whole: facts.bound == Bound::Unbounded && !facts.scans.is_empty(),
        }
    }

    /// Bytes that a statement reveals; no text proves them.
    pub(super) fn bytes(request: &Request<'_>) -> Self {
        Self { proved: None, likely: request.estimate.and_then(|estimate| estimate.bytes), ..Self::rows(request) }
    }

    /// The number to go by: the lower of what is proved and what is likely.
    pub(super) fn known(self) -> Option<u64> {
        match (self.proved, self.likely) {
            _ if self.hidden => None,
            (Some(proved), Some(likely)) => Some(proved.min(likely)),
            (proved, likely) => proved.or(likely),
        }
    }
}

/// What a size condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It holds.
    Yes,
    /// It does not hold, whatever happens.
    No,
    /// The statement passes as the milder case, as long as no more than this leaves.
    Within(u64),
}

/// A condition of a hold or deny: doubt speaks for it, unless a tripwire can settle the doubt.
pub(super) fn suspect(compare: Compare, amount: Amount) -> Answer {
    if amount.hidden {
        return Answer::Yes;
    }
    match compare {
        Compare::Above(most) => match (amount.proved, amount.likely) {
            // A proof that is wrong must cost a hold, not the rows.
            (Some(known), _) | (_, Some(known)) if known <= most => Answer::Within(most),
            (None, None) if !amount.whole => Answer::Within(most),
            _ => Answer::Yes,
        },
        Compare::UpTo(most) if amount.likely.is_some_and(|likely| likely > most) => Answer::No,
        Compare::UpTo(_) => Answer::Yes,
    }
}

/// A condition of an allow or of an exemption: it must be known to hold, or be made to.
pub(super) fn vouched(compare: Compare, amount: Amount) -> Answer {
    if amount.hidden {
        return Answer::No;
    }
    match compare {
        Compare::UpTo(most) => match (amount.proved, amount.likely) {
            (Some(proved), _) if proved <= most => Answer::Yes,
            (_, Some(likely)) if likely <= most => Answer::Within(most),
            _ => Answer::No,
        },
        Compare::Above(_) if amount.known().is_some_and(|known| compare.holds(known)) => Answer::Yes,
        Compare::Above(_) => Answer::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: Amount = Amount { proved: None, likely: None, hidden: false, whole: false };

    fn proved(rows: u64) -> Amount {
        Amount { proved: Some(rows), ..UNKNOWN }
    }

    fn likely(rows: u64) -> Amount {
        Amount { likely: Some(rows), ..UNKNOWN }
    }

    #[test]
    fn what_is_proved_small_raises_no_suspicion_and_is_counted_all_the_same() {
        assert_eq!(suspect(Compare::Above(500), proved(500)), Answer::Within(500));
        assert_eq!(suspect(Compare::Above(500), proved(501)), Answer::Yes);
    }

    #[test]
    fn an_estimate_below_the_threshold_is_no_proof_and_sets_the_tripwire() {
        assert_eq!(suspect(Compare::Above(500), likely(3)), Answer::Within(500));
        assert_eq!(suspect(Compare::Above(500), likely(501)), Answer::Yes);
        assert_eq!(suspect(Compare::Above(500), Amount { proved: Some(1000), ..likely(3) }), Answer::Within(500));
    }

    #[test]
    fn an_unknown_size_sets_the_tripwire_unless_whole_relations_come_back() {
        assert_eq!(suspect(Compare::Above(500), UNKNOWN), Answer::Within(500));
        assert_eq!(suspect(Compare::Above(500), Amount { whole: true, ..UNKNOWN }), Answer::Yes);
        assert_eq!(suspect(Compare::Above(500), Amount { whole: true, ..likely(10) }), Answer::Within(500));
    }

    #[test]
    fn what_no_tripwire_can_count_is_over() {
        assert_eq!(suspect(Compare::Above(500), Amount { hidden: true, ..proved(1) }), Answer::Yes);
        assert_eq!(vouched(Compare::UpTo(500), Amount { hidden: true, ..proved(1) }), Answer::No);
    }

    #[test]
    fn an_allow_needs_to_know_that_it_is_small() {
        assert_eq!(vouched(Compare::UpTo(10), proved(10)), Answer::Yes);
        assert_eq!(vouched(Compare::UpTo(10), likely(10)), Answer::Within(10));
        assert_eq!(vouched(Compare::UpTo(10), UNKNOWN), Answer::No);
        assert_eq!(vouched(Compare::Above(10), UNKNOWN), Answer::No);
    }
}
