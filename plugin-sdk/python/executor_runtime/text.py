"""Text on its way to the host, which takes UTF-8.

A Python ``str`` can hold what UTF-8 has no bytes for: half of a surrogate pair, as ``json.loads`` makes of ``"\\ud83d"``. It
goes to the host as the escape that Python shows for it, ``\\ud83d``: the text stays readable, and says what was there.
"""

from __future__ import annotations

import io
import sys


def encodable(text: str) -> str:
    """The text, with an escape for each character that UTF-8 can't encode."""
    return str.encode(text, errors="backslashreplace").decode()


def checked(value: object, what: str) -> str:
    """``value`` as the host takes it.

    :raises TypeError: if it is no str.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} is of type {type(value).__name__}: expected str")
    return encodable(value)


def shown(value: object) -> str:
    """``str(value)``, or which exception that raised."""
    try:
        return encodable(str(value))
    except BaseException as error:
        return f"its __str__ raised {type(error).__name__}"


def without_query(url: str) -> str:
    """A URL as it may be shown: its query, its fragment and a password in it may be secrets."""
    start = url.partition("#")[0].partition("?")[0]
    scheme, slashes, rest = start.partition("//")
    return encodable(scheme + slashes + rest.rpartition("@")[2])


def escape_what_is_printed() -> list[tuple[io.TextIOWrapper, str]]:
    """Have ``print`` escape what can't be encoded, too; returns what it did before."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper) and not stream.closed]
    before = [(stream, stream.errors or "strict") for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    return before
