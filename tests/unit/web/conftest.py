"""A dashboard before an engine of canned answers, and users of each role."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

argon2 = pytest.importorskip("argon2", reason="argon2-cffi is not installed: `make setup-test` installs it")
pytest.importorskip("jinja2", reason="jinja2 is not installed: `make setup-test` installs it")

from darse.client import EngineEndpoint
from darse.web.accounts import Role
from darse.web.options import WebOptions
from darse.web.server import WebServer
from tests.support.fake_engine import FakeEngine
from tests.support.web import WebBrowser, serving


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes as of a file whose passwords are to be checked fast."""
    monkeypatch.setattr(
        "darse.web.accounts._hasher", lambda: argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    )


@pytest.fixture(scope="module")
def module_fake() -> Iterator[FakeEngine]:
    with tempfile.TemporaryDirectory(prefix="dz-") as directory, FakeEngine(Path(directory)) as engine:
        yield engine


@pytest.fixture(scope="module")
def module_served(module_fake: FakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    log = tmp_path_factory.mktemp("web") / "audit.log"
    with serving(WebOptions(EngineEndpoint(module_fake.host), log, port=0, names=("dock.example",))) as server:
        yield server


@pytest.fixture
def fake(module_fake: FakeEngine) -> FakeEngine:
    """The engine, which has nothing."""
    module_fake.answers.clear()
    module_fake.answers["GET", "/containers/json"] = []
    module_fake.answers["GET", "/networks"] = []
    module_fake.requests()
    return module_fake


@pytest.fixture
def served(fake: FakeEngine, module_served: WebServer) -> WebServer:
    """The dashboard, which nobody has used yet."""
    dashboard = module_served.dashboard
    dashboard.sessions.end_all()
    for limit in (dashboard.logins, dashboard.all_logins, dashboard.requests, dashboard.changes, dashboard.anonymous):
        limit.reset()
    return module_served


@pytest.fixture
def browser(served: WebServer) -> WebBrowser:
    """Nobody is logged in."""
    return WebBrowser(served.port)


@pytest.fixture
def as_role(served: WebServer) -> Callable[[Role], WebBrowser]:
    """A browser in which somebody of a role is logged in."""

    def logged_in(role: Role) -> WebBrowser:
        browser = WebBrowser(served.port)
        number, session = served.dashboard.sessions.begin(role.word, role)
        browser.cookies["darse-session"] = number
        browser.csrf = session.csrf
        return browser

    return logged_in


@pytest.fixture
def admin(as_role: Callable[[Role], WebBrowser]) -> Any:
    return as_role(Role.ADMINISTRATE)
