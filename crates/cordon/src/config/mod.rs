//! `cordon.toml`: found, read as written, and checked once into what the rest uses.
//!
//! Paths in it are relative to the file. Defaults are here and nowhere else.

pub(crate) mod env;

mod check;
mod login;
mod raw;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cordon_core::Digest;
use cordon_gateway::auth::TokenRules;
use cordon_guard::Approvers;
use cordon_guard::policy::{Diagnostic, Trust};
use cordon_store::datadir::DataDir;
use cordon_store::keyfile::KeyRing;

use crate::cli::{Failure, Global};

/// The file's name.
pub(crate) const FILE: &str = "cordon.toml";

/// The configuration of one node, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The file it came from.
    pub(crate) file: PathBuf,
    /// Digest of the file's bytes.
    pub(crate) digest: Digest,
    /// Where state lies.
    pub(crate) data: DataDir,
    /// The signed policy bundle: a directory or a tar.
    pub(crate) policy: Option<PathBuf>,
    /// A signed bundle that is judged and recorded and never enforced.
    pub(crate) shadow: Option<PathBuf>,
    /// Whose signatures count on bundles.
    pub(crate) trust: Trust,
    /// Whose signatures count on held calls.
    pub(crate) approvers: Approvers,
    /// Who runs this process: the author of what is recorded about it.
    pub(crate) login: Box<str>,
    /// Who the principals of local sessions are.
    pub(crate) identity: Identity,
    /// The network side.
    pub(crate) serve: Serve,
    /// The MCP servers that are configured by name.
    pub(crate) servers: Vec<McpServer>,
    /// How long a door keeps a held call waiting, in seconds.
    pub(crate) hold_s: u32,
    /// How long a session lives, in hours.
    pub(crate) session_h: u32,
    /// The authorization servers whose bearer tokens count.
    pub(crate) issuers: Vec<Oauth>,
    /// Whose client certificates count.
    pub(crate) spiffe: Option<Spiffe>,
    /// Bounds.
    pub(crate) limits: ConfigLimits,
    /// How long an approval may stay unanswered or unspent, in seconds.
    pub(crate) approval_s: u32,
    /// How long an owner that was started in the background stays without clients, in seconds.
    pub(crate) idle_s: u32,
}

/// Who the principals of local sessions are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Who answers for the agent; the OS login by default.
    pub(crate) owner: Box<str>,
    /// Whom the agent acts for; the owner by default.
    pub(crate) user: Box<str>,
    /// The agent where a session does not name one.
    pub(crate) agent: Box<str>,
    /// The tenant.
    pub(crate) tenant: Box<str>,
}

/// The network side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Serve {
    /// The address.
    pub(crate) listen: SocketAddr,
    /// Certificate chain and key, as PEM files.
    pub(crate) tls: Option<Tls>,
    /// Names under which clients may reach the node, beside loopback ones.
    pub(crate) hosts: Vec<Box<str>>,
    /// Web origins that may call.
    pub(crate) origins: Vec<Box<str>>,
    /// The address under which clients reach the node, where it is not `listen`.
    pub(crate) public_url: Option<Box<str>>,
}

/// Certificate chain and key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tls {
    /// The chain, leaf first.
    pub(crate) cert: PathBuf,
    /// The private key.
    pub(crate) key: PathBuf,
}

/// One configured MCP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct McpServer {
    /// The name that policies and manifests use.
    pub(crate) name: Box<str>,
    /// How it is reached.
    pub(crate) upstream: Upstream,
    /// Whether its endpoint asks for no token on a loopback listener.
    pub(crate) open_loopback: bool,
}

/// How an MCP server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// A child process.
    Stdio {
        /// The program.
        command: Box<str>,
        /// Its arguments.
        args: Vec<Box<str>>,
        /// Variables set for it.
        env: BTreeMap<Box<str>, Box<str>>,
        /// Variables of Cordon's own environment that it is given.
        pass_env: Vec<Box<str>>,
        /// Its working directory.
        cwd: Option<PathBuf>,
    },
    /// Streamable HTTP.
    Http {
        /// The endpoint.
        url: Box<str>,
        /// Holds the bearer token that Cordon itself presents.
        bearer_file: Option<PathBuf>,
        /// Another header that carries Cordon's credential.
        header: Option<(Box<str>, Box<str>)>,
    },
}

