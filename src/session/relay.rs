//! The one place of a session that waits for sockets.
//!
//! [`Session::pump`] moves bytes in both directions until a goal is reached. Goals are closures over the session, so
//! that everything else reads as a straight line: "a whole frame is here", "the server is quiet", "this future is done".
//! Every branch is a `poll_*` of its own and loses nothing when the goal ends the round: what was read is in a buffer,
//! what was not written still is.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Session;
use super::registry::Signal;
use crate::net::Stream;

/// One read takes at most this much; idle sessions share it and own no buffer.
const SCRATCH_LEN: usize = 64 * 1024;

/// So many bytes are worth a write of their own; fewer are gathered with what follows.
const DIRECT_MIN: usize = 4 * 1024;

/// Bytes that may wait for a slow peer before the other one is read no more.
const OUTPUT_MAX: usize = 256 * 1024;

/// A buffer that has grown beyond this is given back when it is empty: most statements and their answers are smaller.
const KEEP_MAX: usize = 256;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; SCRATCH_LEN]);
}

/// Why a session ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The client said goodbye or went away.
    Client,
    /// The server closed the connection.
    Server,
    /// We end it; what the client is told was written already.
    Ours,
}

/// One side of a session.
#[derive(Debug)]
pub(super) struct Peer {
    /// `None` once we have let go of it.
    stream: Option<Stream>,
    /// Read and not consumed yet.
    pub(super) input: BytesMut,
    /// To be written.
    pub(super) output: BytesMut,
    /// It sends no more.
    pub(super) eof: bool,
    /// It takes no more: what is written to it is dropped.
    closed: bool,
    /// Written bytes may still be inside the TLS layer.
    unflushed: bool,
}

impl Peer {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream: Some(stream),
            input: BytesMut::new(),
            output: BytesMut::new(),
            eof: false,
            closed: false,
            unflushed: false,
        }
    }

    /// Reads once and says how many bytes; none: the peer sends no more.
    fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(0)) };
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Sends bytes: large ones at once, from where they are, if nothing waits before them. A failure shows at the next write.
    fn send(&mut self, cx: &mut Context<'_>, mut bytes: &[u8]) {
        if self.output.is_empty()
            && bytes.len() >= DIRECT_MIN
            && let Some(stream) = &mut self.stream
            && let Poll::Ready(Ok(count)) = Pin::new(stream).poll_write(cx, bytes)
        {
            bytes = bytes.get(count..).unwrap_or_default();
            self.unflushed = true;
        }
        self.output.extend_from_slice(bytes);
    }

    /// Writes what it can. `Ready(true)`: something went out.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(false)) };
        let mut wrote = false;
        // What was written is no part of the buffer's capacity any more, but of its memory.
        let memory = self.output.capacity();
        while !self.output.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, &self.output) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    self.output.advance(count);
                    self.unflushed = true;
                    wrote = true;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if wrote => return Poll::Ready(Ok(true)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if memory > KEEP_MAX {
            self.output = BytesMut::new();
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(wrote))
    }

    /// Lets go of the connection: nothing more is read or written.
    pub(super) fn abort(&mut self) {
        self.closed = true;
        self.eof = true;
        self.output.clear();
        self.input.clear();
        self.stream = None;
    }

    /// Says that nothing more will be written.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.closed = true;
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx).map(drop),
            None => Poll::Ready(()),
        }
    }
}

/// What a round of the pump ended with.
#[derive(Debug)]
pub(super) enum Pumped<T> {
    /// The goal.
    Reached(T),
    /// A stream stopped at its limit; nothing is read from the server until that is settled.
    Tripped,
}

/// What a round over all directions did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    /// Nothing; all wakers are set.
    Nothing,
    /// Bytes left, and nothing came: all wakers are set, and only a goal that waits for room can have been reached.
    Out,
    /// Something came, or can come now.
    Some,
}

impl Session {
    /// Moves bytes until `goal` is ready. What the goal put into the buffers is on its way before the pump waits.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn pump<T>(
        &mut self,
        mut goal: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Result<Pumped<T>, End> {
        poll_fn(|cx| {
            let mut settled = false;
            loop {
                if self.watch.tripped.is_some() && !self.watch.paused {
                    return Poll::Ready(Ok(Pumped::Tripped));
                }
                if let Poll::Ready(value) = goal(self, cx) {
                    return Poll::Ready(Ok(Pumped::Reached(value)));
                }
                if settled && self.has_written() {
                    return Poll::Pending;
                }
                match self.round(cx)? {
                    Moved::Nothing => return Poll::Pending,
                    Moved::Out => settled = true,
                    Moved::Some => settled = false,
                }
            }
        })
        .await
    }

    /// Like [`Self::pump`], where nothing can trip or what trips is looked at later.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn pump_raw<T>(
        &mut self,
        mut goal: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Result<T, End> {
        poll_fn(|cx| {
            let mut settled = false;
            loop {
                if let Poll::Ready(value) = goal(self, cx) {
                    return Poll::Ready(Ok(value));
                }
                if settled && self.has_written() {
                    return Poll::Pending;
                }
                match self.round(cx)? {
                    Moved::Nothing => return Poll::Pending,
                    Moved::Out => settled = true,
                    Moved::Some => settled = false,
                }
            }
        })
        .await
    }

    /// Like [`Self::pump`], but settles streams that trip on the way.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn run_until<T>(
        &mut self,
        mut goal: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Result<T, End> {
        loop {
            match self.pump(&mut goal).await? {
                Pumped::Reached(value) => return Ok(value),
                // Boxed: rare, and large enough to weigh on every other await.
                Pumped::Tripped => Box::pin(self.settle_trip()).await?,
            }
        }
    }

