//! What ran, how long it took, what was skipped and why.

use std::fmt::Write as _;
use std::time::Duration;

/// Tests that ran, and those that did not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Count {
    /// How many passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
    /// Those that did not run, each with its reason.
    pub skipped: Vec<Skip>,
}

/// Something that did not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The test or the step.
    pub name: String,
    /// Why it did not run.
    pub reason: String,
}

impl Count {
    /// One check that passed.
    pub(crate) fn passed(number: usize) -> Self {
        Self { passed: number, ..Self::default() }
    }

    /// One check that failed.
    pub(crate) fn failed(number: usize) -> Self {
        Self { failed: number, ..Self::default() }
    }

    /// One thing that did not run.
    pub(crate) fn skipped(name: &str, reason: &str) -> Self {
        let skip = Skip { name: name.to_owned(), reason: reason.to_owned() };
        Self { skipped: vec![skip], ..Self::default() }
    }

    /// Reads the totals that cargo's or nextest's output ends with; `None` when there are none.
    ///
    /// Skipped tests come without names: they are added by number, for the caller to explain.
    pub(crate) fn read(text: &str) -> Option<(Self, usize)> {
        let mut count = Self::default();
        let mut ignored = 0_usize;
        let mut found = false;
        for line in text.lines().filter(|line| {
            line.starts_with("test result:") || line.contains("tests run:") || line.contains("test run:")
        }) {
            found = true;
            count.passed = count.passed.saturating_add(before(line, "passed"));
            for word in ["failed", "timed out", "exec failed"] {
                count.failed = count.failed.saturating_add(before(line, word));
            }
            ignored = ignored.saturating_add(before(line, "skipped")).saturating_add(before(line, "ignored"));
        }
        found.then_some((count, ignored))
    }
}

/// The number that stands right before a word.
fn before(line: &str, word: &str) -> usize {
    let at = line.match_indices(word).map(|(at, _)| at);
    at.filter_map(|at| {
        line.get(..at)?.trim_end().rsplit(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
    })
    .sum()
}

/// One step as it ended.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) step: &'static str,
    pub(crate) count: Count,
    pub(crate) took: Duration,
}

/// The closing tables and the closing line.
pub(crate) fn summary(rows: &[Row]) -> String {
    let mut text = String::from("\nstep            seconds   passed   failed  skipped\n");
    for row in rows {
        let Count { passed, failed, skipped } = &row.count;
        let seconds = row.took.as_secs_f64();
        let _ =
            writeln!(text, "{:<14} {seconds:>8.1} {passed:>8} {failed:>8} {:>8}", row.step, skipped.len());
    }
    let skips: Vec<&Skip> = rows.iter().flat_map(|row| &row.count.skipped).collect();
    if !skips.is_empty() {
        text.push_str("\nskipped\n");
        for Skip { name, reason } in &skips {
            let _ = writeln!(text, "  {name}: {reason}");
        }
    }
    let took: f64 = rows.iter().map(|row| row.took.as_secs_f64()).sum();
    let passed: usize = rows.iter().map(|row| row.count.passed).sum();
    let failed: usize = rows.iter().map(|row| row.count.failed).sum();
    let _ = writeln!(text, "\nin all {took:.1} s");
    let _ = writeln!(text, "{passed} passed, {failed} failed, {} skipped", skips.len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_cargo_test_add_up_over_binaries() {
        let text = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                    test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let (count, ignored) = Count::read(text).unwrap();
        assert_eq!((count.passed, count.failed, ignored), (7, 3, 1));
    }

    #[test]
    fn totals_of_nextest_include_what_timed_out() {
        let text =
            "     Summary [   0.1s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 4 skipped\n";
        let (count, ignored) = Count::read(text).unwrap();
        assert_eq!((count.passed, count.failed, ignored), (9, 3, 4));
    }

    #[test]
    fn output_without_totals_counts_as_nothing_read() {
        assert_eq!(Count::read("error: could not compile `cordon-core`\n"), None);
    }

    #[test]
    fn the_closing_line_counts_every_step() {
        let row = |step, count| Row { step, count, took: Duration::from_millis(1500) };
        let text =
            summary(&[row("fmt", Count::passed(1)), row("clients", Count::skipped("clients", "no node"))]);
        assert!(text.ends_with("1 passed, 0 failed, 1 skipped\n"), "{text}");
        assert!(text.contains("clients: no node"), "{text}");
    }
}
