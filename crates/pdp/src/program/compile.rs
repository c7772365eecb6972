//! From a rule's syntax tree to nodes.
//!
//! What is not in the subset is an error that says what it is: that rule alone is left to stock
//! Cedar. Operators that only exist in syntax become what Cedar's own parser makes of them
//! (`a != b` is `!(a == b)`, `a > b` is `!(a <= b)`, `a >= b` is `!(a < b)`).

use std::str::FromStr as _;

use cedar_policy::pst::{
    BinaryOp, Clause, EntityOrSlot, EntityType, EntityUID, Expr, Literal, PatternElem, PrincipalConstraint,
    ResourceConstraint, UnaryOp, Var as PstVar,
};
use cedar_policy::{Context, Entities, EvalResult, Expression, Request};

use super::node::{Binary, Const, Member, Node, NodeId, Nodes, Pattern, Uid, Unary, Var};
use super::scope::{Reach, Scope};
use crate::cedar_text::NAMESPACE;
use crate::rule::{Rule, Tree};

/// Deepest nesting of an expression that is compiled; `&&` and `||` in a row are one level.
const DEPTH_MAX: u16 = 64;

/// Why a rule is left to stock Cedar.
pub(crate) type Outside = Box<str>;

/// The scope of a rule.
pub(super) fn scope(rule: &Rule) -> Result<Scope, Outside> {
    let Tree { principal, resource, .. } = &rule.tree;
    let principal = match principal {
        PrincipalConstraint::Any => Reach::Any,
        PrincipalConstraint::Eq(one) => Reach::Eq(slot(one)?),
        PrincipalConstraint::In(one) => Reach::In(slot(one)?),
        PrincipalConstraint::Is(kind) => Reach::Is(type_name(kind)?),
        PrincipalConstraint::IsIn(kind, one) => Reach::IsIn(type_name(kind)?, slot(one)?),
    };
    let resource = match resource {
        ResourceConstraint::Any => Reach::Any,
        ResourceConstraint::Eq(one) => Reach::Eq(slot(one)?),
        ResourceConstraint::In(one) => Reach::In(slot(one)?),
        ResourceConstraint::Is(kind) => Reach::Is(type_name(kind)?),
        ResourceConstraint::IsIn(kind, one) => Reach::IsIn(type_name(kind)?, slot(one)?),
    };
    Ok(Scope { principal, resource, actions: rule.actions.clone().map(Into::into), exact: rule.exact })
}

/// The conditions of a rule as one node; none if there are none.
pub(super) fn condition(nodes: &mut Nodes, clauses: &[Clause]) -> Result<Option<NodeId>, Outside> {
    let mut compiler = Compiler { nodes };
    let mut parts = Vec::new();
    for clause in clauses {
        match clause {
            Clause::When(expr) => compiler.conjuncts(expr, &mut parts, 0)?,
            Clause::Unless(expr) => {
                let node = Node::Not(compiler.expr(expr, 0)?);
                parts.push(compiler.nodes.add(node));
            }
        }
    }
    Ok(match parts.as_slice() {
        [] => None,
        // A list of one still asks whether that one is a question at all.
        _ => Some(nodes.add(Node::And(parts.into()))),
    })
}

struct Compiler<'n> {
    nodes: &'n mut Nodes,
}

