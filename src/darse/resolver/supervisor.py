"""The parent of the worker: small, and so hardly ever what ends.

It holds copies of all sockets and pidfds, and the views, and forks a new worker with them when that has ended: no
socket is closed in between, so queries wait in them. It follows the host's resolv.conf for the worker, which cannot
open files.

    python -I -S -c '…' listen CONTROL VERSION     descriptor 3: the control socket, listening at the path CONTROL
    python -I -S -c '…' succeed CONTROL VERSION    descriptor 3: a connection to the supervisor that is to be replaced

A successor gets everything from its predecessor, the control socket included. Both serve for a moment, from the same
sockets; then the predecessor takes nothing new, answers what it has, and ends.

Without an engine's connection and with nothing to serve it ends after some seconds.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import time

from darse.linux import packets
from darse.linux.loop import Loop
from darse.linux.packets import Channel
from darse.linux.proc import sandbox as confinement
from darse.resolver import protocol
from darse.resolver.host_servers import HostServers
from darse.resolver.worker import CALLS as WORKER_CALLS
from darse.resolver.worker import Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: A user and a group of its own: nobody else's processes may signal it. Not one that systemd or Debian give to others.
USER = 61053
_CONTROL = 3
_CALLS = (
    "accept access capset clone dup2 getppid inotify_add_watch inotify_init1 inotify_rm_watch kill listen "
    "lstat open openat pidfd_open prctl readlink readlinkat seccomp set_tid_address socketpair stat statx uname "
    "wait4 waitid"
).split()
_PAGE = 500
_IDLE_SECONDS = 10.0
# A worker that ends again at once must not take all of a processor.
_RESTART_SECONDS = 0.2
_MEMORY = 1 << 30


class _Held:
    """A sandbox's view and descriptors."""

    __slots__ = ("descriptors", "view")

    def __init__(self, view: dict[str, Any], descriptors: list[int]) -> None:
        self.view = view
        self.descriptors = descriptors

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


