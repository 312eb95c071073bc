"""Files that a run leaves behind."""

from __future__ import annotations

from types import TracebackType

from .host import Sink
from .outcome import Failed


class ArtifactError(Failed):
    """The artifact can't be made, written or gone on with. ``not_resumable`` says the last."""

    def __init__(self, summary: str, *, not_resumable: bool = False) -> None:
        super().__init__("artifact", summary)
        self.not_resumable = not_resumable


class Artifact:
    """An artifact that is being written.

    As a context manager it is finished at the end of ``with``, and removed if an exception ends it. Else call ``finish``:
    what is not finished is removed.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink: Sink | None = sink

    def write(self, data: bytes | str) -> int:
        """Write all of it; text as UTF-8. Returns the number of bytes."""
        if self._sink is None:
            raise ValueError("the artifact is finished")
        encoded = data.encode() if isinstance(data, str) else bytes(data)
        self._sink.write(encoded)
        return len(encoded)

    def finish(self) -> int:
        """Keep what was written; returns the number of bytes."""
        if self._sink is None:
            raise ValueError("the artifact is finished")
        sink, self._sink = self._sink, None
        return sink.finish()

    def drop(self) -> None:
        """Remove what was written."""
        if self._sink is not None:
            sink, self._sink = self._sink, None
            sink.drop()

    def __enter__(self) -> Artifact:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.drop()
        elif self._sink is not None:
            self.finish()
