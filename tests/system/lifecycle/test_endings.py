"""Ending always ends: what meets a container that goes away is answered, and no other container's end is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.http import Response
from tests.support.waiting import wait_until

LONG = ["sleep", "1000"]


def _created(engine: Engine, command: list[str] | None = None, name: str = "", **host: object) -> str:
    body = {"Image": BUSYBOX, "Cmd": command or LONG, "HostConfig": {"NetworkMode": "none", **host}}
    made = engine.api("POST", f"/containers/create{'?name=' + name if name else ''}", body)
    assert made.status == 201, made.body
    return str(made.json()["Id"])


def _started(engine: Engine, command: list[str] | None = None, name: str = "", **host: object) -> str:
    container = _created(engine, command, name, **host)
    answer = engine.api("POST", f"/containers/{container}/start")
    assert answer.status == 204, answer.body
    return container


def _attempt(engine: Engine, method: str, path: str, seconds: float = 10) -> Response | None:
    """The answer; None when it broke off in the middle. Raises TimeoutError when there is none."""
    try:
        return engine.api(method, path, timeout=seconds)
    except TimeoutError:
        raise
    except (OSError, HTTPException):
        return None


@pytest.mark.parametrize("what", ["archive?path=/bin", "export"])
@pytest.mark.parametrize("runs", [True, False])
def test_files_read_beside_a_removal(engine: Engine, what: str, runs: bool) -> None:
    with ThreadPoolExecutor(2) as threads:
        for _ in range(6):
            container = (_started if runs else _created)(engine)
            reading = threads.submit(_attempt, engine, "GET", f"/containers/{container}/{what}")
            removal = threads.submit(_attempt, engine, "DELETE", f"/containers/{container}?force=1")
            removed = removal.result()
            assert removed is not None
            assert removed.status == 204, removed.body
            read = reading.result()
            assert read is None or read.status in (200, 404, 409), read.body
    # Exits of containers whose descriptors have the numbers of those that were closed.
    ended = [_started(engine, ["true"]) for _ in range(12)]
    for container in ended:
        wait_until(
            lambda one=container: engine.api("GET", f"/containers/{one}/json").json()["State"]["Status"] == "exited",
            what="the container's end",
        )


STUBBORN = ["sh", "-c", "trap '' TERM; while :; do sleep 0.2; done"]
# On a machine that is busy with other tests; a stopped monitor used to take 30.
SECONDS = 6.0
_EXEC_SECONDS = 12.0


def _state(engine: Engine, container: str) -> dict[str, Any]:
    state: dict[str, Any] = engine.api("GET", f"/containers/{container}/json").json()["State"]
    return state


def _filters(container: str) -> str:
    return quote(json.dumps({"container": [container], "event": ["kill"]}))


def _monitor_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _ends_after(began: float, seconds: float = SECONDS) -> None:
    took = time.monotonic() - began
    assert took < seconds, f"it took {took:.1f} s"


def test_pause_while_a_stop_waits_is_refused(engine: Engine) -> None:
    container = _started(engine, STUBBORN)
    with ThreadPoolExecutor(1) as threads:
        began = time.monotonic()
        stop = threads.submit(engine.api, "POST", f"/containers/{container}/stop?t=2")
        killed = engine.api.stream("GET", f"/events?since={int(time.time()) - 1}&filters={_filters(container)}")
        next(killed)  # the stop has sent its signal
        refused = engine.api("POST", f"/containers/{container}/pause")
        assert refused.status == 409, refused.body
        assert "is being stopped or killed" in refused.message
        assert stop.result().status == 204
        _ends_after(began)
    assert _state(engine, container)["Status"] == "exited"


@pytest.mark.parametrize("end", ["POST kill", "POST stop?t=0", "DELETE ?force=1"])
def test_pause_beside_an_ending(engine: Engine, end: str) -> None:
    method, what = end.split()
    path = what if what.startswith("?") else f"/{what}"
    with ThreadPoolExecutor(2) as threads:
        for _ in range(8):
            container = _started(engine)
            began = time.monotonic()
            ending = threads.submit(engine.api, method, f"/containers/{container}{path}")
            pause = threads.submit(engine.api, "POST", f"/containers/{container}/pause")
            assert ending.result().status == 204, ending.result().body
            assert pause.result().status in (204, 404, 409), pause.result().body
            _ends_after(began)
            engine.api("DELETE", f"/containers/{container}?force=1")


def test_kill_of_a_container_that_a_commit_holds_frozen(engine: Engine) -> None:
    container = _started(engine)
    freezer = Path("/sys/fs/cgroup/freezer")
    if not freezer.is_dir():
        pytest.skip("no freezer of control groups version 1 is mounted at /sys/fs/cgroup/freezer")
    (state,) = freezer.glob(f"darse_*/{container}/freezer.state")
    state.write_text("FROZEN")
    began = time.monotonic()
    assert engine.api("POST", f"/containers/{container}/kill").status == 204
    _ends_after(began)
    assert _state(engine, container)["ExitCode"] == 137


@pytest.mark.parametrize("end", ["POST kill", "POST stop?t=1", "DELETE ?force=1"])
def test_a_monitor_that_stands_still(engine: Engine, end: str) -> None:
    method, what = end.split()
    container = _started(engine)
    monitor = _monitor_of(_state(engine, container)["Pid"])
    os.kill(monitor, signal.SIGSTOP)
    began = time.monotonic()
    done = engine.api(method, f"/containers/{container}{what if what.startswith('?') else '/' + what}")
    assert done.status == 204, done.body
    _ends_after(began)
    if method == "POST":
        assert _state(engine, container)["ExitCode"] in (137, 143)
    assert not Path(f"/proc/{monitor}").exists()


def test_a_process_that_does_not_end(engine: Engine) -> None:
    """In another control group, which is frozen: a stand-in for one that waits for a hung disk."""
    freezer = Path("/sys/fs/cgroup/freezer")
    if not freezer.is_dir():
        pytest.skip("no freezer of control groups version 1 is mounted at /sys/fs/cgroup/freezer")
    container = _started(engine)
    pid = _state(engine, container)["Pid"]
    stuck = freezer / f"darse-test-{os.getpid()}"
    stuck.mkdir()
    try:
        (stuck / "cgroup.procs").write_text(str(pid))
        (stuck / "freezer.state").write_text("FROZEN")
        began = time.monotonic()
        refused = engine.api("DELETE", f"/containers/{container}?force=1")
        _ends_after(began, 20)
        assert refused.status == 500
        assert "did not end within 10 s of SIGKILL" in refused.message
        assert str(pid) in refused.message
        assert _state(engine, container)["Running"]
        (stuck / "freezer.state").write_text("THAWED")
        assert engine.api("DELETE", f"/containers/{container}?force=1").status in (204, 404)
    finally:
        (stuck / "freezer.state").write_text("THAWED")
        wait_until(lambda: not (stuck / "cgroup.procs").read_text(), what="the process's end")
        stuck.rmdir()


def test_a_container_whose_monitor_died_is_ended(engine: Engine) -> None:
    container = _started(engine)
    pid = _state(engine, container)["Pid"]
    os.kill(_monitor_of(pid), signal.SIGKILL)
    state = wait_until(
        lambda: (one := _state(engine, container))["Status"] == "exited" and one, what="the container's end"
    )
    assert state["ExitCode"] == 137
    assert not _runs(pid)
    assert engine.api("POST", f"/containers/{container}/start").status == 204


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("engine_runs", [True, False])
def test_a_restart_policy_waits_for_the_end_of_a_container_whose_monitor_died(
    engine: Engine, engine_runs: bool, tmp_path: Path
) -> None:
    script = "id=$(cat /proc/sys/kernel/random/uuid); while :; do echo $id >>/v/log; sleep 0.01; done"
    host = {"RestartPolicy": {"Name": "always"}, "Binds": [f"{tmp_path}:/v"]}
    container = _started(engine, ["sh", "-c", script], **host)
    pid = _state(engine, container)["Pid"]
    wait_until((tmp_path / "log").exists, what="its first line")
    if not engine_runs:
        engine.kill9()
    os.kill(_monitor_of(pid), signal.SIGKILL)
    if not engine_runs:
        engine.up()
    lines = wait_until(lambda: len(set(_lines(tmp_path))) == 2 and _lines(tmp_path), what="the next start")
    assert not _runs(pid)
    wait_until(lambda: len(_lines(tmp_path)) > len(lines) + 20, what="more lines")
    lines = _lines(tmp_path)
    assert lines == sorted(lines, key=lines.index), "two of it ran side by side"


def _lines(directory: Path) -> list[str]:
    return (directory / "log").read_text().splitlines()


def test_an_exec_whose_monitor_died_is_ended(engine: Engine) -> None:
    container = _started(engine)
    body = {"Cmd": ["sleep", "1000"], "AttachStdout": True}
    exec_id = engine.api("POST", f"/containers/{container}/exec", body).json()["Id"]
    assert engine.api("POST", f"/exec/{exec_id}/start", {"Detach": True}).status == 200
    pid = engine.api("GET", f"/exec/{exec_id}/json").json()["Pid"]
    os.kill(_monitor_of(pid), signal.SIGKILL)
    wait_until(lambda: engine.api("GET", f"/exec/{exec_id}/json").json()["ExitCode"] == 137, what="the exec's end")
    wait_until(lambda: not _runs(pid), what="the end of its process")


def test_an_exec_whose_monitor_stands_still_ends_with_its_container(engine: Engine) -> None:
    container = _started(engine)
    body = {"Cmd": ["sleep", "1000"], "AttachStdout": True}
    exec_id = engine.api("POST", f"/containers/{container}/exec", body).json()["Id"]
    with ThreadPoolExecutor(1) as threads:
        streams = threads.submit(engine.api, "POST", f"/exec/{exec_id}/start", {})
        pid = wait_until(lambda: engine.api("GET", f"/exec/{exec_id}/json").json()["Pid"], what="the exec")
        os.kill(_monitor_of(pid), signal.SIGSTOP)
        assert engine.api("POST", f"/containers/{container}/kill").status == 204
        assert streams.result(_EXEC_SECONDS).body == b""
    assert engine.api("GET", f"/exec/{exec_id}/json").json()["ExitCode"] == 137


def test_forced_removal_during_a_start(engine: Engine) -> None:
    with ThreadPoolExecutor(2) as threads:
        for number in range(12):
            container = _created(engine)
            start = threads.submit(engine.api, "POST", f"/containers/{container}/start")
            time.sleep(0.002 * number)  # when the removal comes is the test's input
            removal = threads.submit(engine.api, "DELETE", f"/containers/{container}?force=1")
            assert removal.result().status == 204, removal.result().body
            assert start.result().status in (204, 404, 409), start.result().body
            assert engine.api("GET", f"/containers/{container}/json").status == 404


@pytest.mark.parametrize("what", ["connect", "disconnect"])
def test_networks_beside_a_removal(engine: Engine, what: str) -> None:
    network = engine.api("POST", "/networks/create", {"Name": "endings"}).json()["Id"]
    with ThreadPoolExecutor(2) as threads:
        for number in range(15):
            container = _started(engine, NetworkMode="bridge")
            if what == "disconnect":
                assert engine.api("POST", f"/networks/{network}/connect", {"Container": container}).status == 200
            change = threads.submit(engine.api, "POST", f"/networks/{network}/{what}", {"Container": container})
            time.sleep(0.001 * (number % 5))  # when the removal comes is the test's input
            removal = threads.submit(engine.api, "DELETE", f"/containers/{container}?force=1")
            assert removal.result().status == 204, removal.result().body
            answer = change.result()
            assert answer.status in (200, 404, 409), answer.body
            assert b"/proc" not in answer.body


def test_a_start_that_fails_unforeseen(engine: Engine, cli: Callable[..., Any]) -> None:
    """Whatever it is: the container says why, one that asked for its removal is gone, and no client waits."""
    bundles = str(engine.exec_root / "bundles")
    kept = _created(engine, name="kept")
    subprocess.run(["mount", "-o", "remount,bind,ro", bundles], check=True)
    try:
        failed = cli("run", "--rm", "--name", "gone", BUSYBOX, "true", timeout=20)
        assert failed.status == 125, failed.err
        refused = engine.api("POST", f"/containers/{kept}/start")
        assert refused.status == 500
    finally:
        subprocess.run(["mount", "-o", "remount,bind,rw", bundles], check=True)
    assert engine.api("GET", "/containers/gone/json").status == 404
    state = _state(engine, kept)
    assert (state["Status"], state["ExitCode"]) == ("created", 128)
    assert state["Error"]
    assert engine.api("POST", f"/containers/{kept}/start").status == 204
