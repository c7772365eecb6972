//! One owner for one data directory, and what its files look like.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::json;

use crate::world::{CORDON, World, is_running};

#[test]
fn without_a_configuration_mcp_exits_with_2_and_says_how_to_get_one() {
    let world = World::new();
    fs::remove_file(world.path("cordon.toml")).unwrap();
    let said = world.fails(&["mcp", "--", "true"], 2);
    assert!(said.contains("cordon init") && said.contains("cordon tools import"), "{said}");
}

#[test]
fn a_malformed_configuration_is_refused_with_file_line_and_what_was_expected() {
    let world = World::new();
    world.append("cordon.toml", "\n[serve]\nlisten = \"localhost:80\"\n");
    for args in [&["serve"][..], &["mcp", "--", "true"], &["approve", "ls"]] {
        let said = world.fails(args, 2);
        assert!(said.contains("CONFIG-001") && said.contains("cordon.toml:"), "{said}");
        assert!(said.contains("expected") || said.contains("is not an address and port"), "{said}");
        assert!(said.contains("^^^"), "{said}");
    }
    world.edit("cordon.toml", |text| text.replace("listen", "lisen"));
    let said = world.fails(&["serve"], 2);
    assert!(said.contains("unknown field `lisen`"), "{said}");
}

#[test]
fn a_second_owner_is_refused_and_told_who_the_first_is() {
    let world = World::new();
    let first = world.serve();
    let said = world.fails(&["serve", "--listen", "127.0.0.1:0"], 2);
    assert!(said.contains("OWNER-003") && said.contains(&format!("process {}", first.pid())), "{said}");
    assert_eq!(first.request(None, "GET", "/healthz", "").status, 200, "the first goes on");
    assert_eq!(first.end("-TERM"), Some(0));
    let second = world.serve();
    assert_eq!(second.end("-INT"), Some(0));
}

#[test]
fn a_lock_whose_owner_does_not_answer_is_exit_2_and_starts_nothing() {
    let world = World::new();
    fs::create_dir_all(world.data()).unwrap();
    let lock = fs::File::create(world.data().join("lock")).unwrap();
    fs::write(world.data().join("lock"), "4242\n").unwrap();
    lock.lock().unwrap();
    let said = world.fails(&["approve", "ls"], 2);
    assert!(said.contains("OWNER-001") && said.contains("process 4242"), "{said}");
    assert!(!world.data().join("state.db").exists(), "nothing was started beside the owner");
}

#[test]
fn what_can_hold_a_secret_is_readable_by_its_owner_only() {
    let world = World::office();
    world.done(&["approve", "ls"]);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.data()), 0o700);
    assert_eq!(mode(&world.data().join("cordon.sock")), 0o600);
    for role in ["operator", "pep", "agent"] {
        assert_eq!(mode(&world.data().join("tokens").join(role)), 0o600, "{role}");
    }
}

#[test]
fn an_owner_that_was_killed_is_followed_by_another_and_the_ledger_says_so() {
    let world = World::office();
    let mut agent = world.agent().hello();
    agent.told("list_mail", json!({}));
    let first = world.owner().unwrap();
    world.signal_owner("-KILL");
    // The front cannot govern without its owner: it ends the server and says so with its status.
    assert_eq!(agent.child.wait().unwrap().code(), Some(125), "{}", agent.last_words());
    let mut agent = world.agent().hello();
    assert!(agent.call("list_mail", json!({}))["result"].is_object(), "the next one works");
    assert_ne!(world.owner().unwrap(), first);
    world.done(&["ledger", "verify"]);
    let shown = world.done(&["ledger", "show", "--kind", "recovery"]);
    assert!(shown.contains("recovery"), "{shown}");
}

#[test]
fn the_exit_status_is_the_servers_own_or_says_why_it_never_ran() {
    let world = World::office();
    let status = |command: &[&str]| {
        let mut args = vec!["mcp", "--name", "office", "--"];
        args.extend(command);
        world.cordon(&args).stdin(Stdio::null()).output().unwrap().status.code()
    };
    assert_eq!(status(&["sh", "-c", "exit 7"]), Some(7));
    assert_eq!(status(&["sh", "-c", "kill -TERM $$"]), Some(143));
    assert_eq!(status(&["/nowhere/at-all"]), Some(127));
    assert_eq!(status(&["/etc/passwd"]), Some(126));
    assert_eq!(world.agent().hello().leave(), Some(0));
}

