"""Log drivers that are plugins: what they get, and what becomes of those that hang, end, or are not there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.plugin_server import LogPlugin
from tests.support.waiting import wait_until

LINES = 3000
WRITES = ("awk", f'BEGIN {{ for (i = 1; i <= {LINES}; i++) printf "%099d\\n", i }}')
TALKS = ("sh", "-c", "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i; sleep 0.02; done")
NUMBERED = [f"{number:099d}".encode() for number in range(1, LINES + 1)]


@pytest.fixture
def plugin(engine: Engine) -> Iterator[LogPlugin]:
    made = LogPlugin(engine.exec_root / "plugins" / "keeper.sock")
    yield made
    made.hanging.clear()
    made.released.set()
    engine.remove_all()
    spools = engine.data_root / "spools"
    wait_until(lambda: not spools.exists() or not list(spools.iterdir()), what="all is sent")
    made.close()


def run(engine: Engine, *command: str, options: tuple[str, ...] = ()) -> str:
    return engine.docker("run", "-d", "--log-driver", "keeper", *options, BUSYBOX, *command).ok().line


def test_every_line_with_its_stream_and_time(engine: Engine, plugin: LogPlugin) -> None:
    before = time.time_ns()
    options = ("--log-opt", "any=thing", "-e", "A=b", "--label", "c=d", "--name", "told")
    container = run(engine, "sh", "-c", "echo out; echo err >&2; head -c 40000 /dev/zero; echo", options=options)
    wait_until(lambda: len(plugin.lines(container)) >= 5, what="every line")
    wait_until(lambda: plugin.ended, what="the end")
    entries = sorted(plugin.entries[container], key=lambda entry: (entry[1], entry[2]))
    assert [(entry[1], entry[3]) for entry in entries[:2]] == [(b"stderr", b"err"), (b"stdout", b"out")]
    assert all(before <= entry[2] <= time.time_ns() for entry in entries)
    parts = [entry for entry in entries if 5 in entry]
    assert [entry.get(4, 0) for entry in parts] == [1, 1, 0]
    assert b"".join(entry[3] for entry in parts) == bytes(40_000)
    (told,) = plugin.told.values()
    assert (told["ContainerID"], told["ContainerName"], told["Config"]) == (container, "/told", {"any": "thing"})
    assert "A=b" in told["ContainerEnv"]
    assert told["ContainerLabels"]["c"] == "d"
    assert (told["ContainerEntrypoint"], told["ContainerArgs"][0]) == ("sh", "-c")
    assert engine.docker("logs", "told").ok().raw.startswith(b"out\n")


def test_a_plugin_that_ends_gets_the_rest_when_it_is_there_again(engine: Engine, plugin: LogPlugin) -> None:
    plugin.most = 500
    container = run(engine, *WRITES)
    wait_until(lambda: len(plugin.lines(container)) >= 500, what="the first lines")
    plugin.stop()
    assert engine.docker("wait", container).ok().line == "0"
    plugin.most = 1 << 60
    plugin.path.unlink()
    plugin.listen()
    wait_until(lambda: plugin.lines(container)[-1] == NUMBERED[-1], what="the last line")
    assert plugin.lines(container) == NUMBERED


def test_the_log_of_a_killed_engine_arrives_whole(engine: Engine, plugin: LogPlugin) -> None:
    container = run(engine, *TALKS)
    wait_until(lambda: len(plugin.lines(container)) >= 5, what="the first lines")
    engine.kill9()
    engine.restart()
    wait_until(lambda: plugin.lines(container)[-1:] == [b"60"], what="the last line")
    assert sorted(set(plugin.lines(container)), key=int) == [b"%d" % number for number in range(1, 61)]


def test_a_plugin_that_hangs_keeps_nobody_waiting(engine: Engine, plugin: LogPlugin) -> None:
    plugin.hanging = {"LogDriver.StartLogging"}
    begun = time.monotonic()
    container = run(engine, "sh", "-c", "echo said; sleep 600", options=("--name", "hung"))
    assert time.monotonic() - begun < 5
    for path in ("/containers/json", f"/containers/{container}/json", "/volumes", "/info"):
        begun = time.monotonic()
        assert engine.api("GET", path).status == 200
        assert time.monotonic() - begun < 0.5, path
    wait_until(lambda: engine.docker("logs", "hung").ok().out == "said\n", what="the copy on the disk")
    engine.docker("rm", "-f", "hung").ok()


def test_a_log_without_a_copy_is_read_from_the_plugin(engine: Engine, plugin: LogPlugin) -> None:
    container = run(engine, "sh", "-c", "echo one; echo two", options=("--log-opt", "cache-disabled=true"))
    wait_until(lambda: plugin.ended, what="the end")
    assert engine.docker("logs", container).ok().out == "one\ntwo\n"
    assert engine.docker("logs", "-t", container).ok().out.startswith("1970-")


def test_a_plugin_that_is_not_there_or_is_no_log_driver(engine: Engine) -> None:
    refused = engine.docker("run", "--log-driver", "nobody", BUSYBOX, "true")
    assert refused.status == 125
    assert "logger: no log driver named 'nobody' is registered" in refused.err
    assert os.listdir(engine.data_root / "containers") == []
