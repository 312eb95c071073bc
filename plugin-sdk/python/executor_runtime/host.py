"""What a host offers a run, whichever it is: the real one (``wasi``) or ``TestHost``. Authors use ``Context``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Limit:
    """How long an exchange may wait."""

    #: A moment of ``Host.now``.
    until: float | None = None
    #: What a wait past ``until`` is called.
    heeds_stop: bool = True


@dataclass(frozen=True)
class Exchange:
    """One request, as it is sent: redirects and retries are decided above."""

    method: str
    scheme: str
    #: ``example.com:8080``
    authority: str
    #: Path and query.
    target: str
    headers: list[tuple[str, str]]
    #: All of it, or piece by piece.
    body: bytes | Iterator[bytes] | None
    limit: Limit


class Input(Protocol):
    """Bytes that come one after the other."""

    def read(self, size: int) -> bytes:
        """Some bytes, at most ``size``; none at the end."""

    def close(self) -> None:
        """Nothing more is read."""


class Answer(Input, Protocol):
    """What a server answered."""

    status: int
    headers: list[tuple[str, str]]


class Sink(Protocol):
    """An artifact that is being written."""

    def write(self, data: bytes) -> None:
        """Write all of it."""

    def finish(self) -> int:
        """Keep it; returns the number of bytes."""

    def drop(self) -> None:
        """Remove it."""


class Host(Protocol):
    """Times are in seconds."""

    def log(self, level: str, message: str) -> None: ...
    def progress(self, fraction: float | None, message: str) -> None: ...
    def now(self) -> float: ...
    def remaining(self) -> float | None: ...
    def stop_requested(self) -> bool: ...
    def grace(self) -> float: ...
    def wait_stop(self, seconds: float) -> bool:
        """Wait until the time is over (false) or the host asks the run to stop (true)."""

    def config(self, key: str) -> str | None: ...
    def open_input(self) -> Input | None: ...
    def create_artifact(self, name: str, kind: str, description: str) -> Sink: ...
    def reopen_artifact(self, name: str, kind: str, description: str, length: int) -> Sink: ...
    def checkpoint(self, state: bytes) -> None: ...
    def resumed(self) -> bytes | None: ...
    def send(self, exchange: Exchange) -> Answer: ...


class HostDied(BaseException):
    """``TestHost`` plays the death of its host: the end of the process, as far as the run is concerned."""
