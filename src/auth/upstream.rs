//! The proxy logs in at an upstream for a principal that has proved itself, with a credential of its own.

use std::fmt;

use bytes::{BufMut, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::io::AsyncWriteExt;

use super::login::{LoggedIn, LoginFailed, greeted, read_frame};
use super::scram::{PLAIN, PLUS};
use crate::net::Stream;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::backend::Fields;
use crate::wire::build;
use crate::wire::frame::HEADER_LEN;
use crate::wire::startup::Parameters;

/// Parameters that ask for something of the protocol itself: answered by us, since the upstream comes later.
const PROTOCOL_OPTION: &[u8] = b"_pq_.";
/// The newest minor version of the protocol that is spoken with clients.
pub const MINOR_MAX: u16 = 2;

/// A role at the upstream and its password there.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The role that Postgres sees.
    pub role: String,
    /// `None` where the upstream asks for none: a certificate or peer names the role.
    pub password: Option<String>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("role", &self.role).finish_non_exhaustive()
    }
}

/// Answers what a client's start-up packet asks of the protocol beyond 3.2, as the server would (chapter "Message Flow",
/// `NegotiateProtocolVersion`).
pub fn negotiate(out: &mut BytesMut, parameters: &Parameters) {
    let unknown: Vec<&[u8]> =
        parameters.pairs.iter().map(|(name, _)| &name[..]).filter(|name| name.starts_with(PROTOCOL_OPTION)).collect();
    if parameters.minor > MINOR_MAX || !unknown.is_empty() {
        build::negotiate_version(out, parameters.minor.min(MINOR_MAX), &unknown);
    }
}

/// The start-up packet for the upstream: the client's own, under the role, in the database that the client meant.
#[must_use]
pub fn startup(parameters: &Parameters, role: &str, database: &str) -> BytesMut {
    let mut pairs = vec![(b"user".to_vec(), role.as_bytes().to_vec()), (b"database".to_vec(), database.into())];
    let kept = |name: &[u8]| name != b"user" && name != b"database" && !name.starts_with(PROTOCOL_OPTION);
    pairs.extend(parameters.pairs.iter().filter(|(name, _)| kept(name)).cloned());
    let mut out = BytesMut::new();
    build::startup(&mut out, &Parameters { minor: parameters.minor.min(MINOR_MAX), pairs });
    out
}

/// Logs in, up to the server's first `ReadyForQuery`. What the server says of the session (too many connections, no such
/// database, no `CONNECT` privilege) reaches the client as it is; that it does not take our credential does not.
///
/// # Errors
/// The log-in is over, or is refused.
pub async fn log_in(
    client: &mut Stream,
    server: &mut Stream,
    startup: &[u8],
    credential: &Credential,
) -> Result<LoggedIn, LoginFailed> {
    server.write_all(startup).await?;
    server.flush().await?;
    let mut input = BytesMut::new();
    let mut notices = BytesMut::new();
    let mut half = Half { credential, binding: server.binding(), scram: Scram::Unasked };
    loop {
        let (header, frame) = read_frame(server, &mut input).await?;
        let body = frame.get(HEADER_LEN..).unwrap_or_default();
        match header.tag {
            b'R' => {
                let (code, rest) = body.split_first_chunk::<4>().ok_or(LoginFailed::Over)?;
                if i32::from_be_bytes(*code) == 0 {
                    half.check()?;
                    notices.extend_from_slice(&frame);
                    return greeted(client, server, input, notices).await;
                }
                let reply = half.answer(i32::from_be_bytes(*code), rest)?;
                server.write_all(&reply).await?;
                server.flush().await?;
            }
            b'E' => return Err(refused(client, &frame, body).await),
            // The upstream's own idea of the protocol; the client has been told ours.
            b'v' => {}
            _ => notices.extend_from_slice(&frame),
        }
    }
}

/// Our half of an exchange with the upstream.
struct Half<'a> {
    credential: &'a Credential,
    /// What SCRAM can bind to.
    binding: Option<Vec<u8>>,
    scram: Scram,
}

/// How far SCRAM has come.
enum Scram {
    Unasked,
    Running(Box<ScramSha256>),
    /// The server has proved that it knows the password too.
    Proved,
}

