//! A scripted agent: a small MCP client that calls tools through `cordon mcp`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::Failure;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the server has to end once its input is closed.
const GRACE: Duration = Duration::from_secs(3);

/// The agent's side of one MCP connection over a child's standard input and output.
pub(super) struct Agent {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    next_id: u64,
}

/// What came back for one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The tool ran.
    Done {
        /// The text of its result.
        text: String,
    },
    /// The call waits for a person.
    Held {
        /// The approval that was asked for.
        approval: String,
        /// Why.
        because: Vec<Because>,
        /// The ledger entry.
        entry: Option<String>,
    },
    /// The call was refused.
    Denied {
        /// Why.
        because: Vec<Because>,
        /// The ledger entry.
        entry: Option<String>,
    },
}

/// One rule that made a verdict so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Because {
    /// The rule's name.
    pub(super) rule: String,
    /// Where it stands, as `file:line`; empty for built-in rules.
    pub(super) place: String,
    /// What it says.
    pub(super) message: String,
}

impl Answer {
    /// The verdict as policies name it.
    pub(super) const fn verdict(&self) -> &'static str {
        match self {
            Self::Done { .. } => "allow",
            Self::Held { .. } => "ask",
            Self::Denied { .. } => "deny",
        }
    }
}

impl Agent {
    /// Starts `command`, an MCP server as far as the agent knows, and greets it.
    pub(super) fn start(mut command: Command) -> Result<Self, Failure> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or_else(|| Failure::new("the server has no output"))?;
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let mut agent = Self { child, input, lines, next_id: 0 };
        agent.request(
            "initialize",
            json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "demo-agent", "version": env!("CARGO_PKG_VERSION")},
            }),
        )?;
        agent.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))?;
        Ok(agent)
    }

    /// The names of the tools that the agent is shown.
    pub(super) fn tools(&mut self) -> Result<Vec<String>, Failure> {
        let answer = self.request("tools/list", json!({}))?;
        let tools = answer.pointer("/result/tools").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(tools.iter().filter_map(|tool| tool.get("name")?.as_str().map(str::to_owned)).collect())
    }

    /// Calls a tool.
    pub(super) fn call(&mut self, tool: &str, arguments: &Value) -> Result<Answer, Failure> {
        let answer = self.request("tools/call", json!({"name": tool, "arguments": arguments}))?;
        Ok(read(&answer))
    }

    fn request(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        self.next_id = self.next_id.saturating_add(1);
        let id = self.next_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        let begun = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let line = self
                .lines
                .recv_timeout(left)
                .map_err(|_| Failure::new(format!("no answer to `{method}` within {PATIENCE:?}")))?;
            let message: Value = serde_json::from_str(&line)?;
            // Notifications and the server's own requests are not what is waited for.
            if message.get("method").is_none() && message.get("id").and_then(Value::as_u64) == Some(id) {
                return Ok(message);
            }
        }
    }

    fn send(&mut self, message: &Value) -> Result<(), Failure> {
        let input = self.input.as_mut().ok_or_else(|| Failure::new("the connection is closed"))?;
        input.write_all(format!("{message}\n").as_bytes())?;
        Ok(input.flush()?)
    }
}

impl Drop for Agent {
    /// Ends the connection as a client does: by closing the server's input.
    fn drop(&mut self) {
        self.input = None;
        let begun = Instant::now();
        while begun.elapsed() < GRACE {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads an answer: a result, or Cordon's own refusal with its data.
fn read(answer: &Value) -> Answer {
    let refusal = answer
        .pointer("/error/data")
        .or_else(|| answer.pointer("/result/_meta/cordon.dev~1denial"))
        .filter(|data| data.get("verdict").is_some());
    if let Some(data) = refusal {
        let because = because(data);
        let entry = text_at(data, "/entry/id");
        return match text_at(data, "/approval/id") {
            Some(approval) => Answer::Held { approval, because, entry },
            None => Answer::Denied { because, entry },
        };
    }
    if let Some(error) = text_at(answer, "/error/message") {
        let because = vec![Because { rule: String::new(), place: String::new(), message: error }];
        return Answer::Denied { because, entry: None };
    }
    let parts = answer.pointer("/result/content").and_then(Value::as_array).cloned().unwrap_or_default();
    let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
    Answer::Done { text: texts.join("\n") }
}

fn because(data: &Value) -> Vec<Because> {
    let reasons = data.get("reasons").and_then(Value::as_array).cloned().unwrap_or_default();
    // A held call is permitted as well; that is not why it waits.
    let why = reasons.iter().filter(|reason| text_at(reason, "/kind").as_deref() != Some("permitted"));
    why.map(|reason| {
        let file = text_at(reason, "/file").unwrap_or_default();
        let line = reason.get("line").and_then(Value::as_u64).unwrap_or_default();
        Because {
            rule: text_at(reason, "/rule").unwrap_or_default(),
            place: if file.is_empty() { file } else { format!("{file}:{line}") },
            message: text_at(reason, "/message").unwrap_or_default(),
        }
    })
    .collect()
}

fn text_at(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_result_a_hold_or_a_refusal_and_never_guessed() {
        let done = json!({"id": 1, "result": {"content": [{"type": "text", "text": "hello"}]}});
        assert_eq!(read(&done), Answer::Done { text: "hello".into() });
        let reasons =
            json!([{"rule": "cap", "file": "permissions/a.cedar", "line": 3, "message": "too much"}]);
        let held = json!({"error": {"code": -31428, "message": "m", "data": {
            "verdict": "ask", "reasons": reasons, "approval": {"id": "appr_1"}, "entry": {"id": "rec_1"}}}});
        assert!(matches!(read(&held), Answer::Held { approval, because, .. }
            if approval == "appr_1" && because[0].place == "permissions/a.cedar:3"));
        let denied = json!({"result": {"isError": true, "content": [], "_meta": {"cordon.dev/denial": {
            "verdict": "deny", "reasons": reasons}}}});
        assert_eq!(read(&denied).verdict(), "deny");
        let broken = json!({"error": {"code": -32603, "message": "gone"}});
        assert_eq!(read(&broken).verdict(), "deny");
    }
}
