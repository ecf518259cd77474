//! Frames: a tag, a length that counts itself, and exactly that many bytes.

/// Bytes before a body: the tag and the length.
pub const HEADER_LEN: usize = 5;

/// The longest frame that Postgres takes where a message carries a client's own data (`PQ_LARGE_MESSAGE_LIMIT`).
pub const LARGE_MAX: usize = 0x3fff_fffe;

/// The longest frame of all other messages (`PQ_SMALL_MESSAGE_LIMIT`).
pub const SMALL_MAX: usize = 10_000;

/// The first five bytes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What message it is.
    pub tag: u8,
    /// Bytes of body that follow.
    pub body_len: usize,
}

impl Header {
    /// Bytes of the whole frame.
    #[must_use]
    pub const fn frame_len(self) -> usize {
        HEADER_LEN + self.body_len
    }
}

/// One whole frame, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What message it is.
    pub tag: u8,
    /// The bytes after the header.
    pub body: &'a [u8],
}

/// A header that no peer of ours may send. Nothing after it can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A tag that a client does not send.
    #[error("invalid frontend message type {0}")]
    UnknownTag(u8),
    /// A length below 4, or over what the message may have.
    #[error("invalid message length")]
    Length,
}

/// Reads the header of a frame that a client sent, as `SocketBackend` does. `None`: fewer than five bytes are here.
///
/// # Errors
/// A tag that a client may not send, or a length that the message cannot have.
pub fn frontend_header(input: &[u8]) -> Result<Option<Header>, FrameError> {
    let Some(tag) = input.first().copied() else { return Ok(None) };
    let body_max = match tag {
        b'Q' | b'P' | b'B' | b'F' | b'd' => LARGE_MAX,
        b'E' | b'D' | b'C' | b'H' | b'S' | b'X' | b'c' | b'f' => SMALL_MAX,
        other => return Err(FrameError::UnknownTag(other)),
    };
    header_within(input, body_max)
}

/// Reads the header of a log-in answer (`p`), the only message that a client may send before it is authenticated.
///
/// # Errors
/// Another tag, or a length over `PG_MAX_AUTH_TOKEN_LENGTH` (65,535).
pub fn password_header(input: &[u8]) -> Result<Option<Header>, FrameError> {
    match input.first() {
        None => Ok(None),
        Some(b'p') => header_within(input, 65_535),
        Some(other) => Err(FrameError::UnknownTag(*other)),
    }
}

/// Reads the header of a frame that a server sent. Any tag: what is not known is passed on.
///
/// # Errors
/// A length below 4 or over 1 GiB.
pub fn backend_header(input: &[u8]) -> Result<Option<Header>, FrameError> {
    header_within(input, LARGE_MAX)
}

fn header_within(input: &[u8], body_max: usize) -> Result<Option<Header>, FrameError> {
    let Some(head) = input.first_chunk::<HEADER_LEN>() else { return Ok(None) };
    let [tag, a, b, c, d] = *head;
    let length = usize::try_from(i32::from_be_bytes([a, b, c, d])).map_err(|_| FrameError::Length)?;
    let body_len = length.checked_sub(4).ok_or(FrameError::Length)?;
    if body_len > body_max {
        return Err(FrameError::Length);
    }
    Ok(Some(Header { tag, body_len }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_waits_for_its_fifth_byte() {
        assert_eq!(frontend_header(b"Q\0\0\0"), Ok(None));
        assert_eq!(frontend_header(b"Q\0\0\0\x05"), Ok(Some(Header { tag: b'Q', body_len: 1 })));
    }

    #[test]
    fn an_unknown_tag_is_refused_at_its_first_byte() {
        assert_eq!(frontend_header(b"z"), Err(FrameError::UnknownTag(b'z')));
        assert_eq!(password_header(b"Q"), Err(FrameError::UnknownTag(b'Q')));
    }

    #[test]
    fn a_length_below_four_is_refused() {
        for length in [[0, 0, 0, 3], [0xff, 0xff, 0xff, 0xff], [0x80, 0, 0, 0]] {
            let mut bytes = vec![b'Q'];
            bytes.extend(length);
            assert_eq!(frontend_header(&bytes), Err(FrameError::Length));
        }
    }

    #[test]
    fn a_small_message_over_its_bound_is_refused_before_its_body_is_read() {
        let mut bytes = vec![b'S'];
        bytes.extend(20_000_i32.to_be_bytes());
        assert_eq!(frontend_header(&bytes), Err(FrameError::Length));
    }
}
