//! All targets together.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::follow::Follower;
use super::slack::{Clicks, Slack};
use super::store::{Dead, NotifyStoreError, Outbox};
use super::worker::{Target, Worker};
use super::{Retry, Teams, Voice, Webhook};
use crate::approvals::Approvals;
use crate::clock::Clock;

/// Who is told, and how hard it is tried.
#[derive(Clone, Debug, Default)]
pub struct NotifyOptions {
    /// Standard Webhooks.
    pub webhooks: Vec<Webhook>,
    /// Channels of Teams.
    pub teams: Vec<Teams>,
    /// A channel of Slack.
    pub slack: Option<Slack>,
    /// When what failed is tried again.
    pub retry: Retry,
    /// Notices that wait, and notices that were given up, at most, each.
    pub outbox_max: u32,
}

impl NotifyOptions {
    /// Whether nobody is told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.webhooks.is_empty() && self.teams.is_empty() && self.slack.is_none()
    }
}

/// The outbox and those who carry it. Clones are one.
#[derive(Clone, Debug)]
pub struct Notifier {
    outbox: Outbox,
    clock: Clock,
    bell: Arc<Notify>,
}

impl Notifier {
    /// Opens the outbox `notify.db` in an existing directory and starts to follow, and to deliver.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn start(
        (dir, options): (&Path, NotifyOptions),
        (approvals, clock): (Approvals, Clock),
        voice: &Voice,
        stop: &CancellationToken,
    ) -> Result<(Self, Vec<JoinHandle<()>>), NotifyStoreError> {
        let outbox = Outbox::open(&dir.join("notify.db"), options.outbox_max)?;
        let notifier = Self { outbox: outbox.clone(), clock: clock.clone(), bell: Arc::default() };
        let (retry, targets) = (options.retry, targets(options, &outbox, voice));
        let changes = approvals.changes();
        let follower = Follower {
            approvals: approvals.clone(),
            outbox: outbox.clone(),
            targets: targets.clone(),
            clock: clock.clone(),
            bell: notifier.bell.clone(),
        };
        let mut tasks = vec![tokio::spawn(follower.run(changes, stop.clone()))];
        for target in targets {
            let (outbox, approvals, clock) = (outbox.clone(), approvals.clone(), clock.clone());
            let worker = Worker { target, outbox, approvals, clock, retry, bell: notifier.bell.clone() };
            tasks.push(tokio::spawn(worker.run(stop.clone())));
        }
        Ok((notifier, tasks))
    }

    /// Where clicks are kept until they are answered.
    #[must_use]
    pub fn clicks(&self) -> Clicks {
        Clicks::new(self.outbox.clone())
    }

    /// Notices that were given up, the newest first.
    ///
    /// # Errors
    /// The outbox cannot be read.
    pub async fn dead(&self, limit: u32) -> Result<Vec<Dead>, NotifyStoreError> {
        self.outbox.dead(limit).await
    }

    /// Tries one of them again; `false` where there is none of that number.
    ///
    /// # Errors
    /// The outbox cannot be written.
    pub async fn revive(&self, id: i64) -> Result<bool, NotifyStoreError> {
        let revived = self.outbox.revive(id, self.clock.now()).await?;
        self.bell.notify_waiters();
        Ok(revived)
    }
}

fn targets(options: NotifyOptions, outbox: &Outbox, voice: &Voice) -> Vec<Arc<dyn Target>> {
    let mut targets: Vec<Arc<dyn Target>> = Vec::new();
    for webhook in options.webhooks {
        targets.push(Arc::new(webhook.target(voice.clone())));
    }
    for teams in options.teams {
        targets.push(Arc::new(teams.target(voice.clone())));
    }
    if let Some(slack) = options.slack {
        targets.push(Arc::new(slack.target(outbox.clone(), voice.clone())));
    }
    targets
}
