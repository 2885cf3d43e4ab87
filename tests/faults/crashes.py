"""Crashing an engine in the middle of an operation, and what must be true after its next start.

An `Instant` prepares a container, begins its operation in a thread, kills the engine (SIGKILL) a random time after
that, starts it again, and checks. What was acknowledged must be there, what was not may be there or not, but whole or
not at all: a container that exists can be started or removed, its exit code is right and its log has no gap.
"""

from __future__ import annotations

import gzip
import http.client
import io
import random
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.support.engine import BUSYBOX, Engine
from tests.support.http import Response
from tests.support.leaks import find_orphans
from tests.support.waiting import wait_until, wait_while

LINES = 300
# Prints numbered lines in two parts, so that a crash falls between them now and then, and ends with a known code.
COUNTER = f"seq 0 {LINES // 2 - 1}; sleep 0.03; seq {LINES // 2} {LINES - 1}; exit 7"
EXPECTED = [str(number) for number in range(LINES)]
STEADY = 'trap "exit 5" TERM; echo ready; while :; do sleep 0.02; done'


@dataclass
class Attempt:
    """An operation that may be cut off: its answer, when one came."""

    answer: Response | None = None
    error: Exception | None = None

    @property
    def acknowledged(self) -> bool:
        """Whether the engine said that it was done."""
        return self.answer is not None and self.answer.status < http.client.BAD_REQUEST


@dataclass
class Report:
    """How often what was done, and how often the answer came before the end."""

    instants: dict[str, int] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        total = sum(self.instants.values())
        parts = ", ".join(
            f"{kind} {count} ({self.acknowledged.get(kind, 0)} acknowledged)" for kind, count in self.instants.items()
        )
        return f"{total} crashes: {parts}"


