//! What an HTTP door checks before it reads a body: who the page is (Origin), which name the
//! connection was made to (Host), and what the body is.

/// Whether a `Content-Type` says that the body is one JSON value.
pub fn is_json(content_type: &str) -> bool {
    essence(content_type).eq_ignore_ascii_case("application/json")
}

/// Whether a `Content-Type` says that the body is a stream of events.
pub fn is_event_stream(content_type: &str) -> bool {
    essence(content_type).eq_ignore_ascii_case("text/event-stream")
}

/// Whether an `Accept` header admits both forms of answer, as the protocol wants of every client.
pub fn accepts_both(accept: &str) -> bool {
    let admits = |wanted: &str| {
        let group = wanted.split('/').next().unwrap_or_default();
        accept.split(',').any(|part| {
            let refused =
                part.split(';').skip(1).any(|p| matches!(p.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            let range = essence(part);
            !refused
                && (range.eq_ignore_ascii_case(wanted)
                    || range == "*/*"
                    || range.strip_suffix("/*").is_some_and(|range| range.eq_ignore_ascii_case(group)))
        })
    };
    admits("application/json") && admits("text/event-stream")
}

fn essence(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

/// A name or address with an optional port, as in a `Host` header or in an origin.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authority {
    host: Box<str>,
    port: Option<u16>,
}

impl Authority {
    /// Reads `name`, `name:port`, `[v6]` or `[v6]:port`; user information, paths, white space and
    /// anything else are refused. Names are taken in lower case, without a final dot.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            address.parse::<core::net::Ipv6Addr>().ok()?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (format!("[{}]", address.to_ascii_lowercase()), port)
        } else {
            let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            let host = host.strip_suffix('.').unwrap_or(host);
            let label = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            if host.is_empty() || host.len() > 253 || !host.bytes().all(label) {
                return None;
            }
            (host.to_ascii_lowercase(), port)
        };
        let port = match port {
            None => None,
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => Some(port.parse().ok()?),
            Some(_) => return None,
        };
        Some(Self { host: host.into(), port })
    }

    /// Whether it names this machine: `localhost`, 127.0.0.0/8 or `::1`.
    pub fn is_loopback(&self) -> bool {
        if &*self.host == "localhost" {
            return true;
        }
        let address =
            self.host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&self.host);
        address.parse::<core::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// The port, where one is given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

/// The `Host` names that a listener answers to: without this check a page whose name was pointed at
/// this machine could speak to it (DNS rebinding).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    loopback: bool,
    listed: Vec<Authority>,
}

impl Hosts {
    /// Names of this machine, with any port.
    pub fn loopback() -> Self {
        Self { loopback: true, listed: Vec::new() }
    }

    /// Also answers to `authority`; without a port, to any.
    #[must_use]
    pub fn with(mut self, authority: Authority) -> Self {
        self.listed.push(authority);
        self
    }

    /// Whether a request with this `Host` header is for this listener; one without is not.
    pub fn admit(&self, host: Option<&str>) -> bool {
        let Some(host) = host.and_then(Authority::parse) else { return false };
        let listed =
            |known: &Authority| known.host == host.host && (known.port.is_none() || known.port == host.port);
        (self.loopback && host.is_loopback()) || self.listed.iter().any(listed)
    }
}

/// The web origins whose pages may speak to a listener (RFC 6454).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    loopback: bool,
    listed: Vec<(Box<str>, Authority)>,
}

impl Origins {
    /// Pages served by this machine, on any port; pages of other machines are refused.
    pub fn loopback() -> Self {
        Self { loopback: true, listed: Vec::new() }
    }

    /// Also admits the origin `origin` (`https://name[:port]`); nothing if it is not an origin.
    #[must_use]
    pub fn with(mut self, origin: &str) -> Option<Self> {
        self.listed.push(parse_origin(origin)?);
        Some(self)
    }

    /// Whether a request with this `Origin` header may be answered. Without one it may: no browser
    /// sent it. `null`, and anything that is not exactly an origin, is refused.
    pub fn admit(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        let Some(origin) = parse_origin(origin) else { return false };
        (self.loopback && origin.1.is_loopback()) || self.listed.contains(&origin)
    }
}

/// An origin of a web page: scheme and authority, the scheme's own port left out.
fn parse_origin(text: &str) -> Option<(Box<str>, Authority)> {
    let (scheme, authority) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let usual = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let mut authority = Authority::parse(authority)?;
    authority.port = authority.port.filter(|port| *port != usual);
    Some((scheme.into(), authority))
}
