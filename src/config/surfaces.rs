//! Where people and programs meet holds beyond psql: the public address, the identity provider, notices.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::document::Document;
use super::read::Reader;
use crate::notify::{EventKind, Reach, admitted};
use crate::policy::Network;
use crate::policy::yaml::{self, At, List, Size};

/// Notices that wait, and that were given up, at most, each.
const OUTBOX_MAX: u64 = 10_000;
/// Slack's own address.
const SLACK: &str = "https://slack.com/api";

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SurfacesConfig {
    /// Where browsers find the HTTP listener; links lead there.
    pub public_url: Option<String>,
    /// Proxies before the HTTP listener whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
    /// The provider by which operators sign in to the console.
    pub oidc: Option<OidcConfig>,
    /// Who is told of holds.
    pub notify: NotifyConfig,
}

/// An `OpenID` Connect provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcConfig {
    /// Its issuer, to the letter.
    pub issuer: String,
    /// Who the proxy is there.
    pub client_id: String,
    /// A file whose first line is the proxy's secret there.
    pub client_secret_file: Option<PathBuf>,
}

/// Who is told of holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifyConfig {
    /// Standard Webhooks.
    pub webhooks: Vec<WebhookConfig>,
    /// Workflows of Teams.
    pub teams: Vec<TeamsConfig>,
    /// A channel of Slack.
    pub slack: Option<SlackConfig>,
    /// Before the second attempt; 5 s.
    pub retry_first: Option<Duration>,
    /// Attempts in all; 10.
    pub attempts_max: Option<u32>,
    /// Notices that wait, and notices that were given up, each; 10,000.
    pub outbox_max: u32,
}

/// A webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Files, each with a secret `whsec_…`.
    pub secret_files: Vec<PathBuf>,
    /// What it hears of; everything where it is empty.
    pub events: Vec<EventKind>,
    /// Whether statements and values are sent; they are.
    pub statement: bool,
    /// Whether the address may be one of a private network.
    pub allow_private: bool,
}

/// A Workflow of Teams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TeamsConfig {
    /// Its name.
    pub name: String,
    /// A file whose first line is its address: that holds a signature.
    pub url_file: PathBuf,
    /// Whether the address may be one of a private network.
    pub allow_private: bool,
}

