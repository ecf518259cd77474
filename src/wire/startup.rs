//! The first packets of a connection, which carry no tag.

use super::reader::Reader;

/// The longest first packet that Postgres reads (`MAX_STARTUP_PACKET_LENGTH`).
pub const STARTUP_MAX: usize = 10_000;

const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSSENC: u32 = 80_877_104;

/// What a client opens with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Startup {
    /// `SSLRequest`.
    Ssl,
    /// `GSSENCRequest`.
    GssEnc,
    /// `CancelRequest`.
    Cancel {
        /// The backend's process id.
        pid: u32,
        /// The secret key: 4 bytes in protocol 3.0, up to 256 in 3.2.
        key: Vec<u8>,
    },
    /// `StartupMessage`.
    Session(Parameters),
}

/// The parameters of a `StartupMessage`, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The protocol's minor version.
    pub minor: u16,
    /// Names and values.
    pub pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Parameters {
    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.pairs.iter().find(|(key, _)| key == name.as_bytes()).map(|(_, value)| value.as_slice())
    }

    /// The value of a parameter as text; bytes that are not UTF-8 are replaced, for display and look-up only.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// A first packet that cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// A length below 8 or over the bound.
    #[error("invalid length of startup packet")]
    Length,
    /// A body that is not of its form.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    /// Another major version.
    #[error("unsupported frontend protocol {0}.{1}: server supports 3.0 to 3.2")]
    Version(u16, u16),
    /// A parameter that stands twice: the server would take the last, a reader the first.
    #[error("startup packet repeats a parameter")]
    Duplicate,
    /// Nobody, or an empty name.
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
}

/// Bytes of the whole packet, from its first four.
///
/// # Errors
/// A length that no first packet has. Garbage (such as an HTTP request) is found here.
pub fn packet_len(head: [u8; 4]) -> Result<usize, StartupError> {
    let length = usize::try_from(i32::from_be_bytes(head)).map_err(|_| StartupError::Length)?;
    if (8..=STARTUP_MAX).contains(&length) { Ok(length) } else { Err(StartupError::Length) }
}

/// Reads a whole first packet without its length word.
///
/// # Errors
/// A form, version or repetition that cannot be served.
pub fn read(body: &[u8]) -> Result<Startup, StartupError> {
    let mut reader = Reader::new(body);
    let code = reader.u32().map_err(|_| StartupError::Layout)?;
    match code {
        SSL | GSSENC if !reader.rest().is_empty() => Err(StartupError::Layout),
        SSL => Ok(Startup::Ssl),
        GSSENC => Ok(Startup::GssEnc),
        CANCEL => {
            let pid = reader.u32().map_err(|_| StartupError::Layout)?;
            let key = reader.rest().to_vec();
            if (4..=256).contains(&key.len()) { Ok(Startup::Cancel { pid, key }) } else { Err(StartupError::Layout) }
        }
        version => parameters(version, reader).map(Startup::Session),
    }
}

fn parameters(version: u32, mut reader: Reader<'_>) -> Result<Parameters, StartupError> {
    let [major_high, major_low, minor_high, minor_low] = version.to_be_bytes();
    let major = u16::from_be_bytes([major_high, major_low]);
    let minor = u16::from_be_bytes([minor_high, minor_low]);
    if major != 3 {
        return Err(StartupError::Version(major, minor));
    }
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    loop {
        let name = reader.cstr().map_err(|_| StartupError::Layout)?;
        if name.is_empty() {
            break;
        }
        let value = reader.cstr().map_err(|_| StartupError::Layout)?;
        if pairs.iter().any(|(known, _)| known == name) {
            return Err(StartupError::Duplicate);
        }
        pairs.push((name.to_vec(), value.to_vec()));
    }
    reader.end().map_err(|_| StartupError::Layout)?;
    if !pairs.iter().any(|(name, value)| name == b"user" && !value.is_empty()) {
        return Err(StartupError::NoUser);
    }
    Ok(Parameters { minor, pairs })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        for (name, value) in pairs {
            body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
        }
        body.push(0);
        body
    }

    #[test]
    fn parameters_keep_their_order_and_bytes() {
        let Ok(Startup::Session(parameters)) = read(&session(&[("user", "agent"), ("options", "-c x=1")])) else {
            panic!("a session")
        };
        assert_eq!(parameters.get("options"), Some(&b"-c x=1"[..]));
        assert_eq!(parameters.pairs.len(), 2);
    }

    #[test]
    fn a_parameter_that_stands_twice_is_refused() {
        assert_eq!(read(&session(&[("user", "agent"), ("user", "postgres")])), Err(StartupError::Duplicate));
    }

    #[test]
    fn bytes_behind_the_terminator_are_refused() {
        let mut body = session(&[("user", "agent")]);
        body.push(b'x');
        assert_eq!(read(&body), Err(StartupError::Layout));
    }

    #[test]
    fn an_http_request_is_no_startup_packet() {
        assert_eq!(packet_len(*b"GET "), Err(StartupError::Length));
    }

    #[test]
    fn a_cancel_key_may_be_long() {
        let mut body = CANCEL.to_be_bytes().to_vec();
        body.extend(7_u32.to_be_bytes());
        body.extend([9; 32]);
        assert_eq!(read(&body), Ok(Startup::Cancel { pid: 7, key: vec![9; 32] }));
        assert_eq!(read(&CANCEL.to_be_bytes()), Err(StartupError::Layout));
    }
}
