//! A loopback server with a backend for every official kind to talk to.
//!
//! | request | answer |
//! |---|---|
//! | `POST /echo` | 200 and the body that was sent |
//! | `POST /runs` | 202 `{"run_id": "run-1"}` |
//! | `GET /runs/run-1` | 200 `{"status": "running"}` twice, then `"completed"` |
//! | `GET /events` | 200 and an event stream with two events, the second `completed` |
//! | `POST /dispatch` | 200 and a RuntimeResult for the invocation that was sent |

use anyhow::Result;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

/// Starts serving, for as long as the process lives.
pub(crate) fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let polls = Arc::new(AtomicU32::new(0));
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let polls = polls.clone();
            // A client that breaks off is its own business.
            thread::spawn(move || drop(serve(connection, &polls)));
        }
    });
    Ok(address)
}

fn serve(connection: TcpStream, polls: &AtomicU32) -> Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut writer = connection;
    while let Some((request, body)) = read_request(&mut reader)? {
        let (status, answer) = match request.as_str() {
            "POST /echo" => ("200 OK", body),
            "POST /runs" => (
                "202 Accepted",
                json!({"run_id": "run-1"}).to_string().into_bytes(),
            ),
            "GET /runs/run-1" => {
                let status = if polls.fetch_add(1, Ordering::SeqCst) < 2 {
                    "running"
                } else {
                    "completed"
                };
                ("200 OK", json!({"status": status}).to_string().into_bytes())
            }
            "GET /events" => {
                let events = "data: working\n\nevent: completed\ndata: {}\n\n";
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
                // The end of the connection is the end of the stream.
                return Ok(writer.write_all([head, events].concat().as_bytes())?);
            }
            "POST /dispatch" => ("200 OK", dispatch(&body)?),
            _ => ("404 Not Found", b"{}".to_vec()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        writer.write_all(&[head.into_bytes(), answer].concat())?;
    }
    Ok(())
}

fn read_request(reader: &mut impl BufRead) -> Result<Option<(String, Vec<u8>)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let request = line
        .rsplit_once(' ')
        .map_or(line.as_str(), |(request, _version)| request)
        .to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        match header.trim().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse()?
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((request, body)))
}

fn dispatch(invocation: &[u8]) -> Result<Vec<u8>> {
    let invocation: Value = serde_json::from_slice(invocation)?;
    let now = "2026-01-01T00:00:00Z";
    let result = json!({
        "schema_version": "0.1", "contract_kind": "runtime_result",
        "invocation_id": invocation["invocation_id"], "runtime_name": invocation["runtime_name"],
        "runtime_kind": invocation["runtime_kind"],
        "status": "succeeded", "exit_code": 0, "started_at": now, "finished_at": now,
        "stdout_path": null, "stderr_path": null, "artifacts": [], "error_summary": null, "metadata": {},
    });
    Ok(result.to_string().into_bytes())
}
