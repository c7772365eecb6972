//! Reading one guard file: as Rego v1, else as v0.

use std::fmt;
use std::ops::Range;

use regorus::Engine;
use serde_json::Value as Json;

use crate::Diagnostic;

/// The two versions of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegoVersion {
    /// `deny[msg] { … }`.
    V0,
    /// `deny contains msg if { … }`.
    V1,
}

impl fmt::Display for RegoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V0 => "Rego v0",
            Self::V1 => "Rego v1",
        })
    }
}

/// Largest guard file, in bytes.
pub(super) const GUARD_BYTES_MAX: usize = 128 << 10;

/// Most digits of an exponent: a larger one would be written out.
const EXPONENT_DIGITS_MAX: usize = 2;
/// Deepest nesting of brackets of all kinds.
const NESTING_MAX: u32 = 12;
/// Most work that brackets cause: the parser reads what is in one twice, so each level doubles it.
const NESTING_WORK_MAX: u32 = 1 << 20;

/// A file as the parser understood it.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) version: RegoVersion,
    pub(super) tree: Json,
}

/// Reads a file; an error is of the version that understood more of it.
pub(super) fn parse(path: &str, text: &str) -> Result<Parsed, Box<Diagnostic>> {
    if text.len() > GUARD_BYTES_MAX {
        let message = format!("the guard file is larger than {} KiB", GUARD_BYTES_MAX >> 10);
        return Err(Box::new(Diagnostic::error(path, message).help("spread its rules over several files")));
    }
    if let Err((span, message, help)) = scan(text) {
        return Err(Box::new(Diagnostic::error(path, message).at(text, span).help(help)));
    }
    let newer = match read(path, text, RegoVersion::V1) {
        Ok(tree) => return Ok(Parsed { version: RegoVersion::V1, tree }),
        Err(finding) => finding,
    };
    match read(path, text, RegoVersion::V0) {
        Ok(tree) => Ok(Parsed { version: RegoVersion::V0, tree }),
        // What only asks for the newer spelling says nothing of a file in the older one.
        Err(older) if newer.message.contains("keyword is required") => Err(older),
        Err(older) if (older.line, older.column) > (newer.line, newer.column) => Err(older),
        Err(_) => Err(newer),
    }
}

fn read(path: &str, text: &str, version: RegoVersion) -> Result<Json, Box<Diagnostic>> {
    let mut engine = Engine::new();
    add(&mut engine, path, text, version)
        .map_err(|error| Box::new(finding(path, text, &error.to_string())))?;
    let printed =
        engine.get_ast_as_json().map_err(|error| Box::new(finding(path, text, &error.to_string())))?;
    let deep = |_| {
        Box::new(Diagnostic::error(path, "nested too deep").help("give the inner parts a rule of their own"))
    };
    serde_json::from_str(&printed).map_err(deep)
}

/// Gives a file to an engine.
pub(super) fn add(
    engine: &mut Engine,
    path: &str,
    text: &str,
    version: RegoVersion,
) -> Result<(), anyhow::Error> {
    engine.set_rego_v0(version == RegoVersion::V0);
    engine.add_policy(path.to_owned(), text.to_owned()).map(|_| ())
}

/// The engine's error as a finding, at its place in the file.
pub(super) fn finding(path: &str, text: &str, error: &str) -> Diagnostic {
    let (place, message) = taken_apart(error);
    let finding = Diagnostic::error(path, message);
    match place {
        Some((line, column)) => finding.at(text, byte(text, line, column)),
        None => finding,
    }
}

/// Line and column, and the last message, of an error that shows its source line.
pub(super) fn taken_apart(error: &str) -> (Option<(usize, usize)>, String) {
    let place = error.lines().find_map(|line| {
        let mut parts = line.strip_prefix("--> ")?.rsplitn(3, ':');
        let column = parts.next()?.trim().parse().ok()?;
        Some((parts.next()?.parse().ok()?, column))
    });
    let message = error.lines().rev().find_map(|line| line.strip_prefix("error: "));
    let message = message.or_else(|| error.lines().rev().find(|line| !line.trim().is_empty()));
    (place, message.unwrap_or(error).trim().trim_end_matches('.').to_owned())
}

