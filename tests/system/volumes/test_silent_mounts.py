"""File systems that do not answer keep only those waiting who use them."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.fuse import SilentFileSystem
from tests.support.waiting import wait_until

_MANY = 10
Mounter = Callable[[str], SilentFileSystem]


@pytest.fixture
def mounter(tmp_path: Path) -> Iterator[Mounter]:
    """Mounts file systems by their names; what waits for them is let go at the end."""
    mounted: list[SilentFileSystem] = []

    def mount(name: str) -> SilentFileSystem:
        mounted.append(SilentFileSystem(tmp_path / name))
        return mounted[-1]

    yield mount
    for one in mounted:
        one.close()


def _create(engine: Engine, name: str, **host: Any) -> None:
    body = {"Image": BUSYBOX, "Cmd": ["sleep", "600"], "HostConfig": host}
    assert engine.api("POST", f"/containers/create?name={name}", body).status == 201


def test_many_silent_binds_stop_nothing_else(engine: Engine, mounter: Mounter) -> None:
    engine.docker("run", "-d", "--name", "other", BUSYBOX, "sleep", "600").ok()
    engine.docker("volume", "create", "spare").ok()
    silent = [mounter(f"bind-{number}") for number in range(_MANY)]
    for number, one in enumerate(silent):
        _create(engine, f"waits-{number}", Binds=[f"{one.path}:/data"])
        one.fall_silent()
    with ThreadPoolExecutor(2 * _MANY) as threads:
        starts = [threads.submit(engine.api, "POST", f"/containers/waits-{number}/start") for number in range(_MANY)]
        mounts = [
            threads.submit(
                engine.api,
                "POST",
                "/containers/create",
                {
                    "Image": BUSYBOX,
                    "HostConfig": {"Mounts": [{"Type": "bind", "Source": one.path + "/x", "Target": "/x"}]},
                },
            )
            for one in silent
        ]
        begin = time.monotonic()
        engine.docker("exec", "other", "true").ok()
        engine.docker("exec", "-u", "daemon", "other", "true").ok()
        engine.docker("run", "--rm", "-v", "/tmp:/host", BUSYBOX, "true").ok()
        engine.docker("top", "other").ok()
        engine.docker("stats", "--no-stream", "other").ok()
        engine.docker("cp", "other:/etc/passwd", "-").ok()
        engine.docker("volume", "rm", "spare").ok()
        engine.docker("rm", "-f", "other").ok()
        engine.docker("system", "df").ok()
        assert time.monotonic() - begin < 20
        assert not any(one.done() for one in (*starts, *mounts))
        for number, one in enumerate(starts):
            _refused(one, silent[number].path)
        for number, one in enumerate(mounts):
            _refused(one, silent[number].path + "/x")


def _refused(answer: Future[Any], path: str) -> None:
    refused = answer.result(60)
    assert (refused.status, refused.json()["message"]) == (500, f"{path}: its file system does not answer")


def test_a_volume_whose_file_system_falls_silent(new_engine: Callable[..., Engine], mounter: Mounter) -> None:
    engine = new_engine()
    silent = mounter("device")
    options = ("-o", "type=none", "-o", "o=bind", "-o", f"device={silent.path}")
    engine.docker("volume", "create", *options, "far").ok()
    for name in ("first", "second"):
        engine.docker("run", "-d", "--name", name, "-v", "far:/far", BUSYBOX, "sleep", "600").ok()
    silent.fall_silent()
    # Who begins to use it waits; the end of who uses it does not.
    _create(engine, "third", Binds=["far:/far"])
    with ThreadPoolExecutor(1) as threads:
        third = threads.submit(engine.api, "POST", "/containers/third/start")
        begin = time.monotonic()
        engine.docker("kill", "first").ok()
        engine.docker("rm", "first").ok()
        assert time.monotonic() - begin < 10
        # An engine that starts does not wait for it either.
        engine.kill9()
        begin = time.monotonic()
        engine.up()
        assert time.monotonic() - begin < 10
        with pytest.raises((http.client.HTTPException, OSError)):
            third.result(10)
    assert engine.docker("ps", "--format", "{{.Names}}").ok().out.split() == ["second"]
    engine.docker("kill", "second").ok()
    engine.docker("run", "--rm", BUSYBOX, "true").ok()
    engine.docker("rm", "second", "third").ok()
    silent.close()
    wait_until(lambda: "/far/_data" not in Path("/proc/self/mountinfo").read_text(), 40, "the unmount")
