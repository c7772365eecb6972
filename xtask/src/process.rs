//! Running a program: its output goes to the terminal as it comes, and is kept.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;

/// How a program ended and what it said.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    /// Whether its status was zero.
    pub(crate) ok: bool,
    /// Its standard output and error, joined in the order of arrival within each.
    pub(crate) text: String,
}

/// Runs a program, showing its output.
///
/// # Errors
/// The program could not be started, or its output could not be read.
pub(crate) fn show(command: &mut Command) -> Result<Ended, String> {
    println!("    $ {}", line(command));
    run(command, true)
}

/// Runs a program, keeping its output to itself.
///
/// # Errors
/// As for [`show`].
pub(crate) fn ask(command: &mut Command) -> Result<Ended, String> {
    run(command, false)
}

fn run(command: &mut Command, shown: bool) -> Result<Ended, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start `{name}`: {error}"))?;
    let output = child.stdout.take();
    let errors = child.stderr.take();
    let listener =
        thread::spawn(move || errors.map_or_else(Vec::new, |pipe| copy(pipe, std::io::stderr(), shown)));
    let mut bytes = output.map_or_else(Vec::new, |pipe| copy(pipe, std::io::stdout(), shown));
    let rest = listener.join().map_err(|_| format!("the reader of `{name}` stopped"))?;
    bytes.extend(rest);
    let status = child.wait().map_err(|error| format!("cannot wait for `{name}`: {error}"))?;
    Ok(Ended { ok: status.success(), text: String::from_utf8_lossy(&bytes).into_owned() })
}

/// Copies a pipe to the terminal and returns everything that came.
fn copy(mut from: impl Read, mut to: impl Write, shown: bool) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0_u8; 8192];
    while let Ok(count) = from.read(&mut buffer) {
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { break };
        kept.extend_from_slice(part);
        if shown {
            // A closed terminal does not stop the tests.
            let _ = to.write_all(part);
            let _ = to.flush();
        }
    }
    kept
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
