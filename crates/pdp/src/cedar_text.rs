//! Cedar policy text before it is parsed: where each policy stands, and short names made whole.
//!
//! The tokens are those of the Cedar grammar (`grammar.lalrpop`): identifiers, strings with
//! backslash escapes, `//` comments, `::` and single characters.

use std::ops::Range;

/// The namespace of Cordon's vocabulary.
pub(crate) const NAMESPACE: &str = "Cordon";

const PREFIX: &str = "Cordon::";

/// Deepest nesting of brackets in a policy.
const DEPTH_MAX: usize = 64;

/// One file's text with `User::"a"` written as `Cordon::User::"a"`, and its policies.
#[derive(Debug, Clone)]
pub(crate) struct CedarText {
    /// The text with whole names.
    pub(crate) text: String,
    /// Where `Cordon::` was put in, as offsets in `text`, in order.
    inserted: Vec<usize>,
    /// The policies, in order.
    pub(crate) policies: Vec<PolicyText>,
}

/// Where the parts of one policy stand in the text with whole names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyText {
    /// From the first annotation to the semicolon.
    pub(crate) span: Range<usize>,
    /// The word `permit` or `forbid`.
    pub(crate) effect: Range<usize>,
    /// The byte after the bracket that closes the scope.
    pub(crate) scope_end: usize,
}

/// The brackets are nested too deep at this byte of the original text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooDeep(pub(crate) usize);

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Text,
    Path,
    Mark(u8),
}

/// One token and the bytes that it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl CedarText {
    /// Reads one file.
    pub(crate) fn read(original: &str) -> Result<Self, TooDeep> {
        let tokens = tokens(original);
        let mut text = String::with_capacity(original.len().saturating_add(256));
        let mut inserted = Vec::new();
        let mut copied = 0;
        for at in short_names(original, &tokens) {
            text.push_str(original.get(copied..at).unwrap_or_default());
            inserted.push(text.len());
            text.push_str(PREFIX);
            copied = at;
        }
        text.push_str(original.get(copied..).unwrap_or_default());
        let mut whole = Self { text, inserted, policies: Vec::new() };
        whole.policies = whole.split()?;
        Ok(whole)
    }

    /// A text that is taken as it stands, with no policies.
    pub(crate) fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), inserted: Vec::new(), policies: Vec::new() }
    }

    /// The place in the original text that `span` of the whole text came from.
    pub(crate) fn original(&self, span: Range<usize>) -> Range<usize> {
        self.back(span.start)..self.back(span.end).max(self.back(span.start))
    }

    /// The text of a part.
    pub(crate) fn part(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default()
    }

    fn back(&self, at: usize) -> usize {
        let before = self.inserted.partition_point(|inserted| *inserted <= at);
        let last = before.checked_sub(1).and_then(|last| Some((last, *self.inserted.get(last)?)));
        match last {
            // A place inside an inserted prefix stands for the name after it.
            Some((earlier, start)) if at < start.saturating_add(PREFIX.len()) => {
                start.saturating_sub(earlier.saturating_mul(PREFIX.len()))
            }
            _ => at.saturating_sub(before.saturating_mul(PREFIX.len())),
        }
    }

    fn split(&self) -> Result<Vec<PolicyText>, TooDeep> {
        let mut policies = Vec::new();
        let mut first: Option<usize> = None;
        let mut effect: Option<Range<usize>> = None;
        let mut scope_end = None;
        let mut depth = 0usize;
        let mut previous = None;
        for token in tokens(&self.text) {
            first = first.or(Some(token.start));
            match token.kind {
                Kind::Mark(b'(' | b'[' | b'{') => depth = depth.saturating_add(1),
                Kind::Mark(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
                // The first word that is not the name of an annotation.
                Kind::Word if depth == 0 && effect.is_none() && previous != Some(Kind::Mark(b'@')) => {
                    effect = Some(token.start..token.end);
                }
                _ => {}
            }
            if depth > DEPTH_MAX {
                return Err(TooDeep(self.back(token.start)));
            }
            if token.kind == Kind::Mark(b')') && depth == 0 && effect.is_some() && scope_end.is_none() {
                scope_end = Some(token.end);
            }
            if token.kind == Kind::Mark(b';') {
                let span = first.take().unwrap_or(token.start)..token.end;
                let effect = effect.take().unwrap_or(span.start..span.start);
                let scope_end = scope_end.take().unwrap_or(effect.end);
                policies.push(PolicyText { span, effect, scope_end });
                depth = 0;
            }
            previous = Some(token.kind);
        }
        Ok(policies)
    }
}

