//! Filters of rows: the rows that a filter keeps are those that would be allowed one by one.

use std::fmt::Write as _;

use cordon_core::{
    Decimal, Facts, Judgement, ObligationKind, ReasonKind, Record, Request, RowPredicate, Value, Verdict,
};
use cordon_pdp::{PolicySet, decide};

use crate::support::{NOON, compile, facts, request, source};

const SCHEMA: &str = "entity Order = { region: String, amount: Long, level: Long, open: Bool, owner: User, \
                      price: decimal, note?: String, tags?: Set<String> };\n\
                      action list_orders, delete_order in [\"data.read\", \"effect:read\"] \
                      appliesTo { principal: [User, Agent], resource: [Order] };";
const ROWS: &str = r#"{"Order":{"actions":["list_orders"]}}"#;

fn bundle(permissions: &str) -> PolicySet {
    compile(&files(permissions))
}

fn files(permissions: &str) -> [(&str, &str); 3] {
    [("schema/s.cedarschema", SCHEMA), ("data/rows.json", ROWS), ("permissions/p.cedar", permissions)]
}

fn select(set: &PolicySet, facts: &Facts) -> Judgement {
    let mut asked = request(set, "agent:helper user:alice does list_orders on Order:all");
    asked.context.purpose = Some("eu".into());
    decide(set, &asked, facts, NOON)
}

/// The rows that a judgement lets through.
fn rows(judgement: &Judgement) -> RowPredicate {
    if judgement.verdict != Verdict::Allow {
        return RowPredicate::NONE;
    }
    let filters = judgement.obligations.iter().filter_map(|due| match &due.kind {
        ObligationKind::RowFilter { rows, .. } => Some(rows.iter().cloned()),
        _ => None,
    });
    RowPredicate::all(filters.flatten())
}

fn with_row(set: &PolicySet, row: &Record) -> Request {
    let mut asked = request(set, "agent:helper user:alice does list_orders on Order:all");
    asked.context.purpose = Some("eu".into());
    asked.resource.attributes = row.clone();
    asked
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound as u64) as usize
    }

    fn condition(&mut self, depth: usize) -> String {
        const ATOMS: &[&str] = &[
            "resource.region == \"eu\"",
            "resource.region != \"us\"",
            "\"us\" == resource.region",
            "resource.region == principal.id",
            "(context has purpose && resource.region == context.purpose)",
            "resource.amount < 5",
            "10 <= resource.amount",
            "resource.amount > resource.level",
            "resource.amount == resource.level",
            "resource.open",
            "!resource.open",
            "resource.owner == principal",
            "resource.owner == Cordon::User::\"bob\"",
            "[\"eu\", \"asia\"].contains(resource.region)",
            "resource.region like \"e*\"",
            "resource.region like \"*s*a\"",
            "resource.price.lessThan(decimal(\"1.5\"))",
            "(resource has note && resource.note == \"x\")",
            "(resource has note && resource.note like \"%_*\")",
            "resource has note",
            "principal is Cordon::Agent",
            "context.session.calls > 100",
            "resource.tenant == \"default\"",
        ];
        if depth == 0 {
            return ATOMS[self.below(ATOMS.len())].to_owned();
        }
        match self.below(6) {
            0 | 1 => format!("({} && {})", self.condition(depth - 1), self.condition(depth - 1)),
            2 | 3 => format!("({} || {})", self.condition(depth - 1), self.condition(depth - 1)),
            4 => format!("!({})", self.condition(depth - 1)),
            _ => format!(
                "(if {} then {} else {})",
                self.condition(depth - 1),
                self.condition(depth - 1),
                self.condition(depth - 1)
            ),
        }
    }

    fn row(&mut self) -> Record {
        let mut row = Record::new();
        let texts = ["eu", "us", "asia", "helper", "alice"];
        let columns = [
            ("region", Value::text(texts[self.below(texts.len())])),
            ("amount", Value::Long(self.below(14) as i64)),
            ("level", Value::Long(self.below(14) as i64)),
            ("open", Value::Bool(self.below(2) == 0)),
            ("owner", Value::Entity("User".into(), ["alice", "bob"][self.below(2)].into())),
            ("price", Value::Decimal(Decimal::from_ten_thousandths(self.below(4) as i64 * 7_500))),
            ("note", Value::text(["x", "%_y", "y"][self.below(3)])),
        ];
        for (name, value) in columns {
            // A column that is null is not there, even if the schema says that it always is.
            if self.below(8) > 0 {
                row.insert(name.into(), value);
            }
        }
        row.entry("level".into()).or_insert(Value::Long(3));
        row
    }
}

