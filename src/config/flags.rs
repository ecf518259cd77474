//! What the command line of `serve` says; each flag wins over the file.

use std::path::PathBuf;

/// Flags as typed; `None` where not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServeFlags {
    /// `--upstream`: a URL or `key=value` words; replaces the file's upstreams.
    pub upstream: Option<String>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--http`: an address or `off`.
    pub http: Option<String>,
    /// `--policies`.
    pub policies: Option<PathBuf>,
    /// `--state`.
    pub state: Option<PathBuf>,
    /// `--mode`: `enforce` or `observe`.
    pub mode: Option<String>,
    /// `--hold-wait`: a time span such as `60s`.
    pub hold_wait: Option<String>,
    /// `--insecure-listen`.
    pub insecure_listen: bool,
}
