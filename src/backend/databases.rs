//! The databases of an upstream and the newest snapshot of each one's catalog.
//!
//! A snapshot is read with the proxy's own credential where there is one, or offered by a session that read it over its
//! client's connection. DDL that was seen on the wire makes it stale at once; whoever needs it next waits for a new one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use dashmap::DashMap;
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, NoTls};

use super::catalog::{self, LoadError};
use super::connect::{ConnectError, Upstream};
use crate::catalog::Catalog;
use crate::catalog::tags::TagRules;

/// A catalog that takes longer to read than this is not waited for.
const LOAD_WAIT: Duration = Duration::from_secs(20);

/// A snapshot, and by which number it is known.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Larger for every new snapshot, in all databases.
    pub version: u64,
    /// The catalog, with its tags.
    pub catalog: Arc<Catalog>,
}

/// Why there is no current catalog.
#[derive(Debug, thiserror::Error)]
pub enum CatalogFailure {
    /// The proxy has no credential of its own.
    #[error("the proxy has no credential of its own for this upstream")]
    NoCredential,
    /// The upstream cannot be reached.
    #[error("cannot connect to the upstream: {0}")]
    Connect(#[from] ConnectError),
    /// The upstream refused the proxy's own log-in.
    #[error("the upstream refused the proxy's own log-in: {0}")]
    Login(#[source] tokio_postgres::Error),
    /// The catalog cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It took too long.
    #[error("the catalog was not read within {} s", .0.as_secs())]
    Late(Duration),
}

/// The proxy's own way into an upstream.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The role.
    pub user: String,
    /// Its password, where it needs one.
    pub password: Option<String>,
}

/// All databases of one upstream.
#[derive(Debug)]
pub struct Databases {
    upstream: Upstream,
    credential: Option<Credential>,
    rules: ArcSwap<TagRules>,
    versions: AtomicU64,
    known: DashMap<String, Arc<Database>>,
}

/// One database.
#[derive(Debug, Default)]
pub struct Database {
    snapshot: ArcSwapOption<Snapshot>,
    stale: AtomicBool,
    loading: Mutex<Loader>,
}

/// The proxy's own connection to a database, and what it last saw there.
#[derive(Debug, Default)]
struct Loader {
    client: Option<Client>,
    /// Changes whenever a definition changes.
    signature: String,
}

impl Databases {
    /// No snapshot yet.
    #[must_use]
    pub fn new(upstream: Upstream, credential: Option<Credential>, rules: TagRules) -> Self {
        Self {
            upstream,
            credential,
            rules: ArcSwap::from_pointee(rules),
            versions: AtomicU64::new(1),
            known: DashMap::new(),
        }
    }

    /// Whether the proxy can read catalogs by itself.
    #[must_use]
    pub fn has_credential(&self) -> bool {
        self.credential.is_some()
    }

    /// A database by its name.
    #[must_use]
    pub fn database(&self, name: &str) -> Arc<Database> {
        self.known.entry(name.to_owned()).or_default().value().clone()
    }

    /// The databases that sessions have used.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.known.iter().map(|entry| entry.key().clone()).collect()
    }

    /// Tags every snapshot anew.
    pub fn retag(&self, rules: TagRules) {
        self.rules.store(Arc::new(rules));
        for entry in &self.known {
            if let Some(snapshot) = entry.value().snapshot.load_full() {
                self.install(entry.key(), entry.value(), &snapshot.catalog);
            }
        }
    }

