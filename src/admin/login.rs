//! Who comes in: an operator with a token, proved by SCRAM-SHA-256.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::client::{AdminError, Client};
use crate::approvals::{Method, Operator};
use crate::auth::scram::{Exchange, PLAIN as MECHANISM, ScramError, Verifier};
use crate::control::Control;
use crate::ids::{NAME, random_bytes};
use crate::report::Report;
use crate::sqlstate;
use crate::telemetry;
use crate::wire::build;
use crate::wire::startup::Parameters;

/// As Postgres's `authentication_timeout`.
const LOGIN_MAX: Duration = Duration::from_mins(1);
/// The oldest server whose clients all know what is sent here.
const SERVER_VERSION: &str = "15.0";

const SASL: i32 = 10;
const SASL_CONTINUE: i32 = 11;
const SASL_FINAL: i32 = 12;
const OK: i32 = 0;

/// Lets an operator in, up to the first `ReadyForQuery`.
pub(super) async fn login<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut Client<S>,
    parameters: &Parameters,
    control: &Control,
) -> Result<Operator, AdminError> {
    let operator = match tokio::time::timeout(LOGIN_MAX, prove(client, parameters, control)).await {
        Ok(proved) => proved?,
        Err(_) => return Err(AdminError::Refused("the log-in took too long")),
    };
    if let Err(error) = control.signed_in(&operator, Method::Psql).await {
        let report = Report::new(sqlstate::IO_ERROR, error.to_string());
        return Err(client.end(&report, AdminError::Refused("the sign-in could not be recorded")).await);
    }
    greet(&mut client.out, &operator, parameters);
    client.flush().await?;
    Ok(operator)
}

async fn prove<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut Client<S>,
    parameters: &Parameters,
    control: &Control,
) -> Result<Operator, AdminError> {
    let user = parameters.text("user").unwrap_or_default();
    let Some((operator, verifier)) = control.operators().scram(&user) else {
        telemetry::sign_in_failed(Method::Psql.as_str());
        let report = Report::new(sqlstate::INVALID_AUTHORIZATION, format!("this role is no operator of {NAME}"))
            .hint(format!("Database {NAME} is for operators: connect with an operator's name and token."));
        return Err(client.end(&report, AdminError::Refused("no such operator")).await);
    };
    match exchange(client, verifier).await? {
        Ok(()) => Ok(operator),
        Err(ScramError::Wrong) => {
            telemetry::sign_in_failed(Method::Psql.as_str());
            let report = Report::new(sqlstate::INVALID_PASSWORD, "the token of this operator is another one");
            Err(client.end(&report, AdminError::Refused("wrong token")).await)
        }
        Err(ScramError::Malformed | ScramError::Binding) => {
            let report = Report::new(sqlstate::PROTOCOL_VIOLATION, "malformed SCRAM message");
            Err(client.end(&report, AdminError::Protocol("malformed SCRAM message")).await)
        }
    }
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut Client<S>,
    verifier: Verifier,
) -> Result<Result<(), ScramError>, AdminError> {
    build::authentication(&mut client.out, SASL, format!("{MECHANISM}\0\0").as_bytes());
    client.flush().await?;
    let first = client.password().await?;
    let Some(first) = initial(first.body) else { return Ok(Err(ScramError::Malformed)) };
    let (exchange, answer) = match Exchange::begin(MECHANISM, &first, verifier, None) {
        Ok(begun) => begun,
        Err(error) => return Ok(Err(error)),
    };
    build::authentication(&mut client.out, SASL_CONTINUE, answer.as_bytes());
    client.flush().await?;
    let last = client.password().await?;
    Ok(exchange.finish(&last.body).map(|answer| {
        build::authentication(&mut client.out, SASL_FINAL, answer.as_bytes());
    }))
}

/// A `SASLInitialResponse`: the mechanism, a length, and exactly as many bytes.
fn initial(mut body: BytesMut) -> Option<BytesMut> {
    let end = body.iter().position(|byte| *byte == 0)?;
    let mechanism = body.split_to(end);
    body.advance(1);
    let length = body.try_get_i32().ok()?;
    let whole = usize::try_from(length).is_ok_and(|length| length == body.len());
    (mechanism == MECHANISM.as_bytes() && whole).then_some(body)
}

fn greet(out: &mut BytesMut, operator: &Operator, parameters: &Parameters) {
    build::authentication(out, OK, &[]);
    let version = format!("{SERVER_VERSION} ({NAME} {})", env!("CARGO_PKG_VERSION"));
    let application = parameters.text("application_name").unwrap_or_default();
    for (name, value) in [
        ("server_version", version.as_str()),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("application_name", application.as_str()),
        ("is_superuser", "off"),
        ("session_authorization", operator.name.as_str()),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
    ] {
        build::parameter_status(out, name, value);
    }
    // Nothing here can be cancelled: the key is one that nobody keeps.
    build::key_data(out, std::process::id(), &random_bytes(4));
    build::ready(out, b'I');
}
