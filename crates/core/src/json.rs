//! A strict JSON reader (RFC 8259) that keeps every position, so that what was judged can be
//! forwarded as the same bytes.
//!
//! Refused: duplicate names, invalid UTF-8, a byte order mark, lone surrogates, trailing bytes, and
//! anything above the limits. Numbers keep their text; nothing is rounded.

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::ops::Range;

use crate::Limits;

/// One JSON value and where it stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    start: u32,
    end: u32,
    kind: Kind,
}

/// What a JSON value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as written.
    Number(Box<str>),
    /// A string, decoded.
    Text(Box<str>),
    /// An array.
    Array(Vec<Node>),
    /// An object, in the order written; names are decoded and distinct.
    Object(Vec<(Box<str>, Node)>),
}

/// The text is not one well-formed JSON value within the limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}: {problem}")]
pub struct JsonError {
    /// Where, in bytes from the start.
    pub offset: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Larger than `Limits::message_bytes_max`.
    #[error("the message is larger than {0} bytes")]
    TooLarge(usize),
    /// Deeper than `Limits::depth_max`.
    #[error("nested deeper than {0} levels")]
    TooDeep(u16),
    /// More values than `Limits::nodes_max`.
    #[error("more than {0} values")]
    TooMany(u32),
    /// Not UTF-8.
    #[error("not valid UTF-8")]
    Utf8,
    /// The text ended early.
    #[error("unexpected end, expected {0}")]
    End(&'static str),
    /// Something else was expected.
    #[error("expected {0}")]
    Expected(&'static str),
    /// An object names a member twice.
    #[error("the name `{0}` occurs twice in one object")]
    Duplicate(Box<str>),
    /// A `\u` escape of half a surrogate pair.
    #[error("a lone surrogate")]
    Surrogate,
}

/// Reads one JSON value that fills the whole of `bytes`.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Node, JsonError> {
    let fail = |offset, problem| Err(JsonError { offset, problem });
    if bytes.len() > limits.message_bytes_max || u32::try_from(bytes.len()).is_err() {
        return fail(0, Problem::TooLarge(limits.message_bytes_max));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return fail(error.valid_up_to(), Problem::Utf8),
    };
    let mut reader = Reader { text, at: 0, nodes: 0, limits };
    reader.white();
    let node = reader.value(0)?;
    reader.white();
    if reader.at < bytes.len() {
        return fail(reader.at, Problem::Expected("the end of the message"));
    }
    Ok(node)
}

impl Node {
    /// What the value is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Where the value stands in the text it was read from.
    pub fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The value's own bytes within `text`, the text it was read from.
    pub fn raw<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        text.get(self.span()).unwrap_or_default()
    }

