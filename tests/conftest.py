"""Fixtures for all tests: engines, and the two commands that speak to them."""

from __future__ import annotations

import gc
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest

from tests.support.engine import Client, Engine, docker_program
from tests.support.hub import Hub

_AFTER_SYSTEM = pytest.StashKey[bool]()
# A machine that is busy with other tests is slow, which says nothing of what is tested.
hypothesis.settings.register_profile(
    "busy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("busy machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need root are skipped by name without it."""
    if os.geteuid() == 0:
        return
    for item in items:
        if "unit" not in item.path.parts:
            item.add_marker(pytest.mark.skip(reason="needs root: it runs real containers"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What a system test has left to the garbage collector is no error of the unit test that comes next."""
    is_unit = "unit" in item.path.parts
    if is_unit and item.config.stash.get(_AFTER_SYSTEM, False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    item.config.stash[_AFTER_SYSTEM] = not is_unit


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a line that belongs to the result of the run (counts, coverage): printed at its end."""
    return lambda text: record_property("tell", text)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests have told."""
    lines = [
        str(text)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, text in report.user_properties
        if name == "tell"
    ]
    if lines:
        terminalreporter.section("counts")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def session_engine() -> Iterator[Engine]:
    """One engine for a whole test process; asserts at the end that nothing is left of it."""
    engine = Engine.start()
    yield engine
    engine.close()


@pytest.fixture
def engine(session_engine: Engine) -> Iterator[Engine]:
    """The session's engine, running, and emptied of containers, volumes and networks after the test."""
    if session_engine.process is None or session_engine.process.poll() is not None:
        session_engine.up()
    yield session_engine
    session_engine.remove_all()
    session_engine.refuse_stalls()


@pytest.fixture
def new_engine() -> Iterator[Callable[..., Engine]]:
    """Starts engines of the test's own; each is closed, and checked for leaks, at its end. Arguments: see `Engine`."""
    started: list[Engine] = []

    def start(*flags: str, **options: Any) -> Engine:
        started.append(Engine.start(*flags, **options))
        return started[-1]

    yield start
    for engine in started:
        engine.close()


@pytest.fixture(scope="session")
def session_hub() -> Iterator[Hub]:
    """One registry with the catalogue's images, and an engine with it as its mirror, for a whole test process."""
    hub = Hub()
    hub.start()
    yield hub
    hub.close()


@pytest.fixture
def hub(session_hub: Hub) -> Iterator[Hub]:
    """The session's hub; its engine is emptied of all but images after the test."""
    if session_hub.engine.process is None or session_hub.engine.process.poll() is not None:
        session_hub.engine.up()
    yield session_hub
    session_hub.engine.remove_all()
    session_hub.engine.refuse_stalls()


@pytest.fixture(params=["docker", "darse"])
def hub_cli(request: pytest.FixtureRequest, hub: Hub) -> Client:
    """Each of the two commands in turn, bound to the hub's engine."""
    return _client(request.param, hub.engine)


@pytest.fixture(params=["docker", "darse"])
def cli(request: pytest.FixtureRequest, engine: Engine) -> Client:
    """Each of the two commands in turn, bound to the session's engine."""
    return _client(request.param, engine)


def _client(name: str, engine: Engine) -> Client:
    if name == "docker":
        if docker_program() is None:
            pytest.skip("docker's client is not installed")
        return engine.docker
    if importlib.util.find_spec("darse.cli.entry") is None:
        pytest.skip("the darse command is not there yet")
    return engine.darse
