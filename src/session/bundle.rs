//! A statement of an approved bundle spends its part of the approval, and waits for nobody.
//!
//! Only the next statement of the bundle is covered: exactly its text, alone in its message and without parameters, sent
//! by that principal under the role and search path of the request, while every definition that the bundle names is as
//! the request saw it or as its own statements left it. Everything else is asked about as ever.

use super::Session;
use super::clear::{Cleared, Form, sentence};
use super::hold::{Stored, stored};
use super::relay::End;
use super::run::Run;
use crate::analysis::{bundle_basis, bundle_digest};
use crate::approvals::{Hold, HoldEnd, HoldState, ReleaseError, Spend};
use crate::ids::HoldId;
use crate::lineage::Event;
use crate::policy::Verdict;
use crate::report::Report;
use crate::sqlstate;

impl Session {
    /// Spends a bundle's approval on a run that would be held. `None`: no bundle covers it.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn spend_bundle(&mut self, run: &mut Box<Run>, form: &Form) -> Result<Option<Cleared>, End> {
        let Some((bundle, digest)) = self.bundle_of(run, form).await? else { return Ok(None) };
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
        Self::mark(run, &bundle.id);
        let Some(record) = self.scribe.record(run, run.deciding(), Event::Released) else { return Ok(None) };
        self.scribe.opening(&record);
        let spend = Spend { digest, basis: self.basis(&bundle), record };
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
        self.announce_spent(&bundle);
        let cleared = self.let_go(run, &bundle.id).await?;
        // A Bind is answered before its statement runs.
        self.rebinds = matches!(cleared, Cleared::Go) && *form == Form::Query;
        Ok(Some(cleared))
    }

    async fn bundle_of(&mut self, run: &Run, form: &Form) -> Result<Option<(Hold, String)>, End> {
        let single = run.facts.statements.len() == 1 && run.parts.len() == 1;
        let bare = match form {
            Form::Query => true,
            Form::Bind(values) | Form::Execute(values) => has_no_values(values),
            Form::Binds(_) | Form::Call(_) => false,
        };
        if !single || !bare || self.settings.names.is_none() {
            return Ok(None);
        }
        let digest = bundle_digest(&run.text);
        let (approvals, wanted) = (self.services.approvals.clone(), digest.clone());
        let (principal, database) = (self.who.principal.name.clone(), self.who.database.clone());
        let found = self.wait_for(async move { approvals.covering(&principal, &database, &wanted).await }).await?;
        match found {
            Ok(found) => Ok(found.map(|bundle| (bundle, digest))),
            Err(error) => {
                tracing::error!(%error, "bundles cannot be looked up");
                Ok(None)
            }
        }
    }

    fn basis(&self, bundle: &Hold) -> String {
        match (&self.snapshot, &self.settings.names) {
            (Some(snapshot), Some(names)) => {
                bundle_basis(&snapshot.catalog, &bundle.statement, &names.search_path, &names.role)
            }
            // Nothing is known of what the names mean: that is no basis of any bundle.
            _ => String::new(),
        }
    }

    fn announce_spent(&mut self, bundle: &Hold) {
        let steps = bundle.bundle.iter().flat_map(|bundle| &bundle.steps);
        let place = bundle.bundle.as_ref().and_then(crate::approvals::Bundle::next).map_or(0, |place| place + 1);
        let report = Report::new(
            sqlstate::HOLD_PENDING,
            format!("statement {place} of {} of bundle {} is approved", steps.count(), bundle.id),
        );
        crate::wire::build::report(&mut self.client.output, crate::wire::build::Severity::Notice, &report);
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

/// Whether a Bind carries no value. What cannot be read carries some.
fn has_no_values(rest: &[u8]) -> bool {
    rest.is_empty() || crate::wire::frontend::bind_values(rest).is_ok_and(|values| values.is_empty())
}

fn drifted(id: &HoldId) -> Report {
    Report::new(sqlstate::HOLD_LAPSED, format!("bundle {id} is void"))
        .detail(sentence("something that it names was changed, and not by its own statements: nothing was executed"))
        .hint("Ask for the rest of the migration again.")
}
