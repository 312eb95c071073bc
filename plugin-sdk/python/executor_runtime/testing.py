"""``TestHost``: runs a plugin's function in this process, without WebAssembly and without the real host.

Pauses take no time: ``ctx.sleep(60)`` moves the run's clock on by a minute and returns. HTTP is real, by sockets, so a test
starts a server on a loopback port.
"""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .artifact import ArtifactError
from .context import Context
from .host import Answer, Exchange, HostDied, Input, Sink
from .http import Interrupted
from .invocation import Invocation
from .run import Result, Run, run_to_end
from .sockets import Sockets
from .text import escape_what_is_printed

__all__ = ["Artifact", "Invocation", "Result", "TestHost", "invocation"]

_CHECKPOINT_BYTES = 64 * 1024


def invocation(kind: str, metadata: Mapping[str, str] | None = None, **fields: Any) -> Invocation:
    """An invocation of this kind; ``fields`` are those of ``Invocation``."""
    return Invocation(runtime_kind=kind, metadata=dict(metadata or {}), **fields)


@dataclass
class Artifact:
    """An artifact as a run has left it."""

    kind: str
    description: str
    data: bytearray = field(default_factory=bytearray)
    finished: bool = False


class TestHost:
    """What a run finds, and what it leaves behind.

    :param config: the plugin's ``config`` map.
    :param input: the input payload.
    :param timeout: seconds until the deadline, on the run's clock.
    :param grace: seconds between the request to stop and the forced end.
    """

    #: For pytest: this is no test.
    __test__ = False

    def __init__(
        self,
        *,
        config: Mapping[str, str] | None = None,
        input: bytes | None = None,
        timeout: float | None = None,
        grace: float = 5.0,
    ) -> None:
        #: Level and message of each log line.
        self.logs: list[tuple[str, str]] = []
        #: Fraction and message of each report of progress.
        self.progress_reports: list[tuple[float | None, str]] = []
        #: What the run has made, by name.
        self.artifacts: dict[str, Artifact] = {}
        #: Each checkpoint, in order.
        self.checkpoints: list[bytes] = []
        #: How long the run has slept, in seconds of its clock.
        self.slept = 0.0
        self._config = dict(config or {})
        self._input = input
        self._timeout = timeout
        self._grace = grace
        self._resumed: bytes | None = None
        self._interrupted: dict[str, Artifact] = {}
        self._dies_at: int | None = None
        self._died = False
        self._stop_at: float | None = None
        self._begun = time.monotonic()
        self._sockets = Sockets()

    def run(self, run: Run, asked: Invocation) -> Result:
        """Run an invocation to its end."""
        self._begin()
        # As inside a component.
        real, thread = time.sleep, threading.get_ident()

        def sleep(seconds: float) -> None:
            if threading.get_ident() != thread:
                real(seconds)
            else:
                Context(host).sleep(seconds)

        host = _Running(self)
        timer = self._alarm()
        time.sleep = sleep  # type: ignore[assignment]
        printed = escape_what_is_printed()
        try:
            return run_to_end(run, asked, host)
        finally:
            time.sleep = real
            for stream, errors in printed:
                if not stream.closed:
                    stream.reconfigure(errors=errors)
            if timer is not None:
                timer.cancel()
            self._sockets.close()
            for name in [name for name, artifact in self.artifacts.items() if not artifact.finished]:
                if not self._died:
                    del self.artifacts[name]

    def run_until_death(self, checkpoint: int, run: Run, asked: Invocation) -> TestHost:
        """Run an invocation until its host dies, right after the checkpoint with this number (1 is the first); returns a
        host for the run that goes on."""
        self._dies_at = checkpoint
        try:
            result = self.run(run, asked)
        except HostDied:
            pass
        else:
            raise AssertionError(f"the run ended before checkpoint {checkpoint}: {result}")
        following = TestHost(config=self._config, input=self._input, timeout=self._timeout, grace=self._grace)
        following._resumed = self.checkpoints[-1]
        following._interrupted = {
            name: Artifact(one.kind, one.description, bytearray(one.data))
            for name, one in self.artifacts.items()
            if not one.finished
        }
        return following

    def stop(self) -> None:
        """Ask the run to stop: before it, or from another thread."""
        self.stop_after(0)

    def stop_after(self, seconds: float) -> None:
        """Ask the run to stop when so much time has passed on its clock, sleeps included."""
        self._stop_at = self._now() + seconds
        if seconds <= 0:
            self._sockets.interrupt()

    def log_text(self) -> str:
        """All log lines."""
        return "\n".join(f"{level}: {message}" for level, message in self.logs)

    def _begin(self) -> None:
        elapsed = self._now()
        self._begun = time.monotonic()
        if self._stop_at is not None:
            self._stop_at -= elapsed
        self.slept = 0.0

    def _now(self) -> float:
        return time.monotonic() - self._begun + self.slept

    def _stop_moment(self) -> float | None:
        moments = [moment for moment in (self._stop_at, self._timeout) if moment is not None]
        return min(moments, default=None)

    def _alarm(self) -> threading.Timer | None:
        """Interrupts what waits for the network, which takes real time."""
        moment = self._stop_moment()
        if moment is None or moment <= 0:
            return None
        timer = threading.Timer(moment, self._sockets.interrupt)
        timer.daemon = True
        timer.start()
        return timer


