//! What is written down about the API is what is served.

use std::collections::BTreeSet;

use cordon_control::{Api, CallerRole, OPENAPI};
use serde_json::Value;

#[test]
fn every_route_is_described_with_its_least_role_and_nothing_else_is() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let described: BTreeSet<(String, String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            // The session API is the gateway's; ending a session is both's.
            let own = |(method, operation): &(&String, &Value)| {
                operation.get("x-served-by").is_none() || *method == "delete"
            };
            item.as_object().unwrap().iter().filter(own).map(move |(method, operation)| {
                let role = operation["x-least-role"].as_str().unwrap_or("none");
                (method.clone(), path.clone(), role.to_owned())
            })
        })
        .collect();
    let served: BTreeSet<_> = Api::ROUTES
        .iter()
        .map(|route| (route.method.to_owned(), route.path.to_owned(), route.role.as_str().to_owned()))
        .collect();
    assert_eq!(described, served);
}

#[test]
fn an_agent_reaches_its_own_approval_and_the_description_only() {
    let open: Vec<&str> =
        Api::ROUTES.iter().filter(|route| route.role == CallerRole::Agent).map(|route| route.path).collect();
    assert_eq!(open, ["/v1/openapi.json", "/v1/approvals/{id}"]);
}

#[test]
fn nothing_that_changes_state_is_open_to_less_than_an_operator() {
    for route in Api::ROUTES {
        let changes = route.method != "get" && route.path != "/v1/decide";
        assert!(!changes || route.role == CallerRole::Operator, "{} {}", route.method, route.path);
    }
}

#[test]
fn every_reference_in_the_description_leads_somewhere() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        match value {
            Value::Object(members) => open.extend(members.values()),
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
}
