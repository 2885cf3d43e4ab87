"""`up -d` of a project for which nothing is to be done does not read it again, and sees whatever has changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.compose import OURS, Shop
from tests.support.engine import BUSYBOX
from tests.support.waiting import wait_until

from darse.compose.inputs import Inputs

_FILE = f"""
name: shop
services:
  web:
    image: {BUSYBOX}
    command: sleep 1000
    environment: {{COLOUR: "${{COLOUR:-blue}}"}}
    env_file: [{{path: web.env, required: false}}]
    volumes: [kept:/data]
    stop_grace_period: 0s
volumes: {{kept: }}
"""
_MARK = "marked"


@pytest.fixture
def quiet(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Path]]:
    """A project that is up; the function brings it to where nothing is to be done, and marks what is remembered."""
    cache = shop.directory / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    shop.write(_FILE)

    def remembered() -> Path:
        shop(OURS, "up", "-d")
        wait_until(lambda: not _unsettled(shop), what="a time of the files that is past")
        shop(OURS, "up", "-d")
        (record,) = cache.glob("darse/compose/*.json")
        record.write_text(json.dumps(json.loads(record.read_text()) | {"shown": [_MARK]}))
        assert _is_remembered(shop)
        return record

    yield remembered
    shop(OURS, "down", "-v")


def _unsettled(shop: Shop) -> bool:
    inputs = Inputs()
    for path in shop.directory.iterdir():
        inputs.note(str(path))
    return inputs.unsettled


def _is_remembered(shop: Shop) -> bool:
    done = shop.run(OURS, "up", "-d")
    assert done.returncode == 0, done.stderr
    return _MARK in done.stderr


def test_nothing_is_read_again_until_something_changes(
    shop: Shop, quiet: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet()
    before = shop.ids()

    # What the engine has: a container that stopped, or that is gone.
    shop(OURS, "stop")
    assert not _is_remembered(shop)
    assert [one["State"] for one in shop.containers()] == ["running"]
    assert _is_remembered(shop)
    shop.engine.docker("rm", "-f", "shop-web-1").ok()
    assert not _is_remembered(shop)
    assert shop.ids() != before

    # A variable, and other flags.
    quiet()
    assert "marked" not in shop.run(OURS, "--profile", "none", "up", "-d").stderr
    assert "marked" not in shop.run(OURS, "up", "-d", "--force-recreate").stderr
    quiet()
    with monkeypatch.context() as other:
        other.setenv("COLOUR", "green")
        assert not _is_remembered(shop)
    assert not _is_remembered(shop)

    # Files: one that was looked for and was not there, and one that has another text of the same length.
    quiet()
    (shop.directory / "web.env").write_text("A=1")
    before = shop.ids()
    assert not _is_remembered(shop)
    assert shop.ids() != before
    quiet()
    (shop.directory / "web.env").write_text("A=2")
    before = shop.ids()
    assert not _is_remembered(shop)
    assert shop.ids() != before


def test_a_record_that_cannot_be_read_is_as_none(shop: Shop, quiet: Callable[[], Path]) -> None:
    record = quiet()
    for text in ("", "{}", "[1]", '{"given": 1, "files": 2}', "\x00"):
        record.write_text(text)
        assert not _is_remembered(shop)
    record.unlink()
    record.parent.rmdir()
    record.parent.write_text("in the way")
    assert not _is_remembered(shop)


def test_what_is_asked_for_each_time_or_gives_warnings_is_not_remembered(
    shop: Shop, quiet: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = quiet()
    record.unlink()
    for text in (
        _FILE.replace("command:", "pull_policy: build\n    build: .\n    command:"),
        _FILE.replace(":-blue", ""),
        'version: "3"' + _FILE,
    ):
        shop.write(text)
        (shop.directory / "Dockerfile").write_text(f"FROM {BUSYBOX}\n")
        shop(OURS, "up", "-d")
        wait_until(lambda: not _unsettled(shop), what="a time of the files that is past")
        shop(OURS, "up", "-d")
        assert not record.exists()
