//! The command line: one module a command, one shape for all of them.
//!
//! A command is `run(args, &Global) -> Ended`. Data goes to standard output, everything else to
//! standard error. Exit status 0 is allowed or done, 1 denied or a failed check, 2 could not judge;
//! `mcp` returns the child's status, or 125 when Cordon itself refuses.

mod approve;
mod completions;
mod console;
mod decide;
mod doctor;
mod failure;
mod init;
mod keys;
mod kill;
mod ledger;
mod lifting;
mod mcp;
mod online;
mod policy;
mod progress;
mod recorded;
mod request_json;
mod serve;
mod session;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

pub(crate) use doctor::machine_findings;
pub(crate) use failure::{DENIED, Ended, Failure, NO_ANSWER};
pub(crate) use mcp::{MISSING, NOT_RUNNABLE, REFUSED};

/// A security runtime for AI agents: every action is one decision, before it happens.
#[derive(Debug, Parser)]
#[command(name = "cordon", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The flags that every command takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Global {
    /// The configuration; otherwise cordon.toml in this directory or the nearest one above it
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The data directory; otherwise `[data] dir`, or `.cordon` beside the configuration
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How data is printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// How a command prints its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// See an agent under attack: allowed, held, denied, and a ledger that proves it
    Demo(crate::demo::DemoArgs),
    /// Write a commented cordon.toml, a policy with tests, and keys
    Init(init::InitArgs),
    /// Serve the gateways and the decision API
    Serve(serve::ServeArgs),
    /// Wrap one stdio MCP server, for an agent's MCP configuration
    Mcp(mcp::McpArgs),
    /// Print a link that opens the running node's console once
    Console,
    /// Show what this machine can enforce, probe by probe
    Doctor(doctor::DoctorArgs),
    /// Check, test, build, verify and explain policy bundles
    Policy(policy::PolicyArgs),
    /// Import tools from live servers, list them, and accept changed ones
    Tools(tools::ToolsArgs),
    /// Judge one AuthZEN request
    Decide(decide::DecideArgs),
    /// List, show and answer held calls
    Approve(approve::ApproveArgs),
    /// List, show, contain, release and end sessions
    Session(session::SessionArgs),
    /// Switch a capability off everywhere on the node
    Kill(kill::KillArgs),
    /// Lift a kill switch
    Unkill(kill::UnkillArgs),
    /// Verify the ledger, show its entries, prove one
    Ledger(ledger::LedgerArgs),
    /// Make and list keys
    Keys(keys::KeysArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Run a built-in MCP server, for the demo and the tests
    #[command(hide = true)]
    FixtureServer(mcp::FixtureArgs),
    /// Become a server that ends with its parent
    #[command(hide = true)]
    ExecChild(mcp::ExecChildArgs),
}

/// Reads the command line and runs the command.
pub(crate) fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let ended = match command {
        Command::Demo(args) => crate::demo::run(args, &global),
        Command::Init(args) => init::run(args, &global),
        Command::Serve(args) => serve::run(args, &global),
        Command::Mcp(args) => mcp::run(args, &global),
        Command::Console => console::run(&global),
        Command::Doctor(args) => doctor::run(args, &global),
        Command::Policy(args) => policy::run(args, &global),
        Command::Tools(args) => tools::run(args, &global),
        Command::Decide(args) => decide::run(args, &global),
        Command::Approve(args) => approve::run(args, &global),
        Command::Session(args) => session::run(args, &global),
        Command::Kill(args) => kill::run(args, &global),
        Command::Unkill(args) => kill::unkill(args, &global),
        Command::Ledger(args) => ledger::run(args, &global),
        Command::Keys(args) => keys::run(args, &global),
        Command::Completions(args) => completions::run(args, &global),
        Command::FixtureServer(args) => mcp::run_fixture(&args),
        Command::ExecChild(args) => mcp::run_exec_child(&args),
    };
    ended.unwrap_or_else(|failure| failure.report())
}

/// The whole command line, for completions and help.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}
