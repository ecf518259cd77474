//! A principal proves itself to us: SCRAM over a verifier, or a provider's token as the password.

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWriteExt;

use super::login::{LoginFailed, read_answer};
use super::scram::{Exchange, PLAIN, PLUS, ScramError, Verifier};
use crate::net::Stream;
use crate::report::Report;
use crate::sqlstate;
use crate::wire::build;
use crate::wire::frame::HEADER_LEN;

const CLEARTEXT: i32 = 3;
const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;

/// Whether a verifier is somebody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// A principal's.
    Principals,
    /// Nobody's: the exchange goes its way and fails.
    Nobodys,
}

/// One SCRAM exchange, up to `AuthenticationSASLFinal`. PLUS is offered where the channel can be bound to.
pub(super) async fn scram(
    client: &mut Stream,
    user: &str,
    (verifier, whose): (Verifier, Whose),
    out: &mut BytesMut,
) -> Result<(), LoginFailed> {
    let binding = client.binding();
    let mechanisms = if binding.is_some() { format!("{PLUS}\0{PLAIN}\0\0") } else { format!("{PLAIN}\0\0") };
    build::authentication(out, SASL, mechanisms.as_bytes());
    send(client, out).await?;
    let first = read_answer(client).await?;
    let (mechanism, message) = initial(&first).ok_or_else(|| malformed(ScramError::Malformed))?;
    let begun = Exchange::begin(mechanism, message, verifier, binding.as_deref());
    let (exchange, answer) = begun.map_err(malformed)?;
    build::authentication(out, SASL_CONTINUE, answer.as_bytes());
    send(client, out).await?;
    let last = read_answer(client).await?;
    match (exchange.finish(last.get(HEADER_LEN..).unwrap_or_default()), whose) {
        (Ok(answer), Whose::Principals) => {
            build::authentication(out, SASL_FINAL, answer.as_bytes());
            Ok(())
        }
        (Err(error @ (ScramError::Malformed | ScramError::Binding)), _) => Err(malformed(error)),
        (Err(ScramError::Wrong), _) | (Ok(_), Whose::Nobodys) => Err(wrong_password(user)),
    }
}

/// A `SASLInitialResponse`: a mechanism that is known, a length, and exactly as many bytes.
fn initial(frame: &[u8]) -> Option<(&'static str, &[u8])> {
    let mut body = frame.get(HEADER_LEN..)?;
    let end = body.iter().position(|byte| *byte == 0)?;
    let (name, _) = body.split_at_checked(end)?;
    let mechanism = [PLAIN, PLUS].into_iter().find(|known| known.as_bytes() == name)?;
    body.advance(end + 1);
    let length = body.try_get_i32().ok()?;
    (usize::try_from(length).ok()? == body.len()).then_some((mechanism, body))
}

/// Asks for a password in clear: its one text.
pub(super) async fn cleartext(client: &mut Stream, out: &mut BytesMut) -> Result<String, LoginFailed> {
    build::authentication(out, CLEARTEXT, &[]);
    send(client, out).await?;
    let frame = read_answer(client).await?;
    let text = frame.get(HEADER_LEN..).and_then(|body| body.strip_suffix(&[0])).filter(|body| !body.contains(&0));
    let text = text.ok_or_else(|| LoginFailed::protocol("invalid password packet size"))?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

async fn send(client: &mut Stream, out: &mut BytesMut) -> Result<(), LoginFailed> {
    client.write_all(out).await?;
    out.clear();
    Ok(())
}

pub(super) fn wrong_password(user: &str) -> LoginFailed {
    let text = format!("password authentication failed for user \"{user}\"");
    LoginFailed::Refused(Report::new(sqlstate::INVALID_PASSWORD, text))
}

fn malformed(error: ScramError) -> LoginFailed {
    match error {
        ScramError::Binding => LoginFailed::Refused(
            Report::new(sqlstate::INVALID_AUTHORIZATION, "SCRAM channel binding check failed")
                .detail("The client is bound to another TLS connection than this one, or was told that there is no binding.")
                .hint("Somebody between the client and here may be ending TLS."),
        ),
        ScramError::Malformed | ScramError::Wrong => LoginFailed::protocol("malformed SCRAM message"),
    }
}
