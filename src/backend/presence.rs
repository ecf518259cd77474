//! Sessions in a database: the proxy's own connections to it end soon after the last of them.
//!
//! DROP DATABASE, ALTER DATABASE and CREATE DATABASE from a template want a database to which nobody else is connected,
//! and wait five seconds for others to leave (`CountOtherDBBackends`). Without the proxy nobody would be.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::databases::{Database, Databases};
use super::planner::Pool;

/// So long after its last session a database keeps our connections: who connects for each query finds them warm.
const LINGER: Duration = Duration::from_millis(500);

/// A session is in a database as long as this is there.
#[derive(Debug)]
pub struct Presence {
    rooms: Rooms,
    /// We have connections of our own, by which the catalog is watched.
    watched: bool,
}

/// Where our own connections to one database are kept.
#[derive(Clone, Debug)]
struct Rooms {
    database: Arc<Database>,
    planners: Arc<Pool>,
}

impl Databases {
    /// A session begins, or somebody asks about a database in which there may be none.
    #[must_use]
    pub fn enter(&self, name: &str) -> Presence {
        let rooms = self.rooms(name);
        rooms.database.sessions.fetch_add(1, Ordering::SeqCst);
        Presence { rooms, watched: self.has_credential() }
    }

    /// Ends our own connections to all databases: a statement is on its way that wants to be alone in one of them. They are
    /// opened again when they are needed.
    pub fn make_way(&self) {
        for name in self.names() {
            let rooms = self.rooms(&name);
            tokio::spawn(async move { rooms.leave().await });
        }
    }

    fn rooms(&self, name: &str) -> Rooms {
        Rooms { database: self.database(name), planners: self.planner.pool(name) }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let was_last = self.rooms.database.sessions.fetch_sub(1, Ordering::SeqCst) == 1;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if was_last && self.watched {
            let rooms = self.rooms.clone();
            runtime.spawn(async move {
                tokio::time::sleep(LINGER).await;
                rooms.leave_if_empty().await;
            });
        }
    }
}

impl Rooms {
    async fn leave_if_empty(&self) {
        if self.database.sessions.load(Ordering::SeqCst) > 0 {
            return;
        }
        // Said first: whoever comes in from here on compares the catalog before it is believed.
        self.database.unwatched.store(true, Ordering::SeqCst);
        self.leave().await;
    }

    async fn leave(&self) {
        self.database.loading.lock().await.client = None;
        *self.database.looking.lock().await = None;
        self.planners.close();
    }
}
