//! An exact reader over one message body.

/// A body that is not of its message's form. `reason` is the text that Postgres uses for the same fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    /// The primary message.
    pub reason: &'static str,
}

/// Bytes are left, or missing (`pq_getmsgend`, `pq_copymsgbytes`).
pub const INVALID_FORMAT: Malformed = Malformed { reason: "invalid message format" };
/// A string without its NUL (`pq_getmsgstring`).
pub const INVALID_STRING: Malformed = Malformed { reason: "invalid string in message" };
/// Fewer bytes than the form says (`pq_getmsgbytes`).
pub const TOO_SHORT: Malformed = Malformed { reason: "insufficient data left in message" };

/// Reads the parts of a body one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1).map(|bytes| bytes.first().copied().unwrap_or_default())
    }

    pub fn i16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// A NUL-terminated string, without its NUL.
    pub fn cstr(&mut self) -> Result<&'a [u8], Malformed> {
        let end = self.rest.iter().position(|byte| *byte == 0).ok_or(INVALID_STRING)?;
        let text = self.take(end)?;
        self.take(1)?;
        Ok(text)
    }

    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(TOO_SHORT)?;
        self.rest = rest;
        Ok(head)
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(INVALID_FORMAT) }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(TOO_SHORT)?;
        self.rest = rest;
        Ok(*head)
    }
}
