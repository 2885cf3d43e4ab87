"""The relay's process.

    python -I -S -c '…' listen CONTROL VERSION     descriptor 3: the control socket, listening at the path CONTROL
    python -I -S -c '…' succeed CONTROL VERSION    descriptor 3: a connection to the process that is to be replaced

What the engine asks for, in packets of `darse.linux.packets` (`do`):

    hello            → version, pid
    list             after: id                → ports (their views) with their sockets, and whether there are more
    set              view: id, protocol, container, address, port; descriptor: its socket (none: the one held stays)
    drop             id
    attach           container; descriptor: a pidfd of its process. When that ends, its ports do, engine or not
    statistics       → pid, ports, connections, flows
    take over        → a packet for each port and for each pidfd; at last `done`, with the control socket
    retire           what was taken over is served by another process now
    end

A successor gets all sockets; connections stay with the process that has them, which ends with the last of them.
Without a port for some seconds the process ends.
"""

from __future__ import annotations

import gc
import os
import resource
import socket
from collections import Counter

from darse.linux import packets
from darse.linux.loop import Loop
from darse.linux.packets import Channel
from darse.linux.proc import sandbox as confinement
from darse.relay.datagrams import DatagramPort, FlowLimits
from darse.relay.streams import ConnectionLimits, Pipes, StreamPort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: A user and a group of its own, as the name server's.
USER = 61054
_CONTROL = 3
_CALLS = (
    "accept4 brk clock_gettime clock_nanosleep close close_range connect dup epoll_create1 epoll_ctl epoll_pwait "
    "epoll_wait exit exit_group fcntl fstat futex getegid geteuid getgid getpeername getpid getrandom getsockname "
    "getsockopt gettid getuid ioctl lseek madvise mmap mprotect mremap munmap newfstatat pipe2 poll ppoll prlimit64 "
    "read recvfrom recvmsg restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity "
    "sched_yield sendmsg sendto set_robust_list setsockopt shutdown sigaltstack socket splice sysinfo tgkill write "
    "writev"
).split()
_MEMORY = 1 << 30
IDLE_SECONDS = 10.0
# How often one that was replaced looks for the end of its connections.
_LOOK_SECONDS = 1.0


class _Port:
    """A port: what the engine says of it, and what serves it."""

    __slots__ = ("served", "view")

    def __init__(self, view: dict[str, Any], served: StreamPort | DatagramPort) -> None:
        self.view = view
        self.served = served