/// A channel of Slack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlackConfig {
    /// The channel's id.
    pub channel: String,
    /// A file whose first line is the bot's token (`xoxb-`).
    pub bot_token_file: PathBuf,
    /// A file whose first line is the signing secret, for clicks that come over HTTP.
    pub signing_secret_file: Option<PathBuf>,
    /// A file whose first line is the app's token (`xapp-`), for clicks that come by Socket Mode.
    pub app_token_file: Option<PathBuf>,
    /// Slack's API.
    pub api_url: String,
    /// Whether that may be an address of a private network.
    pub allow_private: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignInEntry {
    issuer: At<String>,
    client_id: String,
    #[serde(default)]
    client_secret_file: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NotifyEntry {
    webhooks: Vec<WebhookEntry>,
    teams: Vec<TeamsEntry>,
    slack: Option<SlackEntry>,
    retry_first: Option<yaml::Duration>,
    attempts_max: Option<At<Size>>,
    outbox_max: Option<At<Size>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookEntry {
    name: At<String>,
    url: At<String>,
    secret_files: List<String>,
    #[serde(default)]
    events: List<At<String>>,
    #[serde(default)]
    statement: Option<bool>,
    #[serde(default)]
    allow_private: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TeamsEntry {
    name: At<String>,
    url_file: String,
    #[serde(default)]
    allow_private: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlackEntry {
    channel: String,
    bot_token_file: At<String>,
    #[serde(default)]
    signing_secret_file: Option<String>,
    #[serde(default)]
    app_token_file: Option<String>,
    #[serde(default)]
    api_url: Option<String>,
    #[serde(default)]
    allow_private: bool,
}

impl Reader<'_> {
    pub(super) fn surfaces(&mut self, document: &Document) -> SurfacesConfig {
        if let Some(url) = &document.public_url {
            let bare = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            if bare.is_none_or(|host| host.is_empty() || host.trim_end_matches('/').contains(['/', '?', '#', '@', ' ']))
            {
                self.error(url.place, "bad-value", "public_url is https://host or https://host:port, without a path");
            }
        }
        let oidc = document.oidc.as_ref().map(|entry| OidcConfig {
            issuer: entry.issuer.value.clone(),
            client_id: entry.client_id.clone(),
            client_secret_file: self.file(entry.client_secret_file.as_deref()),
        });
        if let (Some(entry), None) = (&document.oidc, &document.public_url) {
            let message = "sign-in by oidc needs public_url: the provider leads back to it";
            self.error(entry.issuer.place, "no-public-url", message);
        }
        let public_url = document.public_url.as_ref().map(|url| url.trim_end_matches('/').to_owned());
        let trusted_proxies = document.trusted_proxies.0.clone();
        SurfacesConfig { public_url, trusted_proxies, oidc, notify: self.notify(&document.notify) }
    }

    fn notify(&mut self, entry: &NotifyEntry) -> NotifyConfig {
        let names = entry.webhooks.iter().map(|one| &one.name).chain(entry.teams.iter().map(|one| &one.name));
        self.unique("target of notices", names);
        let webhooks = entry.webhooks.iter().map(|one| self.webhook(one)).collect();
        let teams = entry.teams.iter().filter_map(|one| {
            let url_file = self.file(Some(&one.url_file))?;
            Some(TeamsConfig { name: one.name.value.clone(), url_file, allow_private: one.allow_private })
        });
        let teams = teams.collect();
        NotifyConfig {
            webhooks,
            teams,
            slack: entry.slack.as_ref().and_then(|entry| self.slack(entry)),
            retry_first: entry.retry_first.map(|first| first.0),
            attempts_max: entry.attempts_max.map(|max| number(self.bound(Some(max), 0))),
            outbox_max: number(self.bound(entry.outbox_max, OUTBOX_MAX)),
        }
    }

    fn webhook(&mut self, entry: &WebhookEntry) -> WebhookConfig {
        if entry.name.as_str() == "slack" {
            self.error(entry.name.place, "bad-value", "the name `slack` is taken by the channel of Slack");
        }
        let mut events = Vec::new();
        for event in &entry.events.0 {
            if let Some(kind) = EventKind::parse(event) {
                events.push(kind);
            } else {
                let all: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
                self.error(event.place, "bad-value", format!("there are the events {}", all.join(", ")));
            }
        }
        if entry.secret_files.is_empty() {
            self.error(entry.url.place, "bad-value", "a webhook needs secret_files: its receiver checks signatures");
        }
        let reach = if entry.allow_private { Reach::Private } else { Reach::Public };
        if let Err(why) = admitted(&entry.url, reach) {
            let (why, hint) = why.split_once("; ").unwrap_or((why, "write https://host/path"));
            let message = format!("webhook {}: notices may not go to its url: {why}", entry.name.as_str());
            self.error_with(entry.url.place, message, hint);
        }
        WebhookConfig {
            name: entry.name.value.clone(),
            url: entry.url.value.clone(),
            secret_files: entry.secret_files.0.iter().filter_map(|file| self.file(Some(file))).collect(),
            events,
            statement: entry.statement.unwrap_or(true),
            allow_private: entry.allow_private,
        }
    }

    fn slack(&mut self, entry: &SlackEntry) -> Option<SlackConfig> {
        if entry.signing_secret_file.is_none() && entry.app_token_file.is_none() {
            let message = "slack needs signing_secret_file (clicks over HTTP) or app_token_file (Socket Mode)";
            self.error(entry.bot_token_file.place, "bad-value", message);
        }
        Some(SlackConfig {
            channel: entry.channel.clone(),
            bot_token_file: self.file(Some(&entry.bot_token_file))?,
            signing_secret_file: self.file(entry.signing_secret_file.as_deref()),
            app_token_file: self.file(entry.app_token_file.as_deref()),
            api_url: entry.api_url.clone().unwrap_or_else(|| SLACK.to_owned()),
            allow_private: entry.allow_private,
        })
    }
}

fn number(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