class Crasher:
    """Crashes one engine at random instants."""

    def __init__(self, engine: Engine, seed: int, archive: bytes) -> None:
        """`archive`: an image archive whose image is named `test/loaded:1`."""
        self.engine = engine
        self.random = random.Random(seed)
        self.archive = archive
        self.report = Report()
        self._number = 0
        self.instants: dict[str, Callable[[], None]] = {
            "create": self.create,
            "start": self.start,
            "running": self.running,
            "exec": self.exec,
            "stop": self.stop,
            "rm": self.remove,
            "rm -f": self.remove_running,
            "load": self.load,
            "rmi": self.remove_image,
            "image prune": self.prune_images,
            "run": self.run,
            "volume": self.volume,
            "cp": self.copy,
            "commit": self.commit,
            "network": self.network,
        }

    def crash_in(self, kind: str) -> None:
        """One instant of `kind`. Raises AssertionError with the engine's log when something was lost or left."""
        self._number += 1
        try:
            self.instants[kind]()
            wait_while(lambda: find_orphans(self.engine), 10, f"what a crash in {kind} left behind")
        except AssertionError as error:
            raise AssertionError(f"crash {self._number}, in {kind}: {error}\n{self.engine.log()}") from error
        self.report.instants[kind] = self.report.instants.get(kind, 0) + 1
        if self._number % 10 == 0:
            self.engine.remove_all()

    # The instants

    def create(self) -> None:
        """Create with a volume and a published port."""
        name = self._name()
        body = self._body(COUNTER, Volumes={"/data": {}}, ExposedPorts={"80/tcp": {}})
        attempt = self._cut("create", 0.03, "POST", f"/containers/create?name={name}", body)
        self._usable(name, must_exist=attempt.acknowledged)

    def start(self) -> None:
        """Start a container with a published port."""
        name = self._created(COUNTER, PortBindings={"80/tcp": [{"HostPort": ""}]})
        attempt = self._cut("start", 0.06, "POST", f"/containers/{name}/start")
        state = self._state(name)
        if attempt.acknowledged:
            assert state["Status"] in ("running", "exited"), state
        if state["Status"] == "created":
            self._ok("POST", f"/containers/{name}/start")
        self._counted(name)

    def running(self) -> None:
        """Nothing but a running container."""
        name = self._created(COUNTER)
        self._ok("POST", f"/containers/{name}/start")
        self._cut("running", 0.06, "GET", f"/containers/{name}/logs?follow=1&stdout=1")
        self._counted(name)

    def exec(self) -> None:
        """An exec with its streams attached."""
        name = self._steady()
        made = self._ok("POST", f"/containers/{name}/exec", {"Cmd": ["sh", "-c", "echo x"], "AttachStdout": True})
        self._cut("exec", 0.04, "POST", f"/exec/{made.json()['Id']}/start", {"Detach": False, "Tty": False})
        assert self._state(name)["Running"], self._state(name)
        again = self._ok("POST", f"/containers/{name}/exec", {"Cmd": ["sh", "-c", "exit 4"]}).json()["Id"]
        self._ok("POST", f"/exec/{again}/start", {"Detach": True})
        wait_until(lambda: self.engine.api("GET", f"/exec/{again}/json").json()["ExitCode"] == 4, what="the exec's end")

    def stop(self) -> None:
        """Stop a container that ends with 5 when asked to."""
        name = self._steady()
        attempt = self._cut("stop", 0.08, "POST", f"/containers/{name}/stop?t=5")
        if attempt.acknowledged:
            assert not self._state(name)["Running"]
        self._ok("POST", f"/containers/{name}/stop?t=5")
        assert self._state(name)["ExitCode"] == 5, self._state(name)

    def remove(self) -> None:
        """Remove an ended container, its anonymous volume too."""
        name = self._created(COUNTER, Volumes={"/data": {}})
        self._ok("POST", f"/containers/{name}/start")
        self._ok("POST", f"/containers/{name}/wait")
        self._removed(self._cut("rm", 0.02, "DELETE", f"/containers/{name}?v=1"), name)

    def remove_running(self) -> None:
        """Remove a running container by force."""
        name = self._steady(PortBindings={"80/tcp": [{"HostPort": ""}]})
        self._removed(self._cut("rm -f", 0.06, "DELETE", f"/containers/{name}?force=1&v=1"), name)

    def load(self) -> None:
        """Load an image."""
        self.engine.api("DELETE", "/images/test/loaded:1?force=1")
        attempt = self._cut("load", 0.5, "POST", "/images/load", self.archive)
        self._store_is_sound()
        found = self.engine.api("GET", "/images/test/loaded:1/json")
        assert found.status in ((200,) if attempt.acknowledged else (200, 404)), found
        if found.status == http.client.NOT_FOUND:
            self._ok("POST", "/images/load", self.archive)
        name = self._created("cat /loaded && exit 3", Image="test/loaded:1")
        self._ok("POST", f"/containers/{name}/start")
        assert self._ok("POST", f"/containers/{name}/wait").json()["StatusCode"] == 3
        self._ok("DELETE", f"/containers/{name}?force=1&v=1")

    def remove_image(self) -> None:
        """Remove an image with its layers."""
        self._ok("POST", "/images/load", self.archive)
        attempt = self._cut("rmi", 0.15, "DELETE", "/images/test/loaded:1")
        self._store_is_sound()
        found = self.engine.api("GET", "/images/test/loaded:1/json")
        assert found.status in ((404,) if attempt.acknowledged else (200, 404)), found

    def prune_images(self) -> None:
        """Prune images that have no name."""
        for number in range(3):
            self._ok("POST", f"/images/create?fromSrc=-&message={number}", gzip.decompress(self.archive))
        attempt = self._cut("image prune", 0.2, "POST", "/images/prune")
        self._store_is_sound()
        left = self._ok("GET", '/images/json?filters={"dangling":["true"]}').json()
        assert not (attempt.acknowledged and left), left
        self._ok("POST", "/images/prune")
        self._store_is_sound()

    def run(self) -> None:
        """docker's `run --rm` from its beginning to its end: whatever was reached, nothing of it stays."""
        name = self._name()
        client = self.engine.docker.popen("run", "--rm", "--name", name, BUSYBOX, "sleep", "0.05")
        self._crash("run", 0.15)
        client.communicate(timeout=20)

        def gone() -> bool:
            found = self.engine.api("GET", f"/containers/{name}/json")
            # A container that was created and never started waits for its owner, as with docker.
            return found.status == http.client.NOT_FOUND or found.json()["State"]["Status"] == "created"

        wait_until(gone, what="the removal of a container of run --rm")
        self.engine.api("DELETE", f"/containers/{name}?force=1")

    def volume(self) -> None:
        """Create a volume, or remove it."""
        name = self._name()
        attempt = self._cut("volume", 0.01, "POST", "/volumes/create", {"Name": name})
        found = self.engine.api("GET", f"/volumes/{name}").status
        assert found in ((200,) if attempt.acknowledged else (200, 404))
        self._ok("POST", "/volumes/create", {"Name": name})
        self._ok("DELETE", f"/volumes/{name}")

    def copy(self) -> None:
        """A copy into a container, or out of one, running or not."""
        name = self._steady() if self.random.random() < 0.5 else self._created(STEADY)
        if self.random.random() < 0.5:
            attempt = self._cut(
                "cp", 0.06, "PUT", f"/containers/{name}/archive?path=/tmp", _archive(b"copied" * 200_000)
            )
            if attempt.acknowledged:
                self._ok("GET", f"/containers/{name}/archive?path=/tmp/copied")
        else:
            self._cut("cp", 0.06, "GET", f"/containers/{name}/export")
        self._ok("PUT", f"/containers/{name}/archive?path=/tmp", _archive(b"again"))
        self._ok("DELETE", f"/containers/{name}?force=1&v=1")

    def commit(self) -> None:
        """A commit of a running container."""
        name = self._steady()
        self._ok("PUT", f"/containers/{name}/archive?path=/", _archive(b"changed" * 200_000))
        attempt = self._cut("commit", 0.5, "POST", f"/commit?container={name}&repo=test/{name}")
        found = self.engine.api("GET", f"/images/test/{name}/json")
        assert found.status in ((200,) if attempt.acknowledged else (200, 404)), found
        if found.status == http.client.NOT_FOUND:
            self._ok("POST", f"/commit?container={name}&repo=test/{name}")
        # It does not stand still any more.
        self._ok("POST", f"/containers/{name}/stop?t=5")
        assert self._state(name)["ExitCode"] == 5, self._state(name)
        made = self._created("wc -c < /copied", Image=f"test/{name}")
        self._ok("POST", f"/containers/{made}/start")
        assert self._ok("POST", f"/containers/{made}/wait").json()["StatusCode"] == 0
        for one in (name, made):
            self._ok("DELETE", f"/containers/{one}?force=1&v=1")
        self._ok("DELETE", f"/images/test/{name}")

    def network(self) -> None:
        """Create a network, with its bridge and rules."""
        name = self._name()
        attempt = self._cut("network", 0.02, "POST", "/networks/create", {"Name": name})
        found = self.engine.api("GET", f"/networks/{name}").status
        assert found in ((200,) if attempt.acknowledged else (200, 404))
        if found == http.client.NOT_FOUND:
            self._ok("POST", "/networks/create", {"Name": name})
        container = self._created(COUNTER, NetworkMode=name)
        self._ok("POST", f"/containers/{container}/start")
        self._counted(container)
        self._ok("DELETE", f"/containers/{container}")
        self._ok("DELETE", f"/networks/{name}")

    # The means

    def _store_is_sound(self) -> None:
        """Every document, layer and reference of the store of images is whole, and nothing is left over."""
        messages = self._ok("GET", "/darse/check").body.splitlines()
        assert messages[-1].startswith(b'{"doing":"done"'), messages
        assert not [message for message in messages if b'"finding"' in message], messages

    def _cut(self, kind: str, within: float, method: str, path: str, body: object = None) -> Attempt:
        """Begin a request, crash the engine up to `within` seconds later, start it, and return what was answered."""
        attempt = Attempt()

        def send() -> None:
            try:
                attempt.answer = self.engine.api(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                attempt.error = error

        thread = threading.Thread(target=send)
        thread.start()
        self._crash(kind, within)
        thread.join()
        if attempt.acknowledged:
            self.report.acknowledged[kind] = self.report.acknowledged.get(kind, 0) + 1
        return attempt

    def _crash(self, kind: str, within: float) -> None:
        # The one place where a test waits for a time: it is the random variable.
        threading.Event().wait(self.random.uniform(0, within))
        self.engine.kill9()
        self.engine.up()

    def _name(self) -> str:
        return f"crash{self._number}-{self.random.getrandbits(32):08x}"

    def _body(self, script: str, **options: Any) -> dict[str, Any]:
        config = {"Image": BUSYBOX, "Cmd": ["sh", "-c", script]}
        for key in ("Image", "Volumes", "ExposedPorts"):
            if key in options:
                config[key] = options.pop(key)
        return {**config, "HostConfig": options}

    def _created(self, script: str, **options: Any) -> str:
        name = self._name()
        self._ok("POST", f"/containers/create?name={name}", self._body(script, **options))
        return name

    def _steady(self, **options: Any) -> str:
        name = self._created(STEADY, **options)
        self._ok("POST", f"/containers/{name}/start")
        wait_until(lambda: b"ready" in self._ok("GET", f"/containers/{name}/logs?stdout=1").body, what="its first line")
        return name

    def _ok(self, method: str, path: str, body: object = None) -> Response:
        answer = self.engine.api(method, path, body)
        assert answer.status < http.client.BAD_REQUEST, (method, path, answer.status, answer.body)
        return answer

    def _state(self, name: str) -> dict[str, Any]:
        state: dict[str, Any] = self._ok("GET", f"/containers/{name}/json").json()["State"]
        return state

    def _usable(self, name: str, *, must_exist: bool) -> None:
        found = self.engine.api("GET", f"/containers/{name}/json")
        assert found.status in ((200,) if must_exist else (200, 404)), found
        if found.status == http.client.OK:
            self._ok("POST", f"/containers/{name}/start")
            self._counted(name)

    def _removed(self, attempt: Attempt, name: str) -> None:
        found = self.engine.api("GET", f"/containers/{name}/json")
        assert found.status in ((404,) if attempt.acknowledged else (200, 404)), found
        if found.status == http.client.OK:
            self._ok("DELETE", f"/containers/{name}?force=1&v=1")

    def _counted(self, name: str) -> None:
        """The container ends with 7, and its log has every line."""
        assert self._ok("POST", f"/containers/{name}/wait").json()["StatusCode"] == 7
        assert self._state(name)["ExitCode"] == 7
        lines = demultiplexed(self._ok("GET", f"/containers/{name}/logs?stdout=1").body).decode().splitlines()
        assert lines == EXPECTED, f"{len(lines)} lines of {LINES}: {lines[:5]} … {lines[-5:]}"


def _archive(content: bytes) -> bytes:
    """An archive with one file, `copied`."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo("copied")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def demultiplexed(stream: bytes) -> bytes:
    """The contents of a multiplexed stream."""
    parts = []
    while stream:
        size = int.from_bytes(stream[4:8], "big")
        parts.append(stream[8 : 8 + size])
        stream = stream[8 + size :]
    return b"".join(parts)
