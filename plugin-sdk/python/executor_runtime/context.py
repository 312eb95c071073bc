"""What the host offers a run."""

from __future__ import annotations

import io
from typing import Literal, get_args

from .artifact import Artifact
from .host import Host, Input
from .http import Client
from .outcome import Stopped
from .text import checked, encodable

Level = Literal["trace", "debug", "info", "warn", "error"]


class _Raw(io.RawIOBase):
    """A host's input as Python's streams have it."""

    def __init__(self, source: Input) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()


def _described(name: str, kind: str, description: str) -> tuple[str, str, str]:
    """What an artifact is called, as the host takes it."""
    return (
        checked(name, "the artifact's name"),
        checked(kind, "the artifact's kind"),
        checked(description, "the artifact's description"),
    )


class Context:
    """HTTP, time, the request to stop, input, artifacts, log.

    Whatever waits here raises ``Stopped`` as soon as the host asks the run to stop. Times are in seconds.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._stop_seen: float | None = None

    @property
    def http(self) -> Client:
        """The HTTP client."""
        return Client(self)

    def sleep(self, seconds: float) -> None:
        """Sleep, or raise ``Stopped`` as soon as the run is to stop."""
        if self._host.wait_stop(max(0.0, seconds)):
            raise self.stopped("a pause")

    def log(self, message: object, level: Level = "info") -> None:
        """Write one log line. The host drops lines of a run that floods it."""
        self._host.log(level if level in get_args(Level) else "info", encodable(str(message)))

    def progress(self, fraction: float | None = None, message: str = "") -> None:
        """Tell how far the run is: a fraction from 0 to 1, if it can be known, and a few words."""
        if fraction is not None and not isinstance(fraction, (int, float)):
            raise TypeError(f"the fraction is of type {type(fraction).__name__}: expected a number or None")
        self._host.progress(None if fraction is None else float(fraction), encodable(str(message)))

    def config(self, key: str, default: str | None = None) -> str | None:
        """A value of this plugin's ``config`` map in the operator's configuration file."""
        value = self._host.config(checked(key, "the key"))
        return default if value is None else value

    def open_input(self) -> io.BufferedReader | None:
        """The bytes of the invocation's input payload, from the start; None if it has none."""
        source = self._host.open_input()
        return None if source is None else io.BufferedReader(_Raw(source))

    def artifact(self, name: str, kind: str, description: str = "") -> Artifact:
        """Make an artifact of this RxP kind, such as ``response_body``. The name is a plain file name.

        ``with ctx.artifact("page.html", "response_body") as file: file.write(...)``
        """
        return Artifact(self._host.create_artifact(*_described(name, kind, description)))

    def reopen_artifact(self, name: str, kind: str, length: int, description: str = "") -> Artifact:
        """Go on with an artifact that an interrupted run of this invocation had begun and not finished (see
        ``resumed``): keep the first ``length`` bytes of what it had written.

        :raises ArtifactError: with ``not_resumable``, if there is no such artifact or it is shorter: begin it anew.
        """
        if not isinstance(length, int):
            raise TypeError(f"the length is of type {type(length).__name__}: expected int")
        if not 0 <= length < 2**64:
            raise ValueError("the length of an artifact is from 0 to 2**64 - 1 bytes")
        return Artifact(self._host.reopen_artifact(*_described(name, kind, description), int(length)))

    def checkpoint(self, state: bytes | str) -> None:
        """Keep at most 64 KiB, so that a later run of the same invocation can go on from there."""
        self._host.checkpoint(state.encode() if isinstance(state, str) else bytes(state))

    @property
    def resumed(self) -> bytes | None:
        """The last checkpoint of an earlier run of this invocation that was interrupted, because its host died."""
        return self._host.resumed()

    @property
    def now(self) -> float:
        """This moment on the clock of ``deadline``."""
        return self._host.now()

    @property
    def remaining(self) -> float | None:
        """Time until the deadline, 0 once it has passed; None if the run has none."""
        return self._host.remaining()

    @property
    def deadline(self) -> float | None:
        """When the run has to be over, on the clock of ``now``; None: never."""
        remaining = self._host.remaining()
        return None if remaining is None else self._host.now() + remaining

    @property
    def stop_requested(self) -> bool:
        """Whether the host has asked the run to stop: for loops that compute. What waits raises ``Stopped``."""
        requested = self._host.stop_requested() or self._host.remaining() == 0
        if requested and self._stop_seen is None:
            self._stop_seen = self._host.now()
        return requested

    @property
    def grace(self) -> float:
        """Time between the request to stop and the forced end of the run."""
        return self._host.grace()

    def check_stop(self) -> None:
        """Raise ``Stopped`` if the host has asked the run to stop."""
        if self.stop_requested:
            raise self.stopped("its work")

    def stopped(self, doing: str) -> Stopped:
        """The exception for a run that ends because it was told to."""
        # Asking keeps the moment, too.
        return Stopped(doing, timed_out=self.stop_requested and self._host.remaining() == 0)

    def _last_moment(self) -> float:
        """When a run that was told to stop has to stop using the network: the last quarter is for returning.

        It counts from now, each time anew, as long as the run was not told to.
        """
        since = self._stop_seen if self.stop_requested else None
        return (self._host.now() if since is None else since) + 0.75 * self._host.grace()
