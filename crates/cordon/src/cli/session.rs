//! `cordon session`: who works, and ending it.

use clap::Subcommand;
use cordon_control::view::SessionView;
use cordon_core::SessionId;

use super::online::{print, with_owner};
use super::{Ended, Global};
use crate::term::{self, Table, safe};

/// What `cordon session` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon session ls
  cordon session close ses_0193…")]
pub(crate) struct SessionArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List sessions
    Ls {
        /// Also those that have ended
        #[arg(long)]
        all: bool,
    },
    /// Show one session
    Show {
        /// The session, as `ls` names it
        id: SessionId,
    },
    /// End a session: no call that begins afterwards is permitted in it
    Close {
        /// The session, as `ls` names it
        id: SessionId,
    },
}

/// Runs `cordon session`.
pub(crate) fn run(args: SessionArgs, global: &Global) -> Ended {
    match args.what {
        What::Ls { all } => {
            let mut sessions = with_owner(global, |client| async move { client.sessions().await })?;
            sessions.retain(|session| all || session.state == "open");
            print(global, &sessions, || list(&sessions))
        }
        What::Show { id } => {
            let session = with_owner(global, |client| async move { client.session(id).await })?;
            print(global, &session, || show(&session))
        }
        What::Close { id } => {
            let closed = with_owner(global, |client| async move { client.close_session(id).await })?;
            print(global, &closed, || term::say(format_args!("closed {}", safe(&closed.session))))
        }
    }
}

fn list(sessions: &[SessionView]) -> std::io::Result<()> {
    if sessions.is_empty() {
        term::note("no session is open");
        return Ok(());
    }
    let mut table = Table::new(["SESSION", "STATE", "AGENT", "FOR", "OPENED"]);
    for session in sessions {
        let who = |role| session.principals.get(role).map_or("", String::as_str);
        let user = match who("on_behalf_of") {
            "" => who("owner"),
            user => user,
        };
        table.row([&session.id, &session.state, who("agent"), user, &session.opened]);
    }
    term::say(table)
}

fn show(session: &SessionView) -> std::io::Result<()> {
    let line = |name: &str, text: &str| term::say(format_args!("{name:<12} {}", safe(text)));
    line("session", &session.id)?;
    line("state", &session.state)?;
    for (role, who) in &session.principals {
        line(role, who)?;
    }
    line("tenant", &session.tenant)?;
    for (name, text) in [("purpose", &session.purpose), ("key", &session.key), ("closed", &session.closed)] {
        text.as_ref().map_or(Ok(()), |text| line(name, text))?;
    }
    line("opened", &session.opened)?;
    line("expires", &session.expires)
}
