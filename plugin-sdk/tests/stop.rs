//! When a run is told to stop.

use executor_runtime_sdk::{Context, Invocation, Outcome, RunError, Runner, TestHost};
use std::time::Duration;

struct AsksAtOnce;

impl Runner for AsksAtOnce {
    fn run(&self, _: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
        Ok(Outcome::succeeded().receipt("stop", ctx.stop_requested()))
    }
}

#[test]
fn a_deadline_that_has_passed_is_a_request_to_stop_though_the_host_is_late_to_say_so() {
    // The test host says so by a thread that has to start first.
    for _ in 0..100 {
        let host = TestHost::new().deadline(Duration::ZERO);
        let outcome = host.run(&AsksAtOnce, &Invocation::new("any")).unwrap();
        assert_eq!(outcome.get_receipt("stop"), Some("true"));
    }
    let outcome = TestHost::new().run(&AsksAtOnce, &Invocation::new("any")).unwrap();
    assert_eq!(outcome.get_receipt("stop"), Some("false"));
}
