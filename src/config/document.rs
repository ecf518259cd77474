//! `holdgate.yaml` as it is written.

use std::net::SocketAddr;
use std::str::FromStr;

use serde::Deserialize;

use super::surfaces::{NotifyEntry, SignInEntry};

use crate::auth::certificate::CertificateName;
use crate::auth::oidc::Algorithm;
use crate::auth::principals::TokenCondition;
use crate::auth::rules::{Method, TlsWanted};
use crate::policy::yaml::{At, Duration, List, Size, text_type};
use crate::policy::{Mode, Network};
use crate::principal::PrincipalKind;

/// What a disconnect leaves of a hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnect {
    /// A ticket: the same action, sent again, joins it.
    #[default]
    Ticket,
    /// Nothing.
    Withdraw,
}

/// What happens to a held statement in an open transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InTransaction {
    /// It waits, bounded.
    #[default]
    Wait,
    /// It is refused at once.
    Refuse,
}

/// What stands for a literal in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LiteralsMode {
    /// `'?'`.
    #[default]
    Masked,
    /// A keyed tag: equal values have equal ones.
    Hmac,
    /// The literal itself, but never a password or a connection string.
    Plain,
}

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperatorRole {
    /// See.
    Viewer,
    /// Ask for bundles in the name of principals.
    Requester,
    /// Decide holds whose approvers include one of the operator's groups.
    Operator,
    /// Reload, pause, drain, and decide as the groups allow.
    Admin,
}

/// An address to listen on; `None` is `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listen(pub(super) Option<SocketAddr>);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address = numeric.as_deref().unwrap_or(text).parse();
        address.map(|address| Self(Some(address))).map_err(|_| {
            format!("`{text}` is no address to listen on; write 127.0.0.1:6432, [::1]:6432 or localhost:6432")
        })
    }
}

