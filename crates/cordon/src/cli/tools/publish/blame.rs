//! Which field of a manifest makes the difference.

use cordon_core::{Action, Class, Effect, Request, ToolManifest};
use cordon_guard::policy::PolicySet;

use super::Version;

/// How it is found out whether the trouble is still there.
pub(super) struct Asks<'a> {
    /// The policies with the new versions.
    pub(super) new: &'a PolicySet,
    /// Whether a request shows the trouble.
    pub(super) still: &'a dyn Fn(&Request) -> bool,
}

/// The fields of a version without which `request` would show no trouble, each in a few words.
///
/// One change is taken back at a time: one class, or the effect; for a tool that was not there before
/// one class is taken away, or another effect is tried. Where no single change does it, all of them are
/// named.
pub(super) fn blame(versions: &[Version], request: &Request, asks: &Asks<'_>) -> Vec<String> {
    // INVARIANT: what a version is judged by is the tool's own action; the tools that it calls itself
    // (`calls`) are actions of their own, each with its version here.
    let name = request.action.name();
    let Some(version) = versions.iter().find(|version| version.new.tool == *name) else {
        let described = asks.new.manifest(name).is_some();
        let what = if described { "no version of it is published here" } else { "it has no manifest" };
        return vec![format!("`{name}`: {what}; the policy bears this already")];
    };
    let fine = |action: Action| !(asks.still)(&Request { action, ..request.clone() });
    let alternatives = alternatives(version);
    let found: Vec<String> = alternatives
        .iter()
        .filter(|(_, action)| fine(action.clone()))
        .map(|(words, _)| words.clone())
        .collect();
    match (found.is_empty(), &version.old) {
        (false, _) => found,
        (true, Some(old)) => {
            changed_fields(old, &version.new).iter().map(|field| (*field).to_owned()).collect()
        }
        (true, None) => vec!["the tool is new".to_owned()],
    }
}

/// What could have been otherwise, and the action that it would be.
fn alternatives(version: &Version) -> Vec<(String, Action)> {
    let new = &version.new;
    let with = |classes: Vec<Class>, effect: Effect| Action::declared(new.tool.clone(), classes, effect);
    let without =
        |gone: &Class| new.classes.iter().filter(|class| *class != gone).cloned().collect::<Vec<_>>();
    let mut found = Vec::new();
    match &version.old {
        Some(old) => {
            for class in new.classes.difference(&old.classes) {
                found.push((format!("classes: `{class}` is added"), with(without(class), new.effect)));
            }
            for class in old.classes.difference(&new.classes) {
                let classes = new.classes.iter().chain([class]).cloned().collect();
                found.push((format!("classes: `{class}` is gone"), with(classes, new.effect)));
            }
            if old.effect != new.effect {
                let words = format!("effect: `{}` instead of `{}`", new.effect, old.effect);
                found.push((words, with(new.classes.iter().cloned().collect(), old.effect)));
            }
        }
        None => {
            for class in &new.classes {
                found.push((format!("classes: `{class}`"), with(without(class), new.effect)));
            }
            for effect in Effect::ALL.iter().copied().filter(|effect| *effect != new.effect) {
                let classes = new.classes.iter().cloned().collect();
                found.push((
                    format!("effect: `{}` rather than `{effect}`", new.effect),
                    with(classes, effect),
                ));
            }
        }
    }
    found
}

/// The names of the fields that differ.
pub(super) fn changed_fields(old: &ToolManifest, new: &ToolManifest) -> Vec<&'static str> {
    let differing = [
        ("pin", old.pin != new.pin),
        ("classes", old.classes != new.classes),
        ("effect", old.effect != new.effect),
        ("sinks", old.sinks != new.sinks),
        ("carries", old.carries != new.carries),
        ("calls", old.calls != new.calls),
        ("outputs", old.outputs != new.outputs),
        ("limits", old.limits != new.limits),
        ("idempotency", old.idempotency != new.idempotency),
        ("compensation", old.compensation != new.compensation),
        ("sandbox", old.sandbox != new.sandbox),
        ("validators", old.validators != new.validators),
        ("description", old.description != new.description),
        ("input_schema", old.input_schema != new.input_schema),
        ("output_schema", old.output_schema != new.output_schema),
    ];
    let names: Vec<&'static str> =
        differing.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect();
    if names.is_empty() { vec!["another field"] } else { names }
}
