"""Where a redirect leads, and with what."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_SECRET_WORDS = (
    "auth",
    "authentication",
    "authorization",
    "cookie",
    "credential",
    "jwt",
    "key",
    "passwd",
    "password",
    "secret",
    "session",
    "sessionid",
    "token",
)
#: Names that have such a word and hold no secret.
_NOT_SECRET = frozenset(
    (
        "idempotency-key",
        "x-idempotency-key",
        "cache-key",
        "x-cache-key",
        "partition-key",
        "routing-key",
        "sec-websocket-key",
        "surrogate-key",
    )
)
_ABOUT_BODY = frozenset(
    ("content-length", "content-type", "content-encoding", "content-language", "content-location")
)
REWRITES = frozenset((301, 302, 303))
REDIRECTS = REWRITES | {307, 308}


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def headers(
    given: list[tuple[str, str]], *, drops_body: bool, other_origin: bool
) -> list[tuple[str, str]]:
    """Those of the next request: none about a body that is left out, and no secret for another origin."""

    def is_kept(name: str) -> bool:
        return not (drops_body and name.lower() in _ABOUT_BODY) and not (other_origin and holds_secret(name))

    return [(name, value) for name, value in given if is_kept(name)]


def holds_secret(name: str) -> bool:
    """Whether the name of a header says that it holds a secret: ``x-api-key``, ``private-token``. A plural counts too."""
    name = name.lower()
    words = re.split("[^a-z0-9]", name)
    return name not in _NOT_SECRET and any(word.removesuffix("s").endswith(_SECRET_WORDS) for word in words)
