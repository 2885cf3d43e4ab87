"""`compose explain`, `generate compose`, and the commands on containers by the names of services."""

from __future__ import annotations

import json
import tarfile

from tests.support.compose import DARSE, FILE, OURS, Shop
from tests.support.engine import BUSYBOX


def test_explain_names_the_change_and_its_line(shop: Shop) -> None:
    explained = {one["name"]: one for one in json.loads(shop(OURS, "explain", "--format", "json"))}
    assert (explained["shop-web-1"]["action"], explained["shop_front"]["action"]) == ("create", "create")
    shop(OURS, "up", "-d")
    assert {one["action"] for one in json.loads(shop(OURS, "explain", "--format", "json"))} == {"keep", "start"}
    changed = (
        FILE.replace("COLOUR: blue", "COLOUR: green")
        .replace("{team: front}", "{}")
        .replace("    stop_grace_period: 0s\n  store:", "    stop_grace_period: 0s\n    mem_limit: 64m\n  store:")
    )
    shop.write(changed)
    (web,) = [one for one in json.loads(shop(OURS, "explain", "--format", "json")) if one["name"] == "shop-web-1"]
    file = shop.directory / "compose.yaml"
    lines = file.read_text().splitlines()
    found = {one["path"]: one for one in web["changes"]}
    assert (web["action"], set(found)) == ("recreate", {"environment.COLOUR", "labels.team", "mem_limit"})
    for path, text in (("environment.COLOUR", "COLOUR: green"), ("mem_limit", "mem_limit: 64m")):
        where, line, _ = found[path]["place"].rsplit(":", 2)
        assert (where, text in lines[int(line) - 1]) == (str(file), True), found[path]
    before = shop.ids()
    text = shop(OURS, "explain", "web")
    assert "web: container shop-web-1 is recreated: its configuration changed" in text
    assert "    environment.COLOUR: blue → green" in text
    assert shop.ids() == before


def test_what_is_generated_makes_the_same_containers(shop: Shop) -> None:
    engine = shop.engine
    engine.docker("network", "create", "front").ok()
    run = ("run", "-d", "--init", "-m", "64m", "-e", "PRICE=5$", "-v", "kept:/data", "--restart", "on-failure:2")
    engine.docker(*run, "--network", "front", "-p", "127.0.0.1::80", "--name", "web", BUSYBOX, "sleep", "1000").ok()
    shop.write(shop([DARSE], "generate", "compose", "--name", "shop", "web"))
    before = json.loads(engine.docker("inspect", "web").ok().out)[0]
    engine.docker("rm", "-f", "web").ok()
    shop(OURS, "up", "-d")
    after = json.loads(engine.docker("inspect", "web").ok().out)[0]
    for member in ("Memory", "RestartPolicy", "PortBindings", "Init", "NetworkMode"):
        assert after["HostConfig"][member] == before["HostConfig"][member], member
    assert after["Config"]["Env"] == before["Config"]["Env"]
    assert after["Config"]["Cmd"] == before["Config"]["Cmd"]
    assert [one["Name"] for one in after["Mounts"]] == ["kept"]
    shop(OURS, "down", "-t", "0")


def test_commands_on_containers_of_services(shop: Shop) -> None:
    shop(OURS, "up", "-d", "--scale", "sidecar=1", "store", "sidecar")
    (shop.directory / "page").write_text("a page")
    shop(OURS, "cp", "page", "store:/srv-page")
    shop(OURS, "cp", "store:/srv-page", "back")
    assert (shop.directory / "back").read_text() == "a page"
    shop(OURS, "commit", "store", "kept-image")
    assert shop(["docker"], "run", "--rm", "kept-image", "cat", "/srv-page") == "a page"
    shop(OURS, "export", "-o", "store.tar", "store")
    with tarfile.open(shop.directory / "store.tar") as archive:
        assert "srv-page" in archive.getnames()
    assert shop(OURS, "volumes", "-q") == "shop_kept\n"
    assert json.loads(shop(OURS, "volumes", "--format", "json"))["Name"] == "shop_kept"
    assert "shop-store-1" in shop(OURS, "stats", "--no-stream", "store")
    assert shop(OURS, "convert", "--services").split() == shop(OURS, "config", "--services").split()
    shop(OURS, "kill", "store")
    seen = [json.loads(one) for one in shop(OURS, "events", "--json", "--since", "10m", "--until", "0s").splitlines()]
    assert ("store", "kill") in {(one["service"], one["action"]) for one in seen}
    failed = shop.run(OURS, "cp", "page", "back")
    assert (failed.returncode, "unknown copy direction" in failed.stderr) == (1, True)
    shop(["docker"], "rmi", "-f", "kept-image")
