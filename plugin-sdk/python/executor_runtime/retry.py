"""When a request is sent again."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

#: Those that may well succeed the next time.
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_IDEMPOTENT = frozenset(("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"))


@dataclass(frozen=True)
class Retry:
    """Send again after an error of the network or a status that may pass (408, 425, 429, 500, 502 to 504).

    The wait doubles from ``first_wait`` up to ``longest_wait``, with up to half of it left out at random, and is at least
    what ``Retry-After`` asks for; a server that asks for more than ``longest_wait`` is not asked again.
    Nor is it if the wait would last to the deadline or the run is to stop: the answer is returned, or the error raised.
    """

    times: int
    first_wait: float = 0.5
    longest_wait: float = 60.0
    #: Also POST and PATCH: for a server that recognises a request that it has seen, by an idempotency key for example.
    any_method: bool = False

    def repeats(self, method: str) -> bool:
        """Whether a request with this method may be sent twice."""
        return self.any_method or method in _IDEMPOTENT

    def wait(self, retries: int, asked: float) -> float | None:
        """How long to wait after so many retries; None if there is to be no other."""
        if retries >= self.times or asked > self.longest_wait:
            return None
        backoff = min(self.first_wait * 2.0 ** min(retries, 60), self.longest_wait)
        return max(backoff * (1 - random.random() / 2), asked)


def may_pass(status: int) -> bool:
    """Whether the server may answer otherwise the next time."""
    return status in _PASSING


def retry_after(headers: Iterable[tuple[str, str]]) -> float:
    """What ``Retry-After`` asks for (RFC 9110, section 10.2.3), 0 if nothing: seconds, or a date, which is seen from the
    server's own clock where it tells it (``Date``)."""
    values = {name.lower(): value.strip() for name, value in headers}
    value = values.get("retry-after", "")
    if value.isascii() and value.isdigit():
        return float(value)
    then = _date(value)
    if then is None:
        return 0.0
    now = _date(values.get("date", "")) or datetime.now(timezone.utc)
    return max(0.0, (then - now).total_seconds())


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)
