//! Evaluation of the rules about one action: compiled rules here, the others by stock Cedar.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use cordon_core::{Facts, Request, RowPredicate, Timestamp};
use smallvec::SmallVec;

use crate::few::Few;
use crate::frame::{Frame, Maker};
use crate::index::{Bucket, Keyed, List, Part, Route};
use crate::person::Person;
use crate::policies::Inner;
use crate::program::{Compiled, Gates, Inputs, Places, Run};
use crate::risk::RiskView;
use crate::stock::Question;

/// What came of one rule for one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Satisfied,
    NotSatisfied,
    /// It could not be evaluated; what the engine said.
    Error(String),
    /// It mentions a value that is not known.
    Unknown(String),
    /// A permission permits these rows; a restriction forbids them.
    Rows(Box<RowPredicate>),
}

/// What came of the rules about one action, by their place in the list.
// INVARIANT: in order of place, each once, and none that is not satisfied without doubt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outcomes(SmallVec<[(usize, Outcome); 2]>);

/// What came of the rules for each principal, in order.
pub(crate) type Found = SmallVec<[Outcomes; 3]>;

/// What evaluates rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Engine {
    /// The program; stock Cedar for what it does not hold.
    #[default]
    Compiled,
    /// Stock Cedar alone.
    Stock,
}

/// The rules about an action, and a request.
#[derive(Debug)]
pub(crate) struct Asked<'a, 'r> {
    pub(crate) inner: &'a Inner,
    pub(crate) route: &'a Route,
    pub(crate) request: &'r Request,
    pub(crate) facts: &'a Facts,
    pub(crate) now: Timestamp,
    pub(crate) engine: Engine,
    /// The principals to judge.
    pub(crate) people: Few<Person<'r>>,
    pub(crate) risk: RiskView,
    /// The request as stock Cedar reads it, made when it is first needed.
    pub(crate) frame: OnceCell<Result<Frame, String>>,
}

/// What is in doubt about an action that has no manifest.
pub(crate) const UNKNOWN_GROUPS: &str = "the groups of an action without a manifest";

impl Outcome {
    /// Of a restriction that asks for the groups of an action that nobody declared: what comes of it
    /// with every group, and what with none.
    pub(crate) fn of_groups(with: Self, without: Self, asks: usize) -> Self {
        match (with, without) {
            (Self::Satisfied, _) | (_, Self::Satisfied) => Self::Satisfied,
            (Self::NotSatisfied, Self::NotSatisfied) if asks > 1 => Self::Unknown(UNKNOWN_GROUPS.to_owned()),
            (Self::NotSatisfied, other) | (other, _) => other,
        }
    }
}

impl Outcomes {
    /// The outcome of the rule at a place.
    pub(crate) fn of(&self, place: usize) -> Option<&Outcome> {
        let found = self.0.binary_search_by_key(&place, |(place, _)| *place).ok()?;
        self.0.get(found).map(|(_, outcome)| outcome)
    }

    /// Every outcome that is not [`Outcome::NotSatisfied`], in order of place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Outcome)> {
        self.0.iter().map(|(place, outcome)| (*place, outcome))
    }

    /// Replaces what came of the rule at a place.
    pub(crate) fn set(&mut self, place: usize, outcome: Outcome) {
        self.0.retain(|(other, _)| *other != place);
        self.add(place, outcome);
        self.0.sort_by_key(|(place, _)| *place);
    }

    fn add(&mut self, place: usize, outcome: Outcome) {
        if outcome != Outcome::NotSatisfied {
            self.0.push((place, outcome));
        }
    }

    fn settle(mut self) -> Self {
        if self.0.len() > 1 {
            self.0.sort_by_key(|(place, _)| *place);
            self.0.dedup_by_key(|(place, _)| *place);
        }
        self
    }
}

impl FromIterator<(usize, Outcome)> for Outcomes {
    fn from_iter<I: IntoIterator<Item = (usize, Outcome)>>(outcomes: I) -> Self {
        let mut all = Self::default();
        outcomes.into_iter().for_each(|(place, outcome)| all.add(place, outcome));
        all.settle()
    }
}

