//! Refusals that Postgres raises for us.
//!
//! A frame that must not run is replaced by one of the same kind that is certain to fail: a text that is a syntax error,
//! a portal that cannot exist, a function OID that nobody has. So transaction status, savepoints, skip-to-Sync and
//! implicit rollback are Postgres's own. The nonce in it is how its error is known again; any other error passes.

use bytes::BytesMut;

use super::run::Run;
use crate::ids::Nonce;
use crate::lineage::Outcome;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::backend::Fields;
use crate::wire::build;

/// `InvalidOid`: nothing ever has it.
const NO_FUNCTION: u32 = 0;

/// Which frame stands for the refused one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Instead {
    /// A Query.
    Query,
    /// A Query on a replication connection, where there may be no SQL.
    Command,
    /// A Parse under the client's own statement name.
    Parse(Box<[u8]>),
    /// An Execute, for a Bind or an Execute.
    Execute,
    /// A `FunctionCall`.
    Call,
}

/// One refusal on its way through the server.
#[derive(Debug)]
pub(super) struct Refusal {
    nonce: Nonce,
    instead: Instead,
    report: Report,
    /// What was refused, to be closed in the log.
    pub(super) run: Option<Box<Run>>,
    /// It is answered with a `ReadyForQuery` of its own.
    pub(super) ends_batch: bool,
}

impl Refusal {
    pub(super) fn new(instead: Instead, report: Report, run: Option<Box<Run>>) -> Self {
        let ends_batch = matches!(instead, Instead::Query | Instead::Command | Instead::Call);
        Self { nonce: Nonce::new(), instead, report, run, ends_batch }
    }

    /// Appends the frame that is sent in place of the refused one.
    pub(super) fn write(&self, out: &mut BytesMut) {
        let nonce = self.nonce.as_str().as_bytes();
        match &self.instead {
            Instead::Query => build::query(out, nonce),
            // Nothing has such a name.
            Instead::Command => build::query(out, &[b"SHOW \"", nonce, b"\""].concat()),
            Instead::Parse(name) => build::parse(out, name, nonce),
            Instead::Execute => build::execute(out, nonce),
            Instead::Call => build::function_call(out, NO_FUNCTION),
        }
    }

    /// The error that the client gets, if this server error is the one that the refusal raised.
    pub(super) fn rewrite(&self, error: &Fields<'_>) -> Option<&Report> {
        let message = error.field(b'M')?;
        let token = match self.instead {
            Instead::Call => format!("OID {NO_FUNCTION} "),
            _ => self.nonce.as_str().to_owned(),
        };
        contains(message, token.as_bytes()).then_some(&self.report)
    }

    /// How the refused run ended: said no to, not decided in time, or given up by the client.
    pub(super) fn outcome(&self) -> Outcome {
        match self.report.sqlstate {
            sqlstate::QUERY_CANCELED | sqlstate::HOLD_PENDING => Outcome::Withdrawn,
            sqlstate::HOLD_LAPSED => Outcome::Expired,
            _ => Outcome::Refused,
        }
    }

    /// Its SQLSTATE, for the record.
    pub(super) fn sqlstate(&self) -> &str {
        self.report.sqlstate.as_str()
    }
}

fn contains(text: &[u8], token: &[u8]) -> bool {
    text.windows(token.len()).any(|window| window == token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(instead: Instead) -> Refusal {
        Refusal::new(instead, Report::new(sqlstate::INSUFFICIENT_PRIVILEGE, "no"), None)
    }

    #[test]
    fn an_error_without_the_nonce_passes_unchanged() {
        let refusal = refusal(Instead::Query);
        assert_eq!(refusal.rewrite(&Fields::new(b"C42601\0Msyntax error at or near \"x\"\0\0")), None);
    }

    #[test]
    fn an_error_with_the_nonce_is_ours() {
        let refusal = refusal(Instead::Execute);
        let body = format!("C34000\0Mportal \"{}\" does not exist\0\0", refusal.nonce.as_str());
        assert_eq!(refusal.rewrite(&Fields::new(body.as_bytes())), Some(&refusal.report));
    }

    #[test]
    fn a_refused_query_is_one_query_frame() {
        let mut out = BytesMut::new();
        refusal(Instead::Query).write(&mut out);
        assert_eq!(out[0], b'Q');
        assert_eq!(out.len(), 5 + 36);
    }
}
