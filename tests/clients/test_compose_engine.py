"""docker compose v2 and `darse compose` alternate on one project.

The names, labels and hashes are the same, and nothing is made anew without a reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.compose import FILE, OURS, THEIRS, Shop, needs_compose
from tests.support.engine import BUSYBOX
from tests.support.waiting import wait_until


@needs_compose
@pytest.mark.parametrize(("first", "second"), [(THEIRS, OURS), (OURS, THEIRS)], ids=["theirs-ours", "ours-theirs"])
def test_what_one_has_brought_up_the_other_keeps_and_takes_down(
    shop: Shop, first: list[str], second: list[str]
) -> None:
    shop(first, "up", "-d")
    before = shop.ids()
    assert sorted(before) == ["/shop-once-1", "/shop-sidecar-1", "/shop-store-1", "/shop-web-1"]
    labelled = shop.labelled()
    shop(second, "up", "-d")
    assert shop.ids() == before
    shop(second, "down", "-v")
    assert shop.ids() == {}
    shop(second, "up", "-d")
    assert shop.labelled() == labelled
    # A change is seen by the other, and by it alone: the anonymous volume goes on to the new container.
    shop.write(FILE.replace("COLOUR: blue", "COLOUR: green"))
    before = shop.ids()
    shop(first, "up", "-d")
    after = shop.ids()
    assert [name for name in after if after[name] != before[name]] == ["/shop-web-1"]
    assert shop(second, "exec", "-T", "web", "sh", "-c", "echo $COLOUR; cat /etc/motd") == "green\nhello"
    shop(first, "down", "-v")
    assert shop.ids() == {}
    assert [one["Name"] for one in shop.engine.api("GET", "/networks").json() if "shop" in one["Name"]] == []


@needs_compose
def test_both_print_the_same_lists(shop: Shop) -> None:
    # What is listed stands still: no probe of its health runs any more, and what is printed has been printed.
    shop.write(FILE.replace("interval: 100ms", "interval: 1h, start_period: 1h, start_interval: 100ms"))
    shop(OURS, "up", "-d")
    for service in ("web", "store"):
        wait_until(lambda one=service: f"{one} is up" in shop(OURS, "logs", one), 60, f"the output of {service}")
    columns = "{{.Name}} {{.Service}} {{.Image}} {{.State}} {{.Health}} {{.Ports}}"
    for arguments in (
        ("ps", "-a", "--format", columns),
        ("ps", "--services"),
        ("ps", "-q"),
        ("ls",),
        ("ls", "--format", "json"),
        ("images", "-q"),
        ("top", "store"),
        ("port", "web", "80"),
        ("version", "--short"),
        ("logs", "store"),
        ("logs", "--no-log-prefix", "web"),
    ):
        assert shop(OURS, *arguments) == shop(THEIRS, *arguments), arguments
    theirs, ours = (
        [json.loads(line) for line in shop(tool, "ps", "-a", "--format", "json").splitlines()]
        for tool in (THEIRS, OURS)
    )
    for one in (*theirs, *ours):
        one["Labels"] = sorted(one["Labels"].split(","))
        del one["RunningFor"], one["Status"]
    assert ours == theirs


def test_anonymous_data_survives_and_scaling_goes_both_ways(shop: Shop) -> None:
    shop(OURS, "up", "-d", "store")
    shop(OURS, "up", "-d", "--force-recreate", "store")
    assert shop(OURS, "exec", "-T", "store", "sh", "-c", "cat /data/file /anonymous/file") == "kept\nkept\nx\nx\n"
    shop(OURS, "up", "-d", "-V", "--force-recreate", "store")
    assert shop(OURS, "exec", "-T", "store", "cat", "/anonymous/file") == "x\n"
    shop(OURS, "up", "-d", "--no-deps", "--scale", "sidecar=3", "sidecar", "store")
    assert len(shop(OURS, "ps", "-q", "sidecar").split()) == 3
    shop(OURS, "scale", "sidecar=1")
    assert len(shop(OURS, "ps", "-q", "sidecar").split()) == 1
    shop(OURS, "down")
    shop(OURS, "up", "-d", "store")
    assert shop(OURS, "exec", "-T", "store", "cat", "/data/file").count("kept\n") == 4


def test_states_of_services(shop: Shop) -> None:
    def state() -> str:
        (one,) = (json.loads(line) for line in shop(OURS, "ps", "-a", "--format", "json", "store").splitlines())
        return str(one["State"])

    shop(OURS, "create", "store")
    assert state() == "created"
    for command, expected in (
        ("start", "running"),
        ("pause", "paused"),
        ("unpause", "running"),
        ("stop", "exited"),
        ("restart", "running"),
        ("kill", "exited"),
    ):
        shop(OURS, command, "store")
        assert state() == expected, command
    shop(OURS, "rm", "-f", "store")
    assert shop(OURS, "ps", "-a", "-q") == ""


def test_one_off_containers(shop: Shop) -> None:
    assert shop(OURS, "run", "--rm", "-T", "-e", "A=b", "web", "sh", "-c", "echo $A $COLOUR; cat /etc/motd") == (
        "b blue\nhello"
    )
    # What its service depends on is up.
    assert shop(OURS, "ps", "--services").split() == ["store"]
    assert shop.run(OURS, "run", "--rm", "-T", "--no-deps", "store", "sh", "-c", "exit 9").returncode == 9
    assert sorted(shop.ids()) == ["/shop-once-1", "/shop-store-1"]


def test_in_the_foreground(shop: Shop) -> None:
    shop.write(FILE.replace('command: ["true"]', "command: sh -c 'echo going; exit 4'"))
    done = shop.run(OURS, "up", "--exit-code-from", "once", "store", "once")
    assert done.returncode == 4, done.stderr
    assert "once-1   | going\n" in done.stdout
    assert "store-1  | store is up\n" in done.stdout
    assert "once-1 exited with code 4\n" in done.stdout
    assert {one["State"] for one in shop.containers()} == {"exited"}


def test_failures_say_what_is_wrong(shop: Shop) -> None:
    shop.write(FILE.replace("test, -e, /data/file], interval: 100ms", '"false"], interval: 100ms, retries: 1'))
    done = shop.run(OURS, "up", "-d")
    assert done.returncode == 1
    assert "dependency failed to start: container shop-store-1 is unhealthy" in done.stderr
    for arguments, reason in (
        (("logs", "nobody"), "no such service: nobody"),
        (("exec", "-T", "sidecar2", "true"), "no such service"),
        (("up", "-d", "--force-recreate", "--no-recreate"), "incompatible"),
    ):
        failed = shop.run(OURS, *arguments)
        assert (failed.returncode, reason in failed.stderr) == (1, True), (arguments, failed.stderr)


def test_what_cannot_be_is_refused_before_anything_is_made(shop: Shop) -> None:
    shop.write(f"""
        name: shop
        services: {{web: {{image: {BUSYBOX}, models: [llm], networks: [front]}}}}
        models: {{llm: {{model: ai/small}}}}
        networks: {{front: }}
    """)
    done = shop.run(OURS, "up", "-d")
    assert (done.returncode, done.stderr) == (
        1,
        "services.web: models need a model runner, which this engine has not\n",
    )
    assert not [one for one in shop.engine.api("GET", "/networks").json() if one["Name"] == "shop_front"]


def test_a_dry_run_changes_nothing(shop: Shop) -> None:
    done = shop.run(OURS, "--dry-run", "up", "-d")
    assert (done.returncode, shop.ids()) == (0, {})
    assert " DRY-RUN MODE -  Container shop-web-1  Created\n" in done.stderr


def test_an_up_that_was_broken_off_goes_on(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between making a container beside another and giving it its name."""
    shop(OURS, "up", "-d", "store")
    (store,) = shop.containers()
    body: dict[str, Callable[..., Any] | Any] = {
        "Image": BUSYBOX,
        "Labels": {**store["Labels"], "com.docker.compose.replace": "store-1"},
    }
    created = shop.engine.api("POST", f"/containers/create?name={store['Id'][:12]}_shop-store-1", body)
    assert created.status == 201, created.body
    shop(OURS, "up", "-d", "store")
    assert shop.ids() == {"/shop-store-1": store["Id"]}
    shop(OURS, "down")
    created = shop.engine.api("POST", f"/containers/create?name={store['Id'][:12]}_shop-store-1", body)
    shop(OURS, "up", "-d", "store")
    assert list(shop.ids()) == ["/shop-store-1"]
