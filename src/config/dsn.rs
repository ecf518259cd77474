//! Where an upstream is and who we are there: a URL or `key=value` words, then PG* variables, then libpq's defaults
//! (manual, chapters "Connection Strings" and "Environment Variables").

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Environment, passfile};
use crate::backend::connect::Negotiation;
use crate::net::tls::Identity;

/// Where libpq's packages look for a socket where no host is named.
pub const SOCKET_DIR: &str = "/var/run/postgresql";
/// Where Postgres listens unless said otherwise.
pub const PORT: u16 = 5432;
/// How long connecting may take where nothing says otherwise. libpq waits without end.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The server.
    pub host: Host,
    /// The address to use instead of looking the host up (`hostaddr`).
    pub hostaddr: Option<IpAddr>,
    /// The port, also part of a socket's name.
    pub port: u16,
    /// Our own role there; `None` where neither the DSN nor the environment names one.
    pub user: Option<String>,
    /// Our own password there.
    pub password: Option<Secret>,
    /// The one database that is served; `None` serves all.
    pub database: Option<String>,
    /// How much TLS is asked for.
    pub sslmode: SslMode,
    /// Who must have signed the server's certificate; `system` is the system's store.
    pub sslrootcert: Option<PathBuf>,
    /// The certificate that we show (`sslcert`, `sslkey`).
    pub identity: Option<Identity>,
    /// How TLS begins.
    pub negotiation: Negotiation,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Where passwords are looked up.
    pub passfile: Option<PathBuf>,
}

/// A server, by name or by socket directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an address.
    Tcp(String),
    /// The directory of the socket `.s.PGSQL.<port>`.
    Unix(PathBuf),
}

/// How much TLS is asked for, as in libpq.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// None.
    Disable,
    /// Where the server insists.
    Allow,
    /// Where the server has it.
    #[default]
    Prefer,
    /// Always; anybody's certificate.
    Require,
    /// Always; a certificate that is signed by a known authority.
    VerifyCa,
    /// Always; such a certificate, for this very host.
    VerifyFull,
}

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a text names no upstream. None of them repeats the text, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DsnError {
    /// Neither a URL nor words.
    #[error("it is neither postgres://… nor key=value words")]
    Shape,
    /// A `%` that is not followed by two hexadecimal digits.
    #[error("it holds a percent sign that encodes nothing")]
    Percent,
    /// A quote that does not close.
    #[error("it holds a quote that does not close")]
    Quote,
    /// More than one host or port.
    #[error("it names several hosts, and an upstream is one server")]
    SeveralHosts,
    /// A parameter that libpq does not have, or that is not supported.
    #[error("the parameter `{0}` is not supported")]
    Parameter(String),
    /// A parameter whose value it cannot have.
    #[error("the parameter `{0}` cannot have this value")]
    Value(&'static str),
}

/// Parameters that are used, and the variable that stands in for each.
const USED: [(&str, &str); 13] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("passfile", "PGPASSFILE"),
];

/// Parameters that change nothing that an upstream is about.
const HARMLESS: [&str; 10] = [
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "gssencmode",
    "target_session_attrs",
];

