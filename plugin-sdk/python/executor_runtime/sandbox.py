"""Makes what does not work inside a component say what does. Used while a component is built, before the plugin's own
modules are imported."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import linecache
import sys
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, NoReturn

NO_SOCKETS = "a plugin has no sockets, so urllib, http.client, requests and the like can't work in it: use ctx.http"
NO_PROCESSES = "a plugin can't start programs"
NO_THREADS = "a plugin has no threads: do one thing after the other"


class _MissingModules(importlib.abc.MetaPathFinder):
    """Asked last, for a module that is not in the component."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        raise ModuleNotFoundError(
            f"module '{name}' is not in the component, which has no files: import it at the top of plugin.py, and not "
            "inside a function, so that it is there when the component is built",
            name=name,
        )


def how_to_get(module: str | None) -> str:
    """What to do about a module that is missing when the component is built."""
    name = (module or "").partition(".")[0]
    if name in sys.stdlib_module_names:
        return f"'{name}' needs what a component does not have, so do without it"
    return (
        f"install '{name}' into the plugin's environment, with .venv/bin/pip, or put its file beside plugin.py; only "
        "packages in pure Python work"
    )


def replace_sleep(sleep: Callable[[float], None]) -> None:
    """Have ``time.sleep`` end when the run is to stop, as ``ctx.sleep`` does."""
    time.sleep = sleep  # type: ignore[assignment]


def explain_missing_modules() -> None:
    """From now on an import of what is not there says what to do."""
    sys.meta_path.append(_MissingModules())


def explain_sockets() -> None:
    """Where the plugin has loaded modules that can't work, they say so when they are used."""

    def refuse(words: str) -> Callable[..., NoReturn]:
        def refused(*_: Any, **__: Any) -> NoReturn:
            raise OSError(words)

        return refused

    for module, names, words in (
        ("socket", ("socket", "create_connection", "getaddrinfo", "socketpair"), NO_SOCKETS),
        ("subprocess", ("Popen", "run"), NO_PROCESSES),
    ):
        loaded = sys.modules.get(module)
        if loaded is not None:
            for name in names:
                setattr(loaded, name, refuse(words))
    threading = sys.modules.get("threading")
    if threading is not None:
        threading.Thread.start = refuse(NO_THREADS)


def keep_sources() -> None:
    """Keep the lines of the loaded modules, for tracebacks: at run time there are no files."""
    standard = importlib.machinery.PathFinder.find_spec("json")
    library = (standard.origin or "").partition("json")[0] if standard else ""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not file or not file.endswith(".py") or (library and file.startswith(library)):
            continue
        lines = linecache.getlines(file)
        # Without a time, it is not looked up whether the file has changed.
        linecache.cache[file] = (sum(map(len, lines)), None, lines, file)
