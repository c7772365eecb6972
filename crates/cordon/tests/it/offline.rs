//! The commands that need no owner: init, policy, ledger, doctor, completions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A directory with a configuration of its own.
struct Project {
    root: tempfile::TempDir,
}

impl Project {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    /// A project in which `cordon init` was run.
    fn initialised() -> Self {
        let project = Self::new();
        project.ok(&["init"]);
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("project").join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        let dir = self.root.path().join("project");
        fs::create_dir_all(&dir).unwrap();
        Command::new(env!("CARGO_BIN_EXE_cordon"))
            .args(args)
            .current_dir(dir)
            .env("XDG_CONFIG_HOME", self.root.path().join("config"))
            .env("XDG_STATE_HOME", self.root.path().join("state"))
            .output()
            .unwrap()
    }

    /// Runs a command that succeeds and gives what it printed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {}{said}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that ends with `code` and says `text` somewhere.
    fn ends(&self, args: &[&str], code: i32, text: &str) {
        let output = self.run(args);
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(text), "{args:?}: expected `{text}` in: {said}");
    }
}

#[test]
fn init_leaves_a_bundle_that_loads_and_a_second_run_changes_nothing() {
    let project = Project::initialised();
    project.ok(&["policy", "check", "--strict"]);
    project.ok(&["policy", "test"]);
    project.ok(&["policy", "verify"]);
    let before = fs::read(project.path("cordon.toml")).unwrap();
    let keys = fs::read_dir(project.root.path().join("config/cordon/keys/policy")).unwrap().count();
    assert!(project.ok(&["init"]).contains("nothing was changed"));
    assert_eq!(fs::read(project.path("cordon.toml")).unwrap(), before);
    let after = fs::read_dir(project.root.path().join("config/cordon/keys/policy")).unwrap().count();
    assert_eq!(keys, after);
}

#[test]
fn init_keeps_a_policy_that_is_there_and_does_not_sign_a_broken_one() {
    let project = Project::new();
    fs::create_dir_all(project.path("policy/permissions")).unwrap();
    fs::write(project.path("policy/permissions/mine.cedar"), "permit(principl, action, resource);").unwrap();
    project.ends(&["init"], 2, "cordon policy check");
    assert!(!project.path("cordon.toml").exists(), "a run that failed leaves no node behind");
    fs::write(project.path("policy/permissions/mine.cedar"), "permit(principal, action, resource);").unwrap();
    project.ok(&["init"]);
    assert!(!project.path("policy/obligations").exists(), "nothing is added to it");
    project.ok(&["policy", "verify"]);
}

