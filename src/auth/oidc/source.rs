//! Where a provider's keys come from, and when they are read again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, Url};
use tokio::sync::Mutex;

use super::keys::{KeySet, KeysError, SET_MAX};
use crate::clock;
use crate::net::http_client;

/// Keys that are older than this are read again before they are used.
const FRESH: Duration = Duration::from_secs(15 * 60);
/// Where they cannot be read again, they serve for so long; then nobody comes in.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// They are not read again more often than this, whatever key ids strangers make up.
const PAUSE: Duration = Duration::from_secs(10);
/// How long fetching may take.
const FETCH_MAX: Duration = Duration::from_secs(5);

/// The keys of one provider. Clones are one.
#[derive(Clone, Debug)]
pub struct Source(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    place: Place,
    /// Held while keys are read, so that many log-ins cause one fetch.
    cache: Mutex<Cache>,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Url(Client, Url),
}

#[derive(Debug, Default)]
struct Cache {
    keys: Option<(Arc<KeySet>, Instant)>,
    tried: Option<(Instant, Option<KeysError>)>,
}

impl Source {
    /// Keys in a file.
    #[must_use]
    pub fn file(path: PathBuf) -> Self {
        Self::new(Place::File(path))
    }

    /// Keys at an address: https, or http on this machine. `ca` is PEM with authorities that are trusted besides the
    /// system's.
    ///
    /// # Errors
    /// The address or the authorities cannot be used.
    pub fn url(url: &str, ca: Option<&[u8]>) -> Result<Self, KeysError> {
        let fault = |why: &str| KeysError::Fetch(url.to_owned(), why.to_owned());
        let parsed = Url::parse(url).map_err(|_| fault("it is no URL"))?;
        if !(parsed.scheme() == "https" || parsed.scheme() == "http" && is_local(&parsed)) {
            return Err(fault("keys are fetched by https, or by http from this machine"));
        }
        // A redirect could lead to anywhere: the address is the one that was written down.
        let mut builder = http_client().timeout(FETCH_MAX).redirect(reqwest::redirect::Policy::none());
        if let Some(pem) = ca {
            let authorities = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| fault("its CA is no PEM"))?;
            builder = builder.tls_certs_merge(authorities);
        }
        let client = builder.build().map_err(|error| fault(&error.to_string()))?;
        Ok(Self::new(Place::Url(client, parsed)))
    }

    fn new(place: Place) -> Self {
        Self(Arc::new(Inner { place, cache: Mutex::default() }))
    }

    /// The keys, read again where they are old.
    ///
    /// # Errors
    /// There are none, and none can be had.
    pub async fn current(&self) -> Result<Arc<KeySet>, KeysError> {
        let mut cache = self.0.cache.lock().await;
        if !cache.is_younger(FRESH) {
            cache.refresh(&self.0.place).await;
        }
        cache.keys()
    }

    /// The keys after a token named one that is not among `known`: read again, unless that was done just now.
    ///
    /// # Errors
    /// There are none, and none can be had.
    pub async fn again(&self, known: &Arc<KeySet>) -> Result<Arc<KeySet>, KeysError> {
        let mut cache = self.0.cache.lock().await;
        let is_known = cache.keys.as_ref().is_some_and(|(keys, _)| Arc::ptr_eq(keys, known));
        if is_known {
            cache.refresh(&self.0.place).await;
        }
        cache.keys()
    }

    /// Makes the next log-in read them again, as an operator's reload does.
    pub async fn reread(&self) {
        let mut cache = self.0.cache.lock().await;
        cache.tried = None;
        cache.refresh(&self.0.place).await;
    }
}

impl Cache {
    fn is_younger(&self, age: Duration) -> bool {
        self.keys.as_ref().is_some_and(|(_, at)| clock::monotonic().saturating_duration_since(*at) < age)
    }

    fn keys(&self) -> Result<Arc<KeySet>, KeysError> {
        match (&self.keys, &self.tried) {
            (Some((keys, _)), _) if self.is_younger(STALE) => Ok(keys.clone()),
            (_, Some((_, Some(error)))) => Err(error.clone()),
            _ => Err(KeysError::Empty),
        }
    }

    async fn refresh(&mut self, place: &Place) {
        let now = clock::monotonic();
        if self.tried.as_ref().is_some_and(|(at, _)| now.saturating_duration_since(*at) < PAUSE) {
            return;
        }
        let outcome = place.read().await.and_then(|text| KeySet::read(&text));
        let error = match outcome {
            Ok(keys) => {
                self.keys = Some((Arc::new(keys), clock::monotonic()));
                None
            }
            Err(error) => {
                tracing::warn!(%error, "the keys of the token provider could not be read");
                Some(error)
            }
        };
        self.tried = Some((clock::monotonic(), error));
    }
}

impl Place {
    async fn read(&self) -> Result<Vec<u8>, KeysError> {
        match self {
            Self::File(path) => {
                let fault = |why: String| KeysError::File(path.display().to_string(), why);
                let length = tokio::fs::metadata(path).await.map_err(|error| fault(error.to_string()))?.len();
                if usize::try_from(length).is_ok_and(|length| length <= SET_MAX) {
                    tokio::fs::read(path).await.map_err(|error| fault(error.to_string()))
                } else {
                    Err(fault("it is too long".to_owned()))
                }
            }
            Self::Url(client, url) => fetch(client, url).await,
        }
    }
}

async fn fetch(client: &Client, url: &Url) -> Result<Vec<u8>, KeysError> {
    let fault = |why: String| KeysError::Fetch(url.to_string(), why);
    let mut response = client.get(url.clone()).send().await.map_err(|error| fault(root_cause(&error)))?;
    if !response.status().is_success() {
        return Err(fault(format!("it answered {}", response.status())));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fault(root_cause(&error)))? {
        if body.len() + chunk.len() > SET_MAX {
            return Err(fault("its answer is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The innermost error says what happened; the outer ones say that something did.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn is_local(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}
