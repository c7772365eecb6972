//! Printing for people: text from outside never moves the cursor, colour only where it is wanted.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

/// Text with everything that could move the cursor, hide itself or reorder its neighbours spelled out.
///
/// Line ends are spelled out too, so that one value can never look like two lines. Escaped are
/// control characters (C0, DEL, C1), line and paragraph separators, bidirectional controls (Unicode
/// UAX #9 §2), zero-width and other invisible format characters, and the tag block.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().saturating_add(16));
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_hostile(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Text of several lines, each of them made safe; the line ends stay.
pub(crate) fn safe_lines(text: &str) -> String {
    text.split('\n').map(safe).collect::<Vec<_>>().join("\n")
}

/// At most `most` characters of the text, made safe, with `…` where it was cut.
pub(crate) fn short(text: &str, most: usize) -> String {
    let mut cut: String = text.chars().take(most).collect();
    if cut.len() < text.len() {
        cut.pop();
        cut.push('…');
    }
    safe(&cut).into_owned()
}

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// What a piece of text is, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Went well, allowed.
    Good,
    /// Waits, or deserves a look.
    Caution,
    /// Went wrong, denied.
    Bad,
    /// A heading.
    Strong,
    /// An aside.
    Faint,
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default().bold(),
            Self::Caution => AnsiColor::Yellow.on_default().bold(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Strong => Style::new().bold(),
            Self::Faint => Style::new().dimmed(),
        }
    }

    /// The text in this tone, made safe; the colour is dropped again where nobody sees it.
    pub(crate) fn paint(self, text: &str) -> Painted<'_> {
        Painted { tone: self, text: safe(text) }
    }
}

/// Safe text in a tone.
#[derive(Debug, Clone)]
pub(crate) struct Painted<'t> {
    tone: Tone,
    text: Cow<'t, str>,
}

impl Display for Painted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let style = self.tone.style();
        write!(f, "{style}{}{style:#}", self.text)
    }
}

/// Writes one line of data to stdout; colour is dropped where stdout is no terminal.
pub(crate) fn say(line: impl Display) -> io::Result<()> {
    writeln!(anstream::stdout().lock(), "{line}")
}

/// Writes one line of remarks to stderr; what cannot be written there is lost.
pub(crate) fn note(line: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// Rows in aligned columns; every cell is made safe.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads and no rows.
    pub(crate) fn new(head: impl IntoIterator<Item = &'static str>) -> Self {
        Self { head: head.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) -> &mut Self {
        self.rows.push(cells.into_iter().map(|cell| safe(cell.as_ref()).into_owned()).collect());
        self
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths: Vec<usize> = self.head.iter().map(|cell| cell.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let strong = Tone::Strong.style();
        let heads: Vec<String> = self.head.iter().map(|cell| (*cell).to_owned()).collect();
        write!(f, "{strong}")?;
        line(f, &heads, &widths)?;
        write!(f, "{strong:#}")?;
        for row in &self.rows {
            f.write_str("\n")?;
            line(f, row, &widths)?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, cells: &[String], widths: &[usize]) -> fmt::Result {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        text.push_str(cell);
        let pad = width.saturating_sub(cell.chars().count()).saturating_add(2);
        text.extend(std::iter::repeat_n(' ', pad));
    }
    f.write_str(text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_move_the_cursor_hide_or_reorder() {
        for (text, want) in [
            ("plain é 日本", "plain é 日本"),
            ("two\nlines\r\t", "two\\nlines\\r\\t"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("a\u{200b}b\u{e0041}", "a\\u{200b}b\\u{e0041}"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("\u{2028}x\u{2066}", "\\u{2028}x\\u{2066}"),
        ] {
            assert_eq!(safe(text), want);
        }
        assert_eq!(safe_lines("a\u{1b}\nb"), "a\\u{1b}\nb");
        assert!(!Tone::Bad.paint("\u{1b}[0m").to_string().contains("\u{1b}[0m\u{1b}[0m"));
    }

    #[test]
    fn a_long_text_is_cut_where_people_see_it() {
        assert_eq!(short("abcdef", 4), "abc…");
        assert_eq!(short("abcd", 4), "abcd");
        assert_eq!(short("a\nbcdef", 4), "a\\nb…");
    }

    #[test]
    fn columns_line_up_and_a_cell_cannot_fake_a_row() {
        let mut table = Table::new(["ID", "WHAT"]);
        table.row(["1", "a\nb"]).row(["1000", "c"]);
        let text = anstream::adapter::strip_str(&table.to_string()).to_string();
        assert_eq!(text, "ID    WHAT\n1     a\\nb\n1000  c");
    }
}
