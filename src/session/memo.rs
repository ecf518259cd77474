//! Decisions that a session has met before: the same facts under the same policy are decided alike.

use std::sync::Arc;

use super::ring::Ring;
use crate::analysis::Facts;
use crate::policy::{Decision, Policy};

/// The last few decisions.
#[derive(Debug, Default)]
pub(super) struct Memo {
    entries: Ring<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Held, so that no other facts can come to the same address.
    facts: Arc<Facts>,
    policy: Arc<Policy>,
    /// What the agent says it is doing: rules may look at that.
    intent: Option<String>,
    decisions: Vec<Arc<Decision>>,
}

impl Memo {
    /// What was decided of these facts under this policy.
    pub(super) fn get(
        &self,
        facts: &Arc<Facts>,
        policy: &Arc<Policy>,
        intent: Option<&str>,
    ) -> Option<&[Arc<Decision>]> {
        let known = |entry: &Entry| {
            Arc::ptr_eq(&entry.facts, facts) && Arc::ptr_eq(&entry.policy, policy) && entry.intent.as_deref() == intent
        };
        self.entries.find(known).map(|entry| entry.decisions.as_slice())
    }

    /// Remembers decisions that hang on nothing but these facts, this policy and who the session belongs to: not on the
    /// time, nor on an estimate.
    pub(super) fn keep(
        &mut self,
        facts: &Arc<Facts>,
        policy: &Arc<Policy>,
        intent: Option<&str>,
        decisions: &[Arc<Decision>],
    ) {
        if policy.reads_the_clock() || decisions.iter().any(|decision| decision.wants_estimate) {
            return;
        }
        let entry = Entry {
            facts: facts.clone(),
            policy: policy.clone(),
            intent: intent.map(ToOwned::to_owned),
            decisions: decisions.to_vec(),
        };
        self.entries.keep(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Source;

    fn policy(text: &str) -> Arc<Policy> {
        let source = Source { path: "test.yaml".into(), text: text.into() };
        Arc::new(Policy::load(&[source]).unwrap_or_else(|findings| panic!("{findings:#?}")))
    }

    const PLAIN: &str = "version: 1\nrules:\n  - { name: all, match: { kind: read }, effect: allow }\n";

    #[test]
    fn a_decision_is_remembered_for_its_facts_its_policy_and_its_intent_alone() {
        let plain = policy(PLAIN);
        let (facts, others) = (Arc::new(Facts::default()), Arc::new(Facts::default()));
        let mut memo = Memo::default();
        memo.keep(&facts, &plain, None, &[]);
        assert!(memo.get(&facts, &plain, None).is_some());
        assert!(memo.get(&facts, &plain, Some("backfill")).is_none());
        assert!(memo.get(&others, &plain, None).is_none());
        assert!(memo.get(&facts, &policy(PLAIN), None).is_none());
    }

    #[test]
    fn what_hangs_on_the_time_is_decided_each_time() {
        let timed = policy(
            "version: 1\nrules:\n  - { name: night, match: { kind: read, time: \"22:00-06:00\" }, effect: deny }\n",
        );
        let facts = Arc::new(Facts::default());
        let mut memo = Memo::default();
        memo.keep(&facts, &timed, None, &[]);
        assert!(memo.get(&facts, &timed, None).is_none());
    }
}
