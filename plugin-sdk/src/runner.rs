//! The one trait that an author implements.

use crate::{Context, Invocation, Outcome, RunError};

/// Executes invocations of one or more kinds.
///
/// The host has already checked the invocation against RxP and against the plugin's descriptor, and filled
/// in the defaults of metadata keys. Every run begins with fresh memory: nothing survives from one to the
/// next, on either carrier.
///
/// ```
/// use executor_runtime_sdk::{Context, Invocation, Outcome, RunError, Runner, TestHost};
///
/// struct Greet;
///
/// impl Runner for Greet {
///     fn run(&self, invocation: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
///         let name = invocation.required("greet.name")?;
///         ctx.progress(None, &format!("greeting {name}"));
///         Ok(Outcome::succeeded().exit_code(0).receipt("greet.text", format!("Hello, {name}!")))
///     }
/// }
///
/// let invocation = Invocation::new("greet").with("greet.name", "Ada");
/// let outcome = TestHost::new().run(&Greet, &invocation).unwrap();
/// assert_eq!(outcome.get_receipt("greet.text"), Some("Hello, Ada!"));
/// ```
pub trait Runner {
    /// Runs one invocation to its end. Blocking is fine: a run that waits costs the host no thread.
    ///
    /// # Errors
    /// How and why the run did not succeed.
    fn run(&self, invocation: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError>;
}

/// A function is a runner too.
impl<F> Runner for F
where
    F: Fn(&Invocation, &mut Context) -> Result<Outcome, RunError>,
{
    fn run(&self, invocation: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
        self(invocation, ctx)
    }
}
