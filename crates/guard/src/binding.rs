//! What an approval is bound to: exactly this call, by these principals, under this bundle.

use cordon_core::cbor::Cbor;
use cordon_core::json::Node;
use cordon_core::{Digest, Request, SessionId};

/// Digest over principals, session, action, resource, arguments and bundle.
///
/// Arguments count by value: the identical call in another spelling has the same binding, any other
/// value another.
pub(crate) fn binding(
    request: &Request,
    session: SessionId,
    arguments: Option<&Node>,
    bundle: Digest,
) -> Digest {
    let principals = request
        .chain
        .members()
        .map(|(role, principal)| {
            Cbor::Array(vec![role.as_str().into(), principal.kind.as_str().into(), (&*principal.id).into()])
        })
        .collect();
    let arguments =
        arguments.map_or(Cbor::Null, |node| Cbor::bytes(*Digest::of(node.canonical().as_bytes()).as_bytes()));
    let parts = Cbor::Array(vec![
        "cordon/binding/v1".into(),
        Cbor::Array(principals),
        Cbor::bytes(*session.as_bytes()),
        request.action.name().as_str().into(),
        request.resource.kind.as_str().into(),
        (&*request.resource.id).into(),
        (&*request.resource.tenant).into(),
        arguments,
        Cbor::bytes(*bundle.as_bytes()),
    ]);
    Digest::of(&parts.encode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cordon_core::{Action, Chain, Context, Limits, Principal, PrincipalKind, Resource, json};

    fn request(agent: &str, tool: &str) -> Request {
        Request {
            chain: Chain::new(None, Some(Principal::new(PrincipalKind::Agent, agent)), None).unwrap(),
            action: Action::undeclared(tool.parse().unwrap()),
            resource: Resource::new("Tool", tool, "default"),
            context: Context::default(),
        }
    }

    fn bound(agent: &str, tool: &str, session: u8, arguments: &str, bundle: &str) -> Digest {
        let node = json::parse(arguments.as_bytes(), &Limits::DEFAULT).unwrap();
        let session = SessionId::from_bytes([session; 16]);
        binding(&request(agent, tool), session, Some(&node), Digest::of(bundle.as_bytes()))
    }

    #[test]
    fn the_identical_call_has_one_binding_and_any_change_another() {
        let held = bound("a", "bank/pay", 1, r#"{"to":"x","amount":5}"#, "b1");
        assert_eq!(held, bound("a", "bank/pay", 1, r#"{ "amount": 5, "to": "x" }"#, "b1"));
        for other in [
            bound("b", "bank/pay", 1, r#"{"to":"x","amount":5}"#, "b1"),
            bound("a", "bank/pays", 1, r#"{"to":"x","amount":5}"#, "b1"),
            bound("a", "bank/pay", 2, r#"{"to":"x","amount":5}"#, "b1"),
            bound("a", "bank/pay", 1, r#"{"to":"x","amount":50}"#, "b1"),
            bound("a", "bank/pay", 1, r#"{"to":"x","amount":5.0}"#, "b1"),
            bound("a", "bank/pay", 1, r#"{"to":"x","amount":5}"#, "b2"),
        ] {
            assert_ne!(held, other);
        }
    }
}
