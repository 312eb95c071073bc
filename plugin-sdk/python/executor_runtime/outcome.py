"""How a run ends: what a runner returns or raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Union

ReceiptValue = Union[str, int, float, bool]


def receipt_text(receipt: Mapping[str, ReceiptValue]) -> dict[str, str]:
    """The receipt as the host takes it: text.

    :raises TypeError: for a key or a value that is neither text nor a number nor a boolean.
    """
    texts = {}
    for key, value in receipt.items():
        if not isinstance(key, str):
            raise TypeError(f"the receipt has the key {key!r}, which is not a str")
        if isinstance(value, bool):
            texts[key] = "true" if value else "false"
        elif isinstance(value, (str, int, float)):
            texts[key] = str(value)
        else:
            found = type(value).__name__
            raise TypeError(f"the receipt's value of '{key}' is of type {found}: expected str, int, float or bool")
    return texts


class Outcome:
    """A success: return it."""

    def __init__(self, receipt: Mapping[str, ReceiptValue] | None = None, *, exit_code: int | None = None) -> None:
        self.receipt = receipt_text(receipt or {})
        self.exit_code = exit_code

    def __repr__(self) -> str:
        return f"Outcome({self.receipt!r}, exit_code={self.exit_code!r})"


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
        self.kind = kind
        self.summary = summary
        self.receipt = receipt_text(receipt or {})
        self.exit_code = exit_code

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
