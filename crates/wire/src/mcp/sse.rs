//! Streams of server-sent events (WHATWG HTML, "Server-sent events"): a reader that may be fed in
//! pieces of any size, and a writer.

use std::fmt::Write as _;

/// Bounds on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SseLimits {
    /// Longest line, in bytes.
    pub line_bytes_max: usize,
    /// Most data in one event, in bytes.
    pub event_bytes_max: usize,
}

impl SseLimits {
    /// The defaults: lines and events of 4 MiB, as messages, and room for the field name.
    pub const DEFAULT: Self = Self { line_bytes_max: (4 << 20) + 64, event_bytes_max: 4 << 20 };
}

impl Default for SseLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a stream carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An event, at the blank line that ends it.
    Event(Event),
    /// A comment, at the end of its line; servers send them to keep a connection open.
    Comment(String),
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Its type; nothing means `message`.
    pub event: Option<String>,
    /// Its data, lines joined by line feeds; nothing for an event that only sets an id or a delay.
    pub data: Option<String>,
    /// The id from which a reader may resume.
    pub id: Option<String>,
    /// How long to wait before connecting again, in milliseconds.
    pub retry_ms: Option<u64>,
}

/// The stream cannot be read on; nothing after the problem is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SseError {
    /// A line is longer than the limit.
    #[error("a line of the event stream is longer than {0} bytes")]
    LineTooLong(usize),
    /// An event has more data than the limit.
    #[error("an event has more than {0} bytes of data")]
    EventTooLarge(usize),
    /// A line is not UTF-8; a reader that replaces what it cannot read would see something else.
    #[error("the event stream is not valid UTF-8")]
    Utf8,
}

/// Reads a stream piece by piece. The same bytes give the same items however they are cut.
#[derive(Debug, Clone)]
pub struct Reader {
    limits: SseLimits,
    line: Vec<u8>,
    after_cr: bool,
    first_line: bool,
    event: Event,
    failed: Option<SseError>,
}

impl Reader {
    /// A reader at the start of a stream.
    pub fn new(limits: SseLimits) -> Self {
        Self {
            limits,
            line: Vec::new(),
            after_cr: false,
            first_line: true,
            event: Event::default(),
            failed: None,
        }
    }

    /// Takes the next bytes and gives what they complete. After an error there is nothing more.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Item>, SseError> {
        let mut items = Vec::new();
        self.read(bytes, &mut items).map(|()| items)
    }

    /// Takes the next bytes, adding what they complete to `items`; what came before an error stays.
    pub fn read(&mut self, bytes: &[u8], items: &mut Vec<Item>) -> Result<(), SseError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            // The line feed of a CRLF whose carriage return ended the line.
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (body, ended) = rest.split_at(end.unwrap_or(rest.len()));
            if self.line.len().saturating_add(body.len()) > self.limits.line_bytes_max {
                return self.fail(SseError::LineTooLong(self.limits.line_bytes_max));
            }
            self.line.extend_from_slice(body);
            let Some(terminator) = ended.first() else { return Ok(()) };
            self.after_cr = *terminator == b'\r';
            rest = ended.get(1..).unwrap_or_default();
            let line = std::mem::take(&mut self.line);
            if let Err(error) = self.line(&line, items) {
                return self.fail(error);
            }
        }
        Ok(())
    }

    /// Whether the stream stopped inside an event, which is then to be forgotten.
    pub fn is_cut(&self) -> bool {
        !self.line.is_empty() || self.event != Event::default()
    }

    fn fail(&mut self, error: SseError) -> Result<(), SseError> {
        self.failed = Some(error);
        Err(error)
    }

    fn line(&mut self, line: &[u8], items: &mut Vec<Item>) -> Result<(), SseError> {
        let line = std::str::from_utf8(line).map_err(|_| SseError::Utf8)?;
        let line = match std::mem::take(&mut self.first_line) {
            true => line.strip_prefix('\u{feff}').unwrap_or(line),
            false => line,
        };
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if event != Event::default() {
                items.push(Item::Event(event));
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => items.push(Item::Comment(value.to_owned())),
            "data" => return self.data(value),
            "event" => self.event.event = Some(value.to_owned()),
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.event.retry_ms = value.parse().ok();
            }
            // Other fields mean nothing to any reader.
            _ => {}
        }
        Ok(())
    }

    fn data(&mut self, value: &str) -> Result<(), SseError> {
        let data = self.event.data.take();
        let length = data.as_ref().map_or(0, |data| data.len().saturating_add(1)).saturating_add(value.len());
        if length > self.limits.event_bytes_max {
            return Err(SseError::EventTooLarge(self.limits.event_bytes_max));
        }
        self.event.data = Some(match data {
            None => value.to_owned(),
            Some(mut data) => {
                data.push('\n');
                data.push_str(value);
                data
            }
        });
        Ok(())
    }
}

impl Event {
    /// An event of the usual type that carries one message.
    pub fn message(data: impl Into<String>) -> Self {
        Self { data: Some(data.into()), ..Self::default() }
    }

    /// The event as bytes, with the blank line that ends it. A line break of any kind in the data
    /// starts another `data:` line, so a reader sees a line feed there: in JSON that is white space
    /// for white space. Line breaks in the other fields end the value.
    pub fn write(&self) -> Vec<u8> {
        let first = |text: &str| text.split(['\n', '\r', '\0']).next().unwrap_or_default().to_owned();
        let mut out = String::new();
        if let Some(event) = &self.event {
            let _ = writeln!(out, "event: {}", first(event));
        }
        if let Some(id) = &self.id {
            let _ = writeln!(out, "id: {}", first(id));
        }
        if let Some(retry) = self.retry_ms {
            let _ = writeln!(out, "retry: {retry}");
        }
        if let Some(data) = &self.data {
            let data = data.replace("\r\n", "\n").replace('\r', "\n");
            for line in data.split('\n') {
                let _ = writeln!(out, "data: {line}");
            }
        }
        out.push('\n');
        out.into_bytes()
    }
}

/// A comment that keeps a connection open.
pub const KEEP_ALIVE: &[u8] = b":\n\n";
