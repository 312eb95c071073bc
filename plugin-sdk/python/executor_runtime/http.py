"""The HTTP client: what is common to the real host and ``TestHost``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Union
from urllib.parse import quote, urlencode, urljoin, urlsplit

from . import redirect
from .artifact import Artifact
from .host import Answer, Exchange, Limit
from .retry import Retry, may_pass, retry_after
from .text import encodable, without_query

if TYPE_CHECKING:
    from .context import Context

Body = Union[bytes, str, Iterable[bytes], BinaryIO]

MAX_REDIRECTS = 20
CHUNK = 64 * 1024
USER_AGENT = "executor-runtime-sdk-python/1.0.0"
#: Headers that belong to the connection, not to the request.
_FORBIDDEN = frozenset(
    (
        "connection",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    )
)
#: RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Control characters, and what UTF-8 can't encode.
_NOT_IN_VALUE = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
#: A request with one of these says that it has no body; others need not.
_HAS_BODY = frozenset(("PATCH", "POST", "PUT"))


class HttpError(Exception):
    """Why a request failed. An answer with an error status is an answer.

    Let through, it ends the run as ``failed``, with its kind: ``network``, ``egress_denied``, ``redirect``, ``request_body``,
    ``http_status`` (by ``raise_for_status``), ``invalid_request`` (``rejected``). After ``timeout``, of the request, the run's
    kind is ``network``.
    """

    def __init__(self, kind: str, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        #: Whether the same request may well succeed later.
        self.transient = transient


class Response:
    """What a server answered. Its body is read as it comes."""

    def __init__(self, answer: Answer, url: str) -> None:
        self._answer = answer
        self.status = answer.status
        #: The address that answered, after redirects.
        self.url = url
        #: Each header, in the order in which they came.
        self.header_list = answer.headers
        #: By the name in lower case; the values of several with one name are joined by a comma.
        self.headers: dict[str, str] = {}
        for name, value in answer.headers:
            key = name.lower()
            self.headers[key] = f"{self.headers[key]}, {value}" if key in self.headers else value

    @property
    def ok(self) -> bool:
        """Whether the status is one of success: 200 to 299."""
        return 200 <= self.status < 300

    def raise_for_status(self) -> Response:
        """Raise ``HttpError`` unless the status is one of success."""
        if not self.ok:
            self.close()
            raise HttpError("http_status", f"{without_query(self.url)} answered {self.status}")
        return self

    def __iter__(self) -> Iterator[bytes]:
        """The body, piece by piece."""
        while data := self._answer.read(CHUNK):
            yield data

    def read(self, limit: int | None = None) -> bytes:
        """The body to its end, or its first ``limit`` bytes."""
        data = bytearray()
        while limit is None or len(data) < limit:
            piece = self._answer.read(CHUNK if limit is None else min(CHUNK, limit - len(data)))
            if not piece:
                break
            data += piece
        return bytes(data)

    def text(self) -> str:
        """The body as UTF-8; what is none is replaced."""
        return self.read().decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON."""
        body = self.read()
        try:
            return json.loads(body)
        except ValueError as error:
            raise HttpError("network", f"{without_query(self.url)} sent no JSON: {error}") from None

    def copy_to(self, artifact: Artifact) -> int:
        """Write the body to an artifact, piece by piece; returns the number of bytes."""
        return sum(artifact.write(piece) for piece in self)

    def close(self) -> None:
        """Nothing more is read."""
        self._answer.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Client:
    """Sends requests.

    - Redirects are followed, up to 20: after 301, 302 and 303 with GET and without the body (HEAD stays HEAD), after 307
      and 308 with the same method and body. To another origin, headers whose names say that they hold a secret are left out:
      ``authorization``, ``cookie``, and those with a word such as ``key``, ``token`` or ``secret`` in their name, as in
      ``x-api-key``. ``idempotency-key`` is kept. From https to http none is followed.
    - Whatever waits raises ``Stopped`` when the run is to stop.
    - An answer with an error status is an answer: see ``Response.raise_for_status``.
    - The operator decides which hosts a plugin may reach.
    """

    def __init__(self, context: Context, *, after_stop: bool = False) -> None:
        self._context = context
        self._after_stop = after_stop

    def after_stop(self) -> Client:
        """A client for a run that was told to stop, to tell its backend: its requests have three quarters of the grace."""
        return Client(self._context, after_stop=True)

    def get(self, url: str, **options: Any) -> Response:
        """``request("GET", url, ...)``."""
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Response:
        """``request("POST", url, ...)``."""
        return self.request("POST", url, **options)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, object] | None = None,
        body: Body | None = None,
        json: Any = None,
        retry: Retry | int | None = None,
        timeout: float | None = None,
        redirects: int = MAX_REDIRECTS,
    ) -> Response:
        """Send a request and return the answer as soon as its headers are there.

        :param params: added to the query.
        :param body: bytes, text (UTF-8), an iterable of bytes, or a binary file such as ``ctx.open_input()``. What is
            read piece by piece is sent so, and only once: neither retried nor sent on after a redirect.
        :param json: sent as JSON.
        :param retry: how many times to send it again, or how: see ``Retry``.
        :param timeout: seconds for each attempt, with the answer's body; the deadline of the run counts anyway.
        :param redirects: how many are followed at most; 0: a redirect is an answer.
        """
        method = method.upper()
        if not _TOKEN.fullmatch(method):
            raise HttpError("invalid_request", f"the request can't be sent: {method!r} is no method")
        url = _with_params(url, params)
        sent = _headers(headers or {})
        payload, sent = _payload(method, body, json, sent)
        policy = Retry(retry) if isinstance(retry, int) else retry
        can_repeat = policy is not None and policy.repeats(method) and not isinstance(payload, Iterator)
        retries = 0
        while True:
            answer: Response | None = None
            failure: HttpError | None = None
            try:
                answer = self._follow(method, url, sent, payload, timeout, redirects)
            except HttpError as error:
                failure = error
            wait = None
            if can_repeat and policy is not None:
                if answer is not None and may_pass(answer.status):
                    wait = policy.wait(retries, retry_after(answer.header_list))
                elif failure is not None and failure.transient:
                    wait = policy.wait(retries, 0.0)
            if wait is None or not self._has_time_for(wait):
                if failure is not None:
                    raise failure
                assert answer is not None
                return answer
            why = failure if answer is None else f"{without_query(answer.url)} answered {answer.status}"
            if answer is not None:
                answer.close()
            self._context.log(f"trying again in {wait:.1f} s: {why}", "debug")
            self._context.sleep(wait)
            retries += 1

    def _has_time_for(self, wait: float) -> bool:
        """Whether there is time for another attempt after a wait."""
        remaining = self._context.remaining
        return (remaining is None or wait < remaining) and not self._context.stop_requested

    def _limit(self, timeout: float | None) -> Limit:
        now = self._context._host.now()
        until = None if timeout is None else now + timeout
        if self._after_stop:
            last = self._context._last_moment()
            return Limit(last if until is None else min(last, until), heeds_stop=False)
        if self._context.stop_requested:
            raise self._context.stopped("an HTTP request")
        return Limit(until)

    def _follow(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        payload: bytes | Iterator[bytes] | None,
        timeout: float | None,
        redirects: int,
    ) -> Response:
        limit = self._limit(timeout)
        followed = 0
        while True:
            answer = self._send(method, url, headers, payload, limit)
            target = next((value for name, value in answer.headers if name.lower() == "location"), None)
            if answer.status not in redirect.REDIRECTS or target is None or redirects == 0:
                return Response(answer, url)
            answer.close()
            followed += 1
            if followed > redirects:
                raise HttpError("redirect", f"more than {redirects} redirects")
            following = _location(url, target)
            drops_body = answer.status in redirect.REWRITES
            if drops_body:
                method, payload = ("HEAD" if method == "HEAD" else "GET"), None
            elif isinstance(payload, Iterator):
                raise HttpError("redirect", "a redirect that can't be followed: the body was sent and is not kept")
            other = redirect.origin(following) != redirect.origin(url)
            headers = redirect.headers(headers, drops_body=drops_body, other_origin=other)
            url = following

    def _send(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        payload: bytes | Iterator[bytes] | None,
        limit: Limit,
    ) -> Answer:
        scheme, authority, target = _parts(url)
        exchange = Exchange(method, scheme, authority, target, headers, payload, limit)
        try:
            return self._context._host.send(exchange)
        except Interrupted:
            raise self._context.stopped(f"{method} {authority}") from None


