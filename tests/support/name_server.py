"""The name server by itself: its process and client, and namespaces that stand for containers."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from darse.linux.net import dns_sockets
from darse.linux.net.netns import NetnsThread
from darse.linux.packets import pack, unpack
from darse.networks.dns.client import NameServer
from darse.networks.dns.process import NameServerProcess
from tests.support.dnspython import dns

__all__ = ["Box", "Names", "pack", "unpack", "view"]


def view(
    id_: str,
    *names: str,
    network: str = "front",
    address: str = "172.18.0.2",
    servers: list[str] | None = None,
    forward: bool = False,
    **links: str,
) -> dict[str, Any]:
    """The view of a sandbox on one network."""
    endpoint = {
        "network": f"id of {network}",
        "name": network,
        "names": [*(names or (id_,))],
        "addresses": [address],
        "links": links,
    }
    return {"id": id_, "endpoints": [endpoint], "servers": servers, "forward": forward, "ndots": False}


class Box:
    """A network namespace with a process in it, which holds it."""

    def __init__(self) -> None:
        command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 1000"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"up\n"

    async def inside(self, threads: NetnsThread, function: Callable[[], Any]) -> Any:
        """Call a function in the namespace."""

        def work() -> Any:
            netns = threads.enter(f"/proc/{self.process.pid}/ns/net")
            try:
                return threads.inside(netns, function)
            finally:
                netns.close()

        return await threads.run(work)

    def run(self, *command: str) -> str:
        """Run a program in the namespace."""
        entered = ["nsenter", f"--net=/proc/{self.process.pid}/ns/net", *command]
        return subprocess.run(entered, capture_output=True, text=True, check=True).stdout

    def end(self) -> None:
        """End its process."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Names:
    """A running name server, as an engine has it."""

    def __init__(self, directory: Path) -> None:
        self.process = NameServerProcess(directory / "names")
        self.threads = NetnsThread()
        self.boxes: dict[str, Box] = {}
        self._views: dict[str, dict[str, Any]] = {}
        self.server = NameServer(self.process, self._make_again)
        self.opened: list[socket.socket] = []

    async def _make_again(self, id_: str) -> list[int] | None:
        box = self.boxes[id_]
        if box.process.poll() is not None:
            return None
        sockets = await box.inside(
            self.threads,
            lambda: [
                *dns_sockets.open_sockets(),
                *dns_sockets.open_asking_sockets(self._views[id_]["servers"] or ()),
            ],
        )
        return [os.pidfd_open(box.process.pid), *(sock.detach() for sock in sockets)]

    async def register(self, shown: dict[str, Any], box: Box | None = None) -> Box:
        """Register a sandbox, in a namespace of its own."""
        box = box or Box()
        self.boxes[shown["id"]] = box
        self._views[shown["id"]] = shown
        await box.inside(self.threads, dns_sockets.redirect)
        descriptors = await self._make_again(shown["id"])
        assert descriptors is not None
        try:
            await self.server.register(shown, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return box

    async def client(self, id_: str, kind: int = socket.SOCK_DGRAM) -> socket.socket:
        """A socket in a sandbox that talks to its name server."""
        sock: socket.socket = await self.boxes[id_].inside(self.threads, lambda: socket.socket(socket.AF_INET, kind))
        self.opened.append(sock)
        sock.settimeout(20)
        await asyncio.to_thread(sock.connect, ("127.0.0.11", 53))
        return sock

    async def ask(self, id_: str, name: str, type_: str = "A", **options: Any) -> dns.message.Message:
        """Ask over UDP, from a socket of its own; again after a second without an answer, as resolvers do."""
        sock = await self.client(id_)
        sock.settimeout(1)
        query = dns.message.make_query(name, type_, **options)
        for attempt in range(10):
            await asyncio.to_thread(sock.send, query.to_wire())
            try:
                answer = dns.message.from_wire(await asyncio.to_thread(sock.recv, 65535))
                break
            except TimeoutError:
                if attempt == 9:
                    raise
        sock.close()
        assert query.is_response(answer)
        return answer

    async def addresses(self, id_: str, name: str, type_: str = "A") -> list[str]:
        """The sorted addresses of a name."""
        answer = await self.ask(id_, name, type_)
        return sorted(str(one) for found in answer.answer for one in found)

    async def eventually(self, condition: Callable[[], Any], seconds: float = 5) -> float:
        """Wait for a coroutine's true result; return how long it took."""
        begin = time.monotonic()
        while not await condition():
            assert time.monotonic() - begin < seconds, "it does not come true"
            await asyncio.sleep(0.01)
        return time.monotonic() - begin

    async def close(self) -> None:
        for id_, box in self.boxes.items():
            self.server.drop(id_)
            box.end()
        for sock in self.opened:
            sock.close()
        await self.server.settled()
        await self.server.close()
        self.threads.close()
        assert not self.process.exists()
