//! What a message would do, in the words that policies use.

use cordon_core::json::Node;
use cordon_core::{Action, ActionName, Class, ClassKind, Effect, InvalidName, Resource, ResourceKind, Value};

use super::method::Aim;
use super::{Era, Kind, Message, Method, Problem, Refusal, Sender, Shape, parse};

/// The server name under which the protocol's own messages are actions: `mcp/tools.list`. No
/// configured server may have it, or its tools would take the place of those messages.
pub const RESERVED_SERVER: &str = "mcp";

/// Longest resource URI, in bytes.
const URI_BYTES_MAX: usize = 8 << 10;
/// Longest tool name, prompt name or task id, in bytes.
const NAME_BYTES_MAX: usize = 1 << 10;
/// Most resources one `subscriptions/listen` may name.
const DOCUMENTS_MAX: usize = 1_000;

/// What one request or notification would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    method: Method,
    sent: Box<str>,
    target: Target,
}

/// What an operation is aimed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The server as a whole.
    Server,
    /// The tool of this name.
    Tool(Box<str>),
    /// The resource, or the resource template, of this URI.
    Document(Box<str>),
    /// The resources of these URIs.
    Documents(Vec<Box<str>>),
    /// The prompt of this name.
    Prompt(Box<str>),
    /// The task of this id.
    Task(Box<str>),
    /// The client's model.
    Model,
    /// The person at the client.
    Person {
        /// Where the person is sent, in URL mode.
        url: Option<Box<str>>,
    },
}

impl Operation {
    /// What the request or notification `message`, sent by `sender`, would do.
    ///
    /// A method that is not known, or that this sender may not send in this era, gives an operation
    /// with [`Method::Unknown`], which is to be denied. A known method without the parameters that
    /// say what it is aimed at is a refusal.
    pub fn of(message: &Message, sender: Sender, era: Era) -> Result<Self, Refusal> {
        let refuse = |problem| Refusal { id: message.id().cloned(), problem };
        let (sent, shape) = match message.kind() {
            Kind::Request { method, .. } => (method, Shape::Request),
            Kind::Notification { method } => (method, Shape::Notification),
            Kind::Result { .. } | Kind::Error { .. } => {
                return Err(refuse(Problem::Shape("an answer where a request was expected")));
            }
        };
        let method = Method::named(sent);
        if !method.may_come_from(sender, era) || method.shape() != shape {
            return Ok(Self::unknown(sent));
        }
        Self::aimed(method, sent, message.params()).map_err(refuse)
    }

    /// What a request embedded in a result would do; only what may be embedded is known.
    pub(super) fn embedded(request: &Node) -> Result<Self, Problem> {
        let sent = request.get("method").and_then(Node::as_text).unwrap_or_default();
        let method = Method::named(sent);
        let params = request.get("params");
        params.map_or(Ok(()), parse::check_params)?;
        if method.may_be_embedded() { Self::aimed(method, sent, params) } else { Ok(Self::unknown(sent)) }
    }

    fn unknown(sent: &str) -> Self {
        Self {
            method: Method::Unknown,
            sent: sent.chars().take(256).collect::<String>().into(),
            target: Target::Server,
        }
    }

