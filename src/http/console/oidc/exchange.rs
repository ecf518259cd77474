//! The conversation with the provider: discovery, the address to lead to, the code for a token.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::{Client, RequestBuilder, Url};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::pending::Pending;
use crate::auth::oidc::{Expectation, Source, TokenError, Verifier};
use crate::clock::Clock;
use crate::net::http_client;

/// How long one request to the provider may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The longest answer that is read, bytes.
const BODY_MAX: usize = 256 * 1024;
/// How far the provider's clock may be from ours.
const SKEW: Duration = Duration::from_secs(60);

/// The provider and who its subjects are.
#[derive(Clone, Debug)]
pub struct OidcOptions {
    /// `iss`, to the letter.
    pub issuer: String,
    /// Who we are there.
    pub client_id: String,
    /// Our secret there; a public client has none.
    pub client_secret: Option<String>,
    /// Where the provider leads back to.
    pub redirect_url: String,
    /// Names of operators by their `sub`.
    pub subjects: HashMap<String, String>,
}

/// Why a sign-in came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It does not answer.
    #[error("the identity provider cannot be reached: {0}")]
    Unreachable(String),
    /// Its documents are not of their form.
    #[error("the identity provider's {0} is not usable")]
    Malformed(&'static str),
    /// It did not give a token for the code.
    #[error("the identity provider refused the code: {0}")]
    Refused(String),
    /// Its token is not to be believed.
    #[error("the ID token: {0}")]
    Token(#[from] TokenError),
    /// The token is of another sign-in.
    #[error("the ID token is of another sign-in")]
    Nonce,
    /// The token is made for another client.
    #[error("the ID token is made for another client")]
    Party,
    /// The answer is of another provider (RFC 9207).
    #[error("the answer is of another provider")]
    Issuer,
}

/// One provider.
pub struct Provider {
    options: OidcOptions,
    client: Client,
    clock: Clock,
    found: OnceCell<Found>,
}

struct Found {
    authorization: Url,
    token: Url,
    /// The secret goes into the body where the provider takes it nowhere else.
    secret_in_body: bool,
    verifier: Verifier,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Provider {
    /// A provider that is looked at when the first person signs in.
    ///
    /// # Errors
    /// The system's trust anchors cannot be read.
    pub fn new(options: OidcOptions, clock: Clock) -> Result<Self, ProviderError> {
        let builder = http_client().timeout(ANSWER_MAX).redirect(reqwest::redirect::Policy::none());
        let client = builder.build().map_err(|error| ProviderError::Unreachable(error.to_string()))?;
        Ok(Self { options, client, clock, found: OnceCell::new() })
    }

    pub(super) fn issuer(&self) -> &str {
        &self.options.issuer
    }

    /// The operator of a subject.
    pub(super) fn operator(&self, subject: &str) -> Option<&str> {
        self.options.subjects.get(subject).map(String::as_str)
    }

    /// Where the browser is sent.
    pub(super) async fn address(&self, pending: &Pending) -> Result<String, ProviderError> {
        let mut url = self.found().await?.authorization.clone();
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, pending.verifier.as_bytes()));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.options.client_id)
            .append_pair("redirect_uri", &self.options.redirect_url)
            .append_pair("scope", "openid")
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url.into())
    }

    /// Who has signed in: the `sub` of a token that was checked.
    pub(super) async fn subject(
        &self,
        pending: &Pending,
        code: &str,
        issuer: Option<&str>,
    ) -> Result<String, ProviderError> {
        if issuer.is_some_and(|issuer| issuer != self.options.issuer) {
            return Err(ProviderError::Issuer);
        }
        let found = self.found().await?;
        let token = self.token(found, pending, code).await?;
        let claims = found.verifier.verify(&token, self.clock.now()).await?;
        if claims.text("nonce") != Some(&pending.nonce) {
            return Err(ProviderError::Nonce);
        }
        let party = claims.text("azp");
        let shared = claims.list("aud").len() > 1;
        if party.map_or(shared, |party| party != self.options.client_id) {
            return Err(ProviderError::Party);
        }
        Ok(claims.text("sub").ok_or(TokenError::Claim("sub"))?.to_owned())
    }

    async fn token(&self, found: &Found, pending: &Pending, code: &str) -> Result<String, ProviderError> {
        let id = &self.options.client_id;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.options.redirect_url),
            ("code_verifier", &pending.verifier),
        ];
        let mut request = self.client.post(found.token.clone());
        match &self.options.client_secret {
            None => form.push(("client_id", id)),
            Some(secret) if found.secret_in_body => {
                form.extend([("client_id", id.as_str()), ("client_secret", secret)]);
            }
            Some(secret) => request = request.header("authorization", basic(id, secret)),
        }
        let (status, body) = answer(request.form(&form)).await?;
        if !status.is_success() {
            let refusal = serde_json::from_slice::<Refusal>(&body).map(|refusal| refusal.error);
            return Err(ProviderError::Refused(refusal.unwrap_or_else(|_| status.to_string())));
        }
        let tokens: Tokens = serde_json::from_slice(&body).map_err(|_| ProviderError::Malformed("token answer"))?;
        Ok(tokens.id_token)
    }

    /// What the provider says of itself; asked again while it has not answered.
    async fn found(&self) -> Result<&Found, ProviderError> {
        self.found.get_or_try_init(|| self.discover()).await
    }

    async fn discover(&self) -> Result<Found, ProviderError> {
        let issuer = self.options.issuer.trim_end_matches('/');
        let url = address(&format!("{issuer}/.well-known/openid-configuration"), "issuer")?;
        let (status, body) = answer(self.client.get(url)).await?;
        if !status.is_success() {
            return Err(ProviderError::Unreachable(format!("its configuration answered {status}")));
        }
        let metadata: Metadata =
            serde_json::from_slice(&body).map_err(|_| ProviderError::Malformed("configuration"))?;
        if metadata.issuer != self.options.issuer {
            return Err(ProviderError::Issuer);
        }
        let expectation = Expectation {
            issuer: metadata.issuer,
            audiences: vec![self.options.client_id.clone()],
            algorithms: Vec::new(),
            skew: SKEW,
        };
        let source = Source::url(&metadata.jwks_uri, None).map_err(TokenError::Keys)?;
        let methods = metadata.token_endpoint_auth_methods_supported;
        let takes = |method: &str| methods.iter().any(|one| one == method);
        Ok(Found {
            authorization: address(&metadata.authorization_endpoint, "authorization_endpoint")?,
            token: address(&metadata.token_endpoint, "token_endpoint")?,
            secret_in_body: takes("client_secret_post") && !takes("client_secret_basic"),
            verifier: Verifier::new(expectation, source),
        })
    }
}

