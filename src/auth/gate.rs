//! Who comes in: the way in of each client, and what proves that it may take it.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use ring::hmac;
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::certificate;
use super::login::LoginFailed;
use super::oidc::{TokenError, Verifier as Tokens};
use super::principals::{ClaimNames, Directory, Known};
use super::prove::{self, Whose, wrong_password};
use super::queue::{Place, Queue};
use super::rules::{self, Asker, ClientRule, Method};
use super::scram::Verifier;
use super::throttle::Throttle;
use super::upstream::{self, Credential};
use crate::backend::connect::Upstream;
use crate::clock::{self, Timestamp};
use crate::net::Stream;
use crate::principal::Principal;
use crate::report::Report;
use crate::sqlstate;
use crate::telemetry;
use crate::wire::startup::Parameters;

/// What is known of clients; a reload makes another one.
#[derive(Clone, Default)]
pub struct Identity {
    /// Principals.
    pub directory: Directory,
    /// Who may come from where; empty: principals as they can, everybody else by relay.
    pub rules: Vec<ClientRule>,
    /// Whose tokens are taken, and which of their claims say who it is.
    pub provider: Option<(Tokens, ClaimNames)>,
}

/// Bounds of what waits outside.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Connections that have not proved anything.
    pub queue: Queue,
    /// Sessions at once.
    pub sessions_max: usize,
    /// Failures in a row after which an address waits.
    pub failures_max: u32,
}

/// The gate. One for a server.
pub struct Gate {
    identity: ArcSwap<Identity>,
    /// Makes up verifiers of those who do not exist.
    secret: hmac::Key,
    queue: Queue,
    seats: Arc<Semaphore>,
    throttle: Throttle,
}

/// One client at the gate.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// Where it is.
    pub address: SocketAddr,
    /// Its start-up packet.
    pub parameters: &'a Parameters,
    /// The name that it logs in with.
    pub user: &'a str,
    /// The database that it means.
    pub database: &'a str,
}

/// How a client goes on.
#[derive(Debug)]
pub enum Admission {
    /// It proves itself to the upstream; if it does, this is who it is.
    Relayed(Principal),
    /// It has proved itself to us.
    Proved(Box<Proved>),
}

/// A principal that has proved itself.
#[derive(Debug)]
pub struct Proved {
    /// Who it is.
    pub principal: Principal,
    /// As whom the proxy logs in for it.
    pub credential: Credential,
    /// Its own way to the upstream, if it has one.
    pub upstream: Option<Upstream>,
}

impl Gate {
    /// A gate; the secret must be the same after a restart, or strangers could tell who exists.
    #[must_use]
    pub fn new(identity: Identity, secret: &[u8], bounds: &Bounds) -> Self {
        Self {
            identity: ArcSwap::from_pointee(identity),
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret),
            queue: bounds.queue.clone(),
            seats: Arc::new(Semaphore::new(bounds.sessions_max)),
            throttle: Throttle::new(bounds.failures_max),
        }
    }

    /// A place for a connection that has proved nothing yet.
    #[must_use]
    pub fn enter(&self, address: SocketAddr) -> Place {
        self.queue.enter(address.ip())
    }

    /// A seat for a session; `None` where all are taken.
    #[must_use]
    pub fn seat(&self) -> Option<OwnedSemaphorePermit> {
        self.seats.clone().try_acquire_owned().ok()
    }

    /// From now on these are known. Sessions that are in stay in.
    pub fn replace(&self, identity: Identity) {
        self.identity.store(Arc::new(identity));
    }

    /// Whether an address may try; if not, what it is told.
    ///
    /// # Errors
    /// It has failed too often.
    pub fn check(&self, address: SocketAddr) -> Result<(), LoginFailed> {
        let Some(wait) = self.throttle.wait(address.ip(), clock::monotonic()) else { return Ok(()) };
        let report = Report::new(sqlstate::INVALID_AUTHORIZATION, "too many failed log-ins from this address");
        Err(LoginFailed::Refused(report.hint(format!("Try again in {} seconds.", wait.as_secs().max(1)))))
    }

    /// Counts a log-in that failed because of its credential.
    pub fn failed(&self, address: SocketAddr, method: &str) {
        telemetry::sign_in_failed(method);
        self.guessed(address);
    }

    /// The same where somebody else counts it too.
    pub fn guessed(&self, address: SocketAddr) {
        self.throttle.failed(address.ip(), clock::monotonic());
    }

    /// Finds a client's way in, and lets it prove itself where that is to us. No upstream has been spoken to when this
    /// returns.
    ///
    /// # Errors
    /// It may not come in, or did not prove itself.
    pub async fn admit(
        &self,
        client: &mut Stream,
        caller: &Caller<'_>,
        now: Timestamp,
    ) -> Result<Admission, LoginFailed> {
        self.check(caller.address)?;
        let identity = self.identity.load_full();
        let known = identity.directory.named(caller.user);
        let way = match identity.way(known, client, caller)? {
            Method::Relay => return Ok(Admission::Relayed(identity.directory.relayed(caller.user))),
            Method::Reject => return Err(rejected(caller)),
            other => other,
        };
        let mut out = BytesMut::new();
        upstream::negotiate(&mut out, caller.parameters);
        let (known, principal) = match way {
            Method::Cert => by_certificate(client, known, caller)?,
            Method::Oidc => identity.by_token(client, (known, &mut out), caller, now).await?,
            Method::Scram | Method::Relay | Method::Reject => {
                let verifier = self.verifier(&identity.directory, known, caller.user);
                prove::scram(client, caller.user, verifier, &mut out).await?;
                known
                    .map(|known| (known.clone(), known.principal.clone()))
                    .ok_or_else(|| wrong_password(caller.user))?
            }
        };
        client.write_all(&out).await?;
        client.flush().await?;
        Ok(Admission::Proved(Box::new(Proved {
            credential: Credential { role: principal.role.clone(), password: known.password.clone() },
            upstream: known.upstream.clone(),
            principal,
        })))
    }

    fn verifier(&self, directory: &Directory, known: Option<&Arc<Known>>, user: &str) -> (Verifier, Whose) {
        // Made up for everybody, so that its time is the same for everybody.
        let number = hmac::sign(&self.secret, user.as_bytes())
            .as_ref()
            .first_chunk::<8>()
            .map_or(0, |first| u64::from_be_bytes(*first));
        let mock = Verifier::mock(&self.secret, user, directory.shape(number));
        match known.and_then(|known| known.scram.clone()) {
            Some(verifier) => (verifier, Whose::Principals),
            None => (mock, Whose::Nobodys),
        }
    }
}

