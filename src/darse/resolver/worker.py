"""The process that answers: sockets of all sandboxes, and nothing else.

It is forked from the supervisor, with all that is registered, and so a new one serves within milliseconds when it has
ended, whatever ended it. It reads what containers send: it has no capability, a user of its own, and no system call by
which a file could be opened, a process made or a program run.

When the supervisor is gone it goes on serving what it has: an engine that starts replaces it.
"""

from __future__ import annotations

import gc
import os

from darse.linux.loop import Loop
from darse.linux.packets import Channel
from darse.linux.proc import sandbox as confinement
from darse.resolver import answers, message, zone
from darse.resolver import upstreams as forwarding
from darse.resolver.listeners import Counters, Listener
from darse.resolver.upstreams import Upstreams
from darse.resolver.zone import Zone

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from typing import Any

    from darse.resolver.message import Query

CALLS = (
    "accept4 brk clock_gettime clock_nanosleep close close_range connect dup epoll_create1 epoll_ctl epoll_pwait "
    "epoll_wait exit exit_group fcntl fstat futex getegid geteuid getgid getpeername getpid getrandom getsockname "
    "getsockopt gettid getuid ioctl lseek madvise mmap mprotect mremap munmap newfstatat poll ppoll prlimit64 read "
    "recvfrom recvmsg restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield "
    "sendmsg sendto set_robust_list setsockopt shutdown sigaltstack socket sysinfo tgkill write writev"
).split()
# After which a process that was replaced ends, whatever it still waits for.
_RETIREMENT_SECONDS = 15.0
_LOOK_SECONDS = 0.05


class Worker:
    """Serves all sandboxes."""

    def __init__(self, supervisor: socket.socket) -> None:
        self._loop = Loop()
        self._zone = Zone()
        self._upstreams = Upstreams(self._loop)
        self._counters = Counters()
        self._listeners: dict[str, Listener] = {}
        self._channel: Channel | None = Channel(self._loop, supervisor, self._received, self._supervisor_ended)
        self._retired = False

    def run(self, registered: Iterable[tuple[dict[str, Any], list[int]]], servers: list[str]) -> None:
        """Serve what is registered, views and descriptors, until there is nothing left to do."""
        self._set_servers(servers)
        for view, descriptors in registered:
            try:
                self._set(view, descriptors)
            except Exception:
                self._loop.report()
        # What is here stays; and pages that were shared at the fork stay shared.
        gc.freeze()
        confinement.restrict_calls(CALLS)
        self._loop.run()

    def _received(self, channel: Channel, serial: int, document: dict[str, Any], descriptors: list[int]) -> None:
        try:
            answer = self._do(channel, serial, document, descriptors)
        except Exception as error:
            self._loop.report()
            answer = {"error": f"{type(error).__name__}: {error}"}
        if answer is not None:
            channel.send(serial, answer)

    def _do(
        self, channel: Channel, serial: int, document: dict[str, Any], descriptors: list[int]
    ) -> dict[str, Any] | None:
        match document["do"]:
            case "set":
                self._set(document["view"], descriptors)
            case "drop":
                self._drop(document["id"])
            case "servers":
                self._set_servers(document["servers"])
            case "statistics":
                return self._statistics()
            case "explain":
                return self._explain(channel, serial, document)
            case "retire":
                self._retire()
            case "end":
                self._loop.stop()
            case other:
                raise ValueError(f"{other!r} is not known")
        return {}

    def _set(self, view: dict[str, Any], descriptors: list[int]) -> None:
        sandbox = self._zone.replace(view)
        listener = self._listeners.get(sandbox.id)
        if descriptors:
            if listener is not None:
                listener.close()
            self._listeners[sandbox.id] = Listener(
                self._loop, self._upstreams, self._counters, sandbox, descriptors, self._process_ended
            )
        elif listener is not None:
            listener.replace(sandbox)

    def _process_ended(self, listener: Listener) -> None:
        self._drop(listener.sandbox.id)

    def _drop(self, id_: str) -> None:
        self._zone.remove(id_)
        listener = self._listeners.pop(id_, None)
        if listener is not None:
            listener.close()
        if not self._listeners and self._channel is None:
            self._loop.stop()

    def _set_servers(self, texts: list[str]) -> None:
        servers = []
        for text in texts:
            try:
                servers.append(forwarding.server(text))
            except OSError:
                continue  # not an address, or one of an interface that is not there
        self._upstreams.servers = servers

    def _supervisor_ended(self, channel: Channel) -> None:
        channel.close()
        self._channel = None
        if self._retired or not self._listeners:
            self._loop.stop()

    def _retire(self) -> None:
        """Take nothing new, and end when all that is on its way is answered."""
        self._retired = True
        for listener in self._listeners.values():
            listener.stop_listening()
        self._loop.later(_RETIREMENT_SECONDS, self._loop.stop)
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._upstreams.in_flight or any(listener.connections for listener in self._listeners.values()):
            self._loop.later(_LOOK_SECONDS, self._end_if_done)
        else:
            self._loop.stop()

    def _statistics(self) -> dict[str, Any]:
        counters = self._counters
        return {
            "answered": counters.answered,
            "forwarded": counters.forwarded,
            "malformed": counters.malformed,
            "in_flight": self._upstreams.in_flight,
            "sandboxes": len(self._listeners),
            "networks": len(self._zone.networks),
            "servers": [address[0] for _, address in self._upstreams.servers],
            "pid": os.getpid(),
        }

    def _explain(self, channel: Channel, serial: int, document: dict[str, Any]) -> dict[str, Any] | None:
        """How a name is looked up from a sandbox; the answer of an upstream server comes later."""
        listener = self._listeners.get(document["id"])
        if listener is None:
            return {"error": "this container has no name server"}
        packet = message.question(document["name"], document["type"])
        query = message.parse(packet)
        sandbox = listener.sandbox
        report: dict[str, Any] = {"rule": "", "servers": [address[0] for _, address in listener.servers()]}
        answer = answers.decide(sandbox, query, message.MAX_SIZE)
        if answer is not None:
            report.update(_rule(sandbox, query))
            report.update(message.summary(answer))
            return report
        report["rule"] = _why_forwarded(listener)
        report["from"] = "the host" if sandbox.servers is None else "the container"

        def answered(data: bytes) -> None:
            report.update(message.summary(data))
            channel.send(serial, report)

        listener.forward(query, packet, answered, over_tcp=False)
        return None


def _why_forwarded(listener: Listener) -> str:
    if listener.servers():
        return "forwarded"
    if listener.sandbox.servers is None and not listener.sandbox.forward:
        return "internal"
    return "no servers"


def _rule(sandbox: zone.SandboxView, query: Query) -> dict[str, Any]:
    """By which rule `answers.decide` answers itself."""
    if query.type == message.TYPE_PTR:
        return {"rule": "pointer"}
    found = zone.find(sandbox, query.name, 16 if query.type == message.TYPE_AAAA else 4)
    if found is None:
        return {"rule": "ndots"}
    rule = "link" if found.linked else "name"
    return {"rule": rule, "name": found.name.decode(errors="replace"), "network": found.network.name.decode()}