impl Compiler<'_> {
    fn expr(&mut self, expr: &Expr, depth: u16) -> Result<NodeId, Outside> {
        if depth > DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX} levels").into());
        }
        let deeper = depth.saturating_add(1);
        let node = match expr {
            Expr::Literal(literal) => Node::Const(constant(literal)?),
            Expr::Var(PstVar::Principal) => Node::Var(Var::Principal),
            Expr::Var(PstVar::Action) => Node::Var(Var::Action),
            Expr::Var(PstVar::Resource) => Node::Var(Var::Resource),
            Expr::Var(PstVar::Context) => return Err("`context` as a value of its own".into()),
            Expr::UnaryOp { op, expr: of } => self.unary(*op, of, expr, deeper)?,
            Expr::BinaryOp { op: BinaryOp::And, .. } => {
                let mut parts = Vec::new();
                self.conjuncts(expr, &mut parts, depth)?;
                Node::And(parts.into())
            }
            Expr::BinaryOp { op: BinaryOp::Or, .. } => {
                let mut parts = Vec::new();
                self.chain(BinaryOp::Or, expr, &mut parts, depth)?;
                Node::Or(parts.into())
            }
            Expr::BinaryOp { op, left, right } => self.binary(*op, left, right, deeper)?,
            Expr::GetAttr { .. } => return self.attribute(expr, deeper),
            Expr::HasAttr { expr: of, attrs } => {
                let attrs: Vec<Box<str>> = attrs.iter().map(|attr| attr.as_str().into()).collect();
                self.has(of, attrs, deeper)?
            }
            Expr::Like { expr, pattern } => Node::Like(self.expr(expr, deeper)?, like(pattern)),
            Expr::Is { expr, entity_type, in_expr } => {
                let of = self.expr(expr, deeper)?;
                let is = Node::Is(of, type_name(entity_type)?);
                match in_expr {
                    None => is,
                    Some(group) => {
                        let group = self.expr(group, deeper)?;
                        let parts = [self.nodes.add(is), self.nodes.add(Node::Binary(Binary::In, of, group))];
                        Node::And(parts.into())
                    }
                }
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => Node::If(
                self.expr(cond, deeper)?,
                self.expr(then_expr, deeper)?,
                self.expr(else_expr, deeper)?,
            ),
            Expr::Set(items) => {
                let items = items.iter().map(|item| self.constant_of(item, deeper));
                Node::Const(Const::Set(items.collect::<Result<_, _>>()?))
            }
            Expr::Record(_) => return Err("a record that is written in the rule".into()),
            _ => return Err("an expression of another kind".into()),
        };
        Ok(self.nodes.add(node))
    }

    /// A part of a set, which has to be a value that is written in the rule.
    fn constant_of(&mut self, expr: &Expr, depth: u16) -> Result<Const, Outside> {
        let id = self.expr(expr, depth)?;
        match self.nodes.get(id).map(|entry| &entry.node) {
            Some(Node::Const(value)) => Ok(value.clone()),
            _ => Err("a set with a part that is not written in the rule".into()),
        }
    }

    fn conjuncts(&mut self, expr: &Expr, parts: &mut Vec<NodeId>, depth: u16) -> Result<(), Outside> {
        self.chain(BinaryOp::And, expr, parts, depth)
    }

    /// The operands of `op` in a row, from left to right; however long, it is one level.
    fn chain(
        &mut self,
        op: BinaryOp,
        expr: &Expr,
        parts: &mut Vec<NodeId>,
        depth: u16,
    ) -> Result<(), Outside> {
        let mut open = vec![expr];
        while let Some(next) = open.pop() {
            match next {
                Expr::BinaryOp { op: other, left, right } if *other == op => {
                    open.push(right);
                    open.push(left);
                }
                operand => {
                    let id = self.expr(operand, depth.saturating_add(1))?;
                    parts.push(id);
                }
            }
        }
        Ok(())
    }

    fn unary(&mut self, op: UnaryOp, of: &Expr, whole: &Expr, depth: u16) -> Result<Node, Outside> {
        let op = match op {
            UnaryOp::Not => return Ok(Node::Not(self.expr(of, depth)?)),
            UnaryOp::Decimal | UnaryOp::Datetime | UnaryOp::Duration => return extension(op, of, whole),
            UnaryOp::Neg => Unary::Neg,
            UnaryOp::IsEmpty => Unary::IsEmpty,
            UnaryOp::ToDate => Unary::ToDate,
            UnaryOp::ToTime => Unary::ToTime,
            UnaryOp::ToMilliseconds => Unary::ToMilliseconds,
            UnaryOp::ToSeconds => Unary::ToSeconds,
            UnaryOp::ToMinutes => Unary::ToMinutes,
            UnaryOp::ToHours => Unary::ToHours,
            UnaryOp::ToDays => Unary::ToDays,
            other => return Err(format!("the function `{other}`").into()),
        };
        Ok(Node::Unary(op, self.expr(of, depth)?))
    }

    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr, depth: u16) -> Result<Node, Outside> {
        let (op, negated) = match op {
            BinaryOp::Eq => (Binary::Eq, false),
            BinaryOp::NotEq => (Binary::Eq, true),
            BinaryOp::Less => (Binary::Less, false),
            BinaryOp::LessEq => (Binary::LessEq, false),
            BinaryOp::Greater => (Binary::LessEq, true),
            BinaryOp::GreaterEq => (Binary::Less, true),
            BinaryOp::Add => (Binary::Add, false),
            BinaryOp::Sub => (Binary::Sub, false),
            BinaryOp::Mul => (Binary::Mul, false),
            BinaryOp::In => (Binary::In, false),
            BinaryOp::Contains => (Binary::Contains, false),
            BinaryOp::ContainsAll => (Binary::ContainsAll, false),
            BinaryOp::ContainsAny => (Binary::ContainsAny, false),
            BinaryOp::Offset => (Binary::Offset, false),
            BinaryOp::DurationSince => (Binary::DurationSince, false),
            BinaryOp::DecimalLessThan => (Binary::DecimalLess, false),
            BinaryOp::DecimalLessEq => (Binary::DecimalLessEq, false),
            BinaryOp::DecimalGreater => (Binary::DecimalGreater, false),
            BinaryOp::DecimalGreaterEq => (Binary::DecimalGreaterEq, false),
            other => return Err(format!("the operation `{other}`").into()),
        };
        let node = Node::Binary(op, self.expr(left, depth)?, self.expr(right, depth)?);
        Ok(match negated {
            true => Node::Not(self.nodes.add(node)),
            false => node,
        })
    }

    fn attribute(&mut self, expr: &Expr, depth: u16) -> Result<NodeId, Outside> {
        let Expr::GetAttr { expr: of, attr } = expr else { return self.expr(expr, depth) };
        if let Some(path) = below_context(expr) {
            return match path.as_slice() {
                [name] if !is_own_record(name) => {
                    let member = member(name).ok_or_else(|| unheard_of(name))?;
                    Ok(self.nodes.add(Node::Member(member)))
                }
                [name] => Err(format!("`context.{name}` as a value of its own").into()),
                [record, name] if is_own_record(record) => {
                    let member = own_member(record, name).ok_or_else(|| unheard_of(name))?;
                    Ok(self.nodes.add(Node::Member(member)))
                }
                _ => {
                    let of = self.attribute(of, depth.saturating_add(1))?;
                    Ok(self.nodes.add(Node::Attr(of, attr.as_str().into())))
                }
            };
        }
        let of = self.expr(of, depth)?;
        Ok(self.nodes.add(Node::Attr(of, attr.as_str().into())))
    }

    fn has(&mut self, of: &Expr, attrs: Vec<Box<str>>, depth: u16) -> Result<Node, Outside> {
        let root = match of {
            Expr::Var(PstVar::Context) => Some(None),
            Expr::GetAttr { expr, attr } if **expr == Expr::Var(PstVar::Context) && is_own_record(attr) => {
                Some(Some(attr.as_str()))
            }
            _ => None,
        };
        let Some(root) = root else { return Ok(Node::Has(self.expr(of, depth)?, attrs.into())) };
        // `context.session` and its like are always there.
        let path: Vec<&str> = root.into_iter().chain(attrs.iter().map(|attr| &**attr)).collect();
        let (found, rest) = match path.as_slice() {
            [record] if is_own_record(record) => return Ok(Node::Const(Const::Bool(true))),
            [record, name, rest @ ..] if is_own_record(record) => {
                (own_member(record, name).ok_or_else(|| unheard_of(name))?, rest)
            }
            [name, rest @ ..] => (member(name).ok_or_else(|| unheard_of(name))?, rest),
            [] => return Err("`has` without a name".into()),
        };
        Ok(Node::HasMember(found, rest.iter().map(|name| (*name).into()).collect()))
    }
}

