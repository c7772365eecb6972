//! Guides that say that every command was tried: here it is tried.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::world::{CORDON, World};

/// A fenced block of a guide.
struct Block {
    language: String,
    /// The exit status that a script is expected to have.
    exit: i32,
    text: String,
    line: usize,
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (at, line) in markdown.lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(info), false) => {
                let exit = info.split_once("exit=").map_or(0, |(_, exit)| exit.trim().parse().unwrap());
                let language = info.split_whitespace().next().unwrap_or_default().to_owned();
                blocks.push(Block { language, exit, text: String::new(), line: at + 1 });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(!open, "a block is not closed");
    blocks
}

/// Whether the lines of `want` are in `said` in this order; `…` stands for anything in a line.
fn follows(said: &str, want: &str) -> Result<(), String> {
    let mut lines = said.lines();
    for wanted in want.lines() {
        let matches = |line: &str| {
            let mut rest = Some(line.trim());
            for (at, part) in wanted.trim().split('…').enumerate() {
                rest = rest.and_then(|rest| match at {
                    0 => rest.strip_prefix(part),
                    _ => rest.split_once(part).map(|(_, rest)| rest),
                });
            }
            rest.is_some_and(|rest| rest.is_empty() || wanted.trim().ends_with('…'))
        };
        lines.find(|line| matches(line)).ok_or_else(|| wanted.to_owned())?;
    }
    Ok(())
}

/// Runs every `sh` block of a guide one after the other, as somebody would who types along, and looks
/// for what the `text` block after it shows. The working directory goes from block to block.
fn walk(guide: &str) {
    let world = World::bare("shop");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides").join(guide);
    let markdown = fs::read_to_string(path).unwrap();
    let place = world.root().join("where");
    fs::write(&place, world.root().to_str().unwrap()).unwrap();
    let mut said = String::new();
    let mut scripts = 0;
    for block in blocks(&markdown) {
        let at = format!("{guide} line {}", block.line);
        match block.language.as_str() {
            "sh" => {
                scripts += 1;
                let script = format!(
                    "set -e\ncd \"$(cat \"$PLACE\")\"\ntrap 'status=$?; pwd > \"$PLACE\"; exit $status' EXIT\n{}",
                    block.text
                );
                let programs = Path::new(CORDON).parent().unwrap().to_str().unwrap().to_owned();
                let mut shell = Command::new("sh");
                world.surround(&mut shell);
                shell.args(["-c", &script]).env("PLACE", &place).stdin(Stdio::null());
                shell.env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()));
                let output = shell.output().unwrap();
                said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
                assert_eq!(output.status.code(), Some(block.exit), "{at}: {said}");
            }
            "text" => {
                let missing = follows(&said, &block.text);
                assert!(missing.is_ok(), "{at}: no line is `{}` in:\n{said}", missing.unwrap_err());
            }
            _ => {}
        }
    }
    assert!(scripts > 0);
}

#[test]
fn every_command_of_the_guide_to_writing_a_policy_does_what_it_says() {
    walk("writing-policy.md");
}

#[test]
fn a_line_that_is_not_said_is_missed() {
    assert!(follows("a\nb c\nd", "b …\nd").is_ok());
    assert!(follows("a\nb c\nd", "d\nb …").is_err(), "the order matters");
    assert!(follows("a b", "a").is_err());
    assert!(follows("x a b", "a …").is_err());
}
