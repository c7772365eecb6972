//! The few shapes of Datalog that a block may have, apart from what they mean.

use std::collections::BTreeSet;

use biscuit_auth::builder::{Binary, Check, CheckKind, Expression, Op, Predicate, Rule, Term};
use biscuit_auth::format::schema;
use schema::op::Content as OpContent;
use schema::op_binary::Kind as BinaryKind;
use schema::term::Content as TermContent;

/// `check [all|if] NAME(CONSTANTS…, $0), CONDITION($0)`, or without variable and condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) all: bool,
    pub(crate) name: String,
    pub(crate) constants: Vec<Term>,
    pub(crate) condition: Option<(Comparison, Term)>,
}

/// How the variable is compared with the constant of the condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The constant, a set, contains the variable.
    In,
    /// The variable begins with the constant.
    Prefix,
    /// Below the constant.
    Less,
    /// At most the constant.
    AtMost,
    /// At least the constant.
    AtLeast,
}

/// The variable's name in what is written.
const VARIABLE: &str = "x";

type Read<T> = Result<T, &'static str>;

impl Shape {
    pub(crate) fn write(self) -> Check {
        let mut terms = self.constants;
        let variable = || Term::Variable(VARIABLE.to_owned());
        let expressions = self.condition.map(|(comparison, constant)| {
            terms.push(variable());
            let (first, second, binary) = match comparison {
                Comparison::In => (constant, variable(), Binary::Contains),
                Comparison::Prefix => (variable(), constant, Binary::Prefix),
                Comparison::Less => (variable(), constant, Binary::LessThan),
                Comparison::AtMost => (variable(), constant, Binary::LessOrEqual),
                Comparison::AtLeast => (variable(), constant, Binary::GreaterOrEqual),
            };
            Expression { ops: vec![Op::Value(first), Op::Value(second), Op::Binary(binary)] }
        });
        let head = Predicate::new("query".to_owned(), Vec::new());
        let body = vec![Predicate::new(self.name, terms)];
        let query = Rule::new(head, body, expressions.into_iter().collect(), Vec::new());
        Check { queries: vec![query], kind: if self.all { CheckKind::All } else { CheckKind::One } }
    }

    pub(crate) fn read(check: &schema::Check, symbols: &[String]) -> Read<Self> {
        let all = match check.kind {
            None => false,
            Some(kind) if kind == schema::check::Kind::One as i32 => false,
            Some(kind) if kind == schema::check::Kind::All as i32 => true,
            Some(_) => return Err("a kind of check"),
        };
        let [query] = check.queries.as_slice() else { return Err("a check of several queries") };
        let [predicate] = query.body.as_slice() else { return Err("a check over several facts") };
        if !query.scope.is_empty() || !query.head.terms.is_empty() {
            return Err("a check with a scope or a result");
        }
        let name = symbol(predicate.name, symbols)?.to_owned();
        let (variable, constants) = match predicate.terms.split_last() {
            Some((schema::Term { content: Some(TermContent::Variable(name)) }, rest)) => (Some(*name), rest),
            _ => (None, predicate.terms.as_slice()),
        };
        let constants = constants.iter().map(|term| constant(term, symbols)).collect::<Read<_>>()?;
        let condition = match (variable, query.expressions.as_slice()) {
            (None, []) => None,
            (Some(variable), [expression]) => Some(condition(expression, variable, symbols)?),
            _ => return Err("a check with several conditions or none"),
        };
        Ok(Self { all, name, constants, condition })
    }
}

fn condition(expression: &schema::Expression, variable: u32, symbols: &[String]) -> Read<(Comparison, Term)> {
    let ops: Vec<&OpContent> = expression.ops.iter().filter_map(|op| op.content.as_ref()).collect();
    let [OpContent::Value(first), OpContent::Value(second), OpContent::Binary(binary)] = ops.as_slice()
    else {
        return Err("a condition that is not a comparison");
    };
    if expression.ops.len() != ops.len() || binary.ffi_name.is_some() {
        return Err("a condition that is not a comparison");
    }
    let is_variable = |term: &schema::Term| term.content == Some(TermContent::Variable(variable));
    let is = |kind: BinaryKind| binary.kind == kind as i32;
    if is(BinaryKind::Contains) && is_variable(second) {
        return Ok((Comparison::In, constant(first, symbols)?));
    }
    if !is_variable(first) {
        return Err("a condition on something else than its variable");
    }
    let comparison = if is(BinaryKind::Prefix) {
        Comparison::Prefix
    } else if is(BinaryKind::LessThan) {
        Comparison::Less
    } else if is(BinaryKind::LessOrEqual) {
        Comparison::AtMost
    } else if is(BinaryKind::GreaterOrEqual) {
        Comparison::AtLeast
    } else {
        return Err("a comparison");
    };
    Ok((comparison, constant(second, symbols)?))
}

/// A constant: a text, a number, a time, bytes, or a set of texts.
pub(crate) fn constant(term: &schema::Term, symbols: &[String]) -> Read<Term> {
    Ok(match term.content.as_ref().ok_or("an empty term")? {
        TermContent::Integer(number) => Term::Integer(*number),
        TermContent::String(index) => Term::Str(symbol(*index, symbols)?.to_owned()),
        TermContent::Date(at) => Term::Date(*at),
        TermContent::Bytes(bytes) => Term::Bytes(bytes.clone()),
        TermContent::Set(set) => {
            let item = |term: &schema::Term| match &term.content {
                Some(TermContent::String(index)) => Ok(Term::Str(symbol(*index, symbols)?.to_owned())),
                _ => Err("a set of something else than texts"),
            };
            Term::Set(set.set.iter().map(item).collect::<Read<BTreeSet<_>>>()?)
        }
        _ => return Err("a term"),
    })
}

/// Symbols that every token has without carrying them (Biscuit, "Symbol table").
const DEFAULT_SYMBOLS: [&str; 28] = [
    "read",
    "write",
    "resource",
    "operation",
    "right",
    "time",
    "role",
    "owner",
    "tenant",
    "namespace",
    "user",
    "team",
    "service",
    "admin",
    "email",
    "group",
    "member",
    "ip_address",
    "client",
    "client_ip",
    "domain",
    "path",
    "version",
    "cluster",
    "node",
    "hostname",
    "nonce",
    "query",
];
/// Where a token's own symbols begin.
const OFFSET: u64 = 1_024;

pub(crate) fn symbol(index: u64, symbols: &[String]) -> Read<&str> {
    let found = match index.checked_sub(OFFSET) {
        Some(own) => usize::try_from(own).ok().and_then(|own| symbols.get(own)).map(String::as_str),
        None => usize::try_from(index).ok().and_then(|index| DEFAULT_SYMBOLS.get(index)).copied(),
    };
    found.ok_or("a symbol that is not there")
}
