//! Checks on argument values that a manifest asks for beyond the tool's own schema.

use std::cmp::Ordering;

use cordon_core::json::{Kind, Node};
use cordon_core::{Timestamp, Validator, ValidatorKind};

use crate::Violation;
use crate::schema::Exact;

/// What is wrong with the arguments by the manifest's checks; nothing where they hold.
///
/// A check on a value that is absent holds: whether it must be there is the schema's matter. A check
/// on a value of another type than it is made for fails.
pub fn check_validators(validators: &[Validator], arguments: &Node) -> Vec<Violation> {
    validators
        .iter()
        .flat_map(|validator| {
            let values = arguments.select(&validator.at);
            let failed = values.into_iter().find_map(|value| fault(&validator.kind, value, arguments));
            failed.map(|(message, expected)| Violation::new(&validator.at, message, &expected))
        })
        .collect()
}

type Fault = (&'static str, String);

fn fault(kind: &ValidatorKind, value: &Node, arguments: &Node) -> Option<Fault> {
    match kind {
        ValidatorKind::Email => unless(value.as_text().is_some_and(is_email), || {
            ("it is not an e-mail address", "`local@domain`".to_owned())
        }),
        ValidatorKind::Url { schemes } => {
            unless(value.as_text().is_some_and(|text| is_url(text, schemes)), || {
                let schemes = if schemes.is_empty() { "https".to_owned() } else { schemes.join(", ") };
                (
                    "it is not an absolute URL that is permitted",
                    format!("a URL with a host, scheme {schemes}"),
                )
            })
        }
        ValidatorKind::Range { min, max } => {
            let whole = match value.kind() {
                Kind::Number(text) => Exact::parse(text).and_then(|exact| exact.as_i64()),
                _ => None,
            };
            unless(whole.is_some_and(|whole| (*min..=*max).contains(&whole)), || {
                ("it is not in the permitted range", format!("a whole number from {min} to {max}"))
            })
        }
        ValidatorKind::Length { min, max } => {
            let bounds = *min as usize..=*max as usize;
            let fits = value.as_text().is_some_and(|text| bounds.contains(&text.chars().count()));
            unless(fits, || ("its length is not permitted", format!("text of {min} to {max} characters")))
        }
        ValidatorKind::OneOf { values } => {
            let listed = value.as_text().is_some_and(|text| values.iter().any(|value| **value == *text));
            unless(listed, || ("it is not one of the permitted values", values.join(", ")))
        }
        ValidatorKind::NotAfter { other } => not_after(value, other, arguments),
        // A check that this version does not know cannot be said to hold.
        _ => Some(("its check is not known to this version", String::new())),
    }
}

fn unless(holds: bool, fault: impl FnOnce() -> Fault) -> Option<Fault> {
    (!holds).then(fault)
}

fn not_after(value: &Node, other: &str, arguments: &Node) -> Option<Fault> {
    let others = arguments.select(other);
    let late = others
        .into_iter()
        .find(|later| !matches!(order(value, later), Some(Ordering::Less | Ordering::Equal)));
    late.map(|_| {
        ("it is after another argument, or the two cannot be compared", format!("not after `{other}`"))
    })
}

/// Numbers by value, dates and instants (RFC 3339) by time; nothing else can be compared.
fn order(a: &Node, b: &Node) -> Option<Ordering> {
    match (a.kind(), b.kind()) {
        (Kind::Number(a), Kind::Number(b)) => Some(Exact::parse(a)?.cmp(&Exact::parse(b)?)),
        (Kind::Text(a), Kind::Text(b)) => Some(instant(a)?.cmp(&instant(b)?)),
        _ => None,
    }
}

/// An instant or a day (its first moment, UTC) in microseconds since 1970.
fn instant(text: &str) -> Option<i128> {
    let micros = |text: &str| Timestamp::parse_rfc3339(text).map(|at| i128::from(at.as_micros()));
    if let Some(at) = micros(text).or_else(|| micros(&format!("{text}T00:00:00Z"))) {
        return Some(at);
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let sign = match offset.get(..1)? {
        "+" => -1,
        "-" => 1,
        _ => return None,
    };
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let two = |text: &str| {
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<i128>().ok())?
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let shift = hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60_000_000)?.checked_mul(sign)?;
    micros(&format!("{local}Z"))?.checked_add(shift)
}

/// An address as mail systems deliver it (RFC 5321 `Mailbox` with a dot-string and a domain name): no
/// display name, no quotes, no second address.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let atom = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
    };
    (1..=64).contains(&local.len()) && local.split('.').all(atom) && is_domain(domain)
}

fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.contains('.') && name.split('.').all(label)
}

/// An absolute URL with one of the schemes and a host; no user information, no white space, no
/// backslash (which browsers take for a slash).
fn is_url(text: &str, schemes: &[Box<str>]) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let known = match schemes {
        [] => scheme.eq_ignore_ascii_case("https"),
        schemes => schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(address, port)| {
            address.parse::<core::net::Ipv6Addr>().is_ok()
                && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        }),
        None => {
            let (host, port) =
                authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
            let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            Some(!host.is_empty() && host.bytes().all(name) && port.is_none_or(is_port))
        }
    };
    let clean =
        text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'<' | b'>' | b'`' | b'^'));
    known && host == Some(true) && clean
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}
