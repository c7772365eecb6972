//! Access that a person may grant: asked for after a denial that says so, polled, evaluated again
//! (AuthZEN Access Request and Approval profile, draft of July 2026).

use std::fmt::{self, Write as _};

use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cordon_core::json::{Kind, Node, quote};
use cordon_core::{Digest, Duration, Timestamp};
use cordon_guard::Ungranted;
use cordon_workflow::{Approval, Progress};

use crate::Answer;

/// Where access is asked for.
pub(super) const PATH: &str = "/access/v1/requests";
/// How long a denial may be followed by a request.
const HINT_LASTS: Duration = Duration::from_secs(600);
/// After how many seconds a caller may look again.
const RETRY_AFTER_S: u8 = 5;
/// Members of a context that are about the request for access and not about the access.
const ASIDE: [&str; 2] = ["approval", "business_justification"];

/// What ties a request for access to the denial that it follows.
pub(super) struct Requests {
    origin: Box<str>,
    /// Forgotten with the process: a denial from before a restart has to be asked for again.
    key: hmac::Key,
}

/// Why a request for access is refused; the words are the profile's problem types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Problem {
    Malformed,
    NotRequestable,
    ExpiredDenial,
    InvalidBinding,
    UnknownTask,
}

impl Problem {
    /// The answer, as an RFC 9457 problem.
    pub(super) fn answer(self, detail: &str) -> Answer {
        let (status, word, title) = match self {
            Self::Malformed => (400, "invalid_request", "The request is not one"),
            Self::NotRequestable => (400, "not_requestable", "Access is not requestable"),
            Self::ExpiredDenial => (410, "expired_denial", "The denial has expired"),
            Self::InvalidBinding => (400, "invalid_denial_binding", "The denial is of another request"),
            Self::UnknownTask => (404, "unknown_task", "There is no such task"),
        };
        let kind = quote(&format!("urn:openid:authzen:access-request:error:{word}"));
        let body = format!(
            r#"{{"type":{kind},"title":{},"status":{status},"detail":{}}}"#,
            quote(title),
            quote(detail)
        );
        Answer { status, body }
    }
}