class RelayServer:
    """Serves all ports."""

    def __init__(self, version: str, descriptors: int) -> None:
        """`descriptors` are those that the process may have."""
        self._version = version
        self._loop = Loop()
        # The rest is for the ports themselves, and for containers.
        self._limits = ConnectionLimits(descriptors * 3 // 4)
        self._flow_limits = FlowLimits(descriptors // 8)
        self._pipes = Pipes()
        self._ports: dict[str, _Port] = {}
        #: How many ports each container has.
        self._counts: Counter[str] = Counter()
        #: The pidfds of containers.
        self._containers: dict[str, int] = {}
        self._listener: socket.socket | None = None
        self._engines: set[Channel] = set()
        self._successor: Channel | None = None
        self._retired = False
        self._idle_timer = self._loop.later(IDLE_SECONDS, self._end_if_idle)

    def run(self, listener: socket.socket, predecessor: socket.socket | None = None) -> None:
        """Serve until there is nothing left to do."""
        self._listener = listener
        listener.setblocking(False)
        gc.collect()
        gc.freeze()
        self._loop.add(listener.fileno(), self._connects)
        if predecessor is not None:
            packets.send(predecessor, packets.pack(0, {"do": "retire"}))
            predecessor.close()
        self._loop.run()

    # What the engine asks for

    def _connects(self, _: int) -> None:
        assert self._listener is not None
        try:
            sock, _address = self._listener.accept()
        except OSError:
            return
        self._engines.add(Channel(self._loop, sock, self._received, self._engine_ended))

    def _engine_ended(self, engine: Channel) -> None:
        engine.close()
        self._engines.discard(engine)
        if engine is self._successor and not self._retired and self._listener is not None:
            # It has ended before it served: go on.
            self._successor = None
            self._loop.add(self._listener.fileno(), self._connects)

    def _received(self, engine: Channel, serial: int, document: dict[str, Any], descriptors: list[int]) -> None:
        try:
            answer = self._do(engine, serial, document, descriptors)
        except Exception as error:
            self._loop.report()
            answer = {"error": f"{type(error).__name__}: {error}"}
        # What was taken of them is not there any more.
        for descriptor in descriptors:
            os.close(descriptor)
        if answer is not None:
            engine.send(serial, answer)

    def _do(
        self, engine: Channel, serial: int, document: dict[str, Any], descriptors: list[int]
    ) -> dict[str, Any] | None:
        match document["do"]:
            case "hello":
                return {"version": self._version, "pid": os.getpid()}
            case "list":
                self._list(engine, serial, document["after"])
                return None
            case "set":
                self.serve(document["view"], descriptors)
            case "drop":
                self._drop(document["id"])
            case "attach":
                self.attach(document["container"], descriptors)
            case "statistics":
                return self._statistics()
            case "take over":
                self._hand_over(engine, serial)
                return None
            case "retire":
                self._retire()
                return None
            case "end":
                self._loop.stop()
            case other:
                raise ValueError(f"{other!r} is not known")
        return {}

    def _list(self, engine: Channel, serial: int, after: str) -> None:
        ids = sorted(one for one in self._ports if one > after)
        page = [self._ports[one] for one in ids[: packets.MOST_DESCRIPTORS]]
        answer = {"ports": [port.view for port in page], "more": len(ids) > len(page)}
        engine.send(serial, answer, [port.served.descriptor for port in page])

    def serve(self, view: dict[str, Any], descriptors: list[int]) -> None:
        """Serve a port by a socket, taken off `descriptors`; a port that is served only has another target.

        Except one whose socket was shut down: an engine that ended before it could say so has given the port up.
        """
        id_, target = view["id"], (view["address"], view["port"])
        port = self._ports.get(id_)
        if port is not None and (port.served.holds_port or not descriptors):
            self._counts[port.view["container"]] -= 1
            self._counts[view["container"]] += 1
            port.view = view
            port.served.lead_to(target)
            return
        if port is not None:
            self._release(id_)
        sock = socket.socket(fileno=descriptors.pop())
        try:
            served: StreamPort | DatagramPort
            if view["protocol"] == "udp":
                served = DatagramPort(self._loop, sock, target, self._flow_limits)
            else:
                served = StreamPort(self._loop, sock, target, self._limits, self._pipes)
        except BaseException:
            sock.close()
            raise
        self._ports[id_] = _Port(view, served)
        self._counts[view["container"]] += 1
        self._idle_timer.cancel()

    def _release(self, id_: str) -> str:
        """Serve a port no more; return its container."""
        port = self._ports.pop(id_)
        port.served.close()
        container: str = port.view["container"]
        self._counts[container] -= 1
        return container

    def _drop(self, id_: str) -> None:
        if id_ not in self._ports:
            return
        container = self._release(id_)
        if not self._counts[container]:
            self._detach(container)
        self._look_for_work()

    # Containers

    def attach(self, container: str, descriptors: list[int]) -> None:
        """Have a container's ports end with its process, of which `descriptors` has a pidfd."""
        if container not in self._containers:
            pidfd = self._containers[container] = descriptors.pop()
            self._loop.add(pidfd, lambda _: self._container_ended(container))

    def _container_ended(self, container: str) -> None:
        for id_ in [id_ for id_, port in self._ports.items() if port.view["container"] == container]:
            self._release(id_)
        self._detach(container)
        self._look_for_work()

    def _detach(self, container: str) -> None:
        """Follow a container without ports no more."""
        del self._counts[container]
        pidfd = self._containers.pop(container, None)
        if pidfd is not None:
            self._loop.remove(pidfd)
            os.close(pidfd)

    def _statistics(self) -> dict[str, Any]:
        served = [port.served for port in self._ports.values()]
        return {
            "pid": os.getpid(),
            "ports": len(served),
            "connections": self._limits.count,
            "flows": self._flow_limits.count,
        }

    # The end

    def _look_for_work(self) -> None:
        if not self._ports and not self._retired:
            self._idle_timer.cancel()
            self._idle_timer = self._loop.later(IDLE_SECONDS, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if not self._ports:
            self._loop.stop()

    def _hand_over(self, successor: Channel, serial: int) -> None:
        """Send everything; from now on only the successor takes connections of engines."""
        assert self._listener is not None
        self._loop.remove(self._listener.fileno())
        self._successor = successor
        for port in self._ports.values():
            successor.send(serial, {"view": port.view}, [port.served.descriptor])
        for container, pidfd in self._containers.items():
            successor.send(serial, {"container": container}, [pidfd])
        successor.send(serial, {"done": True}, [self._listener.fileno()])

    def _retire(self) -> None:
        self._retired = True
        for port in self._ports.values():
            port.served.stop_listening()
        for engine in list(self._engines):
            engine.close()
        self._engines.clear()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._limits.count:
            self._loop.later(_LOOK_SECONDS, self._end_if_done)
        else:
            self._loop.stop()


def _take_over(predecessor: socket.socket, relay: RelayServer) -> socket.socket:
    """Get everything from a predecessor; return the control socket. Raises OSError."""
    predecessor.setblocking(True)
    packets.send(predecessor, packets.pack(0, {"do": "take over"}))
    while True:
        packet, descriptors = packets.receive(predecessor)
        if not packet:
            raise OSError("the predecessor has ended")
        _, document = packets.unpack(packet)
        if document.get("done"):
            return socket.socket(fileno=descriptors[0])
        if "view" in document:
            relay.serve(document["view"], descriptors)
        else:
            relay.attach(document["container"], descriptors)


def main(arguments: list[str]) -> None:
    """Run a relay, see the module."""
    mode, _control, version = arguments
    os.umask(0o077)
    os.setsid()
    given = socket.socket(fileno=_CONTROL)
    given.set_inheritable(False)
    confinement.become(USER, _CALLS, memory=_MEMORY)
    relay = RelayServer(version, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if mode == "listen":
        relay.run(given)
    else:
        relay.run(_take_over(given, relay), given)
