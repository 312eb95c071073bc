"""Four small kinds to copy from, each in a file of its own; a plugin needs no more than one."""

import download
import fetch
import greet
import outcomes
from executor_runtime import Context, Invocation, Outcome, runner

KINDS = {"greet": greet.run, "fetch": fetch.run, "download": download.run, "outcomes": outcomes.run}


@runner
def run(invocation: Invocation, ctx: Context) -> Outcome:
    return KINDS[invocation.runtime_kind](invocation, ctx)