/// Bearer tokens of an authorization server (OAuth 2.1 resource server).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Oauth {
    /// The exact issuer.
    pub(crate) issuer: Box<str>,
    /// The exact audience; otherwise the resource's own address under `public_url`.
    pub(crate) audience: Option<Box<str>>,
    /// Where the issuer's keys come from.
    pub(crate) jwks: Jwks,
    /// Scopes that a token needs.
    pub(crate) scopes: Vec<Box<str>>,
    /// How far clocks may be apart, in seconds.
    pub(crate) leeway_s: u32,
    /// Whether a token counts once only.
    pub(crate) one_time: bool,
    /// What else its tokens must be, and what their claims mean.
    pub(crate) rules: TokenRules,
}

/// Whose client certificates count (X.509-SVID).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spiffe {
    /// The authorities, as a PEM file.
    pub(crate) ca: PathBuf,
    /// The trust domain that they may name workloads of.
    pub(crate) trust_domain: Box<str>,
    /// Whether nobody is answered without a certificate.
    pub(crate) required: bool,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Jwks {
    /// A file.
    File(PathBuf),
    /// An `https` URL.
    Url(Box<str>),
}

/// Bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConfigLimits {
    /// Most sessions open at once.
    pub(crate) sessions_max: u32,
    /// Most connections open at once.
    pub(crate) connections_max: u32,
    /// Largest message, in bytes.
    pub(crate) message_bytes_max: u32,
}

/// There is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// None was found.
    #[error(
        "there is no {FILE} in `{}` or above it; `cordon init` writes one that works at once, and \
         `cordon tools import` describes a server's tools in it", from.display()
    )]
    Missing {
        /// Where the search began.
        from: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It says something that is not understood.
    #[error("{}", render(.0))]
    Wrong(Vec<Diagnostic>),
    /// No directory can be chosen.
    #[error("neither XDG_STATE_HOME nor HOME names a directory; name one with --data")]
    NoHome,
}

fn render(findings: &[Diagnostic]) -> String {
    let text = findings.iter().map(Diagnostic::render).collect::<Vec<_>>().join("\n");
    text.strip_prefix("error: ").unwrap_or(&text).trim_end().to_owned()
}

impl Config {
    /// Reads the configuration that the flags name, or the nearest one above the working directory.
    pub(crate) fn load(global: &Global) -> Result<Self, ConfigError> {
        let path = match &global.config {
            Some(path) => path.clone(),
            None => nearest()?,
        };
        let read = |path: &Path| {
            let absolute = std::path::absolute(path)?;
            Ok((std::fs::read_to_string(&absolute)?, absolute))
        };
        let (text, file) =
            read(&path).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        let mut config = Self::parse(&text, &file)?;
        if let Some(data) = &global.data {
            config.data = data_at(data)?;
        }
        Ok(config)
    }

    /// The configuration that `text`, the content of `file`, describes.
    pub(crate) fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        check::check(text, file).map_err(ConfigError::Wrong)
    }

    /// The configured MCP server of this name.
    pub(crate) fn server(&self, name: &str) -> Option<&McpServer> {
        self.servers.iter().find(|server| &*server.name == name)
    }
}

/// The data directory of a command that only talks to the owner: no configuration is needed for it.
pub(crate) fn data_dir(global: &Global) -> Result<DataDir, ConfigError> {
    if let Some(data) = &global.data {
        return data_at(data);
    }
    match Config::load(global) {
        Ok(config) => Ok(config.data),
        Err(ConfigError::Missing { .. }) => {
            let state = env::state_home().ok_or(ConfigError::NoHome)?;
            Ok(DataDir::at(state.join("cordon")))
        }
        Err(error) => Err(error),
    }
}

/// The directory of private keys.
pub(crate) fn key_ring() -> Result<KeyRing, Failure> {
    let home = env::config_home();
    let home = home.ok_or_else(|| {
        Failure::new("neither XDG_CONFIG_HOME nor HOME names a directory to keep private keys in")
    })?;
    Ok(KeyRing::at(home.join("cordon").join("keys")))
}

fn data_at(path: &Path) -> Result<DataDir, ConfigError> {
    let path = std::path::absolute(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    Ok(DataDir::at(path))
}

fn nearest() -> Result<PathBuf, ConfigError> {
    let from = std::env::current_dir()
        .map_err(|source| ConfigError::Unreadable { path: PathBuf::from("."), source })?;
    let found = from.ancestors().map(|dir| dir.join(FILE)).find(|file| file.is_file());
    found.ok_or(ConfigError::Missing { from })
}
