//! `cordon demo`: a scripted agent under attack, governed by the same code as everybody's.
//!
//! Only the agent's attempts are scripted. Every verdict that is printed is what the guard answered,
//! every record lies in a real ledger, and the commands that a person would type are run as typed.

mod agent;
mod play;
mod screen;
mod stage;
mod tamper;

use std::process::ExitCode;

use crate::cli::{Ended, Format, Global};
use play::Play;
use screen::Screen;
use stage::{Afterwards, Stage};

/// What `cordon demo` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon demo
  cordon demo --keep              leave keys, policy and ledger behind, to look around
  cordon demo --format json       what happened, for programs")]
pub(crate) struct DemoArgs {
    /// Keep the directory with keys, policy and ledger
    #[arg(long)]
    keep: bool,
}

/// Runs `cordon demo`.
pub(crate) fn run(args: DemoArgs, global: &Global) -> Ended {
    let screen = Screen::new(global.format);
    screen.title();
    let afterwards = if args.keep { Afterwards::Keep } else { Afterwards::Remove };
    let mut stage = Stage::build(afterwards)?;
    let mut play = Play::new(&stage, &screen);
    play.ordinary_work()?;
    play.poisoned_mail()?;
    play.large_payment()?;
    play.changed_tool()?;
    let seen = play.end();
    stage.close()?;
    let evidence = play::evidence(&stage, &screen)?;
    if global.format == Format::Json {
        crate::term::say(serde_json::json!({ "calls": seen, "ledger": evidence }))?;
    }
    screen.farewell(args.keep.then(|| stage.dir()));
    Ok(ExitCode::SUCCESS)
}
