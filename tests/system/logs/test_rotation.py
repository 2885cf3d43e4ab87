"""Rotation of real logs: limits, no line lost or doubled, readers and crashes in between."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.waiting import wait_until

SMALL = ("--log-opt", "max-size=200k", "--log-opt", "max-file=1000")


def writes(lines: int) -> tuple[str, ...]:
    """A command that prints numbered lines of a hundred bytes as fast as it can."""
    return ("sh", "-c", counting("1", str(lines)))


def counting(first: str, last: str) -> str:
    """The shell's words for printing numbered lines."""
    return f"""awk -v i={first} -v n={last} 'BEGIN {{ for (; i <= n; i++) printf "%099d\\n", i }}'"""


def numbers(output: bytes) -> list[int]:
    return [int(line) for line in output.splitlines()]


def log_files(engine: Engine, container: str) -> list[Path]:
    found = (engine.data_root / "containers" / container).glob(f"{container}.log*")
    return sorted(found, key=lambda path: path.name)


def test_every_line_is_there_once_and_in_order_across_many_files(cli: Client, engine: Engine) -> None:
    container = cli("run", "-d", "--name", "many", *SMALL, BUSYBOX, *writes(40_000)).ok().line
    cli("wait", "many").ok()
    assert numbers(cli("logs", "many").ok().raw) == list(range(1, 40_001))
    assert len(log_files(engine, container)) > 5
    assert numbers(cli("logs", "--tail", "30000", "many").ok().raw) == list(range(10_001, 40_001))


def test_the_oldest_files_go(cli: Client, engine: Engine) -> None:
    limits = ("--log-opt", "max-size=100k", "--log-opt", "max-file=3")
    container = cli("run", "-d", "--name", "few", *limits, BUSYBOX, *writes(40_000)).ok().line
    cli("wait", "few").ok()
    files = log_files(engine, container)
    assert len(files) == 3
    left = numbers(cli("logs", "few").ok().raw)
    assert left == list(range(left[0], 40_001))
    assert left[0] > 1


def test_one_file_only(cli: Client, engine: Engine) -> None:
    container = cli("run", "-d", "--name", "one", "--log-opt", "max-size=100k", BUSYBOX, *writes(40_000)).ok().line
    cli("wait", "one").ok()
    files = log_files(engine, container)
    assert len([path for path in files if path.stat().st_size]) <= 1
    left = numbers(cli("logs", "one").ok().raw)
    assert left == list(range(40_001 - len(left), 40_001))
    assert len(left) < 40_000


def test_the_local_driver_compresses(cli: Client, engine: Engine) -> None:
    options = ("--log-driver", "local", "--log-opt", "max-size=200k", "--log-opt", "max-file=1000")
    container = cli("run", "-d", "--name", "local", *options, BUSYBOX, *writes(40_000)).ok().line
    cli("wait", "local").ok()
    wait_until(lambda: any(path.suffix == ".gz" for path in log_files(engine, container)), what="a compressed file")
    assert numbers(cli("logs", "local").ok().raw) == list(range(1, 40_001))
    assert numbers(cli("logs", "--tail", "39000", "local").ok().raw) == list(range(1_001, 40_001))


def test_followers_see_every_line(cli: Client) -> None:
    cli("create", "--name", "followed", *SMALL, BUSYBOX, "sh", "-c", f"sleep 0.3; {writes(40_000)[2]}").ok()
    cli("start", "followed").ok()
    assert numbers(cli("logs", "-f", "followed").ok().raw) == list(range(1, 40_001))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.heavy) for seed in range(1, 6))])
def test_the_engine_is_killed_again_and_again(new_engine: Callable[..., Engine], seed: int) -> None:
    chance = random.Random(seed)
    engine = new_engine()
    script = (
        f"i=0; while [ $i -lt 40 ]; do {counting('$((i*1000+1))', '$((i*1000+1000))')}; i=$((i+1)); sleep 0.02; done"
    )
    container = (
        engine.docker(
            "run",
            "-d",
            "--log-opt",
            "max-size=50k",
            "--log-opt",
            "max-file=10000",
            "--log-opt",
            "compress=true",
            BUSYBOX,
            "sh",
            "-c",
            script,
        )
        .ok()
        .line
    )
    for _ in range(4):
        time.sleep(chance.uniform(0, 0.3))  # the instant of the crash is the test's input
        engine.kill9()
        engine.up()
    engine.docker("wait", container).ok()
    assert numbers(engine.docker("logs", container).ok().raw) == list(range(1, 40_001))
    # How often it was rotated depends on how long no engine was there to do so.
    assert len(log_files(engine, container)) > 1


def test_what_grew_while_no_engine_ran_is_rotated_by_the_next(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    limits = ("--log-opt", "max-size=100k", "--log-opt", "max-file=5")
    script = f"while ! test -e /go/on; do sleep 0.02; done; {writes(10_000)[2]}; touch /go/done; sleep 1000"
    there = engine.root / "go"
    there.mkdir()
    container = engine.docker("run", "-d", "-v", f"{there}:/go", *limits, BUSYBOX, "sh", "-c", script).ok().line
    engine.kill9()
    (there / "on").touch()
    wait_until((there / "done").exists, what="the output")
    assert len(log_files(engine, container)) == 1
    engine.up()
    wait_until(lambda: len(log_files(engine, container)) == 2, what="the rotation")
    assert numbers(engine.docker("logs", container).ok().raw) == list(range(1, 10_001))


def test_binary_bytes_and_long_lines_are_unchanged(cli: Client) -> None:
    data = bytes(random.Random(7).randrange(256) for _ in range(300_000)).replace(b"\r", b"")
    done = cli("run", "-i", "--name", "binary", *SMALL, BUSYBOX, "cat", input=data)
    assert done.ok().raw == data
    assert cli("logs", "binary").ok().raw == data


def test_attributes_and_details(cli: Client) -> None:
    options = ("--log-opt", "labels=one", "--log-opt", "env-regex=^APP_", "--log-opt", "tag={{.Name}}/{{.ID}}")
    values = ("--label", "one=1", "--label", "two=2", "-e", "APP_A=a", "-e", "OTHER=o")
    container = cli("run", "-d", "--name", "told", *options, *values, BUSYBOX, "echo", "hi").ok().line
    cli("wait", "told").ok()
    assert cli("logs", "--details", "told").ok().line == f"APP_A=a,one=1,tag=told%2F{container[:12]} hi"


def test_drivers_and_options_that_do_not_exist(cli: Client) -> None:
    done = cli("run", "--log-driver", "nope", BUSYBOX, "true")
    assert (done.status, "logger: no log driver named 'nope' is registered" in done.err) == (125, True)
    done = cli("run", "--log-opt", "max-sise=1m", BUSYBOX, "true")
    assert (done.status, "unknown log opt 'max-sise' for json-file log driver" in done.err) == (125, True)


def test_the_engines_own_driver_and_options(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine("--log-driver", "local", "--log-opt", "max-size=5m")
    assert engine.docker("info", "-f", "{{.LoggingDriver}}").ok().line == "local"
    engine.docker("create", "--name", "own", BUSYBOX).ok()
    shown = engine.docker("inspect", "-f", "{{json .HostConfig.LogConfig}}", "own").ok().line
    assert shown == '{"Type":"local","Config":{"max-size":"5m"}}'
