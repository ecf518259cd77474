//! COPY FROM STDIN, and what a client sends in its middle that is no data.
//!
//! The server ignores Flush and Sync while it reads COPY data, and any other frame ends the connection. Once the COPY has
//! failed, perhaps over data that is still on its way here, they mean what they always mean. What the server made of a
//! frame is found out with frames of ours whose answers tell, and are swallowed.

use std::task::Poll;

use bytes::Bytes;

use super::Session;
use super::names::Prepared;
use super::phase::{Request, Whose};
use super::relay::End;
use crate::ids::Nonce;
use crate::wire::build;

impl Session {
    /// After a COPY FROM STDIN, nothing is read as a message before the server has said what it reads next.
    pub(super) async fn await_copy(&mut self) -> Result<(), End> {
        self.run_until(|session, _| {
            let known = session.phase.copy_in || session.phase.is_quiet() || session.phase.skipping;
            if known { Poll::Ready(()) } else { Poll::Pending }
        })
        .await
    }

    /// The client's frame is no COPY data while the server may read such data, or may have failed over some already. A
    /// Close of nothing is put before it: a COPY that still reads ends with it as it would with the client's frame, and
    /// takes the connection along; otherwise it does nothing, and its answer is swallowed.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn interrupt_copy(&mut self) -> Result<(), End> {
        if self.channel.is_walsender() {
            return self.interrupt_stream().await;
        }
        let before = (self.phase.in_batch, self.phase.executed);
        self.close_nothing();
        self.run_until(|session, _| if session.phase.copy_in { Poll::Pending } else { Poll::Ready(()) }).await?;
        (self.phase.in_batch, self.phase.executed) = before;
        Ok(())
    }

    /// A COPY has failed, and a Sync was sent behind some of its data: if the data failed it, the server has answered that
    /// Sync; if what came later did, the Sync was ignored. A Sync of our own with a Parse behind it is always answered:
    /// one `ReadyForQuery` before the answer to the Parse is ours, those before that one are the client's.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn find_answered_syncs(&mut self) -> Result<(), End> {
        let name: Box<[u8]> = Nonce::new().as_str().as_bytes().into();
        let out = &mut self.server.output;
        build::bare(out, b'S');
        build::parse(out, &name, b"");
        build::close_statement(out, &name);
        build::bare(out, b'S');
        self.phase.forwarded(Request::Sync, Whose::Ours);
        self.phase.forwarded(Request::Parse(name.clone(), Box::new(Prepared::unknown(Bytes::new()))), Whose::Ours);
        self.phase.forwarded(Request::CloseStatement(name), Whose::Ours);
        self.phase.forwarded(Request::Sync, Whose::Ours);
        self.run_until(|session, _| if session.phase.doubts_sync() { Poll::Pending } else { Poll::Ready(()) }).await?;
        self.run_until(|session, _| if session.phase.is_quiet() { Poll::Ready(()) } else { Poll::Pending }).await
    }

    /// Waits until it is known how a COPY ends that has a Sync in its middle.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn await_copy_end(&mut self) -> Result<(), End> {
        if self.phase.copy_in {
            return self.settle().await;
        }
        if self.phase.wants_flush() {
            build::bare(&mut self.server.output, b'H');
            self.phase.flushed();
        }
        let known = |session: &mut Self, _: &mut std::task::Context<'_>| {
            let open = session.phase.has_sync_in_copy() && !session.phase.doubts_sync() && !session.phase.copy_in;
            if open { Poll::Pending } else { Poll::Ready(()) }
        };
        self.run_until(known).await
    }

    fn close_nothing(&mut self) {
        let name: Box<[u8]> = Nonce::new().as_str().as_bytes().into();
        build::close_portal(&mut self.server.output, &name);
        build::bare(&mut self.server.output, b'H');
        self.phase.forwarded(Request::ClosePortal(name), Whose::Ours);
        self.phase.flushed();
    }
}