    /// The member `name`, if this is an object that has it.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.members().iter().find_map(|(have, node)| (&**have == name).then_some(node))
    }

    /// The members of an object; nothing for any other value.
    pub fn members(&self) -> &[(Box<str>, Node)] {
        match &self.kind {
            Kind::Object(members) => members,
            _ => &[],
        }
    }

    /// The items of an array; nothing for any other value.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Array(items) => items,
            _ => &[],
        }
    }

    /// The text, if this is a string.
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match &self.kind {
            Kind::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The whole number, if this is one written without fraction or exponent.
    pub fn as_i64(&self) -> Option<i64> {
        match &self.kind {
            Kind::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    /// Whether this is an object.
    pub fn is_object(&self) -> bool {
        matches!(self.kind, Kind::Object(_))
    }

    /// The value with names sorted and no white space, numbers as written: two texts of the same
    /// value in different order or spacing have one canonical text.
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        self.write_canonical(&mut out);
        out
    }

    fn write_canonical(&self, out: &mut String) {
        match &self.kind {
            Kind::Array(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    item.write_canonical(out);
                }
                out.push(']');
            }
            Kind::Object(members) => {
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
                out.push('{');
                for (n, (name, node)) in sorted.into_iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    out.push_str(&quote(name));
                    out.push(':');
                    node.write_canonical(out);
                }
                out.push('}');
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) => {
                let _ = write!(out, "{self}");
            }
        }
    }

    /// The values that a JSON Pointer (RFC 6901) names; the token `*` names every item or member.
    pub fn select(&self, pointer: &str) -> Vec<&Node> {
        let mut found = vec![self];
        if pointer.is_empty() {
            return found;
        }
        let Some(tokens) = pointer.strip_prefix('/') else { return Vec::new() };
        for token in tokens.split('/') {
            let token = token.replace("~1", "/").replace("~0", "~");
            found = found
                .into_iter()
                .flat_map(|node| match (&node.kind, token.as_str()) {
                    (Kind::Array(items), "*") => items.iter().collect::<Vec<_>>(),
                    (Kind::Object(members), "*") => members.iter().map(|(_, node)| node).collect(),
                    (Kind::Array(items), index) => {
                        // RFC 6901 §4: digits only, no leading zero.
                        let plain = index.bytes().all(|b| b.is_ascii_digit())
                            && (index == "0" || !index.starts_with('0'));
                        let index = index.parse::<usize>().ok().filter(|_| plain);
                        index.and_then(|index| items.get(index)).into_iter().collect()
                    }
                    (Kind::Object(_), name) => node.get(name).into_iter().collect(),
                    _ => Vec::new(),
                })
                .collect();
        }
        found
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    nodes: u32,
    limits: &'t Limits,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn bump(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at = self.at.saturating_add(1);
        Some(byte)
    }

    fn fail<T>(&self, problem: Problem) -> Result<T, JsonError> {
        Err(JsonError { offset: self.at, problem })
    }

    fn expected<T>(&self, what: &'static str) -> Result<T, JsonError> {
        self.fail(if self.peek().is_none() { Problem::End(what) } else { Problem::Expected(what) })
    }

    fn white(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at = self.at.saturating_add(1);
        }
    }

    fn value(&mut self, depth: u16) -> Result<Node, JsonError> {
        if depth >= self.limits.depth_max {
            return self.fail(Problem::TooDeep(self.limits.depth_max));
        }
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > self.limits.nodes_max {
            return self.fail(Problem::TooMany(self.limits.nodes_max));
        }
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Kind::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Kind::Bool(true))?,
            Some(b'f') => self.word("false", Kind::Bool(false))?,
            Some(b'n') => self.word("null", Kind::Null)?,
            _ => return self.expected("a JSON value"),
        };
        // `parse` refuses texts that do not fit 32 bits.
        let (start, end) =
            (u32::try_from(start).unwrap_or(u32::MAX), u32::try_from(self.at).unwrap_or(u32::MAX));
        Ok(Node { start, end, kind })
    }

    fn word(&mut self, word: &'static str, kind: Kind) -> Result<Kind, JsonError> {
        match self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            true => {
                self.at = self.at.saturating_add(word.len());
                Ok(kind)
            }
            false => self.fail(Problem::Expected("a JSON value")),
        }
    }

    fn array(&mut self, depth: u16) -> Result<Kind, JsonError> {
        self.bump();
        let mut items = Vec::new();
        self.white();
        if self.peek() == Some(b']') {
            self.bump();
            return Ok(Kind::Array(items));
        }
        loop {
            self.white();
            items.push(self.value(depth.saturating_add(1))?);
            self.white();
            match self.peek() {
                Some(b',') => self.bump(),
                Some(b']') => {
                    self.bump();
                    return Ok(Kind::Array(items));
                }
                _ => return self.expected("`,` or `]`"),
            };
        }
    }

    fn object(&mut self, depth: u16) -> Result<Kind, JsonError> {
        self.bump();
        let mut members: Vec<(Box<str>, Node)> = Vec::new();
        let mut seen: HashSet<Box<str>> = HashSet::new();
        self.white();
        if self.peek() == Some(b'}') {
            self.bump();
            return Ok(Kind::Object(members));
        }
        loop {
            self.white();
            if self.peek() != Some(b'"') {
                return self.expected("a name in quotes");
            }
            let start = self.at;
            let name = self.string()?;
            // Small objects are searched, large ones hashed, so that size never costs quadratic time.
            let twice = if members.len() < 16 {
                members.iter().any(|(have, _)| *have == name)
            } else {
                if seen.is_empty() {
                    seen.extend(members.iter().map(|(have, _)| have.clone()));
                }
                !seen.insert(name.clone())
            };
            if twice {
                return Err(JsonError { offset: start, problem: Problem::Duplicate(name) });
            }
            self.white();
            if self.peek() != Some(b':') {
                return self.expected("`:`");
            }
            self.bump();
            self.white();
            let node = self.value(depth.saturating_add(1))?;
            members.push((name, node));
            self.white();
            match self.peek() {
                Some(b',') => self.bump(),
                Some(b'}') => {
                    self.bump();
                    return Ok(Kind::Object(members));
                }
                _ => return self.expected("`,` or `}`"),
            };
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.bump();
        }
        if self.at == start { self.expected("a digit") } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Kind, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.bump();
        }
        match self.peek() {
            Some(b'0') => {
                self.bump();
            }
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.bump();
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.bump();
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.bump();
            }
            self.digits()?;
        }
        Ok(Kind::Number(self.text.get(start..self.at).unwrap_or_default().into()))
    }

    fn string(&mut self) -> Result<Box<str>, JsonError> {
        self.bump();
        let mut text = String::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.bump();
            }
            text.push_str(self.text.get(start..self.at).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.bump();
                    return Ok(text.into());
                }
                Some(b'\\') => {
                    self.bump();
                    text.push(self.escape()?);
                }
                _ => return self.expected("the end of the string"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let Some(byte) = self.bump() else { return self.expected("an escape") };
        Ok(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return self.fail(Problem::Expected("one of `\"\\/bfnrtu` after `\\`")),
        })
    }

    fn unicode(&mut self) -> Result<char, JsonError> {
        let first = self.unit()?;
        let code = match first {
            0xd800..=0xdbff => {
                if self.bump() != Some(b'\\') || self.bump() != Some(b'u') {
                    return self.fail(Problem::Surrogate);
                }
                let second = self.unit()?;
                let Some(low) = second.checked_sub(0xdc00).filter(|low| *low < 0x400) else {
                    return self.fail(Problem::Surrogate);
                };
                0x1_0000u32.saturating_add((first & 0x3ff) << 10).saturating_add(low)
            }
            code => code,
        };
        char::from_u32(code).map_or_else(|| self.fail(Problem::Surrogate), Ok)
    }

    fn unit(&mut self) -> Result<u32, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else { return self.expected("four hex digits") };
            self.bump();
            unit = (unit << 4) | digit;
        }
        Ok(unit)
    }
}