#[test]
fn an_error_in_a_policy_is_shown_with_its_line_and_a_caret() {
    let project = Project::initialised();
    fs::write(project.path("policy/permissions/bad.cedar"), "// one\npermit(principl, action, resource);\n")
        .unwrap();
    let output = project.run(&["policy", "check"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("policy/permissions/bad.cedar:2:8"), "{text}");
    let caret = text.lines().find(|line| line.contains('^')).unwrap();
    let source = text.lines().find(|line| line.contains("permit(principl")).unwrap();
    assert_eq!(caret.find('^'), source.find("principl"), "{text}");
    let found: Value = serde_json::from_str(
        &String::from_utf8(project.run(&["policy", "check", "--format", "json"]).stdout).unwrap(),
    )
    .unwrap();
    assert_eq!(
        (found["findings"][0]["line"].as_u64(), found["findings"][0]["column"].as_u64()),
        (Some(2), Some(8))
    );
    project.ends(&["policy", "test"], 1, "bad.cedar:2:8");
    project.ends(&["policy", "build"], 1, "1 error");
    project.ends(&["policy", "check", "nowhere"], 2, "cannot read");
}

#[test]
fn a_source_whose_own_tests_fail_is_not_signed() {
    let project = Project::initialised();
    let signed = fs::read(project.path("policy/cordon-bundle.json")).unwrap();
    let test = "[[test]]\nname = \"everything goes\"\nowner = \"o\"\nagent = \"a\"\naction = \"x/y\"\nexpect = \"allow\"\n";
    fs::write(project.path("policy/tests/wrong.toml"), test).unwrap();
    project.ends(&["policy", "test"], 1, "everything goes");
    project.ends(&["policy", "build"], 1, "everything goes");
    assert_eq!(fs::read(project.path("policy/cordon-bundle.json")).unwrap(), signed);
}

#[test]
fn a_bundle_that_was_altered_extended_cut_or_not_signed_is_refused() {
    type Change = (&'static str, fn(&Path), &'static str);
    let change: [Change; 5] = [
        ("altered", |dir| fs::write(dir.join("tests/approvals.toml"), "").unwrap(), "altered after signing"),
        ("extended", |dir| fs::write(dir.join("permissions/z.cedar"), "").unwrap(), "not listed"),
        ("cut", |dir| fs::remove_file(dir.join("obligations/approvals.cedar")).unwrap(), "missing"),
        ("unsigned", |dir| fs::remove_file(dir.join("cordon-bundle.json")).unwrap(), "cordon policy build"),
        ("garbage", |dir| fs::write(dir.join("cordon-bundle.json"), "{}").unwrap(), "not a signed envelope"),
    ];
    for (name, change, why) in change {
        let project = Project::initialised();
        project.ok(&["policy", "verify"]);
        change(&project.path("policy"));
        eprintln!("{name}");
        project.ends(&["policy", "verify"], 1, why);
    }
}

#[test]
fn a_bundle_is_signed_as_a_tar_by_several_and_epochs_go_on() {
    let project = Project::initialised();
    project.ok(&["keys", "new", "--role", "policy", "--name", "second"]);
    project.ends(&["policy", "build"], 2, "choose with --key");
    let names = fs::read_dir(project.root.path().join("config/cordon/keys/policy")).unwrap();
    let first = names
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".key").map(str::to_owned))
        .find(|name| name != "second")
        .unwrap();
    let built = project
        .ok(&["policy", "build", "-o", "b.tar", "--key", &first, "--key", "second", "--format", "json"]);
    let built: Value = serde_json::from_str(&built).unwrap();
    assert_eq!(built["epoch"], 2, "the first one was init's");
    let keys: Vec<&str> =
        built["signers"].as_array().unwrap().iter().map(|signer| signer["key"].as_str().unwrap()).collect();
    let both = ["policy", "verify", "b.tar", "--key", keys[0], "--key", keys[1], "--threshold", "2"];
    project.ok(&both);
    let alone = project.ok(&["policy", "build", "-o", "alone.tar", "--key", "second", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&alone).unwrap()["epoch"], 3);
    let both: Vec<&str> = both.map(|arg| if arg == "b.tar" { "alone.tar" } else { arg }).to_vec();
    project.ends(&both, 1, "1 of the 2 signatures");
    project.ends(&["policy", "verify", "alone.tar"], 1, "0 of the 1 signatures");
    project.ends(
        &["policy", "build", "-o", "c.tar", "--key", "second", "--expires", "2020-01-01"],
        2,
        "not in the future",
    );
}

#[test]
fn explain_says_what_each_rule_said_for_each_principal() {
    let project = Project::initialised();
    let request = r#"{"subject":{"type":"agent","id":"a"},"action":{"name":"mail/send"},
        "resource":{"type":"Tool","id":"mail/send"},"context":{"owner":{"id":"o"}}}"#;
    fs::write(project.path("request.json"), request).unwrap();
    let output = project.run(&["policy", "explain", "request.json", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "an undeclared tool asks");
    let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(explained["verdict"], "ask");
    let principals = explained["principals"].as_array().unwrap();
    assert_eq!(principals.len(), 2);
    for principal in principals {
        let rules = principal["rules"].as_array().unwrap();
        assert!(
            rules.iter().any(|rule| rule["rule"] == "ambiguous" && rule["outcome"] == "satisfied"),
            "{rules:?}"
        );
        assert!(rules.iter().any(|rule| rule["outcome"] == "not_satisfied"), "{rules:?}");
    }
    fs::write(project.path("request.json"), "{\"subject\":1}").unwrap();
    assert_eq!(project.run(&["policy", "explain", "request.json"]).status.code(), Some(2));
}

