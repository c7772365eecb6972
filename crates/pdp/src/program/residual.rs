//! Conditions on rows: what is left of a rule's conditions while the columns of a row are open.
//!
//! What does not read a column is evaluated at once; the rest becomes a condition that holds for
//! exactly the rows for which the rule would, and one that holds for exactly those for which it
//! would err (`spec/obligations.md`, Rows).

use std::collections::BTreeMap;

use cordon_core::{Comparison, Decimal, RowPredicate, RowValue};

use super::eval::Run;
use super::node::{Binary, Node, NodeId, Nodes, Pattern, Var};
use super::value::{Items, Names as _, Val};

/// The columns of a type of rows.
pub(crate) type Columns = BTreeMap<Box<str>, Column>;

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Column {
    Bool,
    Long,
    Decimal,
    Text,
    /// The identifier of an entity of this type.
    Entity(Box<str>),
    /// What no condition on rows can be about.
    Other,
}

/// For which rows a condition holds, and for which it has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Residual {
    pub(crate) holds: RowPredicate,
    pub(crate) errs: RowPredicate,
}

/// A condition on rows that cannot be written, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotWritable(pub(crate) Box<str>);

/// Most conditions that one rule may become.
const SIZE_MAX: usize = 2_048;

/// One side of a comparison.
#[derive(Debug, Clone, Copy)]
enum Side<'v, 'c> {
    Known(Val<'v>),
    Column(&'c str, &'c Column),
}

impl Residual {
    /// It holds for every row, or for none.
    pub(crate) fn of(holds: bool) -> Self {
        Self { holds: RowPredicate::of(holds), errs: RowPredicate::NONE }
    }

    /// It has no answer for any row.
    fn no_answer() -> Self {
        Self { holds: RowPredicate::NONE, errs: RowPredicate::EVERY }
    }

    fn fails(&self) -> RowPredicate {
        RowPredicate::all([self.holds.clone().negated(), self.errs.clone().negated()])
    }

    fn and(self, after: Self) -> Self {
        let errs = RowPredicate::all([self.holds.clone(), after.errs]);
        Self {
            holds: RowPredicate::all([self.holds, after.holds]),
            errs: RowPredicate::any([self.errs, errs]),
        }
    }

    fn or(self, after: Self) -> Self {
        let later = RowPredicate::all([self.errs.clone().negated(), after.holds]);
        let errs = RowPredicate::all([self.holds.clone().negated(), after.errs]);
        Self { holds: RowPredicate::any([self.holds, later]), errs: RowPredicate::any([self.errs, errs]) }
    }

    /// One of two others, by whether it holds.
    fn choose(self, then: Self, other: Self) -> Self {
        let fails = self.fails();
        let either = |then: RowPredicate, other: RowPredicate| {
            let (then, other) = ([self.holds.clone(), then], [fails.clone(), other]);
            RowPredicate::any([RowPredicate::all(then), RowPredicate::all(other)])
        };
        let errs = RowPredicate::any([self.errs.clone(), either(then.errs, other.errs)]);
        Self { holds: either(then.holds, other.holds), errs }
    }

