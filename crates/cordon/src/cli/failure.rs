//! Why a command could not do its work.

use std::error::Error;
use std::process::ExitCode;

/// How a command ended: an exit status, or why there is no answer.
pub(crate) type Ended = Result<ExitCode, Failure>;

/// The exit status of a denial or a failed check.
pub(crate) const DENIED: u8 = 1;
/// The exit status when nothing could be judged, or the command was used wrongly.
pub(crate) const NO_ANSWER: u8 = 2;

/// Why a command could not do its work: a text for standard error and an exit status.
///
/// Any error becomes one with `?`; the texts of its sources follow it, each once.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    code: Option<&'static str>,
    exit: u8,
}

impl Failure {
    /// A failure that exits with status 2.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: None, exit: NO_ANSWER }
    }

    /// Adds the stable code that `docs/errors/` explains, such as `CONFIG-001`.
    #[must_use]
    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Exits with another status than 2.
    #[must_use]
    pub(crate) fn exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }

    /// Says first what was being done.
    #[must_use]
    pub(crate) fn context(mut self, doing: &str) -> Self {
        self.text = format!("{doing}: {}", self.text);
        self
    }

    /// Prints the failure to standard error and gives its exit status.
    pub(crate) fn report(&self) -> ExitCode {
        match self.code {
            Some(code) => {
                anstream::eprintln!("cordon: error[{code}]: {}\n  see docs/errors/{code}.md", self.text);
            }
            None => anstream::eprintln!("cordon: error: {}", self.text),
        }
        ExitCode::from(self.exit)
    }
}

impl Failure {
    /// What went wrong, without the code.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // A transparent wrapper repeats its source; print it once.
            if !text.ends_with(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Self::new(text)
    }
}