impl Upstream {
    /// Reads a DSN and completes it from the environment and the passfile, as libpq does.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn parse(dsn: &str, environment: &Environment) -> Result<Self, DsnError> {
        let url = dsn.strip_prefix("postgres://").or_else(|| dsn.strip_prefix("postgresql://"));
        let parameters = match url {
            Some(rest) => from_url(rest)?,
            None => from_words(dsn)?,
        };
        for (name, _) in &parameters {
            if !USED.iter().any(|(used, _)| used == name) && !HARMLESS.contains(&name.as_str()) {
                return Err(DsnError::Parameter(name.clone()));
            }
        }
        Self::complete(&Parameters { given: &parameters, environment })
    }

    fn complete(parameters: &Parameters<'_>) -> Result<Self, DsnError> {
        let one = |name: &str| match parameters.of(name) {
            Some(list) if list.contains(',') => Err(DsnError::SeveralHosts),
            other => Ok(other),
        };
        let hostaddr =
            one("hostaddr")?.map(|text| text.parse().map_err(|_| DsnError::Value("hostaddr"))).transpose()?;
        let host = match (one("host")?, hostaddr) {
            (Some(dir), _) if dir.starts_with('/') => Host::Unix(dir.into()),
            (Some(name), _) => Host::Tcp(name.to_owned()),
            (None, Some(address)) => Host::Tcp(IpAddr::to_string(&address)),
            (None, None) => Host::Unix(SOCKET_DIR.into()),
        };
        let mut upstream = Self {
            host,
            hostaddr,
            port: one("port")?.map_or(Ok(PORT), port)?,
            user: parameters.of("user").or_else(|| parameters.login()).map(str::to_owned),
            password: parameters.of("password").map(|text| Secret(text.to_owned())),
            database: parameters.of("dbname").map(str::to_owned),
            sslmode: parameters.of("sslmode").map_or(Ok(SslMode::default()), SslMode::parse)?,
            sslrootcert: parameters.of("sslrootcert").map(PathBuf::from),
            identity: identity(parameters)?,
            negotiation: parameters.of("sslnegotiation").map_or(Ok(Negotiation::Asked), negotiation)?,
            connect_timeout: parameters.of("connect_timeout").map_or(Ok(CONNECT_TIMEOUT), timeout)?,
            passfile: parameters.passfile(),
        };
        // As libpq has it: the machine's authorities sign for names, so the name is checked.
        let system = upstream.sslrootcert.as_deref() == Some(Path::new("system"));
        match (system, parameters.of("sslmode")) {
            (true, None) => upstream.sslmode = SslMode::VerifyFull,
            (true, Some(mode)) if mode != "verify-full" => return Err(DsnError::Value("sslmode")),
            _ => {}
        }
        let weak = matches!(upstream.sslmode, SslMode::Disable | SslMode::Allow | SslMode::Prefer);
        if upstream.negotiation == Negotiation::Direct && weak {
            return Err(DsnError::Value("sslnegotiation"));
        }
        if upstream.password.is_none() {
            upstream.password = upstream.user.as_deref().and_then(|user| upstream.password_of(user));
        }
        Ok(upstream)
    }

    /// The password that the passfile has for a role there.
    #[must_use]
    pub fn password_of(&self, role: &str) -> Option<Secret> {
        let there = Self { user: Some(role.to_owned()), ..self.clone() };
        passfile::password(self.passfile.as_deref()?, &there).map(Secret)
    }

    /// The server as `host:port`; for records, datasets and messages.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]:{}", self.port),
            Host::Tcp(name) => format!("{name}:{}", self.port),
            Host::Unix(dir) => format!("{}:{}", dir.display(), self.port),
        }
    }

    /// The socket's path where the server is reached by one.
    #[must_use]
    pub fn socket(&self) -> Option<PathBuf> {
        match &self.host {
            Host::Unix(dir) => Some(dir.join(format!(".s.PGSQL.{}", self.port))),
            Host::Tcp(_) => None,
        }
    }
}

impl SslMode {
    fn parse(text: &str) -> Result<Self, DsnError> {
        Ok(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            _ => return Err(DsnError::Value("sslmode")),
        })
    }
}

/// What the DSN gives, over what the environment gives.
struct Parameters<'a> {
    given: &'a [(String, String)],
    environment: &'a Environment,
}

impl Parameters<'_> {
    /// The last value of a parameter in the DSN, else its variable. An empty value counts as absent.
    fn of(&self, name: &str) -> Option<&str> {
        let given = self.given.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let variable = USED.iter().find(|(used, _)| *used == name).map(|(_, variable)| *variable);
        given.filter(|value| !value.is_empty()).or_else(|| self.environment.var(variable?))
    }

    /// The name that the system knows us by.
    fn login(&self) -> Option<&str> {
        self.environment.var("USER").or_else(|| self.environment.var("LOGNAME"))
    }

    fn passfile(&self) -> Option<PathBuf> {
        let home = || self.environment.var("HOME").map(|home| PathBuf::from(home).join(".pgpass"));
        self.of("passfile").map(PathBuf::from).or_else(home)
    }
}