class Interrupted(Exception):
    """A host's word for a wait that the request to stop ended; authors see ``Stopped``."""


def _with_params(url: str, params: Mapping[str, object] | None) -> str:
    if not params:
        return url
    base, hash_mark, fragment = url.partition("#")
    query = urlencode({key: _param(value) for key, value in params.items()}, doseq=True)
    return base + ("&" if "?" in base else "?") + query + hash_mark + fragment


def _param(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def _parts(url: str) -> tuple[str, str, str]:
    shown = without_query(url)
    if encodable(url) != url:
        raise HttpError("invalid_request", f"the request can't be sent: '{shown}' has a character that UTF-8 can't encode")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        # Some of these repeat the authority, in which a password may be.
        why = "" if "@" in str(error) else f": {error}"
        raise HttpError("invalid_request", f"the request can't be sent: '{shown}' is no URL{why}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HttpError("invalid_request", f"the request can't be sent: '{shown}' is no absolute http or https URL")
    if parts.username is not None:
        raise HttpError("invalid_request", "the request can't be sent: its URL has a user name in it; use a header")
    host = parts.hostname
    if not host.isascii():
        raise HttpError("invalid_request", f"the request can't be sent: write the host '{host}' in ASCII (xn--...)")
    if ":" in host:
        host = f"[{host}]"
    authority = host if port is None else f"{host}:{port}"
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=-._~")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=-._~?")
    return parts.scheme, authority, target


def _location(url: str, target: str) -> str:
    """The address that a redirect names, seen from the one that was asked."""
    try:
        following = urljoin(url, target)
        scheme, _, _ = _parts(following)
    except (HttpError, ValueError):
        raise HttpError("redirect", f"a redirect that can't be followed: to '{without_query(target)}', which is no URL") from None
    if urlsplit(url).scheme == "https" and scheme == "http":
        raise HttpError(
            "redirect",
            f"a redirect that can't be followed: from https to '{without_query(following)}', which would send the "
            "request on unencrypted",
        )
    return following


def _headers(given: Mapping[str, str]) -> list[tuple[str, str]]:
    headers = []
    for name, value in given.items():
        if name.lower() in _FORBIDDEN:
            raise HttpError("invalid_request", f"the request can't be sent: the header '{name}' is the host's to set")
        text = str(value)
        if not _TOKEN.fullmatch(name) or _NOT_IN_VALUE.search(text):
            raise HttpError("invalid_request", f"the request can't be sent: the header {name!r} is not valid")
        headers.append((name, text))
    if not any(name.lower() == "user-agent" for name, _ in headers):
        headers.append(("user-agent", USER_AGENT))
    return headers


def _payload(
    method: str, body: Body | None, document: Any, headers: list[tuple[str, str]]
) -> tuple[bytes | Iterator[bytes] | None, list[tuple[str, str]]]:
    """The body, and the headers with its length where that is known, whatever length the plugin has given."""
    names = {name.lower() for name, _ in headers}
    without_length = [(name, value) for name, value in headers if name.lower() != "content-length"]
    if document is not None:
        if body is not None:
            raise TypeError("give either body or json")
        body = json.dumps(document).encode()
        if "content-type" not in names:
            without_length.append(("content-type", "application/json"))
    if body is None:
        return None, [*without_length, ("content-length", "0")] if method in _HAS_BODY else without_length
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, (bytes, bytearray, memoryview)):
        data = bytes(body)
        return data, [*without_length, ("content-length", str(len(data)))]
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    if len(lengths) > 1 or not all(re.fullmatch("[0-9]{1,19}", value) for value in lengths):
        raise HttpError("invalid_request", "the request can't be sent: the header 'content-length' is not valid")
    pieces = _pieces(body)
    return (_of_length(pieces, int(lengths[0])) if lengths else pieces), headers


def _of_length(pieces: Iterator[bytes], length: int) -> Iterator[bytes]:
    """The body, if it has the length that the request says: a server would wait for what is missing."""
    left = length
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            raise HttpError("request_body", f"the request's body is longer than its content-length, {length}")
        yield piece
    if left > 0:
        raise HttpError("request_body", f"the request's body is {left} bytes shorter than its content-length, {length}")


def _pieces(body: Any) -> Iterator[bytes]:
    if hasattr(body, "read"):
        while piece := body.read(CHUNK):
            yield piece
    else:
        for piece in body:
            yield piece.encode() if isinstance(piece, str) else bytes(piece)