    /// Moves bytes until a future of ours is done. Streams that trip meanwhile stay paused until the next round.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn wait_for<T>(&mut self, future: impl Future<Output = T>) -> Result<T, End> {
        let mut future = std::pin::pin!(future);
        self.pump_raw(|_, cx| future.as_mut().poll(cx)).await
    }

    /// Everything that the server owes has been answered.
    ///
    /// # Errors
    /// The session is over.
    pub(super) async fn settle(&mut self) -> Result<(), End> {
        loop {
            if self.phase.wants_flush() {
                crate::wire::build::bare(&mut self.server.output, b'H');
                self.phase.flushed();
            }
            let known = |session: &mut Self, _: &mut Context<'_>| {
                let phase = &session.phase;
                if phase.is_quiet() || phase.copy_in || phase.doubts_sync() { Poll::Ready(()) } else { Poll::Pending }
            };
            self.run_until(known).await?;
            if self.phase.is_quiet() {
                return Ok(());
            }
            // Either ends what a COPY leaves open, and comes back here no more.
            if self.phase.doubts_sync() {
                self.find_answered_syncs().await?;
            } else {
                self.interrupt_copy().await?;
            }
        }
    }

    /// One round over all directions.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<Moved, End> {
        let signals = self.registration.signals_now();
        let mut moved = self.heed(signals);
        let mut wrote = self.poll_write_server(cx);
        moved |= self.poll_read_server(cx);
        if !self.keeps_answer() {
            // The server is read again once there is room for what it says.
            let was_full = self.client.output.len() >= OUTPUT_MAX;
            let wrote_client = self.poll_write_client(cx)?;
            moved |= wrote_client && was_full;
            wrote |= wrote_client;
        }
        moved |= self.poll_read_client(cx);
        let over = self.server.eof && self.client.output.is_empty() && !self.watch.is_stopped();
        if over || (self.watch.broken && !self.watch.ended) {
            return Err(End::Server);
        }
        if !moved {
            self.show_doing();
            let signals = self.registration.signals(cx);
            moved = self.heed(signals);
        }
        Ok(match (moved, wrote) {
            (true, _) => Moved::Some,
            (false, true) => Moved::Out,
            (false, false) => Moved::Nothing,
        })
    }

    /// Nothing waits to be written, so that another round would find nothing to do.
    fn has_written(&self) -> bool {
        self.server.output.is_empty() && self.client.output.is_empty()
    }

    /// The client hears of a bundle's statement once what is left of the bundle is bound to what is there then: whatever
    /// changes after the answer voids the rest. Neither a large answer nor the end of the connection is kept back.
    fn keeps_answer(&self) -> bool {
        let is_small = self.client.output.len() < OUTPUT_MAX / 2;
        self.rebinds && is_small && !(self.server.eof || self.client.eof || self.watch.ended || self.watch.broken)
    }

    fn heed(&mut self, signals: Vec<Signal>) -> bool {
        let moved = !signals.is_empty();
        for signal in signals {
            self.on_signal(signal);
        }
        moved
    }

    /// Something was said to the session from outside.
    pub(super) fn on_signal(&mut self, signal: Signal) {
        match signal {
            Signal::Cancel => self.on_cancel(),
            Signal::Kill { by } => self.killed = Some(by),
            Signal::Drain => self.draining = true,
        }
    }

    fn poll_write_server(&mut self, cx: &mut Context<'_>) -> bool {
        if self.server.closed {
            self.server.output.clear();
            return false;
        }
        match self.server.poll_write(cx) {
            Poll::Ready(Ok(wrote)) => wrote,
            Poll::Ready(Err(_)) => {
                // The server is going away; what it said before that is still to be read.
                self.server.closed = true;
                self.server.output.clear();
                true
            }
            Poll::Pending => false,
        }
    }

    fn poll_write_client(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        match self.client.poll_write(cx) {
            Poll::Ready(Ok(wrote)) => Ok(wrote),
            Poll::Ready(Err(_)) => Err(End::Client),
            Poll::Pending => Ok(false),
        }
    }

    fn poll_read_server(&mut self, cx: &mut Context<'_>) -> bool {
        if self.server.eof || self.watch.is_stopped() || self.client.output.len() >= OUTPUT_MAX {
            return false;
        }
        SCRATCH.with_borrow_mut(|scratch| match self.server.poll_read(cx, scratch) {
            Poll::Ready(Ok(length @ 1..)) => {
                self.on_server_read(cx, scratch.get(..length).unwrap_or_default());
                true
            }
            Poll::Ready(_) => {
                self.server.eof = true;
                true
            }
            Poll::Pending => false,
        })
    }

    fn on_server_read(&mut self, cx: &mut Context<'_>, bytes: &[u8]) {
        if self.server.input.is_empty() {
            let handled = self.on_server_bytes(bytes);
            self.client.send(cx, bytes.get(handled.last).unwrap_or_default());
            self.server.input.extend_from_slice(bytes.get(handled.length..).unwrap_or_default());
        } else {
            self.server.input.extend_from_slice(bytes);
            self.on_server_input();
        }
    }

    fn poll_read_client(&mut self, cx: &mut Context<'_>) -> bool {
        let full = self.client.input.len() >= self.client_want.max(SCRATCH_LEN);
        if self.client.eof || full || self.server.output.len() >= OUTPUT_MAX {
            return false;
        }
        SCRATCH.with_borrow_mut(|scratch| match self.client.poll_read(cx, scratch) {
            Poll::Ready(Ok(length @ 1..)) => {
                self.client.input.extend_from_slice(scratch.get(..length).unwrap_or_default());
                true
            }
            Poll::Ready(_) => {
                self.client.eof = true;
                true
            }
            Poll::Pending => false,
        })
    }
}
