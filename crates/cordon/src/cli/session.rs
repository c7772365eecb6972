//! `cordon session`: who works, what each may still do, and ending it.

use clap::Subcommand;
use cordon_control::view::{ContainView, NarrowedView, PostureView, SessionView};
use cordon_core::{ActionName, Class, SessionId};
use cordon_workflow::LiftOf;

use super::failure::DENIED;
use super::lifting;
use super::online::{print, with_owner};
use super::{Ended, Failure, Global};
use crate::term::{self, Table, safe};

/// What `cordon session` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon session ls
  cordon session contain ses_0193…                               isolate it
  cordon session contain ses_0193… --revoke data.write --network-off
  cordon session release ses_0193… --as alice
  cordon session kill ses_0193…

Containing is in force on the next call, whether or not the ledger can be written. What was taken stays
taken after a restart, and when the session is closed and another begins under its name. Releasing is
signed by an approver's key.")]
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
    /// Take something from a session; without a flag it is isolated
    Contain(ContainArgs),
    /// Give back what was taken; of a terminated session, let a new one begin
    Release {
        /// The session, as `ls` names it
        id: SessionId,
        /// The approver's key to sign with; needed when there are several
        #[arg(long = "as", value_name = "NAME")]
        approver: Option<String>,
    },
    /// Terminate a session: it never runs again
    Kill {
        /// The session, as `ls` names it
        id: SessionId,
    },
    /// End a session: no call that begins afterwards is permitted in it
    Close {
        /// The session, as `ls` names it
        id: SessionId,
    },
}

#[derive(Debug, clap::Args)]
struct ContainArgs {
    /// The session, as `ls` names it
    id: SessionId,
    /// Take capability classes away
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    revoke: Vec<Class>,
    /// Take tools away
    #[arg(long, value_name = "SERVER/TOOL", value_delimiter = ',')]
    disable_tool: Vec<ActionName>,
    /// Nothing leaves over the network
    #[arg(long)]
    network_off: bool,
    /// Nothing is delegated
    #[arg(long)]
    block_delegation: bool,
    /// Nothing is changed
    #[arg(long)]
    read_only: bool,
    /// No secret is used until they are replaced
    #[arg(long)]
    rotate_credentials: bool,
    /// Only look more closely
    #[arg(long)]
    watch: bool,
    /// Take everything, until it is released
    #[arg(long)]
    isolate: bool,
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
        What::Contain(args) => {
            let (id, what) = (args.id, args.view());
            let narrowed = with_owner(global, |client| async move { client.contain(id, &what).await })?;
            print(global, &narrowed, || contained(&narrowed))
        }
        What::Kill { id } => {
            let narrowed = with_owner(global, |client| async move { client.kill_session(id).await })?;
            print(global, &narrowed, || contained(&narrowed))
        }
        What::Release { id, approver } => release(id, approver.as_deref(), global),
        What::Close { id } => {
            let closed = with_owner(global, |client| async move { client.close_session(id).await })?;
            print(global, &closed, || term::say(format_args!("closed {}", safe(&closed.session))))
        }
    }
}

impl ContainArgs {
    fn view(&self) -> ContainView {
        let restraints = [
            (self.network_off, "network_off"),
            (self.block_delegation, "block_delegation"),
            (self.read_only, "read_only"),
            (self.rotate_credentials, "rotate_credentials"),
        ];
        let state = if self.isolate { Some("quarantined") } else { self.watch.then_some("watched") };
        ContainView {
            revoke: self.revoke.iter().map(ToString::to_string).collect(),
            disable_tools: self.disable_tool.iter().map(ToString::to_string).collect(),
            restraints: restraints.iter().filter(|(on, _)| *on).map(|(_, name)| (*name).to_owned()).collect(),
            state: state.map(str::to_owned),
        }
    }
}

fn release(id: SessionId, approver: Option<&str>, global: &Global) -> Ended {
    let key = lifting::key(approver)?;
    let session = with_owner(global, |client| async move { client.session(id).await })?;
    if session.posture.state == "normal" {
        return Err(Failure::new(format!("nothing was taken from session {id}")).exit(DENIED));
    }
    // The signature covers the posture that is shown, so that nothing else is given back.
    let lift = lifting::sign(&key, LiftOf::Session(id), &session.posture.binding)?;
    let released = with_owner(global, |client| async move { client.release(id, &lift).await })?;
    print(global, &released, || {
        term::say(format_args!("released {} from: {}", safe(&session.id), posture(&session.posture)))?;
        term::say(format_args!("ledger entry {}", safe(&released.entry.id)))
    })
}

fn contained(narrowed: &NarrowedView<PostureView>) -> std::io::Result<()> {
    term::say(format_args!("{}  {}", safe(&narrowed.now.session), posture(&narrowed.now)))?;
    if !narrowed.kept {
        term::note("it is in force, and the state store did not take it yet: it is tried again");
    }
    if !narrowed.departed {
        term::note("calls that had begun before it are still being handed over");
    }
    Ok(())
}

/// `restricted, without data.write, read_only`.
fn posture(posture: &PostureView) -> String {
    let mut text = safe(&posture.state).to_string();
    let taken: Vec<_> =
        posture.revoked.iter().chain(&posture.disabled).map(|name| safe(name).to_string()).collect();
    if !taken.is_empty() {
        text.push_str(&format!(", without {}", taken.join(", ")));
    }
    posture.restraints.iter().for_each(|one| text.push_str(&format!(", {}", safe(one))));
    text
}

fn list(sessions: &[SessionView]) -> std::io::Result<()> {
    if sessions.is_empty() {
        term::note("no session is open");
        return Ok(());
    }
    let mut table = Table::new(["SESSION", "STATE", "POSTURE", "AGENT", "FOR", "OPENED"]);
    for session in sessions {
        let who = |role| session.principals.get(role).map_or("", String::as_str);
        let user = match who("on_behalf_of") {
            "" => who("owner"),
            user => user,
        };
        let posture = &session.posture.state;
        table.row([&session.id, &session.state, posture, who("agent"), user, &session.opened]);
    }
    term::say(table)
}

fn show(session: &SessionView) -> std::io::Result<()> {
    let line = |name: &str, text: &str| term::say(format_args!("{name:<12} {}", safe(text)));
    line("session", &session.id)?;
    line("state", &session.state)?;
    line("posture", &posture(&session.posture))?;
    if !session.posture.cause.is_empty() {
        line("because", &session.posture.cause)?;
        line("since", &session.posture.changed)?;
    }
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
