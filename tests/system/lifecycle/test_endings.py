"""Ending always ends: what meets a container that goes away is answered, and no other container's end is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.http import Response
from tests.support.waiting import wait_until

LONG = ["sleep", "1000"]


def _created(engine: Engine, command: list[str] | None = None, name: str = "", **host: object) -> str:
    body = {"Image": BUSYBOX, "Cmd": command or LONG, "HostConfig": {"NetworkMode": "none", **host}}
    made = engine.api("POST", f"/containers/create{'?name=' + name if name else ''}", body)
    assert made.status == 201, made.body
    return str(made.json()["Id"])


def _started(engine: Engine, command: list[str] | None = None, name: str = "", **host: object) -> str:
    container = _created(engine, command, name, **host)
    answer = engine.api("POST", f"/containers/{container}/start")
    assert answer.status == 204, answer.body
    return container


def _attempt(engine: Engine, method: str, path: str, seconds: float = 10) -> Response | None:
    """The answer; None when it broke off in the middle. Raises TimeoutError when there is none."""
    try:
        return engine.api(method, path, timeout=seconds)
    except TimeoutError:
        raise
    except (OSError, HTTPException):
        return None


@pytest.mark.parametrize("what", ["archive?path=/bin", "export"])
@pytest.mark.parametrize("runs", [True, False])
def test_files_read_beside_a_removal(engine: Engine, what: str, runs: bool) -> None:
    with ThreadPoolExecutor(2) as threads:
        for _ in range(6):
            container = (_started if runs else _created)(engine)
            reading = threads.submit(_attempt, engine, "GET", f"/containers/{container}/{what}")
            removal = threads.submit(_attempt, engine, "DELETE", f"/containers/{container}?force=1")
            removed = removal.result()
            assert removed is not None
            assert removed.status == 204, removed.body
            read = reading.result()
            assert read is None or read.status in (200, 404, 409), read.body
    # Exits of containers whose descriptors have the numbers of those that were closed.
    ended = [_started(engine, ["true"]) for _ in range(12)]
    for container in ended:
        wait_until(
            lambda one=container: engine.api("GET", f"/containers/{one}/json").json()["State"]["Status"] == "exited",
            what="the container's end",
        )
