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
use tokio_postgres::{Client, Config};

use super::catalog::{self, LoadError};
use super::connect::{ConnectError, Upstream};
use super::memory::{Arrival, DerivedTag, Memory, MemoryError, Review, View};
use crate::catalog::tags::TagRules;
use crate::catalog::{Catalog, Oid, Remembered};

/// A catalog that takes longer to read than this is not waited for.
const LOAD_WAIT: Duration = Duration::from_secs(20);

/// A snapshot, and by which number it is known.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Larger for every new snapshot, in all databases.
    pub version: u64,
    /// The catalog, with its tags.
    pub catalog: Arc<Catalog>,
    /// The state of the database's tags that is in it.
    pub tags: u64,
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
    memory: Memory,
    known: DashMap<String, Arc<Database>>,
}

/// One database.
#[derive(Debug, Default)]
pub struct Database {
    snapshot: ArcSwapOption<Snapshot>,
    stale: AtomicBool,
    /// Counts what came to be known of tags.
    tags: AtomicU64,
    /// A snapshot gets its tags and its place at once.
    installing: std::sync::Mutex<()>,
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
    pub fn new(upstream: Upstream, credential: Option<Credential>, rules: TagRules, memory: Memory) -> Self {
        Self {
            upstream,
            credential,
            rules: ArcSwap::from_pointee(rules),
            versions: AtomicU64::new(1),
            memory,
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
            self.tag_again(entry.key(), entry.value());
        }
    }

    /// What is remembered of tags.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Remembers tags that come to columns. When this returns they count for whoever asks next.
    ///
    /// # Errors
    /// They cannot be written down.
    pub fn learn(&self, name: &str, oid: Oid, arrivals: Vec<Arrival>) -> Result<(), MemoryError> {
        self.memory.learn((name, oid), arrivals)?;
        self.tag_again(name, &self.database(name));
        Ok(())
    }

    /// Writes down what a person said of a derived tag, and lets it count.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn review(&self, id: u64, review: Review, by: &str) -> Result<Option<DerivedTag>, MemoryError> {
        let reviewed = self.memory.review(id, review, by)?;
        for entry in &self.known {
            self.tag_again(entry.key(), entry.value());
        }
        Ok(reviewed)
    }

    /// The snapshot of a database, with the tags of now. Snapshots with older ones are outdated.
    fn tag_again(&self, name: &str, database: &Database) {
        let _one = database.install_lock();
        database.tags.fetch_add(1, Ordering::SeqCst);
        if let Some(snapshot) = database.snapshot.load_full() {
            let tagged = self.tagged(name, database, &snapshot.catalog, &Remembered::default());
            database.snapshot.store(Some(tagged));
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
        let view = View::Shared(self.memory.ended());
        let answer = tokio::time::timeout(LOAD_WAIT, self.load(name, &mut loader)).await;
        match answer.unwrap_or(Err(CatalogFailure::Late(LOAD_WAIT))) {
            Ok(catalog) => Ok(self.install(name, &database, &catalog, &view)),
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
        self.install(name, &database, catalog, &View::Own)
    }

    /// A catalog with its tags and a version of its own, for one session alone; `own` is what only that session knows.
    pub fn private(&self, name: &str, catalog: &Catalog, own: &Remembered) -> Arc<Snapshot> {
        self.observe(catalog, &View::Own);
        self.tagged(name, &self.database(name), catalog, own)
    }

    /// The same catalog with the tags of now and with some that are not remembered.
    pub fn tagged(&self, name: &str, database: &Database, catalog: &Catalog, own: &Remembered) -> Arc<Snapshot> {
        // Read first: what is learned from here on outdates the snapshot.
        let tags = database.tags();
        let mut memory = self.memory.of(catalog.database_oid());
        if !own.is_empty() {
            Arc::make_mut(&mut memory).extend(own);
        }
        let catalog = Arc::new(catalog.with_memory(name, &self.rules.load(), &memory));
        Arc::new(Snapshot { version: self.versions.fetch_add(1, Ordering::SeqCst), catalog, tags })
    }

    fn observe(&self, catalog: &Catalog, view: &View) {
        if let Err(error) = self.memory.observe(catalog, &self.rules.load(), view) {
            tracing::error!(%error, "what was learned of tags is not on disk yet");
        }
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

    fn install(&self, name: &str, database: &Database, catalog: &Catalog, view: &View) -> Arc<Snapshot> {
        self.observe(catalog, view);
        let _one = database.install_lock();
        let snapshot = self.tagged(name, database, catalog, &Remembered::default());
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
        super::driver::start(stream, config).await.map_err(CatalogFailure::Login)
    }
}

impl Database {
    /// The snapshot, unless something has changed since it was read.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Snapshot>> {
        if self.stale.load(Ordering::SeqCst) { None } else { self.snapshot.load_full() }
    }

    /// The state of the tags; a snapshot with another one is outdated.
    #[must_use]
    pub fn tags(&self) -> u64 {
        self.tags.load(Ordering::SeqCst)
    }

    fn install_lock(&self) -> std::sync::MutexGuard<'_, ()> {
        self.installing.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Something may have changed.
    pub fn mark_stale(&self) {
        self.stale.store(true, Ordering::SeqCst);
    }
}
