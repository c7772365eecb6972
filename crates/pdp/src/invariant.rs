//! Claims about every request that a bundle lets through (`invariants/*.cedar`, `spec/bundle.md`).
//!
//! An invariant is not part of a decision. It is looked at before a bundle is signed, by a bounded
//! enumeration: the values that the rules tell apart make a finite space of requests, which is tried
//! whole where it is small enough and sampled where it is not.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::Effect;
use cordon_core::{
    Action, Facts, Judgement, Obligation, ObligationKind, ReasonKind, Request, RuleRef, Timestamp, Verdict,
    join_obligations,
};

use crate::compile;
use crate::obligation;
use crate::probe::Draw;
use crate::rule::Rule;
use crate::source::FileKind;
use crate::space::Space;
use crate::{Diagnostic, PolicySet, PolicySource, decide};

/// Annotations of an invariant beside those of every rule and those of the obligation it requires.
const ANNOTATIONS: &[&str] = &["invariant", "requires"];
/// The fewest requests that are tried for one action.
const TRIES_MIN: u64 = 64;
/// The name that stands for a tool nobody described.
const UNDESCRIBED: &str = "example/undescribed";

/// The invariants of a source.
#[derive(Debug, Clone)]
pub struct Invariants {
    /// Each invariant as a prohibition: satisfied where it is about the request.
    set: PolicySet,
    /// By their place in the set.
    claims: BTreeMap<usize, Invariant>,
}

/// One claim about every request that is let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invariant {
    /// Where it stands.
    pub at: RuleRef,
    /// What it says, in its author's words.
    pub name: Box<str>,
    /// What has to be so of the requests that it is about.
    pub demand: Demand,
}

/// What an invariant demands of the requests that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// None of them is let through, not even after an approval.
    Denied,
    /// Those that are let through carry obligations of all these types.
    Carries(BTreeSet<&'static str>),
    /// Those that are let through carry this obligation or a stricter one.
    AtLeast(ObligationKind),
}

/// What came of looking for a request that breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Searched {
    /// The invariant.
    pub invariant: Invariant,
    /// How many actions it is about.
    pub actions: usize,
    /// How many requests were tried.
    pub tried: u64,
    /// How many of them it is about.
    pub met: u64,
    /// Whether those were all that the rules tell apart.
    pub whole: bool,
    /// A request that breaks it.
    pub breach: Option<Breach>,
}

/// A request that breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The request.
    pub request: Request,
    /// What Cordon would know.
    pub facts: Facts,
    /// When it is judged.
    pub now: Timestamp,
    /// How it is judged.
    pub judgement: Judgement,
    /// The obligations that are not there; none where it must not be let through at all.
    pub lacks: Vec<&'static str>,
    /// Why it is not known whether the invariant is about the request, where it is not.
    pub doubt: Option<Box<str>>,
}

impl Invariants {
    /// Reads the invariants of a source; findings are those of the whole source.
    pub fn compile(source: &PolicySource) -> Result<Self, Vec<Diagnostic>> {
        if !source.sorted()?.iter().any(|(kind, ..)| *kind == FileKind::Invariants) {
            return Ok(Self { set: PolicySet::deny_all(), claims: BTreeMap::new() });
        }
        let checked = compile::check(source)?.only_invariants();
        let claims = checked.rules.iter().enumerate().filter_map(|(place, rule)| Some((place, claim(rule)?)));
        let claims = claims.collect();
        let set = PolicySet::from_checked(source.digest(), checked)
            .map_err(|message| vec![Diagnostic::error("invariants/", message)])?;
        Ok(Self { set, claims })
    }

    /// The invariants in order of file and line.
    pub fn iter(&self) -> impl Iterator<Item = &Invariant> {
        self.claims.values()
    }

    /// Looks for requests that break the invariants: about `tries` of them for each.
    ///
    /// `policies` are those of the same source.
    pub fn search(&self, policies: &PolicySet, tries: u64) -> Vec<Searched> {
        let actions = actions(&self.set, policies);
        let one = |(place, invariant): (&usize, &Invariant)| {
            self.search_one(*place, invariant, &actions, policies, tries)
        };
        self.claims.iter().map(one).collect()
    }

    /// How a request breaks the invariant that stands at `at`, if it does.
    pub fn breach(
        &self,
        at: &RuleRef,
        policies: &PolicySet,
        (request, facts, now): (&Request, &Facts, Timestamp),
    ) -> Option<Breach> {
        let invariant = self.claims.values().find(|invariant| invariant.at == *at)?;
        let doubt = self.meets(invariant, request, facts, now)?;
        broken(invariant, policies, (request, facts, now), doubt)
    }

