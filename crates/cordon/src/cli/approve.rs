//! `cordon approve`: held calls, and an approver's signed answer to them.

use std::fmt::Write as _;

use clap::Subcommand;
use cordon_control::view::{ApprovalView, BallotView};
use cordon_core::json::{Kind, Node, parse, quote};
use cordon_core::{ApprovalId, Limits};
use cordon_guard::ports::Clock as _;
use cordon_store::keyfile::{KeyRing, KeyRole};
use cordon_store::system::SystemClock;
use cordon_workflow::{Answer, Ballot};

use super::online::{print, with_owner};
use super::{Ended, Failure, Global};
use crate::config;
use crate::term::{self, Table, Tone, safe};

/// What `cordon approve` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon approve ls
  cordon approve show apr_0193…
  cordon approve grant apr_0193… --as alice")]
pub(crate) struct ApproveArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the calls that wait for a person
    Ls {
        /// Also those that are settled
        #[arg(long)]
        all: bool,
    },
    /// Show one held call in full
    Show {
        /// The approval, as `ls` and the refusal name it
        id: ApprovalId,
    },
    /// Let the call run once
    Grant(AnswerArgs),
    /// Refuse the call
    Deny(AnswerArgs),
}

#[derive(Debug, clap::Args)]
struct AnswerArgs {
    /// The approval, as `ls` and the refusal name it
    id: ApprovalId,
    /// The approver's key to sign with; needed when there are several
    #[arg(long = "as", value_name = "NAME")]
    approver: Option<String>,
}

/// Runs `cordon approve`.
pub(crate) fn run(args: ApproveArgs, global: &Global) -> Ended {
    match args.what {
        What::Ls { all } => list(all, global),
        What::Show { id } => {
            let approval = with_owner(global, |client| async move { client.approval(id).await })?;
            print(global, &approval, || term::say(describe(&approval).trim_end()))
        }
        What::Grant(args) => answer(&args, Answer::Grant, global),
        What::Deny(args) => answer(&args, Answer::Deny, global),
    }
}

fn list(all: bool, global: &Global) -> Ended {
    let mut approvals = with_owner(global, |client| async move { client.approvals().await })?;
    approvals.retain(|approval| all || matches!(approval.state.as_str(), "pending" | "granted"));
    print(global, &approvals, || {
        if approvals.is_empty() {
            term::note("no call waits for an approval");
            return Ok(());
        }
        let mut table = Table::new(["APPROVAL", "STATE", "CALL", "FOR", "EXPIRES"]);
        for approval in &approvals {
            let agent = approval.principals.iter().find(|who| who.starts_with("agent "));
            table.row([
                approval.id.as_str(),
                &approval.state,
                &approval.action,
                agent.map_or("", |agent| agent.trim_start_matches("agent ")),
                &approval.expires,
            ]);
        }
        term::say(table)
    })
}

fn answer(args: &AnswerArgs, answer: Answer, global: &Global) -> Ended {
    let keys = config::key_ring()?;
    let approver = chosen(&keys, args.approver.as_deref())?;
    let key = keys.signing(KeyRole::Approver, &approver)?;
    let answered = with_owner(global, |client| async move {
        // The signature covers the binding that this command was shown, so that the answer cannot
        // be moved to another call.
        let shown = client.approval(args.id).await?;
        let malformed =
            |error: cordon_core::InvalidDigest| cordon_control::ClientError::Broken(error.to_string());
        let ballot = Ballot {
            approval: args.id,
            binding: shown.binding.parse().map_err(malformed)?,
            answer,
            approver,
            at: SystemClock.now(),
        };
        let signature = key.sign(&ballot.signing_bytes());
        client.answer(args.id, &BallotView::new(&ballot, &signature)).await
    })?;
    print(global, &answered, || {
        let approval = &answered.approval;
        let said = match answer {
            Answer::Grant => "granted",
            Answer::Deny => "denied",
        };
        let state = match approval.state.as_str() {
            "pending" => "more people must say yes",
            "granted" => "the identical call runs once",
            _ => "the call will not run",
        };
        term::say(format_args!("{said} {}: {state}", safe(&approval.id)))?;
        let entry = answered.entry.as_ref().map(|entry| format!("ledger entry {}", safe(&entry.id)));
        entry.map_or(Ok(()), term::say)
    })
}

