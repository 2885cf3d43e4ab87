"""One run after another on one container, and whether the kernel and the engine agree afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import select
import time
from typing import Any

from tests.faults.races.client import Api, Hangs
from tests.faults.races.operations import LABEL, OPERATIONS, Target, filters
from tests.faults.races.reports import Report
from tests.support.engine import BUSYBOX

# The kernel and the engine agree within this time after both answers.
AGREE_SECONDS = 30.0
STEADY = "trap 'exit 0' TERM; echo begun; sleep 1000 & wait"
_LONGEST_DELAY = 0.03


class Lane:
    """One container at a time, raced again and again."""

    def __init__(self, api: Api, number: int, report: Report) -> None:
        self._api = api
        self._number = number
        self._report = report
        self._made = 0
        self._id = self._label = ""
        # The process that the container had last, held so that no other is taken for it.
        self._process: tuple[int, int] = (0, -1)

    async def race(self, pair: tuple[str, str], chance: random.Random) -> None:
        """One run. What is wrong goes to the report."""
        state = await self._prepare(chance)
        self._hold(state["Pid"])
        story = f"{pair[0]} | {pair[1]} of a container that is {state['Status']}"
        first, second = chance.sample(pair, 2)
        delay = chance.choice((0.0, chance.uniform(0, 0.003), chance.uniform(0, _LONGEST_DELAY)))
        target = Target(self._api, self._id, self._label, random.Random(chance.random()))
        await asyncio.gather(self._operate(first, target, 0, story), self._operate(second, target, delay, story))
        await self._agree(story)
        self._report.runs += 1

    async def _operate(self, name: str, target: Target, delay: float, story: str) -> None:
        await asyncio.sleep(delay)
        begun = time.monotonic()
        try:
            answer = await OPERATIONS[name](target)
        except Hangs as error:
            self._report.hangs.append(f"{story}: {error}")
            return
        except (AssertionError, ConnectionError) as error:
            self._report.faults.append(f"{story}: {name}: {error}")
            return
        self._report.slowest = max(self._report.slowest, (time.monotonic() - begun, f"{name} in {story}"))
        self._report.statuses[f"{name}: {answer.status}"] += 1
        if answer.status >= 500 and answer.status != 501:
            self._report.faults.append(f"{story}: {name}: {answer}")

    async def _prepare(self, chance: random.Random) -> dict[str, Any]:
        """A container in some state: what is left of the last run, or a new one."""
        state = await self._inspect() if self._id else None
        if state is None or state["Status"] in ("dead", "removing"):
            await self._create(chance)
        wanted = chance.choices(("running", "paused", "left"), (6, 1, 3))[0]
        state = await self._inspect()
        if state is None:  # it asked for its removal
            return await self._prepare(chance)
        if wanted != "left":
            if state["Paused"] and wanted == "running":
                await self._api("POST", f"/containers/{self._id}/unpause")
            elif not state["Running"]:
                await self._api("POST", f"/containers/{self._id}/start")
            if wanted == "paused":
                await self._api("POST", f"/containers/{self._id}/pause")
            state = await self._inspect()
        return state if state is not None else await self._prepare(chance)

    async def _create(self, chance: random.Random) -> None:
        self._made += 1
        restart, remove = chance.choices((("no", False), ("always", False), ("no", True)), (8, 1, 1))[0]
        # What a prune finds it by.
        self._label = f"{self._number}-{self._made}"
        body = {
            "Image": BUSYBOX,
            "Cmd": ["sh", "-c", STEADY],
            "Tty": chance.random() < 0.3,
            "OpenStdin": True,
            "Labels": {LABEL: self._label},
            "Volumes": {"/data": {}},
            "HostConfig": {"RestartPolicy": {"Name": restart}, "AutoRemove": remove},
        }
        if chance.random() < 0.1:
            body["Healthcheck"] = {"Test": ["CMD", "true"], "Interval": 500_000_000}
        made = await self._api("POST", "/containers/create", body)
        assert made.status == 201, made
        self._id = made.json()["Id"]

    async def _inspect(self) -> dict[str, Any] | None:
        answer = await self._api("GET", f"/containers/{self._id}/json")
        if answer.status == 404:
            return None
        assert answer.status == 200, answer
        state: dict[str, Any] = answer.json()["State"]
        return state

    def _hold(self, pid: int) -> None:
        """Keep the container's process by a pidfd until it has another one."""
        known, pidfd = self._process
        if pid == known:
            return
        if pidfd >= 0:
            os.close(pidfd)
        self._process = (0, -1)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                self._process = (pid, os.pidfd_open(pid))

    async def _agree(self, story: str) -> None:
        """The engine's word of the container and the kernel's are the same, soon."""
        deadline = time.monotonic() + AGREE_SECONDS
        pause = 0.002
        while (wrong := await self._disagreement()) is not None:
            if time.monotonic() > deadline:
                self._report.disagreements.append(f"{story}: {wrong}")
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.2)

    async def _disagreement(self) -> str | None:
        state = await self._inspect()
        listed = (await self._api("GET", f"/containers/json?all=1&{filters(id=[self._id])}")).json()
        told = listed[0]["State"] if listed else "gone"
        known, pidfd = self._process
        alive = pidfd >= 0 and not _ended(pidfd)
        if state is None:
            return f"it is removed and its process {known} runs" if alive else None if not listed else "ps lists it"
        if told != state["Status"]:
            return f"inspect says {state['Status']} and ps {told}"
        if not state["Running"]:
            return f"it is {told} and its process {known} runs" if alive else None
        pid = state["Pid"]
        if alive and pid not in (0, known):
            return f"it runs as process {pid} and as {known}, too"
        try:
            pidfd = os.pidfd_open(pid)
        except (ProcessLookupError, ValueError):
            return None if told == "restarting" else f"it is {told} without its process {pid}"
        try:
            return f"it is {told} and its process {pid} has ended" if _ended(pidfd) else None
        finally:
            os.close(pidfd)

    def close(self) -> None:
        """Let go of the process."""
        self._hold(0)


def _ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
