//! `cordon kill` and `cordon unkill`: switching capabilities off everywhere on the node, and on again.

use std::path::PathBuf;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use cordon_control::view::{KillBundleView, KillOrderView, KillView};
use cordon_core::{Duration, KillTarget};
use cordon_guard::policy::{
    Bundle, BundleRole, BundleTerms, ENVELOPE_FILE, EPOCH_MAX, KILLS_FILE, build_statement, parse_kills,
};
use cordon_guard::ports::Clock as _;
use cordon_store::keyfile::KeyRole;
use cordon_store::system::SystemClock;
use cordon_workflow::LiftOf;
use serde_json::json;

use super::failure::DENIED;
use super::lifting;
use super::online::{print, with_owner};
use super::{Ended, Failure, Format, Global};
use crate::bundle_files::{self, Files};
use crate::signing::whole_second;
use crate::term::{self, Table, safe};

/// What `cordon kill` takes.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "Examples:
  cordon kill money.move                     nobody moves money any more
  cordon kill irreversible --agent billing   billing does nothing that cannot be taken back
  cordon kill data.read:orders --tenant acme
  cordon kill read                           everything stops
  cordon kill ls
  cordon unkill money.move --as alice

A class covers its parts, an effect covers what is harder to take back (read < write < irreversible),
and a tool that nobody described is covered by every switch. It is in force at every door when this
returns, whether or not the ledger can be written, and survives a restart."
)]
pub(crate) struct KillArgs {
    #[command(subcommand)]
    command: Option<KillCommand>,
    #[command(flatten)]
    switch: Option<SwitchArgs>,
}

