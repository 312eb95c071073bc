"""The plugin's function, and what becomes of what it returns or raises."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union

from .context import Context
from .host import Host, HostDied
from .http import HttpError
from .invocation import Invocation
from .outcome import (
    Failure,
    Outcome,
    ReceiptValue,
    Rejected,
    Stopped,
    checked_exit_code,
    checked_kind,
    fits,
    receipt_text,
)
from .text import checked, shown

Returned = Union[Outcome, Failure, Mapping[str, ReceiptValue], None]
Run = Callable[[Invocation, Context], Returned]
F = TypeVar("F", bound=Callable[..., Any])
Status = Literal["succeeded", "failed", "rejected", "timed_out", "cancelled"]

#: The functions that were marked.
marked: list[Run] = []

#: Frames of files in these folders are not the plugin's own.
_NOT_OWN = tuple(os.path.join(os.path.dirname(os.path.abspath(file)), "") for file in (__file__, traceback.__file__))


def runner(function: F) -> F:
    """Mark the function that runs an invocation: ``def run(invocation: Invocation, ctx: Context) -> Outcome``.

    It succeeds with what it returns: an ``Outcome``, the receipt as a dict, or None. It fails with what it raises:
    ``Rejected`` or ``Failed``; any other exception is ``failed`` of the kind ``exception``, and its traceback goes to the
    log. A ``Failed`` that is returned instead of raised is a failure all the same, and ``sys.exit`` ends the run as it ends
    a process.
    """
    check_function(function)
    marked.append(function)
    return function


def check_function(function: Callable[..., Any]) -> None:
    """Tell a mistake where it was made, and not in the first run."""
    name = getattr(function, "__name__", "the runner")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} is async: a runner is a plain function; what waits in ctx waits by itself")
    if inspect.isgeneratorfunction(function):
        raise TypeError(f"{name} has a yield in it: a runner returns once")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        raise TypeError(f"{name} has to take two arguments: def {name}(invocation, ctx)") from None


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    status: Status
    receipt: dict[str, str]
    exit_code: int | None = None
    #: The code of a failure, such as ``network``.
    kind: str | None = None
    #: What went wrong, for a person.
    summary: str | None = None
    #: What the function let through, if that was it.
    exception: BaseException | None = None


def run_to_end(function: Run, invocation: Invocation, host: Host) -> Result:
    """Run an invocation; whatever the function does, it ends in a result."""
    context = Context(host)
    try:
        return _returned(function(invocation, context))
    except HostDied:
        raise
    except BaseException as error:
        return _raised(error, context)


def _returned(value: object) -> Result:
    if value is None:
        return Result("succeeded", {})
    if isinstance(value, Failure):
        return _failure(value)
    if isinstance(value, Outcome):
        return _ended("succeeded", value.receipt, value.exit_code)
    if isinstance(value, Mapping):
        return _ended("succeeded", value)
    if isinstance(value, Stopped):
        raise value
    if isinstance(value, BaseException):
        return _ended("failed", {}, None, "exception", describe(value), value)
    summary = f"the runner returned {_article(type(value).__name__)}: expected an Outcome, a dict (the receipt) or None"
    return _ended("failed", {}, None, "invalid_return", summary)


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _raised(error: BaseException, context: Context) -> Result:
    if isinstance(error, Failure):
        return _failure(error)
    if isinstance(error, HttpError):
        status: Status = "rejected" if error.kind == "invalid_request" else "failed"
        # ``timeout`` as the kind of a run is the host's own, for a deadline that has passed.
        kind = "network" if error.kind == "timeout" else error.kind
        return _ended(status, {}, None, kind, f"http error: {shown(error)}", error)
    if isinstance(error, Stopped):
        if error.timed_out:
            return _ended("timed_out", {}, None, "timeout", shown(error), error)
        return _ended("cancelled", {}, None, "cancelled", shown(error), error)
    if isinstance(error, SystemExit):
        return _exited(error)
    context.log(_traceback(error), "error")
    return _ended("failed", {}, None, "exception", describe(error), error)


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip()
    except Exception:
        # Of a SyntaxError, for example, whose attributes the plugin has set to what they can't be.
        return "".join(traceback.format_tb(error.__traceback__)) + describe(error)


def _failure(failure: Failure) -> Result:
    status: Status = "rejected" if isinstance(failure, Rejected) else "failed"
    # A subclass may have an ``__init__`` that does not call that of ``Failure``.
    receipt, code = getattr(failure, "receipt", {}), getattr(failure, "exit_code", None)
    kind, summary = getattr(failure, "kind", None), getattr(failure, "summary", None)
    if kind is None and summary is None:
        summary = f"{type(failure).__name__} was raised without a kind and a summary: call super().__init__(kind, summary)"
        return _ended("failed", {}, None, "invalid_return", summary, failure)
    return _ended(status, receipt, code, kind, summary, failure)


def _ended(
    status: Status,
    receipt: Mapping[str, ReceiptValue],
    exit_code: object = None,
    kind: object = None,
    summary: object = None,
    exception: BaseException | None = None,
) -> Result:
    """The result, as the host takes it; if it can't take it, a failure that says why."""
    try:
        texts, code = receipt_text(receipt), checked_exit_code(exit_code)
        if status == "succeeded":
            return Result(status, texts, code)
        return Result(status, texts, code, checked_kind(kind), checked(summary, "the summary of a failure"), exception)
    except Exception as wrong:
        summary = f"what the runner returned or raised can't be reported: {' '.join(shown(wrong).split())}"
        return Result("failed", {}, None, "invalid_return", summary, exception or wrong)


def _exited(end: SystemExit) -> Result:
    """As a process ends: 0 or nothing is a success, a number a failure, and anything else its message."""
    code = end.code
    if code is None or (isinstance(code, int) and code == 0):
        return Result("succeeded", {}, 0)
    if not isinstance(code, int):
        return _ended("failed", {}, 1, "exit", shown(code), end)
    if not fits(code):
        return _ended("failed", {}, 1, "exit", "the plugin called sys.exit() with a number of more than 64 bits", end)
    return _ended("failed", {}, code, "exit", f"the plugin called sys.exit({code})", end)


def describe(error: BaseException) -> str:
    """An exception in one line, with the place in the plugin that it came from."""
    name = type(error).__name__
    words = " ".join(shown(error).split())
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if not frame.filename.startswith(("<", *_NOT_OWN)):
            place = f" ({os.path.basename(frame.filename)}, line {frame.lineno}, in {frame.name})"
    return f"{name}: {words}{place}" if words else f"{name}{place}"
