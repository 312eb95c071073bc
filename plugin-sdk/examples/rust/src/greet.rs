//! `greet`: the smallest kind.

use executor_runtime_sdk::{Context, Invocation, Level, Outcome, RunError};

pub(crate) fn run(invocation: &Invocation, ctx: &Context) -> Result<Outcome, RunError> {
    let name = invocation.required("greet.name")?;
    ctx.log(Level::Info, &format!("greeting {name}"));
    Ok(Outcome::succeeded().receipt("greet.text", format!("Hello, {name}!")))
}
