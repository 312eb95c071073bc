"""Write plugins for executor-runtime in Python.

A plugin is one function, marked by ``@runner``, in ``plugin.py``. What it returns is a success; what it raises is a
failure. ``plugin-sdk/python/README.md`` is the guide.
"""

from .artifact import Artifact, ArtifactError
from .context import Context, Level
from .http import Client, HttpError, Response
from .invocation import Invocation
from .outcome import Failed, Outcome, Rejected, Stopped
from .retry import Retry
from .run import runner

__all__ = [
    "Artifact",
    "ArtifactError",
    "Client",
    "Context",
    "Failed",
    "HttpError",
    "Invocation",
    "Level",
    "Outcome",
    "Rejected",
    "Response",
    "Retry",
    "Stopped",
    "runner",
]