fn byte(text: &str, line: usize, column: usize) -> Range<usize> {
    let before: usize =
        text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).fold(0, usize::saturating_add);
    let rest = text.get(before..).unwrap_or_default();
    let inside =
        rest.chars().take(column.saturating_sub(1)).map(char::len_utf8).fold(0, usize::saturating_add);
    let start = before.saturating_add(inside);
    start..start.saturating_add(1)
}

type Refusal = (Range<usize>, &'static str, &'static str);

/// Refuses what the parser would take too long over: long exponents, deep brackets.
fn scan(text: &str) -> Result<(), Refusal> {
    let bytes = text.as_bytes();
    let at = |place: usize| bytes.get(place).copied().unwrap_or_default();
    let (mut place, mut depth, mut work) = (0usize, 0u32, 0u32);
    while place < bytes.len() {
        let byte = at(place);
        match byte {
            b'#' => {
                while place < bytes.len() && at(place) != b'\n' {
                    place = place.saturating_add(1);
                }
            }
            b'"' | b'`' => {
                place = place.saturating_add(1);
                while place < bytes.len() && at(place) != byte {
                    let escaped = byte == b'"' && at(place) == b'\\';
                    place = place.saturating_add(if escaped { 2 } else { 1 });
                }
            }
            b'(' | b'[' | b'{' => {
                depth = depth.saturating_add(1);
                work = work.saturating_add(1u32.checked_shl(depth).unwrap_or(u32::MAX));
                if depth > NESTING_MAX || work > NESTING_WORK_MAX {
                    let span = place..place.saturating_add(1);
                    return Err((span, "nested too deep", "give the inner parts a rule of their own"));
                }
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'e' | b'E' if place > 0 && matches!(at(place.saturating_sub(1)), b'0'..=b'9' | b'.') => {
                let signed = matches!(at(place.saturating_add(1)), b'+' | b'-');
                let start = place.saturating_add(if signed { 2 } else { 1 });
                let digits = bytes.iter().skip(start).take_while(|b| b.is_ascii_digit()).count();
                if digits > EXPONENT_DIGITS_MAX {
                    let span = place..start.saturating_add(digits);
                    return Err((span, "the exponent has more than two digits", "write the number out"));
                }
            }
            _ => {}
        }
        place = place.saturating_add(1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_the_newer_language_if_it_can_be() {
        let version = |text: &str| parse("guards/g.rego", text).map(|parsed| parsed.version);
        assert_eq!(
            version("package cordon\ndeny contains \"x\" if input.action == \"a\""),
            Ok(RegoVersion::V1)
        );
        assert_eq!(version("package cordon\ndeny[msg] { msg := \"x\" }"), Ok(RegoVersion::V0));
    }

    #[test]
    fn what_neither_language_understands_is_shown_where_it_stands() {
        let finding = parse("guards/g.rego", "package cordon\n\ndeny[msg] { msg := }\n").unwrap_err();
        assert_eq!((&*finding.file, finding.line), ("guards/g.rego", 3), "{finding}");
    }

    #[test]
    fn numbers_that_would_be_written_out_and_files_that_are_too_large_are_refused() {
        let refused = |text: &str| parse("g", text).map_err(|finding| finding.message).err();
        assert!(refused("package cordon\nx := 1e999999999").unwrap().contains("exponent"));
        assert!(refused("package cordon\nx := 1e-400").unwrap().contains("exponent"));
        assert_eq!(refused("package cordon\nx := \"1e999\" # 1e999\ny := 1e12"), None);
        let large = format!("package cordon\n# {}", "x".repeat(1 << 20));
        assert!(refused(&large).unwrap().contains("larger than 128 KiB"));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let refused = |body: &str| parse("g", &format!("package cordon\nx := {body}")).is_err();
        assert!(!refused(&nested(12)));
        assert!(!refused(&format!("\"{}\"", "[".repeat(900))));
        for depth in [13, 200, 20_000] {
            assert!(refused(&nested(depth)), "{depth}");
        }
        assert!(refused(&format!("[\n{}]", format!("{},\n", nested(11)).repeat(1_000))));
        assert!(refused(&format!("input{}", ".a".repeat(400))));
    }
}
