//! The databases of an upstream and the newest snapshot of each one's catalog.
//!
//! A snapshot is read with the proxy's own credential where there is one, or offered by a session that read it over its
//! client's connection. DDL that was seen on the wire makes it stale at once; whoever needs it next waits for a new one.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use dashmap::DashMap;
use tokio::sync::Mutex;
use tokio_postgres::{AsyncMessage, Client, Config, Connection};

use super::catalog::{self, LoadError};
use super::connect::{ConnectError, Upstream};
use super::memory::{Arrival, DerivedTag, Memory, MemoryError, Review, View};
use super::planner::{PlanFailure, Planned, Planner, Question, WAIT};
use crate::catalog::tags::TagRules;
use crate::catalog::{Catalog, Oid, Remembered};
use crate::clock;
use crate::net::Stream;

/// A catalog that takes longer to read than this is not waited for.
const LOAD_WAIT: Duration = Duration::from_secs(20);

/// Comparing the catalog before statements takes at most one part in so many of the time of one backend, …
const CHECK_PAUSES: u32 = 5;
/// … unless it takes longer than this many times over.
const CHECK_WITHIN: Duration = Duration::from_secs(1);

/// The channel on which the documented event triggers announce that a definition has changed.
pub const CHANNEL: &str = "holdgate_definitions";

/// Connections to one database that ask the planner, unless the configuration says otherwise.
pub const PLANNERS_MAX: usize = 2;

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
    pub(super) planner: Planner,
}

