"""Containers that end while others are raced."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal

from tests.faults.races.client import Api, Hangs
from tests.support.engine import BUSYBOX

BYSTANDERS = 50


class Bystanders:
    """Containers that come to their ends all the time; the kernel's word of each is held against the engine's."""

    def __init__(self, api: Api, chance: random.Random) -> None:
        self._api = api
        self._chance = chance
        self.seen = 0
        self.lost: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._pids: set[int] = set()
        self._closing = False

    async def start(self) -> None:
        """Have all of them running."""
        ready = [asyncio.Event() for _ in range(BYSTANDERS)]
        self._tasks = [asyncio.create_task(self._live(event)) for event in ready]
        for event in ready:
            await event.wait()

    async def close(self) -> None:
        """Let the last ones end, which counts, too."""
        self._closing = True
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*self._tasks)

    async def _live(self, ready: asyncio.Event) -> None:
        body = {"Image": BUSYBOX, "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}
        container = (await self._api("POST", "/containers/create", body)).json()["Id"]
        while not self._closing:
            started = await self._api("POST", f"/containers/{container}/start")
            assert started.status == 204, started
            state = (await self._api("GET", f"/containers/{container}/json")).json()["State"]
            ready.set()
            await self._see_the_end(container, state["Pid"])

    async def _see_the_end(self, container: str, pid: int) -> None:
        """Hold the process; when it has ended, the engine must know within seconds, and with its code."""
        self._pids.add(pid)
        lives = self._chance.uniform(1, 60)
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self.lost.append(f"bystander {container[:12]} runs without its process {pid}")
            return
        loop = asyncio.get_running_loop()
        kill = loop.call_later(0 if self._closing else lives, signal.pidfd_send_signal, pidfd, signal.SIGKILL)
        ended = loop.create_future()
        loop.add_reader(pidfd, _resolve, ended)
        try:
            await ended
        finally:
            kill.cancel()
            loop.remove_reader(pidfd)
            os.close(pidfd)
            self._pids.discard(pid)
        try:
            waited = await self._api("POST", f"/containers/{container}/wait")
            assert waited.json()["StatusCode"] == 137, waited
        except (Hangs, AssertionError) as error:
            self.lost.append(f"the end of bystander {container[:12]}, process {pid}, is not seen: {error}")
        self.seen += 1


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