class _Running:
    """``Host`` for the run."""

    def __init__(self, host: TestHost) -> None:
        self._host = host

    def log(self, level: str, message: str) -> None:
        self._host.logs.append((level, message))

    def progress(self, fraction: float | None, message: str) -> None:
        self._host.progress_reports.append((fraction, message))

    def now(self) -> float:
        return self._host._now()

    def remaining(self) -> float | None:
        timeout = self._host._timeout
        return None if timeout is None else max(0.0, timeout - self.now())

    def stop_requested(self) -> bool:
        moment = self._host._stop_moment()
        return moment is not None and self.now() >= moment

    def grace(self) -> float:
        return self._host._grace

    def wait_stop(self, seconds: float) -> bool:
        moment = self._host._stop_moment()
        if moment is not None:
            until_stop = max(0.0, moment - self.now())
            if until_stop <= seconds:
                self._host.slept += until_stop
                return True
        self._host.slept += seconds
        return False

    def config(self, key: str) -> str | None:
        return self._host._config.get(key)

    def open_input(self) -> Input | None:
        return None if self._host._input is None else io.BytesIO(self._host._input)

    def create_artifact(self, name: str, kind: str, description: str) -> Sink:
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", name):
            raise ArtifactError(
                f"'{name}' can't be the name of an artifact: expected letters, digits, '.', '_' and '-'"
            )
        if name in self._host.artifacts:
            raise ArtifactError(f"this run has made an artifact '{name}' before")
        artifact = self._host.artifacts[name] = Artifact(kind, description)
        return _Sink(self._host, name, artifact)

    def reopen_artifact(self, name: str, kind: str, description: str, length: int) -> Sink:
        earlier = self._host._interrupted.get(name)
        if earlier is None or len(earlier.data) < length:
            found = "there is none" if earlier is None else f"it has {len(earlier.data)} bytes"
            raise ArtifactError(f"artifact '{name}' can't be gone on with: {found}", not_resumable=True)
        sink = self.create_artifact(name, kind, description)
        self._host.artifacts[name].data += earlier.data[:length]
        return sink

    def checkpoint(self, state: bytes) -> None:
        if len(state) > _CHECKPOINT_BYTES:
            raise OSError(f"the checkpoint has {len(state)} bytes, more than {_CHECKPOINT_BYTES}")
        self._host.checkpoints.append(state)
        if len(self._host.checkpoints) == self._host._dies_at:
            self._host._died = True
            raise HostDied

    def resumed(self) -> bytes | None:
        return self._host._resumed

    def send(self, exchange: Exchange) -> Answer:
        if exchange.limit.heeds_stop and self.stop_requested():
            raise Interrupted
        moment = self._host._stop_moment() if exchange.limit.heeds_stop else None
        return self._host._sockets.send(exchange, self.now, self.stop_requested, self.remaining, moment)


class _Sink:
    def __init__(self, host: TestHost, name: str, artifact: Artifact) -> None:
        self._host = host
        self._name = name
        self._artifact = artifact

    def write(self, data: bytes) -> None:
        self._artifact.data += data

    def finish(self) -> int:
        self._artifact.finished = True
        return len(self._artifact.data)

    def drop(self) -> None:
        if not self._host._died:
            del self._host.artifacts[self._name]
