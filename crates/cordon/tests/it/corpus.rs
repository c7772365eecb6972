//! Every parser keeps its promises on the committed corpus and on what lies around it.

use std::fs;
use std::path::{Path, PathBuf};

use cordon_testkit::fuzz::TARGETS;

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The corpus of a target: every file with its bytes.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = fuzz_dir().join("corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn every_parser_keeps_its_promises_on_the_corpus() {
    for (name, target) in TARGETS {
        let files = corpus(name);
        assert!(!files.is_empty(), "the target `{name}` has no corpus");
        for (path, bytes) in files {
            eprintln!("{}", path.display());
            target(&bytes);
        }
    }
}

#[test]
fn every_parser_keeps_its_promises_around_the_corpus() {
    for (name, target) in TARGETS {
        for (path, bytes) in corpus(name) {
            eprintln!("{}", path.display());
            for case in neighbours(&bytes) {
                target(&case);
            }
        }
    }
}

/// Inputs close to `bytes`: cut off, with one byte changed, and with one part repeated.
fn neighbours(bytes: &[u8]) -> Vec<Vec<u8>> {
    const MOST: usize = 24;
    let step = (bytes.len() / MOST).max(1);
    let mut cases = Vec::new();
    for at in (0..bytes.len()).step_by(step) {
        cases.push(bytes[..at].to_vec());
        for change in [0x01, 0x20, 0x80, 0xff] {
            let mut changed = bytes.to_vec();
            changed[at] ^= change;
            cases.push(changed);
        }
        let mut twice = bytes[..at].to_vec();
        twice.extend_from_slice(&bytes[at / 2..]);
        cases.push(twice);
    }
    cases
}

#[test]
fn every_target_is_run_by_the_fuzzer_under_its_own_name() {
    let manifest = fs::read_to_string(fuzz_dir().join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let program = fs::read_to_string(fuzz_dir().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("cordon_testkit::fuzz::{name}(data)")), "{name}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
    let programs = fs::read_dir(fuzz_dir().join("fuzz_targets")).unwrap().count();
    assert_eq!(programs, TARGETS.len(), "each program is in TARGETS");
}
