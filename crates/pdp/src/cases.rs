//! A bundle's own tests (`tests/*.toml`, `spec/bundle.md`).

use cordon_core::Judgement;

/// What became of every test of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TestReport {
    /// One outcome a test, in order of file and line.
    pub outcomes: Vec<TestOutcome>,
}

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOutcome {
    /// The test's name.
    pub name: Box<str>,
    /// The file it is in.
    pub file: Box<str>,
    /// The line it starts on, from 1.
    pub line: u32,
    /// What differs from what was expected; nothing when the test passes.
    pub failures: Vec<Box<str>>,
    /// What was decided.
    pub judgement: Judgement,
}

impl TestOutcome {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

impl TestReport {
    /// How many tests passed.
    pub fn passed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.passed()).count()
    }

    /// How many tests failed.
    pub fn failed(&self) -> usize {
        self.outcomes.len().saturating_sub(self.passed())
    }

    /// The first failure in one line; empty when there is none.
    pub fn first_failure(&self) -> String {
        self.outcomes
            .iter()
            .find_map(|outcome| {
                let failure = outcome.failures.first()?;
                Some(format!("{}:{}: `{}`: {failure}", outcome.file, outcome.line, outcome.name))
            })
            .unwrap_or_default()
    }
}
