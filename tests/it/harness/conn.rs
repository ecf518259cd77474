//! A raw connection: bytes out, frames in.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::DEADLINE;

/// One frame from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub tag: char,
    pub body: Vec<u8>,
}

impl Frame {
    /// A field of an error or notice.
    pub fn field(&self, code: u8) -> String {
        let mut rest = &self.body[..];
        while let Some((found, tail)) = rest.split_first() {
            let end = tail.iter().position(|byte| *byte == 0).unwrap_or(tail.len());
            if *found == code {
                return String::from_utf8_lossy(&tail[..end]).into_owned();
            }
            rest = tail.get(end + 1..).unwrap_or_default();
        }
        String::new()
    }
}

/// A raw client.
pub struct Conn {
    stream: TcpStream,
    /// What a cancel shows: process id and secret.
    key: Vec<u8>,
}

impl Conn {
    pub fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, key: Vec::new() }
    }

    /// Opens a session as the superuser, up to its first `ReadyForQuery`.
    pub fn session(address: &str, database: &str) -> Self {
        let mut conn = Self::open(address);
        conn.send(&startup(&[("user", "postgres"), ("database", database)]));
        let frames = conn.until('Z');
        let key = frames.iter().find(|frame| frame.tag == 'K').unwrap_or_else(|| panic!("{frames:?}"));
        conn.key.clone_from(&key.body);
        conn
    }

    /// Asks over a connection of its own to cancel what this one waits for.
    pub fn cancel(&self, address: &str) {
        let length = u32::try_from(8 + self.key.len()).unwrap().to_be_bytes();
        let code = 80_877_102_u32.to_be_bytes();
        Self::open(address).send(&[length.as_slice(), &code, &self.key].concat());
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // The peer may have closed already: what it said before is still to be read.
        drop(self.stream.write_all(bytes));
    }

    /// One byte that is no frame.
    pub fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).ok()?;
        Some(byte[0])
    }

    /// The next frame; `None` at the end of the stream.
    pub fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).ok()?;
        let length = usize::try_from(u32::from_be_bytes([head[1], head[2], head[3], head[4]])).unwrap() - 4;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).ok()?;
        Some(Frame { tag: char::from(head[0]), body })
    }

    /// All frames up to one with this tag, or to the end.
    pub fn until(&mut self, tag: char) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.frame() {
            let last = frame.tag == tag;
            frames.push(frame);
            if last {
                break;
            }
        }
        frames
    }

    /// The tags of all frames up to a `ReadyForQuery`, notices and parameters left out; its status behind them.
    pub fn tags(&mut self) -> String {
        let frames = self.until('Z');
        let mut tags: String =
            frames.iter().map(|frame| frame.tag).filter(|tag| !matches!(tag, 'N' | 'S' | 'A')).collect();
        if let Some(last) = frames.last().filter(|frame| frame.tag == 'Z') {
            tags.push(char::from(last.body[0]));
        }
        tags
    }

    /// What is left to read is nothing: the peer has closed.
    pub fn is_closed(&mut self) -> bool {
        while let Some(_frame) = self.frame() {}
        true
    }
}

/// A frame with a tag.
pub fn frame(tag: char, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(tag).unwrap()];
    bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    body.push(0);
    let mut bytes = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
    bytes.extend(body);
    bytes
}

pub fn query(sql: &str) -> Vec<u8> {
    frame('Q', &[sql.as_bytes(), b"\0"].concat())
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    frame('P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"].concat())
}

pub fn bind(portal: &str, statement: &str) -> Vec<u8> {
    frame('B', &[portal.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\0\0\0\0\0"].concat())
}

pub fn execute(portal: &str, rows_max: u32) -> Vec<u8> {
    frame('E', &[portal.as_bytes(), b"\0", &rows_max.to_be_bytes()].concat())
}

pub fn describe_portal(portal: &str) -> Vec<u8> {
    frame('D', &[b"P", portal.as_bytes(), b"\0"].concat())
}

pub fn sync() -> Vec<u8> {
    frame('S', b"")
}

pub fn flush() -> Vec<u8> {
    frame('H', b"")
}