#[test]
fn a_filter_keeps_exactly_the_rows_that_are_allowed_one_by_one() {
    let mut dice = Dice(7);
    let (mut kept, mut dropped, mut partial) = (0, 0, 0);
    for number in 0..120 {
        let mut text = String::new();
        for rule in 0..5 {
            let effect = if rule < 3 { "permit" } else { "forbid" };
            let principal = ["principal", "principal", "principal is Agent", "principal == User::\"alice\""];
            let (principal, depth) = (principal[dice.below(4)], dice.below(4));
            let condition = dice.condition(depth);
            let _ = writeln!(
                text,
                "@id(\"r{rule}\") {effect}({principal}, action == Action::\"list_orders\", resource) when {{ {condition} }};"
            );
        }
        text += "@id(\"both\") permit(principal is User, action == Action::\"list_orders\", resource is Order) when { resource.amount < 9 };";
        let compiled = PolicySet::compile(&source(&files(&text)));
        let set = compiled.unwrap_or_else(|findings| panic!("{text}\n{findings:#?}")).policies;
        let judgement = select(&set, &facts());
        assert_eq!(judgement, select(&set.with_stock_cedar(), &facts()), "{text}");
        let filter = rows(&judgement);
        partial += usize::from(filter != RowPredicate::NONE && filter != RowPredicate::EVERY);
        for _ in 0..40 {
            let row = dice.row();
            let want = decide(&set, &with_row(&set, &row), &facts(), NOON);
            let want_stock = decide(&set.with_stock_cedar(), &with_row(&set, &row), &facts(), NOON);
            assert_eq!(want, want_stock);
            let keeps = filter.holds(&row);
            assert_eq!(
                keeps,
                want.verdict == Verdict::Allow,
                "bundle {number}\n{text}\n{row:?}\n{filter:?}\n{want:#?}"
            );
            if keeps { kept += 1 } else { dropped += 1 }
        }
    }
    assert!(kept > 200 && dropped > 200 && partial > 20, "{kept} {dropped} {partial}");
}

#[test]
fn a_filter_is_an_obligation_that_an_enforcement_point_must_know() {
    let set = bundle(
        "@id(\"own\") permit(principal, action in Action::\"data.read\", resource is Order) when { resource.region == \"eu\" };",
    );
    let judgement = select(&set, &facts());
    assert_eq!(judgement.verdict, Verdict::Allow);
    let (sql, values) = rows(&judgement).to_sql();
    assert_eq!(sql, "(\"region\" IS NOT NULL AND \"region\" = $1)");
    assert_eq!(values.len(), 1);
    assert_eq!(&*judgement.obligations[0].rules[0].rule, "own");
    let blind = Facts { supported: ["mask"].into(), ..facts() };
    let judgement = select(&set, &blind);
    assert_eq!(judgement.verdict, Verdict::Deny);
    assert_eq!(judgement.reasons[0].kind, ReasonKind::Unenforceable);
    // An action that is not listed is about one thing, whose columns are what the request says.
    let asked = request(&set, "agent:helper user:alice does delete_order on Order:all");
    assert_eq!(decide(&set, &asked, &facts(), NOON).verdict, Verdict::Deny);
}