/// An address over https, or over http on this machine.
fn address(text: &str, what: &'static str) -> Result<Url, ProviderError> {
    let url = Url::parse(text).map_err(|_| ProviderError::Malformed(what))?;
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if url.scheme() == "https" || (url.scheme() == "http" && local) {
        Ok(url)
    } else {
        Err(ProviderError::Malformed(what))
    }
}

/// Name and secret as forms are escaped (RFC 6749, section 2.3.1).
fn basic(id: &str, secret: &str) -> String {
    let escape = |text: &str| {
        let mut form = Url::parse("x:").map(|mut url| {
            url.query_pairs_mut().append_key_only(text);
            url.query().unwrap_or_default().to_owned()
        });
        form.as_mut().map(std::mem::take).unwrap_or_default()
    };
    format!("Basic {}", STANDARD.encode(format!("{}:{}", escape(id), escape(secret))))
}

async fn answer(request: RequestBuilder) -> Result<(reqwest::StatusCode, Vec<u8>), ProviderError> {
    let fault = |error: reqwest::Error| ProviderError::Unreachable(error.without_url().to_string());
    let mut response = request.header("accept", "application/json").send().await.map_err(fault)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(fault)? {
        if body.len() + chunk.len() > BODY_MAX {
            return Err(ProviderError::Malformed("answer (it is too long)"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((response.status(), body))
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
