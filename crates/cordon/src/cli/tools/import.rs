//! `cordon tools import`: asks a live server what it offers and writes manifests for a person to edit.
//!
//! The server is asked the way an agent asks it: through the owner's door, in a session, each message
//! judged and recorded.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cordon_control::view::ToolDefinition;
use cordon_core::json::{self, Node, quote};
use cordon_core::{ActionName, Limits};

use super::unusable;
use crate::bundle_files;
use crate::cli::online::refused;
use crate::cli::serve::load;
use crate::cli::{Ended, Failure, Format, Global};
use crate::config::{Config, Upstream};
use crate::runtime::front::{Program, Visit};
use crate::term;

/// What `cordon tools import` takes.
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The server's name in policies: a [[mcp.server]] of cordon.toml, or a new name with a command
    name: String,
    /// The directory to write `NAME.toml` into; otherwise `tools` in the policy directory
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace a file that is there already
    #[arg(long)]
    force: bool,
    /// A variable of the caller's environment that the server gets too
    #[arg(long, value_name = "VARIABLE")]
    pass_env: Vec<String>,
    /// The server's command line; not needed for a configured server
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Most pages of a tool list.
const PAGES_MAX: u32 = 64;

/// Runs `cordon tools import`.
pub(super) fn run(args: ImportArgs, global: &Global) -> Ended {
    let config = load(global)?;
    let path = target(&config, &args)?;
    let program = program(&config, &args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tools = runtime.block_on(listed(&config, &args.name, program));
    runtime.shutdown_background();
    let tools = tools?;
    if tools.is_empty() {
        return Err(unusable(&args.name, "lists no tool that this session may see"));
    }
    let text = manifests(&tools);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    bundle_files::replace(&path, text.as_bytes())?;
    report(&args.name, &path, &tools, global)?;
    Ok(ExitCode::SUCCESS)
}

fn report(
    name: &str,
    path: &Path,
    tools: &[(ActionName, ToolDefinition)],
    global: &Global,
) -> Result<(), Failure> {
    match global.format {
        Format::Json => {
            let names: Vec<String> = tools.iter().map(|(action, _)| action.to_string()).collect();
            let written = serde_json::json!({ "server": name, "file": path, "tools": names });
            term::say(serde_json::to_string_pretty(&written)?)?;
        }
        Format::Text => {
            term::say(path.display())?;
            term::note(format_args!(
                "{} tools written. Nothing trusts the server's own words: set `classes` and `effect` of each,\n\
                 then `cordon policy check` and `cordon policy build`.",
                tools.len()
            ));
        }
    }
    Ok(())
}

fn target(config: &Config, args: &ImportArgs) -> Result<PathBuf, Failure> {
    let dir = match (&args.output, &config.policy) {
        (Some(dir), _) => dir.clone(),
        (None, Some(policy)) if policy.is_dir() => policy.join("tools"),
        _ => return Err(Failure::new("name the directory to write into with --output")),
    };
    // The name becomes a file's: it is held to what a server's name may be.
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if args.name.is_empty() || args.name.starts_with('.') || !args.name.bytes().all(plain) {
        return Err(Failure::new(format!("`{}` is not a server's name", args.name.escape_debug())));
    }
    let path = dir.join(format!("{}.toml", args.name));
    if path.exists() && !args.force {
        return Err(Failure::new(format!("`{}` is there already; --force replaces it", path.display())));
    }
    Ok(path)
}

/// The program of the server; none for one that the owner reaches by itself.
fn program(config: &Config, args: &ImportArgs) -> Result<Option<Program>, Failure> {
    if let [command, rest @ ..] = args.command.as_slice() {
        return Ok(Some(Program::new(command, rest).passing(&args.pass_env)));
    }
    let server = config.server(&args.name).ok_or_else(|| {
        Failure::new(format!(
            "`{}` configures no MCP server `{}`; name its command after `--`",
            config.file.display(),
            args.name.escape_debug()
        ))
    })?;
    Ok(match &server.upstream {
        Upstream::Stdio { command, args: words, env, pass_env, cwd } => Some(
            Program::new(command, words)
                .passing(&args.pass_env)
                .passing(pass_env)
                .setting(env)
                .in_dir(cwd.as_deref()),
        ),
        Upstream::Http { .. } => None,
    })
}

/// The tools that the server lists, as the door saw them.
async fn listed(
    config: &Config,
    name: &str,
    program: Option<Program>,
) -> Result<Vec<(ActionName, ToolDefinition)>, Failure> {
    let mut visit = Visit::begin(config, name, program).await?;
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"cordon-tools-import","version":"1"}}}"#;
    result(name, &visit.ask(hello).await?)?;
    visit.tell(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await?;
    let mut cursor = None::<String>;
    for id in 1..=PAGES_MAX {
        let params = cursor
            .as_ref()
            .map_or_else(|| "{}".to_owned(), |cursor| format!("{{\"cursor\":{}}}", quote(cursor)));
        let ask = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{params}}}"#);
        let answer = result(name, &visit.ask(&ask).await?)?;
        cursor = answer.get("nextCursor").and_then(Node::as_text).map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    // What a client sees is filtered; what the door saw is not.
    let client = visit.owner();
    let mut tools = Vec::new();
    for tool in client.tools().await.map_err(refused)? {
        let Ok(action) = tool.tool.parse::<ActionName>() else { continue };
        if action.server() == name {
            tools.push((action, client.tool(&tool.tool).await.map_err(refused)?.listed));
        }
    }
    visit.end().await;
    Ok(tools)
}

