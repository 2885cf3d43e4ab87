"""What darse takes of aiohttp: a release that changes it fails here, by name, and not at somebody's door.

pyproject.toml allows the releases of one minor version, which this was seen with: darse takes more than what is public.
`darse.aiohttp_server` loads the package by half, from modules whose names are aiohttp's own business. A newer minor
version is allowed by changing the bounds there, when all of this passes with it.

The API's connections extend aiohttp's `RequestHandler`. A class that extends another may by accident use, or replace,
what the other keeps to itself; so every private attribute is looked for in the source.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from darse import aiohttp_server as web
from darse.api import server

REPOSITORY = Path(__file__).parents[3]
# What aiohttp has in no public package: name by name.
NOT_PUBLIC = {"AbstractStreamWriter", "HttpProcessingError", "LineTooLong", "RawRequestMessage"}
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


def test_the_bounds_allow_one_minor_version_of_which_the_tested_one_is() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    (bounds,) = (one for one in project["dependencies"] if one.startswith("aiohttp"))
    found = re.fullmatch(r"aiohttp>=3\.(\d+)\.(\d+),<3\.(\d+)", bounds)
    assert found is not None, bounds
    minor, micro, end = map(int, found.groups())
    assert end == minor + 1
    (tested,) = re.findall(r"^aiohttp==3\.(\d+)\.(\d+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    assert (int(tested[0]), int(tested[1]) >= micro) == (minor, True)


def taken() -> list[tuple[str, str]]:
    """The modules of aiohttp, and what the sources import of them."""
    return sorted(
        {
            (node.module, one.name)
            for source in (REPOSITORY / "src").rglob("*.py")
            if b"aiohttp" in source.read_bytes()
            for node in ast.walk(ast.parse(source.read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aiohttp")
            for one in node.names
        }
    )


@pytest.mark.parametrize(("module", "name"), taken())
def test_what_is_imported_is_there_and_public(module: str, name: str) -> None:
    found = getattr(importlib.import_module(module), name)
    public = [getattr(importlib.import_module(one), name, None) for one in ("aiohttp", "aiohttp.web")]
    assert any(found is one for one in public) != (name in NOT_PUBLIC)


_BY_HALF = """
import sys
from darse import aiohttp_server
assert "aiohttp.web_protocol" in sys.modules
found = [name for name in ("aiohttp.client", "aiohttp.connector", "aiohttp.cookiejar") if name in sys.modules]
assert not found, f"the server half loads {found}"
package = sys.modules["aiohttp"]
try:
    package.no_such_name
except AttributeError:
    pass
else:
    raise AssertionError("the package answers for any name")
import aiohttp, aiohttp.web
assert aiohttp is package
assert aiohttp_server.http_client() is package
assert aiohttp.ClientSession is sys.modules["aiohttp.client"].ClientSession
assert aiohttp.web.Server is aiohttp_server.Server
assert aiohttp.__version__[0].isdigit(), aiohttp.__version__
"""


def test_the_package_is_loaded_by_half_and_becomes_whole() -> None:
    done = subprocess.run([sys.executable, "-c", _BY_HALF], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
