//! The recipe `langgraph_run` against LangGraph's own server, which keeps everything in memory: for `cargo xtask soak`.

use super::{becomes_true, events, free_port, official, summary};
use executor_runtime_protocol::Status;
use executor_runtime_tests::{
    Invocation, Scene, amount, guest_tools::python_environment, installed::Installed, not_tested,
};
use serde_json::{Value, json};
use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

const SERVER: &str = "langgraph-cli[inmem]==0.4.40";

/// The graphs that it serves. `counter` counts `steps`, and fails at an unlucky number; `asker` asks a person.
const GRAPHS: &str = r#"
import asyncio
from typing import TypedDict
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

class State(TypedDict, total=False):
    steps: int
    done: int
    answer: str

async def count(state: State):
    await asyncio.sleep(state.get("pause", 0.2))
    done = state.get("done", 0) + 1
    if done == 2 and state["steps"] == 13:
        raise ValueError("unlucky")
    return {"done": done}

async def ask(state: State):
    return {"answer": interrupt({"question": "Go on?"})}

counting = StateGraph(State)
counting.add_node("count", count)
counting.add_edge(START, "count")
counting.add_conditional_edges("count", lambda state: "count" if state["done"] < state["steps"] else END)
counter = counting.compile()

asking = StateGraph(State)
asking.add_node("ask", ask)
asking.add_edge(START, "ask")
asking.add_edge("ask", END)
asker = asking.compile()
"#;

/// A running server, until it is dropped.
struct Server {
    child: Child,
    port: u16,
    _scene: Scene,
}

impl Server {
    fn start() -> Self {
        let bin = python_environment("python/langgraph", SERVER)
            .unwrap()
            .join("bin");
        let scene = Scene::new();
        scene.file("graphs.py", GRAPHS);
        let graphs = json!({"counter": "./graphs.py:counter", "asker": "./graphs.py:asker"});
        scene.file(
            "langgraph.json",
            json!({"dependencies": ["."], "graphs": graphs}).to_string(),
        );
        let port = free_port();
        let log = fs::File::create(scene.path("log")).unwrap();
        let child = Command::new(bin.join("langgraph"))
            .args([
                "dev",
                "--no-browser",
                "--no-reload",
                "--host",
                "127.0.0.1",
                "--port",
            ])
            .arg(port.to_string())
            .current_dir(scene.root())
            .env("LANGSMITH_TRACING", "false")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        becomes_true("the server listens", || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self {
            child,
            port,
            _scene: scene,
        }
    }

    fn run(&self, place: &Installed, thread: usize, graph: &str) -> Invocation {
        place.invocation(&[
            ("langgraph.url", &format!("http://127.0.0.1:{}", self.port)),
            ("langgraph.assistant_id", graph),
            (
                "langgraph.thread_id",
                &format!("3f0c6d3e-0000-4000-8000-{thread:012}"),
            ),
        ])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How far the events say that a graph has counted.
fn counted(events: &[Value]) -> Vec<u64> {
    events.iter().filter_map(|event| event["done"].as_u64()).collect()
}

/// How many events a run has kept for the case that its host dies.
fn kept(place: &Installed, run: &str) -> Option<u64> {
    let checkpoint = fs::read(place.scene.capture(run).join("checkpoint")).ok()?;
    let text = String::from_utf8_lossy(&checkpoint);
    let (_, number) = text.split_once("\"events\":")?;
    number.split(',').next()?.parse().ok()
}

#[test]
fn runs_end_as_they_did_there() {
    if amount(0, 1) == 0 {
        not_tested(
            "langgraph_run against LangGraph's own server",
            "only `cargo xtask soak` installs LangGraph",
        );
        return;
    }
    let server = Server::start();
    let place = official("langgraph_run");

    let counting = server
        .run(&place, 1, "counter")
        .metadata("langgraph.input", r#"{"steps": 5}"#);
    let result = place.run(&counting.timeout(120, 5.0)).expect(Status::Succeeded);
    assert_eq!(counted(&events(&result)), [1, 2, 3, 4, 5]);
    assert_eq!(result.metadata["sse.end"], "success");

    let unlucky = server
        .run(&place, 2, "counter")
        .metadata("langgraph.input", r#"{"steps": 13}"#);
    let result = place.run(&unlucky.timeout(120, 5.0)).expect(Status::Failed);
    assert_eq!(summary(&result), "backend reported the end: error: unlucky");

    let asking = server.run(&place, 3, "asker").metadata("langgraph.input", "{}");
    let result = place.run(&asking.timeout(120, 5.0)).expect(Status::Failed);
    assert_eq!(
        (result.metadata["error.kind"].as_str(), summary(&result)),
        ("needs_input", r#"the run waits for input: {"question":"Go on?"}"#)
    );
    let answering = server
        .run(&place, 3, "asker")
        .metadata("langgraph.command", r#"{"resume": "yes"}"#);
    let result = place.run(&answering.timeout(120, 5.0)).expect(Status::Succeeded);
    assert_eq!(events(&result).last().unwrap()["answer"], "yes");

    let long = server
        .run(&place, 4, "counter")
        .metadata("langgraph.input", r#"{"steps": 10000}"#)
        .metadata("langgraph.options", r#"{"config": {"recursion_limit": 100000}}"#);
    let result = place.run(&long.timeout(8, 5.0)).expect(Status::TimedOut);
    assert_eq!(result.metadata["http.cancel_status"], "202");

    // A host that dies costs no event.
    let counting = server
        .run(&place, 5, "counter")
        .metadata("langgraph.input", r#"{"steps": 20}"#)
        .id("killed");
    let mut host = place.start(&counting);
    becomes_true("some events are kept", || {
        kept(&place, "killed").is_some_and(|events| events >= 4)
    });
    host.kill().unwrap();
    host.wait().unwrap();
    place.scene.assert_nothing_left_within(Duration::from_secs(10));
    let result = place.run(&counting).expect(Status::Succeeded);
    assert_eq!(result.metadata["http.resumed"], "true");
    assert_eq!(counted(&events(&result)), (1..=20).collect::<Vec<_>>());

    let unknown = server.run(&place, 6, "nothing");
    let result = place.run(&unknown).expect(Status::Failed);
    assert!(
        summary(&result).starts_with("kickoff: expected HTTP 200, got HTTP 4"),
        "{result:?}"
    );
}
