//! Schemas and values made to hang, to overflow, or to reach out.
//!
//! Each runs on a thread with the stack of an asynchronous worker (2 MiB). Bounds on time are loose:
//! without the budget these cases take from minutes to for ever.

use std::time::{Duration, Instant};

use cordon_inspect::{Schema, SchemaError, SchemaLimits, Violation};

fn on_a_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let start = Instant::now();
    let worker = std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap();
    let done = worker.join().unwrap();
    let took = start.elapsed();
    println!("{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    done
}

fn compile(text: String) -> Result<(), SchemaError> {
    on_a_small_stack(move || Schema::compile(text.as_bytes(), &SchemaLimits::default()).map(|_| ()))
}

fn validate(schema: String, value: String) -> Result<(), Vec<Violation>> {
    on_a_small_stack(move || crate::schema(&schema).validate(&crate::node(&value)))
}

fn doubling(levels: usize, keyword: &str) -> String {
    let defs: Vec<_> = (0..levels)
        .map(|n| {
            let next = n.saturating_add(1);
            format!(r##""a{n}":{{"{keyword}":[{{"$ref":"#/$defs/a{next}"}},{{"$ref":"#/$defs/a{next}"}}]}}"##)
        })
        .collect();
    format!(r##"{{"$ref":"#/$defs/a0","$defs":{{{},"a{levels}":{{"type":"string"}}}}}}"##, defs.join(","))
}

#[test]
fn a_schema_that_doubles_itself_on_one_value_is_refused() {
    for keyword in ["allOf", "anyOf", "oneOf"] {
        for levels in [10, 30, 60, 1_000] {
            let refused = compile(doubling(levels, keyword));
            assert!(matches!(refused, Err(SchemaError::TooMany { .. })), "{keyword} {levels}: {refused:?}");
        }
        assert_eq!(compile(doubling(3, keyword)), Ok(()));
    }
}

#[test]
fn a_schema_that_turns_in_a_circle_on_one_value_is_refused() {
    for text in [
        r##"{"$ref":"#"}"##,
        r##"{"allOf":[{"$ref":"#"}]}"##,
        r##"{"not":{"$ref":"#"}}"##,
        r##"{"if":true,"then":{"$ref":"#/$defs/a"},"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"}]},"b":{"$ref":"#/$defs/a"}}}"##,
        r##"{"dependentSchemas":{"a":{"$ref":"#"}}}"##,
    ] {
        assert_eq!(compile(text.to_owned()), Err(SchemaError::Circular), "{text}");
    }
    // Going into the value is what makes the neighbour harmless.
    assert_eq!(compile(r##"{"items":{"$ref":"#"},"additionalProperties":{"$ref":"#"}}"##.to_owned()), Ok(()));
}

#[test]
fn a_schema_that_doubles_itself_at_every_level_of_a_value_runs_out_of_steps() {
    let schema = r##"{"anyOf":[{"type":"string"},{"items":{"anyOf":[{"$ref":"#"},{"allOf":[{"$ref":"#"}]},{"not":{"$ref":"#"}}]},"minItems":1}]}"##;
    for value in
        [format!("{}1{}", "[".repeat(60), "]".repeat(60)), format!("{}{}", "[".repeat(60), "]".repeat(60))]
    {
        // Some answer in bounded time; either is sound, as long as it is not acceptance by exhaustion.
        let _ = validate(schema.to_owned(), value);
    }
    let wide = format!("[{}]", vec!["[[[[[[[[[[1]]]]]]]]]]"; 2_000].join(","));
    let _ = validate(schema.to_owned(), wide);
}

#[test]
fn running_out_of_steps_is_a_violation_and_never_acceptance() {
    let limits = SchemaLimits { steps_max: 200, ..SchemaLimits::DEFAULT };
    for text in [
        r#"{"items":{"type":"integer"}}"#,
        r#"{"not":{"items":{"type":"integer"}}}"#,
        r#"{"uniqueItems":true}"#,
        r#"{"contains":{"const":7},"maxContains":0}"#,
    ] {
        let schema = Schema::compile(text.as_bytes(), &limits).unwrap();
        let value =
            crate::node(&format!("[{}]", (0..1_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",")));
        let found = schema.validate(&value).unwrap_err();
        assert!(found[0].to_string().contains("too many steps"), "{text}: {found:?}");
    }
}

#[test]
fn patterns_that_go_back_and_forth_are_bounded() {
    let evil = [r"^(a+)+$", r"^(a|aa)+$", r"^(?=(a+)+$)b", r"(.*)*\\1x", r"^(?!(a|a?)+$)", r"(x+x+)+y(?!z)"];
    for pattern in evil {
        for length in [30, 5_000] {
            let schema = format!(r#"{{"pattern":"{pattern}"}}"#);
            if Schema::compile(schema.as_bytes(), &SchemaLimits::default()).is_ok() {
                let text = if pattern.contains('x') { "x".repeat(length) } else { "a".repeat(length) };
                let _ = validate(schema, format!(r#""{text}!""#));
            }
        }
    }
}

#[test]
fn patterns_that_look_around_are_usable() {
    // What a widespread schema generator writes for an e-mail address.
    let schema = r#"{"type":"string","pattern":"^(?!\\.)(?!.*\\.\\.)([A-Za-z0-9_'+\\-\\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$"}"#;
    assert_eq!(validate(schema.to_owned(), r#""ann@example.com""#.to_owned()), Ok(()));
    assert!(validate(schema.to_owned(), r#""ann..b@example.com""#.to_owned()).is_err());
}

#[test]
fn patterns_that_compile_to_too_much_are_refused() {
    for pattern in [r"(a{1000}){1000}", r"((a{100}){100}){100}", r"\\p{L}{5000}(?=x)"] {
        let refused = compile(format!(r#"{{"pattern":"{pattern}"}}"#));
        assert!(matches!(refused, Err(SchemaError::Invalid { .. })), "{pattern}: {refused:?}");
    }
    let many: Vec<_> = (0..101).map(|n| format!(r#""p{n}":{{"pattern":"^a{n}$"}}"#)).collect();
    let refused = compile(format!(r#"{{"properties":{{{}}}}}"#, many.join(",")));
    assert_eq!(refused, Err(SchemaError::TooMany { what: "patterns", max: 100 }));
    let large: Vec<_> =
        (0..100).map(|n| format!(r#""p{n}":{{"pattern":"^\\p{{L}}{{1,{}}}(?=x)"}}"#, 40 + n)).collect();
    let _ = compile(format!(r#"{{"properties":{{{}}}}}"#, large.join(",")));
}

#[test]
fn long_chains_of_references_do_not_overflow_the_stack() {
    let chain = |length: usize, inner: &dyn Fn(String) -> String| {
        let defs: Vec<_> = (0..length)
            .map(|n| format!(r#""a{n}":{}"#, inner(format!(r##"{{"$ref":"#/$defs/a{}"}}"##, n + 1))))
            .collect();
        format!(r##"{{"$ref":"#/$defs/a0","$defs":{{{},"a{length}":{{}}}}}}"##, defs.join(","))
    };
    let same = compile(chain(4_000, &|next| next));
    assert!(matches!(same, Err(SchemaError::TooMany { .. })), "{same:?}");
    let into = |next: String| format!(r#"{{"properties":{{"x":{next}}}}}"#);
    assert_eq!(compile(chain(3_000, &into)), Ok(()));
    let deep = compile(format!("{}{}{}", r#"{"items":"#.repeat(47), "{}", "}".repeat(47)));
    assert!(deep.is_ok(), "{deep:?}");
    let deeper = compile(format!("{}{}{}", r#"{"items":"#.repeat(48), "{}", "}".repeat(48)));
    assert!(matches!(deeper, Err(SchemaError::Json(_))), "{deeper:?}");
}

#[test]
fn the_deepest_value_under_the_highest_schema_does_not_overflow_the_stack() {
    let defs: Vec<_> =
        (0..6).map(|n| format!(r##""a{n}":{{"allOf":[{{"$ref":"#/$defs/a{}"}}]}}"##, n + 1)).collect();
    let schema = format!(
        r##"{{"items":{{"$ref":"#/$defs/a0"}},"additionalProperties":{{"$ref":"#/$defs/a0"}},"$defs":{{{},"a6":{{"items":{{"$ref":"#/$defs/a0"}},"additionalProperties":{{"$ref":"#/$defs/a0"}},"type":["array","object"]}}}}}}"##,
        defs.join(",")
    );
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        let leaf = if open == "[" { "" } else { "{}" };
        let value = format!("{}{leaf}{}", open.repeat(62), close.repeat(62));
        assert_eq!(validate(schema.clone(), value), Ok(()));
        let wrong = format!("{}1{}", open.repeat(62), close.repeat(62));
        assert!(validate(schema.clone(), wrong).is_err());
    }
}

#[test]
fn large_honest_values_are_within_the_budget() {
    let rows: Vec<_> =
        (0..20_000).map(|n| format!(r#"{{"id":{n},"name":"row {n}","tags":["a","b"]}}"#)).collect();
    let schema = r#"{"type":"array","items":{"type":"object","properties":{"id":{"type":"integer","minimum":0},"name":{"type":"string","maxLength":40},"tags":{"type":"array","items":{"type":"string"}}},"required":["id","name"],"additionalProperties":false}}"#;
    assert_eq!(validate(schema.to_owned(), format!("[{}]", rows.join(","))), Ok(()));
    let text = "x".repeat(3 << 20);
    assert_eq!(
        validate(
            r#"{"properties":{"content":{"type":"string"}}}"#.to_owned(),
            format!(r#"{{"content":"{text}"}}"#)
        ),
        Ok(())
    );
}

#[test]
fn many_errors_are_bounded() {
    let value = format!("[{}]", vec!["1"; 50_000].join(","));
    let found = validate(r#"{"items":{"type":"string"}}"#.to_owned(), value).unwrap_err();
    assert!((1..=8).contains(&found.len()), "{}", found.len());
}

#[test]
fn large_collections_cost_no_more_than_their_size() {
    let distinct: Vec<_> = (0..100_000).map(|n| n.to_string()).collect();
    let nested: Vec<_> = (0..40_000).map(|n| format!("[{n}]")).collect();
    for values in [distinct.join(","), nested.join(",")] {
        assert_eq!(validate(r#"{"uniqueItems":true}"#.to_owned(), format!("[{values}]")), Ok(()));
    }
    let members: Vec<_> = (0..60_000).map(|n| format!("\"m{n}\":0")).collect();
    let schema = r#"{"propertyNames":{"pattern":"^m[0-9]+$"},"additionalProperties":{"type":"integer"}}"#;
    assert_eq!(validate(schema.to_owned(), format!("{{{}}}", members.join(","))), Ok(()));
    let properties: Vec<_> = (0..10_000).map(|n| format!("\"M{n}\":{{}}")).collect();
    let wide = format!(r#"{{"properties":{{{}}}}}"#, properties.join(","));
    let found = validate(wide, format!("{{{}}}", members.join(","))).unwrap_err();
    assert!(!found.is_empty());
    let options: Vec<_> = (0..10_000).map(|n| format!("\"o{n}\"")).collect();
    let found = validate(
        format!(r#"{{"items":{{"enum":[{}]}}}}"#, options.join(",")),
        format!("[{}]", vec!["\"o9999\""; 50_000].join(",")),
    );
    assert_eq!(found, Ok(()));
}
