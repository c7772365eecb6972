//! The policy tools that need no I/O: reading, validating, testing, explaining, signing.
//!
//! Nobody else names the decision point; what they need of it is handed out here.

pub use cordon_pdp::{
    ActivationError, Bound, Bundle, BundleError, BundleRole, BundleTerms, Compiled, Counts, Credential,
    Diagnostic, ENVELOPE_FILE, EPOCH_MAX, Explanation, FILE_BYTES_MAX, FILES_MAX, Freshness, GuardFile,
    InvalidThreshold, KILLS_FILE, LastAccepted, NearestPermission, PermissionPart, PolicySet, PolicySource,
    PrincipalExplanation, Probes, RegoVersion, RoleTrust, RuleExplanation, RuleKind, RuleOutcome,
    RuleOutline, SOURCE_BYTES_MAX, Severity, Statement, TestOutcome, TestReport, Trust, VerifiedBundle,
    build_statement, decide, explain, manifest_from_json, manifest_to_toml, parse_kills, parse_manifests,
};
