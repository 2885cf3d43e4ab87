"""An authorization plugin is asked about every route that the engine has, and what it refuses is not done.

The routes are the engine's own table, so a new one is in the test by itself.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.plugin_server import AuthorizationPlugin

from darse.api.app import all_routes

REQUEST, ANSWER = "AuthZPlugin.AuthZReq", "AuthZPlugin.AuthZRes"
ROUTES = sorted(set(all_routes().templates))
# What the parameters of paths mean, by what stands before them.
_NAMES = {"containers": "one", "images": BUSYBOX, "volumes": "data", "networks": "net", "distribution": BUSYBOX}
_BODIES: dict[str, dict[str, Any]] = {
    "/containers/create": {"Image": BUSYBOX},
    "/volumes/create": {"Name": "new"},
    "/networks/create": {"Name": "new"},
}


@pytest.fixture
def plugin() -> Iterator[AuthorizationPlugin]:
    """It allows everything at first."""
    directory = Path(tempfile.mkdtemp(prefix="dp-", dir="/tmp"))
    made = AuthorizationPlugin(directory / "gate.sock")
    yield made
    made.refuses = lambda *_: ""
    made.close()
    shutil.rmtree(directory)


@pytest.fixture
def guarded(plugin: AuthorizationPlugin, new_engine: Callable[..., Engine]) -> Iterator[Engine]:
    """An engine that asks the plugin, with a container that runs, a volume and a network."""
    engine = new_engine("--authorization-plugin", "gate")
    (engine.exec_root / "plugins").mkdir(exist_ok=True)
    (engine.exec_root / "plugins" / "gate.sock").symlink_to(plugin.path)
    engine.docker("run", "-d", "--name", "one", "-v", "data:/data", BUSYBOX, "sleep", "600").ok()
    engine.docker("network", "create", "net").ok()
    yield engine
    plugin.refuses = lambda *_: ""


def _path(template: str) -> str:
    parts = template.split("/")
    named = _NAMES.get(parts[1], "one")
    if parts[1] == "darse" and len(parts) > 2:
        named = _NAMES.get(parts[2], "one")
    return "/".join(named if part.startswith("{") else part for part in parts)


def _all_there_is(engine: Engine) -> dict[str, list[Any]]:
    """Every row of the database, volumes on the disk, and what has happened. Call it while everything is allowed."""
    until = f"{time.time():.9f}"
    events = engine.api("GET", f"/events?since=0&until={until}").body.splitlines()
    with sqlite3.connect(f"file:{engine.data_root}/state.sqlite?mode=ro", uri=True) as state:
        tables = {name for (name,) in state.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        # Events are written a little later than they are told.
        tables -= {"events", "sqlite_sequence", "serial"}
        found = {name: sorted(state.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for name in tables}
    volumes = engine.data_root / "volumes"
    return {**found, "events": events, "volumes on disk": sorted(path.name for path in volumes.iterdir())}


def test_requests_that_are_refused_change_nothing(
    guarded: Engine, plugin: AuthorizationPlugin, tell: Callable[[str], None]
) -> None:
    before, pid = _all_there_is(guarded), guarded.api("GET", "/containers/one/json").json()["State"]["Pid"]
    plugin.refuses = lambda *_: "nothing today"
    for method, template in ROUTES:
        path = _path(template)
        plugin.calls.clear()
        answer = guarded.api(method, path, _BODIES.get(template, {}) if method in ("POST", "PUT") else None)
        assert answer.status == 403, (method, path, answer.status, answer.body[:200])
        if method != "HEAD":
            assert answer.message == "authorization denied by plugin gate: nothing today", (method, path)
        (asked,) = plugin.bodies(REQUEST)
        assert asked["RequestMethod"] == method
        assert asked["RequestUri"].endswith(path), (asked["RequestUri"], path)
    plugin.refuses = lambda *_: ""
    after = _all_there_is(guarded)
    assert {name for name in after if after[name] != before[name]} == set()
    assert guarded.api("GET", "/containers/one/json").json()["State"]["Pid"] == pid
    tell(f"authorization: {len(ROUTES)} routes are refused, and nothing has changed")


def test_answers_that_are_refused_are_not_seen(
    guarded: Engine, plugin: AuthorizationPlugin, tell: Callable[[str], None]
) -> None:
    plugin.refuses = lambda _, uri, status: "secret" if status is not None else ""
    looks = [(method, template) for method, template in ROUTES if method in ("GET", "HEAD")]
    for method, template in looks:
        path = _path(template)
        plugin.calls.clear()
        answer = guarded.api(method, path)
        assert answer.status == 403, (method, path, answer.status, answer.body[:200])
        if method != "HEAD":
            assert answer.json() == {"message": "authorization denied by plugin gate: secret"}, (method, path)
        assert len(plugin.bodies(ANSWER)) == 1, (method, path)
    tell(f"authorization: answers of {len(looks)} routes are refused")


def test_answers_to_changes_that_are_refused_are_not_seen(
    guarded: Engine, plugin: AuthorizationPlugin, tell: Callable[[str], None]
) -> None:
    """What was done stays done, as with docker: who asked does not see what has come of it."""
    plugin.refuses = lambda _, uri, status: "secret" if status is not None else ""
    changes = [(method, template) for method, template in ROUTES if method not in ("GET", "HEAD")]
    done = []
    for method, template in changes:
        # The first process of a container heeds no signal that it does not ask for.
        path = _path(template) + ("?t=0" if template.endswith("/stop") else "")
        plugin.calls.clear()
        answer = guarded.api(method, path, _BODIES.get(template, {}) if method in ("POST", "PUT") else None)
        assert answer.status == 403, (method, path, answer.status, answer.body[:200])
        assert answer.json() == {"message": "authorization denied by plugin gate: secret"}, (method, path)
        (asked,) = plugin.bodies(ANSWER)
        if asked["ResponseStatusCode"] < 300:
            done.append(template)
    plugin.refuses = lambda *_: ""
    assert {"/containers/create", "/volumes/create", "/networks/create"} < set(done)
    assert guarded.api("GET", "/volumes/new").status == 200
    tell(f"authorization: answers to {len(changes)} changes are refused, of which {len(done)} were done")
