//! Where a call would reach: the values of the arguments that its manifest names as sinks.

use cordon_core::json::Node;
use cordon_core::{ClassKind, Request, ToolManifest};

/// Most destinations of one call that are looked at.
const DESTINATIONS_MAX: usize = 64;
/// Longest name of a destination, in bytes; a longer one is cut, and so unfamiliar.
const NAME_MAX: usize = 256;

/// One destination of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// The host of a URL, an address, or the value as it is; in lower case.
    pub(crate) name: Box<str>,
    /// The host in it, where there is one.
    pub(crate) host: Option<Box<str>>,
}

/// The classes whose calls reach somewhere.
const REACHING: [ClassKind; 4] =
    [ClassKind::NetEgress, ClassKind::MessageSend, ClassKind::MoneyMove, ClassKind::AgentDelegate];

/// Where a call would reach; nothing when it stays here.
pub(crate) fn destinations(
    request: &Request,
    manifest: Option<&ToolManifest>,
    arguments: Option<&Node>,
) -> Vec<Destination> {
    if matches!(request.resource.kind.as_str(), "Host" | "SshTarget" | "Agent") {
        return vec![Destination::of(&request.resource.id)];
    }
    let (Some(manifest), Some(arguments)) = (manifest, arguments) else { return Vec::new() };
    if !manifest.classes.iter().any(|class| REACHING.contains(&class.kind())) {
        return Vec::new();
    }
    let values = manifest.sinks.iter().flat_map(|sink| arguments.select(sink));
    let mut found: Vec<Destination> = values
        .take(DESTINATIONS_MAX.saturating_add(1))
        .map(|node| match node.as_text() {
            Some(text) => Destination::of(text),
            None => Destination::of(&node.canonical()),
        })
        .collect();
    found.dedup();
    found
}

impl Destination {
    fn of(value: &str) -> Self {
        let text = value.trim().to_lowercase();
        let host: Option<Box<str>> = host_of(&text).map(Box::from);
        let is_url = text.contains("://");
        let name: &str = host.as_deref().filter(|_| is_url).unwrap_or(&text);
        let cut = (0..=NAME_MAX.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
        Self { name: name.get(..cut).unwrap_or_default().into(), host }
    }
}

/// The host of a URL or of an e-mail address, or the text itself if it looks like a host.
fn host_of(text: &str) -> Option<&str> {
    let authority = match text.split_once("://") {
        Some((_, rest)) => rest.split(['/', '?', '#', '\\']).next()?,
        None => text,
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(literal) => literal.split_once(']')?.0,
        None => host.split_once(':').map_or(host, |(host, _)| host),
    };
    let host = host.trim_end_matches('.');
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
    (host.contains(['.', ':']) && host.chars().all(plain)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_the_host_that_a_client_would_reach() {
        for (value, name, host) in [
            ("https://API.example.com/a?b#c", "api.example.com", Some("api.example.com")),
            ("https://good.test@evil.test:8443/x", "evil.test", Some("evil.test")),
            ("https://evil.test\\@good.test/", "evil.test", Some("evil.test")),
            ("http://[2001:db8::1]:80/", "2001:db8::1", Some("2001:db8::1")),
            ("http://evil.test./", "evil.test", Some("evil.test")),
            (" Ann@Example.com ", "ann@example.com", Some("example.com")),
            ("DE89 3704 0044 0532 0130 00", "de89 3704 0044 0532 0130 00", None),
            ("customer-17", "customer-17", None),
        ] {
            let found = Destination::of(value);
            assert_eq!((&*found.name, found.host.as_deref()), (name, host), "{value}");
        }
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        assert!(Destination::of(&"ä".repeat(1_000)).name.len() <= NAME_MAX);
    }
}
