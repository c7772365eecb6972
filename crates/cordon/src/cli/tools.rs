//! `cordon tools`: what servers list, what is accepted of it, and manifests to write.

mod import;
mod publish;

use std::process::ExitCode;

use clap::Subcommand;
use cordon_control::view::{ToolApproval, ToolDefinition, ToolShown, ToolView};
use cordon_core::ActionName;

use super::online::{print, with_owner};
use super::{Ended, Failure, Global};
use crate::term::{self, Table, safe, safe_lines};

/// What `cordon tools` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon tools import memory -o policy/tools -- npx -y @modelcontextprotocol/server-memory
  cordon tools ls
  cordon tools diff mail/send
  cordon tools approve mail/send
  cordon tools publish mail.toml --check")]
pub(crate) struct ToolsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Describe a live server's tools in manifests, for a person to edit
    Import(import::ImportArgs),
    /// List the tools that servers listed since the owner started
    Ls,
    /// Show a tool's present definition beside the accepted one
    Diff {
        /// The tool, as server/name
        tool: ActionName,
    },
    /// Put manifests into the policy source, if the bundle bears them
    Publish(publish::PublishArgs),
    /// Accept a tool's present definition
    Approve {
        /// The tool, as server/name
        tool: ActionName,
        /// The pin of the definition that was looked at; otherwise the present one
        #[arg(long)]
        pin: Option<cordon_core::Digest>,
    },
}

/// Runs `cordon tools`.
pub(crate) fn run(args: ToolsArgs, global: &Global) -> Ended {
    match args.what {
        What::Import(args) => import::run(args, global),
        What::Ls => {
            let tools = with_owner(global, |client| async move { client.tools().await })?;
            print(global, &tools, || list(&tools))
        }
        What::Diff { tool } => {
            let shown = with_owner(global, |client| async move { client.tool(tool.as_str()).await })?;
            print(global, &shown, || term::say(difference(&shown).trim_end()))?;
            Ok(if shown.tool.standing == "usable" {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(super::DENIED)
            })
        }
        What::Publish(args) => publish::run(&args, global),
        What::Approve { tool, pin } => approve(&tool, pin, global),
    }
}

fn list(tools: &[ToolView]) -> std::io::Result<()> {
    if tools.is_empty() {
        term::note("no server has listed a tool since the owner started; connect one with `cordon mcp`");
        return Ok(());
    }
    let mut table = Table::new(["TOOL", "STANDING", "EFFECT", "CLASSES", "WHY"]);
    for tool in tools {
        let classes = tool.classes.join(" ");
        let effect = tool.effect.as_deref().unwrap_or("no manifest");
        table.row([&*tool.tool, &tool.standing, effect, &classes, tool.why.as_deref().unwrap_or("")]);
    }
    term::say(table)
}

fn approve(tool: &ActionName, pin: Option<cordon_core::Digest>, global: &Global) -> Ended {
    let entry = with_owner(global, |client| async move {
        let pin = match pin {
            Some(pin) => pin.to_string(),
            None => client.tool(tool.as_str()).await?.listed.pin,
        };
        client.approve_tool(&ToolApproval { tool: tool.to_string(), pin }).await
    })?;
    print(global, &entry, || term::say(format_args!("accepted {tool}; ledger entry {}", safe(&entry.id))))
}

/// Line by line, what went and what came; every line is made safe.
fn difference(shown: &ToolShown) -> String {
    let ToolShown { tool, listed, accepted } = shown;
    let mut out = format!("{} is {}", safe(&tool.tool), safe(&tool.standing));
    if let Some(why) = &tool.why {
        out.push_str(&format!(": {}", safe(why)));
    }
    let none = ToolDefinition::default();
    let before = accepted.as_ref().unwrap_or(&none);
    if accepted.is_none() {
        out.push_str("\nno accepted definition was kept; this is all that the server says");
    }
    let schema = |text: &Option<String>| text.as_deref().map(lines_of_json).unwrap_or_default();
    for (name, old, new) in [
        ("pin", before.pin.clone(), listed.pin.clone()),
        ("description", before.description.clone(), listed.description.clone()),
        ("input schema", schema(&before.input_schema), schema(&listed.input_schema)),
        ("output schema", schema(&before.output_schema), schema(&listed.output_schema)),
    ] {
        if old != new {
            out.push_str(&format!("\n{name}\n"));
            out.push_str(&changed_lines(&old, &new));
        }
    }
    out
}

fn lines_of_json(text: &str) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(text).ok();
    value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| text.to_owned())
}

/// Most lines of each side that are compared.
const LINES_MAX: usize = 500;

/// The lines that only one side has, in order, with those both have left out (longest common part).
fn changed_lines(old: &str, new: &str) -> String {
    let old: Vec<&str> = old.lines().take(LINES_MAX).collect();
    let new: Vec<&str> = new.lines().take(LINES_MAX).collect();
    let width = new.len().saturating_add(1);
    let mut common = vec![0u32; old.len().saturating_add(1).saturating_mul(width)];
    let at = |row: usize, column: usize| row.saturating_mul(width).saturating_add(column);
    for (row, left) in old.iter().enumerate().rev() {
        for (column, right) in new.iter().enumerate().rev() {
            let get = |row, column| common.get(at(row, column)).copied().unwrap_or_default();
            let (below, beside) = (row.saturating_add(1), column.saturating_add(1));
            let length = match left == right {
                true => get(below, beside).saturating_add(1),
                false => get(below, column).max(get(row, beside)),
            };
            if let Some(cell) = common.get_mut(at(row, column)) {
                *cell = length;
            }
        }
    }
    let mut out = String::new();
    let (mut row, mut column) = (0usize, 0usize);
    loop {
        let get = |row, column| common.get(at(row, column)).copied().unwrap_or_default();
        match (old.get(row), new.get(column)) {
            (Some(left), Some(right)) if left == right => {
                row = row.saturating_add(1);
                column = column.saturating_add(1);
            }
            (Some(left), right)
                if right.is_none()
                    || get(row.saturating_add(1), column) >= get(row, column.saturating_add(1)) =>
            {
                out.push_str(&format!("  - {}\n", safe(left)));
                row = row.saturating_add(1);
            }
            (_, Some(right)) => {
                out.push_str(&format!("  + {}\n", safe(right)));
                column = column.saturating_add(1);
            }
            _ => return safe_lines(&out),
        }
    }
}

/// A failure of something that the server should have said.
fn unusable(server: &str, what: &str) -> Failure {
    Failure::new(format!("the server `{}` {what}", server.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_what_went_and_what_came_and_nothing_else() {
        assert_eq!(changed_lines("a\nb\nc", "a\nx\nc"), "  - b\n  + x\n");
        assert_eq!(changed_lines("", "a\nb"), "  + a\n  + b\n");
        assert_eq!(changed_lines("a", "a"), "");
        let hostile = changed_lines("", "a\u{1b}[2J\u{202e}b");
        assert!(!hostile.contains('\u{1b}') && !hostile.contains('\u{202e}'), "{hostile}");
    }
}