/// The key to sign with: the one that was named, or the only one there is.
pub(super) fn chosen(keys: &KeyRing, named: Option<&str>) -> Result<Box<str>, Failure> {
    if let Some(name) = named {
        return Ok(name.into());
    }
    let names = keys.names(KeyRole::Approver)?;
    match &*names {
        [only] => Ok(only.clone()),
        [] => Err(Failure::new(format!(
            "there is no approver key in `{}`; make one with `cordon keys new --role approver --name NAME`",
            keys.dir().display()
        ))),
        several => Err(Failure::new(format!(
            "there are several approver keys; name one with --as: {}",
            several.join(", ")
        ))),
    }
}

/// The call in full, for a person who is about to answer for it.
///
/// Everything that came from outside is printed with each control, invisible and reordering character
/// spelled out, one value a line: a hostile argument cannot add a line or hide one.
fn describe(approval: &ApprovalView) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: &str| {
        let _ = writeln!(out, "{name:<12} {}", safe(text));
    };
    line("approval", &approval.id);
    line("state", &approval.state);
    line("call", &approval.action);
    line("on", &approval.resource);
    for principal in &approval.principals {
        line("principal", principal);
    }
    for reason in &approval.reasons {
        line("because", reason);
    }
    for need in &approval.requirements {
        line("needs", &format!("{} × {}", need.quorum, need.role));
    }
    for vote in &approval.votes {
        line("yes from", vote);
    }
    if let Some(by) = &approval.refused_by {
        line("no from", by);
    }
    line("asked", &approval.asked);
    line("expires", &approval.expires);
    line("session", &approval.session);
    line("bundle", &approval.bundle);
    line("binding", &approval.binding);
    let _ = writeln!(out, "\n{}", Tone::Strong.paint("arguments"));
    match parse(approval.arguments.as_bytes(), &Limits::DEFAULT) {
        Ok(node) => {
            pretty(&node, 0, &mut out);
            out.push('\n');
        }
        Err(_) => {
            let _ = writeln!(out, "  {}", safe(&approval.arguments));
        }
    }
    out
}

/// Writes a JSON value over several lines; number text is kept as it came.
fn pretty(node: &Node, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    let inner = "  ".repeat(depth.saturating_add(1));
    match node.kind() {
        Kind::Object(members) if !members.is_empty() => {
            out.push_str("{\n");
            for (at, (name, value)) in members.iter().enumerate() {
                let _ = write!(out, "{inner}{}: ", safe(&quote(name)));
                pretty(value, depth.saturating_add(1), out);
                out.push_str(if at.saturating_add(1) < members.len() { ",\n" } else { "\n" });
            }
            let _ = write!(out, "{indent}}}");
        }
        Kind::Array(items) if !items.is_empty() => {
            out.push_str("[\n");
            for (at, item) in items.iter().enumerate() {
                out.push_str(&inner);
                pretty(item, depth.saturating_add(1), out);
                out.push_str(if at.saturating_add(1) < items.len() { ",\n" } else { "\n" });
            }
            let _ = write!(out, "{indent}]");
        }
        _ => out.push_str(&safe(&node.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approval(arguments: &str) -> ApprovalView {
        let text = |text: &str| text.to_owned();
        ApprovalView {
            id: text("apr_1"),
            state: text("pending"),
            kind: text("call"),
            binding: text("sha256:00"),
            session: text("ses_1"),
            requesters: Vec::new(),
            requirements: Vec::new(),
            votes: Vec::new(),
            refused_by: None,
            asked: text("2026-01-01T00:00:00Z"),
            expires: text("2026-01-01T00:15:00Z"),
            action: text("mail/send"),
            resource: text("Tool mail/send"),
            principals: vec![text("agent Agent:a\nstate        granted")],
            arguments: text(arguments),
            reasons: Vec::new(),
            bundle: text("sha256:00"),
        }
    }

    #[test]
    fn hostile_text_adds_no_line_hides_none_and_moves_no_cursor() {
        let shown = describe(&approval(
            r#"{"to": "a\u001b[2K\rb", "\nstate        granted": "\u202eevil\u200b", "n": 1.10}"#,
        ));
        let plain: String = shown.chars().filter(|c| *c != '\n').collect();
        let hostile = |c: char| c.is_control() && c != '\u{1b}';
        assert!(!plain.chars().any(hostile), "{shown:?}");
        assert!(!shown.contains("\u{1b}[2K") && !shown.contains('\u{202e}') && !shown.contains('\u{200b}'));
        assert_eq!(shown.lines().filter(|line| line.starts_with("state")).count(), 1, "{shown}");
        assert!(shown.contains("1.10"), "numbers keep their text: {shown}");
    }
}
