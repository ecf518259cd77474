//! A statement of an approved bundle spends its part of the approval, and waits for nobody.
//!
//! Only the next statement of the bundle is covered, or a message of exactly the next ones: their texts, without parameters,
//! sent by that principal under the role of the request and the search path that it and the statements before it make,
//! while every definition that the bundle names is as the request saw it or as its own statements left it. Everything else
//! is asked about as ever.

use std::ops::Range;

use super::Session;
use super::action;
use super::clear::{Cleared, Form, sentence};
use super::hold::{Stored, stored};
use super::relay::End;
use super::run::Run;
use crate::analysis::{Encoding, Replay, bundle_basis, bundle_digest};
use crate::approvals::{BundleStep, Hold, HoldEnd, HoldState, ReleaseError, Spend, StepState};
use crate::ids::HoldId;
use crate::lineage::Event;
use crate::policy::Verdict;
use crate::report::Report;
use crate::sqlstate;

/// Why the rest of a bundle is void after its statements were rolled back.
pub(super) const ROLLED_BACK: &str = "the transaction of its earlier statements was rolled back";

impl Session {
    /// Spends a bundle's approval on a run that would be held. `None`: no bundle covers it.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn spend_bundle(&mut self, run: &mut Box<Run>, form: &Form) -> Result<Option<Cleared>, End> {
        if !(self.released.is_empty() && self.spent_here.is_empty() && self.undone.is_empty()) {
            // What an earlier statement of a pipeline spent, ended or took back decides about this one.
            self.settle().await?;
            Box::pin(self.do_chores()).await?;
        }
        let Some(Covered { bundle, digests, .. }) = self.bundle_of(run, form).await? else { return Ok(None) };
        self.settle().await?;
        if self.phase.skipping {
            return Ok(Some(Cleared::Skipped));
        }
        self.look_again().await?;
        if let Some(report) = self.judge_again(run, &bundle).await? {
            self.void(&bundle.id, "judged anew, it became stricter").await?;
            return Ok(Some(Cleared::Refused(report)));
        }
        if run.verdict() != Verdict::Hold {
            return Ok(None);
        }
        // What was under way before it is answered now, and can have changed the search path.
        let Some(Covered { bundle, places, digests }) = self.covered(run, bundle, digests) else { return Ok(None) };
        Self::mark(run, &bundle.id);
        let Some(record) = self.scribe.record(run, run.deciding(), Event::Released) else { return Ok(None) };
        self.scribe.opening(&record);
        let spend = Spend { digests, basis: self.basis(&bundle), record };
        let (approvals, id) = (self.services.approvals.clone(), bundle.id.clone());
        match self.wait_for(async move { approvals.spend(&id, spend).await }).await? {
            Ok(_) => {}
            Err(ReleaseError::Changed(_)) => return Ok(Some(Cleared::Refused(drifted(&bundle.id)))),
            // Another connection of the principal was faster: this one asks as ever.
            Err(_) => {
                Self::unmark(run);
                return Ok(None);
            }
        }
        self.spent_here.push(bundle.id.clone());
        self.announce_spent(&bundle, &places);
        let meters: Vec<_> = run.parts.iter().map(|part| part.meter).collect();
        let cleared = self.let_go(run, &bundle.id).await?;
        for (part, meter) in run.parts.iter_mut().zip(meters) {
            if part.decision.verdict == Verdict::Allow {
                // A person decided about those that are held; a rule's limits on the others stand.
                part.meter = meter;
            }
        }
        // A Bind is answered before its statement runs.
        self.rebinds = matches!(cleared, Cleared::Go) && *form == Form::Query;
        Ok(Some(cleared))
    }

    async fn bundle_of(&mut self, run: &Run, form: &Form) -> Result<Option<Covered>, End> {
        let Some(first) = run.parts.iter().position(|part| part.decision.verdict == Verdict::Hold) else {
            return Ok(None);
        };
        // The text means what it meant for whoever approved it.
        let settings = &self.settings;
        let as_asked = settings.standard_conforming_strings && settings.encoding == Encoding::Safe;
        let known = as_asked && settings.names.is_some() && action::values(form).is_none();
        let Some(digests) = digests(run).filter(|_| known) else { return Ok(None) };
        // What comes before the first that is held needs no approval; the store knows which one is next.
        let wanted = digests.get(first).cloned().unwrap_or_default();
        let approvals = self.services.approvals.clone();
        let (principal, database) = (self.who.principal.name.clone(), self.who.database.clone());
        let found = self.wait_for(async move { approvals.covering(&principal, &database, &wanted).await }).await?;
        match found {
            Ok(found) => Ok(found.and_then(|bundle| self.covered(run, bundle, digests))),
            Err(error) => {
                tracing::error!(%error, "bundles cannot be looked up");
                Ok(None)
            }
        }
    }

    /// Whether the message is what comes next of that bundle: each statement in its place, under the search path that the
    /// first one had when it was asked for, and none held that the bundle takes for allowed.
    fn covered(&self, run: &Run, bundle: Hold, digests: Vec<String>) -> Option<Covered> {
        let parts = bundle.bundle.as_ref()?;
        let places = parts.covered(&digests)?;
        let same_path = self.settings.names.as_ref()?.search_path == parts.path_of(places.start);
        let asked = same_path && self.asks_for_no_more(run, parts.steps.get(places.clone())?);
        asked.then_some(Covered { bundle, places, digests })
    }

    /// Whether nothing is held that the bundle takes for allowed. What a statement makes is in no catalog yet for those
    /// behind it in the same message: then they are judged as the bundle was, each with what those before it make.
    fn asks_for_no_more(&self, run: &Run, steps: &[BundleStep]) -> bool {
        let fits = |verdict: Verdict, step: &BundleStep| match verdict {
            Verdict::Allow => true,
            Verdict::Hold => step.state == StepState::Waiting,
            Verdict::Deny => false,
        };
        if run.parts.iter().zip(steps).all(|(part, step)| fits(part.decision.verdict, step)) {
            return true;
        }
        let Some((snapshot, names)) = self.snapshot.as_ref().zip(self.settings.names.as_ref()) else { return false };
        let policy = self.services.policy.load();
        let (catalog, rules) = ((*snapshot.catalog).clone(), policy.tag_rules().clone());
        let mut replay = Replay::new(catalog, rules, names.search_path.clone(), names.role.clone());
        let Ok(facts) = replay.run(&run.text) else { return false };
        facts.statements.len() == steps.len()
            && facts
                .statements
                .iter()
                .zip(steps)
                .all(|(facts, step)| fits(policy.evaluate(&self.request(facts)).verdict, step))
    }

    fn basis(&self, bundle: &Hold) -> String {
        match (&self.snapshot, &self.settings.names) {
            (Some(snapshot), Some(names)) => {
                let path = bundle.bundle.as_ref().map_or([].as_slice(), |bundle| &bundle.search_path);
                bundle_basis(&snapshot.catalog, &bundle.statement, path, &names.role)
            }
            // Nothing is known of what the names mean: that is no basis of any bundle.
            _ => String::new(),
        }
    }

    fn announce_spent(&mut self, bundle: &Hold, places: &Range<usize>) {
        let steps = bundle.bundle.iter().flat_map(|bundle| &bundle.steps).count();
        let (first, last) = (places.start.saturating_add(1), places.end);
        let which = if first == last {
            format!("statement {first} of {steps} of bundle {} is approved", bundle.id)
        } else {
            format!("statements {first} to {last} of {steps} of bundle {} are approved", bundle.id)
        };
        let report = Report::new(sqlstate::HOLD_PENDING, which);
        crate::wire::build::report(&mut self.client.output, crate::wire::build::Severity::Notice, &report);
    }

    /// A statement of a bundle has failed, and with it the bundle: whoever sends the rest of it should not wonder. In the
    /// middle of an answer there is no place for it.
    fn announce_end(&mut self, hold: &Hold) {
        let Some(bundle) = hold.bundle.as_ref().filter(|_| hold.state == HoldState::Failed) else { return };
        if !self.phase.is_quiet() || self.watch.body_left > 0 {
            return;
        }
        let in_state = |state: StepState| bundle.steps.iter().filter(move |step| step.state == state).count();
        let text = format!("bundle {} has ended: {} of its statements failed", hold.id, in_state(StepState::Failed));
        let report = Report::new(sqlstate::HOLD_LAPSED, text)
            .detail(format!("{} were not run and are approved no more.", in_state(StepState::NotRun)))
            .hint("Ask for what is left as a new bundle. Sent by itself, each statement is asked about alone.");
        crate::wire::build::report(&mut self.client.output, crate::wire::build::Severity::Notice, &report);
    }

    /// What a ROLLBACK took back, to a savepoint or wholly, is approved no more, and what was to follow it neither. The
    /// client hears of it once that is stored.
    pub(super) fn note_rolled_back(&mut self, tag: &[u8]) {
        if tag == b"ROLLBACK\0" && !self.spent_here.is_empty() {
            self.undone.append(&mut self.spent_here);
            self.rebinds = true;
        }
    }

    /// Tells the store how a released statement ended; what is left of a bundle is bound to what is there now.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn finish(&mut self, id: &HoldId, end: HoldEnd) -> Result<(), End> {
        self.released.retain(|released| released != id);
        let (approvals, wanted) = (self.services.approvals.clone(), id.clone());
        let finished = self.wait_for(async move { approvals.finish(&wanted, end).await }).await?;
        let bundle = match finished {
            Ok(bundle) => bundle,
            failed => {
                if let Stored::No(_) = stored(id, "its end", failed) {
                    // Tried once more when the session ends; the next start of the store finds what is left as unknown.
                    self.unfinished.push((id.clone(), end));
                }
                return Ok(());
            }
        };
        self.announce_end(&bundle);
        if bundle.bundle.is_none() || bundle.state != HoldState::Approved {
            return Ok(());
        }
        self.refresh().await?;
        let basis = self.basis(&bundle);
        let (approvals, id) = (self.services.approvals.clone(), id.clone());
        if let Err(error) = self.wait_for(async move { approvals.rebase(&id, basis).await }).await? {
            tracing::warn!(%error, hold = %bundle.id, "the rest of a bundle is bound to what was before its last statement");
        }
        Ok(())
    }
}

/// A message and the part of a bundle that it is.
struct Covered {
    bundle: Hold,
    places: Range<usize>,
    digests: Vec<String>,
}

/// The digest of each statement; `None` where the text is not cut into its statements.
fn digests(run: &Run) -> Option<Vec<String>> {
    let statements = &run.facts.statements;
    if statements.len() != run.parts.len() {
        return None;
    }
    match statements.as_slice() {
        [_] => Some(vec![bundle_digest(&run.text)]),
        many => many.iter().map(|facts| run.text.get(facts.span.clone()).map(bundle_digest)).collect(),
    }
}

fn drifted(id: &HoldId) -> Report {
    Report::new(sqlstate::HOLD_LAPSED, format!("bundle {id} is void"))
        .detail(sentence("something that it names was changed, and not by its own statements: nothing was executed"))
        .hint("Ask for the rest of the migration again.")
}
