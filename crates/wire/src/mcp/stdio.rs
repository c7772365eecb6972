//! The stdio transport: one line is one message.

/// Cuts a stream of bytes into lines.
#[derive(Debug, Clone)]
pub struct Lines {
    line: Vec<u8>,
    bytes_max: usize,
    skipping: bool,
}

/// What came out of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// One line without its end; never blank.
    Whole(Vec<u8>),
    /// A line longer than the limit; the rest of it is skipped.
    TooLong,
}

impl Lines {
    /// A reader of lines of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self { line: Vec::new(), bytes_max, skipping: false }
    }

    /// Takes the next bytes and gives the lines that they complete. A carriage return before the
    /// line feed belongs to the end of the line; blank lines are nothing.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (body, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |body| (body, true));
            if !self.skipping {
                self.take(body, &mut lines);
            }
            if ended {
                let line = std::mem::take(&mut self.line);
                if !std::mem::take(&mut self.skipping) {
                    lines.extend(whole(line));
                }
            }
        }
        lines
    }

    /// Whether bytes of an unfinished line remain: the other side stopped in mid-sentence.
    pub fn is_cut(&self) -> bool {
        self.skipping || self.line.iter().any(|byte| !byte.is_ascii_whitespace())
    }

    fn take(&mut self, body: &[u8], lines: &mut Vec<Line>) {
        let length = self.line.len().saturating_add(body.len());
        // One more byte may be a carriage return that ends the line.
        let room = self.bytes_max.saturating_add(1);
        let last = body.last().or(self.line.last());
        if length > room || (length == room && last != Some(&b'\r')) {
            self.line = Vec::new();
            self.skipping = true;
            lines.push(Line::TooLong);
        } else {
            self.line.extend_from_slice(body);
        }
    }
}

fn whole(mut line: Vec<u8>) -> Option<Line> {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    (!line.iter().all(u8::is_ascii_whitespace)).then_some(Line::Whole(line))
}

/// The bytes of a message that stands on one line (see [`super::Message::on_one_line`]), with the
/// end of the line.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(message.len().saturating_add(1));
    line.extend_from_slice(message);
    line.push(b'\n');
    line
}
