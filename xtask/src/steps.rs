//! The steps of `cargo xtask test`, in the order in which they run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use cargo_metadata::MetadataCommand;
use serde::Deserialize;

use crate::command::{Network, Options, RealParts};
use crate::install::{self, Places};
use crate::process::{Ended, ask, show};
use crate::report::{Count, Row, Skip, summary};
use crate::{repository_root, tidy};

/// One step: its name on the command line, what it does, and which steps it needs.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Its name for `--only`.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Steps that come first.
    pub needs: &'static [&'static str],
    work: Work,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Tools,
    Venv,
    Node,
    Browser,
    Fmt,
    Lint,
    Tests,
    DocTests,
    Binary,
    Suite,
}

const REAL: &[&str] = &["tools", "venv", "node", "binary"];

/// Every step, in order.
pub const STEPS: [Step; 14] = [
    Step { name: "tools", about: "the programs the suites call", needs: &[], work: Work::Tools },
    Step { name: "venv", about: "Python packages from their lock file", needs: &["tools"], work: Work::Venv },
    Step {
        name: "node",
        about: "Node packages from their lock file",
        needs: &["tools", "venv"],
        work: Work::Node,
    },
    Step {
        name: "browser",
        about: "the browser that opens the console",
        needs: &["tools"],
        work: Work::Browser,
    },
    Step { name: "fmt", about: "cargo fmt --check", needs: &[], work: Work::Fmt },
    Step { name: "lint", about: "cargo clippy, warnings denied", needs: &[], work: Work::Lint },
    Step { name: "tests", about: "every Rust test, tidy among them", needs: &[], work: Work::Tests },
    Step { name: "doctests", about: "the examples in the documentation", needs: &[], work: Work::DocTests },
    Step { name: "binary", about: "the program the suites run", needs: &[], work: Work::Binary },
    Step {
        name: "conformance",
        about: "the MCP conformance suite, direct and through",
        needs: REAL,
        work: Work::Suite,
    },
    Step {
        name: "clients",
        about: "real MCP clients and an agent framework",
        needs: REAL,
        work: Work::Suite,
    },
    Step { name: "servers", about: "real MCP servers behind `cordon mcp`", needs: REAL, work: Work::Suite },
    Step {
        name: "console",
        about: "the console in a real browser",
        needs: &["tools", "venv", "node", "browser", "binary"],
        work: Work::Suite,
    },
    Step {
        name: "schemathesis",
        about: "both interfaces against their own description",
        needs: &["tools", "venv", "binary"],
        work: Work::Suite,
    },
];

/// Runs the steps asked for and prints what came of them. `true` when nothing failed.
///
/// # Errors
/// The workspace cannot be read.
pub fn run_tests(options: &Options) -> Result<bool, String> {
    let chosen = chosen(options);
    if options.list {
        for step in STEPS.iter().filter(|step| chosen.contains(step.name)) {
            println!("{:<12} {}", step.name, step.about);
        }
        return Ok(true);
    }
    let mut run = Run::prepare(options)?;
    let mut rows = Vec::new();
    for step in STEPS.iter().filter(|step| chosen.contains(step.name)) {
        println!("\n==> {}: {}", step.name, step.about);
        let started = Instant::now();
        let count = run.step(step);
        for Skip { name, reason } in &count.skipped {
            println!("    {name} skipped: {reason}");
        }
        rows.push(Row { step: step.name, count, took: started.elapsed() });
    }
    print!("{}", summary(&rows));
    Ok(rows.iter().all(|row| row.count.failed == 0))
}

/// The names of the steps that run: those asked for and what they need.
fn chosen(options: &Options) -> BTreeSet<&'static str> {
    let real = |step: &Step| matches!(step.work, Work::Suite | Work::Browser) || REAL.contains(&step.name);
    let wanted = STEPS.iter().filter(|step| {
        let asked = options.only.is_empty() || options.only.iter().any(|name| name == step.name);
        asked && (options.real == RealParts::Included || !real(step))
    });
    wanted.flat_map(|step| step.needs.iter().copied().chain([step.name])).collect()
}

