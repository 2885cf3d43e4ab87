"""What a creation looks up, what is looked up at the start, and the status of what is not there.

docker's command takes a 404 of a creation for a missing image, pulls it, and shows the pull's error: so nothing but
the image may be a 404.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Client, Engine

MISSING_NETWORK = "network nosuch not found"
MISSING_CONTAINER = "No such container: nosuch"


def create(engine: Engine, name: str, **body: Any) -> Any:
    return engine.api("POST", f"/containers/create?name={name}", {"Image": BUSYBOX, "Cmd": ["sleep", "99"], **body})


def test_the_image_is_the_only_404(engine: Engine) -> None:
    answer = create(engine, "one", Image="nosuch:1")
    assert (answer.status, answer.message) == (404, "No such image: nosuch:1")


@pytest.mark.parametrize(
    "body",
    [
        {"HostConfig": {"NetworkMode": "nosuch"}},
        {"NetworkingConfig": {"EndpointsConfig": {"nosuch": {}}}},
        {
            "HostConfig": {"NetworkMode": "nosuch"},
            "NetworkingConfig": {"EndpointsConfig": {"nosuch": {"Aliases": ["a"]}}},
        },
    ],
)
def test_networks_are_looked_up_at_the_start(engine: Engine, body: dict[str, Any]) -> None:
    assert create(engine, "late", **body).status == 201
    started = engine.api("POST", "/containers/late/start")
    assert (started.status, started.message) == (404, MISSING_NETWORK)
    assert engine.api("GET", "/containers/late/json").json()["State"]["Status"] == "created"
    # It may come in between.
    engine.api("POST", "/networks/create", {"Name": "nosuch"})
    assert engine.api("POST", "/containers/late/start").status == 204
    shown = engine.api("GET", "/containers/late/json").json()
    assert shown["NetworkSettings"]["Networks"]["nosuch"]["IPAddress"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--network", "nosuch"), MISSING_NETWORK),
        (("--network", "container:nosuch"), MISSING_CONTAINER),
        (("--network", "container:me", "--name", "me"), "cannot join own network"),
        (("--pid", "container:nosuch"), MISSING_CONTAINER),
        (("--ipc", "container:nosuch"), MISSING_CONTAINER),
        (("--volumes-from", "nosuch"), MISSING_CONTAINER),
    ],
)
def test_the_commands_tell_the_reason_and_pull_nothing(cli: Client, flags: tuple[str, ...], said: str) -> None:
    done = cli("run", *flags, BUSYBOX, "true")
    assert (done.status, said in done.err, "Unable to find image" in done.err) == (125, True, False), done.err


def test_a_joined_container_is_looked_up_at_the_start(engine: Engine) -> None:
    assert create(engine, "joins", HostConfig={"NetworkMode": "container:nosuch"}).status == 201
    started = engine.api("POST", "/containers/joins/start")
    assert (started.status, MISSING_CONTAINER in started.message) == (404, True)
    assert create(engine, "nosuch").status == 201
    assert engine.api("POST", "/containers/joins/start").status == 409
    engine.api("POST", "/containers/nosuch/start")
    assert engine.api("POST", "/containers/joins/start").status == 204


@pytest.mark.parametrize("kind", ["PidMode", "IpcMode"])
def test_namespaces_of_a_container_that_does_not_run_are_refused_at_the_start(engine: Engine, kind: str) -> None:
    shared = {"IpcMode": "shareable"} if kind == "IpcMode" else {}
    assert create(engine, "target", HostConfig=shared).status == 201
    assert create(engine, "joins", HostConfig={kind: "container:target"}).status == 201
    refused = engine.api("POST", "/containers/joins/start")
    assert (refused.status, "namespace of a non running container" in refused.message) == (409, True), refused.message
    engine.api("POST", "/containers/target/start")
    assert engine.api("POST", "/containers/joins/start").status == 204


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ({"PidMode": "container:nosuch"}, 400),
        ({"IpcMode": "container:nosuch"}, 400),
        ({"VolumesFrom": ["nosuch"]}, 400),
    ],
)
def test_other_containers_of_a_creation(engine: Engine, host: dict[str, Any], status: int) -> None:
    answer = create(engine, "one", HostConfig=host)
    assert (answer.status, answer.message) == (status, MISSING_CONTAINER)


@pytest.mark.parametrize(
    ("body", "host"),
    [
        ({"Hostname": "x"}, {}),
        ({}, {"Dns": ["1.1.1.1"]}),
        ({}, {"Links": ["nosuch2"]}),
        ({}, {"PortBindings": {"80/tcp": [{}]}}),
        ({}, {"ExtraHosts": ["a:1.1.1.1"]}),
        ({"MacAddress": "02:42:ac:11:00:09"}, {}),
        ({"NetworkingConfig": {"EndpointsConfig": {"container:nosuch": {"MacAddress": "02:42:ac:11:00:09"}}}}, {}),
        ({"ExposedPorts": {"80/tcp": {}}}, {}),
    ],
)
def test_conflicts_of_options_come_before_look_ups(engine: Engine, body: dict[str, Any], host: dict[str, Any]) -> None:
    answer = create(engine, "one", Image="nosuch:1", **body, HostConfig={"NetworkMode": "container:nosuch", **host})
    assert (answer.status, "conflicting options: " in answer.message) == (400, True), answer.body


def test_what_the_image_exposes_is_no_conflict_with_a_joined_network(cli: Client, engine: Engine) -> None:
    cli("create", "--name", "target", BUSYBOX).ok()
    image = cli("commit", "--change", "EXPOSE 80", "target").ok().line
    cli("run", "-d", "--name", "server", BUSYBOX, "sleep", "99").ok()
    cli("run", "--rm", "--network", "container:server", image, "true").ok()
    cli("rm", "-f", "server", "target").ok()
    cli("rmi", image).ok()
