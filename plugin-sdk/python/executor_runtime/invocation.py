"""What the caller asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .outcome import Rejected


def _invalid(key: str, value: str, expected: str) -> Rejected:
    return Rejected("invalid_metadata", f"metadata key '{key}' is {value!r}: expected {expected}")


@dataclass(frozen=True)
class Invocation:
    """One RuntimeInvocation, which the host has checked against the metadata keys in plugin.json."""

    runtime_kind: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    invocation_id: str = "test"
    runtime_name: str = "test"
    command: tuple[str, ...] = ("test",)
    environment: Mapping[str, str] = field(default_factory=dict)
    #: A path on the host, for information: a component has no file system.
    working_directory: str = "/"
    timeout_seconds: int | None = None
    #: A path on the host, for information: read the payload by ``ctx.open_input()``.
    input_payload_path: str | None = None
    artifact_directory: str | None = None

    def text(self, key: str, default: str | None = None) -> str | None:
        """The value of a metadata key."""
        return self.metadata.get(key, default)

    def required(self, key: str) -> str:
        """The value of a metadata key that has to be there."""
        value = self.metadata.get(key)
        if value is None:
            raise Rejected("invalid_metadata", f"metadata key '{key}' is missing")
        return value

    def integer(self, key: str, default: int | None = None) -> int | None:
        """A whole number."""
        value = self.metadata.get(key)
        if value is None:
            return default
        try:
            return int(value)
        except ValueError:
            raise _invalid(key, value, "a whole number") from None

    def number(self, key: str, default: float | None = None) -> float | None:
        """A number."""
        value = self.metadata.get(key)
        if value is None:
            return default
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise _invalid(key, value, "a number")
        return number

    def boolean(self, key: str, default: bool | None = None) -> bool | None:
        """``true`` or ``false``."""
        value = self.metadata.get(key)
        if value is None:
            return default
        if value not in ("true", "false"):
            raise _invalid(key, value, "true or false")
        return value == "true"

    def list(self, key: str) -> list[str]:
        """The items of a list, which commas separate."""
        items = (item.strip() for item in self.metadata.get(key, "").split(","))
        return [item for item in items if item]

    def json(self, key: str, default: Any = None) -> Any:
        """The value of a key that holds a JSON document."""
        value = self.metadata.get(key)
        if value is None:
            return default
        try:
            return json.loads(value)
        except ValueError as error:
            raise _invalid(key, value, f"JSON ({error})") from None