/// What a request may hold that this program does not know of is left to stock Cedar: to take it
/// for absent would be a way around a prohibition.
fn unheard_of(name: &str) -> Outside {
    format!("the member `{name}` of `context`").into()
}

/// The names in `context.a.b`, if that is what it is.
fn below_context(expr: &Expr) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut inner = expr;
    while let Expr::GetAttr { expr, attr } = inner {
        names.push(attr.as_str());
        inner = expr;
    }
    names.reverse();
    (*inner == Expr::Var(PstVar::Context)).then_some(names)
}

/// Whether `context.<name>` is a record that Cordon itself fills.
fn is_own_record(name: &str) -> bool {
    matches!(name, "session" | "env" | "chain" | "risk")
}

fn member(name: &str) -> Option<Member> {
    Some(match name {
        "purpose" => Member::Purpose,
        "project" => Member::Project,
        "workflow" => Member::Workflow,
        "task" => Member::Task,
        "role" => Member::Role,
        "ambiguous" => Member::Ambiguous,
        "args" => Member::Args,
        "model" => Member::Model,
        "asserted" => Member::Asserted,
        "preconditions" => Member::Preconditions,
        _ => return None,
    })
}

fn own_member(record: &str, name: &str) -> Option<Member> {
    Some(match (record, name) {
        ("session", "calls") => Member::Calls,
        ("session", "integrity") => Member::Integrity,
        ("session", "posture") => Member::Posture,
        ("session", "id") => Member::SessionId,
        ("session", "lineage") => Member::Lineage,
        ("session", "markings") => Member::SessionMarkings,
        ("risk", "score") => Member::RiskScore,
        ("risk", "level") => Member::RiskLevel,
        ("risk", signal) => Member::Risk(signal.parse().ok()?),
        ("env", "now") => Member::Now,
        ("env", "region") => Member::Region,
        ("chain", "owner") => Member::Owner,
        ("chain", "agent") => Member::Agent,
        ("chain", "on_behalf_of") => Member::OnBehalfOf,
        ("chain", "via") => Member::Via,
        ("chain", "depth") => Member::Depth,
        _ => return None,
    })
}