#[derive(Debug, Subcommand)]
enum KillCommand {
    /// List the kill switches that are on
    Ls,
    /// Sign a kill bundle: a kills.toml becomes a tar that `load` takes
    Build(BuildArgs),
    /// Put the switches of a signed kill bundle in force; those of the one before it are lifted
    Load {
        /// The bundle: a tar or a directory
        bundle: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct SwitchArgs {
    /// A capability class, a part of one (`data.read:orders`), or an effect (`irreversible`)
    #[arg(value_name = "CLASS|EFFECT")]
    what: KillTarget,
    /// For this agent only
    #[arg(long)]
    agent: Option<String>,
    /// In this tenant only
    #[arg(long)]
    tenant: Option<String>,
}

#[derive(Debug, clap::Args)]
struct BuildArgs {
    /// A file of `[[kill]]` tables with `what`, `agent` and `tenant`
    #[arg(value_name = "KILLS.TOML")]
    source: PathBuf,
    /// Write the signed tar here
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// A kill key to sign with, by name
    #[arg(long = "key", value_name = "NAME", required = true)]
    keys: Vec<String>,
    /// The epoch [default: the time in seconds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=EPOCH_MAX))]
    epoch: Option<u64>,
    /// How many days it may be loaded; what it switches off stays off beyond that
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    days: u32,
}

/// What `cordon unkill` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cordon unkill money.move
  cordon unkill irreversible --agent billing --as alice

An approver's key signs it, and it takes effect once that is on record. A switch that a kill bundle
turned is lifted by a newer kill bundle only.")]
pub(crate) struct UnkillArgs {
    #[command(flatten)]
    switch: SwitchArgs,
    /// The approver's key to sign with; needed when there are several
    #[arg(long = "as", value_name = "NAME")]
    approver: Option<String>,
}

/// Runs `cordon kill`.
pub(crate) fn run(args: KillArgs, global: &Global) -> Ended {
    match (args.command, args.switch) {
        (Some(KillCommand::Ls), _) => {
            let kills = with_owner(global, |client| async move { client.kills().await })?;
            print(global, &kills, || list(&kills))
        }
        (Some(KillCommand::Build(args)), _) => build(&args, global),
        (Some(KillCommand::Load { bundle }), _) => load(&bundle, global),
        (None, Some(switch)) => kill(&switch, global),
        (None, None) => Err(Failure::new("name a capability class or an effect; see `cordon kill --help`")),
    }
}

fn kill(switch: &SwitchArgs, global: &Global) -> Ended {
    let order = KillOrderView {
        what: switch.what.to_string(),
        agent: switch.agent.clone(),
        tenant: switch.tenant.clone(),
    };
    let narrowed = with_owner(global, |client| async move { client.kill(&order).await })?;
    print(global, &narrowed, || {
        term::say(format_args!("off  {}", described(&narrowed.now)))?;
        if !narrowed.kept {
            term::note("it is in force, and the state store did not take it yet: it is tried again");
        }
        if !narrowed.departed {
            term::note("calls that had begun before it are still being handed over");
        }
        Ok(())
    })
}

/// Runs `cordon unkill`.
pub(crate) fn unkill(args: UnkillArgs, global: &Global) -> Ended {
    let key = lifting::key(args.approver.as_deref())?;
    let kills = with_owner(global, |client| async move { client.kills().await })?;
    let SwitchArgs { what, agent, tenant } = &args.switch;
    let what = what.to_string();
    let same = |kill: &&KillView| kill.what == what && kill.agent == *agent && kill.tenant == *tenant;
    let mut found: Vec<&KillView> = kills.iter().filter(same).collect();
    // What a person turned comes first; a bundle's is refused by the node, which says why.
    found.sort_by_key(|kill| kill.origin != "order");
    let Some(kill) = found.first() else {
        let text = format!("no such kill switch is on: {}; `cordon kill ls` lists them", safe(&what));
        return Err(Failure::new(text).exit(DENIED));
    };
    let lift = lifting::sign(&key, LiftOf::Kill(kill.id.parse()?), &kill.binding)?;
    let id = kill.id.clone();
    let lifted = with_owner(global, |client| async move { client.unkill(&id, &lift).await })?;
    print(global, &lifted, || {
        term::say(format_args!("on   {}", described(&lifted.lifted)))?;
        term::say(format_args!("ledger entry {}", safe(&lifted.entry.id)))
    })
}

fn list(kills: &[KillView]) -> std::io::Result<()> {
    if kills.is_empty() {
        term::note("nothing is switched off");
        return Ok(());
    }
    let mut table = Table::new(["OFF", "AGENT", "TENANT", "BY", "SINCE"]);
    for kill in kills {
        let by = kill.epoch.map_or_else(|| kill.by.clone(), |epoch| format!("kill bundle {epoch}"));
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "any".to_owned());
        table.row([&kill.what, &text(&kill.agent), &text(&kill.tenant), &by, &kill.since]);
    }
    term::say(table)
}

fn described(kill: &KillView) -> String {
    let part = |name: &str, text: &Option<String>| {
        text.as_ref().map(|text| format!(" {name} {}", safe(text))).unwrap_or_default()
    };
    format!("{}{}{}", safe(&kill.what), part("for agent", &kill.agent), part("in tenant", &kill.tenant))
}

fn build(args: &BuildArgs, global: &Global) -> Ended {
    let ring = crate::config::key_ring()?;
    let text = std::fs::read_to_string(&args.source)?;
    let orders = parse_kills(&text).map_err(|findings| {
        let text: Vec<String> = findings.iter().map(|finding| term::safe_lines(&finding.render())).collect();
        Failure::new(text.join("\n")).exit(DENIED)
    })?;
    let keys = args.keys.iter().map(|name| ring.signing(KeyRole::Kill, name));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let not_before = whole_second(SystemClock.now());
    let epoch = args.epoch.unwrap_or_else(|| not_before.as_secs());
    let mut files = Files::from([(KILLS_FILE.into(), text.into_bytes())]);
    let terms = BundleTerms {
        role: BundleRole::Kill,
        name: "kill".into(),
        tenant: "default".into(),
        epoch,
        not_before,
        expires: not_before.plus(Duration::from_secs(u64::from(args.days.max(1)).saturating_mul(86_400))),
    };
    let statement = build_statement(&files, terms)?;
    files.insert(ENVELOPE_FILE.into(), Bundle::sign(&statement, &keys).into_bytes());
    bundle_files::write_tar(&args.output, &files)?;
    let bundle = args.output.to_string_lossy();
    match global.format {
        Format::Json => term::say(json!({"bundle": bundle, "epoch": epoch, "switches": orders.len()}))?,
        Format::Text => {
            term::say(format_args!("signed {}: epoch {epoch}, {} switches", safe(&bundle), orders.len()))?
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn load(bundle: &std::path::Path, global: &Global) -> Ended {
    let files = bundle_files::read(bundle)?;
    let files = files.iter().map(|(path, bytes)| (path.to_string(), STANDARD.encode(bytes))).collect();
    let bundle = KillBundleView { files };
    let loaded = with_owner(global, |client| async move { client.load_kills(&bundle).await })?;
    print(global, &loaded, || {
        term::say(format_args!(
            "kill bundle {} is in force: {} switches, {} lifted",
            loaded.epoch, loaded.on, loaded.lifted
        ))
    })
}