    fn bounded(self) -> Result<Self, NotWritable> {
        match self.holds.size().saturating_add(self.errs.size()) {
            0..=SIZE_MAX => Ok(self),
            size => Err(refuse(format!("{size} conditions on one row, which is more than {SIZE_MAX}"))),
        }
    }
}

/// Whether a node reads a column.
pub(super) fn reads(nodes: &Nodes, id: NodeId, columns: &Columns) -> bool {
    let Some(node) = nodes.get(id).map(|entry| &entry.node) else { return true };
    let is_resource =
        |of: &NodeId| matches!(nodes.get(*of), Some(entry) if entry.node == Node::Var(Var::Resource));
    match node {
        Node::Attr(of, name) if is_resource(of) => columns.contains_key(name),
        Node::Has(of, path) if is_resource(of) => path.first().is_some_and(|name| columns.contains_key(name)),
        // An attribute of something that may be the resource, and may be something else.
        Node::Attr(of, _) | Node::Has(of, _) if may_be_resource(nodes, *of) => true,
        node => node.children().into_iter().any(|child| reads(nodes, child, columns)),
    }
}

fn may_be_resource(nodes: &Nodes, id: NodeId) -> bool {
    match nodes.get(id).map(|entry| &entry.node) {
        None | Some(Node::Var(Var::Resource)) => true,
        Some(Node::If(_, then, other)) => may_be_resource(nodes, *then) || may_be_resource(nodes, *other),
        Some(_) => false,
    }
}

/// Whether what a question asks about columns can be written as a condition on rows.
pub(super) fn writable(nodes: &Nodes, id: NodeId, columns: &Columns) -> Result<(), NotWritable> {
    if !reads(nodes, id, columns) {
        return Ok(());
    }
    let Some(node) = nodes.get(id).map(|entry| &entry.node) else { return Err(refuse("a part of it")) };
    let side = |id: NodeId| match column(nodes, id, columns) {
        Some((name, Column::Other)) => {
            Err(refuse(format!("`resource.{name}`, which is neither a text nor a number nor a truth value")))
        }
        Some(_) => Ok(()),
        None if reads(nodes, id, columns) => Err(refuse("a computation with a column")),
        None => Ok(()),
    };
    match node {
        Node::And(parts) | Node::Or(parts) => {
            parts.iter().try_for_each(|part| writable(nodes, *part, columns))
        }
        Node::Not(of) => writable(nodes, *of, columns),
        Node::If(cond, then, other) => {
            [cond, then, other].into_iter().try_for_each(|part| writable(nodes, *part, columns))
        }
        Node::Has(_, path) if path.len() == 1 && !path_of_choice(nodes, node) => Ok(()),
        Node::Attr(..) => match column(nodes, id, columns) {
            Some((_, Column::Bool)) => Ok(()),
            Some((name, _)) => Err(refuse(format!("`resource.{name}`, which is no truth value"))),
            None => Err(refuse("an attribute of one of several things")),
        },
        Node::Like(of, _) => match column(nodes, *of, columns) {
            Some((_, Column::Text)) => Ok(()),
            _ => Err(refuse("`like` of something that is no column of text")),
        },
        Node::Binary(op, left, right) => match op {
            Binary::Eq
            | Binary::Less
            | Binary::LessEq
            | Binary::DecimalLess
            | Binary::DecimalLessEq
            | Binary::DecimalGreater
            | Binary::DecimalGreaterEq => side(*left).and_then(|()| side(*right)),
            Binary::Contains if !reads(nodes, *left, columns) => side(*right),
            Binary::Contains | Binary::ContainsAll | Binary::ContainsAny => {
                Err(refuse("a question about a column that is a set"))
            }
            Binary::In => Err(refuse("`in` of a column")),
            _ => Err(refuse("a computation with a column")),
        },
        _ => Err(refuse("a question of another kind about a column")),
    }
}

fn path_of_choice(nodes: &Nodes, node: &Node) -> bool {
    let Node::Has(of, _) = node else { return false };
    !matches!(nodes.get(*of), Some(entry) if entry.node == Node::Var(Var::Resource))
}

/// The column that a node is.
fn column<'c>(nodes: &Nodes, id: NodeId, columns: &'c Columns) -> Option<(&'c str, &'c Column)> {
    let Node::Attr(of, name) = &nodes.get(id)?.node else { return None };
    let of_resource = nodes.get(*of)?.node == Node::Var(Var::Resource);
    let (name, column) = columns.get_key_value(name).filter(|_| of_resource)?;
    Some((name, column))
}