#[test]
fn a_front_that_is_killed_takes_its_server_along() {
    let world = World::office();
    let pid_file = world.path("pid");
    let script = format!("echo $$ > {}; exec {CORDON} fixture-server office", pid_file.display());
    let mut agent = world.agent_of(&["--", "sh", "-c", &script]).hello();
    let server: u32 = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    assert!(is_running(server));
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    let begun = std::time::Instant::now();
    while is_running(server) && begun.elapsed().as_secs() < 5 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(!is_running(server));
}

#[test]
fn a_server_gets_what_was_named_and_nothing_else_of_the_environment() {
    let world = World::office();
    let out = world.path("env");
    let script = format!("env > {}", out.display());
    let mut command = world.cordon(&["mcp", "--pass-env", "WANTED", "--", "sh", "-c", &script]);
    command.env("WANTED", "yes").env("AWS_SECRET_ACCESS_KEY", "canary").stdin(Stdio::null());
    assert!(command.output().unwrap().status.success());
    let env = fs::read_to_string(out).unwrap();
    assert!(env.contains("WANTED=yes") && env.contains("PATH="), "{env}");
    assert!(!env.contains("canary"), "{env}");
}

#[test]
fn commands_that_start_at_once_share_one_owner() {
    let world = World::office();
    let started: Vec<_> = (0..6)
        .map(|_| {
            world.cordon(&["approve", "ls"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in started {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    world.done(&["ledger", "verify"]);
}

#[test]
fn an_owner_that_nobody_needs_ends_by_itself_and_the_next_command_starts_another() {
    let world = World::office();
    world.edit("cordon.toml", |text| text.replace("idle_s = 20", "idle_s = 1"));
    let mut agent = world.agent().hello();
    let owner = world.owner().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(agent.call("list_mail", json!({}))["result"].is_object(), "a client keeps it alive");
    agent.leave();
    let begun = std::time::Instant::now();
    while is_running(owner) && begun.elapsed().as_secs() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(!is_running(owner));
    world.done(&["approve", "ls"]);
}

#[test]
fn the_name_of_a_configured_server_is_not_lent_to_another_command() {
    let world = World::office();
    world.append(
        "cordon.toml",
        &format!("\n[[mcp.server]]\nname = \"office\"\ncommand = \"{CORDON}\"\nargs = [\"fixture-server\", \"office\"]\n"),
    );
    let said = world.fails(&["mcp", "--name", "office", "--", "sh", "-c", "exit 0"], 125);
    assert!(said.contains("another server under the name `office`"), "{said}");
    assert_eq!(world.agent_of(&[]).hello().leave(), Some(0), "the configured one needs no command");
}

#[test]
fn every_start_and_every_new_bundle_put_on_record_what_enforces() {
    let world = World::office();
    let server = world.serve();
    let records = || {
        let shown = world.json(&["ledger", "show", "--kind", "admin.enforcer"]);
        shown.as_array().cloned().unwrap_or_else(|| vec![shown])
    };
    let count = |server: &crate::world::Server<'_>| {
        let metrics = server.request(Some("operator"), "GET", "/metrics", "").body;
        let line = metrics.lines().find(|line| line.contains("\"admin.enforcer\"")).unwrap().to_owned();
        line.rsplit(' ').next().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(count(&server), 1);
    let reload = || server.request(Some("operator"), "POST", "/v1/policy/reload", "null").status;
    assert_eq!((reload(), count(&server)), (200, 1), "nothing changed");
    fs::write(
        world.path("policy/permissions/more.cedar"),
        "@id(\"x\") forbid (principal == User::\"x\", action, resource);",
    )
    .unwrap();
    world.build();
    assert_eq!((reload(), count(&server)), (200, 2));
    assert_eq!(server.end("-TERM"), Some(0));
    let text = serde_json::to_string(&records()).unwrap();
    let output = std::process::Command::new("sha256sum").arg(CORDON).output().unwrap();
    let binary = String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned();
    assert!(text.contains(&binary), "the program's digest {binary} is in {text}");
    assert!(text.contains("Landlock"), "{text}");
    world.done(&["ledger", "verify"]);
}
