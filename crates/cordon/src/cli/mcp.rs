//! `cordon mcp`: one stdio MCP server behind the guard, for an agent's MCP configuration.

use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use super::serve::load;
use super::{Ended, Failure, Global};
use crate::config::{Config, Upstream};
use crate::runtime::front::{self, Program};

/// The exit status when Cordon itself refuses.
pub(crate) const REFUSED: u8 = 125;
/// The exit status when the program cannot be run.
pub(crate) const NOT_RUNNABLE: u8 = 126;
/// The exit status when there is no such program.
pub(crate) const MISSING: u8 = 127;

/// What `cordon mcp` takes.
#[derive(Debug, clap::Args)]
#[command(after_help = "The server gets PATH, HOME, LANG, LC_*, TERM, TMPDIR, USER and XDG_* of the caller's
environment, what --pass-env names, and what `[[mcp.server]] env` and `pass_env` say; nothing else.

Exit status: the server's own; 125 when Cordon refuses, 126 when the server cannot be run, 127 when
there is no such program, 2 without a usable configuration.

Examples:
  cordon mcp -- npx -y @modelcontextprotocol/server-memory
  cordon mcp --name mail --pass-env MAIL_TOKEN -- python3 mail_server.py
  cordon mcp --name mail          # a [[mcp.server]] of cordon.toml")]
pub(crate) struct McpArgs {
    /// The server's name in policies; otherwise derived from the command
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The agent that calls; otherwise `[identity] agent`
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// A variable of the caller's environment that the server gets too
    #[arg(long, value_name = "VARIABLE")]
    pass_env: Vec<String>,
    /// The server's command line; not needed for a configured server
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What the hidden `cordon fixture-server` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct FixtureArgs {
    /// `office` or `echo`
    profile: String,
}

/// What the hidden `cordon exec-child` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct ExecChildArgs {
    /// The process that must still be the parent
    parent: u32,
    /// The command line
    #[arg(last = true)]
    command: Vec<String>,
}

/// Runs `cordon mcp` and gives the server's exit status.
pub(crate) fn run(args: McpArgs, global: &Global) -> Ended {
    let config = load(global)?;
    let McpArgs { name, agent, pass_env, command } = args;
    let agent = agent.unwrap_or_else(|| config.identity.agent.to_string());
    let (name, program) = match (name, command.as_slice()) {
        (Some(name), []) => {
            let program = configured(&config, &name, &pass_env)?;
            (name, program)
        }
        (None, []) => {
            return Err(Failure::new(
                "name the server's command after `--`, or a configured server with --name",
            ));
        }
        (name, [command, args @ ..]) => {
            let name = name.unwrap_or_else(|| derived(command, args));
            let program = Program::new(command, args).passing(&pass_env);
            let program = same(&config, &name, program)?;
            (name, program)
        }
    };
    front::run(&config, &name, &agent, program)
}

/// The command of a configured server.
fn configured(config: &Config, name: &str, pass_env: &[String]) -> Result<Program, Failure> {
    let server = config.server(name).ok_or_else(|| {
        Failure::new(format!(
            "`{}` configures no MCP server `{}`",
            config.file.display(),
            name.escape_debug()
        ))
    })?;
    match &server.upstream {
        Upstream::Stdio { command, args, env, pass_env: more, cwd } => {
            let program = Program::new(command, args).passing(pass_env).passing(more);
            Ok(program.setting(env).in_dir(cwd.as_deref()))
        }
        Upstream::Http { .. } => Err(Failure::new(format!(
            "the server `{name}` is reached over HTTP; `cordon serve` governs it at /mcp/{name}"
        ))),
    }
}

/// Refuses a command under the name of a configured server that is another one: manifests and pins
/// are kept by name.
fn same(config: &Config, name: &str, program: Program) -> Result<Program, Failure> {
    let Some(server) = config.server(name) else { return Ok(program) };
    match &server.upstream {
        Upstream::Stdio { command, args, env, pass_env, cwd } if program.is(command, args) => {
            Ok(program.passing(pass_env).setting(env).in_dir(cwd.as_deref()))
        }
        _ => Err(Failure::new(format!(
            "`{}` configures another server under the name `{name}`; give this one another --name",
            config.file.display()
        ))
        .exit(REFUSED)),
    }
}

/// A name for a server that nobody named: that of the program, or of what a launcher launches.
fn derived(command: &str, args: &[String]) -> String {
    const LAUNCHERS: &[&str] = &[
        "npx", "bunx", "uvx", "pipx", "node", "bun", "deno", "python", "python3", "uv", "sh", "bash", "env",
    ];
    let stem = |text: &str| {
        let last = text.rsplit('/').find(|part| !part.is_empty()).unwrap_or(text).to_owned();
        let last = last.split('@').find(|part| !part.is_empty()).unwrap_or(&last).to_owned();
        match last.rsplit_once('.') {
            Some((stem, "py" | "js" | "mjs" | "cjs" | "ts" | "sh")) => stem.to_owned(),
            _ => last,
        }
    };
    let program = stem(command);
    let launched =
        args.iter().find(|arg| !arg.starts_with('-') && !matches!(arg.as_str(), "run" | "exec" | "dlx"));
    let name = match launched {
        Some(launched) if LAUNCHERS.contains(&program.as_str()) => stem(launched),
        _ => program,
    };
    let plain: String =
        name.chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c.to_ascii_lowercase() } else { '-' }
            })
            .take(64)
            .collect();
    let plain = plain.trim_matches(['-', '.']);
    if plain.is_empty() || plain == "mcp" { "server".to_owned() } else { plain.to_owned() }
}

/// Runs a built-in MCP server on standard input and output.
pub(crate) fn run_fixture(args: &FixtureArgs) -> Ended {
    cordon_testkit::mcp_fixture::run(std::io::stdin().lock(), std::io::stdout().lock(), &args.profile)?;
    Ok(ExitCode::SUCCESS)
}

/// Becomes the server itself, tied to the life of the process that started it.
pub(crate) fn run_exec_child(args: &ExecChildArgs) -> Ended {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // The parent may have died before the line above.
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent != Some(args.parent) {
        return Ok(ExitCode::from(REFUSED));
    }
    let [program, rest @ ..] = args.command.as_slice() else { return Ok(ExitCode::from(MISSING)) };
    let error = std::process::Command::new(program).args(rest).exec();
    let exit = if error.kind() == std::io::ErrorKind::NotFound { MISSING } else { NOT_RUNNABLE };
    Err(Failure::new(format!("cannot run `{}`: {error}", program.escape_debug())).exit(exit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_after_what_is_launched() {
        let check = |line: &str, want: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            let command = words.next().unwrap();
            assert_eq!(derived(&command, &words.collect::<Vec<_>>()), want, "{line}");
        };
        check("npx -y @modelcontextprotocol/server-memory", "server-memory");
        check("npx -y @modelcontextprotocol/server-memory@1.2.3", "server-memory");
        check("/usr/bin/python3 ./tools/mail_server.py --port 1", "mail-server");
        check("uvx mcp-server-git", "mcp-server-git");
        check("uv run server.py", "server");
        check("/opt/Mail", "mail");
        check("mcp", "server");
        check("…", "server");
    }
}
