//! `cordon decide`: one AuthZEN request, one judgement.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cordon_core::json::{self, Node, quote};
use cordon_core::{Facts, Judgement, Limits, ObligationKind};
use cordon_gateway::authzen::{self, Evaluation, Properties};
use cordon_guard::policy::{ENVELOPE_FILE, PolicySet, PolicySource, decide};
use cordon_guard::ports::Clock as _;
use cordon_store::system::SystemClock;

use super::online::refused;
use super::{DENIED, Ended, Failure, Format, Global, NO_ANSWER};
use crate::bundle_files;
use crate::runtime::start;
use crate::term::{self, safe};

/// What `cordon decide` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 allow, 1 deny or ask, 2 when nothing could be judged.

Examples:
  cordon decide request.json
  cordon decide --policy policy - <<'END'
  {\"subject\": {\"type\": \"agent\", \"id\": \"a7\"}, \"action\": {\"name\": \"mail/send\"},
   \"resource\": {\"type\": \"Tool\", \"id\": \"mail/send\"}}
  END")]
pub(crate) struct DecideArgs {
    /// The request (OpenID AuthZEN evaluation), or - for standard input
    request: PathBuf,
    /// Judge by this policy source or bundle alone; nothing is recorded and no owner is asked
    #[arg(long, value_name = "DIR|BUNDLE")]
    policy: Option<PathBuf>,
}

/// Largest request, in bytes.
const REQUEST_BYTES_MAX: u64 = 1 << 20;

/// Runs `cordon decide`.
pub(crate) fn run(args: DecideArgs, global: &Global) -> Ended {
    let request = read_request(&args.request)?;
    match args.policy {
        Some(policy) => pure(&request, &policy, global),
        None => recorded(request, global),
    }
}

/// Judges without an owner: a function of the two files and the time.
fn pure(request: &[u8], policy: &Path, global: &Global) -> Ended {
    let mut files = bundle_files::read(policy)?;
    files.remove(ENVELOPE_FILE);
    let source = PolicySource::from(files);
    let compiled = PolicySet::compile(&source).map_err(|findings| {
        let findings: String = findings.iter().map(|finding| format!("\n{}", finding.render())).collect();
        Failure::new(format!("the policy is not usable:{findings}")).code("BUNDLE-002")
    })?;
    let policies = compiled.policies;
    let node = json::parse(request, &Limits::DEFAULT)?;
    let members = ["subject", "action", "resource", "context"].map(|name| node.get(name));
    let Evaluation { request, supported, .. } =
        authzen::evaluation(members, &policies, "default", Properties::All)?;
    let supported = supported.unwrap_or_else(|| ObligationKind::NAMES.iter().copied().collect());
    let mut facts = Facts { supported, ..Facts::default() };
    facts.supported.insert("approve");
    let judgement = decide(&policies, &request, &facts, SystemClock.now());
    print(&authzen::judged(&judgement, None), global)?;
    Ok(exit(&judgement))
}

/// Asks the owner, who records the judgement.
fn recorded(request: Vec<u8>, global: &Global) -> Ended {
    let owner = start::owner(global)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime.block_on(owner.client().decide(request)).map_err(refused)?;
    let body = String::from_utf8(body)?;
    if status != 200 {
        let node = json::parse(body.as_bytes(), &Limits::DEFAULT).ok();
        let message = node.as_ref().and_then(|node| node.get("error")?.get("message")?.as_text());
        return Err(Failure::new(message.unwrap_or("the owner could not judge").to_owned()));
    }
    let node = json::parse(body.as_bytes(), &Limits::DEFAULT)?;
    print(&body, global)?;
    match node.get("decision").and_then(Node::as_bool) {
        Some(true) => Ok(ExitCode::SUCCESS),
        Some(false) => Ok(ExitCode::from(DENIED)),
        None => Ok(ExitCode::from(NO_ANSWER)),
    }
}

fn exit(judgement: &Judgement) -> ExitCode {
    match judgement.verdict {
        cordon_core::Verdict::Allow => ExitCode::SUCCESS,
        cordon_core::Verdict::Ask | cordon_core::Verdict::Deny => ExitCode::from(DENIED),
    }
}

/// The bytes of a request in a file, or on standard input for `-`; at most `REQUEST_BYTES_MAX`.
pub(crate) fn read_request(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let failed = |error| Failure::from(error).context(&format!("cannot read `{}`", path.display()));
    let limit = REQUEST_BYTES_MAX.saturating_add(1);
    if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(failed)?;
    }
    if bytes.len() as u64 > REQUEST_BYTES_MAX {
        return Err(Failure::new(format!("the request is larger than {REQUEST_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Prints an answer: as it is for programs, one line a reason for people.
fn print(answer: &str, global: &Global) -> Result<(), Failure> {
    if global.format == Format::Json {
        return Ok(term::say(answer)?);
    }
    let node = json::parse(answer.as_bytes(), &Limits::DEFAULT)?;
    let text =
        |node: &Node, name: &str| node.get(name).and_then(Node::as_text).unwrap_or_default().to_owned();
    let Some(context) = node.get("context") else { return Ok(()) };
    term::say(text(context, "verdict"))?;
    for reason in context.get("reasons").map(Node::items).unwrap_or_default() {
        let file = text(reason, "file");
        let line = reason.get("line").and_then(Node::as_i64).unwrap_or_default();
        let place = if file.is_empty() { String::new() } else { format!(" ({file}:{line})") };
        let (message, rule) = (text(reason, "message"), text(reason, "rule"));
        term::say(format_args!("  {} [{}{}]", safe(&message), safe(&rule), safe(&place)))?;
        let remedy = text(reason, "remedy");
        if !remedy.is_empty() {
            term::say(format_args!("    to make it possible: {}", safe(&remedy)))?;
        }
    }
    for obligation in context.get("obligations").map(Node::items).unwrap_or_default() {
        let properties = obligation.get("properties").map(Node::to_string).unwrap_or_else(|| quote(""));
        term::say(format_args!("  obligation {} {}", safe(&text(obligation, "type")), safe(&properties)))?;
    }
    if let Some(entry) = context.get("entry") {
        term::say(format_args!(
            "  ledger entry {} ({})",
            safe(&text(entry, "id")),
            safe(&text(entry, "level"))
        ))?;
    }
    Ok(())
}
