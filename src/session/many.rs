//! One prepared statement that a pipeline executes many times over: one hold for all of them that are here.
//!
//! What is approved is the list of values as a whole, in its order. Each execution is judged by itself all the same, has
//! records of its own, and is let go only while everything is as it was approved.

use std::collections::VecDeque;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use ring::digest::{Context, SHA256};

use super::clear::{Cleared, Form};
use super::relay::End;
use super::run::Run;
use super::{Session, action};
use crate::approvals::{Hold, HoldEnd};
use crate::ids::HoldId;
use crate::lineage::Event;
use crate::policy::{Estimate, Verdict};
use crate::wire::frame::{self, HEADER_LEN};
use crate::wire::frontend;

/// How long what belongs together is waited for, before people are.
const GATHERED_WITHIN: Duration = Duration::from_millis(50);

/// The values of several executions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Many {
    /// Of each Bind what it has behind its names, in order; two at least.
    pub(super) values: Vec<Bytes>,
    /// SHA-256 over all of them, each preceded by its length.
    pub(super) digest: [u8; 32],
}

impl Many {
    fn new(values: Vec<Bytes>) -> Self {
        let mut context = Context::new(&SHA256);
        for value in &values {
            context.update(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(value);
        }
        let mut digest = [0; 32];
        digest.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self { values, digest }
    }

    /// What whoever decides should know of it.
    pub(super) fn finding(&self) -> String {
        format!("it runs {} times, once with each set of values, in this order", self.values.len())
    }
}

/// What is left of an approval that covers several executions.
#[derive(Debug)]
pub(super) struct Approved {
    hold: HoldId,
    action_hash: String,
    form: Form,
    left: VecDeque<Bytes>,
    cap: Estimate,
}

/// Executions that stand in the client's input.
#[derive(Debug, Default, PartialEq, Eq)]
struct Following {
    values: Vec<Bytes>,
    /// Something else comes behind them: there will be no more.
    ended: bool,
}

impl Session {
    /// Takes the executions of the same statement that follow in the pipeline to the one that is to be held.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn gather(&mut self, run: &Run, form: Form) -> Result<Form, End> {
        let (Form::Bind(first), Some(statement)) = (&form, &run.statement) else { return Ok(form) };
        let most = self.services.bounds.bind_max.saturating_sub(first.len());
        // Room for all of them.
        self.client_want = self.services.bounds.bind_max;
        let mut late = std::pin::pin!(tokio::time::sleep(GATHERED_WITHIN));
        let found = self
            .pump_raw(|session, cx| {
                let found = following(&session.client.input, statement, most);
                let over = found.ended || session.client.eof || session.must_end() || session.cancel_requested;
                if over || late.as_mut().poll(cx).is_ready() { Poll::Ready(found) } else { Poll::Pending }
            })
            .await;
        self.client_want = 0;
        let found = found?;
        if found.values.is_empty() {
            return Ok(form);
        }
        let values = [first.clone()].into_iter().chain(found.values).collect();
        Ok(Form::Binds(Box::new(Many::new(values))))
    }

    /// An approval was spent on the first of several executions: the others are covered too.
    pub(super) fn cover_the_rest(&mut self, run: &mut Run, hold: &Hold, form: &Form, cap: Estimate) {
        let Form::Binds(many) = form else { return };
        run.more_follow = true;
        self.approved = Some(Approved {
            hold: hold.id.clone(),
            action_hash: hold.action_hash.clone(),
            form: form.clone(),
            left: many.values.iter().skip(1).cloned().collect(),
            cap,
        });
    }

    /// Lets the next of several executions go that were approved together. `None`: it is not covered.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn next_of_many(&mut self, run: &mut Box<Run>, values: &Bytes) -> Result<Option<Cleared>, End> {
        let Some(mut approved) = self.approved.take() else { return Ok(None) };
        let same = approved.left.pop_front().as_ref() == Some(values)
            && run.verdict() == Verdict::Hold
            && action::hash(self, run, &approved.form) == approved.action_hash;
        if !same {
            self.forget_approved(approved);
            return Ok(None);
        }
        Self::mark(run, &approved.hold);
        for part in &mut run.parts {
            part.meter.lift();
        }
        let deciding = run.deciding();
        if let Some(part) = run.parts.get_mut(deciding) {
            part.meter.cap(approved.cap);
        }
        run.more_follow = !approved.left.is_empty();
        if run.more_follow {
            self.approved = Some(approved);
        }
        Ok(Some(self.write_down_as(run, Event::Released).await?))
    }

    /// Whatever is left of an approval is void: its executions were skipped, or are another action by now.
    pub(super) fn end_of_many(&mut self) {
        if let Some(approved) = self.approved.take() {
            self.forget_approved(approved);
        }
    }

    fn forget_approved(&mut self, approved: Approved) {
        self.scribe.ended_holds.push((approved.hold, HoldEnd::Failed));
    }
}

