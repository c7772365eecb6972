//! The policy tools that need no I/O: reading, validating, testing, explaining, signing.
//!
//! Nobody else names the decision point; what they need of it is handed out here.

pub use cordon_pdp::{
    ActivationError, Bound, Breach, Bundle, BundleError, BundleRole, BundleTerms, Compared, Compiled, Counts,
    Credential, Demand, Diagnostic, ENVELOPE_FILE, EPOCH_MAX, Explanation, FILE_BYTES_MAX, FILES_MAX,
    Freshness, GuardFile, InvalidThreshold, Invariant, Invariants, KILLS_FILE, LastAccepted, Looser,
    NearestPermission, PermissionPart, PolicySet, PolicySource, PrincipalExplanation, Probes, RegoVersion,
    RoleTrust, RuleExplanation, RuleKind, RuleOutcome, RuleOutline, SOURCE_BYTES_MAX, Searched, Severity,
    Statement, TestOutcome, TestReport, Trust, VerifiedBundle, build_statement, decide, explain, is_looser,
    looser, manifest_from_json, manifest_to_toml, parse_kills, parse_manifests,
};