impl Requests {
    /// Requests of a node that is reached at `origin`; none without randomness.
    pub(super) fn new(origin: &str) -> Option<Self> {
        let mut key = [0; 32];
        rand::fill(&mut key).ok()?;
        let origin = origin.trim_end_matches('/').into();
        Some(Self { origin, key: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    /// Where access is asked for, as an address.
    pub(super) fn endpoint(&self) -> String {
        format!("{}{PATH}", self.origin)
    }

    /// The members of a denial's context that say how a person could grant it.
    pub(super) fn hint(&self, binding: Digest, now: Timestamp) -> String {
        let expires = now.plus(HINT_LASTS);
        let mut bytes = expires.as_micros().to_be_bytes().to_vec();
        bytes.extend(hmac::sign(&self.key, &self.bound(expires.as_micros(), binding)).as_ref());
        format!(
            r#","access_request":{{"endpoint":{},"expires_at":{},"binding_token":{}}}"#,
            quote(&self.endpoint()),
            quote(&expires.to_string()),
            quote(&BASE64_URL_SAFE_NO_PAD.encode(bytes)),
        )
    }

    /// Whether a token is from a denial of what is bound, and still counts.
    pub(super) fn check(&self, token: &str, binding: Digest, now: Timestamp) -> Result<(), Problem> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| Problem::InvalidBinding)?;
        let (expires, tag) = bytes.split_first_chunk::<8>().ok_or(Problem::InvalidBinding)?;
        let expires = u64::from_be_bytes(*expires);
        hmac::verify(&self.key, &self.bound(expires, binding), tag).map_err(|_| Problem::InvalidBinding)?;
        if Timestamp::from_micros(expires) <= now { Err(Problem::ExpiredDenial) } else { Ok(()) }
    }

    fn bound(&self, expires: u64, binding: Digest) -> Vec<u8> {
        let mut bytes = b"cordon/denial/v1".to_vec();
        bytes.extend(expires.to_be_bytes());
        bytes.extend(binding.as_bytes());
        bytes
    }

    /// The state of a request for access.
    pub(super) fn task(&self, approval: &Approval) -> String {
        let id = approval.terms.id.to_string();
        let until = quote(&approval.terms.expires.to_string());
        let (status, approved) = match &approval.progress {
            Progress::Pending { .. } => ("pending", false),
            Progress::Granted { .. } | Progress::Spent { .. } => ("approved", true),
            Progress::Refused { .. } => ("denied", false),
            Progress::Expired => ("expired", false),
        };
        let at = quote(&format!("{}/{id}", self.endpoint()));
        let (status, id) = (quote(status), quote(&id));
        let mut out = format!(
            r#"{{"task":{{"id":{id},"status":{status},"status_endpoint":{at},"expires_at":{until}}}"#
        );
        if approved {
            let _ = write!(
                out,
                r#","result":{{"mode":"reevaluate","approval":{{"id":{id},"approved_until":{until}}}}}"#
            );
        }
        out.push('}');
        out
    }
}

/// What a caller does next whose grant did not count: the reason, the action, whether it may ask anew.
pub(super) fn next(why: &Ungranted) -> (&'static str, &'static str) {
    match why {
        Ungranted::OutOfScope(_) => ("out_of_scope", "request"),
        Ungranted::Pending(_) => ("grant_pending", "retry"),
        Ungranted::Settled { progress: "denied", .. } => ("policy_denied", "none"),
        Ungranted::Settled { .. } => ("approval_expired", "request"),
        _ => ("approval_unverifiable", "none"),
    }
}

/// The members that tell a caller what to do next.
pub(super) fn steps(reason: &str, action: &str) -> String {
    let after = if action == "retry" { format!(r#","retry_after":{RETRY_AFTER_S}"#) } else { String::new() };
    format!(r#","reason":{},"next_action":{}{after}"#, quote(reason), quote(action))
}

/// Everything that an evaluation asks, as one canonical text, and its arguments alone.
pub(super) fn exact([subject, action, resource, context]: [Option<&Node>; 4]) -> (String, String) {
    let canonical = |node: Option<&Node>| node.map(Node::canonical).unwrap_or_default();
    let mut around: Vec<String> = match context.map(Node::kind) {
        Some(Kind::Object(members)) => members
            .iter()
            .filter(|(name, node)| !ASIDE.contains(&&**name) && !node.is_null())
            .map(|(name, node)| format!("{}:{}", quote(name), node.canonical()))
            .collect(),
        _ => Vec::new(),
    };
    around.sort();
    let given = action.and_then(|action| action.get("properties"));
    let given = given.or_else(|| context.and_then(|context| context.get("args")));
    let arguments = given.map_or_else(|| "{}".to_owned(), Node::canonical);
    let parts = [canonical(subject), canonical(action), canonical(resource), around.join(",")];
    (parts.join("\n"), arguments)
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("origin", &self.origin).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_core::Limits;
    use cordon_core::json::parse;

    fn of(text: &str) -> String {
        let node = parse(text.as_bytes(), &Limits::DEFAULT).unwrap();
        exact(["subject", "action", "resource", "context"].map(|name| node.get(name))).0
    }

    #[test]
    fn the_same_question_is_one_text_and_any_other_is_another() {
        let plain =
            of(r#"{"subject":{"id":"a"},"action":{"name":"pay"},"resource":{},"context":{"x":1,"y":2}}"#);
        assert_eq!(
            plain,
            of(
                r#"{"resource":{},"action":{"name":"pay"},"subject":{ "id":"a" },"context":{"y":2,"x":1,"approval":{"id":"z"}}}"#
            )
        );
        for other in [
            r#"{"subject":{"id":"b"},"action":{"name":"pay"},"resource":{},"context":{"x":1,"y":2}}"#,
            r#"{"subject":{"id":"a"},"action":{"name":"pay"},"resource":{},"context":{"x":1}}"#,
            r#"{"subject":{"id":"a"},"action":{"name":"pay","properties":{"n":1e400}},"resource":{},"context":{"x":1,"y":2}}"#,
            r#"{"subject":{"id":"a"},"action":{"name":"pay","properties":{"n":1e401}},"resource":{},"context":{"x":1,"y":2}}"#,
        ] {
            assert_ne!(plain, of(other), "{other}");
        }
        let huge = |n: &str| of(&format!(r#"{{"action":{{"properties":{{"n":{n}}}}}}}"#));
        assert_ne!(huge("1e400"), huge("1e401"), "what no policy can read differs here");
    }

    #[test]
    fn a_token_counts_for_its_own_denial_in_its_time_and_at_its_own_node() {
        let (here, there) = (Requests::new("http://a/").unwrap(), Requests::new("http://a").unwrap());
        let (now, one, other) = (Timestamp::from_micros(7), Digest::of(b"1"), Digest::of(b"2"));
        let hint = format!("{{{}}}", here.hint(one, now).trim_start_matches(','));
        let hint = parse(hint.as_bytes(), &Limits::DEFAULT).unwrap();
        let token = hint.select("/access_request/binding_token")[0].as_text().unwrap().to_owned();
        assert_eq!(hint.select("/access_request/endpoint")[0].as_text(), Some("http://a/access/v1/requests"));
        assert_eq!(here.check(&token, one, now), Ok(()));
        assert_eq!(here.check(&token, other, now), Err(Problem::InvalidBinding));
        assert_eq!(there.check(&token, one, now), Err(Problem::InvalidBinding));
        assert_eq!(here.check(&token, one, now.plus(HINT_LASTS)), Err(Problem::ExpiredDenial));
        let mut later = BASE64_URL_SAFE_NO_PAD.decode(&token).unwrap();
        later[0] = 1;
        assert_eq!(here.check(&BASE64_URL_SAFE_NO_PAD.encode(later), one, now), Err(Problem::InvalidBinding));
        assert_eq!(here.check("", one, now), Err(Problem::InvalidBinding));
    }
}
