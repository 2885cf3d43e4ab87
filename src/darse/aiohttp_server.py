"""The server half of aiohttp, without the client half.

`import aiohttp` runs its `__init__`, which imports the HTTP client: cookies, connectors, two TLS contexts. That is
half of the time (60 of 125 ms) and a quarter of the memory (6 of 26 MB) of the import, and the engine's start is
measured. So the package is registered here without having run its `__init__`; its server modules need nothing of it
but the version. Whoever asks the package for any other name makes it run then, as if it had been imported at once.

What the API uses is re-exported, so that no other module has to know.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def _register() -> None:
    if "aiohttp" in sys.modules:
        return
    spec = importlib.util.find_spec("aiohttp")
    assert spec is not None
    package = importlib.util.module_from_spec(spec)
    package.__version__ = "server half"  # type: ignore[attr-defined]  # goes into a header that we replace
    package.__getattr__ = lambda name: _complete(package, spec, name)  # type: ignore[method-assign]
    sys.modules["aiohttp"] = package


def _complete(package: ModuleType, spec: ModuleSpec, name: str) -> Any:
    """Find what the package was asked for and has not: one of its modules, or else a name of its `__init__`."""
    if name.startswith("__"):
        raise AttributeError(name)
    if importlib.util.find_spec(f"aiohttp.{name}") is not None:
        return importlib.import_module(f"aiohttp.{name}")
    if package.__dict__.pop("__getattr__", None) is not None:
        assert spec.loader is not None
        spec.loader.exec_module(package)
    return getattr(package, name)


def http_client() -> ModuleType:
    """The package with its client half. The first call takes a tenth of a second: it belongs in a thread."""
    with _completing:  # who comes meanwhile would find the package without what is about to be in it
        package = importlib.import_module("aiohttp")
        importlib.import_module("aiohttp.client")
        assert package.ClientSession  # makes it run
        return package


_completing = threading.Lock()
_register()

from aiohttp.helpers import RequestKey  # noqa: E402
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong  # noqa: E402
from aiohttp.web_exceptions import HTTPException  # noqa: E402
from aiohttp.web_protocol import RequestHandler  # noqa: E402
from aiohttp.web_request import BaseRequest  # noqa: E402
from aiohttp.web_response import Response, StreamResponse  # noqa: E402
from aiohttp.web_server import Server  # noqa: E402

__all__ = [
    "BaseRequest",
    "HTTPException",
    "HttpProcessingError",
    "LineTooLong",
    "RequestHandler",
    "RequestKey",
    "Response",
    "Server",
    "StreamResponse",
    "http_client",
]