text_type!(Listen, "Listen", "An address and a port.", "127.0.0.1:6432");

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Document {
    pub(super) upstreams: Vec<At<UpstreamEntry>>,
    pub(super) listen: Option<At<Listen>>,
    pub(super) http: Option<At<Listen>>,
    pub(super) tls: Option<TlsEntry>,
    pub(super) principals: Vec<PrincipalEntry>,
    pub(super) client_rules: Vec<At<ClientRuleEntry>>,
    pub(super) operators: Vec<OperatorEntry>,
    pub(super) public_url: Option<At<String>>,
    pub(super) trusted_proxies: List<Network>,
    pub(super) oidc: Option<SignInEntry>,
    pub(super) notify: NotifyEntry,
    pub(super) hold: HoldEntry,
    pub(super) limits: LimitsEntry,
    pub(super) log: LogEntry,
    pub(super) store: StoreEntry,
    pub(super) policies: Option<String>,
    pub(super) auth: AuthEntry,
    pub(super) admin: AdminEntry,
    pub(super) mode: Option<Mode>,
    pub(super) state: Option<String>,
    pub(super) insecure_listen: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamEntry {
    pub(super) name: At<String>,
    pub(super) dsn: At<String>,
    #[serde(default)]
    pub(super) environment: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsEntry {
    pub(super) cert: String,
    pub(super) key: String,
    #[serde(default)]
    pub(super) client_ca: Option<String>,
    #[serde(default)]
    pub(super) client_auth: ClientAuthEntry,
}

/// Whether a client must show a certificate, where an authority for them is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ClientAuthEntry {
    #[default]
    Optional,
    Required,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PrincipalEntry {
    pub(super) name: At<String>,
    #[serde(default)]
    pub(super) kind: PrincipalKind,
    #[serde(default)]
    pub(super) role: Option<At<String>>,
    #[serde(default)]
    pub(super) human: Option<String>,
    #[serde(default)]
    pub(super) groups: List<String>,
    #[serde(default)]
    pub(super) scram: Option<At<String>>,
    #[serde(default)]
    pub(super) cert: List<At<CertificateName>>,
    #[serde(default)]
    pub(super) oidc: List<At<TokenCondition>>,
    #[serde(default)]
    pub(super) credential: Option<At<CredentialEntry>>,
}

impl PrincipalEntry {
    /// Whether it proves itself to the upstream and not to us.
    pub(super) fn is_relayed(&self) -> bool {
        self.scram.is_none() && self.cert.is_empty() && self.oidc.is_empty()
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CredentialEntry {
    pub(super) password_file: Option<String>,
    pub(super) password_env: Option<At<String>>,
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientRuleEntry {
    #[serde(default)]
    pub(super) address: List<Network>,
    #[serde(default)]
    pub(super) database: List<At<String>>,
    #[serde(default)]
    pub(super) user: List<At<String>>,
    #[serde(default)]
    pub(super) tls: TlsWanted,
    pub(super) method: Method,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OidcEntry {
    pub(super) issuer: String,
    pub(super) audience: List<String>,
    pub(super) jwks: String,
    #[serde(default)]
    pub(super) ca: Option<String>,
    #[serde(default)]
    pub(super) skew: Option<Duration>,
    #[serde(default)]
    pub(super) algorithms: List<Algorithm>,
    #[serde(default)]
    pub(super) claims: ClaimsEntry,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ClaimsEntry {
    pub(super) name: Option<String>,
    pub(super) human: Option<String>,
    pub(super) groups: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OperatorEntry {
    pub(super) name: At<String>,
    #[serde(default)]
    pub(super) human: Option<String>,
    #[serde(default)]
    pub(super) groups: List<String>,
    #[serde(default)]
    pub(super) roles: List<OperatorRole>,
    #[serde(default)]
    pub(super) token_file: Option<String>,
    #[serde(default)]
    pub(super) oidc_subject: Option<At<String>>,
    #[serde(default)]
    pub(super) slack: Option<At<String>>,
    #[serde(default)]
    pub(super) email: Option<At<String>>,
}

impl OperatorEntry {
    pub(super) fn has_no_way_in(&self) -> bool {
        self.token_file.is_none() && self.oidc_subject.is_none() && self.slack.is_none() && self.email.is_none()
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HoldEntry {
    pub(super) wait: Option<Duration>,
    pub(super) expires: Option<At<Duration>>,
    pub(super) stream_wait: Option<Duration>,
    pub(super) on_disconnect: OnDisconnect,
    pub(super) in_transaction: InTransaction,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsEntry {
    pub(super) statement_max: Option<At<Size>>,
    pub(super) bind_max: Option<At<Size>>,
    pub(super) names_max: Option<At<Size>>,
    pub(super) names_bytes_max: Option<At<Size>>,
    pub(super) pipeline_max: Option<At<Size>>,
    pub(super) sessions_max: Option<At<Size>>,
    pub(super) unauthenticated_max: Option<At<Size>>,
    pub(super) failures_max: Option<At<Size>>,
    pub(super) holds_max: Option<At<Size>>,
    pub(super) log_queue_max: Option<At<Size>>,
    pub(super) planners_max: Option<At<Size>>,
    pub(super) planner_wait: Option<Duration>,
    pub(super) unread_max: Option<Duration>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogEntry {
    pub(super) dir: Option<String>,
    pub(super) rollup: Option<At<bool>>,
    pub(super) segment_max: Option<At<Size>>,
    pub(super) sync_timeout: Option<At<Duration>>,
    pub(super) literals: LiteralsMode,
    pub(super) sinks: Vec<SinkEntry>,
    pub(super) retention: RetentionEntry,
    pub(super) checkpoints: CheckpointsEntry,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RetentionEntry {
    pub(super) age: Option<Duration>,
    pub(super) size: Option<Size>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CheckpointsEntry {
    pub(super) every: Option<Duration>,
    pub(super) to: List<At<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SinkEntry {
    pub(super) openlineage: OpenLineageEntry,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenLineageEntry {
    #[serde(default)]
    pub(super) name: Option<At<String>>,
    pub(super) url: At<String>,
    #[serde(default)]
    pub(super) token_file: Option<String>,
    #[serde(default)]
    pub(super) batch_max: Option<At<Size>>,
    #[serde(default)]
    pub(super) timeout: Option<Duration>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StoreEntry {
    pub(super) path: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AuthEntry {
    pub(super) relay_allow_nonbinding: bool,
    pub(super) allow_upstream_trust: bool,
    pub(super) timeout: Option<At<Duration>>,
    pub(super) oidc: Option<At<OidcEntry>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AdminEntry {
    pub(super) listen: Option<At<Listen>>,
}
