"""An engine that the kernel kills because its control group is out of memory, in the middle of its work."""

from __future__ import annotations

import http.client
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.waiting import wait_until

# What the engine may use beside what it had before its group took it, and what each request makes it keep.
_ROOM, _EACH, _MOST = 24 << 20, 1 << 20, 200


class _Group:
    """A control group of the memory controller, version 1 or 2."""

    def __init__(self) -> None:
        v1, v2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
        self.old = v1.is_dir()
        if not self.old and "memory" not in (v2 / "cgroup.subtree_control").read_text().split():
            pytest.skip("no memory controller")
        self.path = (v1 if self.old else v2) / f"dz-{secrets.token_hex(4)}"
        self.path.mkdir()

    def take(self, pid: int) -> None:
        (self.path / "cgroup.procs").write_text(str(pid))

    def limit(self, size: int) -> None:
        (self.path / ("memory.limit_in_bytes" if self.old else "memory.max")).write_text(str(size))

    @property
    def kills(self) -> int:
        """How many processes the kernel has killed in it."""
        text = (self.path / ("memory.oom_control" if self.old else "memory.events")).read_text()
        found = re.search(r"^oom_kill (\d+)", text, re.MULTILINE)
        assert found is not None
        return int(found[1])


@pytest.fixture
def group() -> Iterator[_Group]:
    made = _Group()
    yield made
    made.path.rmdir()


def test_an_engine_that_is_killed_out_of_memory_loses_nothing(group: _Group, new_engine: Callable[..., Engine]) -> None:
    # At its limit a process looks for pages to give back in any system call.
    engine = new_engine("--debug-loop-stalls=5000")
    docker = engine.docker
    counting = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"
    docker("run", "-d", "--name", "counts", "-v", "kept:/data", BUSYBOX, "sh", "-c", counting).ok()
    docker("exec", "counts", "sh", "-c", "echo rows > /data/table").ok()
    docker("run", "-d", "--name", "ends", BUSYBOX, "sh", "-c", "while [ ! -e /go ]; do sleep 0.1; done; exit 7").ok()
    pid = engine.api("GET", "/containers/counts/json").json()["State"]["Pid"]
    group.limit(_ROOM)
    group.take(engine.pid)
    told = _create_until_it_ends(engine)
    assert engine.process is not None
    assert engine.process.wait(20) == -9
    assert group.kills >= 1
    assert 0 < len(told) < _MOST
    # While there is no engine a container ends, and another goes on.
    root = Path(f"/proc/{_pid_of(engine, 'exit 7')}/root")
    (root / "go").touch()
    wait_until(lambda: not root.exists(), what="the container's end")
    engine.kill9()  # it has ended; what is left is found as after any crash
    engine.up()
    names = set(docker("ps", "-a", "--format", "{{.Names}}").ok().out.split())
    assert {"counts", "ends", *told} <= names
    # At most the one that was under way is there without its client having been told.
    assert len(names - {"counts", "ends"} - set(told)) <= 1
    assert engine.api("GET", "/containers/counts/json").json()["State"]["Pid"] == pid
    state = engine.api("GET", "/containers/ends/json").json()["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 7)
    assert docker("exec", "counts", "cat", "/data/table").ok().line == "rows"
    lines = [int(line) for line in docker("logs", "counts").ok().out.split()]
    assert lines == list(range(1, len(lines) + 1))
    docker("start", told[0]).ok()
    assert docker("wait", told[0]).ok().line == "0"
    assert "Traceback" not in engine.log(1 << 20)
    engine.close()


def _pid_of(engine: Engine, command: str) -> int:
    """The pid of the process of a container with this command, from its bundle: there is no engine to ask."""
    bundles = (engine.exec_root / "bundles").iterdir()
    return next(int((one / "pid").read_text()) for one in bundles if command in (one / "config.json").read_text())


def _create_until_it_ends(engine: Engine) -> list[str]:
    """Have it remember more and more; the names of those containers of which it has said that they are there."""
    told: list[str] = []
    for number in range(_MOST):
        name = f"big{number}"
        body = {"Image": BUSYBOX, "Cmd": ["true"], "Labels": {"large": secrets.token_hex(_EACH // 2)}}
        try:
            answer = engine.api("POST", f"/containers/create?name={name}", body)
        except (OSError, http.client.HTTPException):
            break
        assert answer.status == 201, answer.body
        told.append(name)
    return told
