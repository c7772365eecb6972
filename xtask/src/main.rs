//! `cargo xtask`: the repository's own commands.
//!
//! This program never ships: it checks, builds and tests the workspace it lives in.

use std::process::ExitCode;

use xtask::{Command, Options, USAGE, repository_root, run_tests, tidy};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Command::parse(&arguments) {
        Ok(Command::Help) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Ok(Command::Tidy) => tidy_now(),
        Ok(Command::Test(options)) => test_now(&options),
        Err(error) => {
            eprintln!("xtask: {error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn tidy_now() -> ExitCode {
    match tidy::Tree::load(&repository_root()) {
        Ok(tree) => {
            let findings = tidy::check(&tree);
            for finding in &findings {
                println!("{finding}");
            }
            println!("tidy: {} files, {} findings", tree.files.len(), findings.len());
            if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("tidy: {error}");
            ExitCode::from(2)
        }
    }
}

fn test_now(options: &Options) -> ExitCode {
    match run_tests(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask test: {error}");
            ExitCode::from(2)
        }
    }
}
