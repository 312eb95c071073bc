"""What componentize-py makes a component of: the function marked by ``@runner`` in plugin.py, as the host calls it."""

# What the plugin imports has to be there when the component is built, so this file has everything at its top.
import contextlib
import encodings.idna  # noqa: F401  `str.encode("idna")` looks for it while it runs
import random
import sys

from wit_world.imports import runner_types  # type: ignore[import-not-found]

from . import run, sandbox, text
from .context import Context
from .invocation import Invocation
from .wasi import WasiHost

_host = WasiHost()


def _sleep(seconds: float) -> None:
    Context(_host).sleep(seconds)


sandbox.replace_sleep(_sleep)

try:
    # After time.sleep is replaced, so that `from time import sleep` is too.
    import plugin  # type: ignore[import-not-found]  # noqa: F401
except ModuleNotFoundError as missing:
    raise SystemExit(f"{run.describe(missing)}: {sandbox.how_to_get(missing.name)}") from None

sandbox.explain_sockets()
sandbox.keep_sources()
sandbox.explain_missing_modules()

if len(run.marked) != 1:
    found = ", ".join(function.__name__ for function in run.marked) or "none"
    raise SystemExit(f"plugin.py has to mark one function with @runner; it marks {found}")

_OUTCOMES = {
    "failed": runner_types.Outcome_Failed,
    "rejected": runner_types.Outcome_Rejected,
    "timed_out": runner_types.Outcome_TimedOut,
    "cancelled": runner_types.Outcome_Cancelled,
}


class Run:
    """The interface `run`."""

    def run(self, invocation):  # type: ignore[no-untyped-def]
        # What was drawn when the component was built would be drawn in each run.
        random.seed()
        text.escape_what_is_printed()
        asked = Invocation(
            runtime_kind=invocation.runtime_kind,
            metadata=dict(invocation.metadata),
            invocation_id=invocation.invocation_id,
            runtime_name=invocation.runtime_name,
            command=tuple(invocation.command),
            environment=dict(invocation.environment),
            working_directory=invocation.working_directory,
            timeout_seconds=invocation.timeout_seconds,
            input_payload_path=invocation.input_payload_path,
            artifact_directory=invocation.artifact_directory,
        )
        result = run.run_to_end(run.marked[0], asked, _host)
        for stream in (sys.stdout, sys.stderr):
            # The plugin may have closed or replaced it.
            with contextlib.suppress(AttributeError, OSError, ValueError):
                stream.flush()
        report = runner_types.Report(result.exit_code, sorted(result.receipt.items()))
        if result.status == "succeeded":
            return runner_types.Outcome_Succeeded(report)
        failure = runner_types.Failure(result.kind or "exception", result.summary or "", report)
        return _OUTCOMES[result.status](failure)
