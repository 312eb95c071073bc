"""How a run ends: what a runner returns or raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Union

from .text import checked, encodable

ReceiptValue = Union[str, int, float, bool]


def receipt_text(receipt: Mapping[str, ReceiptValue]) -> dict[str, str]:
    """The receipt as the host takes it: text.

    :raises TypeError: for a key or a value that is neither text nor a number nor a boolean.
    """
    if not isinstance(receipt, Mapping):
        raise TypeError(f"the receipt is of type {type(receipt).__name__}: expected a dict")
    texts = {}
    for name, value in receipt.items():
        if not isinstance(name, str):
            raise TypeError(f"the receipt has the key {name!r}, which is not a str")
        key = encodable(name)
        if isinstance(value, bool):
            texts[key] = "true" if value else "false"
        elif isinstance(value, (str, int, float)):
            texts[key] = encodable(str(value))
        else:
            found = type(value).__name__
            raise TypeError(f"the receipt's value of '{key}' is of type {found}: expected str, int, float or bool")
    return texts


def checked_exit_code(code: object) -> int | None:
    """An exit code as the host takes it.

    :raises TypeError: for what is neither an int nor None.
    :raises ValueError: for one of more than 64 bits.
    """
    if code is None:
        return None
    if not isinstance(code, int):
        raise TypeError(f"exit_code is of type {type(code).__name__}: expected int")
    if not fits(code):
        raise ValueError("exit_code has more than 64 bits: expected -2**63 to 2**63 - 1")
    return int(code)


def fits(code: int) -> bool:
    """Whether the host takes so large an exit code."""
    return -(2**63) <= code < 2**63


class Outcome:
    """A success: return it."""

    def __init__(self, receipt: Mapping[str, ReceiptValue] | None = None, *, exit_code: int | None = None) -> None:
        self.receipt = receipt_text({} if receipt is None else receipt)
        self.exit_code = checked_exit_code(exit_code)

    def __repr__(self) -> str:
        return f"Outcome({self.receipt!r}, exit_code={self.exit_code!r})"


def checked_kind(kind: object) -> str:
    """The kind of a failure as the host takes it.

    :raises TypeError: if it is no str.
    :raises ValueError: if it is empty.
    """
    text = checked(kind, "the kind of a failure")
    if not text:
        raise ValueError("the kind of a failure is empty")
    return text


class Failure(Exception):
    """What ``Failed`` and ``Rejected`` have in common."""

    def __init__(
        self,
        kind: str,
        summary: str,
        *,
        receipt: Mapping[str, ReceiptValue] | None = None,
        exit_code: int | None = None,
    ) -> None:
        super().__init__(kind, summary)
        self.kind = checked_kind(kind)
        self.summary = checked(summary, "the summary of a failure")
        self.receipt = receipt_text({} if receipt is None else receipt)
        self.exit_code = checked_exit_code(exit_code)

    def __str__(self) -> str:
        return self.summary


class Failed(Failure):
    """It was attempted and failed: ``raise Failed("backend", "the backend answered 500")``.

    The kind is a stable code in snake case; the summary is one sentence for a person.
    """


class Rejected(Failure):
    """Nothing was attempted, because the invocation is unusable: ``raise Rejected("invalid_metadata", "...")``."""


class Stopped(BaseException):
    """The host asked the run to stop: it was cancelled, or its deadline has passed.

    Raised by whatever waits. Let it through, after cleaning up in ``finally`` or ``except Stopped``: the host then says
    ``cancelled`` or ``timed_out``. It is no ``Exception``, so that no ``except Exception`` takes it for a failure.
    """

    def __init__(self, doing: str, *, timed_out: bool) -> None:
        super().__init__(f"{'timed out' if timed_out else 'cancelled'} in {doing}")
        self.timed_out = timed_out