/// For which rows a condition holds, as one principal asks.
pub(super) fn residual<'v>(
    run: &mut Run<'v>,
    id: NodeId,
    columns: &Columns,
) -> Result<Residual, NotWritable> {
    let nodes = run.nodes();
    if !reads(nodes, id, columns) {
        return Ok(run.test(id).map_or_else(|_| Residual::no_answer(), Residual::of));
    }
    let Some(node) = nodes.get(id).map(|entry| &entry.node) else { return Err(refuse("a part of it")) };
    let found = match node {
        Node::And(parts) => {
            let mut all = Residual::of(true);
            for part in parts.iter().rev() {
                all = residual(run, *part, columns)?.and(all).bounded()?;
            }
            all
        }
        Node::Or(parts) => {
            let mut any = Residual::of(false);
            for part in parts.iter().rev() {
                any = residual(run, *part, columns)?.or(any).bounded()?;
            }
            any
        }
        Node::Not(of) => {
            let of = residual(run, *of, columns)?;
            Residual { holds: of.fails(), errs: of.errs }
        }
        Node::If(cond, then, other) => {
            let cond = residual(run, *cond, columns)?;
            let (then, other) = (residual(run, *then, columns)?, residual(run, *other, columns)?);
            cond.choose(then, other)
        }
        Node::Has(_, path) => match path.first() {
            Some(name) if path.len() == 1 => {
                Residual { holds: RowPredicate::Present(name.clone()), errs: RowPredicate::NONE }
            }
            _ => return Err(refuse("`has` of a path below a column")),
        },
        Node::Attr(..) => match column(nodes, id, columns) {
            Some((name, Column::Bool)) => {
                let is_true = RowPredicate::Compare(name.into(), Comparison::Equal, RowValue::Bool(true));
                Residual { holds: is_true, errs: absent(name) }
            }
            _ => Residual::no_answer(),
        },
        Node::Like(of, Pattern(parts)) => match column(nodes, *of, columns) {
            Some((name, Column::Text)) => {
                Residual { holds: RowPredicate::Like(name.into(), parts.to_vec()), errs: absent(name) }
            }
            _ => return Err(refuse("`like` of something that is no column of text")),
        },
        Node::Binary(op, left, right) => {
            let (Some(left), Some(right)) = (side(run, *left, columns)?, side(run, *right, columns)?) else {
                return Ok(Residual::no_answer());
            };
            relation(run, *op, left, right)?
        }
        _ => return Err(refuse("a question of another kind about a column")),
    };
    found.bounded()
}

/// One side of a comparison; `None` if it has no value.
fn side<'v, 'c>(
    run: &mut Run<'v>,
    id: NodeId,
    columns: &'c Columns,
) -> Result<Option<Side<'v, 'c>>, NotWritable> {
    let nodes = run.nodes();
    match column(nodes, id, columns) {
        Some((_, Column::Other)) => Err(refuse("a column of another kind")),
        Some((name, column)) => Ok(Some(Side::Column(name, column))),
        None if reads(nodes, id, columns) => Err(refuse("a computation with a column")),
        None => Ok(run.value(id).ok().map(Side::Known)),
    }
}

