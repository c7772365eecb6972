//! The engine of the `cedar-policy` crate: for rules and requests that are not compiled, and as the
//! oracle that compiled rules are compared with.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{AuthorizationError, Authorizer, Entities, PolicySet, Request};

use crate::engine::{Outcome, Outcomes, UNKNOWN_GROUPS};
use crate::frame::{Frame, Judged};
use crate::index::{Bucket, Part, Route, place};
use crate::policies::Inner;

/// One question to stock Cedar.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'q> {
    pub(crate) inner: &'q Inner,
    pub(crate) route: &'q Route,
    pub(crate) frame: &'q Frame,
    pub(crate) judged: &'q Judged,
    pub(crate) part: Part,
}

type Found = BTreeMap<usize, Outcome>;

impl Question<'_> {
    /// What comes of the rules; one that is not named is not satisfied.
    pub(crate) fn outcomes(self) -> Result<Outcomes, String> {
        let request = self.request()?;
        let frame = self.frame;
        let mut outcomes = Found::new();
        let permit_view = frame.ungrouped.as_ref().unwrap_or(&frame.grouped);
        for bucket in self.inner.index.permissions(self.route) {
            self.run(bucket, &request, permit_view, &mut outcomes);
        }
        for bucket in self.inner.index.restrictions(self.route) {
            self.run(bucket, &request, &frame.grouped, &mut outcomes);
        }
        if let Some(ungrouped) = &frame.ungrouped {
            self.doubt_groups(&request, ungrouped, &mut outcomes);
        }
        if !frame.unknown.is_empty() {
            self.doubt_unknown(&request, &mut outcomes);
        }
        Ok(outcomes.into_iter().collect())
    }

    /// What comes of policies that are no rules of the source, named by their places in a list, as it
    /// would of permissions.
    pub(crate) fn apart(self, policies: &PolicySet) -> Result<BTreeMap<usize, Outcome>, String> {
        let mut outcomes = Found::new();
        let view = self.frame.ungrouped.as_ref().unwrap_or(&self.frame.grouped);
        ask(policies, &self.request()?, view, &mut outcomes);
        Ok(outcomes)
    }

    /// The rules whose scope holds, whatever their conditions.
    pub(crate) fn scopes(self) -> Result<BTreeSet<usize>, String> {
        let request = self.request()?;
        let mut found = Found::new();
        for bucket in self.buckets() {
            ask(&bucket.scopes, &request, &self.frame.grouped, &mut found);
        }
        Ok(found.into_keys().collect())
    }

    fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        let index = &self.inner.index;
        index.permissions(self.route).chain(index.restrictions(self.route))
    }

    fn run(&self, bucket: &Bucket, request: &Request, entities: &Entities, outcomes: &mut Found) {
        let sets = bucket.stock(self.part);
        ask(&sets.permits, request, entities, outcomes);
        ask(&sets.forbids, request, entities, outcomes);
    }

    fn asks_groups(&self, place: usize) -> usize {
        self.inner.rules.get(place).map_or(0, |rule| rule.mentions.groups.len())
    }

    /// Nobody knows the groups of an action that has no manifest. A permission whose conditions ask
    /// for them is not satisfied; a restriction is satisfied if it holds with every group or with
    /// none, and in doubt if it asks for more than one group and holds with neither.
    fn doubt_groups(&self, request: &Request, ungrouped: &Entities, outcomes: &mut Found) {
        for bucket in self.inner.index.permissions(self.route) {
            for place in bucket.places(self.part).iter().filter(|place| self.asks_groups(**place) > 0) {
                outcomes.insert(*place, Outcome::Unknown(UNKNOWN_GROUPS.to_owned()));
            }
        }
        for bucket in self.inner.index.restrictions(self.route) {
            let mut asking =
                bucket.places(self.part).iter().filter(|place| self.asks_groups(**place) > 0).peekable();
            if asking.peek().is_none() {
                continue;
            }
            let mut without = Found::new();
            self.run(bucket, request, ungrouped, &mut without);
            for place in asking {
                let with = outcomes.remove(place).unwrap_or(Outcome::NotSatisfied);
                let without = without.remove(place).unwrap_or(Outcome::NotSatisfied);
                outcomes.insert(*place, Outcome::of_groups(with, without, self.asks_groups(*place)));
            }
        }
    }

    /// A rule whose scope holds and which mentions an unknown value is in doubt, whatever the engine
    /// made of it without that value.
    fn doubt_unknown(&self, request: &Request, outcomes: &mut Found) {
        for bucket in self.buckets() {
            let mut scopes: Option<Found> = None;
            for place in bucket.places(self.part) {
                let rule = self.inner.rules.get(*place);
                let Some(path) = rule.and_then(|rule| self.frame.unknown.mentioned(&rule.mentions)) else {
                    continue;
                };
                if scopes.is_none() {
                    let mut found = Found::new();
                    ask(&bucket.scopes, request, &self.frame.grouped, &mut found);
                    scopes = Some(found);
                }
                match scopes.as_ref().and_then(|scopes| scopes.get(place)) {
                    None => outcomes.remove(place),
                    Some(_) => outcomes.insert(*place, Outcome::Unknown(path)),
                };
            }
        }
    }

    fn request(&self) -> Result<Request, String> {
        let frame = self.frame;
        Request::new(
            self.judged.uid.clone(),
            frame.action.clone(),
            frame.resource.clone(),
            self.judged.context.clone(),
            None,
        )
        .map_err(|error| error.to_string())
    }
}

/// Evaluates rules of one effect, so that the engine names each that holds.
fn ask(policies: &PolicySet, request: &Request, entities: &Entities, outcomes: &mut Found) {
    if policies.is_empty() {
        return;
    }
    let response = Authorizer::new().is_authorized(request, policies, entities);
    let satisfied = response.diagnostics().reason().filter_map(place);
    outcomes.extend(satisfied.map(|place| (place, Outcome::Satisfied)));
    for error in response.diagnostics().errors() {
        let AuthorizationError::PolicyEvaluationError(error) = error;
        if let Some(place) = place(error.policy_id()) {
            outcomes.insert(place, Outcome::Error(error.inner().to_string()));
        }
    }
}