/// What the steps share while they run.
struct Run {
    places: Places,
    target: PathBuf,
    /// Why a step's result is not there, by the step's name.
    broken: BTreeMap<&'static str, String>,
    binary: Option<PathBuf>,
}

impl Run {
    fn prepare(options: &Options) -> Result<Self, String> {
        let root = repository_root();
        let mut metadata = MetadataCommand::new();
        metadata.manifest_path(root.join("Cargo.toml")).no_deps();
        let metadata = metadata.exec().map_err(|error| format!("cargo metadata: {error}"))?;
        let target = metadata.target_directory.into_std_path_buf();
        let places = Places { root, real: target.join("real"), network: options.network };
        Ok(Self { places, target, broken: BTreeMap::new(), binary: None })
    }

    fn step(&mut self, step: &Step) -> Count {
        if let Some(reason) = step.needs.iter().find_map(|need| self.broken.get(need)).cloned() {
            self.broken.insert(step.name, reason.clone());
            return Count::skipped(step.name, &reason);
        }
        match step.work {
            Work::Tools => self.installed(step, install::tools(&self.places)),
            Work::Venv => self.installed(step, install::venv(&self.places)),
            Work::Node => self.installed(step, install::node(&self.places)),
            Work::Browser => self.installed(step, install::browser(&self.places)),
            Work::Fmt => self.one(&["fmt", "--all", "--check"]),
            Work::Lint => self.one(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
            Work::Tests => self.rust_tests(),
            Work::DocTests => self.counted(&["test", "--workspace", "--doc", "--no-fail-fast"]),
            Work::Binary => self.build(step),
            Work::Suite => self.suite(step),
        }
    }

    /// A missing counterpart is a skip with its reason, never a silent pass.
    fn installed(&mut self, step: &Step, result: Result<(), String>) -> Count {
        match result {
            Ok(()) => Count::default(),
            Err(reason) => {
                self.broken.insert(step.name, reason.clone());
                Count::skipped(step.name, &reason)
            }
        }
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(arguments).current_dir(&self.places.root);
        if self.places.network == Network::Unused {
            command.env("CARGO_NET_OFFLINE", "true");
        }
        command
    }

    /// A command that passes or fails as a whole.
    fn one(&self, arguments: &[&str]) -> Count {
        match show(&mut self.cargo(arguments)) {
            Ok(Ended { ok: true, .. }) => Count::passed(1),
            Ok(_) => Count::failed(1),
            Err(error) => failure(&error),
        }
    }

    /// Tests whose totals cargo prints.
    fn counted(&self, arguments: &[&str]) -> Count {
        let skips = self.target.join("test-skips.txt");
        // Absent on the first run.
        let _ = fs::remove_file(&skips);
        let ended = match show(self.cargo(arguments).env("CORDON_TEST_SKIPS", &skips)) {
            Ok(ended) => ended,
            Err(error) => return failure(&error),
        };
        let Some((mut count, ignored)) = Count::read(&ended.text) else {
            return if ended.ok { Count::default() } else { Count::failed(1) };
        };
        if !ended.ok && count.failed == 0 {
            count.failed = 1;
        }
        let during = skips_during(&skips);
        count.passed = count.passed.saturating_sub(during.len());
        count.skipped = ignored_tests(&self.places.root, ignored);
        count.skipped.extend(during);
        count
    }

    fn rust_tests(&self) -> Count {
        let nextest = ask(&mut self.cargo(&["nextest", "--version"])).is_ok_and(|ended| ended.ok);
        if nextest {
            self.counted(&["nextest", "run", "--workspace", "--no-fail-fast", "--status-level", "fail"])
        } else {
            self.counted(&["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"])
        }
    }

    fn build(&mut self, step: &Step) -> Count {
        let built = show(&mut self.cargo(&["build", "--workspace", "--bins"]));
        let failed = match built {
            Ok(Ended { ok: true, .. }) => None,
            Ok(_) => Some("the program does not build".to_owned()),
            Err(error) => Some(error),
        };
        if let Some(reason) = failed {
            self.broken.insert(step.name, reason);
            return Count::failed(1);
        }
        self.binary = Some(self.target.join("debug").join("cordon"));
        Count::default()
    }

    /// One directory of `tests/real`, run by pytest in the Python environment.
    fn suite(&self, step: &Step) -> Count {
        let report = self.places.real.join(format!("{}.json", step.name));
        // Absent on the first run.
        let _ = fs::remove_file(&report);
        let mut pytest = Command::new(self.places.programs().join("python"));
        pytest.args(["-m", "pytest", "-p", "no:cacheprovider", "-q", step.name]);
        pytest.current_dir(self.places.suites());
        pytest.env("PATH", install::search_path(&self.places));
        pytest.env("PYTHONDONTWRITEBYTECODE", "1");
        pytest.env("CORDON_REAL_DIR", &self.places.real);
        pytest.env("CORDON_REPORT", &report);
        if let Some(binary) = &self.binary {
            pytest.env("CORDON_BIN", binary);
        }
        let ended = match show(&mut pytest) {
            Ok(ended) => ended,
            Err(error) => return failure(&error),
        };
        match suite_report(&report) {
            Ok(mut count) => {
                if !ended.ok && count.failed == 0 {
                    count.failed = 1;
                }
                count
            }
            Err(error) => failure(&error),
        }
    }
}

/// A step that could not be judged failed.
fn failure(error: &str) -> Count {
    println!("    {error}");
    Count::failed(1)
}

/// What a suite wrote about itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuiteReport {
    passed: usize,
    failed: usize,
    skipped: Vec<SuiteSkip>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuiteSkip {
    name: String,
    reason: String,
}

fn suite_report(path: &Path) -> Result<Count, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("the suite left no report: {error}"))?;
    let report: SuiteReport =
        serde_json::from_str(&text).map_err(|error| format!("the suite's report is malformed: {error}"))?;
    let skipped =
        report.skipped.into_iter().map(|skip| Skip { name: skip.name, reason: skip.reason }).collect();
    Ok(Count { passed: report.passed, failed: report.failed, skipped })
}

