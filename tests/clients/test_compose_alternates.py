"""docker compose v2 and `darse compose` alternate on one project: twenty changes of a file, each brought up by one of
them and then by the other, which finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.compose import OURS, THEIRS, Shop, needs_compose
from tests.support.engine import BUSYBOX, Engine

pytestmark = needs_compose

BASE = f"""
name: shop
services:
  web:
    image: {BUSYBOX}
    command: sleep 1000
    stop_grace_period: 0s
    depends_on: [store]
    networks: [front, back]
  store:
    image: {BUSYBOX}
    command: sleep 1000
    stop_grace_period: 0s
    volumes: [kept:/data, /anonymous]
    networks: [back]
networks:
  front:
  back:
volumes:
  kept:
"""
_COMMAND = "    command: sleep 1000\n"
# What is changed in the file: the text, what takes its place, and the containers that are new then.
SCENARIOS: dict[str, tuple[str, str, set[str]]] = {
    "nothing": ("", "", set()),
    "environment": (_COMMAND, f"{_COMMAND}    environment: {{A: b, C: 'null'}}\n", {"web-1"}),
    "env_file": (_COMMAND, f"{_COMMAND}    env_file: [variables]\n", {"web-1"}),
    "labels": (_COMMAND, f"{_COMMAND}    labels: [team=front, empty]\n", {"web-1"}),
    "command": (_COMMAND, "    command: [sleep, '2000']\n", {"web-1"}),
    "entrypoint": (_COMMAND, "    entrypoint: [sleep]\n    command: ['1000']\n", {"web-1"}),
    "ports": (_COMMAND, f"{_COMMAND}    ports: ['127.0.0.1::80', '127.0.0.1::53/udp']\n", {"web-1"}),
    "aliases": ("networks: [front, back]", "networks: {front: {aliases: [www]}, back: {priority: 5}}", {"web-1"}),
    "a network less": ("networks: [front, back]", "networks: [back]", {"web-1"}),
    "a volume more": ("volumes: [kept:/data, /anonymous]", "volumes: [kept:/data, /anonymous, /more]", {"store-1"}),
    "a read-only volume": ("kept:/data,", "kept:/data:ro,", {"store-1"}),
    "a long volume": ("[kept:/data, /anonymous]", "[{type: tmpfs, target: /t, tmpfs: {size: 1m}}]", {"store-1"}),
    "health": (_COMMAND, f"{_COMMAND}    healthcheck: {{test: 'true', interval: 5s, retries: 2}}\n", {"web-1"}),
    "restart": (_COMMAND, f"{_COMMAND}    restart: unless-stopped\n", {"web-1"}),
    "limits": (_COMMAND, f"{_COMMAND}    mem_limit: 64m\n    cpus: 0.5\n    pids_limit: 50\n", {"web-1"}),
    "deploy": (_COMMAND, f"{_COMMAND}    deploy: {{resources: {{limits: {{memory: 64m}}}}}}\n", {"web-1"}),
    "scale": (_COMMAND, f"{_COMMAND}    scale: 2\n", {"web-2"}),
    "security": (_COMMAND, f"{_COMMAND}    cap_add: [NET_ADMIN]\n    read_only: true\n    user: '1000'\n", {"web-1"}),
    "configs": (
        "networks:\n  front:\n",
        "configs: {motd: {content: hello}}\nnetworks:\n  front:\n",
        set(),
    ),
    "a shared namespace": ("    networks: [front, back]\n", "    network_mode: service:store\n", {"web-1"}),
    "conditions": ("depends_on: [store]", "depends_on: {store: {condition: service_started, restart: true}}", set()),
    "logging": (_COMMAND, f"{_COMMAND}    logging: {{driver: json-file, options: {{max-size: 1m}}}}\n", {"web-1"}),
}


@pytest.fixture
def shop(one_engine: Engine, tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "variables").write_text("FROM_FILE=1\n")
    yield Shop(one_engine, tmp_path)
    one_engine.remove_all()


def labelled(shop: Shop) -> dict[str, object]:
    """Everything that is there with its labels, but for what says in which order dependencies were found."""
    found: dict[str, object] = {one["Names"][0]: one["Labels"] for one in shop.containers()}
    for one in shop.engine.api("GET", "/networks").json():
        found[f"network {one['Name']}"] = one["Labels"]
    return found


@pytest.mark.parametrize(("before", "after", "new"), SCENARIOS.values(), ids=SCENARIOS.keys())
def test_alternation(shop: Shop, request: pytest.FixtureRequest, before: str, after: str, new: set[str]) -> None:
    is_even = list(SCENARIOS.values()).index((before, after, new)) % 2 == 0
    first, second = (OURS, THEIRS) if is_even else (THEIRS, OURS)
    shop.write(BASE)
    shop(first, "up", "-d")
    made, shown = shop.ids(), labelled(shop)
    shop(second, "up", "-d")
    assert (shop.ids(), labelled(shop)) == (made, shown)
    # A change: who brings it up makes the same containers anew, and the other keeps them.
    assert before in BASE
    shop.write(BASE.replace(before, after, 1) if before else BASE)
    shop(second, "up", "-d")
    changed = shop.ids()
    assert {name.removeprefix("/shop-") for name in changed if changed[name] != made.get(name)} == new
    shop(first, "up", "-d")
    assert shop.ids() == changed
    shop(second, "down", "-v")
    assert shop.ids() == {}
    # A network that the file has no more is docker compose's to leave, and ours to remove.
    shop(OURS, "down", "-v")
    assert [one["Name"] for one in shop.engine.api("GET", "/networks").json() if "shop" in one["Name"]] == []
