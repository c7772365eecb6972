//! Each rule against a small workspace that breaks it, and against its nearest neighbour that does not.

use super::*;
use crate::repository_root;

/// A crate's first lines as the rules want them.
const OPENING: &str = "//! A crate.\n//!\n//! This crate never does I/O.\n";

/// A workspace of packages and files that breaks no rule yet.
fn tree(packages: &[(&str, &[&str])]) -> Tree {
    let mut tree = Tree::default();
    let mut map = String::new();
    for (name, dependencies) in packages {
        let short = name.strip_prefix("cordon-").unwrap_or(name);
        let directory = if *name == "xtask" { short.to_owned() } else { format!("crates/{short}") };
        let mut manifest =
            format!("[package]\nname = \"{name}\"\n\n[lints]\nworkspace = true\n\n[dependencies]\n");
        for dependency in *dependencies {
            manifest.push_str(&format!("{dependency}.workspace = true\n"));
        }
        map.push_str(&format!("`{short}` does its part.\n"));
        tree.files.insert(format!("{directory}/Cargo.toml"), manifest);
        tree.files.insert(format!("{directory}/src/lib.rs"), OPENING.to_owned());
        let dependencies = dependencies.iter().map(|name| normal(name)).collect();
        tree.packages.push(Package { name: (*name).to_owned(), directory, dependencies });
    }
    tree.files.insert("ARCHITECTURE.md".to_owned(), map);
    tree
}

fn normal(name: &str) -> Dependency {
    Dependency { name: name.to_owned(), ..Dependency::default() }
}

/// A workspace of one pure crate whose library ends with `source`.
fn pure(source: &str) -> Tree {
    let mut tree = tree(&[("cordon-core", &[])]);
    tree.files.insert("crates/core/src/lib.rs".to_owned(), format!("{OPENING}{source}\n"));
    tree
}

/// The same source in a crate that may do I/O.
fn edge(source: &str) -> Tree {
    let mut tree = tree(&[("cordon-store", &[])]);
    tree.files.insert("crates/store/src/lib.rs".to_owned(), format!("{OPENING}{source}\n"));
    tree
}

fn with(mut tree: Tree, path: &str, text: &str) -> Tree {
    tree.files.insert(path.to_owned(), text.to_owned());
    tree
}

#[track_caller]
fn finds(tree: &Tree, place: &str, part: &str) {
    let findings: Vec<String> = check(tree).iter().map(Finding::to_string).collect();
    let found = findings.iter().any(|finding| finding.starts_with(place) && finding.contains(part));
    assert!(found, "expected `{part}` at `{place}`, got {findings:#?}");
    assert!(findings.iter().all(|finding| finding.contains("remedy: ")), "{findings:#?}");
}

#[track_caller]
fn clean(tree: &Tree) {
    let findings: Vec<String> = check(tree).iter().map(Finding::to_string).collect();
    assert!(findings.is_empty(), "{findings:#?}");
}