fn constant(literal: &Literal) -> Result<Const, Outside> {
    Ok(match literal {
        Literal::Bool(value) => Const::Bool(*value),
        Literal::Long(number) => Const::Long(*number),
        Literal::String(text) => Const::Text(text.as_str().into()),
        Literal::EntityUID(one) => Const::Entity(uid(one)?),
        _ => return Err("a literal of another kind".into()),
    })
}

fn slot(one: &EntityOrSlot) -> Result<Uid, Outside> {
    match one {
        EntityOrSlot::Entity(one) => uid(one),
        EntityOrSlot::Slot(_) => Err("a slot of a template".into()),
    }
}

fn uid(one: &EntityUID) -> Result<Uid, Outside> {
    Ok(Uid { kind: type_name(&one.ty)?, id: one.eid.as_str().into() })
}

/// A type's name without the namespace.
fn type_name(kind: &EntityType) -> Result<Box<str>, Outside> {
    let whole = kind.to_string();
    let name = whole.strip_prefix(NAMESPACE).and_then(|rest| rest.strip_prefix("::"));
    name.map(Into::into).ok_or_else(|| format!("the type `{whole}` of another namespace").into())
}

fn like(pattern: &[PatternElem]) -> Pattern {
    let mut parts = vec![String::new()];
    for element in pattern {
        match (element, parts.last_mut()) {
            (PatternElem::Char(one), Some(last)) => last.push(*one),
            _ => parts.push(String::new()),
        }
    }
    Pattern(parts.into_iter().map(Into::into).collect())
}

/// A `decimal`, `datetime` or `duration` of a literal text, read by Cedar itself.
fn extension(op: UnaryOp, of: &Expr, whole: &Expr) -> Result<Node, Outside> {
    let Expr::Literal(Literal::String(text)) = of else {
        return Err(format!("`{op}(…)` of something that is not written in the rule").into());
    };
    let broken = || Outside::from(format!("`{whole}`, which cannot be read"));
    let long = |text: String| match ask(&text) {
        Some(EvalResult::Long(number)) => Ok(number),
        _ => Err(broken()),
    };
    Ok(Node::Const(match op {
        UnaryOp::Decimal => {
            // Cedar accepted it, so that it is a plain decimal that fits.
            let text = text.as_str();
            match ask(&format!("{whole} == {whole}")) {
                Some(EvalResult::Bool(true)) => cordon_core::Decimal::parse(text)
                    .map(|number| Const::Decimal(number.ten_thousandths()))
                    .ok_or_else(broken)?,
                _ => return Err(broken()),
            }
        }
        UnaryOp::Datetime => Const::Datetime(long(format!(
            "({whole}).durationSince(datetime(\"1970-01-01\")).toMilliseconds()"
        ))?),
        _ => Const::Duration(long(format!("({whole}).toMilliseconds()"))?),
    }))
}

/// What Cedar makes of an expression that reads nothing.
fn ask(text: &str) -> Option<EvalResult> {
    let uid = || cedar_policy::EntityUid::from_str("Cordon::Action::\"cordon/constant\"").ok();
    let request = Request::new(uid()?, uid()?, uid()?, Context::empty(), None).ok()?;
    cedar_policy::eval_expression(&request, &Entities::empty(), &Expression::from_str(text).ok()?).ok()
}