fn identity(parameters: &Parameters<'_>) -> Result<Option<Identity>, DsnError> {
    match (parameters.of("sslcert"), parameters.of("sslkey")) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some(Identity { cert: cert.into(), key: key.into() })),
        (Some(_), None) => Err(DsnError::Value("sslkey")),
        (None, Some(_)) => Err(DsnError::Value("sslcert")),
    }
}

fn negotiation(text: &str) -> Result<Negotiation, DsnError> {
    match text {
        "postgres" => Ok(Negotiation::Asked),
        "direct" => Ok(Negotiation::Direct),
        _ => Err(DsnError::Value("sslnegotiation")),
    }
}

fn port(text: &str) -> Result<u16, DsnError> {
    text.parse().ok().filter(|port| *port != 0).ok_or(DsnError::Value("port"))
}

/// Whole seconds; zero and less wait without end, which here is a day.
fn timeout(text: &str) -> Result<Duration, DsnError> {
    const LONGEST: u64 = 24 * 60 * 60;
    let seconds: i64 = text.trim().parse().map_err(|_| DsnError::Value("connect_timeout"))?;
    Ok(Duration::from_secs(u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).unwrap_or(LONGEST).min(LONGEST)))
}

/// `[user[:password]@][host][:port][/dbname][?name=value&…]`.
fn from_url(rest: &str) -> Result<Vec<(String, String)>, DsnError> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (credential, server) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = credential.split_once(':').unwrap_or((credential, ""));
    let (host, port) = split_port(server)?;
    let mut parameters = Vec::new();
    for (name, value) in [("user", user), ("password", password), ("host", host), ("port", port), ("dbname", database)]
    {
        parameters.push((name.to_owned(), decode(value)?));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(DsnError::Shape)?;
        let (name, value) = (decode(name)?, decode(value)?);
        // libpq takes `ssl=true` for JDBC's sake.
        let jdbc = name == "ssl" && value == "true";
        parameters.push(if jdbc { ("sslmode".to_owned(), "require".to_owned()) } else { (name, value) });
    }
    Ok(parameters)
}

/// A host and what follows its colon; an IPv6 address stands in brackets.
fn split_port(server: &str) -> Result<(&str, &str), DsnError> {
    if server.contains(',') {
        return Err(DsnError::SeveralHosts);
    }
    match server.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or(DsnError::Shape)?;
            let port = if after.is_empty() { Some("") } else { after.strip_prefix(':') };
            Ok((host, port.ok_or(DsnError::Shape)?))
        }
        None => Ok(server.split_once(':').unwrap_or((server, ""))),
    }
}

fn decode(text: &str) -> Result<String, DsnError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else { return Err(DsnError::Percent) };
        bytes.push(u8::try_from(high * 16 + low).ok().filter(|byte| *byte != 0).ok_or(DsnError::Percent)?);
    }
    String::from_utf8(bytes).map_err(|_| DsnError::Percent)
}

/// `name = value` words; a value may stand in single quotes, with backslashes before quotes and backslashes.
fn from_words(text: &str) -> Result<Vec<(String, String)>, DsnError> {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or(DsnError::Shape)?;
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(DsnError::Shape);
        }
        let (value, after) = word(after.trim_start())?;
        parameters.push((name.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(parameters)
}

/// One value and what follows it.
fn word(text: &str) -> Result<(String, &str), DsnError> {
    let (quoted, mut letters) = match text.strip_prefix('\'') {
        Some(rest) => (true, rest.chars()),
        None => (false, text.chars()),
    };
    let mut value = String::new();
    loop {
        let before = letters.as_str();
        match letters.next() {
            None if quoted => return Err(DsnError::Quote),
            None => return Ok((value, "")),
            Some('\'') if quoted => return Ok((value, letters.as_str())),
            Some(letter) if !quoted && letter.is_whitespace() => return Ok((value, before)),
            Some('\\') => value.extend(letters.next()),
            Some(letter) => value.push(letter),
        }
    }
}
