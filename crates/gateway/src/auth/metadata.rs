//! What a protected resource says of itself (RFC 9728).

use cordon_core::json::quote;

/// Where the metadata of the resource at `/path` stand: this, and then `/path` (RFC 9728 §3.1).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The metadata of one protected resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub(super) origin: Box<str>,
    pub(super) path: Box<str>,
    pub(super) issuers: Vec<Box<str>>,
    pub(super) scopes: Vec<Box<str>>,
}

impl Metadata {
    /// The resource's identifier, which is the audience that its tokens must have.
    pub fn resource(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// Where these metadata are served.
    pub fn url(&self) -> String {
        format!("{}{WELL_KNOWN}{}", self.origin, self.path)
    }

    /// The scopes that a client should ask for, if any.
    pub fn scope(&self) -> Option<String> {
        (!self.scopes.is_empty()).then(|| self.scopes.join(" "))
    }

    /// The metadata as JSON.
    pub fn to_json(&self) -> String {
        let issuers: Vec<_> = self.issuers.iter().map(|issuer| quote(issuer)).collect();
        let scopes: Vec<_> = self.scopes.iter().map(|scope| quote(scope)).collect();
        let scopes = match scopes.is_empty() {
            true => String::new(),
            false => format!(r#","scopes_supported":[{}]"#, scopes.join(",")),
        };
        format!(
            r#"{{"resource":{},"authorization_servers":[{}],"bearer_methods_supported":["header"]{scopes}}}"#,
            quote(&self.resource()),
            issuers.join(",")
        )
    }
}
