"""Where a redirect leads, and with what."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# The three lists are those of ``plugin-sdk/protocol/src/secret_name.rs``.
#: How a word in the name of a header ends that holds a secret. A plural counts too.
_SECRET_WORDS = (
    "assertion",
    "auth",
    "authentication",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "dpop",
    "jwt",
    "key",
    "otp",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "sessid",
    "session",
    "sessionid",
    "signature",
    "token",
)
#: Words that say so on their own, and not as the end of another, such as ``bypass``.
_SECRET_WHOLE_WORDS = (
    "cred",
    "csrf",
    "pass",
    "sid",
    "sig",
    "xsrf",
)
#: Names that have such a word and hold no secret. The first two keep a repeated request from being carried out twice,
#: also by the server that a redirect leads to.
_NOT_SECRET = (
    "idempotency-key",
    "x-idempotency-key",
    "cache-key",
    "x-cache-key",
    "partition-key",
    "routing-key",
    "sec-websocket-key",
    "surrogate-key",
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

    def is_secret(word: str) -> bool:
        singular = word.removesuffix("s")
        return singular.endswith(_SECRET_WORDS) or word in _SECRET_WHOLE_WORDS or singular in _SECRET_WHOLE_WORDS

    return name not in _NOT_SECRET and any(map(is_secret, re.split("[^a-z0-9]", name)))
