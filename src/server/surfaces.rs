//! The HTTP listener with its console, and notices: built from their configuration.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::approvals::Approvals;
use crate::clock::Clock;
use crate::config::{Config, OidcConfig, OperatorConfig, SlackConfig, WebhookConfig};
use crate::control::{Control, card};
use crate::http::{Desk, OidcOptions, Provider, ProviderError, Site, SiteOptions, SlackDoor};
use crate::notify::slack::{Accounts, Api, Interactions, SigningSecret, Slack, Socket};
use crate::notify::{
    Notifier, NotifyOptions, NotifyStoreError, Reach, Retry, SendError, Sender, Teams, Voice, Webhook, WebhookSecret,
};
use crate::policy::Network;

/// Why surfaces cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum SurfacesError {
    /// A file with a secret.
    #[error("{0}: {1}")]
    File(String, #[source] std::io::Error),
    /// A file that holds something else.
    #[error("{0} holds no secret of the form {1}")]
    Secret(String, &'static str),
    /// An address that notices may not go to.
    #[error("notices: {0}")]
    Address(#[from] SendError),
    /// The outbox.
    #[error(transparent)]
    Outbox(#[from] NotifyStoreError),
    /// The identity provider.
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

/// What the surfaces are started with.
#[derive(Clone, Default)]
pub struct Surfaces {
    public_url: Option<String>,
    oidc: Option<OidcOptions>,
    notify: NotifyOptions,
    slack: Option<Clicks>,
    failures_max: Option<u32>,
    trusted_proxies: Vec<Network>,
}

/// How clicks in Slack come in.
#[derive(Clone)]
struct Clicks {
    bot: Api,
    app: Option<Api>,
    secret: Option<SigningSecret>,
    accounts: Accounts,
    reach: Reach,
}

impl Surfaces {
    /// Reads all secrets.
    ///
    /// # Errors
    /// What cannot be read, or may not be asked.
    pub fn of(config: &Config) -> Result<Self, SurfacesError> {
        let (surfaces, notify) = (&config.surfaces, &config.surfaces.notify);
        let mut options = NotifyOptions { outbox_max: notify.outbox_max, ..NotifyOptions::default() };
        options.retry = Retry {
            first: notify.retry_first.unwrap_or(Retry::default().first),
            attempts_max: notify.attempts_max.unwrap_or(Retry::default().attempts_max),
            ..Retry::default()
        };
        for webhook in &notify.webhooks {
            options.webhooks.push(self::webhook(webhook)?);
        }
        for teams in &notify.teams {
            let url = line(&teams.url_file)?;
            let sender = Webhook::sender(&url, reach(teams.allow_private))?;
            options.teams.push(Teams { name: teams.name.clone(), url, sender });
        }
        let clicks = notify.slack.as_ref().map(|slack| clicks(slack, &config.operators)).transpose()?;
        options.slack = clicks
            .as_ref()
            .zip(notify.slack.as_ref())
            .map(|(clicks, slack)| Slack { api: clicks.bot.clone(), channel: slack.channel.clone() });
        let oidc = surfaces.oidc.as_ref().map(|oidc| self::oidc(oidc, config)).transpose()?;
        Ok(Self {
            public_url: surfaces.public_url.clone(),
            oidc,
            notify: options,
            slack: clicks,
            failures_max: Some(u32::try_from(config.limits.failures_max).unwrap_or(u32::MAX)),
            trusted_proxies: surfaces.trusted_proxies.clone(),
        })
    }

    /// Starts notices and gives the site that the listener serves.
    ///
    /// # Errors
    /// The outbox or the provider cannot be used.
    pub(super) fn start(
        self,
        (control, approvals): (&Control, Approvals),
        (dir, address): (&Path, Option<SocketAddr>),
        stop: &CancellationToken,
    ) -> Result<(Site, Vec<JoinHandle<()>>), SurfacesError> {
        let mut site =
            SiteOptions { stop: stop.clone(), public_url: self.public_url.clone(), ..SiteOptions::default() };
        site.failures_max = self.failures_max;
        site.trusted_proxies = self.trusted_proxies;
        if let Some(oidc) = self.oidc {
            site.provider = Some(Arc::new(Provider::new(oidc, Clock::System)?));
        }
        let mut tasks = Vec::new();
        if !self.notify.is_empty() {
            let here = address.map(|address| format!("http://{address}"));
            let voice = voice(self.public_url.or(here).unwrap_or_default());
            let (notifier, started) = Notifier::start((dir, self.notify), (approvals, Clock::System), &voice, stop)?;
            site.notifier = Some(notifier);
            tasks = started;
        }
        // Where Slack is configured, somebody is to be told.
        if let Some((clicks, notifier)) = self.slack.zip(site.notifier.as_ref()) {
            let desk = Arc::new(Desk(control.clone()));
            let interactions = Interactions::new(clicks.bot, clicks.accounts, desk, notifier.clicks());
            tasks.push(tokio::spawn(interactions.clone().resume()));
            if let Some(api) = clicks.app {
                let socket = Socket { api, reach: clicks.reach, interactions: interactions.clone() };
                tasks.push(tokio::spawn(socket.run(stop.clone())));
            }
            site.slack = clicks.secret.map(|secret| SlackDoor { secret, interactions });
        }
        Ok((Site::new(control.clone(), site), tasks))
    }
}

fn voice(base: String) -> Voice {
    Voice { contract: card::contract, lines: card::lines, printable: card::printable, base }
}

fn webhook(config: &WebhookConfig) -> Result<Webhook, SurfacesError> {
    let secret = |path: &PathBuf| {
        let wrong = || SurfacesError::Secret(path.display().to_string(), "whsec_ and base64 of 24 to 64 bytes");
        WebhookSecret::parse(&line(path)?).ok_or_else(wrong)
    };
    Ok(Webhook {
        name: config.name.clone(),
        url: config.url.clone(),
        secrets: config.secret_files.iter().map(secret).collect::<Result<_, _>>()?,
        events: config.events.clone(),
        statement: config.statement,
        sender: Webhook::sender(&config.url, reach(config.allow_private))?,
    })
}

fn clicks(config: &SlackConfig, operators: &[OperatorConfig]) -> Result<Clicks, SurfacesError> {
    let reach = reach(config.allow_private);
    let sender = Sender::new(reach)?;
    let api = |token| Api::new(sender.clone(), &config.api_url, token);
    let named = |key: fn(&OperatorConfig) -> Option<&String>| -> HashMap<String, String> {
        operators.iter().filter_map(|one| Some((key(one)?.clone(), one.name.clone()))).collect()
    };
    let by_email = named(|one| one.email.as_ref()).into_iter().map(|(email, name)| (email.to_lowercase(), name));
    Ok(Clicks {
        bot: api(line(&config.bot_token_file)?),
        app: config.app_token_file.as_ref().map(|path| line(path)).transpose()?.map(api),
        secret: config
            .signing_secret_file
            .as_ref()
            .map(|path| line(path))
            .transpose()?
            .map(|one| SigningSecret::new(&one)),
        accounts: Accounts { by_user: named(|one| one.slack.as_ref()), by_email: by_email.collect() },
        reach,
    })
}

fn oidc(oidc: &OidcConfig, config: &Config) -> Result<OidcOptions, SurfacesError> {
    let base = config.surfaces.public_url.clone().unwrap_or_default();
    let subjects = config.operators.iter().filter_map(|one| Some((one.oidc_subject.clone()?, one.name.clone())));
    Ok(OidcOptions {
        issuer: oidc.issuer.clone(),
        client_id: oidc.client_id.clone(),
        client_secret: oidc.client_secret_file.as_ref().map(|path| line(path)).transpose()?,
        redirect_url: format!("{base}/sign-in/oidc/callback"),
        subjects: subjects.collect(),
    })
}

fn reach(allow_private: bool) -> Reach {
    if allow_private { Reach::Private } else { Reach::Public }
}

/// The first line of a file.
fn line(path: &Path) -> Result<String, SurfacesError> {
    let fault = |error| SurfacesError::File(path.display().to_string(), error);
    let text = std::fs::read_to_string(path).map_err(fault)?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        Err(SurfacesError::Secret(path.display().to_string(), "a first line"))
    } else {
        Ok(line.to_owned())
    }
}
