"""The engine goes away under commands that last, by SIGKILL and in order; and comes back under those that wait for it.

`tests/unit/cli/test_engine_goes_away.py` does the first to every command, on a fake engine.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from tests.support.engine import BUSYBOX, Client, Engine
from tests.support.waiting import wait_until

_COUNT = "i=0; while [ $i -lt {} ]; do i=$((i+1)); echo $i; {}; done; exit 7"


@pytest.fixture(scope="module")
def own_engine() -> Iterator[Engine]:
    engine = Engine.start()
    yield engine
    engine.close()


@pytest.fixture
def darse(own_engine: Engine) -> Iterator[Client]:
    if own_engine.process is None or own_engine.process.poll() is not None:
        own_engine.up()
    yield own_engine.darse
    if own_engine.process is not None and own_engine.process.poll() is not None:
        own_engine.up()
    own_engine.remove_all()


@pytest.fixture(params=["kill9", "stop"])
def end(request: pytest.FixtureRequest, own_engine: Engine) -> Callable[[], object]:
    return getattr(own_engine, request.param)


def _counting(darse: Client) -> None:
    program = _COUNT.format(100_000, "usleep 100000")
    darse("run", "-d", "--name", "counter", BUSYBOX, "sh", "-c", program).ok()


def _lines(process: subprocess.Popen[bytes], count: int) -> list[bytes]:
    """Lines of a process whose output has no buffer here, where what comes with them would be lost to `communicate`."""
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def _whole(count: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(1, count + 1))


@pytest.mark.parametrize("command", [("logs", "-f"), ("attach", "--no-stdin"), ("run", "--name")])
def test_output_goes_on_where_it_broke_off(
    command: tuple[str, ...], end: Callable[[], object], own_engine: Engine, darse: Client
) -> None:
    if command[0] == "run":
        process = darse.popen(*command, "counter", BUSYBOX, "sh", "-c", _COUNT.format(400, "usleep 10000"), bufsize=0)
    else:
        first = "" if command[0] == "logs" else "sleep 1; "  # attached before its first line
        program = first + _COUNT.format(400, "usleep 10000")
        darse("run", "-d", "--name", "counter", BUSYBOX, "sh", "-c", program).ok()
        process = darse.popen(*command, "counter", bufsize=0)
    seen = b"".join(_lines(process, 30))
    end()
    own_engine.up()
    out, err = process.communicate(timeout=60)
    assert (seen + out, err) == (_whole(400), b"")
    assert process.returncode == (0 if command[0] == "logs" else 7)


@pytest.mark.parametrize("line", ["wait counter", "attach counter", "run --name counter"])
def test_a_container_that_ends_while_no_engine_runs(line: str, own_engine: Engine, darse: Client) -> None:
    program = ("sh", "-c", "sleep 1; echo begun; sleep 1; echo over; exit 7")
    if line.startswith("run"):
        process = darse.popen(*line.split(), BUSYBOX, *program, bufsize=0)
    else:
        darse("run", "-d", "--name", "counter", BUSYBOX, *program).ok()
        process = darse.popen(*line.split(), bufsize=0)
    if line.startswith("wait"):
        wait_until(lambda: _has_asked(process.pid), what="the request to wait")
    else:
        assert _lines(process, 1) == [b"begun\n"]
    monitor = own_engine.api("GET", "/containers/counter/json").json()["State"]["Pid"]
    own_engine.kill9()
    wait_until(lambda: not _runs(monitor), 10, "the container's end")
    own_engine.up()
    out, err = process.communicate(timeout=30)
    if line.startswith("wait"):
        assert (process.returncode, out) == (0, b"7\n"), err
    else:
        assert (process.returncode, out.endswith(b"over\n")) == (7, True), (out, err)


def test_a_container_that_is_gone_with_its_end_keeps_its_status(own_engine: Engine, darse: Client) -> None:
    process = darse.popen(
        "run", "--rm", "--name", "counter", BUSYBOX, "sh", "-c", "echo begun; sleep 1; exit 7", bufsize=0
    )
    assert _lines(process, 1) == [b"begun\n"]
    monitor = own_engine.api("GET", "/containers/counter/json").json()["State"]["Pid"]
    own_engine.kill9()
    wait_until(lambda: not _runs(monitor), 10, "the container's end")
    own_engine.up()
    _, err = process.communicate(timeout=30)
    assert (process.returncode, b"printed meanwhile cannot be shown: No such container" in err) == (7, True), err


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_events_go_on(end: Callable[[], object], own_engine: Engine, darse: Client) -> None:
    names = [f"{end.__name__}-{number}" for number in range(4)]
    since = f"{time.time():.6f}"
    process = darse.popen(
        "events", "--since", since, "--format", "{{.Action}} {{.Actor.ID}}", "-f", "type=volume", bufsize=0
    )
    for name in names[:2]:
        darse("volume", "create", name).ok()
    seen = _lines(process, 2)
    end()
    own_engine.up()
    for name in names[2:]:
        darse("volume", "create", name).ok()
    seen += _lines(process, 2)
    process.kill()
    process.communicate()
    assert seen == [f"create {name}\n".encode() for name in names]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("logs -f counter", "counter runs on: `darse logs -f counter`"),
        ("wait counter", "counter runs on: `darse wait counter`"),
        ("attach counter", "counter runs on: `darse attach counter`"),
        ("run --name other builtin/busybox sh -c 'echo 1; sleep 60'", "other runs on: `darse attach other`"),
        ("exec counter sh -c 'echo 1; sleep 60'", "the process runs on in counter: `darse top counter`"),
        ("events", "containers run on: `darse events --since"),
        ("stats counter", "containers run on: `darse stats`"),
        ("stats", "containers run on: `darse stats`"),
    ],
)
def test_an_engine_that_does_not_come_back(
    line: str, said: str, end: Callable[[], object], own_engine: Engine, darse: Client
) -> None:
    _counting(darse)
    darse.environment["DARSE_RECONNECT"] = "0.3"
    process = darse.popen(*shlex.split(line), bufsize=0)
    if line not in ("wait counter", "events"):
        _lines(process, 1)
    else:
        asked = {"wait counter": "/wait", "events": "/events"}[line]
        wait_until(lambda: _has_asked(process.pid), what=f"the request of {asked}")
    end()
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err.decode().count("\n")) == (1, 1), err
    assert said in err.decode()


def _has_asked(pid: int) -> bool:
    """Whether a command has a connection to the engine and waits for what comes on it."""
    with open(f"/proc/{pid}/wchan", encoding="ascii") as file:
        return any(word in file.read() for word in ("unix_stream", "wait_for_more", "skb_wait"))


def test_stats_go_on(end: Callable[[], object], own_engine: Engine, darse: Client) -> None:
    _counting(darse)
    process = darse.popen("stats", "--format", "{{.Name}} {{.PIDs}}", bufsize=0)
    assert process.stdout is not None
    wait_until(lambda: b"counter " in process.stdout.readline(), what="a figure")  # type: ignore[union-attr]
    end()
    own_engine.up()
    seen = [process.stdout.readline() for _ in range(12)]
    process.kill()
    process.communicate()
    assert b"counter" in seen[-1], seen
    assert b"--" not in seen[-1], seen


def test_attach_draws_the_prompt_again(own_engine: Engine, darse: Client) -> None:
    darse("run", "-dit", "--name", "sess", BUSYBOX, "sh").ok()
    terminal = darse.terminal("attach", "sess", timeout=10)
    terminal.expect("/ # ")
    terminal.sendline("echo fir''st")
    terminal.expect("first")
    own_engine.kill9()
    own_engine.up()
    terminal.expect("/ # ")
    terminal.sendline("echo sec''ond; exit 3")
    terminal.expect("second")
    terminal.expect_exact("")
    terminal.read()
    terminal.close()
    assert terminal.exitstatus == 3
