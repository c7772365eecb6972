//! One `check` for all: policy text, a request in a few words, the answer in a few words.

use std::fmt::Write as _;
use std::path::Path;

use cordon_core::{
    Action, ActionName, Chain, Context, Effect, Facts, Judgement, ObligationKind, Principal, PrincipalKind,
    Record, Request, Resource, Timestamp, UnknownReason, Value,
};
use cordon_pdp::{PolicySet, PolicySource, decide};

/// Half past twelve on a day in 2026.
pub(crate) const NOON: Timestamp = Timestamp::from_micros(1_795_264_200_000_000);

/// A source from its files, each a path and a text.
pub(crate) fn source(files: &[(&str, &str)]) -> PolicySource {
    files.iter().map(|(path, text)| (*path, text.as_bytes())).collect()
}

/// Compiles a source that must load.
pub(crate) fn compile(files: &[(&str, &str)]) -> PolicySet {
    match PolicySet::compile(&source(files)) {
        Ok(compiled) => compiled.policies,
        Err(findings) => panic!("{}", findings.iter().map(|f| f.render()).collect::<String>()),
    }
}

/// Permissions; after a line `---` obligations, after a second one manifests.
pub(crate) fn policies(text: &str) -> PolicySet {
    let mut parts = text.split("\n---\n");
    let mut files = vec![("permissions/p.cedar", parts.next().unwrap_or_default())];
    files.extend(parts.next().map(|text| ("obligations/o.cedar", text)));
    files.extend(parts.next().map(|text| ("tools/t.toml", text)));
    compile(&files)
}

/// Reads `agent:a via:b owner:u user:v does mail/send [classes effect] on Tool:x with k=v,k=?`.
///
/// Without classes and effect the action is as the policies declare it. `?` is an unknown value.
pub(crate) fn request(policies: &PolicySet, words: &str) -> Request {
    let (who, rest) = words.split_once(" does ").unwrap();
    let (rest, args) = rest.split_once(" with ").map_or((rest, ""), |(rest, args)| (rest, args));
    let (what, resource) = rest.split_once(" on ").map_or((rest, None), |(what, on)| (what, Some(on)));
    let mut chain = [None, None, None];
    let mut via = Vec::new();
    for one in who.split_whitespace() {
        let (role, id) = one.split_once(':').unwrap();
        let (id, attribute) = id.split_once('.').map_or((id, None), |(id, pair)| (id, Some(pair)));
        let (place, kind) = match role {
            "owner" => (0, PrincipalKind::User),
            "agent" => (1, PrincipalKind::Agent),
            "via" => (3, PrincipalKind::Agent),
            _ => (2, PrincipalKind::User),
        };
        let mut principal = Principal::new(kind, id);
        if let Some((name, text)) = attribute.and_then(|pair| pair.split_once('=')) {
            principal.attributes.insert(name.into(), value(text));
        }
        match chain.get_mut(place) {
            Some(slot) => *slot = Some(principal),
            None => via.push(principal),
        }
    }
    let [owner, agent, user] = chain;
    let mut what = what.split_whitespace();
    let name: ActionName = what.next().unwrap().parse().unwrap();
    let classes: Vec<&str> =
        what.next().unwrap_or_default().split(',').filter(|class| !class.is_empty()).collect();
    let action = match what.next() {
        None => policies.action(&name),
        Some(effect) => Action::declared(
            name.clone(),
            classes.into_iter().filter(|class| *class != "-").map(|class| class.parse().unwrap()),
            effect.parse::<Effect>().unwrap(),
        ),
    };
    let (kind, id) = resource.map_or(("Tool", name.as_str()), |text| text.split_once(':').unwrap());
    let args: Record = args
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, text)| (name.into(), value(text)))
        .collect();
    Request {
        chain: Chain::new(owner, agent, user).unwrap().with_via(via).unwrap(),
        action,
        resource: Resource::new(kind, id, "default"),
        context: Context { args, ..Context::default() },
    }
}

fn value(text: &str) -> Value {
    match text {
        "?" => Value::Unknown(UnknownReason::Truncated),
        "true" => Value::Bool(true),
        _ => text.parse().map_or_else(|_| Value::text(text), Value::Long),
    }
}

/// Every obligation can be carried out.
pub(crate) fn facts() -> Facts {
    Facts { supported: ObligationKind::NAMES.iter().copied().collect(), ..Facts::default() }
}

/// Judges a request in a few words.
pub(crate) fn judge(policies: &PolicySet, words: &str) -> Judgement {
    decide(policies, &request(policies, words), &facts(), NOON)
}

/// The verdict, the first reason's kind and rule and the obligations, in a few words.
pub(crate) fn shown(judgement: &Judgement) -> String {
    let mut out = judgement.verdict.to_string();
    if let Some(reason) = judgement.reasons.first() {
        let _ = write!(out, ": {} {}", reason.kind.as_str(), reason.rule.rule);
    }
    for obligation in &judgement.obligations {
        let _ = write!(out, " +{}", obligation.kind.name());
    }
    out
}

/// Judges a request under a policy text and compares.
#[track_caller]
pub(crate) fn check(text: &str, words: &str, want: &str) {
    let judgement = judge(&policies(text), words);
    assert_eq!(shown(&judgement), want, "{words}\n{:#?}", judgement.reasons);
}

/// The files of a folder of the repository.
pub(crate) fn folder(path: &str) -> PolicySource {
    fn walk(root: &Path, at: &Path, source: &mut PolicySource) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, source);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                source.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let mut source = PolicySource::new();
    walk(&root, &root, &mut source);
    source
}
