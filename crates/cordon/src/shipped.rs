//! The policies and the configuration that ship inside the program.

/// A file of a policy source: its path and its text.
pub(crate) type File = (&'static str, &'static str);

/// What `cordon init` writes as `cordon.toml`, with the keys left open.
pub(crate) const CONFIGURATION: &str = include_str!("shipped/cordon.toml");

macro_rules! source {
    ($folder:literal: $($path:literal)*) => {
        &[$(($path, include_str!(concat!("../../../policies/", $folder, "/", $path)))),*]
    };
}

/// The policy source that `cordon init` writes.
pub(crate) const STARTER: &[File] = source! { "starter":
    "obligations/approvals.cedar"
    "obligations/risk.cedar"
    "permissions/agents.cedar"
    "permissions/risk.cedar"
    "tests/approvals.toml"
    "tests/risk.toml"
};

/// The policy source of `cordon demo`.
pub(crate) const DEMO: &[File] = source! { "demo":
    "obligations/office.cedar"
    "permissions/office.cedar"
    "tests/office.toml"
    "tools/office.toml"
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle_files;
    use cordon_guard::policy::PolicySource;
    use std::path::Path;

    #[test]
    fn what_ships_is_exactly_what_lies_in_the_repository_and_passes_its_own_tests() {
        for (name, shipped) in [("starter", STARTER), ("demo", DEMO)] {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies").join(name);
            let files = bundle_files::read_dir(&dir).unwrap();
            let source: PolicySource = shipped.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
            assert_eq!(*source.files(), files, "{name}: list every file in crates/cordon/src/shipped.rs");
            let compiled = cordon_guard::policy::PolicySet::compile(&source).unwrap();
            let report = compiled.policies.run_tests();
            assert!(report.passed() > 0 && report.failed() == 0, "{name}: {}", report.first_failure());
        }
    }
}
