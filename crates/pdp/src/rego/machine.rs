//! Evaluation of guard rules by the Rego interpreter.

use std::fmt;

use regorus::{Engine, Value};

use super::dialect::{RegoVersion, add, taken_apart};
use super::{builtin, steps};

/// Most steps that one rule may take.
const STEPS_MAX: u64 = 20_000;
/// Least steps that one rule may take, however large the input is.
const STEPS_MIN: u64 = 1_000;
/// Steps times bytes of input: a larger input leaves fewer steps, since one step may read all of it.
const WORK_MAX: u64 = 1 << 31;

/// An engine that has read the guards.
pub(super) struct Machine(Engine);

/// Why a rule could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EvaluationError {
    /// The line of the guard file that the engine names; 0 when it names none.
    pub(super) line: usize,
    pub(super) message: String,
}

/// An engine with one input.
pub(super) struct Run {
    engine: Engine,
    steps: u64,
}

impl Machine {
    /// Reads the files; an error is as the engine says it.
    pub(super) fn new(files: &[(&str, String, RegoVersion)], entry: Option<&str>) -> Result<Self, String> {
        if !steps::are_counted() {
            return Err("the steps of guards cannot be counted in this process".to_owned());
        }
        let mut engine = Engine::new();
        engine.set_strict_builtin_errors(true);
        builtin::install(&mut engine)?;
        for (path, text, version) in files {
            add(&mut engine, path, text, *version).map_err(|error| error.to_string())?;
        }
        if let Some(entry) = entry {
            let entry = path(entry).into();
            engine.compile_with_entrypoint(&entry).map_err(|error| error.to_string())?;
        }
        Ok(Self(engine))
    }

    /// An engine for one input of roughly `size` bytes.
    pub(super) fn run(&self, input: Value, size: usize) -> Run {
        let mut engine = self.0.clone();
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let steps = WORK_MAX.checked_div(size).unwrap_or(STEPS_MAX).clamp(STEPS_MIN, STEPS_MAX);
        engine.set_execution_timer_config(steps::limit(steps));
        engine.set_input(input);
        Run { engine, steps }
    }
}

impl Run {
    /// The values of the set that a rule defines, in order.
    pub(super) fn values(&mut self, rule: &str) -> Result<Vec<Value>, EvaluationError> {
        steps::restart();
        match self.engine.eval_rule(path(rule)) {
            Ok(Value::Set(values)) => Ok(values.iter_sorted().cloned().collect()),
            Ok(Value::Undefined) => Ok(Vec::new()),
            Ok(other) => {
                let message = format!("it is no set but `{}`", other.to_json_str().unwrap_or_default());
                Err(EvaluationError { line: 0, message })
            }
            Err(_) if steps::taken() > self.steps => {
                Err(EvaluationError { line: 0, message: format!("it takes more than {} steps", self.steps) })
            }
            Err(error) => {
                let (place, message) = taken_apart(&error.to_string());
                Err(EvaluationError { line: place.map_or(0, |(line, _)| line), message })
            }
        }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Machine")
    }
}

fn path(rule: &str) -> String {
    format!("data.{}.{rule}", super::PACKAGE)
}