#[test]
fn doctor_says_what_is_wrong_and_its_exit_status_follows() {
    let project = Project::initialised();
    let sound: Value = serde_json::from_str(&project.ok(&["doctor", "--format", "json"])).unwrap();
    let finding = |shown: &Value, what: &str| {
        let probes = shown["probes"].as_array().unwrap();
        probes
            .iter()
            .find(|probe| probe["what"] == what)
            .map(|probe| probe["finding"].as_str().unwrap().to_owned())
    };
    assert_eq!(finding(&sound, "policy bundle").as_deref(), Some("ok"));
    assert_eq!(finding(&sound, "agent and approver").as_deref(), Some("careful"), "one user holds both");
    let key = project.root.path().join("config/cordon/keys/approver");
    let key = fs::read_dir(key).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    fs::remove_file(project.path("policy/cordon-bundle.json")).unwrap();
    let output = project.run(&["doctor", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let broken: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(finding(&broken, "policy bundle").as_deref(), Some("wrong"));
    assert_eq!(finding(&broken, "key files").as_deref(), Some("wrong"));
}

#[test]
fn a_malformed_configuration_is_shown_with_its_place_and_its_code() {
    let project = Project::initialised();
    fs::write(project.path("cordon.toml"), "[policy]\npaht = \"policy\"\n").unwrap();
    project.ends(&["policy", "check"], 2, "cordon.toml:2:1");
    project.ends(&["policy", "verify"], 2, "CONFIG-001");
}

#[test]
fn a_log_that_is_not_there_is_no_answer() {
    let project = Project::initialised();
    for command in ["verify", "show", "checkpoint"] {
        project.ends(&["ledger", command], 2, "cordon: error");
    }
    project.ends(&["ledger", "prove", "0"], 2, "cordon: error");
}

#[test]
fn every_command_has_a_help_text_and_every_shell_a_completion() {
    let project = Project::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(project.ok(&["completions", shell]).contains("cordon"), "{shell}");
    }
    for command in [
        "demo",
        "init",
        "doctor",
        "policy check",
        "policy test",
        "policy build",
        "policy verify",
        "policy explain",
        "ledger verify",
        "ledger show",
        "ledger prove",
        "ledger checkpoint",
        "completions",
    ] {
        let mut args: Vec<&str> = command.split(' ').collect();
        args.push("--help");
        assert!(project.ok(&args).contains("Examples:"), "`{command}` has examples");
    }
}

#[test]
fn a_guard_in_rego_is_checked_explained_and_named_in_a_decision() {
    let project = Project::new();
    for folder in ["permissions", "guards"] {
        fs::create_dir_all(project.path("policy").join(folder)).unwrap();
    }
    fs::write(project.path("policy/permissions/p.cedar"), "permit(principal, action, resource);").unwrap();
    let guard = "package cordon\n\ndeny[msg] { input.args.amount > 5; msg := \"too much\" }\n";
    fs::write(project.path("policy/guards/g.rego"), guard).unwrap();
    let request = r#"{"subject": {"type": "agent", "id": "a7"}, "action": {"name": "office/pay"},
        "resource": {"type": "Tool", "id": "office/pay"}, "context": {"args": {"amount": 6}}}"#;
    fs::write(project.path("request.json"), request).unwrap();
    let checked = project.ok(&["policy", "check", "policy"]);
    assert!(checked.contains("guards/g.rego: Rego v0, 1 rule"), "{checked}");
    project.ends(
        &["policy", "explain", "request.json", "--policy", "policy"],
        1,
        "too much [guards/g.rego:3 (guards/g.rego:3)]",
    );
    project.ends(&["decide", "request.json", "--policy", "policy"], 1, "too much");
    fs::write(project.path("request.json"), request.replace("6", "5")).unwrap();
    project.ok(&["decide", "request.json", "--policy", "policy"]);
    fs::write(project.path("policy/guards/g.rego"), guard.replace("msg := ", "time.now_ns() > 5; msg := "))
        .unwrap();
    project.ends(&["policy", "check", "policy"], 1, "policy/guards/g.rego:3:36");
    project.ends(&["policy", "check", "policy"], 1, "the function `time.now_ns` cannot be called");
}