impl Identity {
    /// How a client is to prove itself: by the rules, or as its principal can.
    fn way(&self, known: Option<&Arc<Known>>, client: &Stream, caller: &Caller<'_>) -> Result<Method, LoginFailed> {
        if self.rules.is_empty() {
            return Ok(known.map_or(Method::Relay, |known| known.best(client)));
        }
        let asker = Asker {
            address: caller.address.ip(),
            database: caller.database,
            user: caller.user,
            is_tls: client.is_tls(),
        };
        rules::method(&self.rules, &asker).ok_or_else(|| {
            let encryption = if asker.is_tls { "TLS" } else { "no encryption" };
            let text = format!(
                "no client rule for host \"{}\", user \"{}\", database \"{}\", {encryption}",
                asker.address, asker.user, asker.database
            );
            LoginFailed::Refused(Report::new(sqlstate::INVALID_AUTHORIZATION, text))
        })
    }

    async fn by_token(
        &self,
        client: &mut Stream,
        (known, out): (Option<&Arc<Known>>, &mut BytesMut),
        caller: &Caller<'_>,
        now: Timestamp,
    ) -> Result<(Arc<Known>, Principal), LoginFailed> {
        let refused = |text: &str| LoginFailed::Refused(Report::new(sqlstate::INVALID_AUTHORIZATION, text));
        if !client.is_tls() && !caller.address.ip().is_loopback() {
            return Err(refused("a token is taken over TLS only").hint("Connect with sslmode=verify-full."));
        }
        let Some((tokens, names)) = &self.provider else { return Err(refused("no token provider is configured")) };
        let token = prove::cleartext(client, out).await?;
        let claims = match tokens.verify(&token, now).await {
            Ok(claims) => claims,
            Err(error @ TokenError::Keys(_)) => {
                tracing::error!(%error, "no token can be checked");
                return Err(refused("tokens cannot be checked at the moment"));
            }
            Err(error) => {
                let why = if error.is_authentic() {
                    error.to_string()
                } else {
                    "it is not of the configured provider".into()
                };
                return Err(wrong_password(caller.user).detail(format!("The password is taken for a token: {why}.")));
            }
        };
        let entry = known.ok_or_else(|| wrong_password(caller.user))?;
        let principal = entry.by_token(&claims, names).ok_or_else(|| wrong_password(caller.user))?;
        // A token's own name must not be that of somebody else whom policies know.
        if principal.name != entry.principal.name && self.directory.is_taken(&principal.name) {
            return Err(wrong_password(caller.user));
        }
        Ok((entry.clone(), principal))
    }
}

impl Known {
    /// The strongest way that this client can take.
    fn best(&self, client: &Stream) -> Method {
        match (&self.scram, self.token.is_empty()) {
            _ if self.is_shown_by(client) => Method::Cert,
            (Some(_), _) => Method::Scram,
            (None, false) => Method::Oidc,
            (None, true) => Method::Cert,
        }
    }

    fn is_shown_by(&self, client: &Stream) -> bool {
        let shown = client.client_certificate().map(|certificate| certificate::names(&certificate)).unwrap_or_default();
        shown.iter().any(|name| self.certificates.contains(name))
    }
}

fn by_certificate(
    client: &Stream,
    known: Option<&Arc<Known>>,
    caller: &Caller<'_>,
) -> Result<(Arc<Known>, Principal), LoginFailed> {
    let found = known.filter(|known| known.is_shown_by(client));
    let report = || {
        let text = format!("certificate authentication failed for user \"{}\"", caller.user);
        LoginFailed::Refused(Report::new(sqlstate::INVALID_AUTHORIZATION, text))
    };
    found.map(|known| (known.clone(), known.principal.clone())).ok_or_else(report)
}

fn rejected(caller: &Caller<'_>) -> LoginFailed {
    let text = format!(
        "a client rule rejects host \"{}\", user \"{}\", database \"{}\"",
        caller.address.ip(),
        caller.user,
        caller.database
    );
    LoginFailed::Refused(Report::new(sqlstate::INVALID_AUTHORIZATION, text))
}

impl LoginFailed {
    fn hint(self, text: &str) -> Self {
        match self {
            Self::Refused(report) => Self::Refused(report.hint(text)),
            other => other,
        }
    }

    fn detail(self, text: String) -> Self {
        match self {
            Self::Refused(report) => Self::Refused(report.detail(text)),
            other => other,
        }
    }
}
