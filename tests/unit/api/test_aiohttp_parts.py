"""What the API takes of aiohttp is public: a release that changes it fails here, by name, and not at somebody's door.

The API's connections extend aiohttp's `RequestHandler`. A class that extends another may by accident use, or replace,
what the other keeps to itself; so every private attribute is looked for in the source.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from darse import aiohttp_server as web
from darse.api import server

SOURCES = sorted(Path(server.__file__).parent.rglob("*.py"))
EXTENDED = {
    server.ServerConnection: web.RequestHandler,
    server.ApiServer: web.Server,
    server.Hijacked: web.StreamResponse,
}
# What aiohttp calls, or is called by, under these names.
USED = [
    (web.RequestHandler, "connection_made"),
    (web.RequestHandler, "connection_lost"),
    (web.RequestHandler, "data_received"),
    (web.RequestHandler, "eof_received"),
    (web.RequestHandler, "finish_response"),
    (web.RequestHandler, "handle_error"),
    (web.RequestHandler, "force_close"),
    (web.RequestHandler, "transport"),
    (web.Server, "shutdown"),
    (web.StreamResponse, "prepare"),
    (web.StreamResponse, "write_eof"),
    (web.StreamResponse, "force_close"),
    (web.BaseRequest, "content"),
    (web.BaseRequest, "protocol"),
]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name != "_abc_impl"


@pytest.mark.parametrize("extension", EXTENDED, ids=lambda one: one.__name__)
def test_private_attributes_are_our_own(extension: type) -> None:
    base = EXTENDED[extension]
    tree = ast.parse(inspect.getsource(extension))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    own = {*vars(extension), *getattr(extension, "__slots__", ())}
    assigned = {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    assert {name for name in used if is_private(name)} <= own | assigned
    theirs = {name for one in base.__mro__ for name in (*vars(one), *getattr(one, "__slots__", ()))}
    theirs |= {
        node.attr
        for one in base.__mro__[:-1]
        if one.__module__.startswith("aiohttp")
        for node in ast.walk(ast.parse(inspect.getsource(inspect.getmodule(one))))  # type: ignore[arg-type]
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    assert {name for name in own | assigned if is_private(name)} & theirs == set()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_private_attributes_of_others_are_left_alone(source: Path) -> None:
    tree = ast.parse(source.read_text())
    foreign = {
        f"{ast.unparse(node)} in line {node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and is_private(node.attr)
        and isinstance(node.value, ast.Name)
        and node.value.id in {"connection", "request", "response", "resp", "protocol", "web", "server"}
    }
    assert foreign == set()


@pytest.mark.parametrize(("owner", "name"), USED, ids=lambda value: getattr(value, "__name__", value))
def test_what_is_used_is_there(owner: type, name: str) -> None:
    assert any(name in (*vars(one), *getattr(one, "__slots__", ())) for one in owner.__mro__)


def test_a_server_can_be_given_the_function_that_makes_requests() -> None:
    assert "request_factory" in inspect.signature(web.Server.__init__).parameters
    options = inspect.signature(web.RequestHandler.__init__).parameters
    assert {"max_line_size", "max_field_size", "max_headers", "lingering_time", "auto_decompress"} <= set(options)
