"""The real host, by the bindings that componentize-py makes. Only there inside a component.

A resource that is closed before its children traps (a body before its stream), so whatever has some closes them in order,
also when it is forgotten: ``__del__`` comes before Python lets go of the attributes, in whichever order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from componentize_py_types import Err, Ok  # type: ignore[import-not-found]
from wit_world.imports import (  # type: ignore[import-not-found]
    host,
    monotonic_clock,
    outgoing_handler,
    poll,
    streams,
    types,
)

from .artifact import ArtifactError
from .host import Answer, Exchange, Input, Limit, Sink
from .http import HttpError, Interrupted
from .outcome import Stopped
from .text import without_query

_LEVELS = {level.name.lower(): level for level in host.Level}
_NANOS = 1_000_000_000
#: A longer wait is as good as none.
_LONGEST = 2**62
_METHODS = {
    "GET": types.Method_Get,
    "HEAD": types.Method_Head,
    "POST": types.Method_Post,
    "PUT": types.Method_Put,
    "DELETE": types.Method_Delete,
    "CONNECT": types.Method_Connect,
    "OPTIONS": types.Method_Options,
    "TRACE": types.Method_Trace,
    "PATCH": types.Method_Patch,
}


def _close(resource: Any) -> None:
    resource.__exit__(None, None, None)


def _close_all(resources: list[Any]) -> None:
    """Close the first one first, and none twice."""
    while resources:
        _close(resources.pop(0))


def _nanos(seconds: float) -> int:
    return int(min(max(0.0, seconds) * _NANOS, _LONGEST))


class WasiHost:
    """What the real host offers, as ``Host`` has it."""

    def log(self, level: str, message: str) -> None:
        host.log(_LEVELS.get(level, host.Level.INFO), message)

    def progress(self, fraction: float | None, message: str) -> None:
        host.progress(fraction, message)

    def now(self) -> float:
        return time.monotonic()

    def remaining(self) -> float | None:
        nanos = host.remaining()
        return None if nanos is None else nanos / _NANOS

    def stop_requested(self) -> bool:
        return bool(host.stop_requested())

    def grace(self) -> float:
        return float(host.grace() / _NANOS)

    def wait_stop(self, seconds: float) -> bool:
        with host.subscribe_stop() as stop, monotonic_clock.subscribe_duration(_nanos(seconds)) as timer:
            return 0 in poll.poll([stop, timer])

    def config(self, key: str) -> str | None:
        value: str | None = host.config(key)
        return value

    def open_input(self) -> Input | None:
        try:
            stream = host.open_input()
        except Err as error:
            raise OSError(error.value) from None
        return None if stream is None else _InputStream(stream)

    def create_artifact(self, name: str, kind: str, description: str) -> Sink:
        try:
            return _ArtifactSink(host.create_artifact(name, kind, description))
        except Err as error:
            raise _artifact_error(name, error.value) from None

    def reopen_artifact(self, name: str, kind: str, description: str, length: int) -> Sink:
        try:
            return _ArtifactSink(host.reopen_artifact(name, kind, description, length))
        except Err as error:
            raise _artifact_error(name, error.value) from None

    def checkpoint(self, state: bytes) -> None:
        try:
            host.checkpoint(state)
        except Err as error:
            raise OSError(error.value) from None

    def resumed(self) -> bytes | None:
        state: bytes | None = host.resumed()
        return state

    def send(self, exchange: Exchange) -> Answer:
        return _send(exchange)


def _artifact_error(name: str, error: Any) -> ArtifactError:
    value = getattr(error, "value", error)
    if isinstance(error, host.ArtifactError_NotResumable):
        return ArtifactError(f"artifact '{name}' can't be gone on with: {value}", not_resumable=True)
    if isinstance(error, host.ArtifactError_InvalidName):
        return ArtifactError(f"'{name}' can't be the name of an artifact: expected letters, digits, '.', '_' and '-'")
    if isinstance(error, host.ArtifactError_DuplicateName):
        return ArtifactError(f"this run has made an artifact '{name}' before")
    if isinstance(error, host.ArtifactError_TooMany):
        return ArtifactError(f"this run has made {value} artifacts, which is as many as the host allows")
    return ArtifactError(f"artifact '{name}' can't be written: {value}")


class _InputStream:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int) -> bytes:
        while True:
            try:
                data: bytes = self._stream.blocking_read(size)
            except Err as error:
                if isinstance(error.value, streams.StreamError_Closed):
                    return b""
                raise OSError(f"the input can't be read: {error.value.value.to_debug_string()}") from None
            if data:
                return data

    def close(self) -> None:
        _close(self._stream)


class _ArtifactSink:
    def __init__(self, artifact: Any) -> None:
        self._artifact = artifact
        self._stream = artifact.body()
        self._open = [self._stream, artifact]

    def write(self, data: bytes) -> None:
        try:
            _write(self._stream, data)
        except Err:
            raise ArtifactError(
                "the artifact can't be written: it is longer than the host allows, or the disk is full"
            ) from None

    def finish(self) -> int:
        try:
            self._stream.blocking_flush()
        except Err:
            raise ArtifactError("the artifact can't be written to its end") from None
        self._open = []
        _close(self._stream)
        try:
            return int(host.Artifact.finish(self._artifact))
        except Err as error:
            raise ArtifactError(str(error.value)) from None

    def drop(self) -> None:
        _close_all(self._open)

    __del__ = drop


def _write(stream: Any, data: bytes) -> None:
    offset = 0
    while offset < len(data):
        room = stream.check_write()
        if room == 0:
            with stream.subscribe() as ready:
                ready.block()
            continue
        stream.write(data[offset : offset + room])
        offset += room


def _wait(resources: list[Any], limit: Limit) -> list[int]:
    """Wait until one of them is ready; returns which are.

    :raises Interrupted: at the request to stop.
    :raises HttpError: when the time is over.
    """
    waited = [resource.subscribe() for resource in resources]
    count = len(waited)
    try:
        stop = timer = None
        if limit.heeds_stop:
            stop = len(waited)
            waited.append(host.subscribe_stop())
        if limit.until is not None:
            timer = len(waited)
            waited.append(monotonic_clock.subscribe_duration(_nanos(limit.until - time.monotonic())))
        ready = poll.poll(waited)
    finally:
        for pollable in waited:
            _close(pollable)
    done = [index for index in ready if index < count]
    if done:
        return done
    if stop in ready:
        raise Interrupted
    raise HttpError("timeout", "timed out")


class _Upload:
    """The body of a request, while it is written."""

    def __init__(self, request: Any, body: bytes | Iterator[bytes]) -> None:
        self.body = request.body()
        self.stream = self.body.write()
        self._open = [self.stream, self.body]
        if isinstance(body, bytes):
            # As much of it as the host takes before it begins to send.
            taken = min(len(body), self.stream.check_write())
            if taken:
                self.stream.write(body[:taken])
            self.left = iter([body[taken:]])
        else:
            self.left = body

    def write(self, future: Any, limit: Limit) -> bool:
        """Write what is left; false if the server has answered before that, and wants no more."""
        for piece in self.left:
            while piece:
                room = self.stream.check_write()
                if room:
                    self.stream.write(piece[:room])
                    piece = piece[room:]
                elif 1 in _wait([self.stream, future], limit):
                    return False
        self.stream.flush()
        self._open = []
        _close(self.stream)
        types.OutgoingBody.finish(self.body, None)
        return True

    def drop(self) -> None:
        _close_all(self._open)

    __del__ = drop


def _send(exchange: Exchange) -> Answer:
    request = _outgoing(exchange)
    upload = None if exchange.body is None else _Upload(request, exchange.body)
    try:
        future = outgoing_handler.handle(request, None)
    except Err as error:
        raise _http_error(error.value, exchange.authority) from None
    unfinished = None
    try:
        if upload is not None:
            try:
                if not upload.write(future, exchange.limit):
                    unfinished = upload
            except Err:
                # Why the host takes no more is in its answer.
                unfinished = upload
        response = _receive(future, exchange)
    finally:
        _close(future)
    return _WasiAnswer(response, unfinished, exchange)


def _outgoing(exchange: Exchange) -> Any:
    try:
        fields = types.Fields.from_list(
            [(name, value.encode("utf-8")) for name, value in exchange.headers]
        )
    except Err:
        raise HttpError("invalid_request", "the request can't be sent: the host refused its headers") from None
    request = types.OutgoingRequest(fields)
    method = _METHODS.get(exchange.method)
    try:
        request.set_method(method() if method else types.Method_Other(exchange.method))
        request.set_scheme(types.Scheme_Https() if exchange.scheme == "https" else types.Scheme_Http())
        request.set_authority(exchange.authority)
        request.set_path_with_query(exchange.target)
    except Err:
        raise HttpError(
            "invalid_request",
            f"the request can't be sent: the host refused {exchange.method} "
            f"{without_query(f'{exchange.scheme}://{exchange.authority}{exchange.target}')}",
        ) from None
    return request


def _receive(future: Any, exchange: Exchange) -> Any:
    while True:
        answer = future.get()
        if answer is None:
            _wait([future], exchange.limit)
            continue
        # A result in a result: the outer one is for an answer that was taken before.
        inner = answer.value if isinstance(answer, Ok) else answer
        if isinstance(inner, Ok):
            return inner.value
        raise _http_error(inner.value, exchange.authority)


class _WasiAnswer:
    def __init__(self, response: Any, unfinished: _Upload | None, exchange: Exchange) -> None:
        self.status: int = response.status()
        with response.headers() as fields:
            self.headers = [(name, value.decode("utf-8", "replace")) for name, value in fields.entries()]
        self._exchange = exchange
        self._body = response.consume()
        self._stream = self._body.stream()
        self._open = [self._stream, self._body, response]
        self._unfinished = unfinished

    def read(self, size: int) -> bytes:
        while self._open:
            try:
                data: bytes = self._stream.read(size)
            except Err as error:
                if isinstance(error.value, streams.StreamError_Closed):
                    self.close()
                    return b""
                failure = _broken(error.value.value, self._exchange.authority)
                self.close()
                raise failure from None
            if data:
                return data
            try:
                _wait([self._stream], self._exchange.limit)
            except Interrupted:
                raise _stopped(self._exchange) from None
        return b""

    def close(self) -> None:
        _close_all(self._open)
        if self._unfinished is not None:
            self._unfinished.drop()

    __del__ = close


def _stopped(exchange: Exchange) -> Stopped:
    return Stopped(f"{exchange.method} {exchange.authority}", timed_out=host.remaining() == 0)


def _broken(error: Any, authority: str) -> HttpError:
    code = types.http_error_code(error)
    if code is None:
        text = error.to_debug_string()
        return HttpError("network", f"{authority} closed the connection before its answer was complete: {text}")
    return _http_error(code, authority)


def _http_error(code: Any, authority: str) -> HttpError:
    """In the same words as the SDK for Rust."""
    name = type(code).__name__.removeprefix("ErrorCode_")
    value = getattr(code, "value", None)
    if name in ("HttpRequestDenied", "DestinationIpProhibited"):
        return HttpError("egress_denied", f"this plugin may not reach {authority}")
    if name in ("DnsTimeout", "DnsError", "DestinationNotFound"):
        reason = getattr(value, "rcode", None) or "the name is not known"
        return HttpError("network", f"no address was found for {authority}: {reason}", transient=True)
    if name == "ConnectionRefused":
        return HttpError("network", f"connection refused by {authority}", transient=True)
    if name in ("DestinationUnavailable", "DestinationIpUnroutable", "ConnectionTimeout"):
        return HttpError("network", f"{authority} can't be reached: {_words(name)}", transient=True)
    if name in ("ConnectionTerminated", "HttpResponseIncomplete"):
        return HttpError("network", f"{authority} closed the connection before its answer was complete", transient=True)
    if name.startswith("Tls"):
        return HttpError("network", f"TLS: no secure connection to {authority}: {value or _words(name)}")
    if name.startswith("HttpRequest"):
        return HttpError("invalid_request", f"the request can't be sent: {_words(name)}")
    if name.startswith("HttpResponse") or name == "HttpProtocolError":
        return HttpError("network", f"{authority} sent an invalid HTTP response: {value or _words(name)}")
    return HttpError("network", f"{authority}: {value or _words(name)}")


def _words(name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
