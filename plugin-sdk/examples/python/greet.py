"""``greet``: the smallest kind."""

from executor_runtime import Context, Invocation, Outcome


def run(invocation: Invocation, ctx: Context) -> Outcome:
    name = invocation.required("greet.name")
    ctx.log(f"greeting {name}")
    return Outcome({"greet.text": f"Hello, {name}!"})
