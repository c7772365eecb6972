//! What a server's answer asks for: nothing more, input from the client, or patience.

use cordon_core::json::Node;

use super::{Era, Kind, Message, Method, Operation, Problem, Refusal, canonical};

/// What an answer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<'m> {
    /// The whole answer.
    Complete {
        /// Whether a tool says that it failed.
        is_error: bool,
        /// The structured part of a tool's answer.
        structured: Option<&'m Node>,
    },
    /// The server wants input first; the client then repeats the request (2026-07-28).
    InputRequired {
        /// The requests by the server's own keys; each needs a decision of its own.
        requests: Vec<Embedded<'m>>,
        /// The server's opaque state.
        state: Option<&'m str>,
    },
    /// The effect comes later, under a task, or this is what became of one.
    Task {
        /// The task's id: the decision and its record follow it.
        id: &'m str,
        /// How far it is.
        status: TaskStatus,
        /// What it wants from the client; each needs a decision of its own.
        requests: Vec<Embedded<'m>>,
        /// What the task's request would have been answered with, once it is there.
        result: Option<&'m Node>,
    },
    /// A JSON-RPC error.
    Error {
        /// Its code.
        code: i64,
        /// Its message.
        message: &'m str,
    },
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskStatus {
    /// Under way.
    Working,
    /// Waiting for input.
    InputRequired,
    /// Done.
    Completed,
    /// Ended by an error.
    Failed,
    /// Called off.
    Cancelled,
}

impl TaskStatus {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "working" | "submitted" => Self::Working,
            "input_required" => Self::InputRequired,
            "completed" => Self::Completed,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            _ => return None,
        })
    }

    /// Whether the task will not change any more.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A request that a server put inside a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded<'m> {
    /// The server's key for it.
    pub key: &'m str,
    /// What it would do; unknown if it may not be embedded.
    pub operation: Operation,
    /// The request.
    pub node: &'m Node,
}

impl<'m> Outcome<'m> {
    /// What `message`, the answer to a request of `method`, is. Input that is asked for where it
    /// may not be, an unknown `resultType` and a malformed task are refusals.
    pub fn of(message: &'m Message, method: Method, era: Era) -> Result<Self, Refusal> {
        let refuse = |problem| Refusal { id: message.id().cloned(), problem };
        match message.kind() {
            Kind::Error { .. } => Ok(error(message.error())),
            Kind::Result { .. } => {
                let result = message.result().ok_or_else(|| refuse(Problem::Shape("none of them")))?;
                Self::read(result, method, era).map_err(refuse)
            }
            Kind::Request { .. } | Kind::Notification { .. } => {
                Err(refuse(Problem::Shape("`method` where an answer was expected")))
            }
        }
    }

    /// What the task notification `message` says of its task.
    pub fn of_task_notification(message: &'m Message) -> Result<Self, Refusal> {
        let params = message.params().ok_or(Problem::Type { name: "params", expected: "an object" })?;
        Ok(task(params)?)
    }

    /// The requests embedded in it.
    pub fn requests(&self) -> &[Embedded<'m>] {
        match self {
            Self::InputRequired { requests, .. } | Self::Task { requests, .. } => requests,
            Self::Complete { .. } | Self::Error { .. } => &[],
        }
    }

    fn read(result: &'m Node, method: Method, era: Era) -> Result<Self, Problem> {
        let kind = match present(result, "resultType") {
            None => None,
            Some(node) => Some(node.as_text().ok_or(wrong("result.resultType", "text"))?),
        };
        let handles_task = matches!(method, Method::GetTask | Method::CancelTask | Method::UpdateTask);
        match (kind, era) {
            (Some("input_required"), Era::Modern) if method.may_ask_for_input() => input_required(result),
            (Some("input_required"), Era::Modern) => {
                Err(wrong("result.resultType", "`complete`: this request may not ask for input"))
            }
            (Some("task"), Era::Modern) if method == Method::CallTool => task(result),
            (None | Some("complete"), Era::Modern) if handles_task && result.get("taskId").is_some() => {
                task(result)
            }
            (None | Some("complete"), Era::Modern) => complete(result),
            (Some(_), Era::Modern) => {
                Err(wrong("result.resultType", "`complete`, `input_required` or `task`"))
            }
            // 2025-11-25: a task that a request made is a member of the result.
            (_, Era::Legacy) if handles_task && result.get("taskId").is_some() => task(result),
            (_, Era::Legacy) => match result.get("task").filter(|task| task.get("taskId").is_some()) {
                Some(holder) => task(holder),
                None => complete(result),
            },
        }
    }
}

/// A member that is there and not `null`, which many writers send for nothing.
fn present<'m>(holder: &'m Node, name: &str) -> Option<&'m Node> {
    holder.get(name).filter(|node| !node.is_null())
}

fn wrong(name: &'static str, expected: &'static str) -> Problem {
    Problem::Type { name, expected }
}

fn error(error: Option<&Node>) -> Outcome<'_> {
    let member = |name| error.and_then(|error| error.get(name));
    Outcome::Error {
        code: member("code").and_then(Node::as_i64).unwrap_or_default(),
        message: member("message").and_then(Node::as_text).unwrap_or_default(),
    }
}

/// A whole answer asks for nothing: `inputRequests` in it would be a channel that nobody decided.
fn complete(result: &Node) -> Result<Outcome<'_>, Problem> {
    if present(result, "inputRequests").is_some() {
        return Err(wrong("result.inputRequests", "absent in a complete result"));
    }
    let is_error = match present(result, "isError") {
        None => false,
        Some(node) => node.as_bool().ok_or(wrong("result.isError", "true or false"))?,
    };
    Ok(Outcome::Complete { is_error, structured: result.get("structuredContent") })
}

fn input_required(result: &Node) -> Result<Outcome<'_>, Problem> {
    let state = match present(result, "requestState") {
        None => None,
        Some(node) => Some(node.as_text().ok_or(wrong("result.requestState", "text"))?),
    };
    let requests = embedded(result)?;
    if requests.is_empty() && state.is_none() {
        return Err(wrong("result", "one with `inputRequests` or `requestState`"));
    }
    Ok(Outcome::InputRequired { requests, state })
}

fn embedded(holder: &Node) -> Result<Vec<Embedded<'_>>, Problem> {
    let Some(requests) = present(holder, "inputRequests") else { return Ok(Vec::new()) };
    if !requests.is_object() {
        return Err(wrong("inputRequests", "an object of requests"));
    }
    let mut found = Vec::with_capacity(requests.members().len());
    for (key, node) in requests.members() {
        canonical::letter_case(node, &["method", "params"])?;
        found.push(Embedded { key, operation: Operation::embedded(node)?, node });
    }
    Ok(found)
}

fn task(holder: &Node) -> Result<Outcome<'_>, Problem> {
    let text = |name| holder.get(name).and_then(Node::as_text);
    let id = text("taskId").filter(|id| !id.is_empty() && id.len() <= 1_024);
    let id = id.ok_or(wrong("taskId", "a text of at most 1,024 bytes"))?;
    let status = text("status").and_then(TaskStatus::parse);
    let status = status.ok_or(wrong("status", "the status of a task"))?;
    Ok(Outcome::Task { id, status, requests: embedded(holder)?, result: holder.get("result") })
}
