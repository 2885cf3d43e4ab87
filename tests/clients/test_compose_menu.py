"""The keys of an attached `darse compose up`, on a real terminal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from tests.support.compose import OURS, Shop
from tests.support.engine import BUSYBOX, Engine
from tests.support.files import write_files
from tests.support.waiting import PATIENCE, wait_until

FILE = f"""
name: shop
services:
  web:
    image: {BUSYBOX}
    command: sh -c 'echo web is up; exec sleep 1000'
    stop_grace_period: 0s
    init: true
    develop: {{watch: [{{path: src, target: /src, action: sync}}]}}
"""
_OFFER = "Enable Watch.*Detach"


@pytest.fixture
def shop(one_engine: Engine, tmp_path: Path) -> Iterator[Shop]:
    write_files(tmp_path, {"src/page": "1"})
    shop = Shop(one_engine, tmp_path)
    shop.write(FILE)
    yield shop
    one_engine.remove_all()


def terminal(shop: Shop, *words: str, **environment: str) -> Any:
    """A command on a terminal of its own."""
    variables = {**os.environ, "DARSE_HOST": shop.engine.host, "DOCKER_CONFIG": str(shop.directory / "config")}
    return pexpect.spawn(
        words[0],
        list(words[1:]),
        cwd=str(shop.directory),
        env={**variables, **environment},
        encoding="utf-8",
        timeout=60 * PATIENCE,
        dimensions=(20, 70),
    )


def ended(child: Any) -> int:
    child.expect(pexpect.EOF)
    child.close()
    return int(child.exitstatus)


def runs(shop: Shop) -> bool:
    return bool(shop.run(OURS, "ps", "-q").stdout.strip())


def test_w_watches_and_no_longer_does_and_d_lets_the_containers_run_on(shop: Shop) -> None:
    child = terminal(shop, *OURS, "up")
    child.expect("web is up")
    child.expect(_OFFER)
    child.send("w")
    child.expect("Watch enabled")
    child.expect("Disable Watch")
    (shop.directory / "src/page").write_text("2")
    child.expect('Syncing service "web"')
    wait_until(lambda: shop.run(OURS, "exec", "-T", "web", "cat", "/src/page").stdout == "2", 60, "the changed file")
    child.send("w")
    child.expect("Watch disabled")
    child.expect(_OFFER)
    child.send("d")
    assert ended(child) == 0
    assert runs(shop)


def test_ctrl_c_stops_the_containers_and_takes_the_keys_away(shop: Shop) -> None:
    child = terminal(shop, *OURS, "up", "--watch")
    child.expect("Watch enabled")
    child.expect("Disable Watch")
    child.sendintr()
    child.expect("Gracefully Stopping")
    assert ended(child) == 130
    assert "Disable" not in child.before
    assert not runs(shop)


def test_where_nothing_is_to_be_watched_w_says_so(shop: Shop) -> None:
    shop.write(FILE.replace("develop", "x-develop"))
    child = terminal(shop, *OURS, "up")
    child.expect(_OFFER)
    child.send("w")
    child.expect("none of the selected services is configured")
    child.expect(_OFFER)
    child.send("d")
    assert ended(child) == 0


@pytest.mark.parametrize(
    ("words", "environment"),
    [(("--menu=false",), {}), ((), {"COMPOSE_MENU": "false"}), ((), {"COMPOSE_PROGRESS": "plain"})],
)
def test_keys_that_are_not_wanted(shop: Shop, words: tuple[str, ...], environment: dict[str, str]) -> None:
    child = terminal(shop, *OURS, "up", *words, **environment)
    child.expect("web is up")
    child.send("d")
    child.kill(signal.SIGINT)
    child.expect("Gracefully Stopping")
    assert "Detach" not in child.before
    assert ended(child) == 130


def test_menu_says_more_than_the_variable(shop: Shop) -> None:
    child = terminal(shop, *OURS, "up", "--menu", COMPOSE_MENU="0")
    child.expect(_OFFER)
    child.send("d")
    assert ended(child) == 0


def test_a_stop_by_ctrl_z_and_fg(shop: Shop) -> None:
    child = terminal(shop, "bash", "--norc", "-i", PS1="ready> ")
    child.expect("ready> ")
    child.sendline(" ".join([*OURS, "up"]))
    child.expect(_OFFER)
    child.send("\x1a")
    child.expect("ready> ")
    child.sendline("fg")
    child.expect(_OFFER)
    child.send("d")
    child.expect("ready> ")
    child.sendline("stty -a; echo $((40 + 2))")
    child.expect("42")
    assert " icanon" in child.before
    assert " echo " in child.before
    assert runs(shop)
