//! Rows: types of resource of which many are read at once, and the condition that picks them
//! (`data/rows.json`, `spec/obligations.md`).

use std::collections::{BTreeMap, BTreeSet};

use cordon_core::{Obligation, ObligationKind, Reason, ReasonKind, Request, RowPredicate, RuleRef};

use crate::Diagnostic;
use crate::engine::{Asked, Found, Outcome};
use crate::policies::Inner;
use crate::program::{Columns, Compiled, Residual, Run};
use crate::rule::Body;
use crate::schema::Vocabulary;
use crate::tree::{self, Reader, member};

/// The file's path in a source.
pub(crate) const FILE: &str = "data/rows.json";

/// Types of rows as the file lists them, with the actions that read many at once.
pub(crate) type Declared = BTreeMap<Box<str>, BTreeSet<Box<str>>>;

/// The types of rows of a source.
#[derive(Debug, Default)]
pub(crate) struct Rows(BTreeMap<Box<str>, Table>);

/// One type of rows.
#[derive(Debug)]
pub(crate) struct Table {
    actions: BTreeSet<Box<str>>,
    columns: Columns,
    /// Places of the rules whose conditions read a column.
    reading: BTreeSet<usize>,
}

/// Reads `data/rows.json`: `{"<type>": {"actions": ["<action>"]}}`.
pub(crate) fn read(file: &str, text: &str) -> Result<Declared, Vec<Diagnostic>> {
    let root = tree::from_json_text(file, text).map_err(|finding| vec![*finding])?;
    let mut reader = Reader::new(file, text);
    let mut declared = Declared::new();
    for (name, tree) in reader.table("the file", &root).unwrap_or_default() {
        let members = reader.table("a type of rows", tree).unwrap_or_default();
        reader.known("a type of rows", members, &["actions"]);
        let actions =
            member(members, "actions").map(|tree| reader.texts("actions", tree)).unwrap_or_default();
        if actions.is_empty() {
            reader.refuse(&tree.span, "a type of rows needs `actions`, those that read many rows at once");
        }
        declared.insert(name.text.clone(), actions.into_iter().collect());
    }
    if reader.findings.is_empty() { Ok(declared) } else { Err(reader.findings) }
}

/// What is wrong with the declared types, given the schema.
pub(crate) fn check(declared: &Declared, vocabulary: &Vocabulary) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let mut refuse = |message: String, help: &str| {
        findings.push(Diagnostic::error(FILE, message).help(help));
    };
    for (kind, actions) in declared {
        if !vocabulary.extended || vocabulary.columns(kind).is_none_or(|columns| columns.is_empty()) {
            refuse(
                format!("the type `{kind}` has no columns"),
                "declare it and its attributes in schema/*.cedarschema",
            );
        }
        for action in actions.iter().filter(|action| !vocabulary.actions.contains_key(&***action)) {
            refuse(
                format!("the action `{action}` is not one of the bundle's own"),
                "declare it in schema/*.cedarschema, in a class and an effect",
            );
        }
    }
    findings
}

impl Rows {
    /// The declared types with the rules that are about their rows.
    pub(crate) fn new(inner: &Inner, declared: &Declared, vocabulary: &Vocabulary) -> Self {
        let table = |kind: &str, actions: &BTreeSet<Box<str>>| {
            let columns = vocabulary.columns(kind).unwrap_or_default();
            let reads = |place: &usize| {
                let mentions = inner.rules.get(*place).map(|rule| &rule.mentions);
                inner.program.reads_columns(*place, mentions, &columns)
            };
            let reading = (0..inner.rules.len()).filter(reads).collect();
            (kind.into(), Table { actions: actions.clone(), columns, reading })
        };
        Self(declared.iter().map(|(kind, actions)| table(kind, actions)).collect())
    }

    /// The rows that a request is about, if it is about many at once: it says nothing of their columns.
    pub(crate) fn of(&self, request: &Request) -> Option<&Table> {
        let table = self.0.get(request.resource.kind.as_str())?;
        let given = request.resource.attributes.keys().any(|name| table.columns.contains_key(name));
        let many = request.action.is_declared() && table.actions.contains(request.action.name().as_str());
        (many && !given).then_some(table)
    }

    /// The rules about rows that cannot be written as conditions, and why.
    pub(crate) fn findings(&self, inner: &Inner) -> Vec<(RuleRef, String)> {
        let mut findings: BTreeMap<usize, String> = BTreeMap::new();
        for (kind, table) in &self.0 {
            let about = table.actions.iter().flat_map(|action| inner.places_about(action));
            for place in about.filter(|place| table.reading.contains(place)) {
                let Some(rule) = inner.rules.get(place) else { continue };
                if !inner.program.could_be_about(place, kind) {
                    continue;
                }
                let problem = match (&rule.body, inner.program.writable(place, &table.columns)) {
                    (Body::Obligation(_), _) => "an obligation that depends on the row".to_owned(),
                    (_, Err(what)) => what.0.into(),
                    (_, Ok(())) => continue,
                };
                let message = format!("no filter of rows of `{kind}` can express {problem}");
                findings.entry(place).or_insert(message);
            }
        }
        let at = |(place, message): (usize, String)| Some((inner.rules.get(place)?.at.clone(), message));
        let mut all: Vec<_> = findings.into_iter().filter_map(at).collect();
        for (kind, table) in &self.0 {
            for (at, name) in inner.guards.reading_resource(table.columns.keys()) {
                all.push((
                    at,
                    format!("no filter of rows of `{kind}` can express a guard that reads `{name}`"),
                ));
            }
        }
        all
    }
}

