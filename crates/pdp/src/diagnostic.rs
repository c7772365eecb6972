//! What is wrong with a policy source, where, and what to do about it.

use std::fmt::{self, Write as _};
use std::ops::Range;

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The source is loaded; somebody should look at this.
    Warning,
    /// The source is refused.
    Error,
}

impl Severity {
    /// The severity as printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One finding in a policy source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// Whether the source can still be loaded.
    pub severity: Severity,
    /// The path of the file in the source.
    pub file: Box<str>,
    /// The line, from 1; 0 when the finding is about the file as a whole.
    pub line: u32,
    /// The column in characters, from 1; 0 when the finding is about the file as a whole.
    pub column: u32,
    /// How many characters of the line the finding covers, at least 1.
    pub width: u32,
    /// What is wrong, lower case, no full stop.
    pub message: Box<str>,
    /// What to do about it.
    pub help: Option<Box<str>>,
    /// The text of the line; empty when the finding is about the file as a whole.
    pub source_line: Box<str>,
}

/// Longest part of a source line that is shown, in characters.
const SHOWN_MAX: usize = 240;

impl Diagnostic {
    /// A finding that refuses the source, about `file` as a whole.
    pub fn error(file: &str, message: impl Into<Box<str>>) -> Self {
        Self {
            severity: Severity::Error,
            file: file.into(),
            line: 0,
            column: 0,
            width: 1,
            message: message.into(),
            help: None,
            source_line: "".into(),
        }
    }

    /// A finding that leaves the source loadable, about `file` as a whole.
    pub fn warning(file: &str, message: impl Into<Box<str>>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(file, message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<Box<str>>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Points at bytes `span` of `text`, the content of the file.
    #[must_use]
    pub fn at(mut self, text: &str, span: Range<usize>) -> Self {
        let start = floor_boundary(text, span.start);
        let end = floor_boundary(text, span.end).max(start);
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
        let rest = text.get(line_start..).unwrap_or_default();
        let line = rest.split(['\n', '\r']).next().unwrap_or_default();
        let column = before.get(line_start..).unwrap_or_default().chars().count();
        let covered = text.get(start..end).unwrap_or_default();
        let covered = covered.split(['\n', '\r']).next().unwrap_or_default().chars().count().max(1);
        self.line = number(before.matches('\n').count().saturating_add(1));
        self.column = number(column.saturating_add(1));
        self.width = number(covered);
        self.source_line = line.chars().take(SHOWN_MAX).collect::<String>().into();
        self
    }

    /// The finding with the source line and a caret under the place, over several lines of text.
    pub fn render(&self) -> String {
        let mut out = format!("{}: {}\n", self.severity.as_str(), self.message);
        if self.line == 0 {
            let _ = writeln!(out, "  --> {}", self.file);
        } else {
            let gutter = self.line.to_string();
            let pad = " ".repeat(gutter.len());
            let _ = writeln!(out, "{pad} --> {}:{}:{}", self.file, self.line, self.column);
            let shown: String = self.source_line.chars().map(|c| if c == '\t' { ' ' } else { c }).collect();
            let room = shown.chars().count().saturating_sub(self.column.saturating_sub(1) as usize).max(1);
            let indent = " ".repeat((self.column.saturating_sub(1) as usize).min(SHOWN_MAX));
            let carets = "^".repeat((self.width as usize).min(room));
            let _ = writeln!(out, "{pad} |\n{gutter} | {shown}\n{pad} | {indent}{carets}");
        }
        if let Some(help) = &self.help {
            let _ = writeln!(out, "  help: {help}");
        }
        out
    }
}

/// One line: `file:line:column: severity: message (help)`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: ", self.file)?,
            line => write!(f, "{}:{line}:{}: ", self.file, self.column)?,
        }
        write!(f, "{}: {}", self.severity.as_str(), self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// Sorts findings by place and says whether any of them refuses the source.
pub(crate) fn settle(findings: &mut Vec<Diagnostic>) -> Severity {
    findings.sort_by(|a, b| {
        (b.severity, &a.file, a.line, a.column, &a.message)
            .cmp(&(a.severity, &b.file, b.line, b.column, &b.message))
    });
    findings.dedup();
    findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Warning)
}

/// The text closest to `got` among `known`, if one is close enough to be a slip of the pen.
pub(crate) fn nearest<'a>(got: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let got: String = got.chars().take(64).collect();
    known
        .into_iter()
        .map(|have| (distance(&got, have), have))
        .filter(|(distance, have)| *distance <= have.len().min(got.len()).div_ceil(3).max(1))
        .min()
        .map(|(_, have)| have)
}

/// The Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal.saturating_add(usize::from(x != *y));
            diagonal = *cell;
            left = replaced.min(cell.saturating_add(1)).min(left.saturating_add(1));
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or_default()
}

fn floor_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at = at.saturating_sub(1);
    }
    at
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_its_line_with_a_caret_under_the_place() {
        let text = "permit(\n  principl,\n";
        let finding = Diagnostic::error("permissions/a.cedar", "unexpected token")
            .at(text, 10..18)
            .help("expected `principal`");
        assert_eq!(
            finding.render(),
            "error: unexpected token\n  --> permissions/a.cedar:2:3\n  |\n2 |   principl,\n  |   ^^^^^^^^\n  help: expected `principal`\n"
        );
        assert_eq!(
            finding.to_string(),
            "permissions/a.cedar:2:3: error: unexpected token (expected `principal`)"
        );
    }

    #[test]
    fn places_inside_characters_past_the_end_and_in_empty_text_are_shown_without_harm() {
        for span in [0..0, 1..2, 2..900, usize::MAX..usize::MAX] {
            for text in ["", "é\r\nü", "\n\n"] {
                assert!(Diagnostic::error("f", "m").at(text, span.clone()).render().contains("f:"));
            }
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_another_word_is_not() {
        assert_eq!(nearest("file.read", ["files.read", "admin"]), Some("files.read"));
        assert_eq!(nearest("banana", ["files.read", "admin"]), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
