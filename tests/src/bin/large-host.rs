//! A host that holds a gigabyte: `large-host runtime-first|memory-first DIRECTORY` runs `/bin/true` and prints
//! the peak memory that was reported for it, in bytes.

use executor_runtime::{Host, protocol::RuntimeInvocation};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let order = arguments.next().expect("an order");
    let directory = arguments.next().expect("DIRECTORY");
    let fill = || std::hint::black_box(vec![1_u8; 1 << 30]);
    let start = || {
        Host::builder()
            .build()
            .expect("this system can supervise processes")
    };
    let (runtime, memory) = match order.as_str() {
        "runtime-first" => {
            let runtime = start();
            (runtime, fill())
        }
        "memory-first" => {
            let memory = fill();
            (start(), memory)
        }
        _ => panic!("no such order: {order}"),
    };
    let document = serde_json::json!({
        "invocation_id": "large-host",
        "runtime_name": "large-host",
        "runtime_kind": "subprocess",
        "working_directory": directory,
        "command": ["/bin/true"],
    });
    let invocation =
        RuntimeInvocation::from_json(document.to_string().as_bytes()).expect("a valid invocation");
    let result = runtime.run_blocking(invocation);
    println!("{}", result.metadata["usage.max_rss_bytes"]);
    assert_eq!(memory.len(), 1 << 30);
}
