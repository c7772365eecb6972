//! Which part of a search's results an answer holds (AuthZEN §8.2).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cordon_core::Digest;
use cordon_core::json::{Kind, Node};

use super::parse::{Result, optional, wrong};

/// Most results in one answer, and as many as there are if no limit is given.
pub(super) const RESULTS_MAX: usize = 256;
/// The version of the token's form.
const VERSION: u8 = 1;
/// How much of the query's digest a token holds, in bytes.
const BOUND: usize = 16;

/// A part of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    /// The first candidate that is looked at.
    pub(super) start: usize,
    /// Most results.
    pub(super) limit: usize,
    /// Whether the request has a `page`.
    pub(super) asked: bool,
    query: Digest,
}

impl Page {
    /// Reads the `page` of a request; a token counts for the query (and the policies) that it came from.
    pub(super) fn read(body: &Node, query: Digest) -> Result<Self> {
        let Some(page) = optional(body.get("page"), "page")? else {
            return Ok(Self { start: 0, limit: RESULTS_MAX, asked: false, query });
        };
        let limit = match page.get("limit").filter(|node| !node.is_null()) {
            None => None,
            Some(node) => match whole(node) {
                Some(limit) => Some(limit),
                None => return wrong("page.limit", "a whole number that is not negative"),
            },
        };
        let token = match page.get("token").filter(|node| !node.is_null()) {
            None => return Ok(Self { start: 0, limit: limit.unwrap_or(RESULTS_MAX), asked: true, query }),
            Some(node) => node.as_text().and_then(decode),
        };
        let same = token.filter(|token| query.as_bytes().starts_with(&token.bound));
        let Some(Token { start, limit: before, .. }) = same else {
            return wrong("page.token", "the `next_token` of this very search under the same policies");
        };
        if limit.is_some_and(|limit| limit != before) {
            return wrong("page.limit", "the same limit on every page, or none");
        }
        Ok(Self { start, limit: before, asked: true, query })
    }

    /// The token that goes on at this candidate.
    pub(super) fn token(&self, start: usize) -> String {
        let start = u32::try_from(start).unwrap_or(u32::MAX);
        let limit = u16::try_from(self.limit).unwrap_or(u16::MAX);
        let mut bytes = vec![VERSION];
        bytes.extend(start.to_be_bytes());
        bytes.extend(limit.to_be_bytes());
        bytes.extend(self.query.as_bytes().iter().take(BOUND));
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// A whole number that is not negative, however it is written, and at most [`RESULTS_MAX`].
fn whole(node: &Node) -> Option<usize> {
    let Kind::Number(text) = node.kind() else { return None };
    if let Ok(limit) = text.parse::<u64>() {
        return Some(usize::try_from(limit).unwrap_or(RESULTS_MAX).min(RESULTS_MAX));
    }
    let value = text.parse::<f64>().ok().filter(|value| value.fract() == 0.0 && *value >= 0.0)?;
    Some(format!("{value:.0}").parse::<usize>().unwrap_or(RESULTS_MAX).min(RESULTS_MAX))
}

struct Token {
    start: usize,
    limit: usize,
    bound: [u8; BOUND],
}

fn decode(text: &str) -> Option<Token> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (start, rest) = rest.split_first_chunk::<4>()?;
    let (limit, bound) = rest.split_first_chunk::<2>()?;
    let bound = <[u8; BOUND]>::try_from(bound).ok()?;
    let start = usize::try_from(u32::from_be_bytes(*start)).ok()?;
    (*version == VERSION).then_some(Token { start, limit: usize::from(u16::from_be_bytes(*limit)), bound })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_core::Limits;
    use cordon_core::json::parse;

    fn read(text: &str, query: &str) -> Result<Page> {
        Page::read(&parse(text.as_bytes(), &Limits::DEFAULT).unwrap(), Digest::of(query.as_bytes()))
    }

    #[test]
    fn a_token_goes_on_where_it_says_and_for_its_own_query_only() {
        let first = read(r#"{"page":{"limit":2}}"#, "q").unwrap();
        assert_eq!((first.start, first.limit, first.asked), (0, 2, true));
        let token = first.token(7);
        let next = |more: &str| format!(r#"{{"page":{{"token":"{token}"{more}}}}}"#);
        let second = read(&next(""), "q").unwrap();
        assert_eq!((second.start, second.limit), (7, 2));
        assert_eq!(read(&next(r#","limit":2"#), "q").unwrap(), second);
        assert_eq!(read(&next(r#","limit":3"#), "q").unwrap_err().at, "page.limit");
        assert_eq!(read(&next(""), "other").unwrap_err().at, "page.token");
        assert_eq!(read(r#"{"page":{"token":"AAAA"}}"#, "q").unwrap_err().at, "page.token");
        assert_eq!(read(r#"{"page":{"token":7}}"#, "q").unwrap_err().at, "page.token");
    }

    #[test]
    fn limits_are_whole_numbers_and_bounded() {
        assert_eq!(read("{}", "q").unwrap().limit, RESULTS_MAX);
        assert_eq!(read(r#"{"page":{}}"#, "q").unwrap().limit, RESULTS_MAX);
        assert_eq!(read(r#"{"page":{"limit":100000}}"#, "q").unwrap().limit, RESULTS_MAX);
        assert_eq!(read(r#"{"page":{"limit":0}}"#, "q").unwrap().limit, 0);
        for (text, want) in [("2.0", 2), ("1e1", 10), ("99999999999999999999999", RESULTS_MAX), ("0.0", 0)] {
            assert_eq!(
                read(&format!(r#"{{"page":{{"limit":{text}}}}}"#), "q").unwrap().limit,
                want,
                "{text}"
            );
        }
        for limit in ["-1", "1.5", "\"2\"", "[]", "-1e3"] {
            assert_eq!(
                read(&format!(r#"{{"page":{{"limit":{limit}}}}}"#), "q").unwrap_err().at,
                "page.limit"
            );
        }
        assert_eq!(read(r#"{"page":[]}"#, "q").unwrap_err().at, "page");
    }
}