/// Where names without a namespace stand: `Name::"…"` and `is Name`.
fn short_names(text: &str, tokens: &[Token]) -> Vec<usize> {
    let kind = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map(|token| token.kind);
    let word = |at: Option<usize>| {
        at.and_then(|at| tokens.get(at))
            .filter(|token| token.kind == Kind::Word)
            .and_then(|token| text.get(token.start..token.end))
    };
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.kind != Kind::Word {
            continue;
        }
        let (next, after) = (at.checked_add(1), at.checked_add(2));
        let (previous, before) = (at.checked_sub(1), at.checked_sub(2));
        let literal = kind(next) == Some(Kind::Path)
            && kind(after) == Some(Kind::Text)
            && kind(previous) != Some(Kind::Path);
        let test = word(previous) == Some("is")
            && !matches!(kind(before), Some(Kind::Mark(b'.' | b'@')))
            && word(before) != Some("has")
            && kind(next) != Some(Kind::Path)
            && !matches!(word(Some(at)), Some("in"));
        if literal || test {
            found.push(token.start);
        }
    }
    found
}

/// The tokens of a text, comments and white space left out.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let byte = |at: usize| bytes.get(at).copied();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = byte(at) {
        let start = at;
        let kind = match (first, byte(at.saturating_add(1))) {
            (b'/', Some(b'/')) => {
                while !matches!(byte(at), None | Some(b'\n' | b'\r')) {
                    at = at.saturating_add(1);
                }
                continue;
            }
            (b'"', _) => {
                at = end_of_text(bytes, at);
                Kind::Text
            }
            (b':', Some(b':')) => {
                at = at.saturating_add(2);
                Kind::Path
            }
            (b'_' | b'a'..=b'z' | b'A'..=b'Z', _) => {
                while matches!(byte(at), Some(b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9')) {
                    at = at.saturating_add(1);
                }
                Kind::Word
            }
            (mark, _) => {
                at = at.saturating_add(1);
                if mark.is_ascii_whitespace() {
                    continue;
                }
                Kind::Mark(mark)
            }
        };
        tokens.push(Token { kind, start, end: at });
    }
    tokens
}

/// The byte after the string that starts at `start`; the end of the text if it does not end.
fn end_of_text(bytes: &[u8], start: usize) -> usize {
    let mut at = start.saturating_add(1);
    while let Some(byte) = bytes.get(at) {
        at = at.saturating_add(match byte {
            b'"' => return at.saturating_add(1),
            b'\\' => 2,
            _ => 1,
        });
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> String {
        CedarText::read(text).unwrap().text
    }

    #[test]
    fn short_names_are_made_whole_and_nothing_else_is_touched() {
        for (short, want) in [
            (r#"principal == User::"a""#, r#"principal == Cordon::User::"a""#),
            (r#"Cordon::User::"a""#, r#"Cordon::User::"a""#),
            (r#"Acme::User::"a""#, r#"Acme::User::"a""#),
            (r#"[Action::"a/b", Action :: "c/d"]"#, r#"[Cordon::Action::"a/b", Cordon::Action :: "c/d"]"#),
            ("resource is Tool in", "resource is Cordon::Tool in"),
            ("resource is Cordon::Tool", "resource is Cordon::Tool"),
            ("context.is foo", "context.is foo"),
            (
                r#""User::\"a\" is Tool" // is Tool User::"b""#,
                r#""User::\"a\" is Tool" // is Tool User::"b""#,
            ),
            (r#"@id("is User")"#, r#"@id("is User")"#),
            (r#"ip("10.0.0.1")"#, r#"ip("10.0.0.1")"#),
        ] {
            assert_eq!(whole(short), want);
        }
    }

    #[test]
    fn places_lead_back_to_the_original_text() {
        let original = r#"permit(principal == User::"a", action in Action::"b", resource is Tool);"#;
        let whole = CedarText::read(original).unwrap();
        for word in ["principal", "User", "\"a\"", "Action", "\"b\"", "resource", "Tool", ";"] {
            let at = whole.text.find(word).unwrap();
            let back = whole.original(at..at + word.len());
            assert_eq!(original.get(back), Some(word));
        }
        let prefix = whole.text.find("Cordon::User").unwrap();
        assert_eq!(original.get(whole.original(prefix..prefix + 12)), Some("User"));
    }

    #[test]
    fn each_policy_is_found_with_its_effect_and_its_scope() {
        let text = "// permit;\n@id(\"a;b\") @approve\npermit (principal, action in [Action::\"x\"], resource)\n\
                    when { context.a == \");\" };\nforbid(principal, action, resource);";
        let whole = CedarText::read(text).unwrap();
        let effects: Vec<_> = whole.policies.iter().map(|p| whole.part(p.effect.clone())).collect();
        assert_eq!(effects, ["permit", "forbid"]);
        let scope = |policy: &PolicyText| whole.part(policy.effect.start..policy.scope_end);
        assert_eq!(
            scope(&whole.policies[0]),
            "permit (principal, action in [Cordon::Action::\"x\"], resource)"
        );
        assert_eq!(scope(&whole.policies[1]), "forbid(principal, action, resource)");
    }

    #[test]
    fn broken_text_is_read_without_harm_and_deep_nesting_is_refused() {
        for text in ["", "\"", "\"\\", "@", "::", ";;", ")", "permit", "é\"ü", "//", "/", "is", "is is is"]
        {
            assert!(CedarText::read(text).is_ok(), "{text}");
        }
        let deep = format!("permit(principal, action, resource) when {{ {} }};", "(".repeat(100));
        assert!(CedarText::read(&deep).is_err());
    }
}
