//! One request to a receiver, and what its answer means.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

use super::{SinkError, SinkOptions};
use crate::net::http_client;

/// A receiver may ask for a longer pause than ours, up to this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The receiver has it.
    Taken,
    /// It does not want this, and will not want it later.
    Refused(String),
    /// Not now; the receiver may have said when.
    Down(String, Option<Duration>),
}

/// A receiver.
#[derive(Debug)]
pub(super) struct Receiver {
    client: Client,
    options: SinkOptions,
}

impl Receiver {
    pub(super) fn new(options: &SinkOptions) -> Result<Self, SinkError> {
        let client = http_client()
            .timeout(options.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| SinkError::Client(options.name.clone(), error))?;
        Ok(Self { client, options: options.clone() })
    }

    /// Posts events: one as itself, several as an array.
    pub(super) async fn post(&self, events: &[&Value]) -> Answer {
        let body = match events {
            [only] if self.options.batch_max == 1 => serde_json::to_vec(only),
            all => serde_json::to_vec(all),
        };
        // A value of string keys always has a text.
        let mut request = self.client.post(&self.options.url).header(CONTENT_TYPE, "application/json");
        if let Some(path) = &self.options.token_file {
            match std::fs::read_to_string(path) {
                Ok(text) => request = request.bearer_auth(text.lines().next().unwrap_or_default().trim()),
                Err(error) => return Answer::Down(format!("{}: {error}", path.display()), None),
            }
        }
        match request.body(body.unwrap_or_default()).send().await {
            Ok(response) => understand(&response),
            // Without the address: it may carry a credential.
            Err(error) => Answer::Down(root_cause(&error.without_url()), None),
        }
    }
}

fn understand(response: &Response) -> Answer {
    let status = response.status();
    let why = || format!("the receiver answered {status}");
    match status {
        _ if status.is_success() => Answer::Taken,
        // The request is at fault, not the moment.
        StatusCode::BAD_REQUEST
        | StatusCode::CONFLICT
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY
        | StatusCode::UNSUPPORTED_MEDIA_TYPE => Answer::Refused(why()),
        // A wrong address or token, a receiver that is overloaded or broken: all of that can be repaired.
        _ => {
            let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Answer::Down(why(), after.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)))
        }
    }
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