/// Writes `text` as a JSON string, quotes included.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // U+2028 and U+2029 end a line for some readers; control characters are never literal.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The name without letter case: names with the same fold are one name to a reader that ignores
/// case, as Go's `encoding/json` does (it takes `ſ` for `s` and the Kelvin sign for `k` too).
pub fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// The value as compact JSON text; numbers as they were written.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Null => f.write_str("null"),
            Kind::Bool(value) => write!(f, "{value}"),
            Kind::Number(text) => f.write_str(text),
            Kind::Text(text) => f.write_str(&quote(text)),
            Kind::Array(items) => {
                f.write_char('[')?;
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        f.write_char(',')?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_char(']')
            }
            Kind::Object(members) => {
                f.write_char('{')?;
                for (n, (name, node)) in members.iter().enumerate() {
                    if n > 0 {
                        f.write_char(',')?;
                    }
                    write!(f, "{}:{node}", quote(name))?;
                }
                f.write_char('}')
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], want: Result<&str, &str>) {
        let got =
            parse(text, &Limits { depth_max: 4, nodes_max: 20, message_bytes_max: 200, ..Limits::DEFAULT });
        let got = got.map(|node| node.to_string()).map_err(|error| error.to_string());
        assert_eq!(got.as_deref().map_err(String::as_str), want, "{}", String::from_utf8_lossy(text));
    }

    #[test]
    fn well_formed_values_keep_their_numbers_and_order() {
        check(br#" {"b":[1.50,-0,1e9],"a":null} "#, Ok(r#"{"b":[1.50,-0,1e9],"a":null}"#));
        check(br#""\u00e9\ud83d\ude00\/""#, Ok("\"\u{e9}\u{1f600}/\""));
    }

    #[test]
    fn a_duplicate_name_is_refused_even_when_it_is_spelled_differently() {
        check(br#"{"name":"add","name":"echo"}"#, Err("byte 14: the name `name` occurs twice in one object"));
        check(
            br#"{"name":"add","n\u0061me":"echo"}"#,
            Err("byte 14: the name `name` occurs twice in one object"),
        );
        check(br#"{"name":1,"Name":2}"#, Ok(r#"{"name":1,"Name":2}"#));
        let many: String = (0..40).map(|n| format!("\"k{n}\":0,")).collect();
        let twice = format!("{{{many}\"k3\":1}}");
        let error = parse(twice.as_bytes(), &Limits::DEFAULT).map(|_| ()).unwrap_err();
        assert_eq!(error.problem, Problem::Duplicate("k3".into()));
    }

    #[test]
    fn what_other_readers_let_through_is_refused() {
        check(b"\xef\xbb\xbf{}", Err("byte 0: expected a JSON value"));
        check(b"{\"a\":\"\xff\"}", Err("byte 6: not valid UTF-8"));
        check(br#""\ud800""#, Err("byte 8: a lone surrogate"));
        check(br#""\udc00""#, Err("byte 7: a lone surrogate"));
        check(b"NaN", Err("byte 0: expected a JSON value"));
        check(b"01", Err("byte 1: expected the end of the message"));
        check(b"1.", Err("byte 2: unexpected end, expected a digit"));
        check(b"[1,]", Err("byte 3: expected a JSON value"));
        check(b"{} {}", Err("byte 3: expected the end of the message"));
        check(b"\"a\nb\"", Err("byte 2: expected the end of the string"));
        check(b"", Err("byte 0: unexpected end, expected a JSON value"));
    }

    #[test]
    fn each_limit_is_named() {
        check(b"[[[1]]]", Ok("[[[1]]]"));
        check(b"[[[[1]]]]", Err("byte 4: nested deeper than 4 levels"));
        check(&[b' '; 201], Err("byte 0: the message is larger than 200 bytes"));
        check(b"[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]", Err("byte 39: more than 20 values"));
    }

    #[test]
    fn pointers_select_items_members_and_escaped_names() {
        let node = parse(br#"{"to":[{"m":"a"},{"m":"b"}],"x/y":1,"":2}"#, &Limits::DEFAULT).unwrap();
        let texts: Vec<_> = node.select("/to/*/m").into_iter().filter_map(Node::as_text).collect();
        assert_eq!(texts, ["a", "b"]);
        assert_eq!(node.select("/x~1y").len(), 1);
        assert_eq!(node.select("/").len(), 1);
        assert_eq!(node.select("").len(), 1);
        assert!(node.select("to").is_empty());
        assert_eq!(node.select("/to/1/m").len(), 1);
        for none in ["/to/7", "/to/+1", "/to/01", "/to/1/m/x"] {
            assert!(node.select(none).is_empty(), "{none}");
        }
    }

    #[test]
    fn one_value_has_one_canonical_text() {
        let text = |text: &str| parse(text.as_bytes(), &Limits::DEFAULT).unwrap().canonical();
        assert_eq!(
            text(r#"{ "b" : 1.0, "a" : ["\u0041", {"d":1,"c":2}] }"#),
            r#"{"a":["A",{"c":2,"d":1}],"b":1.0}"#
        );
        assert_eq!(text(r#"{"a":1,"b":2}"#), text(r#"{"b":2,"a":1}"#));
        assert_ne!(text("[1]"), text("[1.0]"));
    }

    #[test]
    fn names_fold_to_what_a_reader_that_ignores_case_takes_them_for() {
        for name in ["Name", "NAME", "n\u{0041}me"] {
            assert_eq!(fold(name), "name");
        }
        assert_eq!(fold("ta\u{17f}kId"), "taskid");
        assert_eq!(fold("tas\u{212a}Id"), "taskid");
        assert_ne!(fold("na_me"), "name");
    }

    #[test]
    fn raw_gives_the_exact_bytes_of_a_value() {
        let text = br#"{"a" : [ 1 , 2 ] }"#;
        let node = parse(text, &Limits::DEFAULT).unwrap();
        assert_eq!(node.get("a").map(|a| a.raw(text)), Some(&b"[ 1 , 2 ]"[..]));
    }
}