impl<'a, 'r: 'a> Asked<'a, 'r> {
    /// Places of all rules about the action, in order.
    pub(crate) fn about(&self) -> BTreeSet<usize> {
        self.buckets().flat_map(|bucket| &bucket.rules).copied().collect()
    }

    /// What comes of every rule about the action, for each principal in order.
    pub(crate) fn outcomes(&self) -> Result<Found, String> {
        match self.inputs() {
            None => self.all_by_stock(),
            Some(inputs) if self.route.action.is_declared() && inputs.unknown.is_empty() => {
                self.compiled(&inputs)
            }
            Some(inputs) => self.in_doubt(&inputs),
        }
    }

    /// What comes of policies that are no rules of the source, for the principal at place `person`.
    pub(crate) fn apart(
        &self,
        person: usize,
        policies: &cedar_policy::PolicySet,
    ) -> Result<BTreeMap<usize, Outcome>, String> {
        self.question(person, Part::Whole)?.apart(policies)
    }

    /// The rules whose scope holds for each principal, whatever their conditions.
    pub(crate) fn scopes(&self) -> Result<Vec<BTreeSet<usize>>, String> {
        let Some(inputs) = self.inputs() else {
            let frame = self.frame()?;
            return (0..frame.judged.len())
                .map(|place| self.question(place, Part::Whole)?.scopes())
                .collect();
        };
        let mut run = Run::new(&self.inner.program, &inputs, &self.route.restricting);
        let mut all = Vec::new();
        for judged in inputs.judged() {
            run.turn_to(judged);
            let places = self.buckets().flat_map(|bucket| &bucket.rules).copied();
            let holds = |place: &usize| {
                let scope = self.inner.program.rule(*place).and_then(Compiled::scope);
                scope.is_some_and(|scope| run.covers(scope) && run.reaches(scope))
            };
            all.push(places.filter(holds).collect());
        }
        Ok(all)
    }

    fn inputs(&self) -> Option<Inputs<'a>> {
        match self.engine {
            Engine::Stock => None,
            Engine::Compiled => self.inputs_of_program(),
        }
    }

    /// The request as the program reads it; `None` if only stock Cedar is given it.
    pub(crate) fn inputs_of_program(&self) -> Option<Inputs<'a>> {
        let Inner { directory, needs, .. } = self.inner;
        Inputs::new(self.request, self.facts, self.risk, self.now, directory, needs, &self.people)
    }

    fn buckets(&self) -> impl Iterator<Item = &'a Bucket> + use<'a, 'r> {
        let index = &self.inner.index;
        index.permissions(self.route).chain(index.restrictions(self.route))
    }

    /// The request as stock Cedar reads it.
    fn frame(&self) -> Result<&Frame, String> {
        let make = || {
            let maker = Maker {
                needs: &self.inner.needs,
                directory: &self.inner.directory,
                types: &self.inner.types,
                restricting: &self.route.restricting,
                permitting: &self.route.permitting,
            };
            maker.frame(self.request, self.facts, &self.risk, self.now)
        };
        self.frame.get_or_init(make).as_ref().map_err(Clone::clone)
    }

    fn question(&self, place: usize, part: Part) -> Result<Question<'_>, String> {
        let frame = self.frame()?;
        let judged = frame.judged.get(place).ok_or("a principal is missing")?;
        Ok(Question { inner: self.inner, route: self.route, frame, judged, part })
    }

    fn all_by_stock(&self) -> Result<Found, String> {
        let frame = self.frame()?;
        (0..frame.judged.len()).map(|place| self.question(place, Part::Whole)?.outcomes()).collect()
    }

    /// The outcomes of one principal with those of the rules that are not compiled.
    fn completed(&self, place: usize, found: Outcomes, left: Left) -> Result<Outcomes, String> {
        match left {
            Left::Nothing => Ok(found.settle()),
            Left::Outside => {
                let rest = self.question(place, Part::Outside)?.outcomes()?;
                Ok(found.0.into_iter().chain(rest.0).collect())
            }
            Left::Everything => self.question(place, Part::Whole)?.outcomes(),
        }
    }

    /// A declared action, and everything known.
    fn compiled(&self, inputs: &Inputs<'_>) -> Result<Found, String> {
        let mut run = Run::new(&self.inner.program, inputs, &self.route.restricting);
        let mut shared = Outcomes::default();
        let mut left = Left::Nothing;
        let mut places = Places::new();
        self.lists(inputs, |bucket| &bucket.shared, |list| list.met(&mut run, &mut places));
        for place in places.drain(..) {
            left = left.max(self.add(place, &mut run, &mut shared));
        }
        let mut named: SmallVec<[&Gates; 4]> = SmallVec::new();
        self.lists(
            inputs,
            |bucket| &bucket.own,
            |list| {
                list.met(&mut run, &mut places);
                named.extend(list.gates_by_principal());
            },
        );
        let mut met: SmallVec<[Met; 16]> =
            places.iter().map(|place| Met { place: *place, answer: None }).collect();
        let mut all = Found::new();
        for (number, judged) in inputs.judged().enumerate() {
            run.turn_to(judged);
            let mut found = shared.clone();
            let mut left = left;
            for met in &mut met {
                left = left.max(self.add_met(met, &mut run, &mut found));
            }
            places.clear();
            named.iter().for_each(|gates| gates.of_principal(judged, &mut places));
            for place in &places {
                left = left.max(self.add(*place, &mut run, &mut found));
            }
            for bucket in self.buckets() {
                left = left.max(self.outside(bucket, &run));
            }
            all.push(self.completed(number, found, left)?);
        }
        Ok(all)
    }

    /// Hands on the compiled rules of one kind that could be about the resource.
    fn lists<'s>(
        &'s self,
        inputs: &Inputs<'_>,
        kind: fn(&'s Bucket) -> &'s Keyed,
        mut add: impl FnMut(&'s List),
    ) {
        let (thing, server) = (&self.request.resource, inputs.server());
        for bucket in self.buckets() {
            kind(bucket).about(thing.kind.as_str(), &thing.id, server, &mut add);
        }
    }

    /// Adds the outcome of a rule that is asked for every principal. Conditions that are the same for
    /// all of them are asked once.
    fn add_met<'v>(&'v self, met: &mut Met, run: &mut Run<'v>, outcomes: &mut Outcomes) -> Left {
        let Some((rule, holds)) = self.in_scope(met.place, run) else { return Left::Everything };
        if !holds {
            return Left::Nothing;
        }
        let outcome = match met.answer {
            Some(true) => Outcome::Satisfied,
            Some(false) => Outcome::NotSatisfied,
            None => match rule.outcome(run) {
                Some(outcome) => outcome,
                None => return Left::Everything,
            },
        };
        if rule.has_shared_conditions() {
            met.answer = match outcome {
                Outcome::Satisfied => Some(true),
                Outcome::NotSatisfied => Some(false),
                Outcome::Error(_) | Outcome::Unknown(_) | Outcome::Rows(_) => None,
            };
        }
        settled(outcomes, met.place, outcome)
    }

    /// A compiled rule of a bucket of the action, and whether its scope holds.
    fn in_scope<'v>(&'v self, place: usize, run: &Run<'v>) -> Option<(&'v Compiled, bool)> {
        let rule = self.inner.program.rule(place)?;
        let scope = rule.scope()?;
        Some((rule, (!scope.exact || run.covers(scope)) && run.reaches(scope)))
    }

    /// Adds the outcome of one compiled rule, which is in a bucket of the action.
    fn add<'v>(&'v self, place: usize, run: &mut Run<'v>, outcomes: &mut Outcomes) -> Left {
        self.add_met(&mut Met { place, answer: None }, run, outcomes)
    }

    /// Whether a rule that is not compiled could apply.
    fn outside(&self, bucket: &Bucket, run: &Run<'_>) -> Left {
        let mut scopes = bucket.outside.iter().map(|place| self.inner.program.rule(*place)?.scope());
        let could = scopes.any(|scope| scope.is_none_or(|scope| run.reaches(scope)));
        if could { Left::Outside } else { Left::Nothing }
    }

    /// An action that nobody declared, or values that are not known.
    fn in_doubt(&self, inputs: &Inputs<'_>) -> Result<Found, String> {
        let program = &self.inner.program;
        let mut grouped = Run::new(program, inputs, &self.route.restricting);
        let mut ungrouped = Run::new(program, inputs, &self.route.permitting);
        let mut all = Found::new();
        for (number, judged) in inputs.judged().enumerate() {
            grouped.turn_to(judged);
            ungrouped.turn_to(judged);
            let mut found = Outcomes::default();
            let mut left = Left::Nothing;
            for bucket in self.inner.index.permissions(self.route) {
                for place in compiled_places(bucket) {
                    let doubt = self.doubt(place, inputs, &grouped);
                    left = left.max(match doubt {
                        Some(outcome) => settled(&mut found, place, outcome),
                        None if self.asks_groups(place) > 0 => {
                            settled(&mut found, place, Outcome::Unknown(UNKNOWN_GROUPS.to_owned()))
                        }
                        None => self.add_checked(place, &mut ungrouped, &mut found),
                    });
                }
                left = left.max(if bucket.outside.is_empty() { Left::Nothing } else { Left::Outside });
            }
            for bucket in self.inner.index.restrictions(self.route) {
                for place in compiled_places(bucket) {
                    let doubt = self.doubt(place, inputs, &grouped);
                    left = left.max(match (doubt, self.asks_groups(place)) {
                        (Some(outcome), _) => settled(&mut found, place, outcome),
                        (None, 0) => self.add_checked(place, &mut grouped, &mut found),
                        (None, asks) => {
                            let with = self.checked(place, &mut grouped);
                            let without = self.checked(place, &mut ungrouped);
                            match with.zip(without) {
                                Some((with, without)) => {
                                    settled(&mut found, place, Outcome::of_groups(with, without, asks))
                                }
                                None => Left::Everything,
                            }
                        }
                    });
                }
                left = left.max(if bucket.outside.is_empty() { Left::Nothing } else { Left::Outside });
            }
            all.push(self.completed(number, found, left)?);
        }
        Ok(all)
    }

    /// How many groups the conditions of a rule ask for, if nobody knows the groups.
    fn asks_groups(&self, place: usize) -> usize {
        let declared = self.route.action.is_declared();
        let rule = self.inner.rules.get(place).filter(|_| !declared);
        rule.map_or(0, |rule| rule.mentions.groups.len())
    }

    /// What comes of a rule that mentions a value that is not known; `None` if it mentions none.
    fn doubt(&self, place: usize, inputs: &Inputs<'_>, grouped: &Run<'_>) -> Option<Outcome> {
        if inputs.unknown.is_empty() {
            return None;
        }
        let path = inputs.unknown.mentioned(&self.inner.rules.get(place)?.mentions)?;
        let scope = self.inner.program.rule(place).and_then(Compiled::scope)?;
        let holds = grouped.covers(scope) && grouped.reaches(scope);
        Some(if holds { Outcome::Unknown(path) } else { Outcome::NotSatisfied })
    }

    /// The outcome of a rule of which it is not known whether the action is in its scope.
    fn checked<'v>(&'v self, place: usize, run: &mut Run<'v>) -> Option<Outcome> {
        let rule = self.inner.program.rule(place)?;
        let scope = rule.scope()?;
        if !run.covers(scope) || !run.reaches(scope) {
            return Some(Outcome::NotSatisfied);
        }
        rule.outcome(run)
    }

    fn add_checked<'v>(&'v self, place: usize, run: &mut Run<'v>, outcomes: &mut Outcomes) -> Left {
        match self.checked(place, run) {
            Some(outcome) => settled(outcomes, place, outcome),
            None => Left::Everything,
        }
    }
}

/// A rule that the request may meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Met {
    place: usize,
    /// Whether its conditions hold, once that is known for every principal.
    answer: Option<bool>,
}

/// What of a principal's rules stock Cedar still has to evaluate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    Nothing,
    Outside,
    Everything,
}

fn settled(outcomes: &mut Outcomes, place: usize, outcome: Outcome) -> Left {
    outcomes.add(place, outcome);
    Left::Nothing
}

fn compiled_places(bucket: &Bucket) -> impl Iterator<Item = usize> {
    let outside: BTreeSet<usize> = bucket.outside.iter().copied().collect();
    bucket.rules.iter().copied().filter(move |place| !outside.contains(place))
}
