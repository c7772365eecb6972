//! What a manifest wants read before its tool is called, and what of it was not.

use cordon_core::{Facts, GatheredAge, Precondition, Reason, ReasonKind, RuleRef, Timestamp, ToolManifest};

/// What was read for a call of a tool, and how old it is; too old is as good as not read.
pub(crate) fn gathered(manifest: Option<&ToolManifest>, facts: &Facts, now: Timestamp) -> Vec<GatheredAge> {
    let wanted = manifest.into_iter().flat_map(|manifest| &manifest.preconditions);
    let one = |one: &Precondition| GatheredAge {
        name: one.name.clone(),
        tool: one.tool.clone(),
        age_ms: fresh(one, facts, now),
    };
    wanted.map(one).collect()
}

/// Why a call of a tool cannot be decided: each reading that is not there.
pub(crate) fn unread(
    manifest: Option<&ToolManifest>,
    facts: &Facts,
    now: Timestamp,
) -> impl Iterator<Item = Reason> {
    let wanted = manifest.into_iter().flat_map(|manifest| &manifest.preconditions);
    wanted.filter(move |one| fresh(one, facts, now).is_none()).map(|one| {
        let read = match facts.gathered.at.contains_key(&one.name) {
            true => "was not read, is incomplete or is too old",
            false => "was not read",
        };
        let (name, tool, most) = (&one.name, &one.tool, one.max_age_ms);
        Reason {
            kind: ReasonKind::Indeterminate,
            rule: RuleRef::builtin("cordon:precondition"),
            principal: None,
            message: format!("the precondition `{name}` {read}").into(),
            remedy: Some(format!("call `{tool}` about the same thing, at most {most} ms before").into()),
        }
    })
}

/// How old a reading is, if it is there and young enough.
fn fresh(one: &Precondition, facts: &Facts, now: Timestamp) -> Option<u64> {
    facts.gathered.age_ms(&one.name, now).filter(|age| *age <= u64::from(one.max_age_ms))
}
