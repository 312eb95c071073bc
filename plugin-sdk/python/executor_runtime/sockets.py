"""HTTP of ``TestHost``: by the sockets of this process."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable

from .host import Answer, Exchange
from .http import HttpError, Interrupted
from .outcome import Stopped


class Sockets:
    """The connections of a run, which the request to stop interrupts."""

    def __init__(self) -> None:
        self._open: set[http.client.HTTPConnection] = set()

    def interrupt(self) -> None:
        """Ends each wait: the run's thread sees an error, looks whether it is to stop, and stops."""
        for connection in list(self._open):
            if connection.sock is not None:
                try:
                    connection.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self) -> None:
        """Closes what the run has left open."""
        for connection in list(self._open):
            self.release(connection)

    def release(self, connection: http.client.HTTPConnection) -> None:
        """Closes a connection."""
        self._open.discard(connection)
        connection.close()

    def send(
        self,
        exchange: Exchange,
        now: Callable[[], float],
        stop_requested: Callable[[], bool],
        remaining: Callable[[], float | None],
        stop_at: float | None,
    ) -> Answer:
        """Sends a request, and waits for the head of its answer."""
        until = min((moment for moment in (exchange.limit.until, stop_at) if moment is not None), default=None)
        timeout = None if until is None else max(0.001, until - now())
        if exchange.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(exchange.authority, timeout=timeout)
        else:
            connection = http.client.HTTPConnection(exchange.authority, timeout=timeout)
        self._open.add(connection)
        wait = _Wait(exchange, now, stop_requested, remaining)
        try:
            connection.putrequest(exchange.method, exchange.target, skip_accept_encoding=True)
            for name, value in exchange.headers:
                connection.putheader(name, value.encode())
            chunked = not (exchange.body is None or isinstance(exchange.body, bytes)) and not any(
                name.lower() == "content-length" for name, _ in exchange.headers
            )
            if chunked:
                connection.putheader("transfer-encoding", "chunked")
            try:
                connection.endheaders(exchange.body, encode_chunked=chunked)
            except (BrokenPipeError, ConnectionResetError):
                # The server may have answered before it read the body to its end.
                pass
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self.release(connection)
            raise wait.failure(error) from None
        except BaseException:
            self.release(connection)
            raise
        return _SocketAnswer(response, connection, self, wait)


class _Wait:
    """What is known about a wait that ended with an error."""

    def __init__(
        self,
        exchange: Exchange,
        now: Callable[[], float],
        stop_requested: Callable[[], bool],
        remaining: Callable[[], float | None],
    ) -> None:
        self.exchange = exchange
        self._now = now
        self._stop_requested = stop_requested
        self._remaining = remaining

    def stopped(self) -> bool:
        return self.exchange.limit.heeds_stop and self._stop_requested()

    def stop(self) -> Stopped:
        return Stopped(f"{self.exchange.method} {self.exchange.authority}", timed_out=self._remaining() == 0)

    def failure(self, error: Exception) -> Exception:
        """In the words of the real host."""
        authority = self.exchange.authority
        if self.stopped():
            return Interrupted()
        if isinstance(error, TimeoutError):
            return HttpError("timeout", "timed out")
        if isinstance(error, ConnectionRefusedError):
            return HttpError("network", f"connection refused by {authority}", transient=True)
        if isinstance(error, socket.gaierror):
            return HttpError("network", f"no address was found for {authority}: {error.strerror}", transient=True)
        if isinstance(error, ssl.SSLError):
            return HttpError("network", f"TLS: no secure connection to {authority}: {error.reason}")
        if isinstance(error, (http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionError)):
            return HttpError(
                "network", f"{authority} closed the connection before its answer was complete", transient=True
            )
        if isinstance(error, http.client.HTTPException):
            return HttpError("network", f"{authority} sent an invalid HTTP response: {error!r}")
        return HttpError("network", f"{authority} can't be reached: {error}", transient=True)


class _SocketAnswer:
    def __init__(
        self,
        response: http.client.HTTPResponse,
        connection: http.client.HTTPConnection,
        sockets: Sockets,
        wait: _Wait,
    ) -> None:
        self.status = response.status
        self.headers = [(name.lower(), value) for name, value in response.getheaders()]
        self._response = response
        self._connection = connection
        self._sockets = sockets
        self._wait = wait

    def read(self, size: int) -> bytes:
        try:
            data = self._response.read1(size)
        except (OSError, http.client.HTTPException) as error:
            failure = self._wait.failure(error)
            raise (self._wait.stop() if isinstance(failure, Interrupted) else failure) from None
        if not data:
            if self._wait.stopped():
                raise self._wait.stop()
            if self._response.length not in (None, 0):
                raise self._wait.failure(http.client.IncompleteRead(b""))
            self.close()
        return data

    def close(self) -> None:
        self._response.close()
        self._sockets.release(self._connection)