/// One database.
#[derive(Debug, Default)]
pub struct Database {
    snapshot: ArcSwapOption<Snapshot>,
    stale: AtomicBool,
    /// The server has said that something changed, and it was not compared since.
    announced: AtomicBool,
    /// Counts what came to be known of tags.
    tags: AtomicU64,
    /// When it was last compared with the server, and how long that took.
    checked: std::sync::Mutex<Option<Checked>>,
    /// A snapshot gets its tags and its place at once.
    installing: std::sync::Mutex<()>,
    pub(super) loading: Mutex<Loader>,
    /// The proxy's own connection for questions about locks.
    pub(super) looking: Mutex<Option<Client>>,
    /// Sessions that are in it now.
    pub(super) sessions: AtomicUsize,
    /// Nobody was in it for a while, so that it was not compared with the server.
    pub(super) unwatched: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Checked {
    /// When the comparison began.
    at: Instant,
    took: Duration,
}

/// The proxy's own connection to a database, and what it last saw there.
#[derive(Debug, Default)]
pub(super) struct Loader {
    pub(super) client: Option<Client>,
    /// Stays the same as long as nobody has written anything.
    moment: String,
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
            planner: Planner::new(PLANNERS_MAX, WAIT),
        }
    }

    /// The same, with so many connections a database for the planner, and so long for each question.
    #[must_use]
    pub fn with_planners(self, connections_max: usize, wait: Duration) -> Self {
        Self { planner: Planner::new(connections_max, wait), ..self }
    }

    /// The role of the proxy's own credential.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        self.credential.as_ref().map(|credential| credential.user.as_str())
    }

    /// Asks the planner, as the role of the proxy's own credential. The query must be one of `analysis::plannable`.
    ///
    /// # Errors
    /// It has no plan within the time that one is waited for.
    pub async fn plan(&self, name: &str, question: &Question) -> Result<Planned, PlanFailure> {
        self.planner.plan(name, question, self.log_in(name)).await
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
        if database.unwatched.swap(false, Ordering::SeqCst) {
            let compared = tokio::time::timeout(LOAD_WAIT, self.compare(name, &database, &mut loader)).await;
            if !matches!(compared, Ok(Ok(()))) {
                database.mark_stale();
            }
        }
        if let Some(snapshot) = database.current() {
            return Ok(snapshot);
        }
        database.announced.store(false, Ordering::SeqCst);
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
        self.compare(name, &database, &mut loader).await
    }

    /// The same, unless that was done a moment ago: less than `age`, or longer where comparing takes long.
    ///
    /// # Errors
    /// The upstream cannot be asked.
    pub async fn check_within(&self, name: &str, age: Duration) -> Result<(), CatalogFailure> {
        let database = self.database(name);
        if database.current().is_none() || database.was_checked_within(age) {
            return Ok(());
        }
        let mut loader = database.loading.lock().await;
        if database.current().is_none() || database.was_checked_within(age) {
            return Ok(());
        }
        self.compare(name, &database, &mut loader).await
    }

    async fn compare(&self, name: &str, database: &Database, loader: &mut Loader) -> Result<(), CatalogFailure> {
        let at = clock::monotonic();
        database.announced.store(false, Ordering::SeqCst);
        let known = loader.moment.clone();
        let base = database.latest();
        let client = self.client(name, &mut loader.client).await?;
        let asked = async {
            // Asked first: what is written from here on is found by the next comparison.
            let moment = catalog::moment(client).await?;
            let same = match base {
                _ if moment == known => true,
                Some(base) => catalog::is_same(client, &base).await?,
                None => false,
            };
            Ok((moment, same))
        };
        match asked.await {
            Ok((moment, true)) => {
                loader.moment = moment;
                database.note_check(at, clock::monotonic().saturating_duration_since(at));
                Ok(())
            }
            Ok((_, false)) => {
                database.mark_stale();
                Ok(())
            }
            Err(error) => {
                loader.client = None;
                Err(CatalogFailure::Load(error))
            }
        }
    }

    fn install(&self, name: &str, database: &Database, catalog: &Catalog, view: &View) -> Arc<Snapshot> {
        self.observe(catalog, view);
        let _one = database.install_lock();
        let mut snapshot = self.tagged(name, database, catalog, &Remembered::default());
        if let Some(known) = database.snapshot.load_full()
            && known.tags == snapshot.tags
            && known.catalog.says_the_same_as(&snapshot.catalog)
        {
            // Whoever has the known one need not look again: the new one has been read later, and that is all.
            snapshot = Arc::new(Snapshot { version: known.version, ..Snapshot::clone(&snapshot) });
        }
        database.snapshot.store(Some(snapshot.clone()));
        snapshot
    }

    async fn load(&self, name: &str, loader: &mut Loader) -> Result<Catalog, CatalogFailure> {
        let client = self.client(name, &mut loader.client).await?;
        let at = clock::monotonic();
        // Asked first: a change that comes in between is found again by the next check.
        let moment = catalog::moment(client).await?;
        // Reading takes longer than comparing, and says nothing of how long that takes.
        let took = clock::monotonic().saturating_duration_since(at);
        let database = self.database(name);
        let catalog = catalog::follow(client, database.latest().as_ref()).await?;
        loader.moment = moment;
        database.note_check(at, took);
        Ok(catalog)
    }

    async fn client<'a>(&self, name: &str, connection: &'a mut Option<Client>) -> Result<&'a Client, CatalogFailure> {
        if connection.as_ref().is_none_or(Client::is_closed) {
            *connection = Some(self.listen(name).await?);
        }
        connection.as_ref().ok_or(CatalogFailure::NoCredential)
    }

    /// Logs in with the proxy's own credential.
    ///
    /// # Errors
    /// There is none, or the upstream cannot be reached or refuses it.
    pub async fn log_in(&self, name: &str) -> Result<Client, CatalogFailure> {
        let (client, driver) = self.connect(name).await?;
        // The driver ends with its client; what it reports is seen by the next question.
        tokio::spawn(async move { drop(driver.await) });
        Ok(client)
    }

    /// Logs in and listens to what the server's own triggers say of definitions, where an operator has installed them.
    async fn listen(&self, name: &str) -> Result<Client, CatalogFailure> {
        let (client, mut driver) = self.connect(name).await?;
        let database = self.database(name);
        // It ends with its client too.
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| driver.poll_message(context)).await {
                if let AsyncMessage::Notification(_) = message {
                    database.announced.store(true, Ordering::SeqCst);
                }
            }
        });
        // A standby takes no LISTEN, and is compared from time to time as every server is.
        if let Err(error) = client.batch_execute(&format!("LISTEN {CHANNEL}")).await {
            tracing::debug!(%error, "the server does not announce changes of definitions");
        }
        Ok(client)
    }

    async fn connect(&self, name: &str) -> Result<(Client, Connection<Stream, Stream>), CatalogFailure> {
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
    /// The snapshot, unless something has changed since it was read, or may have while nobody was there.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Snapshot>> {
        let unsure = self.stale.load(Ordering::SeqCst) || self.unwatched.load(Ordering::SeqCst);
        if unsure { None } else { self.snapshot.load_full() }
    }

    /// The catalog that was read last, whether or not anything has changed since.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Catalog>> {
        self.snapshot.load().as_ref().map(|snapshot| Arc::clone(&snapshot.catalog))
    }

    /// The state of the tags; a snapshot with another one is outdated.
    #[must_use]
    pub fn tags(&self) -> u64 {
        self.tags.load(Ordering::SeqCst)
    }

    fn note_check(&self, at: Instant, took: Duration) {
        *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Checked { at, took });
    }

    /// Whether the server has said that something changed, and nobody has looked since.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.announced.load(Ordering::SeqCst)
    }

    fn was_checked_within(&self, age: Duration) -> bool {
        if self.is_announced() {
            return false;
        }
        let checked = *self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        checked.is_some_and(|checked| {
            let age = age.max(checked.took.saturating_mul(CHECK_PAUSES).min(CHECK_WITHIN));
            clock::monotonic().saturating_duration_since(checked.at) < age
        })
    }

    fn install_lock(&self) -> std::sync::MutexGuard<'_, ()> {
        self.installing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may have changed.
    pub fn mark_stale(&self) {
        self.stale.store(true, Ordering::SeqCst);
    }
}