impl Half<'_> {
    /// What an authentication request is answered with.
    fn answer(&mut self, code: i32, rest: &[u8]) -> Result<BytesMut, LoginFailed> {
        let mut out = BytesMut::new();
        match (code, &mut self.scram) {
            (3, _) => {
                let password = self.password()?;
                build::frame(&mut out, b'p', |out| build::put_cstr(out, password.as_bytes()));
            }
            (5, _) => {
                let salt = *rest.first_chunk::<4>().ok_or(LoginFailed::Over)?;
                let hash = md5_hash(self.credential.role.as_bytes(), self.password()?.as_bytes(), salt);
                build::frame(&mut out, b'p', |out| build::put_cstr(out, hash.as_bytes()));
            }
            (10, Scram::Unasked) => self.begin(&mut out, rest)?,
            (11, Scram::Running(exchange)) => {
                exchange.update(rest).map_err(|_| fault("its SCRAM answer is malformed"))?;
                build::frame(&mut out, b'p', |out| out.put_slice(exchange.message()));
            }
            (12, Scram::Running(exchange)) => {
                exchange.finish(rest).map_err(|_| fault("it does not know the password itself"))?;
                self.scram = Scram::Proved;
            }
            _ => return Err(fault("it asks for a log-in that the proxy does not have")),
        }
        Ok(out)
    }

    fn begin(&mut self, out: &mut BytesMut, rest: &[u8]) -> Result<(), LoginFailed> {
        let offers = |name: &str| rest.split(|byte| *byte == 0).any(|offered| offered == name.as_bytes());
        let (mechanism, binding) = match (&self.binding, offers(PLUS)) {
            (Some(hash), true) => (PLUS, ChannelBinding::tls_server_end_point(hash.clone())),
            (Some(_), false) => (PLAIN, ChannelBinding::unrequested()),
            (None, _) => (PLAIN, ChannelBinding::unsupported()),
        };
        if !offers(mechanism) {
            return Err(fault("it offers no SCRAM-SHA-256"));
        }
        let exchange = ScramSha256::new(self.password()?.as_bytes(), binding);
        let first = exchange.message();
        build::frame(out, b'p', |out| {
            build::put_cstr(out, mechanism.as_bytes());
            out.put_i32(i32::try_from(first.len()).unwrap_or(i32::MAX));
            out.put_slice(first);
        });
        self.scram = Scram::Running(Box::new(exchange));
        Ok(())
    }

    /// A server that lets us in must have ended what it began: without its proof it could be anybody.
    fn check(&self) -> Result<(), LoginFailed> {
        match self.scram {
            Scram::Unasked | Scram::Proved => Ok(()),
            Scram::Running(_) => Err(fault("it does not prove that it knows the password")),
        }
    }

    fn password(&self) -> Result<&str, LoginFailed> {
        self.credential.password.as_deref().ok_or_else(|| fault("it asks for a password, and none is configured"))
    }
}

/// The server's word, or ours where it is about our credential, which is none of the client's business.
async fn refused(client: &mut Stream, frame: &[u8], body: &[u8]) -> LoginFailed {
    let fields = Fields::new(body);
    let state = fields.sqlstate();
    if state.starts_with("28") {
        let said = fields.field(b'M').map(String::from_utf8_lossy).unwrap_or_default();
        tracing::error!(error = %said, "the upstream refused the credential of a principal");
        return fault("it refused the principal's credential there");
    }
    let passed = async {
        client.write_all(frame).await?;
        client.flush().await
    };
    // A client that is gone cannot be told.
    drop(passed.await);
    LoginFailed::Over
}

fn fault(why: &str) -> LoginFailed {
    let report = Report::new(sqlstate::UNABLE_TO_CONNECT, format!("the proxy cannot log in at the upstream: {why}"));
    LoginFailed::Refused(
        report.hint("This is not about your own credential: an operator has to look at the principal's."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(minor: u16, pairs: &[(&str, &str)]) -> Parameters {
        let pairs = pairs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
        Parameters { minor, pairs }
    }

    #[test]
    fn protocol_options_and_versions_beyond_3_2_are_answered() {
        let answered = |minor, pairs: &[(&str, &str)]| {
            let mut out = BytesMut::new();
            negotiate(&mut out, &parameters(minor, pairs));
            out
        };
        assert!(answered(0, &[("user", "a")]).is_empty());
        assert!(answered(2, &[("user", "a")]).is_empty());
        assert_eq!(&answered(9999, &[])[..], b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0");
        assert_eq!(&answered(0, &[("_pq_.x", "1")])[..], b"v\0\0\0\x13\0\x03\0\0\0\0\0\x01_pq_.x\0");
    }

    #[test]
    fn the_upstream_sees_the_role_and_what_the_client_set() {
        let client = parameters(9999, &[("user", "bot"), ("_pq_.x", "1"), ("options", "-c a=1"), ("database", "shop")]);
        let packet = startup(&client, "app", "shop");
        let text = String::from_utf8_lossy(&packet).into_owned();
        assert!(text.contains("user\0app\0database\0shop\0options\0-c a=1\0\0"), "{text:?}");
        assert_eq!(packet.get(4..8), Some(&[0, 3, 0, 2][..]));
    }

    fn half<'a>(credential: &'a Credential, binding: Option<&[u8]>) -> Half<'a> {
        Half { credential, binding: binding.map(<[u8]>::to_vec), scram: Scram::Unasked }
    }

    #[test]
    fn a_log_in_over_tls_is_bound_to_it_where_the_server_can() {
        let credential = Credential { role: "app".into(), password: Some("secret".into()) };
        let first = |binding, offered: &[u8]| half(&credential, binding).answer(10, offered).unwrap();
        let both = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        let begins = |out: &[u8], mechanism: &str, flag: &str| {
            let text = String::from_utf8_lossy(out).into_owned();
            text.contains(&format!("{mechanism}\0")) && text.contains(&format!("{flag},,n="))
        };
        assert!(begins(&first(Some(b"hash"), both), PLUS, "p=tls-server-end-point"));
        assert!(begins(&first(Some(b"hash"), b"SCRAM-SHA-256\0\0"), PLAIN, "y"));
        assert!(begins(&first(None, both), PLAIN, "n"));
        assert!(half(&credential, None).answer(10, b"SCRAM-SHA-256-PLUS\0\0").is_err());
    }

    #[test]
    fn a_server_that_does_not_prove_itself_is_not_believed() {
        let credential = Credential { role: "app".into(), password: Some("secret".into()) };
        let mut half = half(&credential, None);
        assert!(half.check().is_ok());
        half.answer(10, b"SCRAM-SHA-256\0\0").unwrap();
        assert!(half.check().is_err());
        assert!(half.answer(12, b"v=AAAA").is_err());
        let without = Credential { role: "app".into(), password: None };
        assert!(Half { credential: &without, binding: None, scram: Scram::Unasked }.answer(3, &[]).is_err());
        assert_eq!(format!("{credential:?}"), "Credential { role: \"app\", .. }");
    }
}