    fn search_one(
        &self,
        place: usize,
        invariant: &Invariant,
        actions: &[Action],
        policies: &PolicySet,
        tries: u64,
    ) -> Searched {
        let about: Vec<&Action> =
            actions.iter().filter(|action| self.set.rules_about(action).contains(&place)).collect();
        let mut found = Searched {
            invariant: invariant.clone(),
            actions: about.len(),
            tried: 0,
            met: 0,
            whole: true,
            breach: None,
        };
        let shares = u64::try_from(about.len()).unwrap_or(u64::MAX).max(1);
        let share = tries.checked_div(shares).unwrap_or_default().max(TRIES_MIN);
        for action in about {
            self.search_action(place, action, policies, share, &mut found);
            if found.breach.is_some() {
                break;
            }
        }
        found
    }

    fn search_action(
        &self,
        place: usize,
        action: &Action,
        policies: &PolicySet,
        share: u64,
        found: &mut Searched,
    ) {
        let own = self.set.inner().rules.get(place);
        let about = policies.rules_about(action);
        let rules = || about.iter().filter_map(|place| policies.inner().rules.get(*place));
        let permits = rules().filter(|rule| !rule.body.restricts());
        let restricts = rules().filter(|rule| rule.body.restricts());
        let space = Space::new(action, own.into_iter().chain(permits), restricts);
        let whole = space.size() <= u128::from(share);
        found.whole &= whole;
        let mut draw = Draw::new();
        let count = if whole { u64::try_from(space.size()).unwrap_or(share) } else { share };
        for at in 0..count {
            let made = if whole { space.nth(u128::from(at)) } else { space.sample(&mut draw) };
            let Some((request, facts, now)) = made else { continue };
            found.tried = found.tried.saturating_add(1);
            let Some(doubt) = self.meets(&found.invariant, &request, &facts, now) else { continue };
            found.met = found.met.saturating_add(1);
            found.breach = broken(&found.invariant, policies, (&request, &facts, now), doubt);
            if found.breach.is_some() {
                return;
            }
        }
    }

    /// Whether the invariant is about a request; some text when that is in doubt, which counts as so.
    fn meets(
        &self,
        invariant: &Invariant,
        request: &Request,
        facts: &Facts,
        now: Timestamp,
    ) -> Option<Option<Box<str>>> {
        let judgement = decide(&self.set, request, facts, now);
        let own = judgement.reasons.into_iter().find(|reason| reason.rule == invariant.at)?;
        match own.kind {
            ReasonKind::Forbidden => Some(None),
            _ => Some(Some((*own.message).into())),
        }
    }
}

fn broken(
    invariant: &Invariant,
    policies: &PolicySet,
    (request, facts, now): (&Request, &Facts, Timestamp),
    doubt: Option<Box<str>>,
) -> Option<Breach> {
    let judgement = decide(policies, request, facts, now);
    if judgement.verdict == Verdict::Deny {
        return None;
    }
    let lacks = invariant.demand.lacking(&judgement.obligations)?;
    Some(Breach { request: request.clone(), facts: facts.clone(), now, judgement, lacks, doubt })
}

impl Demand {
    /// What is not there of the obligations that a request which is let through must carry; `None`
    /// when all is well.
    fn lacking(&self, due: &[Obligation]) -> Option<Vec<&'static str>> {
        match self {
            Self::Denied => Some(Vec::new()),
            Self::Carries(names) => {
                let there = |name: &&&'static str| !due.iter().any(|due| due.kind.name() == **name);
                let lacks: Vec<&'static str> = names.iter().filter(there).copied().collect();
                (!lacks.is_empty()).then_some(lacks)
            }
            Self::AtLeast(kind) => {
                // One that is as strict already changes nothing when it is joined.
                let demanded = Obligation { kind: kind.clone(), rules: Vec::new() };
                let joined = join_obligations(due.iter().cloned().chain([demanded]));
                let kinds = |list: &[Obligation]| list.iter().map(|due| due.kind.clone()).collect::<Vec<_>>();
                (kinds(&joined) != kinds(due)).then(|| vec![kind.name()])
            }
        }
    }
}

/// Reads the annotations of an invariant; the text says what is wrong.
pub(crate) fn read(
    effect: Effect,
    annotations: &BTreeMap<String, String>,
) -> Result<(Box<str>, Demand), String> {
    let name = annotations.get("invariant").map(|text| text.trim()).filter(|text| !text.is_empty());
    let name = name.ok_or("a policy in invariants/ says in `@invariant(\"…\")` what it claims")?;
    let requires = annotations.get("requires");
    let properties: Vec<&str> = annotations
        .keys()
        .map(String::as_str)
        .filter(|given| !obligation::is_about_rule(given) && !ANNOTATIONS.contains(given))
        .collect();
    let demand = match (effect, requires) {
        (Effect::Forbid, None) if properties.is_empty() => Demand::Denied,
        (Effect::Forbid, _) => {
            return Err("`forbid` in invariants/ means that none of these requests is let through, so it \
                        takes neither `@requires` nor properties"
                .to_owned());
        }
        (Effect::Permit, None) => {
            return Err("`permit` in invariants/ says in `@requires(\"…\")` which obligations the requests \
                        carry; write `forbid` if none may be let through"
                .to_owned());
        }
        (Effect::Permit, Some(list)) => required(list, &properties, annotations)?,
    };
    Ok((name.into(), demand))
}