fn relation(
    run: &Run<'_>,
    op: Binary,
    left: Side<'_, '_>,
    right: Side<'_, '_>,
) -> Result<Residual, NotWritable> {
    let (wanted, comparison) = match op {
        Binary::Eq => (None, Comparison::Equal),
        Binary::Less => (Some(Column::Long), Comparison::Less),
        Binary::LessEq => (Some(Column::Long), Comparison::AtMost),
        Binary::DecimalLess => (Some(Column::Decimal), Comparison::Less),
        Binary::DecimalLessEq => (Some(Column::Decimal), Comparison::AtMost),
        Binary::DecimalGreater => (Some(Column::Decimal), Comparison::More),
        Binary::DecimalGreaterEq => (Some(Column::Decimal), Comparison::AtLeast),
        Binary::Contains => return one_of(run, left, right),
        _ => return Err(refuse("a computation with a column")),
    };
    // What is not of the type that an order is of is an error; for an equality it is just not equal.
    let other_type = |errs: RowPredicate| match wanted {
        None => Residual { holds: RowPredicate::NONE, errs },
        Some(_) => Residual::no_answer(),
    };
    let fits = |column: &Column| wanted.as_ref().is_none_or(|wanted| wanted == column);
    Ok(match (left, right) {
        (Side::Column(name, column), Side::Known(val)) => match constant(run, column, val)
            .filter(|_| fits(column))
        {
            Some(value) => {
                Residual { holds: RowPredicate::Compare(name.into(), comparison, value), errs: absent(name) }
            }
            None => other_type(absent(name)),
        },
        (Side::Known(val), Side::Column(name, column)) => {
            match constant(run, column, val).filter(|_| fits(column)) {
                Some(value) => {
                    let holds = RowPredicate::Compare(name.into(), turned(comparison), value);
                    Residual { holds, errs: absent(name) }
                }
                None => other_type(absent(name)),
            }
        }
        (Side::Column(one, a), Side::Column(other, b)) => {
            let errs = RowPredicate::any([absent(one), absent(other)]);
            if a == b && fits(a) {
                Residual { holds: RowPredicate::CompareColumns(one.into(), comparison, other.into()), errs }
            } else {
                other_type(errs)
            }
        }
        (Side::Known(_), Side::Known(_)) => return Err(refuse("a comparison without a column")),
    })
}

/// A column in a set that is known.
fn one_of(run: &Run<'_>, set: Side<'_, '_>, member: Side<'_, '_>) -> Result<Residual, NotWritable> {
    let (Side::Known(set), Side::Column(name, column)) = (set, member) else {
        return Err(refuse("a question about a column that is a set"));
    };
    let Val::Set(items) = set else { return Ok(Residual::no_answer()) };
    let Some(mut values) = members(run, column, items) else { return Ok(Residual::no_answer()) };
    values.sort();
    values.dedup();
    let holds = match values.is_empty() {
        true => RowPredicate::NONE,
        false => RowPredicate::OneOf(name.into(), values),
    };
    Ok(Residual { holds, errs: absent(name) })
}

/// The members of a set that a column could be; `None` if they cannot be told.
fn members(run: &Run<'_>, column: &Column, items: Items<'_>) -> Option<Vec<RowValue>> {
    let mut values = Vec::new();
    let each = items.any(|val| {
        values.extend(constant(run, column, val));
        Ok(false)
    });
    each.ok().map(|_| values)
}

/// A value as one of a column; `None` if it is of another type.
fn constant(run: &Run<'_>, column: &Column, val: Val<'_>) -> Option<RowValue> {
    Some(match (column, val) {
        (Column::Bool, Val::Bool(value)) => RowValue::Bool(value),
        (Column::Long, Val::Long(number)) => RowValue::Long(number),
        (Column::Decimal, Val::Decimal(size)) => RowValue::Decimal(Decimal::from_ten_thousandths(size)),
        (Column::Text, Val::Text(text)) => RowValue::Text(text.into()),
        (Column::Entity(kind), Val::Entity(entity)) => {
            let seen = run.seen();
            let (of_kind, id) = seen.name(entity);
            if *of_kind != **kind {
                return None;
            }
            RowValue::Text(id.into())
        }
        _ => return None,
    })
}

/// The comparison with its sides exchanged.
const fn turned(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Equal => Comparison::Equal,
        Comparison::Less => Comparison::More,
        Comparison::AtMost => Comparison::AtLeast,
        Comparison::More => Comparison::Less,
        Comparison::AtLeast => Comparison::AtMost,
    }
}

fn absent(column: &str) -> RowPredicate {
    RowPredicate::Present(column.into()).negated()
}

fn refuse(what: impl Into<Box<str>>) -> NotWritable {
    NotWritable(what.into())
}
