//! `cordon.toml` as written: every table and key there is, and nothing else.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) data: RawData,
    pub(super) policy: RawPolicy,
    pub(super) trust: RawTrust,
    pub(super) identity: RawIdentity,
    pub(super) serve: RawServe,
    pub(super) owner: RawOwner,
    pub(super) mcp: RawMcp,
    pub(super) auth: RawAuth,
    pub(super) limits: RawLimits,
    pub(super) approvals: RawApprovals,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawData {
    pub(super) dir: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPolicy {
    pub(super) path: Option<Spanned<String>>,
    pub(super) shadow: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTrust {
    pub(super) policy: Option<RawRoleTrust>,
    pub(super) tools: Option<RawRoleTrust>,
    pub(super) kill: Option<RawRoleTrust>,
    pub(super) approvers: BTreeMap<String, RawApprover>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRoleTrust {
    pub(super) threshold: Option<Spanned<u32>>,
    pub(super) keys: Spanned<Vec<Spanned<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApprover {
    pub(super) key: Spanned<String>,
    pub(super) roles: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawIdentity {
    pub(super) owner: Option<Spanned<String>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) agent: Option<Spanned<String>>,
    pub(super) tenant: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawServe {
    pub(super) listen: Option<Spanned<String>>,
    pub(super) tls: Option<RawTls>,
    pub(super) hosts: Vec<Spanned<String>>,
    pub(super) origins: Vec<Spanned<String>>,
    pub(super) public_url: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    pub(super) cert: String,
    pub(super) key: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawOwner {
    pub(super) idle_s: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMcp {
    pub(super) hold_s: Option<Spanned<u32>>,
    pub(super) session_h: Option<Spanned<u32>>,
    pub(super) server: Vec<Spanned<RawServer>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawServer {
    pub(super) name: Spanned<String>,
    pub(super) command: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) args: Vec<String>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) pass_env: Vec<String>,
    pub(super) cwd: Option<String>,
    pub(super) url: Option<Spanned<String>>,
    pub(super) bearer_file: Option<Spanned<String>>,
    pub(super) header: Option<RawHeader>,
    #[serde(default)]
    pub(super) open_loopback: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHeader {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAuth {
    pub(super) oauth: Option<RawOauth>,
    pub(super) issuer: Vec<RawOauth>,
    pub(super) spiffe: Option<RawSpiffe>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSpiffe {
    pub(super) ca: Spanned<String>,
    pub(super) trust_domain: Spanned<String>,
    #[serde(default)]
    pub(super) required: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOauth {
    pub(super) issuer: Spanned<String>,
    pub(super) audience: Option<String>,
    pub(super) jwks_file: Option<Spanned<String>>,
    pub(super) jwks_url: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) scopes: Vec<String>,
    pub(super) types: Option<Spanned<Vec<String>>>,
    pub(super) algorithms: Option<Spanned<Vec<String>>>,
    pub(super) leeway_s: Option<Spanned<u32>>,
    pub(super) age_max_s: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) one_time: bool,
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, Spanned<RawAttribute>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAttribute {
    pub(super) claim: String,
    pub(super) of: Option<String>,
    pub(super) max_age_s: Option<Spanned<u32>>,
    pub(super) since: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    pub(super) sessions_max: Option<Spanned<u32>>,
    pub(super) connections_max: Option<Spanned<u32>>,
    pub(super) message_bytes_max: Option<Spanned<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawApprovals {
    pub(super) expires_s: Option<Spanned<u32>>,
}
