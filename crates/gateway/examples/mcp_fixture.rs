//! The fixture server as a program of its own, for tests that need a real child process.
//!
//! `mcp_fixture PROFILE` serves a profile of `cordon_testkit::mcp_fixture`; some words make a child
//! that behaves badly: `stubborn` (ignores SIGTERM's usual forerunner, a closed input), `environment`
//! (prints its environment as one JSON-RPC line), `leaves` (answers one request and exits with 3).

use std::io::{BufRead, Write, stdin, stdout};

fn main() -> std::io::Result<()> {
    let profile = std::env::args().nth(1).unwrap_or_default();
    match profile.as_str() {
        "stubborn" => loop {
            std::thread::sleep(std::time::Duration::from_secs(60));
        },
        "environment" => {
            let names: Vec<String> = std::env::vars().map(|(name, _)| format!("\"{name}\"")).collect();
            let mut line = String::new();
            stdin().lock().read_line(&mut line)?;
            writeln!(stdout(), r#"{{"jsonrpc":"2.0","id":1,"result":{{"names":[{}]}}}}"#, names.join(","))
        }
        "leaves" => {
            let mut line = String::new();
            stdin().lock().read_line(&mut line)?;
            writeln!(stdout(), r#"{{"jsonrpc":"2.0","id":1,"result":{{}}}}"#)?;
            stdin().lock().read_line(&mut line)?;
            std::process::exit(3);
        }
        _ => cordon_testkit::mcp_fixture::run(stdin().lock(), stdout().lock(), &profile),
    }
}