#[test]
fn where_no_row_may_be_read_the_answer_is_no_and_not_an_empty_filter() {
    let set = bundle(
        "@id(\"a\") permit(principal is User, action, resource is Order) when { resource.region == \"eu\" };\n\
         @id(\"b\") permit(principal is Agent, action, resource is Order) when { !(resource.region == \"eu\") && resource has note };\n\
         @id(\"c\") forbid(principal, action, resource is Order) when { resource.region == \"eu\" };",
    );
    assert_eq!(select(&set, &facts()).verdict, Verdict::Deny);
    let nobody =
        bundle("@id(\"a\") permit(principal is User, action, resource is Order) when { resource.open };");
    let judgement = select(&nobody, &facts());
    assert_eq!(judgement.verdict, Verdict::Deny);
    assert_eq!(&*judgement.reasons[0].rule.rule, "cordon:no-permit");
}

#[test]
fn a_mask_comes_with_the_filter_and_one_that_depends_on_the_row_is_refused() {
    let permit = "@id(\"all\") permit(principal, action, resource is Order) when { resource.open };";
    let mask = "@id(\"m\") @obligation(\"mask\") @fields(\"price\") permit(principal, action in Action::\"data.read\", resource is Order)";
    let set = |condition: &str| {
        let mask = format!("{mask}{condition};");
        let all = files(permit);
        PolicySet::compile(&source(&[all[0], all[1], all[2], ("obligations/o.cedar", &mask)]))
    };
    let judgement = select(&set("").unwrap().policies, &facts());
    let names: Vec<_> = judgement.obligations.iter().map(|due| due.kind.name()).collect();
    assert_eq!(names, ["mask", "row_filter"]);
    let refused = set(" when { resource.amount > 5 }").unwrap_err();
    assert!(refused[0].message.contains("an obligation that depends on the row"), "{refused:?}");
    assert_eq!((&*refused[0].file, refused[0].line), ("obligations/o.cedar", 1));
}

#[test]
fn what_no_filter_can_express_is_refused_before_it_is_published() {
    for (condition, want) in [
        ("resource.amount + 1 > 5", "a computation with a column"),
        ("resource has tags && resource.tags.contains(\"a\")", "set"),
        ("resource.owner in Team::\"x\"", "`in` of a column"),
        (
            "(if resource.open then resource.region else resource.region) == \"eu\"",
            "a computation with a column",
        ),
    ] {
        let text = format!(
            "@id(\"fine\") permit(principal, action, resource is Order);\n@id(\"x\") permit(principal, action == Action::\"list_orders\", resource is Order) when {{ {condition} }};"
        );
        let refused = PolicySet::compile(&source(&files(&text))).unwrap_err();
        assert!(refused[0].message.contains(want), "{condition}: {refused:?}");
        assert_eq!(refused[0].line, 2, "{condition}");
        // About an action that reads one row at a time it is a rule like any other.
        let single = text.replace("list_orders", "delete_order");
        assert!(PolicySet::compile(&source(&files(&single))).is_ok(), "{condition}");
    }
}

#[test]
fn a_file_of_rows_that_means_nothing_is_refused() {
    for (text, want) in [
        ("[]", "expected a table"),
        (r#"{"Order":{}}"#, "needs `actions`"),
        (r#"{"Order":{"actions":["list_orders"],"column":[]}}"#, "unknown field `column`"),
        (r#"{"Ordre":{"actions":["list_orders"]}}"#, "has no columns"),
        (r#"{"Order":{"actions":["list_order"]}}"#, "is not one of the bundle's own"),
    ] {
        let refused =
            PolicySet::compile(&source(&[("schema/s.cedarschema", SCHEMA), ("data/rows.json", text)]));
        let refused = refused.unwrap_err();
        assert!(refused.iter().any(|finding| finding.to_string().contains(want)), "{text}: {refused:?}");
    }
}