fn required(
    list: &str,
    properties: &[&str],
    annotations: &BTreeMap<String, String>,
) -> Result<Demand, String> {
    let names: Vec<&str> = list.split(',').map(str::trim).collect();
    let known = |name: &str| -> Result<&'static str, String> {
        obligation::properties(name)?;
        let found = ObligationKind::NAMES.iter().find(|known| **known == name);
        found.copied().ok_or_else(|| format!("`{name}` is not an obligation"))
    };
    let names = names.into_iter().map(known).collect::<Result<BTreeSet<_>, _>>()?;
    match (names.first(), names.len(), properties.is_empty()) {
        (_, _, true) => Ok(Demand::Carries(names)),
        (Some(name), 1, false) => {
            let mut own = annotations.clone();
            own.retain(|given, _| !ANNOTATIONS.contains(&given.as_str()));
            own.insert("obligation".to_owned(), (*name).to_owned());
            obligation::read(&own).map(Demand::AtLeast)
        }
        _ => Err(format!(
            "`@{}` belongs to one obligation, and `@requires` names several",
            properties.join("`, `@")
        )),
    }
}

fn claim(rule: &Rule) -> Option<Invariant> {
    let annotations = rule.policy.annotations().map(|(name, text)| (name.to_owned(), text.to_owned()));
    let (name, demand) = read(rule.policy.effect(), &annotations.collect()).ok()?;
    Some(Invariant { at: rule.at.clone(), name, demand })
}

