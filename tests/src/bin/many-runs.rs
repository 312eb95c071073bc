//! A host of its own: `many-runs COUNT DIRECTORY` has COUNT runs in flight until a signal ends them.
//!
//! Each run announces itself in the file `ready-N` and ignores TERM where N is odd. The results are written
//! to `result-N.json`; their statuses are printed, and the signal in the end.

use executor_runtime::{Host, Termination, protocol::RuntimeInvocation};
use std::{path::Path, sync::Arc};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let count: u32 = arguments
        .next()
        .and_then(|count| count.parse().ok())
        .expect("COUNT");
    let directory = arguments.next().expect("DIRECTORY");
    let runtime = Arc::new(
        Host::builder()
            .build()
            .expect("this system can supervise processes"),
    );
    let executor = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("an executor");
    executor.block_on(async {
        let termination = Termination::watch().expect("signals can be watched");
        let runs: Vec<_> = (0..count)
            .map(|number| {
                let (runtime, token) = (runtime.clone(), termination.token().clone());
                let invocation = invocation(number, Path::new(&directory));
                tokio::spawn(async move { runtime.run_until(invocation, &token).await })
            })
            .collect();
        for run in runs {
            let result = run.await.expect("a run does not panic");
            println!("{}", result.status.as_str());
        }
        println!("signal {}", termination.signal().unwrap_or(0));
    });
}

fn invocation(number: u32, directory: &Path) -> RuntimeInvocation {
    let trap = if number % 2 == 1 { "trap '' TERM;" } else { "" };
    let script = format!("{trap} setsid sleep 1000 & echo $! > ready-{number}; while :; do sleep 1000; done");
    let document = serde_json::json!({
        "invocation_id": format!("many-{number}"),
        "runtime_name": "many-runs",
        "runtime_kind": "subprocess",
        "working_directory": directory,
        "command": ["sh", "-c", script],
        "output_result_path": directory.join(format!("result-{number}.json")),
        "metadata": {"subprocess.grace_seconds": "0.3"},
    });
    RuntimeInvocation::from_json(document.to_string().as_bytes()).expect("a valid invocation")
}