/// Executions of a statement at the beginning of an input: each a Bind and the Execute behind it, with Describes in
/// between. The Execute of the one that is held comes first.
fn following(input: &[u8], statement: &[u8], bytes_max: usize) -> Following {
    let mut found = Following::default();
    let (mut rest, mut bytes, mut bound) = (input, 0, None);
    let mut begun = false;
    loop {
        let Ok(header) = frame::frontend_header(rest) else { return found.ending() };
        let Some(header) = header else { return found };
        let Some(body) = rest.get(HEADER_LEN..header.frame_len()) else { return found };
        match header.tag {
            b'D' => {}
            b'E' => {
                begun = true;
                found.values.extend(bound.take());
            }
            b'B' if begun && bound.is_none() => {
                let Ok((names, values)) = frontend::bind_names(body) else { return found.ending() };
                bytes += values.len();
                if names.statement != statement || bytes > bytes_max {
                    return found.ending();
                }
                bound = Some(Bytes::copy_from_slice(values));
            }
            _ => return found.ending(),
        }
        rest = rest.get(header.frame_len()..).unwrap_or_default();
    }
}

impl Following {
    fn ending(self) -> Self {
        Self { ended: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::wire::build;

    fn frames(of: &[(&str, &str)]) -> BytesMut {
        let mut out = BytesMut::new();
        for (tag, name) in of {
            match *tag {
                "B" => build::bind(&mut out, b"", name.as_bytes()),
                "E" => build::execute(&mut out, b""),
                "D" => build::describe_portal(&mut out, b""),
                _ => build::bare(&mut out, b'S'),
            }
        }
        out
    }

    fn found(of: &[(&str, &str)]) -> (usize, bool) {
        let found = following(&frames(of), b"s", 1000);
        (found.values.len(), found.ended)
    }

    #[test]
    fn executions_of_the_same_statement_are_found_up_to_what_is_none() {
        assert_eq!(found(&[("E", ""), ("B", "s"), ("D", ""), ("E", ""), ("B", "s"), ("E", ""), ("S", "")]), (2, true));
        assert_eq!(found(&[("E", ""), ("B", "s"), ("E", ""), ("B", "other"), ("E", "")]), (1, true));
        assert_eq!(found(&[("E", ""), ("B", "s"), ("E", "")]), (1, false));
        assert_eq!(found(&[("E", ""), ("S", "")]), (0, true));
    }

    #[test]
    fn a_bind_without_its_execute_is_not_one_of_them() {
        assert_eq!(found(&[("E", ""), ("B", "s"), ("S", "")]), (0, true));
        assert_eq!(found(&[("B", "s"), ("E", "")]), (0, true));
        assert_eq!(found(&[("E", ""), ("B", "s"), ("B", "s"), ("E", "")]), (0, true));
    }

    #[test]
    fn no_more_bytes_are_gathered_than_an_operator_is_shown() {
        let input = frames(&[("E", ""), ("B", "s"), ("E", ""), ("B", "s"), ("E", "")]);
        let one = following(&frames(&[("E", ""), ("B", "s"), ("E", "")]), b"s", 1000).values[0].len();
        assert_eq!(following(&input, b"s", one).values.len(), 1);
    }

    #[test]
    fn a_list_of_values_is_another_one_where_they_are_cut_elsewhere() {
        let of = |values: &[&'static [u8]]| Many::new(values.iter().map(|value| Bytes::from_static(value)).collect());
        assert_ne!(of(&[b"ab", b"c"]).digest, of(&[b"a", b"bc"]).digest);
        assert_eq!(of(&[b"ab", b"c"]).digest, of(&[b"ab", b"c"]).digest);
    }
}
