//! The demo: what it shows is what happened, in the order that the README promises.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn demo(temp: &Path, args: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_cordon"))
        .arg("demo")
        .args(args)
        .env("TMPDIR", temp)
        .env("HOME", temp)
        .env_remove("XDG_CONFIG_HOME")
        .output()
        .unwrap()
}

#[test]
fn benign_work_goes_through_the_attack_does_not_and_the_ledger_proves_it() {
    let temp = tempfile::tempdir().unwrap();
    let output = demo(temp.path(), &["--format", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let calls = shown["calls"].as_array().unwrap();
    let sequence: Vec<String> = calls
        .iter()
        .map(|call| {
            let text = |name: &str| call[name].as_str().unwrap().to_owned();
            format!("{} {} {}", call["scene"], text("tool"), text("verdict"))
        })
        .collect();
    assert_eq!(
        sequence,
        [
            "1 list_mail allow",
            "1 read_mail allow",
            "1 read_file allow",
            "1 write_file allow",
            "1 send_mail allow",
            "1 pay allow",
            "2 read_mail allow",
            "2 read_file allow",
            "2 send_mail deny",
            "2 pay ask",
            "3 read_mail allow",
            "3 pay ask",
            "3 pay allow",
            "3 pay ask",
            "4 list_files deny",
        ]
    );
    for call in calls.iter().filter(|call| call["verdict"] != "allow") {
        assert!(!call["rules"].as_array().unwrap().is_empty(), "a refusal names its rule: {call}");
        assert!(call["entry"].is_string(), "a refusal names its ledger entry: {call}");
    }
    let ledger = &shown["ledger"];
    assert_eq!((&ledger["verified"], &ledger["tampering_found"]), (&Value::Bool(true), &Value::Bool(true)));
    assert!(ledger["entries"].as_u64().unwrap() > 2 * 15, "each call has its decision and its result");
    let problems = ledger["problems"].as_array().unwrap();
    assert!(problems[0].as_str().unwrap().contains("seg/"), "the file is named: {problems:?}");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn without_a_terminal_the_demo_is_plain_text_and_what_it_keeps_verifies() {
    let temp = tempfile::tempdir().unwrap();
    let output = demo(temp.path(), &["--keep"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !text.contains('\u{1b}'), "{text}");
    let kept = std::fs::read_dir(temp.path()).unwrap().next().unwrap().unwrap().path();
    assert!(text.contains(&*kept.to_string_lossy()), "it says where to look");
    let verify = |dir: &str| {
        let mut cordon = Command::new(env!("CARGO_BIN_EXE_cordon"));
        cordon.args(["ledger", "verify"]).arg(kept.join(dir)).env("XDG_CONFIG_HOME", kept.join("config"));
        cordon.output().unwrap().status.code()
    };
    assert_eq!(verify("data"), Some(0));
    assert_eq!(verify("tampered"), Some(1));
    records_are_shown_opened_and_proven(&kept);
}

fn records_are_shown_opened_and_proven(kept: &Path) {
    let ledger = |args: &[&str]| {
        let mut cordon = Command::new(env!("CARGO_BIN_EXE_cordon"));
        cordon.args(["--data", "data", "--format", "json", "ledger"]).args(args).current_dir(kept);
        let output = cordon.env("XDG_CONFIG_HOME", kept.join("config")).output().unwrap();
        (serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default(), output.status.code())
    };
    let (entries, code) = ledger(&["show", "--kind", "decision", "--last", "1000"]);
    let denied: Vec<&Value> = entries
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["fields"]["enforcement_decision"]["value"]["verdict"] == "deny")
        .collect();
    assert_eq!((code, denied.len()), (Some(0), 2), "the mail outside and the changed tool");
    let mail = denied[0];
    assert_eq!(mail["fields"]["action"]["value"], "office/send_mail");
    let sealed = &mail["fields"]["tool_invocation"];
    assert!(sealed["sealed"].is_string() && !sealed.to_string().contains("4711"), "{sealed}");
    let index = mail["index"].to_string();
    let (opened, _) = ledger(&["show", "--index", &index, "--open"]);
    assert!(opened[0]["fields"]["tool_invocation"]["opened"].to_string().contains("4711"), "{opened}");

    let (proof, code) = ledger(&["prove", &index]);
    assert_eq!(code, Some(0));
    assert!(proof["proof"].as_str().unwrap().starts_with("c2sp.org/tlog-proof@v1\n"));
    assert_eq!(ledger(&["prove", "99999"]).1, Some(1));
    let (checkpoint, _) = ledger(&["checkpoint"]);
    assert!(checkpoint["checkpoint"].as_str().unwrap().contains("\n\n\u{2014} "));
}
