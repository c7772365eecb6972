//! What a message would do, in the words of policies.

use cordon_wire::mcp::{Era, Message, Method, Operation, Sender, Shape, Target};

use crate::{message, request};

fn of(message: &Message, sender: Sender, era: Era) -> Operation {
    Operation::of(message, sender, era).unwrap_or_else(|refusal| panic!("{refusal}"))
}

/// `action classes effect resource`, as `sender` may send it.
fn check(method: &str, params: &str, sender: Sender, era: Era, want: &str) {
    let operation = of(&request(method, params), sender, era);
    let action = operation.action("srv").unwrap_or_else(|error| panic!("{error}"));
    let classes: Vec<_> = if action.is_declared() {
        action.classes().iter().map(ToString::to_string).collect()
    } else {
        vec!["*".into()]
    };
    let resources: Vec<_> = operation
        .resources("srv", "t")
        .into_iter()
        .map(|r| format!("{}:{}", r.kind.as_str(), r.id))
        .collect();
    let got =
        format!("{} [{}] {} {}", action.name(), classes.join(","), action.effect(), resources.join(","));
    assert_eq!(got, want, "{method} {params}");
}

#[test]
fn every_operation_has_its_action_classes_effect_and_resource() {
    use Era::{Legacy, Modern};
    use Sender::{Client, Server};
    check(
        "tools/call",
        r#"{"name":"send","arguments":{}}"#,
        Client,
        Legacy,
        "srv/send [*] irreversible Tool:srv/send",
    );
    check("tools/list", "{}", Client, Modern, "mcp/tools.list [] read Server:srv");
    check("initialize", "{}", Client, Legacy, "mcp/initialize [] read Server:srv");
    check("server/discover", "{}", Client, Modern, "mcp/server.discover [] read Server:srv");
    check(
        "resources/read",
        r#"{"uri":"file:///a"}"#,
        Client,
        Modern,
        "mcp/resources.read [data.read] read Document:srv/file:///a",
    );
    check(
        "resources/subscribe",
        r#"{"uri":"file:///a"}"#,
        Client,
        Legacy,
        "mcp/resources.subscribe [data.read] read Document:srv/file:///a",
    );
    check("prompts/get", r#"{"name":"p"}"#, Client, Legacy, "mcp/prompts.get [data.read] read Prompt:srv/p");
    check(
        "completion/complete",
        r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":""}}"#,
        Client,
        Legacy,
        "mcp/completion.complete [data.read] read Prompt:srv/p",
    );
    check(
        "completion/complete",
        r#"{"ref":{"type":"ref/resource","uri":"x://{a}"}}"#,
        Client,
        Modern,
        "mcp/completion.complete [data.read] read Document:srv/x://{a}",
    );
    check("tasks/get", r#"{"taskId":"t1"}"#, Client, Modern, "mcp/tasks.get [data.read] read Server:srv");
    check(
        "tasks/update",
        r#"{"taskId":"t1"}"#,
        Client,
        Modern,
        "mcp/tasks.update [data.write] write Server:srv",
    );
    check(
        "tasks/cancel",
        r#"{"taskId":"t1"}"#,
        Client,
        Legacy,
        "mcp/tasks.cancel [data.write] write Server:srv",
    );
    check(
        "subscriptions/listen",
        r#"{"notifications":{"toolsListChanged":true}}"#,
        Client,
        Modern,
        "mcp/subscriptions.listen [] read Server:srv",
    );
    check(
        "subscriptions/listen",
        r#"{"notifications":{"resourceSubscriptions":["a:1","b:2"]}}"#,
        Client,
        Modern,
        "mcp/subscriptions.listen [data.read] read Document:srv/a:1,Document:srv/b:2",
    );
    check(
        "sampling/createMessage",
        r#"{"messages":[],"maxTokens":1}"#,
        Server,
        Legacy,
        "mcp/sampling.createMessage [model.call] write Server:srv",
    );
    check(
        "elicitation/create",
        r#"{"message":"?","requestedSchema":{}}"#,
        Server,
        Legacy,
        "mcp/elicitation.create [data.read] read Server:srv",
    );
    check(
        "elicitation/create",
        r#"{"mode":"url","url":"https://x","message":"?"}"#,
        Server,
        Legacy,
        "mcp/elicitation.create [data.read,net.egress] write Server:srv",
    );
    check("roots/list", "{}", Server, Legacy, "mcp/roots.list [data.read] read Server:srv");
    check("tools/destroy", "{}", Client, Modern, "mcp/unknown [*] irreversible Server:srv");
}

#[test]
fn a_method_is_unknown_to_the_side_and_the_era_that_may_not_send_it() {
    use Era::{Legacy, Modern};
    use Sender::{Client, Server};
    let known = |method: &str, sender, era| {
        of(&request(method, r#"{"name":"x","uri":"u:x","taskId":"t"}"#), sender, era).is_known()
    };
    for (method, sender, era) in [
        ("sampling/createMessage", Server, Modern),
        ("elicitation/create", Server, Modern),
        ("roots/list", Server, Modern),
        ("ping", Server, Modern),
        ("ping", Client, Modern),
        ("initialize", Client, Modern),
        ("logging/setLevel", Client, Modern),
        ("resources/subscribe", Client, Modern),
        ("tasks/list", Client, Modern),
        ("tasks/result", Client, Modern),
        ("server/discover", Client, Legacy),
        ("tasks/update", Client, Legacy),
        ("subscriptions/listen", Client, Legacy),
        ("tools/call", Server, Legacy),
        ("tools/list", Server, Legacy),
        ("sampling/createMessage", Client, Legacy),
        ("elicitation/create", Client, Legacy),
        ("TOOLS/CALL", Client, Legacy),
        ("tools.call", Client, Legacy),
        ("tools/call/", Client, Legacy),
        ("rpc.discover", Client, Legacy),
    ] {
        assert!(!known(method, sender, era), "{method} {sender:?} {era:?}");
    }
    for (method, sender, era) in [
        ("ping", Server, Legacy),
        ("ping", Client, Legacy),
        ("roots/list", Server, Legacy),
        ("tools/call", Client, Modern),
        ("tasks/get", Server, Legacy),
    ] {
        assert!(known(method, sender, era), "{method} {sender:?} {era:?}");
    }
}

#[test]
fn a_request_is_not_a_notification_and_a_notification_not_a_request() {
    let notified = message(r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"x"}}"#);
    assert!(!of(&notified, Sender::Client, Era::Legacy).is_known());
    assert!(!of(&request("notifications/initialized", "{}"), Sender::Client, Era::Legacy).is_known());
    assert!(Operation::of(&crate::result("{}"), Sender::Client, Era::Legacy).is_err());
}

#[test]
fn a_method_without_what_it_is_aimed_at_is_refused() {
    let refused = |method: &str, params: &str, sender| {
        let refusal = Operation::of(&request(method, params), sender, Era::Legacy).unwrap_err();
        assert_eq!((refusal.code(), refusal.id.is_some()), (-32602, true), "{method} {params}: {refusal}");
    };
    for params in [
        "{}",
        r#"{"name":7}"#,
        r#"{"name":""}"#,
        r#"{"name":"x","arguments":[]}"#,
        r#"{"name":"x","arguments":"{}"}"#,
    ] {
        refused("tools/call", params, Sender::Client);
    }
    refused("tools/call", &format!(r#"{{"name":"{}"}}"#, "n".repeat(1_025)), Sender::Client);
    refused("resources/read", r#"{"uri":["file:///a"]}"#, Sender::Client);
    refused("prompts/get", "{}", Sender::Client);
    refused("tasks/get", "{}", Sender::Client);
    refused("completion/complete", r#"{"ref":{"type":"ref/other","name":"x"}}"#, Sender::Client);
    refused("elicitation/create", r#"{"mode":"url","message":"?"}"#, Sender::Server);
    refused("elicitation/create", r#"{"mode":"window","message":"?"}"#, Sender::Server);
    let missing = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#);
    assert!(Operation::of(&missing, Sender::Client, Era::Legacy).is_err());
    of(&request("tools/call", r#"{"name":"x","arguments":null}"#), Sender::Client, Era::Legacy);
}

#[test]
fn an_address_for_the_person_counts_whatever_the_mode_says() {
    for params in [
        r#"{"mode":"form","url":"https://evil.example","message":""}"#,
        r#"{"url":"https://evil.example","message":""}"#,
    ] {
        let operation = of(&request("elicitation/create", params), Sender::Server, Era::Legacy);
        assert_eq!(operation.target(), &Target::Person { url: Some("https://evil.example".into()) });
    }
}

#[test]
fn no_tool_can_pass_for_a_message_of_the_protocol_or_for_another_servers_tool() {
    let operation = of(&request("tools/call", r#"{"name":"tools.list"}"#), Sender::Client, Era::Legacy);
    for server in ["mcp", "", "a/b"] {
        assert!(operation.action(server).is_err(), "{server}");
    }
    assert!(operation.action("srv").is_ok());
    for name in ["a b", "a\\u0000", "a\\\"", "\\u00a0x"] {
        let operation =
            of(&request("tools/call", &format!(r#"{{"name":"{name}"}}"#)), Sender::Client, Era::Legacy);
        assert!(operation.action_name("srv").is_err(), "{name}");
    }
    let unknown = of(&request("tools.list", "{}"), Sender::Client, Era::Legacy);
    assert_eq!(unknown.action_name("srv").map(|name| name.to_string()), Ok("mcp/unknown".to_owned()));
}

#[test]
fn resources_name_their_server_and_say_what_they_are() {
    let operation = of(&request("resources/read", r#"{"uri":"file:///a"}"#), Sender::Client, Era::Legacy);
    let resource = operation.resources("srv", "acme").remove(0);
    assert_eq!(&*resource.tenant, "acme");
    let names: Vec<_> = resource.attributes.keys().map(|name| &**name).collect();
    assert_eq!(names, ["server", "uri"]);
}

#[test]
fn the_table_of_methods_is_whole() {
    for method in Method::ALL {
        assert_eq!(Method::named(method.as_str()), *method);
        let sendable = [Sender::Client, Sender::Server].into_iter().any(|sender| {
            [Era::Legacy, Era::Modern].into_iter().any(|era| method.may_come_from(sender, era))
        });
        assert!(sendable, "{method:?}");
        let notification = method.as_str().starts_with("notifications/");
        assert_eq!(method.shape() == Shape::Notification, notification, "{method:?}");
    }
    assert_eq!(Method::named("unknown"), Method::Unknown);
    for (sender, era) in [(Sender::Client, Era::Legacy), (Sender::Server, Era::Modern)] {
        assert!(!Method::Unknown.may_come_from(sender, era));
    }
}
