"""The means of crash tests: begin a request, kill the engine (SIGKILL), start it, look at what is there."""

from __future__ import annotations

import http.client
import random
import threading
from dataclasses import dataclass, field
from typing import Any

from tests.support.engine import BUSYBOX, Engine
from tests.support.http import Response
from tests.support.waiting import wait_until

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


class Means:
    """One engine, and what crashes of every kind need."""

    def __init__(self, engine: Engine, seed: int, archive: bytes) -> None:
        """`archive`: an image archive whose image is named `test/loaded:1`."""
        self.engine = engine
        self.random = random.Random(seed)
        self.archive = archive
        self.report = Report()
        self.number = 0

    def store_is_sound(self) -> None:
        """Every document, layer and reference of the store of images is whole, and nothing is left over."""
        messages = self.ok("GET", "/darse/check").body.splitlines()
        assert messages[-1].startswith(b'{"doing":"done"'), messages
        assert not [message for message in messages if b'"finding"' in message], messages

    def cut(self, kind: str, within: float, method: str, path: str, body: object = None) -> Attempt:
        """Begin a request, crash the engine up to `within` seconds later, start it, and return what was answered."""
        attempt = Attempt()

        def send() -> None:
            try:
                attempt.answer = self.engine.api(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                attempt.error = error

        thread = threading.Thread(target=send)
        thread.start()
        self.crash(kind, within)
        thread.join()
        if attempt.acknowledged:
            self.report.acknowledged[kind] = self.report.acknowledged.get(kind, 0) + 1
        return attempt

    def crash(self, kind: str, within: float) -> None:
        """Kill the engine up to `within` seconds from now, and start it."""
        # The one place where a test waits for a time: it is the random variable.
        threading.Event().wait(self.random.uniform(0, within))
        self.engine.kill9()
        self.engine.up()

    def unused_name(self) -> str:
        """A name that nothing has."""
        return f"crash{self.number}-{self.random.getrandbits(32):08x}"

    def body(self, script: str, **options: Any) -> dict[str, Any]:
        """The body of a create request; `options` are those of the host configuration, or the container's own."""
        config = {"Image": BUSYBOX, "Cmd": ["sh", "-c", script]}
        for key in ("Image", "Volumes", "ExposedPorts"):
            if key in options:
                config[key] = options.pop(key)
        return {**config, "HostConfig": options}

    def created(self, script: str, **options: Any) -> str:
        """Create a container that runs a shell script; return its name."""
        name = self.unused_name()
        self.ok("POST", f"/containers/create?name={name}", self.body(script, **options))
        return name

    def steady(self, **options: Any) -> str:
        """Start a container that runs until SIGTERM, which it answers with status 5; return its name."""
        name = self.created(STEADY, **options)
        self.ok("POST", f"/containers/{name}/start")
        wait_until(lambda: b"ready" in self.ok("GET", f"/containers/{name}/logs?stdout=1").body, what="its first line")
        return name

    def ok(self, method: str, path: str, body: object = None) -> Response:
        """The answer of a request that must succeed."""
        answer = self.engine.api(method, path, body)
        assert answer.status < http.client.BAD_REQUEST, (method, path, answer.status, answer.body)
        return answer

    def state(self, name: str) -> dict[str, Any]:
        """A container's state as inspect has it."""
        state: dict[str, Any] = self.ok("GET", f"/containers/{name}/json").json()["State"]
        return state

    def usable(self, name: str, *, must_exist: bool) -> None:
        """The container is not there, or it runs to its end when it is started."""
        found = self.engine.api("GET", f"/containers/{name}/json")
        assert found.status in ((200,) if must_exist else (200, 404)), found
        if found.status == http.client.OK:
            self.ok("POST", f"/containers/{name}/start")
            self.counted(name)

    def removed(self, attempt: Attempt, name: str) -> None:
        """The container is gone, or, when nobody was told so, it can be removed."""
        found = self.engine.api("GET", f"/containers/{name}/json")
        assert found.status in ((404,) if attempt.acknowledged else (200, 404)), found
        if found.status == http.client.OK:
            self.ok("DELETE", f"/containers/{name}?force=1&v=1")

    def counted(self, name: str) -> None:
        """The container ends with 7, and its log has every line."""
        assert self.ok("POST", f"/containers/{name}/wait").json()["StatusCode"] == 7
        assert self.state(name)["ExitCode"] == 7
        lines = demultiplexed(self.ok("GET", f"/containers/{name}/logs?stdout=1").body).decode().splitlines()
        assert lines == EXPECTED, f"{len(lines)} lines of {LINES}: {lines[:5]} … {lines[-5:]}"


def demultiplexed(stream: bytes) -> bytes:
    """The contents of a multiplexed stream."""
    parts = []
    while stream:
        size = int.from_bytes(stream[4:8], "big")
        parts.append(stream[8 : 8 + size])
        stream = stream[8 + size :]
    return b"".join(parts)
