//! What answers ask for.

use cordon_wire::mcp::{Era, Method, Outcome, TaskStatus};

use crate::{message, result};

fn check(body: &str, method: Method, era: Era, want: Result<&str, &str>) {
    let message = result(body);
    let got =
        Outcome::of(&message, method, era).map_err(|refusal| refusal.to_string()).map(
            |outcome| match outcome {
                Outcome::Complete { is_error, structured } => {
                    format!("complete {is_error} {}", structured.is_some())
                }
                Outcome::InputRequired { requests, state } => {
                    let requests: Vec<_> = requests
                        .iter()
                        .map(|r| format!("{}={}", r.key, r.operation.method().as_str()))
                        .collect();
                    format!("input [{}] {state:?}", requests.join(","))
                }
                Outcome::Task { id, status, requests, result } => {
                    format!("task {id} {status:?} {} {}", requests.len(), result.is_some())
                }
                Outcome::Error { code, message } => format!("error {code} {message}"),
            },
        );
    match (got, want) {
        (Ok(got), Ok(want)) => assert_eq!(got, want, "{body}"),
        (Err(got), Err(want)) => assert!(got.contains(want), "{body}: {got}"),
        (got, want) => panic!("{body}: {got:?}, wanted {want:?}"),
    }
}

#[test]
fn a_modern_answer_is_complete_asks_for_input_or_becomes_a_task() {
    use Era::Modern;
    use Method::{CallTool, GetTask, ListTools};
    check(r#"{"content":[]}"#, CallTool, Modern, Ok("complete false false"));
    check(
        r#"{"resultType":"complete","content":[],"structuredContent":{},"isError":true}"#,
        CallTool,
        Modern,
        Ok("complete true true"),
    );
    check(
        r#"{"resultType":"input_required","requestState":"s","inputRequests":{"a":{"method":"elicitation/create","params":{"message":"?"}},"b":{"method":"sampling/createMessage","params":{}},"c":{"method":"roots/list"},"d":{"method":"tools/call","params":{"name":"x"}}}}"#,
        CallTool,
        Modern,
        Ok(r#"input [a=elicitation/create,b=sampling/createMessage,c=roots/list,d=unknown] Some("s")"#),
    );
    check(
        r#"{"resultType":"input_required","requestState":"s"}"#,
        CallTool,
        Modern,
        Ok(r#"input [] Some("s")"#),
    );
    check(
        r#"{"resultType":"task","taskId":"t","status":"working"}"#,
        CallTool,
        Modern,
        Ok("task t Working 0 false"),
    );
    check(
        r#"{"resultType":"complete","taskId":"t","status":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"url","url":"https://x","message":""}}}}"#,
        GetTask,
        Modern,
        Ok("task t InputRequired 1 false"),
    );
    check(
        r#"{"resultType":"complete","taskId":"t","status":"completed","result":{"content":[]}}"#,
        GetTask,
        Modern,
        Ok("task t Completed 0 true"),
    );
    check(
        r#"{"resultType":null,"isError":null,"inputRequests":null,"requestState":null}"#,
        CallTool,
        Modern,
        Ok("complete false false"),
    );
    check(r#"{"tools":[]}"#, ListTools, Modern, Ok("complete false false"));
}

#[test]
fn input_is_never_asked_for_where_nobody_would_decide_about_it() {
    use Era::{Legacy, Modern};
    use Method::{CallTool, GetTask, ListTools};
    let asks = r#""inputRequests":{"a":{"method":"sampling/createMessage","params":{}}}"#;
    check(&format!("{{{asks}}}"), CallTool, Modern, Err("inputRequests"));
    check(&format!(r#"{{"resultType":"complete",{asks}}}"#), CallTool, Modern, Err("inputRequests"));
    check(&format!("{{{asks}}}"), CallTool, Legacy, Err("inputRequests"));
    check(
        &format!(r#"{{"resultType":"input_required",{asks}}}"#),
        ListTools,
        Modern,
        Err("may not ask for input"),
    );
    check(
        &format!(r#"{{"resultType":"input_required",{asks}}}"#),
        GetTask,
        Modern,
        Err("may not ask for input"),
    );
    check(r#"{"resultType":"input_required"}"#, CallTool, Modern, Err("requestState"));
    check(
        r#"{"resultType":"input_required","inputRequests":[]}"#,
        CallTool,
        Modern,
        Err("object of requests"),
    );
    check(r#"{"resultType":"input_required","requestState":{}}"#, CallTool, Modern, Err("requestState"));
    check(
        r#"{"resultType":"input_required","inputRequests":{"a":{"Method":"sampling/createMessage"}}}"#,
        CallTool,
        Modern,
        Err("letter case"),
    );
    check(
        r#"{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"form","URL":"https://x"}}}}"#,
        CallTool,
        Modern,
        Err("letter case"),
    );
    check(r#"{"resultType":"later"}"#, CallTool, Modern, Err("resultType"));
    check(r#"{"resultType":7}"#, CallTool, Modern, Err("resultType"));
    check(r#"{"resultType":"task","status":"working"}"#, CallTool, Modern, Err("taskId"));
    check(r#"{"resultType":"task","taskId":"t","status":"dreaming"}"#, CallTool, Modern, Err("status"));
    check(r#"{"resultType":"task","taskId":"t","status":"working"}"#, ListTools, Modern, Err("resultType"));
    check(r#"{"isError":"no"}"#, CallTool, Modern, Err("isError"));
}

#[test]
fn a_legacy_answer_may_carry_a_task() {
    use Era::Legacy;
    check(
        r#"{"task":{"taskId":"t","status":"working"}}"#,
        Method::CallTool,
        Legacy,
        Ok("task t Working 0 false"),
    );
    check(r#"{"taskId":"t","status":"failed"}"#, Method::GetTask, Legacy, Ok("task t Failed 0 false"));
    check(r#"{"task":"mow the lawn"}"#, Method::CallTool, Legacy, Ok("complete false false"));
    check(r#"{"content":[],"resultType":"whatever"}"#, Method::CallTool, Legacy, Ok("complete false false"));
}

#[test]
fn errors_and_task_notifications_are_read_too() {
    let error = message(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}"#);
    assert_eq!(
        Outcome::of(&error, Method::CallTool, Era::Modern),
        Ok(Outcome::Error { code: -32602, message: "no" })
    );
    let notified = message(
        r#"{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t","status":"input_required","inputRequests":{"a":{"method":"roots/list"}}}}"#,
    );
    let outcome = Outcome::of_task_notification(&notified).unwrap();
    assert_eq!(outcome.requests().len(), 1);
    assert!(Outcome::of(&notified, Method::CallTool, Era::Modern).is_err());
    assert!(TaskStatus::Cancelled.is_settled() && !TaskStatus::InputRequired.is_settled());
}