/// Tests that found out while running that they cannot: lines of `name<TAB>reason`.
fn skips_during(path: &Path) -> Vec<Skip> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines.map(|(name, reason)| Skip { name: name.to_owned(), reason: reason.to_owned() }).collect()
}

/// The tests that the sources mark as ignored, as many as the runner counted.
fn ignored_tests(root: &Path, number: usize) -> Vec<Skip> {
    if number == 0 {
        return Vec::new();
    }
    let marked = tidy::Tree::load(root).map(|tree| tidy::ignored(&tree)).unwrap_or_default();
    let named = marked.into_iter().map(|(name, reason)| Skip { name, reason });
    let unnamed = std::iter::repeat_with(|| Skip { name: "a test".to_owned(), reason: "ignored".to_owned() });
    named.chain(unnamed).take(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_brings_what_it_needs_and_no_more() {
        let options = Options { only: vec!["clients".to_owned()], ..Options::default() };
        assert_eq!(chosen(&options), BTreeSet::from(["tools", "venv", "node", "binary", "clients"]));
    }

    #[test]
    fn without_real_parts_nothing_is_installed() {
        let options = Options { real: RealParts::LeftOut, ..Options::default() };
        assert_eq!(chosen(&options), BTreeSet::from(["fmt", "lint", "tests", "doctests"]));
    }

    #[test]
    fn needs_come_before_the_steps_that_need_them() {
        for (index, step) in STEPS.iter().enumerate() {
            for need in step.needs {
                let at = STEPS.iter().position(|other| other.name == *need);
                assert!(at.is_some_and(|at| at < index), "{} needs {need} before it", step.name);
            }
        }
    }

    #[test]
    fn a_suite_without_a_report_is_not_a_pass() {
        assert!(suite_report(Path::new("no/such/report.json")).is_err());
    }
}