    /// A snapshot that is current: the one that is here, or a new one.
    ///
    /// # Errors
    /// There is none, and none can be read.
    pub async fn fresh(&self, name: &str) -> Result<Arc<Snapshot>, CatalogFailure> {
        let database = self.database(name);
        if let Some(snapshot) = database.current() {
            return Ok(snapshot);
        }
        let mut loader = database.loading.lock().await;
        if let Some(snapshot) = database.current() {
            return Ok(snapshot);
        }
        // Cleared before reading: a change that comes in between makes the new snapshot stale again.
        database.stale.store(false, Ordering::SeqCst);
        let answer = tokio::time::timeout(LOAD_WAIT, self.load(name, &mut loader)).await;
        match answer.unwrap_or(Err(CatalogFailure::Late(LOAD_WAIT))) {
            Ok(catalog) => Ok(self.install(name, &database, &catalog)),
            Err(error) => {
                database.stale.store(true, Ordering::SeqCst);
                loader.client = None;
                Err(error)
            }
        }
    }

    /// Takes a snapshot that a session read over its client's connection.
    pub fn offer(&self, name: &str, catalog: &Catalog) -> Arc<Snapshot> {
        let database = self.database(name);
        database.stale.store(false, Ordering::SeqCst);
        self.install(name, &database, catalog)
    }

    /// A catalog with its tags and a version of its own, for one session alone.
    pub fn private(&self, name: &str, catalog: &Catalog) -> Arc<Snapshot> {
        let catalog = Arc::new(catalog.with_tags(name, &self.rules.load()));
        Arc::new(Snapshot { version: self.versions.fetch_add(1, Ordering::SeqCst), catalog })
    }

    /// Marks the snapshot stale where the database has changed behind the proxy's back.
    ///
    /// # Errors
    /// The upstream cannot be asked.
    pub async fn check(&self, name: &str) -> Result<(), CatalogFailure> {
        let database = self.database(name);
        if database.current().is_none() {
            return Ok(());
        }
        let mut loader = database.loading.lock().await;
        let client = self.client(name, &mut loader.client).await?;
        match catalog::signature(client).await {
            Ok(signature) if signature == loader.signature => Ok(()),
            Ok(_) => {
                database.mark_stale();
                Ok(())
            }
            Err(error) => {
                loader.client = None;
                Err(error.into())
            }
        }
    }

    fn install(&self, name: &str, database: &Database, catalog: &Catalog) -> Arc<Snapshot> {
        let snapshot = self.private(name, catalog);
        database.snapshot.store(Some(snapshot.clone()));
        snapshot
    }

    async fn load(&self, name: &str, loader: &mut Loader) -> Result<Catalog, CatalogFailure> {
        let client = self.client(name, &mut loader.client).await?;
        // Asked first: a change that comes in between is found again by the next check.
        let signature = catalog::signature(client).await?;
        let catalog = catalog::load(client).await?;
        loader.signature = signature;
        Ok(catalog)
    }

    async fn client<'a>(&self, name: &str, connection: &'a mut Option<Client>) -> Result<&'a Client, CatalogFailure> {
        if connection.as_ref().is_none_or(Client::is_closed) {
            *connection = Some(self.log_in(name).await?);
        }
        connection.as_ref().ok_or(CatalogFailure::NoCredential)
    }

    /// Logs in with the proxy's own credential.
    ///
    /// # Errors
    /// There is none, or the upstream cannot be reached or refuses it.
    pub async fn log_in(&self, name: &str) -> Result<Client, CatalogFailure> {
        let credential = self.credential.as_ref().ok_or(CatalogFailure::NoCredential)?;
        let stream = self.upstream.connect().await?;
        let mut config = Config::new();
        config.user(&credential.user).dbname(name).application_name(crate::ids::NAME);
        if let Some(password) = &credential.password {
            config.password(password);
        }
        let (client, driver) = config.connect_raw(stream, NoTls).await.map_err(CatalogFailure::Login)?;
        // The driver ends with its client; what it reports is seen by the next question.
        tokio::spawn(async move { drop(driver.await) });
        Ok(client)
    }
}

impl Database {
    /// The snapshot, unless something has changed since it was read.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Snapshot>> {
        if self.stale.load(Ordering::SeqCst) { None } else { self.snapshot.load_full() }
    }

    /// Something may have changed.
    pub fn mark_stale(&self) {
        self.stale.store(true, Ordering::SeqCst);
    }
}