/// The actions that the source declares, one that nobody declares, and those that rules name.
fn actions(invariants: &PolicySet, policies: &PolicySet) -> Vec<Action> {
    let mut names = policies.declared_actions();
    names.extend(UNDESCRIBED.parse());
    for rule in invariants.inner().rules.iter().chain(&policies.inner().rules) {
        let exact = rule.actions.iter().flatten().filter(|_| rule.exact && !rule.at.file.is_empty());
        names.extend(exact.filter_map(|name| name.parse().ok()));
    }
    names.iter().map(|name| policies.action(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOLS: &str = "[[tools]]\ntool = \"db/read\"\nclasses = [\"data.read\"]\neffect = \"read\"\n\
                         [[tools]]\ntool = \"mail/send\"\nclasses = [\"message.send\"]\neffect = \"irreversible\"\n";
    const REDACTED: &str = "@id(\"redacted\") @invariant(\"pii is redacted\") @requires(\"redact\")\n\
        permit (principal, action in Action::\"data.read\", resource)\n\
        when { resource.markings.contains(\"pii\") };";
    const READ: &str = "@id(\"read\") permit (principal, action in Action::\"data.read\", resource);";
    const OBLIGED: &str = "@id(\"hide\") @obligation(\"redact\") @fields(\"ssn\")\n\
        permit (principal, action in Action::\"data.read\", resource)\n\
        when { resource.markings.contains(\"pii\") };";

    fn source(permissions: &str, obligations: &str, invariants: &str) -> PolicySource {
        [
            ("permissions/p.cedar", permissions),
            ("obligations/o.cedar", obligations),
            ("invariants/i.cedar", invariants),
            ("tools/t.toml", TOOLS),
        ]
        .into_iter()
        .collect()
    }

    fn search(permissions: &str, obligations: &str, invariants: &str) -> Searched {
        let source = source(permissions, obligations, invariants);
        let policies = PolicySet::compile(&source).unwrap().policies;
        let invariants = Invariants::compile(&source).unwrap();
        let mut found = invariants.search(&policies, 20_000);
        assert_eq!(found.len(), 1);
        found.remove(0)
    }

    #[test]
    fn what_is_obliged_holds_in_the_whole_space_and_a_gap_in_it_is_found() {
        let held = search(READ, OBLIGED, REDACTED);
        assert!(held.breach.is_none() && held.whole && held.met > 0, "{held:?}");
        let none = search(READ, "", REDACTED).breach.unwrap();
        assert_eq!((none.lacks.as_slice(), none.judgement.verdict), (&["redact"][..], Verdict::Allow));
        assert!(none.request.resource.markings.iter().any(|marking| marking.as_str() == "pii"));
        for gap in [
            "context has purpose && context.purpose == \"audit\"",
            "context.args has n && context.args.n > 77",
            "context.chain has owner && context.chain.owner == \"root\"",
            "principal in Team::\"staff\"",
            "context.args has q && context.args.q like \"select *\"",
            "context.session.posture == \"watched\"",
            "resource is Table",
            "context.risk.level == \"high\"",
            "context.risk has destination && context.risk.destination >= 900",
            "context.args has cc && context.args.cc.contains(\"x\")",
        ] {
            let gappy = OBLIGED.replace("contains(\"pii\")", &format!("contains(\"pii\") && !({gap})"));
            assert!(search(READ, &gappy, REDACTED).breach.is_some(), "{gap}");
            // What is denied there needs no obligation.
            let denied = format!("{READ}\nforbid (principal, action, resource) when {{ {gap} }};");
            let held = search(&denied, &gappy, REDACTED);
            assert!(held.breach.is_none(), "{gap}: {:?}", held.breach);
        }
    }

    #[test]
    fn an_obligation_that_is_due_for_one_principal_is_there() {
        let gappy = OBLIGED.replace("contains(\"pii\")", "contains(\"pii\") && principal != User::\"root\"");
        assert!(search(READ, &gappy, REDACTED).breach.is_none(), "the agent is another principal");
    }

    #[test]
    fn a_weaker_obligation_is_not_enough_and_a_stricter_one_is() {
        let least = REDACTED.replace("@requires(\"redact\")", "@requires(\"redact\") @fields(\"ssn, name\")");
        assert_eq!(search(READ, OBLIGED, &least).breach.unwrap().lacks, ["redact"]);
        let more = OBLIGED.replace("ssn", "ssn, name, mail");
        assert!(search(READ, &more, &least).breach.is_none());
    }

    #[test]
    fn what_must_be_denied_is_not_let_through_after_an_approval_either() {
        let never = "@id(\"never\") @invariant(\"nobody sends\")\n\
                     forbid (principal, action in Action::\"message.send\", resource);";
        let send = "permit (principal, action == Action::\"mail/send\", resource);";
        let ask =
            "@id(\"ask\") @obligation(\"approve\") @role(\"approver\") permit (principal, action, resource);";
        assert_eq!(search(send, ask, never).breach.unwrap().judgement.verdict, Verdict::Ask);
        assert!(search(READ, ask, never).breach.is_none());
        // A tool that nobody described could send.
        let all = "permit (principal, action, resource) unless { action == Action::\"mail/send\" };";
        let breach = search(all, "", never).breach.unwrap();
        assert!(!breach.request.action.is_declared(), "{breach:?}");
    }

    #[test]
    fn an_invariant_about_nothing_is_seen_to_be_about_nothing() {
        let vain = "@id(\"vain\") @invariant(\"v\") forbid (principal, action == Action::\"db/read\", resource)\n\
                    when { context.session.calls > 5 && context.session.calls < 4 };";
        let found = search(READ, "", vain);
        assert_eq!((found.met, found.breach, found.actions), (0, None, 1));
    }

    #[test]
    fn annotations_that_do_not_fit_refuse_the_source() {
        for (text, want) in [
            (REDACTED.replace("@invariant(\"pii is redacted\") ", ""), "@invariant"),
            (REDACTED.replace("@requires(\"redact\")", ""), "@requires"),
            (REDACTED.replace("\"redact\"", "\"redakt\""), "did you mean `redact`"),
            (REDACTED.replace("\"redact\"", "\"redact, log\") @fields(\"ssn\""), "names several"),
            (REDACTED.replace("\"redact\"", "\"redact\") @limit(\"3\""), "has no property `@limit`"),
            (REDACTED.replace("permit", "forbid"), "neither `@requires`"),
            (REDACTED.replace("resource.markings.contains(\"pii\")", "context.nothing"), "nothing"),
        ] {
            let findings = PolicySet::compile(&source(READ, OBLIGED, &text)).unwrap_err();
            let first = format!("{} {:?}", findings[0].message, findings[0].help);
            assert!(first.contains(want), "{want}: {first}");
        }
    }

    #[test]
    fn invariants_decide_nothing() {
        let with =
            source(READ, OBLIGED, "@id(\"no\") @invariant(\"no\") forbid (principal, action, resource);");
        let policies = PolicySet::compile(&with).unwrap().policies;
        assert_eq!(policies.counts().prohibitions, 0);
        let probe = crate::probe::Probe::new(policies.action(&"db/read".parse().unwrap()));
        let (request, facts, now) = probe.finish().unwrap();
        assert_eq!(decide(&policies, &request, &facts, now).verdict, Verdict::Allow);
    }
}
