//! What a door is built with, checked once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use cordon_core::Limits;
use cordon_wire::mcp::RESERVED_SERVER;
use hyper::Uri;
use hyper::header::HeaderValue;

/// One configured MCP server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Its name in actions (`name/tool`) and paths (`/mcp/name`).
    pub name: Box<str>,
    /// Where it is.
    pub upstream: UpstreamOptions,
    /// Bounds on talking to it.
    pub limits: DoorLimits,
}

/// Where a server is.
#[derive(Debug, Clone)]
pub enum UpstreamOptions {
    /// A child process that speaks over its standard streams.
    Stdio(Command),
    /// A server over Streamable HTTP.
    Http(Endpoint),
}

/// A program to run as a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Command {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Environment variables beside the allow-list (see [`crate::mcp::child`]).
    pub env: BTreeMap<OsString, OsString>,
    /// The directory it starts in.
    pub cwd: Option<PathBuf>,
}

/// A server's address and Cordon's own credential for it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The address: `https`, or `http` to this machine.
    pub url: Uri,
    /// What Cordon presents; never what a client presented.
    pub credential: Option<Credential>,
}

/// A header that carries a secret; it is never shown.
#[derive(Clone)]
pub struct Credential {
    pub(crate) name: hyper::header::HeaderName,
    pub(crate) value: HeaderValue,
}

/// Bounds on one door; each has a safe default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoorLimits {
    /// How long a held call waits for a person before it is answered.
    pub hold: Duration,
    /// How often a held call reports progress.
    pub progress_every: Duration,
    /// Most requests of one client in flight.
    pub in_flight_max: u32,
    /// Most messages from the server for one request, or waiting for the client.
    pub messages_max: u32,
    /// Most pages of a tool list.
    pub pages_max: u32,
    /// How old a tool list may be when a tool is called.
    pub list_age: Duration,
    /// How long a session lasts.
    pub session: Duration,
    /// How long a child has to end after SIGTERM.
    pub grace: Duration,
    /// Bounds on one message.
    pub message: Limits,
}

impl DoorLimits {
    /// The defaults: calls are held 30 s with progress every 2 s, 64 requests in flight, 10,000
    /// messages, 64 pages, lists of 5 minutes, sessions of 7 days, 2 s of grace.
    pub const DEFAULT: Self = Self {
        hold: Duration::from_secs(30),
        progress_every: Duration::from_secs(2),
        in_flight_max: 64,
        messages_max: 10_000,
        pages_max: 64,
        list_age: Duration::from_secs(300),
        session: Duration::from_secs(7 * 86_400),
        grace: Duration::from_secs(2),
        message: Limits::DEFAULT,
    };
}

impl Default for DoorLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The options of a server do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOptions {
    /// The name cannot stand in an action or in a path.
    #[error(
        "`{0}` is not a server name: use 1 to 64 letters, digits, `-`, `.` or single `_`, and not `{RESERVED_SERVER}`"
    )]
    Name(Box<str>),
    /// Two servers have one name.
    #[error("two servers are called `{0}`")]
    Twice(Box<str>),
    /// The address is not one that may be used.
    #[error("`{0}` is not an address of a server: use `https://…`, or `http://` to this machine")]
    Url(Box<str>),
    /// The credential cannot stand in a header.
    #[error("the credential has characters that a header may not have")]
    Credential,
    /// No program is named.
    #[error("the command is empty: name the program to run")]
    Command,
    /// The certificate authorities of the system could not be used.
    #[error("TLS cannot be set up: {0}")]
    Tls(Box<str>),
}

impl ServerOptions {
    /// The options of a server with default limits.
    pub fn new(name: impl Into<Box<str>>, upstream: UpstreamOptions) -> Result<Self, InvalidOptions> {
        let name = name.into();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        // `__` separates server and tool on the aggregate endpoint.
        let separable = !name.contains("__") && !name.starts_with('_') && !name.ends_with('_');
        if !(1..=64).contains(&name.len())
            || !name.bytes().all(plain)
            || !separable
            || &*name == RESERVED_SERVER
            || matches!(&*name, "." | "..")
        {
            return Err(InvalidOptions::Name(name));
        }
        if let UpstreamOptions::Stdio(command) = &upstream
            && command.program.is_empty()
        {
            return Err(InvalidOptions::Command);
        }
        Ok(Self { name, upstream, limits: DoorLimits::DEFAULT })
    }
}

impl Endpoint {
    /// The server at `url`: `https`, or `http` to this machine; no user information, no fragment.
    pub fn new(url: &str, credential: Option<Credential>) -> Result<Self, InvalidOptions> {
        let wrong = || InvalidOptions::Url(url.chars().take(200).collect::<String>().into());
        if url.contains('#') {
            return Err(wrong());
        }
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        let host = cordon_wire::mcp::http::Authority::parse(authority.as_str()).ok_or_else(wrong)?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if host.is_loopback() => {}
            _ => return Err(wrong()),
        }
        Ok(Self { url: uri, credential })
    }
}

impl Credential {
    /// `Authorization: Bearer <token>`.
    pub fn bearer(token: &str) -> Result<Self, InvalidOptions> {
        Self::header("authorization", &format!("Bearer {}", token.trim()))
    }

    /// Any other header.
    pub fn header(name: &str, value: &str) -> Result<Self, InvalidOptions> {
        let name = name.parse().map_err(|_| InvalidOptions::Credential)?;
        let mut value = HeaderValue::from_str(value).map_err(|_| InvalidOptions::Credential)?;
        value.set_sensitive(true);
        Ok(Self { name, value })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}: …)", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stdio(program: &str) -> UpstreamOptions {
        UpstreamOptions::Stdio(Command { program: program.into(), ..Command::default() })
    }

    #[test]
    fn a_name_that_could_pass_for_another_is_refused() {
        for name in ["mail", "mail-2", "a_b", "x.y"] {
            assert!(ServerOptions::new(name, stdio("true")).is_ok(), "{name}");
        }
        for name in ["", "mcp", "a__b", "_a", "a_", "a/b", "a b", "ä", "..", &"x".repeat(65)] {
            assert!(ServerOptions::new(name, stdio("true")).is_err(), "{name}");
        }
        assert_eq!(ServerOptions::new("a", stdio("")).err(), Some(InvalidOptions::Command));
    }

    #[test]
    fn a_credential_never_leaves_in_clear_and_is_never_shown() {
        for url in ["https://mcp.example/x", "http://127.0.0.1:9/mcp", "http://localhost/", "http://[::1]:8/"]
        {
            assert!(Endpoint::new(url, None).is_ok(), "{url}");
        }
        for url in ["http://mcp.example/", "ftp://127.0.0.1/", "https://u:p@h/", "/mcp", "https://h/#x", ""] {
            assert!(Endpoint::new(url, None).is_err(), "{url}");
        }
        let credential = Credential::bearer("s3cret").unwrap();
        assert!(!format!("{credential:?}").contains("s3cret"));
    }
}