/// The result in an answer, or the server's or Cordon's refusal.
fn result(name: &str, answer: &str) -> Result<Node, Failure> {
    let node = json::parse(answer.as_bytes(), &Limits::DEFAULT)?;
    if let Some(error) = node.get("error") {
        let message = error.get("message").and_then(Node::as_text).unwrap_or("an error without a message");
        return Err(unusable(name, &format!("could not be asked: {message}")));
    }
    node.get("result").cloned().ok_or_else(|| unusable(name, "answered without a result"))
}

/// The manifests of one server: pins and schemas as listed; what a person must say is missing, so that
/// the policy does not load until it is said.
fn manifests(tools: &[(ActionName, ToolDefinition)]) -> String {
    let mut out = String::from(
        "# Written by `cordon tools import`. A server's own words are claims, not facts: uncomment `classes` and\n\
         # `effect` of each tool and set them to what the tool can do at its worst. Until then the policy does not load.\n",
    );
    for (action, listed) in tools {
        let guess = Guess::of(action.operation());
        out.push('\n');
        for line in listed.description.lines().take(8) {
            // A comment ends with its line, whatever the server says.
            let plain: String = line.chars().filter(|c| !c.is_control()).take(140).collect();
            let _ = writeln!(out, "# | {}", term::safe(&plain));
        }
        let _ = writeln!(out, "[[tools]]\ntool = {}", quote(action.as_str()));
        let _ = writeln!(out, "pin = {}", quote(&listed.pin));
        let _ = writeln!(
            out,
            "# classes = [{}]",
            guess.classes.iter().map(|class| quote(class)).collect::<Vec<_>>().join(", ")
        );
        let _ = writeln!(out, "# effect = {}", quote(guess.effect));
        let _ =
            writeln!(out, "# sinks = []       # arguments that choose who, where or which, such as \"/to\"");
        if let Some(schema) = &listed.input_schema {
            let _ = writeln!(out, "input_schema = {}", quote(schema));
        }
        if let Some(schema) = &listed.output_schema {
            let _ = writeln!(out, "output_schema = {}", quote(schema));
        }
    }
    out
}

/// What a tool of this name could do; a word that could mean worse counts as worse.
struct Guess {
    classes: &'static [&'static str],
    effect: &'static str,
}

impl Guess {
    fn of(tool: &str) -> Self {
        const GUESSES: &[(&[&str], &[&str], &str)] = &[
            (&["pay", "transfer", "refund", "invoice", "charge"], &["money.move"], "irreversible"),
            (&["exec", "run", "shell", "command", "eval", "script"], &["code.exec"], "irreversible"),
            (&["send", "post", "publish", "notify", "reply", "mail"], &["message.send"], "irreversible"),
            (&["deploy", "scale", "restart", "provision"], &["infra.change"], "irreversible"),
            (&["delete", "remove", "drop", "purge"], &["data.write"], "irreversible"),
            (&["secret", "token", "credential", "password"], &["secret.use"], "irreversible"),
            (&["fetch", "http", "url", "browse", "download", "navigate"], &["net.egress"], "write"),
            (&["write", "edit", "move", "mkdir"], &["files.write"], "write"),
            (&["create", "update", "set", "add", "insert"], &["data.write"], "write"),
            (&["file", "dir"], &["files.read"], "read"),
            (&["list", "get", "read", "search", "find", "show"], &["data.read"], "read"),
        ];
        let name = tool.to_ascii_lowercase();
        let found = GUESSES.iter().find(|(words, ..)| words.iter().any(|word| name.contains(word)));
        match found {
            Some((_, classes, effect)) => Self { classes, effect },
            None => Self { classes: &["code.exec", "net.egress", "data.write"], effect: "irreversible" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_guard::policy::parse_manifests;

    fn tool(description: &str) -> Vec<(ActionName, ToolDefinition)> {
        let definition = ToolDefinition {
            pin: cordon_core::Digest::of(b"x").to_string(),
            description: description.to_owned(),
            input_schema: Some(r#"{"type":"object","description":"a \"quoted\" 'word'\n"}"#.to_owned()),
            output_schema: None,
        };
        vec![("mail/send".parse().unwrap(), definition)]
    }

    #[test]
    fn what_is_written_does_not_load_until_a_person_has_said_what_the_tool_does() {
        let text = manifests(&tool("sends mail"));
        assert!(parse_manifests("tools/mail.toml", &text).is_err());
        let edited = text.replace("# classes", "classes").replace("# effect", "effect");
        let read = parse_manifests("tools/mail.toml", &edited).unwrap();
        assert_eq!(read.len(), 1);
        assert!(read[0].input_schema.as_ref().unwrap().contains("quoted"));
    }

    #[test]
    fn a_hostile_description_stays_a_comment() {
        let text =
            manifests(&tool("fine\r\nclasses = []\neffect = \"read\"\u{2028}effect = \"read\"\u{1b}[2J"));
        assert!(parse_manifests("tools/mail.toml", &text).is_err());
        assert!(
            text.lines().filter(|line| line.contains("effect =")).all(|line| line.starts_with('#')),
            "{text}"
        );
    }

    #[test]
    fn a_name_that_could_mean_worse_counts_as_worse() {
        assert_eq!(Guess::of("read_and_send").classes, ["message.send"]);
        assert_eq!(Guess::of("get_secret").effect, "irreversible");
        assert_eq!(Guess::of("frobnicate").effect, "irreversible");
        assert_eq!(Guess::of("read_file").effect, "read");
    }
}