#[test]
fn this_repository_is_tidy() {
    let tree = Tree::load(&repository_root()).unwrap();
    let findings: Vec<String> = check(&tree).iter().map(Finding::to_string).collect();
    assert!(tree.packages.len() > 10 && tree.files.len() > 50, "the whole workspace is read");
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn a_lower_crate_may_be_named_and_a_higher_one_not() {
    clean(&tree(&[("cordon-core", &[]), ("cordon-guard", &["cordon-core"])]));
    let up = tree(&[("cordon-core", &["cordon-guard"]), ("cordon-guard", &[])]);
    finds(&up, "crates/core/Cargo.toml:8", "`cordon-core` names `cordon-guard`, which is not below it");
}

#[test]
fn crates_of_one_layer_do_not_name_each_other() {
    let pure = tree(&[("cordon-wire", &["cordon-inspect"]), ("cordon-inspect", &[])]);
    finds(&pure, "crates/wire/Cargo.toml:8", "`cordon-wire` names `cordon-inspect`");
    let edges = tree(&[("cordon-gateway", &["cordon-store"]), ("cordon-store", &[])]);
    finds(&edges, "crates/gateway/Cargo.toml:8", "edge crates meet in `cordon`");
}

#[test]
fn only_the_guard_names_the_decision_point() {
    clean(&tree(&[("cordon-pdp", &[]), ("cordon-guard", &["cordon-pdp"])]));
    let binary = tree(&[("cordon-pdp", &[]), ("cordon", &["cordon-pdp"])]);
    finds(&binary, "crates/cordon/Cargo.toml:8", "only `cordon-guard` does");
    let mut in_tests = tree(&[("cordon-pdp", &[]), ("cordon-store", &["cordon-pdp"])]);
    in_tests.packages[1].dependencies[0].kind = DependencyUse::Dev;
    finds(&in_tests, "crates/store/Cargo.toml:8", "only `cordon-guard` does");
}

#[test]
fn the_test_kit_is_for_tests_and_programs_are_for_nobody() {
    let mut kit = tree(&[("cordon-testkit", &[]), ("cordon-store", &["cordon-testkit"])]);
    finds(&kit, "crates/store/Cargo.toml:8", "outside its tests");
    kit.packages[1].dependencies[0].kind = DependencyUse::Dev;
    clean(&kit);
    let above = tree(&[("cordon-testkit", &["cordon-store"]), ("cordon-store", &[])]);
    finds(&above, "crates/testkit/Cargo.toml:8", "not below it");
    let program = tree(&[("cordon", &[]), ("cordon-store", &["cordon"])]);
    finds(&program, "crates/store/Cargo.toml:8", "nothing depends on a program");
}

#[test]
fn a_crate_without_a_layer_is_found() {
    finds(&tree(&[("cordon-extra", &[])]), "crates/extra/Cargo.toml:2", "has no layer");
}

#[test]
fn lints_and_versions_come_from_the_workspace() {
    let manifest = "[package]\nname = \"cordon-store\"\n\n[dependencies]\nbytes = \"1\"\n";
    let tree = with(tree(&[("cordon-store", &[])]), "crates/store/Cargo.toml", manifest);
    finds(&tree, "crates/store/Cargo.toml:5", "`bytes` is not taken from the workspace");
    finds(&tree, "crates/store/Cargo.toml:1", "workspace's lints");
}

#[test]
fn a_pure_crate_has_only_the_dependencies_on_its_list() {
    let allowed = |features: &str| {
        format!(
            "[[dependency]]\ncrate = \"cordon-wire\"\nname = \"base64\"\nfeatures = [{features}]\nreason = \"text\"\n"
        )
    };
    let wire = tree(&[("cordon-wire", &["base64"])]);
    finds(&wire, "crates/wire/Cargo.toml:8", "which is not on its list");
    clean(&with(wire.clone(), "xtask/tidy.toml", &allowed("")));

    let mut featured = with(wire.clone(), "xtask/tidy.toml", &allowed(""));
    featured.packages[0].dependencies[0].features.insert("net".to_owned());
    finds(&featured, "crates/wire/Cargo.toml:8", "enables `net` of `base64`");
    featured.files.insert("xtask/tidy.toml".to_owned(), allowed("\"net\""));
    clean(&featured);

    let mut default = with(wire, "xtask/tidy.toml", &allowed(""));
    default.packages[0].dependencies[0].default_features = true;
    finds(&default, "crates/wire/Cargo.toml:8", "enables `default` of `base64`");
    clean(&tree(&[("cordon-store", &["base64"])]));
}

#[test]
fn an_allowance_that_is_unused_or_unexplained_is_found() {
    let entry = "[[dependency]]\ncrate = \"cordon-core\"\nname = \"base64\"\nreason = \" \"\n";
    let tree = with(tree(&[("cordon-core", &[])]), "xtask/tidy.toml", entry);
    finds(&tree, "xtask/tidy.toml:3", "does not depend on `base64`");
    finds(&tree, "xtask/tidy.toml:3", "has no reason");
    finds(&with(tree, "xtask/tidy.toml", "[[dependency]]\nname = 1\n"), "xtask/tidy.toml:", "");
}

#[test]
fn one_file_may_count_and_only_while_it_does() {
    let counting = "thread_local! { static N: std::cell::Cell<u64> = const { std::cell::Cell::new(0) }; }";
    finds(&pure(counting), "crates/core/src/lib.rs:4", "calls `thread_local!`");
    let entry = |path: &str, reason: &str| format!("[[counter]]\npath = \"{path}\"\nreason = \"{reason}\"\n");
    let path = "crates/core/src/lib.rs";
    clean(&with(pure(counting), "xtask/tidy.toml", &entry(path, "steps")));
    finds(&with(pure(counting), "xtask/tidy.toml", &entry(path, " ")), "xtask/tidy.toml:1", "has no reason");
    finds(&with(pure(""), "xtask/tidy.toml", &entry(path, "steps")), "xtask/tidy.toml:1", "counts nothing");
    let other = with(pure(counting), "xtask/tidy.toml", &entry("crates/core/src/other.rs", "steps"));
    finds(&other, "crates/core/src/lib.rs:4", "calls `thread_local!`");
    let more = format!("{counting}\nuse std::sync::Mutex;");
    finds(
        &with(pure(&more), "xtask/tidy.toml", &entry(path, "steps")),
        "crates/core/src/lib.rs:5",
        "names `Mutex`",
    );
}

#[test]
fn a_pure_crate_names_no_door_however_it_is_spelt() {
    for source in [
        "use std::fs;",
        "use std::{fmt, fs::File};",
        "use std::fs as disk;",
        "use std::*;",
        "use std::time::*;",
        "use std::net::TcpStream;",
        "use std::net;",
        "use std as s;",
        "use std::{self as s};",
        "fn f() { let _ = std::env::var(\"A\"); }",
        "fn f() { let _ = ::std::process::id(); }",
        "use std::time;\nfn f() { time::Instant::now(); }",
        "fn f(_: std::time::SystemTime) {}",
        "fn f() { assert!(std::env::var(\"A\").is_ok()); }",
        "fn f() { println!(\"hello\"); }",
        "fn f() { std::thread::spawn(|| {}); }",
        "use tokio::sync::Mutex;",
        "async fn f() {}",
        "fn f() { let _ = async {}; }",
        "fn f() { let _ = async || {}; }",
        "use aws_lc_rs::rand::SystemRandom;",
        "use aws_lc_rs::*;",
        "use aws_lc_rs as crypto;",
        "use aws_lc_rs::signature::Ed25519KeyPair;\nfn f() { Ed25519KeyPair::generate(); }",
        "fn f() { rand::random::<u8>(); }",
        "fn f() { getrandom::fill(&mut []); }",
        "use std::path::Path;",
        "extern crate std as s;",
        "mod inner { fn f() { std::fs::read(\"x\"); } }",
        "macro_rules! m { () => { std::fs::read(\"x\") } }",
        "include!(\"more.rs\");",
        "static HITS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);",
        "use std::sync::Mutex;",
    ] {
        let findings = check(&pure(source));
        assert!(!findings.is_empty(), "nothing found in `{source}`");
        assert!(findings.iter().all(|finding| finding.file == "crates/core/src/lib.rs" && finding.line >= 4));
    }
}

#[test]
fn a_pure_crate_keeps_what_is_not_a_door() {
    for source in [
        "use std::net::IpAddr;",
        "use std::time::Duration;",
        "use std::io::Write;",
        "use std::collections::BTreeMap;",
        "use std::sync::Arc;",
        "fn f(rand: u8) -> u8 { rand }",
        "use aws_lc_rs::digest;",
        "fn f() { assert_eq!(1, 1, \"std::fs\"); }",
        "#[cfg(test)]\nmod tests { use std::fs; fn f() { println!(\"{}\", std::env::var(\"A\").is_ok()); } }",
    ] {
        clean(&pure(source));
    }
    clean(&edge("use std::fs;\nasync fn f() { std::env::var(\"A\").ok(); }"));
}

#[test]
fn only_an_exact_test_gate_excuses() {
    finds(
        &pure("#[cfg(any(test, unix))]\nmod tests { use std::fs; }"),
        "crates/core/src/lib.rs:5",
        "std::fs",
    );
    let gated = with(pure("#[cfg(test)]\nmod probe;"), "crates/core/src/probe.rs", "use std::fs;\n");
    clean(&gated);
    let open = with(pure("mod probe;"), "crates/core/src/probe.rs", "use std::fs;\n");
    finds(&open, "crates/core/src/probe.rs:1", "std::fs");
}

#[test]
fn unsafe_code_is_found_everywhere() {
    for source in [
        "fn f() { unsafe { } }",
        "unsafe fn f() {}",
        "struct S;\nunsafe impl Send for S {}",
        "unsafe extern \"C\" { fn f(); }",
        "#[cfg(test)]\nmod tests { unsafe fn f() {} }",
        "macro_rules! m { () => { unsafe { f() } } }",
    ] {
        finds(&edge(source), "crates/store/src/lib.rs:", "unsafe code");
    }
    clean(&edge("/// Not unsafe at all.\nfn f() {}"));
}

#[test]
fn a_module_is_where_its_name_says() {
    finds(&edge("#[path = \"elsewhere.rs\"]\nmod m;"), "crates/store/src/lib.rs:4", "#[path]");
}

#[test]
fn a_file_above_the_limit_is_found_and_its_allowance_only_shrinks() {
    let long = "// line\n".repeat(901);
    let path = "crates/core/src/long.rs";
    clean(&with(pure(""), path, &"// line\n".repeat(900)));
    finds(&with(pure(""), path, &long), "crates/core/src/long.rs:1", "has 901 lines, the limit is 900");
    let allow =
        |lines: u32| format!("[[file]]\npath = \"{path}\"\nlines_max = {lines}\nreason = \"a table\"\n");
    clean(&with(with(pure(""), path, &long), "xtask/tidy.toml", &allow(901)));
    finds(
        &with(with(pure(""), path, &"// line\n".repeat(902)), "xtask/tidy.toml", &allow(901)),
        path,
        "grew to 902",
    );
    finds(
        &with(with(pure(""), path, "// line\n"), "xtask/tidy.toml", &allow(901)),
        path,
        "needs no allowance",
    );
    finds(&with(pure(""), "xtask/tidy.toml", &allow(901)), "xtask/tidy.toml:1", "is not there");
}

#[test]
fn a_function_above_the_limit_is_found_and_its_allowance_only_shrinks() {
    let function =
        |lines: usize| format!("impl S {{\nfn long() {{\n{}}}\n}}", "let _ = 1;\n".repeat(lines - 2));
    clean(&edge(&function(70)));
    finds(&edge(&function(71)), "crates/store/src/lib.rs:5", "function `long` has 71 lines, the limit is 70");
    clean(&edge(&format!("#[cfg(test)]\nmod tests {{ struct S;\n{} }}", function(90))));
    let allow = "[[function]]\npath = \"crates/store/src/lib.rs\"\nname = \"long\"\nlines_max = 80\nreason = \"a table\"\n";
    clean(&with(edge(&function(80)), "xtask/tidy.toml", allow));
    finds(&with(edge(&function(81)), "xtask/tidy.toml", allow), "crates/store/src/lib.rs:5", "grew to 81");
    finds(
        &with(edge(&function(9)), "xtask/tidy.toml", allow),
        "crates/store/src/lib.rs:5",
        "needs no allowance",
    );
}

#[test]
fn a_crate_says_what_it_is_and_what_it_never_does_and_is_on_the_map() {
    let path = "crates/core/src/lib.rs";
    finds(&with(pure(""), path, "mod x;\n"), path, "does not say what it is");
    finds(&with(pure(""), path, "//! The nouns.\n"), path, "never");
    finds(
        &with(pure(""), "ARCHITECTURE.md", "Nothing.\n"),
        "ARCHITECTURE.md:1",
        "`cordon-core` is not on the map",
    );
}

#[test]
fn error_codes_and_their_pages_come_in_pairs() {
    let code = ["LEDGER", "003"].join("-");
    let source = format!("const E: &str = \"{code}: the tree shrank\";");
    finds(&edge(&source), "crates/store/src/lib.rs:4", "has no page");
    let in_macro = format!("fn f() -> String {{ format!(\"{code}: {{}}\", 1) }}");
    finds(&edge(&in_macro), "crates/store/src/lib.rs:4", "has no page");
    let page = format!("docs/errors/{code}.md");
    clean(&with(edge(&source), &page, "# It shrank\n"));
    finds(&with(edge(""), &page, "# It shrank\n"), &page, "no source uses");
    clean(&edge("const D: &str = \"SHA-256 and AES-256\";"));
}

#[test]
fn places_of_one_machine_are_found() {
    let mut tree = with(pure(""), "docs/guide.md", "see\n/opt/checkout/notes\n");
    clean(&tree);
    tree.machine_paths.push("/opt/checkout".to_owned());
    finds(&tree, "docs/guide.md:2", "a place on one machine");
}

#[test]
fn unfinished_work_is_found() {
    for word in [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["todo", "!()"].concat(),
        ["unimplemented", "!()"].concat(),
    ] {
        finds(
            &with(pure(""), "docs/guide.md", &format!("first\n{word} later\n")),
            "docs/guide.md:2",
            "unfinished work",
        );
    }
    clean(&with(pure(""), "docs/guide.md", "mastodons and METHODS\n"));
}

#[test]
fn the_node_lock_file_names_the_public_registry_only() {
    let lock = |host: &str| format!("{{\n\"resolved\": \"https://{host}/a.tgz\"\n}}\n");
    let path = "tests/real/package-lock.json";
    clean(&with(pure(""), path, &lock("registry.npmjs.org")));
    finds(
        &with(pure(""), path, &lock("mirror.example")),
        "tests/real/package-lock.json:2",
        "not the public registry",
    );
}

#[test]
fn an_ignored_test_says_why() {
    finds(&edge("#[test]\n#[ignore]\nfn slow() {}"), "crates/store/src/lib.rs:5", "without a reason");
    let told = edge("#[test]\n#[ignore = \"takes an hour\"]\nfn slow() {}");
    clean(&told);
    assert_eq!(ignored(&told), [("crates/store/src/lib.rs:5 slow".to_owned(), "takes an hour".to_owned())]);
}

#[test]
fn a_file_that_is_not_rust_is_found() {
    finds(&edge("fn {"), "crates/store/src/lib.rs:", "not Rust");
}