impl Table {
    /// Puts in the place of what came of rules about columns, without a row, for which rows they hold.
    pub(crate) fn ask(&self, asked: &Asked<'_, '_>, found: &mut Found) {
        let program = &asked.inner.program;
        let places: BTreeSet<usize> =
            asked.about().into_iter().filter(|place| self.reading.contains(place)).collect();
        let Some(inputs) = asked.inputs_of_program() else {
            let problem = "it depends on the row, and this request is read by stock Cedar alone";
            for outcomes in found {
                places.iter().for_each(|place| outcomes.set(*place, Outcome::Error(problem.to_owned())));
            }
            return;
        };
        let mut run = Run::new(program, &inputs, &asked.route.restricting);
        for (judged, outcomes) in inputs.judged().zip(found) {
            run.turn_to(judged);
            for place in &places {
                let Some((rule, body)) = program.rule(*place).zip(asked.inner.rules.get(*place)) else {
                    continue;
                };
                // What is not known stays in doubt, whatever the row.
                if matches!(outcomes.of(*place), Some(Outcome::Unknown(_))) {
                    continue;
                }
                let outcome = match rule.scope() {
                    Some(scope) if run.covers(scope) && run.reaches(scope) => {
                        self.outcome(rule, &body.body, &mut run)
                    }
                    Some(_) => Outcome::NotSatisfied,
                    None => Outcome::Error("only stock Cedar can say whom it is about".to_owned()),
                };
                outcomes.set(*place, outcome);
            }
        }
    }

    fn outcome<'v>(&self, rule: &'v Compiled, body: &Body, run: &mut Run<'v>) -> Outcome {
        let Residual { holds, errs } = match rule.residual(run, &self.columns) {
            Ok(residual) => residual,
            Err(what) => return Outcome::Error(format!("no filter of rows can express {}", what.0)),
        };
        if errs == RowPredicate::EVERY {
            return Outcome::Error("it has no answer for any row".to_owned());
        }
        let rows = match body {
            // A permission that cannot be judged for a row does not permit it; anything else denies it.
            Body::Permission => holds,
            Body::Prohibition | Body::Obligation(_) => RowPredicate::any([holds, errs]),
        };
        if rows == RowPredicate::EVERY {
            Outcome::Satisfied
        } else if rows == RowPredicate::NONE {
            Outcome::NotSatisfied
        } else {
            Outcome::Rows(Box::new(rows))
        }
    }
}

/// Which rows every principal may read, as it is put together.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    rows: Vec<RowPredicate>,
    /// What the permissions of one principal are for.
    permitted: Vec<RowPredicate>,
    rules: Vec<RuleRef>,
}

impl Filter {
    /// A permission of the principal whose turn it is, for some rows.
    pub(crate) fn permit(&mut self, rows: &RowPredicate, rule: &RuleRef) {
        self.permitted.push(rows.clone());
        self.rules.push(rule.clone());
    }

    /// A prohibition of some rows.
    pub(crate) fn forbid(&mut self, rows: &RowPredicate, rule: &RuleRef) {
        self.rows.push(rows.clone().negated());
        self.rules.push(rule.clone());
    }

    /// The rows that one principal is permitted, if any; the next principal has its turn.
    pub(crate) fn turn(&mut self) -> Option<RowPredicate> {
        let permitted = std::mem::take(&mut self.permitted);
        (!permitted.is_empty()).then(|| RowPredicate::any(permitted))
    }

    /// Leaves these rows only.
    pub(crate) fn narrow(&mut self, rows: RowPredicate) {
        self.rows.push(rows);
    }

    /// The obligation to read only the rows that are left; the reason for refusing if there are none,
    /// and nothing where every row is.
    pub(crate) fn obligation(mut self) -> Option<Result<Obligation, Reason>> {
        let rows = RowPredicate::all(self.rows);
        if rows == RowPredicate::EVERY {
            return None;
        }
        if rows == RowPredicate::NONE {
            return Some(Err(no_row()));
        }
        self.rules.sort();
        self.rules.dedup();
        let kind = ObligationKind::RowFilter { conditions: BTreeSet::new(), rows: BTreeSet::from([rows]) };
        Some(Ok(Obligation { kind, rules: self.rules }))
    }
}

/// The reason for refusing to read rows of which none may be read.
fn no_row() -> Reason {
    Reason {
        kind: ReasonKind::NotPermitted,
        rule: RuleRef::builtin("cordon:no-row"),
        principal: None,
        message: "there is no row that every principal may read".into(),
        remedy: Some("add a permit in permissions/ that holds for some row and for every principal".into()),
    }
}
