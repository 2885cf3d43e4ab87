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
        self._running: set[int] = set()  # by pidfd
        self._closing = False

    async def start(self) -> None:
        """Have all of them running. Raises Hangs, AssertionError and ConnectionError when one cannot start."""
        for _ in range(BYSTANDERS):
            body = {"Image": BUSYBOX, "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}
            container = (await self._api("POST", "/containers/create", body)).json()["Id"]
            self._tasks.append(asyncio.create_task(self._live(container, await self._begin(container))))

    async def close(self) -> None:
        """Let the last ones end, which counts, too."""
        self._closing = True
        for pidfd in self._running:
            _kill(pidfd)
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if ended is not None:
                self.lost.append(f"a bystander could not go on: {ended!r}")

    async def _live(self, container: str, pid: int) -> None:
        await self._see_the_end(container, pid)
        while not self._closing:
            await self._see_the_end(container, await self._begin(container))

    async def _begin(self, container: str) -> int:
        """Start it, and return its process."""
        started = await self._api("POST", f"/containers/{container}/start")
        assert started.status == 204, started
        return int((await self._api("GET", f"/containers/{container}/json")).json()["State"]["Pid"])

    async def _see_the_end(self, container: str, pid: int) -> None:
        """Hold the process; when it has ended, the engine must know within seconds, and with its code."""
        lives = self._chance.uniform(1, 60)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            self.lost.append(f"bystander {container[:12]} runs without its process {pid}")
            return
        self._running.add(pidfd)
        loop = asyncio.get_running_loop()
        kill = loop.call_later(0 if self._closing else lives, _kill, pidfd)
        ended = loop.create_future()
        loop.add_reader(pidfd, _resolve, ended)
        try:
            await ended
        finally:
            kill.cancel()
            loop.remove_reader(pidfd)
            self._running.discard(pidfd)
            os.close(pidfd)
        try:
            waited = await self._api("POST", f"/containers/{container}/wait")
            assert waited.json()["StatusCode"] == 137, waited
        except (Hangs, AssertionError) as error:
            self.lost.append(f"the end of bystander {container[:12]}, process {pid}, is not seen: {error}")
        self.seen += 1


def _kill(pidfd: int) -> None:
    # It may have ended in this very moment.
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
