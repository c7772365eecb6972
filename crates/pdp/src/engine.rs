//! Evaluation of rules; the stock Cedar engine stands behind one small trait.

use std::collections::BTreeMap;
use std::fmt;

use cedar_policy::{AuthorizationError, Authorizer, Entities, PolicySet, Request};

use crate::frame::{Frame, Judged};
use crate::index::{Bucket, Index, Slice, place};
use crate::rule::Rule;

/// What came of one rule for one principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Satisfied,
    NotSatisfied,
    /// It could not be evaluated; what the engine said.
    Error(String),
    /// It mentions a value that is not known.
    Unknown(String),
}

/// What came of the rules that are about one action, by their place in the list.
pub(crate) type Outcomes = BTreeMap<usize, Outcome>;

/// One question to an evaluator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'q> {
    pub(crate) rules: &'q [Rule],
    pub(crate) index: &'q Index,
    pub(crate) frame: &'q Frame,
    pub(crate) judged: &'q Judged,
    /// Names under which permissions about the action are found.
    pub(crate) permitting: &'q [Box<str>],
    /// Names under which prohibitions and obligations about the action are found.
    pub(crate) restricting: &'q [Box<str>],
}

/// Says what comes of every rule about an action for one principal.
///
/// A compiled program may take the place of the stock engine: it must give the same outcomes.
pub(crate) trait Evaluator: fmt::Debug + Send + Sync {
    /// The outcomes; a rule that is not among them is not satisfied.
    fn outcomes(&self, question: Question<'_>) -> Result<Outcomes, String>;

    /// Whether the scope of each rule holds, whatever its conditions.
    fn scopes(&self, question: Question<'_>) -> Result<Outcomes, String>;
}

/// The engine of the `cedar-policy` crate.
#[derive(Debug, Default)]
pub(crate) struct StockCedar {
    authorizer: Authorizer,
}

impl Evaluator for StockCedar {
    fn outcomes(&self, question: Question<'_>) -> Result<Outcomes, String> {
        let request = request(question)?;
        let frame = question.frame;
        let mut outcomes = Outcomes::new();
        let permit_view = frame.ungrouped.as_ref().unwrap_or(&frame.grouped);
        for slice in question.index.slices(question.permitting) {
            self.run(&slice.permissions.full, &request, permit_view, &mut outcomes);
        }
        for slice in question.index.slices(question.restricting) {
            self.run(&slice.restrictions.full, &request, &frame.grouped, &mut outcomes);
        }
        if let Some(ungrouped) = &frame.ungrouped {
            self.doubt_groups(question, &request, ungrouped, &mut outcomes);
        }
        if !frame.unknown.is_empty() {
            self.doubt_unknown(question, &request, &mut outcomes);
        }
        Ok(outcomes)
    }

    fn scopes(&self, question: Question<'_>) -> Result<Outcomes, String> {
        let request = request(question)?;
        let mut outcomes = Outcomes::new();
        for bucket in buckets(question) {
            self.run(&bucket.scopes, &request, &question.frame.grouped, &mut outcomes);
        }
        Ok(outcomes)
    }
}

impl StockCedar {
    /// Evaluates rules that are all written as permissions, so that the engine names each that holds.
    fn run(&self, policies: &PolicySet, request: &Request, entities: &Entities, outcomes: &mut Outcomes) {
        if policies.is_empty() {
            return;
        }
        let response = self.authorizer.is_authorized(request, policies, entities);
        let satisfied = response.diagnostics().reason().filter_map(place);
        outcomes.extend(satisfied.map(|place| (place, Outcome::Satisfied)));
        for error in response.diagnostics().errors() {
            let AuthorizationError::PolicyEvaluationError(error) = error;
            if let Some(place) = place(error.policy_id()) {
                outcomes.insert(place, Outcome::Error(error.inner().to_string()));
            }
        }
    }

    /// Nobody knows the groups of an action that has no manifest. A permission whose conditions ask
    /// for them is not satisfied; a restriction is satisfied if it holds with every group or with
    /// none, and in doubt if it asks for more than one group and holds with neither.
    fn doubt_groups(
        &self,
        question: Question<'_>,
        request: &Request,
        ungrouped: &Entities,
        outcomes: &mut Outcomes,
    ) {
        let asks = |place: &usize| question.rules.get(*place).map_or(0, |rule| rule.mentions.groups.len());
        for slice in question.index.slices(question.permitting) {
            for place in slice.permissions.rules.iter().filter(|place| asks(place) > 0) {
                outcomes.insert(
                    *place,
                    Outcome::Unknown("the groups of an action without a manifest".to_owned()),
                );
            }
        }
        for slice in
            question.index.slices(question.restricting).filter(|slice| slice.restrictions.asks_groups)
        {
            let mut without = Outcomes::new();
            self.run(&slice.restrictions.full, request, ungrouped, &mut without);
            for place in slice.restrictions.rules.iter().filter(|place| asks(place) > 0) {
                let with = outcomes.remove(place).unwrap_or(Outcome::NotSatisfied);
                let without = without.remove(place).unwrap_or(Outcome::NotSatisfied);
                let outcome = match (with, without) {
                    (Outcome::Satisfied, _) | (_, Outcome::Satisfied) => Outcome::Satisfied,
                    (Outcome::NotSatisfied, Outcome::NotSatisfied) if asks(place) > 1 => {
                        Outcome::Unknown("the groups of an action without a manifest".to_owned())
                    }
                    (Outcome::NotSatisfied, other) | (other, _) => other,
                };
                outcomes.insert(*place, outcome);
            }
        }
    }

    /// A rule whose scope holds and which mentions an unknown value is in doubt, whatever the engine
    /// made of it without that value.
    fn doubt_unknown(&self, question: Question<'_>, request: &Request, outcomes: &mut Outcomes) {
        for bucket in buckets(question) {
            let mut scopes: Option<Outcomes> = None;
            for place in &bucket.rules {
                let rule = question.rules.get(*place);
                let Some(path) = rule.and_then(|rule| question.frame.unknown.mentioned(&rule.mentions))
                else {
                    continue;
                };
                let scopes = scopes.get_or_insert_with(|| {
                    let mut scopes = Outcomes::new();
                    self.run(&bucket.scopes, request, &question.frame.grouped, &mut scopes);
                    scopes
                });
                match scopes.get(place) {
                    None => outcomes.remove(place),
                    Some(_) => outcomes.insert(*place, Outcome::Unknown(path)),
                };
            }
        }
    }
}

fn buckets<'q>(question: Question<'q>) -> impl Iterator<Item = &'q Bucket> {
    let permissions = question.index.slices(question.permitting).map(|slice: &Slice| &slice.permissions);
    let restrictions = question.index.slices(question.restricting).map(|slice: &Slice| &slice.restrictions);
    permissions.chain(restrictions)
}

fn request(question: Question<'_>) -> Result<Request, String> {
    let frame = question.frame;
    Request::new(
        question.judged.uid.clone(),
        frame.action.clone(),
        frame.resource.clone(),
        question.judged.context.clone(),
        None,
    )
    .map_err(|error| error.to_string())
}