    fn aimed(method: Method, sent: &str, params: Option<&Node>) -> Result<Self, Problem> {
        let text = |name: &'static str, max| {
            let text = params.and_then(|params| params.get(name)).and_then(Node::as_text);
            bounded(text, max).ok_or(Problem::Param {
                method: method.as_str(),
                name,
                expected: "a short text",
            })
        };
        let target = match method.aim() {
            Aim::Server => Target::Server,
            Aim::Tool => Target::Tool(text("name", NAME_BYTES_MAX)?),
            Aim::Prompt => Target::Prompt(text("name", NAME_BYTES_MAX)?),
            Aim::Document => Target::Document(text("uri", URI_BYTES_MAX)?),
            Aim::Task => Target::Task(text("taskId", NAME_BYTES_MAX)?),
            Aim::Model => Target::Model,
            Aim::Documents => documents(params)?,
            Aim::Completion => completion(params)?,
            Aim::Person => person(params)?,
        };
        if method == Method::CallTool {
            check_arguments(params)?;
        }
        Ok(Self { method, sent: sent.into(), target })
    }

    /// The method; [`Method::Unknown`] if it is not one that may be sent here.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method as it was sent.
    pub fn sent(&self) -> &str {
        &self.sent
    }

    /// What it is aimed at.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether it may be forwarded at all, once it is permitted.
    pub fn is_known(&self) -> bool {
        self.method != Method::Unknown
    }

    /// The tool that it calls, if it calls one.
    pub fn tool(&self) -> Option<&str> {
        match &self.target {
            Target::Tool(name) => Some(name),
            _ => None,
        }
    }

    /// The name of the action: `server/tool` for a tool call, `mcp/tools.list` and the like for the
    /// protocol's own messages, `mcp/unknown` for any other. A tool whose name is not visible text,
    /// or a server that is called like the protocol itself, has no action.
    pub fn action_name(&self, server: &str) -> Result<ActionName, InvalidName> {
        match &self.target {
            Target::Tool(_) if server == RESERVED_SERVER || server.contains('/') || server.is_empty() => {
                Err(InvalidName::new("the name of a configured server", server))
            }
            Target::Tool(tool) => ActionName::tool(server, tool),
            _ => ActionName::tool(RESERVED_SERVER, &self.method.as_str().replace('/', ".")),
        }
    }

    /// The action: a tool call is undeclared until its manifest says otherwise; the protocol's own
    /// messages have fixed classes and effects; an unknown method is undeclared.
    pub fn action(&self, server: &str) -> Result<Action, InvalidName> {
        let name = self.action_name(server)?;
        if matches!(self.target, Target::Tool(_)) || !self.is_known() {
            return Ok(Action::undeclared(name));
        }
        let mut classes = self.method.classes().to_vec();
        let mut effect = self.method.effect();
        match &self.target {
            // Sending a person to an address of the server's choice leaves the client.
            Target::Person { url: Some(_) } => {
                classes.push(ClassKind::NetEgress);
                effect = Effect::Write;
            }
            Target::Documents(uris) if uris.is_empty() => classes.clear(),
            _ => {}
        }
        Ok(Action::declared(name, classes.into_iter().map(Class::whole), effect))
    }

    /// What is acted on, with the attributes `server` and, where they apply, `name`, `uri`, `task`,
    /// `mode` and `url`. Identifiers are `server/…`, so that one server's resource is never taken
    /// for another's. An operation on several resources gives each; every one must be permitted.
    pub fn resources(&self, server: &str, tenant: &str) -> Vec<Resource> {
        let of = |kind: &str, id: &str, attributes: &[(&str, &str)]| {
            let mut resource = Resource::new(kind, id, tenant);
            for (name, value) in [("server", server)].iter().chain(attributes) {
                resource.attributes.insert((*name).into(), Value::text(*value));
            }
            resource
        };
        let within = |name: &str| format!("{server}/{name}");
        let document = |uri: &str| of(ResourceKind::DOCUMENT, &within(uri), &[("uri", uri)]);
        let whole = |attributes: &[(&str, &str)]| of(ResourceKind::SERVER, server, attributes);
        vec![match &self.target {
            Target::Tool(name) => of(ResourceKind::TOOL, &within(name), &[("name", name)]),
            Target::Prompt(name) => of(ResourceKind::PROMPT, &within(name), &[("name", name)]),
            Target::Document(uri) => document(uri),
            Target::Documents(uris) if !uris.is_empty() => {
                return uris.iter().map(|uri| document(uri)).collect();
            }
            Target::Task(id) => whole(&[("task", id)]),
            Target::Person { url: Some(url) } => whole(&[("mode", "url"), ("url", url)]),
            Target::Person { url: None } => whole(&[("mode", "form")]),
            Target::Server | Target::Documents(_) | Target::Model => whole(&[]),
        }]
    }
}

fn bounded(text: Option<&str>, max: usize) -> Option<Box<str>> {
    text.filter(|text| !text.is_empty() && text.len() <= max).map(Into::into)
}

fn check_arguments(params: Option<&Node>) -> Result<(), Problem> {
    match params.and_then(|params| params.get("arguments")) {
        Some(node) if !node.is_object() && !node.is_null() => Err(Problem::Param {
            method: Method::CallTool.as_str(),
            name: "arguments",
            expected: "an object",
        }),
        _ => Ok(()),
    }
}

/// The resources that a `subscriptions/listen` wants to hear of.
fn documents(params: Option<&Node>) -> Result<Target, Problem> {
    let wrong = || Problem::Param {
        method: Method::Listen.as_str(),
        name: "notifications.resourceSubscriptions",
        expected: "a list of at most 1,000 URIs",
    };
    let filter = params.and_then(|params| params.get("notifications"));
    let Some(list) = filter.and_then(|filter| filter.get("resourceSubscriptions")) else {
        return Ok(Target::Documents(Vec::new()));
    };
    let cordon_core::json::Kind::Array(items) = list.kind() else { return Err(wrong()) };
    if items.len() > DOCUMENTS_MAX {
        return Err(wrong());
    }
    let uris = items.iter().map(|item| bounded(item.as_text(), URI_BYTES_MAX)).collect::<Option<Vec<_>>>();
    uris.map(Target::Documents).ok_or_else(wrong)
}

/// The prompt or resource template whose argument is to be completed.
fn completion(params: Option<&Node>) -> Result<Target, Problem> {
    let wrong = Problem::Param {
        method: Method::Complete.as_str(),
        name: "ref",
        expected: "a `ref/prompt` with a name or a `ref/resource` with a URI",
    };
    let Some(reference) = params.and_then(|params| params.get("ref")) else { return Err(wrong) };
    let text = |name| reference.get(name).and_then(Node::as_text);
    match text("type") {
        Some("ref/prompt") => bounded(text("name"), NAME_BYTES_MAX).map(Target::Prompt).ok_or(wrong),
        Some("ref/resource") => bounded(text("uri"), URI_BYTES_MAX).map(Target::Document).ok_or(wrong),
        _ => Err(wrong),
    }
}

/// The person, and where an elicitation in URL mode sends them. A `url` counts whatever `mode` says.
fn person(params: Option<&Node>) -> Result<Target, Problem> {
    let wrong = |name, expected| Problem::Param { method: Method::Elicit.as_str(), name, expected };
    let member = |name| params.and_then(|params| params.get(name));
    let url = match member("url") {
        None => None,
        Some(node) => {
            Some(bounded(node.as_text(), URI_BYTES_MAX).ok_or_else(|| wrong("url", "a short text"))?)
        }
    };
    match (member("mode").map(Node::as_text), &url) {
        (None | Some(Some("form")), _) | (Some(Some("url")), Some(_)) => Ok(Target::Person { url }),
        (Some(Some("url")), None) => Err(wrong("url", "a short text")),
        _ => Err(wrong("mode", "`form` or `url`")),
    }
}
