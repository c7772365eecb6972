//! Real child processes: their environment, their end, and what is left behind.

use std::time::Duration;

use cordon_gateway::mcp::child::{Child, SpawnError};
use cordon_gateway::mcp::{Command, Server, ServerOptions, UpstreamOptions};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::{sleep, timeout};

use crate::support::{ALL, Client, PATIENCE, World, error, fixture};

const GRACE: Duration = Duration::from_millis(300);

fn lives(pid: u32) -> bool {
    // A zombie has ended; only its parent has not looked yet.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

async fn ends(pid: u32) -> bool {
    timeout(PATIENCE, async {
        while lives(pid) {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .is_ok()
}

#[tokio::test]
async fn a_child_gets_what_it_needs_and_no_secret() {
    let mut command = fixture("environment");
    command.env.insert("CONFIGURED".into(), "1".into());
    let mut child = Child::spawn("t", &command, GRACE).unwrap();
    let (read, mut write) = child.take_streams().unwrap();
    write.write_all(b"\n").await.unwrap();
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).await.unwrap();
    assert!(line.contains("\"PATH\"") && line.contains("\"CONFIGURED\""), "{line}");
    assert!(!line.contains("CARGO"), "the test's own environment came along: {line}");
}

#[tokio::test]
async fn dropping_a_child_ends_its_whole_group_even_if_it_will_not() {
    let command = Command {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), "trap '' TERM; sleep 600 & echo $!; wait; sleep 600".into()],
        ..Command::default()
    };
    let mut child = Child::spawn("t", &command, GRACE).unwrap();
    let pid = child.pid();
    let (read, _write) = child.take_streams().unwrap();
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).await.unwrap();
    let grandchild: u32 = line.trim().parse().unwrap();
    assert!(lives(pid) && lives(grandchild));
    drop(child);
    assert!(ends(pid).await, "the child lives");
    assert!(ends(grandchild).await, "the grandchild lives");
}

#[tokio::test]
async fn a_child_that_ends_by_itself_takes_its_group_along_and_says_how() {
    let command = Command {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), "sleep 600 & echo $!; exit 3".into()],
        ..Command::default()
    };
    let mut child = Child::spawn("t", &command, GRACE).unwrap();
    let (read, _write) = child.take_streams().unwrap();
    let mut line = String::new();
    BufReader::new(read).read_line(&mut line).await.unwrap();
    let status = timeout(PATIENCE, child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(3));
    assert!(ends(line.trim().parse().unwrap()).await);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let command = Command { program: "/nonexistent/server".into(), ..Command::default() };
    assert!(matches!(Child::spawn("t", &command, GRACE), Err(SpawnError::Missing { .. })));
    let command = Command { program: "/etc/passwd".into(), ..Command::default() };
    assert!(matches!(Child::spawn("t", &command, GRACE), Err(SpawnError::NotRunnable { .. })));
}

#[tokio::test]
async fn a_child_that_exits_in_the_middle_of_a_call_fails_it_with_its_status() {
    let world = World::new(ALL, "");
    let options = ServerOptions::new("s", UpstreamOptions::Stdio(fixture("leaves"))).unwrap();
    let server = Server::new(options).unwrap();
    let mut client = Client::of(world.door(&server, server.connect().unwrap()).await);
    assert!(client.request("ping", json!({})).await.get("result").is_some());
    let failed = client.request("resources/list", json!({})).await;
    let (code, why) = error(&failed);
    assert_eq!(code, -31502);
    assert!(why.contains("exit status: 3"), "{why}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_child() {
    let world = World::new(ALL, "");
    let options = ServerOptions::new("s", UpstreamOptions::Stdio(fixture("stubborn"))).unwrap();
    let server = Server::new(options).unwrap();
    let client = Client::of(world.door(&server, server.connect().unwrap()).await);
    client.leave().await;
    let alive = || {
        let stats = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("cmdline")).ok());
        stats.filter(|cmdline| cmdline.contains("mcp_fixture\0stubborn")).count()
    };
    let gone = timeout(PATIENCE, async {
        while alive() > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(gone.await.is_ok(), "the child lives");
}