class Supervisor:
    """Holds, forks, and passes on."""

    def __init__(self, version: str, held: dict[str, _Held], predecessor: socket.socket | None = None) -> None:
        self._version = version
        self._held = held
        self._predecessor = predecessor
        self._loop = Loop()
        self._listener: socket.socket | None = None
        self._engines: set[Channel] = set()
        self._host = HostServers()
        self._worker: Channel | None = None
        self._worker_pid = 0
        self._serial = 0
        #: What the worker has not answered yet: who has asked, and its number.
        self._unanswered: dict[int, tuple[Channel, int]] = {}
        self._retiring = False
        self._successor: Channel | None = None
        self._last_restart = 0.0

    def run(self, listener: socket.socket) -> None:
        """Serve until there is nothing left to do."""
        self._listener = listener
        listener.setblocking(False)
        gc.collect()
        gc.freeze()
        self._fork()
        loop = self._loop
        loop.add(listener.fileno(), self._connects)
        loop.add(self._host.descriptor, self._host_changed)
        for id_, held in self._held.items():
            self._follow(id_, held)
        if self._predecessor is not None:
            packets.send(self._predecessor, packets.pack(0, {"do": "retire"}))
            self._predecessor.close()
        self._look_for_work()
        loop.run()

    # The worker

    def _fork(self) -> None:
        ours, theirs = packets.pair()
        pid = os.fork()
        if pid == 0:
            self._become_worker(ours, theirs)
        theirs.close()
        pidfd = os.pidfd_open(pid)
        self._worker_pid = pid
        self._worker = Channel(self._loop, ours, self._worker_answers, lambda channel: channel.close())
        self._loop.add(pidfd, lambda _: self._worker_ended(pidfd))

    def _become_worker(self, ours: socket.socket, theirs: socket.socket) -> None:
        """In the child: serve, and never return."""
        status = 1
        try:
            self._loop.close()
            ours.close()
            for engine in self._engines:
                os.close(engine.descriptor)
            for sock in (self._listener, self._predecessor):
                if sock is not None:
                    sock.close()
            self._host.close()
            held = [(one.view, one.descriptors) for one in self._held.values()]
            Worker(theirs).run(held, self._host.servers)
            status = 0
        except BaseException:  # in a child there is nobody to raise to
            self._loop.report()
        finally:
            os._exit(status)

    def _worker_ended(self, pidfd: int) -> None:
        self._loop.remove(pidfd)
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
        if self._worker is not None:
            self._worker.close()
            self._worker = None
        if self._retiring:
            self._loop.stop()
        else:
            self._loop.later(_RESTART_SECONDS if self._restarted_lately() else 0.0, self._restart)

    def _restarted_lately(self) -> bool:
        before, self._last_restart = self._last_restart, time.monotonic()
        return self._last_restart - before < _RESTART_SECONDS

    def _restart(self) -> None:
        if self._retiring:
            return
        print(f"the worker {self._worker_pid} has ended: another one serves", file=sys.stderr, flush=True)
        self._fork()
        # It was forked with all that its predecessor was sent.
        unanswered, self._unanswered = self._unanswered, {}
        for engine, serial in unanswered.values():
            engine.send(serial, {})

    def _worker_answers(self, _: Channel, serial: int, document: dict[str, Any], descriptors: list[int]) -> None:
        asked = self._unanswered.pop(serial, None)
        if asked is not None:
            asked[0].send(asked[1], document)

    def _pass_on(self, engine: Channel | None, serial: int, document: dict[str, Any], descriptors: list[int]) -> None:
        """Have the worker do something; its answer is `engine`'s. A worker that is being forked knows it already."""
        self._serial += 1
        if engine is not None:
            self._unanswered[self._serial] = engine, serial
        if self._worker is not None:
            self._worker.send(self._serial, document, descriptors)

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
        self._unanswered = {number: one for number, one in self._unanswered.items() if one[0] is not engine}
        if engine is self._successor and not self._retiring and self._listener is not None:
            # It has ended before it served: go on.
            self._loop.add(self._listener.fileno(), self._connects)
        self._look_for_work()

    def _received(self, engine: Channel, serial: int, document: dict[str, Any], descriptors: list[int]) -> None:
        try:
            answer = self._do(engine, serial, document, descriptors)
        except Exception as error:
            self._loop.report()
            for descriptor in descriptors:
                os.close(descriptor)
            answer = {"error": f"{type(error).__name__}: {error}"}
        if answer is not None:
            engine.send(serial, answer)

    def _do(
        self, engine: Channel, serial: int, document: dict[str, Any], descriptors: list[int]
    ) -> dict[str, Any] | None:
        match document["do"]:
            case "hello":
                return {"version": self._version, "pid": os.getpid(), "worker": self._worker_pid}
            case "list":
                ids = sorted(one for one in self._held if one > document["after"])
                return {"ids": ids[:_PAGE], "more": len(ids) > _PAGE}
            case "set":
                self._hold(document["view"], descriptors)
            case "drop":
                self._drop(document["id"])
            case "take over":
                return self._hand_over(engine, serial)
            case "retire":
                self._retire()
            case "end":
                self._retiring = True
                if self._worker is None:
                    self._loop.stop()
            case "explain" | "statistics":
                pass
            case other:
                raise ValueError(f"{other!r} is not known")
        self._pass_on(engine, serial, document, descriptors)
        return None

    def _hold(self, view: dict[str, Any], descriptors: list[int]) -> None:
        id_ = view["id"]
        held = self._held.get(id_)
        if held is None or descriptors:
            if not descriptors:
                raise KeyError(protocol.NO_SOCKETS)
            self._drop(id_)
            held = self._held[id_] = _Held(view, descriptors)
            self._follow(id_, held)
        held.view = view

    def _follow(self, id_: str, held: _Held) -> None:
        self._loop.add(held.descriptors[0], lambda _: self._process_ended(id_, held))

    def _process_ended(self, id_: str, held: _Held) -> None:
        if self._held.get(id_) is held:
            self._drop(id_)
            self._look_for_work()

    def _drop(self, id_: str) -> None:
        held = self._held.pop(id_, None)
        if held is not None:
            self._loop.remove(held.descriptors[0])
            held.close()

    def _host_changed(self, _: int) -> None:
        if self._host.changed():
            self._pass_on(None, 0, {"do": "servers", "servers": self._host.servers}, [])

    # The end

    def _look_for_work(self) -> None:
        if not self._held and not self._engines:
            self._loop.later(_IDLE_SECONDS, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if not self._held and not self._engines and not self._retiring:
            self._retiring = True
            self._pass_on(None, 0, {"do": "end"}, [])

    def _hand_over(self, successor: Channel, serial: int) -> dict[str, Any] | None:
        """Send everything; from now on only the successor takes connections."""
        assert self._listener is not None
        self._loop.remove(self._listener.fileno())
        self._successor = successor
        for held in self._held.values():
            successor.send(serial, {"view": held.view}, held.descriptors)
        successor.send(serial, {"done": True}, [self._listener.fileno()])
        return None

    def _retire(self) -> None:
        self._retiring = True
        if self._worker is None:
            self._loop.stop()
        for engine in list(self._engines):
            if engine is not self._successor:
                engine.close()
                self._engines.discard(engine)


def _take_over(predecessor: socket.socket) -> tuple[dict[str, _Held], socket.socket]:
    """Get everything from a predecessor: what is registered, and the control socket. Raises OSError."""
    predecessor.setblocking(True)
    packets.send(predecessor, packets.pack(0, {"do": "take over"}))
    held: dict[str, _Held] = {}
    while True:
        packet, descriptors = packets.receive(predecessor)
        if not packet:
            raise OSError("the predecessor has ended")
        _, document = packets.unpack(packet)
        if document.get("done"):
            return held, socket.socket(fileno=descriptors[0])
        held[document["view"]["id"]] = _Held(document["view"], descriptors)


def confine() -> None:
    """Become a user without any privilege, and give up most system calls. Raises OSError."""
    confinement.become(USER, [*WORKER_CALLS, *_CALLS], memory=_MEMORY, fork=True)


def main(arguments: list[str]) -> None:
    """Run a supervisor, see the module."""
    mode, _control, version = arguments
    os.umask(0o077)
    os.setsid()
    confine()
    given = socket.socket(fileno=_CONTROL)
    given.set_inheritable(False)
    if mode == "listen":
        Supervisor(version, {}).run(given)
    else:
        held, listener = _take_over(given)
        Supervisor(version, held, given).run(listener)
