"""Routing, versions, errors."""

from __future__ import annotations

import asyncio
import errno
import os
import threading

import pytest

from tests.unit.api.conftest import Served


async def test_ping_tells_the_version_and_the_platform(served: Served) -> None:
    answer = await served.request("GET", "/_ping")
    assert (answer.status, answer.body) == (200, b"OK")
    assert answer.headers["api-version"] == "1.55"
    assert answer.headers["ostype"] == "linux"
    assert answer.headers["docker-experimental"] == "false"
    assert answer.headers["swarm"] == "inactive"
    assert answer.headers["content-type"].startswith("text/plain")


async def test_ping_by_head_has_no_body(served: Served) -> None:
    answer = await served.request("HEAD", "/v1.24/_ping")
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("prefix", ["", "/v1.24", "/v1.43", "/v1.55"])
async def test_every_supported_version_is_served(served: Served, prefix: str) -> None:
    assert (await served.request("GET", f"{prefix}/containers/json")).json == []


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("1.56", "client version 1.56 is too new. Maximum supported API version is 1.55"),
        ("2.0", "client version 2.0 is too new. Maximum supported API version is 1.55"),
        (
            "1.23",
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a "
            "newer version",
        ),
    ],
)
async def test_other_versions_are_refused_in_dockers_words(served: Served, version: str, message: str) -> None:
    answer = await served.request("GET", f"/v{version}/containers/json")
    assert (answer.status, answer.message) == (400, message)
    assert answer.headers["api-version"] == "1.55"


@pytest.mark.parametrize(
    "target", ["/", "/v1.43", "/nothing", "/v1/_ping", "/v1.x/_ping", "//_ping", "/_ping/", "/containers/a/b/c/json"]
)
async def test_unknown_paths(served: Served, target: str) -> None:
    answer = await served.request("GET", target)
    assert (answer.status, answer.json) == (404, {"message": "page not found"})


async def test_a_known_path_with_another_method_is_unknown(served: Served) -> None:
    assert (await served.request("PATCH", "/containers/json")).status == 404


async def test_errors_have_the_status_of_their_kind(served: Served) -> None:
    answer = await served.request("POST", "/containers/nope/start")
    assert (answer.status, answer.message) == (404, "No such container: nope")
    assert answer.headers["content-type"].startswith("application/json")


async def test_not_modified_has_no_body(served: Served) -> None:
    answer = await served.request("POST", "/containers/box/stop?t=5")
    assert (answer.status, answer.body) == (304, b"")
    assert served.engine.containers.calls == [("stop", 5, None)]


async def test_a_defect_is_one_requests_500_and_not_the_engines_end(served: Served) -> None:
    answer = await served.request("POST", "/containers/box/kill")
    assert answer.status == 500
    assert "ZeroDivisionError" in answer.message
    assert (await served.request("GET", "/_ping")).status == 200


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/swarm/init"),
    ],
)
async def test_what_is_not_there_yet_says_so(served: Served, method: str, target: str) -> None:
    answer = await served.request(method, target)
    assert answer.status == 501
    assert target in answer.message


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/containers/%00/json", 400),
        ("/containers/a%00b/start", 400),
        ("/images/%00/json", 400),
        ("/containers/..%2f..%2fetc/json", 404),
        ("/containers/json?limit=1e9", 400),
        ("/containers/json?limit=99999999999999999999", 400),
        ("/containers/json?filters=[", 400),
        ("/containers/json?filters={}", 200),
        ('/containers/json?filters={"what":["x"]}', 400),
        ('/containers/json?filters={"name":"x"}', 400),
        ("/containers/box/logs?stdout=1&since=yesterday", 400),
    ],
)
async def test_bad_names_and_queries(served: Served, target: str, status: int) -> None:
    method = "POST" if target.endswith("start") else "GET"
    served.engine.images = None
    if status == 404 or target.endswith("/json"):
        served.engine.containers.inspect = _missing
    answer = await served.request(method, target)
    assert answer.status == status
    if status != 200:
        assert answer.message


async def _missing(reference: str, *, size: bool) -> None:
    from darse.core.errors import NotFound

    raise NotFound(f"No such container: {reference}")


async def test_a_stop_waits_for_operations_and_not_for_streams(served: Served) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def start(reference: str) -> None:
        begun.set()
        await go_on.wait()

    served.engine.containers.start = start
    await served.upgrade("/containers/box/attach?stream=1")
    reader, writer = await served.connect()
    writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.wait_for(served.api.drain(5), 1)
    operation = asyncio.create_task(served.request("POST", "/containers/box/start"))
    await begun.wait()
    drained = asyncio.create_task(served.api.drain(5))
    await asyncio.sleep(0)
    assert not drained.done()
    go_on.set()
    await asyncio.wait_for(drained, 1)
    assert (await operation).status == 204


async def test_a_change_is_told_once_it_survives_the_power_going_out(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def fdatasync(_: int) -> None:
        begun.set()
        assert may_end.wait(20)

    async def start(_: str) -> None:
        served.engine.events.publish("container", "start", "f" * 64, {})

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    served.engine.containers.start = start
    answer = asyncio.create_task(served.request("POST", "/containers/box/start"))
    await asyncio.to_thread(begun.wait)
    assert (await served.request("GET", "/_ping")).status == 200  # who only reads waits for no disk
    assert not answer.done()
    may_end.set()
    assert (await answer).status == 204


async def test_a_change_that_the_disk_refuses_is_an_error(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def fdatasync(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def start(_: str) -> None:
        served.engine.events.publish("container", "start", "f" * 64, {})

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    served.engine.containers.start = start
    answer = await served.request("POST", "/containers/box/start")
    assert answer.status == 500
    assert b"cannot flush" in answer.body


async def test_outside_of_a_swarm(served: Served) -> None:
    answer = await served.request("GET", "/services")
    assert answer.status == 503
    assert answer.message.startswith("This node is not a swarm manager.")
