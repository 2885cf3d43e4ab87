"""`darse compose watch` and `up --watch`: changed files are in the containers within a moment."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.compose import OURS, Shop
from tests.support.engine import BUSYBOX, Engine
from tests.support.files import write_files
from tests.support.waiting import wait_until

FILE = f"""
name: shop
services:
  web:
    build: {{context: ., dockerfile_inline: "FROM {BUSYBOX}\\nCOPY src /src\\nCOPY packages /packages\\n"}}
    command: sh -c 'echo started >>/starts; exec sleep 1000'
    stop_grace_period: 0s
    init: true
    develop:
      watch:
        - {{path: src, target: /src, action: sync, ignore: ["*.log"], initial_sync: true}}
        - {{path: conf, target: /conf, action: sync+restart}}
        - {{path: hooks, target: /hooks, action: sync+exec, exec: {{command: "touch /hooked"}}}}
        - {{path: packages, action: rebuild}}
  other:
    image: {BUSYBOX}
    command: sleep 1000
    stop_grace_period: 0s
"""


@pytest.fixture
def shop(one_engine: Engine, tmp_path: Path) -> Iterator[Shop]:
    write_files(tmp_path, {"src/page": "1", "conf/x": "", "hooks/x": "", "packages/list": "1", "src/deep/x": ""})
    shop = Shop(one_engine, tmp_path)
    shop.write(FILE)
    yield shop
    one_engine.remove_all()


@contextmanager
def watching(shop: Shop, *arguments: str) -> Iterator[Path]:
    """`compose watch` beside the test; the file of what it says."""
    said = shop.directory.parent / f"{shop.directory.name}.said"
    environment = {**os.environ, "DARSE_HOST": shop.engine.host, "DOCKER_CONFIG": str(shop.directory / "config")}
    with said.open("w") as out:
        process = subprocess.Popen(
            [*OURS, *arguments], cwd=shop.directory, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
    try:
        wait_until(lambda: "Watch enabled" in said.read_text(), 240, "the watch")
        yield said
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def inside(shop: Shop, path: str) -> str:
    return shop.run(OURS, "exec", "-T", "web", "cat", path).stdout


def test_every_action(shop: Shop) -> None:
    with watching(shop, "watch") as said:
        before = shop.ids()
        (shop.directory / "src/page").write_text("2")
        wait_until(lambda: inside(shop, "/src/page") == "2", 120, "the changed file")
        (shop.directory / "src/deep/new").mkdir()
        (shop.directory / "src/deep/new/file").write_text("here")
        wait_until(lambda: inside(shop, "/src/deep/new/file") == "here", 120, "the file of a new directory")
        (shop.directory / "src/a.log").write_text("no")
        (shop.directory / "src/page").unlink()
        wait_until(lambda: inside(shop, "/src/page") == "", 120, "the removal")
        assert inside(shop, "/src/a.log") == ""
        assert inside(shop, "/starts").count("started") == 1
        (shop.directory / "hooks/x").write_text("1")
        wait_until(
            lambda: shop.run(OURS, "exec", "-T", "web", "test", "-e", "/hooked").returncode == 0, 120, "the hook"
        )
        (shop.directory / "conf/x").write_text("1")
        wait_until(lambda: inside(shop, "/starts").count("started") == 2, 120, "the restart")
        assert inside(shop, "/conf/x") == "1"
        assert shop.ids() == before
        (shop.directory / "packages/list").write_text("2")
        wait_until(lambda: inside(shop, "/packages/list") == "2", 120, "the new image")
        after = shop.ids()
        assert [name for name in after if after[name] != before[name]] == ["/shop-web-1"]
        assert 'Syncing service "web" after 1 changes were detected' in said.read_text()
    # Who stops to watch leaves the containers as they are.
    assert shop.ids() == after


def test_up_watch_follows_the_output_and_begins_with_what_is_newer(shop: Shop) -> None:
    shop(OURS, "build")
    (shop.directory / "src/page").write_text("newer")
    with watching(shop, "up", "--watch", "web") as said:
        wait_until(lambda: inside(shop, "/src/page") == "newer", 120, "the initial sync")
        begun = time.monotonic()
        (shop.directory / "src/page").write_text("3")
        wait_until(lambda: said.read_text().count("Syncing service") >= 2, 120, "the change")
        assert time.monotonic() - begun < 2
    assert {one["State"] for one in shop.containers()} == {"exited"}


def test_nothing_to_watch(shop: Shop) -> None:
    failed = shop.run(OURS, "watch", "other")
    assert failed.returncode == 1
    assert "none of the selected services is configured for watch" in failed.stderr
